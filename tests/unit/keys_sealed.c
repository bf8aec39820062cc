/* Sealed commands: what the key service makes opens with the right keys only, as it was made only; both kinds. */
#include "cloud/keys.h"
#include "vehicle/crypto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ID        UINT64_C(0x1122334455667788)
#define EXPIRES_S 1700000060u
#define SMS_MAX   140

typedef size_t unseal_function(struct span public_key, const uint8_t vehicle_key[CLOUD_VEHICLE_KEY], struct span sealed,
                               uint8_t *out, size_t capacity, bool *forged);

/* A cloud and one of its vehicles. */
struct pair {
    struct cloud_keys *keys;
    unseal_function *unseal;
    uint8_t public_key[128], vehicle_key[CLOUD_VEHICLE_KEY], sealed[CLOUD_SEALED_MAX];
    size_t public_length, sealed_length;
};

static struct cloud_keys *real_keys(struct span private_key, uint8_t master_byte)
{
    uint8_t master[32];
    char error[200] = "";
    memset(master, master_byte, sizeof(master));
    struct cloud_keys *keys = cloud_keys_real(private_key, master, error, sizeof(error));
    if (!keys)
        fail_msg("%s", error);
    return keys;
}

static void open_pair(struct pair *pair, bool real, const char *thing)
{
    memset(pair, 0, sizeof(*pair));
    pair->keys = real ? real_keys((struct span){0}, 7) : cloud_keys_modelled(7);
    assert_non_null(pair->keys);
    pair->unseal = real ? tcu_crypto_unseal : cloud_keys_modelled_unseal;
    pair->public_length = cloud_keys_public(pair->keys, pair->public_key, sizeof(pair->public_key));
    assert_int_equal(pair->public_length, real ? 91 : 32);
    cloud_keys_vehicle(pair->keys, span_text(thing), pair->vehicle_key);
}

static void seal(struct pair *pair, const char *thing, uint64_t id, const char *name)
{
    pair->sealed_length = cloud_keys_seal(pair->keys, span_text(thing), id, span_text(name), EXPIRES_S, pair->sealed,
                                          sizeof(pair->sealed));
    assert_int_equal(pair->sealed_length, CLOUD_SEALED_OVERHEAD + strlen(name));
}

static size_t unseal(const struct pair *pair, uint8_t *out, size_t capacity, bool *forged)
{
    return pair->unseal(span_of(pair->public_key, pair->public_length), pair->vehicle_key,
                        span_of(pair->sealed, pair->sealed_length), out, capacity, forged);
}

static void opens_as(const struct pair *pair, uint64_t id, const char *name)
{
    uint8_t out[64];
    bool forged = true;
    size_t length = unseal(pair, out, sizeof(out), &forged);
    uint64_t read = 0;
    assert_int_equal(length, 8 + strlen(name));
    assert_false(forged);
    for (int i = 0; i < 8; i++)
        read = read << 8 | out[i];
    assert_true(read == id);
    assert_memory_equal(out + 8, name, strlen(name));
}

static void is_refused(const struct pair *pair, bool as_forged)
{
    uint8_t out[64];
    bool forged = !as_forged;
    assert_int_equal(unseal(pair, out, sizeof(out), &forged), 0);
    assert_int_equal(forged, as_forged);
}

static uint64_t sequence_of(const struct pair *pair)
{
    uint64_t sequence = 0;
    for (int i = 4; i < 12; i++)
        sequence = sequence << 8 | pair->sealed[i];
    return sequence;
}

/* ---- tests, each for both kinds --------------------------------------------------------------------------------------- */

static void round_trips(void **state)
{
    for (int real = 0; real < 2; real++) {
        struct pair pair;
        open_pair(&pair, real, "car-7");
        seal(&pair, "car-7", ID, "unlock");
        opens_as(&pair, ID, "unlock");
        const uint8_t head[16] = {'C', 'V', 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x65, 0x53, 0xF1, 0x3C};
        assert_memory_equal(pair.sealed, head, sizeof(head));
        for (size_t i = 0; i + 6 <= pair.sealed_length; i++)
            assert_memory_not_equal(pair.sealed + i, "unlock", 6);
        seal(&pair, "car-7", 0, "x");
        opens_as(&pair, 0, "x");
        seal(&pair, "car-7", UINT64_MAX, "x");
        opens_as(&pair, UINT64_MAX, "x");
        cloud_keys_destroy(pair.keys);
    }
}

static void every_changed_bit_is_refused(void **state)
{
    for (int real = 0; real < 2; real++) {
        struct pair pair;
        open_pair(&pair, real, "car-7");
        seal(&pair, "car-7", ID, "unlock");
        for (size_t bit = 0; bit < 8 * pair.sealed_length; bit++) {
            pair.sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
            is_refused(&pair,
                       bit >= 8 * 4); /* the first four bytes are the form: those of another are not looked into */
            pair.sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        opens_as(&pair, ID, "unlock");
        cloud_keys_destroy(pair.keys);
    }
}

static void every_other_length_is_refused(void **state)
{
    for (int real = 0; real < 2; real++) {
        struct pair pair;
        open_pair(&pair, real, "car-7");
        seal(&pair, "car-7", ID, "unlock");
        size_t whole = pair.sealed_length;
        uint8_t out[64];
        bool forged;
        for (pair.sealed_length = 0; pair.sealed_length <= sizeof(pair.sealed); pair.sealed_length++)
            if (pair.sealed_length != whole)
                assert_int_equal(unseal(&pair, out, sizeof(out), &forged), 0);
        pair.sealed_length = whole;
        assert_int_equal(unseal(&pair, out, 13, &forged), 0);
        assert_int_equal(unseal(&pair, out, 14, &forged), 14);
        cloud_keys_destroy(pair.keys);
    }
}

/* Signed by the cloud, and meant for somebody else. */
static void another_vehicle_cannot_read_it(void **state)
{
    for (int real = 0; real < 2; real++) {
        struct pair pair;
        open_pair(&pair, real, "car-8");
        seal(&pair, "car-7", ID, "unlock");
        is_refused(&pair, false);
        seal(&pair, "car-8", ID, "unlock");
        opens_as(&pair, ID, "unlock");
        cloud_keys_destroy(pair.keys);
    }
}

/* The vehicle's key is known to the forger, the cloud's is not. */
static void another_cloud_cannot_make_it(void **state)
{
    for (int real = 0; real < 2; real++) {
        struct pair pair;
        open_pair(&pair, real, "car-7");
        struct cloud_keys *other = real ? real_keys((struct span){0}, 7) : cloud_keys_modelled(8);
        uint8_t key[CLOUD_VEHICLE_KEY];
        cloud_keys_vehicle(other, SPAN_LITERAL("car-7"), key);
        assert_int_equal(memcmp(key, pair.vehicle_key, sizeof(key)) == 0, real);
        pair.sealed_length = cloud_keys_seal(other, SPAN_LITERAL("car-7"), ID, SPAN_LITERAL("unlock"), EXPIRES_S,
                                             pair.sealed, sizeof(pair.sealed));
        is_refused(&pair, true);
        cloud_keys_destroy(other);
        cloud_keys_destroy(pair.keys);
    }
}

static void no_key_at_all_opens_nothing(void **state)
{
    struct pair pair;
    open_pair(&pair, true, "car-7");
    seal(&pair, "car-7", ID, "unlock");
    pair.public_length = 0;
    is_refused(&pair, true);
    pair.public_length = 40;
    is_refused(&pair, true);
    cloud_keys_destroy(pair.keys);
}

static void lengths_fit_an_sms(void **state)
{
    for (int real = 0; real < 2; real++) {
        struct pair pair;
        char name[64];
        open_pair(&pair, real, "car-7");
        for (size_t length = 1; length <= 48; length++) {
            memset(name, 'a', sizeof(name));
            name[length] = 0;
            seal(&pair, "car-7", ID, name);
            opens_as(&pair, ID, name);
            assert_true(length > 36 || pair.sealed_length <= SMS_MAX);
        }
        memset(name, 'a', 49);
        assert_int_equal(cloud_keys_seal(pair.keys, SPAN_LITERAL("car-7"), ID, span_of(name, 49), EXPIRES_S,
                                         pair.sealed, sizeof(pair.sealed)),
                         0);
        assert_int_equal(cloud_keys_seal(pair.keys, SPAN_LITERAL("car-7"), ID, (struct span){0}, EXPIRES_S, pair.sealed,
                                         sizeof(pair.sealed)),
                         0);
        assert_int_equal(cloud_keys_seal(pair.keys, SPAN_LITERAL("car-7"), ID, SPAN_LITERAL("unlock"), EXPIRES_S,
                                         pair.sealed, CLOUD_SEALED_OVERHEAD + 5),
                         0);
        cloud_keys_destroy(pair.keys);
    }
}

/* Another sequence, other bytes all over, the same command. */
static void the_same_command_sealed_again(void **state)
{
    for (int real = 0; real < 2; real++) {
        struct pair pair, before;
        open_pair(&pair, real, "car-7");
        seal(&pair, "car-7", ID, "unlock");
        before = pair;
        seal(&pair, "car-7", ID, "unlock");
        assert_true(sequence_of(&pair) == sequence_of(&before) + 1);
        assert_memory_not_equal(pair.sealed + 16, before.sealed + 16, 14);
        opens_as(&before, ID, "unlock");
        opens_as(&pair, ID, "unlock");
        cloud_keys_destroy(pair.keys);
    }
}

static void sequences_are_each_vehicles_own(void **state)
{
    struct pair pair;
    char thing[16];
    open_pair(&pair, false, "car-0");
    uint64_t empty = cloud_keys_bytes(pair.keys);
    assert_true(empty < 4096);
    for (uint64_t round = 1; round <= 3; round++) {
        for (int i = 0; i < 1000; i++) {
            snprintf(thing, sizeof(thing), "car-%d", i);
            seal(&pair, thing, ID, "unlock");
            assert_true(sequence_of(&pair) == round);
        }
    }
    assert_true(cloud_keys_bytes(pair.keys) - empty <= 1000 * 16 * 3);
    cloud_keys_begin(pair.keys, 500);
    seal(&pair, "car-0", ID, "unlock");
    assert_true(sequence_of(&pair) == 4);
    seal(&pair, "new", ID, "unlock");
    assert_true(sequence_of(&pair) == 500);
    cloud_keys_reach(pair.keys, SPAN_LITERAL("car-0"), 9);
    cloud_keys_reach(pair.keys, SPAN_LITERAL("new"), 9); /* which is there already */
    seal(&pair, "car-0", ID, "unlock");
    assert_true(sequence_of(&pair) == 9);
    seal(&pair, "new", ID, "unlock");
    assert_true(sequence_of(&pair) == 501);
    cloud_keys_destroy(pair.keys);
}

/* Two instances of one seed say the same: runs are repeatable. */
static void the_model_repeats(void **state)
{
    struct pair a, b;
    open_pair(&a, false, "car-7");
    open_pair(&b, false, "car-7");
    seal(&a, "car-7", ID, "unlock");
    seal(&b, "car-7", ID, "unlock");
    assert_memory_equal(a.sealed, b.sealed, a.sealed_length);
    cloud_keys_destroy(a.keys);
    cloud_keys_destroy(b.keys);
}

/* A service opened again with its private key and master is the same to its vehicles. */
static void real_keys_come_back(void **state)
{
    uint8_t key[TCU_KEY_MAX], request[TCU_REQUEST_MAX], was[128], is[128];
    size_t key_length = sizeof(key), request_length = sizeof(request);
    char error[200] = "";
    assert_true(tcu_crypto_enroll(SPAN_LITERAL("x"), key, &key_length, request, &request_length)); /* any P-256 key */
    struct cloud_keys *first = real_keys(span_of(key, key_length), 1), *again = real_keys(span_of(key, key_length), 1);
    struct pair pair = {.keys = again, .unseal = tcu_crypto_unseal};
    size_t length = cloud_keys_public(first, was, sizeof(was));
    assert_int_equal(cloud_keys_public(again, is, sizeof(is)), length);
    assert_memory_equal(was, is, length);
    assert_int_equal(cloud_keys_public(again, is, length - 1), 0);
    cloud_keys_vehicle(first, SPAN_LITERAL("car-7"), pair.vehicle_key);
    memcpy(pair.public_key, was, pair.public_length = length);
    seal(&pair, "car-7", ID, "unlock");
    opens_as(&pair, ID, "unlock");
    cloud_keys_destroy(first);
    cloud_keys_destroy(again);
    uint8_t master[32] = {0};
    assert_null(cloud_keys_real(SPAN_LITERAL("no key"), master, error, sizeof(error)));
    assert_non_null(strstr(error, "no private key"));
    assert_null(cloud_keys_real(span_of(key, key_length - 1), master, error, sizeof(error)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips),
        cmocka_unit_test(every_changed_bit_is_refused),
        cmocka_unit_test(every_other_length_is_refused),
        cmocka_unit_test(another_vehicle_cannot_read_it),
        cmocka_unit_test(another_cloud_cannot_make_it),
        cmocka_unit_test(no_key_at_all_opens_nothing),
        cmocka_unit_test(lengths_fit_an_sms),
        cmocka_unit_test(the_same_command_sealed_again),
        cmocka_unit_test(sequences_are_each_vehicles_own),
        cmocka_unit_test(the_model_repeats),
        cmocka_unit_test(real_keys_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
