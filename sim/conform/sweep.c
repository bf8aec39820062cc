/* sweep.c: what checks leave behind, removed again: retained messages by an empty one, sessions by a clean start that expires at once. */
#include "internal.h"

#include <poll.h>
#include <stdlib.h>

#define SWEEP_US (5 * US_PER_S)

struct sweeper {
    struct transport *transport;
    uint8_t input[4096];
    uint32_t length;
    uint16_t packet_id;
};

static bool send_packet(struct sweeper *sweeper, const struct mq5_packet *packet)
{
    static const struct mq5_raw plain;
    uint8_t bytes[2048];
    size_t length;
    if (mq5_encode_raw(MQ5_V5, packet, &plain, bytes, sizeof(bytes), &length) == MQ5_OK)
        return transport_write(sweeper->transport, bytes, length, SWEEP_US);
    uint8_t *large = malloc(length); /* a topic may have 65,535 bytes */
    bool sent = large && mq5_encode_raw(MQ5_V5, packet, &plain, large, length, &length) == MQ5_OK &&
                transport_write(sweeper->transport, large, length, SWEEP_US);
    free(large);
    return sent;
}

/* The next packet of that type; others are thrown away. */
static bool await(struct sweeper *sweeper, enum mq5_type type, uint8_t *reason)
{
    int64_t until_us = clock_now_us() + SWEEP_US;
    while (clock_now_us() < until_us) {
        uint32_t length = 0;
        if (mq5_frame(sweeper->input, sweeper->length, 0, &length) == MQ5_OK && length <= sweeper->length) {
            struct mq5_packet packet;
            bool legal = mq5_decode(MQ5_V5, MQ5_FROM_SERVER, sweeper->input, length, &packet, NULL) == MQ5_OK;
            if (legal && packet.type == type)
                *reason = type == MQ5_CONNACK ? packet.connack.reason : packet.ack.reason;
            memmove(sweeper->input, sweeper->input + length, sweeper->length - length);
            sweeper->length -= length;
            if (legal && packet.type == type)
                return true;
            continue;
        }
        if (sweeper->length == sizeof(sweeper->input))
            return false;
        struct pollfd fd = {.fd = transport_fd(sweeper->transport), .events = POLLIN};
        if (!transport_pending(sweeper->transport))
            poll(&fd, 1, 100);
        ssize_t got = transport_read(sweeper->transport, sweeper->input + sweeper->length,
                                     sizeof(sweeper->input) - sweeper->length);
        if (got < 0)
            return false;
        sweeper->length += (uint32_t)got;
    }
    return false;
}

struct sweeper *sweep_open(const struct target *target, const struct conform_options *options, const char *client_id)
{
    char error[160];
    uint8_t reason = 0x80;
    struct sweeper *sweeper = calloc(1, sizeof(*sweeper));
    if (!sweeper)
        return NULL;
    struct mq5_packet packet = {.type = MQ5_CONNECT,
                                .connect = {.version = MQ5_V5,
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

void sweep_close(struct sweeper *sweeper)
{
    if (!sweeper)
        return;
    send_packet(sweeper, &(struct mq5_packet){.type = MQ5_DISCONNECT});
    struct pollfd fd = {.fd = transport_fd(sweeper->transport), .events = POLLIN};
    poll(&fd, 1, 200);
    transport_end(sweeper->transport, WIRE_FIN);
    transport_free(sweeper->transport);
    free(sweeper);
}

bool sweep_session(const struct target *target, const struct conform_options *options, const char *client_id)
{
    struct sweeper *sweeper =
        sweep_open(target, options, client_id); /* a clean start, and nothing is kept afterwards */
    sweep_close(sweeper);
    return sweeper != NULL;
}
