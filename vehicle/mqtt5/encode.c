/* encode.c: packets to bytes.
 *
 * Two passes: measure (is it encodable, how long is each part), then write without looking at bounds. Strict mode
 * then lets the decoder judge its own output, so that one set of rules holds for both directions; what a decoder
 * cannot see (values cut off by their bit field, misplaced wildcards in filters) is looked at before. Raw mode
 * skips the judgement. In 3.1.1 whatever exists in MQTT 5 only (properties, reasons of acknowledgements,
 * subscription options) is not written.
 */
#include "mqtt5/topic.h"
#include "wire.h"

struct layout {
    const struct mq5_raw *raw; /* NULL: strict */
    enum mq5_version version;
    uint64_t properties, will_properties; /* lengths without prefix */
    uint64_t body;
    int header_bytes; /* of the remaining length */
    uint32_t remaining;
    bool short_form; /* v5 acknowledgement, DISCONNECT or AUTH without property block */
    bool no_reason;  /* nor reason code */
};

static const struct mq5_properties *first_properties(const struct mq5_packet *packet)
{
    switch (packet->type) {
    case MQ5_CONNECT: return &packet->connect.properties;
    case MQ5_CONNACK: return &packet->connack.properties;
    case MQ5_PUBLISH: return &packet->publish.properties;
    case MQ5_PUBACK:
    case MQ5_PUBREC:
    case MQ5_PUBREL:
    case MQ5_PUBCOMP: return &packet->ack.properties;
    case MQ5_SUBSCRIBE:
    case MQ5_UNSUBSCRIBE: return &packet->subscribe.properties;
    case MQ5_SUBACK:
    case MQ5_UNSUBACK: return &packet->suback.properties;
    case MQ5_DISCONNECT: return &packet->disconnect.properties;
    case MQ5_AUTH: return &packet->auth.properties;
    default: return NULL;
    }
}

static bool raw_block(const struct layout *layout)
{
    return layout->raw && (layout->raw->set_properties || layout->raw->set_property_length);
}

/* Length of the first block with its prefix, as it will stand on the wire. */
static uint64_t block_length(const struct layout *layout)
{
    if (layout->raw && layout->raw->set_properties)
        return layout->raw->properties.length;
    if (layout->version < MQ5_V5)
        return 0;
    uint32_t prefix =
        layout->raw && layout->raw->set_property_length ? layout->raw->property_length : (uint32_t)layout->properties;
    return (uint64_t)mq5_vbi_length(prefix) + layout->properties;
}

static uint8_t *write_block(uint8_t *at, const struct layout *layout, const struct mq5_properties *properties)
{
    if (layout->raw && layout->raw->set_properties)
        return mq5_write_bytes(at, layout->raw->properties);
    if (layout->version < MQ5_V5)
        return at;
    uint32_t prefix =
        layout->raw && layout->raw->set_property_length ? layout->raw->property_length : (uint32_t)layout->properties;
    return mq5_properties_write(mq5_write_vbi(at, prefix, mq5_vbi_length(prefix)), properties);
}

/* --- measure --- */

static bool measure_connect(struct layout *layout, const struct mq5_connect *connect)
{
    layout->body = 10 + block_length(layout) + 2 + (uint64_t)connect->client_id.length;
    if (connect->has_will) {
        if (layout->version >= MQ5_V5) {
            if (!mq5_properties_measure(&connect->will_properties, &layout->will_properties) ||
                layout->will_properties > MQ5_MAX_REMAINING_LENGTH)
                return false;
            layout->body += (uint64_t)mq5_vbi_length((uint32_t)layout->will_properties) + layout->will_properties;
        }
        layout->body += UINT64_C(4) + connect->will_topic.length + connect->will_payload.length;
        if (connect->will_topic.length > MQ5_MAX_STRING || connect->will_payload.length > MQ5_MAX_STRING)
            return false;
    }
    if (connect->has_user_name)
        layout->body += UINT64_C(2) + connect->user_name.length;
    if (connect->has_password)
        layout->body += UINT64_C(2) + connect->password.length;
    return connect->client_id.length <= MQ5_MAX_STRING &&
           (!connect->has_user_name || connect->user_name.length <= MQ5_MAX_STRING) &&
           (!connect->has_password || connect->password.length <= MQ5_MAX_STRING);
}

static bool measure_publish(struct layout *layout, const struct mq5_publish *publish)
{
    layout->body =
        UINT64_C(2) + publish->topic.length + (publish->qos ? 2 : 0) + block_length(layout) + publish->payload.length;
    return publish->topic.length <= MQ5_MAX_STRING;
}

static bool measure_subscribe(struct layout *layout, const struct mq5_subscribe *subscribe, bool options)
{
    layout->body = 2 + block_length(layout);
    if (!subscribe->list) {
        layout->body += subscribe->encoded.length;
        return true;
    }
    for (uint32_t i = 0; i < subscribe->count; i++) {
        if (subscribe->list[i].filter.length > MQ5_MAX_STRING)
            return false;
        layout->body += UINT64_C(2) + subscribe->list[i].filter.length + options;
    }
    return true;
}

/* PUBACK and its like, DISCONNECT, AUTH: trailing parts that say nothing are left out (3.4.2.1, 3.14.2.1,
 * 3.15.2.1). */
static void measure_optional(struct layout *layout, uint8_t reason, uint64_t before, bool reason_alone)
{
    bool plain = layout->properties == 0 && !raw_block(layout);
    layout->no_reason = layout->version < MQ5_V5 ? !raw_block(layout) : plain && reason == MQ5_SUCCESS;
    layout->short_form = layout->no_reason || (plain && reason_alone);
    layout->body = before + (layout->no_reason ? 0 : 1) + (layout->short_form ? 0 : block_length(layout));
}

static bool measure_body(struct layout *layout, const struct mq5_packet *packet)
{
    switch (packet->type) {
    case MQ5_CONNECT: return measure_connect(layout, &packet->connect);
    case MQ5_CONNACK: layout->body = 2 + block_length(layout); return true;
    case MQ5_PUBLISH: return measure_publish(layout, &packet->publish);
    case MQ5_PUBACK:
    case MQ5_PUBREC:
    case MQ5_PUBREL:
    case MQ5_PUBCOMP: measure_optional(layout, packet->ack.reason, 2, true); return true;
    case MQ5_SUBSCRIBE: return measure_subscribe(layout, &packet->subscribe, true);
    case MQ5_UNSUBSCRIBE: return measure_subscribe(layout, &packet->subscribe, false);
    case MQ5_SUBACK: layout->body = 2 + block_length(layout) + packet->suback.reasons.length; return true;
    case MQ5_UNSUBACK:
        layout->body = 2 + block_length(layout) + (layout->version < MQ5_V5 ? 0 : packet->suback.reasons.length);
        return true;
    case MQ5_DISCONNECT: measure_optional(layout, packet->disconnect.reason, 0, true); return true;
    case MQ5_AUTH: measure_optional(layout, packet->auth.reason, 0, false); return true;
    default: layout->body = 0; return true;
    }
}

static bool measure_header(struct layout *layout)
{
    const struct mq5_raw *raw = layout->raw;
    if (raw)
        layout->body += raw->trailing.length;
    if (layout->body > MQ5_MAX_REMAINING_LENGTH)
        return false;
    layout->remaining = raw && raw->set_remaining_length ? raw->remaining_length : (uint32_t)layout->body;
    layout->header_bytes = mq5_vbi_length(layout->remaining);
    if (raw && raw->remaining_length_bytes > layout->header_bytes)
        layout->header_bytes = raw->remaining_length_bytes;
    return layout->remaining <= MQ5_MAX_REMAINING_LENGTH && layout->header_bytes <= 5;
}

/* Total length, 0 if it cannot be encoded. */
static size_t measure(enum mq5_version version, const struct mq5_packet *packet, const struct mq5_raw *raw,
                      struct layout *layout)
{
    const struct mq5_properties *properties = first_properties(packet);
    *layout = (struct layout){.raw = raw, .version = version};
    if (packet->type == MQ5_CONNECT && packet->connect.version)
        layout->version = packet->connect.version;
    if (properties && layout->version >= MQ5_V5 && !(raw && raw->set_properties) &&
        (!mq5_properties_measure(properties, &layout->properties) || layout->properties > MQ5_MAX_REMAINING_LENGTH))
        return 0;
    if (raw && raw->set_property_length && raw->property_length > MQ5_MAX_REMAINING_LENGTH)
        return 0;
    if (!raw && (packet->type == 0 || packet->type > MQ5_AUTH))
        return 0;
    if (!measure_body(layout, packet) || !measure_header(layout))
        return 0;
    return 1 + (size_t)layout->header_bytes + (size_t)layout->body;
}

/* --- write --- */

static uint8_t *write_connect(uint8_t *at, const struct layout *layout, const struct mq5_connect *connect)
{
    uint8_t flags = (uint8_t)(connect->clean_start << 1 | connect->has_password << 6 | connect->has_user_name << 7);
    if (connect->has_will)
        flags |= (uint8_t)(4 | (connect->will_qos & 3) << 3 | connect->will_retain << 5);
    at = mq5_write_binary(at, SPAN_LITERAL("MQTT"));
    at = mq5_write_u8(at, (uint8_t)layout->version);
    at = mq5_write_u16(mq5_write_u8(at, flags), connect->keep_alive_s);
    at = write_block(at, layout, &connect->properties);
    at = mq5_write_binary(at, connect->client_id);
    if (connect->has_will) {
        if (layout->version >= MQ5_V5) {
            uint32_t length = (uint32_t)layout->will_properties;
            at = mq5_properties_write(mq5_write_vbi(at, length, mq5_vbi_length(length)), &connect->will_properties);
        }
        at = mq5_write_binary(mq5_write_binary(at, connect->will_topic), connect->will_payload);
    }
    if (connect->has_user_name)
        at = mq5_write_binary(at, connect->user_name);
    if (connect->has_password)
        at = mq5_write_binary(at, connect->password);
    return at;
}

static uint8_t *write_publish(uint8_t *at, const struct layout *layout, const struct mq5_publish *publish)
{
    at = mq5_write_binary(at, publish->topic);
    if (publish->qos)
        at = mq5_write_u16(at, publish->packet_id);
    return mq5_write_bytes(write_block(at, layout, &publish->properties), publish->payload);
}

static uint8_t options_byte(const struct mq5_subscription *subscription, enum mq5_version version)
{
    uint8_t options = subscription->qos & 3;
    if (version >= MQ5_V5)
        options |= (uint8_t)(subscription->no_local << 2 | subscription->retain_as_published << 3 |
                             (subscription->retain_handling & 3) << 4);
    return options;
}

static uint8_t *write_subscribe(uint8_t *at, const struct layout *layout, const struct mq5_subscribe *subscribe,
                                bool options)
{
    at = write_block(mq5_write_u16(at, subscribe->packet_id), layout, &subscribe->properties);
    if (!subscribe->list)
        return mq5_write_bytes(at, subscribe->encoded);
    for (uint32_t i = 0; i < subscribe->count; i++) {
        at = mq5_write_binary(at, subscribe->list[i].filter);
        if (options)
            at = mq5_write_u8(at, options_byte(&subscribe->list[i], layout->version));
    }
    return at;
}

static uint8_t *write_suback(uint8_t *at, const struct layout *layout, const struct mq5_suback *suback, bool reasons)
{
    at = write_block(mq5_write_u16(at, suback->packet_id), layout, &suback->properties);
    return reasons ? mq5_write_bytes(at, suback->reasons) : at;
}

static uint8_t *write_optional(uint8_t *at, const struct layout *layout, uint8_t reason,
                               const struct mq5_properties *properties)
{
    if (!layout->no_reason)
        at = mq5_write_u8(at, reason);
    return layout->short_form ? at : write_block(at, layout, properties);
}

static uint8_t *write_body(uint8_t *at, const struct layout *layout, const struct mq5_packet *packet)
{
    switch (packet->type) {
    case MQ5_CONNECT: return write_connect(at, layout, &packet->connect);
    case MQ5_CONNACK:
        at = mq5_write_u8(mq5_write_u8(at, packet->connack.session_present), packet->connack.reason);
        return write_block(at, layout, &packet->connack.properties);
    case MQ5_PUBLISH: return write_publish(at, layout, &packet->publish);
    case MQ5_PUBACK:
    case MQ5_PUBREC:
    case MQ5_PUBREL:
    case MQ5_PUBCOMP:
        at = mq5_write_u16(at, packet->ack.packet_id);
        return write_optional(at, layout, packet->ack.reason, &packet->ack.properties);
    case MQ5_SUBSCRIBE: return write_subscribe(at, layout, &packet->subscribe, true);
    case MQ5_UNSUBSCRIBE: return write_subscribe(at, layout, &packet->subscribe, false);
    case MQ5_SUBACK: return write_suback(at, layout, &packet->suback, true);
    case MQ5_UNSUBACK: return write_suback(at, layout, &packet->suback, layout->version >= MQ5_V5);
    case MQ5_DISCONNECT: return write_optional(at, layout, packet->disconnect.reason, &packet->disconnect.properties);
    case MQ5_AUTH: return write_optional(at, layout, packet->auth.reason, &packet->auth.properties);
    default: return at;
    }
}

static uint8_t first_byte(const struct layout *layout, const struct mq5_packet *packet)
{
    uint8_t type = packet->type, flags = 0;
    if (type == MQ5_PUBLISH)
        flags = (uint8_t)(packet->publish.dup << 3 | (packet->publish.qos & 3) << 1 | packet->publish.retain);
    else if (type == MQ5_PUBREL || type == MQ5_SUBSCRIBE || type == MQ5_UNSUBSCRIBE)
        flags = 2;
    if (layout->raw && layout->raw->set_flags)
        flags = packet->flags & 0x0F;
    if (layout->raw && layout->raw->set_type)
        type = layout->raw->type;
    return (uint8_t)(type << 4 | flags);
}

static void write_packet(uint8_t *at, const struct layout *layout, const struct mq5_packet *packet)
{
    at = mq5_write_u8(at, first_byte(layout, packet));
    at = mq5_write_vbi(at, layout->remaining, layout->header_bytes);
    at = write_body(at, layout, packet);
    if (layout->raw)
        mq5_write_bytes(at, layout->raw->trailing);
}

/* --- strict --- */

static bool filters_in_order(const struct mq5_packet *packet, enum mq5_version version)
{
    struct mq5_subscription subscription;
    for (uint32_t offset = 0; mq5_subscription_next(&packet->subscribe, packet->type, version, &offset, &subscription);)
        if (subscription.qos > 2 || subscription.retain_handling > 2 || !mq5_topic_filter_valid(subscription.filter))
            return false;
    return true;
}

/* What the bytes would no longer show. */
static bool fields_in_order(const struct mq5_packet *packet, enum mq5_version version)
{
    switch (packet->type) {
    case MQ5_CONNECT: return !packet->connect.has_will || packet->connect.will_qos <= 2;
    case MQ5_PUBLISH: return packet->publish.qos <= 2;
    case MQ5_SUBSCRIBE:
    case MQ5_UNSUBSCRIBE: return filters_in_order(packet, version);
    default: return true;
    }
}

/* The decoder judges what was written. */
static inline enum mq5_status judge(enum mq5_version version, const uint8_t *out, size_t *written)
{
    struct mq5_packet judged;
    if (mq5_decode(version, MQ5_EITHER, out, *written, &judged, NULL) == MQ5_OK)
        return MQ5_OK;
    *written = 0;
    return MQ5_ILLEGAL;
}

static __attribute__((noinline)) enum mq5_status encode_carefully(enum mq5_version version,
                                                                  const struct mq5_packet *packet, uint8_t *out,
                                                                  size_t capacity, size_t *written)
{
    struct layout layout;
    size_t length = measure(version, packet, NULL, &layout);
    *written = length;
    if (length == 0 || !fields_in_order(packet, version)) {
        *written = 0;
        return MQ5_ILLEGAL;
    }
    if (length > capacity)
        return MQ5_NO_SPACE;
    write_packet(out, &layout, packet);
    return judge(version, out, written);
}

enum mq5_status mq5_encode(enum mq5_version version, const struct mq5_packet *packet, uint8_t *out, size_t capacity,
                           size_t *written)
{
    bool judged;
    *written = mq5_write_plain(version, packet, out, capacity, &judged);
    if (*written == 0)
        return encode_carefully(version, packet, out, capacity, written);
    return judged ? MQ5_OK : judge(version, out, written);
}

size_t mq5_encoded_length(enum mq5_version version, const struct mq5_packet *packet)
{
    struct layout layout;
    return measure(version, packet, NULL, &layout);
}

enum mq5_status mq5_encode_raw(enum mq5_version version, const struct mq5_packet *packet, const struct mq5_raw *raw,
                               uint8_t *out, size_t capacity, size_t *written)
{
    static const struct mq5_raw nothing;
    struct layout layout;
    *written = measure(version, packet, raw ? raw : &nothing, &layout);
    if (*written == 0)
        return MQ5_ILLEGAL;
    if (*written > capacity)
        return MQ5_NO_SPACE;
    write_packet(out, &layout, packet);
    return MQ5_OK;
}
