/* commands.c: the command service: asks a vehicle through its request topic, takes the answer by correlation data, times out.
 *
 * Open commands stand in a hash table by id and in a heap by deadline. A command that timed out is remembered until its late answer
 * could no longer come (ten times its time-out), so that a late answer is told as late and never as a second result.
 */
#include "cloud/services.h"

#include "due.h"
#include "memory.h"
#include "text.h"

#define LATE_FACTOR       10
#define CAPACITY_AT_FIRST 8
#define TOPIC_MAX         256
#define RESPONSE_WAIT     1 /* seconds added to the message expiry: rounding up */

struct open_command {
    uint64_t id, token;
    int64_t asked_us, deadline_us;
    bool timed_out;
};

struct cloud_commands {
    struct cloud_due due; /* first, for cloud_commands_next_deadline() */
    struct cloud_command_options options;
    struct cloud_bus *bus;
    uint64_t sent, open;
    struct open_command *table; /* open addressing by id; id 0: free, 1: deleted */
    uint64_t capacity, used;    /* used: not free, deleted ones included */
    struct due_heap heap;       /* by deadline */
};

#define ID_DELETED UINT64_C(1)

/* ---- table --------------------------------------------------------------------------------------------------------- */

static uint64_t slot_of(const struct cloud_commands *commands, uint64_t id)
{
    return (id * UINT64_C(0x9E3779B97F4A7C15)) >> 16 & (commands->capacity - 1);
}

static struct open_command *find(struct cloud_commands *commands, uint64_t id)
{
    if (id <= ID_DELETED)
        return NULL;
    for (uint64_t slot = slot_of(commands, id); commands->table[slot].id; slot = (slot + 1) & (commands->capacity - 1))
        if (commands->table[slot].id == id)
            return &commands->table[slot];
    return NULL;
}

static void insert(struct cloud_commands *commands, const struct open_command *command)
{
    uint64_t slot = slot_of(commands, command->id);
    while (commands->table[slot].id)
        slot = (slot + 1) & (commands->capacity - 1);
    commands->table[slot] = *command;
    commands->used++;
}

static bool rehash(struct cloud_commands *commands, uint64_t capacity)
{
    struct open_command *old = commands->table;
    uint64_t old_capacity = commands->capacity;
    struct open_command *table = memory_allocate_zero(capacity, sizeof *table);
    if (!table)
        return false;
    commands->table = table;
    commands->capacity = capacity;
    commands->used = 0;
    for (uint64_t i = 0; i < old_capacity; i++)
        if (old[i].id > ID_DELETED)
            insert(commands, &old[i]);
    memory_free(old);
    return true;
}

static bool room(struct cloud_commands *commands)
{
    uint64_t living = commands->heap.count; /* one heap entry a living command */
    if (commands->used * 2 >= commands->capacity &&
        !rehash(commands, living * 4 >= commands->capacity ? commands->capacity * 2 : commands->capacity))
        return false;
    return due_room(&commands->heap);
}

/* ---- deadlines ------------------------------------------------------------------------------------------------------ */

static void wait_until(struct cloud_commands *commands, int64_t at_us, uint64_t id)
{
    bool kept = due_push(&commands->heap, (struct due_entry){.at_us = at_us, .order = id, .id = id});
    ASSERT(kept); /* there is room: room() was asked, or an entry has just gone */
    commands->due.next_us = due_next_us(&commands->heap);
}

/* ---- answers -------------------------------------------------------------------------------------------------------- */

static bool payload_has(struct span payload, const char *text)
{
    size_t length = strlen(text);
    for (uint32_t i = 0; i + length <= payload.length && i < 512; i++)
        if (memcmp(payload.data + i, text, length) == 0)
            return true;
    return false;
}

static enum cloud_command_outcome outcome_of(struct span payload)
{
    if (payload_has(payload, "\"status\":\"succeeded\""))
        return CLOUD_COMMAND_SUCCEEDED;
    if (payload_has(payload, "\"status\":\"rejected\"") || payload_has(payload, "\"status\":\"busy\"") ||
        payload_has(payload, "\"status\":\"expired\""))
        return CLOUD_COMMAND_REJECTED;
    return CLOUD_COMMAND_FAILED;
}

/* MQTT 5: correlation data; 3.1.1: "id" in the answer, 16 hexadecimal digits. */
static uint64_t id_of(const struct mq5_publish *message)
{
    uint64_t id = 0;
    if (message->properties.present & MQ5_BIT(MQ5_CORRELATION_DATA)) {
        struct span data = message->properties.correlation_data;
        for (uint32_t i = 0; i < data.length && data.length == 8; i++)
            id = id << 8 | data.data[i];
        return id;
    }
    static const char key[] = "\"id\":\"";
    const uint32_t key_length = sizeof key - 1;
    for (uint32_t i = 0; i + key_length + 16 <= message->payload.length && i < 512; i++) {
        if (memcmp(message->payload.data + i, key, key_length) != 0)
            continue;
        for (uint32_t d = 0; d < 16; d++) {
            uint8_t c = message->payload.data[i + key_length + d];
            uint64_t digit = c >= '0' && c <= '9'   ? (uint64_t)(c - '0')
                             : c >= 'a' && c <= 'f' ? (uint64_t)(c - 'a' + 10)
                                                    : 16;
            if (digit > 15)
                return 0;
            id = id << 4 | digit;
        }
        return id;
    }
    return 0;
}

static void tell(struct cloud_commands *commands, int64_t now_us, const struct open_command *command,
                 enum cloud_command_outcome outcome, bool late)
{
    struct cloud_command_result result = {.id = command->id,
                                          .token = command->token,
                                          .outcome = outcome,
                                          .asked_us = command->asked_us,
                                          .answered_us = now_us,
                                          .late = late};
    if (commands->options.result)
        commands->options.result(commands->options.context, now_us, &result);
}

/* An answered command stays in the table, marked, until its heap entry comes up: a second answer finds nothing to finish. */
static void on_response(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct cloud_commands *commands = context;
    struct open_command *entry = find(commands, id_of(message));
    if (!entry || entry->deadline_us == TIME_NEVER)
        return;
    struct open_command command = *entry;
    entry->deadline_us = TIME_NEVER; /* answered */
    if (!command.timed_out)
        commands->open--;
    tell(commands, now_us, &command, outcome_of(message->payload), command.timed_out);
}

/* ---- life ------------------------------------------------------------------------------------------------------------ */

/* The template with the thing in place of '%'; an empty span: it has none, or there is no room. */
static struct span expand(const char *template, struct span thing, char *out, size_t capacity)
{
    struct text_writer w = {out, 0, capacity};
    const char *mark = strchr(template, '%');
    if (!mark)
        return (struct span){0};
    text_put(&w, template, (size_t)(mark - template));
    text_put(&w, thing.data, thing.length);
    text_put_string(&w, mark + 1);
    return text_fits(&w) ? span_of(out, w.at) : (struct span){0};
}

struct cloud_commands *cloud_commands_create(const struct cloud_command_options *options, struct cloud_bus *bus,
                                             int64_t now_us)
{
    struct cloud_commands *commands = memory_allocate_zero(1, sizeof *commands);
    if (!commands)
        return NULL;
    commands->options = *options;
    commands->bus = bus;
    commands->capacity = CAPACITY_AT_FIRST;
    commands->due.next_us = TIME_NEVER;
    commands->table = memory_allocate_zero(commands->capacity, sizeof *commands->table);
    char text[TOPIC_MAX];
    struct span filter = expand(options->response_topic, SPAN_LITERAL("+"), text, sizeof text);
    if (!commands->table || !filter.length ||
        bus->ops->subscribe(bus, now_us, filter, 1, on_response, commands) >= 0x80) {
        cloud_commands_destroy(commands);
        return NULL;
    }
    return commands;
}

void cloud_commands_destroy(struct cloud_commands *commands)
{
    memory_free(commands->table);
    memory_free(commands->heap.entries);
    memory_free(commands);
}

static uint8_t publish_command(struct cloud_commands *commands, int64_t now_us, struct span thing, struct span command,
                               int64_t timeout_us, uint64_t id)
{
    char topic_text[TOPIC_MAX], response_text[TOPIC_MAX], payload[256];
    struct span topic = expand(commands->options.request_topic, thing, topic_text, sizeof topic_text);
    struct span response = expand(commands->options.response_topic, thing, response_text, sizeof response_text);
    struct text_writer w = {payload, 0, sizeof payload};
    TEXT_PUT(&w, "{\"command\":\"");
    text_put(&w, command.data, command.length);
    TEXT_PUT(&w, "\",\"id\":\"");
    text_put_hex64(&w, id);
    TEXT_PUT(&w, "\"}");
    if (!topic.length || !response.length || !text_fits(&w))
        return MQ5_TOPIC_NAME_INVALID;
    uint8_t correlation[8];
    for (int i = 0; i < 8; i++)
        correlation[i] = (uint8_t)(id >> (56 - 8 * i));
    struct mq5_publish message = {.qos = 1, .topic = topic, .payload = span_of(payload, w.at)};
    message.properties.present = MQ5_BIT(MQ5_RESPONSE_TOPIC) | MQ5_BIT(MQ5_CORRELATION_DATA) |
                                 MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL) | MQ5_BIT(MQ5_CONTENT_TYPE);
    message.properties.response_topic = response;
    message.properties.correlation_data = span_of(correlation, sizeof correlation);
    message.properties.message_expiry_s = (uint32_t)(timeout_us / US_PER_S) + RESPONSE_WAIT;
    message.properties.content_type = SPAN_LITERAL("application/json");
    return commands->bus->ops->publish(commands->bus, now_us, &message);
}

uint64_t cloud_command_send(struct cloud_commands *commands, int64_t now_us, struct span thing, struct span command,
                            int64_t timeout_us, uint64_t token)
{
    struct open_command entry = {.id = commands->options.id_base + 2 + commands->sent++,
                                 .token = token,
                                 .asked_us = now_us,
                                 .deadline_us = now_us + timeout_us};
    if (!room(commands)) {
        tell(commands, now_us, &entry, CLOUD_COMMAND_NOT_SENT, false);
        return entry.id;
    }
    insert(commands, &entry);
    wait_until(commands, entry.deadline_us, entry.id);
    commands->open++;
    if (commands->options.pass && !commands->options.pass(commands->options.context, thing))
        return entry.id; /* lost on the way: only the time-out will tell */
    if (publish_command(commands, now_us, thing, command, timeout_us, entry.id) >= 0x80) {
        struct open_command *open = find(commands, entry.id);
        if (open && open->deadline_us != TIME_NEVER) {
            open->deadline_us = TIME_NEVER;
            commands->open--;
            tell(commands, now_us, &entry, CLOUD_COMMAND_NOT_SENT, false);
        }
    }
    return entry.id;
}

static void forget(struct cloud_commands *commands, struct open_command *entry)
{
    entry->id = ID_DELETED;
}

void cloud_commands_tick(struct cloud_commands *commands, int64_t now_us)
{
    while (commands->due.next_us <= now_us && commands->heap.count) {
        struct open_command *entry = find(commands, due_pop(&commands->heap).id);
        commands->due.next_us = due_next_us(&commands->heap);
        if (!entry)
            continue;
        if (entry->deadline_us == TIME_NEVER || entry->timed_out) {
            forget(commands, entry);
            continue;
        }
        struct open_command command = *entry;
        entry->timed_out = true;
        wait_until(commands, command.asked_us + LATE_FACTOR * (command.deadline_us - command.asked_us), command.id);
        commands->open--;
        tell(commands, now_us, &command, CLOUD_COMMAND_TIMED_OUT, false);
    }
}

uint64_t cloud_commands_bytes(const struct cloud_commands *commands)
{
    return sizeof *commands + commands->capacity * sizeof *commands->table + due_bytes(&commands->heap);
}

uint64_t cloud_commands_open(const struct cloud_commands *commands)
{
    return commands->open;
}
