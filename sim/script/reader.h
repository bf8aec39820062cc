/* reader.h: fields of the table that the prelude leaves (`plan`), read as if nobody had checked them, because a scenario can reach into the objects
 * it was given. The table being read is on top of Lua's stack. What is not as it must be ends the loading with one line.
 */
#ifndef SCRIPT_READER_H
#define SCRIPT_READER_H

#include "internal.h"

#define LONGEST_US (366.0 * US_PER_DAY)

struct reader {
    struct script *script;
    lua_State *lua;
    int line; /* of the declaration being read */
};

_Noreturn void reader_spoilt(struct reader *reader, const char *key);
int reader_push(struct reader *reader, const char *key);
bool reader_has(struct reader *reader, const char *key);
double reader_number(struct reader *reader, const char *key, double low, double high);
uint32_t reader_whole(struct reader *reader, const char *key, double high);
int64_t reader_time_us(struct reader *reader, const char *key);
bool reader_flag(struct reader *reader, const char *key);
void reader_text(struct reader *reader, const char *key, char *out, size_t capacity);
uint32_t reader_choice(struct reader *reader, const char *key, const char *const *names);
void reader_enter(struct reader *reader, const char *key);
void reader_leave(struct reader *reader);
void reader_enter_at(struct reader *reader, uint32_t index, const char *what);
uint32_t reader_enter_list(struct reader *reader, const char *key, uint32_t maximum, size_t size, void **entries);
void reader_table(struct reader *reader, const char *key, double minimum, double maximum, struct sim_table *out,
                  char *name, size_t capacity);
void reader_seconds_table(struct reader *reader, const char *key, int64_t minimum_s, struct sim_table *out);

/* The parts of a scenario that have a file of their own. */
void fill_messages(struct reader *reader, struct scenario_messages *messages);
void fill_remote(struct reader *reader, struct scenario_commands *remote);
void fill_regions(struct reader *reader, struct scenario *scenario);
void fill_shadows(struct reader *reader, struct scenario_shadow *shadow);
void fill_radio(struct reader *reader, const char *key, struct link_profile *radio);
void fill_radio_rates(struct reader *reader, struct link_profile *radio);
void fill_tunnel(struct reader *reader, struct scenario_tunnel *tunnel);
void fill_parking(struct reader *reader, struct scenario_cohort *cohort);

#endif
