/* fleet_pool.c: processors that share a subscription: what each holds in hand, their deaths and returns, and whether each had its share. */
#include "fleet_messages.h"

#include <stdio.h>

#define LEAVE_US   US_PER_S /* beyond a commit: what is on its way to who leaves */
#define LOAD_LEAST 60       /* messages a member on average before shares are judged */

static const struct scenario_messages *told(const struct fleet_pool *pool)
{
    return &pool->fleet->scenario->cloud.messages;
}

static bool on(double fault)
{
    return fault > 0.5;
}

static uint32_t group_of(uint32_t member)
{
    return member / SCENARIO_GROUP_MEMBERS;
}

/* At the start. */
static uint32_t members_of(const struct fleet_pool *pool, uint32_t group)
{
    return (told(pool)->groups[group].members + pool->divisor - 1) / pool->divisor;
}

static void count(const struct fleet_pool *pool, enum counter counter, int64_t now_us, int64_t amount)
{
    measure_count(pool->fleet->measure, counter, (struct measure_dimension){0, 0, PATH_ANY}, now_us, amount);
}

/* ---- shares of the load ---------------------------------------------------------------------------------------------- */

/* Called before the members of a group change, and at the end: from then on it is counted anew. */
static void judge_shares(struct fleet_pool *pool, uint32_t group, int64_t now_us)
{
    struct fleet_member *first = &pool->members[group * SCENARIO_GROUP_MEMBERS];
    uint64_t sum = 0, up = 0;
    for (uint32_t i = 0; i < SCENARIO_GROUP_MEMBERS; i++) {
        up += first[i].up;
        sum += first[i].up ? first[i].load : 0;
    }
    for (uint32_t i = 0; i < SCENARIO_GROUP_MEMBERS; i++) {
        double share = (double)first[i].load * (double)up, room = told(pool)->spread * (double)sum;
        if (first[i].up && sum >= LOAD_LEAST * up && (share > (double)sum + room || share < (double)sum - room))
            count(pool, COUNTER_MEMBERS_UNEVEN, now_us, 1);
        first[i].load = 0;
    }
}

/* ---- what is in hand ------------------------------------------------------------------------------------------------- */

static void look_at(struct fleet_pool *pool, int64_t at_us)
{
    pool->next_us = at_us < pool->next_us ? at_us : pool->next_us;
}

static struct fleet_taken *one_more(struct fleet_pool *pool, struct fleet_member *member)
{
    if (member->count == member->capacity) {
        uint32_t capacity = member->capacity ? member->capacity * 2 : 16;
        struct fleet_taken *moved = memory_resize(member->taken, capacity * sizeof *moved);
        if (!moved)
            return NULL;
        member->taken = moved;
        member->capacity = capacity;
    }
    return &member->taken[member->count++];
}

void fleet_pool_take(struct fleet_pool *pool, uint32_t number, int64_t now_us, const struct mq5_publish *message)
{
    struct fleet_member *member = &pool->members[number];
    struct cloud_telemetry telemetry;
    struct fleet_taken *taken = one_more(pool, member);
    if (!taken) /* memory_exhausted() tells the world */
        return;
    *taken = (struct fleet_taken){.vehicle = UINT32_MAX, .packet_id = message->qos ? message->packet_id : 0};
    uint32_t vehicle;
    if (cloud_telemetry_take(&pool->groups[group_of(number)].taken_apart, message, &telemetry) && telemetry.valid &&
        scenario_vehicle_find(pool->fleet->scenario, telemetry.thing, &vehicle)) {
        taken->vehicle = vehicle;
        taken->number = telemetry.number;
        taken->wall_us = telemetry.wall_us;
    }
    member->load += !message->dup; /* what it had before it died is no new load */
    member->total++;
    if (member->due_us == TIME_NEVER)
        member->due_us = now_us + told(pool)->commit_us;
    look_at(pool, member->due_us);
    if (on(told(pool)->early_acknowledgement)) {
        member->early = true;
        look_at(pool, now_us);
    }
}

/* The one place where somebody looks who a message is of: processors themselves go by where it was routed to. */
static void check_route(struct fleet_pool *pool, uint32_t group, uint32_t vehicle, int64_t now_us)
{
    const struct scenario *scenario = pool->fleet->scenario;
    const struct scenario_group *wanted = &told(pool)->groups[group];
    const struct scenario_cohort *cohort = &scenario->cohorts[scenario_cohort_of(scenario, vehicle)];
    const char *firmware = cohort->firmware[scenario_firmware_of(scenario, vehicle)];
    for (uint32_t i = 0; i < wanted->firmware_count; i++)
        if (strcmp(wanted->firmware[i], firmware) == 0)
            return;
    measure_count(pool->fleet->measure, COUNTER_ROUTED_WRONG,
                  (struct measure_dimension){(uint16_t)scenario_cohort_of(scenario, vehicle),
                                             (uint16_t)scenario_region_of(scenario, vehicle), PATH_ANY},
                  now_us, 1);
    if (!measure_excluded(pool->fleet->measure, now_us)) /* its first time is what is remembered of it */
        measure_command_victim(pool->fleet->measure, COUNTER_ROUTED_WRONG, vehicle, now_us);
}

static void acknowledge(struct fleet_pool *pool, uint32_t number, int64_t now_us, struct fleet_taken *taken)
{
    if (taken->packet_id && !taken->acknowledged)
        pool->ops->acknowledge(pool->world, now_us, number, taken->packet_id);
    taken->acknowledged = true;
}

/* An acknowledgement makes room, and the next message may come from inside it: into a new list. */
static void commit(struct fleet_pool *pool, uint32_t number, int64_t now_us)
{
    struct fleet_member *member = &pool->members[number];
    struct fleet_taken *list = member->taken;
    uint32_t listed = member->count, capacity = member->capacity;
    member->taken = NULL;
    member->count = member->capacity = 0;
    member->due_us = TIME_NEVER;
    member->early = false;
    for (uint32_t i = 0; i < listed; i++) {
        if (list[i].vehicle != UINT32_MAX) {
            fleet_delivered(pool->fleet, now_us, list[i].vehicle, list[i].number, list[i].wall_us);
            if (told(pool)->routed)
                check_route(pool, group_of(number), list[i].vehicle, now_us);
        }
        acknowledge(pool, number, now_us, &list[i]);
    }
    if (member->taken) {
        memory_free(list);
    } else {
        member->taken = list;
        member->capacity = capacity;
    }
}

/* A fault: it says that it has done what it only has in hand. */
static void acknowledge_early(struct fleet_pool *pool, uint32_t number, int64_t now_us)
{
    struct fleet_member *member = &pool->members[number];
    member->early = false;
    for (uint32_t i = 0; i < member->count; i++)
        acknowledge(pool, number, now_us, &member->taken[i]);
}

/* ---- life ------------------------------------------------------------------------------------------------------------ */

static void go(struct fleet_pool *pool, uint32_t number, int64_t now_us)
{
    struct fleet_member *member = &pool->members[number];
    commit(pool, number, now_us);
    member->gone_us = TIME_NEVER;
    pool->ops->close(pool->world, now_us, number, true);
    member->count = 0; /* what came meanwhile is not acknowledged: somebody else gets it */
    member->due_us = TIME_NEVER;
}

static bool rise(struct fleet_pool *pool, uint32_t number, int64_t now_us)
{
    struct fleet_member *member = &pool->members[number];
    uint32_t group = group_of(number), place = number % SCENARIO_GROUP_MEMBERS;
    bool idle = on(told(pool)->idle_members) && place >= members_of(pool, group);
    judge_shares(pool, group, now_us);
    if (member->gone_us != TIME_NEVER)
        go(pool, number, now_us);
    member->back_us = TIME_NEVER;
    member->up = true;
    if (!pool->ops->open(pool->world, now_us, number, idle ? NULL : pool->groups[group].filter))
        member->up = false;
    return member->up;
}

/* Not every broker gives others what was already given to somebody, even if he says good-bye: so nothing is to be left over then. */
static void leave(struct fleet_pool *pool, uint32_t number, int64_t now_us)
{
    struct fleet_member *member = &pool->members[number];
    judge_shares(pool, group_of(number), now_us);
    member->up = false;
    member->gone_us = now_us + told(pool)->commit_us + LEAVE_US;
    look_at(pool, member->gone_us);
    pool->ops->unsubscribe(pool->world, now_us, number);
}

static void die(struct fleet_pool *pool, uint32_t number, int64_t now_us, int64_t back_us)
{
    struct fleet_member *member = &pool->members[number];
    judge_shares(pool, group_of(number), now_us);
    member->up = member->early = false;
    member->count = 0;
    member->due_us = TIME_NEVER;
    member->back_us = back_us;
    look_at(pool, back_us);
    count(pool, COUNTER_MEMBERS_DIED, now_us, 1);
    pool->ops->close(pool->world, now_us, number, false);
}

void fleet_pool_lost(struct fleet_pool *pool, uint32_t number)
{
    struct fleet_member *member = &pool->members[number];
    member->count = 0;
    member->due_us = TIME_NEVER;
    member->early = false;
}

void fleet_pool_tick(struct fleet_pool *pool, int64_t now_us)
{
    if (now_us < pool->next_us)
        return;
    pool->next_us = TIME_NEVER;
    for (uint32_t i = 0; i < FLEET_MEMBERS; i++) {
        struct fleet_member *member = &pool->members[i];
        if (member->early)
            acknowledge_early(pool, i, now_us);
        if (member->due_us <= now_us)
            commit(pool, i, now_us);
        if (member->gone_us <= now_us)
            go(pool, i, now_us);
        if (member->back_us <= now_us)
            rise(pool, i, now_us);
    }
    for (uint32_t i = 0; i < FLEET_MEMBERS; i++) {
        const struct fleet_member *member = &pool->members[i];
        look_at(pool, member->early ? now_us : member->due_us);
        look_at(pool, member->back_us < member->gone_us ? member->back_us : member->gone_us);
    }
}

void fleet_pool_broken(struct fleet_pool *pool, int64_t now_us)
{
    for (uint32_t i = 0; i < FLEET_MEMBERS; i++) {
        pool->members[i].gone_us = TIME_NEVER;
        if (!pool->members[i].up)
            continue;
        fleet_pool_lost(pool, i);
        rise(pool, i, now_us);
    }
}

static int64_t scale(struct fleet_pool *pool, uint32_t group, int64_t now_us, uint32_t to)
{
    int64_t touched = 0;
    for (uint32_t place = 0; place < SCENARIO_GROUP_MEMBERS; place++) {
        uint32_t number = group * SCENARIO_GROUP_MEMBERS + place;
        struct fleet_member *member = &pool->members[number];
        if (place < to && !member->up && member->back_us == TIME_NEVER) {
            touched += rise(pool, number, now_us);
        } else if (place >= to && member->up) {
            leave(pool, number, now_us);
            touched++;
        } else if (place >= to) {
            member->back_us = TIME_NEVER;
        }
    }
    return touched;
}

static int64_t kill_some(struct fleet_pool *pool, uint32_t group, int64_t now_us, const struct world_action *action)
{
    int64_t touched = 0;
    for (uint32_t place = 0; place < SCENARIO_GROUP_MEMBERS && touched < action->store_writes; place++) {
        uint32_t number = group * SCENARIO_GROUP_MEMBERS + place;
        if (!pool->members[number].up)
            continue;
        die(pool, number, now_us, action->duration_us > 0 ? now_us + action->duration_us : TIME_NEVER);
        touched++;
    }
    return touched;
}

int64_t fleet_pool_act(struct fleet_pool *pool, int64_t now_us, const struct world_action *action)
{
    int64_t touched = 0;
    for (uint32_t g = 0; g < told(pool)->group_count; g++) {
        if (action->option[0] && strcmp(action->option, told(pool)->groups[g].name) != 0)
            continue;
        if (action->kind == ACTION_PROCESSORS_SCALE)
            touched += scale(pool, g, now_us, (action->store_writes + pool->divisor - 1) / pool->divisor);
        else
            touched += kill_some(pool, g, now_us, action);
    }
    return touched;
}

static void prepare_group(struct fleet_pool *pool, uint32_t group)
{
    const struct fleet *fleet = pool->fleet;
    const struct scenario_messages *messages = told(pool);
    const char *name = messages->groups[group].name;
    char plain[128];
    if (messages->routed)
        snprintf(pool->groups[group].topic, sizeof pool->groups[group].topic, "%srouted/%s/%%", fleet->topic_prefix,
                 name);
    else
        snprintf(pool->groups[group].topic, sizeof pool->groups[group].topic, "%s", fleet->topic_telemetry);
    const char *mark = strchr(pool->groups[group].topic, '%');
    snprintf(plain, sizeof plain, "%.*s+%s", (int)(mark - pool->groups[group].topic), pool->groups[group].topic,
             mark + 1);
    pool->groups[group].taken_apart = cloud_telemetry_topic(pool->groups[group].topic);
    if (on(messages->unshared))
        snprintf(pool->groups[group].filter, sizeof pool->groups[group].filter, "%s", plain);
    else
        snprintf(pool->groups[group].filter, sizeof pool->groups[group].filter, "$share/processors-%s/%s", name, plain);
}

bool fleet_pool_open(struct fleet_pool *pool, struct fleet *fleet, const struct fleet_pool_ops *ops, void *world,
                     uint32_t divisor, int64_t now_us)
{
    pool->fleet = fleet;
    pool->ops = ops;
    pool->world = world;
    pool->divisor = divisor;
    pool->next_us = TIME_NEVER;
    for (uint32_t i = 0; i < FLEET_MEMBERS; i++)
        pool->members[i].due_us = pool->members[i].back_us = pool->members[i].gone_us = TIME_NEVER;
    bool good = true;
    for (uint32_t g = 0; g < told(pool)->group_count; g++) {
        prepare_group(pool, g);
        for (uint32_t place = 0; place < members_of(pool, g) && good; place++)
            good = rise(pool, g * SCENARIO_GROUP_MEMBERS + place, now_us);
    }
    return good;
}

void fleet_pool_finish(struct fleet_pool *pool, int64_t now_us)
{
    for (uint32_t i = 0; i < FLEET_MEMBERS; i++)
        if (pool->members[i].count)
            commit(pool, i, now_us);
    for (uint32_t g = 0; g < told(pool)->group_count; g++)
        judge_shares(pool, g, now_us);
}

void fleet_pool_close(struct fleet_pool *pool, int64_t now_us)
{
    for (uint32_t i = 0; i < FLEET_MEMBERS; i++) {
        if (pool->members[i].up || pool->members[i].gone_us != TIME_NEVER)
            pool->ops->close(pool->world, now_us, i, true);
        pool->members[i].up = false;
        pool->members[i].gone_us = TIME_NEVER;
        memory_free(pool->members[i].taken);
        pool->members[i].taken = NULL;
    }
}
