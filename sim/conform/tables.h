/* tables.h: the checks, one table a file, in the order of the standard. */
#ifndef CONFORM_TABLES_H
#define CONFORM_TABLES_H

#include "sim/conform.h"

struct check_table {
    const struct conform_check *checks;
    uint32_t count;
};
extern const struct check_table *const check_tables[];
extern const uint32_t check_table_count;

/* In each file of checks, at its end: CHECK_TABLE(checks_connect, {...}, {...}) */
#define CHECK_TABLE(name, ...)                                                                                         \
    static const struct conform_check name##_list[] = {__VA_ARGS__};                                                   \
    const struct check_table name = {name##_list, sizeof(name##_list) / sizeof(name##_list[0])};

#endif
