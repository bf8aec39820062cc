/* virtual_crypto.c: real cryptography in the virtual world: X.509 and P-256 where the model has texts with the same fields.
 *
 * One hierarchy for all ranks, made by the first, outside all heaps: OpenSSL's objects are in no checkpoint, so such a run has none, and what is drawn at random
 * is another the next time, so it is not replayed. What may differ from run to run are keys, serial numbers, ids and signatures; how long they are may
 * not, for bytes take time on a link, and neither enters the digest. Computing times stay the modelled ones.
 */
#include "fleet_migration.h"
#include "virtual_internal.h"

#include "vehicle/crypto.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ATTESTATION_LIFETIME_S (20LL * 365 * 86400)
#define PATH_MAX_BYTES         600

/* ---- the hierarchy --------------------------------------------------------------------------------------------------- */

static bool of_its_own(const struct world_options *options)
{
    return !options->pki_directory && !options->out_directory;
}

/* Beside the run's results where there are any: who wants to can look at its certificates. */
static bool choose_directory(const struct world_options *options, char *out, char *error, size_t capacity)
{
    const char *base = getenv("TMPDIR");
    if (options->pki_directory)
        snprintf(out, PATH_MAX_BYTES, "%s", options->pki_directory);
    else if (options->out_directory)
        snprintf(out, PATH_MAX_BYTES, "%s/pki", options->out_directory);
    else
        snprintf(out, PATH_MAX_BYTES, "%s/convoy-pki-XXXXXX", base && base[0] ? base : "/tmp");
    if (!of_its_own(options) || mkdtemp(out))
        return true;
    snprintf(error, capacity, "no directory for the run's certificates: %s", strerror(errno));
    return false;
}

static void remove_directory(const char *directory)
{
    char path[PATH_MAX_BYTES + 260];
    DIR *list = opendir(directory);
    for (const struct dirent *entry; list && (entry = readdir(list));) {
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        unlink(path);
    }
    if (list)
        closedir(list);
    rmdir(directory);
}

static bool on_any_rank(struct sim_group *group, bool failed)
{
    int64_t any = failed;
    sim_group_reduce(group, SIM_GROUP_MAXIMUM, &any, 1);
    return any != 0;
}

static bool open_together(const struct world_options *options, struct cloud_pki **pki, char *error, size_t capacity)
{
    char directory[PATH_MAX_BYTES] = "";
    struct sim_group *group = options->group;
    bool first = sim_group_rank(group) == 0;
    bool chosen = first && choose_directory(options, directory, error, capacity);
    if (chosen)
        *pki = cloud_pki_open(directory, true, error, capacity);
    bool failed = on_any_rank(group, first && !*pki);
    sim_group_broadcast(group, directory, sizeof directory);
    if (!failed && !first && !(*pki = cloud_pki_open(directory, false, error, capacity)))
        snprintf(error + strlen(error), capacity - strlen(error), "; all ranks read what the first has made");
    failed = on_any_rank(group, !failed && !*pki) || failed;
    if (chosen && of_its_own(options)) /* everything is in memory now, or nothing is */
        remove_directory(directory);
    return !failed;
}

bool virtual_crypto_open(const struct scenario *scenario, const struct world_options *options, struct cloud_pki **pki,
                         struct world_result *result)
{
    char error[300] = "";
    *pki = NULL;
    if (!scenario->cloud.real_cryptography)
        return true;
    struct memory_heap *entered = memory_enter(NULL);
    bool opened = open_together(options, pki, error, sizeof error);
    if (opened) {
        cloud_pki_simulate(*pki);
    } else {
        result->status = WORLD_ENVIRONMENT;
        snprintf(result->error, sizeof result->error, "%s", error);
        virtual_share_error(options->group, result);
        virtual_crypto_close(*pki);
        *pki = NULL;
    }
    memory_enter(entered);
    return opened;
}

void virtual_crypto_close(struct cloud_pki *pki)
{
    cloud_pki_close(pki);
}

/* ---- what a run with it cannot do ------------------------------------------------------------------------------------ */

static const char *objection_live(const struct scenario *scenario, const struct world_options *options)
{
    const char *regions = fleet_migration_objection(scenario, options);
    if (regions)
        return regions;
    if (options->link_model == LINK_MODEL_OFF && fleet_is_nothing_without_link_model(scenario))
        return "a cohort's path, and a radio's edrx, psm, nat_idle, hand-overs and dead connections, are acted out by "
               "the link model; leave --link-model off away";
    return NULL;
}

const char *world_objection(const struct scenario *scenario, const struct world_options *options)
{
    if (scenario->cloud.regions.on &&
        (scenario->cloud.shadow.on || scenario->cloud.commands.pattern != CLOUD_PATTERN_PLAIN))
        return "shadow { } and remote_commands { pattern } are of one cloud in this version; leave out resolver, "
               "region_moves and migration";
    if (options->kind != WORLD_VIRTUAL)
        return objection_live(scenario, options);
    if (options->link_model == LINK_MODEL_OFF)
        return "--link-model off: the virtual world has no links but modelled ones; use --world live";
    if (!scenario->cloud.real_cryptography)
        return NULL;
    if (options->checkpoint_every_us)
        return "a run with real cryptography cannot be saved: OpenSSL's objects are in no checkpoint; leave "
               "--checkpoint away, or use cryptography = \"modelled\"";
    if (options->trace)
        return "a run with real cryptography cannot be replayed: its keys were drawn at random; run it again with "
               "cryptography = \"modelled\" and replay that";
    return NULL;
}

/* ---- keys and certificates of vehicles ------------------------------------------------------------------------------- */

bool virtual_crypto_partition(struct partition *partition)
{
    if (!partition->world->pki)
        return true;
    partition->keys = memory_allocate_zero(partition->count + 1, sizeof *partition->keys);
    return partition->keys != NULL;
}

/* A signature is two numbers in DER, 70 to 72 bytes long by chance, and the last thing in a request. Every second one is 71. */
static bool evenly_signed(const uint8_t *request, size_t length)
{
    static const uint8_t head[] = {0x03, 72, 0, 0x30, 69}; /* BIT STRING, no bits unused, SEQUENCE */
    return length > 74 && memcmp(request + length - 74, head, sizeof head) == 0;
}

bool virtual_crypto_enroll(struct span common_name, uint8_t *key, size_t *key_length, uint8_t *request, size_t *length)
{
    size_t key_capacity = *key_length, capacity = *length;
    do {
        *key_length = key_capacity;
        *length = capacity;
        if (!tcu_crypto_enroll(common_name, key, key_length, request, length))
            return false;
    } while (!evenly_signed(request, *length));
    return true;
}

static struct span bytes_of(const struct store_item *item)
{
    return item ? span_of(item->data, item->length) : (struct span){NULL, 0};
}

struct store_item **virtual_key_place(struct virtual_vehicle *vehicle, enum tcu_store_item item)
{
    struct virtual_keys *keys = vehicle_keys(vehicle);
    if (!keys || (item != TCU_STORE_OPERATIONAL_KEY && item != TCU_STORE_SECOND_KEY))
        return NULL;
    return &keys->slot[item == TCU_STORE_SECOND_KEY];
}

struct span virtual_key_shown(struct virtual_vehicle *vehicle, enum tcu_identity identity)
{
    const struct virtual_keys *keys = vehicle_keys(vehicle);
    if (vehicle_cohort(vehicle)->steals != MEASURE_ANY)
        return bytes_of(keys->slot[0]);
    if (identity == TCU_CLAIM)
        return bytes_of(vehicle->partition->claim_key);
    return bytes_of(keys->slot[identity == TCU_OPERATIONAL_SECOND]);
}

struct span virtual_crypto_kept(struct virtual_vehicle *vehicle, enum tcu_store_item item, struct span value,
                                uint8_t *out, size_t capacity)
{
    const struct virtual_keys *keys = vehicle_keys(vehicle);
    struct span key;
    if (!keys || value.length == 0)
        return value;
    switch (item) {
    case TCU_STORE_OPERATIONAL_CERTIFICATE:
    case TCU_STORE_SECOND_CERTIFICATE:
        key = bytes_of(keys->slot[item == TCU_STORE_SECOND_CERTIFICATE]);
        return span_of(out, key.length ? tcu_crypto_certificate(value, key, out, capacity) : 0);
    case TCU_STORE_OPERATIONAL_KEY:
    case TCU_STORE_SECOND_KEY: return span_of(out, tcu_crypto_key(value, out, capacity));
    default: return value;
    }
}

struct store_item *virtual_attestation(struct virtual_vehicle *vehicle, const char *common_name, int64_t now_s)
{
    struct partition *partition = vehicle->partition;
    struct virtual_keys *keys = vehicle_keys(vehicle);
    uint8_t certificate[VIRTUAL_CERTIFICATE_MAX], key[VIRTUAL_KEY_MAX];
    size_t length = sizeof certificate, key_length = sizeof key;
    if (keys->attestation)
        return keys->attestation;
    if (!cloud_pki_make(partition->pki, CLOUD_CA_ATTESTATION, common_name, now_s - 86400, ATTESTATION_LIFETIME_S,
                        certificate, &length, key, &key_length))
        return NULL;
    keys->attestation_key = virtual_store_item(partition, span_of(key, key_length));
    if (keys->attestation_key)
        keys->attestation = virtual_store_item(partition, span_of(certificate, length));
    return keys->attestation;
}

/* Who has copied a certificate has copied its key, too. */
void virtual_crypto_steal(struct virtual_vehicle *thief, struct virtual_vehicle *victim)
{
    struct virtual_keys *own = vehicle_keys(thief), *keys = vehicle_keys(victim);
    if (!own || !thief->certificate)
        return;
    struct store_item *had[] = {keys->slot[0], keys->slot[1], keys->removed, thief->partition->claim_key};
    for (size_t i = 0; i < sizeof had / sizeof had[0]; i++)
        if (had[i] && tcu_crypto_belongs(bytes_of(thief->certificate), bytes_of(had[i]))) {
            had[i]->holders++;
            virtual_store_release(thief->partition, own->slot[0]);
            own->slot[0] = had[i];
            return;
        }
}

void virtual_crypto_removed(struct virtual_vehicle *vehicle, bool second)
{
    struct virtual_keys *keys = vehicle_keys(vehicle);
    if (!keys)
        return;
    struct store_item *gone[] = {keys->removed, keys->slot[!second], keys->attestation, keys->attestation_key};
    for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++)
        virtual_store_release(vehicle->partition, gone[i]);
    *keys = (struct virtual_keys){.removed = keys->slot[second]};
}

/* ---- the handshake --------------------------------------------------------------------------------------------------- */

/* One that vehicles' certificates come from; a server's would not do. */
static bool signed_by_ours(const struct cloud_pki *pki, const struct cloud_certificate *certificate)
{
    static const enum cloud_ca issuers[] = {CLOUD_CA_OPERATIONAL, CLOUD_CA_CLAIM, CLOUD_CA_ATTESTATION};
    for (size_t i = 0; i < sizeof issuers / sizeof issuers[0]; i++)
        if (memcmp(cloud_pki_ca(pki, issuers[i])->id, certificate->issuer_id, 32) == 0)
            return true;
    return false;
}

const char *virtual_handshake(const struct partition *partition, struct span certificate, struct span key,
                              struct cloud_certificate *out)
{
    int64_t now_s = (partition->world->fleet.wall_offset_us + partition->now_us) / US_PER_S;
    if (certificate.length == 0)
        return "no certificate";
    if (!cloud_pki_read(partition->pki, certificate, out))
        return "not a certificate";
    if (!signed_by_ours(partition->pki, out))
        return "of an unknown CA";
    if (now_s < out->not_before_s || now_s > out->not_after_s)
        return now_s > out->not_after_s ? "expired" : "not valid yet";
    if (cloud_registry_is_revoked(partition->registry, out->id))
        return "revoked";
    return tcu_crypto_belongs(certificate, key) ? NULL : "the key is another's";
}
