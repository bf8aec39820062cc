/* sim/group.h: the processes that run one scenario together: MPI ranks, or this process alone.
 *
 * Collective calls are made by all ranks in the same order. Everything that is reduced is an integer, so that the number of ranks
 * cannot show in a result. MPI itself is in a module loaded when there is more than one rank: without MPI on the machine a
 * run is one process, and asking for more is an error that says what to install.
 */
#ifndef SIM_GROUP_H
#define SIM_GROUP_H

#include "base.h"

#define SIM_GROUP_RANKS_MAX 4096

struct sim_group;

/* Under mpirun or a batch system's launcher: joins the other ranks. Otherwise a group of one. NULL: `error` says why. */
struct sim_group *sim_group_join(char *error, size_t error_capacity);
/* Collective. Rank 0 then exits with the run's code and every other rank with 0, so that the launcher's code is rank 0's. */
void sim_group_leave(struct sim_group *group);
/* `-j N` from a plain shell: runs mpirun with the same arguments, passes signals on, and ends this process with rank 0's exit code;
 * returns only when mpirun cannot be started (`error`: one line; the caller exits with 3). True is never returned. Fails when
 * already under a launcher. After it, ranks above 0 print nothing; SIGINT and SIGTERM reach every rank's own handlers. */
bool sim_group_launch(char **argv, uint32_t ranks, char *error, size_t error_capacity);
/* Whether this process was started by an MPI launcher (then -j must agree or be absent). */
bool sim_group_launched(void);
/* Before joining: the rank that the launcher names; 0: none. */
uint32_t sim_group_launched_rank(void);

uint32_t sim_group_rank(const struct sim_group *group);
uint32_t sim_group_size(const struct sim_group *group);
uint32_t sim_group_local_size(const struct sim_group *group); /* ranks on this host */
const char *sim_group_library(const struct sim_group *group); /* "Open MPI v4.1.4, ...", or "" for one process */

void sim_group_barrier(struct sim_group *group);
enum sim_group_reduction { SIM_GROUP_SUM, SIM_GROUP_MINIMUM, SIM_GROUP_MAXIMUM };
/* Element by element; every rank gets the result. */
void sim_group_reduce(struct sim_group *group, enum sim_group_reduction reduction, int64_t *values, uint32_t count);
void sim_group_broadcast(struct sim_group *group, void *data, size_t size); /* from rank 0 */
/* Rank 0 calls take() once a rank in the order of ranks, its own included; others only send. Blocks above 2 GiB are cut and put
 * together again. false: out of memory on rank 0 or take() said false. */
bool sim_group_gather(struct sim_group *group, const void *data, size_t size,
                      bool (*take)(void *context, uint32_t rank, const void *data, size_t size), void *context);
/* A failure that the others cannot learn of any other way: ends all ranks with `exit_code`. */
_Noreturn void sim_group_abort(struct sim_group *group, int exit_code);

/* ---- messages between partitions, conservative windows ---------------------------------------------------------------
 *
 * A partition may only be told something `lookahead_us` or more after now. The run goes in windows no longer than that: all
 * partitions work on window k alone, then what they said to each other is exchanged; the next window begins at the earliest event
 * or message of all ranks, so idle time is jumped over. A message waits in the exchange until the window of its time opens; then
 * all of that window's are handed over sorted by (time, to, entity, from, sequence). So a partition receives in the same order for any
 * number of ranks and any lookahead. The exchange lives in the memory heap entered when it was created (memory.h), messages
 * that wait included. */
#define SIM_MESSAGE_DATA 40
struct sim_message {
    int64_t at_us;
    uint32_t to, from; /* partitions */
    uint32_t entity;   /* in `to` */
    uint32_t sequence; /* of `from`: its own count of messages sent; makes the order total */
    uint16_t kind, length;
    uint8_t data[SIM_MESSAGE_DATA];
};

struct sim_exchange;
struct sim_exchange_options {
    uint32_t partitions;
    int64_t lookahead_us; /* > 0 */
};
/* Partition p belongs to rank p % size. */
struct sim_exchange *sim_exchange_create(struct sim_group *group, const struct sim_exchange_options *options);
void sim_exchange_destroy(struct sim_exchange *exchange);
/* After a memory image has been loaded: the group is another one. false: not of the same rank and size. */
bool sim_exchange_attach(struct sim_exchange *exchange, struct sim_group *group);
/* While partition message->from is at now_us; at_us >= now_us + lookahead_us or an ASSERT ends the program. false: out of memory. */
bool sim_exchange_send(struct sim_exchange *exchange, int64_t now_us, const struct sim_message *message);

struct sim_exchange_hooks {
    /* Everything of this partition before until_us; may send. */
    void (*advance)(void *context, uint32_t partition, int64_t until_us);
    /* A message for one of this rank's, in order, before its window opens; to be queued as an event of at_us. Must not send. */
    void (*receive)(void *context, const struct sim_message *message);
    int64_t (*next_time)(void *context, uint32_t partition); /* TIME_NEVER: idle */
    /* Between windows, every 100 ms of wall time at most, on all ranks between the same two (rank 0's clock decides), all partitions
     * having come to now_us; may make collective calls, must not change the model. false on any rank: all stop after one more
     * window. May be NULL. */
    bool (*between)(void *context, int64_t now_us);
};
/* Collective: all partitions to until_us. false: stopped or out of memory (on any rank; all return the same). */
bool sim_exchange_run(struct sim_exchange *exchange, int64_t from_us, int64_t until_us,
                      const struct sim_exchange_hooks *hooks, void *context);
struct sim_exchange_counts {
    uint64_t windows;                   /* the same on all ranks, as is jumped_us */
    uint64_t messages, remote_messages; /* sent by this rank's partitions; to other ranks */
    uint64_t jumped_us;
    int64_t now_us; /* where all partitions are: until_us, or where they stopped */
};
void sim_exchange_count(const struct sim_exchange *exchange, struct sim_exchange_counts *counts);

#endif
