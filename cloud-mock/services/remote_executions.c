/* remote_executions.c: commands as executions of the commands feature (cloud-contract 8.2): the desk starts them and reads their events.
 *
 * TIMED_OUT because the device did not answer ($NO_RESPONSE_FROM_DEVICE) is no end: the desk has a deadline of its own.
 */
#include "remote_internal.h"
#include "remote_topic.h"

#include "cloud/executions.h"

#define TOPIC_MAX   256
#define TIMEOUT_MAX (12 * US_PER_HOUR)
#define ENQUIRY_US  (60 * US_PER_S)

static struct span thing_of(const struct remote_command *command)
{
    return span_of(command->vehicle->name, command->vehicle->length);
}

static struct span payload_of(const struct remote_command *command, bool enquiry, char *out, size_t capacity)
{
    struct text_writer w = {out, 0, capacity};
    if (command->sealed_length)
        return span_of(command->bytes + command->name_length, command->sealed_length);
    TEXT_PUT(&w, "{\"command\":\"");
    text_put(&w, command->bytes, command->name_length);
    TEXT_PUT(&w, "\"");
    if (enquiry)
        TEXT_PUT(&w, ",\"enquiry\":true");
    TEXT_PUT(&w, "}");
    return text_fits(&w) ? span_of(out, w.at) : (struct span){0};
}

static int execute(struct cloud_remote *remote, int64_t now_us, const struct cloud_remote_execution *e)
{
    const struct cloud_remote_options *options = &remote->options;
    if (options->execute)
        return options->execute(options->context, now_us, e);
    if (e->again)
        return cloud_executions_again(options->executions, now_us, e->thing, e->id, e->payload, e->timeout_us);
    return cloud_executions_start(options->executions, now_us, e->thing, e->command, e->id, e->payload, e->timeout_us);
}

/* The device may answer from inside, and the command be gone: nothing of it is lent. */
uint8_t remote_executions_put(struct cloud_remote *remote, int64_t now_us, struct remote_command *command, bool enquiry)
{
    char payload[REMOTE_NAME_MAX + CLOUD_SEALED_MAX + 64], id[16], name[REMOTE_NAME_MAX];
    uint8_t thing[UINT8_MAX];
    struct text_writer w = {id, 0, sizeof id};
    struct span sent = payload_of(command, enquiry, payload, sizeof payload), whose = thing_of(command);
    int64_t left_us = enquiry ? ENQUIRY_US : command->deadline_us - now_us;
    text_put_hex64(&w, command->result.id);
    if (command->sealed_length) {
        memcpy(payload, sent.data, sent.length);
        sent.data = (const uint8_t *)payload;
    }
    memcpy(thing, whose.data, whose.length);
    memcpy(name, command->bytes, command->name_length);
    whose.data = thing;
    left_us = left_us > TIMEOUT_MAX ? TIMEOUT_MAX : left_us;
    struct cloud_remote_execution execution = {.thing = whose,
                                               .command = span_of(name, command->name_length),
                                               .id = span_of(id, w.at),
                                               .payload = sent,
                                               .timeout_us = left_us,
                                               .again = command->started};
    if (command->started)
        return execute(remote, now_us, &execution) == 200 ? MQ5_SUCCESS : MQ5_NO_MATCHING_SUBSCRIBERS;
    command->started = true;
    uint64_t number = command->result.id;
    int code = execute(remote, now_us, &execution);
    if (code == 200)
        return MQ5_SUCCESS;
    command = remote_find(remote, number);
    if (command)
        command->started = false;
    return code == 429 ? MQ5_QUOTA_EXCEEDED : MQ5_IMPLEMENTATION_SPECIFIC_ERROR;
}

/* "arn:aws:iot:…:thing/<thing>" */
static bool is_for(struct span arn, struct span thing)
{
    static const char kind[] = ":thing/";
    uint32_t length = sizeof kind - 1;
    return arn.length > length + thing.length &&
           memcmp(arn.data + arn.length - thing.length, thing.data, thing.length) == 0 &&
           memcmp(arn.data + arn.length - thing.length - length, kind, length) == 0;
}

static void ended(struct cloud_remote *remote, int64_t now_us, struct remote_command *command, struct span status,
                  struct span reason)
{
    static const struct {
        const char *status, *word;
    } rows[] = {{"SUCCEEDED", "succeeded"}, {"FAILED", "failed"}, {"TIMED_OUT", "expired"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (span_equal(status, span_text(rows[i].status))) {
            remote_answered(remote, now_us, command, span_text(rows[i].word), reason);
            return;
        }
    if (span_equal(status, SPAN_LITERAL("REJECTED")))
        remote_end(remote, now_us, command, CLOUD_REMOTE_REFUSED, reason.length ? reason : SPAN_LITERAL("rejected"));
}

static void on_event(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct cloud_remote *remote = context;
    struct span digits = remote_text_member(message->payload, "executionId"), status, reason;
    uint8_t bytes[8];
    uint64_t id = 0;
    if (digits.length != 2 * sizeof bytes || !text_unhex(digits.data, digits.length, bytes))
        return; /* somebody else's */
    for (size_t i = 0; i < sizeof bytes; i++)
        id = id << 8 | bytes[i];
    struct remote_command *command = remote_find(remote, id);
    status = remote_text_member(message->payload, "status");
    reason = remote_text_member(message->payload, "reasonCode");
    if (command && is_for(remote_text_member(message->payload, "targetArn"), thing_of(command)) &&
        !span_equal(reason, SPAN_LITERAL("$NO_RESPONSE_FROM_DEVICE")))
        ended(remote, now_us, command, status, reason);
}

bool remote_executions_listen(struct cloud_remote *remote, int64_t now_us)
{
    char filter[TOPIC_MAX];
    struct text_writer w = {filter, 0, sizeof filter};
    text_put_string(&w, remote->options.event_prefix);
    TEXT_PUT(&w, "/commandExecution/+/+");
    return text_fits(&w) &&
           remote->bus->ops->subscribe(remote->bus, now_us, span_of(filter, w.at), 1, on_event, remote) < 0x80;
}
