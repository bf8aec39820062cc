/* talk.c: what clients say to brokers, as whole conversations. */
#include "internal.h"

#include <stdio.h>

#define SETTLE_US        (300 * US_PER_MS) /* before our half is closed under a packet that was cut short */
#define SERVED_ON_US     (2 * US_PER_S)    /* who answers a ping and then closes has been slow, not blind */
#define WARM_UP_RETRY_US (250 * US_PER_MS)

/* ---- logging in ------------------------------------------------------------------------------------------------------------- */

struct mq5_connect probe_login(struct conform_probe *probe, uint32_t number)
{
    const struct conform_options *options = probe->suite->options;
    struct mq5_connect login = {
        .version = probe->check->version ? probe->check->version : MQ5_V5,
        .clean_start = true,
        .keep_alive_s = 60,
        .client_id = span_text(probe_client_id(probe, number)),
    };
    if (options->user) {
        login.has_user_name = true;
        login.user_name = span_text(options->user);
    }
    if (options->password) {
        login.has_password = true;
        login.password = span_text(options->password);
    }
    return login;
}

void set_session_expiry(struct mq5_connect *login, uint32_t seconds)
{
    SET_PROPERTY(login->properties, session_expiry_s, MQ5_SESSION_EXPIRY_INTERVAL, seconds);
}

void set_receive_maximum(struct mq5_connect *login, uint16_t maximum)
{
    SET_PROPERTY(login->properties, receive_maximum, MQ5_RECEIVE_MAXIMUM, maximum);
}

void set_maximum_packet_size(struct mq5_connect *login, uint32_t bytes)
{
    SET_PROPERTY(login->properties, maximum_packet_size, MQ5_MAXIMUM_PACKET_SIZE, bytes);
}

void set_alias_maximum(struct mq5_connect *login, uint16_t maximum)
{
    SET_PROPERTY(login->properties, topic_alias_maximum, MQ5_TOPIC_ALIAS_MAXIMUM, maximum);
}

void set_problem_information(struct mq5_connect *login, uint8_t wanted)
{
    SET_PROPERTY(login->properties, request_problem_information, MQ5_REQUEST_PROBLEM_INFORMATION, wanted);
}

void set_will(struct mq5_connect *login, const char *topic, const char *payload, uint8_t qos, bool retain,
              uint32_t delay_s)
{
    login->has_will = true;
    login->will_topic = span_text(topic);
    login->will_payload = span_text(payload);
    login->will_qos = qos;
    login->will_retain = retain;
    if (delay_s)
        SET_PROPERTY(login->will_properties, will_delay_s, MQ5_WILL_DELAY_INTERVAL, delay_s);
}

const struct mq5_connack *wire_login(struct wire *wire, const struct mq5_connect *login)
{
    struct mq5_packet packet = {.type = MQ5_CONNECT, .connect = *login};
    wire->version = (enum mq5_version)login->version;
    wire_send(wire, &packet);
    int64_t until_us = probe_now(wire->probe) + probe_patience(wire->probe);
    while (!wire->connack_came && wire_is_open(wire) && !wire->malformed && probe_now(wire->probe) < until_us)
        probe_pump(wire->probe, wire, until_us);
    return wire_connack(wire);
}

struct wire *probe_connect_as(struct conform_probe *probe, const char *name, const struct mq5_connect *login)
{
    struct wire *wire = probe_open(probe, name);
    const struct mq5_connack *connack = wire_login(wire, login);
    need(probe, connack != NULL, "%s: no CONNACK", name);
    need(probe, connack->reason == MQ5_SUCCESS, "%s: CONNACK 0x%02x (%s)", name, connack->reason,
         mq5_reason_name(connack->reason));
    return wire;
}

struct wire *probe_connect(struct conform_probe *probe, const char *name)
{
    struct mq5_connect login = probe_login(probe, probe->wire_count);
    return probe_connect_as(probe, name, &login);
}

struct wire *probe_resume(struct conform_probe *probe, const char *name, const struct mq5_connect *login,
                          bool clean_start)
{
    struct mq5_connect again = *login;
    again.clean_start = clean_start;
    return probe_connect_as(probe, name, &again);
}

void wire_disconnect(struct wire *wire, uint8_t reason)
{
    struct mq5_packet packet = {.type = MQ5_DISCONNECT, .disconnect = {.reason = reason}};
    wire_send(wire, &packet);
    wire_closes(wire, probe_patience(wire->probe));
    wire_end(wire, WIRE_FIN);
}

/* ---- waiting ------------------------------------------------------------------------------------------------------------------ */

static bool is_message(const struct received *received, const char *topic, const char *payload)
{
    const struct mq5_publish *publish = &received->packet.publish;
    return received->packet.type == MQ5_PUBLISH && (!topic || span_equal(publish->topic, span_text(topic))) &&
           (!payload || span_equal(publish->payload, span_text(payload)));
}

struct wanted {
    enum mq5_type type;
    bool message; /* topic and payload count */
    const char *topic, *payload;
};

static struct received *look(const struct wire *wire, const struct wanted *wanted)
{
    for (uint32_t i = 0; i < wire->inbox_count; i++) {
        struct received *received = wire->inbox[i];
        if (!received->taken && (wanted->message ? is_message(received, wanted->topic, wanted->payload)
                                                 : received->packet.type == wanted->type))
            return received;
    }
    return NULL;
}

static struct received *wait_for(struct wire *wire, const struct wanted *wanted, int64_t within_us)
{
    int64_t until_us = probe_now(wire->probe) + within_us;
    struct received *found;
    while (!(found = look(wire, wanted))) {
        if (!wire_is_open(wire) || wire->malformed || probe_now(wire->probe) >= until_us)
            return NULL;
        probe_pump(wire->probe, wire, until_us);
    }
    found->taken = true;
    return found;
}

static const char *what_became_of(const struct wire *wire)
{
    return wire->malformed ? "the broker sent bytes that are no legal packet"
           : !wire_is_open(wire)
               ? (wire->reset ? "the broker reset the connection" : "the broker closed the connection")
               : "nothing came in time";
}

static _Noreturn void missing(struct wire *wire, bool wanted, const char *what)
{
    struct conform_probe *probe = wire->probe;
    uint32_t line = probe->trace.count ? probe->trace.count - 1 : 0;
    const char *why = what_became_of(wire);
    if (wanted && wire_is_open(wire) && !wire->malformed && !probe_broker_is_quick(probe))
        probe_end(probe, CONFORM_INCONCLUSIVE, line, "no %s at %s: broker or machine are too slow just now", what,
                  wire->name);
    if (wanted)
        probe->wanted++;
    probe_end(probe, wanted ? CONFORM_FAIL : CONFORM_INCONCLUSIVE, line, "no %s at %s: %s", what, wire->name, why);
}

const struct received *try_packet(struct wire *wire, enum mq5_type type, int64_t within_us)
{
    return wait_for(wire, &(struct wanted){.type = type}, within_us);
}

const struct received *need_packet(struct wire *wire, enum mq5_type type, const char *what)
{
    const struct received *found = try_packet(wire, type, probe_patience(wire->probe));
    if (!found)
        missing(wire, false, what ? what : mq5_type_name((uint8_t)type));
    return found;
}

const struct received *want_packet(struct wire *wire, enum mq5_type type, const char *what)
{
    const struct received *found = try_packet(wire, type, probe_patience(wire->probe));
    if (!found)
        missing(wire, true, what ? what : mq5_type_name((uint8_t)type));
    wire->probe->wanted++;
    return found;
}

const struct received *try_message(struct wire *wire, const char *topic, const char *payload, int64_t within_us)
{
    return wait_for(wire, &(struct wanted){.message = true, .topic = topic, .payload = payload}, within_us);
}

static const char *message_text(struct conform_probe *probe, const char *topic, const char *payload)
{
    return probe_text(probe, "message%s%.60s%s%s%.40s%s", topic ? " on " : "", topic ? topic : "",
                      payload ? " with " : "", payload ? "\"" : "", payload ? payload : "", payload ? "\"" : "");
}

const struct received *need_message(struct wire *wire, const char *topic, const char *payload)
{
    const struct received *found = try_message(wire, topic, payload, probe_patience(wire->probe));
    if (!found)
        missing(wire, false, message_text(wire->probe, topic, payload));
    return found;
}

const struct received *want_message(struct wire *wire, const char *topic, const char *payload)
{
    const struct received *found = try_message(wire, topic, payload, probe_patience(wire->probe));
    if (!found)
        missing(wire, true, message_text(wire->probe, topic, payload));
    wire->probe->wanted++;
    return found;
}

uint32_t wire_count_of(const struct wire *wire, enum mq5_type type)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < wire->inbox_count; i++)
        count += wire->inbox[i]->packet.type == type;
    return count;
}

uint32_t wire_count_messages(const struct wire *wire, const char *topic, const char *payload)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < wire->inbox_count; i++)
        count += is_message(wire->inbox[i], topic, payload);
    return count;
}

bool wire_closes(struct wire *wire, int64_t within_us)
{
    int64_t until_us = probe_now(wire->probe) + within_us;
    while (wire_is_open(wire) && probe_now(wire->probe) < until_us)
        probe_pump(wire->probe, wire, until_us);
    return !wire_is_open(wire);
}

/* ---- closing, living ------------------------------------------------------------------------------------------------------------ */

static bool among(const uint8_t *reasons, uint8_t reason)
{
    for (; reasons && *reasons; reasons++)
        if (*reasons == reason)
            return true;
    return !reasons;
}

static const char *list_reasons(struct conform_probe *probe, const uint8_t *reasons)
{
    const char *text = "";
    for (; *reasons; reasons++)
        text = probe_text(probe, "%s%s0x%02x", text, *text ? " or " : "", *reasons);
    return text;
}

/* After bytes that are a whole packet (`cut` is not set) nothing is left to wait for: a broker that goes on serving has overlooked it. Only under a
 * packet that was cut short our half is closed, for a broker may rightly wait for the rest. */
static void await_end(struct wire *wire, const char *what)
{
    struct conform_probe *probe = wire->probe;
    if (wire->ended || wire_closes(wire, SETTLE_US))
        return;
    if (wire->malformed) { /* nothing more is read of it: a ping would not be seen */
        want(probe, wire_closes(wire, SERVED_ON_US), "%s is answered with bytes that are no legal packet", what);
    } else if (wire->cut) {
        wire_end(wire, WIRE_HALF_CLOSE);
    } else if (wire->connack_came && wire->connack.reason == MQ5_SUCCESS) {
        uint32_t before = wire_count_of(wire, MQ5_PINGRESP);
        wire_send(wire, &(struct mq5_packet){.type = MQ5_PINGREQ});
        int64_t until_us = probe_now(probe) + probe_patience(probe);
        while (wire_is_open(wire) && wire_count_of(wire, MQ5_PINGRESP) == before && probe_now(probe) < until_us)
            probe_pump(probe, wire, until_us);
        want(probe, wire_count_of(wire, MQ5_PINGRESP) == before || wire_closes(wire, SERVED_ON_US),
             "the connection goes on after %s: PINGREQ is answered", what);
    }
    if (!wire_closes(wire, probe_patience(probe)))
        missing(wire, true, probe_text(probe, "end of the connection after %s", what));
}

static void close_with_code(struct wire *wire, const char *what, const uint8_t *reasons)
{
    struct conform_probe *probe = wire->probe;
    await_end(wire, what);
    probe->wanted++;
    const struct received *code = NULL;
    for (uint32_t i = 0; i < wire->inbox_count; i++)
        if (wire->inbox[i]->packet.type == MQ5_DISCONNECT ||
            (wire->inbox[i]->packet.type == MQ5_CONNACK && wire->inbox[i]->packet.connack.reason >= 0x80))
            code = wire->inbox[i];
    if (wire->version != MQ5_V5)
        return;
    uint8_t reason = !code                              ? 0
                     : code->packet.type == MQ5_CONNACK ? code->packet.connack.reason
                                                        : code->packet.disconnect.reason;
    bool joined = wire->connack_came && wire->connack.reason < 0x80; /* before, a reason is given as the broker likes */
    if (joined)
        should(probe, "code first", "S4.13.1a", code != NULL, "%s: the connection was ended without a reason code",
               what);
    if (code && reasons)
        should(probe, "code", "S4.13.1a", among(reasons, reason), "%s: reason 0x%02x (%s) instead of %s", what, reason,
               mq5_reason_name(reason), list_reasons(probe, reasons));
}

void want_closed(struct wire *wire, const char *what, const uint8_t *reasons)
{
    close_with_code(wire, what, reasons);
}

/* An answer in the manner of 3.1.1 makes the connection one of 3.1.1: its refusals begin at 1. */
static bool is_accepted(const struct wire *wire)
{
    return wire->connack_came && wire->connack.reason < (wire->version == MQ5_V5 ? 0x80 : 1);
}

void want_refused(struct wire *wire, const char *what, const uint8_t *reasons)
{
    struct conform_probe *probe = wire->probe;
    int64_t until_us = probe_now(probe) + SETTLE_US;
    while (wire_is_open(wire) && !wire->connack_came && probe_now(probe) < until_us)
        probe_pump(probe, wire, until_us);
    want(probe, !is_accepted(wire), "%s is accepted: CONNACK 0x00", what);
    close_with_code(wire, what, reasons);
    want(probe, !is_accepted(wire), "%s is accepted: CONNACK 0x00", what);
}

static const struct received *ping(struct wire *wire)
{
    struct mq5_packet packet = {.type = MQ5_PINGREQ};
    wire_send(wire, &packet);
    return try_packet(wire, MQ5_PINGRESP, probe_patience(wire->probe));
}

void want_alive(struct wire *wire, const char *what)
{
    if (!ping(wire))
        missing(wire, true, probe_text(wire->probe, "PINGRESP %s", what));
    wire->probe->wanted++;
}

void need_alive(struct wire *wire, const char *what)
{
    if (!ping(wire))
        missing(wire, false, probe_text(wire->probe, "PINGRESP %s", what));
}

/* ---- subscribing ------------------------------------------------------------------------------------------------------------------ */

struct mq5_subscription subscription(const char *filter, uint8_t qos)
{
    return (struct mq5_subscription){.filter = span_text(filter), .qos = qos};
}

const struct mq5_suback *wire_subscribe_with(struct wire *wire, const struct mq5_subscription *list, uint32_t count,
                                             uint32_t subscription_id)
{
    wire_send_subscribe(wire, list, count, subscription_id);
    return &need_packet(wire, MQ5_SUBACK, "SUBACK")->packet.suback;
}

void wire_warm_up(struct wire *wire, const char *topic)
{
    struct conform_probe *probe = wire->probe;
    if (probe->suite->broker.subscription_delay_us == 0)
        return;
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(topic, "warm-up", 0)};
    int64_t until_us = probe_now(probe) + probe_patience(probe);
    do
        wire_send(wire, &packet);
    while (!try_message(wire, topic, "warm-up", WARM_UP_RETRY_US) && probe_now(probe) < until_us);
    probe_wait(probe, probe->suite->broker.subscription_delay_us); /* those still under way */
    uint32_t kept = 0;
    for (uint32_t i = 0; i < wire->inbox_count; i++)
        if (!is_message(wire->inbox[i], topic, "warm-up"))
            wire->inbox[kept++] = wire->inbox[i];
    wire->inbox_count = kept;
}

void wire_subscribe(struct wire *wire, const char *filter, uint8_t qos)
{
    struct mq5_subscription list = subscription(filter, qos);
    const struct mq5_suback *suback = wire_subscribe_with(wire, &list, 1, 0);
    need(wire->probe, suback->reasons.length == 1 && suback->reasons.data[0] < 0x80, "SUBACK 0x%02x for QoS %u",
         suback->reasons.length ? suback->reasons.data[0] : 0, qos);
    if (suback->reasons.data[0] < qos) /* its right */
        skip(wire->probe, "the broker grants QoS %u where %u was asked for", suback->reasons.data[0], qos);
    if (!strpbrk(filter, "+#$"))
        wire_warm_up(wire, filter);
}

struct wire *probe_subscriber(struct conform_probe *probe, const char *name, const char *filter, uint8_t qos)
{
    struct wire *wire = probe_connect(probe, name);
    wire_subscribe(wire, filter, qos);
    return wire;
}

struct wire *probe_subscriber_as(struct conform_probe *probe, const char *name, const struct mq5_connect *login,
                                 const char *filter, uint8_t qos)
{
    struct wire *wire = probe_connect_as(probe, name, login);
    wire_subscribe(wire, filter, qos);
    return wire;
}

const struct mq5_suback *wire_unsubscribe(struct wire *wire, const char *filter)
{
    wire_send_unsubscribe(wire, &filter, 1);
    return &need_packet(wire, MQ5_UNSUBACK, "UNSUBACK")->packet.suback;
}

/* ---- publishing --------------------------------------------------------------------------------------------------------------------- */

struct mq5_publish message(const char *topic, const char *payload, uint8_t qos)
{
    return (struct mq5_publish){.qos = qos, .topic = span_text(topic), .payload = span_text(payload)};
}

void wire_ack(struct wire *wire, enum mq5_type type, uint16_t packet_id, uint8_t reason)
{
    struct mq5_packet packet = {.type = (uint8_t)type, .ack = {.packet_id = packet_id, .reason = reason}};
    wire_send(wire, &packet);
}

uint8_t wire_publish_packet(struct wire *wire, const struct mq5_publish *publish)
{
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = *publish};
    if (publish->qos && !publish->packet_id)
        packet.publish.packet_id = wire_packet_id(wire);
    wire_send(wire, &packet);
    if (publish->qos == 0)
        return MQ5_SUCCESS;
    if (publish->qos == 1)
        return need_packet(wire, MQ5_PUBACK, "PUBACK")->packet.ack.reason;
    uint8_t reason = need_packet(wire, MQ5_PUBREC, "PUBREC")->packet.ack.reason;
    if (reason >= 0x80)
        return reason;
    wire_ack(wire, MQ5_PUBREL, packet.publish.packet_id, MQ5_SUCCESS);
    need_packet(wire, MQ5_PUBCOMP, "PUBCOMP");
    return reason;
}

static uint8_t publish_well(struct wire *wire, const struct mq5_publish *publish)
{
    uint8_t reason = wire_publish_packet(wire, publish);
    need(wire->probe, reason < 0x80, "the message was refused: 0x%02x (%s)", reason, mq5_reason_name(reason));
    return reason;
}

uint8_t wire_publish(struct wire *wire, const char *topic, const char *payload, uint8_t qos)
{
    struct mq5_publish publish = message(topic, payload, qos);
    return publish_well(wire, &publish);
}

uint8_t wire_publish_retained(struct wire *wire, const char *topic, const char *payload, uint8_t qos)
{
    struct mq5_publish publish = message(topic, payload, qos);
    publish.retain = true;
    if (wire->version == MQ5_V5 && payload[0])
        SET_PROPERTY(publish.properties, message_expiry_s, MQ5_MESSAGE_EXPIRY_INTERVAL, 60);
    return publish_well(wire, &publish);
}
