/* mutants_quality.c: brokers that break the handshakes of QoS 1 and 2, on one connection and across several. */
#include "mutant.h"

#define BIT(type) (UINT32_C(1) << (type))

static bool is_publish(const struct seen *seen, uint8_t qos)
{
    return is(seen, MQ5_PUBLISH) && seen->packet.publish.qos == qos;
}

static bool is_ack(const struct seen *seen)
{
    return seen->status == MQ5_OK && seen->type >= MQ5_PUBACK && seen->type <= MQ5_PUBCOMP;
}

/* ---- acknowledgements as they should not be ----------------------------------------------------------------------------- */

static bool drops_packets(struct link *link, struct seen *seen)
{
    return !(mutant_of(link)->types >> seen->type & 1);
}

/* number: added to the packet identifier. */
static bool shifts_id(struct link *link, struct seen *seen)
{
    if (seen->status != MQ5_OK || !(mutant_of(link)->types >> seen->type & 1))
        return true;
    if (is_ack(seen))
        seen->packet.ack.packet_id = (uint16_t)(seen->packet.ack.packet_id + mutant_of(link)->number);
    else
        seen->packet.suback.packet_id = (uint16_t)(seen->packet.suback.packet_id + mutant_of(link)->number);
    return edited(link, seen);
}

/* number: the reason. */
static bool sets_reason(struct link *link, struct seen *seen)
{
    if (!is_ack(seen) || !(mutant_of(link)->types >> seen->type & 1) || link->version != MQ5_V5)
        return true;
    seen->packet.ack.reason = (uint8_t)mutant_of(link)->number;
    return edited(link, seen);
}

static bool acks_qos_2_once(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBREC))
        return true;
    seen->type = seen->packet.type = MQ5_PUBACK;
    return edited(link, seen);
}

static bool acks_qos_0(struct link *link, struct seen *seen)
{
    if (is_publish(seen, 0) && link->accepted)
        ack_to_client(link, MQ5_PUBACK, 1, 0);
    return true;
}

/* ---- PUBLISH as it should not be ------------------------------------------------------------------------------------------ */

static bool id_zero(struct link *link, struct seen *seen)
{
    uint32_t qos = mutant_of(link)->number;
    if (!is(seen, MQ5_PUBLISH) || !seen->packet.publish.qos || (qos && seen->packet.publish.qos != qos))
        return true;
    seen->packet.publish.packet_id = 0;
    return edited(link, seen);
}

/* The second in flight has the identifier of the first. */
static bool id_in_use(struct link *link, struct seen *seen)
{
    uint32_t qos = mutant_of(link)->number;
    if (!is(seen, MQ5_PUBLISH) || !seen->packet.publish.qos || (qos && seen->packet.publish.qos != qos))
        return true;
    if (link->in_flight > 1 && link->n[1]) {
        seen->packet.publish.packet_id = (uint16_t)link->n[1];
        return edited(link, seen);
    }
    link->n[1] = seen->packet.publish.packet_id;
    return true;
}

static bool always_dup(struct link *link, struct seen *seen)
{
    if (!is_publish(seen, (uint8_t)mutant_of(link)->number))
        return true;
    own_bytes(link, seen)[0] |= 0x08;
    return true;
}

static bool never_dup(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_PUBLISH))
        own_bytes(link, seen)[0] &= 0xF7;
    return true;
}

static bool qos_3(struct link *link, struct seen *seen)
{
    if (is_publish(seen, 2))
        own_bytes(link, seen)[0] |= 0x06;
    return true;
}

static bool note_dup(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_PUBLISH) && seen->packet.publish.dup)
        note_make(link->served, 'd', seen->packet.publish.topic);
    return true;
}

static bool dup_is_copied(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_PUBLISH) && seen->packet.publish.qos && note_find(link->served, 'd', seen->packet.publish.topic))
        own_bytes(link, seen)[0] |= 0x08;
    return true;
}

/* ---- as a receiver ----------------------------------------------------------------------------------------------------------- */

/* An identifier that was acknowledged is taken for a repetition when it comes with DUP. */
static bool dup_is_a_repetition(struct link *link, struct seen *seen)
{
    const struct mq5_publish *publish = &seen->packet.publish;
    if (!is_publish(seen, 1))
        return true;
    uint8_t *known = id_byte(link, publish->packet_id);
    if (*known && publish->dup) {
        ack_to_client(link, MQ5_PUBACK, publish->packet_id, MQ5_SUCCESS);
        return false;
    }
    *known = 1;
    return true;
}

static bool id_is_never_new(struct link *link, struct seen *seen)
{
    const struct mq5_publish *publish = &seen->packet.publish;
    if (is_publish(seen, 2)) {
        if (*id_byte(link, publish->packet_id) != 2)
            return true;
        ack_to_client(link, MQ5_PUBREC, publish->packet_id, MQ5_SUCCESS);
        return false;
    }
    if (is(seen, MQ5_PUBREL)) {
        uint8_t *known = id_byte(link, seen->packet.ack.packet_id);
        if (*known == 2) {
            ack_to_client(link, MQ5_PUBCOMP, seen->packet.ack.packet_id, MQ5_SUCCESS);
            return false;
        }
        *known = 2;
    }
    return true;
}

/* Repeated before PUBREL: delivered again. number 1: only over a new connection; 2: only from the third time on. */
static bool repetition_is_delivered(struct link *link, struct seen *seen)
{
    struct mq5_publish *publish = &seen->packet.publish;
    uint32_t only = mutant_of(link)->number;
    if (is(seen, MQ5_PUBREL))
        note_drop(link->served, 'q', id_key(link, seen->packet.ack.packet_id));
    if (!is_publish(seen, 2))
        return true;
    struct note *note = note_make(link->served, 'q', id_key(link, publish->packet_id));
    bool again = note->bytes.length && span_equal(note->bytes, publish->payload);
    bool elsewhere = note->value >> 8 != link->number;
    uint32_t times = again ? (uint32_t)(note->value & 0xFF) + 1 : 1;
    note->value = (int64_t)link->number << 8 | (times & 0xFF);
    note_bytes(note, publish->payload);
    if (again && (only == 0 || (only == 1 && elsewhere) || (only == 2 && times > 2)))
        route(link->served, publish);
    return true;
}

static bool note_expiring(struct link *link, struct seen *seen)
{
    const struct mq5_publish *publish = &seen->packet.publish;
    if (is_publish(seen, 2) && has(&publish->properties, MQ5_MESSAGE_EXPIRY_INTERVAL))
        note_make(link->served, 'x', id_key(link, publish->packet_id))->value =
            now_us() + publish->properties.message_expiry_s * US_PER_S;
    if (!is(seen, MQ5_PUBREL))
        return true;
    struct note *note = note_find(link->served, 'x', id_key(link, seen->packet.ack.packet_id));
    return !(note && note->value < now_us()); /* expired: no PUBCOMP any more */
}

/* ---- as a sender --------------------------------------------------------------------------------------------------------------- */

/* The core is told at once that the client has acknowledged; the client's own word is not wanted any more. */
static bool sent_is_delivered(struct link *link, struct seen *seen)
{
    if (is_publish(seen, 1) && mutant_of(link)->number == 1) {
        *id_byte(link, seen->packet.publish.packet_id) = 1;
        ack_to_core(link, MQ5_PUBACK, seen->packet.publish.packet_id, MQ5_SUCCESS);
    }
    if (is_publish(seen, 2) && mutant_of(link)->number == 2) {
        *id_byte(link, seen->packet.publish.packet_id) = 2;
        ack_to_core(link, MQ5_PUBREC, seen->packet.publish.packet_id, MQ5_UNSPECIFIED_ERROR);
    }
    return true;
}

static bool acks_are_not_needed(struct link *link, struct seen *seen)
{
    if (!is_ack(seen))
        return true;
    uint8_t *known = id_byte(link, seen->packet.ack.packet_id);
    if (seen->type == MQ5_PUBACK && *known == 1) {
        *known = 0;
        return false;
    }
    if (seen->type == MQ5_PUBREC && *known == 2) {
        ack_to_client(link, MQ5_PUBREL, seen->packet.ack.packet_id, MQ5_SUCCESS);
        return false;
    }
    if (seen->type == MQ5_PUBCOMP && *known == 2) {
        *known = 0;
        return false;
    }
    return true;
}

static bool note_pubrec(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_PUBREC))
        *id_byte(link, seen->packet.ack.packet_id) = 1;
    return true;
}

/* PUBREL that is not the answer to a PUBREC of this connection. */
static bool pubrel_is_not_resent(struct link *link, struct seen *seen)
{
    return !(is(seen, MQ5_PUBREL) && !*id_byte(link, seen->packet.ack.packet_id));
}

static bool publish_is_not_resent(struct link *link, struct seen *seen)
{
    return !(is(seen, MQ5_PUBLISH) && seen->packet.publish.dup) || swallow(link, seen);
}

static bool refused_is_released(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_PUBREC) && seen->packet.ack.reason >= 0x80)
        ack_to_client(link, MQ5_PUBREL, seen->packet.ack.packet_id, MQ5_SUCCESS);
    return true;
}

static bool publish_again_before_pubrel(struct link *link, struct seen *seen)
{
    if (is_publish(seen, 2))
        note_bytes(note_make(link->served, 'P', id_key(link, seen->packet.publish.packet_id)), seen->bytes);
    if (!is(seen, MQ5_PUBREL))
        return true;
    struct note *note = note_find(link->served, 'P', id_key(link, seen->packet.ack.packet_id));
    if (note && link->resumed && !*id_byte(link, seen->packet.ack.packet_id)) {
        struct span bytes = scratch_copy(link->served, note->bytes);
        ((uint8_t *)bytes.data)[0] |= 0x08;
        to_client_bytes(link, bytes);
    }
    return true;
}

/* What was sent once, and has expired meanwhile, is not sent again. */
static bool sent_expires(struct link *link, struct seen *seen)
{
    const struct mq5_publish *publish = &seen->packet.publish;
    if (!is(seen, MQ5_PUBLISH) || !publish->qos || !has(&publish->properties, MQ5_MESSAGE_EXPIRY_INTERVAL))
        return !(is(seen, MQ5_PUBREL) && note_find(link->served, 'G', id_key(link, seen->packet.ack.packet_id)));
    struct note *note = note_make(link->served, 'E', id_key(link, publish->packet_id));
    if (!publish->dup) {
        note->value = now_us() + publish->properties.message_expiry_s * US_PER_S;
        return true;
    }
    if (!note->value || note->value > now_us())
        return true;
    note_make(link->served, 'G', id_key(link, publish->packet_id));
    return swallow(link, seen);
}

static void send_again(struct link *link, struct span bytes)
{
    to_client_bytes(link, bytes);
}

static bool impatient(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || !seen->packet.publish.qos)
        return true;
    struct span bytes = scratch_copy(link->served, seen->bytes);
    ((uint8_t *)bytes.data)[0] |= 0x08;
    later(link, 200 * US_PER_MS, send_again, bytes);
    return true;
}

static bool other_ids_on_resend(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || !seen->packet.publish.dup)
        return true;
    seen->packet.publish.packet_id = (uint16_t)(seen->packet.publish.packet_id + 1000);
    return edited(link, seen);
}

/* A refusal is not heard: the message stays, and is sent again after a new connection. */
static bool refusal_is_not_heard(struct link *link, struct seen *seen)
{
    return !((is(seen, MQ5_PUBACK) || is(seen, MQ5_PUBREC)) && seen->packet.ack.reason >= 0x80);
}

/* Code 0x10 or 0x11 is taken for an error, and the connection ended after it. */
static bool small_codes_close(struct link *link, struct seen *seen)
{
    uint8_t reason = is(seen, MQ5_PUBACK) || is(seen, MQ5_PUBREC) ? seen->packet.ack.reason
                     : is(seen, MQ5_UNSUBACK)                     ? seen->packet.suback.reasons.data[0]
                                                                  : 0;
    if (reason != MQ5_NO_MATCHING_SUBSCRIBERS && reason != MQ5_NO_SUBSCRIPTION_EXISTED)
        return true;
    to_client_bytes(link, seen->bytes);
    return hang_up(link);
}

/* A message that nobody subscribed to is refused. */
static bool nobody_is_an_error(struct link *link, struct seen *seen)
{
    if ((!is(seen, MQ5_PUBACK) && !is(seen, MQ5_PUBREC)) || seen->packet.ack.reason != MQ5_NO_MATCHING_SUBSCRIBERS)
        return true;
    seen->packet.ack.reason = MQ5_UNSPECIFIED_ERROR;
    return edited(link, seen);
}

/* What DUP says with QoS 0 is kept for those who read it. */
static bool hide_dup_0(struct link *link, struct seen *seen)
{
    if (seen->type != MQ5_PUBLISH || (seen->bytes.data[0] & 0x0E) != 0x08)
        return true;
    own_bytes(link, seen)[0] &= 0xF7;
    note_make(link->served, 'd', span_of(seen->bytes.data + seen->bytes.length - 1, 1));
    return true;
}

static bool show_dup_0(struct link *link, struct seen *seen)
{
    const struct mq5_publish *publish = &seen->packet.publish;
    if (is_publish(seen, 0) && publish->payload.length &&
        note_find(link->served, 'd', span_of(publish->payload.data + publish->payload.length - 1, 1)))
        own_bytes(link, seen)[0] |= 0x08;
    return true;
}

#define DROPS(text, of, kind)                                                                                          \
    {                                                                                                                  \
        .name = text, .statement = of, .late = true, .out = drops_packets, .types = BIT(kind)                          \
    }
#define SHIFTS(text, of, kinds)                                                                                        \
    {                                                                                                                  \
        .name = text, .statement = of, .late = true, .out = shifts_id, .types = kinds, .number = 1                     \
    }
#define REASON(text, of, kind, value)                                                                                  \
    {                                                                                                                  \
        .name = text, .statement = of, .late = true, .out = sets_reason, .types = BIT(kind), .number = value           \
    }

MUTANT_TABLE(
    mutants_quality, DROPS("PUBACK does not come", "MQTT-4.3.2-4", MQ5_PUBACK),
    DROPS("QoS 1 is not answered", "MQTT-3.3.4-1", MQ5_PUBACK),
    DROPS("PUBREC does not come", "MQTT-4.3.3-8", MQ5_PUBREC),
    DROPS("PUBREL does not come", "MQTT-4.3.3-4", MQ5_PUBREL),
    DROPS("PUBCOMP does not come", "MQTT-4.3.3-11", MQ5_PUBCOMP),
    SHIFTS("acknowledgements have another packet identifier", "MQTT-2.2.1-5",
           BIT(MQ5_PUBACK) | BIT(MQ5_PUBREC) | BIT(MQ5_PUBCOMP)),
    SHIFTS("SUBACK and UNSUBACK have another packet identifier", "MQTT-2.2.1-6", BIT(MQ5_SUBACK) | BIT(MQ5_UNSUBACK)),
    SHIFTS("SUBACK has another packet identifier", "MQTT-3.8.4-2", BIT(MQ5_SUBACK)),
    SHIFTS("UNSUBACK has another packet identifier", "MQTT-3.10.4-5", BIT(MQ5_UNSUBACK)),
    REASON("PUBACK has a reason code of PUBREL", "MQTT-3.4.2-1", MQ5_PUBACK, MQ5_PACKET_ID_NOT_FOUND),
    REASON("PUBACK has a reason code that is none", "MQTT-3.4.2-1", MQ5_PUBACK, 0x01),
    REASON("PUBREC has a reason code of PUBREL", "MQTT-3.5.2-1", MQ5_PUBREC, MQ5_PACKET_ID_NOT_FOUND),
    REASON("PUBREL has a reason code of PUBREC", "MQTT-3.6.2-1", MQ5_PUBREL, MQ5_NO_MATCHING_SUBSCRIBERS),
    REASON("PUBCOMP has a reason code of PUBREC", "MQTT-3.7.2-1", MQ5_PUBCOMP, MQ5_NO_MATCHING_SUBSCRIBERS),
    {.name = "QoS 2 is answered with PUBACK", .statement = "MQTT-3.3.4-1", .late = true, .out = acks_qos_2_once},
    {.name = "QoS 0 is answered", .statement = "MQTT-3.3.4-1", .in = acks_qos_0},
    {.name = "messages have packet identifier 0", .statement = "MQTT-2.2.1-4", .late = true, .out = id_zero},
    {.name = "a packet identifier is used twice", .statement = "MQTT-2.2.1-4", .out = id_in_use},
    {.name = "a packet identifier of QoS 1 is used twice", .statement = "MQTT-4.3.2-1", .out = id_in_use, .number = 1},
    {.name = "a packet identifier of QoS 2 is used twice", .statement = "MQTT-4.3.3-1", .out = id_in_use, .number = 2},
    {.name = "DUP comes with QoS 0", .statement = "MQTT-3.3.1-2", .late = true, .out = always_dup},
    {.name = "QoS 0 comes with DUP", .statement = "MQTT-4.3.1-1", .late = true, .out = always_dup},
    {.name = "DUP comes with QoS 1 the first time",
     .statement = "MQTT-4.3.2-2",
     .late = true,
     .out = always_dup,
     .number = 1},
    {.name = "DUP comes with QoS 2 the first time",
     .statement = "MQTT-4.3.3-2",
     .late = true,
     .out = always_dup,
     .number = 2},
    {.name = "a message without a subscriber is refused",
     .statement = "S4.3.2a",
     .late = true,
     .out = nobody_is_an_error},
    {.name = "DUP with QoS 0 is passed on",
     .statement = "MQTT-3.3.1-2",
     .late = true,
     .in = hide_dup_0,
     .out = show_dup_0},
    {.name = "DUP is not set when a message is sent again", .statement = "MQTT-3.3.1-1", .out = never_dup},
    {.name = "DUP is forwarded", .statement = "MQTT-3.3.1-3", .in = note_dup, .out = dup_is_copied},
    {.name = "QoS 3 comes", .statement = "MQTT-3.3.1-4", .late = true, .out = qos_3},
    {.name = "QoS 1 with DUP is a repetition even after PUBACK",
     .statement = "MQTT-4.3.2-5",
     .in = dup_is_a_repetition},
    {.name = "QoS 2 with an identifier of before is a repetition", .statement = "MQTT-4.3.3-12", .in = id_is_never_new},
    {.name = "a repetition of QoS 2 is delivered", .statement = "MQTT-4.3.3-10", .in = repetition_is_delivered},
    {.name = "a repetition of QoS 2 over a new connection is delivered",
     .statement = "MQTT-4.3.3-10",
     .in = repetition_is_delivered,
     .number = 1},
    {.name = "a third repetition of QoS 2 is delivered",
     .statement = "MQTT-4.3.3-10",
     .in = repetition_is_delivered,
     .number = 2},
    {.name = "a handshake ends when its message expires", .statement = "MQTT-4.3.3-13", .in = note_expiring},
    {.name = "QoS 1 is not sent again after a lost connection",
     .statement = "MQTT-4.3.2-3",
     .in = acks_are_not_needed,
     .out = sent_is_delivered,
     .number = 1},
    {.name = "QoS 2 is not sent again after a lost connection",
     .statement = "MQTT-4.3.3-3",
     .in = acks_are_not_needed,
     .out = sent_is_delivered,
     .number = 2},
    {.name = "PUBREL is not sent again after a lost connection",
     .statement = "MQTT-4.3.3-5",
     .in = note_pubrec,
     .out = pubrel_is_not_resent},
    {.name = "nothing is sent again after a lost connection",
     .statement = "MQTT-4.4.0-1",
     .out = publish_is_not_resent},
    {.name = "a refused message of QoS 2 is released", .statement = "MQTT-4.3.3-4", .in = refused_is_released},
    {.name = "PUBLISH comes again before PUBREL",
     .statement = "MQTT-4.3.3-6",
     .in = note_pubrec,
     .out = publish_again_before_pubrel},
    {.name = "what was sent expires", .statement = "MQTT-4.3.3-7", .out = sent_expires},
    {.name = "messages are sent again over the same connection", .statement = "MQTT-4.4.0-1", .out = impatient},
    {.name = "messages are sent again with other identifiers", .statement = "MQTT-4.4.0-1", .out = other_ids_on_resend},
    {.name = "refused messages are sent again", .statement = "MQTT-4.4.0-2", .in = refusal_is_not_heard},
    {.name = "0x10 in an acknowledgement is an error",
     .statement = "S4.13.2a",
     .late = true,
     .out = small_codes_close}, )
