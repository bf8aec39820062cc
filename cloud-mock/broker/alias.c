/* alias.c: topic aliases (3.3.2.3.4), both ways; they die with the link.
 *
 * Towards a client topics get aliases as they come; when all are given the oldest is given anew. From a client most are of topics with its
 * own name in them: a link holds the number of a list that many links share (pattern.c), and the topic is written out when it is used.
 */
#include "internal.h"

static size_t table_size(uint16_t capacity)
{
    return sizeof(struct alias_table) + capacity * sizeof(struct alias_topic);
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

/* Makes room for alias `needed`; what is not known yet stays empty. */
static bool table_reserve(struct cloud_broker *broker, struct alias_table **table, uint16_t needed, uint16_t maximum)
{
    uint32_t old = *table ? (*table)->capacity : 0, capacity = old ? old * 2 : 2;
    if (needed <= old)
        return true;
    capacity = capacity < needed ? needed : capacity > maximum ? maximum : capacity;
    struct alias_table *moved =
        broker_memory_resize(broker, *table, *table ? table_size((uint16_t)old) : 0, table_size((uint16_t)capacity));
    if (!moved)
        return false;
    if (!*table)
        moved->count = moved->next = 0;
    memset(moved->topics + old, 0, (capacity - old) * sizeof(*moved->topics));
    moved->capacity = (uint16_t)capacity;
    *table = moved;
    return true;
}

/* A topic with the client's own name in it is kept by pattern; false: it is not, and nothing has changed. */
static bool learn_pattern(struct cloud_broker *broker, struct cloud_connection *connection, uint16_t alias,
                          struct span topic)
{
    uint8_t pattern = broker_pattern_of(broker, connection->session, topic);
    if (!pattern)
        return false;
    const struct pattern_entry *entry = broker_pattern_list_find(broker, connection->aliases, pattern);
    if (entry)
        return entry->value == alias; /* a second alias for one topic goes to the table */
    return broker_pattern_list_put(broker, &connection->aliases, pattern, alias);
}

static uint8_t learn(struct cloud_broker *broker, struct cloud_connection *connection, uint16_t alias,
                     struct span topic)
{
    const struct pattern_entry *entry = broker_pattern_list_value(broker, connection->aliases, alias);
    struct alias_table *table = connection->more ? connection->more->aliases_in : NULL;
    bool fits = entry && broker_pattern_fits(broker_pattern(broker, entry->pattern), connection->session, topic);
    if (entry && !fits) /* if it cannot be taken out: what stands in the table comes first */
        broker_pattern_list_drop(broker, &connection->aliases, entry->pattern);
    if (fits || (!broker_pattern_list_value(broker, connection->aliases, alias) &&
                 learn_pattern(broker, connection, alias, topic))) {
        if (table && alias <= table->capacity)
            topic_clear(broker, &table->topics[alias - 1]);
        return MQ5_SUCCESS;
    }
    if (!broker_link_more(broker, connection) ||
        !table_reserve(broker, &connection->more->aliases_in, alias, broker->options.topic_alias_maximum))
        return MQ5_QUOTA_EXCEEDED;
    return topic_set(broker, &connection->more->aliases_in->topics[alias - 1], topic) ? MQ5_SUCCESS
                                                                                      : MQ5_QUOTA_EXCEEDED;
}

uint8_t broker_alias_resolve(struct cloud_broker *broker, struct cloud_connection *connection,
                             struct mq5_publish *publish, uint8_t *pattern, char *room)
{
    uint16_t alias = publish->properties.topic_alias;
    publish->properties.present &= ~MQ5_BIT(MQ5_TOPIC_ALIAS);
    if (alias == 0 || alias > broker->options.topic_alias_maximum)
        return MQ5_TOPIC_ALIAS_INVALID;
    if (publish->topic.length) {
        broker->counts.alias_saved_in -= BROKER_ALIAS_BYTES;
        return learn(broker, connection, alias, publish->topic);
    }
    struct alias_table *table = connection->more ? connection->more->aliases_in : NULL;
    if (table && alias <= table->capacity && table->topics[alias - 1].topic) {
        publish->topic = span_of(table->topics[alias - 1].topic, table->topics[alias - 1].length);
        broker->counts.alias_saved_in += (int64_t)publish->topic.length - BROKER_ALIAS_BYTES;
        return MQ5_SUCCESS;
    }
    const struct pattern_entry *entry = broker_pattern_list_value(broker, connection->aliases, alias);
    if (!entry)
        return MQ5_PROTOCOL_ERROR;
    *pattern = entry->pattern;
    publish->topic =
        broker_pattern_topic(broker_pattern(broker, entry->pattern), broker_client_id(connection->session), room);
    broker->counts.alias_saved_in += (int64_t)publish->topic.length - BROKER_ALIAS_BYTES;
    return MQ5_SUCCESS;
}

uint16_t broker_alias_for(struct cloud_broker *broker, struct cloud_connection *connection, struct span topic,
                          bool *known)
{
    struct link_more *more = connection->more;
    uint16_t count = more->aliases_out ? more->aliases_out->count : 0;
    *known = false;
    uint32_t hash = broker_hash(topic.data, topic.length);
    for (uint16_t i = 0; i < count; i++) {
        struct alias_topic *entry = &more->aliases_out->topics[i];
        if (entry->hash == hash && span_equal(span_of(entry->topic, entry->length), topic)) {
            *known = true;
            return (uint16_t)(i + 1);
        }
    }
    bool is_new = count < more->alias_maximum_out;
    if (is_new && !table_reserve(broker, &more->aliases_out, (uint16_t)(count + 1), more->alias_maximum_out))
        return 0;
    struct alias_table *table = more->aliases_out;
    uint16_t place = is_new ? count : table->next;
    if (!topic_set(broker, &table->topics[place], topic))
        return 0;
    if (is_new)
        table->count++;
    else
        table->next = (uint16_t)((table->next + 1) % more->alias_maximum_out);
    return (uint16_t)(place + 1);
}

void broker_alias_forget(struct cloud_broker *broker, struct cloud_connection *connection, uint16_t alias)
{
    topic_clear(broker, &connection->more->aliases_out->topics[alias - 1]);
}
