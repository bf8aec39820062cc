/* words_publish.c: words about messages: those a broker has to refuse, those it keeps for later, those it holds for a client that is away. */
#include "internal.h"

#define KEPT_TRIES      3
#define KEPT_PAUSE_US   US_PER_S
#define CONTROL_US      (3 * US_PER_S)
#define LEAST_SETTLE_US (20 * US_PER_MS)
#define AWAY_S          60

static bool among(const uint8_t *reasons, uint8_t reason)
{
    for (; reasons && *reasons; reasons++)
        if (*reasons == reason)
            return true;
    return !reasons;
}

void want_message_refused(struct wire *wire, const struct mq5_publish *publish, const char *what,
                          const uint8_t *reasons)
{
    struct conform_probe *probe = wire->probe;
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = *publish};
    packet.publish.packet_id = wire_packet_id(wire);
    wire_send(wire, &packet);
    const struct received *ack = try_packet(wire, publish->qos == 1 ? MQ5_PUBACK : MQ5_PUBREC, probe_patience(probe));
    if (!ack) {
        want_closed(wire, what, reasons);
        return;
    }
    uint8_t reason = ack->packet.ack.reason;
    want(probe, reason >= 0x80, "%s is taken: %s 0x%02x (%s)", what, mq5_type_name(ack->packet.type), reason,
         mq5_reason_name(reason));
    should(probe, "code", "S4.13.1a", among(reasons, reason), "%s: %s 0x%02x (%s)", what,
           mq5_type_name(ack->packet.type), reason, mq5_reason_name(reason));
}

void probe_settle(struct conform_probe *probe)
{
    const struct conform_broker *broker = &probe->suite->broker;
    int64_t us = broker->round_trip_p99_us * 2;
    us = us < broker->subscription_delay_us ? broker->subscription_delay_us : us;
    probe_wait(probe, us < LEAST_SETTLE_US ? LEAST_SETTLE_US : us);
}

/* ---- kept ------------------------------------------------------------------------------------------------------------------- */

/* One that is not the expected message, if any has come; else the expected one. */
static const struct received *message_on(const struct wire *wire, const char *topic, const char *expected)
{
    const struct received *found = NULL;
    for (uint32_t i = 0; i < wire_count(wire); i++) {
        const struct received *received = wire_at(wire, i);
        const struct mq5_publish *publish = &received->packet.publish;
        if (received->packet.type != MQ5_PUBLISH || !span_equal(publish->topic, span_text(topic)))
            continue;
        if (!expected || !span_equal(publish->payload, span_text(expected)))
            return received;
        found = received;
    }
    return found;
}

struct wire *probe_one_in_flight(struct conform_probe *probe, const char *topic, uint8_t qos, uint16_t *packet_id)
{
    struct mq5_connect login = probe_login(probe, 0);
    set_receive_maximum(&login, 1);
    struct wire *wire = probe_connect_as(probe, "subscriber", &login);
    wire_subscribe(wire, topic, qos);
    wire_hold_acks(wire, true);
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish(publisher, topic, "first", qos);
    wire_publish(publisher, topic, "second", qos);
    *packet_id = need_message(wire, topic, "first")->packet.publish.packet_id;
    return wire;
}

void need_granted(struct wire *wire, const struct mq5_suback *suback, uint32_t count)
{
    need(wire->probe, suback->reasons.length == count, "SUBACK has %u reason codes for %u filters",
         suback->reasons.length, count);
    for (uint32_t i = 0; i < count; i++)
        need(wire->probe, suback->reasons.data[i] < 0x80, "SUBACK 0x%02x (%s) for filter %u", suback->reasons.data[i],
             mq5_reason_name(suback->reasons.data[i]), i + 1);
}

const struct received *probe_kept(struct conform_probe *probe, const char *topic, const char *expected)
{
    return probe_kept_for(probe, topic, topic, expected);
}

const struct received *probe_kept_for(struct conform_probe *probe, const char *filter, const char *topic,
                                      const char *expected)
{
    const char *control = probe_topic(probe, "kept-control");
    wire_publish_retained(probe_connect(probe, "keeper"), control, "control", 1);
    bool controlled = false;
    const struct received *found = NULL;
    for (int i = 0; i < KEPT_TRIES; i++) {
        if (i > 0)
            probe_wait(probe, KEPT_PAUSE_US);
        struct wire *wire = probe_connect(probe, "late subscriber");
        struct mq5_subscription list[] = {subscription(filter, 1), subscription(control, 1)};
        need_granted(wire, wire_subscribe_with(wire, list, 2, 0), 2);
        if (!try_message(wire, control, "control", CONTROL_US))
            continue;
        controlled = true;
        probe_settle(probe);
        found = message_on(wire, topic, expected);
        if (expected ? found && span_equal(found->packet.publish.payload, span_text(expected)) : !found)
            return found;
    }
    need(probe, controlled, "the retained message that is the control does not come");
    return found;
}

/* ---- away ------------------------------------------------------------------------------------------------------------------- */

struct mq5_connect probe_away(struct conform_probe *probe, uint32_t number, const struct mq5_subscription *list,
                              uint32_t count, uint32_t subscription_id)
{
    struct mq5_connect login = probe_login(probe, number);
    set_session_expiry(&login, AWAY_S);
    struct wire *wire = probe_connect_as(probe, "before", &login);
    const struct mq5_suback *suback = wire_subscribe_with(wire, list, count, subscription_id);
    need_granted(wire, suback, count);
    for (uint32_t i = 0; i < count; i++)
        if (suback->reasons.data[i] < list[i].qos)
            skip(probe, "the broker grants QoS %u where %u was asked for", suback->reasons.data[i], list[i].qos);
    for (uint32_t i = 0; i < count; i++) {
        struct span filter = list[i].filter;
        if (!memchr(filter.data, '+', filter.length) && !memchr(filter.data, '#', filter.length) &&
            filter.data[0] != '$')
            wire_warm_up(wire, probe_text(probe, "%.*s", (int)filter.length, (const char *)filter.data));
    }
    wire_disconnect(wire, MQ5_SUCCESS);
    return login;
}

struct wire *probe_return(struct conform_probe *probe, const struct mq5_connect *login)
{
    struct wire *wire = probe_resume(probe, "back", login, false);
    need(probe, wire_connack(wire)->session_present, "the session is gone");
    return wire;
}
