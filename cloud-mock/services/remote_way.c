/* remote_way.c: how a command reaches its vehicle: connected, by a shoulder tap, from one to the other, and the enquiry when its time is over.
 *
 *   asked ── online ──▶ published ── no answer for `fallback` ──▶ tapped ── no sign for `tap_retry` ──▶ tapped again ...
 *     └── offline ──▶ published into the session, and tapped at once        └── online ──▶ `fallback` ──▶ published again
 *   deadline ──▶ late ── vehicle online, or seen again ──▶ enquiry, again and again in longer and longer steps, until it is answered
 *
 * Each command has exactly one step ahead of it in the heap that counts: the one at its step_us. Whatever is published has its step put first,
 * because an answer may come from inside publish() and end the command. A copy is harmless: the vehicle executes an id once.
 */
#include "remote_internal.h"
#include "remote_topic.h"

#define TOPIC_MAX        256
#define ENQUIRY_EXPIRY_S 60
#define REPEATED_BY_US   (2 * US_PER_MIN)
#define LONGER_STEPS     6 /* doublings of the wait between copies and between enquiries, at most */

bool remote_wait(struct cloud_remote *remote, struct remote_command *command, int64_t at_us)
{
    struct due_entry entry = {at_us, remote->steps, {.id = command->result.id}};
    if (!due_push(&remote->heap, entry))
        return false;
    remote->steps++;
    command->step_us = at_us;
    remote_due(remote);
    return true;
}

void remote_due(struct cloud_remote *remote)
{
    remote->due.next_us = remote->untidy ? 0 : due_next_us(&remote->heap);
}

static struct span thing_of(const struct remote_command *command)
{
    return span_of(command->vehicle->name, command->vehicle->length);
}

static struct span sealed_of(const struct remote_command *command)
{
    return span_of(command->bytes + command->name_length, command->sealed_length);
}

static bool online(const struct cloud_remote *remote, const struct remote_command *command)
{
    return !remote->options.watch ||
           cloud_watch_state(remote->options.watch, thing_of(command)) == CLOUD_PRESENCE_ONLINE;
}

static uint32_t seconds_up(int64_t us)
{
    int64_t seconds = (us + US_PER_S - 1) / US_PER_S;
    return seconds > UINT32_MAX ? UINT32_MAX : (uint32_t)seconds;
}

bool remote_seal(struct cloud_remote *remote, struct remote_command *command)
{
    if (!remote->options.keys)
        return true;
    command->sealed_length = (uint8_t)cloud_keys_seal(remote->options.keys, thing_of(command), command->result.id,
                                                      span_of(command->bytes, command->name_length),
                                                      seconds_up(remote->options.epoch_us + command->deadline_us),
                                                      command->bytes + command->name_length, CLOUD_SEALED_MAX);
    return command->sealed_length > 0;
}

/* ---- over MQTT ------------------------------------------------------------------------------------------------------- */

static struct span payload_of(const struct remote_command *command, bool enquiry, char *out, size_t capacity)
{
    struct text_writer w = {out, 0, capacity};
    if (command->sealed_length)
        return sealed_of(command);
    TEXT_PUT(&w, "{\"command\":\"");
    text_put(&w, command->bytes, command->name_length);
    TEXT_PUT(&w, "\",\"id\":\"");
    text_put_hex64(&w, command->result.id);
    if (enquiry)
        TEXT_PUT(&w, "\",\"enquiry\":true}");
    else
        TEXT_PUT(&w, "\"}");
    return text_fits(&w) ? span_of(out, w.at) : (struct span){0};
}

static uint8_t publish_plain(struct cloud_remote *remote, int64_t now_us, const struct remote_command *command,
                             bool enquiry)
{
    const struct cloud_remote_options *options = &remote->options;
    char topic[TOPIC_MAX], response[TOPIC_MAX], payload[REMOTE_NAME_MAX + 64];
    uint8_t correlation[8], sealed[CLOUD_SEALED_MAX];
    struct mq5_publish message = {.qos = 1};
    struct mq5_properties *properties = &message.properties;
    message.topic = remote_topic(options->request_topic, thing_of(command), topic, sizeof topic);
    message.payload = payload_of(command, enquiry, payload, sizeof payload);
    properties->response_topic = remote_topic(options->response_topic, thing_of(command), response, sizeof response);
    if (!message.topic.length || !properties->response_topic.length || !message.payload.length)
        return MQ5_TOPIC_NAME_INVALID;
    if (command->sealed_length) { /* the command may end while it is delivered */
        memcpy(sealed, message.payload.data, message.payload.length);
        message.payload.data = sealed;
    }
    for (int i = 0; i < 8; i++)
        correlation[i] = (uint8_t)(command->result.id >> (56 - 8 * i));
    properties->present = MQ5_BIT(MQ5_RESPONSE_TOPIC) | MQ5_BIT(MQ5_CORRELATION_DATA) |
                          MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL) | MQ5_BIT(MQ5_CONTENT_TYPE);
    properties->correlation_data = span_of(correlation, sizeof correlation);
    properties->message_expiry_s = enquiry ? ENQUIRY_EXPIRY_S : seconds_up(command->deadline_us - now_us);
    properties->content_type =
        command->sealed_length ? SPAN_LITERAL("application/octet-stream") : SPAN_LITERAL("application/json");
    return remote->bus->ops->publish(remote->bus, now_us, &message);
}

/* Reason code of the bus. Does not touch the command after it has left. */
static uint8_t publish(struct cloud_remote *remote, int64_t now_us, struct remote_command *command, bool enquiry)
{
    switch (remote->options.pattern) {
    case CLOUD_PATTERN_SHADOW: return remote_shadow_put(remote, now_us, command, enquiry);
    case CLOUD_PATTERN_EXECUTIONS: return remote_executions_put(remote, now_us, command, enquiry);
    case CLOUD_PATTERN_PLAIN: break;
    }
    return publish_plain(remote, now_us, command, enquiry);
}

/* In a shadow another command may be in the way: its end says when. */
static bool in_the_way(const struct cloud_remote *remote, const struct remote_command *command)
{
    return remote->options.pattern == CLOUD_PATTERN_SHADOW && !remote_shadow_free(command);
}

/* A vehicle remembers what it did with its last few commands only. One more than `window` behind the oldest whose end is open, or of which a copy may
 * still be on its way, and it might forget that one: say of it what is not true, or do it again. */
static bool too_far_ahead(const struct cloud_remote *remote, const struct remote_command *command)
{
    const struct remote_vehicle *vehicle = command->vehicle;
    uint32_t oldest = vehicle->handed + 1;
    for (const struct remote_command *c = vehicle->first; c && !command->number; c = c->behind)
        if (c->number && c->number < oldest)
            oldest = c->number;
    return !command->number && vehicle->handed + 1 - oldest >= remote->options.window;
}

/* Sealed ones have numbers that a vehicle takes once, however long ago; in a shadow nothing is under way. Of several copies one may have gone another
 * way and come at the last moment; the only one comes twice when a connection breaks before it is acknowledged, and that is soon. */
bool remote_lingers(struct cloud_remote *remote, int64_t now_us, struct remote_command *command)
{
    int64_t until_us = command->deadline_us;
    if (command->copies == 1 && now_us + REPEATED_BY_US < until_us)
        until_us = now_us + REPEATED_BY_US;
    return command->number && !command->sealed_length && remote->options.pattern != CLOUD_PATTERN_SHADOW &&
           now_us < command->deadline_us && remote_wait(remote, command, until_us);
}

static void forget(struct cloud_remote *remote, int64_t now_us, struct remote_command *command)
{
    remote_take_out(remote, command);
    remote_window_moved(remote, now_us, command->vehicle);
    remote_release(remote, command);
}

static void handed_over(struct remote_command *command)
{
    command->copies++;
    if (!command->number)
        command->number = ++command->vehicle->handed;
}

void remote_window_moved(struct cloud_remote *remote, int64_t now_us, const struct remote_vehicle *vehicle)
{
    for (struct remote_command *c = vehicle->first; c; c = c->behind)
        if (c->waits)
            remote_wait(remote, c, now_us);
}

/* One copy more, its answer awaited for `wait_us`. */
static void send_copy(struct cloud_remote *remote, int64_t now_us, struct remote_command *command, int64_t wait_us)
{
    uint64_t id = command->result.id;
    int64_t at_us = now_us + wait_us;
    const struct cloud_remote_options *options = &remote->options;
    if (in_the_way(remote, command)) {
        command->unheard = true;
        remote_wait(remote, command, command->deadline_us);
        return;
    }
    remote_wait(remote, command, at_us < command->deadline_us ? at_us : command->deadline_us);
    handed_over(command);
    command->reconnected = command->unheard = false;
    if (command->result.sent_us < 0)
        command->result.sent_us = now_us;
    if (options->pass && !options->pass(options->context, now_us, thing_of(command), id))
        return; /* lost on the way, and nobody knows */
    uint8_t reason = publish(remote, now_us, command, false);
    command = remote_find(remote, id);
    if (command && (reason >= 0x80 || reason == MQ5_NO_MATCHING_SUBSCRIBERS)) {
        command->unheard = true; /* as soon as it is seen it is asked again */
        command->copies--;
    }
}

/* ---- by SMS ---------------------------------------------------------------------------------------------------------- */

static bool may_tap(const struct cloud_remote *remote, const struct remote_command *command)
{
    return remote->options.sms && command->result.taps < remote->options.taps_maximum;
}

static void tap(struct cloud_remote *remote, int64_t now_us, struct remote_command *command)
{
    const struct cloud_remote_options *options = &remote->options;
    struct cloud_remote_result *result = &command->result;
    bool carries = options->command_in_sms && command->sealed_length && command->sealed_length <= CLOUD_SMS_BYTES;
    int64_t at_us = now_us + options->tap_retry_us;
    remote_wait(remote, command, at_us < command->deadline_us ? at_us : command->deadline_us);
    struct span text = carries ? sealed_of(command) : SPAN_LITERAL("wake");
    if (!cloud_sms_submit(options->sms, now_us, thing_of(command), text, result->id))
        return;
    remote->counts.fallbacks += result->way == CLOUD_WAY_CONNECTED || result->way == CLOUD_WAY_SHADOW;
    remote->counts.taps++;
    result->taps++;
    result->way = CLOUD_WAY_TAP;
    if (carries)
        handed_over(command);
    if (result->tapped_us < 0)
        result->tapped_us = now_us;
}

/* ---- steps ----------------------------------------------------------------------------------------------------------- */

static int64_t longer_us(const struct cloud_remote *remote, uint32_t times)
{
    return remote->options.fallback_us << (times < LONGER_STEPS ? times : LONGER_STEPS);
}

void remote_begin(struct cloud_remote *remote, int64_t now_us, struct remote_command *command)
{
    command->waits = too_far_ahead(remote, command);
    if (command->waits) {
        command->result.way = CLOUD_WAY_QUEUED;
        remote_wait(remote, command, command->deadline_us);
        return;
    }
    bool connected = online(remote, command), tapped = !connected && may_tap(remote, command);
    bool shadow = remote->options.pattern == CLOUD_PATTERN_SHADOW;
    command->result.way = !connected ? CLOUD_WAY_QUEUED : shadow ? CLOUD_WAY_SHADOW : CLOUD_WAY_CONNECTED;
    if (tapped)
        tap(remote, now_us, command);
    int64_t wait_us = connected ? remote->options.fallback_us : remote->options.tap_retry_us;
    send_copy(remote, now_us, command, wait_us);
}

static void enquire(struct cloud_remote *remote, int64_t now_us, struct remote_command *command)
{
    const struct cloud_remote_options *options = &remote->options;
    if (!online(remote, command))
        return; /* cloud_remote_seen() goes on */
    remote_wait(remote, command, now_us + longer_us(remote, command->enquiries++));
    if (in_the_way(remote, command))
        return; /* tried again then */
    remote->counts.enquiries++;
    if (!options->pass || options->pass(options->context, now_us, thing_of(command), command->result.id))
        publish(remote, now_us, command, true);
}

static void over(struct cloud_remote *remote, int64_t now_us, struct remote_command *command)
{
    if (!command->copies) { /* nobody can have it */
        remote_end(remote, now_us, command, CLOUD_REMOTE_EXPIRED, SPAN_LITERAL("never sent"));
        return;
    }
    uint64_t id = command->result.id;
    command->late = true;
    remote_wait(remote, command, command->deadline_us + REMOTE_ENQUIRY_AFTER_US);
    remote_tell_late(remote, now_us, command);
    /* Nothing expires in a shadow: it is taken back at once, for whoever comes late. */
    if (remote->options.pattern == CLOUD_PATTERN_SHADOW && (command = remote_find(remote, id)) &&
        command->vehicle->shown == command)
        publish(remote, now_us, command, true);
}

void remote_again(struct cloud_remote *remote, int64_t now_us, struct remote_command *command)
{
    if (command->late)
        publish(remote, now_us, command, true);
    else
        send_copy(remote, now_us, command, remote->options.fallback_us);
}

/* Not connected: taps while there are some left; what waits in the session waits there. */
static void step_offline(struct cloud_remote *remote, int64_t now_us, struct remote_command *command)
{
    if (may_tap(remote, command))
        tap(remote, now_us, command);
    else
        remote_wait(remote, command, command->deadline_us);
}

static void step_online(struct cloud_remote *remote, int64_t now_us, struct remote_command *command)
{
    bool again = command->reconnected || command->unheard || command->busy;
    if (!again && may_tap(remote, command))
        tap(remote, now_us, command);
    else
        send_copy(remote, now_us, command, longer_us(remote, command->unanswered++));
}

void remote_step(struct cloud_remote *remote, int64_t now_us, struct remote_command *command)
{
    if (command->gone)
        forget(remote, now_us, command);
    else if (command->late)
        enquire(remote, now_us, command);
    else if (now_us >= command->deadline_us)
        over(remote, now_us, command);
    else if (command->waits)
        remote_begin(remote, now_us, command);
    else if (online(remote, command))
        step_online(remote, now_us, command);
    else
        step_offline(remote, now_us, command);
}
