/* digest.c: one number for the state of a broker, the same whatever the order of its tables. Sums of hashes of parts. */
#include "internal.h"

static uint64_t hash_bytes(uint64_t hash, const void *data, uint32_t length)
{
    return broker_mix(hash ^ ((uint64_t)broker_hash(data, length) << 32 | length));
}

uint64_t broker_message_hash(const struct cloud_broker *broker, const struct message *message)
{
    uint32_t length = message->size - (uint32_t)sizeof(struct message);
    uint64_t hash = hash_bytes(message->qos * 2u + message->retain, message->bytes,
                               broker->options.contents_vary ? message->topic_length : length);
    if (broker->options.contents_vary)
        hash = broker_mix(hash + length);
    hash = broker_mix(hash + message->topic_length);
    if (message->present & MESSAGE_EXPIRY)
        hash = broker_mix(hash + (uint64_t)broker_message_expires_us(message));
    return hash;
}

static uint64_t hash_subscription(const struct subscription *subscription)
{
    const struct topic_node *node = subscription->node;
    uint64_t hash = broker_mix(subscription->options + (uint64_t)subscription->id * 64);
    if (subscription->options & SUB_SHARED) {
        hash = hash_bytes(hash, subscription->group->name, subscription->group->name_length);
        node = subscription->group->head.node;
    }
    for (; node->parent; node = node->parent)
        hash = hash_bytes(hash, node->level, node->length);
    return hash;
}

/* The same number as for one in the tree. */
static uint64_t hash_patterned(const struct cloud_broker *broker, const struct session *session,
                               const struct pattern_entry *entry)
{
    char room[PATTERN_TOPIC_BYTES];
    struct topic_levels levels;
    uint64_t hash = broker_mix(entry->value);
    broker_topic_split(broker_pattern_topic(broker_pattern(broker, entry->pattern), broker_client_id(session), room),
                       &levels);
    while (levels.count--)
        hash = hash_bytes(hash, levels.level[levels.count].text, levels.level[levels.count].length);
    return hash;
}

static uint64_t hash_deliveries(const struct cloud_broker *broker, const struct delivery *list)
{
    uint64_t hash = 0;
    for (; list; list = list->next) {
        hash = broker_mix(hash + list->packet_id + list->qos * UINT64_C(65536) + list->state * UINT64_C(0x1000000));
        if (list->message)
            hash = broker_mix(hash + broker_message_hash(broker, list->message));
    }
    return hash;
}

static uint64_t hash_session(const struct cloud_broker *broker, const struct session *session)
{
    const struct pattern_list *patterns = session->patterns ? broker->pattern_lists[session->patterns - 1] : NULL;
    const struct id_set *received = broker_received_of(session);
    const struct will *will = broker_will_of(session);
    int64_t expires_us = broker_session_present(session) ? TIME_NEVER : session->expires_us;
    uint64_t hash = hash_bytes(session->expiry_s, session->client_id, session->client_id_length), subscriptions = 0;
    hash = broker_mix(hash + (broker_session_present(session) ? 1 : 0) + (uint64_t)expires_us);
    for (const struct subscription *at = broker_subscriptions_of(session); at; at = at->session_next)
        subscriptions += hash_subscription(at);
    for (uint32_t i = 0; patterns && i < patterns->count; i++)
        subscriptions += hash_patterned(broker, session, &patterns->entries[i]);
    hash = broker_mix(hash + subscriptions);
    if (session->flow)
        hash = broker_mix(hash + hash_deliveries(broker, session->flow->sent) +
                          3 * hash_deliveries(broker, session->flow->queued));
    if (received)
        hash = hash_bytes(hash, received->ids, received->count * (uint32_t)sizeof(uint16_t));
    if (will)
        hash = broker_mix(hash + broker_message_hash(broker, will->message) + (uint64_t)will->due_us);
    return hash;
}

uint64_t cloud_broker_state_hash(const struct cloud_broker *broker)
{
    uint64_t sum = broker_retained_hash(broker);
    for (uint32_t i = 0; i < broker->session_table_size; i++)
        for (const struct session *session = broker->session_table[i]; session; session = session->chain)
            sum += hash_session(broker, session);
    for (const struct cloud_local *local = broker->locals; local; local = local->next)
        sum += 5 * hash_session(broker, local->session);
    return broker_mix(sum);
}
