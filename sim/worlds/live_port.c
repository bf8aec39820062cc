/* live_port.c: the live world as the agent's platform: links, one deadline, keys and certificates, the car. */
#include "live.h"

#include "vehicle/crypto.h"

#include <stdlib.h>

#define ATTESTATION_LIFETIME_S (20LL * 365 * 86400)

static const struct scenario_cohort *cohort_of(const struct live_vehicle *vehicle)
{
    return &vehicle->world->scenario->cohorts[vehicle->trace.cohort];
}

/* ---- links and time ------------------------------------------------------------------------------------------------ */

static void port_link_open(void *context, enum tcu_identity identity)
{
    struct live_vehicle *vehicle = context;
    if (live_dead(vehicle))
        return;
    vehicle->shown = (uint8_t)identity;
    live_link_open(vehicle);
}

static void port_link_send(void *context, const uint8_t *data, size_t length)
{
    live_link_send(context, data, length);
}

static void port_link_close(void *context, bool abort)
{
    live_network_found(context, abort);
    live_link_close(context, abort);
}

static void port_deadline(void *context, int64_t at_us)
{
    struct live_vehicle *vehicle = context;
    struct live_world *world = vehicle->world;
    vehicle->planned_us = at_us > world->now_us ? at_us : world->now_us;
    if (!sim_deadline_set(world->queue, &vehicle->agent, vehicle->planned_us, live_place(vehicle), LIVE_AGENT))
        world->out_of_memory = true;
}

static uint32_t port_random(void *context)
{
    struct live_vehicle *vehicle = context;
    return (uint32_t)sim_random_at(vehicle->world->scenario->seed, vehicle->index, SIM_FOR_AGENT,
                                   vehicle->agent_draws++);
}

static int64_t port_wall_us(void *context, int64_t now_us)
{
    const struct live_vehicle *vehicle = context;
    return vehicle->world->fleet.wall_offset_us + now_us;
}

/* ---- identity ------------------------------------------------------------------------------------------------------ */

static bool store(struct live_vehicle *vehicle, enum tcu_store_item item, const uint8_t *value, size_t length)
{
    if (length == 0) {
        free(vehicle->stored[item]);
        vehicle->stored[item] = NULL;
        vehicle->stored_length[item] = 0;
        return true;
    }
    uint8_t *copy = realloc(vehicle->stored[item], length ? length : 1);
    if (!copy)
        return false;
    if (length)
        memcpy(copy, value, length);
    vehicle->stored[item] = copy;
    vehicle->stored_length[item] = (uint16_t)length;
    return true;
}

bool live_store(struct live_vehicle *vehicle, enum tcu_store_item item, struct span value)
{
    return store(vehicle, item, value.data, value.length);
}

static void port_key_generate(void *context, enum tcu_identity slot, struct span common_name)
{
    struct live_vehicle *vehicle = context;
    struct live_world *world = vehicle->world;
    vehicle->fresh_slot = (uint8_t)slot;
    if (live_dead(vehicle))
        return;
    live_line_push(world, &world->keys,
                   (struct live_ticket){.place = live_place(vehicle), .serial = ++vehicle->requests, .purpose = FOR_KEY});
}

void live_key_make(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    uint8_t key[TCU_KEY_MAX], request[TCU_REQUEST_MAX];
    size_t key_length = sizeof key, request_length = sizeof request;
    bool made = tcu_crypto_enroll(tcu_name(vehicle->tcu), key, &key_length, request, &request_length);
    enum tcu_store_item item =
        vehicle->fresh_slot == TCU_OPERATIONAL_SECOND ? TCU_STORE_SECOND_KEY : TCU_STORE_OPERATIONAL_KEY;
    live_tick(world);
    made = made && live_identity_write(vehicle) && store(vehicle, item, key, key_length);
    if (live_dead(vehicle))
        return;
    if (!made) {
        tcu_csr_ready(vehicle->tcu, world->now_us, (struct span){NULL, 0});
        return;
    }
    tcu_csr_ready(vehicle->tcu, world->now_us, span_of(request, request_length));
}

static struct live_request *make_request(struct live_vehicle *vehicle, const struct tcu_http_request *wanted)
{
    struct live_world *world = vehicle->world;
    struct live_request *request = calloc(1, sizeof *request);
    if (!request)
        return NULL;
    char name[CLOUD_DEVICE_MAX + 1] = {0};
    struct span thing = tcu_name(vehicle->tcu);
    if (!world->brokers[0].embedded || !live_device(vehicle, name, sizeof name))
        memcpy(name, thing.data, thing.length);
    request->world = world;
    request->vehicle = live_place(vehicle);
    request->serial = vehicle->requests;
    request->certificate_length = TCU_CERTIFICATE_MAX;
    request->key_length = TCU_KEY_MAX;
    size_t capacity = ((size_t)wanted->body.length + 2) / 3 * 4 + 1;
    request->certificate = malloc(TCU_CERTIFICATE_MAX);
    request->key = malloc(TCU_KEY_MAX);
    request->body = malloc(capacity);
    int64_t now_s = port_wall_us(vehicle, world->now_us) / US_PER_S;
    if (request->certificate && request->key && request->body &&
        tcu_crypto_base64(wanted->body, request->body, capacity) &&
        cloud_pki_make(world->pki, CLOUD_CA_ATTESTATION, name, now_s - 86400, ATTESTATION_LIFETIME_S,
                       request->certificate, &request->certificate_length, request->key, &request->key_length))
        return request;
    live_http_release(request);
    return NULL;
}

static void port_http_request(void *context, const struct tcu_http_request *wanted)
{
    struct live_vehicle *vehicle = context;
    struct live_world *world = vehicle->world;
    int64_t now_us = world->now_us;
    if (live_dead(vehicle))
        return;
    vehicle->requests++;
    struct live_request *request = NULL;
    if (vehicle->covered && world->outage_until_us <= now_us)
        request = make_request(vehicle, wanted);
    if (!request) {
        live_schedule(vehicle, LIVE_HTTP_FAILED, now_us + 5 * US_PER_S, vehicle->requests);
        return;
    }
    if (world->radios) {
        live_radio_request(vehicle, request);
        return;
    }
    struct live_ticket ticket = {live_place(vehicle), vehicle->requests, FOR_REQUEST, request};
    if (!live_line_push(world, &world->line, ticket))
        live_http_release(request);
}

/* As DER, whatever it came as; it must belong to the slot's key. */
static bool store_certificate(struct live_vehicle *vehicle, enum tcu_store_item item, struct span value)
{
    uint8_t der[TCU_CERTIFICATE_MAX];
    enum tcu_store_item key = item == TCU_STORE_SECOND_CERTIFICATE ? TCU_STORE_SECOND_KEY : TCU_STORE_OPERATIONAL_KEY;
    struct span held = span_of(vehicle->stored[key], vehicle->stored_length[key]);
    size_t length = tcu_crypto_certificate(value, held, der, sizeof der);
    if (!length || !store(vehicle, item, der, length))
        return false;
    if (cohort_of(vehicle)->provisioning == PROVISIONING_JUST_IN_TIME)
        live_plain_certificate(vehicle, span_of(der, length));
    return true;
}

/* Made by the cloud: it comes in PEM form. */
static bool store_key(struct live_vehicle *vehicle, enum tcu_store_item item, struct span value)
{
    uint8_t der[TCU_KEY_MAX];
    size_t length = tcu_crypto_key(value, der, sizeof der);
    return length && store(vehicle, item, der, length);
}

static bool port_store_write(void *context, enum tcu_store_item item, struct span value)
{
    struct live_vehicle *vehicle = context;
    bool certificate = item == TCU_STORE_OPERATIONAL_CERTIFICATE || item == TCU_STORE_SECOND_CERTIFICATE;
    if (!live_identity_write(vehicle))
        return false;
    bool key = item == TCU_STORE_OPERATIONAL_KEY || item == TCU_STORE_SECOND_KEY;
    if (certificate && value.length)
        return store_certificate(vehicle, item, value);
    if (key && value.length)
        return store_key(vehicle, item, value);
    if (certificate || key)
        live_identity_replaced(vehicle, item);
    if (key)
        vehicle->requests++; /* one still being made for this slot is not wanted any more */
    return store(vehicle, item, value.data, value.length);
}

static size_t port_store_read(void *context, enum tcu_store_item item, uint8_t *out, size_t capacity)
{
    const struct live_vehicle *vehicle = context;
    size_t length = vehicle->stored_length[item];
    if (length > capacity)
        return 0;
    if (length)
        memcpy(out, vehicle->stored[item], length);
    return length;
}

/* ---- the car ------------------------------------------------------------------------------------------------------- */

static size_t port_telemetry_body(void *context, uint32_t number, int64_t intended_us, uint8_t *out, size_t capacity)
{
    const struct live_vehicle *vehicle = context;
    return fleet_telemetry_body(&vehicle->world->fleet, vehicle->index, number, out, capacity);
}

static int64_t port_sleep_us(void *context, int64_t wanted_us)
{
    const struct live_vehicle *vehicle = context;
    return fleet_sleep_us(&vehicle->world->fleet, vehicle->index, &vehicle->trace, wanted_us);
}

static size_t port_device(void *context, char *out, size_t capacity)
{
    return live_device(context, out, capacity);
}

static void port_execute(void *context, uint32_t slot, struct span command)
{
    struct live_vehicle *vehicle = context;
    live_schedule(vehicle, LIVE_EXECUTED, vehicle->world->now_us + cohort_of(vehicle)->execute_us, slot);
}

static void port_probe(void *context, int64_t now_us, const struct tcu_probe *probe)
{
    struct live_vehicle *vehicle = context;
    struct live_world *world = vehicle->world;
    if (world->closing || live_dead(vehicle))
        return; /* the books are closed; or its last words reach nobody */
    world->hooked = vehicle;
    fleet_probe(&world->fleet, vehicle->index, &vehicle->trace, now_us, probe);
    if (world->parkings)
        fleet_parking_probe(&world->fleet, &vehicle->trace, live_parking(vehicle), now_us, probe);
    if (world->shadows)
        fleet_shadow_probe(&world->shadows[live_place(vehicle)], now_us, probe);
    if (world->regions)
        live_regions_probe(vehicle, probe);
    world->hooked = NULL;
}

static bool port_inbound(void *context, const struct mq5_packet *packet)
{
    struct live_vehicle *vehicle = context;
    double loss = cohort_of(vehicle)->acknowledgement_loss;
    vehicle->world->packets++;
    if (packet->type == MQ5_DISCONNECT && packet->disconnect.reason == MQ5_KEEP_ALIVE_TIMEOUT)
        live_network_silent(vehicle);
    if (packet->type != MQ5_PUBACK || loss <= 0)
        return true;
    uint64_t word =
        sim_random_at(vehicle->world->scenario->seed, vehicle->index, SIM_FOR_FAULTS | 0x100, vehicle->faults++);
    return (double)(word >> 11) * 0x1p-53 >= loss;
}

static void *port_memory_take(void *context, size_t size)
{
    return malloc(size);
}

static void port_memory_give(void *context, void *block, size_t size)
{
    free(block);
}

const struct tcu_port live_port = {
    .link_open = port_link_open,
    .link_send = port_link_send,
    .link_close = port_link_close,
    .deadline = port_deadline,
    .random = port_random,
    .wall_us = port_wall_us,
    .key_generate = port_key_generate,
    .http_request = port_http_request,
    .store_write = port_store_write,
    .store_read = port_store_read,
    .device = port_device,
    .telemetry_body = port_telemetry_body,
    .execute = port_execute,
    .unseal = live_unseal,
    .sleep_us = port_sleep_us,
    .shadow_set = live_shadow_set,
    .shadow_state = live_shadow_state,
    .probe = port_probe,
    .inbound = port_inbound,
    .memory_take = port_memory_take,
    .memory_give = port_memory_give,
};
