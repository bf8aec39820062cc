/* subscribe.c: SUBSCRIBE and UNSUBSCRIBE (3.8 to 3.11), and where subscriptions are hung up and taken down. */
#include "internal.h"

void broker_ring_insert(struct subscription **ring, struct subscription *item, bool at_front)
{
    struct subscription *first = *ring;
    if (!first) {
        item->next = item->previous = item;
        *ring = item;
        return;
    }
    item->next = first;
    item->previous = first->previous;
    first->previous->next = item;
    first->previous = item;
    if (at_front)
        *ring = item;
}

void broker_ring_remove(struct subscription **ring, struct subscription *item)
{
    if (item->next == item)
        *ring = NULL;
    else if (*ring == item)
        *ring = item->next;
    item->previous->next = item->next;
    item->next->previous = item->previous;
}

/* A filter taken apart. */
struct place {
    struct span share_name;
    bool shared;
    struct topic_levels levels;
};

static bool place_of(struct span filter, struct place *place)
{
    place->shared = mq5_topic_share_split(filter, &place->share_name, &filter);
    return broker_topic_split(filter, &place->levels);
}

static struct subscription *find_in(const struct cloud_broker *broker, const struct session *session,
                                    const struct place *place)
{
    struct topic_node *node = broker_topic_find(broker, &place->levels);
    struct share_group *group = node && place->shared ? broker_share_find(node, place->share_name) : NULL;
    if (!node || (place->shared && !group))
        return NULL;
    for (struct subscription *at = broker_subscriptions_of(session); at; at = at->session_next)
        if (place->shared ? (at->options & SUB_SHARED) && at->group == group
                          : !(at->options & SUB_SHARED) && at->node == node)
            return at;
    return NULL;
}

static bool has_wildcard(struct span filter)
{
    return memchr(filter.data, '+', filter.length) || memchr(filter.data, '#', filter.length);
}

/* A pattern that the session has subscribed to with this filter; 0: none. */
static uint8_t pattern_held(const struct cloud_broker *broker, const struct session *session, struct span filter)
{
    uint8_t number = session->patterns && !has_wildcard(filter) ? broker_pattern_find(broker, session, filter) : 0;
    return number && broker_pattern_list_find(broker, session->patterns, number) ? number : 0;
}

bool broker_subscription_read(const struct cloud_broker *broker, const struct session *session, struct span filter,
                              uint8_t *options, uint32_t *id)
{
    struct place place;
    uint8_t number = pattern_held(broker, session, filter);
    if (number) {
        *options = (uint8_t)broker_pattern_list_find(broker, session->patterns, number)->value;
        *id = 0;
        return true;
    }
    const struct subscription *subscription = place_of(filter, &place) ? find_in(broker, session, &place) : NULL;
    if (!subscription)
        return false;
    *options = subscription->options;
    *id = subscription->id;
    return true;
}

static bool hang_up(struct cloud_broker *broker, struct subscription *subscription, const struct place *place)
{
    struct topic_node *node = broker_topic_make(broker, &place->levels);
    if (!node)
        return false;
    if (!place->shared) {
        subscription->node = node;
        broker_ring_insert(&node->subscriptions, subscription, false);
        return true;
    }
    struct share_group *group = broker_share_find(node, place->share_name);
    if (!group)
        group = broker_share_make(broker, node, place->share_name);
    if (!group) {
        broker_topic_prune(broker, node);
        return false;
    }
    subscription->group = group;
    broker_ring_insert(&group->members, subscription, false);
    return true;
}

/* Into the tree and the session's list; NULL: no memory, nothing changed. */
static struct subscription *add_to_tree(struct cloud_broker *broker, struct session *session, const struct place *place,
                                        uint8_t options, uint32_t id)
{
    struct session_more *more = broker_session_more(broker, session);
    struct subscription *subscription = more ? broker_memory_get_clear(broker, sizeof(*subscription)) : NULL;
    if (subscription)
        *subscription = (struct subscription){.session = session, .id = id, .options = options};
    if (!subscription || !hang_up(broker, subscription, place)) {
        broker_memory_put(broker, subscription, sizeof(*subscription));
        broker_session_less(broker, session);
        return NULL;
    }
    subscription->session_next = more->subscriptions;
    more->subscriptions = subscription;
    session->subscription_count++;
    broker->subscription_count++;
    return subscription;
}

/* From the tree; the session's list is the caller's business. */
static void take_down(struct cloud_broker *broker, struct subscription *subscription)
{
    struct topic_node *node = subscription->node;
    if (subscription->options & SUB_SHARED) {
        struct share_group *group = subscription->group;
        node = group->head.node;
        broker_ring_remove(&group->members, subscription);
        if (!group->members) {
            broker_ring_remove(&node->subscriptions, &group->head);
            broker_share_release(broker, group);
        }
    } else {
        broker_ring_remove(&node->subscriptions, subscription);
    }
    broker_topic_prune(broker, node);
    broker_memory_put(broker, subscription, sizeof(*subscription));
    broker->subscription_count--;
}

static void remove_from_tree(struct cloud_broker *broker, struct session *session, struct subscription *subscription)
{
    struct subscription **at = &session->more->subscriptions;
    while (*at != subscription)
        at = &(*at)->session_next;
    *at = subscription->session_next;
    session->subscription_count--;
    take_down(broker, subscription);
    broker_session_less(broker, session);
}

static void count_pattern(struct cloud_broker *broker, struct session *session, uint8_t number, bool more)
{
    broker_pattern_subscribed(broker, number, more);
    session->subscription_count += more ? 1 : -1;
    broker->subscription_count += more ? 1 : -UINT64_C(1);
}

/* Who has this filter by pattern: it may be somebody else, by way of another level. */
static struct session *pattern_holder(const struct cloud_broker *broker, const struct place *place, uint8_t *number)
{
    return place->shared || !broker->patterns_subscribed ? NULL
                                                         : broker_pattern_subscriber(broker, &place->levels, number);
}

/* A filter with the session's own name in it, which nobody else has, needs no place in the tree. false: it does. */
static bool set_by_pattern(struct cloud_broker *broker, struct session *session, struct span filter,
                           const struct place *place, uint8_t options)
{
    uint8_t other;
    if (place->shared || (session->flags & SESSION_LOCAL) || has_wildcard(filter))
        return false;
    const struct topic_node *node = broker_topic_find(broker, &place->levels);
    if ((node && node->subscriptions) || pattern_holder(broker, place, &other))
        return false;
    uint8_t number = broker_pattern_of(broker, session, filter);
    if (!number || !broker_pattern_list_put(broker, &session->patterns, number, options))
        return false;
    count_pattern(broker, session, number, true);
    return true;
}

/* Hangs up in the tree what somebody has by pattern, so that others can stand beside it. false: no memory, nothing changed. */
static bool move_to_tree(struct cloud_broker *broker, struct session *session, uint8_t number,
                         const struct place *place, uint32_t id)
{
    uint8_t options = (uint8_t)broker_pattern_list_find(broker, session->patterns, number)->value;
    struct subscription *subscription = add_to_tree(broker, session, place, options, id);
    if (!subscription)
        return false;
    if (!broker_pattern_list_drop(broker, &session->patterns, number)) {
        remove_from_tree(broker, session, subscription);
        return false;
    }
    count_pattern(broker, session, number, false);
    return true;
}

static bool make_way(struct cloud_broker *broker, const struct place *place)
{
    uint8_t number;
    struct session *holder = pattern_holder(broker, place, &number);
    return !holder || move_to_tree(broker, holder, number, place, 0);
}

/* 3.8.4-3: replaced in place, so that nothing is lost in between. */
static uint8_t change(struct cloud_broker *broker, struct session *session, uint8_t number, const struct place *place,
                      uint8_t options, uint32_t id)
{
    bool done = broker_pattern_list_put(broker, &session->patterns, number, options) &&
                (id == 0 || move_to_tree(broker, session, number, place, id));
    return done ? options & SUB_QOS : MQ5_QUOTA_EXCEEDED;
}

uint8_t broker_subscription_set(struct cloud_broker *broker, struct session *session, struct span filter,
                                uint8_t options, uint32_t id, bool *is_new)
{
    struct place place;
    if (!place_of(filter, &place))
        return MQ5_TOPIC_FILTER_INVALID;
    if (place.shared)
        options |= SUB_SHARED;
    uint8_t number = pattern_held(broker, session, filter);
    struct subscription *subscription = number ? NULL : find_in(broker, session, &place);
    *is_new = !number && !subscription;
    if (number)
        return change(broker, session, number, &place, options, id);
    if (subscription) {
        subscription->options = options;
        subscription->id = id;
        return options & SUB_QOS;
    }
    if (session->subscription_count >= broker->options.maximum_subscriptions_per_session &&
        !(session->flags & SESSION_LOCAL))
        return MQ5_QUOTA_EXCEEDED;
    bool done = id == 0 && set_by_pattern(broker, session, filter, &place, options);
    if (!done)
        done = make_way(broker, &place) && add_to_tree(broker, session, &place, options, id);
    return done ? options & SUB_QOS : MQ5_QUOTA_EXCEEDED;
}

uint8_t broker_subscription_remove(struct cloud_broker *broker, struct session *session, struct span filter)
{
    struct place place;
    uint8_t number = pattern_held(broker, session, filter);
    if (number) {
        if (!broker_pattern_list_drop(broker, &session->patterns, number))
            return MQ5_UNSPECIFIED_ERROR; /* no memory for what remains */
        count_pattern(broker, session, number, false);
        return MQ5_SUCCESS;
    }
    struct subscription *subscription = place_of(filter, &place) ? find_in(broker, session, &place) : NULL;
    if (!subscription)
        return MQ5_NO_SUBSCRIPTION_EXISTED;
    remove_from_tree(broker, session, subscription);
    return MQ5_SUCCESS;
}

void broker_subscription_remove_all(struct cloud_broker *broker, struct session *session)
{
    const struct pattern_list *list = session->patterns ? broker->pattern_lists[session->patterns - 1] : NULL;
    while (broker_subscriptions_of(session))
        remove_from_tree(broker, session, session->more->subscriptions);
    for (uint32_t i = 0; list && i < list->count; i++)
        count_pattern(broker, session, list->entries[i].pattern, false);
    broker_pattern_list_release(broker, session->patterns);
    session->patterns = 0;
}

/* --- the packets --- */

/* What this broker was told not to offer is a protocol error with a code of its own (3.2.2.3.11 to 13); 0: fine. */
static uint8_t not_available(const struct cloud_broker *broker, const struct mq5_packet *packet, struct span filter)
{
    struct span name, rest = filter;
    bool shared = mq5_topic_share_split(filter, &name, &rest);
    if (shared && !broker->options.shared_available)
        return MQ5_SHARED_SUBSCRIPTIONS_NOT_SUPPORTED;
    if (!broker->options.wildcard_available && has_wildcard(rest))
        return MQ5_WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED;
    if (!broker->options.subscription_ids_available &&
        (packet->subscribe.properties.present & MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER)))
        return MQ5_SUBSCRIPTION_IDS_NOT_SUPPORTED;
    return 0;
}

static uint8_t subscribe_one(struct cloud_broker *broker, struct cloud_connection *connection,
                             const struct mq5_subscription *wanted, uint32_t id, bool *send_retained)
{
    struct session *session = connection->session;
    uint8_t qos = wanted->qos < broker->options.maximum_qos ? wanted->qos : broker->options.maximum_qos;
    if (!mq5_topic_filter_valid(wanted->filter))
        return MQ5_TOPIC_FILTER_INVALID;
    if (broker->ops.authorise_subscribe) {
        uint8_t reason = broker->ops.authorise_subscribe(broker->context, broker_client_id(session),
                                                         broker_peer(broker, connection), wanted->filter, qos);
        if (reason >= 0x80)
            return reason;
        if (connection->flags & LINK_DEAD)
            return MQ5_UNSPECIFIED_ERROR;
    }
    uint8_t options = qos;
    if (wanted->no_local)
        options |= SUB_NO_LOCAL;
    if (wanted->retain_as_published)
        options |= SUB_RETAIN_AS_PUBLISHED;
    bool is_new;
    uint8_t reason = broker_subscription_set(broker, session, wanted->filter, options, id, &is_new);
    struct span name, rest;
    *send_retained =
        reason < 0x80 && !mq5_topic_share_split(wanted->filter, &name, &rest) &&
        (wanted->retain_handling == MQ5_RETAIN_SEND || (wanted->retain_handling == MQ5_RETAIN_SEND_IF_NEW && is_new));
    return reason;
}

#define FEW_FILTERS    64
#define WANTS_RETAINED 0x40 /* a mark beside a granted QoS, never sent */

static void send_suback(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us, uint8_t type,
                        const struct mq5_packet *request, const uint8_t *reasons)
{
    struct mq5_packet answer = {.type = type};
    answer.suback.packet_id = request->subscribe.packet_id;
    answer.suback.reasons = span_of(reasons, request->subscribe.count);
    if (type == MQ5_UNSUBACK && !(connection->flags & LINK_V5))
        answer.suback.reasons.length = 0;
    if (broker->ops.outbound &&
        !broker->ops.outbound(broker->context, now_us, broker_client_id(connection->session), &answer))
        return;
    if (!broker_send(broker, connection, &answer) &&
        !(connection->flags & LINK_DEAD)) /* 3.1.2-24, and yet it must be answered */
        broker_link_end(broker, connection, now_us, CLOUD_CLOSED_CLIENT_ERROR, true);
}

static bool subscribe_all(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                          const struct mq5_packet *packet, uint8_t *reasons)
{
    enum mq5_version version = broker_version(connection);
    const struct mq5_subscribe *subscribe = &packet->subscribe;
    struct mq5_subscription wanted;
    uint32_t offset = 0, id = 0, walk = 0, i = 0;
    if (subscribe->properties.present & MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER))
        mq5_subscription_id_next(subscribe->properties.encoded, &walk, &id);
    while (mq5_subscription_next(subscribe, MQ5_SUBSCRIBE, version, &offset, &wanted)) {
        uint8_t unavailable = not_available(broker, packet, wanted.filter);
        bool send_retained = false;
        if (unavailable && version == MQ5_V5) {
            broker_link_fail(broker, connection, now_us, unavailable, "feature not available",
                             CLOUD_CLOSED_CLIENT_ERROR);
            return false;
        }
        reasons[i] = unavailable ? unavailable : subscribe_one(broker, connection, &wanted, id, &send_retained);
        if (connection->flags & LINK_DEAD)
            return false;
        if (reasons[i] == MQ5_NOT_AUTHORIZED && broker->options.denied_subscribe_closes) {
            broker_link_fail(broker, connection, now_us, MQ5_NOT_AUTHORIZED, NULL, CLOUD_CLOSED_NOT_AUTHORISED);
            return false;
        }
        if (reasons[i] >= 0x80 && version != MQ5_V5)
            reasons[i] = 0x80;
        else if (reasons[i] >= 0x80 && !mq5_reason_allowed(MQ5_SUBACK, reasons[i], MQ5_FROM_SERVER))
            reasons[i] = MQ5_UNSPECIFIED_ERROR;
        if (send_retained)
            reasons[i] |= WANTS_RETAINED;
        i++;
    }
    return true;
}

static void retained_after(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                           const struct mq5_packet *packet, const uint8_t *marks)
{
    struct mq5_subscription wanted;
    uint32_t offset = 0;
    for (uint32_t i = 0;
         mq5_subscription_next(&packet->subscribe, MQ5_SUBSCRIBE, broker_version(connection), &offset, &wanted); i++)
        if (!(marks[i] & 0x80) && (marks[i] & WANTS_RETAINED) && !(connection->flags & LINK_DEAD))
            broker_retained_send(broker, now_us, connection->session, wanted.filter);
}

/* Two bytes a filter: the marks, and the answer without them. */
static uint8_t *answer_space(struct cloud_broker *broker, uint32_t count, uint8_t *few)
{
    return count <= FEW_FILTERS ? few : broker_memory_get(broker, 2 * (size_t)count);
}

void broker_handle_subscribe(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                             const struct mq5_packet *packet)
{
    uint8_t few[2 * FEW_FILTERS];
    uint32_t count = packet->subscribe.count;
    uint8_t *marks = answer_space(broker, count, few);
    if (!marks) {
        broker_link_fail(broker, connection, now_us, MQ5_QUOTA_EXCEEDED, "no memory", CLOUD_CLOSED_LIMIT);
        return;
    }
    if (subscribe_all(broker, connection, now_us, packet, marks)) {
        uint8_t *reasons = marks + count;
        for (uint32_t i = 0; i < count; i++)
            reasons[i] = marks[i] & 0x80 ? marks[i] : marks[i] & ~WANTS_RETAINED;
        send_suback(broker, connection, now_us, MQ5_SUBACK, packet, reasons);
        retained_after(broker, connection, now_us, packet, marks);
    }
    if (marks != few)
        broker_memory_put(broker, marks, 2 * (size_t)count);
}

void broker_handle_unsubscribe(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                               const struct mq5_packet *packet)
{
    uint8_t few[2 * FEW_FILTERS];
    uint32_t offset = 0, i = 0, count = packet->subscribe.count;
    uint8_t *reasons = answer_space(broker, count, few);
    struct mq5_subscription wanted;
    if (!reasons) {
        broker_link_fail(broker, connection, now_us, MQ5_QUOTA_EXCEEDED, "no memory", CLOUD_CLOSED_LIMIT);
        return;
    }
    while (mq5_subscription_next(&packet->subscribe, MQ5_UNSUBSCRIBE, broker_version(connection), &offset, &wanted)) {
        if (!mq5_topic_filter_valid(wanted.filter))
            reasons[i++] = MQ5_TOPIC_FILTER_INVALID;
        else
            reasons[i++] = broker_subscription_remove(broker, connection->session, wanted.filter);
    }
    send_suback(broker, connection, now_us, MQ5_UNSUBACK, packet, reasons);
    if (reasons != few)
        broker_memory_put(broker, reasons, 2 * (size_t)count);
}
