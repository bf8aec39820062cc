/* desk_reserved.c: shadows and executions over the operators' API: what an app's backend does without a client of the broker.
 *
 *   GET  /v1/shadows/THING[/NAME]                                   the document
 *   POST /v1/shadows/THING[/NAME] {state, version, clientToken}     as over MQTT: 200, or the code of the contract
 *   DELETE /v1/shadows/THING[/NAME]
 *   POST /v1/executions/THING {command, payload, timeoutSeconds}    201 {executionId}
 *   GET  /v1/executions/THING/ID                                    {status, terminal, response}
 */
#include "serve_internal.h"

#include "cloud/reserved.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME_MAX_BYTES 128
#define TIMEOUT_MAX_S  43200

struct asked {
    struct cloud *cloud;
    int64_t now_us, epoch_us;
    const struct desk_request *request;
    struct desk_answer *answer;
    struct span thing, rest; /* what is behind the thing's '/' */
};

static void say(const struct asked *asked, int status, cJSON *object)
{
    asked->answer->status = status;
    asked->answer->text = object ? cJSON_PrintUnformatted(object) : NULL;
    if (!asked->answer->text)
        asked->answer->status = 500;
    cJSON_Delete(object);
}

static void refuse(const struct asked *asked, int status, const char *why)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "error", why);
    say(asked, status, object);
}

static bool by(const struct asked *asked, const char *method)
{
    return strcmp(asked->request->method, method) == 0;
}

/* ---- shadows ---------------------------------------------------------------------------------------------------------- */

static void about_shadow(const struct asked *asked)
{
    struct cloud_shadow *shadow = cloud_reserved_shadow(asked->cloud->reserved);
    struct span said = {0};
    int code = 405;
    if (by(asked, "GET"))
        code = cloud_shadow_get(shadow, asked->now_us, asked->thing, asked->rest, &said);
    else if (by(asked, "POST"))
        code = cloud_shadow_update(shadow, asked->now_us, asked->thing, asked->rest, asked->request->body, &said);
    else if (by(asked, "DELETE"))
        code = cloud_shadow_delete(shadow, asked->now_us, asked->thing, asked->rest, &said);
    if (code == 405) {
        asked->answer->allow = "GET, POST, DELETE";
        refuse(asked, 405, "use GET, POST or DELETE");
        return;
    }
    cJSON *document = cJSON_ParseWithLength((const char *)said.data, said.length);
    say(asked, document ? code : 500, document);
}

/* ---- executions --------------------------------------------------------------------------------------------------------- */

static const char *text_of(const cJSON *body, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(body, name));
}

static const char *trouble(int code)
{
    switch (code) {
    case 400: return "command has up to 64 letters, digits, '-' and '_'; timeoutSeconds is at most 43200";
    case 429: return "too many executions of this vehicle have not ended";
    default: return "out of memory";
    }
}

/* Ids grow with the clock: two in one microsecond are told apart. */
static void start(const struct asked *asked, const char *command, const char *payload, int64_t timeout_us)
{
    struct cloud_executions *executions = cloud_reserved_executions(asked->cloud->reserved);
    char id[17];
    int code = 409;
    for (int64_t at_us = asked->epoch_us + asked->now_us; code == 409; at_us++) {
        snprintf(id, sizeof id, "%016llx", (unsigned long long)at_us);
        code = cloud_executions_start(executions, asked->now_us, asked->thing, span_text(command), span_text(id),
                                      span_text(payload), timeout_us);
    }
    if (code != 200) {
        refuse(asked, code, trouble(code));
        return;
    }
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "executionId", id);
    say(asked, 201, object);
}

static void start_asked(const struct asked *asked)
{
    struct span text = asked->request->body;
    cJSON *body = cJSON_ParseWithLength((const char *)text.data, text.length);
    const char *command = text_of(body, "command"), *payload = text_of(body, "payload");
    const cJSON *timeout = cJSON_GetObjectItemCaseSensitive(body, "timeoutSeconds");
    char standard[NAME_MAX_BYTES + 32];
    double seconds = timeout ? cJSON_IsNumber(timeout) ? timeout->valuedouble : -1 : 0;
    if (!command || strlen(command) > NAME_MAX_BYTES || !(seconds >= 0 && seconds <= TIMEOUT_MAX_S)) {
        refuse(asked, 400, command ? trouble(400) : "needs command, and perhaps payload (a text) and timeoutSeconds");
    } else {
        snprintf(standard, sizeof standard, "{\"command\":\"%s\"}", command);
        start(asked, command, payload ? payload : standard, (int64_t)(seconds * (double)US_PER_S));
    }
    cJSON_Delete(body);
}

static void tell_execution(const struct asked *asked)
{
    struct cloud_executions *executions = cloud_reserved_executions(asked->cloud->reserved);
    enum cloud_execution_status status;
    bool terminal;
    if (!cloud_executions_status(executions, asked->thing, asked->rest, &status, &terminal)) {
        refuse(asked, 404, "no such execution");
        return;
    }
    struct span said = cloud_executions_reported(executions, asked->thing, asked->rest);
    cJSON *object = cJSON_CreateObject(),
          *response = said.length ? cJSON_ParseWithLength((const char *)said.data, said.length) : NULL;
    cJSON_AddStringToObject(object, "status", cloud_execution_status_name(status));
    cJSON_AddBoolToObject(object, "terminal", terminal);
    if (response)
        cJSON_AddItemToObject(object, "response", response);
    say(asked, 200, object);
}

static void about_execution(const struct asked *asked)
{
    const char *method = asked->rest.length ? "GET" : "POST";
    if (!by(asked, method)) {
        asked->answer->allow = method;
        refuse(asked, 405, asked->rest.length ? "use GET" : "use POST");
    } else if (asked->rest.length) {
        tell_execution(asked);
    } else {
        start_asked(asked);
    }
}

/* ---- paths -------------------------------------------------------------------------------------------------------------- */

bool desk_reserved(struct cloud *cloud, int64_t now_us, int64_t epoch_us, const struct desk_request *request,
                   struct desk_answer *answer)
{
    static const struct {
        const char *path;
        void (*act)(const struct asked *asked);
    } places[] = {{"/v1/shadows/", about_shadow}, {"/v1/executions/", about_execution}};
    for (size_t i = 0; cloud->reserved && i < sizeof places / sizeof places[0]; i++) {
        size_t length = strlen(places[i].path);
        if (strncmp(request->path, places[i].path, length) != 0)
            continue;
        const char *thing = request->path + length, *slash = strchr(thing, '/');
        struct asked asked = {.cloud = cloud,
                              .now_us = now_us,
                              .epoch_us = epoch_us,
                              .request = request,
                              .answer = answer,
                              .thing = span_of(thing, slash ? (size_t)(slash - thing) : strlen(thing)),
                              .rest = slash ? span_text(slash + 1) : (struct span){0}};
        places[i].act(&asked);
        return true;
    }
    return false;
}
