/* executions.c: the commands feature (cloud-contract 8.2): executions, their state machine, answers, time-outs and events.
 *
 * A response is looked at in this order: execution, JSON, client token, fields, state. The first finding is the answer; nothing has changed then. What is
 * wrong with a response's fields is answered as InvalidStateTransition, the one of the five errors that is not worth a retry and not untrue.
 * Time-outs and forgetting hang in one heap, one entry an execution: an entry may come up before its execution's time, and is put back then.
 */
#include "cloud/executions.h"

#include "cloud/services.h"
#include "due.h"
#include "memory.h"
#include "mqtt5/topic.h"
#include "text.h"

#include <cjson/cJSON.h>

#define NAME_MAX_BYTES   128
#define ID_MAX           64
#define PAYLOAD_MAX      131072u
#define TOKEN_MAX        64
#define DESCRIPTION_MAX  1024 /* characters */
#define TIMEOUT_STANDARD (10 * US_PER_S)
#define TIMEOUT_MAX      (12 * US_PER_HOUR)
#define RETENTION        (180 * US_PER_DAY)
#define CONCURRENT       100
#define BUCKETS_AT_FIRST 8
#define TEXT_MAX         8192 /* an event: the longest description, all of it escaped, is 6 KiB */
#define ARN              "arn:aws:iot:us-east-1:123456789012:"

/* What is found by a hash; both kinds begin with it. */
struct node {
    struct node *next;
    uint32_t hash;
};

struct table {
    struct node **buckets;
    uint32_t count, capacity; /* a power of two */
};

/* A thing with executions. */
struct target {
    struct node node;
    uint32_t executions, open;
    uint32_t name_length;
    uint8_t name[];
};

struct execution {
    struct node node;
    struct target *target;
    uint8_t *reported;
    uint32_t reported_length;
    uint8_t status, id_length, command_length;
    bool terminal, telling; /* telling: the world outside is being told of its last change */
    int64_t due_us;         /* time-out, then the end of its retention */
    char text[];            /* id, command */
};

struct cloud_executions {
    struct cloud_due due; /* first */
    struct cloud_executions_options options;
    struct table executions, targets;
    struct due_heap heap;
    uint64_t order, bytes;
};

/* A response in hand. */
struct asked {
    struct cloud_executions *executions;
    int64_t now_us;
    const struct cloud_request *request;
    struct span thing, id;
    const char *token; /* NULL: none */
    enum cloud_execution_status status;
    const cJSON *reason; /* NULL: none */
    const char *code, *description;
};

const char *cloud_execution_status_name(enum cloud_execution_status status)
{
    static const char *const names[CLOUD_EXECUTIONS_STATUSES] = {"CREATED", "IN_PROGRESS", "SUCCEEDED",
                                                                 "FAILED",  "REJECTED",    "TIMED_OUT"};
    return (unsigned)status < CLOUD_EXECUTIONS_STATUSES ? names[status] : "?";
}

/* ---- finding ---------------------------------------------------------------------------------------------------------- */

static uint32_t hash_more(uint32_t hash, struct span text)
{
    for (uint32_t i = 0; i < text.length; i++)
        hash = (hash ^ text.data[i]) * UINT32_C(0x01000193);
    return (hash ^ '/') * UINT32_C(0x01000193);
}

static uint32_t hash_of(struct span thing, struct span id)
{
    return hash_more(hash_more(UINT32_C(0x811C9DC5), thing), id);
}

static struct node *first_of(const struct table *table, uint32_t hash)
{
    return table->capacity ? table->buckets[hash & (table->capacity - 1)] : NULL;
}

static void table_link(struct table *table, struct node *node)
{
    struct node **bucket = &table->buckets[node->hash & (table->capacity - 1)];
    node->next = *bucket;
    *bucket = node;
}

static bool table_room(struct table *table)
{
    if (table->count < table->capacity)
        return true;
    uint32_t capacity = table->capacity ? 2 * table->capacity : BUCKETS_AT_FIRST, old_capacity = table->capacity;
    struct node **old = table->buckets, **buckets = memory_allocate_zero(capacity, sizeof(*buckets));
    if (!buckets)
        return old_capacity > 0; /* longer chains, nothing worse */
    table->buckets = buckets;
    table->capacity = capacity;
    for (uint32_t i = 0; i < old_capacity; i++)
        for (struct node *node = old[i], *next; node; node = next) {
            next = node->next;
            table_link(table, node);
        }
    memory_free(old);
    return true;
}

static void table_add(struct table *table, struct node *node)
{
    table_link(table, node);
    table->count++;
}

static void table_remove(struct table *table, struct node *node)
{
    struct node **at = &table->buckets[node->hash & (table->capacity - 1)];
    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    table->count--;
}

static struct span name_of(const struct target *target)
{
    return span_of(target->name, target->name_length);
}

static struct span id_of(const struct execution *execution)
{
    return span_of(execution->text, execution->id_length);
}

static struct span command_of(const struct execution *execution)
{
    return span_of(execution->text + execution->id_length, execution->command_length);
}

static struct target *find_target(const struct cloud_executions *executions, struct span thing)
{
    uint32_t hash = hash_of(thing, (struct span){0});
    for (struct node *node = first_of(&executions->targets, hash); node; node = node->next)
        if (node->hash == hash && span_equal(name_of((struct target *)node), thing))
            return (struct target *)node;
    return NULL;
}

static struct execution *find(const struct cloud_executions *executions, struct span thing, struct span id)
{
    uint32_t hash = hash_of(thing, id);
    for (struct node *node = first_of(&executions->executions, hash); node; node = node->next) {
        struct execution *execution = (struct execution *)node;
        if (node->hash == hash && span_equal(id_of(execution), id) && span_equal(name_of(execution->target), thing))
            return execution;
    }
    return NULL;
}

/* ---- saying ----------------------------------------------------------------------------------------------------------- */

static void put_span(struct text_writer *w, struct span text)
{
    text_put(w, text.data, text.length);
}

static void put_json(struct text_writer *w, struct span text)
{
    char escaped[TEXT_MAX];
    text_json(text, escaped, sizeof(escaped));
    text_put_string(w, escaped);
}

static void put_topic(struct text_writer *w, struct span thing, struct span id, const char *end)
{
    TEXT_PUT(w, "commands/things/");
    put_span(w, thing);
    TEXT_PUT(w, "/executions/");
    put_span(w, id);
    text_put_string(w, end);
}

static void put_reason(struct text_writer *w, const char *code, const char *description)
{
    if (!code)
        return;
    TEXT_PUT(w, ",\"statusReason\":{\"reasonCode\":\"");
    text_put_string(w, code);
    TEXT_PUT(w, "\"");
    if (description) {
        TEXT_PUT(w, ",\"reasonDescription\":\"");
        put_json(w, span_text(description));
        TEXT_PUT(w, "\"");
    }
    TEXT_PUT(w, "}");
}

static void put_event(struct text_writer *w, const struct cloud_executions *executions, int64_t now_us,
                      const struct execution *execution, const char *code, const char *description)
{
    TEXT_PUT(w, "{\"executionId\":\"");
    put_span(w, id_of(execution));
    TEXT_PUT(w, "\",\"status\":\"");
    text_put_string(w, cloud_execution_status_name(execution->status));
    TEXT_PUT(w, "\"");
    put_reason(w, code, description);
    TEXT_PUT(w, ",\"eventType\":\"COMMAND_EXECUTION\",\"commandArn\":\"" ARN "command/");
    put_span(w, command_of(execution));
    TEXT_PUT(w, "\",\"targetArn\":\"" ARN "thing/");
    put_json(w, name_of(execution->target));
    TEXT_PUT(w, "\",\"timestamp\":");
    text_put_number(w, (executions->options.epoch_us + now_us) / US_PER_MS);
    TEXT_PUT(w, "}");
}

/* The event, then whoever started it. */
static void tell_change(struct cloud_executions *executions, int64_t now_us, struct execution *execution,
                        const char *code, const char *description)
{
    const struct cloud_executions_options *options = &executions->options;
    char topic[NAME_MAX_BYTES + 64], body[TEXT_MAX];
    struct text_writer t = {.out = topic, .capacity = sizeof(topic)}, b = {.out = body, .capacity = sizeof(body)};
    enum cloud_execution_status status = (enum cloud_execution_status)execution->status;
    TEXT_PUT(&t, "commandExecution/");
    put_span(&t, command_of(execution));
    TEXT_PUT(&t, "/");
    text_put_string(&t, cloud_execution_status_name(status));
    put_event(&b, executions, now_us, execution, code, description);
    ASSERT(text_fits(&t) && text_fits(&b)); /* every part has its limit */
    execution->telling = true;
    if (options->speaker.event)
        options->speaker.event(options->speaker.context, now_us, span_of(topic, t.at), span_of(body, b.at));
    if (options->changed)
        options->changed(options->context, now_us, name_of(execution->target), id_of(execution), status,
                         execution->terminal, code ? span_text(code) : (struct span){0});
    execution->telling = false;
}

/* error NULL: accepted. */
static void answer(const struct asked *asked, const char *error, const char *message)
{
    const struct cloud_speaker *speaker = &asked->executions->options.speaker;
    char topic[2 * NAME_MAX_BYTES + ID_MAX], body[1024];
    struct text_writer t = {.out = topic, .capacity = sizeof(topic)}, b = {.out = body, .capacity = sizeof(body)};
    put_topic(&t, asked->thing, asked->id, error ? "/response/rejected/json" : "/response/accepted/json");
    TEXT_PUT(&b, "{");
    if (asked->token) {
        TEXT_PUT(&b, "\"clientToken\":\"");
        put_json(&b, span_text(asked->token));
        TEXT_PUT(&b, "\",");
    }
    TEXT_PUT(&b, "\"executionId\":\"");
    put_span(&b, asked->id);
    TEXT_PUT(&b, "\"");
    if (error) {
        TEXT_PUT(&b, ",\"error\":\"");
        text_put_string(&b, error);
        TEXT_PUT(&b, "\",\"errorMessage\":\"");
        text_put_string(&b, message);
        TEXT_PUT(&b, "\"");
    }
    TEXT_PUT(&b, "}");
    ASSERT(text_fits(&t) && text_fits(&b));
    if (speaker->answer)
        speaker->answer(speaker->context, asked->now_us, asked->request->client_id, span_of(topic, t.at),
                        span_of(body, b.at));
}

/* ---- states ----------------------------------------------------------------------------------------------------------- */

enum verdict { GOOD, NO_TRANSITION, NO_MORE };

/* [what is][what the device says]. TIMED_OUT here: by the cloud. */
static enum verdict verdict_of(const struct execution *execution, enum cloud_execution_status said)
{
    enum { _ = NO_TRANSITION };
    static const uint8_t table[CLOUD_EXECUTIONS_STATUSES][CLOUD_EXECUTIONS_STATUSES] = {
        /*                            CREATED  IN_PROGRESS SUCCEEDED FAILED   REJECTED TIMED_OUT */
        [CLOUD_EXECUTIONS_CREATED] = {_, GOOD, GOOD, GOOD, GOOD, GOOD},
        [CLOUD_EXECUTIONS_IN_PROGRESS] = {_, GOOD, GOOD, GOOD, GOOD, GOOD},
        [CLOUD_EXECUTIONS_SUCCEEDED] = {NO_MORE, NO_MORE, NO_MORE, NO_MORE, NO_MORE, NO_MORE},
        [CLOUD_EXECUTIONS_FAILED] = {NO_MORE, NO_MORE, NO_MORE, NO_MORE, NO_MORE, NO_MORE},
        [CLOUD_EXECUTIONS_REJECTED] = {NO_MORE, NO_MORE, NO_MORE, NO_MORE, NO_MORE, NO_MORE},
        [CLOUD_EXECUTIONS_TIMED_OUT] = {_, _, GOOD, GOOD, GOOD, GOOD},
    };
    return execution->terminal ? NO_MORE : (enum verdict)table[execution->status][said];
}

static bool counts_as_open(const struct execution *execution)
{
    return !execution->terminal && execution->status != CLOUD_EXECUTIONS_TIMED_OUT;
}

/* The one that writes a status. */
static void enter(struct cloud_executions *executions, int64_t now_us, struct execution *execution,
                  enum cloud_execution_status status, bool terminal)
{
    execution->target->open -= counts_as_open(execution);
    execution->status = (uint8_t)status;
    execution->terminal = terminal;
    execution->target->open += counts_as_open(execution);
    if (!counts_as_open(execution))
        execution->due_us = now_us + executions->options.retention_us;
}

/* ---- starting --------------------------------------------------------------------------------------------------------- */

static bool id_is_valid(struct span id)
{
    for (uint32_t i = 0; i < id.length; i++) {
        uint8_t c = id.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return id.length > 0 && id.length <= ID_MAX;
}

static bool name_is_valid(struct span thing)
{
    for (uint32_t i = 0; i < thing.length; i++)
        if (thing.data[i] < 0x20 || memchr("/+#", thing.data[i], 3))
            return false;
    return thing.length > 0 && thing.length <= NAME_MAX_BYTES;
}

static struct target *need_target(struct cloud_executions *executions, struct span thing)
{
    struct target *target = find_target(executions, thing);
    if (target || !table_room(&executions->targets))
        return target;
    target = memory_allocate_zero(1, sizeof(*target) + thing.length);
    if (!target)
        return NULL;
    target->node.hash = hash_of(thing, (struct span){0});
    target->name_length = thing.length;
    memcpy(target->name, thing.data, thing.length);
    table_add(&executions->targets, &target->node);
    executions->bytes += sizeof(*target) + thing.length;
    return target;
}

static void drop_target_if_empty(struct cloud_executions *executions, struct target *target)
{
    if (target->executions)
        return;
    table_remove(&executions->targets, &target->node);
    executions->bytes -= sizeof(*target) + target->name_length;
    memory_free(target);
}

static size_t size_of(const struct execution *execution)
{
    return sizeof(*execution) + execution->id_length + execution->command_length;
}

static void plan(struct cloud_executions *executions, struct execution *execution)
{
    /* There is room: it was made before the execution was, and an entry put back takes its own. */
    due_push(&executions->heap,
             (struct due_entry){.at_us = execution->due_us, .order = executions->order++, .item = execution});
    executions->due.next_us = due_next_us(&executions->heap);
}

/* NULL: out of memory. */
static struct execution *add(struct cloud_executions *executions, int64_t due_us, struct target *target,
                             struct span command, struct span id)
{
    struct execution *execution = NULL;
    if (table_room(&executions->executions) && due_room(&executions->heap))
        execution = memory_allocate_zero(1, sizeof(*execution) + id.length + command.length);
    if (!execution)
        return NULL;
    execution->node.hash = hash_of(name_of(target), id);
    execution->target = target;
    execution->id_length = (uint8_t)id.length;
    execution->command_length = (uint8_t)command.length;
    memcpy(execution->text, id.data, id.length);
    memcpy(execution->text + id.length, command.data, command.length);
    execution->due_us = due_us;
    target->executions++;
    target->open++;
    table_add(&executions->executions, &execution->node);
    executions->bytes += size_of(execution);
    plan(executions, execution);
    return execution;
}

static void forget(struct cloud_executions *executions, struct execution *execution)
{
    struct target *target = execution->target;
    target->open -= counts_as_open(execution);
    target->executions--;
    table_remove(&executions->executions, &execution->node);
    executions->bytes -= size_of(execution) + execution->reported_length;
    memory_free(execution->reported);
    memory_free(execution);
    drop_target_if_empty(executions, target);
}

static void send_request(const struct cloud_executions *executions, int64_t now_us, struct span thing, struct span id,
                         struct span payload, int64_t expires_us)
{
    const struct cloud_speaker *speaker = &executions->options.speaker;
    char topic[2 * NAME_MAX_BYTES + ID_MAX];
    struct text_writer w = {.out = topic, .capacity = sizeof(topic)};
    put_topic(&w, thing, id, "/request/json");
    if (speaker->tell_until)
        speaker->tell_until(speaker->context, now_us, thing, span_of(topic, w.at), payload, expires_us);
    else if (speaker->tell)
        speaker->tell(speaker->context, now_us, thing, span_of(topic, w.at), payload);
}

int cloud_executions_start(struct cloud_executions *executions, int64_t now_us, struct span thing, struct span command,
                           struct span id, struct span payload, int64_t timeout_us)
{
    if (!name_is_valid(thing) || !id_is_valid(command) || !id_is_valid(id) || payload.length > PAYLOAD_MAX ||
        timeout_us < 0 || timeout_us > TIMEOUT_MAX)
        return 400;
    if (find(executions, thing, id))
        return 409;
    struct target *target = need_target(executions, thing);
    if (target && target->open >= executions->options.concurrent_per_device)
        return 429;
    int64_t due_us = now_us + (timeout_us ? timeout_us : TIMEOUT_STANDARD);
    struct execution *execution = target ? add(executions, due_us, target, command, id) : NULL;
    if (!execution) {
        if (target)
            drop_target_if_empty(executions, target);
        return 500;
    }
    tell_change(executions, now_us, execution, NULL, NULL);
    send_request(executions, now_us, thing, id, payload, due_us - now_us);
    return 200;
}

int cloud_executions_again(struct cloud_executions *executions, int64_t now_us, struct span thing, struct span id,
                           struct span payload, int64_t expires_us)
{
    const struct execution *execution = find(executions, thing, id);
    if (!execution)
        return 404;
    if (execution->terminal)
        return 409;
    send_request(executions, now_us, thing, id, payload, expires_us);
    return 200;
}

/* ---- responses -------------------------------------------------------------------------------------------------------- */

static size_t characters(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xC0) != 0x80;
    return count;
}

static bool code_is_valid(const char *code)
{
    size_t length = 0;
    for (; code && code[length]; length++)
        if (!((code[length] >= 'A' && code[length] <= 'Z') || (code[length] >= '0' && code[length] <= '9') ||
              code[length] == '_' || code[length] == '-'))
            return false;
    return length >= 1 && length <= 64;
}

static bool is_base64(const char *text)
{
    size_t length = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    size_t padding = strspn(text + length, "=");
    return !text[length + padding] && padding <= 2 && (length + padding) % 4 == 0;
}

static bool value_is_valid(const cJSON *value)
{
    const cJSON *item = cJSON_IsObject(value) ? value->child : NULL;
    if (!item || item->next)
        return false;
    return (strcmp(item->string, "s") == 0 && cJSON_IsString(item)) ||
           (strcmp(item->string, "b") == 0 && cJSON_IsBool(item)) ||
           (strcmp(item->string, "bin") == 0 && cJSON_IsString(item) && is_base64(item->valuestring));
}

static const char *result_flaw(const cJSON *result)
{
    const cJSON *item;
    if (!result)
        return NULL;
    if (!cJSON_IsObject(result) || !result->child)
        return "result must be an object of at least one entry.";
    cJSON_ArrayForEach(item, result)
    {
        if (!value_is_valid(item))
            return "An entry of result must be one of s (text), b (true or false) and bin (base64).";
    }
    return NULL;
}

static const char *reason_flaw(struct asked *asked, const cJSON *reason)
{
    if (!reason)
        return NULL;
    if (!cJSON_IsObject(reason))
        return "statusReason must be an object.";
    asked->code = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(reason, "reasonCode"));
    if (!code_is_valid(asked->code))
        return "statusReason needs a reasonCode of 1 to 64 characters of A-Z 0-9 _ -.";
    const cJSON *description = cJSON_GetObjectItemCaseSensitive(reason, "reasonDescription");
    asked->description = cJSON_GetStringValue(description);
    if (description && (!asked->description || characters(asked->description) > DESCRIPTION_MAX))
        return "reasonDescription must be text of at most 1024 characters.";
    return NULL;
}

static const char *status_flaw(struct asked *asked, const char *name)
{
    for (int i = 0; name && i < CLOUD_EXECUTIONS_STATUSES; i++)
        if (strcmp(name, cloud_execution_status_name((enum cloud_execution_status)i)) == 0) {
            asked->status = (enum cloud_execution_status)i;
            return NULL;
        }
    return "status must be IN_PROGRESS, SUCCEEDED, FAILED, REJECTED or TIMED_OUT.";
}

static const char *body_flaw(struct asked *asked, const cJSON *body)
{
    if (!cJSON_IsObject(body))
        return "The payload is not a JSON object.";
    const cJSON *token = cJSON_GetObjectItemCaseSensitive(body, "clientToken");
    const char *text = cJSON_GetStringValue(token), *flaw;
    if (token && (!text || strlen(text) > TOKEN_MAX))
        return "clientToken must be text of at most 64 bytes.";
    asked->token = text;
    if ((flaw = status_flaw(asked, cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(body, "status")))) ||
        (flaw = reason_flaw(asked, cJSON_GetObjectItemCaseSensitive(body, "statusReason"))))
        return flaw;
    return result_flaw(cJSON_GetObjectItemCaseSensitive(body, "result"));
}

/* false: out of memory, and the earlier report is still there. */
static bool keep_report(struct cloud_executions *executions, struct execution *execution, struct span payload)
{
    uint8_t *reported = memory_allocate(payload.length);
    if (!reported)
        return false;
    memcpy(reported, payload.data, payload.length);
    executions->bytes += payload.length;
    executions->bytes -= execution->reported_length;
    memory_free(execution->reported);
    execution->reported = reported;
    execution->reported_length = payload.length;
    return true;
}

static void respond(struct asked *asked, struct execution *execution)
{
    struct cloud_executions *executions = asked->executions;
    enum verdict verdict = verdict_of(execution, asked->status);
    if (execution->telling) {
        answer(asked, "DataConflict", "The execution is being changed: try again.");
    } else if (verdict == NO_MORE) {
        answer(asked, "TerminalStateReached", "The execution has ended.");
    } else if (verdict == NO_TRANSITION) {
        answer(asked, "InvalidStateTransition", "The execution cannot go from its status to this one.");
    } else if (!keep_report(executions, execution, asked->request->payload)) {
        answer(asked, "InternalError", "The response could not be stored: try again.");
    } else {
        enter(executions, asked->now_us, execution, asked->status, asked->status != CLOUD_EXECUTIONS_IN_PROGRESS);
        answer(asked, NULL, NULL);
        tell_change(executions, asked->now_us, execution, asked->code, asked->description);
    }
}

static bool take_text(struct span *rest, const char *text)
{
    size_t length = strlen(text);
    if (rest->length < length || memcmp(rest->data, text, length) != 0)
        return false;
    *rest = span_of(rest->data + length, rest->length - length);
    return true;
}

static struct span take_level(struct span *rest)
{
    uint32_t length = 0;
    while (length < rest->length && rest->data[length] != '/')
        length++;
    struct span level = {rest->data, length};
    *rest = span_of(rest->data + length, rest->length - length);
    return level;
}

static bool read_topic(struct asked *asked, struct span topic)
{
    if (!take_text(&topic, "commands/things/"))
        return false;
    asked->thing = take_level(&topic);
    if (!take_text(&topic, "/executions/"))
        return false;
    asked->id = take_level(&topic);
    return span_equal(topic, SPAN_LITERAL("/response/json")) && name_is_valid(asked->thing) && id_is_valid(asked->id);
}

/* One value of valid UTF-8 and nothing behind it but white space. */
static cJSON *parse(struct span payload)
{
    const char *end = NULL;
    if (!payload.length || payload.length > PAYLOAD_MAX || !mq5_utf8_valid(payload))
        return NULL;
    cJSON *json = cJSON_ParseWithLengthOpts((const char *)payload.data, payload.length, &end, 0);
    bool good = json != NULL;
    for (const uint8_t *c = (const uint8_t *)end; good && c < payload.data + payload.length; c++)
        good = *c == ' ' || *c == '\n' || *c == '\r' || *c == '\t';
    if (good)
        return json;
    cJSON_Delete(json);
    return NULL;
}

uint8_t cloud_executions_request(struct cloud_executions *executions, int64_t now_us,
                                 const struct cloud_request *request, bool *taken)
{
    struct asked asked = {.executions = executions, .now_us = now_us, .request = request};
    *taken = read_topic(&asked, request->topic);
    if (!*taken || !span_equal(request->client_id, asked.thing))
        return MQ5_NOT_AUTHORIZED; /* a client speaks for its own thing only */
    cJSON *body = parse(request->payload);
    const char *flaw = body_flaw(&asked, body);
    struct execution *execution = find(executions, asked.thing, asked.id);
    if (!execution)
        answer(&asked, "ResourceNotFound", "There is no such execution.");
    else if (flaw)
        answer(&asked, "InvalidStateTransition", flaw);
    else
        respond(&asked, execution);
    cJSON_Delete(body);
    return 0;
}

/* ---- time ------------------------------------------------------------------------------------------------------------- */

int64_t cloud_executions_next_deadline(const struct cloud_executions *executions)
{
    return executions->due.next_us;
}

static void come_due(struct cloud_executions *executions, int64_t now_us, struct execution *execution)
{
    if (execution->due_us <= now_us && !counts_as_open(execution)) {
        forget(executions, execution);
        return;
    }
    bool over = execution->due_us <= now_us;
    if (over)
        enter(executions, now_us, execution, CLOUD_EXECUTIONS_TIMED_OUT, false);
    plan(executions, execution);
    if (over)
        tell_change(executions, now_us, execution, "$NO_RESPONSE_FROM_DEVICE", NULL);
}

void cloud_executions_tick(struct cloud_executions *executions, int64_t now_us)
{
    while (due_next_us(&executions->heap) <= now_us)
        come_due(executions, now_us, due_pop(&executions->heap).item);
    executions->due.next_us = due_next_us(&executions->heap);
}

/* ---- asking ----------------------------------------------------------------------------------------------------------- */

bool cloud_executions_status(const struct cloud_executions *executions, struct span thing, struct span id,
                             enum cloud_execution_status *status, bool *terminal)
{
    const struct execution *execution = find(executions, thing, id);
    if (!execution)
        return false;
    *status = (enum cloud_execution_status)execution->status;
    *terminal = execution->terminal;
    return true;
}

struct span cloud_executions_reported(const struct cloud_executions *executions, struct span thing, struct span id)
{
    const struct execution *execution = find(executions, thing, id);
    return execution ? span_of(execution->reported, execution->reported_length) : (struct span){0};
}

struct cloud_executions *cloud_executions_create(const struct cloud_executions_options *options)
{
    struct cloud_executions *executions = memory_allocate_zero(1, sizeof(*executions));
    if (!executions)
        return NULL;
    executions->options = *options;
    if (!options->concurrent_per_device)
        executions->options.concurrent_per_device = CONCURRENT;
    if (!options->retention_us)
        executions->options.retention_us = RETENTION;
    executions->due.next_us = TIME_NEVER;
    return executions;
}

void cloud_executions_destroy(struct cloud_executions *executions)
{
    if (!executions)
        return;
    while (executions->heap.count)
        forget(executions, due_pop(&executions->heap).item); /* each has one entry */
    memory_free(executions->heap.entries);
    memory_free(executions->executions.buckets);
    memory_free(executions->targets.buckets);
    memory_free(executions);
}

uint64_t cloud_executions_bytes(const struct cloud_executions *executions)
{
    uint64_t buckets = (uint64_t)executions->executions.capacity + executions->targets.capacity;
    return sizeof(*executions) + executions->bytes + due_bytes(&executions->heap) + buckets * sizeof(struct node *);
}
