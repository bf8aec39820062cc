/* topics.c: the tree of subscriptions: one node a topic level, found by (parent's number, hash of the level) in one table.
 *
 * A publish costs one look-up a level, plus one for each wildcard that exists there. No recursion: levels are bounded, and so
 * is the stack of nodes still to be visited.
 */
#include "internal.h"

bool broker_topic_split(struct span topic, struct topic_levels *levels)
{
    const uint8_t *at = topic.data, *end = at + topic.length;
    levels->count = 0;
    for (;;) {
        const uint8_t *start = at;
        uint32_t hash = 2166136261u;
        for (; at < end && *at != '/'; at++)
            hash = (hash ^ *at) * 16777619u;
        if (levels->count == BROKER_MAXIMUM_LEVELS)
            return false;
        levels->level[levels->count].text = (const char *)start;
        levels->level[levels->count].hash = hash;
        levels->level[levels->count].length = (uint16_t)(at - start);
        levels->count++;
        if (at == end)
            return true;
        at++;
    }
}

static uint32_t bucket_of(const struct cloud_broker *broker, const struct topic_node *parent, uint32_t hash)
{
    uint32_t key = (parent->serial * 0x9E3779B1u) ^ hash;
    key ^= key >> 15;
    key *= 0x85EBCA77u;
    return (key ^ key >> 13) & (broker->topic_table_size - 1);
}

static struct topic_node *child_of(const struct cloud_broker *broker, const struct topic_node *parent, const char *text,
                                   uint32_t hash, uint16_t length)
{
    if (broker->topic_table_size == 0)
        return NULL;
    struct topic_node *node = broker->topic_table[bucket_of(broker, parent, hash)];
    while (node && !(node->hash == hash && node->parent == parent && node->length == length &&
                     memcmp(node->level, text, length) == 0))
        node = node->chain;
    return node;
}

static struct topic_node *wildcard_of(const struct cloud_broker *broker, const struct topic_node *parent,
                                      const char *text)
{
    return child_of(broker, parent, text, broker_hash(text, 1), 1);
}

static bool grow_table(struct cloud_broker *broker)
{
    uint32_t size = broker->topic_table_size ? broker->topic_table_size * 2 : 16;
    struct topic_node **table = broker_memory_get_clear(broker, size * sizeof(*table));
    if (!table)
        return false;
    struct topic_node **old = broker->topic_table;
    uint32_t old_size = broker->topic_table_size;
    broker->topic_table = table;
    broker->topic_table_size = size;
    for (uint32_t i = 0; i < old_size; i++) {
        for (struct topic_node *node = old[i], *next; node; node = next) {
            next = node->chain;
            struct topic_node **bucket = &table[bucket_of(broker, node->parent, node->hash)];
            node->chain = *bucket;
            *bucket = node;
        }
    }
    broker_memory_put(broker, old, old_size * sizeof(*old));
    return true;
}

static uint32_t wildcard_flag(const char *text, uint16_t length)
{
    if (length != 1)
        return 0;
    return *text == '+' ? NODE_HAS_PLUS : *text == '#' ? NODE_HAS_HASH : 0;
}

static size_t node_size(uint16_t length)
{
    return offsetof(struct topic_node, level) + length;
}

static struct topic_node *add_child(struct cloud_broker *broker, struct topic_node *parent, const char *text,
                                    uint32_t hash, uint16_t length)
{
    if (broker->topic_count >= broker->topic_table_size + broker->topic_table_size / 4 && !grow_table(broker))
        return NULL;
    struct topic_node *node = broker_memory_get_clear(broker, node_size(length));
    if (!node)
        return NULL;
    node->parent = parent;
    node->hash = hash;
    node->serial = ++broker->topic_serial;
    node->length = length;
    memcpy(node->level, text, length);
    struct topic_node **bucket = &broker->topic_table[bucket_of(broker, parent, hash)];
    node->chain = *bucket;
    *bucket = node;
    parent->children = (parent->children + 1) | wildcard_flag(text, length);
    broker->topic_count++;
    broker->topic_generation++;
    return node;
}

struct topic_node *broker_topic_find(const struct cloud_broker *broker, const struct topic_levels *levels)
{
    struct topic_node *node = broker->topic_root;
    for (uint32_t i = 0; node && i < levels->count; i++)
        node = child_of(broker, node, levels->level[i].text, levels->level[i].hash, levels->level[i].length);
    return node;
}

struct topic_node *broker_topic_make(struct cloud_broker *broker, const struct topic_levels *levels)
{
    struct topic_node *node = broker->topic_root;
    for (uint32_t i = 0; i < levels->count; i++) {
        const char *text = levels->level[i].text;
        uint32_t hash = levels->level[i].hash;
        uint16_t length = levels->level[i].length;
        struct topic_node *child = child_of(broker, node, text, hash, length);
        if (!child)
            child = add_child(broker, node, text, hash, length);
        if (!child) {
            broker_topic_prune(broker, node);
            return NULL;
        }
        node = child;
    }
    return node;
}

void broker_topic_prune(struct cloud_broker *broker, struct topic_node *node)
{
    while (node->parent && !node->subscriptions && !(node->children & ~(NODE_HAS_PLUS | NODE_HAS_HASH))) {
        struct topic_node *parent = node->parent;
        struct topic_node **at = &broker->topic_table[bucket_of(broker, parent, node->hash)];
        while (*at != node)
            at = &(*at)->chain;
        *at = node->chain;
        parent->children = (parent->children - 1) & ~wildcard_flag(node->level, node->length);
        broker->topic_count--;
        broker->topic_generation++;
        broker_memory_put(broker, node, node_size(node->length));
        node = parent;
    }
}

/* --- matching --- */

static struct match *match_add(struct cloud_broker *broker, struct session *session)
{
    if (!broker_memory_reserve(broker, (void **)&broker->matches, &broker->match_capacity, broker->match_count + 1,
                               sizeof(struct match)))
        return NULL;
    struct match *match = &broker->matches[broker->match_count++];
    *match = (struct match){.session = session};
    return match;
}

static bool match_add_id(struct cloud_broker *broker, struct match *match, uint32_t id)
{
    if (id == 0)
        return true;
    if (match->id == 0) {
        match->id = id;
        return true;
    }
    if (!broker_memory_reserve(broker, (void **)&broker->match_ids, &broker->match_id_capacity,
                               broker->match_id_count + 1, sizeof(struct match_id)))
        return false;
    broker->match_ids[broker->match_id_count++] = (struct match_id){id, 0};
    uint32_t *link = &match->more_ids;
    while (*link)
        link = &broker->match_ids[*link - 1].next;
    *link = broker->match_id_count;
    return true;
}

/* Overlapping subscriptions of one session are one match with the highest QoS and all identifiers (3.3.4). */
static bool match_session(struct cloud_broker *broker, struct session *session, uint8_t options, uint32_t id,
                          uint32_t base)
{
    struct match *match;
    uint8_t qos = options & SUB_QOS;
    if (session->match >= base && session->match < broker->match_count && !broker->matches[session->match].group &&
        broker->matches[session->match].session == session) {
        match = &broker->matches[session->match];
    } else {
        match = match_add(broker, session);
        if (!match)
            return false;
        session->match = broker->match_count - 1;
    }
    if (qos > match->qos)
        match->qos = qos;
    if (options & SUB_RETAIN_AS_PUBLISHED)
        match->retain_as_published = true;
    return match_add_id(broker, match, id);
}

static bool match_group(struct cloud_broker *broker, struct share_group *group)
{
    struct subscription *member = broker_share_choose(group);
    if (!member)
        return true;
    struct match *match = match_add(broker, member->session);
    if (!match)
        return false;
    match->qos = member->options & SUB_QOS;
    match->retain_as_published = member->options & SUB_RETAIN_AS_PUBLISHED;
    match->id = member->id;
    match->group = group;
    group->references++;
    return true;
}

static bool match_node(struct cloud_broker *broker, const struct topic_node *node, const struct session *publisher,
                       uint32_t base)
{
    struct subscription *at = node->subscriptions;
    if (!at)
        return true;
    do {
        bool ok = true;
        if (at->options & SUB_GROUP)
            ok = match_group(broker, (struct share_group *)at);
        else if (!(at->options & SUB_NO_LOCAL) || at->session != publisher)
            ok = match_session(broker, at->session, at->options, at->id, base);
        if (!ok)
            return false;
        at = at->next;
    } while (at != node->subscriptions);
    return true;
}

void broker_topic_match_end(struct cloud_broker *broker, uint32_t base)
{
    while (broker->match_count > base) {
        struct share_group *group = broker->matches[--broker->match_count].group;
        if (group)
            broker_share_release(broker, group);
    }
}

/* What a session has by pattern; the node of that topic, if there is one, has no subscription but shared ones. */
static bool match_patterned(struct cloud_broker *broker, struct session *session, uint8_t number,
                            const struct session *publisher, uint32_t base)
{
    const struct pattern_entry *entry = broker_pattern_list_find(broker, session->patterns, number);
    if (!entry || ((entry->value & SUB_NO_LOCAL) && session == publisher))
        return true;
    return match_session(broker, session, (uint8_t)entry->value, 0, base);
}

static bool match_subscriber(struct cloud_broker *broker, const struct topic_levels *levels,
                             const struct session *publisher, uint32_t base)
{
    uint8_t number = 0;
    struct session *session = broker->patterns_subscribed ? broker_pattern_subscriber(broker, levels, &number) : NULL;
    return !session || match_patterned(broker, session, number, publisher, base);
}

bool broker_topic_match_pattern(struct cloud_broker *broker, uint8_t number, struct session *publisher, uint32_t base)
{
    const struct pattern *pattern = broker_pattern(broker, number);
    bool ok = true;
    for (uint32_t i = 0; ok && i <= pattern->route_count; i++) {
        if (i == pattern->route_self && pattern->subscribers)
            ok = match_patterned(broker, publisher, number, publisher, base);
        if (ok && i < pattern->route_count)
            ok = match_node(broker, pattern->route[i], publisher, base);
    }
    if (!ok)
        broker_topic_match_end(broker, base);
    return ok;
}

static bool collect_node(struct pattern *pattern, const struct topic_node *node)
{
    if (pattern->route_count == PATTERN_ROUTE_NODES)
        return false;
    pattern->route[pattern->route_count++] = node;
    return true;
}

/* The same walk as below. Where a name may make a difference nothing is known: a node for one name among those for all. */
bool broker_topic_collect(const struct cloud_broker *broker, const struct topic_levels *levels, struct pattern *pattern)
{
    struct {
        const struct topic_node *node;
        uint32_t depth;
    } todo[BROKER_MAXIMUM_LEVELS + 2];
    uint32_t todo_count = 0;
    bool dollar = levels->level[0].length && levels->level[0].text[0] == '$', literal = true;
    pattern->route_count = pattern->route_self = 0;
    if (pattern->name_level == 0) /* the name may begin with it */
        return false;
    todo[todo_count].node = broker->topic_root;
    todo[todo_count++].depth = 0;
    while (todo_count) {
        const struct topic_node *node = todo[--todo_count].node, *child;
        uint32_t depth = todo[todo_count].depth;
        bool wildcards = depth > 0 || !dollar;
        uint32_t hashes = node->children & NODE_HAS_HASH ? 1 : 0, pluses = node->children & NODE_HAS_PLUS ? 1 : 0;
        if (wildcards && hashes && !collect_node(pattern, wildcard_of(broker, node, "#")))
            return false;
        if (depth == levels->count) {
            if (!collect_node(pattern, node))
                return false;
            continue;
        }
        if (depth == pattern->name_level && (node->children & ~(NODE_HAS_PLUS | NODE_HAS_HASH)) > hashes + pluses)
            return false;
        if (wildcards && pluses) {
            todo[todo_count].node = wildcard_of(broker, node, "+");
            todo[todo_count++].depth = depth + 1;
        }
        child = depth == pattern->name_level ? NULL
                                             : child_of(broker, node, levels->level[depth].text,
                                                        levels->level[depth].hash, levels->level[depth].length);
        if (child) {
            todo[todo_count].node = child;
            todo[todo_count++].depth = depth + 1;
        } else if (literal) {
            literal = false;
            pattern->route_self = pattern->route_count;
        }
    }
    return true;
}

bool broker_topic_match(struct cloud_broker *broker, const struct topic_levels *levels, const struct session *publisher,
                        uint32_t base)
{
    struct {
        const struct topic_node *node;
        uint32_t depth;
    } todo[BROKER_MAXIMUM_LEVELS + 2];
    uint32_t todo_count = 0;
    bool literal = true; /* the walk begins with the nodes of the topic itself */
    /* 4.7.2-1: a wildcard at the beginning does not match $-topics. */
    bool dollar = levels->level[0].length && levels->level[0].text[0] == '$';
    bool ok = true;
    todo[todo_count].node = broker->topic_root;
    todo[todo_count++].depth = 0;
    while (ok && todo_count) {
        const struct topic_node *node = todo[--todo_count].node, *child;
        uint32_t depth = todo[todo_count].depth;
        bool wildcards = depth > 0 || !dollar;
        if (wildcards && (node->children & NODE_HAS_HASH))
            ok = match_node(broker, wildcard_of(broker, node, "#"), publisher, base);
        if (depth == levels->count) {
            ok = ok && match_node(broker, node, publisher, base);
            if (literal)
                ok = ok && match_subscriber(broker, levels, publisher, base);
            literal = false;
            continue;
        }
        if (wildcards && (node->children & NODE_HAS_PLUS)) {
            todo[todo_count].node = wildcard_of(broker, node, "+");
            todo[todo_count++].depth = depth + 1;
        }
        child =
            child_of(broker, node, levels->level[depth].text, levels->level[depth].hash, levels->level[depth].length);
        if (child) {
            todo[todo_count].node = child;
            todo[todo_count++].depth = depth + 1;
        } else if (literal) {
            literal = false;
            ok = ok && match_subscriber(broker, levels, publisher, base);
        }
    }
    if (!ok)
        broker_topic_match_end(broker, base);
    return ok;
}

void broker_topic_destroy(struct cloud_broker *broker)
{
    for (uint32_t i = 0; i < broker->topic_table_size; i++) {
        for (struct topic_node *node = broker->topic_table[i], *next; node; node = next) {
            next = node->chain;
            broker_memory_put(broker, node, node_size(node->length));
        }
    }
    broker_memory_put(broker, broker->topic_table, broker->topic_table_size * sizeof(*broker->topic_table));
    if (broker->topic_root)
        broker_memory_put(broker, broker->topic_root, node_size(0));
}
