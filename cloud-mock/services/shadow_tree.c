/* shadow_tree.c: documents in work: from JSON, from and to the packed form, merged, compared, written.
 *
 * Depth is bounded by shadow_import(): nothing deeper than the options allow ever becomes a tree, so that walking one may recurse.
 * Packed: of each section a byte whether it is there, then its node: kind, length of the key (2 bytes), key; of objects and arrays the
 * number of children (2 bytes) and these; of leaves the second (4), the length of the text (2), the text.
 */
#include "shadow_internal.h"

#include "memory.h"

#include <cjson/cJSON.h>

#define PIECE_BYTES 8128u

/* ---- arena ---------------------------------------------------------------------------------------------------------- */

struct shadow_piece {
    struct shadow_piece *next;
    _Alignas(16) uint8_t data[];
};

void *shadow_arena_take(struct shadow_arena *arena, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (size > arena->left) {
        size_t length = size > PIECE_BYTES ? size : PIECE_BYTES;
        struct shadow_piece *piece = memory_allocate(sizeof(*piece) + length);
        if (!piece) {
            arena->failed = true;
            return NULL;
        }
        piece->next = arena->pieces;
        arena->pieces = piece;
        arena->at = piece->data;
        arena->left = length;
    }
    void *block = arena->at;
    arena->at += size;
    arena->left -= size;
    return block;
}

void shadow_arena_end(struct shadow_arena *arena)
{
    for (struct shadow_piece *piece = arena->pieces, *next; piece; piece = next) {
        next = piece->next;
        memory_free(piece);
    }
    *arena = (struct shadow_arena){0};
}

bool shadow_write(struct shadow_arena *arena, void (*write)(struct text_writer *w, const void *what), const void *what,
                  struct span *text)
{
    struct text_writer w = {.out = (char *)arena->at, .capacity = arena->left};
    write(&w, what);
    bool fits = text_fits(&w);
    *text = span_of(shadow_arena_take(arena, w.at), w.at);
    if (!text->data)
        return false;
    if (!fits) {
        w = (struct text_writer){.out = (char *)(uintptr_t)text->data, .capacity = w.at};
        write(&w, what);
    }
    return true;
}

static struct shadow_node *new_node(struct shadow_arena *arena, enum shadow_kind kind, struct span key)
{
    struct shadow_node *node = shadow_arena_take(arena, sizeof(*node));
    if (node)
        *node = (struct shadow_node){.kind = kind, .key = key};
    return node;
}

/* ---- from JSON ------------------------------------------------------------------------------------------------------ */

struct import {
    struct shadow_arena *arena;
    uint32_t second;
};

static void write_leaf(struct text_writer *w, const void *what)
{
    const cJSON *item = what;
    char number[64];
    if (cJSON_IsString(item))
        shadow_put_quoted(w, span_text(item->valuestring));
    else if (cJSON_IsBool(item))
        text_put_string(w, cJSON_IsTrue(item) ? "true" : "false");
    else if (cJSON_PrintPreallocated((cJSON *)(uintptr_t)item, number, sizeof(number), false))
        text_put_string(w, number);
}

static bool is_finite(const cJSON *item)
{
    return !cJSON_IsNumber(item) ||
           (item->valuedouble >= -1.7976931348623157e308 && item->valuedouble <= 1.7976931348623157e308);
}

static enum shadow_flaw import_leaf(const struct import *import, const cJSON *item, struct shadow_node **node)
{
    struct span key = item->string ? span_text(item->string) : (struct span){0};
    if (!is_finite(item))
        return SHADOW_INVALID_NUMBER;
    *node = new_node(import->arena, cJSON_IsNull(item) ? SHADOW_NULL : SHADOW_LEAF, key);
    if (!*node)
        return SHADOW_NO_MEMORY;
    (*node)->second = import->second;
    if (!cJSON_IsNull(item) && !shadow_write(import->arena, write_leaf, item, &(*node)->text))
        return SHADOW_NO_MEMORY;
    return SHADOW_FINE;
}

/* Nothing within an array can be taken away: there is no null in it, however deep. */
static enum shadow_flaw import_item(const struct import *import, const cJSON *item, uint32_t depth, bool in_array,
                                    struct shadow_node **node)
{
    if (!cJSON_IsObject(item) && !cJSON_IsArray(item))
        return in_array && cJSON_IsNull(item) ? SHADOW_INVALID_NODE : import_leaf(import, item, node);
    if (!depth)
        return SHADOW_TOO_DEEP;
    *node = new_node(import->arena, cJSON_IsArray(item) ? SHADOW_ARRAY : SHADOW_OBJECT,
                     item->string ? span_text(item->string) : (struct span){0});
    if (!*node)
        return SHADOW_NO_MEMORY;
    struct shadow_node **link = &(*node)->first;
    const cJSON *child;
    cJSON_ArrayForEach(child, item)
    {
        enum shadow_flaw flaw = import_item(import, child, depth - 1, in_array || cJSON_IsArray(item), link);
        if (flaw != SHADOW_FINE)
            return flaw;
        link = &(*link)->next;
    }
    return SHADOW_FINE;
}

enum shadow_flaw shadow_import(struct shadow_arena *arena, const cJSON *item, uint32_t second, uint32_t depth,
                               struct shadow_node **node)
{
    struct import import = {.arena = arena, .second = second};
    return import_item(&import, item, depth, false, node);
}

/* ---- packed --------------------------------------------------------------------------------------------------------- */

static void pack_number(struct text_writer *w, uint32_t value, size_t bytes)
{
    uint8_t out[4];
    for (size_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> (8 * i));
    text_put(w, out, bytes);
}

static void pack_node(struct text_writer *w, const struct shadow_node *node)
{
    uint32_t children = 0;
    pack_number(w, node->kind, 1);
    pack_number(w, node->key.length, 2);
    text_put(w, node->key.data, node->key.length);
    if (node->kind == SHADOW_LEAF) {
        pack_number(w, node->second, 4);
        pack_number(w, node->text.length, 2);
        text_put(w, node->text.data, node->text.length);
        return;
    }
    for (const struct shadow_node *child = node->first; child; child = child->next)
        children++;
    pack_number(w, children, 2);
    for (const struct shadow_node *child = node->first; child; child = child->next)
        pack_node(w, child);
}

void shadow_write_packed(struct text_writer *w, const void *what)
{
    const struct shadow_state *state = what;
    for (unsigned i = 0; i < SHADOW_SECTIONS; i++) {
        pack_number(w, state->section[i] != NULL, 1);
        if (state->section[i])
            pack_node(w, state->section[i]);
    }
}

static uint32_t unpack_number(const uint8_t **at, size_t bytes)
{
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint32_t) * (*at)++ << (8 * i);
    return value;
}

static struct span unpack_span(const uint8_t **at)
{
    uint32_t length = unpack_number(at, 2);
    struct span text = span_of(*at, length);
    *at += length;
    return text;
}

static struct shadow_node *unpack_node(struct shadow_arena *arena, const uint8_t **at)
{
    enum shadow_kind kind = (enum shadow_kind)unpack_number(at, 1);
    struct shadow_node *node = new_node(arena, kind, unpack_span(at));
    if (!node)
        return NULL;
    if (kind == SHADOW_LEAF) {
        node->second = unpack_number(at, 4);
        node->text = unpack_span(at);
        return node;
    }
    struct shadow_node **link = &node->first;
    for (uint32_t children = unpack_number(at, 2); children; children--) {
        *link = unpack_node(arena, at);
        if (!*link)
            return NULL;
        link = &(*link)->next;
    }
    return node;
}

bool shadow_unpack(struct shadow_arena *arena, struct span packed, struct shadow_state *state)
{
    const uint8_t *at = packed.data;
    *state = (struct shadow_state){0};
    for (unsigned i = 0; packed.length && i < SHADOW_SECTIONS; i++)
        if (unpack_number(&at, 1)) {
            state->section[i] = unpack_node(arena, &at);
            if (!state->section[i])
                return false;
        }
    ASSERT(!packed.length || at == packed.data + packed.length);
    return true;
}

/* ---- merging -------------------------------------------------------------------------------------------------------- */

/* Two lists are mostly in the same order: looks from the hint on, then from the beginning. The link that points to it, or to NULL. */
static struct shadow_node **find_link(struct shadow_node **first, struct shadow_node **hint, struct span key)
{
    struct shadow_node **link = hint;
    while (*link && !span_equal((*link)->key, key))
        link = &(*link)->next;
    if (*link)
        return link;
    struct shadow_node **end = link;
    for (link = first; link != hint && *link; link = &(*link)->next)
        if (span_equal((*link)->key, key))
            return link;
    return end;
}

static bool merge_object(struct shadow_arena *arena, struct shadow_node *target, const struct shadow_node *request)
{
    struct shadow_node **hint = &target->first;
    for (const struct shadow_node *wanted = request->first; wanted; wanted = wanted->next) {
        struct shadow_node **link = find_link(&target->first, hint, wanted->key);
        struct shadow_node *rest = *link ? (*link)->next : NULL;
        hint = link;
        if (wanted->kind == SHADOW_NULL) {
            if (*link)
                *link = rest;
            continue;
        }
        if (!*link || wanted->kind != SHADOW_OBJECT || (*link)->kind != SHADOW_OBJECT) {
            struct shadow_node *node = new_node(arena, wanted->kind, wanted->key);
            if (!node)
                return false;
            if (wanted->kind != SHADOW_OBJECT)
                *node = *wanted;
            node->next = rest;
            *link = node;
        }
        if (wanted->kind == SHADOW_OBJECT && !merge_object(arena, *link, wanted))
            return false;
        hint = &(*link)->next;
    }
    return true;
}

bool shadow_merge(struct shadow_arena *arena, struct shadow_state *state, const struct shadow_state *request)
{
    for (unsigned i = 0; i < SHADOW_SECTIONS; i++) {
        const struct shadow_node *wanted = request->section[i];
        if (wanted && wanted->kind == SHADOW_NULL)
            state->section[i] = NULL;
        if (!wanted || wanted->kind == SHADOW_NULL)
            continue;
        if (!state->section[i])
            state->section[i] = new_node(arena, SHADOW_OBJECT, wanted->key);
        if (!state->section[i] || !merge_object(arena, state->section[i], wanted))
            return false;
    }
    return true;
}

/* ---- writing -------------------------------------------------------------------------------------------------------- */

void shadow_put_quoted(struct text_writer *w, struct span text)
{
    static const char digits[] = "0123456789abcdef";
    uint32_t plain = 0; /* where what needs no escape begins */
    TEXT_PUT(w, "\"");
    for (uint32_t i = 0; i < text.length; i++) {
        uint8_t c = text.data[i];
        char escaped[6] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
        if (c >= 0x20 && c != 0x7f && c != '"' && c != '\\')
            continue;
        text_put(w, text.data + plain, i - plain);
        plain = i + 1;
        if (c == '"' || c == '\\')
            escaped[1] = (char)c;
        text_put(w, escaped, c == '"' || c == '\\' ? 2 : sizeof(escaped));
    }
    text_put(w, text.data + plain, text.length - plain);
    TEXT_PUT(w, "\"");
}

static void put_key(struct text_writer *w, struct span key, bool *more)
{
    if (*more)
        TEXT_PUT(w, ",");
    *more = true;
    shadow_put_quoted(w, key);
    TEXT_PUT(w, ":");
}

static void put_leaf(struct text_writer *w, const struct shadow_node *node, bool metadata)
{
    if (!metadata) {
        text_put(w, node->text.data, node->text.length);
        return;
    }
    TEXT_PUT(w, "{\"timestamp\":");
    text_put_number(w, node->second);
    TEXT_PUT(w, "}");
}

/* What is taken away has no metadata. */
static void put_value(struct text_writer *w, const struct shadow_node *node, bool metadata)
{
    bool more = false;
    if (node->kind == SHADOW_NULL) {
        TEXT_PUT(w, "null");
        return;
    }
    if (node->kind == SHADOW_LEAF) {
        put_leaf(w, node, metadata);
        return;
    }
    text_put(w, node->kind == SHADOW_OBJECT ? "{" : "[", 1);
    for (const struct shadow_node *child = node->first; child; child = child->next) {
        if (metadata && child->kind == SHADOW_NULL)
            continue;
        if (node->kind == SHADOW_OBJECT)
            put_key(w, child->key, &more);
        else if (child != node->first)
            TEXT_PUT(w, ",");
        put_value(w, child, metadata);
    }
    text_put(w, node->kind == SHADOW_OBJECT ? "}" : "]", 1);
}

static void put_sections(struct text_writer *w, const struct shadow_state *state, bool metadata, bool with_delta)
{
    static const char *const names[] = {"desired", "reported"};
    bool more = false;
    TEXT_PUT(w, "{");
    for (unsigned i = 0; i < SHADOW_SECTIONS; i++) {
        if (!state->section[i] || (metadata && state->section[i]->kind == SHADOW_NULL))
            continue;
        put_key(w, span_text(names[i]), &more);
        put_value(w, state->section[i], metadata);
    }
    size_t mark = w->at;
    if (with_delta) {
        put_key(w, SPAN_LITERAL("delta"), &more);
        if (!shadow_put_delta(w, state, false))
            w->at = mark;
    }
    TEXT_PUT(w, "}");
}

void shadow_put_state(struct text_writer *w, const struct shadow_state *state, bool with_delta)
{
    put_sections(w, state, false, with_delta);
}

void shadow_put_metadata(struct text_writer *w, const struct shadow_state *state)
{
    put_sections(w, state, true, false);
}

/* ---- comparing ------------------------------------------------------------------------------------------------------ */

static struct shadow_node *child_of(const struct shadow_node *object, struct shadow_node **hint, struct span key)
{
    struct shadow_node *first = object ? object->first : NULL;
    struct shadow_node *found = *find_link(&first, hint ? hint : &first, key);
    return found;
}

static uint32_t count_children(const struct shadow_node *node)
{
    uint32_t count = 0;
    for (const struct shadow_node *child = node->first; child; child = child->next)
        count++;
    return count;
}

/* Numbers are written in one way only, so that their text decides. The order of an object's keys does not matter. */
static bool is_equal(const struct shadow_node *a, const struct shadow_node *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == SHADOW_LEAF)
        return span_equal(a->text, b->text);
    if (count_children(a) != count_children(b))
        return false;
    const struct shadow_node *other = b->first;
    for (const struct shadow_node *child = a->first; child; child = child->next, other = other->next) {
        const struct shadow_node *match = other;
        if (a->kind == SHADOW_OBJECT && !span_equal(other->key, child->key))
            match = child_of(b, NULL, child->key);
        if (!match || !is_equal(child, match))
            return false;
    }
    return true;
}

static bool put_difference(struct text_writer *w, const struct shadow_node *desired, const struct shadow_node *reported,
                           bool metadata)
{
    bool more = false;
    size_t start = w->at;
    struct shadow_node *hint = reported ? reported->first : NULL;
    TEXT_PUT(w, "{");
    for (const struct shadow_node *wanted = desired->first; wanted; wanted = wanted->next) {
        const struct shadow_node *is = child_of(reported, &hint, wanted->key);
        size_t mark = w->at;
        bool before = more, within = wanted->kind == SHADOW_OBJECT && (!is || is->kind == SHADOW_OBJECT);
        if (is)
            hint = is->next;
        if (!within && is && is_equal(wanted, is))
            continue;
        put_key(w, wanted->key, &more);
        if (!within) {
            put_value(w, wanted, metadata);
        } else if (!put_difference(w, wanted, is, metadata)) {
            w->at = mark;
            more = before;
        }
    }
    TEXT_PUT(w, "}");
    if (!more)
        w->at = start;
    return more;
}

bool shadow_put_delta(struct text_writer *w, const struct shadow_state *state, bool metadata)
{
    return state->section[SHADOW_DESIRED] &&
           put_difference(w, state->section[SHADOW_DESIRED], state->section[SHADOW_REPORTED], metadata);
}
