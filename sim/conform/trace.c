/* trace.c: what a check saw and did, line by line; and the memory it stands in. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- arena ------------------------------------------------------------------------------------------------------------- */

struct arena {
    struct arena *next;
    size_t used, capacity;
    _Alignas(16) uint8_t bytes[];
};
#define ARENA_BLOCK 16384

void *arena_take(struct arena **arena, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (!*arena || (*arena)->capacity - (*arena)->used < size) {
        size_t capacity = size > ARENA_BLOCK ? size : ARENA_BLOCK;
        struct arena *block = calloc(1, sizeof(*block) + capacity);
        ASSERT(block != NULL);
        block->capacity = capacity;
        block->next = *arena;
        *arena = block;
    }
    void *taken = (*arena)->bytes + (*arena)->used;
    (*arena)->used += size;
    return taken;
}

void arena_free(struct arena **arena)
{
    while (*arena) {
        struct arena *next = (*arena)->next;
        free(*arena);
        *arena = next;
    }
}

/* ---- lines --------------------------------------------------------------------------------------------------------------- */

static uint32_t add_line(struct conform_probe *probe, struct conform_trace_line line)
{
    struct trace *trace = &probe->trace;
    if (trace->count >= TRACE_LINES) {
        trace->full = true;
        return TRACE_LINES - 1;
    }
    if (trace->count == trace->capacity) {
        uint32_t capacity = trace->capacity ? trace->capacity * 2 : 32;
        struct conform_trace_line *lines = arena_take(&probe->arena, capacity * sizeof(*lines));
        if (trace->count)
            memcpy(lines, trace->lines, trace->count * sizeof(*lines));
        trace->lines = lines;
        trace->capacity = capacity;
    }
    line.at_us = clock_now_us() - probe->suite->began_us;
    trace->lines[trace->count] = line;
    return trace->count++;
}

static const char *keep_text(struct conform_probe *probe, const char *text)
{
    size_t length = strlen(text) + 1;
    return memcpy(arena_take(&probe->arena, length), text, length);
}

uint32_t trace_event(struct conform_probe *probe, uint8_t wire, const char *format, ...)
{
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return add_line(
        probe, (struct conform_trace_line){.direction = CONFORM_EVENT, .wire = wire, .text = keep_text(probe, text)});
}

/* ---- secrets ---------------------------------------------------------------------------------------------------------------- */

/* As a field, behind its length; also anywhere else, unless it is so short that it may be there by chance. */
static bool stands_at(struct span bytes, uint32_t at, struct span secret)
{
    enum { BY_CHANCE = 8 };
    bool is_field = at >= 2 && (uint32_t)(bytes.data[at - 2] << 8 | bytes.data[at - 1]) == secret.length;
    return (is_field || secret.length >= BY_CHANCE) && secret.length <= bytes.length - at &&
           memcmp(bytes.data + at, secret.data, secret.length) == 0;
}

static struct span mask_one(struct conform_probe *probe, struct span bytes, struct span shown, struct span secret)
{
    for (uint32_t at = 0; secret.length && at < bytes.length; at++) {
        if (bytes.data[at] != secret.data[0] || !stands_at(bytes, at, secret))
            continue;
        if (shown.data == bytes.data)
            shown.data = memcpy(arena_take(&probe->arena, bytes.length), bytes.data, bytes.length);
        memset((uint8_t *)shown.data + at, '*', secret.length);
    }
    return shown;
}

static bool is_base64(uint8_t byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') ||
           byte == '+' || byte == '/' || byte == '=';
}

/* Whoever has a proof of SCRAM, or the broker's signature, can try passwords at leisure: "p=..." and "v=..." of a hash's length. */
static struct span mask_proofs(struct conform_probe *probe, struct span bytes, struct span shown)
{
    enum { SHA_1_LENGTH = 28 }; /* the shortest */
    for (uint32_t at = 0; at + 2 + SHA_1_LENGTH <= bytes.length; at++) {
        uint32_t end = at + 2;
        if ((bytes.data[at] != 'p' && bytes.data[at] != 'v') || bytes.data[at + 1] != '=')
            continue;
        while (end < bytes.length && is_base64(bytes.data[end]))
            end++;
        if (end - at - 2 < SHA_1_LENGTH)
            continue;
        if (shown.data == bytes.data)
            shown.data = memcpy(arena_take(&probe->arena, bytes.length), bytes.data, bytes.length);
        memset((uint8_t *)shown.data + at + 2, '*', end - at - 2);
    }
    return shown;
}

/* Looked for in what was sent, not in what is masked already: one secret may be the beginning of the other. */
struct span trace_masked(struct conform_probe *probe, struct span bytes)
{
    const struct conform_options *options = probe->suite->options;
    const char *const secrets[] = {options->password, profile_told(options->profile, "refused_password"),
                                   profile_told(options->profile, "auth_password")};
    const char *said = profile_told(options->profile, "auth_data");
    struct span shown = bytes;
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
        if (secrets[i])
            shown = mask_one(probe, bytes, shown, span_text(secrets[i]));
    for (size_t length; said && *said; said += length + (said[length] == '|')) {
        length = strcspn(said, "|");
        shown = mask_one(probe, bytes, shown, span_of(said, length));
    }
    return profile_told(options->profile, "auth_user") ? mask_proofs(probe, bytes, shown) : shown;
}

/* ---- packets ---------------------------------------------------------------------------------------------------------------- */

uint32_t trace_bytes(struct conform_probe *probe, const struct wire *wire, enum conform_direction direction,
                     struct span bytes, const struct mq5_packet *decoded)
{
    struct conform_trace_line line = {.direction = (uint8_t)direction, .wire = wire->number};
    char text[400];
    line.bytes = trace_masked(probe, bytes);
    if (line.bytes.data != bytes.data)
        decoded = NULL; /* its texts are those of the bytes as they were */
    else if (bytes.length)
        line.bytes.data = memcpy(arena_take(&probe->arena, bytes.length), bytes.data, bytes.length);
    struct mq5_packet own;
    struct mq5_error error = {MQ5_MALFORMED, 0, "", "", 0};
    if (!decoded && mq5_decode(wire->version, direction == CONFORM_OUT ? MQ5_FROM_CLIENT : MQ5_FROM_SERVER,
                               line.bytes.data, line.bytes.length, &own, &error) == MQ5_OK)
        decoded = &own;
    if (decoded)
        mq5_describe(wire->version, decoded, text, sizeof(text));
    else
        snprintf(text, sizeof(text), "%s, %u bytes that are no legal packet",
                 bytes.length ? mq5_type_name(bytes.data[0] >> 4) : "nothing", bytes.length);
    if (probe->suite->packets)
        packets_add(probe->suite->packets, wire, direction, line.bytes, decoded, &error, text);
    line.text = keep_text(probe, text);
    return add_line(probe, line);
}
