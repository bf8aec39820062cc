/* checks_forward.c: the properties of a message (3.3.2.3) reach its subscribers as they were, whichever way the message takes. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

#define ROWS(list)  ((uint32_t)(sizeof(list) / sizeof((list)[0])))
#define BOM         "\xEF\xBB\xBF"
#define USERS       100
#define LONG_TOPIC  1000
#define LARGE_BYTES 65535

enum part { PAYLOAD_FORMAT, RESPONSE_TOPIC, CORRELATION_DATA, CONTENT_TYPE, USER_PROPERTIES, USER_ORDER, PARTS };
static const struct {
    const char *name, *ref;
} parts[PARTS] = {
    [PAYLOAD_FORMAT] = {"Payload Format Indicator", "MQTT-3.3.2-4"},
    [RESPONSE_TOPIC] = {"Response Topic", "MQTT-3.3.2-15"},
    [CORRELATION_DATA] = {"Correlation Data", "MQTT-3.3.2-16"},
    [CONTENT_TYPE] = {"Content Type", "MQTT-3.3.2-20"},
    [USER_PROPERTIES] = {"User Properties", "MQTT-3.3.2-17"},
    [USER_ORDER] = {"the order of User Properties", "MQTT-3.3.2-18"},
};

/* ---- what is sent ---------------------------------------------------------------------------------------------------------------------- */

static void put_users(struct mq5_properties *properties, const struct mq5_user_property *users, uint32_t count)
{
    SET_PROPERTY(*properties, user, MQ5_USER_PROPERTY, users);
    properties->user_count = (uint16_t)count;
}

#define PAIR(name, value)                                                                                              \
    {                                                                                                                  \
        SPAN_LITERAL(name), SPAN_LITERAL(value)                                                                        \
    }

static void format_1(struct conform_probe *probe, struct mq5_properties *properties)
{
    SET_PROPERTY(*properties, payload_format, MQ5_PAYLOAD_FORMAT_INDICATOR, 1);
}

static void format_0(struct conform_probe *probe, struct mq5_properties *properties)
{
    SET_PROPERTY(*properties, payload_format, MQ5_PAYLOAD_FORMAT_INDICATOR, 0);
}

static void response(struct conform_probe *probe, struct mq5_properties *properties)
{
    SET_PROPERTY(*properties, response_topic, MQ5_RESPONSE_TOPIC, span_text(probe_topic(probe, "An/swer//7/")));
}

static void response_long(struct conform_probe *probe, struct mq5_properties *properties)
{
    char *name = (char *)probe_bytes(probe, LONG_TOPIC + 1, 'r');
    name[LONG_TOPIC] = 0;
    SET_PROPERTY(*properties, response_topic, MQ5_RESPONSE_TOPIC, span_text(probe_topic(probe, "%s", name)));
}

static void correlation(struct conform_probe *probe, struct mq5_properties *properties)
{
    SET_PROPERTY(*properties, correlation_data, MQ5_CORRELATION_DATA, span_text("one"));
}

static void correlation_empty(struct conform_probe *probe, struct mq5_properties *properties)
{
    SET_PROPERTY(*properties, correlation_data, MQ5_CORRELATION_DATA, span_text(""));
}

static void correlation_any(struct conform_probe *probe, struct mq5_properties *properties)
{
    uint8_t *bytes = probe_bytes(probe, 256, 0);
    for (int i = 0; i < 256; i++)
        bytes[i] = (uint8_t)i;
    SET_PROPERTY(*properties, correlation_data, MQ5_CORRELATION_DATA, span_of(bytes, 256));
}

static void correlation_large(struct conform_probe *probe, struct mq5_properties *properties)
{
    uint32_t maximum = probe_broker(probe)->maximum_packet_size;
    if (maximum && maximum < LARGE_BYTES + 1000)
        skip(probe, "the broker's Maximum Packet Size is %u", maximum);
    SET_PROPERTY(*properties, correlation_data, MQ5_CORRELATION_DATA,
                 span_of(probe_bytes(probe, LARGE_BYTES, 0xC5), LARGE_BYTES));
}

static void content(struct conform_probe *probe, struct mq5_properties *properties)
{
    SET_PROPERTY(*properties, content_type, MQ5_CONTENT_TYPE, span_text("Text/plain; charset=\"\xC3\xBC\""));
}

static void content_empty(struct conform_probe *probe, struct mq5_properties *properties)
{
    SET_PROPERTY(*properties, content_type, MQ5_CONTENT_TYPE, span_text(""));
}

static void user_one(struct conform_probe *probe, struct mq5_properties *properties)
{
    static const struct mq5_user_property users[] = {PAIR("name", "value")};
    put_users(properties, users, ROWS(users));
}

static void user_twice(struct conform_probe *probe, struct mq5_properties *properties)
{
    static const struct mq5_user_property users[] = {PAIR("name", "value"), PAIR("name", "other"),
                                                     PAIR("name", "value")};
    put_users(properties, users, ROWS(users));
}

static void user_empty(struct conform_probe *probe, struct mq5_properties *properties)
{
    static const struct mq5_user_property users[] = {PAIR("", "value"), PAIR("name", ""), PAIR("", "")};
    put_users(properties, users, ROWS(users));
}

static void user_many(struct conform_probe *probe, struct mq5_properties *properties)
{
    struct mq5_user_property *users = probe_memory(probe, USERS * sizeof(*users));
    for (int i = 0; i < USERS; i++)
        users[i] = (struct mq5_user_property){span_text(probe_text(probe, "name %d", i % 60)),
                                              span_text(probe_text(probe, "value %d", i))};
    put_users(properties, users, USERS);
}

static void user_ordered(struct conform_probe *probe, struct mq5_properties *properties)
{
    static const struct mq5_user_property users[] = {PAIR("m", "4"), PAIR("z", "3"),  PAIR("a", "2"), PAIR("m", "1"),
                                                     PAIR("A", "9"), PAIR("zz", "0"), PAIR("a", "7"), PAIR("", "5")};
    put_users(properties, users, ROWS(users));
}

static void everything(struct conform_probe *probe, struct mq5_properties *properties)
{
    format_1(probe, properties);
    response(probe, properties);
    correlation_any(probe, properties);
    content(probe, properties);
    user_ordered(probe, properties);
}

static void bom_in_names(struct conform_probe *probe, struct mq5_properties *properties)
{
    static const struct mq5_user_property users[] = {PAIR(BOM "name", BOM "value"), PAIR("na" BOM "me", BOM),
                                                     PAIR("name", "value")};
    put_users(properties, users, ROWS(users));
}

static void bom_in_content(struct conform_probe *probe, struct mq5_properties *properties)
{
    SET_PROPERTY(*properties, content_type, MQ5_CONTENT_TYPE, span_text(BOM "text" BOM));
}

static void bom_in_response(struct conform_probe *probe, struct mq5_properties *properties)
{
    SET_PROPERTY(*properties, response_topic, MQ5_RESPONSE_TOPIC,
                 span_text(probe_text(probe, BOM "%s", probe_topic(probe, BOM "answer" BOM))));
}

/* ---- what has come -------------------------------------------------------------------------------------------------------------------------- */

static bool has(const struct mq5_properties *properties, enum mq5_property property)
{
    return properties->present & MQ5_BIT(property);
}

static bool same_pair(const struct mq5_user_property *a, const struct mq5_user_property *b)
{
    return span_equal(a->name, b->name) && span_equal(a->value, b->value);
}

static void judge_users(struct conform_probe *probe, const struct mq5_properties *sent,
                        const struct mq5_properties *came)
{
    for (uint32_t i = 0; i < sent->user_count; i++) {
        uint32_t expected = 0, found = 0, offset = 0;
        struct mq5_user_property each;
        for (uint32_t j = 0; j < sent->user_count; j++)
            expected += same_pair(&sent->user[i], &sent->user[j]);
        while (mq5_user_property_next(came->encoded, &offset, &each))
            found += same_pair(&sent->user[i], &each);
        want(probe, found == expected, "User Property %u, \"%.*s\" = \"%.*s\", was sent %u times and comes %u times",
             i + 1, (int)sent->user[i].name.length, (const char *)sent->user[i].name.data,
             (int)sent->user[i].value.length, (const char *)sent->user[i].value.data, expected, found);
    }
}

static bool is_any_of(const struct mq5_properties *sent, const struct mq5_properties *came)
{
    uint32_t offset = 0;
    struct mq5_user_property each;
    while (mq5_user_property_next(came->encoded, &offset, &each))
        for (uint32_t i = 0; i < sent->user_count; i++)
            if (same_pair(&sent->user[i], &each))
                return true;
    return false;
}

static void judge_order(struct conform_probe *probe, const struct mq5_properties *sent,
                        const struct mq5_properties *came)
{
    uint32_t next = 0, offset = 0;
    struct mq5_user_property each;
    while (mq5_user_property_next(came->encoded, &offset, &each))
        next += next < sent->user_count && same_pair(&sent->user[next], &each);
    want(probe, next == sent->user_count,
         "the User Properties do not come in their order: number %u is missing after %u", next + 1, next);
}

static void judge_span(struct conform_probe *probe, const char *name, bool came, struct span expected,
                       struct span found)
{
    want(probe, came, "%s of %u bytes: comes without", name, expected.length);
    want(probe, span_equal(found, expected), "%s of %u bytes: comes with other bytes, %u of them", name,
         expected.length, found.length);
}

static void judge(struct conform_probe *probe, enum part part, const struct mq5_properties *sent,
                  const struct mq5_properties *came)
{
    uint8_t format = has(sent, MQ5_PAYLOAD_FORMAT_INDICATOR) ? sent->payload_format : 0;
    uint8_t found = has(came, MQ5_PAYLOAD_FORMAT_INDICATOR) ? came->payload_format : 0;
    switch (part) {
    case PAYLOAD_FORMAT:
        want(probe, found == format, "Payload Format Indicator %u comes as %u", format, found);
        /* 0 and none mean the same, and are not the same bytes. */
        should(probe, "unaltered", NULL,
               has(sent, MQ5_PAYLOAD_FORMAT_INDICATOR) == has(came, MQ5_PAYLOAD_FORMAT_INDICATOR),
               "a Payload Format Indicator of 0 is left out, or added");
        return;
    case RESPONSE_TOPIC:
        judge_span(probe, parts[part].name, has(came, MQ5_RESPONSE_TOPIC), sent->response_topic, came->response_topic);
        return;
    case CORRELATION_DATA:
        judge_span(probe, parts[part].name, has(came, MQ5_CORRELATION_DATA), sent->correlation_data,
                   came->correlation_data);
        return;
    case CONTENT_TYPE:
        judge_span(probe, parts[part].name, has(came, MQ5_CONTENT_TYPE), sent->content_type, came->content_type);
        return;
    case USER_PROPERTIES: judge_users(probe, sent, came); return;
    default: judge_order(probe, sent, came); return;
    }
}

/* ---- the ways a message takes ------------------------------------------------------------------------------------------------------------------ */

enum way { AT_QOS_0, AT_QOS_1, AT_QOS_2, RETAINED, QUEUED, SENT_AGAIN, SHARED, WAYS };
static const struct {
    const char *name;
    uint32_t needs;
} ways[WAYS] = {
    [AT_QOS_0] = {"at QoS 0", 0},
    [AT_QOS_1] = {"at QoS 1", CONFORM_QOS_1},
    [AT_QOS_2] = {"at QoS 2", CONFORM_QOS_2},
    [RETAINED] = {"retained", CONFORM_QOS_1 | CONFORM_RETAIN},
    [QUEUED] = {"from the queue of a client that was away", CONFORM_QOS_1 | CONFORM_SESSION},
    [SENT_AGAIN] = {"sent a second time", CONFORM_QOS_1 | CONFORM_SESSION},
    [SHARED] = {"by a shared subscription", CONFORM_QOS_1 | CONFORM_SHARED},
};

static void publish_it(struct conform_probe *probe, const struct mq5_publish *publish)
{
    uint8_t reason = wire_publish_packet(probe_connect(probe, "publisher"), publish);
    need(probe, reason < 0x80, "the message was refused: 0x%02x (%s)", reason, mq5_reason_name(reason));
}

static const struct received *live(struct conform_probe *probe, const char *filter, const char *topic,
                                   const struct mq5_publish *publish)
{
    struct wire *wire = probe_subscriber(probe, "subscriber", filter, publish->qos);
    if (filter != topic)
        wire_warm_up(wire, topic);
    publish_it(probe, publish);
    return publish->qos ? want_message(wire, topic, "carried") : need_message(wire, topic, "carried");
}

static const struct received *sent_again(struct conform_probe *probe, const char *topic,
                                         const struct mq5_publish *publish)
{
    struct mq5_connect login = probe_login(probe, 50);
    set_session_expiry(&login, 60);
    struct wire *wire = probe_subscriber_as(probe, "subscriber", &login, topic, 1);
    wire_hold_acks(wire, true);
    publish_it(probe, publish);
    need_message(wire, topic, "carried");
    wire_end(wire, WIRE_FIN);
    return need_message(probe_return(probe, &login), topic, "carried");
}

static const struct received *carry(struct conform_probe *probe, enum way way, struct mq5_publish *publish)
{
    /* The publisher is the second connection of the straight ways: brokers may have a short cut for topics with its name. */
    const char *topic = way == AT_QOS_0 || way == AT_QOS_2 ? probe_topic(probe, "%s/carried", probe_client_id(probe, 1))
                                                           : probe_topic(probe, "carried");
    struct mq5_subscription list = subscription(topic, 1);
    publish->topic = span_text(topic);
    publish->payload = span_text("carried");
    publish->qos = way == AT_QOS_0 ? 0 : way == AT_QOS_2 ? 2 : 1;
    const struct received *received;
    struct mq5_connect login;
    switch (way) {
    case RETAINED:
        publish->retain = true;
        publish_it(probe, publish);
        received = probe_kept(probe, topic, "carried");
        need(probe, received != NULL, "the retained message does not come");
        return received;
    case QUEUED:
        login = probe_away(probe, 50, &list, 1, 0);
        publish_it(probe, publish);
        return need_message(probe_return(probe, &login), topic, "carried");
    case SENT_AGAIN: return sent_again(probe, topic, publish);
    case SHARED: return live(probe, probe_text(probe, "$share/%s/%s", probe_share(probe, 0), topic), topic, publish);
    default:
        return live(probe,
                    way != AT_QOS_1 && probe_has(probe, CONFORM_WILDCARD) ? probe_topic(probe, "+/carried") : topic,
                    topic, publish);
    }
}

/* ---- rows: every value the straight way, every way with everything ------------------------------------------------------------------------------- */

static const struct value {
    const char *name;
    enum part part;
    void (*put)(struct conform_probe *probe, struct mq5_properties *properties);
} values[] = {
    {"Payload Format Indicator 1", PAYLOAD_FORMAT, format_1},
    {"Payload Format Indicator 0", PAYLOAD_FORMAT, format_0},
    {"Response Topic", RESPONSE_TOPIC, response},
    {"Response Topic of 1000 bytes and more", RESPONSE_TOPIC, response_long},
    {"Correlation Data", CORRELATION_DATA, correlation},
    {"Correlation Data of no bytes", CORRELATION_DATA, correlation_empty},
    {"Correlation Data of every byte", CORRELATION_DATA, correlation_any},
    {"Correlation Data of 65,535 bytes", CORRELATION_DATA, correlation_large},
    {"Content Type", CONTENT_TYPE, content},
    {"Content Type of no bytes", CONTENT_TYPE, content_empty},
    {"a User Property", USER_PROPERTIES, user_one},
    {"User Properties of the same name", USER_PROPERTIES, user_twice},
    {"User Properties with empty names and values", USER_PROPERTIES, user_empty},
    {"100 User Properties", USER_PROPERTIES, user_many},
    {"the order of User Properties", USER_ORDER, user_ordered},
    {"the order of 100 User Properties", USER_ORDER, user_many},
    {"everything at QoS 1: User Properties", USER_PROPERTIES, everything},
};
static const enum way other_ways[] = {AT_QOS_0, AT_QOS_2, RETAINED, QUEUED, SENT_AGAIN, SHARED};

static uint32_t forward_count(void)
{
    return ROWS(values) + ROWS(other_ways) * PARTS;
}

static void forward_row(uint32_t row, struct conform_row *out)
{
    if (row < ROWS(values)) {
        snprintf(out->name, sizeof(out->name), "%s", values[row].name);
        out->ref = parts[values[row].part].ref;
        return;
    }
    row -= ROWS(values);
    snprintf(out->name, sizeof(out->name), "%s, %s", parts[row % PARTS].name, ways[other_ways[row / PARTS]].name);
    out->ref = parts[row % PARTS].ref;
}

static void forward(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    bool straight = row < ROWS(values);
    row -= straight ? 0 : ROWS(values);
    enum way way = straight ? AT_QOS_1 : other_ways[row / PARTS];
    enum part part = straight ? values[row].part : (enum part)(row % PARTS);
    if (!probe_has(probe, ways[way].needs))
        skip(probe, "a message %s: not with this broker", ways[way].name);
    struct mq5_publish publish = {.qos = 1};
    (straight ? values[row].put : everything)(probe, &publish.properties);
    const struct received *received = carry(probe, way, &publish);
    judge(probe, part, &publish.properties, &received->packet.publish.properties);
}

static uint32_t added_count(void)
{
    return USER_PROPERTIES + 1;
}

static void added_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "a message without %s", parts[row].name);
    out->ref = parts[row].ref;
}

/* One that has everything goes before: nothing of it may cling to the next. */
static void nothing_added(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "plain");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, 1);
    struct mq5_publish rich = message(topic, "rich", 1);
    everything(probe, &rich.properties);
    need(probe, wire_publish_packet(publisher, &rich) < 0x80, "the message was refused");
    wire_publish(publisher, topic, "plain", 1);
    const struct mq5_properties *came = &want_message(wire, topic, "plain")->packet.publish.properties;
    static const struct mq5_properties none;
    switch (probe_row(probe)) {
    case PAYLOAD_FORMAT: judge(probe, PAYLOAD_FORMAT, &none, came); return;
    case RESPONSE_TOPIC: want(probe, !has(came, MQ5_RESPONSE_TOPIC), "a Response Topic that was not sent"); return;
    case CORRELATION_DATA: want(probe, !has(came, MQ5_CORRELATION_DATA), "Correlation Data that was not sent"); return;
    case CONTENT_TYPE: want(probe, !has(came, MQ5_CONTENT_TYPE), "a Content Type that was not sent"); return;
    default: /* a broker may have something of its own to say: only what was another message's may not be there */
        want(probe, !is_any_of(&rich.properties, came), "User Properties of another message");
        should(probe, "none added", NULL, !has(came, MQ5_USER_PROPERTY), "User Properties that were not sent");
        should(probe, "no expiry", "MQTT-3.3.2-6", !has(came, MQ5_MESSAGE_EXPIRY_INTERVAL),
               "a Message Expiry Interval that was not sent");
        return;
    }
}

/* ---- U+FEFF ------------------------------------------------------------------------------------------------------------------------------------------- */

static const struct value bom_values[] = {
    {"in User Properties", USER_PROPERTIES, bom_in_names},
    {"in a Content Type", CONTENT_TYPE, bom_in_content},
    {"in a Response Topic", RESPONSE_TOPIC, bom_in_response},
};
static const char *const bom_topics[] = {"at the beginning of a level of a topic", "at the beginning of a topic"};

static uint32_t bom_count(void)
{
    return ROWS(bom_values) + ROWS(bom_topics);
}

static void bom_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "U+FEFF %s",
             row < ROWS(bom_values) ? bom_values[row].name : bom_topics[row - ROWS(bom_values)]);
}

static void bom_kept(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    if (row < ROWS(bom_values)) {
        struct mq5_publish publish = {.qos = 1};
        bom_values[row].put(probe, &publish.properties);
        const struct received *received = carry(probe, AT_QOS_1, &publish);
        judge(probe, bom_values[row].part, &publish.properties, &received->packet.publish.properties);
        return;
    }
    const char *plain = probe_topic(probe, "x");
    const char *topic = row == ROWS(bom_values) ? probe_topic(probe, BOM "x") : probe_text(probe, BOM "%s", plain);
    struct wire *wire = probe_connect(probe, "subscriber"), *other = probe_connect(probe, "other");
    struct mq5_subscription list = subscription(topic, 1);
    const struct mq5_suback *suback = wire_subscribe_with(wire, &list, 1, 0);
    if (suback->reasons.length == 1 && suback->reasons.data[0] >= 0x80)
        skip(probe, "the broker refuses this filter: 0x%02x", suback->reasons.data[0]);
    wire_warm_up(wire, topic);
    wire_subscribe(other, plain, 1);
    struct mq5_publish publish = message(topic, "marked", 1);
    struct wire *publisher = probe_connect(probe, "publisher");
    uint8_t reason = wire_publish_packet(publisher, &publish);
    if (reason >= 0x80)
        skip(probe, "the broker refuses this topic: 0x%02x", reason);
    const struct received *received = want_message(wire, NULL, "marked");
    want(probe, span_equal(received->packet.publish.topic, span_text(topic)), "the topic comes without its U+FEFF");
    wire_publish(publisher, plain, "marker", 1);
    need_message(other, plain, "marker");
    want(probe, wire_count_messages(other, NULL, "marked") == 0, "the topic without its U+FEFF is taken for the same");
}

CHECK_TABLE(checks_forward,
            {.id = "B-PUB-FORWARD",
             .name = "the properties of a message are passed on as they were",
             .refs = {"MQTT-3.3.2-4", "MQTT-3.3.2-15", "MQTT-3.3.2-16", "MQTT-3.3.2-17", "MQTT-3.3.2-18",
                      "MQTT-3.3.2-20"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = forward,
             .row_count = forward_count,
             .row = forward_row},
            {.id = "B-PUB-011",
             .name = "no property is added to a message that had none",
             .refs = {"MQTT-3.3.2-4", "MQTT-3.3.2-15", "MQTT-3.3.2-16", "MQTT-3.3.2-17", "MQTT-3.3.2-20"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = nothing_added,
             .row_count = added_count,
             .row = added_row},
            {.id = "B-PUB-012",
             .name = "U+FEFF is a character like others",
             .refs = {"MQTT-1.5.4-3"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = bom_kept,
             .row_count = bom_count,
             .row = bom_row}, )
