/* scram.c: users of SCRAM-SHA-256, and the server's side of each exchange. */
#define _GNU_SOURCE /* explicit_bzero */
#include "cloud/scram.h"

#include <errno.h>
#include <gsasl.h>
#include <stdio.h>
#include <stdlib.h>

#define ITERATIONS 4096 /* the least of RFC 7677: a fleet comes all at once */
#define SALT_BYTES 16
#define LINE_MAX   1024

struct user {
    char *name, *password;                                     /* password NULL: derived */
    char salt[2 * SALT_BYTES], stored_key[64], server_key[64]; /* in base 64 */
};

struct cloud_scram {
    Gsasl *gsasl;
    struct user *users; /* by name once somebody is looked for */
    uint32_t count, capacity;
    bool sorted;
};

struct cloud_scram_exchange {
    Gsasl_session *session;     /* NULL: none under way */
    const struct user *user;    /* whom this link belongs to; NULL: not known yet */
    const struct user *claimed; /* in the exchange under way */
    char *output;               /* lent with the last answer */
};

/* ---- users --------------------------------------------------------------------------------------------------------------- */

static void forget_password(struct user *user)
{
    if (user->password)
        explicit_bzero(user->password, strlen(user->password));
    free(user->password);
    user->password = NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct user *)a)->name, ((const struct user *)b)->name);
}

static struct user *find(struct cloud_scram *scram, const char *name)
{
    struct user key = {.name = (char *)name};
    if (!scram->sorted && scram->count)
        qsort(scram->users, scram->count, sizeof(*scram->users), by_name);
    scram->sorted = true;
    return name && scram->count ? bsearch(&key, scram->users, scram->count, sizeof(key), by_name) : NULL;
}

static bool in_base_64(const char *bytes, size_t length, char *out, size_t capacity)
{
    char *text = NULL;
    size_t text_length = 0;
    bool good = gsasl_base64_to(bytes, length, &text, &text_length) == GSASL_OK && text_length < capacity;
    if (good)
        snprintf(out, capacity, "%.*s", (int)text_length, text);
    gsasl_free(text);
    return good;
}

/* Keys in place of the password. */
static bool derive(struct user *user)
{
    char salt[SALT_BYTES], salted[32], client_key[32], server_key[32], stored_key[32];
    if (!user->password)
        return true;
    bool good = gsasl_nonce(salt, sizeof(salt)) == GSASL_OK &&
                gsasl_scram_secrets_from_password(GSASL_HASH_SHA256, user->password, ITERATIONS, salt, sizeof(salt),
                                                  salted, client_key, server_key, stored_key) == GSASL_OK &&
                in_base_64(salt, sizeof(salt), user->salt, sizeof(user->salt)) &&
                in_base_64(server_key, sizeof(server_key), user->server_key, sizeof(user->server_key)) &&
                in_base_64(stored_key, sizeof(stored_key), user->stored_key, sizeof(user->stored_key));
    explicit_bzero(salted, sizeof(salted));
    explicit_bzero(client_key, sizeof(client_key));
    if (good)
        forget_password(user);
    return good;
}

/* libgsasl asks: once it knows whose turn it is, all that it can want to know is told. */
static int on_question(Gsasl *gsasl, Gsasl_session *session, Gsasl_property property)
{
    static const char iterations[] = "4096";
    _Static_assert(ITERATIONS == 4096, "the text says how many");
    struct cloud_scram_exchange *exchange = gsasl_session_hook_get(session);
    if (property != GSASL_SCRAM_ITER && property != GSASL_SCRAM_SALT && property != GSASL_SCRAM_SERVERKEY &&
        property != GSASL_SCRAM_STOREDKEY)
        return GSASL_NO_CALLBACK;
    struct user *user = find(gsasl_callback_hook_get(gsasl), gsasl_property_fast(session, GSASL_AUTHID));
    if (!user || !derive(user))
        return GSASL_NO_CALLBACK;
    exchange->claimed = user;
    gsasl_property_set(session, GSASL_SCRAM_ITER, iterations);
    gsasl_property_set(session, GSASL_SCRAM_SALT, user->salt);
    gsasl_property_set(session, GSASL_SCRAM_SERVERKEY, user->server_key);
    gsasl_property_set(session, GSASL_SCRAM_STOREDKEY, user->stored_key);
    return GSASL_OK;
}

struct cloud_scram *cloud_scram_create(void)
{
    struct cloud_scram *scram = calloc(1, sizeof(*scram));
    if (!scram || gsasl_init(&scram->gsasl) != GSASL_OK) {
        free(scram);
        return NULL;
    }
    gsasl_callback_set(scram->gsasl, on_question);
    gsasl_callback_hook_set(scram->gsasl, scram);
    return scram;
}

void cloud_scram_destroy(struct cloud_scram *scram)
{
    if (!scram)
        return;
    for (uint32_t i = 0; i < scram->count; i++) {
        forget_password(&scram->users[i]);
        gsasl_free(scram->users[i].name);
    }
    free(scram->users);
    gsasl_done(scram->gsasl);
    free(scram);
}

static bool make_room(struct cloud_scram *scram)
{
    if (scram->count < scram->capacity)
        return true;
    uint32_t capacity = scram->capacity ? scram->capacity * 2 : 16;
    struct user *grown = realloc(scram->users, capacity * sizeof(*grown));
    if (!grown)
        return false;
    scram->users = grown;
    scram->capacity = capacity;
    return true;
}

const char *cloud_scram_add(struct cloud_scram *scram, const char *user, const char *password)
{
    struct user made = {.name = NULL};
    char *prepared = NULL;
    if (!user[0] || !password[0])
        return "a user and a password are at least one character each";
    if (gsasl_saslprep(user, GSASL_ALLOW_UNASSIGNED, &made.name, NULL) != GSASL_OK)
        return "this name cannot be a user's (RFC 4013)";
    bool good = gsasl_saslprep(password, 0, &prepared, NULL) == GSASL_OK;
    if (prepared)
        explicit_bzero(prepared, strlen(prepared));
    gsasl_free(prepared);
    if (!good) {
        gsasl_free(made.name);
        return "this cannot be a password (RFC 4013)";
    }
    made.password = strdup(password);
    if (!made.password || !make_room(scram)) {
        gsasl_free(made.name);
        forget_password(&made);
        return "there is no memory for one more";
    }
    scram->users[scram->count++] = made;
    scram->sorted = false;
    return NULL;
}

static const char *read_line(struct cloud_scram *scram, char *line)
{
    size_t length = strcspn(line, "\r\n");
    if (!line[length] && length == LINE_MAX - 1)
        return "a line is too long";
    line[length] = 0;
    if (!line[0] || line[0] == '#')
        return NULL;
    char *colon = strchr(line, ':');
    if (!colon)
        return "no ':' in it; a line is user:password";
    *colon = 0;
    return cloud_scram_add(scram, line, colon + 1);
}

/* Of a user who stands twice only one password would count. */
static const char *standing_twice(struct cloud_scram *scram)
{
    find(scram, NULL);
    for (uint32_t i = 1; i < scram->count; i++)
        if (strcmp(scram->users[i - 1].name, scram->users[i].name) == 0)
            return scram->users[i].name;
    return NULL;
}

bool cloud_scram_read(struct cloud_scram *scram, const char *path, char *error, size_t error_capacity)
{
    char line[LINE_MAX];
    const char *why = NULL;
    unsigned number = 0;
    FILE *file = fopen(path, "re");
    if (!file)
        return snprintf(error, error_capacity, "%s: %s", path, strerror(errno)) < 0;
    while (!why && fgets(line, sizeof(line), file)) {
        number++;
        why = read_line(scram, line);
    }
    bool broken = ferror(file);
    fclose(file);
    explicit_bzero(line, sizeof(line));
    const char *twice = standing_twice(scram);
    if (why)
        snprintf(error, error_capacity, "%s:%u: %s", path, number, why);
    else if (broken)
        snprintf(error, error_capacity, "%s: cannot be read", path);
    else if (scram->count == 0)
        snprintf(error, error_capacity, "%s: there is no user in it; a line is user:password", path);
    else if (twice)
        snprintf(error, error_capacity, "%s: user '%.80s' stands there twice", path, twice);
    return !why && !broken && scram->count && !twice;
}

/* ---- exchanges ------------------------------------------------------------------------------------------------------------- */

static void finish(struct cloud_scram_exchange *exchange)
{
    if (exchange->session)
        gsasl_finish(exchange->session);
    exchange->session = NULL;
    exchange->claimed = NULL;
}

static void forget(struct cloud_scram_exchange **exchange)
{
    if (!*exchange)
        return;
    finish(*exchange);
    gsasl_free((*exchange)->output);
    free(*exchange);
    *exchange = NULL;
}

/* A new session of libgsasl's, on this link. */
static bool start(struct cloud_scram *scram, struct cloud_scram_exchange **exchange)
{
    if (!*exchange && !(*exchange = calloc(1, sizeof(**exchange))))
        return false;
    finish(*exchange);
    if (gsasl_server_start(scram->gsasl, CLOUD_SCRAM_METHOD, &(*exchange)->session) != GSASL_OK)
        return false;
    gsasl_session_hook_set((*exchange)->session, *exchange);
    return true;
}

static struct cloud_authentication go_on(struct cloud_scram_exchange *exchange, struct span data)
{
    size_t length = 0;
    gsasl_free(exchange->output);
    exchange->output = NULL;
    int status = gsasl_step(exchange->session, (const char *)data.data, data.length, &exchange->output, &length);
    const struct user *user = exchange->claimed;
    struct cloud_authentication answer = {.reason = MQ5_CONTINUE_AUTHENTICATION,
                                          .data = length ? span_of(exchange->output, length) : (struct span){NULL, 0}};
    if (status == GSASL_NEEDS_MORE) {
        answer.what = length ? "the client's proof is awaited" : "the client's first message is awaited";
        return answer;
    }
    finish(exchange);
    if (status != GSASL_OK || !user)
        return (struct cloud_authentication){.reason = MQ5_NOT_AUTHORIZED};
    if (exchange->user && exchange->user != user)
        return (struct cloud_authentication){.reason = MQ5_NOT_AUTHORIZED, .what = "another user"};
    exchange->user = user;
    answer.reason = MQ5_SUCCESS;
    return answer;
}

struct cloud_authentication cloud_scram_step(struct cloud_scram *scram, struct cloud_scram_exchange **exchange,
                                             enum cloud_authentication_step step, struct span method, struct span data)
{
    if (step == CLOUD_AUTHENTICATION_OVER) {
        forget(exchange);
        return (struct cloud_authentication){.reason = MQ5_SUCCESS};
    }
    if (!span_equal(method, SPAN_LITERAL(CLOUD_SCRAM_METHOD)))
        return (struct cloud_authentication){.reason = MQ5_BAD_AUTHENTICATION_METHOD,
                                             .what = "the method is " CLOUD_SCRAM_METHOD};
    if (step != CLOUD_AUTHENTICATION_GOES_ON && !start(scram, exchange))
        return (struct cloud_authentication){.reason = MQ5_UNSPECIFIED_ERROR};
    return go_on(*exchange, data);
}
