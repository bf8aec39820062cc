/* live_admit.c: who may begin: a token bucket paces handshakes and bounds how many are under way, so that a storm of connects does not make the rig
 * late for everything else. Also the resolver: names are looked up anew at each attempt, on a thread of its own; attempts that ask for a name while
 * it is being looked up share the next answer.
 */
#include "live.h"

#include <netdb.h>
#include <stdlib.h>
#include <unistd.h>

#define LATE_US      (10 * US_PER_S) /* a third of an attempt's time */
#define KEYS_AT_ONCE 4               /* key pairs made before the loop looks at its sockets again: some 200 us each */

/* ---- lines --------------------------------------------------------------------------------------------------------- */

bool live_line_push(struct live_world *world, struct live_line *line, struct live_ticket ticket)
{
    if (line->count == line->capacity) {
        uint32_t capacity = line->capacity ? line->capacity * 2 : 64;
        struct live_ticket *tickets = malloc(capacity * sizeof *tickets);
        if (!tickets) {
            world->out_of_memory = true;
            return false;
        }
        for (uint32_t i = 0; i < line->count; i++)
            tickets[i] = line->tickets[(line->first + i) % line->capacity];
        free(line->tickets);
        *line = (struct live_line){tickets, 0, line->count, capacity};
    }
    line->tickets[(line->first + line->count++) % line->capacity] = ticket;
    return true;
}

bool live_line_pop(struct live_line *line, struct live_ticket *ticket)
{
    if (!line->count)
        return false;
    *ticket = line->tickets[line->first];
    line->first = (line->first + 1) % line->capacity;
    line->count--;
    return true;
}

static bool stands(const struct live_world *world, const struct live_ticket *ticket)
{
    const struct live_vehicle *vehicle = &world->vehicles[ticket->place];
    return ticket->serial == (ticket->purpose == FOR_LINK ? vehicle->attempts : vehicle->requests);
}

static void give_up(struct live_ticket *ticket)
{
    if (ticket->request)
        live_http_release(ticket->request);
}

/* ---- admission ----------------------------------------------------------------------------------------------------- */

static void fill_bucket(struct live_world *world)
{
    double most = world->at_once > 1 ? world->at_once : 1;
    world->tokens += (double)(world->now_us - world->tokens_us) * world->rate / 1e6;
    world->tokens_us = world->now_us;
    if (world->tokens > most)
        world->tokens = most;
}

void live_admit_done(struct live_world *world)
{
    ASSERT(world->under_way > 0);
    world->under_way--;
}

static void begin(struct live_world *world, struct live_ticket *ticket)
{
    struct live_vehicle *vehicle = &world->vehicles[ticket->place];
    assert_context.vehicle = vehicle->index;
    world->tokens -= 1;
    world->under_way++;
    if (ticket->purpose == FOR_REQUEST) {
        live_http_start(ticket->request);
        return;
    }
    int64_t waited_us = world->now_us - vehicle->phase_us;
    if (waited_us > world->longest_wait_us)
        world->longest_wait_us = waited_us;
    vehicle->counted = true;
    live_link_start(vehicle);
}

static void make_keys(struct live_world *world)
{
    struct live_ticket ticket;
    for (int i = 0; i < KEYS_AT_ONCE && live_line_pop(&world->keys, &ticket);)
        if (stands(world, &ticket)) {
            live_key_make(&world->vehicles[ticket.place]);
            live_tick(world);
            i++;
        }
}

static void drop_fallen(struct live_world *world)
{
    struct live_ticket ticket;
    while (world->line.count && !stands(world, &world->line.tickets[world->line.first])) {
        live_line_pop(&world->line, &ticket);
        give_up(&ticket);
    }
}

/* First come, first served, until those in front have waited so long that they will give up before or soon after they are through, and all
 * the work on them is for nothing: then who came last is first, and the others come again. */
static void take_next(struct live_world *world, struct live_ticket *ticket)
{
    struct live_line *line = &world->line;
    const struct live_ticket *front = &line->tickets[line->first];
    bool late = front->purpose == FOR_LINK && world->now_us - world->vehicles[front->place].phase_us > LATE_US;
    if (late)
        *ticket = line->tickets[(line->first + --line->count) % line->capacity];
    else
        live_line_pop(line, ticket);
}

void live_admit(struct live_world *world)
{
    struct live_ticket ticket;
    make_keys(world);
    fill_bucket(world);
    drop_fallen(world);
    while (world->line.count && world->under_way < world->at_once && world->tokens >= 1) {
        take_next(world, &ticket);
        if (stands(world, &ticket))
            begin(world, &ticket);
        else
            give_up(&ticket);
        drop_fallen(world);
    }
}

int64_t live_admit_next(const struct live_world *world)
{
    if (world->keys.count)
        return world->now_us;
    if (!world->line.count || world->under_way >= world->at_once)
        return TIME_NEVER;
    double missing = 1 - world->tokens;
    return missing <= 0 ? world->now_us : world->now_us + (int64_t)(missing * 1e6 / world->rate) + 1;
}

/* ---- resolver ------------------------------------------------------------------------------------------------------ */

static socklen_t look_up(const struct live_door *door, struct sockaddr_storage *out)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
    if (getaddrinfo(door->host, door->service, &hints, &found) != 0 || !found)
        return 0;
    socklen_t length = found->ai_addrlen;
    memcpy(out, found->ai_addr, length);
    freeaddrinfo(found);
    return length;
}

static void *resolve_all(void *context)
{
    struct live_world *world = context;
    struct live_resolver *resolver = &world->resolver;
    pthread_mutex_lock(&resolver->lock);
    while (!resolver->ending) {
        if (!resolver->asked_count) {
            pthread_cond_wait(&resolver->wake, &resolver->lock);
            continue;
        }
        struct live_door *door = resolver->asked[--resolver->asked_count];
        struct sockaddr_storage address;
        pthread_mutex_unlock(&resolver->lock);
        socklen_t length = look_up(door, &address);
        pthread_mutex_lock(&resolver->lock);
        uint32_t place = resolver->answered_count++;
        resolver->answered[place] = door;
        resolver->addresses[place] = address;
        resolver->address_lengths[place] = length;
        ev_async_send(world->loop, &world->resolver_wake);
    }
    pthread_mutex_unlock(&resolver->lock);
    return NULL;
}

static void answered(struct live_world *world, struct live_door *door, const struct sockaddr_storage *address,
                     socklen_t length)
{
    struct live_line line = door->waiting; /* an attempt that fails at once may ask again */
    struct live_ticket ticket;
    door->waiting = (struct live_line){0};
    door->asked = false;
    while (live_line_pop(&line, &ticket))
        if (stands(world, &ticket))
            live_link_resolved(&world->vehicles[ticket.place], address, length);
    free(line.tickets);
}

static void on_answers(struct ev_loop *loop, ev_async *watcher, int events)
{
    struct live_world *world = watcher->data;
    struct live_resolver *resolver = &world->resolver;
    live_tick(world);
    for (;;) {
        struct sockaddr_storage address;
        struct live_door *door = NULL;
        socklen_t length = 0;
        pthread_mutex_lock(&resolver->lock);
        if (resolver->answered_count) {
            uint32_t place = --resolver->answered_count;
            door = resolver->answered[place];
            address = resolver->addresses[place];
            length = resolver->address_lengths[place];
        }
        pthread_mutex_unlock(&resolver->lock);
        if (!door)
            return;
        answered(world, door, &address, length);
    }
}

void live_resolve(struct live_vehicle *vehicle, struct live_door *door)
{
    struct live_world *world = vehicle->world;
    struct live_resolver *resolver = &world->resolver;
    live_line_push(
        world, &door->waiting,
        (struct live_ticket){.place = live_place(vehicle), .serial = vehicle->attempts, .purpose = FOR_LINK});
    if (door->asked)
        return;
    door->asked = true; /* a door is in one of the two lists at most once, so they cannot overflow */
    pthread_mutex_lock(&resolver->lock);
    resolver->asked[resolver->asked_count++] = door;
    pthread_cond_signal(&resolver->wake);
    pthread_mutex_unlock(&resolver->lock);
}

bool live_resolver_start(struct live_world *world)
{
    struct live_resolver *resolver = &world->resolver;
    pthread_mutex_init(&resolver->lock, NULL);
    pthread_cond_init(&resolver->wake, NULL);
    ev_async_init(&world->resolver_wake, on_answers);
    world->resolver_wake.data = world;
    ev_async_start(world->loop, &world->resolver_wake);
    resolver->running = pthread_create(&resolver->thread, NULL, resolve_all, world) == 0;
    return resolver->running || live_fail(world, "cannot start a thread for looking up names");
}

void live_resolver_stop(struct live_world *world)
{
    struct live_resolver *resolver = &world->resolver;
    if (!resolver->running)
        return;
    pthread_mutex_lock(&resolver->lock);
    resolver->ending = true;
    pthread_cond_signal(&resolver->wake);
    pthread_mutex_unlock(&resolver->lock);
    pthread_join(resolver->thread, NULL);
    resolver->running = false;
    for (uint32_t b = 0; b < world->broker_count; b++)
        for (uint32_t d = 0; d < LIVE_IDENTITIES; d++)
            free(world->brokers[b].doors[d].waiting.tickets);
}
