/* virtual_link.c: transport connections of the virtual world and the bytes under way on them.
 *
 * Link loss: when coverage goes, bytes under way are gone and only the vehicle notices; the broker keeps its half until its keep alive
 * runs out or the vehicle's next connection takes over. A close by either end travels behind the bytes sent before it.
 */
#include "virtual.h"

#include <stdio.h>

#define RESET_RADIO_US 60000 /* there and back over the radio */

/* ---- segments ------------------------------------------------------------------------------------------------------ */

static void segment_give(struct partition *partition, struct segment *segment)
{
    partition->segment_bytes -= sizeof *segment + segment->length;
    memory_free(segment);
}

/* The oldest; NULL: nothing under way. */
static inline struct segment *oldest(const struct virtual_link *link, enum link_direction direction)
{
    return link->last[direction] ? link->last[direction]->next : NULL;
}

static inline void take_oldest(struct virtual_link *link, enum link_direction direction)
{
    struct segment *last = link->last[direction], *first = last->next;
    if (first == last)
        link->last[direction] = NULL;
    else
        last->next = first->next;
}

static void drop_segments(struct virtual_link *link, enum link_direction direction)
{
    struct segment *segment;
    while ((segment = oldest(link, direction))) {
        take_oldest(link, direction);
        segment_give(link->vehicle->partition, segment);
    }
}

static inline void append(struct virtual_link *link, enum link_direction direction, struct segment *segment)
{
    struct segment *last = link->last[direction];
    segment->next = segment;
    if (last) {
        segment->next = last->next;
        last->next = segment;
    }
    link->last[direction] = segment;
}

/* When the last of the bytes arrives that are handed to the link now. */
static inline int64_t arrival_of(struct virtual_vehicle *vehicle, enum link_direction direction, int64_t now_us,
                                 size_t length)
{
    const struct link_profile *profile = vehicle_radio(vehicle);
    const struct scenario_cohort *cohort = vehicle_cohort(vehicle);
    uint32_t tunnel_bytes = cohort->has_path ? cohort->path.overhead_bytes : 0;
    struct sim_random random = vehicle_stream(vehicle, SIM_FOR_LINK, vehicle->radio_draws++);
    return link_transfer(profile, &vehicle->radio, &random, direction, now_us,
                         (uint32_t)length + profile->overhead_bytes + tunnel_bytes) +
           vehicle_way_us(vehicle);
}

static inline void transmit(struct virtual_link *link, enum link_direction direction, const uint8_t *data,
                            size_t length, bool end)
{
    struct virtual_vehicle *vehicle = link->vehicle;
    struct partition *partition = vehicle->partition;
    int64_t now_us = partition->now_us;
    struct segment *segment = memory_allocate(sizeof *segment + length);
    if (!segment) {
        partition->world->out_of_memory = true;
        return;
    }
    partition->segment_bytes += sizeof *segment + length;
    virtual_tell(vehicle, now_us, direction == LINK_UP ? TRACE_SENT : TRACE_ANSWERED, span_of(data, length),
                 end ? "end of the connection" : NULL);
    if (length)
        memcpy(segment->data, data, length);
    segment->length = (uint32_t)length;
    segment->end = end;
    append(link, direction, segment);
    segment->arrival_us = arrival_of(vehicle, direction, now_us, length);
    if (!sim_queue_push(partition->queue, segment->arrival_us, vehicle->local,
                        direction == LINK_UP ? EVENT_UP : EVENT_DOWN))
        partition->world->out_of_memory = true;
}

static void transmit_end(struct virtual_link *link, enum link_direction direction)
{
    transmit(link, direction, NULL, 0, true);
}

/* ---- links --------------------------------------------------------------------------------------------------------- */

static size_t link_bytes(const struct partition *partition)
{
    return sizeof(struct virtual_link) + (partition->keys ? sizeof(struct cloud_certificate) : 0);
}

static struct virtual_link *link_take(struct virtual_vehicle *vehicle)
{
    struct virtual_link *link = memory_allocate_zero(1, link_bytes(vehicle->partition));
    if (!link) {
        vehicle->partition->world->out_of_memory = true;
        return NULL;
    }
    vehicle->partition->link_bytes += link_bytes(vehicle->partition);
    link->vehicle = vehicle;
    return link;
}

static void link_give(struct virtual_link *link)
{
    struct partition *partition = link->vehicle->partition;
    partition->link_bytes -= link_bytes(partition);
    virtual_store_release(partition, link->certificate);
    memory_free(link);
}

/* Gives back the links that no end holds any more. Never from inside a handler of one of them. */
static void sweep_links(struct virtual_vehicle *vehicle)
{
    struct virtual_link **place = &vehicle->links;
    while (*place) {
        struct virtual_link *link = *place;
        if (link->vehicle_open || link->broker_open || link->last[LINK_UP] || link->last[LINK_DOWN]) {
            place = &link->next;
            continue;
        }
        *place = link->next;
        link_give(link);
    }
}

static void vehicle_lets_go(struct virtual_link *link)
{
    link->vehicle_open = false;
    drop_segments(link, LINK_DOWN);
}

void virtual_link_abandon(struct virtual_vehicle *vehicle)
{
    vehicle->attempts++; /* an attempt under way comes to nothing */
    virtual_link_found_dead(vehicle, vehicle->partition->now_us, false);
    virtual_tell(vehicle, vehicle->partition->now_us, TRACE_LINK, (struct span){NULL, 0}, "lost");
    struct virtual_link *link = vehicle_link(vehicle);
    if (link) {
        drop_segments(link, LINK_UP);
        vehicle_lets_go(link);
    }
    link_reset(&vehicle->radio);
}

void virtual_link_lost(struct virtual_vehicle *vehicle, int64_t now_us, enum tcu_link_end why)
{
    virtual_link_abandon(vehicle);
    enum tcu_connection state = tcu_connection(vehicle_tcu(vehicle));
    if (state == TCU_ONLINE || state == TCU_CONNECTING)
        tcu_link_down(vehicle_tcu(vehicle), now_us, why);
}

/* What the broker is shown of the other end, made when it asks: a link costs no copy of its certificate's fields. It asks twice in a
 * row for most that connect. */
static const struct cloud_peer *peer_of(struct virtual_link *link)
{
    struct partition *partition = link->vehicle->partition;
    struct cloud_certificate certificate;
    if (link->certificate && link->certificate == partition->peer_shown)
        return &partition->peer;
    memset(&partition->peer, 0, sizeof partition->peer);
    partition->peer.tls = link->tls > 0;
    partition->peer_shown = NULL;
    if (partition->keys && link->certificate) {
        cloud_peer_from_certificate(&partition->peer, link->proven,
                                    span_of(link->certificate->data, link->certificate->length));
        partition->peer_shown = link->certificate;
        return &partition->peer;
    }
    struct span shown = virtual_stored(link->vehicle, link->certificate, partition->peer_certificate);
    if (shown.length && cloud_certificate_read(shown, &certificate)) {
        cloud_peer_from_certificate(&partition->peer, &certificate, shown);
        partition->peer_shown = link->certificate;
    }
    return &partition->peer;
}

const struct cloud_peer *virtual_broker_peer(void *door, void *handle)
{
    struct virtual_link *link = handle;
    if (__builtin_expect(!link->vehicle, 0))
        return virtual_member_peer();
    struct partition *partition = link->vehicle->partition;
    const struct cloud_peer *peer = peer_of(link);
    if (__builtin_expect(partition->regions != NULL, 0)) /* the name it asked for in the handshake */
        snprintf(partition->peer.server_name, sizeof partition->peer.server_name, "%.63s",
                 partition->world->scenario->regions[link->region].endpoint);
    return peer;
}

/* Does the handshake come to its end? Modelled: the broker looks at what the certificate says, here it only has to be one; a compact form was made of
 * a certificate that could be read. Real: as TLS does, and *proven tells of it. */
static bool certified(struct virtual_vehicle *vehicle, enum tcu_identity identity, const struct store_item *held,
                      struct cloud_certificate *proven)
{
    struct cloud_certificate certificate;
    if (held && vehicle->partition->keys)
        return !virtual_handshake(vehicle->partition, span_of(held->data, held->length),
                                  virtual_key_shown(vehicle, identity), proven);
    return held && (held->packed || cloud_certificate_read(span_of(held->data, held->length), &certificate));
}

static void record_phases(struct virtual_vehicle *vehicle, int64_t now_us, const struct step *step)
{
    struct fleet *fleet = &vehicle->partition->world->fleet;
    struct measure_dimension who = fleet_who(&vehicle->trace, PATH_ANY);
    int64_t began_us = vehicle->trace.attempt_us >= 0 ? vehicle->trace.attempt_us : now_us;
    int64_t phase_us[3];
    memcpy(phase_us, step->data, sizeof phase_us);
    measure_sample(fleet->measure, METRIC_CONNECT_RESOLVE, who, vehicle_index(vehicle), began_us, phase_us[0]);
    measure_sample(fleet->measure, METRIC_CONNECT_TCP, who, vehicle_index(vehicle), began_us, phase_us[1]);
    if (step->tls)
        measure_sample(fleet->measure, METRIC_CONNECT_TLS, who, vehicle_index(vehicle), began_us, phase_us[2]);
    vehicle->trace.link_up_us = now_us;
}

void virtual_link_up(struct virtual_vehicle *vehicle, int64_t now_us, const struct step *step)
{
    struct partition *partition = vehicle->partition;
    enum tcu_identity identity = (enum tcu_identity)step->request;
    struct store_item *shown = virtual_shown(vehicle, identity);
    struct cloud_certificate proven;
    if (step->tls == 2 && !certified(vehicle, identity, shown, &proven)) {
        if (shown)
            fleet_tried(&partition->world->fleet, vehicle_index(vehicle), &vehicle->trace, now_us, false);
        tcu_link_down(vehicle_tcu(vehicle), now_us, TCU_LINK_TLS_FAILED);
        return;
    }
    sweep_links(vehicle);
    struct virtual_link *link = link_take(vehicle);
    if (!link)
        return;
    link->tls = step->tls;
    link->region = step->region;
    if (step->tls == 2) {
        link->certificate = shown;
        shown->holders++;
        if (partition->keys)
            *link->proven = proven;
    }
    link->vehicle_open = true;
    link->broker_open = true;
    link->next = vehicle->links;
    vehicle->links = link;
    link_reset(&vehicle->radio);
    vehicle->radio.last_active_us = now_us;
    link->connection = cloud_broker_opened(link_broker(link), now_us, link, NULL);
    if (!link->connection) { /* full: the listener closes at once */
        link->broker_open = false;
        vehicle_lets_go(link);
        tcu_link_down(vehicle_tcu(vehicle), now_us, TCU_LINK_PEER_CLOSED);
        return;
    }
    record_phases(vehicle, now_us, step);
    virtual_tell(vehicle, now_us, TRACE_LINK, (struct span){NULL, 0}, "open");
    tcu_link_up(vehicle_tcu(vehicle), now_us);
    virtual_cloud_touched(partition);
}

void virtual_link_send(void *context, const uint8_t *data, size_t length)
{
    struct virtual_vehicle *vehicle = context;
    struct partition *partition = vehicle->partition;
    struct virtual_link *link = vehicle_link(vehicle);
    if (!link || vehicle_dead(vehicle))
        return;
    fleet_bytes(&partition->world->fleet, &vehicle->trace, partition->now_us, LINK_UP, data, length);
    if (__builtin_expect(partition->parkings != NULL, 0))
        virtual_battery_used(vehicle, partition->now_us, length);
    if (__builtin_expect(virtual_link_forgotten(link), 0)) {
        if (link->resets)
            virtual_schedule(vehicle, STEP_RESET, partition->now_us + 2 * vehicle_way_us(vehicle) + RESET_RADIO_US,
                             vehicle->attempts, NULL, 0);
        return;
    }
    if (__builtin_expect(fleet_modem_sleeps(vehicle_radio(vehicle)), 0))
        virtual_link_hasten(link);
    transmit(link, LINK_UP, data, length, false);
}

void virtual_link_close(void *context, bool abort)
{
    struct virtual_vehicle *vehicle = context;
    struct virtual_link *link = vehicle_link(vehicle);
    if (vehicle_dead(vehicle))
        return;
    vehicle->attempts++;
    if (!link)
        return;
    virtual_tell(vehicle, vehicle->partition->now_us, TRACE_LINK, (struct span){NULL, 0}, abort ? "cut" : "closed");
    virtual_link_found_dead(vehicle, vehicle->partition->now_us, abort);
    if (link->broker_open && !link->dead)
        transmit_end(link, LINK_UP);
    vehicle_lets_go(link);
}

/* ---- the broker's door --------------------------------------------------------------------------------------------- */

void virtual_broker_send(void *door, void *handle, const uint8_t *data, size_t length)
{
    struct virtual_link *link = handle;
    if (__builtin_expect(!link->vehicle, 0)) {
        virtual_member_receive(handle, data, length);
        return;
    }
    if (link->vehicle_open && !virtual_link_forgotten(link))
        transmit(link, LINK_DOWN, data, length, false);
}

void virtual_broker_close(void *door, void *handle, enum cloud_close_reason reason)
{
    struct virtual_link *link = handle;
    if (__builtin_expect(!link->vehicle, 0)) {
        virtual_member_closed(handle);
        return;
    }
    if (reason == CLOUD_CLOSED_KEEP_ALIVE)
        virtual_link_silent(link);
    link->broker_open = false;
    link->connection = NULL;
    drop_segments(link, LINK_UP);
    if (link->vehicle_open && !link->dead)
        transmit_end(link, LINK_DOWN);
}

static inline void arrived_at_broker(struct virtual_link *link, int64_t now_us, const struct segment *segment)
{
    if (!link->broker_open)
        return;
    virtual_tell(link->vehicle, now_us, TRACE_ARRIVED, span_of(segment->data, segment->length),
                 segment->end ? "end of the connection" : NULL);
    if (!segment->end) {
        cloud_broker_input(link_broker(link), link->connection, now_us, segment->data, segment->length);
        return;
    }
    link->broker_open = false;
    struct cloud_connection *connection = link->connection;
    link->connection = NULL;
    cloud_broker_closed(link_broker(link), connection, now_us);
}

static inline void arrived_at_vehicle(struct virtual_link *link, int64_t now_us, const struct segment *segment)
{
    struct virtual_vehicle *vehicle = link->vehicle;
    if (!link->vehicle_open)
        return;
    virtual_tell(vehicle, now_us, TRACE_RECEIVED, span_of(segment->data, segment->length),
                 segment->end ? "end of the connection" : NULL);
    if (segment->end) {
        vehicle_lets_go(link);
        tcu_link_down(vehicle_tcu(vehicle), now_us, TCU_LINK_PEER_CLOSED);
        return;
    }
    fleet_bytes(&vehicle->partition->world->fleet, &vehicle->trace, now_us, LINK_DOWN, segment->data, segment->length);
    if (__builtin_expect(vehicle->partition->parkings != NULL, 0))
        virtual_battery_used(vehicle, now_us, segment->length);
    tcu_bytes(vehicle_tcu(vehicle), now_us, segment->data, segment->length);
}

static inline void link_arrivals(struct virtual_link *link, int64_t now_us, enum link_direction direction)
{
    struct segment *segment;
    while ((segment = oldest(link, direction)) && segment->arrival_us <= now_us) {
        take_oldest(link, direction);
        if (direction == LINK_UP)
            arrived_at_broker(link, now_us, segment);
        else
            arrived_at_vehicle(link, now_us, segment);
        segment_give(link->vehicle->partition, segment);
    }
}

static __attribute__((noinline)) void older_arrivals(struct virtual_link *link, int64_t now_us)
{
    for (; link; link = link->next)
        link_arrivals(link, now_us, LINK_UP);
}

/* Links are only given back by the sweep at the end, so the walk is safe whatever the handlers do. The vehicle's own comes last. */
void virtual_arrivals_up(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct virtual_link *newest = vehicle->links;
    if (!newest)
        return;
    if (newest->next)
        older_arrivals(newest->next, now_us);
    link_arrivals(newest, now_us, LINK_UP);
    if (!newest->vehicle_open || newest->next)
        sweep_links(vehicle);
    virtual_cloud_touched(vehicle->partition);
}

void virtual_arrivals_down(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct virtual_link *newest = vehicle->links;
    if (!newest)
        return;
    link_arrivals(newest, now_us, LINK_DOWN);
    if (!newest->vehicle_open || newest->next)
        sweep_links(vehicle);
}
