/* checks_publish.c: PUBLISH (3.3): the topic and the properties, what is refused of them and what is passed on. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

#define ROWS(list) ((uint32_t)(sizeof(list) / sizeof((list)[0])))

/* ---- the topic --------------------------------------------------------------------------------------------------------------------- */

static void topic_arrives(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "Room 7/\xC3\xA9t\xC3\xA9/./-_~!");
    struct wire *wire = probe_subscriber(probe, "subscriber", topic, 1);
    wire_publish(probe_connect(probe, "publisher"), topic, "named", 1);
    const struct received *received = want_message(wire, NULL, "named");
    want(probe, span_equal(received->packet.publish.topic, span_text(topic)), "the topic is not the one published to");
}

static void topic_by_wildcard(struct conform_probe *probe)
{
    struct wire *wire = probe_subscriber(probe, "subscriber", probe_topic(probe, "+/x/#"), 1);
    wire_warm_up(wire, probe_topic(probe, "w/x"));
    struct wire *publisher = probe_connect(probe, "publisher");
    const char *const names[] = {"a/x", "A/x/y", "b/x//z", "/x/"};
    for (uint32_t i = 0; i < ROWS(names); i++) {
        const char *payload = probe_text(probe, "message %u", i);
        wire_publish(publisher, probe_topic(probe, "%s", names[i]), payload, 1);
        const struct received *received = want_message(wire, NULL, payload);
        want(probe, span_equal(received->packet.publish.topic, span_text(probe_topic(probe, "%s", names[i]))),
             "what was published to .../%s comes on \"%.*s\"", names[i], (int)received->packet.publish.topic.length,
             (const char *)received->packet.publish.topic.data);
    }
}

static void no_topic(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "publisher");
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message("", "nowhere", 0)};
    wire_send(wire, &packet);
    want_closed(wire, "a PUBLISH without a topic or an alias", REASONS(MQ5_PROTOCOL_ERROR, MQ5_TOPIC_NAME_INVALID));
}

static const char *const wild_topics[] = {"+", "#", "a/+/b", "a/#", "a+", "+a", "a#", "a/b#/c", "a/b+"};

static uint32_t wild_topic_count(void)
{
    return ROWS(wild_topics);
}

static void wild_topic_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "PUBLISH to .../%s", wild_topics[row]);
}

static void wild_topic(struct conform_probe *probe)
{
    const char *name = wild_topics[probe_row(probe)];
    struct mq5_publish publish = message(probe_topic(probe, "%s", name), "wild", 1);
    want_message_refused(probe_connect(probe, "publisher"), &publish, probe_text(probe, "the topic name .../%s", name),
                         REASONS(MQ5_TOPIC_NAME_INVALID, MQ5_PROTOCOL_ERROR, MQ5_MALFORMED_PACKET));
}

/* ---- strings that are none ----------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name, *text;
} ill_formed[] = {
    {"a lone continuation byte", "a\x80z"}, {"a sequence cut short", "a\xE2\x82z"},   {"a long form", "a\xC0\xAFz"},
    {"a surrogate", "a\xED\xA0\x80z"},      {"above U+10FFFF", "a\xF4\x90\x80\x80z"},
};
static const struct {
    const char *name, *ref;
} string_fields[] = {
    {"topic", "MQTT-3.3.2-1"},
    {"Response Topic", "MQTT-3.3.2-13"},
    {"Content Type", "MQTT-3.3.2-19"},
};

static uint32_t ill_formed_count(void)
{
    return ROWS(ill_formed) * ROWS(string_fields);
}

static void ill_formed_row(uint32_t row, struct conform_row *out)
{
    uint32_t field = row / ROWS(ill_formed);
    snprintf(out->name, sizeof(out->name), "%s with %s", string_fields[field].name,
             ill_formed[row % ROWS(ill_formed)].name);
    out->ref = string_fields[field].ref;
}

static void ill_formed_string(struct conform_probe *probe)
{
    uint32_t field = probe_row(probe) / ROWS(ill_formed), which = probe_row(probe) % ROWS(ill_formed);
    const char *text = probe_topic(probe, "%s", ill_formed[which].text);
    struct mq5_packet packet = {.type = MQ5_PUBLISH,
                                .publish = message(field ? probe_topic(probe, "t") : text, "ill-formed", 0)};
    struct mq5_properties *properties = &packet.publish.properties;
    if (field == 1)
        SET_PROPERTY(*properties, response_topic, MQ5_RESPONSE_TOPIC, span_text(text));
    if (field == 2)
        SET_PROPERTY(*properties, content_type, MQ5_CONTENT_TYPE, span_text(ill_formed[which].text));
    struct wire *wire = probe_connect(probe, "publisher");
    need_alive(wire, "before");
    wire_send(wire, &packet);
    want_closed(wire, probe_text(probe, "a %s that is not UTF-8", string_fields[field].name),
                REASONS(MQ5_MALFORMED_PACKET, MQ5_PROTOCOL_ERROR, MQ5_TOPIC_NAME_INVALID));
}

/* ---- Response Topic -------------------------------------------------------------------------------------------------------------------- */

static const char *const wild_responses[] = {"+", "#", "a/+/b", "a/#", "answers+"};

static uint32_t wild_response_count(void)
{
    return ROWS(wild_responses) + 1;
}

static void wild_response_row(uint32_t row, struct conform_row *out)
{
    if (row < ROWS(wild_responses))
        snprintf(out->name, sizeof(out->name), "Response Topic .../%s", wild_responses[row]);
    else
        snprintf(out->name, sizeof(out->name), "Response Topic .../+ in a will");
}

/* A broker that takes it would have to pass it on, and may not: its own PUBLISH would have a Response Topic with a wildcard. */
static void wild_response(struct conform_probe *probe)
{
    static const uint8_t reasons[] = {MQ5_PROTOCOL_ERROR, MQ5_TOPIC_NAME_INVALID, MQ5_MALFORMED_PACKET, 0};
    uint32_t row = probe_row(probe);
    const char *topic = probe_topic(probe, "request");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_open(probe, "publisher");
    wire_subscribe(wire, topic, 1);
    struct mq5_connect login = probe_login(probe, 50);
    struct mq5_publish publish = message(topic, "ask", 1);
    bool in_will = row == ROWS(wild_responses);
    struct span response = span_text(probe_topic(probe, "%s", in_will ? "+" : wild_responses[row]));
    if (in_will) {
        set_will(&login, topic, "ask", 1, false, 0);
        SET_PROPERTY(login.will_properties, response_topic, MQ5_RESPONSE_TOPIC, response);
    }
    const struct mq5_connack *connack = wire_login(publisher, &login);
    bool taken = connack && connack->reason == MQ5_SUCCESS;
    need(probe, taken || in_will, "no CONNACK with 0x00");
    if (in_will && taken) {
        wire_end(publisher, WIRE_FIN);
    } else if (!in_will) {
        struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = publish};
        SET_PROPERTY(packet.publish.properties, response_topic, MQ5_RESPONSE_TOPIC, response);
        packet.publish.packet_id = wire_packet_id(publisher);
        wire_send(publisher, &packet);
        const struct received *ack = try_packet(publisher, MQ5_PUBACK, probe_patience(probe));
        if (!ack) { /* nor is silence an answer to it */
            want_closed(publisher, "a Response Topic with a wildcard", reasons);
            return;
        }
        taken = ack->packet.ack.reason < 0x80;
    }
    should(probe, "refused", NULL, !taken, "a Response Topic with a wildcard is taken");
    struct wire *other = probe_connect(probe, "marker");
    for (int i = 0; i < (in_will && taken ? 4 : 1) && wire_is_legal(wire); i++) { /* a will may take a moment */
        const char *marker = probe_text(probe, "marker %d", i);
        wire_publish(other, topic, marker, 1);
        const struct received *came = try_message(wire, topic, marker, probe_patience(probe));
        need(probe, came || !wire_is_legal(wire), "the marker does not arrive");
        if (in_will && taken)
            try_message(wire, topic, "ask", US_PER_S / 2);
    }
    want(probe, wire_is_legal(wire), "the message is passed on with its Response Topic .../%s",
         in_will ? "+" : wild_responses[row]);
}

static void request_and_response(struct conform_probe *probe)
{
    const char *requests = probe_topic(probe, "requests"), *answers = probe_topic(probe, "answers/7");
    struct wire *asks = probe_connect(probe, "requester"), *serves = probe_connect(probe, "responder");
    wire_subscribe(asks, answers, 1);
    wire_subscribe(serves, requests, 1);
    struct mq5_publish publish = message(requests, "question", 1);
    SET_PROPERTY(publish.properties, response_topic, MQ5_RESPONSE_TOPIC, span_text(answers));
    SET_PROPERTY(publish.properties, correlation_data, MQ5_CORRELATION_DATA, span_text("number 7"));
    need(probe, wire_publish_packet(asks, &publish) < 0x80, "the request is refused");
    const struct mq5_properties *asked = &want_message(serves, requests, "question")->packet.publish.properties;
    want(probe, asked->present & MQ5_BIT(MQ5_RESPONSE_TOPIC), "the request comes without its Response Topic");
    want(probe, asked->present & MQ5_BIT(MQ5_CORRELATION_DATA), "the request comes without its Correlation Data");
    struct mq5_publish answer = {.qos = 1, .topic = asked->response_topic, .payload = span_text("answer")};
    SET_PROPERTY(answer.properties, correlation_data, MQ5_CORRELATION_DATA, asked->correlation_data);
    need(probe, wire_publish_packet(serves, &answer) < 0x80, "the answer is refused");
    const struct mq5_properties *answered = &want_message(asks, answers, "answer")->packet.publish.properties;
    want(probe,
         answered->present & MQ5_BIT(MQ5_CORRELATION_DATA) &&
             span_equal(answered->correlation_data, span_text("number 7")),
         "the answer comes without the Correlation Data of the request");
}

/* ---- Payload Format Indicator -------------------------------------------------------------------------------------------------------------- */

/* Whether a payload is looked at is the broker's choice; what it does with one that is no UTF-8 is noted. */
static void payload_not_utf8(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "text");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, 1);
    struct mq5_publish publish = message(topic, "\xFF\xFE no text", 1);
    SET_PROPERTY(publish.properties, payload_format, MQ5_PAYLOAD_FORMAT_INDICATOR, 1);
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = publish};
    packet.publish.packet_id = wire_packet_id(publisher);
    wire_send(publisher, &packet);
    const struct received *ack = try_packet(publisher, MQ5_PUBACK, probe_patience(probe));
    if (!ack) {
        note(probe, "the connection is ended");
        want_closed(publisher, "a payload that is not UTF-8", REASONS(MQ5_PAYLOAD_FORMAT_INVALID));
    } else if (ack->packet.ack.reason >= 0x80) {
        want(probe, ack->packet.ack.reason == MQ5_PAYLOAD_FORMAT_INVALID, "PUBACK 0x%02x (%s) instead of 0x99",
             ack->packet.ack.reason, mq5_reason_name(ack->packet.ack.reason));
    } else {
        note(probe, "the payload is passed on unseen");
        const struct received *received = want_message(wire, topic, NULL);
        want(probe, span_equal(received->packet.publish.payload, publish.payload), "the payload was changed");
    }
}

/* ---- acknowledgements in their short forms -------------------------------------------------------------------------------------------------- */

static const enum mq5_type ack_types[] = {MQ5_PUBACK, MQ5_PUBREC, MQ5_PUBREL, MQ5_PUBCOMP};

static uint32_t ack_form_count(void)
{
    return ROWS(ack_types) * 3;
}

static void ack_form_row(uint32_t row, struct conform_row *out)
{
    static const char *const forms[] = {"without a reason code", "without a property length", "with everything"};
    snprintf(out->name, sizeof(out->name), "%s %s", mq5_type_name((uint8_t)ack_types[row / 3]), forms[row % 3]);
}

static void send_form(struct wire *wire, enum mq5_type type, uint16_t packet_id, uint32_t form)
{
    uint8_t bytes[6] = {(uint8_t)(type << 4 | (type == MQ5_PUBREL ? 2 : 0)), (uint8_t)(2 + form),
                        (uint8_t)(packet_id >> 8), (uint8_t)packet_id};
    wire_send_bytes(wire, bytes, 4 + form);
}

static void release_form(struct conform_probe *probe, uint32_t form)
{
    struct wire *wire = probe_connect(probe, "publisher");
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(probe_topic(probe, "t"), "twice safe", 2)};
    packet.publish.packet_id = wire_packet_id(wire);
    wire_send(wire, &packet);
    uint8_t reason = need_packet(wire, MQ5_PUBREC, "PUBREC")->packet.ack.reason;
    need(probe, reason < 0x80, "the message was refused: 0x%02x", reason);
    send_form(wire, MQ5_PUBREL, packet.publish.packet_id, form);
    const struct received *done = want_packet(wire, MQ5_PUBCOMP, "PUBCOMP");
    want(probe, done->packet.ack.reason == MQ5_SUCCESS, "PUBCOMP 0x%02x", done->packet.ack.reason);
    want_alive(wire, "after the handshake");
}

/* The second message shows that the acknowledgement of the first was understood. */
static void ack_form(struct conform_probe *probe)
{
    enum mq5_type type = ack_types[probe_row(probe) / 3];
    uint32_t form = probe_row(probe) % 3;
    uint8_t qos = type == MQ5_PUBACK ? 1 : 2;
    if (qos == 2 && !probe_has(probe, CONFORM_QOS_2))
        skip(probe, "needs QoS 2");
    if (type == MQ5_PUBREL) {
        release_form(probe, form);
        return;
    }
    const char *topic = probe_topic(probe, "window");
    uint16_t id;
    struct wire *wire = probe_one_in_flight(probe, topic, qos, &id);
    if (type == MQ5_PUBCOMP) {
        wire_ack(wire, MQ5_PUBREC, id, MQ5_SUCCESS);
        need_packet(wire, MQ5_PUBREL, "PUBREL");
    }
    send_form(wire, type, id, form);
    if (type == MQ5_PUBREC)
        want_packet(wire, MQ5_PUBREL, "PUBREL");
    else
        want_message(wire, topic, "second");
    want_alive(wire, "after the acknowledgement");
}

/* ---- more than the broker's window ------------------------------------------------------------------------------------------------------------ */

static void too_many_in_flight(struct conform_probe *probe)
{
    uint32_t window = probe_broker(probe)->receive_maximum;
    if (window > 1000)
        skip(probe, "the broker's Receive Maximum is %u", window);
    const char *topic = probe_topic(probe, "flood");
    struct wire *wire = probe_connect(probe, "publisher");
    wire_gather(wire);
    for (uint32_t i = 0; i <= window; i++) {
        struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(topic, "held", 2)};
        packet.publish.packet_id = wire_packet_id(wire);
        wire_send(wire, &packet);
    }
    wire_flush(wire);
    wire_closes(wire, US_PER_S);
    for (uint32_t i = 0; i < wire_count(wire); i++) {
        const struct mq5_ack *ack = &wire_at(wire, i)->packet.ack;
        need(probe, wire_at(wire, i)->packet.type != MQ5_PUBREC || ack->reason < 0x80 || ack->packet_id > window,
             "message %u is refused: 0x%02x; the window was not full", ack->packet_id, ack->reason);
    }
    want_closed(wire, probe_text(probe, "%u messages of QoS 2 in flight", window + 1),
                REASONS(MQ5_RECEIVE_MAXIMUM_EXCEEDED));
}

CHECK_TABLE(checks_publish,
            {.id = "B-PUB-001",
             .name = "the topic of a message arrives byte for byte",
             .refs = {"MQTT-3.3.2-3", "MQTT-3.3.2-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = topic_arrives},
            {.id = "B-PUB-002",
             .name = "a message found by a wildcard has the topic it was published to",
             .refs = {"MQTT-3.3.2-3"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1 | CONFORM_WILDCARD,
             .run = topic_by_wildcard},
            {.id = "B-PUB-003",
             .name = "neither a topic nor an alias: the connection is ended",
             .refs = {"S3.3.2.1a", "MQTT-4.7.3-1"},
             .level = CONFORM_MUST,
             .run = no_topic},
            {.id = "B-PUB-004",
             .name = "a topic name with a wildcard is not taken",
             .refs = {"MQTT-3.3.2-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = wild_topic,
             .row_count = wild_topic_count,
             .row = wild_topic_row},
            {.id = "B-PUB-005",
             .name = "a string that is not UTF-8 ends the connection",
             .refs = {"MQTT-3.3.2-1", "MQTT-3.3.2-13", "MQTT-3.3.2-19"},
             .level = CONFORM_MUST,
             .run = ill_formed_string,
             .row_count = ill_formed_count,
             .row = ill_formed_row},
            {.id = "B-PUB-006",
             .name = "a Response Topic with a wildcard is not passed on",
             .refs = {"MQTT-3.3.2-14"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = wild_response,
             .row_count = wild_response_count,
             .row = wild_response_row},
            {.id = "B-PUB-007",
             .name = "request and response: asked, answered, and known by the Correlation Data",
             .refs = {"S4.10a", "MQTT-3.3.2-15", "MQTT-3.3.2-16"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = request_and_response},
            {.id = "B-PUB-008",
             .name = "a payload that is said to be UTF-8 and is not: passed on, or refused with 0x99",
             .refs = {"S3.3.2.3.2a"},
             .level = CONFORM_MAY,
             .needs = CONFORM_QOS_1,
             .run = payload_not_utf8},
            {.id = "B-PUB-009",
             .name = "acknowledgements may leave out the reason code and the property length",
             .refs = {"S3.4.2a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = ack_form,
             .row_count = ack_form_count,
             .row = ack_form_row},
            {.id = "B-PUB-010",
             .name = "more in flight than the broker's Receive Maximum ends the connection",
             .refs = {"S3.3.4a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = too_many_in_flight}, )
