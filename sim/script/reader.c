/* reader.c: see reader.h. */
#include "reader.h"
#include "memory.h"

_Noreturn void reader_spoilt(struct reader *reader, const char *key)
{
    sandbox_fail(reader->lua, reader->line,
                 "the '%s' of this declaration was changed afterwards; make a new one instead", key);
}

int reader_push(struct reader *reader, const char *key)
{
    luaL_checkstack(reader->lua, 8, "scenario");
    lua_pushstring(reader->lua, key);
    return lua_rawget(reader->lua, -2);
}

bool reader_has(struct reader *reader, const char *key)
{
    bool there = reader_push(reader, key) != LUA_TNIL;
    lua_pop(reader->lua, 1);
    return there;
}

double reader_number(struct reader *reader, const char *key, double low, double high)
{
    bool is_number = reader_push(reader, key) == LUA_TNUMBER;
    double value = lua_tonumber(reader->lua, -1);
    lua_pop(reader->lua, 1);
    if (!is_number || !(value >= low && value <= high))
        reader_spoilt(reader, key);
    return value;
}

uint32_t reader_whole(struct reader *reader, const char *key, double high)
{
    return (uint32_t)reader_number(reader, key, 0, high < UINT32_MAX ? high : UINT32_MAX);
}

int64_t reader_time_us(struct reader *reader, const char *key)
{
    return (int64_t)reader_number(reader, key, 0, LONGEST_US);
}

bool reader_flag(struct reader *reader, const char *key)
{
    reader_push(reader, key);
    bool value = lua_toboolean(reader->lua, -1);
    lua_pop(reader->lua, 1);
    return value;
}

void reader_text(struct reader *reader, const char *key, char *out, size_t capacity)
{
    size_t length = 0;
    bool is_text = reader_push(reader, key) == LUA_TSTRING;
    const char *value = is_text ? lua_tolstring(reader->lua, -1, &length) : "";
    if (!is_text || length >= capacity || memchr(value, 0, length))
        reader_spoilt(reader, key);
    memcpy(out, value, length + 1);
    lua_pop(reader->lua, 1);
}

/* Index of a text in a list that ends with NULL. */
uint32_t reader_choice(struct reader *reader, const char *key, const char *const *names)
{
    char value[64];
    reader_text(reader, key, value, sizeof(value));
    for (uint32_t i = 0; names[i]; i++)
        if (strcmp(names[i], value) == 0)
            return i;
    reader_spoilt(reader, key);
}

void reader_enter(struct reader *reader, const char *key)
{
    if (reader_push(reader, key) != LUA_TTABLE)
        reader_spoilt(reader, key);
}

void reader_leave(struct reader *reader)
{
    lua_pop(reader->lua, 1);
}

/* Enters entry i (from 1) of the list on top. */
void reader_enter_at(struct reader *reader, uint32_t index, const char *what)
{
    luaL_checkstack(reader->lua, 8, "scenario");
    if (lua_rawgeti(reader->lua, -1, index) != LUA_TTABLE)
        reader_spoilt(reader, what);
}

/* Enters the list `key` and makes room for its entries. */
uint32_t reader_enter_list(struct reader *reader, const char *key, uint32_t maximum, size_t size, void **entries)
{
    reader_enter(reader, key);
    lua_Unsigned count = lua_rawlen(reader->lua, -1);
    if (count > maximum)
        reader_spoilt(reader, key);
    if (entries && !(*entries = memory_allocate_zero(count ? count : 1, size)))
        sandbox_fail(reader->lua, 0, "out of memory");
    return (uint32_t)count;
}

static const char *const distributions[] = {"constant", "uniform", "exponential", "lognormal", "normal", NULL};

void reader_table(struct reader *reader, const char *key, double minimum, double maximum, struct sim_table *out,
                  char *name, size_t capacity)
{
    reader_enter(reader, key);
    enum sim_distribution kind = (enum sim_distribution)reader_choice(reader, "kind", distributions);
    double a = reader_number(reader, "a", 0, LONGEST_US), b = reader_number(reader, "b", 0, LONGEST_US);
    if (name)
        reader_text(reader, "text", name, capacity);
    reader_leave(reader);
    sim_table_build(out, kind, a, b, (int64_t)minimum, (int64_t)maximum);
}

/* The same of times, in whole seconds. */
void reader_seconds_table(struct reader *reader, const char *key, int64_t minimum_s, struct sim_table *out)
{
    reader_enter(reader, key);
    enum sim_distribution kind = (enum sim_distribution)reader_choice(reader, "kind", distributions);
    double a = reader_number(reader, "a", 0, LONGEST_US) / US_PER_S, b = reader_number(reader, "b", 0, LONGEST_US);
    reader_leave(reader);
    if (kind != SIM_LOGNORMAL) /* its second figure is no time */
        b /= US_PER_S;
    sim_table_build(out, kind, a, b, minimum_s, (int64_t)(LONGEST_US / US_PER_S));
}
