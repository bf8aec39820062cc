/* virtual_port.c: the virtual world as the agent's platform: link set-up, keys, certificates, the store, the car.
 * TLS and TCP set-up are round trips, bytes and computing time; the MQTT bytes are real.
 */
#include "virtual_regions.h"

#include "vehicle/crypto.h"

#define NO_SERVICE_US        (5 * US_PER_S) /* a request without coverage, and a name that nobody resolves, are given up */
#define HANDSHAKE_COMPUTE_US 20000          /* a TCU's and a broker's processor for one mutual TLS 1.3 handshake */
#define KEY_COMPUTE_US       60000          /* key pair and CSR on a TCU */
#define HTTP_HEAD_BYTES      260            /* request and response lines and header fields */

void virtual_push(struct virtual_vehicle *vehicle, int64_t at_us, enum virtual_class class)
{
    if (!sim_queue_push(vehicle->partition->queue, at_us, vehicle->local, (uint8_t) class))
        vehicle->partition->world->out_of_memory = true;
}

/* ---- connecting ---------------------------------------------------------------------------------------------------- */

static uint8_t tls_kind(const struct scenario_cohort *cohort)
{
    return cohort->identity == IDENTITY_CERTIFICATE ? 2 : cohort->identity == IDENTITY_PASSWORD ? 1 : 0;
}

static void port_link_open(void *context, enum tcu_identity identity)
{
    struct virtual_vehicle *vehicle = context;
    struct partition *partition = vehicle->partition;
    int64_t now_us = partition->now_us;
    if (vehicle_dead(vehicle))
        return;
    vehicle->attempts++;
    if (!vehicle->covered) {
        virtual_schedule(vehicle, STEP_LINK_FAILED, now_us + link_search_us(vehicle_radio(vehicle)), vehicle->attempts,
                         NULL, 0);
        return;
    }
    struct link_setup setup = {.tls = tls_kind(vehicle_cohort(vehicle))};
    struct sim_random random = vehicle_stream(vehicle, SIM_FOR_LINK | 0x400, vehicle->radio_draws++);
    link_setup_draw(vehicle_radio(vehicle), &random, HANDSHAKE_COMPUTE_US, &setup);
    if (partition->regions && !virtual_region_choose(vehicle, now_us)) {
        virtual_schedule(vehicle, STEP_RESOLVE_FAILED, now_us + setup.resolve_us, vehicle->attempts, NULL, 0);
        return;
    }
    int64_t round_trip_us = 2 * vehicle_way_us(vehicle);
    if (vehicle_cohort(vehicle)->has_path) /* the tunnel stands before the name is asked for */
        setup.resolve_us += vehicle_cohort(vehicle)->path.setup_round_trips * (round_trip_us + setup.tcp_us);
    setup.tcp_us += round_trip_us;
    setup.tls_us += setup.tls ? round_trip_us : 0;
    int64_t up_us = now_us + setup.resolve_us + setup.tcp_us + setup.tls_us;
    if (partition->outage_until_us > now_us + setup.resolve_us ||
        (partition->regions && virtual_region_is_down(vehicle, now_us + setup.resolve_us))) {
        virtual_schedule(vehicle, STEP_LINK_FAILED, now_us + setup.resolve_us + setup.tcp_us, vehicle->attempts, NULL,
                         0);
        return;
    }
    if (partition->resolver_until_us > now_us) {
        virtual_schedule(vehicle, STEP_RESOLVE_FAILED, now_us + NO_SERVICE_US, vehicle->attempts, NULL, 0);
        return;
    }
    vehicle->trace.bytes_up += setup.bytes_up;
    vehicle->trace.bytes_down += setup.bytes_down;
    if (setup.tls && partition->certificate_until_us > up_us) {
        virtual_schedule(vehicle, STEP_TLS_FAILED, up_us, vehicle->attempts, NULL, 0);
        return;
    }
    int64_t phase_us[3] = {setup.resolve_us, setup.tcp_us, setup.tls_us};
    struct step *step = virtual_schedule(vehicle, STEP_LINK_UP, up_us, vehicle->attempts, phase_us, sizeof phase_us);
    if (!step)
        return;
    step->tls = setup.tls;
    step->request = (uint8_t)identity;
    step->region = partition->regions ? virtual_region_toward(vehicle) : 0;
}

static void port_deadline(void *context, int64_t at_us)
{
    struct virtual_vehicle *vehicle = context;
    struct partition *partition = vehicle->partition;
    if (at_us < partition->now_us)
        at_us = partition->now_us;
    if (!sim_deadline_set(partition->queue, &vehicle->agent, at_us, vehicle->local, EVENT_AGENT))
        partition->world->out_of_memory = true;
}

static uint32_t port_random(void *context)
{
    struct virtual_vehicle *vehicle = context;
    return (uint32_t)sim_random_at(vehicle->partition->world->scenario->seed, vehicle_index(vehicle), SIM_FOR_AGENT,
                                   vehicle->agent_draws++);
}

static int64_t port_wall_us(void *context, int64_t now_us)
{
    const struct virtual_vehicle *vehicle = context;
    return vehicle->partition->world->fleet.wall_offset_us + now_us;
}

/* ---- identity ------------------------------------------------------------------------------------------------------ */

static void port_key_generate(void *context, enum tcu_identity slot, struct span common_name)
{
    struct virtual_vehicle *vehicle = context;
    uint8_t csr[TCU_REQUEST_MAX], key[TCU_KEY_MAX];
    size_t length = sizeof csr, key_length = sizeof key;
    struct virtual_identity *identity = vehicle_identity(vehicle);
    enum tcu_store_item item = slot == TCU_OPERATIONAL_SECOND ? TCU_STORE_SECOND_KEY : TCU_STORE_OPERATIONAL_KEY;
    struct store_item **place = virtual_key_place(vehicle, item);
    enum fleet_write write = identity ? fleet_identity_write(&identity->fleet) : FLEET_WRITE;
    if (write != FLEET_WRITE)
        vehicle->partition->died = vehicle; /* the key is written here, if it is */
    if (place && (!virtual_crypto_enroll(common_name, key, &key_length, csr, &length) ||
                  (write != FLEET_WRITE_NEVER && !virtual_store_keep(vehicle, place, span_of(key, key_length)))))
        vehicle->partition->world->out_of_memory = true;
    if (vehicle_dead(vehicle))
        return;
    vehicle->requests++; /* replaces what was under way */
    uint64_t number = (uint64_t)vehicle_index(vehicle) << 16 | vehicle->keys++;
    if (!place)
        length = cloud_modelled_csr(common_name, number, csr, sizeof csr);
    virtual_schedule(vehicle, STEP_CSR, vehicle->partition->now_us + KEY_COMPUTE_US, 0, csr, length);
}

/* A request on a connection of its own: set-up, bytes up, the broker's computing time, bytes down. */
static void port_http_request(void *context, const struct tcu_http_request *request)
{
    struct virtual_vehicle *vehicle = context;
    struct partition *partition = vehicle->partition;
    int64_t now_us = partition->now_us;
    char text[TCU_REQUEST_MAX * 4 / 3 + 8];
    struct span body = request->body;
    if (vehicle_keys(vehicle)) /* DER goes as base64 */
        body = span_of(text, tcu_crypto_base64(request->body, text, sizeof text));
    if (vehicle_dead(vehicle))
        return;
    vehicle->requests++; /* replaces what was under way */
    if (!vehicle->covered || partition->outage_until_us > now_us) {
        virtual_schedule(vehicle, STEP_HTTP_REPLY, now_us + NO_SERVICE_US, 0, NULL, 0);
        return;
    }
    struct link_setup setup = {.tls = 2};
    const struct link_profile *radio = vehicle_radio(vehicle);
    struct sim_random random = vehicle_stream(vehicle, SIM_FOR_LINK | 0x800, vehicle->radio_draws++);
    link_setup_draw(radio, &random, HANDSHAKE_COMPUTE_US, &setup);
    int64_t sent_us = now_us + setup.resolve_us + setup.tcp_us + setup.tls_us + 4 * vehicle_way_us(vehicle);
    int64_t arrival_us =
        link_transfer(radio, &vehicle->radio, &random, LINK_UP, sent_us, body.length + HTTP_HEAD_BYTES) +
        vehicle_way_us(vehicle);
    vehicle->trace.bytes_up += setup.bytes_up + body.length + HTTP_HEAD_BYTES;
    vehicle->trace.bytes_down += setup.bytes_down;
    virtual_schedule(vehicle, STEP_HTTP_AT_SERVER, arrival_us, 0, body.data, body.length);
}

/* false: the handshake fails. */
static bool real_attestation(struct virtual_vehicle *vehicle, const char *common_name, int64_t now_s,
                             struct cloud_peer *peer)
{
    struct cloud_certificate certificate;
    const struct store_item *own = virtual_attestation(vehicle, common_name, now_s);
    if (!own) {
        vehicle->partition->world->out_of_memory = true;
        return false;
    }
    const struct store_item *key = vehicle_keys(vehicle)->attestation_key;
    struct span bytes = span_of(own->data, own->length);
    if (virtual_handshake(vehicle->partition, bytes, span_of(key->data, key->length), &certificate))
        return false;
    cloud_peer_from_certificate(peer, &certificate, bytes);
    return true;
}

/* The certificate the TCU left its maker's factory with: the certificate broker asks for it in the handshake. */
static bool attestation_peer(struct virtual_vehicle *vehicle, int64_t now_s, struct cloud_peer *peer, uint8_t *bytes)
{
    struct span name = tcu_name(vehicle_tcu(vehicle));
    char common_name[CLOUD_DEVICE_MAX + 1] = {0};
    if (vehicle->partition->identities)
        virtual_device(vehicle, common_name, sizeof common_name);
    else
        memcpy(common_name, name.data, name.length);
    size_t length = VIRTUAL_CERTIFICATE_MAX;
    struct cloud_certificate certificate;
    if (vehicle_keys(vehicle))
        return real_attestation(vehicle, common_name, now_s, peer);
    if (cloud_pki_make(vehicle->partition->pki, CLOUD_CA_ATTESTATION, common_name, now_s - 86400, 20LL * 365 * 86400,
                       bytes, &length, NULL, NULL) &&
        cloud_certificate_read(span_of(bytes, length), &certificate))
        cloud_peer_from_certificate(peer, &certificate, span_of(bytes, length));
    return true;
}

static void at_certificate_broker(struct virtual_vehicle *vehicle, int64_t now_us, const struct step *step)
{
    struct partition *partition = vehicle->partition;
    const struct scenario *scenario = partition->world->scenario;
    uint8_t attestation[VIRTUAL_CERTIFICATE_MAX], reply_bytes[2048];
    int64_t now_s = (partition->world->fleet.wall_offset_us + now_us) / US_PER_S;
    struct cloud_peer peer = {0};
    if (!attestation_peer(vehicle, now_s, &peer, attestation)) {
        virtual_schedule(vehicle, STEP_HTTP_REPLY, now_us + vehicle_way_us(vehicle), 0, NULL, 0);
        return;
    }
    struct cloud_http_reply reply = {0};
    cloud_certificate_broker_handle(&partition->cloud.certificates, now_s, &peer, "POST",
                                    "/.well-known/est/simpleenroll", span_of(step->data, step->length), reply_bytes,
                                    sizeof reply_bytes, &reply);
    struct sim_random random = vehicle_stream(vehicle, SIM_FOR_LINK | 0x800, vehicle->radio_draws++);
    int64_t back_us = link_transfer(vehicle_radio(vehicle), &vehicle->radio, &random, LINK_DOWN,
                                    now_us + scenario->cloud.issue_us, (uint32_t)reply.body_length + HTTP_HEAD_BYTES) +
                      vehicle_way_us(vehicle);
    vehicle->trace.bytes_down += reply.body_length + HTTP_HEAD_BYTES;
    virtual_schedule(vehicle, STEP_HTTP_REPLY, back_us, (uint32_t)reply.status, reply_bytes, reply.body_length);
}

/* ---- the store ----------------------------------------------------------------------------------------------------- */

static struct store_item **store_place(struct virtual_vehicle *vehicle, enum tcu_store_item item)
{
    struct store_item **key = virtual_key_place(vehicle, item);
    if (key)
        return key;
    if (item != TCU_STORE_OPERATIONAL_CERTIFICATE && item != TCU_STORE_STATE)
        return virtual_identity_place(vehicle, item);
    return item == TCU_STORE_STATE ? &vehicle->state : &vehicle->certificate;
}

void virtual_store_release(struct partition *partition, struct store_item *item)
{
    if (!item || --item->holders)
        return;
    if (partition->peer_shown == item)
        partition->peer_shown = NULL;
    partition->store_bytes -= sizeof *item + item->length;
    memory_free(item);
}

struct span virtual_stored(struct virtual_vehicle *vehicle, const struct store_item *item, uint8_t *out)
{
    if (!item)
        return (struct span){NULL, 0};
    if (!item->packed)
        return span_of(item->data, item->length);
    struct cloud_modelled_record record;
    memcpy(&record, item->data, sizeof record);
    size_t length = cloud_modelled_unpack(vehicle->partition->pki, &record, tcu_name(vehicle_tcu(vehicle)), out,
                                          VIRTUAL_CERTIFICATE_MAX);
    ASSERT(length > 0); /* it was packed from these very bytes */
    return span_of(out, length);
}

struct store_item *virtual_store_item(struct partition *partition, struct span value)
{
    struct store_item *item = memory_allocate(sizeof *item + value.length);
    if (!item)
        return NULL;
    *item = (struct store_item){.length = (uint16_t)value.length & 0x7FFF, .holders = 1};
    if (value.length)
        memcpy(item->data, value.data, value.length);
    partition->store_bytes += sizeof *item + value.length;
    return item;
}

static bool keep(struct virtual_vehicle *vehicle, struct store_item **place, struct span value, bool packed)
{
    if (*place && (*place)->holders == 1 && (*place)->length == value.length && (*place)->packed == packed) {
        memcpy((*place)->data, value.data, value.length);
        if (vehicle->partition->peer_shown == *place)
            vehicle->partition->peer_shown = NULL;
        return true;
    }
    struct store_item *kept = virtual_store_item(vehicle->partition, value);
    if (!kept)
        return false;
    kept->packed = packed;
    virtual_store_release(vehicle->partition, *place);
    *place = kept;
    return true;
}

/* Whether the compact form gives back these bytes: the name in the certificate may be another's. */
static bool packs(struct virtual_vehicle *vehicle, struct span value, struct cloud_modelled_record *record)
{
    uint8_t again[VIRTUAL_CERTIFICATE_MAX];
    const struct cloud_pki *pki = vehicle->partition->pki;
    if (!cloud_modelled_pack(pki, value, record))
        return false;
    size_t length = cloud_modelled_unpack(pki, record, tcu_name(vehicle_tcu(vehicle)), again, sizeof again);
    return span_equal(span_of(again, length), value);
}

bool virtual_store_keep(struct virtual_vehicle *vehicle, struct store_item **place, struct span value)
{
    struct cloud_modelled_record record;
    if (value.length == 0) {
        virtual_store_release(vehicle->partition, *place);
        *place = NULL;
        return true;
    }
    if (place != &vehicle->state && packs(vehicle, value, &record))
        return keep(vehicle, place, span_of(&record, sizeof record), true);
    return keep(vehicle, place, value, false);
}

static bool port_store_write(void *context, enum tcu_store_item item, struct span value)
{
    struct virtual_vehicle *vehicle = context;
    struct virtual_identity *identity = vehicle_identity(vehicle);
    uint8_t bytes[VIRTUAL_CERTIFICATE_MAX];
    struct span kept = virtual_crypto_kept(vehicle, item, value, bytes, sizeof bytes);
    if (kept.length == 0 && value.length)
        return false;
    enum fleet_write write = identity ? fleet_identity_write(&identity->fleet) : FLEET_WRITE;
    if (write != FLEET_WRITE)
        vehicle->partition->died = vehicle;
    return write != FLEET_WRITE_NEVER && virtual_store_keep(vehicle, store_place(vehicle, item), kept);
}

static size_t port_store_read(void *context, enum tcu_store_item item, uint8_t *out, size_t capacity)
{
    struct virtual_vehicle *vehicle = context;
    uint8_t bytes[VIRTUAL_CERTIFICATE_MAX];
    struct store_item **place = store_place(vehicle, item);
    struct span value = virtual_stored(vehicle, place ? *place : NULL, bytes);
    if (value.length > capacity)
        return 0;
    if (value.length)
        memcpy(out, value.data, value.length);
    return value.length;
}

/* ---- the car and the watchers -------------------------------------------------------------------------------------- */

static size_t port_telemetry_body(void *context, uint32_t number, int64_t intended_us, uint8_t *out, size_t capacity)
{
    const struct virtual_vehicle *vehicle = context;
    return fleet_telemetry_body(&vehicle->partition->world->fleet, vehicle_index(vehicle), number, out, capacity);
}

static void port_execute(void *context, uint32_t slot, struct span command)
{
    struct virtual_vehicle *vehicle = context;
    int64_t done_us = vehicle->partition->now_us + vehicle_cohort(vehicle)->execute_us;
    struct step *step = virtual_schedule(vehicle, STEP_EXECUTED, done_us, slot, NULL, 0);
    if (step)
        step->tls = fleet_execution_fails(&vehicle->partition->world->fleet, vehicle_index(vehicle), (uint64_t)done_us);
}

static void port_probe(void *context, int64_t now_us, const struct tcu_probe *probe)
{
    struct virtual_vehicle *vehicle = context;
    struct partition *partition = vehicle->partition;
    uint32_t index = vehicle_index(vehicle);
    if (vehicle_dead(vehicle))
        return;
    sim_digest_add(&partition->digest, index, now_us, (uint64_t)probe->kind << 8 | probe->reason, probe->number);
    if (partition->world->traced == vehicle)
        partition->world->options->trace(partition->world->options->trace_context,
                                         &(struct world_trace){.kind = TRACE_PROBE,
                                                               .at_us = now_us,
                                                               .bytes = probe->id,
                                                               .probe = (uint8_t)probe->kind,
                                                               .reason = probe->reason,
                                                               .number = probe->number});
    fleet_probe(&partition->world->fleet, index, &vehicle->trace, now_us, probe);
    if (__builtin_expect(partition->parkings != NULL, 0))
        fleet_parking_probe(&partition->world->fleet, &vehicle->trace, vehicle_parking(vehicle), now_us, probe);
    if (__builtin_expect(partition->regions != NULL, 0))
        virtual_region_probe(vehicle, now_us, probe);
    if (__builtin_expect(partition->shadows != NULL, 0))
        fleet_shadow_probe(&partition->shadows[vehicle->local], now_us, probe);
}

static int64_t port_sleep_us(void *context, int64_t wanted_us)
{
    const struct virtual_vehicle *vehicle = context;
    return fleet_sleep_us(&vehicle->partition->world->fleet, vehicle_index(vehicle), &vehicle->trace, wanted_us);
}

static size_t port_device(void *context, char *out, size_t capacity)
{
    return virtual_device(context, out, capacity);
}

static bool port_inbound(void *context, const struct mq5_packet *packet)
{
    struct virtual_vehicle *vehicle = context;
    double loss = vehicle_cohort(vehicle)->acknowledgement_loss;
    if (packet->type != MQ5_PUBACK || loss <= 0)
        return true;
    uint64_t word = sim_random_at(vehicle->partition->world->scenario->seed, vehicle_index(vehicle),
                                  SIM_FOR_FAULTS | 0x100, vehicle->faults++);
    return (double)(word >> 11) * 0x1p-53 >= loss;
}

static void *port_memory_take(void *context, size_t size)
{
    struct virtual_vehicle *vehicle = context;
    void *block = memory_allocate(size);
    if (block)
        vehicle->partition->extra_bytes += size;
    else
        vehicle->partition->world->out_of_memory = true;
    return block;
}

static void port_memory_give(void *context, void *block, size_t size)
{
    struct virtual_vehicle *vehicle = context;
    vehicle->partition->extra_bytes -= size;
    memory_free(block);
}

const struct tcu_port virtual_port = {
    .link_open = port_link_open,
    .link_send = virtual_link_send,
    .link_close = virtual_link_close,
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
    .shadow_set = virtual_shadow_set,
    .shadow_state = virtual_shadow_state,
    .unseal = virtual_unseal,
    .sleep_us = port_sleep_us,
    .server_reference = virtual_server_reference,
    .probe = port_probe,
    .inbound = port_inbound,
    .memory_take = port_memory_take,
    .memory_give = port_memory_give,
};

/* ---- steps --------------------------------------------------------------------------------------------------------- */

struct step *virtual_schedule(struct virtual_vehicle *vehicle, enum step_kind kind, int64_t at_us, uint32_t slot,
                              const void *data, size_t length)
{
    struct partition *partition = vehicle->partition;
    struct step *step = length <= UINT16_MAX ? memory_allocate(sizeof *step + length) : NULL;
    if (!step) {
        partition->world->out_of_memory = true;
        return NULL;
    }
    partition->step_bytes += sizeof *step + length;
    *step = (struct step){
        .at_us = at_us, .kind = (uint8_t)kind, .slot = slot, .length = (uint16_t)length, .request = vehicle->requests};
    if (length)
        memcpy(step->data, data, length);
    struct step **place = &vehicle->steps;
    while (*place && (*place)->at_us <= at_us)
        place = &(*place)->next;
    step->next = *place;
    *place = step;
    virtual_push(vehicle, at_us, EVENT_STEP);
    return step;
}

static void power_up(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct partition *partition = vehicle->partition;
    vehicle->trace.power_up_us = now_us;
    fleet_life_start(&partition->world->fleet, vehicle_index(vehicle), &vehicle->day, now_us);
    sim_deadline_set(partition->queue, &vehicle->life, fleet_life_next(&vehicle->day), vehicle->local, EVENT_LIFE);
    tcu_start(vehicle_tcu(vehicle), now_us, TCU_PARKED);
    if (partition->parkings)
        virtual_parked_at_start(vehicle, now_us);
}

static void scripted_command(struct virtual_vehicle *vehicle, int64_t now_us, const struct step *step)
{
    int64_t timeout_us;
    memcpy(&timeout_us, step->data, sizeof timeout_us);
    struct span command = span_of(step->data + sizeof timeout_us, step->length - sizeof timeout_us);
    if (vehicle->trace.power_up_us >= 0)
        virtual_ask(vehicle, now_us, command, timeout_us);
    virtual_cloud_touched(vehicle->partition);
}

static void take_step(struct virtual_vehicle *vehicle, int64_t now_us, const struct step *step)
{
    struct tcu *tcu = vehicle_tcu(vehicle);
    bool wanted = step->request == vehicle->requests, attempt = step->slot == vehicle->attempts;
    switch ((enum step_kind)step->kind) {
    case STEP_POWER_UP: power_up(vehicle, now_us); break;
    case STEP_LINK_UP:
        if (attempt)
            virtual_link_up(vehicle, now_us, step);
        break;
    case STEP_LINK_FAILED:
        if (attempt)
            tcu_link_down(tcu, now_us, TCU_LINK_CONNECT_FAILED);
        break;
    case STEP_CSR:
        if (wanted)
            tcu_csr_ready(tcu, now_us, span_of(step->data, step->length));
        break;
    case STEP_HTTP_AT_SERVER:
        if (wanted)
            at_certificate_broker(vehicle, now_us, step);
        break;
    case STEP_HTTP_REPLY:
        if (wanted)
            tcu_http_response(tcu, now_us, (int)step->slot, span_of(step->data, step->length));
        break;
    case STEP_EXECUTED: tcu_executed(tcu, now_us, step->slot, !step->tls); break;
    case STEP_POWER_BACK: virtual_power_back(vehicle, now_us); break;
    case STEP_COMMAND: scripted_command(vehicle, now_us, step); break;
    case STEP_RESOLVE_FAILED:
        if (attempt)
            tcu_link_down(tcu, now_us, TCU_LINK_RESOLVE_FAILED);
        break;
    case STEP_TLS_FAILED:
        if (attempt)
            tcu_link_down(tcu, now_us, TCU_LINK_TLS_FAILED);
        break;
    case STEP_RESET:
        if (attempt) {
            virtual_link_found_dead(vehicle, now_us, true);
            virtual_link_lost(vehicle, now_us, TCU_LINK_PEER_CLOSED);
        }
        break;
    case STEP_SMS: virtual_sms(vehicle, now_us, span_of(step->data, step->length)); break;
    case STEP_BATTERY: virtual_battery(vehicle, now_us); break;
    case STEP_ARRIVE:
    case STEP_SERVICE:
    case STEP_SEND_HOME:
    case STEP_TURN:
    case STEP_SETTLED: virtual_region_step(vehicle, now_us, step); break;
    case STEP_SHADOW: virtual_shadow_due(vehicle, now_us); break;
    }
}

void virtual_step(struct virtual_vehicle *vehicle, int64_t now_us)
{
    while (vehicle->steps && vehicle->steps->at_us <= now_us) {
        struct step *step = vehicle->steps;
        vehicle->steps = step->next;
        take_step(vehicle, now_us, step);
        vehicle->partition->step_bytes -= sizeof *step + step->length;
        memory_free(step);
    }
}
