/* sweep.c: what checks leave behind, removed again: retained messages by an empty one, sessions by a clean start that expires at once. */
#include "internal.h"

#include <poll.h>
#include <stdlib.h>

#define SWEEP_US  (5 * US_PER_S)
#define INPUT_MAX (64u << 20)
#define BELOW_US  (700 * US_PER_MS) /* after the last retained message: no more will come */

struct sweeper {
    struct transport *transport;
    uint8_t *input;
    uint32_t length, capacity, taken;
    uint16_t packet_id;
    enum mq5_version version;
};

static bool send_packet(struct sweeper *sweeper, const struct mq5_packet *packet)
{
    static const struct mq5_raw plain;
    uint8_t bytes[2048];
    size_t length;
    if (mq5_encode_raw(sweeper->version, packet, &plain, bytes, sizeof(bytes), &length) == MQ5_OK)
        return transport_write(sweeper->transport, bytes, length, SWEEP_US);
    uint8_t *large = malloc(length); /* a topic may have 65,535 bytes */
    bool sent = large && mq5_encode_raw(sweeper->version, packet, &plain, large, length, &length) == MQ5_OK &&
                transport_write(sweeper->transport, large, length, SWEEP_US);
    free(large);
    return sent;
}

/* Room for more; retained messages of others' making may be as large as the broker allows. */
static bool input_room(struct sweeper *sweeper)
{
    if (sweeper->length < sweeper->capacity)
        return true;
    uint32_t capacity = sweeper->capacity ? sweeper->capacity * 2 : 4096;
    uint8_t *input = capacity <= INPUT_MAX ? realloc(sweeper->input, capacity) : NULL;
    if (!input)
        return false;
    sweeper->input = input;
    sweeper->capacity = capacity;
    return true;
}

/* The next packet; its spans hold until the next call. false: none came in time. */
static bool next_packet(struct sweeper *sweeper, struct mq5_packet *packet, int64_t until_us)
{
    if (sweeper->taken) {
        memmove(sweeper->input, sweeper->input + sweeper->taken, sweeper->length - sweeper->taken);
        sweeper->length -= sweeper->taken;
        sweeper->taken = 0;
    }
    while (clock_now_us() < until_us) {
        uint32_t length = 0;
        if (mq5_frame(sweeper->input, sweeper->length, 0, &length) == MQ5_OK && length <= sweeper->length) {
            sweeper->taken = length;
            if (mq5_decode(sweeper->version, MQ5_FROM_SERVER, sweeper->input, length, packet, NULL) == MQ5_OK)
                return true;
            return next_packet(sweeper, packet, until_us); /* not our business */
        }
        if (!input_room(sweeper))
            return false;
        struct pollfd fd = {.fd = transport_fd(sweeper->transport), .events = POLLIN};
        if (!transport_pending(sweeper->transport))
            poll(&fd, 1, 50);
        ssize_t got =
            transport_read(sweeper->transport, sweeper->input + sweeper->length, sweeper->capacity - sweeper->length);
        if (got < 0)
            return false;
        sweeper->length += (uint32_t)got;
    }
    return false;
}

/* The next packet of that type; others are thrown away. */
static bool await(struct sweeper *sweeper, enum mq5_type type, uint8_t *reason)
{
    int64_t until_us = clock_now_us() + SWEEP_US;
    struct mq5_packet packet;
    while (next_packet(sweeper, &packet, until_us)) {
        if (packet.type != type)
            continue;
        *reason = type == MQ5_CONNACK  ? packet.connack.reason
                  : type == MQ5_SUBACK ? packet.suback.reasons.length ? packet.suback.reasons.data[0] : 0x80
                                       : packet.ack.reason;
        return true;
    }
    return false;
}

struct sweeper *sweep_open(const struct target *target, const struct conform_options *options, const char *client_id)
{
    char error[160];
    uint8_t reason = 0x80;
    enum mq5_version version = options->protocol == MQ5_V311 ? MQ5_V311 : MQ5_V5;
    struct sweeper *sweeper = calloc(1, sizeof(*sweeper));
    if (!sweeper)
        return NULL;
    sweeper->version = version;
    struct mq5_packet packet = {.type = MQ5_CONNECT,
                                .connect = {.version = (uint8_t)version,
                                            .clean_start = true,
                                            .keep_alive_s = 60,
                                            .client_id = span_text(client_id),
                                            .has_user_name = options->user,
                                            .has_password = options->password}};
    if (options->user)
        packet.connect.user_name = span_text(options->user);
    if (options->password)
        packet.connect.password = span_text(options->password);
    sweeper->transport = transport_open(target, SWEEP_US, error, sizeof(error));
    if (sweeper->transport && send_packet(sweeper, &packet) && await(sweeper, MQ5_CONNACK, &reason) && reason == 0)
        return sweeper;
    transport_free(sweeper->transport);
    free(sweeper->input);
    free(sweeper);
    return NULL;
}

bool sweep_retained(struct sweeper *sweeper, const char *topic)
{
    uint8_t reason = 0;
    struct mq5_packet packet = {
        .type = MQ5_PUBLISH,
        .publish = {.qos = 1, .retain = true, .packet_id = ++sweeper->packet_id, .topic = span_text(topic)}};
    return send_packet(sweeper, &packet) && await(sweeper, MQ5_PUBACK, &reason) && reason < 0x80;
}

struct name {
    struct name *next;
    char text[];
};

static bool remember(struct name **list, struct span topic)
{
    struct name *name = malloc(sizeof(*name) + topic.length + 1);
    if (!name)
        return false;
    memcpy(name->text, topic.data, topic.length);
    name->text[topic.length] = 0;
    name->next = *list;
    *list = name;
    return true;
}

uint32_t sweep_below(struct sweeper *sweeper, const char *filter)
{
    struct mq5_subscription list = {.filter = span_text(filter), .qos = 0};
    struct mq5_packet packet = {.type = MQ5_SUBSCRIBE,
                                .subscribe = {.packet_id = ++sweeper->packet_id, .list = &list, .count = 1}};
    uint8_t reason = 0x80;
    struct name *names = NULL;
    uint32_t removed = 0;
    if (!send_packet(sweeper, &packet) || !await(sweeper, MQ5_SUBACK, &reason) || reason >= 0x80)
        return 0; /* no wildcards: what was noted has been removed one by one */
    while (next_packet(sweeper, &packet, clock_now_us() + BELOW_US))
        if (packet.type == MQ5_PUBLISH && packet.publish.retain && !remember(&names, packet.publish.topic))
            break;
    while (names) {
        struct name *next = names->next;
        removed += sweep_retained(sweeper, names->text);
        free(names);
        names = next;
    }
    return removed;
}

void sweep_close(struct sweeper *sweeper)
{
    if (!sweeper)
        return;
    send_packet(sweeper, &(struct mq5_packet){.type = MQ5_DISCONNECT});
    struct pollfd fd = {.fd = transport_fd(sweeper->transport), .events = POLLIN};
    poll(&fd, 1, 200);
    transport_end(sweeper->transport, WIRE_FIN);
    transport_free(sweeper->transport);
    free(sweeper->input);
    free(sweeper);
}

bool sweep_session(const struct target *target, const struct conform_options *options, const char *client_id)
{
    struct sweeper *sweeper =
        sweep_open(target, options, client_id); /* a clean start, and nothing is kept afterwards */
    sweep_close(sweeper);
    return sweeper != NULL;
}
