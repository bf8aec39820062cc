/* levels.h: the topic of a request, taken apart level by level. */
#ifndef SERVICES_LEVELS_H
#define SERVICES_LEVELS_H

#include "base.h"

#include <string.h>

/* *rest loses the prefix. */
static inline bool starts_with(struct span *rest, struct span prefix)
{
    if (rest->length < prefix.length || memcmp(rest->data, prefix.data, prefix.length) != 0)
        return false;
    *rest = span_of(rest->data + prefix.length, rest->length - prefix.length);
    return true;
}

/* The level up to the next '/'; *rest is what follows that. */
static inline struct span take_level(struct span *rest)
{
    const uint8_t *slash = rest->length ? memchr(rest->data, '/', rest->length) : NULL;
    struct span level = span_of(rest->data, slash ? (size_t)(slash - rest->data) : rest->length);
    *rest = slash ? span_of(slash + 1, rest->length - level.length - 1) : (struct span){0};
    return level;
}

#endif
