/* remote_shadow.c: commands through a vehicle's classic shadow: one at a time in desired, its end in reported.
 *
 *   desired {"command":{"id","name"}}                     asked; a delta tells the vehicle, now or when it is back
 *   desired {"command":{"id","name","enquiry":true}}      its time is over: what became of it?
 *   reported {"command":{"id","status","reason"}}         by the vehicle
 *   desired {"command":null}                              ended, and nobody waits
 *
 * Answers come to all who have subscribed, so the desk hears of every update of every shadow, and looks at those of vehicles with open commands.
 * What an end makes necessary (the next command, or none) is done in the next tick: the end may be told from inside an update.
 */
#include "remote_internal.h"
#include "remote_topic.h"

#include <cjson/cJSON.h>

#define TOPIC_MAX 512

/* ---- topics ----------------------------------------------------------------------------------------------------------- */

static struct span topic_of(const struct cloud_remote *remote, const char *client_id, struct span thing,
                            const char *end, char out[TOPIC_MAX])
{
    const char *prefix = remote->options.prefix, *name = strchr(prefix, '%');
    struct text_writer w = {out, 0, TOPIC_MAX};
    text_put(&w, prefix, name ? (size_t)(name - prefix) : strlen(prefix));
    if (name) {
        text_put_string(&w, client_id);
        text_put_string(&w, name + 1);
    }
    TEXT_PUT(&w, "things/");
    text_put(&w, thing.data, thing.length);
    TEXT_PUT(&w, "/shadow/");
    text_put_string(&w, end);
    return text_fits(&w) ? span_of(out, w.at) : (struct span){0};
}

/* "…things/<thing>/shadow/update/accepted": the thing, and in *end what is behind "shadow/". Empty: another topic. */
static struct span thing_in(struct span topic, struct span *end)
{
    static const char middle[] = "/shadow/", before[] = "things/";
    const uint8_t *from = topic.data, *to = topic.data + topic.length;
    for (const uint8_t *at = to; at-- > from;) {
        if ((size_t)(to - at) < sizeof middle - 1 || memcmp(at, middle, sizeof middle - 1) != 0)
            continue;
        const uint8_t *begin = at;
        while (begin > from && begin[-1] != '/')
            begin--;
        if ((size_t)(begin - from) < sizeof before - 1 ||
            memcmp(begin - (sizeof before - 1), before, sizeof before - 1))
            return (struct span){0};
        *end = span_of(at + sizeof middle - 1, (size_t)(to - at) - (sizeof middle - 1));
        return span_of(begin, (size_t)(at - begin));
    }
    return (struct span){0};
}

/* ---- saying ----------------------------------------------------------------------------------------------------------- */

static uint8_t say(struct cloud_remote *remote, int64_t now_us, const struct remote_vehicle *vehicle,
                   const char *operation, const struct text_writer *payload)
{
    char topic[TOPIC_MAX];
    struct mq5_publish message = {.qos = 1, .payload = span_of(payload->out, payload->at)};
    message.topic =
        topic_of(remote, remote->options.client_id, span_of(vehicle->name, vehicle->length), operation, topic);
    if (!message.topic.length || !text_fits(payload))
        return MQ5_TOPIC_NAME_INVALID;
    return remote->bus->ops->publish(remote->bus, now_us, &message);
}

static void put_token(struct text_writer *w, const struct remote_command *command)
{
    TEXT_PUT(w, "\"clientToken\":\"");
    text_put_hex64(w, command->result.id);
    TEXT_PUT(w, "\"}");
}

bool remote_shadow_free(const struct remote_command *command)
{
    const struct remote_command *shown = command->vehicle->shown;
    return !shown || shown == command || (shown->late && !command->late);
}

uint8_t remote_shadow_put(struct cloud_remote *remote, int64_t now_us, struct remote_command *command, bool enquiry)
{
    char payload[REMOTE_NAME_MAX + 192];
    struct text_writer w = {payload, 0, sizeof payload};
    struct remote_vehicle *vehicle = command->vehicle;
    vehicle->shown = command;
    TEXT_PUT(&w, "{\"state\":{\"desired\":{\"command\":{\"id\":\"");
    text_put_hex64(&w, command->result.id);
    TEXT_PUT(&w, "\",\"name\":\"");
    text_put(&w, command->bytes, command->name_length);
    TEXT_PUT(&w, "\",\"enquiry\":");
    text_put_string(&w, enquiry ? "true" : "null");
    TEXT_PUT(&w, "}}},");
    if (vehicle->version) {
        TEXT_PUT(&w, "\"version\":");
        text_put_number(&w, (int64_t)vehicle->version);
        TEXT_PUT(&w, ",");
    }
    put_token(&w, command);
    return say(remote, now_us, vehicle, "update", &w);
}

/* ---- what has ended ----------------------------------------------------------------------------------------------------- */

void remote_shadow_ended(struct cloud_remote *remote, struct remote_command *command)
{
    struct remote_vehicle *vehicle = command->vehicle;
    if (vehicle->shown != command)
        return;
    vehicle->shown = NULL;
    if (vehicle->untidy)
        return;
    vehicle->untidy = true;
    vehicle->held++;
    vehicle->next_untidy = remote->untidy;
    remote->untidy = vehicle;
    remote_due(remote);
}

/* Those with time left first, in the order asked. */
static struct remote_command *next_of(const struct remote_vehicle *vehicle)
{
    struct remote_command *late = NULL;
    for (struct remote_command *c = vehicle->first; c; c = c->behind) {
        if (!c->late)
            return c;
        late = late ? late : c;
    }
    return late;
}

static void tidy_one(struct cloud_remote *remote, int64_t now_us, struct remote_vehicle *vehicle)
{
    static char clear[] = "{\"state\":{\"desired\":{\"command\":null}}}";
    struct remote_command *next = vehicle->shown ? NULL : next_of(vehicle);
    if (next)
        remote_again(remote, now_us, next);
    else if (!vehicle->shown)
        say(remote, now_us, vehicle, "update", &(struct text_writer){clear, sizeof clear - 1, sizeof clear});
}

void remote_shadow_tidy(struct cloud_remote *remote, int64_t now_us)
{
    while (remote->untidy) {
        struct remote_vehicle *vehicle = remote->untidy;
        remote->untidy = vehicle->next_untidy;
        vehicle->untidy = false;
        tidy_one(remote, now_us, vehicle);
        remote_vehicle_let_go(remote, vehicle);
    }
    remote_due(remote);
}

/* ---- what is heard ------------------------------------------------------------------------------------------------------ */

static struct span text_in(const cJSON *object, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
    return text ? span_text(text) : (struct span){0};
}

static struct remote_command *command_of(const struct cloud_remote *remote, const struct remote_vehicle *vehicle,
                                         struct span digits)
{
    uint8_t bytes[8];
    uint64_t id = 0;
    if (digits.length != 2 * sizeof bytes || !text_unhex(digits.data, digits.length, bytes))
        return NULL;
    for (size_t i = 0; i < sizeof bytes; i++)
        id = id << 8 | bytes[i];
    struct remote_command *command = remote_find(remote, id);
    return command && command->vehicle == vehicle ? command : NULL;
}

static void learn(struct cloud_remote *remote, int64_t now_us, struct remote_vehicle *vehicle, const cJSON *body)
{
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(body, "version");
    if (cJSON_IsNumber(version) && version->valuedouble >= (double)vehicle->version)
        vehicle->version = (uint64_t)version->valuedouble;
    const cJSON *state = cJSON_GetObjectItemCaseSensitive(body, "state");
    const cJSON *reported = cJSON_GetObjectItemCaseSensitive(state, "reported");
    const cJSON *said = cJSON_GetObjectItemCaseSensitive(reported, "command");
    struct remote_command *command = command_of(remote, vehicle, text_in(said, "id"));
    if (command)
        remote_answered(remote, now_us, command, text_in(said, "status"), text_in(said, "reason"));
}

static void ask_for_all(struct cloud_remote *remote, int64_t now_us, const struct remote_command *command)
{
    char payload[64];
    struct text_writer w = {payload, 0, sizeof payload};
    TEXT_PUT(&w, "{");
    put_token(&w, command);
    say(remote, now_us, command->vehicle, "get", &w);
}

/* Nothing was stored. */
static void was_refused(struct cloud_remote *remote, int64_t now_us, struct remote_command *command, double code)
{
    command->copies -= command->copies > 0 && !command->late;
    command->unheard = true;
    if (code == 409) {
        remote->counts.conflicts++;
        ask_for_all(remote, now_us, command);
    }
}

/* Got after a conflict: said again. Without a shadow there is no version. */
static void got(struct cloud_remote *remote, int64_t now_us, struct remote_vehicle *vehicle, const cJSON *body,
                bool there)
{
    struct span token = text_in(body, "clientToken");
    vehicle->version = 0;
    if (there)
        learn(remote, now_us, vehicle, body); /* which may end the command */
    struct remote_command *command = command_of(remote, vehicle, token);
    if (command && command->unheard && remote_shadow_free(command))
        remote_again(remote, now_us, command);
}

static void on_answer(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct cloud_remote *remote = context;
    struct span end = {0}, thing = thing_in(message->topic, &end);
    struct remote_vehicle *vehicle = thing.length ? remote_vehicle_find(remote, thing) : NULL;
    if (!vehicle)
        return;
    cJSON *body = cJSON_ParseWithLength((const char *)message->payload.data, message->payload.length);
    struct remote_command *command = command_of(remote, vehicle, text_in(body, "clientToken"));
    const cJSON *code = cJSON_GetObjectItemCaseSensitive(body, "code");
    vehicle->held++; /* its last command may end meanwhile */
    if (span_equal(end, SPAN_LITERAL("update/accepted")))
        learn(remote, now_us, vehicle, body);
    else if (command && span_equal(end, SPAN_LITERAL("update/rejected")))
        was_refused(remote, now_us, command, cJSON_IsNumber(code) ? code->valuedouble : 0);
    else if (command && span_equal(end, SPAN_LITERAL("get/accepted")))
        got(remote, now_us, vehicle, body, true);
    else if (command && span_equal(end, SPAN_LITERAL("get/rejected")) && cJSON_IsNumber(code) &&
             code->valuedouble == 404)
        got(remote, now_us, vehicle, body, false);
    remote_vehicle_let_go(remote, vehicle);
    cJSON_Delete(body);
}

bool remote_shadow_listen(struct cloud_remote *remote, int64_t now_us)
{
    static const char *const ends[] = {"+/accepted", "+/rejected"};
    char filter[TOPIC_MAX];
    for (int i = 0; i < 2; i++) {
        struct span topic = topic_of(remote, "+", SPAN_LITERAL("+"), ends[i], filter);
        if (!topic.length || remote->bus->ops->subscribe(remote->bus, now_us, topic, 1, on_answer, remote) >= 0x80)
            return false;
    }
    return true;
}
