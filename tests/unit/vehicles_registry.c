/* The vehicle registry: who is whose, all results of each call, hash and seal, history and state, what it costs, its database. */
#include "cloud-mock/registry/vehicles_internal.h"
#include "memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "files_rig.h"

#define NOW_S INT64_C(1790000000)

static const uint8_t key[32] = "a key of thirty-two bytes, as is";

static struct cloud_vehicles *open_vehicles(void)
{
    struct cloud_vehicles *vehicles = cloud_vehicles_create(key, 7);
    assert_non_null(vehicles);
    return vehicles;
}

static struct span vin_of(uint64_t number)
{
    static char vins[4][CLOUD_VIN_LENGTH + 1];
    static int turn;
    char *vin = vins[turn++ % 4];
    cloud_vin_make(3, number, vin);
    return span_text(vin);
}

static struct span name_of(const char *family, uint32_t number)
{
    static char names[8][64];
    static int turn;
    char *name = names[turn++ % 8];
    snprintf(name, 64, "%s-%05u", family, number);
    return span_text(name);
}

static void put(struct cloud_vehicles *vehicles, uint32_t number, char reference[CLOUD_REFERENCE_MAX + 1])
{
    assert_int_equal(cloud_vehicles_register(vehicles, NOW_S + number, vin_of(number), name_of("TCU", number),
                                             number % 2 ? SPAN_LITERAL("north") : SPAN_LITERAL("south"), reference),
                     CLOUD_VEHICLES_DONE);
}

/* Its history, replayed, ends in its state and its device. */
static void check_history(const struct cloud_vehicles *vehicles, struct span reference)
{
    struct cloud_vehicle vehicle;
    assert_true(cloud_vehicles_get(vehicles, reference, &vehicle));
    struct cloud_vehicle_entry *entries = calloc(vehicle.changes + 1, sizeof(*entries));
    assert_int_equal(cloud_vehicles_history(vehicles, reference, entries, vehicle.changes), vehicle.changes);
    assert_int_equal(entries[0].change, CLOUD_CHANGE_REGISTERED);
    enum cloud_vehicle_state state = CLOUD_VEHICLE_DECOMMISSIONED;
    uint32_t owner = 1;
    char device[65] = "?";
    for (uint32_t i = 0; i < vehicle.changes; i++) {
        assert_true(cloud_vehicle_step(&state, entries[i].change));
        assert_true(i == 0 || entries[i].at_s >= entries[i - 1].at_s);
        if (entries[i].change == CLOUD_CHANGE_DEVICE_IN)
            strcpy(device, entries[i].detail);
        if (entries[i].change == CLOUD_CHANGE_DEVICE_OUT) {
            assert_true(device[0] == '?' || strcmp(device, entries[i].detail) == 0);
            device[0] = 0;
        }
        owner += entries[i].change == CLOUD_CHANGE_OWNER;
    }
    assert_int_equal(state, vehicle.state);
    assert_int_equal(owner, vehicle.owner);
    if (device[0] != '?')
        assert_string_equal(device, vehicle.device);
    free(entries);
}

/* ---- registration ------------------------------------------------------------------------------------------------- */

static void found_by_each_of_its_names(void **state)
{
    struct cloud_vehicles *vehicles = open_vehicles();
    struct cloud_vehicle v;
    char reference[CLOUD_REFERENCE_MAX + 1] = "";
    put(vehicles, 5, reference);
    assert_int_equal(strlen(reference), 36);
    assert_int_equal(strspn(reference, "0123456789abcdef-"), 36);
    assert_true(reference[8] == '-' && reference[13] == '-' && reference[18] == '-' && reference[23] == '-');
    assert_int_equal(reference[14], '4');
    assert_non_null(strchr("89ab", reference[19]));
    for (int way = 0; way < 3; way++) {
        assert_true(way == 0   ? cloud_vehicles_get(vehicles, span_text(reference), &v)
                    : way == 1 ? cloud_vehicles_by_device(vehicles, SPAN_LITERAL("TCU-00005"), &v)
                               : cloud_vehicles_by_vin(vehicles, vin_of(5), &v));
        assert_string_equal(v.reference, reference);
        assert_string_equal(v.device, "TCU-00005");
        assert_string_equal(v.tenant, "north");
        assert_int_equal(v.state, CLOUD_VEHICLE_BUILT);
        assert_int_equal(v.owner, 1);
        assert_int_equal(v.data_since_s, NOW_S + 5);
        assert_int_equal(v.changes, 1);
        assert_int_equal(v.ecus, 0);
    }
    assert_false(cloud_vehicles_get(vehicles, SPAN_LITERAL("nobody"), &v));
    assert_false(cloud_vehicles_by_device(vehicles, SPAN_LITERAL("TCU-00006"), &v));
    assert_false(cloud_vehicles_by_vin(vehicles, vin_of(6), &v));
    assert_false(cloud_vehicles_by_vin(vehicles, SPAN_LITERAL("no VIN at all"), &v));
    assert_int_equal(cloud_vehicles_history(vehicles, SPAN_LITERAL("nobody"), NULL, 0), 0);
    cloud_vehicles_destroy(vehicles);
}

static enum cloud_vehicles_result enrol(struct cloud_vehicles *vehicles, struct span vin, const char *device,
                                        const char *tenant, char *reference)
{
    return cloud_vehicles_register(vehicles, NOW_S, vin, span_text(device), span_text(tenant), reference);
}

static void results_of_registration(void **state)
{
    struct cloud_vehicles *vehicles = open_vehicles();
    char one[64] = "car-1", two[64] = "car-2", any[64] = "", other[64] = "car-9";
    char long_text[65];
    memset(long_text, 'x', 64);
    long_text[64] = 0;
    assert_int_equal(enrol(vehicles, SPAN_LITERAL("1M8GDM9A1KP042788"), "A", "t", one), CLOUD_VEHICLES_BAD_VIN);
    assert_int_equal(enrol(vehicles, (struct span){NULL, 0}, "A", "t", one), CLOUD_VEHICLES_BAD_VIN);
    assert_int_equal(enrol(vehicles, vin_of(1), long_text, "t", one), CLOUD_VEHICLES_DEVICE_WRONG);
    assert_int_equal(enrol(vehicles, vin_of(1), "A", long_text, one), CLOUD_VEHICLES_UNKNOWN);
    assert_int_equal(enrol(vehicles, vin_of(1), "A", "t", one), CLOUD_VEHICLES_DONE);
    /* The same again is only checked. */
    assert_int_equal(enrol(vehicles, vin_of(1), "A", "t", one), CLOUD_VEHICLES_DONE);
    assert_int_equal(enrol(vehicles, vin_of(1), "A", "t", any), CLOUD_VEHICLES_DONE);
    assert_string_equal(any, "car-1");
    assert_int_equal(cloud_vehicles_history(vehicles, SPAN_LITERAL("car-1"), NULL, 0), 1);
    assert_int_equal(enrol(vehicles, vin_of(1), "B", "t", one), CLOUD_VEHICLES_DEVICE_WRONG);
    assert_int_equal(enrol(vehicles, vin_of(1), "A", "t", other), CLOUD_VEHICLES_VIN_KNOWN);
    assert_int_equal(enrol(vehicles, vin_of(1), "A", "u", one), CLOUD_VEHICLES_VIN_KNOWN);
    assert_int_equal(enrol(vehicles, vin_of(2), "A", "t", two), CLOUD_VEHICLES_DEVICE_TAKEN);
    assert_int_equal(enrol(vehicles, vin_of(2), "B", "t", one), CLOUD_VEHICLES_REFERENCE_TAKEN);
    assert_int_equal(enrol(vehicles, vin_of(2), "B", "t", two), CLOUD_VEHICLES_DONE);
    /* Without a device yet. */
    struct cloud_vehicle v;
    assert_int_equal(enrol(vehicles, vin_of(3), "", "t", other), CLOUD_VEHICLES_DONE);
    assert_true(cloud_vehicles_get(vehicles, SPAN_LITERAL("car-9"), &v));
    assert_int_equal(v.state, CLOUD_VEHICLE_WITHOUT_DEVICE);
    assert_string_equal(v.device, "");
    check_history(vehicles, SPAN_LITERAL("car-9"));
    for (int i = 0; i <= CLOUD_VEHICLES_MEMORY; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(cloud_vehicles_result_name((enum cloud_vehicles_result)i),
                                    cloud_vehicles_result_name((enum cloud_vehicles_result)j));
    cloud_vehicles_destroy(vehicles);
}

struct source {
    uint32_t asked, repeats;
};

/* Says each one `repeats` times. */
static void repeat(void *context, char out[37])
{
    struct source *source = context;
    snprintf(out, 37, "00000000-0000-4000-8000-%012u", source->asked++ / source->repeats);
}

static void collisions_are_drawn_again(void **state)
{
    struct cloud_vehicles *vehicles = open_vehicles();
    struct source source = {0, 5};
    struct cloud_vehicle v;
    cloud_vehicles_set_reference_source(vehicles, repeat, &source);
    for (uint32_t i = 0; i < 200; i++) {
        char reference[64] = "", expected[64];
        put(vehicles, i, reference);
        snprintf(expected, sizeof(expected), "00000000-0000-4000-8000-%012u", i);
        assert_string_equal(reference, expected);
        assert_true(cloud_vehicles_by_vin(vehicles, vin_of(i), &v));
        assert_string_equal(v.reference, expected);
    }
    assert_int_equal(source.asked, 5 * 199 + 1);
    source = (struct source){0, 1000000}; /* always the same one */
    char reference[64] = "";
    assert_int_equal(enrol(vehicles, vin_of(900), "X", "t", reference), CLOUD_VEHICLES_REFERENCE_TAKEN);
    assert_string_equal(reference, "");
    assert_false(cloud_vehicles_by_vin(vehicles, vin_of(900), &v));
    assert_false(cloud_vehicles_by_device(vehicles, SPAN_LITERAL("X"), &v));
    assert_true(source.asked <= 1000);
    cloud_vehicles_set_reference_source(vehicles, NULL, NULL);
    assert_int_equal(enrol(vehicles, vin_of(900), "X", "t", reference), CLOUD_VEHICLES_DONE);
    cloud_vehicles_destroy(vehicles);
}

/* ---- hash and seal ------------------------------------------------------------------------------------------------ */

static int compare_nonces(const void *a, const void *b)
{
    return memcmp(a, b, VIN_NONCE_BYTES);
}

static void sealed_and_opened(void **state)
{
    enum { COUNT = 3000 };
    struct cloud_vehicles *vehicles = open_vehicles();
    static const uint8_t other_key[32] = "another key of thirty-two bytes.";
    struct cloud_vehicles *strangers = cloud_vehicles_create(other_key, 7);
    static uint8_t nonces[COUNT][VIN_NONCE_BYTES];
    for (uint32_t i = 0; i < COUNT; i++) {
        char reference[64] = "", vin[CLOUD_VIN_LENGTH + 1] = "";
        put(vehicles, i, reference);
        assert_true(vehicles_vin(vehicles, i, vin));
        assert_memory_equal(vin, vin_of(i).data, sizeof(vin));
        uint8_t sealed[VIN_SEALED_BYTES], hash[VIN_HASH_BYTES], foreign[VIN_HASH_BYTES];
        memcpy(sealed, vehicles_sealed(vehicles, i), sizeof(sealed));
        memcpy(nonces[i], sealed, VIN_NONCE_BYTES);
        seal_hash(vehicles, vin_of(i), hash);
        seal_hash(strangers, vin_of(i), foreign);
        assert_memory_not_equal(hash, foreign, sizeof(hash)); /* keyed */
        assert_true(seal_open(vehicles, sealed, hash, span_text(reference), vin));
        assert_false(seal_open(strangers, sealed, hash, span_text(reference), vin));
        assert_false(seal_open(vehicles, sealed, hash, SPAN_LITERAL("somebody else"), vin));
        assert_false(seal_open(vehicles, sealed, foreign, span_text(reference), vin));
        sealed[i % sizeof(sealed)] ^= (uint8_t)(1u << i % 8);
        assert_false(seal_open(vehicles, sealed, hash, span_text(reference), vin));
    }
    qsort(nonces, COUNT, sizeof(nonces[0]), compare_nonces);
    for (uint32_t i = 1; i < COUNT; i++)
        assert_memory_not_equal(nonces[i - 1], nonces[i], VIN_NONCE_BYTES);
    cloud_vehicles_destroy(strangers);
    cloud_vehicles_destroy(vehicles);
}

/* ---- its life ----------------------------------------------------------------------------------------------------- */

static enum cloud_vehicles_result note(struct cloud_vehicles *vehicles, const char *reference,
                                       enum cloud_vehicle_change change)
{
    return cloud_vehicles_note(vehicles, NOW_S + 100, span_text(reference), change, SPAN_LITERAL("why"));
}

/* Every state with every change: as written down here, and the vehicle does the same. Changes in their order: registered, provisioned, active, rotated,
 * revoked, quarantined, owner, device out, device in, decommissioned; states by letter, '.': not possible. */
static const char letters[] = "BPAQWD";
static const char *const table[] = {"BP..BQBW.D", "BPAPQQPW.D", "BAAAQQAW.D", "BQAQQQQW.D", "B...W.W.BD", "B...D....D"};

static void every_state_and_change(void **state)
{
    static const enum cloud_vehicle_change way[][3] = {
        /* to each state, from BUILT */
        [CLOUD_VEHICLE_BUILT] = {0, 0, 0},
        [CLOUD_VEHICLE_PROVISIONED] = {CLOUD_CHANGE_PROVISIONED, 0, 0},
        [CLOUD_VEHICLE_ACTIVE] = {CLOUD_CHANGE_PROVISIONED, CLOUD_CHANGE_ACTIVE, 0},
        [CLOUD_VEHICLE_QUARANTINED] = {CLOUD_CHANGE_QUARANTINED, 0, 0},
        [CLOUD_VEHICLE_WITHOUT_DEVICE] = {CLOUD_CHANGE_DEVICE_OUT, 0, 0},
        [CLOUD_VEHICLE_DECOMMISSIONED] = {CLOUD_CHANGE_DECOMMISSIONED, 0, 0}};
    struct cloud_vehicles *vehicles = open_vehicles();
    uint32_t number = 0;
    for (int from = 0; from <= CLOUD_VEHICLE_DECOMMISSIONED; from++)
        for (int change = 0; change <= CLOUD_CHANGE_DECOMMISSIONED; change++, number++) {
            char reference[64] = "";
            put(vehicles, number, reference);
            for (int i = 0; i < 3 && way[from][i]; i++) {
                if (way[from][i] == CLOUD_CHANGE_DEVICE_OUT)
                    assert_int_equal(cloud_vehicles_swap(vehicles, NOW_S + 99, span_text(reference),
                                                         name_of("TCU", number), (struct span){NULL, 0}),
                                     CLOUD_VEHICLES_DONE);
                else
                    assert_int_equal(note(vehicles, reference, way[from][i]), CLOUD_VEHICLES_DONE);
            }
            struct cloud_vehicle before, after;
            cloud_vehicles_get(vehicles, span_text(reference), &before);
            assert_int_equal(before.state, from);
            enum cloud_vehicle_state expected = (enum cloud_vehicle_state)from;
            bool can = cloud_vehicle_step(&expected, (enum cloud_vehicle_change)change);
            assert_int_equal(can ? letters[expected] : '.', table[from][change]);
            bool other_call = change == CLOUD_CHANGE_REGISTERED || change == CLOUD_CHANGE_OWNER ||
                              change == CLOUD_CHANGE_DEVICE_OUT || change == CLOUD_CHANGE_DEVICE_IN;
            enum cloud_vehicles_result result = note(vehicles, reference, (enum cloud_vehicle_change)change);
            cloud_vehicles_get(vehicles, span_text(reference), &after);
            assert_int_equal(result, can && !other_call ? CLOUD_VEHICLES_DONE : CLOUD_VEHICLES_STATE);
            assert_int_equal(after.state, can && !other_call ? expected : (enum cloud_vehicle_state)from);
            bool again = (change == CLOUD_CHANGE_ACTIVE && from == CLOUD_VEHICLE_ACTIVE) ||
                         (change == CLOUD_CHANGE_QUARANTINED && from == CLOUD_VEHICLE_QUARANTINED) ||
                         (change == CLOUD_CHANGE_DECOMMISSIONED && from == CLOUD_VEHICLE_DECOMMISSIONED);
            assert_int_equal(after.changes, before.changes + (can && !other_call && !again));
            check_history(vehicles, span_text(reference));
        }
    assert_int_equal(note(vehicles, "nobody", CLOUD_CHANGE_ACTIVE), CLOUD_VEHICLES_UNKNOWN);
    cloud_vehicles_destroy(vehicles);
}

static enum cloud_vehicles_result swap(struct cloud_vehicles *vehicles, const char *reference, const char *device,
                                       const char *next)
{
    return cloud_vehicles_swap(vehicles, NOW_S + 100, span_text(reference), span_text(device), span_text(next));
}

static void swaps(void **state)
{
    struct cloud_vehicles *vehicles = open_vehicles();
    struct cloud_vehicle v;
    struct cloud_vehicle_entry entries[8];
    char one[64] = "car-1", two[64] = "car-2";
    put(vehicles, 1, one);
    put(vehicles, 2, two);
    assert_int_equal(note(vehicles, one, CLOUD_CHANGE_PROVISIONED), CLOUD_VEHICLES_DONE);
    assert_int_equal(swap(vehicles, "nobody", "TCU-00002", "TCU-00002"), CLOUD_VEHICLES_UNKNOWN);
    assert_int_equal(swap(vehicles, one, "TCU-00002", "TCU-00002"), CLOUD_VEHICLES_DEVICE_WRONG); /* before TAKEN */
    assert_int_equal(swap(vehicles, one, "", "NEW"), CLOUD_VEHICLES_DEVICE_WRONG);
    assert_int_equal(swap(vehicles, one, "TCU-00001", "TCU-00002"), CLOUD_VEHICLES_DEVICE_TAKEN);
    assert_int_equal(swap(vehicles, one, "TCU-00001", "TCU-00001"), CLOUD_VEHICLES_STATE);
    assert_int_equal(swap(vehicles, one, "TCU-00001", "NEW"), CLOUD_VEHICLES_DONE);
    assert_true(cloud_vehicles_by_device(vehicles, SPAN_LITERAL("NEW"), &v));
    assert_string_equal(v.reference, one); /* the Reference ID stays */
    assert_int_equal(v.state, CLOUD_VEHICLE_BUILT);
    assert_false(cloud_vehicles_by_device(vehicles, SPAN_LITERAL("TCU-00001"), &v));
    assert_int_equal(cloud_vehicles_history(vehicles, span_text(one), entries, 8), 4);
    assert_int_equal(entries[2].change, CLOUD_CHANGE_DEVICE_OUT);
    assert_string_equal(entries[2].detail, "TCU-00001");
    assert_int_equal(entries[3].change, CLOUD_CHANGE_DEVICE_IN);
    assert_string_equal(entries[3].detail, "NEW");
    assert_int_equal(entries[3].at_s, NOW_S + 100);
    /* Out, and another one in later; the one that was taken out may go elsewhere. */
    assert_int_equal(swap(vehicles, two, "TCU-00002", ""), CLOUD_VEHICLES_DONE);
    assert_int_equal(swap(vehicles, two, "", ""), CLOUD_VEHICLES_STATE);
    assert_true(cloud_vehicles_get(vehicles, span_text(two), &v));
    assert_int_equal(v.state, CLOUD_VEHICLE_WITHOUT_DEVICE);
    assert_string_equal(v.device, "");
    assert_int_equal(note(vehicles, two, CLOUD_CHANGE_PROVISIONED), CLOUD_VEHICLES_STATE);
    assert_int_equal(swap(vehicles, two, "", "NEW"), CLOUD_VEHICLES_DEVICE_TAKEN);
    assert_int_equal(swap(vehicles, two, "", "TCU-00001"), CLOUD_VEHICLES_DONE);
    assert_true(cloud_vehicles_by_device(vehicles, SPAN_LITERAL("TCU-00001"), &v));
    assert_string_equal(v.reference, two);
    assert_int_equal(note(vehicles, two, CLOUD_CHANGE_DECOMMISSIONED), CLOUD_VEHICLES_DONE);
    assert_int_equal(swap(vehicles, two, "TCU-00001", "FRESH"), CLOUD_VEHICLES_STATE);
    assert_int_equal(swap(vehicles, one, "NEW", "TCU-00001"), CLOUD_VEHICLES_DEVICE_TAKEN);
    check_history(vehicles, span_text(one));
    check_history(vehicles, span_text(two));
    cloud_vehicles_destroy(vehicles);
}

static void owners(void **state)
{
    struct cloud_vehicles *vehicles = open_vehicles();
    struct cloud_vehicle v;
    struct cloud_vehicle_entry entries[4];
    char one[64] = "car-1";
    put(vehicles, 1, one);
    struct span car = SPAN_LITERAL("car-1");
    assert_int_equal(cloud_vehicles_change_owner(vehicles, NOW_S + 60, SPAN_LITERAL("nobody"), SPAN_LITERAL("west")),
                     CLOUD_VEHICLES_UNKNOWN);
    assert_int_equal(cloud_vehicles_change_owner(vehicles, NOW_S + 60, car, SPAN_LITERAL("west")), CLOUD_VEHICLES_DONE);
    assert_true(cloud_vehicles_get(vehicles, car, &v));
    assert_string_equal(v.tenant, "west");
    assert_int_equal(v.owner, 2);
    assert_int_equal(v.data_since_s, NOW_S + 60);
    assert_int_equal(cloud_vehicles_history(vehicles, car, entries, 4), 2);
    assert_string_equal(entries[1].detail, "north");
    assert_int_equal(note(vehicles, one, CLOUD_CHANGE_DECOMMISSIONED), CLOUD_VEHICLES_DONE);
    assert_int_equal(cloud_vehicles_change_owner(vehicles, NOW_S + 70, car, SPAN_LITERAL("east")),
                     CLOUD_VEHICLES_STATE);
    assert_true(cloud_vehicles_get(vehicles, car, &v));
    assert_string_equal(v.tenant, "west");
    cloud_vehicles_destroy(vehicles);
}

static void details_come_back(void **state)
{
    struct cloud_vehicles *vehicles = open_vehicles();
    struct cloud_vehicle_entry entries[8];
    char one[64] = "car-1", almost[65];
    static const char id[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    put(vehicles, 1, one);
    struct span car = SPAN_LITERAL("car-1");
    strcpy(almost, id);
    almost[20] = 'A'; /* not as ids are written: a word, cut at 63 */
    cloud_vehicles_note(vehicles, 1, car, CLOUD_CHANGE_PROVISIONED, span_text(id));
    cloud_vehicles_note(vehicles, 2, car, CLOUD_CHANGE_ROTATED, span_text(almost));
    cloud_vehicles_note(vehicles, 3, car, CLOUD_CHANGE_ACTIVE, (struct span){NULL, 0});
    cloud_vehicles_note(vehicles, 4, car, CLOUD_CHANGE_REVOKED, SPAN_LITERAL("stolen 1"));
    assert_int_equal(cloud_vehicles_history(vehicles, car, entries, 8), 5);
    assert_string_equal(entries[1].detail, id);
    almost[63] = 0;
    assert_string_equal(entries[2].detail, almost);
    assert_string_equal(entries[3].detail, "");
    assert_string_equal(entries[4].detail, "stolen 1");
    assert_int_equal(cloud_vehicles_history(vehicles, car, entries, 2), 5); /* the oldest two */
    assert_string_equal(entries[1].detail, id);
    cloud_vehicles_destroy(vehicles);
}

static void ecus(void **state)
{
    struct cloud_vehicles *vehicles = open_vehicles();
    struct cloud_vehicle v;
    char one[64] = "car-1", two[64] = "car-2";
    put(vehicles, 1, one);
    put(vehicles, 2, two);
    struct span car = SPAN_LITERAL("car-1"), other = SPAN_LITERAL("car-2");
    uint8_t a[32] = {1}, b[32] = {2}, c[32] = {3};
    assert_int_equal(cloud_vehicles_add_ecu(vehicles, SPAN_LITERAL("nobody"), SPAN_LITERAL("E1"), a),
                     CLOUD_VEHICLES_UNKNOWN);
    assert_int_equal(cloud_vehicles_add_ecu(vehicles, car, (struct span){NULL, 0}, a), CLOUD_VEHICLES_DEVICE_WRONG);
    assert_int_equal(cloud_vehicles_add_ecu(vehicles, car, SPAN_LITERAL("E1"), a), CLOUD_VEHICLES_DONE);
    assert_int_equal(cloud_vehicles_add_ecu(vehicles, car, SPAN_LITERAL("E1"), a), CLOUD_VEHICLES_DONE);
    assert_int_equal(cloud_vehicles_add_ecu(vehicles, other, SPAN_LITERAL("E1"), b), CLOUD_VEHICLES_DEVICE_TAKEN);
    assert_int_equal(cloud_vehicles_add_ecu(vehicles, other, SPAN_LITERAL("E2"), a), CLOUD_VEHICLES_DEVICE_TAKEN);
    assert_int_equal(cloud_vehicles_add_ecu(vehicles, car, SPAN_LITERAL("E2"), a), CLOUD_VEHICLES_DEVICE_TAKEN);
    assert_int_equal(cloud_vehicles_add_ecu(vehicles, other, SPAN_LITERAL("E2"), b), CLOUD_VEHICLES_DONE);
    /* A new certificate of the same ECU: the old one is nobody's. */
    assert_int_equal(cloud_vehicles_add_ecu(vehicles, car, SPAN_LITERAL("E1"), b), CLOUD_VEHICLES_DEVICE_TAKEN);
    assert_int_equal(cloud_vehicles_add_ecu(vehicles, car, SPAN_LITERAL("E1"), c), CLOUD_VEHICLES_DONE);
    assert_int_equal(cloud_vehicles_add_ecu(vehicles, other, SPAN_LITERAL("E3"), a), CLOUD_VEHICLES_DONE);
    for (uint32_t i = 1; i < CLOUD_ECUS_MAX; i++) {
        a[1] = (uint8_t)i;
        assert_int_equal(cloud_vehicles_add_ecu(vehicles, car, name_of("M", i), a), CLOUD_VEHICLES_DONE);
    }
    a[1] = 99;
    assert_int_equal(cloud_vehicles_add_ecu(vehicles, car, SPAN_LITERAL("one more"), a), CLOUD_VEHICLES_STATE);
    assert_true(cloud_vehicles_get(vehicles, car, &v));
    assert_int_equal(v.ecus, CLOUD_ECUS_MAX);
    assert_int_equal(v.state, CLOUD_VEHICLE_BUILT);
    note(vehicles, two, CLOUD_CHANGE_DECOMMISSIONED);
    assert_int_equal(cloud_vehicles_add_ecu(vehicles, other, SPAN_LITERAL("late"), a), CLOUD_VEHICLES_STATE);
    cloud_vehicles_destroy(vehicles);
}

/* ---- a random walk ------------------------------------------------------------------------------------------------ */

#define FLEET   300
#define DEVICES 500
#define STEPS   100000

static uint64_t luck;

static uint32_t draw(uint32_t below)
{
    luck = luck * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((luck >> 33) % below);
}

static int in_vehicle[DEVICES], device_in[FLEET]; /* -1: none */

static void walk_swap(struct cloud_vehicles *vehicles, uint32_t car, int64_t now_s)
{
    int has = device_in[car], next = draw(4) ? (int)draw(DEVICES) : -1;
    struct cloud_vehicle v;
    assert_true(cloud_vehicles_get(vehicles, name_of("car", car), &v));
    bool taken = next >= 0 && in_vehicle[next] >= 0 && in_vehicle[next] != (int)car;
    bool possible = v.state != CLOUD_VEHICLE_DECOMMISSIONED && has != next;
    enum cloud_vehicles_result result = cloud_vehicles_swap(
        vehicles, now_s, name_of("car", car), has < 0 ? (struct span){NULL, 0} : name_of("D", (uint32_t)has),
        next < 0 ? (struct span){NULL, 0} : name_of("D", (uint32_t)next));
    assert_int_equal(result, taken       ? CLOUD_VEHICLES_DEVICE_TAKEN
                             : !possible ? CLOUD_VEHICLES_STATE
                                         : CLOUD_VEHICLES_DONE);
    if (result != CLOUD_VEHICLES_DONE)
        return;
    if (has >= 0)
        in_vehicle[has] = -1;
    if (next >= 0)
        in_vehicle[next] = (int)car;
    device_in[car] = next;
}

static void check_devices(const struct cloud_vehicles *vehicles)
{
    struct cloud_vehicle v;
    for (uint32_t d = 0; d < DEVICES; d++) {
        bool found = cloud_vehicles_by_device(vehicles, name_of("D", d), &v);
        assert_int_equal(found, in_vehicle[d] >= 0);
        if (found)
            assert_memory_equal(v.reference, name_of("car", (uint32_t)in_vehicle[d]).data, strlen(v.reference) + 1);
    }
}

static void walk(struct cloud_vehicles *vehicles, uint32_t steps)
{
    luck = 11;
    for (uint32_t d = 0; d < DEVICES; d++)
        in_vehicle[d] = -1;
    for (uint32_t i = 0; i < FLEET; i++) {
        char reference[64];
        memcpy(reference, name_of("car", i).data, 64);
        assert_int_equal(
            cloud_vehicles_register(vehicles, NOW_S, vin_of(i), name_of("D", i), SPAN_LITERAL("t"), reference),
            CLOUD_VEHICLES_DONE);
        in_vehicle[i] = device_in[i] = (int)i;
    }
    uint32_t done = 0;
    for (uint32_t step = 0; step < steps; step++) {
        uint32_t car = draw(FLEET), what = draw(100);
        int64_t now_s = NOW_S + step / 10;
        char id[65];
        snprintf(id, sizeof(id), "%064x", step);
        if (what < 20)
            walk_swap(vehicles, car, now_s);
        else if (what < 25)
            done += cloud_vehicles_change_owner(vehicles, now_s, name_of("car", car), name_of("t", draw(5))) ==
                    CLOUD_VEHICLES_DONE;
        else /* decommissioned is for good: rarely */
            done += cloud_vehicles_note(vehicles, now_s, name_of("car", car),
                                        draw(400) == 0 ? CLOUD_CHANGE_DECOMMISSIONED
                                                       : (enum cloud_vehicle_change)draw(CLOUD_CHANGE_DECOMMISSIONED),
                                        what % 2 ? span_text(id) : name_of("why", what)) == CLOUD_VEHICLES_DONE;
    }
    assert_true(done > steps / 10);
    for (uint32_t i = 0; i < FLEET; i++)
        check_history(vehicles, name_of("car", i));
    check_devices(vehicles);
}

static void history_leads_to_state(void **state)
{
    struct cloud_vehicles *vehicles = open_vehicles();
    walk(vehicles, STEPS);
    cloud_vehicles_destroy(vehicles);
}

/* ---- cost --------------------------------------------------------------------------------------------------------- */

static void provisioned_fleet(struct cloud_vehicles *vehicles, uint32_t count, bool with_life)
{
    char id[65];
    for (uint32_t i = 0; i < count; i++) {
        char reference[64] = "";
        put(vehicles, i, reference);
        if (!with_life)
            continue;
        snprintf(id, sizeof(id), "%032x%032x", i, i * 2654435761u);
        cloud_vehicles_note(vehicles, NOW_S + count + i, span_text(reference), CLOUD_CHANGE_PROVISIONED, span_text(id));
        cloud_vehicles_note(vehicles, NOW_S + count + i, span_text(reference), CLOUD_CHANGE_ACTIVE,
                            (struct span){NULL, 0});
    }
}

static void what_it_costs(void **state)
{
    struct cloud_vehicles *vehicles = open_vehicles();
    assert_true(cloud_vehicles_bytes(vehicles) <= 1024);
    cloud_vehicles_destroy(vehicles);
    for (int with_life = 0; with_life < 2; with_life++)
        for (uint32_t count = 2000; count <= 128000; count *= 8) {
            vehicles = open_vehicles();
            provisioned_fleet(vehicles, count, with_life);
            uint64_t bytes = cloud_vehicles_bytes(vehicles) / count;
            print_message("%u vehicles %s: %llu bytes each\n", count, with_life ? "in service" : "built",
                          (unsigned long long)bytes);
            assert_true(bytes <= (with_life ? 220 : 160));
            cloud_vehicles_destroy(vehicles);
        }
}

/* However little memory there is: what was taken in stays as it is, the rest is refused. */
static void out_of_memory(void **state)
{
    uint32_t refusals = 0;
    for (uint64_t pages = 6; pages < 80; pages++) {
        assert_true(memory_begin(pages * 4096));
        struct memory_heap *heap = memory_heap_create();
        if (heap) {
            memory_enter(heap);
            struct cloud_vehicles *vehicles = cloud_vehicles_create(key, 7);
            uint32_t count = 0;
            struct cloud_vehicle v;
            for (enum cloud_vehicles_result result = CLOUD_VEHICLES_DONE; vehicles && result == CLOUD_VEHICLES_DONE;) {
                char reference[64];
                memcpy(reference, name_of("car", count).data, 64);
                result = cloud_vehicles_register(vehicles, NOW_S, vin_of(count), name_of("D", count * 7 % 10007),
                                                 SPAN_LITERAL("t"), reference);
                count += result == CLOUD_VEHICLES_DONE;
                if (result != CLOUD_VEHICLES_DONE)
                    assert_int_equal(result, CLOUD_VEHICLES_MEMORY);
                else if (count % 3 == 0)
                    swap(vehicles, reference, (const char *)name_of("D", (count - 1) * 7 % 10007).data,
                         count % 2 ? "" : reference);
                else
                    note(vehicles, reference, CLOUD_CHANGE_PROVISIONED);
                refusals += result == CLOUD_VEHICLES_MEMORY;
            }
            for (uint32_t i = 0; vehicles && i < count; i++) {
                char vin[CLOUD_VIN_LENGTH + 1];
                assert_true(cloud_vehicles_by_vin(vehicles, vin_of(i), &v));
                assert_memory_equal(v.reference, name_of("car", i).data, strlen(v.reference) + 1);
                assert_true(vehicles_vin(vehicles, i, vin));
                check_history(vehicles, span_text(v.reference));
                struct cloud_vehicle holder;
                if (v.device[0]) {
                    assert_true(cloud_vehicles_by_device(vehicles, span_text(v.device), &holder));
                    assert_string_equal(holder.reference, v.reference);
                }
            }
            assert_false(vehicles && cloud_vehicles_by_vin(vehicles, vin_of(count), &v));
            cloud_vehicles_destroy(vehicles);
            memory_enter(NULL);
            memory_heap_destroy(heap);
        }
        memory_end();
    }
    assert_true(refusals > 20);
}

/* ---- the database ------------------------------------------------------------------------------------------------- */

/* Any VIN at all, by the bytes of the file. */
static int64_t vin_in_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return -1;
    fseek(file, 0, SEEK_END);
    size_t length = (size_t)ftell(file);
    uint8_t *bytes = malloc(length + 1);
    rewind(file);
    assert_int_equal(fread(bytes, 1, length, file), length);
    fclose(file);
    int64_t at = cloud_vin_find(span_of(bytes, length));
    for (uint32_t i = 0; at < 0 && i < FLEET; i++) { /* and the fleet's own, whatever is around them */
        const uint8_t *vin = vin_of(i).data;
        for (size_t place = 0; place + 17 <= length && at < 0; place++)
            if (bytes[place] == vin[0] && memcmp(bytes + place, vin, 17) == 0)
                at = (int64_t)place;
    }
    free(bytes);
    return at;
}

static void run(const char *path, const char *text)
{
    sqlite3 *handle;
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(handle);
}

static void compare(const struct cloud_vehicles *a, const struct cloud_vehicles *b)
{
    for (uint32_t i = 0; i < FLEET; i++) {
        struct cloud_vehicle x, y;
        static struct cloud_vehicle_entry ours[4000], theirs[4000];
        char vin[CLOUD_VIN_LENGTH + 1];
        assert_true(cloud_vehicles_get(a, name_of("car", i), &x));
        assert_true(cloud_vehicles_get(b, name_of("car", i), &y));
        assert_memory_equal(&x, &y, sizeof(x));
        memset(ours, 0, sizeof(ours));
        memset(theirs, 0, sizeof(theirs));
        assert_true(x.changes <= 4000);
        cloud_vehicles_history(a, span_text(x.reference), ours, 4000);
        cloud_vehicles_history(b, span_text(x.reference), theirs, 4000);
        for (uint32_t h = 0; h < x.changes; h++) {
            assert_int_equal(ours[h].at_s, theirs[h].at_s);
            assert_int_equal(ours[h].change, theirs[h].change);
            assert_string_equal(ours[h].detail, theirs[h].detail);
        }
        assert_true(vehicles_vin(b, vehicles_find(b, span_text(x.reference)), vin));
        assert_memory_equal(vin, vin_of(i).data, sizeof(vin));
    }
}

static void saved_and_loaded(void **state)
{
    char path[64] = "/tmp/convoy-vehicles-XXXXXX", wal[96], error[160] = "", reference[64] = "";
    close(mkstemp(path));
    struct cloud_vehicles *vehicles = open_vehicles(), *back = open_vehicles();
    walk(vehicles, 3000);
    uint8_t id[32] = {9};
    cloud_vehicles_add_ecu(vehicles, SPAN_LITERAL("car-00007"), SPAN_LITERAL("ECU"), id);
    for (int round = 0; round < 2; round++) /* replaces */
        if (!cloud_vehicles_save(vehicles, path, error, sizeof(error)))
            fail_msg("%s", error);
    snprintf(wal, sizeof(wal), "%s-wal", path);
    assert_int_equal(vin_in_file(path), -1);
    assert_int_equal(vin_in_file(wal), -1);
    if (!cloud_vehicles_load(back, path, error, sizeof(error)))
        fail_msg("%s", error);
    compare(vehicles, back);
    check_devices(back);
    assert_int_equal(cloud_vehicles_add_ecu(back, SPAN_LITERAL("car-00008"), SPAN_LITERAL("ECU"), id),
                     CLOUD_VEHICLES_DEVICE_TAKEN);
    /* It goes on: new references and nonces are none of before. */
    assert_int_equal(back->nonces, vehicles->nonces);
    put(back, FLEET + 100, reference);
    /* A second time it is all there already; and under another key it does not open. */
    assert_false(cloud_vehicles_load(back, path, error, sizeof(error)));
    assert_non_null(strstr(error, path));
    assert_non_null(strstr(error, "already"));
    static const uint8_t other_key[32] = "another key of thirty-two bytes.";
    struct cloud_vehicles *strangers = cloud_vehicles_create(other_key, 7);
    assert_false(cloud_vehicles_load(strangers, path, error, sizeof(error)));
    assert_non_null(strstr(error, "another key"));
    cloud_vehicles_destroy(strangers);
    cloud_vehicles_destroy(back);
    cloud_vehicles_destroy(vehicles);
    remove_database(path);
}

static void loads_nothing_wrong(void **state)
{
    static const struct {
        const char *change, *says;
    } cases[] = {
        {"UPDATE vehicle SET state='active' WHERE reference='car-00003'", "does not lead"},
        {"DELETE FROM device_history WHERE reference='car-00003' AND change='provisioned'", ""},
        {"INSERT INTO device_history VALUES('car-00003', 1, 'device in', 'X')", "cannot have happened"},
        {"INSERT INTO device_history VALUES('car-00003', 1, 'sold', 'X')", "no known kind"},
        {"INSERT INTO device_history VALUES('nobody', 1, 'active', '')", "no vehicle"},
        {"UPDATE vehicle SET vin_sealed=(SELECT vin_sealed FROM vehicle WHERE reference='car-00004')"
         " WHERE reference='car-00003'",
         "changed since"},
        {"UPDATE vehicle SET vin_hash=x'00' WHERE reference='car-00003'", "cannot be read"},
        {"INSERT INTO ecu VALUES('E', 'nobody', zeroblob(32))", "ECU"},
        {"DROP TABLE ecu", "tables"},
    };
    char path[64] = "/tmp/convoy-vehicles-XXXXXX", error[160] = "";
    close(mkstemp(path));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cloud_vehicles *vehicles = open_vehicles(), *back = open_vehicles();
        for (uint32_t car = 0; car < 6; car++) {
            char reference[64];
            memcpy(reference, name_of("car", car).data, 64);
            put(vehicles, car, reference);
            note(vehicles, reference, CLOUD_CHANGE_PROVISIONED);
        }
        assert_true(cloud_vehicles_save(vehicles, path, error, sizeof(error)));
        run(path, cases[i].change);
        assert_false(cloud_vehicles_load(back, path, error, sizeof(error)));
        if (!strstr(error, path) || !strstr(error, cases[i].says))
            fail_msg("%s: %s", cases[i].change, error);
        cloud_vehicles_destroy(back);
        cloud_vehicles_destroy(vehicles);
        remove_database(path);
    }
    struct cloud_vehicles *vehicles = open_vehicles();
    assert_false(cloud_vehicles_load(vehicles, "/proc/nowhere/vehicles.db", error, sizeof(error)));
    assert_false(cloud_vehicles_save(vehicles, "/proc/nowhere/vehicles.db", error, sizeof(error)));
    assert_non_null(strstr(error, "/proc/nowhere/vehicles.db"));
    cloud_vehicles_destroy(vehicles);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found_by_each_of_its_names),
        cmocka_unit_test(results_of_registration),
        cmocka_unit_test(collisions_are_drawn_again),
        cmocka_unit_test(sealed_and_opened),
        cmocka_unit_test(every_state_and_change),
        cmocka_unit_test(swaps),
        cmocka_unit_test(owners),
        cmocka_unit_test(details_come_back),
        cmocka_unit_test(ecus),
        cmocka_unit_test(history_leads_to_state),
        cmocka_unit_test(what_it_costs),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test(saved_and_loaded),
        cmocka_unit_test(loads_nothing_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
