/* lifecycle_rig.h: a cloud with a life of identities, and played vehicles that speak to it in packets.
 *
 * What the broker sends is put in order and looked at when the broker is done (rig_pump), so that a vehicle can answer.
 */
#ifndef LIFECYCLE_RIG_H
#define LIFECYCLE_RIG_H

#include "cloud/lifecycle.h"
#include "cloud/services.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define EPOCH_S    INT64_C(1790000000)
#define EPOCH_US   (EPOCH_S * US_PER_S)
#define LIFETIME_S (INT64_C(365) * 86400)

struct certificate {
    uint16_t length;
    uint8_t bytes[300];
};

struct car {
    struct rig *rig;
    char name[64], device[64];
    struct cloud_connection *connection;
    struct cloud_peer peer;
    struct certificate slot[2]; /* length 0: none */
    uint8_t current;
    /* of the last connect and the last answer */
    bool closed, got_connack;
    uint8_t connack, puback, suback;
    bool answered, accepted;
    char topic[300], answer[3000];
    uint32_t told; /* messages that are no answers */
    uint16_t packet_id;
    uint64_t keys;
    /* what the walk's vehicle knows: `granted` and `switched` are stored */
    uint8_t step, refusals;
    bool granted, switched;
    char token[40], job[40], certificate_id[65];
};

struct waiting {
    struct car *car;
    struct cloud_connection *connection;
    uint16_t packet_id;
    uint8_t qos;
    struct waiting *next;
    uint32_t topic_length, payload_length;
    char text[];
};

struct seen {
    uint64_t count;
    char thing[64], detail[160];
    int64_t at_us, since_us;
    enum cloud_execution_state state;
};

struct rig {
    struct cloud cloud;
    struct cloud_lifecycle *life;
    struct cloud_pki *pki;
    struct cloud_registry *registry;
    int64_t now_us, cut_us;
    struct waiting *first, **last;
    struct seen seen[CLOUD_LIFE_VIN_SEEN + 1];
    bool forget_deactivation, never_activate, forget_cut, forget_revocation, keep_data, lose_answer; /* faults */
    uint32_t flaws[CLOUD_FLAWS];
    struct certificate claim;
    uint64_t devices;
    bool quiet; /* flaws are not printed */
};

/* ---- the cloud's side ------------------------------------------------------------------------------------------------ */

static inline void rig_send(void *door, void *link, const uint8_t *data, size_t length)
{
    struct rig *rig = door;
    struct car *car = link;
    struct mq5_packet packet;
    uint32_t first;
    while (length) {
        assert_int_equal(mq5_frame(data, length, 0, &first), MQ5_OK);
        assert_int_equal(mq5_decode(MQ5_V5, MQ5_FROM_SERVER, data, first, &packet, NULL), MQ5_OK);
        data += first;
        length -= first;
        if (packet.type == MQ5_CONNACK) {
            car->got_connack = true;
            car->connack = packet.connack.reason;
        } else if (packet.type == MQ5_PUBACK) {
            car->puback = packet.ack.reason;
        } else if (packet.type == MQ5_SUBACK) {
            car->suback = packet.suback.reasons.data[0];
        } else if (packet.type == MQ5_PUBLISH) {
            const struct mq5_publish *p = &packet.publish;
            struct waiting *w = malloc(sizeof(*w) + p->topic.length + p->payload.length);
            assert_non_null(w);
            *w = (struct waiting){.car = car,
                                  .connection = car->connection,
                                  .packet_id = p->packet_id,
                                  .qos = p->qos,
                                  .topic_length = p->topic.length,
                                  .payload_length = p->payload.length};
            memcpy(w->text, p->topic.data, p->topic.length);
            if (p->payload.length)
                memcpy(w->text + p->topic.length, p->payload.data, p->payload.length);
            *rig->last = w;
            rig->last = &w->next;
        }
    }
}

static inline void rig_closed(void *door, void *link, enum cloud_close_reason reason)
{
    struct car *car = link;
    car->closed = true;
    car->connection = NULL;
}

static inline void rig_event(void *context, int64_t now_us, const struct cloud_life_event *event)
{
    struct rig *rig = context;
    struct seen *seen = &rig->seen[event->kind];
    seen->count++;
    snprintf(seen->thing, sizeof(seen->thing), "%.*s", (int)event->thing.length, (const char *)event->thing.data);
    snprintf(seen->detail, sizeof(seen->detail), "%.*s", (int)event->detail.length, (const char *)event->detail.data);
    seen->at_us = now_us;
    seen->since_us = event->since_us;
    seen->state = event->state;
}

static inline int64_t rig_cut(void *context)
{
    return ((struct rig *)context)->cut_us;
}

#define RIG_FAULT(name)                                                                                                \
    static inline bool rig_##name(void *context, struct span thing)                                                    \
    {                                                                                                                  \
        return ((struct rig *)context)->name;                                                                          \
    }
RIG_FAULT(forget_deactivation)
RIG_FAULT(never_activate)
RIG_FAULT(forget_cut)
RIG_FAULT(forget_revocation)
RIG_FAULT(keep_data)

static inline bool rig_lose_answer(void *context, struct span thing)
{
    struct rig *rig = context;
    bool lost = rig->lose_answer;
    rig->lose_answer = false;
    return lost;
}

static inline void rig_open_cut(struct rig *rig, struct cloud_lifecycle_options life,
                                int64_t (*draw_cut)(void *context))
{
    char error[200] = "";
    struct cloud_options options = {.epoch_us = EPOCH_US,
                                    .seed = 5,
                                    .certificate_lifetime_s = LIFETIME_S,
                                    .lifecycle = &life,
                                    .error = error,
                                    .error_capacity = sizeof(error)};
    memset(rig, 0, sizeof(*rig));
    rig->last = &rig->first;
    rig->now_us = US_PER_S;
    life.epoch_us = EPOCH_US;
    life.seed = 5;
    life.certificate_lifetime_s = LIFETIME_S;
    life.context = rig;
    life.event = rig_event;
    life.draw_cut = draw_cut;
    life.forget_deactivation = rig_forget_deactivation;
    life.never_activate = rig_never_activate;
    life.forget_cut = rig_forget_cut;
    life.forget_revocation = rig_forget_revocation;
    life.keep_data = rig_keep_data;
    life.lose_answer = rig_lose_answer;
    cloud_broker_defaults(&options.broker);
    options.registration.activation_delay_us = US_PER_S;
    rig->pki = cloud_pki_modelled(3);
    rig->registry = cloud_registry_open(NULL, NULL, 0);
    if (!cloud_create(&rig->cloud, &options, rig->pki, rig->registry, rig_send, rig_closed, rig))
        fail_msg("cloud_create: %s", error);
    rig->life = rig->cloud.lifecycle;
    uint8_t key[8];
    size_t length = sizeof(rig->claim.bytes), key_length = sizeof(key);
    assert_true(cloud_pki_make(rig->pki, CLOUD_CA_CLAIM, "lot-1", EPOCH_S - 10, 100 * LIFETIME_S, rig->claim.bytes,
                               &length, key, &key_length));
    rig->claim.length = (uint16_t)length;
}

static inline void rig_open(struct rig *rig, struct cloud_lifecycle_options life)
{
    rig_open_cut(rig, life, rig_cut);
}

static inline void rig_close(struct rig *rig)
{
    for (struct waiting *w = rig->first, *next; w; w = next) {
        next = w->next;
        free(w);
    }
    cloud_destroy(&rig->cloud);
    cloud_registry_close(rig->registry);
    cloud_pki_close(rig->pki);
}

/* Time goes on; what is due on the way happens at its time. */
static inline void rig_pass(struct rig *rig, int64_t us)
{
    int64_t end_us = rig->now_us + us, next_us;
    while ((next_us = cloud_next_deadline(&rig->cloud)) <= end_us) {
        if (next_us > rig->now_us)
            rig->now_us = next_us;
        cloud_tick(&rig->cloud, rig->now_us);
    }
    rig->now_us = end_us;
}

static inline void rig_flaw(void *context, enum cloud_flaw_kind kind, struct span thing)
{
    struct rig *rig = context;
    rig->flaws[kind]++;
    if (!rig->quiet)
        fprintf(stderr, "flaw: %s: %.*s\n", cloud_flaw_name(kind), (int)thing.length, (const char *)thing.data);
}

static inline uint32_t rig_verify(struct rig *rig)
{
    memset(rig->flaws, 0, sizeof(rig->flaws));
    return cloud_lifecycle_verify(rig->life, rig->now_us, rig->cut_us, rig_flaw, rig);
}

/* Exactly one flaw, of this kind. */
static inline void rig_flawed(struct rig *rig, enum cloud_flaw_kind kind)
{
    rig->quiet = true;
    uint32_t count = rig_verify(rig);
    rig->quiet = false;
    if (count != 1 || rig->flaws[kind] != 1)
        fail_msg("%u flaws, %u of kind %s", count, rig->flaws[kind], cloud_flaw_name(kind));
}

/* ---- the vehicle's side ---------------------------------------------------------------------------------------------- */

static inline void car_input(struct car *car, const struct mq5_packet *packet)
{
    static uint8_t bytes[8192];
    size_t length;
    assert_int_equal(mq5_encode(MQ5_V5, packet, bytes, sizeof(bytes), &length), MQ5_OK);
    cloud_broker_input(car->rig->cloud.broker, car->connection, car->rig->now_us, bytes, length);
}

static inline bool ends_in(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static inline void rig_pump(struct rig *rig)
{
    while (rig->first) {
        struct waiting *w = rig->first;
        struct car *car = w->car;
        rig->first = w->next;
        if (!rig->first)
            rig->last = &rig->first;
        if (car->connection == w->connection && car->connection) {
            if (w->qos) {
                struct mq5_packet ack = {.type = MQ5_PUBACK};
                ack.ack.packet_id = w->packet_id;
                car_input(car, &ack);
            }
            char topic[300];
            snprintf(topic, sizeof(topic), "%.*s", (int)w->topic_length, w->text);
            if (ends_in(topic, "/accepted") || ends_in(topic, "/rejected")) {
                strcpy(car->topic, topic);
                car->answered = true;
                car->accepted = ends_in(topic, "/accepted");
                snprintf(car->answer, sizeof(car->answer), "%.*s", (int)w->payload_length, w->text + w->topic_length);
            } else {
                car->told++;
            }
        }
        free(w);
    }
}

static inline struct span certificate_span(const struct certificate *certificate)
{
    return span_of(certificate->bytes, certificate->length);
}

static inline bool car_connect_as(struct car *car, const struct certificate *certificate, const char *client_id)
{
    struct rig *rig = car->rig;
    struct cloud_certificate read;
    struct mq5_packet packet = {.type = MQ5_CONNECT};
    packet.connect = (struct mq5_connect){
        .version = MQ5_V5, .clean_start = true, .client_id = span_text(client_id), .keep_alive_s = 0};
    assert_null(car->connection);
    assert_true(cloud_pki_read(rig->pki, certificate_span(certificate), &read));
    memset(&car->peer, 0, sizeof(car->peer));
    cloud_peer_from_certificate(&car->peer, &read, certificate_span(certificate));
    car->closed = car->got_connack = false;
    car->connection = cloud_broker_opened(rig->cloud.broker, rig->now_us, car, &car->peer);
    assert_non_null(car->connection);
    car_input(car, &packet);
    rig_pump(rig);
    return car->got_connack && car->connack == MQ5_SUCCESS && car->connection;
}

static inline bool car_connect(struct car *car)
{
    return car_connect_as(car, &car->slot[car->current], car->name);
}

static inline void car_disconnect(struct car *car)
{
    struct mq5_packet packet = {.type = MQ5_DISCONNECT};
    if (car->connection)
        car_input(car, &packet);
    car->connection = NULL;
}

/* The link goes without a word. */
static inline void car_lost(struct car *car)
{
    struct cloud_connection *connection = car->connection;
    car->connection = NULL;
    if (connection)
        cloud_broker_closed(car->rig->cloud.broker, connection, car->rig->now_us);
}

static inline uint8_t car_publish(struct car *car, const char *topic, const char *payload)
{
    struct mq5_packet packet = {.type = MQ5_PUBLISH};
    if (!car->connection)
        return 0xFF;
    packet.publish = (struct mq5_publish){
        .qos = 1, .packet_id = ++car->packet_id, .topic = span_text(topic), .payload = span_text(payload)};
    if (car->packet_id == 0)
        packet.publish.packet_id = ++car->packet_id;
    car->puback = 0xFF;
    car_input(car, &packet);
    rig_pump(car->rig);
    return car->puback;
}

static inline uint8_t car_subscribe(struct car *car, const char *filter)
{
    struct mq5_packet packet = {.type = MQ5_SUBSCRIBE};
    struct mq5_subscription one = {.filter = span_text(filter), .qos = 1};
    packet.subscribe.packet_id = ++car->packet_id;
    packet.subscribe.list = &one;
    packet.subscribe.count = 1;
    car->suback = 0xFF;
    car_input(car, &packet);
    rig_pump(car->rig);
    return car->suback;
}

/* Asks on a reserved topic; true: answered with accepted. %s of the format is the name. */
static inline bool car_ask(struct car *car, const char *format, const char *payload)
{
    char topic[300];
    snprintf(topic, sizeof(topic), format, car->name);
    car->answered = car->accepted = false;
    car_publish(car, topic, payload);
    return car->answered && car->accepted;
}

/* A text member of the last answer, wherever it stands. */
static inline bool car_answer_text(const struct car *car, const char *key, char *out, size_t capacity)
{
    char pattern[64];
    snprintf(pattern, sizeof(pattern), "\"%s\":\"", key);
    const char *at = strstr(car->answer, pattern);
    if (!at)
        return false;
    at += strlen(pattern);
    size_t length = strcspn(at, "\"");
    if (length >= capacity)
        return false;
    memcpy(out, at, length);
    out[length] = 0;
    return true;
}

static inline void car_build(struct rig *rig, struct car *car, uint64_t number)
{
    char vin[CLOUD_VIN_LENGTH + 1];
    struct cloud_vehicle vehicle;
    memset(car, 0, sizeof(*car));
    car->rig = rig;
    car->keys = number << 20;
    snprintf(car->device, sizeof(car->device), "tcu-%llu", (unsigned long long)rig->devices++);
    cloud_vin_make(1, number, vin);
    assert_int_equal(cloud_lifecycle_build(rig->life, rig->now_us, span_text(vin), span_text(car->device),
                                           SPAN_LITERAL("tenant-a"), (struct span){NULL, 0}),
                     CLOUD_VEHICLES_DONE);
    assert_true(cloud_vehicles_by_vin(cloud_lifecycle_vehicles(rig->life), span_text(vin), &vehicle));
    snprintf(car->name, sizeof(car->name), "%s", vehicle.reference);
}

/* New key and certificate into a slot; the token is kept. */
static inline bool car_certificate(struct car *car, uint8_t slot)
{
    uint8_t csr[200];
    char payload[300], text[400];
    size_t length = cloud_modelled_csr(span_text(car->name), ++car->keys, csr, sizeof(csr));
    snprintf(payload, sizeof(payload), "{\"certificateSigningRequest\":\"%.*s\"}", (int)length, (const char *)csr);
    if (!car_ask(car, "$aws/certificates/create-from-csr/json", payload) ||
        !car_answer_text(car, "certificatePem", text, sizeof(car->slot[0].bytes)) ||
        !car_answer_text(car, "certificateOwnershipToken", car->token, sizeof(car->token)) ||
        !car_answer_text(car, "certificateId", car->certificate_id, sizeof(car->certificate_id)))
        return false;
    car->slot[slot].length = (uint16_t)strlen(text);
    memcpy(car->slot[slot].bytes, text, strlen(text));
    return true;
}

static inline bool car_provision(struct car *car, const char *template_name)
{
    char topic[100], payload[300];
    snprintf(topic, sizeof(topic), "$aws/provisioning-templates/%s/provision/json", template_name);
    snprintf(payload, sizeof(payload),
             "{\"certificateOwnershipToken\":\"%s\",\"parameters\":{\"reference\":\"%s\",\"device\":\"%s\"}}",
             car->token, car->name, car->device);
    return car_ask(car, topic, payload);
}

static inline void car_hex(const struct car *car, char out[65])
{
    struct cloud_certificate read;
    assert_true(cloud_certificate_read(certificate_span(&car->slot[car->current]), &read));
    for (int i = 0; i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", read.id[i]);
}

static inline enum cloud_certificate_status car_status(const struct car *car, uint8_t slot)
{
    struct cloud_certificate read;
    assert_true(cloud_certificate_read(certificate_span(&car->slot[slot]), &read));
    return cloud_registry_status(car->rig->registry, read.id);
}

static inline uint8_t car_say(struct car *car, const char *format)
{
    char topic[150], hex[65], payload[100];
    car_hex(car, hex);
    snprintf(topic, sizeof(topic), format, car->name);
    snprintf(payload, sizeof(payload), "{\"certificateId\":\"%s\"}", hex);
    return car_publish(car, topic, payload);
}

/* From nothing to an identity, over the lot's claim certificate. */
static inline bool car_claim(struct car *car)
{
    bool done =
        car_connect_as(car, &car->rig->claim, car->name) && car_certificate(car, 0) && car_provision(car, "claim");
    car_disconnect(car);
    car->current = 0;
    car->slot[1].length = 0;
    return done;
}

/* Claims, comes in and says so. */
static inline void car_begin(struct rig *rig, struct car *car, uint64_t number)
{
    car_build(rig, car, number);
    assert_true(car_claim(car));
    assert_true(car_connect(car));
    assert_int_equal(car_say(car, "vehicleactive/%s"), MQ5_SUCCESS);
}

static inline bool car_start_job(struct car *car)
{
    return car_ask(car, "$aws/things/%s/jobs/start-next", "{}") &&
           car_answer_text(car, "jobId", car->job, sizeof(car->job));
}

static inline bool car_update_job(struct car *car, const char *payload)
{
    char topic[200];
    snprintf(topic, sizeof(topic), "$aws/things/%s/jobs/%s/update", car->name, car->job);
    return car_ask(car, topic, payload);
}

static inline struct span car_thing(const struct car *car)
{
    return span_text(car->name);
}

#endif
