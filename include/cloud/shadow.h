/* cloud/shadow.h: the Device Shadow service (cloud-contract 3): classic and named, versions, delta, metadata, error codes, limits.
 *
 * Asked over reserved topics "things/<thing>/shadow[/name/<shadow>]/get|update|delete", answers and deltas by the speaker. An app's side asks through
 * cloud_shadow_update() and cloud_shadow_get(): the same code, without a client.
 * Merging as the contract says: null deletes, arrays are atomic, a delta has what desired has and reported lacks or has otherwise.
 */
#ifndef CLOUD_SHADOW_H
#define CLOUD_SHADOW_H

#include "cloud/speaker.h"

struct cloud_shadow_options {
    struct cloud_speaker speaker;
    int64_t epoch_us;
    uint32_t document_bytes;      /* 0: 8,192, metadata not counted; 65,535 at most */
    uint32_t depth;               /* 0: 8 (the error text says 6: [U]); desired's own level is the first */
    uint32_t requests_per_second; /* of one shadow; 0: 20; beyond: 429 */
    uint32_t in_flight;           /* per thing and connection; 0: 10; beyond: 429 */
    uint32_t shadows_per_thing; /* named; 0: 10; beyond: 403 "Forbidden" [U]. As many deleted ones keep their version */
    /* Is this a thing? NULL: every name is. 404 "Thing not found". */
    bool (*known)(void *context, struct span thing);
    /* May a client ask this? 0: yes, 401: "Unauthorized", 403: "Forbidden". NULL: everybody may. The app's side always may. */
    int (*refused)(void *context, const struct cloud_request *request, struct span thing, struct span name);
    /* Of how many requests about this thing a connection has not taken the answer yet: those count as in flight. Requests asked from within
     * an answer always do. NULL: none but those. */
    uint32_t (*unanswered)(void *context, struct span client_id, struct span thing);
    /* An update was accepted: who (NULL: the app's side), the new version, whether a difference is left. May be NULL. */
    void (*updated)(void *context, int64_t now_us, struct span thing, struct span name, const struct span *client_id,
                    uint64_t version, bool difference);
    void *context;
};
struct cloud_shadow;
struct cloud_shadow *cloud_shadow_create(const struct cloud_shadow_options *options); /* NULL: out of memory */
void cloud_shadow_destroy(struct cloud_shadow *shadow);
/* A request on "things/<thing>/shadow/...": reason code for the PUBACK: topic name invalid, and no answer, when a name is not allowed or the
 * topic is none of the three operations. *taken: the topic is one of ours. */
uint8_t cloud_shadow_request(struct cloud_shadow *shadow, int64_t now_us, const struct cloud_request *request,
                             bool *taken);
/* The app's side. request: {"state":{...},"version":...,"clientToken":...}; name empty: the classic one. Returns 200 or the code of the error;
 * *answer (may be NULL): the body of accepted or rejected, valid until the next call. */
int cloud_shadow_update(struct cloud_shadow *shadow, int64_t now_us, struct span thing, struct span name,
                        struct span request, struct span *answer);
int cloud_shadow_get(struct cloud_shadow *shadow, int64_t now_us, struct span thing, struct span name,
                     struct span *answer);
int cloud_shadow_delete(struct cloud_shadow *shadow, int64_t now_us, struct span thing, struct span name,
                        struct span *answer);
/* Everything of a thing, for a move to another region or at its end. Returns how many shadows. */
uint32_t cloud_shadow_forget(struct cloud_shadow *shadow, struct span thing);
uint64_t cloud_shadow_version(const struct cloud_shadow *shadow, struct span thing, struct span name); /* 0: none */
bool cloud_shadow_differs(const struct cloud_shadow *shadow, struct span thing, struct span name); /* a delta is left */
struct cloud_shadow_counts {
    uint64_t shadows, gets, updates, deletes, deltas, conflicts, rejected, throttled;
};
void cloud_shadow_count(const struct cloud_shadow *shadow, struct cloud_shadow_counts *out);
uint64_t cloud_shadow_bytes(const struct cloud_shadow *shadow);

#endif
