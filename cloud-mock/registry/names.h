/* names.h: names kept once, whatever they name. What ends in a number is kept as a family (everything before it, and how many digits) and
 * the number; only names without one, and those of families beyond the 32nd, are kept as text.
 */
#ifndef REGISTRY_NAMES_H
#define REGISTRY_NAMES_H

#include "index.h"
#include "rows.h"

#define NAME_NONE       UINT32_MAX
#define NAME_MAX_LENGTH 63u

enum name_flag { NAME_THING = 1, NAME_ALLOWED = 2 };

struct name_family;

struct names {
    struct rows rows;
    struct index index;
    struct name_family *families;
    uint8_t family_count, family_capacity;
    uint8_t **text; /* blocks */
    uint32_t text_blocks, text_capacity, text_used;
};

void names_init(struct names *names);
void names_free(struct names *names);
uint32_t names_find(const struct names *names, struct span name); /* NAME_NONE: not there */
/* Finds or adds. NAME_NONE: out of memory, or too long. */
uint32_t names_intern(struct names *names, struct span name, int64_t created_s);
uint32_t names_text(const struct names *names, uint32_t number,
                    char out[NAME_MAX_LENGTH + 1]); /* terminated; returns the length */
uint8_t names_flags(const struct names *names, uint32_t number);
bool names_flag(struct names *names, uint32_t number, uint8_t flag); /* sets; false: out of memory */
bool names_unflag(struct names *names, uint32_t number, uint8_t flag); /* the same */
int64_t names_created(const struct names *names, uint32_t number);
uint64_t names_bytes(const struct names *names);

#endif
