/* remote_tell.c: what a vehicle's answer means, and results in the order in which commands ended.
 *
 * A result goes into a queue first; the queue is emptied by the outermost call, so that a caller who asks again from inside result() cannot get
 * a later end before the followers of an earlier one had theirs.
 *
 * "busy" is no end. The vehicle forgets what it was too busy for, so another copy of the same request (one that a lost acknowledgement has
 * repeated, or the second of an SMS) may still be executed. It is asked again, with the same id; if it never had time, the enquiry after the
 * deadline settles it, and the end is "refused: busy".
 *
 * Nor is "forged" or "unreadable", as long as there is time: what the vehicle could not open may have been put before it by somebody else under our
 * id, and the sealed command itself still be on its way. After the deadline nothing sealed is executed, so then it is.
 */
#include "remote_internal.h"
#include "remote_topic.h"

/* ---- telling --------------------------------------------------------------------------------------------------------- */

static void tell_one(struct cloud_remote *remote, int64_t now_us, struct remote_command *command, bool late)
{
    const struct cloud_remote_options *options = &remote->options;
    struct cloud_remote_result result = command->result;
    if (late) {
        result.end = CLOUD_REMOTE_LATE;
        result.ended_us = command->deadline_us;
        result.reason[0] = 0;
    }
    if (options->result)
        options->result(options->context, now_us, &result);
    for (uint32_t i = 0; options->watching && i < command->vehicle->follower_count; i++)
        options->watching(options->context, now_us, command->vehicle->followers[i], &result);
}

static void tell(struct cloud_remote *remote, int64_t now_us, struct remote_tell *last)
{
    last->next = NULL;
    *(remote->tell_last ? &remote->tell_last->next : &remote->tell_first) = last;
    remote->tell_last = last;
    if (remote->telling)
        return;
    remote->telling = true;
    for (struct remote_tell *first; (first = remote->tell_first) != NULL;) {
        struct remote_command *command = first->command;
        bool late = first->late;
        remote->tell_first = first->next;
        if (!remote->tell_first)
            remote->tell_last = NULL;
        tell_one(remote, now_us, command, late);
        if (!late && !command->gone)
            remote_release(remote, command);
    }
    remote->telling = false;
}

void remote_end(struct cloud_remote *remote, int64_t now_us, struct remote_command *command, enum cloud_remote_end end,
                struct span reason)
{
    struct cloud_remote_result *result = &command->result;
    uint32_t length = reason.length < sizeof result->reason ? reason.length : sizeof result->reason - 1;
    result->end = end;
    result->ended_us = now_us;
    if (length)
        memcpy(result->reason, reason.data, length);
    result->reason[length] = 0;
    if (remote->options.pattern == CLOUD_PATTERN_SHADOW)
        remote_shadow_ended(remote, command);
    command->gone = remote_lingers(remote, now_us, command);
    if (command->gone) {
        command->vehicle->open--;
    } else {
        remote_take_out(remote, command);
        remote_window_moved(remote, now_us, command->vehicle);
    }
    remote->counts.ended[end]++;
    remote->counts.open--;
    tell(remote, now_us, &command->tell_end);
}

void remote_tell_late(struct cloud_remote *remote, int64_t now_us, struct remote_command *command)
{
    remote->counts.late++;
    tell(remote, now_us, &command->tell_late);
}

/* ---- answers --------------------------------------------------------------------------------------------------------- */

struct span remote_text_member(struct span json, const char *name)
{
    char key[32];
    struct text_writer w = {key, 0, sizeof key};
    TEXT_PUT(&w, "\"");
    text_put_string(&w, name);
    TEXT_PUT(&w, "\":\"");
    for (uint32_t i = 0; i + w.at <= json.length && i < 512; i++) {
        if (memcmp(json.data + i, key, w.at) != 0)
            continue;
        const uint8_t *text = json.data + i + w.at, *end = memchr(text, '"', json.length - i - w.at);
        return end ? span_of(text, (size_t)(end - text)) : (struct span){0};
    }
    return (struct span){0};
}

/* Correlation data, or (3.1.1) "id" in the answer, 16 hexadecimal digits. 0: neither. */
static uint64_t id_of(const struct mq5_publish *message)
{
    uint8_t bytes[8];
    uint64_t id = 0;
    if (message->properties.present & MQ5_BIT(MQ5_CORRELATION_DATA)) {
        if (message->properties.correlation_data.length != sizeof bytes)
            return 0;
        memcpy(bytes, message->properties.correlation_data.data, sizeof bytes);
    } else {
        struct span text = remote_text_member(message->payload, "id");
        if (text.length != 2 * sizeof bytes || !text_unhex(text.data, text.length, bytes))
            return 0;
    }
    for (size_t i = 0; i < sizeof bytes; i++)
        id = id << 8 | bytes[i];
    return id;
}

static bool is(struct span text, const char *word)
{
    return span_equal(text, span_text(word));
}

static bool opened(struct span reason)
{
    return !is(reason, "forged") && !is(reason, "unreadable");
}

void remote_answered(struct cloud_remote *remote, int64_t now_us, struct remote_command *command, struct span status,
                     struct span reason)
{
    bool gone = is(status, "expired") || is(status, "late");
    if (is(status, "busy"))
        command->busy = true;
    else if (is(status, "succeeded"))
        remote_end(remote, now_us, command, CLOUD_REMOTE_EXECUTED, reason);
    else if (is(status, "failed"))
        remote_end(remote, now_us, command, CLOUD_REMOTE_FAILED, reason);
    else if (!gone && !command->late && command->sealed_length && !opened(reason))
        command->doubted = true;
    else if (gone && command->doubted)
        remote_end(remote, now_us, command, CLOUD_REMOTE_REFUSED, SPAN_LITERAL("forged"));
    else if (gone && command->busy)
        remote_end(remote, now_us, command, CLOUD_REMOTE_REFUSED, SPAN_LITERAL("busy"));
    else if (gone)
        remote_end(remote, now_us, command, CLOUD_REMOTE_EXPIRED, reason);
    else
        remote_end(remote, now_us, command, CLOUD_REMOTE_REFUSED, reason.length ? reason : status);
}

/* Only the vehicle itself answers for its commands. */
void remote_on_response(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct cloud_remote *remote = context;
    uint64_t id = id_of(message);
    struct remote_command *command = remote_find(remote, id);
    struct span thing = remote_topic_thing(remote->options.response_topic, message->topic);
    if (command && span_equal(thing, span_of(command->vehicle->name, command->vehicle->length)))
        remote_answered(remote, now_us, command, remote_text_member(message->payload, "status"),
                        remote_text_member(message->payload, "reason"));
    else if (!command && id > remote->options.id_base && id - remote->options.id_base <= remote->counts.asked)
        remote->counts.answers_repeated++;
}
