/* A random walk of life-cycle events over a fleet of played vehicles: made, provisioned, rotated, revoked, swapped, sold, cloned, taken out of service,
 * with power and links lost and answers on the way. After every thousand events what is under way is run to its end, and the whole state is proved.
 *
 *   test_sim_lifecycle_walk [EVENTS [SEED [VEHICLES]]], or CONVOY_WALK_EVENTS; 100,000, 1 and 10,000 without.
 *
 * The vehicle is the smallest that keeps the rules: what it stores survives the loss of power (its two slots, which is in use, how far a
 * rotation is), the rest does not.
 */
#include "tests/unit/lifecycle_rig.h"

#include <inttypes.h>

#define ROUND        1000
#define CUT_BOUND    (5 * US_PER_MIN)
#define ATTEMPTS     3
#define LOST_DEVICES 64

static uint64_t events = 100000, seed = 1, vehicles = 10000;

struct walk {
    struct rig rig;
    struct car *cars;
    uint64_t random;
    uint32_t *dirty; /* touched since the last round */
    bool *is_dirty;
    uint32_t dirty_count;
    struct car lost[LOST_DEVICES]; /* devices taken out, with what is stored in them */
    uint32_t lost_count;
    uint64_t built, done[16], refused_lost;
};

static uint64_t next_random(struct walk *walk)
{
    uint64_t z = walk->random += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static uint64_t below(struct walk *walk, uint64_t limit)
{
    return next_random(walk) % limit;
}

/* ---- the vehicle ----------------------------------------------------------------------------------------------------- */

enum step { IDLE, JOB, STORED, GRANTED, ON_NEW, SAID };

static bool car_has_identity(const struct car *car)
{
    return car->slot[car->current].length > 0;
}

static void lose_power(struct car *car)
{
    car_lost(car);
    car->step = car->granted ? GRANTED : IDLE;
    car->refusals = 0;
    car->token[0] = 0;
}

static bool online(struct car *car)
{
    return car->connection || (car_has_identity(car) && car_connect(car));
}

static void give_up(struct car *car)
{
    car->granted = car->switched = false;
    car->refusals = 0;
    car->step = IDLE;
    if (online(car) && car->job[0])
        car_update_job(car, "{\"status\":\"FAILED\",\"statusDetails\":{\"reason\":\"new certificate refused\"}}");
    car->job[0] = 0;
}

static void ask_for_job(struct car *car)
{
    if (!online(car))
        return;
    car->job[0] = 0;
    if (!car_start_job(car))
        return;
    if (car->switched) { /* all done before the power went but the report */
        car->step = SAID;
        return;
    }
    car->step = JOB;
}

static void try_new(struct car *car)
{
    uint8_t other = 1 - car->current;
    car_disconnect(car);
    if (car->slot[other].length && car_connect_as(car, &car->slot[other], car->name)) {
        car->step = ON_NEW;
        return;
    }
    if (++car->refusals >= ATTEMPTS)
        give_up(car);
}

static void report(struct car *car)
{
    if (!online(car))
        return;
    if (car->job[0] || car_start_job(car))
        car_update_job(car, "{\"status\":\"SUCCEEDED\"}");
    if (car->answered) {
        car->switched = false;
        car->job[0] = 0;
        car->step = IDLE;
    }
}

/* One step of what it has to do. */
static void advance(struct car *car)
{
    switch ((enum step)car->step) {
    case IDLE: ask_for_job(car); return;
    case JOB:
        if (!online(car)) {
            car->step = IDLE;
        } else if (car_certificate(car, 1 - car->current)) {
            car->step = STORED;
        } else if (car->answered) {
            give_up(car);
        }
        return;
    case STORED:
        if (!online(car)) {
            car->step = IDLE;
        } else if (car_provision(car, "rotation")) {
            car->granted = true;
            car->step = GRANTED;
        } else if (car->answered) {
            give_up(car);
        }
        return;
    case GRANTED: try_new(car); return;
    case ON_NEW:
        if (!car->connection) {
            car->step = GRANTED;
            return;
        }
        car->current = 1 - car->current;
        if (car_say(car, "vehicle/%s/certificate/deactivate") >= 0x80) {
            car->current = 1 - car->current;
            car->step = GRANTED;
            return;
        }
        car->granted = false;
        car->switched = true;
        car->step = SAID;
        return;
    case SAID: report(car); return;
    }
}

static struct cloud_vehicle vehicle_of(struct walk *walk, const struct car *car)
{
    struct cloud_vehicle vehicle;
    assert_true(cloud_vehicles_get(cloud_lifecycle_vehicles(walk->rig.life), car_thing(car), &vehicle));
    assert_string_equal(vehicle.reference, car->name);
    return vehicle;
}

static void forget_identity(struct car *car)
{
    lose_power(car);
    memset(car->slot, 0, sizeof(car->slot));
    car->granted = car->switched = false;
    car->step = IDLE;
    car->current = 0;
    car->job[0] = 0;
}

static void provision_by_claim(struct car *car)
{
    forget_identity(car);
    if (!car_claim(car))
        memset(car->slot, 0, sizeof(car->slot));
    else if (car_connect(car))
        car_say(car, "vehicleactive/%s");
}

static void provision_by_registration(struct walk *walk, struct car *car)
{
    struct rig *rig = &walk->rig;
    struct cloud_peer attestation = {.has_certificate = true};
    char name[64];
    uint8_t csr[200];
    forget_identity(car);
    strcpy(attestation.common_name, car->device);
    if (!cloud_lifecycle_resolve(rig->life, &attestation, name))
        return;
    assert_string_equal(name, car->name);
    size_t length = cloud_modelled_csr(car_thing(car), ++car->keys, csr, sizeof(csr));
    car->slot[0].length = (uint16_t)cloud_pki_issue(rig->pki, CLOUD_CA_OPERATIONAL, span_of(csr, length), car->name,
                                                    EPOCH_S + rig->now_us / US_PER_S, 100 * LIFETIME_S,
                                                    car->slot[0].bytes, sizeof(car->slot[0].bytes));
    for (int attempt = 0; attempt < 2 && !car_connect(car); attempt++)
        rig_pass(rig, 2 * US_PER_S);
    if (car->connection)
        car_say(car, "vehicleactive/%s");
}

/* ---- events ---------------------------------------------------------------------------------------------------------- */

static void provision(struct walk *walk, struct car *car)
{
    if (below(walk, 2))
        provision_by_claim(car);
    else
        provision_by_registration(walk, car);
}

static void clone(struct walk *walk, struct car *car)
{
    struct car *twin = malloc(sizeof(*twin));
    assert_non_null(twin);
    if (car_has_identity(car)) {
        *twin = *car;
        twin->connection = NULL;
        for (int i = 0; i < 6; i++) {
            struct car *now = i % 2 ? car : twin;
            if (!now->connection)
                car_connect(now);
            rig_pass(&walk->rig, US_PER_S);
        }
        car_lost(twin);
        rig_pump(&walk->rig);
    }
    free(twin);
}

static void swap(struct walk *walk, struct car *car, bool out_only)
{
    struct rig *rig = &walk->rig;
    char next[64] = "";
    if (!out_only)
        snprintf(next, sizeof(next), "tcu-%" PRIu64, rig->devices++);
    if (cloud_lifecycle_swap(rig->life, rig->now_us, car_thing(car), span_text(car->device), span_text(next)) !=
        CLOUD_VEHICLES_DONE)
        return;
    if (car->device[0]) { /* the old device goes about with what it has stored */
        struct car *lost = &walk->lost[walk->lost_count++ % LOST_DEVICES];
        *lost = *car;
        lost->connection = NULL;
    }
    forget_identity(car);
    strcpy(car->device, next);
}

/* A device that was taken out tries everything it has. */
static void lost_device(struct walk *walk)
{
    if (walk->lost_count == 0)
        return;
    struct car *lost = &walk->lost[below(walk, walk->lost_count < LOST_DEVICES ? walk->lost_count : LOST_DEVICES)];
    struct cloud_peer attestation = {.has_certificate = true};
    char name[64];
    strcpy(attestation.common_name, lost->device);
    assert_false(cloud_lifecycle_resolve(walk->rig.life, &attestation, name));
    for (int slot = 0; slot < 2; slot++)
        if (lost->slot[slot].length)
            assert_false(car_connect_as(lost, &lost->slot[slot], lost->name));
    walk->refused_lost++;
}

static void sell(struct walk *walk, struct car *car)
{
    char tenant[24];
    snprintf(tenant, sizeof(tenant), "tenant-%u", (unsigned)below(walk, 50));
    cloud_lifecycle_change_owner(walk->rig.life, walk->rig.now_us, car_thing(car), span_text(tenant));
}

enum event {
    PROVISION,
    ROTATE,
    STEP,
    REVOKE,
    RELEASE,
    SWAP,
    TAKE_OUT,
    SELL,
    DECOMMISSION,
    POWER,
    LINK,
    ANSWER,
    CLONE,
    LOST_DEVICE,
    EVENTS
};
static const struct {
    const char *name;
    uint32_t weight;
} kinds[EVENTS] = {{"provision", 120}, {"rotate", 250}, {"step", 300}, {"revoke", 20},      {"release", 40},
                   {"swap", 20},       {"take out", 8}, {"sell", 30},  {"decommission", 1}, {"power", 80},
                   {"link", 60},       {"answer", 60},  {"clone", 6},  {"lost device", 15}};

static enum event draw(struct walk *walk)
{
    uint64_t total = 0, at;
    for (int i = 0; i < EVENTS; i++)
        total += kinds[i].weight;
    at = below(walk, total);
    int kind = 0;
    while (at >= kinds[kind].weight)
        at -= kinds[kind++].weight;
    return (enum event)kind;
}

static void happen(struct walk *walk, enum event event, struct car *car)
{
    struct rig *rig = &walk->rig;
    struct cloud_vehicle vehicle = vehicle_of(walk, car);
    switch (event) {
    case PROVISION:
        if (vehicle.state == CLOUD_VEHICLE_BUILT || !car_has_identity(car) || below(walk, 20) == 0)
            provision(walk, car);
        break;
    case ROTATE:
        cloud_lifecycle_rotate(rig->life, rig->now_us, car_thing(car));
        for (uint64_t steps = below(walk, 8); steps > 0; steps--) {
            rig_pass(rig, below(walk, 3) * US_PER_S);
            advance(car);
        }
        break;
    case STEP: advance(car); break;
    case REVOKE: cloud_lifecycle_revoke(rig->life, rig->now_us, car_thing(car), "test"); break;
    case RELEASE:
        if (cloud_lifecycle_release(rig->life, rig->now_us, car_thing(car)))
            provision(walk, car);
        break;
    case SWAP: swap(walk, car, false); break;
    case TAKE_OUT: swap(walk, car, true); break;
    case SELL: sell(walk, car); break;
    case DECOMMISSION: cloud_lifecycle_decommission(rig->life, rig->now_us, car_thing(car)); break;
    case POWER: lose_power(car); break;
    case LINK: car_lost(car); break;
    case ANSWER:
        rig->lose_answer = true;
        advance(car);
        rig->lose_answer = false;
        break;
    case CLONE: clone(walk, car); break;
    case LOST_DEVICE: lost_device(walk); break;
    default: fail();
    }
    walk->done[event]++;
}

/* ---- the walk -------------------------------------------------------------------------------------------------------- */

static void touch(struct walk *walk, uint32_t number)
{
    if (walk->is_dirty[number])
        return;
    walk->is_dirty[number] = true;
    walk->dirty[walk->dirty_count++] = number;
}

/* Back in service what can be; every job comes to its end. */
static void run_to_the_end(struct walk *walk)
{
    struct rig *rig = &walk->rig;
    for (int round = 0; round < 40; round++) {
        bool busy = false;
        for (uint32_t i = 0; i < walk->dirty_count; i++) {
            struct car *car = &walk->cars[walk->dirty[i]];
            if (round == 0 && car_has_identity(car) && !online(car) && !car->granted)
                forget_identity(car);
            struct cloud_vehicle vehicle = vehicle_of(walk, car);
            if (round == 0 && !car_has_identity(car) && vehicle.state <= CLOUD_VEHICLE_ACTIVE && vehicle.changes > 1)
                provision(walk, car);
            advance(car);
            busy |= car->step != IDLE;
        }
        rig_pass(rig, 30 * US_PER_S);
        if (!busy && round > 3 && cloud_jobs_open(cloud_lifecycle_jobs(rig->life)) == 0)
            break;
    }
    rig_pass(rig, CUT_BOUND);
    for (uint32_t i = 0; i < walk->dirty_count; i++)
        walk->is_dirty[walk->dirty[i]] = false;
    walk->dirty_count = 0;
}

static int64_t draw_cut(void *context)
{
    struct rig *rig = context;
    return (int64_t)(rig->devices * 7919 % 300) * US_PER_S; /* up to five minutes */
}

static void flaw_found(void *context, enum cloud_flaw_kind kind, struct span thing)
{
    struct walk *walk = context;
    fprintf(stderr, "seed %" PRIu64 ": %s: %.*s\n", seed, cloud_flaw_name(kind), (int)thing.length,
            (const char *)thing.data);
    for (uint64_t i = 0; i < vehicles; i++) {
        const struct car *car = &walk->cars[i];
        if (!span_equal(car_thing(car), thing))
            continue;
        struct cloud_vehicle_entry history[200];
        uint32_t length = cloud_vehicles_history(cloud_lifecycle_vehicles(walk->rig.life), thing, history, 200);
        fprintf(stderr, "  vehicle: step %d, job %s, state %s, connected %d\n", car->step, car->job,
                cloud_vehicle_state_name(vehicle_of(walk, car).state), car->connection != NULL);
        for (uint32_t h = length > 12 ? length - 12 : 0; h < length && h < 200; h++)
            fprintf(stderr, "  %" PRId64 " %s %s\n", history[h].at_s - EPOCH_S,
                    cloud_vehicle_change_name(history[h].change), history[h].detail);
    }
}

static void walk_on(void **state)
{
    struct walk *walk = calloc(1, sizeof(*walk));
    struct cloud_lifecycle_options options = {.require_device = true,
                                              .clone_takeovers = 4,
                                              .clone_window_us = 5 * US_PER_MIN,
                                              .rotation = {.in_progress_timeout_us = 7 * US_PER_DAY}};
    assert_non_null(walk);
    rig_open_cut(&walk->rig, options, draw_cut);
    walk->random = seed;
    walk->cars = calloc(vehicles, sizeof(*walk->cars));
    walk->dirty = calloc(vehicles, sizeof(*walk->dirty));
    walk->is_dirty = calloc(vehicles, sizeof(*walk->is_dirty));
    assert_true(walk->cars && walk->dirty && walk->is_dirty);
    for (uint64_t i = 0; i < vehicles; i++)
        car_build(&walk->rig, &walk->cars[i], i);
    for (uint64_t event = 1; event <= events; event++) {
        uint32_t number = (uint32_t)below(walk, vehicles);
        happen(walk, draw(walk), &walk->cars[number]);
        touch(walk, number);
        rig_pass(&walk->rig, (int64_t)below(walk, 2 * US_PER_S));
        if (event % ROUND && event != events)
            continue;
        run_to_the_end(walk);
        uint32_t flaws = cloud_lifecycle_verify(walk->rig.life, walk->rig.now_us, CUT_BOUND, flaw_found, walk);
        if (flaws)
            fail_msg("seed %" PRIu64 ", event %" PRIu64 ": %u flaws", seed, event, flaws);
    }
    for (int i = 0; i < EVENTS; i++)
        printf("%-12s %8" PRIu64 "\n", kinds[i].name, walk->done[i]);
    static const char *const told[] = {
        "provisioned", "active",  "queued", "started",     "issued", "deactivated", "ended",          "revoked",
        "cut",         "refused", "clone",  "quarantined", "owner",  "swapped",     "decommissioned", "forbidden"};
    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++)
        printf("told %-14s %8" PRIu64 "\n", told[i], walk->rig.seen[i].count);
    printf("%" PRIu64 " events, %" PRIu64 " vehicles, seed %" PRIu64 ": hash %016" PRIx64 ", %" PRIu64
           " bytes of identities\n",
           events, vehicles, seed, cloud_lifecycle_hash(walk->rig.life), cloud_lifecycle_bytes(walk->rig.life));
    /* A walk in which one of them never happened has shown nothing. */
    for (int i = 0; i < EVENTS && events >= 10000; i++)
        assert_true(walk->done[i] > 0);
    for (int kind = 0; kind < CLOUD_LIFE_FORBIDDEN && events >= 100000; kind++)
        if (kind != CLOUD_LIFE_QUARANTINED) /* the walk's decision on clones is to revoke */
            assert_true(walk->rig.seen[kind].count > 0);
    assert_int_equal(walk->rig.seen[CLOUD_LIFE_FORBIDDEN].count, 0);
    rig_close(&walk->rig);
    free(walk->is_dirty);
    free(walk->dirty);
    free(walk->cars);
    free(walk);
}

static uint64_t number_of(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    if (*end || value == 0) {
        fprintf(stderr, "'%s' is not a number above 0\n", text);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    const char *wanted = getenv("CONVOY_WALK_EVENTS");
    if (argc > 1 || wanted)
        events = number_of(argc > 1 ? argv[1] : wanted);
    if (argc > 2)
        seed = number_of(argv[2]);
    if (argc > 3)
        vehicles = number_of(argv[3]);
    const struct CMUnitTest tests[] = {cmocka_unit_test(walk_on)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
