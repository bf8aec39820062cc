/* launch.c: `-j N` on one machine: mpirun as a child, with the same arguments.
 *
 * This process stays as mpirun's parent, for three reasons. Ctrl-C: mpirun answers SIGINT by killing the ranks, but passes SIGUSR1 on;
 * so mpirun gets a process group of its own, which the terminal's Ctrl-C does not reach, and SIGUSR1 from here. Output: mpirun puts
 * its own pipes between rank 0 and the user, who may sit at a terminal; rank 0 takes our streams instead (group.c), and mpirun's
 * words are kept and shown only when it failed. Exit code: rank 0's.
 */
#define _GNU_SOURCE /* memfd_create */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_NO_ENVIRONMENT = 3, EXIT_ON_SIGNAL = 130 };

/* A descriptor of memory, as good as a file; mpirun closes it in the ranks, which reopen it by its name in /proc. */
int parallel_page(const char *name)
{
    return memfd_create(name, MFD_CLOEXEC);
}

/* Appending: the user's file may be one of several writers'. -1: a socket, or another user's terminal. */
int parallel_reopen(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
}

/* ---- signals ----------------------------------------------------------------------------------------------------------- */

static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGTSTP};
#define SIGNAL_COUNT (sizeof signals / sizeof signals[0])

static volatile sig_atomic_t mpirun, asked_to_stop, cut_short, page = -1;

static char how_far(void)
{
    char letters[64], furthest = PARALLEL_STARTED;
    ssize_t length = pread(page, letters, sizeof letters, 0);
    for (ssize_t i = 0; i < length; i++)
        if (letters[i] > furthest)
            furthest = letters[i];
    return furthest;
}

/* Until all have joined mpirun may lose what it should pass on, and there is nothing yet that a report could be about. */
static void forward(int number)
{
    int error = errno;
    if (number == SIGTSTP) {
        kill((pid_t)mpirun, SIGTSTP);
        raise(SIGSTOP);
        kill((pid_t)mpirun, SIGCONT);
    } else {
        asked_to_stop = 1;
        cut_short = cut_short || how_far() == PARALLEL_STARTED;
        kill((pid_t)mpirun, cut_short ? SIGTERM : number == SIGINT ? SIGUSR1 : SIGUSR2);
    }
    errno = error;
}

/* Held back until there is a child to pass them to; the child gets them untouched. */
static void hold_signals(int how)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < SIGNAL_COUNT; i++)
        sigaddset(&set, signals[i]);
    sigprocmask(how, &set, NULL);
}

static void handle_signals(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler}, before;
    for (size_t i = 0; i < SIGNAL_COUNT; i++)
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
}

/* ---- mpirun ------------------------------------------------------------------------------------------------------------ */

/* Debian's name first: `mpirun` may be another MPI's there. */
static bool find_mpirun(char *path, size_t capacity)
{
    static const char *const names[] = {"mpirun.openmpi", "mpirun"};
    const char *folders = getenv("PATH");
    for (size_t i = 0; folders && i < sizeof names / sizeof names[0]; i++)
        for (const char *folder = folders; folder; folder = strchr(folder, ':') ? strchr(folder, ':') + 1 : NULL) {
            int written = snprintf(path, capacity, "%.*s/%s", (int)strcspn(folder, ":"), folder, names[i]);
            if (written > 0 && (size_t)written < capacity && access(path, X_OK) == 0)
                return true;
        }
    return false;
}

#define FIXED_ARGUMENTS 40
#define ADD(...)                                                                                                       \
    do {                                                                                                               \
        char *const added[] = {__VA_ARGS__};                                                                           \
        memcpy(list + count, added, sizeof added);                                                                     \
        count += sizeof added / sizeof added[0];                                                                       \
    } while (0)

/* One machine, shared memory only: ranks talk over no network, and no other host is looked for, not even by a batch system's list. (mpirun
 * itself always listens on a port for daemons of its own, of which there are none here.) Nothing is read from other processes' memory:
 * containers forbid it, loudly. Ranks are not bound to cores: on a machine that does something else as well, bound ones took 2.5 times
 * as long (tests/bench/parallel.c, 2 cores). Waiting ranks yield: there a rank that spins keeps the one it waits for from its core. */
static char **arguments(char *program, char *self, char **argv, uint32_t ranks)
{
    static char number[16], host[32];
    size_t given = 0, count = 0;
    while (argv[given])
        given++;
    char **list = calloc(given + FIXED_ARGUMENTS, sizeof *list);
    if (!list)
        return NULL;
    snprintf(number, sizeof number, "%u", ranks);
    snprintf(host, sizeof host, "localhost:%u", ranks);
    ADD(program, "--stdin", "none", "--host", host, "-n", number, "--oversubscribe", "--bind-to", "none");
    ADD("--mca", "plm", "isolated", "--mca", "pml", "ob1", "--mca", "btl", "self,vader");
    ADD("--mca", "btl_vader_single_copy_mechanism", "none", "--mca", "oob_tcp_if_include", "lo");
    ADD("--mca", "opal_signal", "", "--mca", "mpi_yield_when_idle", "1");
    ADD(self);
    ASSERT(count < FIXED_ARGUMENTS);
    memcpy(list + count, argv + 1, (given - 1) * sizeof *list);
    return list;
}

/* words: a page for mpirun's own. -1: our streams cannot be reopened, and all goes mpirun's way. */
static void become_mpirun(char **list, int words, pid_t parent)
{
    char text[64];
    if (geteuid() == 0) { /* Open MPI refuses root unless told twice; a container's only user is root */
        setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
        setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    }
    snprintf(text, sizeof text, "%ld:%d:%d", (long)parent, (int)page, words >= 0);
    setenv(PARALLEL_PARENT, text, 1);
    if (words >= 0) {
        dup2(words, STDOUT_FILENO);
        dup2(words, STDERR_FILENO);
    }
    handle_signals(SIG_DFL);
    hold_signals(SIG_UNBLOCK);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() == parent)
        execv(list[0], list);
    _exit(127);
}

static bool streams_reopen(void)
{
    int out = parallel_reopen("/proc/self/fd/1"), error = parallel_reopen("/proc/self/fd/2");
    if (out >= 0)
        close(out);
    if (error >= 0)
        close(error);
    return out >= 0 && error >= 0;
}

/* ---- how it ended ------------------------------------------------------------------------------------------------------ */

/* Of mpirun's screenful one line matters: "mpirun noticed that process rank 1 with PID 0 on node vm exited on signal 9 (Killed)." */
static void show_words(int words, bool whole)
{
    char text[8192] = "";
    ssize_t length = words >= 0 ? pread(words, text, sizeof text - 1, 0) : 0;
    text[length > 0 ? length : 0] = 0;
    char *noticed = strstr(text, "process rank ");
    if (whole)
        fputs(text, stderr);
    else if (noticed)
        fprintf(stderr, "convoy: the run is lost: %.*s\n", (int)strcspn(noticed, "\n"), noticed);
    else
        fprintf(stderr, "convoy: the run is lost: one of its processes ended early\n");
}

static int judge_end(int status, int words)
{
    if (words >= 0) { /* a file: rank 0 wrote through a description of its own */
        lseek(STDOUT_FILENO, 0, SEEK_END);
        lseek(STDERR_FILENO, 0, SEEK_END);
    }
    char end = how_far();
    if (WIFEXITED(status) && end == PARALLEL_LEFT && !cut_short)
        return WEXITSTATUS(status);
    if (asked_to_stop)
        return EXIT_ON_SIGNAL;
    show_words(words, end == PARALLEL_STARTED);
    return EXIT_NO_ENVIRONMENT;
}

static _Noreturn void watch(char **list)
{
    pid_t self = getpid();
    int words = streams_reopen() ? parallel_page("convoy-mpirun") : -1, status = 0;
    page = parallel_page("convoy-state");
    fflush(NULL);
    hold_signals(SIG_BLOCK);
    mpirun = page < 0 ? -1 : fork();
    if (mpirun == 0)
        become_mpirun(list, words, self);
    if (mpirun < 0)
        fprintf(stderr, "convoy: cannot start mpirun: %s\n", strerror(errno));
    else
        handle_signals(forward);
    hold_signals(SIG_UNBLOCK);
    while (mpirun > 0 && waitpid((pid_t)mpirun, &status, 0) < 0 && errno == EINTR)
        ;
    int code = mpirun < 0 ? EXIT_NO_ENVIRONMENT : judge_end(status, words);
    fflush(NULL);
    _exit(code);
}

bool sim_group_launch(char **argv, uint32_t ranks, char *error, size_t error_capacity)
{
    static char program[PATH_MAX], self[PATH_MAX];
    char problem[400];
    if (sim_group_launched()) {
        snprintf(error, error_capacity,
                 "-j %u under another launcher that started another number of processes: leave -j away", ranks);
        return false;
    }
    if (ranks < 1 || ranks > SIM_GROUP_RANKS_MAX) {
        snprintf(error, error_capacity, "-j takes 1 to %d processes, not %u", SIM_GROUP_RANKS_MAX, ranks);
        return false;
    }
    if (!parallel_load(problem, sizeof problem)) {
        snprintf(error, error_capacity, "-j %u: %s", ranks, problem);
        return false;
    }
    if (!find_mpirun(program, sizeof program)) {
        snprintf(error, error_capacity, "-j %u needs Open MPI's mpirun: apt-get install openmpi-bin libopenmpi3",
                 ranks);
        return false;
    }
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    char **list = length > 0 ? arguments(program, self, argv, ranks) : NULL;
    if (!list) {
        snprintf(error, error_capacity, "-j %u: out of memory", ranks);
        return false;
    }
    watch(list);
}
