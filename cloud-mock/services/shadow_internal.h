/* shadow_internal.h: what an instance of the shadow service keeps, and what its files know of each other.
 *
 * A shadow rests as one block: its name and its two sections, packed leaf by leaf with the second each leaf was set. A request unpacks it
 * into a tree of an arena that lives as long as the call, and packs a new one. Everything said is written into that arena before anything is
 * stored, and everything is stored before anybody is told: whoever is told may ask again at once.
 */
#ifndef SERVICES_SHADOW_INTERNAL_H
#define SERVICES_SHADOW_INTERNAL_H

#include "../registry/index.h"
#include "cloud/shadow.h"
#include "text.h"

#define SHADOW_NONE         UINT32_MAX
#define SHADOW_THING_MAX    128
#define SHADOW_NAME_MAX     64
#define SHADOW_DOCUMENT_MAX 65535u
#define SHADOW_DEPTH_MAX    64u

struct cJSON;

/* ---- shadow_store.c: keeping and finding --------------------------------------------------------------------------- */

/* One shadow; deleted ones stay for their version. */
struct shadow_document {
    struct shadow_document *next; /* of the same thing */
    uint64_t version;
    int64_t second; /* being counted */
    uint32_t requests;
    uint32_t packed_length;
    uint8_t name_length;
    bool exists, differs;
    uint8_t bytes[]; /* the name, then what is packed */
};

struct shadow_thing {
    char *name; /* NULL: a free row, `hash` the next one */
    uint32_t name_length, hash;
    struct shadow_document *documents;
};

/* Requests being answered: one within another when an answer makes somebody ask. */
struct shadow_call {
    struct shadow_call *outer;
    struct span client_id, thing;
};

struct cloud_shadow {
    struct cloud_shadow_options options;
    struct shadow_thing *things;
    uint32_t thing_count, thing_capacity, free_thing;
    struct index index;
    struct shadow_call *calls;
    void *answer; /* lent to the app's side until its next call */
    struct cloud_shadow_counts counts;
    uint64_t block_bytes; /* of documents and names */
};

struct shadow_document *shadow_find(const struct cloud_shadow *shadow, struct span thing, struct span name);
/* Of the existing ones. */
uint32_t shadow_count_named(const struct cloud_shadow *shadow, struct span thing);
/* The shadow with this content from now on, made if need be; its version and flags are the caller's. NULL: out of memory, unchanged. */
struct shadow_document *shadow_store(struct cloud_shadow *shadow, struct span thing, struct span name,
                                     struct span packed);
/* Its content is gone, its version stays; of a thing's deleted ones only so many are kept. */
void shadow_bury(struct cloud_shadow *shadow, struct span thing, struct shadow_document *document);

static inline struct span shadow_packed(const struct shadow_document *document)
{
    return span_of(document->bytes + document->name_length, document->packed_length);
}

/* ---- shadow_tree.c: documents in work ------------------------------------------------------------------------------ */

struct shadow_arena {
    struct shadow_piece *pieces;
    uint8_t *at;
    size_t left;
    bool failed; /* out of memory at some time */
};
void *shadow_arena_take(struct shadow_arena *arena, size_t size); /* NULL: out of memory */
void shadow_arena_end(struct shadow_arena *arena);
/* Writes text of a length not known before. false: out of memory. */
bool shadow_write(struct shadow_arena *arena, void (*write)(struct text_writer *w, const void *what), const void *what,
                  struct span *text);
void shadow_put_quoted(struct text_writer *w, struct span text);

enum shadow_kind { SHADOW_OBJECT, SHADOW_ARRAY, SHADOW_LEAF, SHADOW_NULL };
struct shadow_node {
    struct shadow_node *next, *first;
    struct span key;  /* as it is, not quoted; of an array's elements: empty */
    struct span text; /* of a leaf: its JSON */
    uint32_t second;  /* since 1970, when the leaf was set */
    enum shadow_kind kind;
};
enum shadow_section { SHADOW_DESIRED, SHADOW_REPORTED, SHADOW_SECTIONS };
struct shadow_state {
    struct shadow_node *section[SHADOW_SECTIONS]; /* NULL: none; SHADOW_NULL in requests: is to be taken away */
};

enum shadow_flaw { SHADOW_FINE, SHADOW_TOO_DEEP, SHADOW_INVALID_NODE, SHADOW_INVALID_NUMBER, SHADOW_NO_MEMORY };
/* The tree borrows keys from the item. */
enum shadow_flaw shadow_import(struct shadow_arena *arena, const struct cJSON *item, uint32_t second, uint32_t depth,
                               struct shadow_node **node);
/* The tree borrows from what is packed. */
bool shadow_unpack(struct shadow_arena *arena, struct span packed, struct shadow_state *state);
void shadow_write_packed(struct text_writer *w, const void *state);
/* Puts the request into the state; the request must stay as it is meanwhile. false: out of memory. */
bool shadow_merge(struct shadow_arena *arena, struct shadow_state *state, const struct shadow_state *request);

/* {"desired":{...},"reported":{...}}, with the delta as a third on request; metadata: the same of seconds. */
void shadow_put_state(struct text_writer *w, const struct shadow_state *state, bool with_delta);
void shadow_put_metadata(struct text_writer *w, const struct shadow_state *state);
/* What desired has and reported lacks or has otherwise: {...}, or its seconds. Returns whether there is any; else nothing is written. */
bool shadow_put_delta(struct text_writer *w, const struct shadow_state *state, bool metadata);

#endif
