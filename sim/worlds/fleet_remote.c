/* fleet_remote.c: the books of remote commands: from the asking to the one end of each, with the steps of its way.
 *
 * What the desk tells is kept apart from what the vehicle did, so that an end which is not the truth is found (misreported).
 */
#include "fleet_attack.h"

#define ORDERS_FIRST  64
#define SALT_STRANGER 0x5720
#define SALT_ANSWERS  0x5721

static double part_of(const struct scenario *scenario, uint32_t vehicle, uint32_t salt, uint64_t index)
{
    return (double)(sim_random_at(scenario->seed, vehicle, SIM_FOR_FAULTS | salt << 8, index) >> 11) * 0x1p-53;
}

static struct measure_dimension who_of(const struct fleet *fleet, uint32_t vehicle, uint8_t path)
{
    const struct fleet_trace *trace = fleet->find_trace ? fleet->find_trace(fleet->find_context, vehicle) : NULL;
    if (trace)
        return fleet_who(trace, path);
    return (struct measure_dimension){(uint16_t)scenario_cohort_of(fleet->scenario, vehicle),
                                      (uint16_t)scenario_region_of(fleet->scenario, vehicle), path};
}

/* ---- the list --------------------------------------------------------------------------------------------------------------- */

static struct fleet_order *add(struct fleet_orders *orders)
{
    if (orders->count == orders->capacity) {
        uint32_t capacity = orders->capacity ? orders->capacity * 2 : ORDERS_FIRST;
        struct fleet_order *list = memory_resize(orders->list, capacity * sizeof *list);
        if (!list)
            return NULL;
        orders->list = list;
        orders->capacity = capacity;
    }
    orders->list[orders->count] = (struct fleet_order){
        .sent_us = -1, .tapped_us = -1, .woken_us = -1, .online_us = -1, .received_us = -1, .executed_us = -1};
    return &orders->list[orders->count++];
}

/* Ids grow with the list. */
struct fleet_order *fleet_order_find(const struct fleet_orders *orders, uint64_t id)
{
    uint32_t low = 0, high = orders->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        uint64_t here = orders->list[middle].id;
        if (here == id)
            return &orders->list[middle];
        if (here && here < id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* ---- the steps of a command's way --------------------------------------------------------------------------------------------- */

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static uint8_t path_of(const struct fleet_order *order, enum cloud_remote_way way)
{
    if (way == CLOUD_WAY_TAP)
        return PATH_TAP;
    if (way == CLOUD_WAY_SHADOW)
        return PATH_SHADOW;
    if (way == CLOUD_WAY_QUEUED)
        return PATH_QUEUED;
    return order->modem_slept ? PATH_EDRX : PATH_CONNECTED;
}

/* Each step ends where the next begins, so that they add up to the round trip whatever overtook what. */
static void sample_steps(struct fleet *fleet, const struct fleet_order *order, int64_t now_us, uint8_t path)
{
    static const enum metric metrics[] = {METRIC_COMMAND_SERVICE, METRIC_COMMAND_WAKE,    METRIC_COMMAND_CONNECT,
                                          METRIC_COMMAND_TRANSIT, METRIC_COMMAND_EXECUTE, METRIC_COMMAND_ANSWER};
    struct measure_dimension who = who_of(fleet, order->vehicle, path);
    int64_t begun_us = order->tapped_us >= 0 && order->sent_us < 0 ? order->tapped_us : order->sent_us;
    bool tapped = path == PATH_TAP;
    const int64_t ends_us[] = {
        begun_us, tapped ? order->woken_us : -1, tapped ? order->online_us : -1, order->received_us, order->executed_us,
        now_us};
    int64_t from_us = order->asked_us;
    for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++) {
        if (ends_us[i] < 0)
            continue;
        int64_t to_us = later(from_us, ends_us[i]);
        measure_sample(fleet->measure, metrics[i], who, order->vehicle, order->asked_us, to_us - from_us);
        from_us = to_us;
    }
}

/* ---- what the desk tells ------------------------------------------------------------------------------------------------------ */

static void ended(struct fleet_orders *orders, struct fleet_order *order, int64_t now_us,
                  const struct cloud_remote_result *result)
{
    struct fleet *fleet = orders->fleet;
    struct ledger_commands *ledger = measure_commands(fleet->measure);
    uint64_t *const counts[] = {&ledger->ended_executed, &ledger->ended_failed, &ledger->ended_expired,
                                &ledger->ended_refused};
    uint8_t path = path_of(order, result->way);
    order->end = (uint8_t)(result->end + 1);
    ++*counts[result->end];
    ledger->unended--;
    if (result->end != CLOUD_REMOTE_EXECUTED && result->end != CLOUD_REMOTE_FAILED)
        return;
    ledger->answered++;
    measure_count(fleet->measure, COUNTER_COMMANDS_ANSWERED, who_of(fleet, order->vehicle, path), now_us, 1);
    if (order->late)
        return; /* the app has given up: the round trip is of what it saw */
    measure_sample(fleet->measure, METRIC_COMMAND_ROUND_TRIP, who_of(fleet, order->vehicle, path), order->vehicle,
                   order->asked_us, now_us - order->asked_us);
    sample_steps(fleet, order, now_us, path);
}

static void astray(struct fleet_orders *orders, const struct fleet_order *order, int64_t now_us)
{
    struct fleet *fleet = orders->fleet;
    measure_count(fleet->measure, COUNTER_RESULTS_ASTRAY, who_of(fleet, order->vehicle, PATH_ANY), now_us, 1);
    measure_command_victim(fleet->measure, COUNTER_RESULTS_ASTRAY, order->vehicle, order->asked_us);
}

static void on_result(void *context, int64_t now_us, const struct cloud_remote_result *result)
{
    struct fleet_orders *orders = context;
    struct fleet *fleet = orders->fleet;
    struct fleet_order *order = &orders->list[result->token];
    now_us += fleet->scenario->cloud.service_us;
    if (order->tapped_us < 0)
        order->tapped_us = result->tapped_us;
    if (result->end != CLOUD_REMOTE_LATE) {
        ASSERT(!order->end); /* the desk's promise: one end */
        if (result->ended_us < orders->ended_us)
            astray(orders, order, now_us);
        orders->ended_us = result->ended_us;
        ended(orders, order, now_us, result);
        return;
    }
    struct ledger_commands *ledger = measure_commands(fleet->measure);
    order->late = true;
    ledger->timed_out++;
    measure_count(fleet->measure, COUNTER_COMMANDS_TIMED_OUT, who_of(fleet, order->vehicle, PATH_ANY), now_us, 1);
    measure_command_victim(fleet->measure, VICTIM_TIMED_OUT, order->vehicle, order->asked_us);
}

/* After who asked. */
static void on_watching(void *context, int64_t now_us, uint64_t follower, const struct cloud_remote_result *result)
{
    struct fleet_orders *orders = context;
    struct fleet_order *order = &orders->list[result->token];
    if (result->end == CLOUD_REMOTE_LATE)
        return;
    if (!order->end || follower != order->watched)
        astray(orders, order, now_us);
    order->watched++;
}

static bool on_pass(void *context, int64_t now_us, struct span thing, uint64_t id)
{
    struct fleet_orders *orders = context;
    struct fleet *fleet = orders->fleet;
    struct fleet_order *order = fleet_order_find(orders, id);
    if (!order)
        order = orders->count ? &orders->list[orders->count - 1] : NULL; /* inside the asking its id is not known yet */
    if (order && !order->sent) {
        order->sent = true;
        order->sent_us = now_us;
        measure_commands(fleet->measure)->sent++;
    }
    if (fleet->asking.app == FLEET_NO_APP || !order)
        return true;
    double loss = fleet->scenario->apps[fleet->asking.app].loss;
    return loss <= 0 || part_of(fleet->scenario, order->vehicle, 0, (uint64_t)now_us) >= loss;
}

static bool is_allowed(void *context, struct span user, struct span thing, struct span command)
{
    return !span_equal(user, SPAN_LITERAL("stranger"));
}

static void on_presence(void *context, int64_t now_us, struct span thing, enum cloud_presence_state state)
{
    struct fleet_orders *orders = context;
    if (orders->remote)
        cloud_remote_seen(orders->remote, now_us, thing, state);
}

/* ---- what the vehicle tells --------------------------------------------------------------------------------------------------- */

static void was_executed(struct fleet *fleet, struct fleet_order *order, int64_t now_us)
{
    struct ledger_commands *ledger = measure_commands(fleet->measure);
    ledger->executed++;
    if (order->executed_us < 0)
        order->executed_us = now_us;
    if (order->executed) {
        ledger->executed_twice++;
        measure_command_victim(fleet->measure, VICTIM_EXECUTED_TWICE, order->vehicle, now_us);
    }
    order->executed += order->executed < UINT8_MAX;
}

/* Eight bytes, or the 16 digits they are written as. */
static uint64_t id_of(struct span id)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < id.length && id.length == 8; i++)
        value = value << 8 | id.data[i];
    for (uint32_t i = 0; i < id.length && id.length == 16; i++) {
        uint8_t digit = id.data[i];
        if (!(digit >= '0' && digit <= '9') && !(digit >= 'a' && digit <= 'f'))
            return 0;
        value = value << 4 | (uint8_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
    }
    return value;
}

void fleet_orders_probe(struct fleet *fleet, uint32_t vehicle, struct fleet_trace *trace, int64_t now_us,
                        const struct tcu_probe *probe)
{
    struct fleet_orders *orders = fleet->find_orders(fleet->find_context, vehicle);
    const struct fleet_parking *parking =
        fleet->find_parking ? fleet->find_parking(fleet->find_context, vehicle) : NULL;
    uint64_t id = id_of(probe->id);
    struct fleet_order *order = orders && id ? fleet_order_find(orders, id) : NULL;
    fleet_attacks_probe(fleet, orders, vehicle, trace, now_us, probe);
    if (!order)
        return; /* an operator's */
    if (probe->kind == TCU_PROBE_COMMAND_EXECUTED) {
        was_executed(fleet, order, now_us);
    } else if (probe->kind == TCU_PROBE_COMMAND_RECEIVED && order->received_us < 0) {
        order->received_us = now_us;
        if (parking && parking->woken_us >= order->asked_us)
            order->woken_us = parking->woken_us;
        if (parking && parking->online_us >= order->asked_us)
            order->online_us = parking->online_us;
        measure_commands(fleet->measure)->delivered++;
        measure_sample(fleet->measure, METRIC_COMMAND_DELIVERY, fleet_who(trace, PATH_ANY), vehicle, order->asked_us,
                       now_us - order->asked_us);
        fleet_tell_script(fleet, vehicle, trace, "command", now_us);
    }
}

/* ---- the SMS network ---------------------------------------------------------------------------------------------------------- */

static int64_t sms_latency(void *context)
{
    struct fleet_orders *orders = context;
    return sim_table_draw(&orders->fleet->scenario->cloud.commands.sms_latency_us, &orders->chance);
}

static uint32_t sms_chance(void *context)
{
    struct fleet_orders *orders = context;
    return (uint32_t)sim_random_below(&orders->chance, 1000000);
}

static enum cloud_sms_attempt on_sms(void *context, int64_t now_us, struct span thing, struct span text)
{
    struct fleet_orders *orders = context;
    uint32_t vehicle;
    if (!scenario_vehicle_find(orders->fleet->scenario, thing, &vehicle))
        return CLOUD_SMS_ABSENT;
    return orders->deliver(orders->world, now_us, vehicle, text);
}

static void on_sms_report(void *context, int64_t now_us, uint64_t token, enum cloud_sms_end end, int64_t submitted_us)
{
    struct fleet_orders *orders = context;
    struct measure_dimension nobody = {0, 0, PATH_ANY};
    if (end == CLOUD_SMS_DELIVERED)
        measure_sample(orders->fleet->measure, METRIC_SMS_DELIVERY, nobody, MEASURE_NO_VEHICLE, submitted_us,
                       now_us - submitted_us);
}

/* ---- a desk ------------------------------------------------------------------------------------------------------------------- */

static bool open_gateway(struct fleet_orders *orders)
{
    const struct scenario_commands *commands = &orders->fleet->scenario->cloud.commands;
    double loss = commands->sms_loss + (1 - commands->sms_loss) * commands->lose_sms;
    struct cloud_sms_options options = {.latency_us = sms_latency,
                                        .chance = sms_chance,
                                        .loss_ppm = (uint32_t)(loss * 1e6 + 0.5),
                                        .duplicate_ppm = (uint32_t)(commands->sms_duplicates * 1e6 + 0.5),
                                        .validity_us = commands->sms_validity_us,
                                        .deliver = on_sms,
                                        .report = on_sms_report,
                                        .context = orders};
    if (commands->taps)
        orders->sms = cloud_sms_create(&options);
    return !commands->taps || orders->sms;
}

static int on_execute(void *context, int64_t now_us, const struct cloud_remote_execution *execution)
{
    struct fleet_orders *orders = context;
    return orders->execute(orders, now_us, execution);
}

static bool open_desk(struct fleet_orders *orders, struct cloud_bus *bus, uint32_t number, int64_t now_us)
{
    struct fleet *fleet = orders->fleet;
    const struct scenario_commands *commands = &fleet->scenario->cloud.commands;
    struct cloud_remote_options options = {.pattern = (enum cloud_remote_pattern)commands->pattern,
                                           .request_topic = fleet->topic_request,
                                           .response_topic = fleet->topic_response,
                                           .prefix = fleet->reserved,
                                           .executions = orders->executions,
                                           .execute = orders->execute ? on_execute : NULL,
                                           .event_prefix = orders->event_prefix,
                                           .id_base = (uint64_t)(number + 1) << 40 | UINT64_C(1) << 39,
                                           .watch = commands->trust_old_presence > 0.5 ? NULL : orders->watch,
                                           .sms = orders->sms,
                                           .keys = orders->keys,
                                           .fallback_us =
                                               commands->no_fallback > 0.5 ? 366 * US_PER_DAY : commands->fallback_us,
                                           .tap_retry_us = commands->tap_retry_us,
                                           .taps_maximum = commands->taps,
                                           .command_in_sms = commands->command_in_sms,
                                           .epoch_us = fleet->wall_offset_us,
                                           .allowed = is_allowed,
                                           .result = on_result,
                                           .watching = on_watching,
                                           .pass = on_pass,
                                           .context = orders};
    orders->remote = cloud_remote_create(&options, bus, now_us);
    return orders->remote != NULL;
}

bool fleet_orders_open(struct fleet_orders *orders, struct fleet *fleet, const struct cloud_profile *profile,
                       struct cloud_bus *watch_bus, struct cloud_bus *desk_bus, uint32_t number, int64_t now_us)
{
    const struct scenario_commands *commands = &fleet->scenario->cloud.commands;
    orders->fleet = fleet;
    sim_random_init(&orders->chance, fleet->scenario->seed, number, SIM_FOR_SMS);
    struct cloud_watch_options watch = {
        .profile = profile, .debounce_us = commands->debounce_us, .changed = on_presence, .context = orders};
    if (commands->presence && !(orders->watch = cloud_watch_create(&watch, watch_bus, now_us)))
        return false;
    if (commands->sealed && !orders->keys && !(orders->keys = cloud_keys_modelled(fleet->scenario->seed)))
        return false;
    if (commands->watchers && !(orders->followed = memory_allocate_zero(fleet->scenario->fleet / 8 + 1, 1)))
        return false;
    return open_gateway(orders) && open_desk(orders, desk_bus, number, now_us);
}

void fleet_orders_close(struct fleet_orders *orders)
{
    if (orders->attacks)
        fleet_attacks_close(orders->attacks);
    if (orders->remote)
        cloud_remote_destroy(orders->remote);
    if (orders->sms)
        cloud_sms_destroy(orders->sms);
    if (orders->watch)
        cloud_watch_destroy(orders->watch);
    cloud_keys_destroy(orders->keys);
    cloud_keys_destroy(orders->forger);
    memory_free(orders->list);
    memory_free(orders->followed);
    *orders = (struct fleet_orders){0};
}

int64_t fleet_orders_next(const struct fleet_orders *orders)
{
    int64_t next_us = cloud_remote_next_deadline(orders->remote), other_us;
    if (orders->watch && (other_us = cloud_watch_next_deadline(orders->watch)) < next_us)
        next_us = other_us;
    if (orders->sms && (other_us = cloud_sms_next_deadline(orders->sms)) < next_us)
        next_us = other_us;
    if (orders->attacks && (other_us = fleet_attacks_next(orders->attacks)) < next_us)
        next_us = other_us;
    return next_us;
}

void fleet_orders_tick(struct fleet_orders *orders, int64_t now_us)
{
    if (orders->watch)
        cloud_watch_tick(orders->watch, now_us);
    if (orders->sms)
        cloud_sms_tick(orders->sms, now_us);
    cloud_remote_tick(orders->remote, now_us);
    if (orders->attacks)
        fleet_attacks_tick(orders->attacks, now_us);
}

/* The other phones of a family, whoever asks. */
static void let_watch(struct fleet_orders *orders, uint32_t vehicle, struct span thing)
{
    uint8_t bit = (uint8_t)(1u << vehicle % 8);
    if (!orders->followed || (orders->followed[vehicle / 8] & bit))
        return;
    orders->followed[vehicle / 8] |= bit;
    for (uint32_t i = 0; i < orders->fleet->scenario->cloud.commands.watchers; i++)
        cloud_remote_follow(orders->remote, thing, i); /* who could not be noted down is missed at the end */
}

void fleet_orders_ask(struct fleet_orders *orders, int64_t now_us, uint32_t vehicle, uint16_t app, struct span command,
                      int64_t timeout_us, bool modem_slept)
{
    struct fleet *fleet = orders->fleet;
    struct fleet_order *order = add(orders);
    if (!order)
        return;
    uint32_t place = orders->count - 1;
    char thing[SCENARIO_NAME + 16];
    size_t length = scenario_vehicle_name(fleet->scenario, vehicle, thing, sizeof thing);
    bool stranger =
        fleet->scenario->cloud.commands.strangers > 0 &&
        part_of(fleet->scenario, vehicle, SALT_STRANGER, (uint64_t)now_us) < fleet->scenario->cloud.commands.strangers;
    order->vehicle = vehicle;
    order->asked_us = now_us;
    order->modem_slept = modem_slept;
    let_watch(orders, vehicle, span_of(thing, length));
    fleet->asking.app = app;
    struct ledger_commands *ledger = measure_commands(fleet->measure);
    ledger->intended++;
    ledger->unended++;
    measure_count(fleet->measure, COUNTER_COMMANDS, who_of(fleet, vehicle, PATH_ANY), now_us, 1);
    struct cloud_remote_ask ask = {.thing = span_of(thing, length),
                                   .user = stranger ? SPAN_LITERAL("stranger") : SPAN_LITERAL("owner"),
                                   .command = command,
                                   .expires_us = timeout_us,
                                   .token = place};
    uint64_t id = cloud_remote_send(orders->remote, now_us, &ask);
    orders->list[place].id = id;
    fleet->asking.app = FLEET_NO_APP;
}

void fleet_orders_finish(struct fleet_orders *orders, int64_t now_us, bool (*online)(void *world, uint32_t vehicle))
{
    struct fleet *fleet = orders->fleet;
    int64_t end_us = now_us > 0 ? now_us - 1 : 0; /* belongs to the run */
    for (uint32_t i = 0; i < orders->count; i++) {
        const struct fleet_order *order = &orders->list[i];
        /* "Failed" is true of what the car tried, and of what lost its power in the middle. */
        bool told_done = order->end == CLOUD_REMOTE_EXECUTED + 1, told_failed = order->end == CLOUD_REMOTE_FAILED + 1;
        enum counter wrong = COUNTER_COUNT;
        if (order->end && order->watched != fleet->scenario->cloud.commands.watchers)
            astray(orders, order, end_us);
        if (order->end && !told_failed && told_done != (order->executed > 0))
            wrong = COUNTER_COMMANDS_MISREPORTED;
        else if (!order->end && order->late && online(orders->world, order->vehicle))
            wrong = COUNTER_COMMANDS_UNENDED;
        if (wrong == COUNTER_COUNT)
            continue;
        measure_count(fleet->measure, wrong, who_of(fleet, order->vehicle, PATH_ANY), end_us, 1);
        measure_command_victim(fleet->measure, wrong, order->vehicle, order->asked_us);
    }
    if (!orders->sms)
        return;
    struct cloud_sms_counts counts;
    struct measure_dimension nobody = {0, 0, PATH_ANY};
    cloud_sms_count(orders->sms, &counts);
    measure_count(fleet->measure, COUNTER_SMS_SENT, nobody, end_us, (int64_t)counts.submitted);
    measure_count(fleet->measure, COUNTER_SMS_DELIVERED, nobody, end_us, (int64_t)counts.delivered);
    measure_count(fleet->measure, COUNTER_SMS_DUPLICATED, nobody, end_us, (int64_t)counts.duplicated);
    measure_count(fleet->measure, COUNTER_SMS_LOST, nobody, end_us, (int64_t)counts.lost);
}

void fleet_presence_settle(struct fleet_orders *orders, int64_t now_us)
{
    int64_t debounce_us = orders->fleet->scenario->cloud.commands.debounce_us;
    cloud_watch_tick(orders->watch, now_us + (debounce_us ? debounce_us : 5 * US_PER_S) + 1);
}

void fleet_presence_judge(struct fleet_orders *orders, int64_t end_us, uint32_t vehicle,
                          const struct fleet_trace *trace, struct span name, bool connected)
{
    if ((cloud_watch_state(orders->watch, name) == CLOUD_PRESENCE_ONLINE) == connected)
        return;
    struct measure *measure = orders->fleet->measure;
    measure_count(measure, COUNTER_PRESENCE_WRONG, fleet_who(trace, PATH_ANY), end_us, 1);
    measure_command_victim(measure, COUNTER_PRESENCE_WRONG, vehicle, end_us);
}

bool fleet_answer_lost(const struct scenario *scenario, struct span topic, struct span name)
{
    static const char *const ends[] = {[CLOUD_PATTERN_PLAIN] = "/response",
                                       [CLOUD_PATTERN_EXECUTIONS] = "/response/json",
                                       [CLOUD_PATTERN_SHADOW] = "/shadow/update"};
    const struct scenario_cloud *cloud = &scenario->cloud;
    const char *end = ends[cloud->commands.pattern];
    char named[SCENARIO_NAME + 32];
    if (cloud->commands.pattern == CLOUD_PATTERN_SHADOW && cloud->shadow.name[0]) {
        snprintf(named, sizeof named, "/shadow/name/%s/update", cloud->shadow.name);
        end = named;
    }
    const size_t length = strlen(end);
    double share = cloud->commands.lose_answers;
    uint32_t vehicle;
    return share > 0 && topic.length >= length && memcmp(topic.data + topic.length - length, end, length) == 0 &&
           scenario_vehicle_find(scenario, name, &vehicle) && part_of(scenario, vehicle, SALT_ANSWERS, 0) < share;
}

bool fleet_execution_fails(const struct fleet *fleet, uint32_t vehicle, uint64_t which)
{
    double share = fleet->scenario->cloud.commands.execute_failures;
    return share > 0 && part_of(fleet->scenario, vehicle, SALT_ANSWERS + 1, which) < share;
}
