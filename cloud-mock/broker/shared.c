/* shared.c: shared subscriptions (4.8.2): a group stands in the tree like one subscriber and hands each message to one member.
 *
 * Members take turns; those who are connected come first, so that a message waits for nobody while somebody is there.
 */
#include "internal.h"

struct share_group *broker_share_find(const struct topic_node *node, struct span name)
{
    struct subscription *at = node->subscriptions;
    if (!at)
        return NULL;
    do {
        if (!(at->options & SUB_GROUP)) /* groups stand first */
            return NULL;
        struct share_group *group = (struct share_group *)at;
        if (span_equal(span_of(group->name, group->name_length), name))
            return group;
        at = at->next;
    } while (at != node->subscriptions);
    return NULL;
}

struct share_group *broker_share_make(struct cloud_broker *broker, struct topic_node *node, struct span name)
{
    struct share_group *group = broker_memory_get_clear(broker, offsetof(struct share_group, name) + name.length);
    if (!group)
        return NULL;
    group->head.options = SUB_GROUP;
    group->head.node = node;
    group->references = 1;
    group->name_length = (uint16_t)name.length;
    memcpy(group->name, name.data, name.length);
    broker_ring_insert(&node->subscriptions, &group->head, true);
    return group;
}

void broker_share_release(struct cloud_broker *broker, struct share_group *group)
{
    if (--group->references == 0)
        broker_memory_put(broker, group, offsetof(struct share_group, name) + group->name_length);
}

struct subscription *broker_share_choose(struct share_group *group)
{
    struct subscription *at = group->members, *away = NULL;
    if (!at)
        return NULL;
    do {
        if (broker_session_present(at->session)) {
            group->members = at->next;
            return at;
        }
        if (!away)
            away = at;
        at = at->next;
    } while (at != group->members);
    group->members = away->next;
    return away;
}

/* 4.8.2: what a member that is gone for good has not acknowledged goes to another. What nobody can take is dropped. */
void broker_share_redistribute(struct cloud_broker *broker, int64_t now_us, struct delivery *list)
{
    while (list) {
        struct delivery *delivery = list;
        list = delivery->next;
        struct subscription *member = broker_share_choose(delivery->group);
        if (member) {
            struct mq5_publish publish;
            broker_message_view(delivery->message, now_us, &publish);
            struct routed routed = {now_us, &publish, delivery->message};
            uint8_t qos = member->options & SUB_QOS;
            broker_deliver(broker, &routed,
                           &(struct target){member->session, delivery->group, &member->id, member->id != 0,
                                            qos < publish.qos ? qos : publish.qos,
                                            publish.retain && (member->options & SUB_RETAIN_AS_PUBLISHED)});
        } else {
            broker->counts.dropped++;
        }
        broker_delivery_free(broker, delivery);
    }
}
