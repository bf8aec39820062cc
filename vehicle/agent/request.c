/* request.c: what a change of identity asks of the cloud: one request at a time, at least once, repeated until it is answered.
 *
 * A request is a message on a reserved topic; its answer comes on that topic with /accepted or /rejected behind it. Either may be lost, the
 * answer may come twice or long after it was given up: it counts only while its step is the one being taken. Payloads lie in the
 * block; a message of an earlier step that the session would send again is told to be gone, by the number in its token. */
#include "agent_internal.h"

enum { TOPIC_MAX = 256, DEVICE_MAX = 64 };

static const char *const rejections[] = {"unknown operation", "no certificate to rotate"};

/* ---- topics ------------------------------------------------------------------------------------------------------------ */

static struct span prefix(const struct tcu *tcu, char *out)
{
    return agent_text_expand(tcu->profile->topics.reserved, tcu_name(tcu), out);
}

struct span agent_request_filter(const struct tcu *tcu, char *out)
{
    bool of_our_own = strchr(tcu->profile->topics.reserved, '%') != NULL;
    char pattern[sizeof(tcu->profile->topics.reserved) + 32];
    if (!tcu->profile->topics.reserved[0] || (tcu->profile->no_jobs && !of_our_own))
        return (struct span){NULL, 0};
    strcpy(pattern, tcu->profile->topics.reserved);
    strcat(pattern, of_our_own ? "#" : "things/%/jobs/notify-next"); /* answers come by themselves elsewhere */
    return agent_text_expand(pattern, tcu_name(tcu), out);
}

static const char *template_of(const struct tcu *tcu)
{
    const struct tcu_profile *profile = tcu->profile;
    const char *named = agent_rotation(tcu)->claim ? profile->claim_template : profile->rotation_template;
    return named[0] ? named : agent_rotation(tcu)->claim ? "claim" : "rotation";
}

/* Nothing in it is longer than its place. */
static char *job_topic(const struct tcu *tcu, char *at, struct span job, const char *verb)
{
    at = agent_text_literal(at, "things/");
    at = agent_text_copy(at, tcu_name(tcu));
    at = agent_text_literal(at, "/jobs/");
    at = agent_text_copy(at, job);
    return agent_text_copy(at, span_text(verb));
}

static char *provision_topic(const struct tcu *tcu, char *at)
{
    const struct agent_rotation *rotation = agent_rotation(tcu);
    at = agent_text_literal(at, "provisioning-templates/");
    if (rotation->template_length > 0)
        at = agent_text_copy(at, span_of(rotation->template, rotation->template_length));
    else
        at = agent_text_copy(at, span_text(template_of(tcu)));
    return agent_text_literal(at, "/provision/json");
}

static struct span topic(const struct tcu *tcu, char *out)
{
    const struct agent_rotation *rotation = agent_rotation(tcu);
    struct span none = {NULL, 0}, job = span_of(rotation->job, rotation->job_length);
    bool server_key = rotation->claim && tcu->profile->server_key;
    if (rotation->step == DO_DEACTIVATE)
        return agent_text_expand(tcu->profile->topics.deactivate, tcu_name(tcu), out);
    if (rotation->step == DO_ANNOUNCE)
        return agent_text_expand(tcu->profile->topics.active, tcu_name(tcu), out);
    char *at = out + prefix(tcu, out).length;
    switch ((enum agent_step)rotation->step) {
    case DO_DESCRIBE: at = job_topic(tcu, at, none, "$next/get"); break;
    case DO_START: at = job_topic(tcu, at, none, "start-next"); break;
    case DO_CREATE:
        at = agent_text_copy(at,
                             span_text(server_key ? "certificates/create/json" : "certificates/create-from-csr/json"));
        break;
    case DO_PROVISION: at = provision_topic(tcu, at); break;
    default: at = job_topic(tcu, at, job, "/update"); break;
    }
    return span_of(out, (size_t)(at - out));
}

/* ---- payloads ------------------------------------------------------------------------------------------------------------ */

static char *put_number(char *at, const char *end, int64_t number)
{
    return at && end - at >= 28 ? agent_text_number(at, number) : NULL;
}

static bool keep(struct agent_rotation *rotation, const char *end)
{
    rotation->text_length = end ? (uint16_t)(end - rotation->text) : 0;
    return end != NULL;
}

static void update(struct agent_rotation *rotation, const char *status, const char *reason)
{
    const char *end = rotation->text + sizeof(rotation->text);
    char *at = agent_json_put(rotation->text, end, "{\"status\":");
    at = agent_json_quote(at, end, span_text(status));
    if (reason) {
        at = agent_json_put(at, end, ",\"statusDetails\":{\"reason\":");
        at = agent_json_quote(at, end, span_text(reason));
        at = agent_json_put(at, end, "}");
    }
    if (rotation->version > 0) {
        at = agent_json_put(at, end, ",\"expectedVersion\":");
        at = put_number(at, end, rotation->version);
    }
    keep(rotation, agent_json_put(at, end, ",\"includeJobExecutionState\":true}"));
}

static void name_certificate(struct agent_rotation *rotation)
{
    const char *end = rotation->text + sizeof(rotation->text);
    char *at = agent_json_put(rotation->text, end, "{\"certificateId\":");
    at = agent_json_quote(at, end, span_of(rotation->certificate_id, rotation->id_length));
    keep(rotation, agent_json_put(at, end, "}"));
}

/* A request for a certificate that is DER becomes PEM; whatever else the platform makes is text already. */
static char *put_request(char *at, const char *end, struct span csr)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (csr.data[0] != 0x30)
        return agent_json_quote(at, end, csr);
    at = agent_json_put(at, end, "\"-----BEGIN CERTIFICATE REQUEST-----\\n");
    for (uint32_t i = 0; at && i < csr.length; i += 3) {
        uint32_t left = csr.length - i;
        uint32_t word = (uint32_t)csr.data[i] << 16 | (left > 1 ? (uint32_t)csr.data[i + 1] << 8 : 0) |
                        (left > 2 ? csr.data[i + 2] : 0u);
        if (end - at < 6)
            return NULL;
        *at++ = digits[word >> 18];
        *at++ = digits[word >> 12 & 63];
        *at++ = left > 1 ? digits[word >> 6 & 63] : '=';
        *at++ = left > 2 ? digits[word & 63] : '=';
        if (i % 48 == 45 || left <= 3)
            at = agent_text_literal(at, "\\n");
    }
    return agent_json_put(at, end, "-----END CERTIFICATE REQUEST-----\\n\"");
}

bool agent_request_create(struct tcu *tcu, struct span csr)
{
    struct agent_rotation *rotation = agent_rotation(tcu);
    const char *end = rotation->text + sizeof(rotation->text);
    char *at = agent_json_put(rotation->text, end, "{");
    if (csr.length > 0) {
        at = agent_json_put(at, end, "\"certificateSigningRequest\":");
        at = at ? put_request(at, end, csr) : NULL;
    }
    return keep(rotation, agent_json_put(at, end, "}"));
}

bool agent_request_provision(struct tcu *tcu, struct span token)
{
    struct agent_rotation *rotation = agent_rotation(tcu);
    char device[DEVICE_MAX];
    size_t length = tcu->port->device ? tcu->port->device(tcu->port_context, device, sizeof(device)) : 0;
    const char *end = rotation->text + sizeof(rotation->text);
    char *at = agent_json_put(rotation->text, end, "{\"certificateOwnershipToken\":");
    at = agent_json_quote(at, end, token);
    at = agent_json_put(at, end, ",\"parameters\":{\"reference\":");
    at = agent_json_quote(at, end, tcu_name(tcu));
    at = agent_json_put(at, end, ",\"device\":");
    at = agent_json_quote(at, end, length > 0 && length <= sizeof(device) ? span_of(device, length) : tcu_name(tcu));
    return keep(rotation, agent_json_put(at, end, "}}"));
}

static void build(struct agent_rotation *rotation)
{
    switch ((enum agent_step)rotation->step) {
    case DO_REJECT: update(rotation, "REJECTED", rejections[rotation->rejection]); break;
    case DO_SUCCEED: update(rotation, "SUCCEEDED", NULL); break;
    case DO_FAIL: update(rotation, "FAILED", "new certificate refused"); break;
    case DO_DEACTIVATE:
    case DO_ANNOUNCE: name_certificate(rotation); break;
    default: break; /* built by who knows what is in it, or "{}" */
    }
}

/* ---- steps ----------------------------------------------------------------------------------------------------------------- */

void agent_step_enter(struct tcu *tcu, enum agent_step step)
{
    struct agent_rotation *rotation = agent_rotation(tcu);
    rotation->step = (uint8_t)step;
    rotation->tries = 0;
    rotation->due = 1;
    rotation->serial++;
    rotation->timer_us = TIME_NEVER;
}

void agent_step_later(struct tcu *tcu)
{
    struct agent_rotation *rotation = agent_rotation(tcu);
    rotation->due = 0;
    rotation->timer_us = tcu->now_us + agent_jitter(tcu, rotation->tries);
    if (rotation->tries < UINT8_MAX)
        rotation->tries++;
}

static void time_out_after(struct tcu *tcu)
{
    struct agent_rotation *rotation = agent_rotation(tcu);
    int64_t timeout_us = tcu->profile->step_timeout_us ? tcu->profile->step_timeout_us : 30 * US_PER_S;
    rotation->timer_us = tcu->now_us + timeout_us + (rotation->tries ? agent_jitter(tcu, rotation->tries - 1u) : 0);
    if (rotation->tries < UINT8_MAX)
        rotation->tries++;
}

/* At QoS 0 it counts as acknowledged before the call is over, and the step may be another one. */
void agent_request_send(struct tcu *tcu)
{
    struct agent_rotation *rotation = agent_rotation(tcu);
    uint8_t tries = rotation->tries, step = rotation->step;
    build(rotation);
    rotation->due = 0;
    rotation->serial++;
    time_out_after(tcu);
    enum mq5_client_result result = agent_mqtt_publish(tcu, TOKEN_REQUEST + rotation->serial, 0);
    if ((result == MQ5C_WAIT || result == MQ5C_OFFLINE) && rotation->step == step) {
        rotation->due = 1;
        rotation->tries = tries;
        rotation->timer_us = TIME_NEVER;
    }
}

static bool current(const struct tcu *tcu, uint32_t token)
{
    return agent_rotation(tcu) && token == TOKEN_REQUEST + agent_rotation(tcu)->serial;
}

bool agent_request_load(struct tcu *tcu, uint32_t token, struct mq5_publish *out)
{
    const struct agent_rotation *rotation = agent_rotation(tcu);
    if (!current(tcu, token))
        return false;
    bool empty = rotation->step == DO_DESCRIBE || rotation->step == DO_START;
    out->topic = topic(tcu, (char *)tcu->profile->scratch);
    ASSERT(out->topic.length <= TOPIC_MAX);
    out->payload = empty ? SPAN_LITERAL("{}") : span_of(rotation->text, rotation->text_length);
    out->qos = tcu->peer_qos > 0 ? 1 : 0;
    return true;
}

/* What is refused may be granted later: the time-out asks again. */
void agent_request_published(struct tcu *tcu, uint32_t token, uint8_t reason)
{
    if (!current(tcu, token) || reason >= MQ5_UNSPECIFIED_ERROR)
        return;
    if (agent_rotation(tcu)->step == DO_DEACTIVATE || agent_rotation(tcu)->step == DO_ANNOUNCE)
        agent_rotation_acknowledged(tcu);
}

void agent_request_dropped(struct tcu *tcu, uint32_t token)
{
    if (!current(tcu, token))
        return;
    agent_rotation(tcu)->due = 1;
    agent_rotation(tcu)->timer_us = TIME_NEVER;
}

/* "commands/things/car-7/executions/...": not an answer, but here is who knows the prefix. */
static bool executed(struct tcu *tcu, struct span topic, const struct mq5_publish *publish)
{
    char text[AGENT_TOPIC_MAX];
    struct span begin = agent_text_expand("commands/things/%/executions/", tcu_name(tcu), text);
    if (topic.length <= begin.length || memcmp(topic.data, begin.data, begin.length) != 0)
        return false;
    if (!agent_claiming(tcu))
        agent_command_execution(tcu, span_of(topic.data + begin.length, topic.length - begin.length), publish);
    return true;
}

bool agent_request_message(struct tcu *tcu, const struct mq5_publish *publish)
{
    char text[AGENT_TOPIC_MAX];
    struct span start = prefix(tcu, text), rest = publish->topic;
    if (start.length == 0 || rest.length <= start.length || memcmp(rest.data, start.data, start.length) != 0)
        return false;
    rest = span_of(rest.data + start.length, rest.length - start.length);
    if ((tcu->profile->shadow && agent_shadow_heard(tcu, rest, publish->payload)) ||
        (tcu->profile->executions && executed(tcu, rest, publish)))
        return true;
    size_t length = (size_t)(job_topic(tcu, text, (struct span){NULL, 0}, "") - text);
    if (rest.length > length && memcmp(rest.data, text, length) == 0)
        agent_jobs_heard(tcu, span_of(rest.data + length, rest.length - length), publish->payload);
    else if (agent_rotation(tcu))
        agent_rotation_answered(tcu, rest, publish->payload);
    return true;
}
