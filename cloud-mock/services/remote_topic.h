/* remote_topic.h: topic templates with '%' for the thing: filled in, and taken apart again. */
#ifndef SERVICES_REMOTE_TOPIC_H
#define SERVICES_REMOTE_TOPIC_H

#include "text.h"

/* The template with the thing in place of '%'; an empty span: it has none, or there is no room. */
static inline struct span remote_topic(const char *topic_template, struct span thing, char *out, size_t capacity)
{
    struct text_writer w = {out, 0, capacity};
    const char *mark = strchr(topic_template, '%');
    if (!mark)
        return (struct span){0};
    text_put(&w, topic_template, (size_t)(mark - topic_template));
    text_put(&w, thing.data, thing.length);
    text_put_string(&w, mark + 1);
    return text_fits(&w) ? span_of(out, w.at) : (struct span){0};
}

/* The thing in a topic made of the template; empty: another topic. */
static inline struct span remote_topic_thing(const char *topic_template, struct span topic)
{
    const char *mark = strchr(topic_template, '%');
    size_t before = mark ? (size_t)(mark - topic_template) : 0, behind = mark ? strlen(mark + 1) : 0;
    if (!mark || topic.length <= before + behind || memcmp(topic.data, topic_template, before) != 0 ||
        memcmp(topic.data + topic.length - behind, mark + 1, behind) != 0)
        return (struct span){0};
    return span_of(topic.data + before, topic.length - before - behind);
}

static inline uint64_t remote_hash(struct span text)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (uint32_t i = 0; i < text.length; i++)
        hash = (hash ^ text.data[i]) * UINT64_C(0x100000001B3);
    hash ^= hash >> 32;
    return hash ? hash : 1;
}

#endif
