/* The pending-event set against a plain heap that knows nothing of windows: same operations, same events in the same order. */
#include "memory.h"
#include "sim/engine.h"
#include "sim/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- reference: a binary heap of whole events --------------------------------------------------------------------- */

struct reference {
    struct sim_event *at;
    size_t count, capacity;
};

static bool event_before(const struct sim_event *a, const struct sim_event *b)
{
    if (a->time_us != b->time_us)
        return a->time_us < b->time_us;
    if (a->entity != b->entity)
        return a->entity < b->entity;
    return a->class < b->class;
}

static void reference_push(struct reference *heap, struct sim_event event)
{
    if (heap->count == heap->capacity) {
        heap->capacity = heap->capacity ? heap->capacity * 2 : 64;
        heap->at = realloc(heap->at, heap->capacity * sizeof *heap->at);
        assert_non_null(heap->at);
    }
    size_t hole = heap->count++;
    while (hole > 0 && event_before(&event, &heap->at[(hole - 1) / 2])) {
        heap->at[hole] = heap->at[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    heap->at[hole] = event;
}

static struct sim_event reference_pop(struct reference *heap)
{
    struct sim_event top = heap->at[0], last = heap->at[--heap->count];
    size_t hole = 0;
    for (size_t child = 1; child < heap->count; child = 2 * hole + 1) {
        if (child + 1 < heap->count && event_before(&heap->at[child + 1], &heap->at[child]))
            child++;
        if (!event_before(&heap->at[child], &last))
            break;
        heap->at[hole] = heap->at[child];
        hole = child;
    }
    heap->at[hole] = last;
    return top;
}

/* ---- random operations -------------------------------------------------------------------------------------------- */

/* How far ahead the next event lies: from nothing at all to decades, and often on a round time so that ties are common. */
static int64_t draw_ahead(struct sim_random *random)
{
    int64_t ahead;
    switch (sim_random_below(random, 12)) {
    case 0: return 0;
    case 1: return (int64_t)sim_random_below(random, 50);
    case 2: return (int64_t)sim_random_below(random, 1000);
    case 3: ahead = (int64_t)sim_random_below(random, 20000); break;
    case 4: ahead = (int64_t)sim_random_below(random, 8 * US_PER_S); break;
    case 5: ahead = (int64_t)sim_random_below(random, 9 * US_PER_S); break;
    case 6: ahead = (int64_t)sim_random_below(random, 3 * US_PER_HOUR); break;
    case 7: ahead = (int64_t)sim_random_below(random, US_PER_DAY); break;
    case 8: ahead = (int64_t)sim_random_below(random, 120 * US_PER_DAY); break;
    case 9: ahead = 100 * US_PER_DAY + (int64_t)sim_random_below(random, 4 * US_PER_DAY); break;
    case 10: ahead = (int64_t)sim_random_below(random, 3000 * US_PER_DAY); break;
    default: ahead = (int64_t)1 << sim_random_below(random, 44); break;
    }
    return sim_random_below(random, 3) == 0 ? ahead : ahead / 1000 * 1000;
}

struct run {
    struct sim_queue *queue;
    struct reference reference;
    struct sim_random random;
    uint64_t handled, to_push, ties, prefetched;
    int64_t last_us;
    struct sim_digest digest;
};

static void run_push(struct run *run, int64_t now_us)
{
    struct sim_event event = {now_us + draw_ahead(&run->random), (uint32_t)sim_random_below(&run->random, 40),
                              (uint8_t)sim_random_below(&run->random, 16)};
    if (sim_random_below(&run->random, 8) == 0)
        event.entity = (1u << SIM_ENTITY_BITS) - 1 - event.entity;
    reference_push(&run->reference, event);
    assert_true(sim_queue_push(run->queue, event.time_us, event.entity, event.class));
}

static void run_handle(void *context, int64_t now_us, uint32_t entity, uint8_t class)
{
    struct run *run = context;
    assert_true(run->reference.count > 0);
    struct sim_event wanted = reference_pop(&run->reference);
    assert_int_equal(now_us, wanted.time_us);
    assert_int_equal(entity, wanted.entity);
    assert_int_equal(class, wanted.class);
    run->ties += now_us == run->last_us;
    run->last_us = now_us;
    run->handled++;
    sim_digest_add(&run->digest, entity, now_us, class, 0);
    for (uint64_t i = sim_random_below(&run->random, 3); i > 0 && run->to_push > 0; i--, run->to_push--)
        run_push(run, now_us);
    assert_int_equal(sim_queue_pending(run->queue), run->reference.count);
}

static void run_prefetch(void *context, uint32_t entity, uint8_t class)
{
    ((struct run *)context)->prefetched++;
}

static struct sim_digest random_operations(int64_t window_us, uint32_t entities, uint64_t seed, bool with_prefetch)
{
    struct sim_queue_options options = {.window_us = window_us, .entities = entities};
    struct run run = {.queue = sim_queue_create(&options), .to_push = 60000};
    struct sim_handlers handlers = {run_handle, with_prefetch ? run_prefetch : NULL};
    struct sim_random pace;
    sim_random_init(&run.random, seed, 0, SIM_FOR_SCRIPT);
    sim_random_init(&pace, seed, 1, SIM_FOR_SCRIPT);
    int64_t until_us = 0;
    while (run.to_push > 0 || run.reference.count > 0) {
        /* From outside, as messages from elsewhere come in: not before the end of the last run. */
        for (uint64_t i = sim_random_below(&pace, 400); i > 0 && run.to_push > 0; i--, run.to_push--)
            run_push(&run, until_us);
        assert_int_equal(sim_queue_next_time(run.queue),
                         run.reference.count ? run.reference.at[0].time_us : TIME_NEVER);
        until_us += draw_ahead(&pace);
        if (run.to_push == 0)
            until_us += 400 * US_PER_DAY;
        uint64_t before = run.handled;
        uint64_t returned = sim_queue_run(run.queue, until_us, &handlers, &run);
        assert_int_equal(returned, run.handled - before);
        assert_true(run.reference.count == 0 || run.reference.at[0].time_us >= until_us);
        assert_int_equal(sim_queue_next_time(run.queue),
                         run.reference.count ? run.reference.at[0].time_us : TIME_NEVER);
    }
    assert_int_equal(run.handled, 60000);
    assert_true(run.ties > 1000);
    assert_int_equal(run.prefetched > 0, with_prefetch);
    assert_int_equal(sim_queue_pending(run.queue), 0);
    sim_queue_destroy(run.queue);
    free(run.reference.at);
    return run.digest;
}

static void matches_reference_for_every_window(void **state)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct sim_digest first = {0, 0};
        for (int64_t window_us = 1024; window_us <= 16384; window_us *= 2) {
            struct sim_digest digest = random_operations(window_us, 0, seed, window_us > 2048);
            if (window_us == 1024)
                first = digest;
            assert_true(digest.low == first.low && digest.high == first.high);
            digest = random_operations(window_us, 4096, seed, window_us == 8192);
            assert_true(digest.low == first.low && digest.high == first.high);
        }
        assert_true(first.low != 0 && first.high != 0);
    }
}

/* ---- shapes that break particular parts --------------------------------------------------------------------------- */

struct order {
    struct sim_event last;
    uint64_t count;
};

static void order_handle(void *context, int64_t now_us, uint32_t entity, uint8_t class)
{
    struct order *order = context;
    struct sim_event event = {now_us, entity, class};
    assert_true(order->count == 0 || !event_before(&event, &order->last));
    order->last = event;
    order->count++;
}

static const struct sim_handlers order_handlers = {order_handle, NULL};

/* A whole fleet on one microsecond, on a few, and spread thinly: insertion, counting and digit sort. */
static void sorts_bunched_windows(void **state)
{
    static const struct {
        uint32_t events, times;
    } cases[] = {{1, 1},   {15, 3},     {16, 16},  {17, 1},    {62, 62},     {64, 8192},
                 {500, 2}, {700, 8192}, {5000, 3}, {30000, 1}, {30000, 8192}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int64_t start_us = 0; start_us <= 20 * US_PER_DAY; start_us += 20 * US_PER_DAY) {
            struct sim_queue *queue = sim_queue_create(&(struct sim_queue_options){.entities = i % 2 ? 1000 : 0});
            struct sim_random random;
            struct order order = {0};
            sim_random_init(&random, i, 0, SIM_FOR_SCRIPT);
            for (uint32_t n = 0; n < cases[i].events; n++) {
                int64_t time_us = start_us + (int64_t)sim_random_below(&random, cases[i].times) * 8192 / cases[i].times;
                assert_true(sim_queue_push(queue, time_us, (uint32_t)sim_random_below(&random, 1u << SIM_ENTITY_BITS),
                                           (uint8_t)sim_random_below(&random, 16)));
            }
            assert_int_equal(sim_queue_run(queue, start_us, &order_handlers, &order), 0);
            assert_int_equal(sim_queue_run(queue, TIME_NEVER, &order_handlers, &order), cases[i].events);
            assert_int_equal(order.count, cases[i].events);
            assert_int_equal(sim_queue_next_time(queue), TIME_NEVER);
            sim_queue_destroy(queue);
        }
    }
}

/* Everything handed in while idle for centuries; the far list is reviewed several times. */
static void reach_far_times(uint32_t entities)
{
    struct sim_queue *queue = sim_queue_create(&(struct sim_queue_options){.entities = entities});
    struct order order = {0};
    int64_t year_us = 365 * US_PER_DAY;
    for (int64_t i = 999; i >= 0; i--)
        assert_true(sim_queue_push(queue, i * year_us / 7, (uint32_t)i, 1));
    assert_true(sim_queue_push(queue, TIME_NEVER - 1, 7, 7));
    assert_int_equal(sim_queue_pending(queue), 1001);
    for (int64_t i = 0; i < 1000; i++) {
        assert_int_equal(sim_queue_next_time(queue), i * year_us / 7);
        assert_int_equal(sim_queue_run(queue, i * year_us / 7 + 1, &order_handlers, &order), 1);
    }
    assert_int_equal(sim_queue_next_time(queue), TIME_NEVER - 1);
    assert_int_equal(sim_queue_run(queue, TIME_NEVER, &order_handlers, &order), 1);
    assert_int_equal(order.last.entity, 7);
    sim_queue_destroy(queue);
}

static void reaches_far_times(void **state)
{
    reach_far_times(0);
    reach_far_times(100);
}

/* A cell of 4,096 vehicles with three pending events each over three hours, and one for the day after. */
static void few_entities_cost_little(void **state)
{
    struct sim_queue *queue = sim_queue_create(&(struct sim_queue_options){.entities = 4096});
    struct sim_random random;
    struct order order = {0};
    sim_random_init(&random, 1, 0, SIM_FOR_SCRIPT);
    assert_true(sim_queue_bytes(queue) <= 14 * 1024);
    for (uint32_t i = 0; i < 4 * 4096; i++) {
        int64_t span_us = i % 4 ? 3 * US_PER_HOUR : 30 * US_PER_HOUR;
        assert_true(sim_queue_push(queue, (int64_t)sim_random_below(&random, (uint64_t)span_us), i / 4, 1));
    }
    assert_true(sim_queue_bytes(queue) <= 16 * sim_queue_pending(queue));
    sim_queue_run(queue, US_PER_HOUR, &order_handlers, &order);
    assert_true(sim_queue_bytes(queue) <= 16 * 4 * 4096);
    sim_queue_run(queue, TIME_NEVER, &order_handlers, &order);
    assert_int_equal(order.count, 4 * 4096);
    sim_queue_destroy(queue);
}

/* In a heap at its limit: what is inside is handled all the same. */
static void memory_limit_refuses_softly(void **state)
{
    assert_true(memory_begin(1u << 20));
    struct memory_heap *heap = memory_heap_create();
    memory_enter(heap);
    struct sim_queue *queue = sim_queue_create(&(struct sim_queue_options){.entities = 4096});
    struct sim_random random;
    struct order order = {0};
    sim_random_init(&random, 1, 0, SIM_FOR_SCRIPT);
    uint64_t taken = 0;
    while (sim_queue_push(queue, (int64_t)sim_random_below(&random, US_PER_HOUR), (uint32_t)taken, 0))
        taken++;
    assert_true(taken > 50000 && memory_exhausted());
    assert_int_equal(sim_queue_run(queue, TIME_NEVER, &order_handlers, &order), taken);
    sim_queue_destroy(queue);
    memory_end();
}

/* The limit refuses, keeps what it took, and takes again once there is room. */
static void limit_refuses_softly(void **state)
{
    const uint64_t limit = 4u << 20;
    struct sim_queue *queue = sim_queue_create(&(struct sim_queue_options){.limit_bytes = limit});
    struct sim_random random;
    struct order order = {0};
    sim_random_init(&random, 1, 0, SIM_FOR_SCRIPT);
    uint64_t taken = 0;
    while (sim_queue_push(queue, (int64_t)sim_random_below(&random, 60 * US_PER_S), (uint32_t)taken, 0))
        taken++;
    assert_true(taken > 380000 && taken < limit / 8);
    assert_true(sim_queue_bytes(queue) <= limit);
    assert_int_equal(sim_queue_pending(queue), taken);
    uint64_t handled = sim_queue_run(queue, 30 * US_PER_S, &order_handlers, &order);
    assert_true(sim_queue_bytes(queue) <= limit + (1u << 20));
    assert_true(sim_queue_push(queue, 40 * US_PER_S, 1, 1));
    handled += sim_queue_run(queue, TIME_NEVER, &order_handlers, &order);
    assert_int_equal(handled, taken + 1);
    sim_queue_destroy(queue);
}

/* ---- deadlines ---------------------------------------------------------------------------------------------------- */

#define DEADLINE_COUNT 50
struct deadlines {
    struct sim_queue *queue;
    struct sim_random random;
    struct sim_deadline deadline[DEADLINE_COUNT];
    int64_t model_us[DEADLINE_COUNT]; /* when it must fire; TIME_NEVER: must not */
    uint64_t fired, stale, limit;
    struct sim_digest digest;
};

static void deadline_arm(struct deadlines *all, uint32_t entity, int64_t at_us)
{
    all->model_us[entity] = at_us;
    assert_true(sim_deadline_set(all->queue, &all->deadline[entity], at_us, entity, 3));
}

static void deadline_handle(void *context, int64_t now_us, uint32_t entity, uint8_t class)
{
    struct deadlines *all = context;
    assert_int_equal(class, 3);
    if (!sim_deadline_due(all->queue, &all->deadline[entity], now_us, entity, class)) {
        assert_true(all->model_us[entity] > now_us);
        all->stale++;
        return;
    }
    assert_int_equal(all->model_us[entity], now_us);
    all->model_us[entity] = TIME_NEVER;
    sim_digest_add(&all->digest, entity, now_us, class, all->fired);
    if (++all->fired >= all->limit)
        return;
    deadline_arm(all, entity, now_us + (int64_t)sim_random_below(&all->random, 3 * US_PER_S));
    /* Somebody else's: later, earlier, at once, never. */
    uint32_t other = (uint32_t)sim_random_below(&all->random, DEADLINE_COUNT);
    switch (sim_random_below(&all->random, 6)) {
    case 0: deadline_arm(all, other, now_us + (int64_t)sim_random_below(&all->random, 60 * US_PER_S)); break;
    case 1: deadline_arm(all, other, now_us + (int64_t)sim_random_below(&all->random, 3000)); break;
    case 2: deadline_arm(all, other, now_us); break;
    case 3: deadline_arm(all, other, other == entity ? now_us + 1 : TIME_NEVER); break;
    default: break;
    }
}

static struct sim_digest deadlines_random(int64_t window_us)
{
    struct deadlines all = {.queue = sim_queue_create(&(struct sim_queue_options){.window_us = window_us}),
                            .limit = 40000};
    sim_random_init(&all.random, 5, 0, SIM_FOR_SCRIPT);
    for (uint32_t i = 0; i < DEADLINE_COUNT; i++) {
        all.deadline[i] = SIM_DEADLINE_NONE;
        deadline_arm(&all, i, (int64_t)i * 1000);
    }
    sim_queue_run(all.queue, TIME_NEVER, &(struct sim_handlers){deadline_handle, NULL}, &all);
    for (uint32_t i = 0; i < DEADLINE_COUNT; i++)
        assert_int_equal(all.model_us[i], TIME_NEVER);
    assert_true(all.fired >= all.limit && all.stale > 1000);
    sim_queue_destroy(all.queue);
    return all.digest;
}

static void deadlines_fire_once_when_wanted(void **state)
{
    struct sim_digest first = deadlines_random(1024);
    for (int64_t window_us = 2048; window_us <= 16384; window_us *= 2) {
        struct sim_digest digest = deadlines_random(window_us);
        assert_true(digest.low == first.low && digest.high == first.high);
    }
}

static void deadline_set_later_costs_no_entry(void **state)
{
    struct sim_queue *queue = sim_queue_create(NULL);
    struct sim_deadline deadline = SIM_DEADLINE_NONE;
    for (int64_t i = 1; i <= 1000; i++)
        assert_true(sim_deadline_set(queue, &deadline, i * US_PER_S, 9, 3));
    assert_int_equal(sim_queue_pending(queue), 1);
    assert_true(sim_deadline_set(queue, &deadline, US_PER_MS, 9, 3));
    assert_int_equal(sim_queue_pending(queue), 2);
    sim_queue_destroy(queue);
}

/* ---- digest ------------------------------------------------------------------------------------------------------- */

static void digest_ignores_order_only(void **state)
{
    struct sim_digest forward = {0, 0}, backward = {0, 0}, odd = {0, 0}, even = {0, 0}, short_by_one = {0, 0};
    char a[33], b[33];
    for (uint64_t i = 0; i < 1000; i++) {
        sim_digest_add(&forward, i, (int64_t)(i * 7), i % 3, i * i);
        sim_digest_add(&backward, 999 - i, (int64_t)((999 - i) * 7), (999 - i) % 3, (999 - i) * (999 - i));
        sim_digest_add(i % 2 ? &odd : &even, i, (int64_t)(i * 7), i % 3, i * i);
        if (i != 500)
            sim_digest_add(&short_by_one, i, (int64_t)(i * 7), i % 3, i * i);
    }
    sim_digest_merge(&even, &odd);
    sim_digest_text(&forward, a);
    sim_digest_text(&backward, b);
    assert_string_equal(a, b);
    sim_digest_text(&even, b);
    assert_string_equal(a, b);
    sim_digest_text(&short_by_one, b);
    assert_string_not_equal(a, b);
    assert_int_equal(strlen(a), 32);
}

/* One bit of input must change about half of the bits of the sum; swapped words must not cancel out. */
static void digest_mixes_every_bit(void **state)
{
    uint64_t flipped = 0;
    struct sim_digest base = {0, 0};
    sim_digest_add(&base, 0, 0, 0, 0);
    for (uint32_t bit = 0; bit < 256; bit++) {
        uint64_t words[4] = {0};
        struct sim_digest other = {0, 0};
        words[bit / 64] = UINT64_C(1) << bit % 64;
        sim_digest_add(&other, words[0], (int64_t)words[1], words[2], words[3]);
        uint64_t changed = (uint64_t)__builtin_popcountll(other.low ^ base.low) +
                           (uint64_t)__builtin_popcountll(other.high ^ base.high);
        assert_in_range(changed, 36, 92);
        flipped += changed;
    }
    assert_in_range(flipped, 256 * 64 - 600, 256 * 64 + 600);
    struct sim_digest swapped = {0, 0}, straight = {0, 0};
    sim_digest_add(&straight, 1, 2, 3, 4);
    sim_digest_add(&swapped, 2, 1, 4, 3);
    assert_true(straight.low != swapped.low && straight.high != swapped.high);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_reference_for_every_window),
        cmocka_unit_test(sorts_bunched_windows),
        cmocka_unit_test(reaches_far_times),
        cmocka_unit_test(few_entities_cost_little),
        cmocka_unit_test(limit_refuses_softly),
        cmocka_unit_test(memory_limit_refuses_softly),
        cmocka_unit_test(deadlines_fire_once_when_wanted),
        cmocka_unit_test(deadline_set_later_costs_no_entry),
        cmocka_unit_test(digest_ignores_order_only),
        cmocka_unit_test(digest_mixes_every_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
