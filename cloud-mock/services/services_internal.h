/* services_internal.h: little things several services need. */
#ifndef SERVICES_INTERNAL_H
#define SERVICES_INTERNAL_H

#include "cloud/services.h"

/* The account all event payloads name: AWS's example number. */
#define SERVICES_ACCOUNT "123456789012"

static inline uint64_t services_hash(const void *data, size_t length)
{
    const uint8_t *bytes = data;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    hash = (hash ^ hash >> 31) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 29;
}

/* Text written into a fixed buffer, cut (and marked) at its end. */
struct services_text {
    char *out;
    size_t at, capacity;
    bool full;
};
void services_put(struct services_text *text, const char *literal);
void services_put_span(struct services_text *text, struct span span);
void services_put_json(struct services_text *text, struct span span); /* quoted and escaped */
void services_put_hex(struct services_text *text, const uint8_t *bytes, size_t length);
void services_put_number(struct services_text *text, int64_t number);

/* Reads a template with '%' for one level: the level's text in `thing`. false: does not match. */
bool services_match_template(const char *pattern, struct span topic, struct span *thing);
/* Value of a member of the outer object: a string's inside, or the bytes of a number or literal. false: none. */
bool services_member(struct span json, const char *name, struct span *out);

#endif
