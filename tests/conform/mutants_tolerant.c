/* mutants_tolerant.c: brokers that overlook what should end the connection: one kind of wrong packet each. */
#include "mutant.h"

#define BIT(type) (UINT32_C(1) << (type))
#define REQUESTS  (BIT(MQ5_SUBSCRIBE) | BIT(MQ5_UNSUBSCRIBE))
#define ACKS      (BIT(MQ5_PUBACK) | BIT(MQ5_PUBREC) | BIT(MQ5_PUBREL) | BIT(MQ5_PUBCOMP))
#define LATER     (0xFFFFu & ~BIT(MQ5_CONNECT)) /* whatever comes after CONNECT */
#define ALL_TYPES 0xFFFFu

/* ---- what the codec refuses --------------------------------------------------------------------------------------------- */

static bool overlook(struct link *link, struct seen *seen)
{
    if (!is_tolerated(link, seen))
        return true;
    if (seen->type == MQ5_CONNECT && !link->login_came)
        return accept_as_ghost(link);
    return !link->accepted;
}

/* The same, but what was wrong is answered as if it had been right. */
static bool overlook_and_answer(struct link *link, struct seen *seen)
{
    const uint8_t *at = seen->bytes.data;
    if (!is_tolerated(link, seen) || !link->accepted || seen->bytes.length < 4)
        return true;
    struct mq5_packet packet = {
        .type = seen->type == MQ5_SUBSCRIBE ? MQ5_SUBACK : MQ5_UNSUBACK,
        .suback = {.packet_id = (uint16_t)(at[2] << 8 | at[3]), .reasons = {(uint8_t[1]){0}, 1}}};
    to_client(link, &packet);
    return false;
}

/* A text that is none. */
static bool is_bad(struct link *link, struct span text)
{
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = {.topic = SPAN_LITERAL("t")}}, out;
    struct mq5_error error;
    packet.publish.properties.present = MQ5_BIT(MQ5_CONTENT_TYPE);
    packet.publish.properties.content_type = text;
    struct span bytes = encode(link, &packet, NULL);
    return mq5_decode(MQ5_V5, MQ5_FROM_CLIENT, bytes.data, bytes.length, &out, &error) != MQ5_OK;
}

/* Where things lie in a CONNECT, whatever they look like. */
struct layout {
    uint8_t flags;
    struct span properties, client_id, will_properties, will_topic, will_payload, user_name, password;
    bool whole; /* every field lies inside */
    uint32_t rest;
};

static bool take_text(struct span *at, struct span *out)
{
    if (at->length < 2)
        return false;
    uint32_t length = (uint32_t)(at->data[0] << 8 | at->data[1]);
    bool whole = length + 2 <= at->length;
    *out = span_of(at->data + 2, whole ? length : at->length - 2);
    *at = span_of(at->data + (whole ? length + 2 : at->length), whole ? at->length - length - 2 : 0);
    return whole;
}

static bool take_block(struct span *at, struct span *out)
{
    uint32_t length = 0, used = 0;
    do {
        if (used >= at->length || used >= 4)
            return false;
        length |= (uint32_t)(at->data[used] & 0x7F) << 7 * used;
    } while (at->data[used++] & 0x80);
    if (length > at->length - used)
        return false;
    *out = span_of(at->data + used, length);
    *at = span_of(at->data + used + length, at->length - used - length);
    return true;
}

static struct layout lay_out(struct span bytes)
{
    struct layout out = {0};
    uint32_t used = 1;
    while (used < bytes.length && used < 5 && bytes.data[used] & 0x80)
        used++;
    used++;
    struct span at = used < bytes.length ? span_of(bytes.data + used, bytes.length - used) : (struct span){0}, name;
    if (!take_text(&at, &name) || at.length < 4)
        return out;
    out.flags = at.data[1];
    at = span_of(at.data + 4, at.length - 4);
    bool will = out.flags & 4;
    out.whole = take_block(&at, &out.properties) && take_text(&at, &out.client_id) &&
                (!will || (take_block(&at, &out.will_properties) && take_text(&at, &out.will_topic) &&
                           take_text(&at, &out.will_payload))) &&
                (!(out.flags & 0x80) || take_text(&at, &out.user_name)) &&
                (!(out.flags & 0x40) || take_text(&at, &out.password));
    out.rest = at.length;
    return out;
}

enum field { CLIENT_ID, WILL_TOPIC, USER_NAME };

static bool overlook_text(struct link *link, struct seen *seen)
{
    if (seen->type != MQ5_CONNECT || seen->status == MQ5_OK || link->login_came)
        return true;
    struct layout at = lay_out(seen->bytes);
    uint32_t field = mutant_of(link)->number;
    return at.whole && is_bad(link, field == CLIENT_ID    ? at.client_id
                                    : field == WILL_TOPIC ? at.will_topic
                                                          : at.user_name)
               ? accept_as_ghost(link)
               : true;
}

/* Fields that are missing, or there without their flag. number: the flag; properties: whether something is missing (1) or too much (2). */
static bool overlook_field(struct link *link, struct seen *seen)
{
    const struct mutant *mutant = mutant_of(link);
    if (seen->type != MQ5_CONNECT || seen->status == MQ5_OK || link->login_came)
        return true;
    struct layout at = lay_out(seen->bytes);
    bool flag = !mutant->number || at.flags & mutant->number;
    bool fits = mutant->property == 1 ? flag && !at.whole : at.whole && at.rest && !(at.flags & mutant->number);
    return fits ? accept_as_ghost(link) : true;
}

/* ---- what the core refuses for what has been before ---------------------------------------------------------------------- */

static bool overlook_second_connect(struct link *link, struct seen *seen)
{
    return !(link->accepted && seen->type == MQ5_CONNECT);
}

static bool answer_second_connect(struct link *link, struct seen *seen)
{
    if (!link->accepted || seen->type != MQ5_CONNECT)
        return true;
    to_client(link, &(struct mq5_packet){.type = MQ5_CONNACK});
    return false;
}

static bool overlook_missing_connect(struct link *link, struct seen *seen)
{
    if (link->login_came || seen->type == MQ5_CONNECT)
        return true;
    link->ghost = true;
    if (seen->type == MQ5_PINGREQ)
        to_client(link, &(struct mq5_packet){.type = MQ5_PINGRESP});
    return false;
}

static bool overlook_auth(struct link *link, struct seen *seen)
{
    return !(link->accepted && seen->type == MQ5_AUTH);
}

static bool overlook_large_alias(struct link *link, struct seen *seen)
{
    return !(is(seen, MQ5_PUBLISH) && has(&seen->packet.publish.properties, MQ5_TOPIC_ALIAS) &&
             seen->packet.publish.properties.topic_alias > 64);
}

static bool overlook_unknown_alias(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || !has(&seen->packet.publish.properties, MQ5_TOPIC_ALIAS))
        return true;
    uint8_t *known = id_byte(link, seen->packet.publish.properties.topic_alias);
    *known |= seen->packet.publish.topic.length > 0;
    return *known;
}

static bool overlook_raised_expiry(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_DISCONNECT) || link->login.properties.session_expiry_s ||
        !has(&seen->packet.disconnect.properties, MQ5_SESSION_EXPIRY_INTERVAL))
        return true;
    without(&seen->packet.disconnect.properties, MQ5_SESSION_EXPIRY_INTERVAL);
    return edited(link, seen);
}

static bool overlook_method(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNECT) || !has(&seen->packet.connect.properties, MQ5_AUTHENTICATION_METHOD))
        return true;
    without(&seen->packet.connect.properties, MQ5_AUTHENTICATION_METHOD);
    without(&seen->packet.connect.properties, MQ5_AUTHENTICATION_DATA);
    return edited(link, seen);
}

static void small_packets(struct cloud_broker_options *options)
{
    options->maximum_packet_size = 16384;
}

static bool overlook_size(struct link *link, struct seen *seen)
{
    return seen->bytes.length <= 16384;
}

static bool overlook_bad_flags_of_disconnect(struct link *link, struct seen *seen)
{
    if (seen->type != MQ5_DISCONNECT || seen->status == MQ5_OK || !(seen->bytes.data[0] & 15))
        return true;
    own_bytes(link, seen)[0] = MQ5_DISCONNECT << 4;
    return true;
}

static bool take_bad_disconnect_for_normal(struct link *link, struct seen *seen)
{
    if (seen->type != MQ5_DISCONNECT || seen->status == MQ5_OK || !link->accepted)
        return true;
    to_core(link, &(struct mq5_packet){.type = MQ5_DISCONNECT});
    return false;
}

static bool overlook_long_ping(struct link *link, struct seen *seen)
{
    if (seen->type != MQ5_PINGREQ || seen->bytes.length == 2 || !link->accepted)
        return true;
    to_client(link, &(struct mq5_packet){.type = MQ5_PINGRESP});
    return false;
}

static bool overlook_window(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNACK))
        return true;
    seen->packet.connack.properties.present |= MQ5_BIT(MQ5_RECEIVE_MAXIMUM);
    seen->packet.connack.properties.receive_maximum = 8; /* the core would take 65,535 */
    return edited(link, seen);
}

static bool accept_bad_filter(struct link *link, struct seen *seen)
{
    const char *part = mutant_of(link)->refs;
    struct mq5_subscribe copy;
    if (!is(seen, MQ5_SUBSCRIBE) || seen->packet.subscribe.count != 1)
        return true;
    copy = seen->packet.subscribe;
    struct mq5_subscription each;
    uint32_t offset = 0;
    mq5_subscription_next(&copy, MQ5_SUBSCRIBE, link->version, &offset, &each);
    if (mq5_topic_filter_valid(each.filter) || (part && !contains(each.filter, part)))
        return true;
    struct mq5_packet packet = {.type = MQ5_SUBACK,
                                .suback = {.packet_id = copy.packet_id, .reasons = {(uint8_t[1]){each.qos}, 1}}};
    to_client(link, &packet);
    return false;
}

/* Who subscribed to what a topic with wildcards would match gets it. */
static bool deliver_wildcards(struct link *link, struct seen *seen)
{
    struct mq5_packet packet = {.type = MQ5_PUBLISH};
    if (seen->type != MQ5_PUBLISH || seen->status == MQ5_OK || !seen->error.ref ||
        strcmp(seen->error.ref, "MQTT-3.3.2-2") != 0 || seen->bytes.length < 5)
        return true;
    const uint8_t *at = seen->bytes.data + (seen->bytes.data[1] & 0x80 ? 3 : 2);
    packet.publish.topic = span_of(at + 2, (size_t)(at[0] << 8 | at[1]));
    packet.publish.payload = SPAN_LITERAL("wild");
    for (struct subscribed *each = subscribed_first(link->served); each; each = each->next) {
        struct link *reader = link_of(link->served, each->client_id);
        if (reader && mq5_topic_matches(each->filter, packet.publish.topic))
            to_client(reader, &packet);
    }
    return false;
}

/* A response topic with a wildcard: the core is given another one, and readers the first. */
static bool hide_wild_response(struct link *link, struct seen *seen)
{
    struct seen changed = *seen;
    if (seen->type != MQ5_PUBLISH || seen->status == MQ5_OK || !seen->error.ref ||
        strcmp(seen->error.ref, "MQTT-3.3.2-14") != 0)
        return true;
    uint8_t *bytes = own_bytes(link, &changed);
    for (uint32_t i = 0; i < changed.bytes.length; i++)
        if (bytes[i] == '+' || bytes[i] == '#')
            bytes[i] = 'w';
    if (mq5_decode(MQ5_V5, MQ5_FROM_CLIENT, bytes, changed.bytes.length, &changed.packet, NULL) != MQ5_OK)
        return true;
    struct span response = changed.packet.publish.properties.response_topic;
    note_bytes(note_make(link->served, 'w', response),
               span_of(seen->bytes.data + (response.data - bytes), response.length));
    seen->bytes = changed.bytes;
    return true;
}

static bool show_wild_response(struct link *link, struct seen *seen)
{
    struct note *note = is(seen, MQ5_PUBLISH) && has(&seen->packet.publish.properties, MQ5_RESPONSE_TOPIC)
                            ? note_find(link->served, 'w', seen->packet.publish.properties.response_topic)
                            : NULL;
    if (!note)
        return true;
    seen->packet.publish.properties.response_topic = note->bytes;
    return edited(link, seen);
}

#define TOLERATES(text, of, kinds, codec)                                                                              \
    {                                                                                                                  \
        .name = text, .statement = of, .in = overlook, .types = kinds, .refs = codec                                   \
    }

MUTANT_TABLE(
    mutants_tolerant,
    TOLERATES("ill-formed UTF-8 in a PUBLISH is overlooked", "MQTT-1.5.4-1", BIT(MQ5_PUBLISH), "MQTT-1.5.4-1"),
    TOLERATES("ill-formed UTF-8 in a CONNECT is overlooked, but in its client id", "MQTT-1.5.7-1", ALL_TYPES,
              "MQTT-1.5.4-1"),
    TOLERATES("U+0000 in strings is overlooked", "MQTT-1.5.4-2", ALL_TYPES, "MQTT-1.5.4-2"),
    TOLERATES("U+0000 in topics and filters is overlooked", "MQTT-4.7.3-2", BIT(MQ5_PUBLISH) | REQUESTS,
              "MQTT-1.5.4-2"),
    TOLERATES("ill-formed topics are overlooked", "MQTT-3.3.2-1", BIT(MQ5_PUBLISH), "MQTT-1.5.4-1"),
    TOLERATES("ill-formed response topics are overlooked", "MQTT-3.3.2-13", BIT(MQ5_PUBLISH), "MQTT-1.5.4-1"),
    TOLERATES("ill-formed content types are overlooked", "MQTT-3.3.2-19", BIT(MQ5_PUBLISH), "MQTT-1.5.4-1"),
    TOLERATES("ill-formed filters in SUBSCRIBE are overlooked", "MQTT-3.8.3-1", BIT(MQ5_SUBSCRIBE), "MQTT-1.5.4-1"),
    TOLERATES("ill-formed filters in UNSUBSCRIBE are overlooked", "MQTT-3.10.3-1", BIT(MQ5_UNSUBSCRIBE),
              "MQTT-1.5.4-1"),
    {.name = "ill-formed client ids are accepted",
     .statement = "MQTT-3.1.3-4",
     .in = overlook_text,
     .number = CLIENT_ID},
    {.name = "ill-formed will topics are accepted",
     .statement = "MQTT-3.1.3-11",
     .in = overlook_text,
     .number = WILL_TOPIC},
    {.name = "ill-formed user names are accepted",
     .statement = "MQTT-3.1.3-12",
     .in = overlook_text,
     .number = USER_NAME},
    TOLERATES("wrong flags of PUBACK and PUBREC are overlooked", "S2.1.3a", BIT(MQ5_PUBACK) | BIT(MQ5_PUBREC),
              "MQTT-2.1.3-1"),
    TOLERATES("wrong flags of SUBSCRIBE are overlooked", "MQTT-3.8.1-1", BIT(MQ5_SUBSCRIBE), "MQTT-2.1.3-1"),
    TOLERATES("wrong flags of UNSUBSCRIBE are overlooked", "MQTT-3.10.1-1", BIT(MQ5_UNSUBSCRIBE), "MQTT-2.1.3-1"),
    TOLERATES("wrong flags of PUBREL are overlooked", "MQTT-3.6.1-1", BIT(MQ5_PUBREL), "MQTT-2.1.3-1"),
    TOLERATES("wrong flags of AUTH are overlooked", "MQTT-3.15.1-1", BIT(MQ5_AUTH), NULL),
    {.name = "wrong flags of DISCONNECT are overlooked, and its will discarded",
     .statement = "MQTT-3.14.1-1",
     .in = overlook_bad_flags_of_disconnect},
    TOLERATES("packet type 0 is overlooked", "S2.1.2a", ALL_TYPES, "S2.1.2a"),
    TOLERATES("packets of the other side are overlooked", "S3.13a", LATER, "S3.13a"),
    TOLERATES("UNSUBSCRIBE longer or shorter than what is in it is overlooked", "S2.1.4b", BIT(MQ5_UNSUBSCRIBE),
              "S2.1.4b"),
    TOLERATES("packet identifier 0 is overlooked", "S2.2.1a", LATER, "MQTT-2.2.1-3"),
    TOLERATES("foreign and unknown properties of PUBREL are overlooked", "S2.2.2.2a", BIT(MQ5_PUBREL), "S2.2.2.2a"),
    TOLERATES("properties that run past their SUBSCRIBE are overlooked", "S2.2.2.2b", BIT(MQ5_SUBSCRIBE),
              "S2.2.2.2b S2.1.4b"),
    TOLERATES("properties given twice are overlooked", "S2.2.2.2c", ALL_TYPES, "S2.2.2.2c"),
    TOLERATES("Receive Maximum 0 is accepted", "S3.1.2.11.3a", BIT(MQ5_CONNECT), "S3.1.2.11.3a"),
    TOLERATES("Maximum Packet Size 0 is accepted", "S3.1.2.11.4a", BIT(MQ5_CONNECT), "S3.1.2.11.4a"),
    TOLERATES("Request Response Information 2 is accepted", "S3.1.2.11.6a", BIT(MQ5_CONNECT), "S3.1.2.11.6a"),
    TOLERATES("Request Problem Information 2 is accepted", "S3.1.2.11.7a", BIT(MQ5_CONNECT), "S3.1.2.11.7a"),
    TOLERATES("Authentication Data without a method is accepted", "S3.1.2.11.10a", BIT(MQ5_CONNECT), "S3.1.2.11.10a"),
    TOLERATES("another protocol name is accepted", "MQTT-3.1.2-1", BIT(MQ5_CONNECT), "MQTT-3.1.2-1"),
    TOLERATES("another protocol version is accepted", "MQTT-3.1.2-2", BIT(MQ5_CONNECT), "MQTT-3.1.2-2"),
    TOLERATES("the reserved connect flag is not looked at", "MQTT-3.1.2-3", BIT(MQ5_CONNECT), "MQTT-3.1.2-3"),
    TOLERATES("a reserved connect flag is no malformed packet", "S3.1.2.3a", BIT(MQ5_CONNECT), "MQTT-3.1.2-3"),
    TOLERATES("Will QoS without a will is accepted", "MQTT-3.1.2-11", BIT(MQ5_CONNECT), "MQTT-3.1.2-11"),
    TOLERATES("Will QoS 3 is accepted", "MQTT-3.1.2-12", BIT(MQ5_CONNECT), "MQTT-3.1.2-12"),
    TOLERATES("Will Retain without a will is accepted", "MQTT-3.1.2-13", BIT(MQ5_CONNECT), "MQTT-3.1.2-13"),
    {.name = "a will that is cut short is accepted",
     .statement = "MQTT-3.1.2-9",
     .in = overlook_field,
     .number = 4,
     .property = 1},
    {.name = "a user name without its flag is accepted",
     .statement = "MQTT-3.1.2-16",
     .in = overlook_field,
     .number = 0x80,
     .property = 2},
    {.name = "a missing user name is accepted",
     .statement = "MQTT-3.1.2-17",
     .in = overlook_field,
     .number = 0x80,
     .property = 1},
    {.name = "a password without its flag is accepted",
     .statement = "MQTT-3.1.2-18",
     .in = overlook_field,
     .number = 0x40,
     .property = 2},
    {.name = "a missing password is accepted",
     .statement = "MQTT-3.1.2-19",
     .in = overlook_field,
     .number = 0x40,
     .property = 1},
    {.name = "a missing client id is accepted",
     .statement = "MQTT-3.1.3-3",
     .in = overlook_field,
     .number = 0,
     .property = 1},
    TOLERATES("malformed CONNECTs are accepted", "MQTT-3.1.4-1", BIT(MQ5_CONNECT), NULL),
    TOLERATES("QoS 3 is overlooked", "MQTT-3.3.1-4", BIT(MQ5_PUBLISH), "MQTT-3.3.1-4"),
    TOLERATES("an empty topic without an alias is overlooked", "S3.3.2.1a", BIT(MQ5_PUBLISH), "S3.3.2.1a"),
    TOLERATES("topic alias 0 is overlooked", "MQTT-3.3.2-8", BIT(MQ5_PUBLISH), "MQTT-3.3.2-8"),
    {.name = "topics with wildcards are delivered", .statement = "MQTT-3.3.2-2", .in = deliver_wildcards},
    {.name = "topic names may have wildcards", .statement = "MQTT-4.7.0-1", .in = deliver_wildcards},
    {.name = "response topics with wildcards are passed on",
     .statement = "MQTT-3.3.2-14",
     .in = hide_wild_response,
     .out = show_wild_response},
    {.name = "topic aliases above the maximum are overlooked", .statement = "S3.3.2.3.4a", .in = overlook_large_alias},
    {.name = "unknown topic aliases are overlooked", .statement = "S3.3.2.3.4b", .in = overlook_unknown_alias},
    TOLERATES("subscription identifiers from clients are overlooked", "MQTT-3.3.4-6", BIT(MQ5_PUBLISH), "MQTT-3.3.4-6"),
    TOLERATES("Subscription Identifier 0 is overlooked", "S3.3.2.3.8a", BIT(MQ5_SUBSCRIBE), "S3.3.2.3.8a"),
    TOLERATES("two subscription identifiers are overlooked", "S3.8.2.1.2a", BIT(MQ5_SUBSCRIBE), "S2.2.2.2c"),
    {.name = "SUBSCRIBE without a filter is answered",
     .statement = "MQTT-3.8.3-2",
     .in = overlook_and_answer,
     .types = BIT(MQ5_SUBSCRIBE),
     .refs = "MQTT-3.8.3-2"},
    TOLERATES("SUBSCRIBE without a filter is overlooked", "S3.8.3a", BIT(MQ5_SUBSCRIBE), "MQTT-3.8.3-2"),
    TOLERATES("an empty filter is overlooked", "MQTT-4.7.3-1", BIT(MQ5_SUBSCRIBE), "MQTT-4.7.3-1"),
    TOLERATES("No Local on a shared subscription is overlooked", "MQTT-3.8.3-4", BIT(MQ5_SUBSCRIBE), "MQTT-3.8.3-4"),
    TOLERATES("reserved subscription options are overlooked", "MQTT-3.8.3-5", BIT(MQ5_SUBSCRIBE), "MQTT-3.8.3-5"),
    TOLERATES("a subscription with QoS 3 is overlooked", "S3.8.3.1a", BIT(MQ5_SUBSCRIBE), "S3.8.3.1a"),
    TOLERATES("Retain Handling 3 is overlooked", "S3.8.3.1b", BIT(MQ5_SUBSCRIBE), "S3.8.3.1b"),
    {.name = "UNSUBSCRIBE without a filter is answered",
     .statement = "MQTT-3.10.3-2",
     .in = overlook_and_answer,
     .types = BIT(MQ5_UNSUBSCRIBE),
     .refs = "MQTT-3.10.3-2"},
    TOLERATES("UNSUBSCRIBE without a filter is overlooked", "S3.10.3a", BIT(MQ5_UNSUBSCRIBE), "MQTT-3.10.3-2"),
    {.name = "PINGREQ of any length is answered", .statement = "S3.12a", .in = overlook_long_ping},
    {.name = "an unknown reason of a DISCONNECT discards the will",
     .statement = "S3.14.2c",
     .in = take_bad_disconnect_for_normal},
    {.name = "a DISCONNECT that raises the expiry from 0 is a normal one",
     .statement = "S3.14.2.2.2a",
     .in = overlook_raised_expiry},
    {.name = "AUTH out of nowhere is overlooked", .statement = "MQTT-4.12.0-7", .in = overlook_auth},
    {.name = "AUTH without a method in CONNECT is overlooked", .statement = "S3.15a", .in = overlook_auth},
    {.name = "an authentication method nobody knows is ignored", .statement = "MQTT-4.12.0-1", .in = overlook_method},
    {.name = "a second CONNECT is overlooked", .statement = "MQTT-3.1.0-2", .in = overlook_second_connect},
    {.name = "a second CONNECT is answered", .statement = "MQTT-3.1.0-2", .in = answer_second_connect},
    {.name = "other packets than CONNECT may come first", .statement = "MQTT-3.1.0-1", .in = overlook_missing_connect},
    TOLERATES("whatever is malformed after CONNECT is overlooked", "MQTT-4.13.1-1", LATER, NULL),
    {.name = "packets above the maximum size are overlooked",
     .statement = "S3.2.2.3.6b",
     .options = small_packets,
     .in = overlook_size},
    {.name = "more in flight than the broker's Receive Maximum is overlooked",
     .statement = "S3.3.4a",
     .out = overlook_window},
    {.name = "filters with # in the middle are accepted",
     .statement = "MQTT-4.7.1-1",
     .in = accept_bad_filter,
     .refs = "#"},
    {.name = "filters with + in a level are accepted",
     .statement = "MQTT-4.7.1-2",
     .in = accept_bad_filter,
     .refs = "+"},
    {.name = "bad filters are granted", .statement = "S3.8.4b", .in = accept_bad_filter},
    {.name = "a shared filter without a share name is accepted",
     .statement = "MQTT-4.8.2-1",
     .in = accept_bad_filter,
     .refs = "$share/"},
    {.name = "a share name may be anything", .statement = "MQTT-4.8.2-2", .in = accept_bad_filter, .refs = "$share/"}, )
