/* random_packet.h: legal packets drawn from a seed, with everything the standard lets them have. For test programs
 * only. */
#ifndef TESTS_RANDOM_PACKET_H
#define TESTS_RANDOM_PACKET_H

#include "mqtt5/packet.h"

#define RANDOM_LIST 6

struct random_packet {
    uint64_t state;
    enum mq5_version version;
    enum mq5_sender sender;
    struct mq5_packet packet;
    struct mq5_user_property user[2][RANDOM_LIST];
    uint32_t ids[RANDOM_LIST];
    struct mq5_subscription filters[RANDOM_LIST];
    uint8_t reasons[RANDOM_LIST];
    uint8_t bytes[65536 * 2]; /* where texts lie */
    uint32_t used;
};

static inline uint32_t random_next(struct random_packet *r, uint32_t below)
{
    uint64_t z = r->state += UINT64_C(0x9E3779B97F4A7C15); /* splitmix64 */
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)((z ^ z >> 31) >> 32) % below;
}

static inline bool random_bool(struct random_packet *r)
{
    return random_next(r, 2);
}

/* Mostly short, sometimes at the borders of the length fields. */
static inline uint32_t random_length(struct random_packet *r)
{
    uint32_t kind = random_next(r, 40);
    return kind == 0 ? random_next(r, 400) : kind < 4 ? 120 + random_next(r, 16) : random_next(r, 14);
}

static inline uint32_t random_u32(struct random_packet *r)
{
    static const uint32_t borders[] = {0, 1, 127, 128, 255, 256, 65535, 65536, 0x7FFFFFFF, 0xFFFFFFFF};
    return random_bool(r) ? borders[random_next(r, 10)] : random_next(r, UINT32_MAX);
}

static inline struct span random_binary(struct random_packet *r)
{
    struct span out = {r->bytes + r->used, random_length(r)};
    for (uint32_t i = 0; i < out.length; i++)
        r->bytes[r->used++] = (uint8_t)random_next(r, 256);
    return out;
}

static inline void random_character(struct random_packet *r, bool topic)
{
    static const char *const wide[] = {"\xC2\x80",         "\xDF\xBF",     "\xE0\xA0\x80", "\xED\x9F\xBF",
                                       "\xEE\x80\x80",     "\xEF\xBB\xBF", "\xEF\xBF\xBD", "\xF0\x90\x80\x80",
                                       "\xF4\x8F\xBF\xBF", "\x01"};
    if (random_next(r, 12) == 0) {
        const char *text = wide[random_next(r, 10)];
        memcpy(r->bytes + r->used, text, strlen(text));
        r->used += (uint32_t)strlen(text);
        return;
    }
    uint8_t c = (uint8_t)(0x20 + random_next(r, 0x5F));
    r->bytes[r->used++] = topic && (c == '+' || c == '#') ? '/' : c;
}

static inline struct span random_text(struct random_packet *r, bool topic)
{
    uint32_t start = r->used, length = random_length(r);
    for (uint32_t i = 0; i < length || (topic && i == 0); i++)
        random_character(r, topic);
    return (struct span){r->bytes + start, r->used - start};
}

static inline void random_property(struct random_packet *r, struct mq5_properties *p, uint8_t id, int list)
{
    switch (id) {
    case MQ5_PAYLOAD_FORMAT_INDICATOR: p->payload_format = random_bool(r); break;
    case MQ5_MESSAGE_EXPIRY_INTERVAL: p->message_expiry_s = random_u32(r); break;
    case MQ5_CONTENT_TYPE: p->content_type = random_text(r, false); break;
    case MQ5_RESPONSE_TOPIC: p->response_topic = random_text(r, true); break;
    case MQ5_CORRELATION_DATA: p->correlation_data = random_binary(r); break;
    case MQ5_SESSION_EXPIRY_INTERVAL: p->session_expiry_s = random_u32(r); break;
    case MQ5_ASSIGNED_CLIENT_IDENTIFIER: p->assigned_client_id = random_text(r, false); break;
    case MQ5_SERVER_KEEP_ALIVE: p->server_keep_alive_s = (uint16_t)random_u32(r); break;
    case MQ5_AUTHENTICATION_METHOD: p->authentication_method = random_text(r, false); break;
    case MQ5_AUTHENTICATION_DATA: p->authentication_data = random_binary(r); break;
    case MQ5_REQUEST_PROBLEM_INFORMATION: p->request_problem_information = random_bool(r); break;
    case MQ5_WILL_DELAY_INTERVAL: p->will_delay_s = random_u32(r); break;
    case MQ5_REQUEST_RESPONSE_INFORMATION: p->request_response_information = random_bool(r); break;
    case MQ5_RESPONSE_INFORMATION: p->response_information = random_text(r, false); break;
    case MQ5_SERVER_REFERENCE: p->server_reference = random_text(r, false); break;
    case MQ5_REASON_STRING: p->reason_string = random_text(r, false); break;
    case MQ5_RECEIVE_MAXIMUM: p->receive_maximum = (uint16_t)(1 + random_next(r, 65535)); break;
    case MQ5_TOPIC_ALIAS_MAXIMUM: p->topic_alias_maximum = (uint16_t)random_u32(r); break;
    case MQ5_TOPIC_ALIAS: p->topic_alias = (uint16_t)(1 + random_next(r, 65535)); break;
    case MQ5_MAXIMUM_QOS: p->maximum_qos = random_bool(r); break;
    case MQ5_RETAIN_AVAILABLE: p->retain_available = random_bool(r); break;
    case MQ5_MAXIMUM_PACKET_SIZE: p->maximum_packet_size = 1 + random_next(r, UINT32_MAX); break;
    case MQ5_WILDCARD_SUBSCRIPTION_AVAILABLE: p->wildcard_available = random_bool(r); break;
    case MQ5_SUBSCRIPTION_IDENTIFIER_AVAILABLE: p->subscription_id_available = random_bool(r); break;
    case MQ5_SHARED_SUBSCRIPTION_AVAILABLE: p->shared_available = random_bool(r); break;
    case MQ5_USER_PROPERTY:
        p->user = r->user[list];
        p->user_count = (uint16_t)(1 + random_next(r, RANDOM_LIST));
        for (int i = 0; i < p->user_count; i++)
            r->user[list][i] = (struct mq5_user_property){random_text(r, false), random_text(r, false)};
        return;
    case MQ5_SUBSCRIPTION_IDENTIFIER:
        p->subscription_ids = r->ids;
        p->subscription_id_count = (uint16_t)(r->packet.type == MQ5_PUBLISH ? 1 + random_next(r, RANDOM_LIST) : 1);
        for (int i = 0; i < p->subscription_id_count; i++)
            r->ids[i] = 1 + random_u32(r) % MQ5_MAX_REMAINING_LENGTH;
        return;
    default: return;
    }
    p->present |= MQ5_BIT(id);
}

static inline void random_properties(struct random_packet *r, struct mq5_properties *p, int list,
                                     const uint8_t *allowed)
{
    uint32_t density = random_next(r, 4);
    *p = (struct mq5_properties){0};
    for (; r->version == MQ5_V5 && *allowed; allowed++)
        if (density && random_next(r, 4) < density)
            random_property(r, p, *allowed, list);
}

#define ALLOWED(...) ((const uint8_t[]){__VA_ARGS__, 0})
#define MESSAGE_PROPERTIES                                                                                             \
    MQ5_PAYLOAD_FORMAT_INDICATOR, MQ5_MESSAGE_EXPIRY_INTERVAL, MQ5_CONTENT_TYPE, MQ5_RESPONSE_TOPIC,                   \
        MQ5_CORRELATION_DATA, MQ5_USER_PROPERTY
#define LIMIT_PROPERTIES                                                                                               \
    MQ5_SESSION_EXPIRY_INTERVAL, MQ5_RECEIVE_MAXIMUM, MQ5_MAXIMUM_PACKET_SIZE, MQ5_TOPIC_ALIAS_MAXIMUM,                \
        MQ5_USER_PROPERTY, MQ5_AUTHENTICATION_METHOD

static inline void random_connect(struct random_packet *r, struct mq5_connect *c)
{
    *c = (struct mq5_connect){.version = (uint8_t)r->version,
                              .clean_start = random_bool(r),
                              .keep_alive_s = (uint16_t)random_u32(r),
                              .has_will = random_bool(r),
                              .has_user_name = random_bool(r),
                              .has_password = random_bool(r)};
    c->client_id = random_text(r, false);
    if (r->version == MQ5_V311) {
        c->has_password = c->has_password && c->has_user_name;
        c->clean_start = c->clean_start || c->client_id.length == 0;
    }
    random_properties(r, &c->properties, 0,
                      ALLOWED(LIMIT_PROPERTIES, MQ5_REQUEST_PROBLEM_INFORMATION, MQ5_REQUEST_RESPONSE_INFORMATION));
    if ((c->properties.present & MQ5_BIT(MQ5_AUTHENTICATION_METHOD)) && random_bool(r))
        random_property(r, &c->properties, MQ5_AUTHENTICATION_DATA, 0);
    if (c->has_will) {
        c->will_retain = random_bool(r);
        c->will_qos = (uint8_t)random_next(r, 3);
        c->will_topic = random_text(r, true);
        c->will_payload = random_binary(r);
        random_properties(r, &c->will_properties, 1, ALLOWED(MESSAGE_PROPERTIES, MQ5_WILL_DELAY_INTERVAL));
    }
    if (c->has_user_name)
        c->user_name = random_text(r, false);
    if (c->has_password)
        c->password = random_binary(r);
}

static inline uint8_t random_reason(struct random_packet *r, uint8_t type)
{
    if (random_next(r, 3) == 0 && type != MQ5_AUTH)
        return 0;
    for (;;) {
        uint8_t reason = (uint8_t)random_next(r, 0xA3);
        if (mq5_reason_allowed(type, reason, r->sender))
            return reason;
    }
}

static inline void random_connack(struct random_packet *r, struct mq5_connack *c)
{
    *c = (struct mq5_connack){0};
    c->reason = r->version == MQ5_V5 ? random_reason(r, MQ5_CONNACK) : (uint8_t)random_next(r, 6);
    c->session_present = c->reason == 0 && random_bool(r);
    random_properties(r, &c->properties, 0,
                      ALLOWED(LIMIT_PROPERTIES, MQ5_AUTHENTICATION_DATA, MQ5_REASON_STRING, MQ5_MAXIMUM_QOS,
                              MQ5_RETAIN_AVAILABLE, MQ5_ASSIGNED_CLIENT_IDENTIFIER, MQ5_WILDCARD_SUBSCRIPTION_AVAILABLE,
                              MQ5_SUBSCRIPTION_IDENTIFIER_AVAILABLE, MQ5_SHARED_SUBSCRIPTION_AVAILABLE,
                              MQ5_SERVER_KEEP_ALIVE, MQ5_RESPONSE_INFORMATION, MQ5_SERVER_REFERENCE));
}

static inline void random_publish(struct random_packet *r, struct mq5_publish *p)
{
    *p = (struct mq5_publish){.qos = (uint8_t)random_next(r, 3), .retain = random_bool(r)};
    if (p->qos) {
        p->dup = random_bool(r);
        p->packet_id = (uint16_t)(1 + random_next(r, 65535));
    }
    if (r->sender == MQ5_FROM_SERVER)
        random_properties(r, &p->properties, 0,
                          ALLOWED(MESSAGE_PROPERTIES, MQ5_TOPIC_ALIAS, MQ5_SUBSCRIPTION_IDENTIFIER));
    else
        random_properties(r, &p->properties, 0, ALLOWED(MESSAGE_PROPERTIES, MQ5_TOPIC_ALIAS));
    if (!(p->properties.present & MQ5_BIT(MQ5_TOPIC_ALIAS)) || random_bool(r))
        p->topic = random_text(r, true);
    p->payload = random_binary(r);
}

static inline void random_filter(struct random_packet *r, struct mq5_subscription *s)
{
    static const char *const filters[] = {"#", "+", "a/+/b", "a/#", "$share/g/a/#", "/", "$SYS/#", "a//b"};
    *s = (struct mq5_subscription){.filter = span_text(filters[random_next(r, 8)])};
    if (random_bool(r))
        s->filter = random_text(r, true);
    if (r->packet.type == MQ5_UNSUBSCRIBE)
        return;
    s->qos = (uint8_t)random_next(r, 3);
    if (r->version == MQ5_V5) {
        s->no_local = random_bool(r) && (s->filter.length < 7 || memcmp(s->filter.data, "$share/", 7) != 0);
        s->retain_as_published = random_bool(r);
        s->retain_handling = (uint8_t)random_next(r, 3);
    }
}

static inline void random_subscribe(struct random_packet *r, struct mq5_subscribe *s)
{
    *s = (struct mq5_subscribe){.packet_id = (uint16_t)(1 + random_next(r, 65535)),
                                .list = r->filters,
                                .count = 1 + random_next(r, RANDOM_LIST)};
    if (r->packet.type == MQ5_SUBSCRIBE)
        random_properties(r, &s->properties, 0, ALLOWED(MQ5_SUBSCRIPTION_IDENTIFIER, MQ5_USER_PROPERTY));
    else
        random_properties(r, &s->properties, 0, ALLOWED(MQ5_USER_PROPERTY));
    for (uint32_t i = 0; i < s->count; i++)
        random_filter(r, &r->filters[i]);
}

static inline void random_suback(struct random_packet *r, struct mq5_suback *s)
{
    *s = (struct mq5_suback){.packet_id = (uint16_t)(1 + random_next(r, 65535))};
    random_properties(r, &s->properties, 0, ALLOWED(MQ5_REASON_STRING, MQ5_USER_PROPERTY));
    if (r->version == MQ5_V311 && r->packet.type == MQ5_UNSUBACK)
        return;
    s->reasons = (struct span){r->reasons, 1 + random_next(r, RANDOM_LIST)};
    for (uint32_t i = 0; i < s->reasons.length; i++)
        r->reasons[i] = r->version == MQ5_V5    ? random_reason(r, r->packet.type)
                        : random_next(r, 4) < 3 ? (uint8_t)random_next(r, 3)
                                                : 0x80;
}

static inline void random_goodbye(struct random_packet *r, struct mq5_disconnect *d)
{
    *d = (struct mq5_disconnect){0};
    if (r->version == MQ5_V311)
        return;
    d->reason = random_reason(r, r->packet.type);
    if (r->packet.type == MQ5_AUTH) {
        random_properties(r, &d->properties, 0, ALLOWED(MQ5_AUTHENTICATION_DATA, MQ5_REASON_STRING, MQ5_USER_PROPERTY));
        random_property(r, &d->properties, MQ5_AUTHENTICATION_METHOD, 0);
    } else {
        random_properties(r, &d->properties, 0,
                          ALLOWED(MQ5_REASON_STRING, MQ5_USER_PROPERTY,
                                  r->sender == MQ5_FROM_CLIENT ? MQ5_SESSION_EXPIRY_INTERVAL : MQ5_SERVER_REFERENCE));
    }
}

static inline void random_ack(struct random_packet *r, struct mq5_ack *ack)
{
    *ack = (struct mq5_ack){.packet_id = (uint16_t)(1 + random_next(r, 65535))};
    if (r->version == MQ5_V5)
        ack->reason = random_reason(r, r->packet.type);
    random_properties(r, &ack->properties, 0, ALLOWED(MQ5_REASON_STRING, MQ5_USER_PROPERTY));
}

static inline enum mq5_sender random_sender(struct random_packet *r, uint8_t type)
{
    switch (type) {
    case MQ5_CONNECT:
    case MQ5_SUBSCRIBE:
    case MQ5_UNSUBSCRIBE:
    case MQ5_PINGREQ: return MQ5_FROM_CLIENT;
    case MQ5_CONNACK:
    case MQ5_SUBACK:
    case MQ5_UNSUBACK:
    case MQ5_PINGRESP: return MQ5_FROM_SERVER;
    case MQ5_DISCONNECT:
        if (r->version == MQ5_V311)
            return MQ5_FROM_CLIENT; /* fall through */
    default: return random_bool(r) ? MQ5_FROM_CLIENT : MQ5_FROM_SERVER;
    }
}

/* Everything in *r follows from the seed; its packet borrows from *r. */
static inline void random_packet(struct random_packet *r, uint64_t seed)
{
    r->state = seed * UINT64_C(0xD1342543DE82EF95);
    r->used = 0;
    r->version = random_next(r, 4) ? MQ5_V5 : MQ5_V311;
    uint8_t type = random_next(r, 3) ? (uint8_t)(1 + random_next(r, r->version == MQ5_V5 ? 15 : 14)) : MQ5_PUBLISH;
    r->packet.type = type;
    r->packet.flags = 0;
    r->sender = random_sender(r, type);
    switch (type) {
    case MQ5_CONNECT: random_connect(r, &r->packet.connect); break;
    case MQ5_CONNACK: random_connack(r, &r->packet.connack); break;
    case MQ5_PUBLISH: random_publish(r, &r->packet.publish); break;
    case MQ5_SUBSCRIBE:
    case MQ5_UNSUBSCRIBE: random_subscribe(r, &r->packet.subscribe); break;
    case MQ5_SUBACK:
    case MQ5_UNSUBACK: random_suback(r, &r->packet.suback); break;
    case MQ5_DISCONNECT:
    case MQ5_AUTH: random_goodbye(r, &r->packet.disconnect); break;
    case MQ5_PINGREQ:
    case MQ5_PINGRESP: break;
    default: random_ack(r, &r->packet.ack);
    }
}

#endif
