/* virtual_checkpoint.c: a run is saved as the image of its heaps, one file a rank, and goes on from it in the same program.
 *
 * The files of one checkpoint belong together: they are written under other names first and take the old ones' place only when every rank
 * has written its own.
 */
#include "virtual_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static void file_name(const struct world_options *options, const char *directory, const char *suffix, char *out, size_t capacity)
{
    snprintf(out, capacity, "%s/checkpoint-%u-of-%u%s", directory, sim_group_rank(options->group) + 1,
             sim_group_size(options->group), suffix);
}

static bool write_image(struct virtual_world *world, const char *path)
{
    struct world_result *result = world->result;
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0) {
        snprintf(result->error, sizeof result->error, "cannot write the checkpoint %.300s: %s", path, strerror(errno));
        return false;
    }
    char why[160] = "";
    struct memory_heap *entered = memory_enter(NULL);
    bool saved = memory_save(file, world, why, sizeof why);
    memory_enter(entered);
    if (saved && fsync(file) != 0) {
        snprintf(why, sizeof why, "%s", strerror(errno));
        saved = false;
    }
    if (!saved)
        snprintf(result->error, sizeof result->error, "cannot write the checkpoint %.300s: %s", path, why);
    close(file);
    if (!saved)
        unlink(path);
    return saved;
}

bool virtual_checkpoint(struct virtual_world *world)
{
    char fresh[600], path[600];
    const struct world_options *options = world->options;
    file_name(options, options->out_directory, ".new", fresh, sizeof fresh);
    file_name(options, options->out_directory, "", path, sizeof path);
    world->next_checkpoint_us += options->checkpoint_every_us;
    int64_t failed = !write_image(world, fresh);
    sim_group_reduce(world->group, SIM_GROUP_MAXIMUM, &failed, 1);
    if (!failed) {
        failed = rename(fresh, path) != 0;
        if (failed)
            snprintf(world->result->error, sizeof world->result->error, "cannot write the checkpoint %.300s: %s", path, strerror(errno));
        sim_group_reduce(world->group, SIM_GROUP_MAXIMUM, &failed, 1);
    }
    if (!failed)
        return true;
    unlink(fresh);
    world->result->status = WORLD_ENVIRONMENT;
    virtual_share_error(world->group, world->result);
    return false;
}

static struct virtual_world *load_image(const struct world_options *options, char *error, size_t capacity)
{
    char path[600], why[300] = "";
    void *root = NULL;
    file_name(options, options->resume_directory, "", path, sizeof path);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        snprintf(error, capacity, "no checkpoint to resume from: %.300s: %s (a run is resumed with as many ranks as it had)", path,
                 strerror(errno));
        return NULL;
    }
    if (!memory_begin(options->memory_limit))
        snprintf(why, sizeof why, "its range of addresses is not to be had in this process");
    else
        memory_load(file, &root, why, sizeof why);
    close(file);
    if (!root)
        snprintf(error, capacity, "cannot resume from the checkpoint %.300s: %s", path, why);
    return root;
}

/* Files of one run and one moment, each read by the rank that wrote it. Collective. */
static bool belong_together(const struct virtual_world *world, const struct world_options *options)
{
    uint32_t rank = sim_group_rank(options->group), size = sim_group_size(options->group);
    const struct scenario *scenario = world->scenario;
    int64_t least[] = {world->now_us, (int64_t)scenario->seed, scenario->fleet, world->partition_count, 1}, most[5];
    for (uint32_t p = 0; p < world->held; p++)
        least[4] = least[4] && world->partitions[p]->number == rank + p * size;
    memcpy(most, least, sizeof most);
    sim_group_reduce(options->group, SIM_GROUP_MINIMUM, least, 5);
    sim_group_reduce(options->group, SIM_GROUP_MAXIMUM, most, 5);
    return least[4] && memcmp(least, most, sizeof most) == 0;
}

struct virtual_world *virtual_checkpoint_load(const struct world_options *options, struct world_result *result)
{
    struct virtual_world *world = load_image(options, result->error, sizeof result->error);
    int64_t failed = !world;
    sim_group_reduce(options->group, SIM_GROUP_MAXIMUM, &failed, 1);
    if (failed) {
        virtual_share_error(options->group, result);
        return NULL;
    }
    if (belong_together(world, options))
        return world;
    snprintf(result->error, sizeof result->error, "cannot resume: the files checkpoint-*-of-%u in %.300s are not of one checkpoint",
             sim_group_size(options->group), options->resume_directory);
    return NULL;
}

void virtual_checkpoint_remove(const struct world_options *options)
{
    char path[600];
    file_name(options, options->out_directory, "", path, sizeof path);
    unlink(path);
}

bool world_begin_virtual(const struct world_options *options, char *error, size_t error_capacity)
{
    if (options->resume_directory) /* the image brings its own heaps */
        return true;
    struct memory_heap *heap = memory_begin(options->memory_limit) ? memory_heap_create() : NULL;
    if (heap)
        memory_enter(heap);
    else
        snprintf(error, error_capacity, "no address range for the model's memory: a limit on address space (ulimit -v) is too low");
    return heap != NULL;
}
