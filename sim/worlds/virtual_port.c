/* virtual_port.c: the virtual world as the agent's platform and as the broker's door: links, bytes under way, keys, certificates, the car.
 *
 * Link loss: when coverage goes, bytes under way are gone and only the vehicle notices; the broker keeps its half until its keep alive
 * runs out or the vehicle's next connection takes over. A close by either end travels behind the bytes sent before it.
 * TLS and TCP set-up are round trips, bytes and computing time; the MQTT bytes are real.
 */
#include "virtual.h"

#include "memory.h"

#include <stdlib.h>

#define NO_SERVICE_US        (5 * US_PER_S) /* modem gives up an attempt without coverage */
#define HANDSHAKE_COMPUTE_US 20000          /* a TCU's and a broker's processor for one mutual TLS 1.3 handshake */
#define KEY_COMPUTE_US       60000          /* key pair and CSR on a TCU */
#define HTTP_HEAD_BYTES      260            /* request and response lines and header fields */

static struct partition *partition_of(const struct virtual_vehicle *vehicle)
{
    return vehicle->partition;
}

static const struct scenario_cohort *cohort_of(const struct virtual_vehicle *vehicle)
{
    return &partition_of(vehicle)->world->scenario->cohorts[vehicle->trace.cohort];
}

static int64_t region_latency(const struct virtual_vehicle *vehicle)
{
    return partition_of(vehicle)->world->scenario->regions[vehicle->trace.region].latency_us;
}

static void push(struct virtual_vehicle *vehicle, int64_t at_us, enum virtual_class class)
{
    if (!sim_queue_push(partition_of(vehicle)->queue, at_us, vehicle->local, (uint8_t) class))
        partition_of(vehicle)->world->out_of_memory = true;
}

/* A stream per vehicle and purpose that costs four bytes between uses. */
static struct sim_random stream(const struct virtual_vehicle *vehicle, uint32_t purpose, uint32_t draws)
{
    struct sim_random random;
    sim_random_init(&random, partition_of(vehicle)->world->scenario->seed, vehicle->index, purpose);
    random.counter = draws;
    return random;
}

/* ---- segments ------------------------------------------------------------------------------------------------------ */

static const uint32_t class_bytes[SEGMENT_CLASSES] = {16, 64, 256, 640, 1536, 0};

static uint16_t size_class(size_t length)
{
    uint16_t class = 0;
    while (class < SEGMENT_CLASSES - 1 && class_bytes[class] < length)
        class ++;
    return class;
}

static struct segment *segment_take(struct partition *partition, size_t length)
{
    uint16_t class = size_class(length);
    struct segment *segment = partition->free_segments[class];
    if (segment && class < SEGMENT_CLASSES - 1) {
        partition->free_segments[class] = segment->next;
        return segment;
    }
    size_t bytes = sizeof *segment + (class < SEGMENT_CLASSES - 1 ? class_bytes[class] : length);
    segment = malloc(bytes);
    if (!segment) {
        partition->world->out_of_memory = true;
        return NULL;
    }
    partition->segment_bytes += class < SEGMENT_CLASSES - 1 ? bytes : 0;
    segment->size_class = class;
    return segment;
}

static void segment_give(struct partition *partition, struct segment *segment)
{
    if (segment->size_class == SEGMENT_CLASSES - 1) {
        free(segment);
        return;
    }
    segment->next = partition->free_segments[segment->size_class];
    partition->free_segments[segment->size_class] = segment;
}

static void drop_segments(struct partition *partition, struct virtual_link *link, enum link_direction direction)
{
    while (link->head[direction]) {
        struct segment *segment = link->head[direction];
        link->head[direction] = segment->next;
        segment_give(partition, segment);
    }
    link->tail[direction] = NULL;
}

static void transmit(struct virtual_link *link, enum link_direction direction, const uint8_t *data, size_t length,
                     bool end)
{
    struct virtual_vehicle *vehicle = link->vehicle;
    struct partition *partition = partition_of(vehicle);
    struct segment *segment = segment_take(partition, length);
    if (!segment)
        return;
    const struct link_profile *profile = &cohort_of(vehicle)->radio;
    struct sim_random random = stream(vehicle, SIM_FOR_LINK, vehicle->radio_draws++);
    int64_t arrival_us = link_transfer(profile, &vehicle->radio, &random, direction, partition->now_us,
                                       (uint32_t)length + profile->overhead_bytes);
    segment->next = NULL;
    segment->arrival_us = arrival_us + region_latency(vehicle);
    segment->length = (uint32_t)length;
    segment->end = end;
    if (length)
        memcpy(segment->data, data, length);
    if (link->tail[direction])
        link->tail[direction]->next = segment;
    else
        link->head[direction] = segment;
    link->tail[direction] = segment;
    push(vehicle, segment->arrival_us, direction == LINK_UP ? EVENT_UP : EVENT_DOWN);
}

/* ---- links --------------------------------------------------------------------------------------------------------- */

static struct virtual_link *link_take(struct virtual_vehicle *vehicle)
{
    struct partition *partition = partition_of(vehicle);
    struct virtual_link *link = partition->free_links;
    if (link) {
        partition->free_links = link->next;
    } else {
        link = malloc(sizeof *link);
        if (!link) {
            partition->world->out_of_memory = true;
            return NULL;
        }
        partition->link_bytes += sizeof *link;
    }
    memset(link, 0, sizeof *link);
    link->vehicle = vehicle;
    return link;
}

/* Links no end holds any more go back to the free list; the current link is moved to the older ones when the vehicle let go of it. */
static void sweep_links(struct virtual_vehicle *vehicle)
{
    struct partition *partition = partition_of(vehicle);
    if (vehicle->link && !vehicle->link->vehicle_open) {
        vehicle->link->next = vehicle->older;
        vehicle->older = vehicle->link;
        vehicle->link = NULL;
    }
    struct virtual_link **place = &vehicle->older;
    while (*place) {
        struct virtual_link *link = *place;
        if (link->broker_open || link->head[LINK_UP] || link->head[LINK_DOWN]) {
            place = &link->next;
            continue;
        }
        *place = link->next;
        link->next = partition->free_links;
        partition->free_links = link;
    }
}

static void vehicle_lets_go(struct virtual_vehicle *vehicle)
{
    struct virtual_link *link = vehicle->link;
    link->vehicle_open = false;
    drop_segments(partition_of(vehicle), link, LINK_DOWN);
    sweep_links(vehicle);
}

void virtual_link_lost(struct virtual_vehicle *vehicle, int64_t now_us, enum tcu_link_end why)
{
    vehicle->attempts++; /* an attempt under way comes to nothing */
    if (vehicle->link) {
        drop_segments(partition_of(vehicle), vehicle->link, LINK_UP);
        vehicle_lets_go(vehicle);
    }
    link_reset(&vehicle->radio);
    enum tcu_connection state = tcu_connection(vehicle->tcu);
    if (state == TCU_ONLINE || state == TCU_CONNECTING)
        tcu_link_down(vehicle->tcu, now_us, why);
}

static uint8_t tls_kind(const struct scenario_cohort *cohort)
{
    return cohort->identity == IDENTITY_CERTIFICATE ? 2 : cohort->identity == IDENTITY_PASSWORD ? 1 : 0;
}

static bool certificate_peer(const struct virtual_vehicle *vehicle, struct cloud_peer *peer)
{
    struct cloud_certificate certificate;
    struct span bytes = span_of(vehicle->stored[TCU_STORE_OPERATIONAL_CERTIFICATE],
                                vehicle->stored_length[TCU_STORE_OPERATIONAL_CERTIFICATE]);
    if (!bytes.length || !cloud_certificate_read(bytes, &certificate))
        return false;
    cloud_peer_from_certificate(peer, &certificate, bytes);
    return true;
}

static void schedule_link(struct virtual_vehicle *vehicle, const struct link_setup *setup, int64_t end_us)
{
    struct step *step = virtual_schedule(vehicle, STEP_LINK_UP, end_us, vehicle->attempts, NULL, 0);
    if (!step)
        return;
    step->phase_us[0] = setup->resolve_us;
    step->phase_us[1] = setup->tcp_us;
    step->phase_us[2] = setup->tls_us;
    step->tls = setup->tls;
}

static void port_link_open(void *context, enum tcu_identity identity)
{
    struct virtual_vehicle *vehicle = context;
    struct partition *partition = partition_of(vehicle);
    int64_t now_us = partition->now_us;
    vehicle->attempts++;
    if (!vehicle->covered) {
        virtual_schedule(vehicle, STEP_LINK_FAILED, now_us + NO_SERVICE_US, vehicle->attempts, NULL, 0);
        return;
    }
    struct link_setup setup = {.tls = tls_kind(cohort_of(vehicle))};
    struct sim_random random = stream(vehicle, SIM_FOR_LINK | 0x400, vehicle->radio_draws++);
    link_setup_draw(&cohort_of(vehicle)->radio, &random, HANDSHAKE_COMPUTE_US, &setup);
    int64_t round_trip_us = 2 * region_latency(vehicle);
    setup.tcp_us += round_trip_us;
    setup.tls_us += setup.tls ? round_trip_us : 0;
    int64_t up_us = now_us + setup.resolve_us + setup.tcp_us + setup.tls_us;
    if (partition->outage_until_us > now_us + setup.resolve_us) {
        virtual_schedule(vehicle, STEP_LINK_FAILED, now_us + setup.resolve_us + setup.tcp_us, vehicle->attempts, NULL,
                         0);
        return;
    }
    vehicle->trace.bytes_up += setup.bytes_up;
    vehicle->trace.bytes_down += setup.bytes_down;
    schedule_link(vehicle, &setup, up_us);
}

static void link_is_up(struct virtual_vehicle *vehicle, int64_t now_us, const struct step *step)
{
    struct partition *partition = partition_of(vehicle);
    struct virtual_link *link = link_take(vehicle);
    if (!link)
        return;
    link->peer.tls = step->tls > 0;
    if (step->tls == 2 && !certificate_peer(vehicle, &link->peer)) {
        link->next = partition->free_links;
        partition->free_links = link;
        tcu_link_down(vehicle->tcu, now_us, TCU_LINK_TLS_FAILED);
        return;
    }
    link->vehicle_open = true;
    link->broker_open = true;
    vehicle->link = link;
    link_reset(&vehicle->radio);
    vehicle->radio.last_active_us = now_us;
    link->connection = cloud_broker_opened(partition->cloud.broker, now_us, link, &link->peer);
    if (!link->connection) { /* full: the listener closes at once */
        link->broker_open = false;
        vehicle_lets_go(vehicle);
        tcu_link_down(vehicle->tcu, now_us, TCU_LINK_PEER_CLOSED);
        return;
    }
    struct fleet *fleet = &partition->world->fleet;
    struct measure_dimension who = fleet_who(&vehicle->trace, PATH_ANY);
    int64_t began_us = vehicle->trace.attempt_us >= 0 ? vehicle->trace.attempt_us : now_us;
    measure_sample(fleet->measure, METRIC_CONNECT_RESOLVE, who, vehicle->index, began_us, step->phase_us[0]);
    measure_sample(fleet->measure, METRIC_CONNECT_TCP, who, vehicle->index, began_us, step->phase_us[1]);
    if (step->tls)
        measure_sample(fleet->measure, METRIC_CONNECT_TLS, who, vehicle->index, began_us, step->phase_us[2]);
    vehicle->trace.link_up_us = now_us;
    tcu_link_up(vehicle->tcu, now_us);
    virtual_cloud_touched(partition);
}

static void port_link_send(void *context, const uint8_t *data, size_t length)
{
    struct virtual_vehicle *vehicle = context;
    struct partition *partition = partition_of(vehicle);
    if (!vehicle->link)
        return;
    fleet_bytes(&partition->world->fleet, &vehicle->trace, partition->now_us, LINK_UP, data, length);
    transmit(vehicle->link, LINK_UP, data, length, false);
}

static void port_link_close(void *context, bool abort)
{
    struct virtual_vehicle *vehicle = context;
    vehicle->attempts++;
    if (!vehicle->link)
        return;
    if (vehicle->link->broker_open)
        transmit(vehicle->link, LINK_UP, NULL, 0, true);
    vehicle_lets_go(vehicle);
}

/* ---- the broker's door --------------------------------------------------------------------------------------------- */

void virtual_broker_send(void *door, void *handle, const uint8_t *data, size_t length)
{
    struct virtual_link *link = handle;
    if (link->vehicle_open)
        transmit(link, LINK_DOWN, data, length, false);
}

void virtual_broker_close(void *door, void *handle, enum cloud_close_reason reason)
{
    struct virtual_link *link = handle;
    link->broker_open = false;
    link->connection = NULL;
    drop_segments(partition_of(link->vehicle), link, LINK_UP);
    if (link->vehicle_open)
        transmit(link, LINK_DOWN, NULL, 0, true);
}

static void arrived_at_broker(struct virtual_link *link, int64_t now_us, const struct segment *segment)
{
    struct partition *partition = partition_of(link->vehicle);
    if (!link->broker_open)
        return;
    if (!segment->end) {
        cloud_broker_input(partition->cloud.broker, link->connection, now_us, segment->data, segment->length);
        return;
    }
    link->broker_open = false;
    struct cloud_connection *connection = link->connection;
    link->connection = NULL;
    cloud_broker_closed(partition->cloud.broker, connection, now_us);
}

static void arrived_at_vehicle(struct virtual_link *link, int64_t now_us, const struct segment *segment)
{
    struct virtual_vehicle *vehicle = link->vehicle;
    if (!link->vehicle_open || vehicle->link != link)
        return;
    if (segment->end) {
        vehicle_lets_go(vehicle);
        tcu_link_down(vehicle->tcu, now_us, TCU_LINK_PEER_CLOSED);
        return;
    }
    fleet_bytes(&partition_of(vehicle)->world->fleet, &vehicle->trace, now_us, LINK_DOWN, segment->data,
                segment->length);
    tcu_bytes(vehicle->tcu, now_us, segment->data, segment->length);
}

static void link_arrivals(struct virtual_link *link, int64_t now_us, enum link_direction direction)
{
    struct partition *partition = partition_of(link->vehicle);
    while (link->head[direction] && link->head[direction]->arrival_us <= now_us) {
        struct segment *segment = link->head[direction];
        link->head[direction] = segment->next;
        if (!segment->next)
            link->tail[direction] = NULL;
        if (direction == LINK_UP)
            arrived_at_broker(link, now_us, segment);
        else
            arrived_at_vehicle(link, now_us, segment);
        segment_give(partition, segment);
    }
}

void virtual_arrivals(struct virtual_vehicle *vehicle, int64_t now_us, enum link_direction direction)
{
    /* Links are only released by sweep_links() below, so the walk is safe whatever the handlers do; a handler may prepend to `older`. */
    struct virtual_link *current = vehicle->link;
    for (struct virtual_link *link = vehicle->older, *next; link; link = next) {
        next = link->next;
        if (direction == LINK_UP)
            link_arrivals(link, now_us, direction);
    }
    if (current)
        link_arrivals(current, now_us, direction);
    sweep_links(vehicle);
    if (direction == LINK_UP)
        virtual_cloud_touched(partition_of(vehicle));
}

/* ---- the rest of the platform -------------------------------------------------------------------------------------- */

struct step *virtual_schedule(struct virtual_vehicle *vehicle, enum step_kind kind, int64_t at_us, uint32_t slot,
                              const void *data, size_t length)
{
    struct step *step = malloc(sizeof *step + length);
    if (!step) {
        partition_of(vehicle)->world->out_of_memory = true;
        return NULL;
    }
    *step = (struct step){
        .at_us = at_us, .kind = kind, .slot = slot, .length = (uint32_t)length, .request = vehicle->requests};
    if (length)
        memcpy(step->data, data, length);
    struct step **place = &vehicle->steps;
    while (*place && (*place)->at_us <= at_us)
        place = &(*place)->next;
    step->next = *place;
    *place = step;
    push(vehicle, at_us, EVENT_STEP);
    return step;
}

static void port_deadline(void *context, int64_t at_us)
{
    struct virtual_vehicle *vehicle = context;
    struct partition *partition = partition_of(vehicle);
    if (at_us < partition->now_us)
        at_us = partition->now_us;
    if (!sim_deadline_set(partition->queue, &vehicle->agent, at_us, vehicle->local, EVENT_AGENT))
        partition->world->out_of_memory = true;
}

static uint32_t port_random(void *context)
{
    struct virtual_vehicle *vehicle = context;
    return (uint32_t)sim_random_at(partition_of(vehicle)->world->scenario->seed, vehicle->index, SIM_FOR_AGENT,
                                   vehicle->agent_draws++);
}

static int64_t port_wall_us(void *context, int64_t now_us)
{
    return partition_of(context)->world->fleet.wall_offset_us + now_us;
}

static void port_key_generate(void *context, struct span common_name)
{
    struct virtual_vehicle *vehicle = context;
    uint8_t csr[512];
    vehicle->requests++; /* replaces what was under way */
    size_t length = cloud_modelled_csr(common_name, (uint64_t)vehicle->index << 16 | vehicle->keys++, csr, sizeof csr);
    virtual_schedule(vehicle, STEP_CSR, partition_of(vehicle)->now_us + KEY_COMPUTE_US, 0, csr, length);
}

/* A request on a connection of its own: set-up, bytes up, the broker's computing time, bytes down. */
static void port_http_request(void *context, const struct tcu_http_request *request)
{
    struct virtual_vehicle *vehicle = context;
    struct partition *partition = partition_of(vehicle);
    int64_t now_us = partition->now_us;
    vehicle->requests++; /* replaces what was under way */
    if (!vehicle->covered || partition->outage_until_us > now_us) {
        virtual_schedule(vehicle, STEP_HTTP_REPLY, now_us + NO_SERVICE_US, 0, NULL, 0);
        return;
    }
    struct link_setup setup = {.tls = 2};
    struct sim_random random = stream(vehicle, SIM_FOR_LINK | 0x800, vehicle->radio_draws++);
    link_setup_draw(&cohort_of(vehicle)->radio, &random, HANDSHAKE_COMPUTE_US, &setup);
    int64_t sent_us = now_us + setup.resolve_us + setup.tcp_us + setup.tls_us + 4 * region_latency(vehicle);
    int64_t arrival_us = link_transfer(&cohort_of(vehicle)->radio, &vehicle->radio, &random, LINK_UP, sent_us,
                                       request->body.length + HTTP_HEAD_BYTES) +
                         region_latency(vehicle);
    vehicle->trace.bytes_up += setup.bytes_up + request->body.length + HTTP_HEAD_BYTES;
    vehicle->trace.bytes_down += setup.bytes_down;
    virtual_schedule(vehicle, STEP_HTTP_AT_SERVER, arrival_us, 0, request->body.data, request->body.length);
}

static void at_certificate_broker(struct virtual_vehicle *vehicle, int64_t now_us, const struct step *step)
{
    struct partition *partition = partition_of(vehicle);
    const struct scenario *scenario = partition->world->scenario;
    struct span name = tcu_name(vehicle->tcu);
    char common_name[TCU_NAME_MAX + 1] = {0};
    memcpy(common_name, name.data, name.length);
    uint8_t attestation[1024], reply_bytes[2048];
    size_t attestation_length = sizeof attestation;
    int64_t now_s = (partition->world->fleet.wall_offset_us + now_us) / US_PER_S;
    struct cloud_peer peer = {0};
    struct cloud_certificate certificate;
    if (cloud_pki_make(partition->pki, CLOUD_CA_ATTESTATION, common_name, now_s - 86400, 20LL * 365 * 86400,
                       attestation, &attestation_length, NULL, NULL) &&
        cloud_certificate_read(span_of(attestation, attestation_length), &certificate))
        cloud_peer_from_certificate(&peer, &certificate, span_of(attestation, attestation_length));
    struct cloud_http_reply reply = {0};
    cloud_certificate_broker_handle(&partition->cloud.certificates, now_s, &peer, "POST",
                                    "/.well-known/est/simpleenroll", span_of(step->data, step->length), reply_bytes,
                                    sizeof reply_bytes, &reply);
    struct sim_random random = stream(vehicle, SIM_FOR_LINK | 0x800, vehicle->radio_draws++);
    int64_t back_us = link_transfer(&cohort_of(vehicle)->radio, &vehicle->radio, &random, LINK_DOWN,
                                    now_us + scenario->cloud.issue_us, (uint32_t)reply.body_length + HTTP_HEAD_BYTES) +
                      region_latency(vehicle);
    vehicle->trace.bytes_down += reply.body_length + HTTP_HEAD_BYTES;
    virtual_schedule(vehicle, STEP_HTTP_REPLY, back_us, (uint32_t)reply.status, reply_bytes, reply.body_length);
}

static bool port_store_write(void *context, enum tcu_store_item item, struct span value)
{
    struct virtual_vehicle *vehicle = context;
    struct partition *partition = partition_of(vehicle);
    uint8_t *copy = realloc(vehicle->stored[item], value.length ? value.length : 1);
    if (!copy)
        return false;
    partition->store_bytes += value.length - vehicle->stored_length[item];
    if (value.length)
        memcpy(copy, value.data, value.length);
    vehicle->stored[item] = copy;
    vehicle->stored_length[item] = (uint16_t)value.length;
    return true;
}

static size_t port_store_read(void *context, enum tcu_store_item item, uint8_t *out, size_t capacity)
{
    const struct virtual_vehicle *vehicle = context;
    size_t length = vehicle->stored_length[item];
    if (length > capacity)
        return 0;
    if (length)
        memcpy(out, vehicle->stored[item], length);
    return length;
}

static size_t port_telemetry_body(void *context, uint32_t number, int64_t intended_us, uint8_t *out, size_t capacity)
{
    const struct virtual_vehicle *vehicle = context;
    return fleet_telemetry_body(&partition_of(vehicle)->world->fleet, vehicle->index, number, out, capacity);
}

static void port_execute(void *context, uint32_t slot, struct span command)
{
    struct virtual_vehicle *vehicle = context;
    virtual_schedule(vehicle, STEP_EXECUTED, partition_of(vehicle)->now_us + cohort_of(vehicle)->execute_us, slot, NULL,
                     0);
}

static void port_probe(void *context, int64_t now_us, const struct tcu_probe *probe)
{
    struct virtual_vehicle *vehicle = context;
    struct partition *partition = partition_of(vehicle);
    sim_digest_add(&partition->digest, vehicle->index, now_us, (uint64_t)probe->kind << 8 | probe->reason,
                   probe->number);
    partition->world->hooked = vehicle;
    fleet_probe(&partition->world->fleet, vehicle->index, &vehicle->trace, now_us, probe);
    partition->world->hooked = NULL;
}

static bool port_inbound(void *context, const struct mq5_packet *packet)
{
    struct virtual_vehicle *vehicle = context;
    double loss = cohort_of(vehicle)->acknowledgement_loss;
    if (packet->type != MQ5_PUBACK || loss <= 0)
        return true;
    uint64_t word = sim_random_at(partition_of(vehicle)->world->scenario->seed, vehicle->index, SIM_FOR_FAULTS | 0x100,
                                  vehicle->faults++);
    return (double)(word >> 11) * 0x1p-53 >= loss;
}

static void *port_memory_take(void *context, size_t size)
{
    struct partition *partition = partition_of(context);
    void *block = memory_allocate(size);
    if (block)
        partition->agent_bytes += size;
    else
        partition->world->out_of_memory = true;
    return block;
}

static void port_memory_give(void *context, void *block, size_t size)
{
    partition_of(context)->agent_bytes -= size;
    memory_free(block);
}

const struct tcu_port virtual_port = {
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
    .telemetry_body = port_telemetry_body,
    .execute = port_execute,
    .probe = port_probe,
    .inbound = port_inbound,
    .memory_take = port_memory_take,
    .memory_give = port_memory_give,
};

/* ---- steps --------------------------------------------------------------------------------------------------------- */

static void power_up(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct partition *partition = partition_of(vehicle);
    vehicle->trace.power_up_us = now_us;
    fleet_life_start(&partition->world->fleet, vehicle->index, &vehicle->day, now_us);
    sim_deadline_set(partition->queue, &vehicle->life, fleet_life_next(&vehicle->day), vehicle->local, EVENT_LIFE);
    tcu_start(vehicle->tcu, now_us, TCU_PARKED);
}

static void take_step(struct virtual_vehicle *vehicle, int64_t now_us, const struct step *step)
{
    switch (step->kind) {
    case STEP_POWER_UP: power_up(vehicle, now_us); break;
    case STEP_LINK_UP:
        if (step->slot == vehicle->attempts)
            link_is_up(vehicle, now_us, step);
        break;
    case STEP_LINK_FAILED:
        if (step->slot == vehicle->attempts)
            tcu_link_down(vehicle->tcu, now_us, TCU_LINK_CONNECT_FAILED);
        break;
    case STEP_CSR:
        if (step->request == vehicle->requests)
            tcu_csr_ready(vehicle->tcu, now_us, span_of(step->data, step->length));
        break;
    case STEP_HTTP_AT_SERVER:
        if (step->request == vehicle->requests)
            at_certificate_broker(vehicle, now_us, step);
        break;
    case STEP_HTTP_REPLY:
        if (step->request == vehicle->requests)
            tcu_http_response(vehicle->tcu, now_us, (int)step->slot, span_of(step->data, step->length));
        break;
    case STEP_EXECUTED: tcu_executed(vehicle->tcu, now_us, step->slot, true); break;
    }
}

void virtual_step(struct virtual_vehicle *vehicle, int64_t now_us)
{
    while (vehicle->steps && vehicle->steps->at_us <= now_us) {
        struct step *step = vehicle->steps;
        vehicle->steps = step->next;
        take_step(vehicle, now_us, step);
        free(step);
    }
}

void virtual_partition_release(struct partition *partition)
{
    for (uint32_t i = 0; i < partition->count; i++) {
        struct virtual_vehicle *vehicle = &partition->vehicles[i];
        while (vehicle->steps) {
            struct step *step = vehicle->steps;
            vehicle->steps = step->next;
            free(step);
        }
        if (vehicle->tcu)
            tcu_release(vehicle->tcu);
        for (int item = 0; item < TCU_STORE_ITEMS; item++)
            free(vehicle->stored[item]);
        if (vehicle->link) {
            vehicle->link->next = vehicle->older;
            vehicle->older = vehicle->link;
        }
        while (vehicle->older) {
            struct virtual_link *link = vehicle->older;
            vehicle->older = link->next;
            drop_segments(partition, link, LINK_UP);
            drop_segments(partition, link, LINK_DOWN);
            free(link);
        }
    }
    for (int class = 0; class < SEGMENT_CLASSES; class ++)
        while (partition->free_segments[class]) {
            struct segment *segment = partition->free_segments[class];
            partition->free_segments[class] = segment->next;
            free(segment);
        }
    while (partition->free_links) {
        struct virtual_link *link = partition->free_links;
        partition->free_links = link->next;
        free(link);
    }
}
