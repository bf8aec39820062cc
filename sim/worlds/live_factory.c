/* live_factory.c: key and certificate that a vehicle leaves its factory with.
 *
 * They are kept beside the CA that signed them, by cohort, so that the next run with the same --pki makes none. Where the scenario wants a certificate to run
 * out at a moment of its own, or an earlier run has had it revoked, it is made for this run alone.
 */
#include "live.h"

#include "cloud/pki_store.h"
#include "vehicle/crypto.h"

#include <stdio.h>
#include <stdlib.h>

#define DAY_S       INT64_C(86400)
#define NAME_DIGITS 6 /* as scenario_vehicle_name() writes them */

static bool keeps(const struct live_world *world, const struct scenario_cohort *cohort, uint32_t c)
{
    return cohort->count && world->identity[c] == IDENTITY_CERTIFICATE && cohort->provisioning == PROVISIONING_DONE &&
           cohort->steals == MEASURE_ANY && !cohort->strangers &&
           cohort->certificate_left_s.value[SIM_TABLE_STEPS] == 0;
}

static void open_store(struct live_world *world, uint32_t c)
{
    const struct scenario *scenario = world->scenario;
    const struct scenario_cohort *cohort = &scenario->cohorts[c];
    int64_t lifetime_s = scenario->cloud.certificate_lifetime_s, now_s = world->fleet.wall_offset_us / US_PER_S;
    /* Through the run, and not among those that an audit would find. */
    int64_t needed_s = world->duration_us / US_PER_S + scenario->cloud.lifecycle.expiring_within_s + DAY_S;
    char names[SCENARIO_NAME + 4], error[300] = "";
    uint64_t made = 0;
    snprintf(names, sizeof names, "%s-%%", cohort->name);
    struct cloud_identity_profile profile = {.ca = CLOUD_CA_OPERATIONAL,
                                             .names = names,
                                             .first_number = cohort->first,
                                             .digits = NAME_DIGITS,
                                             .lifetime_s = lifetime_s};
    struct cloud_identity_store *store =
        cloud_identity_store_open(world->pki_directory, world->pki, &profile, error, sizeof error);
    if (needed_s > lifetime_s)
        needed_s = lifetime_s / 2;
    bool good = store && cloud_identity_store_ensure(store, cohort->count, now_s, now_s + needed_s, 0, &made, error,
                                                     sizeof error);
    if (!good) {
        live_group_note(world, "the identities of %s are not kept: %s", cohort->name, error);
        cloud_identity_store_close(store);
        store = NULL;
    }
    world->factory_made += made;
    world->factories[c] = store;
}

static bool note_revoked(void *context, const struct cloud_issued *issued)
{
    ((struct live_world *)context)->factory_revoked = true;
    return false;
}

bool live_factory_open(struct live_world *world)
{
    const struct scenario *scenario = world->scenario;
    int64_t begun_us = live_clock();
    if (!world->pki)
        return true;
    world->factories = calloc(scenario->cohort_count + 1, sizeof *world->factories);
    if (!world->factories)
        return live_fail(world, "out of memory");
    for (uint32_t c = 0; c < scenario->cohort_count; c++)
        if (keeps(world, &scenario->cohorts[c], c))
            open_store(world, c);
    cloud_pki_revoked(world->pki, note_revoked, world);
    world->factory_us = live_clock() - begun_us;
    return true;
}

/* false: there is none, or it is of no use any more. */
static bool take_kept(struct live_world *world, const struct live_vehicle *vehicle, uint8_t *certificate,
                      size_t *certificate_length, uint8_t *key, size_t *key_length)
{
    const struct scenario_cohort *cohort = &world->scenario->cohorts[vehicle->trace.cohort];
    const struct cloud_identity_store *store = world->factories[vehicle->trace.cohort];
    struct cloud_certificate read;
    if (!store || !cloud_identity_store_get(store, vehicle->index - cohort->first, certificate, certificate_length, key,
                                            key_length))
        return false;
    return !world->factory_revoked || (cloud_certificate_read(span_of(certificate, *certificate_length), &read) &&
                                       !cloud_pki_is_revoked(world->pki, CLOUD_CA_OPERATIONAL, read.serial));
}

static bool make_one(struct live_world *world, const struct live_vehicle *vehicle, const char *name,
                     uint8_t *certificate, size_t *certificate_length, uint8_t *key, size_t *key_length)
{
    int64_t now_s = world->fleet.wall_offset_us / US_PER_S;
    int64_t left_s = fleet_certificate_lifetime_s(world->scenario, vehicle->index);
    if (world->scenario->cohorts[vehicle->trace.cohort].certificate_left_s.value[SIM_TABLE_STEPS]) /* the calendar's */
        left_s = 1 + (int64_t)((double)left_s / world->fleet.speedup);
    *certificate_length = TCU_CERTIFICATE_MAX;
    *key_length = TCU_KEY_MAX;
    world->factory_made++;
    return cloud_pki_make(world->pki, CLOUD_CA_OPERATIONAL, name, now_s - DAY_S, DAY_S + left_s, certificate,
                          certificate_length, key, key_length);
}

bool live_factory_identity(struct live_vehicle *vehicle, const char *name)
{
    struct live_world *world = vehicle->world;
    uint8_t certificate[TCU_CERTIFICATE_MAX], key[TCU_KEY_MAX];
    size_t certificate_length = sizeof certificate, key_length = sizeof key;
    int64_t begun_us = live_clock();
    bool there = take_kept(world, vehicle, certificate, &certificate_length, key, &key_length) ||
                 make_one(world, vehicle, name, certificate, &certificate_length, key, &key_length);
    there = there && live_store(vehicle, TCU_STORE_OPERATIONAL_KEY, span_of(key, key_length)) &&
            live_store(vehicle, TCU_STORE_OPERATIONAL_CERTIFICATE, span_of(certificate, certificate_length));
    if (there)
        live_plain_certificate(vehicle, span_of(certificate, certificate_length));
    world->factory_us += live_clock() - begun_us;
    return there;
}

void live_factory_close(struct live_world *world)
{
    uint64_t all = 0;
    for (uint32_t c = 0; world->factories && c < world->scenario->cohort_count; c++)
        cloud_identity_store_close(world->factories[c]);
    for (uint32_t v = 0; world->factories && v < world->count; v++)
        all += world->vehicles && world->vehicles[v].world &&
               world->vehicles[v].stored_length[TCU_STORE_OPERATIONAL_CERTIFICATE] > 0;
    if (all)
        live_group_note(world, "%llu identities from the factory: %llu made now, in %.1f s in all",
                        (unsigned long long)all, (unsigned long long)world->factory_made,
                        (double)world->factory_us / 1e6);
    free(world->factories);
    world->factories = NULL;
}
