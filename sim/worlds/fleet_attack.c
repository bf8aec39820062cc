/* fleet_attack.c: see fleet_attack.h. Attacks come as Poisson processes over all vehicles of a desk, so that they cost nothing a vehicle; what the attacker
 * has seen pass lies in a ring. He sits between the desk and the broker. */
#include "fleet_attack.h"

#include <math.h>
#include <stdio.h>

#define SEEN         256 /* sealed commands remembered to be sent again */
#define FIRST        16
#define COMMAND      "unlock"
#define FORGED_IDS   (UINT64_C(0xF0) << 56)
#define LASTS_US     US_PER_MIN /* of what he publishes */
#define SALT_SKIPS   0x5730
#define EXPIRES_AT   12 /* in a sealed command */
#define SEQUENCE_AT  4
#define RELEASE_US   US_PER_S /* after the end of a command's time */
#define SEALED_FIRST "CV\x01"

enum attack_kind { ATTACK_FORGED, ATTACK_REPLAYED, ATTACK_LATE, ATTACK_KINDS };

struct sealed { /* as it passed */
    uint64_t id;
    int64_t expires_us;
    uint32_t vehicle;
    uint8_t length;
    uint8_t bytes[CLOUD_SEALED_MAX];
};

struct held { /* to be late; length 0: the next command to this vehicle */
    struct held *next;
    struct sealed sealed;
};

struct attack { /* under way */
    uint64_t id;
    int64_t expires_us;
    uint32_t vehicle;
    uint8_t kind;
    bool done; /* replayed: the vehicle had executed it before */
};

struct fleet_attacks {
    struct cloud_bus tap; /* what the desk takes for its bus; first */
    struct cloud_bus *bus;
    struct fleet_orders *orders;
    struct sim_random chance;
    uint32_t vehicles;
    uint32_t (*vehicle_at)(const struct fleet_orders *orders, uint32_t nth);
    int64_t next_us[ATTACK_KINDS], release_us;
    uint64_t last_id;
    struct sealed seen[SEEN];
    uint32_t seen_count; /* ever */
    struct held *held;
    struct attack *open;
    uint32_t count, capacity;
};

/* ---- when ------------------------------------------------------------------------------------------------------------------------ */

bool fleet_has_attacks(const struct scenario *scenario)
{
    const struct scenario_commands *commands = &scenario->cloud.commands;
    return commands->forged_per_day + commands->replayed_per_day + commands->late_per_day > 0;
}

static double per_day(const struct fleet_attacks *attacks, enum attack_kind kind)
{
    const struct scenario_commands *commands = &attacks->orders->fleet->scenario->cloud.commands;
    const double rates[ATTACK_KINDS] = {commands->forged_per_day, commands->replayed_per_day, commands->late_per_day};
    return rates[kind] * attacks->vehicles;
}

static void plan_next(struct fleet_attacks *attacks, enum attack_kind kind, int64_t now_us)
{
    double rate = per_day(attacks, kind);
    attacks->next_us[kind] = TIME_NEVER;
    if (rate <= 0)
        return;
    double share = ((double)(sim_random_u64(&attacks->chance) >> 11) + 1) * 0x1p-53;
    double wait_us = -log(share) * (double)US_PER_DAY / rate / attacks->orders->fleet->speedup;
    attacks->next_us[kind] = now_us + 1 + (int64_t)wait_us;
}

int64_t fleet_attacks_next(const struct fleet_attacks *attacks)
{
    int64_t next_us = attacks->release_us;
    for (int kind = 0; kind < ATTACK_KINDS; kind++)
        next_us = attacks->next_us[kind] < next_us ? attacks->next_us[kind] : next_us;
    return next_us;
}

/* ---- what passes ------------------------------------------------------------------------------------------------------------------ */

static uint64_t number_at(const uint8_t *bytes, unsigned length)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < length; i++)
        value = value << 8 | bytes[i];
    return value;
}

static uint64_t id_of(const struct mq5_publish *message)
{
    const struct mq5_properties *properties = &message->properties;
    bool there = properties->present & MQ5_BIT(MQ5_CORRELATION_DATA) && properties->correlation_data.length == 8;
    return there ? number_at(properties->correlation_data.data, 8) : 0;
}

/* "cmd/car-000001/request" */
static bool vehicle_of(const struct fleet *fleet, struct span topic, uint32_t *vehicle)
{
    const char *mark = strchr(fleet->topic_request, '%');
    uint32_t before = (uint32_t)(mark - fleet->topic_request), behind = (uint32_t)strlen(mark + 1);
    return topic.length > before + behind &&
           scenario_vehicle_find(fleet->scenario, span_of(topic.data + before, topic.length - before - behind),
                                 vehicle);
}

/* What was asked for, and is held back, or from now on will be. */
static struct held *held_back(const struct fleet_attacks *attacks, uint32_t vehicle, uint64_t id)
{
    struct held *waiting = NULL;
    for (struct held *held = attacks->held; held; held = held->next) {
        if (held->sealed.vehicle != vehicle)
            continue;
        if (held->sealed.length && held->sealed.id == id)
            return held;
        if (!held->sealed.length)
            waiting = held;
    }
    return waiting;
}

static void see(struct fleet_attacks *attacks, uint32_t vehicle, uint64_t id, int64_t expires_us, struct span payload)
{
    struct sealed *sealed = &attacks->seen[attacks->seen_count++ % SEEN];
    *sealed =
        (struct sealed){.id = id, .vehicle = vehicle, .expires_us = expires_us, .length = (uint8_t)payload.length};
    memcpy(sealed->bytes, payload.data, payload.length);
}

/* true: it goes no further. */
static bool passes_by(struct fleet_attacks *attacks, int64_t now_us, const struct mq5_publish *message)
{
    const struct fleet *fleet = attacks->orders->fleet;
    struct span payload = message->payload;
    uint64_t id = id_of(message);
    uint32_t vehicle;
    if (!id || payload.length < CLOUD_SEALED_OVERHEAD || payload.length > CLOUD_SEALED_MAX ||
        memcmp(payload.data, SEALED_FIRST, 3) != 0 || !vehicle_of(fleet, message->topic, &vehicle))
        return false;
    int64_t expires_us = (int64_t)number_at(payload.data + EXPIRES_AT, 4) * US_PER_S - fleet->wall_offset_us;
    if (expires_us <= now_us)
        return false; /* the desk asks what became of it */
    see(attacks, vehicle, id, expires_us, payload);
    struct held *held = held_back(attacks, vehicle, id);
    if (!held)
        return false;
    held->sealed = attacks->seen[(attacks->seen_count - 1) % SEEN];
    int64_t at_us = expires_us + RELEASE_US;
    attacks->release_us = at_us < attacks->release_us ? at_us : attacks->release_us;
    return true;
}

static uint8_t tap_publish(struct cloud_bus *tap, int64_t now_us, const struct mq5_publish *message)
{
    struct fleet_attacks *attacks = (struct fleet_attacks *)tap;
    return passes_by(attacks, now_us, message) ? MQ5_SUCCESS
                                               : attacks->bus->ops->publish(attacks->bus, now_us, message);
}

static uint8_t tap_subscribe(struct cloud_bus *tap, int64_t now_us, struct span filter, uint8_t qos,
                             cloud_bus_handler *handler, void *context)
{
    struct fleet_attacks *attacks = (struct fleet_attacks *)tap;
    return attacks->bus->ops->subscribe(attacks->bus, now_us, filter, qos, handler, context);
}

static void tap_close(struct cloud_bus *tap)
{
    struct fleet_attacks *attacks = (struct fleet_attacks *)tap;
    attacks->bus->ops->close(attacks->bus);
}

/* ---- attacks ---------------------------------------------------------------------------------------------------------------------- */

static struct span thing_topic(const char *template, const char *thing, char *out, size_t capacity)
{
    const char *mark = strchr(template, '%');
    int length = snprintf(out, capacity, "%.*s%s%s", (int)(mark - template), template, thing, mark + 1);
    return length > 0 && (size_t)length < capacity ? span_of(out, (size_t)length) : (struct span){NULL, 0};
}

static struct attack *remember(struct fleet_attacks *attacks)
{
    if (attacks->count == attacks->capacity) {
        uint32_t capacity = attacks->capacity ? attacks->capacity * 2 : FIRST;
        struct attack *open = memory_resize(attacks->open, capacity * sizeof *open);
        if (!open)
            return NULL;
        attacks->open = open;
        attacks->capacity = capacity;
    }
    return &attacks->open[attacks->count++];
}

static void publish(struct fleet_attacks *attacks, int64_t now_us, enum attack_kind kind, const struct sealed *sealed)
{
    struct fleet *fleet = attacks->orders->fleet;
    struct attack *attack = remember(attacks);
    char thing[SCENARIO_NAME + 16], topic[160], response[160];
    uint8_t correlation[8];
    if (!attack)
        return;
    const struct fleet_order *order = fleet_order_find(attacks->orders, sealed->id);
    *attack = (struct attack){.id = sealed->id,
                              .expires_us = sealed->expires_us,
                              .vehicle = sealed->vehicle,
                              .kind = (uint8_t)kind,
                              .done = order && order->executed};
    scenario_vehicle_name(fleet->scenario, sealed->vehicle, thing, sizeof thing);
    struct mq5_publish message = {.qos = 1, .payload = span_of(sealed->bytes, sealed->length)};
    message.topic = thing_topic(fleet->topic_request, thing, topic, sizeof topic);
    for (int i = 0; i < 8; i++)
        correlation[i] = (uint8_t)(sealed->id >> (56 - 8 * i));
    struct mq5_properties *properties = &message.properties;
    properties->present =
        MQ5_BIT(MQ5_RESPONSE_TOPIC) | MQ5_BIT(MQ5_CORRELATION_DATA) | MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL);
    properties->response_topic = thing_topic(fleet->topic_response, thing, response, sizeof response);
    properties->correlation_data = span_of(correlation, sizeof correlation);
    properties->message_expiry_s = LASTS_US / US_PER_S;
    uint8_t reason = attacks->bus->ops->publish(attacks->bus, now_us, &message);
    if (reason >= 0x80 || reason == MQ5_NO_MATCHING_SUBSCRIBERS)
        attacks->count--; /* nobody will see it; nothing was put behind it meanwhile */
}

static const struct sealed *any_seen(struct fleet_attacks *attacks)
{
    uint32_t count = attacks->seen_count < SEEN ? attacks->seen_count : SEEN;
    return count ? &attacks->seen[sim_random_below(&attacks->chance, count)] : NULL;
}

/* Behind the last one that he has seen: a lower number would be refused unlooked at, a much higher one would lock the owner out. */
static uint64_t next_sequence(const struct fleet_attacks *attacks, uint32_t vehicle)
{
    uint64_t highest = 0;
    for (uint32_t i = 0; i < SEEN && i < attacks->seen_count; i++) {
        uint64_t sequence = number_at(attacks->seen[i].bytes + SEQUENCE_AT, 8);
        if (attacks->seen[i].vehicle == vehicle && sequence > highest)
            highest = sequence;
    }
    return highest + 1;
}

static void seal(struct fleet_attacks *attacks, struct sealed *own)
{
    struct fleet *fleet = attacks->orders->fleet;
    struct cloud_keys *forger = attacks->orders->forger;
    uint32_t expires_s = (uint32_t)((fleet->wall_offset_us + own->expires_us) / US_PER_S);
    uint8_t key[CLOUD_VEHICLE_KEY];
    char thing[SCENARIO_NAME + 16];
    struct span name = span_of(thing, scenario_vehicle_name(fleet->scenario, own->vehicle, thing, sizeof thing));
    if (forger) {
        cloud_keys_reach(forger, name, next_sequence(attacks, own->vehicle));
        own->length = (uint8_t)cloud_keys_seal(forger, name, own->id, SPAN_LITERAL(COMMAND), expires_s, own->bytes,
                                               sizeof own->bytes);
        return;
    }
    cloud_keys_vehicle(attacks->orders->keys, name, key);
    own->length = (uint8_t)cloud_keys_modelled_forge(key, next_sequence(attacks, own->vehicle), own->id,
                                                     SPAN_LITERAL(COMMAND), expires_s, own->bytes, sizeof own->bytes);
}

/* To a vehicle that he has seen commands for. */
static void forge(struct fleet_attacks *attacks, int64_t now_us)
{
    const struct sealed *seen = any_seen(attacks);
    if (!seen)
        return;
    struct sealed own = {.id = ++attacks->last_id, .vehicle = seen->vehicle, .expires_us = now_us + LASTS_US};
    seal(attacks, &own);
    if (own.length)
        publish(attacks, now_us, ATTACK_FORGED, &own);
}

static void replay(struct fleet_attacks *attacks, int64_t now_us)
{
    const struct sealed *seen = any_seen(attacks);
    if (seen)
        publish(attacks, now_us, ATTACK_REPLAYED, seen);
}

static void lie_in_wait(struct fleet_attacks *attacks)
{
    struct held *held = memory_allocate_zero(1, sizeof *held);
    if (!held)
        return;
    uint32_t nth = (uint32_t)sim_random_below(&attacks->chance, attacks->vehicles);
    held->sealed.vehicle = attacks->vehicle_at(attacks->orders, nth);
    held->next = attacks->held;
    attacks->held = held;
}

static void release(struct fleet_attacks *attacks, int64_t now_us)
{
    struct held **place = &attacks->held;
    attacks->release_us = TIME_NEVER;
    while (*place) {
        struct held *held = *place;
        int64_t at_us = held->sealed.expires_us + RELEASE_US;
        if (!held->sealed.length || at_us > now_us) {
            if (held->sealed.length && at_us < attacks->release_us)
                attacks->release_us = at_us;
            place = &held->next;
            continue;
        }
        *place = held->next;
        publish(attacks, now_us, ATTACK_LATE, &held->sealed);
        memory_free(held);
    }
}

void fleet_attacks_tick(struct fleet_attacks *attacks, int64_t now_us)
{
    if (attacks->release_us <= now_us)
        release(attacks, now_us);
    for (enum attack_kind kind = ATTACK_FORGED; kind < ATTACK_KINDS; kind++) {
        if (attacks->next_us[kind] > now_us)
            continue;
        plan_next(attacks, kind, now_us);
        switch (kind) {
        case ATTACK_FORGED: forge(attacks, now_us); break;
        case ATTACK_REPLAYED: replay(attacks, now_us); break;
        case ATTACK_LATE: lie_in_wait(attacks); break;
        case ATTACK_KINDS: break;
        }
    }
}

/* ---- what came of them -------------------------------------------------------------------------------------------------------------- */

static struct attack *find(const struct fleet_attacks *attacks, uint32_t vehicle, uint64_t id)
{
    for (uint32_t i = 0; id && i < attacks->count; i++)
        if (attacks->open[i].id == id && attacks->open[i].vehicle == vehicle)
            return &attacks->open[i];
    return NULL;
}

/* A replayed command that the car had not done before, and that is in time, is what its user asked for. */
static bool taken_in(const struct attack *attack, int64_t now_us)
{
    return attack->kind != ATTACK_REPLAYED || attack->done || now_us >= attack->expires_us + US_PER_S;
}

void fleet_attacks_probe(struct fleet *fleet, struct fleet_orders *orders, uint32_t vehicle,
                         const struct fleet_trace *trace, int64_t now_us, const struct tcu_probe *probe)
{
    struct fleet_attacks *attacks = orders ? orders->attacks : NULL;
    struct measure_dimension who = fleet_who(trace, PATH_ANY);
    bool refused = probe->kind == TCU_PROBE_COMMAND_REFUSED;
    uint64_t id = probe->id.length == 8 ? number_at(probe->id.data, 8) : 0;
    struct attack *attack = attacks ? find(attacks, vehicle, id) : NULL;
    if (!attack) { /* the desk asks about what is over with the sealed command itself: late, and no attack */
        if (refused && probe->reason != TCU_REFUSED_LATE)
            measure_count(fleet->measure, COUNTER_COMMANDS_FORGED, who, now_us, 1);
        return;
    }
    if (probe->kind == TCU_PROBE_COMMAND_RECEIVED)
        return; /* what it does with it comes next */
    if (probe->kind != TCU_PROBE_COMMAND_EXECUTED) {
        measure_count(fleet->measure, COUNTER_COMMANDS_FORGED, who, now_us, 1);
    } else if (taken_in(attack, now_us)) {
        measure_count(fleet->measure, COUNTER_COMMANDS_FORGED_TAKEN, who, now_us, 1);
        measure_command_victim(fleet->measure, COUNTER_COMMANDS_FORGED_TAKEN, vehicle, now_us);
    }
    *attack = attacks->open[--attacks->count];
}

bool fleet_skips_verification(const struct fleet *fleet, uint32_t vehicle)
{
    double share = fleet->scenario->cloud.commands.skip_verification;
    uint64_t word = share > 0 ? sim_random_at(fleet->scenario->seed, vehicle, SIM_FOR_FAULTS | SALT_SKIPS << 8, 0) : 0;
    return share > 0 && (double)(word >> 11) * 0x1p-53 < share;
}

/* ---- life ------------------------------------------------------------------------------------------------------------------------- */

struct cloud_bus *fleet_attacks_open(struct fleet_orders *orders, struct fleet *fleet, struct cloud_bus *bus,
                                     uint32_t number, int64_t now_us, uint32_t vehicles,
                                     uint32_t (*vehicle_at)(const struct fleet_orders *orders, uint32_t nth))
{
    static const struct cloud_bus_ops ops = {.subscribe = tap_subscribe, .publish = tap_publish, .close = tap_close};
    struct fleet_attacks *attacks = bus ? memory_allocate_zero(1, sizeof *attacks) : NULL;
    if (!attacks)
        return NULL;
    orders->attacks = attacks;
    orders->fleet = fleet;
    attacks->tap.ops = &ops;
    attacks->bus = bus;
    attacks->orders = orders;
    attacks->vehicles = vehicles;
    attacks->vehicle_at = vehicle_at;
    attacks->release_us = TIME_NEVER;
    attacks->last_id = FORGED_IDS | (uint64_t)number << 32;
    sim_random_init(&attacks->chance, fleet->scenario->seed, number, SIM_FOR_ATTACKS);
    for (enum attack_kind kind = ATTACK_FORGED; kind < ATTACK_KINDS; kind++)
        plan_next(attacks, kind, now_us);
    return &attacks->tap;
}

void fleet_attacks_close(struct fleet_attacks *attacks)
{
    for (struct held *held = attacks->held, *next; held; held = next) {
        next = held->next;
        memory_free(held);
    }
    memory_free(attacks->open);
    memory_free(attacks);
}
