/* fleet_command.c: app users' commands and their books: asked, delivered, executed, answered, timed out, and where each got lost.
 *
 * A command is open until it is both with the vehicle and answered or timed out. What can still happen to it then is that the vehicle
 * executes it (once more); all that has to be known for that is whether it already did, so that a closed command takes two bits.
 */
#include "fleet.h"

#define OPEN_FIRST   32
#define CLOSED_FIRST 4

/* ---- open ones ----------------------------------------------------------------------------------------------------------- */

static uint64_t hash_of(uint64_t key)
{
    return key * UINT64_C(0x9E3779B97F4A7C15) >> 20;
}

static uint64_t open_slot(const struct fleet_commands *commands, uint64_t id)
{
    uint64_t slot = hash_of(id) & (commands->open_capacity - 1);
    while (commands->open[slot].id && commands->open[slot].id != id)
        slot = (slot + 1) & (commands->open_capacity - 1);
    return slot;
}

static struct fleet_command *find_open(const struct fleet_commands *commands, uint64_t id)
{
    if (!id || !commands->open_capacity)
        return NULL;
    struct fleet_command *command = &commands->open[open_slot(commands, id)];
    return command->id ? command : NULL;
}

static bool grow_open(struct fleet *fleet)
{
    struct fleet_commands *commands = &fleet->commands, bigger = *commands;
    bigger.open_capacity = commands->open_capacity ? commands->open_capacity * 2 : OPEN_FIRST;
    bigger.open = fleet_take(fleet, bigger.open_capacity, sizeof *bigger.open);
    if (!bigger.open)
        return false;
    for (uint64_t i = 0; i < commands->open_capacity; i++)
        if (commands->open[i].id)
            bigger.open[open_slot(&bigger, commands->open[i].id)] = commands->open[i];
    memory_free(commands->open);
    *commands = bigger;
    return true;
}

/* The entries behind the hole that belong at or before it move up, so that no search ends too early. */
static void remove_open(struct fleet_commands *commands, struct fleet_command *command)
{
    uint64_t mask = commands->open_capacity - 1, hole = (uint64_t)(command - commands->open);
    for (uint64_t at = (hole + 1) & mask; commands->open[at].id; at = (at + 1) & mask) {
        uint64_t home = hash_of(commands->open[at].id) & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            commands->open[hole] = commands->open[at];
            hole = at;
        }
    }
    commands->open[hole].id = 0;
    commands->open_count--;
}

/* ---- closed ones --------------------------------------------------------------------------------------------------------- */

static uint64_t closed_slot(const struct fleet_commands *commands, uint64_t key)
{
    uint64_t slot = hash_of(key) & (commands->closed_capacity - 1);
    while (commands->closed[slot].key && commands->closed[slot].key != key)
        slot = (slot + 1) & (commands->closed_capacity - 1);
    return slot;
}

static bool grow_closed(struct fleet *fleet)
{
    struct fleet_commands *commands = &fleet->commands, bigger = *commands;
    bigger.closed_capacity = commands->closed_capacity ? commands->closed_capacity * 2 : CLOSED_FIRST;
    bigger.closed = fleet_take(fleet, bigger.closed_capacity, sizeof *bigger.closed);
    if (!bigger.closed)
        return false;
    for (uint64_t i = 0; i < commands->closed_capacity; i++)
        if (commands->closed[i].key)
            bigger.closed[closed_slot(&bigger, commands->closed[i].key)] = commands->closed[i];
    memory_free(commands->closed);
    *commands = bigger;
    return true;
}

static uint64_t key_of(uint64_t id)
{
    return (id >> FLEET_CLOSED_BITS) + 1;
}

static uint32_t word_of(uint64_t id)
{
    return id >> 6 & ((1u << (FLEET_CLOSED_BITS - 6)) - 1);
}

static uint64_t bit_of(uint64_t id)
{
    return UINT64_C(1) << (id & 63);
}

static struct fleet_closed *find_closed(const struct fleet_commands *commands, uint64_t id)
{
    if (!commands->closed_capacity)
        return NULL;
    struct fleet_closed *closed = &commands->closed[closed_slot(commands, key_of(id))];
    return closed->key && closed->closed[word_of(id)] & bit_of(id) ? closed : NULL;
}

/* From now on two bits. Without memory it stays open, which costs no more than that. */
static void close_when_done(struct fleet *fleet, struct fleet_command *command)
{
    struct fleet_commands *commands = &fleet->commands;
    uint64_t id = command->id;
    if (!command->received || !(command->answered || command->timed_out))
        return;
    if (commands->closed_count * 4 >= commands->closed_capacity * 3 && !grow_closed(fleet))
        return;
    struct fleet_closed *closed = &commands->closed[closed_slot(commands, key_of(id))];
    commands->closed_count += closed->key == 0;
    closed->key = key_of(id);
    closed->closed[word_of(id)] |= bit_of(id);
    if (command->executed)
        closed->executed[word_of(id)] |= bit_of(id);
    remove_open(commands, command);
}

/* ---- what the vehicle tells ------------------------------------------------------------------------------------------------ */

static uint64_t id_of(struct span id)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < id.length && id.length == 8; i++)
        value = value << 8 | id.data[i];
    return value;
}

static void executed(struct fleet *fleet, uint32_t vehicle, int64_t now_us, bool again)
{
    struct ledger_commands *ledger = measure_commands(fleet->measure);
    ledger->executed++;
    if (again) {
        ledger->executed_twice++;
        measure_command_victim(fleet->measure, VICTIM_EXECUTED_TWICE, vehicle, now_us);
    }
}

static void probe_open(struct fleet *fleet, struct fleet_command *command, uint32_t vehicle, struct fleet_trace *trace,
                       int64_t now_us, enum tcu_probe_kind kind)
{
    if (kind == TCU_PROBE_COMMAND_RECEIVED && !command->received) {
        command->received = 1;
        measure_commands(fleet->measure)->delivered++;
        measure_sample(fleet->measure, METRIC_COMMAND_DELIVERY, fleet_who(trace, command->path), vehicle,
                       command->asked_us, now_us - command->asked_us);
        close_when_done(fleet, command);
        fleet_tell_script(fleet, vehicle, trace, "command", now_us);
    } else if (kind == TCU_PROBE_COMMAND_EXECUTED) {
        executed(fleet, vehicle, now_us, command->executed);
        command->executed = 1;
    }
}

void fleet_command_probe(struct fleet *fleet, uint32_t vehicle, struct fleet_trace *trace, int64_t now_us,
                         const struct tcu_probe *probe)
{
    uint64_t id = id_of(probe->id);
    struct fleet_command *command = find_open(&fleet->commands, id);
    if (command) {
        probe_open(fleet, command, vehicle, trace, now_us, probe->kind);
        return;
    }
    struct fleet_closed *closed = find_closed(&fleet->commands, id);
    if (!closed || probe->kind != TCU_PROBE_COMMAND_EXECUTED)
        return; /* somebody else's command: an operator's, another run's; or received once more */
    executed(fleet, vehicle, now_us, closed->executed[word_of(id)] & bit_of(id));
    closed->executed[word_of(id)] |= bit_of(id);
}

/* ---- what the service tells and is asked ----------------------------------------------------------------------------------- */

static struct measure_dimension who_of(const struct fleet *fleet, uint32_t vehicle, uint8_t path)
{
    return (struct measure_dimension){(uint16_t)scenario_cohort_of(fleet->scenario, vehicle),
                                      (uint16_t)scenario_region_of(fleet->scenario, vehicle), path};
}

static bool command_passes(void *context, struct span thing)
{
    const struct fleet *fleet = context;
    if (fleet->asking.app == FLEET_NO_APP)
        return true;
    double loss = fleet->scenario->apps[fleet->asking.app].loss;
    if (loss <= 0)
        return true;
    uint64_t word = sim_random_at(fleet->scenario->seed, fleet->asking.vehicle, SIM_FOR_FAULTS, fleet->asking.nth);
    return (double)(word >> 11) * 0x1p-53 >= loss;
}

static void command_result(void *context, int64_t now_us, const struct cloud_command_result *result)
{
    struct fleet *fleet = context;
    struct fleet_command *command = find_open(&fleet->commands, result->id);
    if (!command && result->outcome == CLOUD_COMMAND_NOT_SENT)
        fleet->asking.not_sent = true;
    if (!command || result->late)
        return; /* a late answer was counted as timed out; METRIC_COMMAND_ROUND_TRIP keeps to what the app saw */
    struct measure_dimension who = who_of(fleet, command->vehicle, command->path);
    struct ledger_commands *ledger = measure_commands(fleet->measure);
    if (result->outcome == CLOUD_COMMAND_TIMED_OUT || result->outcome == CLOUD_COMMAND_NOT_SENT) {
        command->timed_out = 1;
        ledger->timed_out++;
        measure_count(fleet->measure, COUNTER_COMMANDS_TIMED_OUT, who, now_us, 1);
        measure_command_victim(fleet->measure, VICTIM_TIMED_OUT, command->vehicle, command->asked_us);
    } else {
        command->answered = 1;
        ledger->answered++;
        measure_count(fleet->measure, COUNTER_COMMANDS_ANSWERED, who, now_us, 1);
        measure_sample(fleet->measure, METRIC_COMMAND_ROUND_TRIP, who, command->vehicle, command->asked_us,
                       now_us - command->asked_us);
    }
    close_when_done(fleet, command);
}

void fleet_command_options(struct fleet *fleet, struct cloud_command_options *options, uint64_t id_base)
{
    *options = (struct cloud_command_options){.request_topic = fleet->topic_request,
                                              .response_topic = fleet->topic_response,
                                              .id_base = id_base,
                                              .result = command_result,
                                              .pass = command_passes,
                                              .context = fleet};
}

void fleet_command_ask(struct fleet *fleet, struct cloud_commands *service, int64_t now_us, uint32_t vehicle,
                       uint16_t app, struct span name, int64_t timeout_us, bool online)
{
    struct fleet_commands *commands = &fleet->commands;
    if (commands->open_count * 2 >= commands->open_capacity && !grow_open(fleet))
        return;
    char thing[SCENARIO_NAME + 16];
    size_t length = scenario_vehicle_name(fleet->scenario, vehicle, thing, sizeof thing);
    struct measure_dimension who = who_of(fleet, vehicle, online ? PATH_CONNECTED : PATH_QUEUED);
    fleet->asking.vehicle = vehicle;
    fleet->asking.app = app;
    fleet->asking.nth = (uint64_t)now_us;
    fleet->asking.not_sent = false;
    uint64_t id = cloud_command_send(service, now_us, span_of(thing, length), name, timeout_us, vehicle);
    commands->open[open_slot(commands, id)] =
        (struct fleet_command){.id = id, .asked_us = now_us, .vehicle = vehicle, .path = who.path};
    commands->open_count++;
    struct ledger_commands *ledger = measure_commands(fleet->measure);
    ledger->intended++;
    ledger->sent++;
    measure_count(fleet->measure, COUNTER_COMMANDS, who, now_us, 1);
    if (fleet->asking.not_sent)
        command_result(fleet, now_us, &(struct cloud_command_result){.id = id, .outcome = CLOUD_COMMAND_NOT_SENT});
}

/* ---- the end --------------------------------------------------------------------------------------------------------------- */

void fleet_commands_finish(struct fleet *fleet, int64_t now_us)
{
    struct ledger_commands *ledger = measure_commands(fleet->measure);
    for (uint64_t i = 0; i < fleet->commands.open_capacity; i++) {
        const struct fleet_command *command = &fleet->commands.open[i];
        if (!command->id)
            continue;
        if (!command->answered && !command->timed_out) {
            ledger->pending++;
        } else if (command->timed_out && !command->received) {
            ledger->lost++;
            measure_command_victim(fleet->measure, VICTIM_LOST, command->vehicle, command->asked_us);
        }
    }
}

void fleet_commands_release(struct fleet *fleet)
{
    memory_free(fleet->commands.open);
    memory_free(fleet->commands.closed);
    fleet->commands = (struct fleet_commands){0};
}
