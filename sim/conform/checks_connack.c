/* checks_connack.c: CONNACK (3.2): refusals, and what the properties of an accepted CONNECT promise. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

static bool told(const struct mq5_properties *properties, enum mq5_property property)
{
    return properties->present & MQ5_BIT(property);
}

/* A good CONNECT that next to no broker can accept. */
static struct mq5_connect strange_login(struct conform_probe *probe, uint32_t number)
{
    struct mq5_connect login = probe_login(probe, number);
    SET_PROPERTY(login.properties, authentication_method, MQ5_AUTHENTICATION_METHOD, span_text("mc5-no-such-method"));
    return login;
}

static const struct mq5_connack *need_refusal(struct conform_probe *probe, struct wire *wire,
                                              const struct mq5_connect *login)
{
    const struct mq5_connack *connack = wire_login(wire, login);
    if (!connack && !wire_is_open(wire))
        skip(probe, "this broker refuses without a CONNACK");
    need(probe, connack != NULL, "no CONNACK");
    need(probe, connack->reason >= 0x80, "an unknown authentication method is accepted: CONNACK 0x%02x",
         connack->reason);
    return connack;
}

/* ---- refusals ------------------------------------------------------------------------------------------------------------ */

static void refusal_closes(struct conform_probe *probe)
{
    struct wire *wire = probe_open(probe, "client");
    struct mq5_connect login = strange_login(probe, 0);
    const struct mq5_connack *connack = need_refusal(probe, wire, &login);
    want(probe, mq5_reason_allowed(MQ5_CONNACK, connack->reason, MQ5_FROM_SERVER), "CONNACK 0x%02x is not in the table",
         connack->reason);
    want(probe, wire_closes(wire, probe_patience(probe)), "the connection stays open after CONNACK 0x%02x",
         connack->reason);
    should(probe, "code", NULL, connack->reason == MQ5_BAD_AUTHENTICATION_METHOD,
           "CONNACK 0x%02x (%s) for an unknown authentication method", connack->reason,
           mq5_reason_name(connack->reason));
}

static void refusal_has_no_session(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 10), strange = strange_login(probe, 10);
    set_session_expiry(&login, 60);
    set_session_expiry(&strange, 60);
    strange.clean_start = false;
    wire_disconnect(probe_connect_as(probe, "first", &login), MQ5_SUCCESS);
    struct wire *wire = probe_open(probe, "refused");
    const struct mq5_connack *connack = need_refusal(probe, wire, &strange);
    want(probe, !connack->session_present, "Session Present 1 in CONNACK 0x%02x", connack->reason);
}

/* Of the second byte only the last bit may be set. A CONNACK that is not legal the monitors judge. */
static void want_flags(struct conform_probe *probe, const struct wire *wire)
{
    const struct received *connack = wire_at(wire, 0);
    need(probe, connack && connack->packet.type == MQ5_CONNACK && connack->bytes.length > 2, "no CONNACK comes first");
    want(probe, connack->bytes.data[2] <= 1, "acknowledge flags 0x%02x", connack->bytes.data[2]);
}

static void flags_are_zero(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 10), strange = strange_login(probe, 11);
    set_session_expiry(&login, 60);
    want_flags(probe, probe_connect_as(probe, "new", &login));
    want_flags(probe, probe_resume(probe, "again", &login, false));
    struct wire *wire = probe_open(probe, "refused");
    if (wire_login(wire, &strange)) /* it may as well be refused without a word */
        want_flags(probe, wire);
}

static void clean_has_no_session(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 10);
    set_session_expiry(&login, 60);
    wire_disconnect(probe_connect_as(probe, "first", &login), MQ5_SUCCESS);
    struct wire *wire = probe_resume(probe, "clean", &login, true);
    want(probe, !wire_connack(wire)->session_present, "Session Present 1 after a clean start");
    wire = probe_resume(probe, "clean, taking over", &login, true);
    want(probe, !wire_connack(wire)->session_present, "Session Present 1 after a clean start that took over");
}

static void accepted_code(struct conform_probe *probe)
{
    struct wire *wire = probe_open(probe, "client");
    struct mq5_connect login = probe_login(probe, 0);
    wire_login(wire, &login);
    need(probe, wire_connack(wire) != NULL, "no CONNACK");
    want(probe, wire_connack(wire)->reason == MQ5_SUCCESS, "CONNACK 0x%02x for a good CONNECT",
         wire_connack(wire)->reason);
}

static const struct promise {
    const char *name, *ref;
    enum mq5_property property;
} promises[] = {
    {"Receive Maximum", "S3.2.2.3.3a", MQ5_RECEIVE_MAXIMUM},
    {"Maximum QoS", "S3.2.2.3.4a", MQ5_MAXIMUM_QOS},
    {"Retain Available", "S3.2.2.3.5a", MQ5_RETAIN_AVAILABLE},
    {"Maximum Packet Size", "S3.2.2.3.6a", MQ5_MAXIMUM_PACKET_SIZE},
    {"any property", "S3.2.2.3.x", MQ5_USER_PROPERTY},
};

static uint32_t promise_count(void)
{
    return sizeof(promises) / sizeof(promises[0]);
}

static void promise_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s in CONNACK", promises[row].name);
    out->ref = promises[row].ref;
}

/* What cannot be decoded (a value that there is not, a property twice) the monitors judge. */
static void promise(struct conform_probe *probe)
{
    const struct promise *each = &promises[probe_row(probe)];
    const struct mq5_properties *properties = &wire_connack(probe_connect(probe, "client"))->properties;
    if (each->property == MQ5_USER_PROPERTY ? properties->present == 0 : !told(properties, each->property))
        skip(probe, "the broker's CONNACK has not %s", each->name);
    uint32_t value = each->property == MQ5_RECEIVE_MAXIMUM       ? properties->receive_maximum
                     : each->property == MQ5_MAXIMUM_QOS         ? properties->maximum_qos
                     : each->property == MQ5_RETAIN_AVAILABLE    ? properties->retain_available
                     : each->property == MQ5_MAXIMUM_PACKET_SIZE ? properties->maximum_packet_size
                                                                 : 1;
    bool flag = each->property == MQ5_MAXIMUM_QOS || each->property == MQ5_RETAIN_AVAILABLE;
    want(probe, flag ? value <= 1 : value > 0, "%s %u", each->name, value);
}

/* ---- what is promised ---------------------------------------------------------------------------------------------------------- */

/* What a broker does not take it must say: without a word every QoS is taken. */
static void maximum_qos_told(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client");
    const struct mq5_properties *properties = &wire_connack(wire)->properties;
    uint8_t maximum = told(properties, MQ5_MAXIMUM_QOS) ? properties->maximum_qos : 2;
    for (uint8_t qos = 1; qos <= 2 && qos <= maximum; qos++) {
        struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(probe_topic(probe, "q"), "q", qos)};
        packet.publish.packet_id = wire_packet_id(wire);
        wire_send(wire, &packet);
        const struct received *ack =
            want_packet(wire, qos == 1 ? MQ5_PUBACK : MQ5_PUBREC, qos == 1 ? "PUBACK" : "PUBREC");
        uint8_t reason = ack->packet.ack.reason;
        want(probe, reason != MQ5_QOS_NOT_SUPPORTED, "QoS %u is refused (0x9b), and CONNACK does not say so", qos);
        need(probe, reason < 0x80, "the message is refused: 0x%02x", reason);
        if (qos == 2) {
            wire_ack(wire, MQ5_PUBREL, packet.publish.packet_id, MQ5_SUCCESS);
            want_packet(wire, MQ5_PUBCOMP, "PUBCOMP");
        }
    }
    want_alive(wire, "after a message of each QoS that CONNACK leaves");
}

static void subscribes_any_qos(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client");
    struct mq5_subscription list = subscription(probe_topic(probe, "control"), 0);
    const struct mq5_suback *suback = wire_subscribe_with(wire, &list, 1, 0);
    need(probe, suback->reasons.length == 1 && suback->reasons.data[0] == 0, "QoS 0 is not granted");
    for (uint8_t qos = 1; qos <= 2; qos++) {
        list = subscription(probe_topic(probe, "q%u", qos), qos);
        wire_send(wire,
                  &(struct mq5_packet){.type = MQ5_SUBSCRIBE,
                                       .subscribe = {.packet_id = wire_packet_id(wire), .list = &list, .count = 1}});
        struct span reasons = want_packet(wire, MQ5_SUBACK, "SUBACK")->packet.suback.reasons;
        want(probe, reasons.length == 1 && reasons.data[0] <= qos, "SUBACK 0x%02x for QoS %u",
             reasons.length ? reasons.data[0] : 0, qos);
    }
}

static void will_above_qos(struct conform_probe *probe)
{
    struct wire *wire = probe_open(probe, "client");
    struct mq5_connect login = probe_login(probe, 0);
    set_will(&login, probe_topic(probe, "will"), "will", probe_broker(probe)->maximum_qos + 1, false, 0);
    wire_send(wire, &(struct mq5_packet){.type = MQ5_CONNECT, .connect = login});
    want_refused(wire, "a will above Maximum QoS", REASONS(MQ5_QOS_NOT_SUPPORTED));
}

static void will_retained_nowhere(struct conform_probe *probe)
{
    struct wire *wire = probe_open(probe, "client");
    struct mq5_connect login = probe_login(probe, 0);
    set_will(&login, probe_topic(probe, "will"), "will", 0, true, 0);
    wire_send(wire, &(struct mq5_packet){.type = MQ5_CONNECT, .connect = login});
    want_refused(wire, "a retained will where Retain Available is 0", REASONS(MQ5_RETAIN_NOT_SUPPORTED));
}

static void publish_above_qos(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client");
    uint8_t qos = probe_broker(probe)->maximum_qos + 1;
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(probe_topic(probe, "q"), "q", qos)};
    packet.publish.packet_id = wire_packet_id(wire);
    wire_send(wire, &packet);
    want_closed(wire, "PUBLISH above Maximum QoS", REASONS(MQ5_QOS_NOT_SUPPORTED));
}

static void publish_retained_nowhere(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client");
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(probe_topic(probe, "kept"), "kept", 0)};
    packet.publish.retain = true;
    wire_send(wire, &packet);
    want_closed(wire, "a retained message where Retain Available is 0", REASONS(MQ5_RETAIN_NOT_SUPPORTED));
}

/* A PUBLISH of so many bytes, or of one more where the length of the length grows just there. */
static struct mq5_packet publish_of(struct conform_probe *probe, uint32_t length)
{
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(probe_topic(probe, "large"), "", 0)};
    uint32_t overhead = probe_encode(probe, &packet, NULL).length;
    need(probe, length > overhead + 8, "a maximum of %u bytes leaves no room for a message", length);
    packet.publish.payload = (struct span){probe_bytes(probe, length, 'x'), length - overhead - 4};
    while (mq5_encoded_length(MQ5_V5, &packet) < length)
        packet.publish.payload.length++;
    return packet;
}

static void too_large_by(struct conform_probe *probe, uint32_t bytes)
{
    struct wire *wire = probe_connect(probe, "client");
    const struct mq5_properties *properties = &wire_connack(wire)->properties;
    need(probe, told(properties, MQ5_MAXIMUM_PACKET_SIZE), "this CONNACK tells no Maximum Packet Size");
    uint32_t maximum = properties->maximum_packet_size;
    struct mq5_packet just = publish_of(probe, maximum), above = publish_of(probe, maximum + bytes);
    if (mq5_encoded_length(MQ5_V5, &just) == maximum) {
        wire_send(wire, &just);
        want_alive(wire, probe_text(probe, "after a packet of %u bytes, the maximum", maximum));
    }
    wire_send(wire, &above);
    want_closed(wire, probe_text(probe, "a packet %u bytes above the broker's Maximum Packet Size", bytes),
                REASONS(MQ5_PACKET_TOO_LARGE));
}

static void too_large(struct conform_probe *probe)
{
    too_large_by(probe, 1000);
}

static void just_too_large(struct conform_probe *probe)
{
    too_large_by(probe, 1);
}

/* ---- what is not available -------------------------------------------------------------------------------------------------------- */

/* Either the code in SUBACK, or DISCONNECT with it and the end. */
static void refused_filter(struct conform_probe *probe, const char *filter, uint32_t subscription_id, uint8_t reason)
{
    struct wire *wire = probe_connect(probe, "client");
    struct mq5_subscription list = subscription(filter, 0);
    struct mq5_packet packet = {.type = MQ5_SUBSCRIBE,
                                .subscribe = {.packet_id = wire_packet_id(wire), .list = &list, .count = 1}};
    if (subscription_id) {
        packet.subscribe.properties.present = MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER);
        packet.subscribe.properties.subscription_ids = &subscription_id;
        packet.subscribe.properties.subscription_id_count = 1;
    }
    wire_send(wire, &packet);
    const struct received *answer = try_packet(wire, MQ5_SUBACK, probe_patience(probe));
    if (!answer) {
        want_closed(wire, "a subscription of a kind that is not available", REASONS(reason));
        return;
    }
    struct span reasons = answer->packet.suback.reasons;
    uint8_t came = reasons.length ? reasons.data[0] : 0;
    want(probe, came >= 0x80, "SUBACK 0x%02x for what CONNACK says is not available", came);
    should(probe, "code", NULL, came == reason, "SUBACK 0x%02x instead of 0x%02x (%s)", came, reason,
           mq5_reason_name(reason));
}

static void no_wildcards(struct conform_probe *probe)
{
    refused_filter(probe, probe_topic(probe, "+"), 0, MQ5_WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED);
}

static void no_subscription_ids(struct conform_probe *probe)
{
    refused_filter(probe, probe_topic(probe, "id"), 7, MQ5_SUBSCRIPTION_IDS_NOT_SUPPORTED);
}

static void no_shares(struct conform_probe *probe)
{
    const char *filter = probe_text(probe, "$share/%s/%s", probe_share(probe, 0), probe_topic(probe, "shared"));
    refused_filter(probe, filter, 0, MQ5_SHARED_SUBSCRIPTIONS_NOT_SUPPORTED);
}

/* ---- CONNACK within the client's limit ---------------------------------------------------------------------------------------------- */

/* A CONNECT whose CONNACK has this property: an unknown method, the refused login of the profile, or just a good one. */
static bool find_wordy(struct conform_probe *probe, enum mq5_property property, struct mq5_connect *login,
                       uint32_t *length)
{
    for (uint32_t kind = 0; kind < 3; kind++) {
        if (kind == 1 && !probe_has(probe, CONFORM_REFUSED_LOGIN))
            continue;
        *login = kind ? probe_login(probe, 20 + kind) : strange_login(probe, 20);
        if (kind == 1) {
            const char *password = probe_told(probe, "refused_password");
            login->has_user_name = true;
            login->user_name = span_text(probe_told(probe, "refused_user"));
            login->has_password = password != NULL;
            login->password = span_text(password ? password : "");
        }
        struct wire *wire = probe_open(probe, probe_text(probe, "no limit, %u", kind));
        const struct mq5_connack *connack = wire_login(wire, login);
        wire_end(wire, WIRE_FIN);
        if (!connack || !told(&connack->properties, property))
            continue;
        *length = wire_at(wire, 0)->bytes.length;
        return true;
    }
    return false;
}

static void fits(struct conform_probe *probe, enum mq5_property property, const char *name)
{
    struct mq5_connect login;
    uint32_t length = 0;
    if (!find_wordy(probe, property, &login, &length))
        skip(probe, "no CONNACK of this broker has a %s", name);
    const uint32_t limits[] = {length - 1, 5}; /* 5: a CONNACK without properties */
    for (int each = 0; each < 2; each++) {
        uint32_t limit = limits[each];
        set_maximum_packet_size(&login, limit);
        struct wire *wire = probe_open(probe, probe_text(probe, "limit %u", limit));
        wire_login(wire, &login);
        wire_closes(wire, 200 * US_PER_MS);
        for (uint32_t i = 0; i < wire_count(wire); i++)
            want(probe, wire_at(wire, i)->bytes.length <= limit, "%s of %u bytes for a client that takes %u",
                 mq5_type_name(wire_at(wire, i)->packet.type), wire_at(wire, i)->bytes.length, limit);
        want(probe,
             !wire_connack(wire) || !told(&wire_connack(wire)->properties, property) ||
                 wire_at(wire, 0)->bytes.length <= limit,
             "a %s that does not fit", name);
        wire_end(wire, WIRE_FIN);
    }
}

static void reason_string_fits(struct conform_probe *probe)
{
    fits(probe, MQ5_REASON_STRING, "Reason String");
}

static void user_property_fits(struct conform_probe *probe)
{
    fits(probe, MQ5_USER_PROPERTY, "User Property");
}

CHECK_TABLE(checks_connack,
            {.id = "B-CONN-060",
             .name = "a CONNACK that refuses is the end of the connection",
             .refs = {"MQTT-3.2.2-7", "MQTT-3.2.2-8"},
             .level = CONFORM_MUST,
             .run = refusal_closes},
            {.id = "B-CONN-061",
             .name = "a CONNACK that refuses has Session Present 0, session or not",
             .refs = {"MQTT-3.2.2-6"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .run = refusal_has_no_session},
            {.id = "B-CONN-075",
             .name = "acknowledge flags are 0 but for Session Present",
             .refs = {"MQTT-3.2.2-1"},
             .level = CONFORM_MUST,
             .run = flags_are_zero},
            {.id = "B-CONN-076",
             .name = "a clean start is answered with Session Present 0",
             .refs = {"MQTT-3.2.2-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .run = clean_has_no_session},
            {.id = "B-CONN-077",
             .name = "a CONNACK that accepts has a reason code of the table",
             .refs = {"MQTT-3.2.2-8"},
             .level = CONFORM_MUST,
             .run = accepted_code},
            {.id = "B-CONN-078",
             .name = "what CONNACK promises has a value that there is, once",
             .refs = {"S3.2.2.3.3a", "S3.2.2.3.4a", "S3.2.2.3.5a", "S3.2.2.3.6a", "S3.2.2.3.x"},
             .level = CONFORM_MUST,
             .run = promise,
             .row_count = promise_count,
             .row = promise_row},
            {.id = "B-CONN-062",
             .name = "QoS that is not taken is told in CONNACK",
             .refs = {"MQTT-3.2.2-9"},
             .level = CONFORM_MUST,
             .run = maximum_qos_told},
            {.id = "B-CONN-063",
             .name = "subscriptions of every QoS are accepted below Maximum QoS",
             .refs = {"MQTT-3.2.2-10"},
             .level = CONFORM_MUST,
             .needs = CONFORM_LOW_QOS,
             .run = subscribes_any_qos},
            {.id = "B-CONN-064",
             .name = "a will above Maximum QoS is refused",
             .refs = {"MQTT-3.2.2-12"},
             .level = CONFORM_MUST,
             .needs = CONFORM_LOW_QOS,
             .run = will_above_qos},
            {.id = "B-CONN-065",
             .name = "a retained will is refused where nothing is retained",
             .refs = {"MQTT-3.2.2-13"},
             .level = CONFORM_MUST,
             .needs = CONFORM_NO_RETAIN,
             .run = will_retained_nowhere},
            {.id = "B-CONN-066",
             .name = "a message above Maximum QoS ends the connection",
             .refs = {"S3.2.2.3.4b"},
             .level = CONFORM_MUST,
             .needs = CONFORM_LOW_QOS,
             .run = publish_above_qos},
            {.id = "B-CONN-067",
             .name = "a retained message ends the connection where nothing is retained",
             .refs = {"S3.2.2.3.5b"},
             .level = CONFORM_SHOULD,
             .needs = CONFORM_NO_RETAIN,
             .run = publish_retained_nowhere},
            {.id = "B-CONN-068",
             .name = "a packet far above the broker's Maximum Packet Size ends the connection",
             .refs = {"S3.2.2.3.6b"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SMALL_PACKETS,
             .run = too_large},
            {.id = "B-CONN-074",
             .name = "a packet one byte above the broker's Maximum Packet Size ends the connection",
             .refs = {"S3.2.2.3.6b"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SMALL_PACKETS,
             .run = just_too_large},
            {.id = "B-CONN-069",
             .name = "a filter with a wildcard is refused where there are none",
             .refs = {"S3.2.2.3.11a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_NO_WILDCARD,
             .run = no_wildcards},
            {.id = "B-CONN-070",
             .name = "a subscription identifier is refused where there are none",
             .refs = {"S3.2.2.3.12a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_NO_SUBSCRIPTION_ID,
             .run = no_subscription_ids},
            {.id = "B-CONN-071",
             .name = "a shared subscription is refused where there are none",
             .refs = {"S3.2.2.3.13a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_NO_SHARED,
             .run = no_shares},
            {.id = "B-CONN-072",
             .name = "a Reason String that does not fit the client's limit is left out",
             .refs = {"MQTT-3.2.2-19"},
             .level = CONFORM_MUST,
             .run = reason_string_fits},
            {.id = "B-CONN-073",
             .name = "User Properties that do not fit the client's limit are left out",
             .refs = {"MQTT-3.2.2-20"},
             .level = CONFORM_MUST,
             .run = user_property_fits}, )
