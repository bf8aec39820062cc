/* alias.c: topic aliases (3.3.2.3.4), both ways; they die with the link.
 *
 * Towards a client topics get aliases as they come; when all are given the oldest is given anew.
 */
#include "internal.h"

static size_t table_size(uint16_t capacity)
{
    return sizeof(struct alias_table) + capacity * sizeof(struct alias_topic);
}

static struct alias_table *table_make(struct cloud_broker *broker, uint16_t capacity)
{
    struct alias_table *table = broker_memory_get_clear(broker, table_size(capacity));
    if (table)
        table->capacity = capacity;
    return table;
}

static void topic_clear(struct cloud_broker *broker, struct alias_topic *entry)
{
    broker_memory_put(broker, entry->topic, entry->length);
    *entry = (struct alias_topic){0};
}

static bool topic_set(struct cloud_broker *broker, struct alias_topic *entry, struct span topic)
{
    char *copy = broker_memory_get(broker, topic.length);
    if (!copy)
        return false;
    memcpy(copy, topic.data, topic.length);
    topic_clear(broker, entry);
    *entry = (struct alias_topic){copy, broker_hash(topic.data, topic.length), (uint16_t)topic.length};
    return true;
}

void broker_alias_free(struct cloud_broker *broker, struct alias_table *table)
{
    if (!table)
        return;
    for (uint16_t i = 0; i < table->capacity; i++)
        topic_clear(broker, &table->topics[i]);
    broker_memory_put(broker, table, table_size(table->capacity));
}

uint8_t broker_alias_resolve(struct cloud_broker *broker, struct cloud_connection *connection,
                             struct mq5_publish *publish)
{
    uint16_t alias = publish->properties.topic_alias;
    publish->properties.present &= ~MQ5_BIT(MQ5_TOPIC_ALIAS);
    if (alias == 0 || alias > broker->options.topic_alias_maximum)
        return MQ5_TOPIC_ALIAS_INVALID;
    if (!connection->aliases_in)
        connection->aliases_in = table_make(broker, broker->options.topic_alias_maximum);
    if (!connection->aliases_in)
        return MQ5_QUOTA_EXCEEDED;
    struct alias_topic *entry = &connection->aliases_in->topics[alias - 1];
    if (publish->topic.length)
        return topic_set(broker, entry, publish->topic) ? MQ5_SUCCESS : MQ5_QUOTA_EXCEEDED;
    if (!entry->topic)
        return MQ5_PROTOCOL_ERROR;
    publish->topic = span_of(entry->topic, entry->length);
    return MQ5_SUCCESS;
}

uint16_t broker_alias_for(struct cloud_broker *broker, struct cloud_connection *connection, struct span topic,
                          bool *known)
{
    *known = false;
    if (!connection->aliases_out)
        connection->aliases_out = table_make(broker, connection->alias_maximum_out);
    struct alias_table *table = connection->aliases_out;
    if (!table)
        return 0;
    uint32_t hash = broker_hash(topic.data, topic.length);
    for (uint16_t i = 0; i < table->count; i++) {
        struct alias_topic *entry = &table->topics[i];
        if (entry->hash == hash && span_equal(span_of(entry->topic, entry->length), topic)) {
            *known = true;
            return (uint16_t)(i + 1);
        }
    }
    uint16_t place = table->count < table->capacity ? table->count : table->next;
    if (!topic_set(broker, &table->topics[place], topic))
        return 0;
    if (place == table->count)
        table->count++;
    else
        table->next = (uint16_t)((table->next + 1) % table->capacity);
    return (uint16_t)(place + 1);
}

void broker_alias_forget(struct cloud_broker *broker, struct cloud_connection *connection, uint16_t alias)
{
    topic_clear(broker, &connection->aliases_out->topics[alias - 1]);
}
