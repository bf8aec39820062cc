/* shadow.c: what is asked of shadows, get, update and delete, everything that can be wrong with it, and what is said.
 *
 * A request is looked at in this order: topic and names, size, encoding, JSON, client token, in flight, rate, thing, rights, then what the
 * operation wants. The first finding is the answer; nothing has changed then.
 */
#include "shadow_internal.h"

#include "levels.h"
#include "memory.h"
#include "mqtt5/topic.h"

#include <cjson/cJSON.h>
#include <stdio.h>

#define TOKEN_MAX   64
#define VERSION_MAX INT64_C(0x1FFFFFFFFFFFFF) /* what a double holds exactly */

enum operation { GET, UPDATE, DELETE, NO_OPERATION };

/* What an accepted update has everybody told. */
struct consequence {
    bool updated, difference;
    uint64_t version;
    struct span delta, documents;
};

struct asked {
    struct cloud_shadow *shadow;
    int64_t now_us;
    const struct cloud_request *request; /* NULL: the app's side */
    struct span thing, name, payload;
    enum operation operation;
    cJSON *body; /* NULL: none */
    const char *token;
    struct shadow_arena arena;
    struct shadow_call call;
    struct span answer;
    struct consequence consequence;
};

/* ---- pieces of what is said ----------------------------------------------------------------------------------------- */

static uint32_t second_of(const struct asked *asked)
{
    return (uint32_t)((asked->shadow->options.epoch_us + asked->now_us) / US_PER_S);
}

/* The end of every body. */
static void put_stamp(struct text_writer *w, const struct asked *asked)
{
    TEXT_PUT(w, "\"timestamp\":");
    text_put_number(w, second_of(asked));
    if (asked->token) {
        TEXT_PUT(w, ",\"clientToken\":");
        shadow_put_quoted(w, span_text(asked->token));
    }
    TEXT_PUT(w, "}");
}

static void put_version(struct text_writer *w, uint64_t version)
{
    TEXT_PUT(w, "\"version\":");
    text_put_number(w, (int64_t)version);
}

static void put_content(struct text_writer *w, const struct shadow_state *state, bool with_delta)
{
    TEXT_PUT(w, "\"state\":");
    shadow_put_state(w, state, with_delta);
    TEXT_PUT(w, ",\"metadata\":");
    shadow_put_metadata(w, state);
    TEXT_PUT(w, ",");
}

struct saying {
    const struct asked *asked;
    const struct shadow_state *state;
    uint64_t version;
    struct span previous;
    int code;
    const char *message;
};

static void write_rejected(struct text_writer *w, const void *what)
{
    const struct saying *saying = what;
    TEXT_PUT(w, "{\"code\":");
    text_put_number(w, saying->code);
    TEXT_PUT(w, ",\"message\":");
    shadow_put_quoted(w, span_text(saying->message));
    TEXT_PUT(w, ",");
    put_stamp(w, saying->asked);
}

static void write_content(struct text_writer *w, const void *what)
{
    const struct saying *saying = what;
    TEXT_PUT(w, "{");
    put_content(w, saying->state, saying->asked->operation == GET);
    put_version(w, saying->version);
    TEXT_PUT(w, ",");
    put_stamp(w, saying->asked);
}

static void write_deleted(struct text_writer *w, const void *what)
{
    const struct saying *saying = what;
    TEXT_PUT(w, "{");
    put_version(w, saying->version);
    TEXT_PUT(w, ",");
    put_stamp(w, saying->asked);
}

static void write_delta(struct text_writer *w, const void *what)
{
    const struct saying *saying = what;
    TEXT_PUT(w, "{");
    put_version(w, saying->version);
    TEXT_PUT(w, ",\"timestamp\":");
    text_put_number(w, second_of(saying->asked));
    TEXT_PUT(w, ",\"state\":");
    shadow_put_delta(w, saying->state, false);
    TEXT_PUT(w, ",\"metadata\":");
    shadow_put_delta(w, saying->state, true);
    if (saying->asked->token) {
        TEXT_PUT(w, ",\"clientToken\":");
        shadow_put_quoted(w, span_text(saying->asked->token));
    }
    TEXT_PUT(w, "}");
}

static void write_half(struct text_writer *w, const void *what)
{
    const struct saying *saying = what;
    TEXT_PUT(w, "{");
    put_content(w, saying->state, false);
    put_version(w, saying->version);
    TEXT_PUT(w, "}");
}

static void write_documents(struct text_writer *w, const void *what)
{
    const struct saying *saying = what;
    TEXT_PUT(w, "{\"previous\":");
    text_put(w, saying->previous.data, saying->previous.length);
    TEXT_PUT(w, ",\"current\":");
    write_half(w, what);
    TEXT_PUT(w, ",");
    put_stamp(w, saying->asked);
}

/* Out of memory: an empty answer, the code says it all. */
static int reject(struct asked *asked, int code, const char *message)
{
    struct saying saying = {.asked = asked, .code = code, .message = message};
    asked->shadow->counts.rejected++;
    asked->shadow->counts.conflicts += code == 409;
    asked->shadow->counts.throttled += code == 429;
    if (!shadow_write(&asked->arena, write_rejected, &saying, &asked->answer))
        asked->answer = (struct span){0};
    return code;
}

static int reject_memory(struct asked *asked)
{
    return reject(asked, 500, "Internal service failure");
}

/* The classic shadow is called as its thing is. */
static int reject_absent(struct asked *asked)
{
    char message[192];
    struct span name = asked->name.length ? asked->name : asked->thing;
    snprintf(message, sizeof(message), "No shadow exists with name: %.*s", (int)name.length, (const char *)name.data);
    return reject(asked, 404, message);
}

/* ---- get and delete ------------------------------------------------------------------------------------------------- */

static int get(struct asked *asked)
{
    struct cloud_shadow *shadow = asked->shadow;
    const struct shadow_document *document = shadow_find(shadow, asked->thing, asked->name);
    struct shadow_state state;
    if (!document || !document->exists)
        return reject_absent(asked);
    struct saying saying = {.asked = asked, .state = &state, .version = document->version};
    if (!shadow_unpack(&asked->arena, shadow_packed(document), &state) ||
        !shadow_write(&asked->arena, write_content, &saying, &asked->answer))
        return reject_memory(asked);
    shadow->counts.gets++;
    return 200;
}

static int delete_shadow(struct asked *asked)
{
    struct cloud_shadow *shadow = asked->shadow;
    struct shadow_document *document = shadow_find(shadow, asked->thing, asked->name);
    if (!document || !document->exists)
        return reject_absent(asked);
    struct saying saying = {.asked = asked, .version = document->version};
    if (!shadow_write(&asked->arena, write_deleted, &saying, &asked->answer))
        return reject_memory(asked);
    shadow_bury(shadow, asked->thing, document);
    shadow->counts.deletes++;
    shadow->counts.shadows--;
    return 200;
}

/* ---- update --------------------------------------------------------------------------------------------------------- */

static const char *text_of_flaw(enum shadow_flaw flaw)
{
    static const char *const texts[] = {NULL, "JSON contains too many levels of nesting; maximum is 6",
                                        "State contains an invalid node", "Invalid JSON", NULL};
    return texts[flaw];
}

/* 0: fine; else the code, answered. */
static int read_state(struct asked *asked, struct shadow_state *state)
{
    const cJSON *node = cJSON_GetObjectItemCaseSensitive(asked->body, "state"), *item;
    if (!node)
        return reject(asked, 400, "Missing required node: state");
    if (!cJSON_IsObject(node))
        return reject(asked, 400, "State node must be an object");
    cJSON_ArrayForEach(item, node)
    {
        bool desired = strcmp(item->string, "desired") == 0;
        if (!desired && strcmp(item->string, "reported") != 0)
            return reject(asked, 400, "State contains an invalid node");
        if (!cJSON_IsObject(item) && !cJSON_IsNull(item))
            return reject(asked, 400, desired ? "Desired node must be an object" : "Reported node must be an object");
        enum shadow_flaw flaw = shadow_import(&asked->arena, item, second_of(asked), asked->shadow->options.depth,
                                              &state->section[desired ? SHADOW_DESIRED : SHADOW_REPORTED]);
        if (flaw == SHADOW_NO_MEMORY)
            return reject_memory(asked);
        if (flaw != SHADOW_FINE)
            return reject(asked, 400, text_of_flaw(flaw));
    }
    return 0;
}

/* -1: none; null is as good as absent. false: not a version. */
static bool read_version(const struct asked *asked, int64_t *version)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(asked->body, "version");
    *version = -1;
    if (!item || cJSON_IsNull(item))
        return true;
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= (double)VERSION_MAX))
        return false;
    *version = (int64_t)item->valuedouble;
    return (double)*version == item->valuedouble;
}

static size_t size_of(const struct shadow_state *state)
{
    struct text_writer w = {0};
    shadow_put_state(&w, state, false);
    return w.at;
}

/* Everything is written before anything is stored. */
static bool write_all(struct asked *asked, const struct shadow_state *request, const struct shadow_state *state,
                      struct span previous, struct span *packed)
{
    struct text_writer w = {0};
    struct consequence *consequence = &asked->consequence;
    struct saying accepted = {.asked = asked, .state = request, .version = consequence->version};
    struct saying current = {.asked = asked, .state = state, .version = consequence->version, .previous = previous};
    consequence->difference = shadow_put_delta(&w, state, false);
    return shadow_write(&asked->arena, write_content, &accepted, &asked->answer) &&
           (!consequence->difference || shadow_write(&asked->arena, write_delta, &current, &consequence->delta)) &&
           shadow_write(&asked->arena, write_documents, &current, &consequence->documents) &&
           shadow_write(&asked->arena, shadow_write_packed, state, packed);
}

/* What it was is written before it is merged into. */
static int change(struct asked *asked, const struct shadow_state *request, const struct shadow_document *document)
{
    struct cloud_shadow *shadow = asked->shadow;
    struct shadow_state state;
    struct span previous, packed;
    struct saying before = {.asked = asked, .state = &state, .version = document ? document->version : 0};
    struct span content = document ? shadow_packed(document) : (struct span){0};
    asked->consequence.version = before.version + 1;
    if (!shadow_unpack(&asked->arena, content, &state) ||
        !shadow_write(&asked->arena, write_half, &before, &previous) || !shadow_merge(&asked->arena, &state, request))
        return reject_memory(asked);
    if (size_of(&state) > shadow->options.document_bytes)
        return reject(asked, 413, "The payload exceeds the maximum size allowed");
    if (!write_all(asked, request, &state, previous, &packed))
        return reject_memory(asked);
    struct shadow_document *stored = shadow_store(shadow, asked->thing, asked->name, packed);
    if (!stored)
        return reject_memory(asked);
    shadow->counts.shadows += !stored->exists;
    shadow->counts.updates++;
    shadow->counts.deltas += asked->consequence.difference;
    stored->exists = asked->consequence.updated = true;
    stored->differs = asked->consequence.difference;
    stored->version = asked->consequence.version;
    return 200;
}

static int update(struct asked *asked)
{
    struct cloud_shadow *shadow = asked->shadow;
    struct shadow_state request = {0};
    int64_t version;
    int code = read_state(asked, &request);
    if (code)
        return code;
    if (!read_version(asked, &version))
        return reject(asked, 400, "Invalid version");
    const struct shadow_document *document = shadow_find(shadow, asked->thing, asked->name);
    if (version >= 0 && (uint64_t)version != (document ? document->version : 0))
        return reject(asked, 409, "Version conflict");
    if (asked->name.length && !(document && document->exists) &&
        shadow_count_named(shadow, asked->thing) >= shadow->options.shadows_per_thing)
        return reject(asked, 403, "Forbidden");
    return change(asked, &request, document);
}

/* ---- requests ------------------------------------------------------------------------------------------------------- */

static bool is_name(struct span name, uint32_t maximum)
{
    for (uint32_t i = 0; i < name.length; i++)
        if (!((name.data[i] >= 'a' && name.data[i] <= 'z') || (name.data[i] >= 'A' && name.data[i] <= 'Z') ||
              (name.data[i] >= '0' && name.data[i] <= '9') || (name.data[i] && strchr(":_-", name.data[i]))))
            return false;
    return name.length >= 1 && name.length <= maximum;
}

/* One JSON object and nothing behind it. */
static bool parse(struct asked *asked)
{
    const char *end = NULL;
    struct span text = asked->payload;
    if (!text.length)
        return asked->operation != UPDATE;
    asked->body = cJSON_ParseWithLengthOpts((const char *)text.data, text.length, &end, 0);
    bool good = cJSON_IsObject(asked->body);
    for (const uint8_t *c = (const uint8_t *)end; good && c < text.data + text.length; c++)
        good = *c == ' ' || *c == '\n' || *c == '\r' || *c == '\t';
    return good;
}

static bool read_token(struct asked *asked)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(asked->body, "clientToken");
    const char *token = cJSON_GetStringValue(item);
    if (token && strlen(token) <= TOKEN_MAX)
        asked->token = token;
    return !item || cJSON_IsNull(item) || asked->token;
}

/* Those being answered now, this one not among them, and those the owner knows of. */
static bool too_many_in_flight(const struct asked *asked)
{
    const struct cloud_shadow_options *options = &asked->shadow->options;
    uint32_t count = 0;
    if (!asked->request)
        return false;
    if (options->unanswered)
        count = options->unanswered(options->context, asked->request->client_id, asked->thing);
    for (const struct shadow_call *call = asked->call.outer; call; call = call->outer)
        count += span_equal(call->client_id, asked->call.client_id) && span_equal(call->thing, asked->thing);
    return count >= options->in_flight;
}

/* A shadow that never was costs nothing, and so is not counted. */
static bool is_throttled(const struct asked *asked)
{
    struct shadow_document *document = shadow_find(asked->shadow, asked->thing, asked->name);
    if (!document)
        return false;
    if (document->second != asked->now_us / US_PER_S) {
        document->second = asked->now_us / US_PER_S;
        document->requests = 0;
    }
    return ++document->requests > asked->shadow->options.requests_per_second;
}

static int decide(struct asked *asked)
{
    static int (*const operations[])(struct asked *) = {get, update, delete_shadow};
    const struct cloud_shadow_options *options = &asked->shadow->options;
    if (asked->payload.length > 4 * options->document_bytes) /* no document comes of that, whatever it says */
        return reject(asked, 413, "The payload exceeds the maximum size allowed");
    if (!mq5_utf8_valid(asked->payload))
        return reject(asked, 415, "Unsupported documented encoding; supported encoding is UTF-8");
    if (!parse(asked))
        return reject(asked, 400, "Invalid JSON");
    if (!read_token(asked))
        return reject(asked, 400, "Invalid clientToken");
    if (too_many_in_flight(asked))
        return reject(asked, 429, "Too many in-flight requests");
    if (is_throttled(asked))
        return reject(asked, 429, "Too many requests");
    if (options->known && !options->known(options->context, asked->thing))
        return reject(asked, 404, "Thing not found");
    int refused = options->refused && asked->request
                      ? options->refused(options->context, asked->request, asked->thing, asked->name)
                      : 0;
    if (refused)
        return refused == 401 ? reject(asked, 401, "Unauthorized") : reject(asked, 403, "Forbidden");
    return operations[asked->operation](asked);
}

struct topic {
    const struct asked *asked;
    const char *suffix;
};

static void write_topic(struct text_writer *w, const void *what)
{
    const struct topic *topic = what;
    TEXT_PUT(w, "things/");
    text_put(w, topic->asked->thing.data, topic->asked->thing.length);
    TEXT_PUT(w, "/shadow/");
    if (topic->asked->name.length) {
        TEXT_PUT(w, "name/");
        text_put(w, topic->asked->name.data, topic->asked->name.length);
        TEXT_PUT(w, "/");
    }
    text_put_string(w, topic->suffix);
}

/* The longest topic has 7 + 128 + 13 + 64 + 17 bytes. */
static void say(const struct asked *asked, const char *suffix, struct span payload, bool answer)
{
    const struct cloud_speaker *speaker = &asked->shadow->options.speaker;
    char text[256];
    struct text_writer w = {.out = text, .capacity = sizeof(text)};
    write_topic(&w, &(struct topic){asked, suffix});
    ASSERT(text_fits(&w));
    if (answer && speaker->answer)
        speaker->answer(speaker->context, asked->now_us, asked->call.client_id, span_of(text, w.at), payload);
    if (!answer && speaker->tell)
        speaker->tell(speaker->context, asked->now_us, asked->thing, span_of(text, w.at), payload);
}

static void follow(const struct asked *asked)
{
    const struct consequence *consequence = &asked->consequence;
    const struct cloud_shadow_options *options = &asked->shadow->options;
    if (!consequence->updated)
        return;
    if (consequence->difference)
        say(asked, "update/delta", consequence->delta, false);
    say(asked, "update/documents", consequence->documents, false);
    if (options->updated)
        options->updated(options->context, asked->now_us, asked->thing, asked->name,
                         asked->request ? &asked->call.client_id : NULL, consequence->version, consequence->difference);
}

static int serve(struct asked *asked)
{
    static const char *const suffixes[][2] = {{"get/rejected", "get/accepted"},
                                              {"update/rejected", "update/accepted"},
                                              {"delete/rejected", "delete/accepted"}};
    struct cloud_shadow *shadow = asked->shadow;
    asked->call.outer = shadow->calls;
    asked->call.thing = asked->thing;
    shadow->calls = &asked->call;
    int code = decide(asked);
    if (asked->request)
        say(asked, suffixes[asked->operation][code == 200], asked->answer, true);
    follow(asked);
    shadow->calls = asked->call.outer;
    return code;
}

static void end(struct asked *asked)
{
    cJSON_Delete(asked->body);
    shadow_arena_end(&asked->arena);
}

/* ---- topics --------------------------------------------------------------------------------------------------------- */

static enum operation operation_of(struct span text)
{
    return span_equal(text, SPAN_LITERAL("get"))      ? GET
           : span_equal(text, SPAN_LITERAL("update")) ? UPDATE
           : span_equal(text, SPAN_LITERAL("delete")) ? DELETE
                                                      : NO_OPERATION;
}

uint8_t cloud_shadow_request(struct cloud_shadow *shadow, int64_t now_us, const struct cloud_request *request,
                             bool *taken)
{
    struct asked asked = {.shadow = shadow, .now_us = now_us, .request = request, .payload = request->payload};
    struct span rest = request->topic;
    *taken = false;
    if (!starts_with(&rest, SPAN_LITERAL("things/")))
        return MQ5_SUCCESS;
    asked.thing = take_level(&rest);
    if (!starts_with(&rest, SPAN_LITERAL("shadow/")))
        return MQ5_SUCCESS;
    *taken = true;
    bool named = starts_with(&rest, SPAN_LITERAL("name/"));
    if (named)
        asked.name = take_level(&rest);
    asked.operation = operation_of(rest);
    if (asked.operation == NO_OPERATION || !is_name(asked.thing, SHADOW_THING_MAX) ||
        (named && !is_name(asked.name, SHADOW_NAME_MAX)))
        return MQ5_TOPIC_NAME_INVALID;
    asked.call.client_id = request->client_id;
    serve(&asked);
    end(&asked);
    return MQ5_SUCCESS;
}

/* ---- the app's side ------------------------------------------------------------------------------------------------- */

static int refuse_name(struct asked *asked)
{
    if (!is_name(asked->thing, SHADOW_THING_MAX))
        return reject(asked, 404, "Thing not found");
    asked->name.length = asked->name.length < 128 ? asked->name.length : 128;
    return reject_absent(asked);
}

static int serve_app(struct cloud_shadow *shadow, int64_t now_us, struct asked *asked, struct span *answer)
{
    asked->shadow = shadow;
    asked->now_us = now_us;
    bool good =
        is_name(asked->thing, SHADOW_THING_MAX) && (!asked->name.length || is_name(asked->name, SHADOW_NAME_MAX));
    int code = good ? serve(asked) : refuse_name(asked);
    if (answer) {
        memory_free(shadow->answer);
        shadow->answer = asked->answer.length ? memory_allocate(asked->answer.length) : NULL;
        if (shadow->answer)
            memcpy(shadow->answer, asked->answer.data, asked->answer.length);
        *answer = span_of(shadow->answer, shadow->answer ? asked->answer.length : 0);
    }
    end(asked);
    return code;
}

int cloud_shadow_update(struct cloud_shadow *shadow, int64_t now_us, struct span thing, struct span name,
                        struct span request, struct span *answer)
{
    struct asked asked = {.thing = thing, .name = name, .payload = request, .operation = UPDATE};
    return serve_app(shadow, now_us, &asked, answer);
}

int cloud_shadow_get(struct cloud_shadow *shadow, int64_t now_us, struct span thing, struct span name,
                     struct span *answer)
{
    struct asked asked = {.thing = thing, .name = name, .operation = GET};
    return serve_app(shadow, now_us, &asked, answer);
}

int cloud_shadow_delete(struct cloud_shadow *shadow, int64_t now_us, struct span thing, struct span name,
                        struct span *answer)
{
    struct asked asked = {.thing = thing, .name = name, .operation = DELETE};
    return serve_app(shadow, now_us, &asked, answer);
}
