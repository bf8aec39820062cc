/* base.h: what every folder may use: byte views, time units, assertions. Depends on libc only.
 *
 * Time is int64_t microseconds everywhere. In the virtual world zero is the scenario's start; in the live world it is
 * CLOCK_MONOTONIC. Wall-clock stamps (certificates, event payloads) are derived from the scenario's calendar.
 */
#ifndef CONVOY_BASE_H
#define CONVOY_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define US_PER_MS   INT64_C(1000)
#define US_PER_S    INT64_C(1000000)
#define US_PER_MIN  (60 * US_PER_S)
#define US_PER_HOUR (3600 * US_PER_S)
#define US_PER_DAY  (86400 * US_PER_S)
#define TIME_NEVER  INT64_MAX

/* A borrowed view of bytes; never owns. data may be NULL only when length is 0. */
struct span {
    const uint8_t *data;
    uint32_t length;
};

#define SPAN_LITERAL(text) ((struct span){(const uint8_t *)(text), (uint32_t)(sizeof(text) - 1)})

static inline struct span span_of(const void *data, size_t length)
{
    return (struct span){(const uint8_t *)data, (uint32_t)length};
}

static inline struct span span_text(const char *text)
{
    return (struct span){(const uint8_t *)text, (uint32_t)strlen(text)};
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

/* Broken invariants end the program in every build, with a line that says how to come back here. A peer's bytes or a
 * user's input can never reach one. assert_context() is told by the worlds what to print (seed, time, vehicle). */
#define ASSERT(condition)                                                                                              \
    do {                                                                                                               \
        if (__builtin_expect(!(condition), 0))                                                                         \
            assert_failed(#condition, __FILE__, __LINE__);                                                             \
    } while (0)

struct assert_context {
    uint64_t seed;
    int64_t now_us;
    int64_t vehicle; /* -1: none */
};
extern struct assert_context assert_context;
_Noreturn void assert_failed(const char *condition, const char *file, int line);

#endif
