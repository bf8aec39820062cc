/* pattern.c: what sessions have in common: topics and filters that differ only in the name of the client.
 *
 * A million vehicles subscribe to "cmd/NAME/request", each with its own name, and publish to "dt/NAME/telemetry". Such a subscription is not
 * hung up in the tree: the session holds the number of a list that it shares with all who hold the same, and a publish finds it by
 * taking the name out of the topic. Such a publish goes the way found for the first of its kind, as long as the tree has the same nodes.
 * Invariant: a filter held by pattern has no subscription in the tree; before it gets one, the session's own is hung up there
 * (subscribe.c). So at most one session has a topic by pattern, and order and overlap are those of the tree.
 */
#include "internal.h"

/* --- patterns --- */

/* Where the name stands as a level of its own; false: nowhere, or more than once. */
static bool find_name(struct span topic, struct span name, uint32_t *at, uint16_t *level)
{
    const uint8_t *start = topic.data, *end = topic.data + topic.length;
    bool found = false;
    if (name.length == 0 || topic.length >= PATTERN_TOPIC_BYTES || topic.length < name.length)
        return false;
    for (uint16_t number = 0;; number++) {
        const uint8_t *slash = memchr(start, '/', (size_t)(end - start));
        const uint8_t *stop = slash ? slash : end;
        if ((size_t)(stop - start) == name.length && memcmp(start, name.data, name.length) == 0) {
            if (found)
                return false;
            found = true;
            *at = (uint32_t)(start - topic.data);
            *level = number;
        }
        if (!slash)
            return found;
        start = slash + 1;
    }
}

static uint16_t count_levels(struct span topic)
{
    uint16_t count = 1;
    for (uint32_t i = 0; i < topic.length; i++)
        count += topic.data[i] == '/';
    return count;
}

static uint32_t hash_of(struct span prefix, struct span suffix)
{
    return broker_hash(prefix.data, prefix.length) * 31 + broker_hash(suffix.data, suffix.length);
}

static bool is_it(const struct pattern *pattern, uint32_t hash, struct span prefix, struct span suffix)
{
    return pattern && pattern->hash == hash && pattern->prefix_length == prefix.length &&
           pattern->suffix_length == suffix.length && memcmp(pattern->text, prefix.data, prefix.length) == 0 &&
           memcmp(pattern->text + prefix.length, suffix.data, suffix.length) == 0;
}

static size_t pattern_size(uint32_t text_length)
{
    return offsetof(struct pattern, text) + text_length;
}

static void forget(struct cloud_broker *broker, uint32_t place)
{
    struct pattern *pattern = broker->patterns[place];
    broker_memory_put(broker, pattern, pattern_size(pattern->prefix_length + (uint32_t)pattern->suffix_length));
    broker->patterns[place] = NULL;
}

/* A free place; or that of one nobody holds, in turn. PATTERN_MAXIMUM: there is none. */
static uint32_t find_place(struct cloud_broker *broker)
{
    uint32_t old = broker->pattern_capacity;
    for (uint32_t i = 0; i < old; i++)
        if (!broker->patterns[i])
            return i;
    if (old < PATTERN_MAXIMUM) {
        uint32_t capacity = old < 4 ? 4 : old * 2 < PATTERN_MAXIMUM ? old * 2 : PATTERN_MAXIMUM;
        struct pattern **moved =
            broker_memory_resize(broker, broker->patterns, old * sizeof(*moved), capacity * sizeof(*moved));
        if (!moved)
            return PATTERN_MAXIMUM;
        memset(moved + old, 0, (capacity - old) * sizeof(*moved));
        broker->patterns = moved;
        broker->pattern_capacity = capacity;
        return old;
    }
    for (uint32_t i = 0; i < PATTERN_MAXIMUM; i++) {
        uint32_t place = broker->pattern_hand++ % PATTERN_MAXIMUM;
        if (broker->patterns[place]->references == 0) {
            forget(broker, place);
            return place;
        }
    }
    return PATTERN_MAXIMUM;
}

/* 0: it is no pattern for this session, or not known (and not to be made, or there is no room). */
static uint8_t look_up(struct cloud_broker *maker, const struct cloud_broker *broker, const struct session *session,
                       struct span topic)
{
    struct span name = broker_client_id(session);
    uint32_t at;
    uint16_t level;
    if ((session->flags & SESSION_LOCAL) || !find_name(topic, name, &at, &level))
        return 0;
    struct span prefix = span_of(topic.data, at);
    struct span suffix = span_of(topic.data + at + name.length, topic.length - at - name.length);
    uint32_t hash = hash_of(prefix, suffix);
    for (uint32_t i = 0; i < broker->pattern_capacity; i++)
        if (is_it(broker->patterns[i], hash, prefix, suffix))
            return (uint8_t)(i + 1);
    if (!maker)
        return 0;
    uint32_t place = find_place(maker);
    struct pattern *pattern = NULL;
    if (place < PATTERN_MAXIMUM)
        pattern = broker_memory_get_clear(maker, pattern_size(prefix.length + suffix.length));
    if (!pattern)
        return 0;
    pattern->hash = hash;
    pattern->prefix_length = (uint16_t)prefix.length;
    pattern->suffix_length = (uint16_t)suffix.length;
    pattern->level_count = count_levels(topic);
    pattern->name_level = level;
    pattern->route_generation = UINT64_MAX;
    memcpy(pattern->text, prefix.data, prefix.length);
    memcpy(pattern->text + prefix.length, suffix.data, suffix.length);
    maker->patterns[place] = pattern;
    return (uint8_t)(place + 1);
}

uint8_t broker_pattern_of(struct cloud_broker *broker, const struct session *session, struct span topic)
{
    return look_up(broker, broker, session, topic);
}

uint8_t broker_pattern_find(const struct cloud_broker *broker, const struct session *session, struct span topic)
{
    return look_up(NULL, broker, session, topic);
}

bool broker_pattern_fits(const struct pattern *pattern, const struct session *session, struct span topic)
{
    const uint8_t *at = topic.data;
    return topic.length == (uint32_t)pattern->prefix_length + session->client_id_length + pattern->suffix_length &&
           memcmp(at, pattern->text, pattern->prefix_length) == 0 &&
           memcmp(at + pattern->prefix_length, session->client_id, session->client_id_length) == 0 &&
           memcmp(at + pattern->prefix_length + session->client_id_length, pattern->text + pattern->prefix_length,
                  pattern->suffix_length) == 0;
}

/* Most pieces of a topic have up to sixteen bytes: two moves that overlap, without a call. */
static inline char *put_piece(char *at, const void *piece, size_t length)
{
    const char *from = piece;
    if (length > 16) {
        memcpy(at, from, length);
    } else if (length >= 8) {
        uint64_t first, last;
        memcpy(&first, from, 8);
        memcpy(&last, from + length - 8, 8);
        memcpy(at, &first, 8);
        memcpy(at + length - 8, &last, 8);
    } else {
        for (size_t i = 0; i < length; i++)
            at[i] = from[i];
    }
    return at + length;
}

struct span broker_pattern_topic(const struct pattern *pattern, struct span client_id, char *out)
{
    char *at = put_piece(out, pattern->text, pattern->prefix_length);
    at = put_piece(at, client_id.data, client_id.length);
    at = put_piece(at, pattern->text + pattern->prefix_length, pattern->suffix_length);
    return span_of(out, (size_t)(at - out));
}

/* --- whom it reaches --- */

/* May another subscribed pattern match the same topic, by way of another name in another level? */
static bool crossed(const struct cloud_broker *broker, const struct pattern *pattern)
{
    for (uint32_t i = 0; i < broker->pattern_capacity; i++) {
        const struct pattern *other = broker->patterns[i];
        if (other && other->subscribers && other->level_count == pattern->level_count &&
            other->name_level != pattern->name_level)
            return true;
    }
    return false;
}

bool broker_pattern_route_find(struct cloud_broker *broker, struct pattern *pattern, struct span topic)
{
    struct topic_levels levels;
    pattern->route_known = !crossed(broker, pattern) && broker_topic_split(topic, &levels) &&
                           broker_topic_collect(broker, &levels, pattern);
    pattern->route_generation = broker->topic_generation;
    return pattern->route_known;
}

struct session *broker_pattern_subscriber(const struct cloud_broker *broker, const struct topic_levels *levels,
                                          uint8_t *number)
{
    const char *start = levels->level[0].text,
               *end = levels->level[levels->count - 1].text + levels->level[levels->count - 1].length;
    for (uint32_t i = 0; i < broker->pattern_capacity; i++) {
        const struct pattern *pattern = broker->patterns[i];
        if (!pattern || !pattern->subscribers || pattern->level_count != levels->count)
            continue;
        const char *name = levels->level[pattern->name_level].text;
        uint16_t length = levels->level[pattern->name_level].length;
        if ((size_t)(name - start) != pattern->prefix_length ||
            (size_t)(end - name) != (size_t)length + pattern->suffix_length ||
            memcmp(start, pattern->text, pattern->prefix_length) != 0 ||
            memcmp(name + length, pattern->text + pattern->prefix_length, pattern->suffix_length) != 0)
            continue;
        struct session *session =
            broker_session_find_hashed(broker, span_of(name, length), levels->level[pattern->name_level].hash);
        if (session && broker_pattern_list_find(broker, session->patterns, (uint8_t)(i + 1))) {
            *number = (uint8_t)(i + 1);
            return session;
        }
    }
    return NULL;
}

void broker_pattern_subscribed(struct cloud_broker *broker, uint8_t number, bool more)
{
    struct pattern *pattern = broker_pattern(broker, number);
    bool was = pattern->subscribers > 0;
    pattern->subscribers += more ? 1 : -1u;
    if (was != (pattern->subscribers > 0)) {
        broker->patterns_subscribed += more ? 1 : -1u;
        broker->topic_generation++;
    }
}

/* --- lists --- */

static const struct pattern_list *list_of(const struct cloud_broker *broker, uint16_t list)
{
    return list ? broker->pattern_lists[list - 1] : NULL;
}

static size_t list_size(uint32_t count)
{
    return offsetof(struct pattern_list, entries) + count * sizeof(struct pattern_entry);
}

const struct pattern_entry *broker_pattern_list_find(const struct cloud_broker *broker, uint16_t list, uint8_t number)
{
    const struct pattern_list *is = list_of(broker, list);
    for (uint32_t i = 0; is && i < is->count; i++)
        if (is->entries[i].pattern == number)
            return &is->entries[i];
    return NULL;
}

const struct pattern_entry *broker_pattern_list_value(const struct cloud_broker *broker, uint16_t list, uint16_t value)
{
    const struct pattern_list *is = list_of(broker, list);
    for (uint32_t i = 0; is && i < is->count; i++)
        if (is->entries[i].value == value)
            return &is->entries[i];
    return NULL;
}

void broker_pattern_list_release(struct cloud_broker *broker, uint16_t list)
{
    if (list == 0)
        return;
    struct pattern_list *is = broker->pattern_lists[list - 1];
    if (--is->references)
        return;
    for (uint32_t i = 0; i < is->count; i++)
        broker_pattern(broker, is->entries[i].pattern)->references--;
    broker->pattern_lists[list - 1] = NULL;
    broker_memory_put(broker, is, list_size(is->count));
}

static bool same_entries(const struct pattern_list *list, const struct pattern_entry *entries, uint32_t count)
{
    if (!list || list->count != count)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (list->entries[i].pattern != entries[i].pattern || list->entries[i].value != entries[i].value)
            return false;
    return true;
}

/* The number of the list with these entries, which has one reference more; 0: no room or memory. */
static uint16_t find_list(struct cloud_broker *broker, const struct pattern_entry *entries, uint32_t count)
{
    uint32_t place = PATTERN_LIST_MAXIMUM;
    for (uint32_t i = 0; i < broker->pattern_list_capacity; i++) {
        if (same_entries(broker->pattern_lists[i], entries, count)) {
            broker->pattern_lists[i]->references++;
            return (uint16_t)(i + 1);
        }
        if (!broker->pattern_lists[i] && place == PATTERN_LIST_MAXIMUM)
            place = i;
    }
    if (place == PATTERN_LIST_MAXIMUM) {
        uint32_t old = broker->pattern_list_capacity, capacity = old < 4 ? 4 : old * 2;
        if (old >= PATTERN_LIST_MAXIMUM)
            return 0;
        capacity = capacity < PATTERN_LIST_MAXIMUM ? capacity : PATTERN_LIST_MAXIMUM;
        struct pattern_list **moved =
            broker_memory_resize(broker, broker->pattern_lists, old * sizeof(*moved), capacity * sizeof(*moved));
        if (!moved)
            return 0;
        memset(moved + old, 0, (capacity - old) * sizeof(*moved));
        broker->pattern_lists = moved;
        broker->pattern_list_capacity = capacity;
        place = old;
    }
    struct pattern_list *list = broker_memory_get(broker, list_size(count));
    if (!list)
        return 0;
    list->references = 1;
    list->count = (uint16_t)count;
    memcpy(list->entries, entries, count * sizeof(*entries));
    for (uint32_t i = 0; i < count; i++)
        broker_pattern(broker, entries[i].pattern)->references++;
    broker->pattern_lists[place] = list;
    return (uint16_t)(place + 1);
}

/* Takes the pattern out, and puts it in at its place, or at the end, if `put`. */
static bool exchange(struct cloud_broker *broker, uint16_t *list, uint8_t number, uint16_t value, bool put)
{
    struct pattern_entry entries[PATTERN_LIST_LENGTH + 1];
    const struct pattern_list *old = list_of(broker, *list);
    uint32_t count = 0;
    bool done = false;
    for (uint32_t i = 0; old && i < old->count; i++) {
        bool it = old->entries[i].pattern == number;
        if (!it || put)
            entries[count++] = it ? (struct pattern_entry){value, number} : old->entries[i];
        done |= it;
    }
    if (put && !done)
        entries[count++] = (struct pattern_entry){value, number};
    if (count > PATTERN_LIST_LENGTH)
        return false;
    uint16_t now = count ? find_list(broker, entries, count) : 0;
    if (count && !now)
        return false;
    broker_pattern_list_release(broker, *list);
    *list = now;
    return true;
}

bool broker_pattern_list_put(struct cloud_broker *broker, uint16_t *list, uint8_t number, uint16_t value)
{
    return exchange(broker, list, number, value, true);
}

bool broker_pattern_list_drop(struct cloud_broker *broker, uint16_t *list, uint8_t number)
{
    return exchange(broker, list, number, 0, false);
}

void broker_pattern_destroy(struct cloud_broker *broker)
{
    for (uint32_t i = 0; i < broker->pattern_capacity; i++)
        if (broker->patterns[i])
            forget(broker, i);
    broker_memory_put(broker, broker->patterns, broker->pattern_capacity * sizeof(*broker->patterns));
    broker_memory_put(broker, broker->pattern_lists, broker->pattern_list_capacity * sizeof(*broker->pattern_lists));
}
