/* What the engine keeps of a TCU that only waits, and the hold model.
 *
 * Hold model: every handled event puts one back at an increment that is a hash of (entity, time), so that any correct queue
 * handles the very same events. The engine's queue against a 4-ary heap of 16-byte entries, in the same run; the checksums
 * over all handled events must agree or the program fails.
 *
 *   bench_engine [--quick]      prints one JSON object a line
 */
#include "sim/engine.h"
#include "memory.h"
#include "sim/random.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define STEPS 4096
struct hold {
    int64_t increment[STEPS + 1];
    uint64_t checksum, handled;
    struct sim_queue *queue;
};

static uint64_t hash(uint64_t word)
{
    word = (word ^ word >> 32) * UINT64_C(0xd6e8feb86659fd93);
    word = (word ^ word >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return word ^ word >> 32;
}

/* Quantiles at STEPS + 1 places, read by linear interpolation. */
static void fill_exponential(struct hold *hold)
{
    for (int i = 0; i <= STEPS; i++)
        hold->increment[i] = 1 + (int64_t)(-log(1 - fmin((double)i / STEPS, 1 - 1e-4)) * 60e6);
}

static void fill_bimodal(struct hold *hold)
{
    for (int i = 0; i <= STEPS; i++) {
        double share = (double)i / STEPS * 2;
        hold->increment[i] = (int64_t)(share < 1 ? 10e3 + 20e3 * share : 60e6 * pow(240, share - 1));
    }
}

/* The numbers are summed and the hash goes on to draw, so both contestants pay the same few nanoseconds. */
static inline int64_t hold_next(struct hold *hold, int64_t now_us, uint32_t entity)
{
    uint64_t drawn = hash((uint64_t)now_us << 27 ^ entity);
    hold->checksum += drawn;
    hold->handled++;
    const int64_t *step = &hold->increment[drawn >> 52];
    return now_us + step[0] + (int64_t)((uint64_t)(step[1] - step[0]) * (drawn >> 32 & 0xFFFFF) >> 20);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- contestant: the engine --------------------------------------------------------------------------------------- */

static void queue_handle(void *context, int64_t now_us, uint32_t entity, uint8_t class)
{
    struct hold *hold = context;
    if (!sim_queue_push(hold->queue, hold_next(hold, now_us, entity), entity, class))
        abort();
}

static double run_queue(struct hold *hold, uint32_t entities, int64_t warm_us, int64_t end_us, double *bytes)
{
    hold->queue = sim_queue_create(NULL);
    struct sim_handlers handlers = {queue_handle, NULL};
    for (uint32_t i = 0; i < entities; i++)
        queue_handle(hold, 0, i, 0);
    sim_queue_run(hold->queue, warm_us, &handlers, hold);
    hold->checksum = hold->handled = 0;
    double start = seconds();
    sim_queue_run(hold->queue, end_us, &handlers, hold);
    double took = seconds() - start;
    *bytes = (double)sim_queue_bytes(hold->queue) / entities;
    sim_queue_destroy(hold->queue);
    return took;
}

/* ---- contestant: a 4-ary heap, children of one parent on one cache line ------------------------------------------- */

struct entry {
    int64_t time_us;
    uint64_t low;
};

static inline bool entry_before(const struct entry *a, const struct entry *b)
{
    return a->time_us < b->time_us || (a->time_us == b->time_us && a->low < b->low);
}

static void sift_up(struct entry *heap, size_t hole, struct entry entry)
{
    while (hole > 0 && entry_before(&entry, &heap[(hole - 1) / 4])) {
        heap[hole] = heap[(hole - 1) / 4];
        hole = (hole - 1) / 4;
    }
    heap[hole] = entry;
}

/* Replaces the top in one go: quicker than pop and push, so the comparison is not flattering. */
static void sift_down(struct entry *heap, size_t count, struct entry entry)
{
    size_t hole = 0;
    for (;;) {
        size_t child = 4 * hole + 1, end = child + 4 < count ? child + 4 : count;
        if (child >= count)
            break;
        size_t least = child;
        for (size_t i = child + 1; i < end; i++)
            least = entry_before(&heap[i], &heap[least]) ? i : least;
        if (!entry_before(&heap[least], &entry))
            break;
        heap[hole] = heap[least];
        hole = least;
    }
    heap[hole] = entry;
}

static void heap_until(struct hold *hold, struct entry *heap, uint32_t entities, int64_t end_us)
{
    while (heap[0].time_us < end_us) {
        uint32_t entity = (uint32_t)(heap[0].low >> 4);
        sift_down(heap, entities, (struct entry){hold_next(hold, heap[0].time_us, entity), heap[0].low});
    }
}

static double run_heap(struct hold *hold, uint32_t entities, int64_t warm_us, int64_t end_us)
{
    /* Three entries of lead, so that children 4i+1 .. 4i+4 share a line. */
    struct entry *memory = aligned_alloc(64, ((size_t)entities + 7) / 4 * 64);
    if (memory == NULL)
        abort();
    struct entry *heap = memory + 3;
    for (uint32_t i = 0; i < entities; i++)
        sift_up(heap, i, (struct entry){hold_next(hold, 0, i), (uint64_t)i << 4});
    heap_until(hold, heap, entities, warm_us);
    hold->checksum = hold->handled = 0;
    double start = seconds();
    heap_until(hold, heap, entities, end_us);
    double took = seconds() - start;
    free(memory);
    return took;
}

/* ---- bytes of an idle TCU ---------------------------------------------------------------------------------------------- */

/* What a vehicle of the virtual world leaves with the engine: its two deadlines and its stream of luck. */
struct idle_tcu {
    struct sim_deadline agent, life;
    struct sim_random random;
};
#define IDLE_BYTES_MOST 128
_Static_assert(sizeof(struct idle_tcu) <= 96, "with two pending events and the tables' share: 128 bytes");

static int idle(uint32_t cells, uint32_t entities)
{
    uint64_t before = memory_bytes();
    struct memory_heap **heaps = calloc(cells, sizeof *heaps);
    if (heaps == NULL)
        abort();
    for (uint32_t c = 0; c < cells; c++) {
        heaps[c] = memory_heap_create();
        struct memory_heap *entered = memory_enter(heaps[c]);
        struct sim_queue *queue = sim_queue_create(&(struct sim_queue_options){.entities = entities});
        struct idle_tcu *tcus = memory_allocate(entities * sizeof *tcus);
        if (queue == NULL || tcus == NULL)
            abort();
        for (uint32_t i = 0; i < entities; i++) {
            uint64_t drawn = hash((uint64_t)c << 32 | i);
            tcus[i].agent = tcus[i].life = SIM_DEADLINE_NONE;
            sim_random_init(&tcus[i].random, 1, c * entities + i, SIM_FOR_TRIPS);
            /* A keep alive within four minutes, a departure within the day. */
            if (!sim_deadline_set(queue, &tcus[i].agent, (int64_t)(drawn % (uint64_t)(4 * US_PER_MIN)), i, 1) ||
                !sim_deadline_set(queue, &tcus[i].life, (int64_t)((drawn >> 20) % (uint64_t)US_PER_DAY), i, 2))
                abort();
        }
        memory_enter(entered);
    }
    double bytes = (double)(memory_bytes() - before) / ((double)cells * entities);
    for (uint32_t c = 0; c < cells; c++)
        memory_heap_destroy(heaps[c]);
    free(heaps);
    printf("{\"bench\":\"engine.idle\",\"partitions\":%" PRIu32 ",\"vehicles\":%" PRIu32
           ",\"structure_bytes\":%zu,\"idle_tcu_bytes\":%.1f}\n",
           cells, cells * entities, sizeof(struct idle_tcu), bytes);
    fflush(stdout);
    return bytes <= IDLE_BYTES_MOST ? 0 : 1;
}

static int compare(const char *shape, void (*fill)(struct hold *), uint32_t entities, int64_t warm_us, int64_t end_us)
{
    static struct hold engine, heap;
    double bytes;
    memset(&engine, 0, sizeof engine);
    fill(&engine);
    heap = engine;
    struct memory_heap *heap_of_queue = memory_heap_create();
    memory_enter(heap_of_queue);
    double engine_s = run_queue(&engine, entities, warm_us, end_us, &bytes);
    memory_heap_destroy(heap_of_queue);
    double heap_s = run_heap(&heap, entities, warm_us, end_us);
    bool same = engine.checksum == heap.checksum && engine.handled == heap.handled && engine.handled > 0;
    printf("{\"bench\":\"engine.hold\",\"shape\":\"%s\",\"pending\":%" PRIu32 ",\"events\":%" PRIu64
           ",\"events_per_s\":%.0f,\"heap4_events_per_s\":%.0f,\"ratio\":%.2f,\"bytes_per_pending\":%.2f,"
           "\"checksum\":\"%016" PRIx64 "\",\"checksums_agree\":%s}\n",
           shape, entities, engine.handled, (double)engine.handled / engine_s, (double)heap.handled / heap_s,
           heap_s / engine_s, bytes, engine.checksum, same ? "true" : "false");
    fflush(stdout);
    return same ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc > 2 || (argc == 2 && strcmp(argv[1], "--quick") != 0)) {
        fprintf(stderr, "usage: %s [--quick]\n", argv[0]);
        return 2;
    }
    if (!memory_begin(0)) {
        fprintf(stderr, "%s: the range of addresses is not to be had\n", argv[0]);
        return 3;
    }
    int failed = idle(argc == 2 ? 10 : 250, 4000);
    if (argc == 2) {
        failed |= compare("exponential 60 s", fill_exponential, 100000, 60 * US_PER_S, 600 * US_PER_S);
        failed |= compare("bimodal", fill_bimodal, 100000, 60 * US_PER_S, 1800 * US_PER_S);
        return failed;
    }
    failed |= compare("exponential 60 s", fill_exponential, 1000000, 60 * US_PER_S, 1200 * US_PER_S);
    failed |= compare("bimodal", fill_bimodal, 1000000, 60 * US_PER_S, 3600 * US_PER_S);
    failed |= compare("exponential 60 s", fill_exponential, 5000000, 60 * US_PER_S, 300 * US_PER_S);
    failed |= compare("bimodal", fill_bimodal, 5000000, 60 * US_PER_S, 1800 * US_PER_S);
    return failed;
}
