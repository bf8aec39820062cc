/* cloud/identity_store.h: many real P-256 identities (key and certificate) in one file, made once and kept between runs.
 *
 * The file belongs to one CA of one hierarchy and to one profile (names, lifetime). Making is done by as many threads as are asked for; what an interrupted
 * process had made is there when the next goes on. Reading one touches one record. Processes may share a file: one makes, the others wait for it.
 * Not thread-safe but for get().
 */
#ifndef CLOUD_IDENTITY_STORE_H
#define CLOUD_IDENTITY_STORE_H

#include "cloud/identity.h"

struct cloud_identity_store;

struct cloud_identity_profile {
    enum cloud_ca ca;
    const char *
        names; /* template: '%' stands for the number, counted from first_number: "suv-%"; up to 63 characters in all */
    uint64_t first_number;
    unsigned digits; /* of the number at least, zeros in front; up to 20 */
    int64_t lifetime_s;
};

/* `path`: a file, or an existing directory: then the file in it is named by the CA's id and by the profile. Opened for reading and, where
 * that is possible, for making; created when missing. NULL: a line in `error`: not readable, damaged, made by another CA or for another profile. */
struct cloud_identity_store *cloud_identity_store_open(const char *path, struct cloud_pki *pki,
                                                       const struct cloud_identity_profile *profile, char *error,
                                                       size_t error_capacity);
void cloud_identity_store_close(struct cloud_identity_store *store);

/* How many there are. */
uint64_t cloud_identity_store_count(const struct cloud_identity_store *store);

/* Makes what is missing to `count`. When those that are there do not last until valid_until_s, all are made anew. now_s: epoch seconds; threads 0: as
 * many as there are processors. *made (may be NULL) says how many were made. false: a line in `error`; what was made so far stays. */
bool cloud_identity_store_ensure(struct cloud_identity_store *store, uint64_t count, int64_t now_s,
                                 int64_t valid_until_s, unsigned threads, uint64_t *made, char *error,
                                 size_t error_capacity);

/* Certificate and key (PKCS#8) in DER; lengths come in as capacities (1,024 is enough). key may be NULL. false: there is no such one, no room, or the record is damaged. */
bool cloud_identity_store_get(const struct cloud_identity_store *store, uint64_t index, uint8_t *certificate,
                              size_t *certificate_length, uint8_t *key, size_t *key_length);

#endif
