/* The exchange of one process: when messages arrive and in which order, which partitions are visited, what stops a run. */
#include "memory.h"
#include "sim/group.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PARTITIONS   200
#define LOOKAHEAD_US 1000

/* Each partition has one thing to do at next[p]; then script() says what it sends. What happens is written down. */
struct world {
    struct sim_group *group;
    struct sim_exchange *exchange;
    int64_t next[PARTITIONS], now[PARTITIONS];
    void (*script)(struct world *world, uint32_t partition, int64_t now_us);
    char log[4096];
    size_t logged;
    uint32_t visits, sent_well, refused;
    bool stop;
    uint32_t betweens;
};

static void note(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(struct world *world, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    world->logged +=
        (size_t)vsnprintf(world->log + world->logged, sizeof world->log - world->logged, format, arguments);
    va_end(arguments);
    assert_true(world->logged < sizeof world->log);
}

static void send_to(struct world *world, uint32_t from, int64_t now_us, uint32_t to, uint32_t entity, int64_t at_us)
{
    struct sim_message message = {.at_us = at_us,
                                  .to = to,
                                  .from = from,
                                  .entity = entity,
                                  .sequence = 99,
                                  .kind = 7,
                                  .length = 3,
                                  .data = "abc"};
    if (sim_exchange_send(world->exchange, now_us, &message))
        world->sent_well++;
    else
        world->refused++;
}

static void advance(void *context, uint32_t partition, int64_t until_us)
{
    struct world *world = context;
    world->visits++;
    while (world->next[partition] < until_us) {
        int64_t now_us = world->next[partition];
        world->next[partition] = TIME_NEVER;
        if (world->script)
            world->script(world, partition, now_us);
    }
    world->now[partition] = until_us;
}

static void receive(void *context, const struct sim_message *message)
{
    struct world *world = context;
    assert_true(message->at_us >= world->now[message->to]); /* never into the past */
    assert_int_equal(message->kind, 7);
    assert_int_equal(message->length, 3);
    assert_memory_equal(message->data, "abc", 3);
    note(world, "%lld:%u.%u<%u#%u ", (long long)message->at_us, message->to, message->entity, message->from,
         message->sequence);
    if (message->at_us < world->next[message->to])
        world->next[message->to] = message->at_us;
}

static int64_t next_time(void *context, uint32_t partition)
{
    return ((struct world *)context)->next[partition];
}

static bool between(void *context, int64_t now_us)
{
    struct world *world = context;
    world->betweens++;
    return !world->stop;
}

static const struct sim_exchange_hooks hooks = {advance, receive, next_time, NULL};
static const struct sim_exchange_hooks with_between = {advance, receive, next_time, between};

static struct world *create(void)
{
    char error[600];
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world->group = sim_group_join(error, sizeof error);
    assert_non_null(world->group);
    for (uint32_t p = 0; p < PARTITIONS; p++)
        world->next[p] = TIME_NEVER;
    world->exchange = sim_exchange_create(world->group, &(struct sim_exchange_options){PARTITIONS, LOOKAHEAD_US});
    assert_non_null(world->exchange);
    return world;
}

static void destroy(struct world *world)
{
    sim_exchange_destroy(world->exchange);
    sim_group_leave(world->group);
    free(world);
}

static struct sim_exchange_counts counted(struct world *world)
{
    struct sim_exchange_counts counts;
    sim_exchange_count(world->exchange, &counts);
    return counts;
}

/* ---- order ------------------------------------------------------------------------------------------------------------- */

static void send_crosswise(struct world *world, uint32_t partition, int64_t now_us)
{
    if (now_us > 500)
        return;
    send_to(world, partition, now_us, 5, 2, 9000);
    send_to(world, partition, now_us, 5, 1, 9000);
    send_to(world, partition, now_us, 4, 9, 9000);
    send_to(world, partition, now_us, 5, 1, 8999);
    send_to(world, partition, now_us, 5, 1, 9000);
}

static void order_is_by_time_receiver_sender_and_count(void **state)
{
    struct world *world = create();
    world->script = send_crosswise;
    world->next[150] = 10;
    world->next[3] = 20;
    assert_true(sim_exchange_run(world->exchange, 0, 20000, &hooks, world));
    assert_string_equal(world->log, "8999:5.1<3#3 8999:5.1<150#3 9000:4.9<3#2 9000:4.9<150#2 9000:5.1<3#1 9000:5.1<3#4 "
                                    "9000:5.1<150#1 9000:5.1<150#4 9000:5.2<3#0 9000:5.2<150#0 ");
    destroy(world);
}

static void send_once(struct world *world, uint32_t partition, int64_t now_us)
{
    if (partition >= 100)
        send_to(world, partition, now_us, 1, 0, 9500);
}

/* The one with the higher number sends three windows earlier; the order is that of the numbers all the same. */
static void order_does_not_know_windows(void **state)
{
    struct world *world = create();
    world->script = send_once;
    world->next[120] = 0;
    world->next[110] = 5000;
    world->next[100] = 8500;
    assert_true(sim_exchange_run(world->exchange, 0, 20000, &hooks, world));
    assert_string_equal(world->log, "9500:1.0<100#0 9500:1.0<110#0 9500:1.0<120#0 ");
    destroy(world);
}

/* ---- time ---------------------------------------------------------------------------------------------------------------- */

static void idle_time_is_jumped_over_and_idle_partitions_not_visited(void **state)
{
    struct world *world = create();
    world->next[7] = US_PER_DAY;
    world->next[190] = 2 * US_PER_DAY;
    assert_true(sim_exchange_run(world->exchange, 0, 3 * US_PER_DAY, &hooks, world));
    struct sim_exchange_counts counts = counted(world);
    assert_int_equal(world->visits, 2);
    assert_int_equal(counts.windows, 2);
    assert_int_equal(counts.jumped_us, 2 * US_PER_DAY - LOOKAHEAD_US);
    assert_int_equal(counts.messages + counts.remote_messages, 0);
    assert_true(counts.now_us == 3 * US_PER_DAY);
    destroy(world);
}

static void messages_wait_for_a_later_run(void **state)
{
    struct world *world = create();
    world->script = send_once;
    world->next[100] = 10;
    assert_true(sim_exchange_run(world->exchange, 0, 9500, &hooks, world));
    assert_string_equal(world->log, "");
    assert_true(sim_exchange_run(world->exchange, 9500, 9501, &hooks, world));
    assert_string_equal(world->log, "9500:1.0<100#0 ");
    assert_true(world->now[1] == 9501);
    assert_int_equal(counted(world).messages, 1);
    destroy(world);
}

static void a_run_may_end_at_the_end_of_time(void **state)
{
    struct world *world = create();
    world->next[100] = TIME_NEVER - 5;
    assert_true(sim_exchange_run(world->exchange, 0, TIME_NEVER, &hooks, world));
    assert_int_equal(world->visits, 1);
    destroy(world);
}

static void send_too_early(struct world *world, uint32_t partition, int64_t now_us)
{
    send_to(world, partition, now_us, 1, 0, now_us + LOOKAHEAD_US - 1);
}

static void telling_the_near_future_ends_the_program(void **state)
{
    pid_t child = fork();
    if (child == 0) {
        struct world *world = create();
        signal(SIGABRT, SIG_DFL); /* cmocka would go on */
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        world->script = send_too_early;
        world->next[0] = 10;
        sim_exchange_run(world->exchange, 0, 100, &hooks, world);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* ---- stopping -------------------------------------------------------------------------------------------------------------- */

static void keep_going(struct world *world, uint32_t partition, int64_t now_us)
{
    world->next[partition] = now_us + 10;
}

static void between_stops_a_run_that_would_not_end(void **state)
{
    struct world *world = create();
    world->script = keep_going;
    world->next[0] = 0;
    world->stop = true;
    assert_false(sim_exchange_run(world->exchange, 0, TIME_NEVER - 1, &with_between, world));
    assert_int_equal(world->betweens, 1);
    assert_true(counted(world).now_us == world->now[0]);
    destroy(world);
}

static void send_many(struct world *world, uint32_t partition, int64_t now_us)
{
    for (uint32_t i = 0; i < 1000; i++)
        send_to(world, partition, now_us, partition, i, now_us + LOOKAHEAD_US + 1000000);
    world->next[partition] = now_us + 10;
}

static void want_of_memory_ends_the_run(void **state)
{
    assert_true(memory_begin(4 * 1024 * 1024));
    struct memory_heap *heap = memory_heap_create();
    assert_non_null(heap);
    memory_enter(heap);
    struct world *world = create();
    memory_enter(NULL);
    world->script = send_many;
    world->next[0] = 0;
    assert_false(sim_exchange_run(world->exchange, 0, 1000000, &hooks, world));
    assert_true(world->refused > 0 && world->sent_well > 1000);
    destroy(world);
    memory_end();
}

static void an_exchange_moves_to_a_group_of_the_same_shape(void **state)
{
    char error[600];
    struct world *world = create();
    struct sim_group *other = sim_group_join(error, sizeof error);
    assert_true(sim_exchange_attach(world->exchange, other));
    sim_group_leave(world->group);
    world->group = other;
    world->next[0] = 1;
    assert_true(sim_exchange_run(world->exchange, 0, 10, &hooks, world));
    destroy(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_by_time_receiver_sender_and_count),
        cmocka_unit_test(order_does_not_know_windows),
        cmocka_unit_test(idle_time_is_jumped_over_and_idle_partitions_not_visited),
        cmocka_unit_test(messages_wait_for_a_later_run),
        cmocka_unit_test(a_run_may_end_at_the_end_of_time),
        cmocka_unit_test(telling_the_near_future_ends_the_program),
        cmocka_unit_test(between_stops_a_run_that_would_not_end),
        cmocka_unit_test(want_of_memory_ends_the_run),
        cmocka_unit_test(an_exchange_moves_to_a_group_of_the_same_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
