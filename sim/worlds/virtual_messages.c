/* virtual_messages.c: processors in the virtual world: clients of their partition's broker, with connections and acknowledgements of their own and no
 * way between them: they stand in the same room.
 */
#include "virtual.h"

#include "fleet_messages.h"

#include <stdio.h>

#define PACKET_MAX 512 /* of what a member says: CONNECT, SUBSCRIBE */

struct virtual_member { /* the broker's handle of its connection: begins as a virtual_link does */
    struct virtual_vehicle *nobody;
    struct partition *partition;
    struct cloud_connection *connection; /* NULL: none */
    uint32_t number;
};

struct virtual_messages {
    struct fleet_pool pool;
    struct virtual_member members[FLEET_MEMBERS];
    struct cloud_router *router;
    struct fleet_notices notices;
    struct fleet_book books[]; /* by vehicle */
};

struct fleet_book *virtual_find_book(void *world, uint32_t vehicle)
{
    struct virtual_vehicle *found = virtual_find_vehicle(world, vehicle);
    return found && found->partition->hall ? &found->partition->hall->books[found->local] : NULL;
}

static const struct cloud_peer inside = {.inside = true, .address = "inside"};

const struct cloud_peer *virtual_member_peer(void)
{
    return &inside;
}

static void say(struct virtual_member *member, int64_t now_us, const struct mq5_packet *packet)
{
    uint8_t bytes[PACKET_MAX];
    size_t length;
    enum mq5_status status = mq5_encode(MQ5_V5, packet, bytes, sizeof bytes, &length);
    ASSERT(status == MQ5_OK);
    if (member->connection)
        cloud_broker_input(member->partition->cloud.broker, member->connection, now_us, bytes, length);
}

void virtual_member_receive(void *handle, const uint8_t *data, size_t length)
{
    struct virtual_member *member = handle;
    struct partition *partition = member->partition;
    struct mq5_packet packet;
    enum mq5_status status = mq5_decode(MQ5_V5, MQ5_FROM_SERVER, data, length, &packet, NULL);
    ASSERT(status == MQ5_OK);
    if (packet.type == MQ5_PUBLISH)
        fleet_pool_take(&partition->hall->pool, member->number, partition->now_us, &packet.publish);
}

void virtual_member_closed(void *handle)
{
    struct virtual_member *member = handle;
    member->connection = NULL;
    fleet_pool_lost(&member->partition->hall->pool, member->number);
}

static bool open_member(void *world, int64_t now_us, uint32_t number, const char *filter)
{
    struct partition *partition = world;
    const struct scenario_messages *told = &partition->world->scenario->cloud.messages;
    struct virtual_member *member = &partition->hall->members[number];
    char id[64];
    *member = (struct virtual_member){.partition = partition, .number = number};
    member->connection = cloud_broker_opened(partition->cloud.broker, now_us, member, NULL);
    if (!member->connection)
        return false;
    snprintf(id, sizeof id, "processor-%s-%u", told->groups[number / SCENARIO_GROUP_MEMBERS].name,
             number % SCENARIO_GROUP_MEMBERS + 1);
    struct mq5_packet packet = {.type = MQ5_CONNECT};
    packet.connect.version = MQ5_V5;
    packet.connect.client_id = span_text(id);
    packet.connect.clean_start = told->session_s == 0;
    packet.connect.properties.present = MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL);
    packet.connect.properties.session_expiry_s = (uint32_t)told->session_s;
    say(member, now_us, &packet);
    struct mq5_subscription one = {.filter = span_text(filter ? filter : ""), .qos = 1};
    if (filter) {
        packet = (struct mq5_packet){.type = MQ5_SUBSCRIBE};
        packet.subscribe.packet_id = 1;
        packet.subscribe.list = &one;
        packet.subscribe.count = 1;
        say(member, now_us, &packet);
    }
    return member->connection != NULL;
}

static void unsubscribe(void *world, int64_t now_us, uint32_t number)
{
    struct partition *partition = world;
    uint32_t group = number / SCENARIO_GROUP_MEMBERS;
    struct mq5_subscription one = {.filter = span_text(partition->hall->pool.groups[group].filter)};
    struct mq5_packet packet = {.type = MQ5_UNSUBSCRIBE};
    packet.subscribe.packet_id = 2;
    packet.subscribe.list = &one;
    packet.subscribe.count = 1;
    say(&partition->hall->members[number], now_us, &packet);
}

static void close_member(void *world, int64_t now_us, uint32_t number, bool politely)
{
    struct partition *partition = world;
    struct virtual_member *member = &partition->hall->members[number];
    struct cloud_connection *connection = member->connection;
    struct mq5_packet packet = {.type = MQ5_DISCONNECT};
    if (!connection)
        return;
    if (politely) { /* nobody is to wait for it */
        if (partition->world->scenario->cloud.messages.session_s > 0)
            packet.disconnect.properties.present = MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL);
        say(member, now_us, &packet);
        return;
    }
    member->connection = NULL;
    cloud_broker_closed(partition->cloud.broker, connection, now_us);
}

static void acknowledge(void *world, int64_t now_us, uint32_t number, uint16_t packet_id)
{
    struct partition *partition = world;
    struct mq5_packet packet = {.type = MQ5_PUBACK};
    packet.ack.packet_id = packet_id;
    say(&partition->hall->members[number], now_us, &packet);
}

static const struct fleet_pool_ops pool_ops = {open_member, unsubscribe, close_member, acknowledge};

bool virtual_messages_start(struct partition *partition,
                            struct cloud_bus *(*bus)(struct partition *partition, const char *client_id))
{
    struct fleet *fleet = &partition->world->fleet;
    const struct scenario_messages *told = &fleet->scenario->cloud.messages;
    if (!told->on)
        return true;
    partition->hall = memory_allocate_zero(1, sizeof *partition->hall + partition->count * sizeof(struct fleet_book));
    if (!partition->hall)
        return false;
    partition->hall->pool.next_us = partition->hall->notices.next_us = TIME_NEVER;
    if (told->notice_count > 0) {
        struct cloud_bus *notices = bus(partition, "notices");
        if (!notices)
            return false;
        fleet_notices_open(&partition->hall->notices, fleet, notices, partition->number,
                           partition->world->partition_count);
    }
    if (told->routed) {
        struct cloud_bus *router = bus(partition, "router"), *marked = bus(partition, "router-marked");
        partition->hall->router = router && marked ? fleet_router_open(fleet, router, marked, "", 0) : NULL;
        if (!partition->hall->router)
            return false;
    }
    return !told->processors || fleet_pool_open(&partition->hall->pool, fleet, &pool_ops, partition, 1, 0);
}

int64_t virtual_messages_next(const struct partition *partition)
{
    int64_t pool_us = fleet_pool_next(&partition->hall->pool), notices_us = partition->hall->notices.next_us;
    return pool_us < notices_us ? pool_us : notices_us;
}

void virtual_messages_tick(struct partition *partition, int64_t now_us)
{
    fleet_pool_tick(&partition->hall->pool, now_us);
    if (partition->world->scenario->cloud.messages.notice_count > 0)
        fleet_notices_tick(&partition->hall->notices, now_us);
}

int64_t virtual_messages_act(struct partition *partition, int64_t now_us, const struct world_action *action)
{
    return fleet_pool_act(&partition->hall->pool, now_us, action);
}

void virtual_messages_restarted(struct partition *partition, int64_t now_us)
{
    for (uint32_t i = 0; i < FLEET_MEMBERS; i++)
        partition->hall->members[i].connection = NULL;
    fleet_pool_broken(&partition->hall->pool, now_us);
}

void virtual_messages_close(struct partition *partition)
{
    struct memory_heap *outside = memory_enter(partition->heap);
    if (partition->world->scenario->cloud.messages.processors)
        fleet_pool_finish(&partition->hall->pool, partition->done_us);
    for (uint32_t i = 0; i < FLEET_MEMBERS; i++)
        if (partition->hall->pool.members[i].total)
            sim_digest_add(&partition->digest, partition->number, partition->done_us, UINT64_C(0x3E3BE2) << 32 | i,
                           partition->hall->pool.members[i].total);
    memory_enter(outside);
}
