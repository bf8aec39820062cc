/* vectors.h: reads the vector files of this folder (format: README.md). For test programs only. */
#ifndef TESTS_VECTORS_H
#define TESTS_VECTORS_H

#include "mqtt5/packet.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

struct vector {
    char name[96];
    enum mq5_version version;
    enum mq5_sender sender;
    uint8_t bytes[4096];
    size_t length;
    enum mq5_status status;
    bool canonical;
    unsigned reason;
    char ref[32];
    char json[8192];
};

static const char *const vector_files[] = {"connect",  "connack",    "publish", "puback",      "pubrec",   "pubrel",
                                           "pubcomp",  "subscribe",  "suback",  "unsubscribe", "unsuback", "pingreq",
                                           "pingresp", "disconnect", "auth",    "header"};
#define VECTOR_FILES (sizeof(vector_files) / sizeof(*vector_files))

__attribute__((noreturn)) static inline void vector_bad(const char *file, const char *line)
{
    fprintf(stderr, "vectors: %s: cannot read line: %s\n", file, line);
    exit(2);
}

static inline void vector_copy(const char *file, char *out, size_t capacity, const char *text)
{
    if (!text || strlen(text) >= capacity)
        vector_bad(file, text ? text : "(nothing)");
    memcpy(out, text, strlen(text) + 1);
}

static inline void vector_hex(struct vector *vector, const char *text)
{
    for (; *text && *text != '#'; text++) {
        if (!isxdigit((unsigned char)*text))
            continue;
        char digits[3] = {text[0], text[1], 0};
        vector->bytes[vector->length++] = (uint8_t)strtoul(digits, NULL, 16);
        text++;
    }
}

static inline void vector_error(const char *file, struct vector *vector, const char *text)
{
    char status[16];
    if (sscanf(text, "%15s %x %31s", status, &vector->reason, vector->ref) != 3)
        vector_bad(file, text);
    if (strcmp(status, "malformed") != 0 && strcmp(status, "protocol") != 0)
        vector_bad(file, text);
    vector->status = *status == 'm' ? MQ5_MALFORMED : MQ5_PROTOCOL;
}

/* Calls `each` for every vector of one file; returns how many there were. */
static inline int vectors_read(const char *folder, const char *name,
                               void (*each)(const char *file, const struct vector *vector, void *context),
                               void *context)
{
    static char line[16384];
    static struct vector vector;
    char path[512];
    int count = 0;
    snprintf(path, sizeof(path), "%s/%s.txt", folder, name);
    FILE *file = fopen(path, "r");
    if (!file)
        vector_bad(path, "(file)");
    while (fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "vector: ", 8) == 0) {
            memset(&vector, 0, sizeof(vector));
            vector_copy(path, vector.name, sizeof(vector.name), line + 8);
        } else if (strncmp(line, "version: ", 9) == 0) {
            vector.version = strcmp(line + 9, "5") == 0 ? MQ5_V5 : MQ5_V311;
        } else if (strncmp(line, "sender: ", 8) == 0) {
            vector.sender = line[8] == 'c' ? MQ5_FROM_CLIENT : line[8] == 's' ? MQ5_FROM_SERVER : MQ5_EITHER;
        } else if (strncmp(line, "hex: ", 5) == 0 || strncmp(line, "     ", 5) == 0) {
            vector_hex(&vector, line + 5);
        } else if (strncmp(line, "ok: ", 4) == 0 || strncmp(line, "ok noncanonical: ", 17) == 0) {
            vector.canonical = line[2] == ':';
            vector_copy(path, vector.json, sizeof(vector.json), strchr(line, '{'));
            each(name, &vector, context);
            count++;
        } else if (strncmp(line, "error: ", 7) == 0) {
            vector_error(name, &vector, line + 7);
            each(name, &vector, context);
            count++;
        } else if (*line && *line != '#') {
            vector_bad(path, line);
        }
    }
    fclose(file);
    return count;
}

#endif
