/* words_session.c: words of sessions that are left and taken up again, and of many messages at once. */
#include "internal.h"

#include <stdlib.h>

struct mq5_connect probe_login_kept(struct conform_probe *probe, uint32_t number)
{
    struct mq5_connect login = probe_login(probe, number);
    login.clean_start = false;
    if (login.version == MQ5_V5)
        set_session_expiry(&login, KEPT_S);
    return login;
}

struct wire *probe_connect_holding(struct conform_probe *probe, const char *name, const struct mq5_connect *login)
{
    struct wire *wire = probe_open(probe, name);
    wire_hold_acks(wire, true);
    const struct mq5_connack *connack = wire_login(wire, login);
    need(probe, connack != NULL, "%s: no CONNACK", name);
    need(probe, connack->reason == MQ5_SUCCESS, "%s: CONNACK 0x%02x (%s)", name, connack->reason,
         mq5_reason_name(connack->reason));
    return wire;
}

struct wire *probe_resume_holding(struct conform_probe *probe, const char *name, const struct mq5_connect *login)
{
    struct mq5_connect again = *login;
    again.clean_start = false;
    struct wire *wire = probe_connect_holding(probe, name, &again);
    need(probe, wire_connack(wire)->session_present, "%s: Session Present 0, so that there is nothing to resume", name);
    return wire;
}

uint32_t wire_granted_expiry(const struct wire *wire, uint32_t asked_s)
{
    const struct mq5_properties *told = &wire->connack.properties;
    return told->present & MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL) ? told->session_expiry_s : asked_s;
}

void probe_wait_connected(struct conform_probe *probe, int64_t us)
{
    int64_t until_us = probe_now(probe) + us;
    while (probe_now(probe) < until_us) {
        int64_t left_us = until_us - probe_now(probe);
        probe_wait(probe, left_us < US_PER_S ? left_us : US_PER_S);
        for (uint32_t i = 0; i < probe->wire_count; i++)
            if (wire_is_open(probe->wires[i]) && wire_connack(probe->wires[i]) && !probe->wires[i]->half_closed)
                need_alive(probe->wires[i], "while waiting");
    }
}

/* ---- many messages ------------------------------------------------------------------------------------------------------------ */

#define WINDOW 20

void wire_publish_many(struct wire *wire, const char *topic, uint32_t first, uint32_t count, uint8_t qos)
{
    struct conform_probe *probe = wire->probe;
    uint32_t window = probe->suite->broker.receive_maximum < WINDOW ? probe->suite->broker.receive_maximum : WINDOW;
    for (uint32_t done = 0; done < count; done += window) {
        uint32_t now = count - done < window ? count - done : window;
        wire_gather(wire);
        for (uint32_t i = 0; i < now; i++) {
            struct mq5_packet packet = {.type = MQ5_PUBLISH,
                                        .publish = message(topic, probe_text(probe, "%u", first + done + i), qos)};
            packet.publish.packet_id = qos ? wire_packet_id(wire) : 0;
            wire_send(wire, &packet);
        }
        wire_flush(wire);
        for (uint32_t i = 0; i < now && qos; i++) {
            const struct mq5_ack *ack = &need_packet(wire, qos == 1 ? MQ5_PUBACK : MQ5_PUBREC, NULL)->packet.ack;
            need(probe, ack->reason < 0x80, "message %u was refused: 0x%02x (%s)", first + done + i, ack->reason,
                 mq5_reason_name(ack->reason));
            if (qos == 2)
                wire_ack(wire, MQ5_PUBREL, ack->packet_id, MQ5_SUCCESS);
        }
        for (uint32_t i = 0; i < now && qos == 2; i++)
            need_packet(wire, MQ5_PUBCOMP, NULL);
    }
}

static bool is_number(struct span payload)
{
    for (uint32_t i = 0; i < payload.length; i++)
        if (payload.data[i] < '0' || payload.data[i] > '9')
            return false;
    return payload.length > 0 && payload.length < 9;
}

static bool is_numbered(const struct received *received, const char *topic, int qos)
{
    const struct mq5_publish *publish = &received->packet.publish;
    return received->packet.type == MQ5_PUBLISH && span_equal(publish->topic, span_text(topic)) &&
           is_number(publish->payload) && (qos < 0 || publish->qos == qos);
}

uint32_t wire_count_numbered(const struct wire *wire, const char *topic, int qos)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < wire->inbox_count; i++)
        count += is_numbered(wire->inbox[i], topic, qos);
    return count;
}

void want_in_order(struct wire *wire, const char *topic, int qos, uint32_t first, uint32_t count)
{
    struct conform_probe *probe = wire->probe;
    uint32_t next = first, seen = 0;
    for (uint32_t i = 0; i < wire->inbox_count; i++) {
        if (!is_numbered(wire->inbox[i], topic, qos))
            continue;
        struct span payload = wire->inbox[i]->packet.publish.payload;
        char text[12] = "";
        memcpy(text, payload.data, payload.length);
        uint32_t number = (uint32_t)atoi(text);
        want(probe, number >= next, "%s: message %u comes after message %u on %.60s", wire->name, number, next - 1,
             topic);
        next = number + 1;
        seen++;
    }
    /* What is lost is not out of order. QoS 0 may be dropped. */
    need(probe, qos == 0 ? seen > count / 2 : seen == count, "%s: %u of %u messages came on %.60s", wire->name, seen,
         count, topic);
}

void want_all_in_order(struct wire *wire, const char *topic, uint8_t qos, uint32_t count)
{
    need_message(wire, topic, probe_text(wire->probe, "%u", count - 1));
    want_in_order(wire, topic, qos, 0, count);
}

void want_order_kept(struct conform_probe *probe, uint8_t qos, uint32_t count)
{
    const char *topic = probe_topic(probe, "t");
    struct wire *wire = probe_subscriber(probe, "subscriber", topic, qos);
    wire_publish_many(probe_connect(probe, "publisher"), topic, 0, count, qos);
    want_all_in_order(wire, topic, qos, count);
}
