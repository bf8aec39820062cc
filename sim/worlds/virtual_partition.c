/* virtual_partition.c: one partition: its vehicles with their agents, its cloud instance, its event queue; set-up, what it weighs, its end. */
#include "virtual_regions.h"

#include <stdio.h>

#define PARTITION_VEHICLES  4096 /* at most: about the memory that stays in a processor's caches */
#define PARTITIONS_AT_LEAST 16   /* so that a small fleet has work for several ranks too */

uint32_t virtual_partitions_of(uint32_t fleet)
{
    uint32_t partitions = (fleet + PARTITION_VEHICLES - 1) / PARTITION_VEHICLES;
    return partitions < PARTITIONS_AT_LEAST ? PARTITIONS_AT_LEAST : partitions;
}

/* ---- the cloud instance -------------------------------------------------------------------------------------------- */

static int64_t draw_activation(void *context)
{
    struct partition *partition = context;
    return sim_table_draw(&partition->world->scenario->cloud.activation_us, &partition->cloud_random);
}

static bool everyone_certified(const struct scenario *scenario)
{
    for (uint32_t c = 0; c < scenario->cohort_count; c++)
        if (scenario->cohorts[c].identity != IDENTITY_CERTIFICATE)
            return false;
    return true;
}

void virtual_cloud_settings(struct partition *partition, uint8_t region, struct cloud_options *options)
{
    const struct scenario *scenario = partition->world->scenario;
    memset(options, 0, sizeof *options);
    cloud_broker_defaults(&options->broker);
    options->broker.keep_alive_maximum_s = scenario->cloud.keep_alive_maximum_s;
    options->broker.maximum_session_expiry_s = scenario->cloud.session_expiry_maximum_s;
    options->broker.receive_maximum = scenario->cloud.receive_maximum;
    options->broker.topic_alias_maximum = scenario->cloud.topic_alias_maximum;
    options->broker.outbound_topic_aliases = fleet_aliases_taken(scenario);
    options->registration.draw_delay = draw_activation;
    options->registration.draw_context = partition;
    options->registration.epoch_us = scenario->start_epoch_us;
    options->profile = cloud_profile_find("embedded");
    options->certificate_lifetime_s = scenario->cloud.certificate_lifetime_s;
    options->epoch_us = scenario->start_epoch_us;
    options->broker.contents_vary = scenario->cloud.real_cryptography;
    options->seed = scenario->seed + partition->number + ((uint64_t)region << 32);
    options->require_certificate = everyone_certified(scenario);
    if (scenario->cloud.regions.on && scenario->regions[region].sni_only) {
        options->registration.ca_mode = CLOUD_CA_MODE_SNI_ONLY;
        options->registration.endpoints = scenario->regions[region].endpoint;
    }
    fleet_cloud_options(scenario, options);
}

static void on_telemetry(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct partition *partition = context;
    fleet_delivery(&partition->world->fleet, now_us, message);
}

static void on_presence(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct partition *partition = context;
    measure_count(partition->world->fleet.measure, COUNTER_PRESENCE_EVENTS, (struct measure_dimension){0, 0, PATH_ANY},
                  now_us, 1);
}

/* Where regions have a cloud each, what serves all of them speaks to all of their brokers. */
static struct cloud_bus *partition_bus(struct partition *partition, const char *client_id)
{
    struct cloud_bus *bus = partition->regions ? virtual_regions_bus(partition->regions, client_id)
                                               : cloud_bus_local(partition->cloud.broker, span_text(client_id));
    if (bus && partition->bus_count < VIRTUAL_BUSES)
        partition->buses[partition->bus_count++] = bus;
    return bus;
}

static struct cloud_bus *own_bus(void *context, const char *client_id)
{
    return partition_bus(context, client_id);
}

static void filter_of(const char *template, const char *prefix, char *out, size_t capacity)
{
    const char *mark = strchr(template, '%');
    snprintf(out, capacity, "%s%.*s+%s", prefix, (int)(mark - template), template, mark + 1);
}

bool virtual_processors_start(struct partition *partition, virtual_bus_maker *make, void *context,
                              cloud_bus_handler *telemetry, void *telemetry_context)
{
    const struct fleet *fleet = &partition->world->fleet;
    char filter[160];
    filter_of(fleet->topic_telemetry, "$share/processors/", filter, sizeof filter);
    uint32_t processors = partition->world->scenario->cloud.processors;
    if (partition->world->scenario->cloud.messages.processors)
        processors = 0; /* they are clients of the broker: virtual_messages.c */
    for (uint32_t i = 0; i < (processors > 12 ? 12 : processors); i++) {
        char name[32];
        snprintf(name, sizeof name, "processor-%u", i + 1);
        struct cloud_bus *bus = make(context, name);
        if (!bus || bus->ops->subscribe(bus, 0, span_text(filter), 1, telemetry, telemetry_context) >= 0x80)
            return false;
    }
    struct cloud_bus *watch = make(context, "presence-watch");
    snprintf(filter, sizeof filter, "%s/presence/#", partition->cloud.options.profile->event_prefix);
    return watch && watch->ops->subscribe(watch, 0, span_text(filter), 0, on_presence, partition) < 0x80;
}

static bool start_services(struct partition *partition)
{
    struct fleet *fleet = &partition->world->fleet;
    if (!partition->regions && !virtual_processors_start(partition, own_bus, partition, on_telemetry, partition))
        return false;
    struct cloud_command_options options;
    fleet_command_options(fleet, &options, (uint64_t)(partition->number + 1) << 40);
    struct cloud_bus *bus = partition_bus(partition, "command-service");
    partition->commands = bus ? cloud_commands_create(&options, bus, 0) : NULL;
    return partition->commands && virtual_remote_start(partition, partition_bus) &&
           virtual_messages_start(partition, partition_bus) && virtual_network_start(partition) &&
           virtual_shadow_start(partition, partition_bus);
}

static bool attach_door(struct partition *partition)
{
    partition->cloud.peer = virtual_broker_peer;
    return true;
}

static bool start_cloud(struct partition *partition)
{
    struct cloud_options options;
    struct cloud_lifecycle_options lifecycle;
    virtual_cloud_settings(partition, 0, &options);
    if (partition->world->scenario->cloud.lifecycle.on && !virtual_identity_options(partition, &options, &lifecycle))
        return false;
    char error[160];
    sim_random_init(&partition->cloud_random, partition->world->scenario->seed, partition->number, SIM_FOR_CLOUD);
    partition->pki = partition->world->pki;
    if (!partition->pki)
        partition->pki = cloud_pki_modelled(partition->world->scenario->seed + partition->number);
    partition->registry = cloud_registry_open(NULL, error, sizeof error);
    return partition->pki && partition->registry && virtual_crypto_partition(partition) &&
           cloud_create(&partition->cloud, &options, partition->pki, partition->registry, virtual_broker_send,
                        virtual_broker_close, partition) &&
           attach_door(partition) && virtual_identity_start(partition) && virtual_regions_start(partition) &&
           start_services(partition);
}

/* ---- the vehicles -------------------------------------------------------------------------------------------------- */

/* A vehicle that left the factory with its operational certificate, known to the registry and active. */
static bool factory_identity(struct virtual_vehicle *vehicle, const char *name)
{
    struct partition *partition = vehicle->partition;
    const struct scenario *scenario = partition->world->scenario;
    int64_t now_s = scenario->start_epoch_us / US_PER_S;
    uint8_t bytes[VIRTUAL_CERTIFICATE_MAX], key[VIRTUAL_KEY_MAX];
    size_t length = sizeof bytes, key_length = sizeof key;
    struct cloud_certificate certificate;
    struct store_item **place = virtual_key_place(vehicle, TCU_STORE_OPERATIONAL_KEY);
    if (!cloud_pki_make(partition->pki, CLOUD_CA_OPERATIONAL, name, now_s - 86400,
                        fleet_certificate_lifetime_s(scenario, vehicle_index(vehicle)) +
                            (partition->identities ? 86400 : 0),
                        bytes, &length, key, &key_length) ||
        !cloud_certificate_read(span_of(bytes, length), &certificate) ||
        (place && !virtual_store_keep(vehicle, place, span_of(key, key_length))))
        return false;
    memcpy(certificate.issuer_id, cloud_pki_ca(partition->pki, CLOUD_CA_OPERATIONAL)->id, 32);
    struct cloud_registry *registry = virtual_registry_at_home(vehicle);
    if (partition->identities)
        virtual_identity_provisioned(vehicle, certificate.id);
    return virtual_store_keep(vehicle, &vehicle->certificate, span_of(bytes, length)) &&
           cloud_registry_put_thing(registry, name, now_s) &&
           cloud_registry_put_certificate(registry, &certificate, CLOUD_CERTIFICATE_ACTIVE, name, now_s);
}

static bool make_vehicle(struct partition *partition, uint32_t local)
{
    struct virtual_world *world = partition->world;
    struct virtual_vehicle *vehicle = partition_vehicle(partition, local);
    char name[SCENARIO_NAME + 16];
    vehicle->partition = partition;
    vehicle->local = local;
    vehicle->covered = true;
    vehicle->agent = vehicle->life = SIM_DEADLINE_NONE;
    link_reset(&vehicle->radio);
    uint32_t index = vehicle_index(vehicle);
    fleet_trace_init(&world->fleet, index, &vehicle->trace);
    uint32_t shown = partition->identities ? fleet_victim(world->scenario, index, world->partition_count) : index;
    size_t length = scenario_vehicle_name(world->scenario, shown, name, sizeof name);
    struct tcu *tcu = tcu_init(vehicle + 1, fleet_profile(&world->fleet, index), &virtual_port, vehicle, NULL, NULL,
                               span_of(name, length));
    ASSERT(tcu == vehicle_tcu(vehicle));
    const struct scenario_cohort *cohort = vehicle_cohort(vehicle);
    virtual_shadow_vehicle(vehicle);
    if (partition->identities && !virtual_identity_vehicle(vehicle))
        return false;
    if (partition->regions)
        virtual_region_vehicle(vehicle);
    if (partition->identities && cohort->steals != MEASURE_ANY)
        return virtual_schedule(vehicle, STEP_POWER_UP, fleet_power_up_us(&world->fleet, index), 0, NULL, 0) != NULL;
    if (cohort->identity == IDENTITY_CERTIFICATE && cohort->provisioning == PROVISIONING_DONE &&
        !factory_identity(vehicle, name))
        return false;
    return virtual_schedule(vehicle, STEP_POWER_UP, fleet_power_up_us(&world->fleet, index), 0, NULL, 0) != NULL;
}

static bool fill(struct partition *partition)
{
    struct virtual_world *world = partition->world;
    uint32_t fleet = world->scenario->fleet, number = partition->number;
    partition->count = number < fleet ? (fleet - number - 1) / world->partition_count + 1 : 0;
    partition->cloud_deadline = SIM_DEADLINE_NONE;
    struct sim_queue_options options = {.window_us = world->options->window_us, .entities = partition->count + 2};
    partition->queue = sim_queue_create(&options);
    partition->vehicles = memory_allocate_zero(partition->count, world->stride);
    if (!partition->queue || !partition->vehicles || !start_cloud(partition))
        return false;
    for (uint32_t i = 0; i < partition->count; i++)
        if (!make_vehicle(partition, i))
            return false;
    return true;
}

struct partition *virtual_partition_create(struct virtual_world *world, uint32_t number)
{
    struct memory_heap *heap = memory_heap_create();
    if (!heap)
        return NULL;
    struct memory_heap *outside = memory_enter(heap);
    struct partition *partition = memory_allocate_zero(1, sizeof *partition);
    bool made = partition != NULL;
    if (made) {
        partition->world = world;
        partition->heap = heap;
        partition->number = number;
        made = fill(partition);
    }
    memory_enter(outside);
    if (!made) {
        memory_heap_destroy(heap);
        return NULL;
    }
    return partition;
}

/* Everything of it lies in its heap: nothing is taken apart piece by piece. */
void virtual_partition_destroy(struct partition *partition)
{
    memory_heap_destroy(partition->heap);
}

/* ---- the end ------------------------------------------------------------------------------------------------------- */

static void digest_row(struct sim_digest *digest, uint32_t vehicle, const struct ledger_row *row)
{
    sim_digest_add(digest, vehicle, 0, 0x1ED6E4, (uint64_t)row->delivered << 32 | row->acknowledged);
    sim_digest_add(digest, vehicle, 0, 0x1ED6E5, (uint64_t)row->duplicated << 32 | row->dropped);
}

void virtual_partition_close(struct partition *partition)
{
    struct virtual_world *world = partition->world;
    struct world_result *result = world->result;
    if (partition->done_us <
        world->now_us) /* nothing happened in its last windows, whose ends depend on where barriers lie */
        partition->done_us = world->now_us;
    if (partition->identities)
        virtual_identity_close(partition);
    if (partition->orders.remote)
        virtual_remote_close(partition);
    if (partition->hall)
        virtual_messages_close(partition);
    virtual_shadow_close(partition);
    for (uint32_t i = 0; i < partition->count; i++) {
        struct virtual_vehicle *vehicle = partition_vehicle(partition, i);
        uint32_t index = vehicle_index(vehicle);
        fleet_finish(&world->fleet, index, &vehicle->trace, vehicle_tcu(vehicle), partition->done_us);
        sim_digest_add(&partition->digest, index, partition->done_us, 0x57A7E, tcu_state_hash(vehicle_tcu(vehicle)));
        struct ledger_row row = measure_ledger_row(world->fleet.measure, index);
        digest_row(&partition->digest, index, &row);
    }
    if (partition->regions)
        virtual_regions_close(partition->regions, result);
    sim_digest_add(&partition->digest, partition->number, partition->done_us, 0xB20CE2,
                   cloud_broker_state_hash(partition->cloud.broker));
    sim_digest_merge(&result->digest, &partition->digest);
    result->events += partition->events;
    struct cloud_broker_counts counts;
    cloud_broker_count(partition->cloud.broker, &counts);
    result->packets += counts.packets_in + counts.packets_out;
    result->wire_bytes += counts.bytes_in + counts.bytes_out;
    uint64_t things, certificates, active;
    cloud_registry_counts(partition->registry, &things, &certificates, &active);
    result->registered_things += things;
    result->active_certificates += active;
}

enum {
    WEIGHT_AGENT,
    WEIGHT_VEHICLE,
    WEIGHT_LINK,
    WEIGHT_UNDER_WAY,
    WEIGHT_STORE,
    WEIGHT_BROKER,
    WEIGHT_REGISTRY,
    WEIGHT_EVENTS,
    WEIGHT_MEASURES,
    WEIGHT_REST,
    WEIGHTS
};
static const char *const weight_names[WEIGHTS] = {"agent and session",
                                                  "vehicle in the world",
                                                  "link",
                                                  "bytes and steps under way",
                                                  "certificate store",
                                                  "broker session and subscriptions",
                                                  "registry",
                                                  "pending events",
                                                  "measures",
                                                  "services, slack of the heaps"};

void virtual_weigh(struct virtual_world *world)
{
    uint64_t weight[WEIGHTS] = {0}, heaps = 0, known = 0;
    for (uint32_t p = 0; p < world->held; p++) {
        const struct partition *partition = world->partitions[p];
        struct cloud_broker_counts counts;
        cloud_broker_count(partition->cloud.broker, &counts);
        weight[WEIGHT_AGENT] +=
            (uint64_t)partition->count * (world->stride - sizeof(struct virtual_vehicle)) + partition->extra_bytes;
        weight[WEIGHT_VEHICLE] += (uint64_t)partition->count * sizeof(struct virtual_vehicle);
        weight[WEIGHT_LINK] += partition->link_bytes;
        weight[WEIGHT_UNDER_WAY] += partition->segment_bytes + partition->step_bytes;
        weight[WEIGHT_STORE] += partition->store_bytes;
        weight[WEIGHT_BROKER] += counts.memory_bytes;
        weight[WEIGHT_REGISTRY] += cloud_registry_bytes(partition->registry);
        if (partition->regions)
            virtual_regions_weigh(partition->regions, &weight[WEIGHT_BROKER], &weight[WEIGHT_REGISTRY]);
        weight[WEIGHT_EVENTS] += sim_queue_bytes(partition->queue);
        heaps += memory_heap_bytes(partition->heap);
    }
    for (int i = 0; i < WEIGHT_MEASURES; i++)
        known += weight[i];
    weight[WEIGHT_MEASURES] = measure_bytes(world->fleet.measure);
    weight[WEIGHT_REST] = heaps > known ? heaps - known : 0;
    struct world_result *result = world->result;
    for (int i = 0; i < WEIGHTS; i++) {
        snprintf(result->memory[i].part, sizeof result->memory[i].part, "%s", weight_names[i]);
        result->memory[i].bytes = weight[i];
    }
    result->memory_parts = WEIGHTS;
}
