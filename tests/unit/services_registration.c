/* A vehicle's first days in the cloud, at the level of packets: refused, registered, accepted; and who stays out. */
#include "cloud/services.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define EPOCH_US (INT64_C(1790000000) * US_PER_S)
#define EPOCH_S  INT64_C(1790000000)
#define DELAY_US (3 * US_PER_S)

struct rig {
    struct cloud cloud;
    struct cloud_pki *pki;
    struct cloud_registry *registry;
    struct cloud_bus *watcher;
    /* of the last link */
    bool closed, got_connack;
    uint8_t connack;
    enum cloud_close_reason close_reason;
    /* of the watcher */
    char topic[300], payload[600];
    uint32_t events, refusals;
};

static void door_send(void *door, void *link, const uint8_t *data, size_t length)
{
    struct rig *rig = door;
    struct mq5_packet packet;
    uint32_t first;
    assert_int_equal(mq5_frame(data, length, 0, &first), MQ5_OK);
    assert_int_equal(mq5_decode(MQ5_V5, MQ5_FROM_SERVER, data, first, &packet, NULL), MQ5_OK);
    if (packet.type != MQ5_CONNACK)
        return;
    rig->got_connack = true;
    rig->connack = packet.connack.reason;
}

static void door_close(void *door, void *link, enum cloud_close_reason reason)
{
    struct rig *rig = door;
    rig->closed = true;
    rig->close_reason = reason;
}

static void door_refused(void *door, int64_t now_us, struct span client_id, const struct cloud_peer *peer,
                         uint8_t reason)
{
    ((struct rig *)door)->refusals++;
}

static void watch(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct rig *rig = context;
    rig->events++;
    snprintf(rig->topic, sizeof(rig->topic), "%.*s", (int)message->topic.length, (const char *)message->topic.data);
    snprintf(rig->payload, sizeof(rig->payload), "%.*s", (int)message->payload.length,
             (const char *)message->payload.data);
}

static void rig_open(struct rig *rig, const struct cloud_options *given)
{
    struct cloud_options options = *given;
    memset(rig, 0, sizeof(*rig));
    cloud_broker_defaults(&options.broker);
    options.epoch_us = EPOCH_US;
    options.registration.activation_delay_us = DELAY_US;
    rig->pki = cloud_pki_modelled(3);
    rig->registry = cloud_registry_open(NULL, NULL, 0);
    assert_true(cloud_create(&rig->cloud, &options, rig->pki, rig->registry, door_send, door_close, rig));
    rig->cloud.on_refused = door_refused;
    rig->watcher = cloud_bus_local(rig->cloud.broker, SPAN_LITERAL("watcher"));
    assert_true(rig->watcher->ops->subscribe(rig->watcher, 0, SPAN_LITERAL("$aws/events/#"), 1, watch, rig) < 0x80);
}

static void rig_close(struct rig *rig)
{
    rig->watcher->ops->close(rig->watcher);
    cloud_destroy(&rig->cloud);
    cloud_registry_close(rig->registry);
    cloud_pki_close(rig->pki);
}

struct identity {
    struct cloud_peer peer;
    uint8_t bytes[512];
};

static void identity_make(struct rig *rig, enum cloud_ca ca, const char *name, int64_t from_s, struct identity *out)
{
    uint8_t key[8];
    size_t length = sizeof(out->bytes), key_length = sizeof(key);
    struct cloud_certificate certificate;
    assert_true(cloud_pki_make(rig->pki, ca, name, from_s, 86400, out->bytes, &length, key, &key_length));
    assert_true(cloud_pki_read(rig->pki, span_of(out->bytes, length), &certificate));
    memset(&out->peer, 0, sizeof(out->peer));
    strcpy(out->peer.address, "127.0.0.9");
    cloud_peer_from_certificate(&out->peer, &certificate, span_of(out->bytes, length));
}

enum outcome { ACCEPTED, REFUSED, DROPPED };

static struct cloud_connection *last;

static enum outcome attempt(struct rig *rig, int64_t now_us, const char *client_id, const struct cloud_peer *peer,
                            const char *user, const char *password)
{
    struct mq5_packet packet = {.type = MQ5_CONNECT};
    packet.connect = (struct mq5_connect){.version = MQ5_V5, .clean_start = true, .client_id = span_text(client_id)};
    if (user) {
        packet.connect.has_user_name = packet.connect.has_password = true;
        packet.connect.user_name = span_text(user);
        packet.connect.password = span_text(password);
    }
    uint8_t bytes[512];
    size_t length;
    assert_int_equal(mq5_encode(MQ5_V5, &packet, bytes, sizeof(bytes), &length), MQ5_OK);
    rig->closed = rig->got_connack = false;
    last = cloud_broker_opened(rig->cloud.broker, now_us, rig, peer);
    assert_non_null(last);
    bool alive = cloud_broker_input(rig->cloud.broker, last, now_us, bytes, length);
    assert_int_equal(alive, !rig->closed);
    if (!rig->got_connack)
        return DROPPED;
    return rig->connack == MQ5_SUCCESS ? ACCEPTED : REFUSED;
}

static void first_connect_is_dropped_then_registered(void **state)
{
    struct rig rig;
    struct identity car;
    char hex[65], thing[64];
    uint64_t refused, activated, strangers;
    rig_open(&rig, &(struct cloud_options){0});
    identity_make(&rig, CLOUD_CA_OPERATIONAL, "VIN-1", EPOCH_S - 10, &car);

    assert_int_equal(attempt(&rig, US_PER_S, "VIN-1", &car.peer, NULL, NULL), DROPPED);
    assert_true(rig.closed);
    assert_int_equal(rig.events, 1);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", car.peer.issuer_id[i]);
    assert_string_equal(rig.topic + strlen("$aws/events/certificates/registered/"), hex);
    char expected[400] = "{\"certificateId\":\"", id[65];
    for (int i = 0; i < 32; i++)
        snprintf(id + 2 * i, 3, "%02x", car.peer.certificate_id[i]);
    snprintf(expected, sizeof(expected),
             "{\"certificateId\":\"%s\",\"caCertificateId\":\"%s\",\"timestamp\":1790000001000,\"certificateStatus\":"
             "\"PENDING_ACTIVATION\","
             "\"awsAccountId\":\"123456789012\",\"certificateRegistrationTimestamp\":\"1790000001000\"}",
             id, hex);
    assert_string_equal(rig.payload, expected);
    assert_int_equal(cloud_registry_status(rig.registry, car.peer.certificate_id),
                     CLOUD_CERTIFICATE_PENDING_ACTIVATION);

    /* Comes back too early: the event again, dropped again, and the first delay still counts. */
    assert_int_equal(attempt(&rig, 2 * US_PER_S, "VIN-1", &car.peer, NULL, NULL), DROPPED);
    assert_int_equal(rig.events, 2);
    assert_int_equal(cloud_next_deadline(&rig.cloud), US_PER_S + DELAY_US);
    cloud_tick(&rig.cloud, US_PER_S + DELAY_US - 1);
    assert_int_equal(cloud_registry_status(rig.registry, car.peer.certificate_id),
                     CLOUD_CERTIFICATE_PENDING_ACTIVATION);
    cloud_tick(&rig.cloud, US_PER_S + DELAY_US);
    assert_int_equal(cloud_registry_status(rig.registry, car.peer.certificate_id), CLOUD_CERTIFICATE_ACTIVE);
    assert_true(cloud_registry_thing_of(rig.registry, car.peer.certificate_id, thing));
    assert_string_equal(thing, "VIN-1");

    assert_int_equal(attempt(&rig, 5 * US_PER_S, "VIN-1", &car.peer, NULL, NULL), ACCEPTED);
    assert_string_equal(rig.topic, "$aws/events/presence/connected/VIN-1");
    assert_non_null(
        strstr(rig.payload, "\"thingName\":\"VIN-1\",\"timestamp\":1790000005000,\"eventType\":\"connected\""));
    assert_non_null(strstr(rig.payload, "\"versionNumber\":1,"));
    cloud_broker_closed(rig.cloud.broker, last, 6 * US_PER_S);
    assert_string_equal(rig.topic, "$aws/events/presence/disconnected/VIN-1");
    assert_non_null(
        strstr(rig.payload, "\"clientInitiatedDisconnect\":false,\"disconnectReason\":\"CONNECTION_LOST\""));
    assert_non_null(strstr(rig.payload, "\"versionNumber\":1,"));
    assert_int_equal(attempt(&rig, 7 * US_PER_S, "VIN-1", &car.peer, NULL, NULL), ACCEPTED);
    assert_non_null(strstr(rig.payload, "\"versionNumber\":2,"));
    cloud_broker_closed(rig.cloud.broker, last, 8 * US_PER_S);
    assert_int_equal(attempt(&rig, 9 * US_PER_S + US_PER_HOUR, "VIN-1", &car.peer, NULL, NULL), ACCEPTED);
    assert_non_null(strstr(rig.payload, "\"versionNumber\":0,"));

    cloud_registration_counts(rig.cloud.registration, &refused, &activated, &strangers);
    assert_int_equal(refused, 2);
    assert_int_equal(activated, 1);
    assert_int_equal(strangers, 0);
    assert_int_equal(rig.refusals, 2);
    rig_close(&rig);
}

static void who_stays_out(void **state)
{
    struct rig rig;
    struct identity car, foreign, expired, young;
    rig_open(&rig, &(struct cloud_options){.require_certificate = true});
    identity_make(&rig, CLOUD_CA_OPERATIONAL, "VIN-1", EPOCH_S - 10, &car);
    identity_make(&rig, CLOUD_CA_ATTESTATION, "VIN-1", EPOCH_S - 10, &foreign);
    identity_make(&rig, CLOUD_CA_OPERATIONAL, "VIN-1", EPOCH_S - 90000, &expired);
    identity_make(&rig, CLOUD_CA_OPERATIONAL, "VIN-1", EPOCH_S + 90000, &young);
    assert_int_equal(attempt(&rig, 0, "VIN-1", &foreign.peer, NULL, NULL), REFUSED);
    assert_int_equal(rig.connack, MQ5_NOT_AUTHORIZED);
    assert_int_equal(attempt(&rig, 0, "VIN-1", &expired.peer, NULL, NULL), REFUSED);
    assert_int_equal(attempt(&rig, 0, "VIN-1", &young.peer, NULL, NULL), REFUSED);
    struct cloud_peer nobody = {.tls = true};
    assert_int_equal(attempt(&rig, 0, "VIN-1", &nobody, NULL, NULL), REFUSED);
    assert_int_equal(rig.events, 0);
    assert_int_equal(attempt(&rig, 0, "VIN-1", &car.peer, NULL, NULL), DROPPED);
    cloud_tick(&rig.cloud, DELAY_US);
    assert_int_equal(attempt(&rig, 4 * US_PER_S, "VIN-2", &car.peer, NULL, NULL), REFUSED); /* another's name */
    assert_int_equal(attempt(&rig, 4 * US_PER_S, "VIN-1", &car.peer, NULL, NULL), ACCEPTED);
    assert_true(cloud_registry_set_status(rig.registry, car.peer.certificate_id, CLOUD_CERTIFICATE_REVOKED, EPOCH_S));
    assert_int_equal(attempt(&rig, 5 * US_PER_S, "VIN-1", &car.peer, NULL, NULL), REFUSED);
    rig_close(&rig);
}

static void allow_list_is_checked(void **state)
{
    struct rig rig;
    struct identity known, unknown;
    rig_open(&rig, &(struct cloud_options){.registration = {.check_allow_list = true}});
    identity_make(&rig, CLOUD_CA_OPERATIONAL, "VIN-1", EPOCH_S, &known);
    identity_make(&rig, CLOUD_CA_OPERATIONAL, "VIN-2", EPOCH_S, &unknown);
    cloud_registry_allow(rig.registry, "VIN-1");
    assert_int_equal(attempt(&rig, 0, "VIN-1", &known.peer, NULL, NULL), DROPPED);
    assert_int_equal(attempt(&rig, 0, "VIN-2", &unknown.peer, NULL, NULL), DROPPED);
    cloud_tick(&rig.cloud, DELAY_US);
    assert_int_equal(cloud_registry_status(rig.registry, known.peer.certificate_id), CLOUD_CERTIFICATE_ACTIVE);
    assert_int_equal(cloud_registry_status(rig.registry, unknown.peer.certificate_id), CLOUD_CERTIFICATE_INACTIVE);
    rig_close(&rig);
}

static void passwords(void **state)
{
    struct rig rig;
    struct cloud_peer clear = {0};
    rig_open(&rig, &(struct cloud_options){.user_name = "%", .password = "secret"});
    assert_int_equal(attempt(&rig, 0, "VIN-1", &clear, "VIN-1", "secret"), ACCEPTED);
    assert_int_equal(attempt(&rig, 0, "VIN-1", &clear, "VIN-2", "secret"), REFUSED);
    assert_int_equal(rig.connack, MQ5_BAD_USER_NAME_OR_PASSWORD);
    assert_int_equal(attempt(&rig, 0, "VIN-1", &clear, "VIN-1", "secre"), REFUSED);
    assert_int_equal(attempt(&rig, 0, "VIN-1", &clear, "VIN-1", "secretsecret"), REFUSED);
    assert_int_equal(attempt(&rig, 0, "VIN-1", &clear, "VIN-1", ""), REFUSED);
    assert_int_equal(attempt(&rig, 0, "VIN-1", &clear, NULL, NULL), REFUSED);
    rig_close(&rig);
    rig_open(&rig, &(struct cloud_options){0});
    assert_int_equal(attempt(&rig, 0, "anybody", &clear, NULL, NULL), ACCEPTED);
    rig_close(&rig);
}

/* Many at once, delays drawn: each is activated exactly at its own time. */
static int64_t drawn_us[5000];
static int draws;

static int64_t draw(void *context)
{
    uint64_t x = (uint64_t)draws * UINT64_C(0x9E3779B97F4A7C15);
    drawn_us[draws] = draws % 10 == 0 ? TIME_NEVER : (int64_t)(x >> 40);
    return drawn_us[draws++];
}

static void drawn_delays(void **state)
{
    struct rig rig;
    rig_open(&rig, &(struct cloud_options){.registration = {.draw_delay = draw}});
    struct identity *cars = calloc(5000, sizeof(*cars));
    char name[32];
    draws = 0;
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof(name), "VIN-%d", i);
        identity_make(&rig, CLOUD_CA_OPERATIONAL, name, EPOCH_S, &cars[i]);
        assert_int_equal(attempt(&rig, 0, name, &cars[i].peer, NULL, NULL), DROPPED);
    }
    assert_int_equal(draws, 5000);
    uint64_t steps = 0, activated;
    for (int64_t now; (now = cloud_registration_next_deadline(rig.cloud.registration)) != TIME_NEVER; steps++) {
        cloud_registration_tick(rig.cloud.registration, now);
        if (steps % 500 == 0)
            for (int i = 0; i < 5000; i++)
                assert_int_equal(cloud_registry_status(rig.registry, cars[i].peer.certificate_id),
                                 drawn_us[i] <= now ? CLOUD_CERTIFICATE_ACTIVE : CLOUD_CERTIFICATE_PENDING_ACTIVATION);
    }
    cloud_registration_counts(rig.cloud.registration, NULL, &activated, NULL);
    assert_int_equal(activated, 4500);
    free(cars);
    rig_close(&rig);
}

/* Forgotten while it is pending: nothing comes of it, and when it comes again it begins anew, at its own time. */
static void forgotten_while_pending(void **state)
{
    struct rig rig;
    struct identity car, other;
    rig_open(&rig, &(struct cloud_options){0});
    identity_make(&rig, CLOUD_CA_OPERATIONAL, "VIN-1", EPOCH_S - 10, &car);
    identity_make(&rig, CLOUD_CA_OPERATIONAL, "VIN-2", EPOCH_S - 10, &other);
    assert_int_equal(attempt(&rig, US_PER_S, "VIN-1", &car.peer, NULL, NULL), DROPPED);
    assert_int_equal(attempt(&rig, US_PER_S, "VIN-2", &other.peer, NULL, NULL), DROPPED);
    cloud_registration_forget(rig.cloud.registration, "VIN-1");
    assert_int_equal(cloud_registry_status(rig.registry, car.peer.certificate_id), CLOUD_CERTIFICATE_UNKNOWN);
    assert_false(cloud_registration_knows(rig.cloud.registration, car.peer.certificate_id));
    assert_int_equal(attempt(&rig, 2 * US_PER_S, "VIN-1", &car.peer, NULL, NULL), DROPPED);
    cloud_tick(&rig.cloud, US_PER_S + DELAY_US);
    assert_false(cloud_registry_has_thing(rig.registry, "VIN-1"));
    assert_true(cloud_registry_has_thing(rig.registry, "VIN-2"));
    cloud_tick(&rig.cloud, 2 * US_PER_S + DELAY_US);
    assert_true(cloud_registry_has_thing(rig.registry, "VIN-1"));

    identity_make(&rig, CLOUD_CA_OPERATIONAL, "VIN-3", EPOCH_S - 10, &car);
    assert_int_equal(attempt(&rig, 10 * US_PER_S, "VIN-3", &car.peer, NULL, NULL), DROPPED);
    cloud_registration_forget(rig.cloud.registration, "VIN-3"); /* and closed before its time */
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_connect_is_dropped_then_registered),
        cmocka_unit_test(who_stays_out),
        cmocka_unit_test(allow_list_is_checked),
        cmocka_unit_test(passwords),
        cmocka_unit_test(drawn_delays),
        cmocka_unit_test(forgotten_while_pending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
