/* group.c: joining, leaving, collective calls. A group of one does them at once, without MPI. */
#include "internal.h"

#include <dlfcn.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define INSTALL_HINT "apt-get install openmpi-bin libopenmpi3"

/* ---- the module ----------------------------------------------------------------------------------------------------- */

bool parallel_find(const char *name, char *path, size_t capacity)
{
    static const char *const folders[] = {"", "../", "../lib/convoy/"};
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0)
        return false;
    program[length] = 0;
    *(strrchr(program, '/') + 1) = 0;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        int written = snprintf(path, capacity, "%s%s%s", program, folders[i], name);
        if (written > 0 && (size_t)written < capacity && access(path, R_OK) == 0)
            return true;
    }
    return false;
}

/* Global: Open MPI's own plug-ins look for its symbols. Never closed: MPI leaves threads and handlers behind. */
const struct parallel_module *parallel_load(char *error, size_t error_capacity)
{
    char path[PATH_MAX];
    if (!parallel_find("convoy-mpi.so", path, sizeof path)) {
        snprintf(error, error_capacity,
                 "this build of convoy has no convoy-mpi.so, so it runs as one process only: install "
                 "libopenmpi-dev and build again");
        return NULL;
    }
    void *module = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (!module) {
        snprintf(error, error_capacity, "several processes need Open MPI: %s (%.200s)", INSTALL_HINT, dlerror());
        return NULL;
    }
    const struct parallel_module *mpi = dlsym(module, PARALLEL_MODULE_SYMBOL);
    if (!mpi || mpi->version != PARALLEL_MODULE_VERSION) {
        snprintf(error, error_capacity, "%.200s is of another version of convoy: build again", path);
        return NULL;
    }
    return mpi;
}

/* ---- who started us -------------------------------------------------------------------------------------------------- */

static uint32_t number_of(const char *variable)
{
    const char *text = getenv(variable);
    return text ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

/* How many ranks the launcher says it started; 0: it does not say (PMIx), and MPI will know. */
static uint32_t announced(void)
{
    uint32_t size = number_of("OMPI_COMM_WORLD_SIZE");
    return size ? size : number_of("PMI_SIZE");
}

/* srun without a PMI plug-in that Open MPI speaks: every task would believe itself alone. */
static bool launched_blindly(void)
{
    return number_of("SLURM_STEP_NUM_TASKS") > 1 && !getenv("PMIX_RANK") && announced() == 0;
}

bool sim_group_launched(void)
{
    return announced() > 1 || (announced() == 0 && getenv("PMIX_RANK")) || launched_blindly();
}

uint32_t sim_group_launched_rank(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (getenv(names[i]))
            return number_of(names[i]);
    return launched_blindly() ? number_of("SLURM_PROCID") : 0;
}

/* ---- standard output and error ----------------------------------------------------------------------------------------
 *
 * Rank 0 speaks for all. What another rank prints is kept in memory and shown only if that rank breaks an invariant. */

static int kept = -1, users_error = STDERR_FILENO, told = -1;
static char kept_head[64];

/* which: a stream of launch.c's process, or -1 for its page. */
static int parents(int which)
{
    char path[64], *at = getenv(PARALLEL_PARENT);
    if (!at)
        return -1;
    long process = strtol(at, &at, 10);
    long page = *at == ':' ? strtol(at + 1, &at, 10) : -1;
    long streams = *at == ':' ? strtol(at + 1, &at, 10) : 0;
    if (process <= 0 || page < 0 || (which >= 0 && !streams))
        return -1;
    snprintf(path, sizeof path, "/proc/%ld/fd/%ld", process, which >= 0 ? which : page);
    return parallel_reopen(path);
}

static void tell(char how_far)
{
    if (told >= 0 && write(told, &how_far, 1) < 0)
        told = -1;
}

static void take_users_streams(void)
{
    for (int which = STDOUT_FILENO; which <= STDERR_FILENO; which++) {
        int stream = parents(which);
        if (stream < 0)
            continue;
        dup2(stream, which);
        close(stream);
    }
}

/* Also a signal handler: system calls only. */
static void show_kept(int number)
{
    char text[4096];
    off_t end = kept >= 0 ? lseek(kept, 0, SEEK_END) : 0;
    if (end <= 0 || lseek(kept, end > (off_t)sizeof text ? end - (off_t)sizeof text : 0, SEEK_SET) < 0)
        return;
    ssize_t length = read(kept, text, sizeof text);
    if (length > 0 &&
        (write(users_error, kept_head, strlen(kept_head)) < 0 || write(users_error, text, (size_t)length) < 0))
        _exit(3);
}

/* CONVOY_ALL_RANKS=1 leaves everything visible, for whoever looks for a mistake in Convoy. */
static void be_silent(uint32_t rank)
{
    const char *all = getenv("CONVOY_ALL_RANKS");
    if (all && *all == '1')
        return;
    kept = parallel_page("convoy-rank");
    if (kept < 0)
        return;
    snprintf(kept_head, sizeof kept_head, "convoy: process %u of the run says:\n", rank);
    users_error = parents(STDERR_FILENO);
    if (users_error < 0)
        users_error = dup(STDERR_FILENO);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    dup2(kept, STDERR_FILENO);
    signal(SIGABRT, show_kept); /* when it returns, abort() goes on */
}

/* ---- joining and leaving ---------------------------------------------------------------------------------------------- */

/* mpirun passes SIGUSR1 and SIGUSR2 on to all ranks, but ends the job on SIGINT and SIGTERM: launch.c translates, and so do we. */
static void pass_signal(int number)
{
    raise(number == SIGUSR1 ? SIGINT : SIGTERM);
}

static bool join_ranks(struct sim_group *group, char *error, size_t error_capacity)
{
    if (launched_blindly()) {
        snprintf(error, error_capacity,
                 "started by srun without PMIx: use srun --mpi=pmix, or mpirun inside the allocation");
        return false;
    }
    group->mpi = parallel_load(error, error_capacity);
    if (!group->mpi)
        return false;
    struct sigaction action = {.sa_handler = pass_signal, .sa_flags = SA_RESTART | SA_NODEFER};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    if (!group->mpi->join(&group->rank, &group->size, group->library, sizeof group->library)) {
        snprintf(error, error_capacity, "Open MPI could not start");
        return false;
    }
    if (group->size > SIM_GROUP_RANKS_MAX || (announced() && announced() != group->size)) {
        snprintf(error, error_capacity,
                 "the launcher says %u processes, Open MPI %u (at most %d): use Open MPI's mpirun", announced(),
                 group->size, SIM_GROUP_RANKS_MAX);
        group->mpi->leave();
        return false;
    }
    return true;
}

struct sim_group *sim_group_join(char *error, size_t error_capacity)
{
    struct sim_group *group = calloc(1, sizeof *group);
    if (!group) {
        snprintf(error, error_capacity, "out of memory");
        return NULL;
    }
    group->size = 1;
    if (!sim_group_launched())
        return group;
    told = parents(-1);
    if (!join_ranks(group, error, error_capacity)) {
        free(group);
        return NULL;
    }
    if (group->rank == 0)
        take_users_streams();
    else
        be_silent(group->rank);
    if (group->rank == 0)
        tell(PARALLEL_JOINED);
    if (group->size == 1)
        group->library[0] = 0;
    return group;
}

void sim_group_leave(struct sim_group *group)
{
    if (!group)
        return;
    if (group->mpi) {
        fflush(stdout);
        group->mpi->barrier();
        if (group->rank == 0)
            tell(PARALLEL_LEFT);
        group->mpi->leave();
    }
    free(group);
}

_Noreturn void sim_group_abort(struct sim_group *group, int exit_code)
{
    fflush(NULL);
    show_kept(0);
    if (group && group->mpi) {
        tell(PARALLEL_LEFT);
        group->mpi->abort(exit_code);
    }
    _exit(exit_code);
}

uint32_t sim_group_rank(const struct sim_group *group)
{
    return group->rank;
}

uint32_t sim_group_size(const struct sim_group *group)
{
    return group->size;
}

/* As the launcher says; where it does not, all of them, which errs on the side of care. */
uint32_t sim_group_local_size(const struct sim_group *group)
{
    uint32_t here = number_of("OMPI_COMM_WORLD_LOCAL_SIZE");
    here = here ? here : number_of("MPI_LOCALNRANKS");
    return here > 0 && here < group->size ? here : group->size;
}

const char *sim_group_library(const struct sim_group *group)
{
    return group->library;
}

/* ---- collective calls -------------------------------------------------------------------------------------------------- */

void sim_group_barrier(struct sim_group *group)
{
    if (group->size > 1)
        group->mpi->barrier();
}

void sim_group_reduce(struct sim_group *group, enum sim_group_reduction reduction, int64_t *values, uint32_t count)
{
    if (group->size > 1)
        group->mpi->reduce(reduction, values, count);
}

void sim_group_broadcast(struct sim_group *group, void *data, size_t size)
{
    if (group->size > 1)
        group->mpi->broadcast(data, size);
}

struct gathering {
    struct sim_group *group;
    bool (*take)(void *context, uint32_t rank, const void *data, size_t size);
    void *context;
    void *block;
    size_t capacity;
};

static bool make_room(struct gathering *gathering, size_t size)
{
    if (size <= gathering->capacity)
        return true;
    free(gathering->block);
    gathering->block = malloc(size);
    gathering->capacity = gathering->block ? size : 0;
    return gathering->block;
}

/* The sender waits for a word whether its block is wanted, so that rank 0 never gets what it has no memory for. */
static bool gather_one(struct gathering *gathering, uint32_t rank, bool wanted)
{
    const struct parallel_module *mpi = gathering->group->mpi;
    uint64_t size;
    mpi->receive(rank, PARALLEL_TAG_GATHER, &size, sizeof size);
    uint8_t word = wanted && make_room(gathering, size);
    mpi->send(rank, PARALLEL_TAG_GATHER, &word, sizeof word);
    if (!word)
        return false;
    mpi->receive(rank, PARALLEL_TAG_GATHER, gathering->block, size);
    return gathering->take(gathering->context, rank, gathering->block, size);
}

static void hand_in(const struct parallel_module *mpi, const void *data, size_t size)
{
    uint64_t announced_size = size;
    uint8_t word;
    mpi->send(0, PARALLEL_TAG_GATHER, &announced_size, sizeof announced_size);
    mpi->receive(0, PARALLEL_TAG_GATHER, &word, sizeof word);
    if (word)
        mpi->send(0, PARALLEL_TAG_GATHER, data, size);
}

bool sim_group_gather(struct sim_group *group, const void *data, size_t size,
                      bool (*take)(void *context, uint32_t rank, const void *data, size_t size), void *context)
{
    uint8_t good = 1;
    if (group->rank == 0) {
        struct gathering gathering = {.group = group, .take = take, .context = context};
        good = take(context, 0, data, size);
        for (uint32_t rank = 1; rank < group->size; rank++)
            good = gather_one(&gathering, rank, good) && good;
        free(gathering.block);
    } else {
        hand_in(group->mpi, data, size);
    }
    sim_group_broadcast(group, &good, sizeof good);
    return good;
}
