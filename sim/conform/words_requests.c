/* words_requests.c: requests sent and not waited for, packets to be changed, and what brokers add to their answers in words. */
#include "internal.h"

#include <stdio.h>

/* ---- sending ------------------------------------------------------------------------------------------------------------------- */

uint16_t wire_send_subscribe(struct wire *wire, const struct mq5_subscription *list, uint32_t count,
                             uint32_t subscription_id)
{
    struct mq5_packet packet = {.type = MQ5_SUBSCRIBE,
                                .subscribe = {.packet_id = wire_packet_id(wire), .list = list, .count = count}};
    if (subscription_id) {
        packet.subscribe.properties.present = MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER);
        packet.subscribe.properties.subscription_ids = &subscription_id;
        packet.subscribe.properties.subscription_id_count = 1;
    }
    wire_send(wire, &packet);
    return packet.subscribe.packet_id;
}

uint16_t wire_send_unsubscribe(struct wire *wire, const char *const *filters, uint32_t count)
{
    struct mq5_subscription *list = probe_memory(wire->probe, count * sizeof(*list));
    for (uint32_t i = 0; i < count; i++)
        list[i].filter = span_text(filters[i]);
    struct mq5_packet packet = {.type = MQ5_UNSUBSCRIBE,
                                .subscribe = {.packet_id = wire_packet_id(wire), .list = list, .count = count}};
    wire_send(wire, &packet);
    return packet.subscribe.packet_id;
}

const struct received *want_answer_or_end(struct wire *wire, enum mq5_type type, const char *what)
{
    const struct received *answer = try_packet(wire, type, probe_patience(wire->probe));
    if (!answer && wire_is_open(wire))
        return want_packet(wire, type, what);
    want(wire->probe, true, "%s", what);
    return answer;
}

uint8_t first_reason(const struct mq5_suback *suback)
{
    return suback->reasons.length ? suback->reasons.data[0] : 0xFF;
}

/* ---- changing ------------------------------------------------------------------------------------------------------------------ */

uint8_t wrong_flags(uint32_t row, uint8_t right)
{
    return (uint8_t)(row < right ? row : row + 1);
}

uint32_t wrong_flags_count(void)
{
    return 15;
}

void wrong_flags_row(struct conform_row *out, uint8_t flags)
{
    snprintf(out->name, sizeof(out->name), "flags %u%u%u%u", flags >> 3 & 1u, flags >> 2 & 1u, flags >> 1 & 1u,
             flags & 1u);
}

struct bytes probe_change(struct conform_probe *probe, const struct mq5_packet *packet)
{
    struct span bytes = probe_encode(probe, packet, NULL);
    return (struct bytes){memcpy(probe_memory(probe, bytes.length), bytes.data, bytes.length), bytes.length};
}

/* ---- what answers say in words ----------------------------------------------------------------------------------------------------- */

static const struct mq5_properties *properties_of(const struct received *received)
{
    switch (received->packet.type) {
    case MQ5_SUBACK:
    case MQ5_UNSUBACK: return &received->packet.suback.properties;
    case MQ5_DISCONNECT:
    case MQ5_AUTH: return &received->packet.disconnect.properties;
    default: return &received->packet.ack.properties;
    }
}

static uint32_t connack_length(const struct wire *wire)
{
    for (uint32_t i = 0; i < wire_count(wire); i++)
        if (wire_at(wire, i)->packet.type == MQ5_CONNACK)
            return wire_at(wire, i)->bytes.length;
    return 0;
}

/* The packet that the provocation brings, when it has the property; NULL. */
static const struct received *worded(struct wire *wire, enum mq5_type type, enum mq5_property property,
                                     void (*provoke)(struct conform_probe *, struct wire *))
{
    provoke(wire->probe, wire);
    const struct received *answer = try_packet(wire, type, 3 * US_PER_S);
    return answer && properties_of(answer)->present & MQ5_BIT(property) ? answer : NULL;
}

void want_words_left_out(struct conform_probe *probe, enum mq5_type type, enum mq5_property property,
                         void (*const *provocations)(struct conform_probe *probe, struct wire *wire))
{
    const struct received *longest = NULL;
    void (*provoke)(struct conform_probe *, struct wire *) = NULL;
    uint32_t least = 0;
    struct mq5_connect login = probe_login(probe, 0);
    set_problem_information(&login, 1);
    for (; *provocations; provocations++) {
        login.client_id = span_text(probe_client_id(probe, probe->wire_count));
        struct wire *wire = probe_connect_as(probe, "without a limit", &login);
        const struct received *answer = worded(wire, type, property, *provocations);
        least = connack_length(wire);
        if (!answer || (longest && answer->bytes.length <= longest->bytes.length))
            continue;
        longest = answer;
        provoke = *provocations;
    }
    if (!longest)
        skip(probe, "the broker adds no %s to %s", mq5_property_name((uint8_t)property), mq5_type_name((uint8_t)type));
    uint32_t limit = longest->bytes.length - 1;
    if (limit < least)
        skip(probe, "a limit of %u bytes is too small for CONNACK, too", limit);
    set_maximum_packet_size(&login, limit);
    login.client_id = span_text(probe_client_id(probe, probe->wire_count));
    struct wire *wire = probe_open(probe, "with a limit");
    const struct mq5_connack *connack = wire_login(wire, &login);
    if (!connack || connack->reason >= 0x80) /* a limit may make CONNACK say something more */
        skip(probe, "with a limit of %u bytes the broker does not let the client in", limit);
    provoke(probe, wire);
    const struct received *answer = want_answer_or_end(wire, type, "answer");
    want(probe, !answer || answer->bytes.length <= limit, "%s of %u bytes for a client that allows %u",
         mq5_type_name((uint8_t)type), answer ? answer->bytes.length : 0, limit);
}

uint32_t subscription_ids(const struct received *received, uint32_t *first)
{
    const struct mq5_properties *properties = &received->packet.publish.properties;
    uint32_t count = 0, offset = 0, each;
    *first = 0;
    if (!(properties->present & MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER)))
        return 0;
    while (mq5_subscription_id_next(properties->encoded, &offset, &each)) {
        if (count++ == 0)
            *first = each;
    }
    return count;
}

/* ---- filters that are none ---------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint8_t bytes[4];
} bad_texts[] = {
    {"a byte that no text has", {0xFF, 'x', 'x', 'x'}},  {"a lone continuation byte", {'x', 0x80, 'x', 'x'}},
    {"a form that is too long", {0xC0, 0xAF, 'x', 'x'}}, {"a surrogate", {0xED, 0xA0, 0x80, 'x'}},
    {"a character that is cut", {'x', 'x', 0xE2, 0x82}}, {"U+0000", {'x', 0x00, 'x', 'x'}},
};

uint32_t bad_texts_count(void)
{
    return sizeof(bad_texts) / sizeof(bad_texts[0]);
}

void bad_texts_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", bad_texts[row].name);
}

void want_bad_text_refused(struct conform_probe *probe, const struct mq5_packet *packet, uint32_t behind,
                           const char *what)
{
    struct wire *wire = probe_connect(probe, "client");
    struct bytes bytes = probe_change(probe, packet);
    memcpy(bytes.data + bytes.length - 4 - behind, bad_texts[probe_row(probe)].bytes, 4);
    wire_send_bytes(wire, bytes.data, bytes.length);
    want_closed(wire, what, REASONS(MQ5_MALFORMED_PACKET));
}

uint32_t no_filter_count(void)
{
    return 2;
}

void no_filter_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", row ? "no payload behind a user property" : "no payload");
}

/* The end of the packet is the end of its properties. */
void want_no_filter_refused(struct conform_probe *probe, enum mq5_type type)
{
    uint8_t plain[] = {(uint8_t)(type << 4 | 2), 3, 0, 7, 0};
    uint8_t worded[] = {(uint8_t)(type << 4 | 2), 10, 0, 7, 7, MQ5_USER_PROPERTY, 0, 1, 'a', 0, 1, 'b'};
    struct wire *wire = probe_connect(probe, "client");
    if (probe_row(probe) == 0)
        wire_send_bytes(wire, plain, sizeof(plain));
    else
        wire_send_bytes(wire, worded, sizeof(worded));
    want_closed(wire, probe_text(probe, "%s without a filter", mq5_type_name((uint8_t)type)),
                REASONS(MQ5_PROTOCOL_ERROR));
}
