/* route.c: one message to everybody who is to have it: first who, then one after the other. */
#include "internal.h"

#define FEW_IDS 64

/* The identifiers of one match side by side. */
static uint16_t gather_ids(const struct cloud_broker *broker, const struct match *match, uint32_t *ids,
                           uint16_t capacity)
{
    uint16_t count = 0;
    if (match->id)
        ids[count++] = match->id;
    for (uint32_t at = match->more_ids; at && count < capacity; at = broker->match_ids[at - 1].next)
        ids[count++] = broker->match_ids[at - 1].id;
    return count;
}

static void deliver_match(struct cloud_broker *broker, struct routed *routed, const struct match *match)
{
    uint32_t few[FEW_IDS], *ids = few, capacity = FEW_IDS;
    if (match->more_ids && match->session->subscription_count > FEW_IDS) {
        ids = broker_memory_get(broker, match->session->subscription_count * sizeof(uint32_t));
        capacity = ids ? match->session->subscription_count : FEW_IDS;
        ids = ids ? ids : few;
    }
    const struct mq5_publish *publish = routed->publish;
    struct target target = {.session = match->session,
                            .group = match->group,
                            .ids = ids,
                            .id_count = gather_ids(broker, match, ids, (uint16_t)capacity),
                            .qos = match->qos < publish->qos ? match->qos : publish->qos,
                            .retain = publish->retain && match->retain_as_published};
    broker_deliver(broker, routed, &target);
    if (ids != few)
        broker_memory_put(broker, ids, capacity * sizeof(uint32_t));
}

static uint8_t deliver_all(struct cloud_broker *broker, struct routed *routed, uint32_t base, uint32_t id_base)
{
    uint32_t end = broker->match_count;
    for (uint32_t i = base; i < end; i++) {
        struct match match = broker->matches[i]; /* a copy: the array may move under a publish within */
        deliver_match(broker, routed, &match);
    }
    broker_topic_match_end(broker, base);
    broker->match_id_count = id_base;
    return end > base ? MQ5_SUCCESS : MQ5_NO_MATCHING_SUBSCRIBERS;
}

/* Levels are taken apart only for who needs them. */
static uint8_t route_by_levels(struct cloud_broker *broker, struct routed *routed, struct session *publisher)
{
    struct topic_levels levels;
    uint32_t base = broker->match_count, id_base = broker->match_id_count;
    uint8_t reason = MQ5_SUCCESS;
    if (!broker_topic_split(routed->publish->topic, &levels))
        return MQ5_TOPIC_NAME_INVALID;
    if (routed->publish->retain)
        reason = broker_retained_store(broker, routed->now_us, routed->publish, &levels, routed);
    if (reason != MQ5_SUCCESS)
        return reason;
    if (broker_topic_match(broker, &levels, publisher, base))
        return deliver_all(broker, routed, base, id_base);
    broker->match_id_count = id_base;
    return MQ5_QUOTA_EXCEEDED;
}

/* Most of what vehicles say has one reader, whoever says it: nothing overlaps, and nothing is to be collected first. NULL: it is not so. */
static struct subscription *only_reader(const struct pattern *pattern)
{
    struct subscription *reader = pattern->route_count == 1 ? pattern->route[0]->subscriptions : NULL;
    if (!reader || reader->next != reader || pattern->subscribers || (reader->options & SUB_NO_LOCAL))
        return NULL;
    return reader;
}

static uint8_t deliver_to_one(struct cloud_broker *broker, struct routed *routed, struct subscription *reader)
{
    struct share_group *group = reader->options & SUB_GROUP ? (struct share_group *)reader : NULL;
    if (group && !(reader = broker_share_choose(group)))
        return MQ5_NO_MATCHING_SUBSCRIBERS;
    const struct mq5_publish *publish = routed->publish;
    uint8_t qos = reader->options & SUB_QOS;
    uint32_t id = reader->id;
    struct target target = {.session = reader->session,
                            .group = group,
                            .ids = &id,
                            .id_count = id != 0,
                            .qos = qos < publish->qos ? qos : publish->qos,
                            .retain = publish->retain && (reader->options & SUB_RETAIN_AS_PUBLISHED)};
    if (group)
        group->references++;
    broker_deliver(broker, routed, &target);
    if (group)
        broker_share_release(broker, group);
    return MQ5_SUCCESS;
}

static uint8_t route_by_pattern(struct cloud_broker *broker, struct routed *routed, struct session *publisher,
                                uint8_t number)
{
    struct subscription *reader = only_reader(broker_pattern(broker, number));
    if (reader)
        return deliver_to_one(broker, routed, reader);
    uint32_t base = broker->match_count, id_base = broker->match_id_count;
    if (broker_topic_match_pattern(broker, number, publisher, base))
        return deliver_all(broker, routed, base, id_base);
    broker->match_id_count = id_base;
    return MQ5_QUOTA_EXCEEDED;
}

uint8_t broker_route(struct cloud_broker *broker, int64_t now_us, const struct mq5_publish *publish,
                     struct session *publisher, uint8_t pattern)
{
    struct routed routed = {now_us, publish, NULL};
    uint8_t reason;
    if (pattern && !publish->retain && broker_pattern_route(broker, broker_pattern(broker, pattern), publish->topic))
        reason = route_by_pattern(broker, &routed, publisher, pattern);
    else
        reason = route_by_levels(broker, &routed, publisher);
    broker_message_release(broker, routed.stored);
    return reason;
}
