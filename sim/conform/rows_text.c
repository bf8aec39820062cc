/* rows_text.c: strings that are none (1.5.4), in every field of a client's packets that holds a string. */
#include "rows.h"
#include "tables.h"

#include <stdio.h>

static const struct sequence {
    const char *name, *bytes;
    uint32_t length;
    const char *ref; /* NULL: the field's */
} sequences[] = {
    {"a surrogate (U+D800)", "a\xED\xA0\x80", 4, "MQTT-1.5.4-1"},
    {"the other surrogate (U+DFFF)", "a\xED\xBF\xBF", 4, NULL},
    {"an overlong form (C0 80)", "a\xC0\x80", 3, "MQTT-1.5.4-1"},
    {"beyond U+10FFFF", "a\xF4\x90\x80\x80", 5, NULL},
    {"a byte that continues nothing", "a\x80", 2, "MQTT-1.5.4-1"},
    {"a character cut short", "a\xE2\x82", 3, NULL},
    {"the byte FF", "a\xFF", 2, NULL},
    {"U+0000", "a\0b", 3, "MQTT-1.5.4-2"},
};
#define SEQUENCES (sizeof(sequences) / sizeof(sequences[0]))

enum field {
    CLIENT_ID,
    USER_NAME,
    WILL_TOPIC,
    CONNECT_PAIR_NAME,
    CONNECT_PAIR_VALUE,
    WILL_CONTENT_TYPE,
    WILL_RESPONSE_TOPIC,
    TOPIC,
    CONTENT_TYPE,
    RESPONSE_TOPIC,
    PUBLISH_PAIR_NAME,
    PUBLISH_PAIR_VALUE,
    PUBACK_REASON,
    FILTER,
    SUBSCRIBE_PAIR_VALUE,
    UNSUBSCRIBE_FILTER,
    DISCONNECT_REASON,
    FIELDS,
};

static const struct place {
    const char *name, *ref;
    enum row_packet packet;
    uint8_t property; /* 0: not in a property */
    bool second;      /* of a pair */
} places[FIELDS] = {
    [CLIENT_ID] = {"client identifier", "MQTT-3.1.3-4", ROW_CONNECT, 0, false},
    [USER_NAME] = {"user name", "MQTT-3.1.3-12", ROW_CONNECT, 0, false},
    [WILL_TOPIC] = {"will topic", "MQTT-3.1.3-11", ROW_WILL, 0, false},
    [CONNECT_PAIR_NAME] = {"name of a user property of CONNECT", "MQTT-1.5.7-1", ROW_CONNECT, MQ5_USER_PROPERTY, false},
    [CONNECT_PAIR_VALUE] = {"value of a user property of CONNECT", "MQTT-1.5.7-1", ROW_CONNECT, MQ5_USER_PROPERTY,
                            true},
    [WILL_CONTENT_TYPE] = {"will's content type", "MQTT-1.5.4-1", ROW_WILL, MQ5_CONTENT_TYPE, false},
    [WILL_RESPONSE_TOPIC] = {"will's response topic", "MQTT-1.5.4-1", ROW_WILL, MQ5_RESPONSE_TOPIC, false},
    [TOPIC] = {"topic of PUBLISH", "MQTT-3.3.2-1", ROW_PUBLISH, 0, false},
    [CONTENT_TYPE] = {"content type of PUBLISH", "MQTT-3.3.2-19", ROW_PUBLISH, MQ5_CONTENT_TYPE, false},
    [RESPONSE_TOPIC] = {"response topic of PUBLISH", "MQTT-3.3.2-13", ROW_PUBLISH, MQ5_RESPONSE_TOPIC, false},
    [PUBLISH_PAIR_NAME] = {"name of a user property of PUBLISH", "MQTT-1.5.7-1", ROW_PUBLISH, MQ5_USER_PROPERTY, false},
    [PUBLISH_PAIR_VALUE] = {"value of a user property of PUBLISH", "MQTT-1.5.7-1", ROW_PUBLISH, MQ5_USER_PROPERTY,
                            true},
    [PUBACK_REASON] = {"reason string of PUBACK", "MQTT-1.5.4-1", ROW_PUBACK, MQ5_REASON_STRING, false},
    [FILTER] = {"filter of SUBSCRIBE", "MQTT-3.8.3-1", ROW_SUBSCRIBE, 0, false},
    [SUBSCRIBE_PAIR_VALUE] = {"value of a user property of SUBSCRIBE", "MQTT-1.5.7-1", ROW_SUBSCRIBE, MQ5_USER_PROPERTY,
                              true},
    [UNSUBSCRIBE_FILTER] = {"filter of UNSUBSCRIBE", "MQTT-3.10.3-1", ROW_UNSUBSCRIBE, 0, false},
    [DISCONNECT_REASON] = {"reason string of DISCONNECT", "MQTT-1.5.4-1", ROW_DISCONNECT, MQ5_REASON_STRING, false},
};

static uint32_t count(void)
{
    return FIELDS * SEQUENCES;
}

static void describe(uint32_t row, struct conform_row *out)
{
    const struct place *place = &places[row / SEQUENCES];
    const struct sequence *sequence = &sequences[row % SEQUENCES];
    snprintf(out->name, sizeof(out->name), "%s: %s", place->name, sequence->name);
    out->ref = sequence->ref ? sequence->ref : place->ref;
}

/* SUBSCRIBE and UNSUBSCRIBE of this filter, PUBLISH on this topic. */
static void build_with(const struct scene *scene, struct span text, struct builder *out)
{
    struct builder body = {.length = 0};
    if (scene->packet == ROW_PUBLISH) {
        put_string(&body, text);
        put_block(&body, NULL);
        put_bytes(&body, "text", 4);
        put_packet(out, MQ5_PUBLISH << 4, &body);
        return;
    }
    put_16(&body, scene->packet_id);
    put_block(&body, NULL);
    put_string(&body, text);
    if (scene->packet == ROW_SUBSCRIBE)
        put_8(&body, 0);
    put_packet(out, (scene->packet == ROW_SUBSCRIBE ? MQ5_SUBSCRIBE : MQ5_UNSUBSCRIBE) << 4 | 2, &body);
}

static void build_login(const struct scene *scene, enum field field, struct span text, struct builder *out)
{
    struct connect_parts parts = connect_parts(scene->probe, 0);
    if (field == CLIENT_ID)
        parts.client_id = text;
    if (field == USER_NAME) {
        parts.flags |= CONNECT_USER;
        parts.user_name = text;
    }
    if (field == WILL_TOPIC) {
        parts.flags |= CONNECT_WILL;
        parts.will_topic = text;
        parts.will_payload = span_text("will");
    }
    build_connect(out, &parts);
}

static void build(const struct scene *scene, enum field field, struct span text, struct builder *out)
{
    const struct place *place = &places[field];
    struct builder block = {.length = 0};
    if (field == CLIENT_ID || field == USER_NAME || field == WILL_TOPIC) {
        build_login(scene, field, text, out);
        return;
    }
    if (!place->property) {
        build_with(scene, text, out);
        return;
    }
    put_8(&block, place->property);
    if (place->property == MQ5_USER_PROPERTY && place->second)
        put_text(&block, "name");
    put_string(&block, text);
    if (place->property == MQ5_USER_PROPERTY && !place->second)
        put_text(&block, "value");
    scene_build(scene, &block, out);
}

static void hold(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    const struct place *place = &places[row / SEQUENCES];
    const struct sequence *sequence = &sequences[row % SEQUENCES];
    struct conform_row text;
    struct builder bytes = {.length = 0};
    describe(row, &text);
    if (place->packet == ROW_PUBACK && !probe_has(probe, CONFORM_QOS_1))
        skip(probe, "the broker has no QoS 1");
    struct scene scene = scene_prepare(probe, place->packet);
    /* Below the check's own topics, where the text is a topic or a filter. */
    const char *below = row / SEQUENCES == TOPIC || row / SEQUENCES == FILTER ||
                                row / SEQUENCES == UNSUBSCRIBE_FILTER || row / SEQUENCES == WILL_TOPIC
                            ? probe_topic(probe, "t/")
                        : row / SEQUENCES == CLIENT_ID ? probe_client_id(probe, 0)
                                                       : "";
    uint32_t length = (uint32_t)strlen(below);
    uint8_t *whole = probe_bytes(probe, length + sequence->length, 0);
    memcpy(whole, below, length);
    memcpy(whole + length, sequence->bytes, sequence->length);
    build(&scene, (enum field)(row / SEQUENCES), (struct span){whole, length + sequence->length}, &bytes);
    wire_send_builder(scene.wire, &bytes);
    static const uint8_t reasons[] = {MQ5_MALFORMED_PACKET,
                                      MQ5_PROTOCOL_ERROR,
                                      MQ5_CLIENT_IDENTIFIER_NOT_VALID,
                                      MQ5_TOPIC_NAME_INVALID,
                                      MQ5_TOPIC_FILTER_INVALID,
                                      MQ5_BAD_USER_NAME_OR_PASSWORD,
                                      0};
    scene_want_ended(&scene, text.name, reasons);
}

/* Control characters and non-characters: a broker may take them for an error; one that does not hands them on as they are. */
static const struct rare {
    const char *name, *bytes;
} rares[] = {
    {"U+0001", "\x01"}, {"U+001F", "\x1F"}, {"U+007F", "\x7F"}, {"U+009F", "\xC2\x9F"}, {"U+FFFF", "\xEF\xBF\xBF"}};

static uint32_t rare_count(void)
{
    return sizeof(rares) / sizeof(rares[0]);
}

static void rare_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s in the value of a user property", rares[row].name);
}

static void rare(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "rare"), *text = rares[probe_row(probe)].bytes;
    struct wire *wire = probe_connect(probe, "subscriber");
    wire_subscribe(wire, topic, 0);
    struct wire *publisher = probe_connect(probe, "publisher");
    struct mq5_user_property pair = {SPAN_LITERAL("rare"), span_text(text)};
    struct mq5_publish publish = message(topic, "rare", 0);
    publish.properties.present = MQ5_BIT(MQ5_USER_PROPERTY);
    publish.properties.user = &pair;
    publish.properties.user_count = 1;
    wire_publish_packet(publisher, &publish);
    int64_t until_us = probe_now(probe) + probe_patience(probe);
    const struct received *came = NULL;
    while (!came && wire_is_open(publisher) && probe_now(probe) < until_us)
        came = try_message(wire, topic, "rare", 100 * US_PER_MS);
    want(probe, came || !wire_is_open(publisher), "the message is swallowed without a word");
    if (!came) {
        note(probe, "the broker takes it for an error");
        return;
    }
    uint32_t offset = 0;
    struct mq5_user_property found = {.value = {NULL, 0}};
    need(probe, mq5_user_property_next(came->packet.publish.properties.encoded, &offset, &found), "no user property");
    want(probe, span_equal(found.value, pair.value), "it arrives changed");
}

CHECK_TABLE(rows_text,
            {.id = "B-TEXT-001",
             .name = "a string that is none ends the connection",
             .refs = {"MQTT-1.5.4-1", "MQTT-1.5.4-2", "MQTT-1.5.7-1"},
             .level = CONFORM_MUST,
             .run = hold,
             .row_count = count,
             .row = describe},
            {.id = "B-TEXT-002",
             .name = "control characters are an error, or handed on as they are",
             .refs = {"S1.5.4a"},
             .level = CONFORM_MAY,
             .run = rare,
             .row_count = rare_count,
             .row = rare_row})
