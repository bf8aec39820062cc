/* checks_topic.c: topic names and topic filters (4.7): which match, which may not be, and that nothing is made of their characters. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

#define ROWS(list) ((uint32_t)(sizeof(list) / sizeof((list)[0])))

/* ---- filter and topic ------------------------------------------------------------------------------------------------------------------ */

#define PLUS   "S4.7.1b"
#define HASH   "S4.7.1a"
#define LITTLE "MQTT-4.7.3-4" /* no normalisation, not the least */
#define CAFE_1 "caf\xC3\xA9"  /* U+00E9 */
#define CAFE_2 "cafe\xCC\x81" /* U+0065 U+0301: looks the same */

static const struct pair {
    const char *filter, *topic;
    bool matches;
    const char *ref;
} pairs[] = {
    {"+", "a", true, PLUS},
    {"+", "/a", false, PLUS},
    {"+", "a/", false, PLUS},
    {"a/+", "a/b", true, PLUS},
    {"a/+", "a/", true, PLUS},
    {"a/+", "a", false, PLUS},
    {"a/+", "a/b/c", false, PLUS},
    {"a/+", "b/a", false, PLUS},
    {"+/b", "a/b", true, PLUS},
    {"+/b", "/b", true, PLUS},
    {"+/b", "b", false, PLUS},
    {"+/b", "a/b/", false, PLUS},
    {"/+", "/a", true, PLUS},
    {"/+", "a", false, PLUS},
    {"+/+", "/a", true, PLUS},
    {"+/+", "a", false, PLUS},
    {"a/+/c", "a/b/c", true, PLUS},
    {"a/+/c", "a//c", true, PLUS},
    {"a/+/c", "a/c", false, PLUS},
    {"a/+/c", "a/b/b/c", false, PLUS},
    {"a/+/c", "a/b/d", false, PLUS},
    {"a/+/+", "a//", true, PLUS},
    {"+/+/+", "a/b/c", true, PLUS},
    {"a/+", "a/$b", true, PLUS},
    {"#", "a/b", true, HASH},
    {"a/#", "a", true, HASH},
    {"a/#", "a/", true, HASH},
    {"a/#", "a/b", true, HASH},
    {"a/#", "a/b/c/d", true, HASH},
    {"a/#", "ab", false, HASH},
    {"a/#", "b/a", false, HASH},
    {"a/b/#", "a/b", true, HASH},
    {"a/b/#", "a", false, HASH},
    {"a/b/#", "a/bc", false, HASH},
    {"a/+/#", "a/b", true, HASH},
    {"a/+/#", "a", false, HASH},
    {"a/+/#", "a/b/c/d", true, HASH},
    {"+/b/#", "a/b", true, HASH},
    {"+/b/#", "a/c/b", false, HASH},
    {"a//#", "a/", true, HASH},
    {"a//#", "a", false, HASH},
    {"a//#", "a/b", false, HASH},
    {"/", "/", true, PLUS},
    {"/a", "/a", true, PLUS},
    {"/a", "a", false, PLUS},
    {"a", "/a", false, PLUS},
    {"a/", "a/", true, LITTLE},
    {"a//b", "a//b", true, LITTLE},
    {"a//b", "a/b", false, LITTLE},
    {"a/b", "a//b", false, LITTLE},
    {"a", "a/", false, LITTLE},
    {"a/", "a", false, LITTLE},
    {"a", "A", false, LITTLE},
    {"A/B", "A/B", true, LITTLE},
    {"A/B", "A/b", false, LITTLE},
    {"a b/ c ", "a b/ c ", true, LITTLE},
    {"a", "a ", false, LITTLE},
    {" a", "a", false, LITTLE},
    {"a/./b", "a/b", false, LITTLE},
    {"a/b", "a/x/../b", false, LITTLE},
    {"a%2Fb", "a/b", false, LITTLE},
    {"a\\b", "a/b", false, LITTLE},
    {CAFE_1, CAFE_1, true, LITTLE},
    {CAFE_2, CAFE_2, true, LITTLE},
    {CAFE_1, CAFE_2, false, LITTLE},
    {CAFE_2, CAFE_1, false, LITTLE},
    {"\xC3\x89t\xC3\xA9", "\xC3\xA9t\xC3\xA9", false, LITTLE}, /* a capital letter beyond ASCII */
    {"ss", "\xC3\x9F", false, LITTLE},
    {"K", "\xE2\x84\xAA", false, LITTLE}, /* the sign for kelvin */
    {"a", "\xEF\xBD\x81", false, LITTLE}, /* the wide a */
    {"ab",
     "a\xE2\x80\x8D"
     "b",
     false, LITTLE}, /* a joiner of no width */
    {"\xF0\x9F\x9A\x97/+", "\xF0\x9F\x9A\x97/\xF0\x9F\x94\x8B", true, LITTLE},
};

static uint32_t pair_count(void)
{
    return ROWS(pairs);
}

static void pair_row(uint32_t row, struct conform_row *out)
{
    const struct pair *pair = &pairs[row];
    snprintf(out->name, sizeof(out->name), "filter \"%s\", topic \"%s\": %s", pair->filter, pair->topic,
             pair->matches ? "matches" : "does not match");
    out->ref = pair->ref;
}

/* What the CONNACK says, not what was found out: a broker whose wildcards do not work fails, and is not spared. */
static void need_wildcards(struct conform_probe *probe, const char *filter)
{
    const struct conform_broker *broker = probe_broker(probe);
    if (strpbrk(filter, "+#") && broker->told.present & MQ5_BIT(MQ5_WILDCARD_SUBSCRIPTION_AVAILABLE) &&
        broker->told.wildcard_available == 0)
        skip(probe, "CONNACK: Wildcard Subscription Available 0");
}

/* Where nothing is to match another client has the topic itself as its filter: it shows that the message was passed on at all. */
static void matrix(struct conform_probe *probe)
{
    const struct pair *pair = &pairs[probe_row(probe)];
    const char *topic = probe_topic(probe, "%s", pair->topic), *marker = probe_topic(probe, "marker");
    need_wildcards(probe, pair->filter);
    struct wire *wire = probe_connect(probe, "subscriber"), *control = probe_connect(probe, "control");
    struct mq5_subscription list[] = {subscription(probe_topic(probe, "%s", pair->filter), 1), subscription(marker, 1)};
    need_granted(wire, wire_subscribe_with(wire, list, 2, 0), 2);
    wire_warm_up(wire, marker);
    if (!pair->matches)
        wire_subscribe(control, topic, 0);
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish(publisher, topic, "probe", 1);
    if (pair->matches) {
        want_message(wire, topic, "probe");
        return;
    }
    wire_publish(publisher, marker, "marker", 1);
    need_message(control, topic, "probe");
    need_message(wire, marker, "marker");
    probe_settle(probe);
    want(probe, wire_count_messages(wire, NULL, "probe") == 0, "filter \".../%s\" is given a message on \".../%s\"",
         pair->filter, pair->topic);
}

/* The same of what is kept: brokers look that up by other means. */
static void matrix_kept(struct conform_probe *probe)
{
    const struct pair *pair = &pairs[probe_row(probe)];
    const char *topic = probe_topic(probe, "%s", pair->topic), *filter = probe_topic(probe, "%s", pair->filter);
    need_wildcards(probe, pair->filter);
    wire_publish_retained(probe_connect(probe, "publisher"), topic, "probe", 1);
    if (pair->matches) {
        want(probe, probe_kept_for(probe, filter, topic, "probe") != NULL,
             "filter \".../%s\" is not given the retained message of \".../%s\"", pair->filter, pair->topic);
        return;
    }
    need(probe, probe_kept(probe, topic, "probe") != NULL, "the message is not kept");
    want(probe, probe_kept_for(probe, filter, topic, NULL) == NULL,
         "filter \".../%s\" is given the retained message of \".../%s\"", pair->filter, pair->topic);
}

/* ---- filters that may not be ------------------------------------------------------------------------------------------------------------- */

/* A refusal in SUBACK or the end of the connection: the standard leaves the choice. */
static void want_filter_refused(struct conform_probe *probe, struct wire *wire, struct span filter, const char *what)
{
    struct mq5_subscription list = {.filter = filter};
    struct mq5_packet packet = {.type = MQ5_SUBSCRIBE,
                                .subscribe = {.packet_id = wire_packet_id(wire), .list = &list, .count = 1}};
    wire_send(wire, &packet);
    const struct received *suback = try_packet(wire, MQ5_SUBACK, probe_patience(probe));
    if (!suback) {
        want_closed(wire, what, REASONS(MQ5_TOPIC_FILTER_INVALID, MQ5_MALFORMED_PACKET, MQ5_PROTOCOL_ERROR));
        return;
    }
    need(probe, suback->packet.suback.reasons.length == 1, "SUBACK has not one reason code");
    want(probe, suback->packet.suback.reasons.data[0] >= 0x80, "%s is taken: SUBACK 0x%02x", what,
         suback->packet.suback.reasons.data[0]);
}

static const char *const wrong_hash[] = {"a/#/b", "#/a", "a#", "a/b#", "a/#b", "##", "a/##", "a/#/", "#+"};
static const char *const wrong_plus[] = {"a+", "+a", "a/+b", "a/b+/c", "++", "a/++/b", "+a/b", "a/b+"};

static uint32_t hash_count(void)
{
    return ROWS(wrong_hash);
}

static void hash_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "filter \".../%s\"", wrong_hash[row]);
}

static void hash(struct conform_probe *probe)
{
    const char *filter = wrong_hash[probe_row(probe)];
    need_wildcards(probe, filter);
    want_filter_refused(probe, probe_connect(probe, "subscriber"), span_text(probe_topic(probe, "%s", filter)),
                        probe_text(probe, "the filter \".../%s\"", filter));
}

static uint32_t plus_count(void)
{
    return ROWS(wrong_plus);
}

static void plus_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "filter \".../%s\"", wrong_plus[row]);
}

static void plus(struct conform_probe *probe)
{
    const char *filter = wrong_plus[probe_row(probe)];
    need_wildcards(probe, filter);
    want_filter_refused(probe, probe_connect(probe, "subscriber"), span_text(probe_topic(probe, "%s", filter)),
                        probe_text(probe, "the filter \".../%s\"", filter));
}

static void empty_filter(struct conform_probe *probe)
{
    want_filter_refused(probe, probe_connect(probe, "subscriber"), span_text(""), "an empty filter");
}

/* ---- topics that may not be ----------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *topic, *others;
} wild_names[] = {{"a/+", "a/b"}, {"#", "a/b"}, {"+/b", "a/b"}};

static uint32_t wild_name_count(void)
{
    return ROWS(wild_names);
}

static void wild_name_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "a message to \".../%s\"", wild_names[row].topic);
}

/* Neither taken, nor passed on all the same. */
static void wild_name(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    const char *other = probe_topic(probe, "%s", wild_names[row].others);
    struct wire *wire = probe_connect(probe, "subscriber"), *sender = probe_connect(probe, "publisher");
    wire_subscribe(wire, other, 0);
    struct wire *all = probe_connect(probe, "subscriber of all");
    struct mq5_subscription list = subscription(probe_topic(probe, "#"), 1);
    need_granted(all, wire_subscribe_with(all, &list, 1, 0), 1);
    wire_warm_up(all, other);
    struct mq5_publish publish = message(probe_topic(probe, "%s", wild_names[row].topic), "wild", 1);
    want_message_refused(sender, &publish, probe_text(probe, "the topic name .../%s", wild_names[row].topic),
                         REASONS(MQ5_TOPIC_NAME_INVALID, MQ5_PROTOCOL_ERROR, MQ5_MALFORMED_PACKET));
    wire_publish(probe_connect(probe, "marker"), other, "marker", 1);
    need_message(wire, other, "marker");
    want(probe, try_message(all, other, "marker", probe_patience(probe)) && wire_is_legal(all),
         "a subscriber of everything is sent what is no legal packet");
    probe_settle(probe);
    want(probe, wire_count_messages(wire, NULL, "wild") == 0 && wire_count_messages(all, NULL, "wild") == 0,
         "a message to \".../%s\" is passed on", wild_names[row].topic);
}

static const struct {
    const char *name;
    enum mq5_type type;
    uint8_t where; /* 0 first, 1 in the middle, 2 last */
} nul_rows[] = {
    {"PUBLISH, first", MQ5_PUBLISH, 0},    {"PUBLISH, in the middle", MQ5_PUBLISH, 1},
    {"PUBLISH, last", MQ5_PUBLISH, 2},     {"SUBSCRIBE, in the middle", MQ5_SUBSCRIBE, 1},
    {"SUBSCRIBE, last", MQ5_SUBSCRIBE, 2}, {"UNSUBSCRIBE, in the middle", MQ5_UNSUBSCRIBE, 1},
};

static uint32_t nul_count(void)
{
    return ROWS(nul_rows);
}

static void nul_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "U+0000 in the topic of %s", nul_rows[row].name);
}

static void nul(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    const char *topic = probe_topic(probe, "topic");
    size_t length = strlen(topic) + 1, at = nul_rows[row].where == 0   ? 0
                                            : nul_rows[row].where == 1 ? length - 4
                                                                       : length - 1;
    uint8_t *text = probe_bytes(probe, length, 0);
    memcpy(text, topic, at);
    memcpy(text + at + 1, topic + at, length - 1 - at);
    struct span name = span_of(text, length);
    struct wire *wire = probe_connect(probe, "client");
    struct mq5_subscription list = {.filter = name};
    struct mq5_packet packet = {.type = (uint8_t)nul_rows[row].type};
    if (packet.type == MQ5_SUBSCRIBE) {
        want_filter_refused(probe, wire, name, "a filter with U+0000");
        return;
    }
    if (packet.type == MQ5_PUBLISH)
        packet.publish = (struct mq5_publish){.topic = name, .payload = span_text("nul")};
    else
        packet.subscribe = (struct mq5_subscribe){.packet_id = wire_packet_id(wire), .list = &list, .count = 1};
    wire_send(wire, &packet);
    const struct received *answer =
        packet.type == MQ5_UNSUBSCRIBE ? try_packet(wire, MQ5_UNSUBACK, probe_patience(probe)) : NULL;
    if (answer) {
        need(probe, answer->packet.suback.reasons.length == 1, "UNSUBACK has not one reason code");
        want(probe, answer->packet.suback.reasons.data[0] >= 0x80, "a filter with U+0000 is taken: UNSUBACK 0x%02x",
             answer->packet.suback.reasons.data[0]);
        return;
    }
    want_closed(wire, "a topic with U+0000",
                REASONS(MQ5_MALFORMED_PACKET, MQ5_TOPIC_NAME_INVALID, MQ5_TOPIC_FILTER_INVALID));
}

/* ---- long ones --------------------------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint32_t length, level; /* bytes, and bytes of a level with its slash (0: one level) */
} lengths[] = {
    {"128 bytes", 128, 0},
    {"1,000 bytes", 1000, 0},
    {"4,000 bytes", 4000, 0},
    {"1,000 bytes in levels of 20", 1000, 20},
    {"25 levels of one letter", 0, 2},
};

static uint32_t length_count(void)
{
    return ROWS(lengths);
}

static void length_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "a topic of %s", lengths[row].name);
}

static const char *long_topic(struct conform_probe *probe, uint32_t length, uint32_t level, char last)
{
    uint32_t prefix = (uint32_t)strlen(probe_topic(probe, "%s", ""));
    uint32_t rest = length ? length - prefix : 50;
    char *text = (char *)probe_bytes(probe, rest + 1, 'x');
    for (uint32_t i = level; level && i < rest; i += level)
        text[i - 1] = '/';
    text[rest - 1] = last;
    text[rest] = 0;
    return probe_topic(probe, "%s", text);
}

/* Two topics that differ in their last byte. A broker may have a limit of its own: then nothing is asked. */
static void long_topics(struct conform_probe *probe, uint32_t length, uint32_t level)
{
    const char *topic = long_topic(probe, length, level, 'a'), *other = long_topic(probe, length, level, 'b');
    uint32_t maximum = probe_broker(probe)->maximum_packet_size;
    if (maximum && maximum < strlen(topic) + 100)
        skip(probe, "the broker's Maximum Packet Size is %u", maximum);
    struct wire *wire = probe_connect(probe, "subscriber"), *control = probe_connect(probe, "control");
    struct wire *publisher = probe_connect(probe, "publisher");
    struct mq5_subscription lists[] = {subscription(topic, 1), subscription(other, 1)};
    struct wire *wires[] = {wire, control};
    for (int i = 0; i < 2; i++) {
        struct mq5_packet packet = {
            .type = MQ5_SUBSCRIBE, .subscribe = {.packet_id = wire_packet_id(wires[i]), .list = &lists[i], .count = 1}};
        wire_send(wires[i], &packet);
        const struct received *suback = try_packet(wires[i], MQ5_SUBACK, probe_patience(probe));
        if (!suback || suback->packet.suback.reasons.length != 1 || suback->packet.suback.reasons.data[0] >= 0x80)
            skip(probe, "the broker does not take a filter of %u bytes", (uint32_t)strlen(topic));
    }
    wire_warm_up(control, other);
    const char *const topics[] = {other, topic};
    for (int i = 0; i < 2; i++) {
        struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(topics[i], i ? "mine" : "the other's", 1)};
        packet.publish.packet_id = wire_packet_id(publisher);
        wire_send(publisher, &packet);
        const struct received *ack = try_packet(publisher, MQ5_PUBACK, probe_patience(probe));
        if (!ack || ack->packet.ack.reason >= 0x80)
            skip(probe, "the broker does not take a topic of %u bytes", (uint32_t)strlen(topic));
    }
    const struct received *received = want_message(wire, NULL, "mine");
    want(probe, span_equal(received->packet.publish.topic, span_text(topic)),
         "a topic of %u bytes comes with %u, or others", (uint32_t)strlen(topic),
         received->packet.publish.topic.length);
    need_message(control, other, "the other's");
    want(probe, wire_count_messages(wire, NULL, "the other's") == 0,
         "two topics of %u bytes that differ in the last are taken for one", (uint32_t)strlen(topic));
}

static void long_topic_rows(struct conform_probe *probe)
{
    long_topics(probe, lengths[probe_row(probe)].length, lengths[probe_row(probe)].level);
}

static void longest_topic(struct conform_probe *probe)
{
    long_topics(probe, MQ5_MAX_STRING, 0);
}

/* ---- $ ---------------------------------------------------------------------------------------------------------------------------------------------- */

/* Topics beside the run's own, one level deep, that nobody else can know: "$mc5.../NAME" and "FIRST/NAME" of the same form. */
struct dollar {
    const char *name, *topic, *plain;
};

static struct dollar dollar_names(struct conform_probe *probe)
{
    const char *mine = probe_topic(probe, "%s", "");
    struct dollar names = {.name = probe_share(probe, 0)};
    names.topic = probe_text(probe, "$%s/%s", names.name, names.name);
    names.plain = probe_text(probe, "%.*s/%s", (int)strcspn(mine, "/"), mine, names.name);
    return names;
}

static const char *const dollar_filters[] = {"+/NAME", "+/NAME/#"};

static uint32_t dollar_count(void)
{
    return ROWS(dollar_filters);
}

static void dollar_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "filter \"%s\"", dollar_filters[row]);
}

static void want_dollar_apart(struct conform_probe *probe, const char *filter)
{
    struct dollar names = dollar_names(probe);
    struct wire *wire = probe_connect(probe, "subscriber"), *control = probe_connect(probe, "control");
    struct wire *publisher = probe_connect(probe, "publisher");
    struct mq5_subscription list = subscription(filter, 1), exact = subscription(names.topic, 1);
    need_granted(wire, wire_subscribe_with(wire, &list, 1, 0), 1);
    need_granted(control, wire_subscribe_with(control, &exact, 1, 0), 1);
    wire_warm_up(control, names.topic);
    wire_publish(publisher, names.topic, "hidden", 1);
    wire_publish(publisher, names.plain, "marker", 1);
    need_message(control, names.topic, "hidden");
    need_message(wire, names.plain, "marker");
    probe_settle(probe);
    want(probe, wire_count_messages(wire, names.topic, NULL) == 0, "the filter \"%s\" is given a message on \"%s\"",
         filter, names.topic);
}

static void dollar(struct conform_probe *probe)
{
    want_dollar_apart(probe, probe_text(probe, "+/%s%s", dollar_names(probe).name, probe_row(probe) ? "/#" : ""));
}

/* Everything that anybody sends comes as well: only where nobody else is. */
static void dollar_all(struct conform_probe *probe)
{
    want_dollar_apart(probe, "#");
}

/* Filters that name the first level do match, wildcards behind it or not. */
static void dollar_named(struct conform_probe *probe)
{
    struct dollar names = dollar_names(probe);
    struct wire *wire = probe_connect(probe, "subscriber");
    const char *const filters[] = {probe_text(probe, "$%s/+", names.name), probe_text(probe, "$%s/#", names.name)};
    for (uint32_t i = 0; i < ROWS(filters); i++) {
        const char *payload = probe_text(probe, "message %u", i);
        struct mq5_subscription list = subscription(filters[i], 1);
        need_granted(wire, wire_subscribe_with(wire, &list, 1, 0), 1);
        wire_warm_up(wire, names.topic);
        wire_publish(probe_connect(probe, "publisher"), names.topic, payload, 1);
        want_message(wire, names.topic, payload);
        wire_unsubscribe(wire, filters[i]);
    }
}

CHECK_TABLE(checks_topic,
            {.id = "B-TOPIC-MATRIX",
             .name = "a filter is given the messages it matches, and no others",
             .refs = {PLUS, HASH, LITTLE},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = matrix,
             .row_count = pair_count,
             .row = pair_row},
            {.id = "B-TOPIC-KEPT",
             .name = "a filter is given the retained messages it matches, and no others",
             .refs = {PLUS, HASH, LITTLE},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1 | CONFORM_RETAIN,
             .run = matrix_kept,
             .row_count = pair_count,
             .row = pair_row},
            {.id = "B-TOPIC-001",
             .name = "# stands alone in the last level, or the filter is refused",
             .refs = {"MQTT-4.7.1-1"},
             .level = CONFORM_MUST,
             .run = hash,
             .row_count = hash_count,
             .row = hash_row},
            {.id = "B-TOPIC-002",
             .name = "+ stands alone in its level, or the filter is refused",
             .refs = {"MQTT-4.7.1-2"},
             .level = CONFORM_MUST,
             .run = plus,
             .row_count = plus_count,
             .row = plus_row},
            {.id = "B-TOPIC-003",
             .name = "an empty filter is refused",
             .refs = {"MQTT-4.7.3-1"},
             .level = CONFORM_MUST,
             .run = empty_filter},
            {.id = "B-TOPIC-004",
             .name = "a message to a topic name with a wildcard is neither taken nor passed on",
             .refs = {"MQTT-4.7.0-1", "MQTT-3.3.2-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1 | CONFORM_WILDCARD,
             .run = wild_name,
             .row_count = wild_name_count,
             .row = wild_name_row},
            {.id = "B-TOPIC-005",
             .name = "U+0000 in a topic or filter is not taken",
             .refs = {"MQTT-4.7.3-2"},
             .level = CONFORM_MUST,
             .run = nul,
             .row_count = nul_count,
             .row = nul_row},
            {.id = "B-TOPIC-006",
             .name = "long topics and filters are taken whole",
             .refs = {"MQTT-4.7.3-3"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = long_topic_rows,
             .row_count = length_count,
             .row = length_row},
            {.id = "B-TOPIC-007",
             .name = "a topic and a filter of 65,535 bytes are taken whole",
             .refs = {"MQTT-4.7.3-3"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .lane = CONFORM_HEAVY,
             .run = longest_topic},
            {.id = "B-TOPIC-008",
             .name = "a + in the first level does not match what begins with $",
             .refs = {"MQTT-4.7.2-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1 | CONFORM_DOLLAR | CONFORM_WILDCARD,
             .run = dollar,
             .row_count = dollar_count,
             .row = dollar_row},
            {.id = "B-TOPIC-009",
             .name = "# alone does not match what begins with $",
             .refs = {"MQTT-4.7.2-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1 | CONFORM_DOLLAR | CONFORM_WILDCARD,
             .lane = CONFORM_ISOLATED,
             .run = dollar_all},
            {.id = "B-TOPIC-010",
             .name = "wildcards behind a first level that is named match, though it begins with $",
             .refs = {HASH, PLUS},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1 | CONFORM_DOLLAR | CONFORM_WILDCARD,
             .run = dollar_named}, )
