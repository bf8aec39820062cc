/* remote_table.c: commands by id and vehicles by name, in chained buckets that grow with their number. A vehicle is kept as long as it has commands
 * that were not told of to the end, or followers. */
#include "memory.h"
#include "remote_internal.h"
#include "remote_topic.h"

#define BUCKETS_AT_FIRST 8

bool remote_tables(struct cloud_remote *remote)
{
    remote->command_buckets = remote->vehicle_buckets = BUCKETS_AT_FIRST;
    remote->commands = memory_allocate_zero(BUCKETS_AT_FIRST, sizeof(struct remote_command *));
    remote->vehicles = memory_allocate_zero(BUCKETS_AT_FIRST, sizeof(struct remote_vehicle *));
    return remote->commands && remote->vehicles;
}

static void free_commands(struct cloud_remote *remote)
{
    for (struct remote_tell *tell = remote->tell_first, *next; tell; tell = next) {
        next = tell->next;
        if (!tell->late) /* late and not ended: in the table, too */
            memory_free(tell->command);
    }
    for (uint32_t i = 0; remote->commands && i < remote->command_buckets; i++)
        for (struct remote_command *c = remote->commands[i], *next; c; c = next) {
            next = c->next;
            memory_free(c);
        }
}

void remote_tables_free(struct cloud_remote *remote)
{
    free_commands(remote);
    for (uint32_t i = 0; remote->vehicles && i < remote->vehicle_buckets; i++)
        for (struct remote_vehicle *v = remote->vehicles[i], *next; v; v = next) {
            next = v->next;
            memory_free(v->followers);
            memory_free(v);
        }
    memory_free(remote->commands);
    memory_free(remote->vehicles);
    memory_free(remote->heap.entries);
}

/* ---- growth: without memory the chains get longer, that is all --------------------------------------------------------- */

static struct remote_command **command_bucket(const struct cloud_remote *remote, uint64_t id)
{
    return &remote->commands[id & (remote->command_buckets - 1)]; /* ids follow each other */
}

static struct remote_vehicle **vehicle_bucket(const struct cloud_remote *remote, uint64_t hash)
{
    return &remote->vehicles[hash & (remote->vehicle_buckets - 1)];
}

static void widen_commands(struct cloud_remote *remote)
{
    struct remote_command **old = remote->commands;
    uint32_t count = remote->command_buckets;
    struct remote_command **wider = memory_allocate_zero((size_t)count * 2, sizeof(struct remote_command *));
    if (!wider)
        return;
    remote->commands = wider;
    remote->command_buckets = count * 2;
    for (uint32_t i = 0; i < count; i++)
        for (struct remote_command *c = old[i], *next; c; c = next) {
            struct remote_command **bucket = command_bucket(remote, c->result.id);
            next = c->next;
            c->next = *bucket;
            *bucket = c;
        }
    memory_free(old);
}

static void widen_vehicles(struct cloud_remote *remote)
{
    struct remote_vehicle **old = remote->vehicles;
    uint32_t count = remote->vehicle_buckets;
    struct remote_vehicle **wider = memory_allocate_zero((size_t)count * 2, sizeof(struct remote_vehicle *));
    if (!wider)
        return;
    remote->vehicles = wider;
    remote->vehicle_buckets = count * 2;
    for (uint32_t i = 0; i < count; i++)
        for (struct remote_vehicle *v = old[i], *next; v; v = next) {
            struct remote_vehicle **bucket = vehicle_bucket(remote, v->hash);
            next = v->next;
            v->next = *bucket;
            *bucket = v;
        }
    memory_free(old);
}

/* ---- finding --------------------------------------------------------------------------------------------------------- */

struct remote_command *remote_find_gone(const struct cloud_remote *remote, uint64_t id)
{
    struct remote_command *c = *command_bucket(remote, id);
    while (c && c->result.id != id)
        c = c->next;
    return c;
}

struct remote_command *remote_find(const struct cloud_remote *remote, uint64_t id)
{
    struct remote_command *c = remote_find_gone(remote, id);
    return c && !c->gone ? c : NULL;
}

struct remote_vehicle *remote_vehicle_find(const struct cloud_remote *remote, struct span thing)
{
    uint64_t hash = remote_hash(thing);
    struct remote_vehicle *v = *vehicle_bucket(remote, hash);
    while (v && (v->hash != hash || !span_equal(span_of(v->name, v->length), thing)))
        v = v->next;
    return v;
}

struct remote_vehicle *remote_vehicle_need(struct cloud_remote *remote, struct span thing)
{
    struct remote_vehicle *v = remote_vehicle_find(remote, thing);
    if (v || thing.length > UINT8_MAX)
        return v;
    v = memory_allocate_zero(1, sizeof *v + thing.length);
    if (!v)
        return NULL;
    v->hash = remote_hash(thing);
    v->length = (uint8_t)thing.length;
    if (thing.length)
        memcpy(v->name, thing.data, thing.length);
    if (++remote->vehicle_count > remote->vehicle_buckets)
        widen_vehicles(remote);
    struct remote_vehicle **bucket = vehicle_bucket(remote, v->hash);
    v->next = *bucket;
    *bucket = v;
    remote->held_bytes += sizeof *v + v->length;
    return v;
}

/* ---- coming and going -------------------------------------------------------------------------------------------------- */

static void vehicle_release(struct cloud_remote *remote, struct remote_vehicle *vehicle)
{
    if (vehicle->held || vehicle->follower_count)
        return;
    struct remote_vehicle **at = vehicle_bucket(remote, vehicle->hash);
    while (*at != vehicle)
        at = &(*at)->next;
    *at = vehicle->next;
    remote->vehicle_count--;
    remote->held_bytes -= sizeof *vehicle + vehicle->length + vehicle->follower_capacity * sizeof(uint64_t);
    memory_free(vehicle->followers);
    memory_free(vehicle);
}

struct remote_command *remote_add(struct cloud_remote *remote, struct span thing, uint64_t id)
{
    struct remote_vehicle *vehicle = remote_vehicle_need(remote, thing);
    struct remote_command *command = vehicle ? memory_allocate_zero(1, sizeof *command) : NULL;
    if (!command) {
        if (vehicle)
            vehicle_release(remote, vehicle);
        return NULL;
    }
    command->result.id = id;
    command->tell_late = (struct remote_tell){.command = command, .late = true};
    command->tell_end = (struct remote_tell){.command = command};
    command->vehicle = vehicle;
    command->before = vehicle->last;
    *(vehicle->last ? &vehicle->last->behind : &vehicle->first) = command;
    vehicle->last = command;
    vehicle->open++;
    vehicle->held++;
    if (++remote->command_count > remote->command_buckets)
        widen_commands(remote);
    struct remote_command **bucket = command_bucket(remote, id);
    command->next = *bucket;
    *bucket = command;
    remote->held_bytes += sizeof *command;
    return command;
}

void remote_take_out(struct cloud_remote *remote, struct remote_command *command)
{
    struct remote_vehicle *vehicle = command->vehicle;
    struct remote_command **at = command_bucket(remote, command->result.id);
    while (*at != command)
        at = &(*at)->next;
    *at = command->next;
    remote->command_count--;
    *(command->before ? &command->before->behind : &vehicle->first) = command->behind;
    *(command->behind ? &command->behind->before : &vehicle->last) = command->before;
    vehicle->open -= !command->gone;
}

void remote_release(struct cloud_remote *remote, struct remote_command *command)
{
    struct remote_vehicle *vehicle = command->vehicle;
    remote->held_bytes -= sizeof *command;
    memory_free(command);
    remote_vehicle_let_go(remote, vehicle);
}

void remote_vehicle_let_go(struct cloud_remote *remote, struct remote_vehicle *vehicle)
{
    vehicle->held--;
    vehicle_release(remote, vehicle);
}
