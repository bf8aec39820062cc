/* live_radio.c: the cellular link's model on real sockets: bytes wait here until the model says that they have arrived.
 *
 * What the agent sends goes to the socket when it has arrived behind the radio, the region's way and the path's; what the socket has is given to the
 * agent when it has come down the same way. An end of the connection travels behind the bytes before it. The delay acts on plaintext: a TLS
 * record is sealed when its bytes have arrived. Setting up a connection is done at once, and told when the time drawn for it is over. Draws
 * are the virtual world's, by the same purposes in the same order. Nothing here needs the machine's leave: no packet filter, no root.
 *
 * A connection that the vehicle has let go of while its last bytes are under way is a tail: it ends behind them. One that the network has forgotten
 * is a ghost: the vehicle sends on, into nothing.
 */
#include "live.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <unistd.h>

#define HANDSHAKE_COMPUTE_US 20000           /* both ends' processors for a handshake, as in the virtual world */
#define HTTP_HEAD_BYTES      260             /* request and response lines and header fields, likewise */
#define RESET_RADIO_US       60000           /* there and back over the radio */
#define HELD_DOWN_BYTES      (256u << 10)    /* of one vehicle: more is left to the socket */
#define HELD_UP_BYTES        (4u << 20)      /* a queue in a modem is no longer; the link is broken then */
#define FULL_AGAIN_US        (5 * US_PER_MS) /* until a socket that was full is tried again */
#define TAIL_PATIENCE_US     (30 * US_PER_S) /* for a socket that takes nothing */
#define LINGER_US            (2 * US_PER_S)

struct segment { /* bytes under way */
    struct segment *next;
    int64_t arrival_us; /* TIME_NEVER: they will not arrive, nor does what is behind them */
    uint32_t length, sent;
    uint8_t end; /* enum link_end */
    uint8_t data[];
};
enum link_end { GOES_ON, CLOSED, CUT, ABANDONED, CLOSED_AT_THE_OTHER_END /* and above: 1 + enum tcu_link_end */ };

struct segments {
    struct segment *first, *last;
    uint32_t bytes;
};

struct tail {
    struct tail *next;
    struct segments up;
    SSL *ssl;
    int fd;
    int64_t patience_us;
    const struct live_vehicle *lost_by; /* of one that becomes a ghost */
};

struct live_radio {
    struct link_state state;
    struct sim_deadline due;
    struct segments way[2]; /* by enum link_direction */
    struct tail *tails;
    int64_t phase_us[LIVE_PHASES]; /* of the attempt: drawn, or as long as it really took */
    int64_t asked_us;
    struct live_request *request; /* under way to the certificate broker */
    int64_t issued_us;
    uint8_t *answer; /* ... and what came of it, under way back */
    uint16_t answer_length, status;
    uint32_t setup_bytes[2]; /* counted when somebody is there */
    uint32_t draws;
    uint8_t verdict; /* of the attempt: 0: it is up; 1 + enum tcu_link_end */
    bool resets;     /* the network answers what is sent on the dead connection */
    bool ended;      /* the socket has nothing more to give */
};

size_t live_radio_bytes(void)
{
    return sizeof(struct live_radio);
}

static struct live_radio *radio_of(const struct live_vehicle *vehicle)
{
    return &vehicle->world->radios[live_place(vehicle)];
}

static const struct scenario_cohort *cohort_of(const struct live_vehicle *vehicle)
{
    return &vehicle->world->scenario->cohorts[vehicle->trace.cohort];
}

static struct measure_dimension who(const struct live_vehicle *vehicle)
{
    return fleet_who(&vehicle->trace, PATH_ANY);
}

static struct sim_random stream(const struct live_vehicle *vehicle, uint32_t purpose, uint32_t draws)
{
    struct sim_random random;
    sim_random_init(&random, vehicle->world->scenario->seed, vehicle->index, purpose);
    random.counter = draws;
    return random;
}

static int64_t plus_us(int64_t at_us, int64_t more_us)
{
    return at_us > TIME_NEVER - more_us ? TIME_NEVER : at_us + more_us;
}

/* One way behind the radio: to the region, by the path the vehicle's operator has bought. */
static int64_t way_us(const struct live_vehicle *vehicle)
{
    const struct scenario_cohort *cohort = cohort_of(vehicle);
    return live_regions_latency(vehicle) + (cohort->has_path ? cohort->path.latency_us : 0);
}

bool live_radio_ends(const struct live_vehicle *vehicle)
{
    return radio_of(vehicle)->tails != NULL;
}

/* ---- bytes under way ------------------------------------------------------------------------------------------------------- */

static struct segment *take_first(struct segments *way)
{
    struct segment *first = way->first;
    way->first = first->next;
    if (!way->first)
        way->last = NULL;
    way->bytes -= first->length;
    return first;
}

static void drop(struct segments *way)
{
    while (way->first)
        free(take_first(way));
}

static void arm(struct live_vehicle *vehicle)
{
    struct live_radio *radio = radio_of(vehicle);
    int64_t next_us = TIME_NEVER;
    for (int direction = LINK_UP; direction <= LINK_DOWN; direction++)
        if (radio->way[direction].first && radio->way[direction].first->arrival_us < next_us)
            next_us = radio->way[direction].first->arrival_us;
    for (const struct tail *tail = radio->tails; tail; tail = tail->next)
        if (tail->up.first->arrival_us < next_us)
            next_us = tail->up.first->arrival_us;
    if (!sim_deadline_set(vehicle->world->queue, &radio->due, next_us, live_place(vehicle), LIVE_RADIO))
        vehicle->world->out_of_memory = true;
}

static int64_t arrival_of(struct live_vehicle *vehicle, enum link_direction direction, size_t length)
{
    struct live_radio *radio = radio_of(vehicle);
    const struct link_profile *profile = live_profile(vehicle);
    const struct scenario_cohort *cohort = cohort_of(vehicle);
    uint32_t overhead = profile->overhead_bytes + (cohort->has_path ? cohort->path.overhead_bytes : 0);
    struct sim_random random = stream(vehicle, SIM_FOR_LINK, radio->draws++);
    return plus_us(
        link_transfer(profile, &radio->state, &random, direction, vehicle->world->now_us, (uint32_t)length + overhead),
        way_us(vehicle));
}

static void append(struct live_vehicle *vehicle, enum link_direction direction, const uint8_t *data, size_t length,
                   uint8_t end)
{
    struct segments *way = &radio_of(vehicle)->way[direction];
    struct segment *segment = malloc(sizeof *segment + length);
    if (!segment) {
        vehicle->world->out_of_memory = true;
        return;
    }
    *segment =
        (struct segment){.arrival_us = arrival_of(vehicle, direction, length), .length = (uint32_t)length, .end = end};
    if (length)
        memcpy(segment->data, data, length);
    if (way->last)
        way->last->next = segment;
    else
        way->first = segment;
    way->last = segment;
    way->bytes += segment->length;
    arm(vehicle);
}

/* The vehicle is about to send: what waits for its modem's next occasion comes sooner. */
static void hasten(struct live_vehicle *vehicle)
{
    struct live_radio *radio = radio_of(vehicle);
    int64_t sooner_us = link_hasten_us(live_profile(vehicle), &radio->state, vehicle->world->now_us);
    for (struct segment *segment = radio->way[LINK_DOWN].first; sooner_us && segment; segment = segment->next)
        if (segment->arrival_us != TIME_NEVER)
            segment->arrival_us -= sooner_us;
}

/* ---- setting up ------------------------------------------------------------------------------------------------------------- */

bool live_radio_open(struct live_vehicle *vehicle, uint8_t tls)
{
    struct live_world *world = vehicle->world;
    struct live_radio *radio = radio_of(vehicle);
    struct link_setup setup = {.tls = tls};
    struct sim_random random = stream(vehicle, SIM_FOR_LINK | 0x400, radio->draws++);
    link_setup_draw(live_profile(vehicle), &random, HANDSHAKE_COMPUTE_US, &setup);
    int64_t round_trip_us = 2 * way_us(vehicle);
    if (cohort_of(vehicle)->has_path) /* the tunnel stands before the name is asked for */
        setup.resolve_us += cohort_of(vehicle)->path.setup_round_trips * (round_trip_us + setup.tcp_us);
    radio->phase_us[LIVE_RESOLVE] = setup.resolve_us;
    radio->phase_us[LIVE_TCP] = setup.tcp_us + round_trip_us;
    radio->phase_us[LIVE_TLS] = setup.tls ? setup.tls_us + round_trip_us : 0;
    radio->asked_us = world->now_us;
    radio->verdict = 0;
    if (world->outage_until_us > world->now_us + setup.resolve_us) {
        live_schedule(vehicle, LIVE_LINK_FAILED,
                      world->now_us + radio->phase_us[LIVE_RESOLVE] + radio->phase_us[LIVE_TCP], vehicle->attempts);
        return false;
    }
    radio->setup_bytes[LINK_UP] = setup.bytes_up;
    radio->setup_bytes[LINK_DOWN] = setup.bytes_down;
    return true;
}

void live_radio_phase(struct live_vehicle *vehicle, enum live_phase phase, int64_t took_us)
{
    struct live_radio *radio = radio_of(vehicle);
    if (took_us > radio->phase_us[phase])
        radio->phase_us[phase] = took_us;
    if (phase != LIVE_TCP)
        return;
    vehicle->trace.bytes_up += radio->setup_bytes[LINK_UP];
    vehicle->trace.bytes_down += radio->setup_bytes[LINK_DOWN];
}

static void tell_at_phase(struct live_vehicle *vehicle, enum live_phase last)
{
    const struct live_radio *radio = radio_of(vehicle);
    int64_t at_us = radio->asked_us;
    for (int phase = LIVE_RESOLVE; phase <= (int)last; phase++)
        at_us += radio->phase_us[phase];
    live_schedule(vehicle, LIVE_LINK_TOLD, at_us, vehicle->attempts);
}

void live_radio_ready(struct live_vehicle *vehicle)
{
    tell_at_phase(vehicle, LIVE_TLS);
}

void live_radio_refused(struct live_vehicle *vehicle, enum live_phase last, enum tcu_link_end why)
{
    radio_of(vehicle)->verdict = (uint8_t)(1 + why);
    tell_at_phase(vehicle, last);
}

static void sample_phases(const struct live_vehicle *vehicle)
{
    static const enum metric metrics[] = {METRIC_CONNECT_RESOLVE, METRIC_CONNECT_TCP, METRIC_CONNECT_TLS};
    const struct live_radio *radio = radio_of(vehicle);
    int64_t began_us = vehicle->trace.attempt_us >= 0 ? vehicle->trace.attempt_us : vehicle->world->now_us;
    for (int phase = LIVE_RESOLVE; phase < (vehicle->ssl ? LIVE_PHASES : LIVE_TLS); phase++)
        measure_sample(vehicle->world->fleet.measure, metrics[phase], who(vehicle), vehicle->index, began_us,
                       radio->phase_us[phase]);
}

void live_radio_told(struct live_vehicle *vehicle)
{
    struct live_radio *radio = radio_of(vehicle);
    if (radio->verdict) {
        live_link_failed(vehicle, (enum tcu_link_end)(radio->verdict - 1));
        return;
    }
    link_reset(&radio->state);
    radio->state.last_active_us = vehicle->world->now_us;
    sample_phases(vehicle);
    live_link_up(vehicle);
}

/* ---- up --------------------------------------------------------------------------------------------------------------------- */

/* A connection that was silent for too long is no longer known to the network. */
static bool forgotten(struct live_vehicle *vehicle)
{
    if (live_link_dead(vehicle) || !vehicle->world->networks)
        return live_link_dead(vehicle);
    return live_network_forgets(vehicle, &radio_of(vehicle)->state);
}

void live_radio_send(struct live_vehicle *vehicle, const uint8_t *data, size_t length)
{
    struct live_world *world = vehicle->world;
    struct live_radio *radio = radio_of(vehicle);
    if (forgotten(vehicle)) {
        if (radio->resets)
            live_schedule(vehicle, LIVE_LINK_RESET, world->now_us + 2 * way_us(vehicle) + RESET_RADIO_US,
                          vehicle->attempts);
        return;
    }
    hasten(vehicle);
    if (radio->way[LINK_UP].bytes + length > HELD_UP_BYTES) {
        live_schedule(vehicle, LIVE_LINK_BROKEN, world->now_us, vehicle->attempts);
        return;
    }
    append(vehicle, LINK_UP, data, length, GOES_ON);
}

/* false: the socket is full, or broken: *broken says which. */
static bool hand_over(SSL *ssl, int fd, struct segment *segment, bool *broken)
{
    while (segment->sent < segment->length) {
        ssize_t written = live_socket_write(ssl, fd, segment->data + segment->sent, segment->length - segment->sent);
        *broken = written < 0;
        if (written <= 0)
            return false;
        segment->sent += (uint32_t)written;
    }
    return true;
}

static void arrivals_up(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    struct live_radio *radio = radio_of(vehicle);
    struct segments *way = &radio->way[LINK_UP];
    while (way->first && way->first->arrival_us <= world->now_us) {
        bool broken = radio->ended;
        if (!broken && !hand_over(vehicle->ssl, vehicle->watcher.fd, way->first, &broken) && !broken) {
            way->first->arrival_us = world->now_us + FULL_AGAIN_US;
            return;
        }
        if (broken && !radio->ended) /* its end comes down as any other */
            live_radio_ended(vehicle, TCU_LINK_LOST);
        measure_sample(world->fleet.measure, METRIC_SEND_LAG, who(vehicle), vehicle->index, way->first->arrival_us,
                       world->now_us - way->first->arrival_us);
        free(take_first(way));
    }
}

/* ---- down ------------------------------------------------------------------------------------------------------------------- */

bool live_radio_received(struct live_vehicle *vehicle, const uint8_t *data, size_t length)
{
    struct live_radio *radio = radio_of(vehicle);
    if (forgotten(vehicle))
        return false;
    append(vehicle, LINK_DOWN, data, length, GOES_ON);
    if (radio->way[LINK_DOWN].bytes < HELD_DOWN_BYTES)
        return true;
    live_link_pause(vehicle);
    return false;
}

void live_radio_ended(struct live_vehicle *vehicle, enum tcu_link_end why)
{
    struct live_radio *radio = radio_of(vehicle);
    live_link_pause(vehicle);
    radio->ended = true;
    append(vehicle, LINK_DOWN, NULL, 0, (uint8_t)(CLOSED_AT_THE_OTHER_END + why));
}

static void arrivals_down(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    struct live_radio *radio = radio_of(vehicle);
    struct segments *way = &radio->way[LINK_DOWN];
    uint32_t attempt = vehicle->attempts;
    bool paused = way->bytes >= HELD_DOWN_BYTES;
    while (vehicle->attempts == attempt && way->first && way->first->arrival_us <= world->now_us) {
        struct segment *segment = take_first(way);
        if (segment->end)
            live_link_failed(vehicle, (enum tcu_link_end)(segment->end - CLOSED_AT_THE_OTHER_END));
        else
            live_link_deliver(vehicle, segment->data, segment->length);
        free(segment);
    }
    if (paused && vehicle->attempts == attempt && !radio->ended && way->bytes < HELD_DOWN_BYTES)
        live_link_resume(vehicle);
}

/* ---- tails ------------------------------------------------------------------------------------------------------------------ */

static void tail_end(struct live_world *world, struct tail *tail, uint8_t end)
{
    if (end == CLOSED && tail->ssl)
        SSL_shutdown(tail->ssl);
    if (end == CLOSED)
        shutdown(tail->fd, SHUT_WR);
    ERR_clear_error();
    SSL_free(tail->ssl);
    drop(&tail->up);
    if (end == CUT)
        live_socket_cut(tail->fd);
    else if (end == CLOSED)
        live_ghost_leave(world, tail->fd, world->now_us + LINGER_US, NULL);
    else
        live_ghost_leave(world, tail->fd, tail->patience_us, tail->lost_by);
    free(tail);
}

/* true: it has ended. */
static bool tail_arrivals(struct live_world *world, struct tail *tail)
{
    while (tail->up.first->arrival_us <= world->now_us) {
        struct segment *segment = tail->up.first;
        bool broken = false;
        if (!hand_over(tail->ssl, tail->fd, segment, &broken) && !broken && world->now_us < tail->patience_us) {
            segment->arrival_us = world->now_us + FULL_AGAIN_US;
            return false;
        }
        if (broken || segment->end || segment->sent < segment->length) {
            tail_end(world, tail, broken ? CUT : segment->end ? segment->end : CUT);
            return true;
        }
        free(take_first(&tail->up));
    }
    return false;
}

static void arrivals_of_tails(struct live_vehicle *vehicle)
{
    struct tail **place = &radio_of(vehicle)->tails;
    while (*place) {
        struct tail *tail = *place, *next = tail->next;
        if (tail_arrivals(vehicle->world, tail))
            *place = next;
        else
            place = &tail->next;
    }
}

/* The vehicle has let go of its connection, whose last bytes are under way. */
static void make_tail(struct live_vehicle *vehicle, struct segments up, SSL *ssl, int fd, int64_t patience_us)
{
    struct live_radio *radio = radio_of(vehicle);
    struct tail *tail = malloc(sizeof *tail);
    if (!tail) {
        vehicle->world->out_of_memory = true;
        SSL_free(ssl);
        drop(&up);
        live_socket_cut(fd);
        return;
    }
    *tail = (struct tail){.up = up, .ssl = ssl, .fd = fd, .patience_us = patience_us, .lost_by = vehicle};
    struct tail **place = &radio->tails;
    while (*place)
        place = &(*place)->next;
    *place = tail;
    arm(vehicle);
}

static struct segments take_all(struct segments *way)
{
    struct segments all = *way;
    *way = (struct segments){0};
    return all;
}

void live_radio_close(struct live_vehicle *vehicle, bool abort)
{
    struct live_radio *radio = radio_of(vehicle);
    append(vehicle, LINK_UP, NULL, 0, abort ? CUT : CLOSED);
    if (!radio->way[LINK_UP].last || !radio->way[LINK_UP].last->end) { /* out of memory: the run ends */
        live_link_cut(vehicle);
        return;
    }
    struct segments up = take_all(&radio->way[LINK_UP]);
    SSL *ssl = vehicle->ssl;
    vehicle->ssl = NULL;
    int fd = live_link_detach(vehicle);
    make_tail(vehicle, up, ssl, fd, vehicle->world->now_us + TAIL_PATIENCE_US);
}

void live_radio_abandon(struct live_vehicle *vehicle, SSL *ssl, int fd, int64_t until_us, bool resets)
{
    struct live_radio *radio = radio_of(vehicle);
    struct segments up = take_all(&radio->way[LINK_UP]);
    radio->resets = resets;
    if (up.last) {
        up.last->end = ABANDONED;
        make_tail(vehicle, up, ssl, fd, until_us);
        return;
    }
    SSL_free(ssl);
    live_ghost_leave(vehicle->world, fd, until_us, vehicle);
}

/* ---- the end of a link ------------------------------------------------------------------------------------------------------ */

void live_radio_forget(struct live_vehicle *vehicle)
{
    struct live_radio *radio = radio_of(vehicle);
    drop(&radio->way[LINK_UP]);
    drop(&radio->way[LINK_DOWN]);
    radio->resets = radio->ended = false;
}

void live_radio_lost(struct live_vehicle *vehicle)
{
    link_reset(&radio_of(vehicle)->state);
}

void live_radio_stand_still(struct live_vehicle *vehicle, int64_t until_us)
{
    if (vehicle->world->radios)
        link_stand_still(&radio_of(vehicle)->state, until_us);
}

void live_radio_due(struct live_vehicle *vehicle, int64_t due_us)
{
    if (!sim_deadline_due(vehicle->world->queue, &radio_of(vehicle)->due, due_us, live_place(vehicle), LIVE_RADIO))
        return;
    arrivals_of_tails(vehicle);
    if (vehicle->stage == STAGE_UP) {
        arrivals_up(vehicle);
        arrivals_down(vehicle);
    }
    arm(vehicle);
}

int64_t live_reachable_us(const struct live_vehicle *vehicle, int64_t now_us)
{
    if (!vehicle->world->radios)
        return now_us;
    const struct live_radio *radio = radio_of(vehicle);
    struct sim_random random = stream(vehicle, SIM_FOR_LINK, radio->draws);
    return link_reachable_us(live_profile(vehicle), &radio->state, &random, now_us);
}

/* ---- the certificate broker ------------------------------------------------------------------------------------------------- */

void live_radio_request(struct live_vehicle *vehicle, struct live_request *request)
{
    struct live_radio *radio = radio_of(vehicle);
    const struct link_profile *profile = live_profile(vehicle);
    struct link_setup setup = {.tls = 2};
    struct sim_random random = stream(vehicle, SIM_FOR_LINK | 0x800, radio->draws++);
    link_setup_draw(profile, &random, HANDSHAKE_COMPUTE_US, &setup);
    int64_t sent_us = vehicle->world->now_us + setup.resolve_us + setup.tcp_us + setup.tls_us + 4 * way_us(vehicle);
    uint32_t bytes = (uint32_t)strlen(request->body) + HTTP_HEAD_BYTES;
    int64_t arrival_us =
        plus_us(link_transfer(profile, &radio->state, &random, LINK_UP, sent_us, bytes), way_us(vehicle));
    vehicle->trace.bytes_up += setup.bytes_up;
    vehicle->trace.bytes_down += setup.bytes_down;
    if (radio->request)
        live_http_release(radio->request);
    radio->request = request;
    radio->issued_us = arrival_us + vehicle->world->scenario->cloud.issue_us;
    live_schedule(vehicle, LIVE_HTTP_SENT, arrival_us, request->serial);
}

/* It has arrived: what follows on the sockets is real. */
void live_radio_sent(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    struct live_radio *radio = radio_of(vehicle);
    struct live_request *request = radio->request;
    radio->request = NULL;
    struct live_ticket ticket = {live_place(vehicle), vehicle->requests, FOR_REQUEST, request};
    if (!live_line_push(world, &world->line, ticket))
        live_http_release(request);
}

void live_radio_answer(struct live_vehicle *vehicle, int status, struct span certificate, size_t length)
{
    struct live_world *world = vehicle->world;
    struct live_radio *radio = radio_of(vehicle);
    struct sim_random random = stream(vehicle, SIM_FOR_LINK | 0x800, radio->draws++);
    int64_t now_us = world->now_us > radio->issued_us ? world->now_us : radio->issued_us, back_us = world->now_us;
    if (status) /* else the handshake failed */
        back_us = link_transfer(live_profile(vehicle), &radio->state, &random, LINK_DOWN, now_us,
                                (uint32_t)length + HTTP_HEAD_BYTES);
    uint8_t *answer = malloc(certificate.length + 1);
    if (!answer) {
        world->out_of_memory = true;
        return;
    }
    if (certificate.length)
        memcpy(answer, certificate.data, certificate.length);
    free(radio->answer);
    radio->answer = answer;
    radio->answer_length = (uint16_t)certificate.length;
    radio->status = (uint16_t)status;
    live_schedule(vehicle, LIVE_HTTP_ANSWERED, plus_us(back_us, way_us(vehicle)), vehicle->requests);
}

void live_radio_answered(struct live_vehicle *vehicle)
{
    struct live_radio *radio = radio_of(vehicle);
    uint8_t *answer = radio->answer;
    radio->answer = NULL; /* the agent may ask again at once */
    tcu_http_response(vehicle->tcu, vehicle->world->now_us, radio->status, span_of(answer, radio->answer_length));
    free(answer);
}

/* ---- a run's ----------------------------------------------------------------------------------------------------------------- */

bool live_radio_start(struct live_world *world)
{
    enum world_link_model wanted = world->options->link_model;
    if (wanted == LINK_MODEL_OFF || (wanted == LINK_MODEL_AUTO && !fleet_needs_link_model(world->scenario)))
        return true;
    world->radios = calloc(world->count + 1, sizeof *world->radios);
    if (!world->radios)
        return live_fail(world, "out of memory while setting up %u vehicles; run a smaller fleet", world->count);
    for (uint32_t v = 0; v < world->count; v++) {
        world->radios[v].due = SIM_DEADLINE_NONE;
        link_reset(&world->radios[v].state);
    }
    live_note(world->result, "link model on: what vehicles send and get is held for as long as their radio, path and "
                             "region take (--link-model)");
    return true;
}

static void hand_over_all(struct live_vehicle *vehicle)
{
    struct live_radio *radio = radio_of(vehicle);
    struct segments *way = &radio->way[LINK_UP];
    bool broken = radio->ended || live_link_dead(vehicle) || vehicle->stage != STAGE_UP;
    while (way->first && !broken && hand_over(vehicle->ssl, vehicle->watcher.fd, way->first, &broken))
        free(take_first(way));
    while (radio->tails) {
        struct tail *tail = radio->tails;
        radio->tails = tail->next;
        for (struct segment *segment = tail->up.first; segment; segment = segment->next)
            segment->arrival_us = vehicle->world->now_us;
        tail->patience_us = vehicle->world->now_us;
        if (!tail_arrivals(vehicle->world, tail))
            tail_end(vehicle->world, tail, CUT);
    }
}

void live_radio_stop(struct live_world *world)
{
    if (!world->radios)
        return;
    for (uint32_t v = 0; v < world->count; v++) {
        struct live_vehicle *vehicle = &world->vehicles[v];
        struct live_radio *radio = &world->radios[v];
        if (vehicle->world && world->loop)
            hand_over_all(vehicle);
        drop(&radio->way[LINK_UP]);
        drop(&radio->way[LINK_DOWN]);
        if (radio->request)
            live_http_release(radio->request);
        free(radio->answer);
        if (vehicle->world && (vehicle->stage == STAGE_READY || live_link_dead(vehicle)))
            live_link_cut(vehicle); /* what its agent says from here on, it says to nobody */
    }
    free(world->radios);
    world->radios = NULL;
}
