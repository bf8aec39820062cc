/* virtual_shadow.c: shadow { } and executions in the virtual world: what they add to a partition's cloud, its vehicles' settings, and the desk of their users.
 */
#include "virtual.h"

#include "cloud/reserved.h"

static struct fleet_shadow *find(void *context, uint32_t vehicle)
{
    const struct partition *partition = context;
    uint32_t partitions = partition->world->partition_count;
    return vehicle % partitions == partition->number ? &partition->shadows[vehicle / partitions] : NULL;
}

static void wake(void *context, uint32_t index, int64_t at_us)
{
    struct partition *partition = context;
    struct virtual_vehicle *vehicle = partition_vehicle(partition, index / partition->world->partition_count);
    virtual_schedule(vehicle, STEP_SHADOW, at_us > partition->now_us ? at_us : partition->now_us, 0, NULL, 0);
}

bool virtual_shadow_start(struct partition *partition,
                          struct cloud_bus *(*bus)(struct partition *partition, const char *client_id))
{
    if (!partition->world->scenario->cloud.shadow.on)
        return true;
    partition->shadows = memory_allocate_zero(partition->count + 1, sizeof *partition->shadows);
    struct cloud_bus *own = bus(partition, FLEET_APP_DESK);
    if (!partition->shadows || !own)
        return false;
    partition->users =
        (struct fleet_shadows){.fleet = &partition->world->fleet, .world = partition, .find = find, .wake = wake};
    partition->users.bus = cloud_reserved_bus(partition->cloud.reserved, own, SPAN_LITERAL(FLEET_APP_DESK));
    return partition->users.bus && fleet_shadows_open(&partition->users, 0);
}

void virtual_shadow_vehicle(struct virtual_vehicle *vehicle)
{
    struct partition *partition = vehicle->partition;
    if (partition->shadows)
        fleet_shadow_start(&partition->users, vehicle_index(vehicle), &partition->shadows[vehicle->local], 0);
}

void virtual_shadow_due(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct partition *partition = vehicle->partition;
    bool powered = vehicle->trace.power_up_us >= 0;
    fleet_shadow_due(&partition->users, vehicle_index(vehicle), &partition->shadows[vehicle->local],
                     powered ? vehicle_tcu(vehicle) : NULL, now_us);
    virtual_cloud_touched(partition);
}

void virtual_shadow_set(void *context, struct span wanted)
{
    struct virtual_vehicle *vehicle = context;
    struct partition *partition = vehicle->partition;
    fleet_shadow_set(&partition->users, vehicle_index(vehicle), &partition->shadows[vehicle->local], partition->now_us,
                     wanted);
}

size_t virtual_shadow_state(void *context, char *out, size_t capacity)
{
    const struct virtual_vehicle *vehicle = context;
    const struct partition *partition = vehicle->partition;
    return fleet_shadow_state(&partition->world->fleet, vehicle_index(vehicle), &partition->shadows[vehicle->local],
                              out, capacity);
}

void virtual_shadow_close(struct partition *partition)
{
    for (uint32_t i = 0; partition->shadows && i < partition->count; i++) {
        const struct virtual_vehicle *vehicle = partition_vehicle(partition, i);
        fleet_shadow_finish(&partition->world->fleet, vehicle_index(vehicle), &vehicle->trace, &partition->shadows[i],
                            partition->done_us);
    }
}
