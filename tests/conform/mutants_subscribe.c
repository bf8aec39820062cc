/* mutants_subscribe.c: brokers that subscribe to something else, answer wrongly, or do not let go. */
#include "mutant.h"

#define BIT(type) (UINT32_C(1) << (type))

static bool drops_packets(struct link *link, struct seen *seen)
{
    return !(mutant_of(link)->types >> seen->type & 1);
}

static struct mq5_subscription *filters(struct link *link, struct seen *seen, enum mq5_type type)
{
    return is(seen, type) ? filters_of(link, seen) : NULL;
}

/* ---- options ------------------------------------------------------------------------------------------------------------- */

static bool no_local_ignored(struct link *link, struct seen *seen)
{
    struct mq5_subscription *list = filters(link, seen, MQ5_SUBSCRIBE);
    for (uint32_t i = 0; list && i < seen->packet.subscribe.count; i++)
        list[i].no_local = false;
    return list ? edited(link, seen) : true;
}

/* What was asked for, by packet identifier, until the SUBACK comes. */
static bool always_qos_2(struct link *link, struct seen *seen)
{
    struct mq5_subscription *list = filters(link, seen, MQ5_SUBSCRIBE);
    if (!list)
        return true;
    uint8_t *asked = scratch(link->served, seen->packet.subscribe.count);
    for (uint32_t i = 0; i < seen->packet.subscribe.count; i++) {
        asked[i] = list[i].qos;
        if (mutant_of(link)->number == 0 || starts_with(list[i].filter, "$share/"))
            list[i].qos = 2;
    }
    note_bytes(note_make(link->served, 'g', id_key(link, seen->packet.subscribe.packet_id)),
               span_of(asked, seen->packet.subscribe.count));
    return edited(link, seen);
}

static bool as_asked(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_SUBACK))
        return true;
    struct note *note = note_find(link->served, 'g', id_key(link, seen->packet.suback.packet_id));
    struct span reasons = seen->packet.suback.reasons;
    if (!note || note->bytes.length != reasons.length)
        return true;
    uint8_t *changed = (uint8_t *)scratch_copy(link->served, reasons).data;
    for (uint32_t i = 0; i < reasons.length; i++)
        if (changed[i] < 3)
            changed[i] = note->bytes.data[i];
    seen->packet.suback.reasons.data = changed;
    return edited(link, seen);
}

static bool qos_of_publisher(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || seen->packet.publish.qos == 0)
        return true;
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = seen->packet.publish};
    packet.publish.qos = 0;
    packet.publish.packet_id = 0;
    packet.publish.dup = false;
    to_client(link, &packet);
    return swallow(link, seen);
}

/* ---- overlapping subscriptions ---------------------------------------------------------------------------------------------- */

static bool overlap_with_least_qos(struct link *link, struct seen *seen)
{
    return is(seen, MQ5_PUBLISH) && subscribed_matches(link, seen->packet.publish.topic) > 1
               ? qos_of_publisher(link, seen)
               : true;
}

static bool identifiers_left_out(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || !has(&seen->packet.publish.properties, MQ5_SUBSCRIPTION_IDENTIFIER) ||
        (mutant_of(link)->number && !seen->packet.publish.retain))
        return true;
    without(&seen->packet.publish.properties, MQ5_SUBSCRIPTION_IDENTIFIER);
    return edited(link, seen);
}

static uint32_t *identifiers_of(struct link *link, struct mq5_properties *properties, uint16_t *count)
{
    uint32_t *list = scratch(link->served, 64 * sizeof(*list)), offset = 0;
    *count = 0;
    while (*count < 64 && has(properties, MQ5_SUBSCRIPTION_IDENTIFIER) &&
           mq5_subscription_id_next(properties->encoded, &offset, &list[*count]))
        (*count)++;
    return list;
}

static bool one_identifier_of_several(struct link *link, struct seen *seen)
{
    uint16_t count;
    if (!is(seen, MQ5_PUBLISH))
        return true;
    struct mq5_properties *properties = &seen->packet.publish.properties;
    properties->subscription_ids = identifiers_of(link, properties, &count);
    if (count < 2)
        return true;
    properties->subscription_id_count = 1;
    return edited(link, seen);
}

/* As many copies as subscriptions, each with the identifier of the first. */
static bool copies_with_one_identifier(struct link *link, struct seen *seen)
{
    uint16_t count;
    if (!is(seen, MQ5_PUBLISH))
        return true;
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = seen->packet.publish};
    struct mq5_properties *properties = &packet.publish.properties;
    properties->subscription_ids = identifiers_of(link, properties, &count);
    if (count < 2)
        return true;
    properties->subscription_id_count = 1;
    packet.publish.qos = 0;
    packet.publish.packet_id = 0;
    for (uint16_t i = 0; i < count; i++)
        to_client(link, &packet);
    return swallow(link, seen);
}

/* ---- replacing ----------------------------------------------------------------------------------------------------------------- */

static bool first_subscription_stays(struct link *link, struct seen *seen)
{
    struct mq5_subscription *list = filters(link, seen, MQ5_SUBSCRIBE);
    struct subscribed *old = list && seen->packet.subscribe.count == 1
                                 ? subscribed_find(link->served, link->login.client_id, list[0].filter)
                                 : NULL;
    if (!old || starts_with(list[0].filter, "$share/"))
        return true;
    struct mq5_packet packet = {
        .type = MQ5_SUBACK,
        .suback = {.packet_id = seen->packet.subscribe.packet_id, .reasons = {(uint8_t[1]){list[0].qos}, 1}}};
    to_client(link, &packet);
    return false;
}

static bool old_identifier_stays(struct link *link, struct seen *seen)
{
    struct mq5_subscription *list = filters(link, seen, MQ5_SUBSCRIBE);
    struct subscribed *old = list ? subscribed_find(link->served, link->login.client_id, list[0].filter) : NULL;
    if (!old || !old->subscription_id || has(&seen->packet.subscribe.properties, MQ5_SUBSCRIPTION_IDENTIFIER))
        return true;
    uint32_t *id = scratch(link->served, sizeof(*id));
    *id = old->subscription_id;
    seen->packet.subscribe.properties.present |= MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER);
    seen->packet.subscribe.properties.subscription_ids = id;
    seen->packet.subscribe.properties.subscription_id_count = 1;
    return edited(link, seen);
}

/* While a subscription is replaced its messages are lost. */
static void again(struct link *link, struct span bytes)
{
    to_core_bytes(link, bytes);
}

static bool replacing_takes_a_moment(struct link *link, struct seen *seen)
{
    struct mq5_subscription *list = filters(link, seen, MQ5_SUBSCRIBE);
    if (!list || !subscribed_find(link->served, link->login.client_id, list[0].filter))
        return true;
    struct mq5_packet gone = {.type = MQ5_UNSUBSCRIBE,
                              .subscribe = {.packet_id = 65001, .list = list, .count = seen->packet.subscribe.count}};
    to_core(link, &gone);
    later(link, 100 * US_PER_MS, again, seen->bytes);
    return false;
}

static bool hides_own_unsuback(struct link *link, struct seen *seen)
{
    return !(is(seen, MQ5_UNSUBACK) && seen->packet.suback.packet_id == 65001);
}

/* ---- several filters --------------------------------------------------------------------------------------------------------------- */

static bool first_filter_only(struct link *link, struct seen *seen)
{
    enum mq5_type type = (enum mq5_type)mutant_of(link)->number;
    if (!filters(link, seen, type) || seen->packet.subscribe.count < 2)
        return true;
    note_make(link->served, 'n', id_key(link, seen->packet.subscribe.packet_id))->value = seen->packet.subscribe.count;
    seen->packet.subscribe.count = 1;
    return edited(link, seen);
}

static bool as_many_reasons(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_SUBACK) && !is(seen, MQ5_UNSUBACK))
        return true;
    struct note *note = note_find(link->served, 'n', id_key(link, seen->packet.suback.packet_id));
    if (!note)
        return true;
    uint8_t *reasons = scratch(link->served, (size_t)note->value);
    memset(reasons, seen->packet.suback.reasons.data[0], (size_t)note->value);
    seen->packet.suback.reasons = span_of(reasons, (size_t)note->value);
    note_drop(link->served, 'n', id_key(link, seen->packet.suback.packet_id));
    return edited(link, seen);
}

/* One filter that is none, and the others are not subscribed to. */
static bool one_bad_spoils_all(struct link *link, struct seen *seen)
{
    struct mq5_subscription *list = filters(link, seen, MQ5_SUBSCRIBE);
    bool bad = false;
    for (uint32_t i = 0; list && i < seen->packet.subscribe.count; i++)
        bad |= !mq5_topic_filter_valid(list[i].filter);
    if (!bad || seen->packet.subscribe.count < 2)
        return true;
    uint8_t *reasons = scratch(link->served, seen->packet.subscribe.count);
    memset(reasons, MQ5_TOPIC_FILTER_INVALID, seen->packet.subscribe.count);
    struct mq5_packet packet = {.type = MQ5_SUBACK,
                                .suback = {.packet_id = seen->packet.subscribe.packet_id,
                                           .reasons = span_of(reasons, seen->packet.subscribe.count)}};
    to_client(link, &packet);
    return false;
}

/* ---- answers -------------------------------------------------------------------------------------------------------------------------- */

static bool reasons_turned_round(struct link *link, struct seen *seen)
{
    if (!is(seen, (enum mq5_type)mutant_of(link)->number))
        return true;
    struct span reasons = scratch_copy(link->served, seen->packet.suback.reasons);
    uint8_t *at = (uint8_t *)reasons.data;
    for (uint32_t i = 0, j = reasons.length; i + 1 < j; i++) {
        uint8_t last = at[--j];
        at[j] = at[i];
        at[i] = last;
    }
    seen->packet.suback.reasons = reasons;
    return edited(link, seen);
}

static bool one_reason_less(struct link *link, struct seen *seen)
{
    if (!is(seen, (enum mq5_type)mutant_of(link)->number) || seen->packet.suback.reasons.length < 2)
        return true;
    seen->packet.suback.reasons.length--;
    return edited(link, seen);
}

/* number: the packet, and the reason in the next bits. */
static bool other_reason(struct link *link, struct seen *seen)
{
    uint32_t number = mutant_of(link)->number;
    if (!is(seen, (enum mq5_type)(number & 15)))
        return true;
    seen->packet.suback.reasons = scratch_copy(link->served, seen->packet.suback.reasons);
    memset((uint8_t *)seen->packet.suback.reasons.data, (int)(number >> 4), seen->packet.suback.reasons.length);
    return edited(link, seen);
}

static bool nothing_matched_no_answer(struct link *link, struct seen *seen)
{
    return !(is(seen, MQ5_UNSUBACK) && seen->packet.suback.reasons.length &&
             seen->packet.suback.reasons.data[0] == MQ5_NO_SUBSCRIPTION_EXISTED);
}

/* ---- unsubscribing ----------------------------------------------------------------------------------------------------------------------- */

static bool unsubscribes_nothing(struct link *link, struct seen *seen)
{
    if (!filters(link, seen, MQ5_UNSUBSCRIBE))
        return true;
    uint8_t *reasons = scratch(link->served, seen->packet.subscribe.count);
    struct mq5_packet packet = {.type = MQ5_UNSUBACK,
                                .suback = {.packet_id = seen->packet.subscribe.packet_id,
                                           .reasons = span_of(reasons, seen->packet.subscribe.count)}};
    to_client(link, &packet);
    return false;
}

/* "a/+" takes "a/b" with it. */
static bool unsubscribes_what_matches(struct link *link, struct seen *seen)
{
    struct mq5_subscription *list = filters(link, seen, MQ5_UNSUBSCRIBE);
    if (!list)
        return true;
    for (struct subscribed *each = subscribed_first(link->served); each; each = each->next) {
        struct mq5_subscription one = {.filter = each->filter};
        if (span_equal(each->client_id, link->login.client_id) && !span_equal(each->filter, list[0].filter) &&
            mq5_topic_matches(list[0].filter, each->filter))
            to_core(link, &(struct mq5_packet){.type = MQ5_UNSUBSCRIBE,
                                               .subscribe = {.packet_id = 65001, .list = &one, .count = 1}});
    }
    return true;
}

/* "$share/g/t" is "t", and the reverse. */
static bool unsubscribes_shared_and_not(struct link *link, struct seen *seen)
{
    struct mq5_subscription *list = filters(link, seen, MQ5_UNSUBSCRIBE);
    if (!list)
        return true;
    for (struct subscribed *each = subscribed_first(link->served); each; each = each->next) {
        struct span share, left = each->filter, right = list[0].filter;
        struct mq5_subscription one = {.filter = each->filter};
        if (starts_with(left, "$share/"))
            mq5_topic_share_split(each->filter, &share, &left);
        if (starts_with(right, "$share/"))
            mq5_topic_share_split(list[0].filter, &share, &right);
        if (span_equal(each->client_id, link->login.client_id) && !span_equal(each->filter, list[0].filter) &&
            span_equal(left, right))
            to_core(link, &(struct mq5_packet){.type = MQ5_UNSUBSCRIBE,
                                               .subscribe = {.packet_id = 65001, .list = &one, .count = 1}});
    }
    return true;
}

/* Handshakes that are under way are given up. */
static bool handshakes_given_up(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_UNSUBSCRIBE))
        link->n[1] = 1;
    return !(link->n[1] && is(seen, MQ5_PUBREC));
}

#define DROPS(text, of, kind)                                                                                          \
    {                                                                                                                  \
        .name = text, .statement = of, .late = true, .out = drops_packets, .types = BIT(kind)                          \
    }

MUTANT_TABLE(mutants_subscribe, DROPS("SUBACK does not come", "MQTT-3.8.4-1", MQ5_SUBACK),
             DROPS("UNSUBACK does not come", "MQTT-3.10.4-4", MQ5_UNSUBACK),
             DROPS("PINGRESP does not come", "MQTT-3.12.4-1", MQ5_PINGRESP),
             {.name = "No Local is ignored", .statement = "MQTT-3.8.3-3", .in = no_local_ignored},
             {.name = "messages come with more than the granted QoS",
              .statement = "MQTT-3.8.4-8",
              .in = always_qos_2,
              .out = as_asked},
             {.name = "messages of a share come with more than the granted QoS",
              .statement = "MQTT-4.8.2-3",
              .in = always_qos_2,
              .out = as_asked,
              .number = 1},
             {.name = "messages come with QoS 0 whatever was granted",
              .statement = "MQTT-3.8.4-8",
              .late = true,
              .out = qos_of_publisher},
             {.name = "more is granted than was asked for",
              .statement = "MQTT-3.8.4-7",
              .late = true,
              .out = other_reason,
              .number = MQ5_SUBACK | 2 << 4},
             {.name = "of overlapping subscriptions the least QoS counts",
              .statement = "MQTT-3.3.4-2",
              .out = overlap_with_least_qos},
             {.name = "subscription identifiers do not come", .statement = "MQTT-3.3.4-3", .out = identifiers_left_out},
             {.name = "subscription identifiers do not come with what is retained",
              .statement = "S3.3.4c",
              .out = identifiers_left_out,
              .number = 1},
             {.name = "one subscription identifier of several comes",
              .statement = "MQTT-3.3.4-4",
              .out = one_identifier_of_several},
             {.name = "copies for overlapping subscriptions all have the same identifier",
              .statement = "MQTT-3.3.4-5",
              .out = copies_with_one_identifier},
             {.name = "a subscription is not replaced", .statement = "MQTT-3.8.4-3", .in = first_subscription_stays},
             {.name = "a replaced subscription keeps its identifier",
              .statement = "S3.8.4a",
              .in = old_identifier_stays},
             {.name = "messages are lost while a subscription is replaced",
              .statement = "MQTT-3.8.4-4",
              .in = replacing_takes_a_moment,
              .out = hides_own_unsuback},
             {.name = "of several filters the first is subscribed to",
              .statement = "MQTT-3.8.4-5",
              .in = first_filter_only,
              .out = as_many_reasons,
              .number = MQ5_SUBSCRIBE},
             {.name = "one bad filter spoils the others", .statement = "MQTT-3.8.4-5", .in = one_bad_spoils_all},
             {.name = "SUBACK has a reason code too few",
              .statement = "MQTT-3.8.4-6",
              .out = one_reason_less,
              .number = MQ5_SUBACK},
             {.name = "reason codes of SUBACK are turned round",
              .statement = "MQTT-3.9.3-1",
              .out = reasons_turned_round,
              .number = MQ5_SUBACK},
             {.name = "SUBACK has a reason code that is none",
              .statement = "MQTT-3.9.3-2",
              .late = true,
              .out = other_reason,
              .number = MQ5_SUBACK | 3 << 4},
             {.name = "reason codes of UNSUBACK are turned round",
              .statement = "MQTT-3.11.3-1",
              .out = reasons_turned_round,
              .number = MQ5_UNSUBACK},
             {.name = "UNSUBACK has a reason code of PUBACK",
              .statement = "MQTT-3.11.3-2",
              .out = other_reason,
              .number = MQ5_UNSUBACK | MQ5_NO_MATCHING_SUBSCRIBERS << 4},
             {.name = "UNSUBACK has a reason code too few",
              .statement = "MQTT-3.11.3-2",
              .out = one_reason_less,
              .number = MQ5_UNSUBACK},
             {.name = "UNSUBSCRIBE of what is not there is not answered",
              .statement = "MQTT-3.10.4-5",
              .out = nothing_matched_no_answer},
             {.name = "UNSUBSCRIBE does nothing", .statement = "MQTT-3.10.4-1", .in = unsubscribes_nothing},
             {.name = "messages come after UNSUBACK", .statement = "MQTT-3.10.4-2", .in = unsubscribes_nothing},
             {.name = "UNSUBSCRIBE with a wildcard takes others with it",
              .statement = "MQTT-3.10.4-1",
              .in = unsubscribes_what_matches,
              .out = hides_own_unsuback},
             {.name = "of several filters the first is unsubscribed from",
              .statement = "MQTT-3.10.4-6",
              .in = first_filter_only,
              .out = as_many_reasons,
              .number = MQ5_UNSUBSCRIBE},
             {.name = "UNSUBSCRIBE of a shared filter takes the plain one with it",
              .statement = "S3.10.4a",
              .in = unsubscribes_shared_and_not,
              .out = hides_own_unsuback},
             {.name = "UNSUBSCRIBE breaks handshakes off", .statement = "MQTT-3.10.4-3", .in = handshakes_given_up}, )
