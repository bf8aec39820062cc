/* names.c: names as family and number. */
#include "names.h"

#include "memory.h"

#define FAMILIES_MAX 32
#define DIGITS_MAX   18
#define TEXT_BLOCK   2048u
#define FLAG_BITS    2

enum column { KIND, NUMBER, CREATED, COLUMNS }; /* KIND: (family + 1) << FLAG_BITS | flags, family -1: text */

struct name_family {
    uint8_t length, digits; /* digits 0: as many as the number has; else filled up with zeros */
    char text[NAME_MAX_LENGTH - 1];
};

/* A name taken apart. family -1: text, and number is its place if it has one. */
struct parts {
    struct span head;
    uint8_t digits;
    int family;
    uint64_t number;
};

void names_init(struct names *names)
{
    memset(names, 0, sizeof(*names));
    names->rows.columns = COLUMNS;
}

void names_free(struct names *names)
{
    rows_free(&names->rows);
    index_free(&names->index);
    for (uint32_t i = 0; i < names->text_blocks; i++)
        memory_free(names->text[i]);
    memory_free(names->text);
    memory_free(names->families);
}

/* ---- families ----------------------------------------------------------------------------------------------------- */

static int family_find(const struct names *names, const struct parts *parts)
{
    for (int i = 0; i < names->family_count; i++) {
        const struct name_family *family = &names->families[i];
        if (family->digits == parts->digits && span_equal(span_of(family->text, family->length), parts->head))
            return i;
    }
    return -1;
}

/* The same name always comes apart in the same way: "a-007" is family "a-" of three digits, "a-123" and "a-7" family "a-" without filling. */
static void take_apart(const struct names *names, struct span name, struct parts *parts)
{
    uint32_t at = name.length;
    while (at > 0 && name.length - at < DIGITS_MAX && name.data[at - 1] >= '0' && name.data[at - 1] <= '9')
        at--;
    uint32_t digits = name.length - at;
    *parts = (struct parts){.head = span_of(name.data, at), .family = -1};
    if (digits == 0)
        return;
    parts->digits = digits > 1 && name.data[at] == '0' ? (uint8_t)digits : 0;
    for (; at < name.length; at++)
        parts->number = parts->number * 10 + (uint64_t)(name.data[at] - '0');
    parts->family = family_find(names, parts);
}

/* A family for a name that ends in a number and has none yet. false: out of memory. All taken: the name is text, now and ever after. */
static bool family_add(struct names *names, struct span name, struct parts *parts)
{
    if (parts->family >= 0 || parts->head.length == name.length || names->family_count == FAMILIES_MAX)
        return true;
    if (names->family_count == names->family_capacity) {
        size_t wanted = names->family_capacity + 2u;
        struct name_family *families = memory_resize(names->families, wanted * sizeof(*families));
        if (!families)
            return false;
        names->families = families;
        names->family_capacity = (uint8_t)wanted;
    }
    struct name_family *family = &names->families[names->family_count];
    family->length = (uint8_t)parts->head.length;
    family->digits = parts->digits;
    if (family->length)
        memcpy(family->text, parts->head.data, family->length);
    parts->family = names->family_count++;
    return true;
}

/* ---- text --------------------------------------------------------------------------------------------------------- */

static struct span text_at(const struct names *names, uint64_t place)
{
    const uint8_t *text = names->text[place / TEXT_BLOCK] + place % TEXT_BLOCK;
    return span_of(text + 1, text[0]);
}

static bool text_add(struct names *names, struct span name, uint64_t *place)
{
    if (names->text_blocks == 0 || names->text_used + name.length + 1 > TEXT_BLOCK) {
        if (names->text_blocks == names->text_capacity) {
            uint32_t wanted = names->text_capacity + names->text_capacity / 2 + 4;
            uint8_t **text = memory_resize(names->text, wanted * sizeof(*text));
            if (!text)
                return false;
            names->text = text;
            names->text_capacity = wanted;
        }
        uint8_t *block = memory_allocate(TEXT_BLOCK);
        if (!block)
            return false;
        names->text[names->text_blocks++] = block;
        names->text_used = 0;
    }
    *place = (uint64_t)(names->text_blocks - 1) * TEXT_BLOCK + names->text_used;
    uint8_t *out = names->text[names->text_blocks - 1] + names->text_used;
    out[0] = (uint8_t)name.length;
    if (name.length)
        memcpy(out + 1, name.data, name.length);
    names->text_used += name.length + 1;
    return true;
}

/* ---- finding ------------------------------------------------------------------------------------------------------ */

static uint32_t hash_of_number(int family, uint64_t number)
{
    uint64_t hash = (number + 1) * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)family * UINT64_C(0xD1B54A32D192ED03);
    hash ^= hash >> 32;
    return (uint32_t)(hash * UINT64_C(0x9E3779B97F4A7C15) >> 32);
}

static uint32_t hash_of_text(struct span name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (uint32_t i = 0; i < name.length; i++)
        hash = (hash ^ name.data[i]) * UINT64_C(0x100000001b3);
    hash ^= hash >> 32;
    return (uint32_t)(hash * UINT64_C(0x9E3779B97F4A7C15) >> 32);
}

static int family_of(const struct names *names, uint32_t number)
{
    return (int)(rows_get(&names->rows, number, KIND) >> FLAG_BITS) - 1;
}

static uint32_t hash_of_row(const void *context, uint32_t number)
{
    const struct names *names = context;
    int family = family_of(names, number);
    uint64_t value = rows_get(&names->rows, number, NUMBER);
    return family >= 0 ? hash_of_number(family, value) : hash_of_text(text_at(names, value));
}

static bool is(const struct names *names, uint32_t number, const struct parts *parts, struct span name)
{
    uint64_t value = rows_get(&names->rows, number, NUMBER);
    if (family_of(names, number) != parts->family)
        return false;
    return parts->family >= 0 ? value == parts->number : span_equal(text_at(names, value), name);
}

static uint32_t find(const struct names *names, const struct parts *parts, struct span name, uint32_t hash)
{
    const struct index *index = &names->index;
    if (index->size == 0)
        return NAME_NONE;
    uint32_t slot;
    for (uint32_t at = index_first(index, hash); (slot = index_slot(index, at)) != 0; at = index_next(index, at))
        if (is(names, slot - 1, parts, name))
            return slot - 1;
    return NAME_NONE;
}

static uint32_t hash_of_parts(const struct parts *parts, struct span name)
{
    return parts->family >= 0 ? hash_of_number(parts->family, parts->number) : hash_of_text(name);
}

uint32_t names_find(const struct names *names, struct span name)
{
    struct parts parts;
    take_apart(names, name, &parts);
    return find(names, &parts, name, hash_of_parts(&parts, name));
}

uint32_t names_intern(struct names *names, struct span name, int64_t created_s)
{
    struct parts parts;
    if (name.length > NAME_MAX_LENGTH)
        return NAME_NONE;
    take_apart(names, name, &parts);
    if (!family_add(names, name, &parts))
        return NAME_NONE;
    uint32_t hash = hash_of_parts(&parts, name), number = find(names, &parts, name, hash);
    if (number != NAME_NONE)
        return number;
    number = names->rows.count;
    if (!index_room(&names->index, number, hash_of_row, names) ||
        (parts.family < 0 && !text_add(names, name, &parts.number)))
        return NAME_NONE;
    uint64_t values[COLUMNS] = {
        [KIND] = (uint64_t)(parts.family + 1) << FLAG_BITS, [NUMBER] = parts.number, [CREATED] = (uint64_t)created_s};
    if (!rows_add(&names->rows, values, NULL))
        return NAME_NONE;
    index_place(&names->index, hash, number);
    return number;
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

uint32_t names_text(const struct names *names, uint32_t number, char out[NAME_MAX_LENGTH + 1])
{
    int at = family_of(names, number);
    uint64_t value = rows_get(&names->rows, number, NUMBER);
    if (at < 0) {
        struct span text = text_at(names, value);
        memcpy(out, text.data, text.length);
        out[text.length] = 0;
        return text.length;
    }
    const struct name_family *family = &names->families[at];
    char digits[20];
    uint32_t count = 0;
    do {
        digits[sizeof(digits) - ++count] = (char)('0' + value % 10);
        value /= 10;
    } while (value || count < family->digits);
    memcpy(out, family->text, family->length);
    memcpy(out + family->length, digits + sizeof(digits) - count, count);
    out[family->length + count] = 0;
    return family->length + count;
}

uint8_t names_flags(const struct names *names, uint32_t number)
{
    return rows_get(&names->rows, number, KIND) & ((1u << FLAG_BITS) - 1);
}

bool names_flag(struct names *names, uint32_t number, uint8_t flag)
{
    return rows_set(&names->rows, number, KIND, rows_get(&names->rows, number, KIND) | flag);
}

bool names_unflag(struct names *names, uint32_t number, uint8_t flag)
{
    return rows_set(&names->rows, number, KIND, rows_get(&names->rows, number, KIND) & ~(uint64_t)flag);
}

int64_t names_created(const struct names *names, uint32_t number)
{
    return (int64_t)rows_get(&names->rows, number, CREATED);
}

uint64_t names_bytes(const struct names *names)
{
    return rows_bytes(&names->rows) + index_bytes(&names->index) + names->family_capacity * sizeof(*names->families) +
           names->text_capacity * sizeof(*names->text) + (uint64_t)names->text_blocks * TEXT_BLOCK;
}
