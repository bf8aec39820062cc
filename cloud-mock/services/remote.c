/* remote.c: the desk of remote commands: takes them, refuses what may not be, keeps their steps, and is told who is connected.
 *
 * remote_table.c has what is kept, remote_way.c how a command gets to its vehicle, remote_tell.c what the answers mean. Nothing is published from
 * cloud_remote_seen(): it only brings steps forward, the next tick takes them.
 */
#include "cloud/remote.h"

#include "memory.h"
#include "remote_internal.h"
#include "remote_topic.h"

#define FALLBACK_US    (10 * US_PER_S)
#define MOVED_AFTER_US (2 * US_PER_S)
#define TAP_RETRY_US   (30 * US_PER_S)
#define TAPS           3
#define OPEN           100
#define WINDOW         6
#define TOPIC_MAX      256

const char *cloud_remote_end_name(enum cloud_remote_end end)
{
    static const char *const names[] = {"executed", "failed", "expired", "refused", "late"};
    return names[end];
}

/* ---- life ---------------------------------------------------------------------------------------------------------- */

static void defaults(struct cloud_remote_options *options)
{
    options->fallback_us = options->fallback_us ? options->fallback_us : FALLBACK_US;
    options->tap_retry_us = options->tap_retry_us ? options->tap_retry_us : TAP_RETRY_US;
    options->taps_maximum = options->taps_maximum ? options->taps_maximum : TAPS;
    options->window = options->window ? options->window : WINDOW;
    options->open_per_vehicle = options->open_per_vehicle ? options->open_per_vehicle : OPEN;
    options->prefix = options->prefix ? options->prefix : "$aws/";
    options->event_prefix = options->event_prefix ? options->event_prefix : "$aws/events";
    options->client_id = options->client_id ? options->client_id : "command-desk";
}

static bool is_complete(const struct cloud_remote_options *options)
{
    switch (options->pattern) {
    case CLOUD_PATTERN_PLAIN: return options->request_topic && options->response_topic;
    case CLOUD_PATTERN_EXECUTIONS: return options->executions || options->execute;
    case CLOUD_PATTERN_SHADOW: return !options->keys;
    }
    return false;
}

static bool listen(struct cloud_remote *remote, int64_t now_us)
{
    char text[TOPIC_MAX];
    if (remote->options.pattern == CLOUD_PATTERN_SHADOW)
        return remote_shadow_listen(remote, now_us);
    if (remote->options.pattern == CLOUD_PATTERN_EXECUTIONS)
        return remote_executions_listen(remote, now_us);
    struct span filter = remote_topic(remote->options.response_topic, SPAN_LITERAL("+"), text, sizeof text);
    return filter.length &&
           remote->bus->ops->subscribe(remote->bus, now_us, filter, 1, remote_on_response, remote) < 0x80;
}

struct cloud_remote *cloud_remote_create(const struct cloud_remote_options *options, struct cloud_bus *bus,
                                         int64_t now_us)
{
    if (!is_complete(options))
        return NULL;
    struct cloud_remote *remote = memory_allocate_zero(1, sizeof *remote);
    if (!remote)
        return NULL;
    remote->options = *options;
    remote->bus = bus;
    remote->due.next_us = TIME_NEVER;
    defaults(&remote->options);
    if (remote_tables(remote) && listen(remote, now_us))
        return remote;
    cloud_remote_destroy(remote);
    return NULL;
}

void cloud_remote_destroy(struct cloud_remote *remote)
{
    remote_tables_free(remote);
    memory_free(remote);
}

/* ---- asking ---------------------------------------------------------------------------------------------------------- */

/* It goes into JSON and into an SMS as it is. */
static bool is_name(struct span command)
{
    for (uint32_t i = 0; i < command.length; i++)
        if (command.data[i] <= ' ' || command.data[i] == '"' || command.data[i] == '\\' || command.data[i] > '~')
            return false;
    return command.length > 0 && command.length <= REMOTE_NAME_MAX;
}

/* It is put into topics. */
static bool is_thing(struct span thing)
{
    for (uint32_t i = 0; i < thing.length; i++)
        if (memchr("/+#", thing.data[i], 4)) /* the closing 0 among them */
            return false;
    return thing.length > 0;
}

static const char *refusal(const struct cloud_remote *remote, const struct remote_command *command,
                           const struct cloud_remote_ask *ask)
{
    const struct cloud_remote_options *options = &remote->options;
    if (!is_thing(ask->thing))
        return "no such vehicle";
    if (!is_name(ask->command))
        return "no such command";
    if (options->allowed && !options->allowed(options->context, ask->user, ask->thing, ask->command))
        return "user not authorised";
    if (command->vehicle->open > options->open_per_vehicle)
        return "too many open";
    return ask->expires_us > 0 ? NULL : "no time given";
}

uint64_t cloud_remote_send(struct cloud_remote *remote, int64_t now_us, const struct cloud_remote_ask *ask)
{
    uint64_t id = remote->options.id_base + remote->counts.asked + 1;
    struct span thing = ask->thing.length <= UINT8_MAX ? ask->thing : (struct span){0};
    struct remote_command *command = due_room(&remote->heap) ? remote_add(remote, thing, id) : NULL;
    if (!command)
        return 0;
    struct cloud_remote_result *result = &command->result;
    result->token = ask->token;
    result->asked_us = now_us;
    result->sent_us = result->tapped_us = result->seen_us = result->ended_us = -1;
    command->deadline_us = now_us + ask->expires_us;
    remote->counts.asked++;
    remote->counts.open++;
    const char *refused =
        refusal(remote, command,
                &(struct cloud_remote_ask){
                    .thing = thing, .user = ask->user, .command = ask->command, .expires_us = ask->expires_us});
    if (!refused) {
        command->name_length = (uint8_t)ask->command.length;
        memcpy(command->bytes, ask->command.data, ask->command.length);
        refused = remote_seal(remote, command) ? NULL : "cannot be sealed";
    }
    if (refused)
        remote_end(remote, now_us, command, CLOUD_REMOTE_REFUSED, span_text(refused));
    else
        remote_begin(remote, now_us, command);
    return id;
}

bool cloud_remote_follow(struct cloud_remote *remote, struct span thing, uint64_t follower)
{
    struct remote_vehicle *vehicle = remote_vehicle_need(remote, thing);
    if (!vehicle)
        return false;
    if (vehicle->follower_count == vehicle->follower_capacity) {
        uint32_t capacity = vehicle->follower_capacity ? vehicle->follower_capacity * 2 : 2;
        uint64_t *followers = memory_resize(vehicle->followers, capacity * sizeof *followers);
        if (!followers)
            return false; /* a vehicle without commands stays until the next one has ended */
        remote->held_bytes += (capacity - vehicle->follower_capacity) * sizeof *followers;
        vehicle->followers = followers;
        vehicle->follower_capacity = capacity;
    }
    vehicle->followers[vehicle->follower_count++] = follower;
    return true;
}

/* ---- who is connected, what is due --------------------------------------------------------------------------------------- */

static void seen_online(struct cloud_remote *remote, int64_t now_us, struct remote_command *command)
{
    int64_t at_us = command->unheard ? now_us : now_us + remote->options.fallback_us;
    if (command->late) {
        int64_t earliest_us = command->deadline_us + REMOTE_ENQUIRY_AFTER_US;
        remote_wait(remote, command, now_us > earliest_us ? now_us : earliest_us);
        return;
    }
    if (command->result.tapped_us >= 0 && command->result.seen_us < 0)
        command->result.seen_us = now_us;
    command->reconnected = true;
    remote_wait(remote, command, at_us < command->deadline_us ? at_us : command->deadline_us);
}

void cloud_remote_seen(struct cloud_remote *remote, int64_t now_us, struct span thing, enum cloud_presence_state state)
{
    struct remote_vehicle *vehicle = remote_vehicle_find(remote, thing);
    for (struct remote_command *c = vehicle ? vehicle->first : NULL; c; c = c->behind) {
        if (c->waits || c->gone)
            continue; /* not for the vehicle */
        if (state == CLOUD_PRESENCE_ONLINE)
            seen_online(remote, now_us, c);
        else if (!c->late && !c->result.taps && remote->options.sms)
            remote_wait(remote, c, now_us);
    }
}

void cloud_remote_moved(struct cloud_remote *remote, int64_t now_us, struct span thing)
{
    struct remote_vehicle *vehicle = remote_vehicle_find(remote, thing);
    int64_t at_us = now_us + MOVED_AFTER_US;
    for (struct remote_command *c = vehicle ? vehicle->first : NULL; c; c = c->behind) {
        if (c->waits || c->gone)
            continue; /* not for the vehicle */
        if (c->late) {
            seen_online(remote, now_us, c);
            continue;
        }
        c->unheard = true;
        remote_wait(remote, c, at_us < c->deadline_us ? at_us : c->deadline_us);
    }
}

int64_t cloud_remote_next_deadline(const struct cloud_remote *remote)
{
    return remote->due.next_us;
}

void cloud_remote_tick(struct cloud_remote *remote, int64_t now_us)
{
    remote_shadow_tidy(remote, now_us);
    while (remote->heap.count && due_next_us(&remote->heap) <= now_us) {
        struct due_entry entry = due_pop(&remote->heap);
        struct remote_command *command = remote_find_gone(remote, entry.id);
        remote_due(remote);
        if (!command || command->step_us != entry.at_us)
            continue;
        command->step_us = TIME_NEVER;
        remote_step(remote, now_us, command);
        remote_shadow_tidy(remote, now_us);
    }
}

/* ---- looking in ------------------------------------------------------------------------------------------------------------ */

void cloud_remote_count(const struct cloud_remote *remote, struct cloud_remote_counts *out)
{
    *out = remote->counts;
}

void cloud_remote_each_open(const struct cloud_remote *remote,
                            void (*visit)(void *context, uint64_t id, uint64_t token, bool late), void *context)
{
    for (uint32_t i = 0; i < remote->command_buckets; i++)
        for (const struct remote_command *c = remote->commands[i]; c; c = c->next)
            if (!c->gone)
                visit(context, c->result.id, c->result.token, c->late);
}

uint64_t cloud_remote_bytes(const struct cloud_remote *remote)
{
    return sizeof *remote + remote->command_buckets * sizeof(struct remote_command *) +
           remote->vehicle_buckets * sizeof(struct remote_vehicle *) + due_bytes(&remote->heap) + remote->held_bytes;
}
