/* rows_properties.c: every property in every packet of a client (2.2.2.2, table 2-4): where it belongs, once, it is taken; twice, cut short, or
 * where it does not belong, the connection ends.
 */
#include "rows.h"
#include "tables.h"

#include <stdio.h>

enum value { VALUE_8, VALUE_16, VALUE_32, VALUE_LENGTH, VALUE_TEXT, VALUE_BINARY, VALUE_PAIR };

#define IN(packet) (1u << (packet))
#define IN_MESSAGE (IN(ROW_PUBLISH) | IN(ROW_WILL))
#define IN_ACK     (IN(ROW_PUBACK) | IN(ROW_PUBREC) | IN(ROW_PUBREL) | IN(ROW_PUBCOMP))
#define EVERYWHERE ((1u << ROW_PACKETS) - 1)

static const struct property {
    uint8_t id, value;
    uint16_t places; /* of the packets that a client sends */
    uint32_t number; /* a legal value */
    const char *text;
} properties[] = {
    {MQ5_PAYLOAD_FORMAT_INDICATOR, VALUE_8, IN_MESSAGE, 1, NULL},
    {MQ5_MESSAGE_EXPIRY_INTERVAL, VALUE_32, IN_MESSAGE, 60, NULL},
    {MQ5_CONTENT_TYPE, VALUE_TEXT, IN_MESSAGE, 0, "text/plain"},
    {MQ5_RESPONSE_TOPIC, VALUE_TEXT, IN_MESSAGE, 0, "mc5/answer"},
    {MQ5_CORRELATION_DATA, VALUE_BINARY, IN_MESSAGE, 0, "42"},
    {MQ5_SUBSCRIPTION_IDENTIFIER, VALUE_LENGTH, IN(ROW_SUBSCRIBE), 7, NULL},
    {MQ5_SESSION_EXPIRY_INTERVAL, VALUE_32, IN(ROW_CONNECT) | IN(ROW_DISCONNECT), 5, NULL},
    {MQ5_ASSIGNED_CLIENT_IDENTIFIER, VALUE_TEXT, 0, 0, "mc5assigned"},
    {MQ5_SERVER_KEEP_ALIVE, VALUE_16, 0, 60, NULL},
    {MQ5_AUTHENTICATION_METHOD, VALUE_TEXT, IN(ROW_CONNECT), 0, "mc5"},
    {MQ5_AUTHENTICATION_DATA, VALUE_BINARY, IN(ROW_CONNECT), 0, "mc5"},
    {MQ5_REQUEST_PROBLEM_INFORMATION, VALUE_8, IN(ROW_CONNECT), 1, NULL},
    {MQ5_WILL_DELAY_INTERVAL, VALUE_32, IN(ROW_WILL), 1, NULL},
    {MQ5_REQUEST_RESPONSE_INFORMATION, VALUE_8, IN(ROW_CONNECT), 1, NULL},
    {MQ5_RESPONSE_INFORMATION, VALUE_TEXT, 0, 0, "mc5"},
    {MQ5_SERVER_REFERENCE, VALUE_TEXT, 0, 0, "mc5.test"},
    {MQ5_REASON_STRING, VALUE_TEXT, IN_ACK | IN(ROW_DISCONNECT), 0, "why"},
    {MQ5_RECEIVE_MAXIMUM, VALUE_16, IN(ROW_CONNECT), 20, NULL},
    {MQ5_TOPIC_ALIAS_MAXIMUM, VALUE_16, IN(ROW_CONNECT), 5, NULL},
    {MQ5_TOPIC_ALIAS, VALUE_16, IN(ROW_PUBLISH), 1, NULL},
    {MQ5_MAXIMUM_QOS, VALUE_8, 0, 1, NULL},
    {MQ5_RETAIN_AVAILABLE, VALUE_8, 0, 1, NULL},
    {MQ5_USER_PROPERTY, VALUE_PAIR, EVERYWHERE, 0, "name"},
    {MQ5_MAXIMUM_PACKET_SIZE, VALUE_32, IN(ROW_CONNECT), 65536, NULL},
    {MQ5_WILDCARD_SUBSCRIPTION_AVAILABLE, VALUE_8, 0, 1, NULL},
    {MQ5_SUBSCRIPTION_IDENTIFIER_AVAILABLE, VALUE_8, 0, 1, NULL},
    {MQ5_SHARED_SUBSCRIPTION_AVAILABLE, VALUE_8, 0, 1, NULL},
};
#define PROPERTY_COUNT (sizeof(properties) / sizeof(properties[0]))
_Static_assert(PROPERTY_COUNT == 27, "table 2-4 has 27 properties");

static const uint8_t unknown_ids[] = {0x00, 0x07, 0x2B, 0x7F};

enum question { ONCE, TWICE, CUT, FOREIGN, UNKNOWN, OVERRUN };
struct case_of {
    enum question question;
    const struct property *property; /* UNKNOWN, OVERRUN: none */
    uint8_t id;
};

/* A client may not know what the broker makes of these; or the table and the text of the standard say different things. */
static bool is_asked(enum row_packet packet, const struct property *property, enum question question)
{
    if (property->id == MQ5_AUTHENTICATION_METHOD || property->id == MQ5_AUTHENTICATION_DATA)
        return packet != ROW_CONNECT || question == CUT ||
               (question == TWICE && property->id == MQ5_AUTHENTICATION_METHOD);
    if (property->id == MQ5_SERVER_REFERENCE && packet == ROW_DISCONNECT)
        return false;
    if (property->id == MQ5_SUBSCRIPTION_IDENTIFIER && packet == ROW_PUBLISH)
        return question == FOREIGN; /* a server's to send */
    return true;
}

static bool fits(enum row_packet packet, const struct property *property, enum question question)
{
    bool belongs = property->places & IN(packet);
    if (!is_asked(packet, property, question))
        return false;
    if (question == TWICE)
        return belongs && property->id != MQ5_USER_PROPERTY;
    return question == FOREIGN ? !belongs : belongs;
}

/* The row's question. false: there are not so many. */
static bool find(enum row_packet packet, uint32_t row, struct case_of *out)
{
    for (int question = ONCE; question <= FOREIGN; question++)
        for (size_t i = 0; i < PROPERTY_COUNT; i++) {
            if (!fits(packet, &properties[i], (enum question)question))
                continue;
            if (row-- == 0) {
                *out = (struct case_of){(enum question)question, &properties[i], properties[i].id};
                return true;
            }
        }
    if (row < sizeof(unknown_ids)) {
        *out = (struct case_of){UNKNOWN, NULL, unknown_ids[row]};
        return true;
    }
    *out = (struct case_of){OVERRUN, NULL, 0};
    return row == sizeof(unknown_ids);
}

static uint32_t count(enum row_packet packet)
{
    struct case_of found;
    uint32_t rows = 0;
    while (find(packet, rows, &found))
        rows++;
    return rows;
}

static const char *const asked[] = {"once", "twice", "cut short", "where it does not belong", "", ""};

static void describe(enum row_packet packet, uint32_t row, struct conform_row *out)
{
    static const char *const refs[] = {[ONCE] = "S2.2.2.2a",    [TWICE] = "S2.2.2.2c",   [CUT] = "S2.2.2.2b",
                                       [FOREIGN] = "S2.2.2.2a", [UNKNOWN] = "S2.2.2.2a", [OVERRUN] = "S2.2.2.2b"};
    struct case_of found;
    find(packet, row, &found);
    out->ref = refs[found.question];
    if (found.question == FOREIGN && packet == ROW_PUBLISH && found.id == MQ5_SUBSCRIPTION_IDENTIFIER)
        out->ref = "MQTT-3.3.4-6";
    if (found.question == UNKNOWN)
        snprintf(out->name, sizeof(out->name), "%s: property 0x%02x, which is none", row_packet_name(packet), found.id);
    else if (found.question == OVERRUN)
        snprintf(out->name, sizeof(out->name), "%s: a property length beyond the packet", row_packet_name(packet));
    else
        snprintf(out->name, sizeof(out->name), "%s: %s %s", row_packet_name(packet), mq5_property_name(found.id),
                 asked[found.question]);
}

static void put_property(struct builder *out, const struct property *property)
{
    put_8(out, property->id);
    switch (property->value) {
    case VALUE_8: put_8(out, property->number); break;
    case VALUE_16: put_16(out, property->number); break;
    case VALUE_32: put_32(out, property->number); break;
    case VALUE_LENGTH: put_length(out, property->number); break;
    case VALUE_PAIR:
        put_text(out, property->text);
        put_text(out, "value");
        break;
    default: put_text(out, property->text); break;
    }
}

/* Where the property length stands in a packet without properties. */
static uint32_t length_at(const struct scene *scene, const struct builder *whole)
{
    uint32_t header = 2;
    for (uint32_t i = 1; whole->bytes[i] & 0x80; i++)
        header++;
    switch (scene->packet) {
    case ROW_CONNECT: return header + 10; /* behind name, version, flags and keep alive */
    case ROW_WILL: return header + 10 + 1 + 2 + connect_parts(scene->probe, 0).client_id.length;
    case ROW_PUBLISH: return whole->length - 3 - 1; /* before the payload */
    case ROW_SUBSCRIBE: return whole->length - (uint32_t)strlen(scene->topic) - 3 - 1;
    case ROW_UNSUBSCRIBE: return whole->length - (uint32_t)strlen(scene->topic) - 2 - 1;
    default: return whole->length - 1;
    }
}

/* A property length that promises more than the packet has. */
static void overrun(const struct scene *scene, struct builder *out)
{
    static const struct builder none;
    scene_build(scene, &none, out);
    out->bytes[length_at(scene, out)] = 0x7F;
}

static void build(const struct scene *scene, const struct case_of *found, struct builder *out)
{
    struct builder block = {.length = 0};
    if (found->question == OVERRUN) {
        overrun(scene, out);
        return;
    }
    if (found->question == UNKNOWN) {
        put_8(&block, found->id);
        put_8(&block, 0);
    } else {
        put_property(&block, found->property);
        if (found->question == TWICE)
            put_property(&block, found->property);
        if (found->question == CUT)
            block.length--;
    }
    scene_build(scene, &block, out);
}

static void hold(struct conform_probe *probe, enum row_packet packet)
{
    struct case_of found;
    struct conform_row row;
    struct builder bytes = {.length = 0};
    find(packet, probe_row(probe), &found);
    describe(packet, probe_row(probe), &row);
    if (found.property && found.id == MQ5_SUBSCRIPTION_IDENTIFIER && packet == ROW_SUBSCRIBE &&
        !probe_has(probe, CONFORM_SUBSCRIPTION_ID))
        skip(probe, "the broker has no subscription identifiers");
    if (found.property && found.id == MQ5_TOPIC_ALIAS && packet == ROW_PUBLISH && !probe_has(probe, CONFORM_ALIAS_IN))
        skip(probe, "the broker takes no topic aliases");
    struct scene scene = scene_prepare(probe, packet);
    build(&scene, &found, &bytes);
    wire_send_builder(scene.wire, &bytes);
    if (found.question == ONCE)
        scene_want_taken(&scene, row.name);
    else
        scene_want_ended(&scene, row.name, REASONS(MQ5_MALFORMED_PACKET, MQ5_PROTOCOL_ERROR));
}

#define PACKET(name, packet)                                                                                           \
    static void hold_##name(struct conform_probe *probe)                                                               \
    {                                                                                                                  \
        hold(probe, packet);                                                                                           \
    }                                                                                                                  \
    static uint32_t count_##name(void)                                                                                 \
    {                                                                                                                  \
        return count(packet);                                                                                          \
    }                                                                                                                  \
    static void describe_##name(uint32_t row, struct conform_row *out)                                                 \
    {                                                                                                                  \
        describe(packet, row, out);                                                                                    \
    }
PACKET(connect, ROW_CONNECT)
PACKET(will, ROW_WILL)
PACKET(publish, ROW_PUBLISH)
PACKET(puback, ROW_PUBACK)
PACKET(pubrec, ROW_PUBREC)
PACKET(pubrel, ROW_PUBREL)
PACKET(pubcomp, ROW_PUBCOMP)
PACKET(subscribe, ROW_SUBSCRIBE)
PACKET(unsubscribe, ROW_UNSUBSCRIBE)
PACKET(disconnect, ROW_DISCONNECT)

#define ROWS_OF(packet, suffix, what, needed)                                                                          \
    {                                                                                                                  \
        .id = "B-PROP-" packet, .name = "the properties of " what,                                                     \
        .refs = {"S2.2.2.2a", "S2.2.2.2b", "S2.2.2.2c", "MQTT-4.13.1-1"}, .level = CONFORM_MUST, .needs = needed,      \
        .run = hold_##suffix, .row_count = count_##suffix, .row = describe_##suffix                                    \
    }

/* clang-format off */
CHECK_TABLE(rows_properties,
            ROWS_OF("CONNECT", connect, "CONNECT", 0),
            ROWS_OF("WILL", will, "a will", 0),
            ROWS_OF("PUBLISH", publish, "PUBLISH", 0),
            ROWS_OF("PUBACK", puback, "PUBACK", CONFORM_QOS_1),
            ROWS_OF("PUBREC", pubrec, "PUBREC", CONFORM_QOS_2),
            ROWS_OF("PUBREL", pubrel, "PUBREL", CONFORM_QOS_2),
            ROWS_OF("PUBCOMP", pubcomp, "PUBCOMP", CONFORM_QOS_2),
            ROWS_OF("SUBSCRIBE", subscribe, "SUBSCRIBE", 0),
            ROWS_OF("UNSUBSCRIBE", unsubscribe, "UNSUBSCRIBE", 0),
            ROWS_OF("DISCONNECT", disconnect, "DISCONNECT", 0))
/* clang-format on */
