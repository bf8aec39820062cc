/* topic.c: topic names, filters, shared filters and matching (4.7, 4.8). No recursion, no backtracking: one pass. */
#include "mqtt5/topic.h"
#include "wire.h"

#define SHARE_PREFIX        "$share/"
#define SHARE_PREFIX_LENGTH ((uint32_t)sizeof(SHARE_PREFIX) - 1)

bool mq5_topic_name_valid(struct span topic)
{
    return topic.length > 0 && topic.length <= MQ5_MAX_STRING &&
           mq5_text_check(topic.data, topic.length, true) == TEXT_OK;
}

/* '+' fills its level (4.7.1-2); '#' fills the last level (4.7.1-1). */
static bool wildcards_placed_well(struct span filter)
{
    for (uint32_t i = 0; i < filter.length; i++) {
        uint8_t c = filter.data[i];
        if (c != '+' && c != '#')
            continue;
        if (i > 0 && filter.data[i - 1] != '/')
            return false;
        if (i + 1 < filter.length && (c == '#' || filter.data[i + 1] != '/'))
            return false;
    }
    return true;
}

static bool share_prefixed(struct span filter)
{
    return filter.length >= SHARE_PREFIX_LENGTH && memcmp(filter.data, SHARE_PREFIX, SHARE_PREFIX_LENGTH) == 0;
}

bool mq5_topic_filter_valid(struct span filter)
{
    if (filter.length == 0 || filter.length > MQ5_MAX_STRING || !mq5_utf8_valid(filter))
        return false;
    if (share_prefixed(filter)) {
        struct span name;
        if (!mq5_topic_share_split(filter, &name, &filter))
            return false;
    }
    return wildcards_placed_well(filter);
}

bool mq5_topic_share_split(struct span filter, struct span *name, struct span *rest)
{
    if (!share_prefixed(filter))
        return false;
    uint32_t at = SHARE_PREFIX_LENGTH;
    while (at < filter.length && filter.data[at] != '/' && filter.data[at] != '+' && filter.data[at] != '#')
        at++;
    if (at == SHARE_PREFIX_LENGTH || at + 1 >= filter.length || filter.data[at] != '/')
        return false;
    *name = (struct span){filter.data + SHARE_PREFIX_LENGTH, at - SHARE_PREFIX_LENGTH};
    *rest = (struct span){filter.data + at + 1, filter.length - at - 1};
    return true;
}

/* The next '/' or the end. */
static inline const uint8_t *level_end(const uint8_t *at, const uint8_t *end)
{
    for (; end - at >= 8; at += 8) {
        uint64_t other = mq5_load(at) ^ MQ5_EVERY('/');
        uint64_t found = (other - MQ5_EVERY(1)) & ~other & MQ5_EVERY(0x80); /* the lowest is exact */
        if (found)
            return at + (__builtin_ctzll(found) >> 3);
    }
    while (at < end && *at != '/')
        at++;
    return at;
}

/* Eight bytes of both that are the same and hold no wildcard. */
static inline bool same_eight(const uint8_t *filter, const uint8_t *topic)
{
    uint64_t eight = mq5_load(filter);
    return eight == mq5_load(topic) && !(mq5_wildcard(eight) & MQ5_EVERY(0x80));
}

bool mq5_topic_matches(struct span filter, struct span topic)
{
    const uint8_t *f = filter.data, *filter_end = f + filter.length;
    const uint8_t *t = topic.data, *topic_end = t + topic.length;
    if (filter.length == 0 || topic.length == 0)
        return false;
    if (*t == '$' && (*f == '+' || *f == '#'))
        return false;
    for (;;) { /* both stand at the beginning of a level */
        bool inside = false;
        for (; filter_end - f >= 8 && topic_end - t >= 8 && same_eight(f, t); inside = f[-1] != '/')
            f += 8, t += 8;
        bool wild = !inside && f < filter_end;
        if (wild && *f == '#')
            return true;
        if (wild && *f == '+') {
            f++;
            t = level_end(t, topic_end);
        } else {
            while (f < filter_end && t < topic_end && *f != '/' && *f == *t)
                f++, t++;
        }
        bool filter_level_over = f == filter_end || *f == '/', topic_level_over = t == topic_end || *t == '/';
        if (!filter_level_over || !topic_level_over)
            return false;
        if (t == topic_end) /* "a/#" matches its parent "a" */
            return f == filter_end || (filter_end - f == 2 && f[1] == '#');
        if (f == filter_end)
            return false;
        f++, t++;
    }
}
