/* retained.c: the last retained message of each topic (3.3.1.3), in a tree of its own so that a wildcard walks only what it matches.
 *
 * Children are walked in the order in which they came. Wildcards collect first and deliver after: a reader may change the tree.
 */
#include "internal.h"

static size_t node_size(uint16_t length)
{
    return offsetof(struct retained_node, level) + length;
}

static uint32_t bucket_of(const struct cloud_broker *broker, const struct retained_node *parent, uint32_t hash)
{
    uint64_t key = broker_mix(((uint64_t)parent->serial << 32) | hash);
    return (uint32_t)key & (broker->retained_table_size - 1);
}

static struct retained_node *child_of(const struct cloud_broker *broker, const struct retained_node *parent,
                                      const char *text, uint32_t hash, uint16_t length)
{
    if (broker->retained_table_size == 0)
        return NULL;
    struct retained_node *node = broker->retained_table[bucket_of(broker, parent, hash)];
    while (node && !(node->hash == hash && node->parent == parent && node->length == length &&
                     memcmp(node->level, text, length) == 0))
        node = node->chain;
    return node;
}

static bool grow_table(struct cloud_broker *broker)
{
    uint32_t old_size = broker->retained_table_size, size = old_size ? old_size * 2 : 16;
    struct retained_node **old = broker->retained_table,
                         **table = broker_memory_get_clear(broker, size * sizeof(*table));
    if (!table)
        return false;
    broker->retained_table = table;
    broker->retained_table_size = size;
    for (uint32_t i = 0; i < old_size; i++) {
        for (struct retained_node *node = old[i], *next; node; node = next) {
            next = node->chain;
            struct retained_node **bucket = &table[bucket_of(broker, node->parent, node->hash)];
            node->chain = *bucket;
            *bucket = node;
        }
    }
    broker_memory_put(broker, old, old_size * sizeof(*old));
    return true;
}

static struct retained_node *add_child(struct cloud_broker *broker, struct retained_node *parent, const char *text,
                                       uint32_t hash, uint16_t length)
{
    if (broker->retained_node_count >= broker->retained_table_size && !grow_table(broker))
        return NULL;
    struct retained_node *node = broker_memory_get_clear(broker, node_size(length));
    if (!node)
        return NULL;
    node->parent = parent;
    node->hash = hash;
    node->serial = ++broker->retained_serial;
    node->length = length;
    memcpy(node->level, text, length);
    struct retained_node **bucket = &broker->retained_table[bucket_of(broker, parent, hash)];
    node->chain = *bucket;
    *bucket = node;
    node->previous = parent->last_child;
    if (parent->last_child)
        parent->last_child->next = node;
    else
        parent->first_child = node;
    parent->last_child = node;
    broker->retained_node_count++;
    return node;
}

static void remove_node(struct cloud_broker *broker, struct retained_node *node)
{
    struct retained_node *parent = node->parent;
    struct retained_node **at = &broker->retained_table[bucket_of(broker, parent, node->hash)];
    while (*at != node)
        at = &(*at)->chain;
    *at = node->chain;
    if (node->previous)
        node->previous->next = node->next;
    else
        parent->first_child = node->next;
    if (node->next)
        node->next->previous = node->previous;
    else
        parent->last_child = node->previous;
    broker->retained_node_count--;
    broker_memory_put(broker, node, node_size(node->length));
}

static void prune(struct cloud_broker *broker, struct retained_node *node)
{
    while (node->parent && !node->message && !node->first_child) {
        struct retained_node *parent = node->parent;
        remove_node(broker, node);
        node = parent;
    }
}

static void forget(struct cloud_broker *broker, struct retained_node *node)
{
    broker_timer_remove(broker, &node->timer);
    broker_message_release(broker, node->message);
    node->message = NULL;
    broker->retained_count--;
    prune(broker, node);
}

void broker_retained_expire(struct cloud_broker *broker, struct retained_node *node)
{
    forget(broker, node);
}

void broker_retained_forget_all(struct cloud_broker *broker)
{
    for (uint32_t i = 0; i < broker->retained_table_size; i++) {
        struct retained_node *node = broker->retained_table[i];
        while (node) { /* others of this bucket may go with it: from the start again */
            bool found = node->message;
            if (found)
                forget(broker, node);
            node = found ? broker->retained_table[i] : node->chain;
        }
    }
}

static struct retained_node *find(const struct cloud_broker *broker, const struct topic_levels *levels)
{
    struct retained_node *node = broker->retained_root;
    for (uint32_t i = 0; node && i < levels->count; i++)
        node = child_of(broker, node, levels->level[i].text, levels->level[i].hash, levels->level[i].length);
    return node;
}

static struct retained_node *make(struct cloud_broker *broker, const struct topic_levels *levels)
{
    struct retained_node *node = broker->retained_root;
    for (uint32_t i = 0; i < levels->count; i++) {
        const char *text = levels->level[i].text;
        uint32_t hash = levels->level[i].hash;
        uint16_t length = levels->level[i].length;
        struct retained_node *child = child_of(broker, node, text, hash, length);
        if (!child)
            child = add_child(broker, node, text, hash, length);
        if (!child) {
            prune(broker, node);
            return NULL;
        }
        node = child;
    }
    return node;
}

static bool keep(struct cloud_broker *broker, struct retained_node *node, struct message *message)
{
    broker_timer_remove(broker, &node->timer);
    if (node->message)
        broker_message_release(broker, node->message);
    else
        broker->retained_count++;
    node->message = message;
    message->references++;
    if (broker_timer_set(broker, &node->timer, TIMER_RETAINED, broker_message_expires_us(message)))
        return true;
    forget(broker, node);
    return false;
}

uint8_t broker_retained_store(struct cloud_broker *broker, int64_t now_us, const struct mq5_publish *publish,
                              const struct topic_levels *levels, struct routed *routed)
{
    struct retained_node *node = find(broker, levels);
    bool had = node && node->message;
    if (publish->payload.length == 0) { /* 3.3.1-6, 3.3.1-7 */
        if (had)
            forget(broker, node);
        return MQ5_SUCCESS;
    }
    if (!had && broker->retained_count >= broker->options.maximum_retained)
        return MQ5_QUOTA_EXCEEDED;
    if (!routed->stored)
        routed->stored = broker_message_create(broker, now_us, publish);
    if (!routed->stored)
        return MQ5_QUOTA_EXCEEDED;
    node = make(broker, levels);
    return node && keep(broker, node, routed->stored) ? MQ5_SUCCESS : MQ5_QUOTA_EXCEEDED;
}

/* --- finding what a filter matches --- */

struct found {
    struct message **list;
    uint32_t count, capacity;
};

struct walk {
    struct cloud_broker *broker;
    const struct topic_levels *filter;
    bool rest; /* the filter ends in '#', which stands for everything from this level on: */
    uint32_t rest_level;
};

static bool is_level(const struct topic_levels *filter, uint32_t depth, char wildcard)
{
    return filter->level[depth].length == 1 && *filter->level[depth].text == wildcard;
}

static struct retained_node *skip_dollar(struct retained_node *node, uint32_t depth)
{
    while (node && depth == 0 && node->length && node->level[0] == '$')
        node = node->next;
    return node;
}

static bool any_at(const struct walk *walk, uint32_t depth)
{
    return (walk->rest && depth >= walk->rest_level) || is_level(walk->filter, depth, '+');
}

static struct retained_node *first_at(const struct walk *walk, const struct retained_node *parent, uint32_t depth)
{
    if (any_at(walk, depth))
        return skip_dollar(parent->first_child, depth);
    return child_of(walk->broker, parent, walk->filter->level[depth].text, walk->filter->level[depth].hash,
                    walk->filter->level[depth].length);
}

static struct retained_node *next_at(const struct walk *walk, const struct retained_node *node, uint32_t depth)
{
    return any_at(walk, depth) ? skip_dollar(node->next, depth) : NULL;
}

static bool take(struct walk *walk, struct retained_node *node, uint32_t depth, struct found *found)
{
    bool matches = walk->rest ? depth + 1 >= walk->rest_level : depth + 1 == walk->filter->count;
    if (!matches || !node->message)
        return true;
    if (!broker_memory_reserve(walk->broker, (void **)&found->list, &found->capacity, found->count + 1,
                               sizeof(*found->list)))
        return false;
    found->list[found->count++] = node->message;
    node->message->references++;
    return true;
}

static void collect(struct walk *walk, struct found *found)
{
    struct retained_node *path[BROKER_MAXIMUM_LEVELS];
    uint32_t depth = 0;
    path[0] = first_at(walk, walk->broker->retained_root, 0);
    for (;;) {
        struct retained_node *node = path[depth];
        if (!node) {
            if (depth == 0)
                return;
            depth--;
            path[depth] = next_at(walk, path[depth], depth);
            continue;
        }
        if (!take(walk, node, depth, found))
            return;
        if (depth + 1 < BROKER_MAXIMUM_LEVELS && (walk->rest || depth + 1 < walk->filter->count)) {
            depth++;
            path[depth] = first_at(walk, node, depth);
        } else {
            path[depth] = next_at(walk, node, depth);
        }
    }
}

static void send_one(struct cloud_broker *broker, int64_t now_us, struct session *session, struct span filter,
                     struct message *message)
{
    uint8_t options;
    uint32_t id;
    if (!broker_subscription_read(broker, session, filter, &options, &id) ||
        broker_message_expires_us(message) <= now_us)
        return;
    struct mq5_publish publish;
    broker_message_view(message, now_us, &publish);
    struct routed routed = {now_us, &publish, message};
    uint8_t qos = options & SUB_QOS;
    broker_deliver(broker, &routed,
                   &(struct target){session, NULL, &id, id != 0, qos < publish.qos ? qos : publish.qos, true});
}

void broker_retained_send(struct cloud_broker *broker, int64_t now_us, struct session *session, struct span filter)
{
    struct topic_levels levels;
    struct found found = {0};
    struct walk walk = {.broker = broker, .filter = &levels};
    if (broker->retained_count == 0 || !broker_topic_split(filter, &levels))
        return;
    walk.rest = is_level(&levels, levels.count - 1, '#');
    walk.rest_level = levels.count - 1;
    collect(&walk, &found);
    for (uint32_t i = 0; i < found.count; i++) {
        if (!(session->flags & SESSION_DEAD))
            send_one(broker, now_us, session, filter, found.list[i]);
        broker_message_release(broker, found.list[i]);
    }
    broker_memory_put(broker, found.list, found.capacity * sizeof(*found.list));
}

uint64_t broker_retained_hash(const struct cloud_broker *broker)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < broker->retained_table_size; i++)
        for (const struct retained_node *node = broker->retained_table[i]; node; node = node->chain)
            if (node->message)
                sum += broker_message_hash(broker, node->message) * 3;
    return sum;
}

void broker_retained_destroy(struct cloud_broker *broker)
{
    for (uint32_t i = 0; i < broker->retained_table_size; i++) {
        for (struct retained_node *node = broker->retained_table[i], *next; node; node = next) {
            next = node->chain;
            broker_message_release(broker, node->message);
            broker_memory_put(broker, node, node_size(node->length));
        }
    }
    broker_memory_put(broker, broker->retained_table, broker->retained_table_size * sizeof(*broker->retained_table));
    if (broker->retained_root)
        broker_memory_put(broker, broker->retained_root, node_size(0));
}
