/* world.c: which world, and whether the machine has what the scenario needs. Refuses with the exact remedy rather than failing in the middle.
 */
#include "fleet.h"

#include "sim/group.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* Measured, with head-room: what one vehicle costs in each world (see docs/architecture.md). */
#define VIRTUAL_BYTES_PER_VEHICLE 1152
#define REAL_BYTES_PER_VEHICLE    1536 /* more, with real cryptography: keys and certificates of two kinds, what a handshake proved */
#define REGION_BYTES_PER_VEHICLE  160  /* more, for each region that has a cloud of its own */
#define SHADOW_BYTES_PER_VEHICLE  1792 /* more, with settings: document, agent, users */
#define VIRTUAL_BYTES_PER_PROCESS (24u << 20) /* program, libraries, measures */
#define LIVE_PLAIN_BYTES          8192
#define LIVE_TLS_BYTES            40960
#define EMBEDDED_RATIO            2 /* the cloud's half of a connection is on this machine, too */
#define DESCRIPTORS_RESERVED      64
#define PORTS_PER_ADDRESS         28000
#define SOURCE_ADDRESSES_MAX      250

struct text {
    char *at;
    size_t left;
};

static void line(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(text->at, text->left, format, arguments);
    va_end(arguments);
    size_t used = written < 0 ? 0 : (size_t)written < text->left ? (size_t)written : text->left - (text->left > 0);
    text->at += used;
    text->left -= used;
}

/* The first number in a file; UINT64_MAX when there is none ("max"). */
static uint64_t number_in(const char *path)
{
    FILE *file = fopen(path, "r");
    unsigned long long value = 0;
    bool read = file && fscanf(file, "%llu", &value) == 1;
    if (file)
        fclose(file);
    return read ? value : UINT64_MAX;
}

static uint64_t available_memory(void)
{
    FILE *file = fopen("/proc/meminfo", "r");
    char row[128];
    unsigned long long kib = 0;
    while (file && fgets(row, sizeof row, file))
        if (sscanf(row, "MemAvailable: %llu", &kib) == 1)
            break;
    if (file)
        fclose(file);
    uint64_t have = kib ? kib * 1024 : (uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    /* A container's own limit, where it sees its control group as the root. */
    uint64_t most = number_in("/sys/fs/cgroup/memory.max"), used = number_in("/sys/fs/cgroup/memory.current");
    if (most != UINT64_MAX && used != UINT64_MAX && (most > used ? most - used : 0) < have)
        have = most > used ? most - used : 0;
    return have;
}

uint64_t world_memory_limit(const struct sim_group *group)
{
    uint32_t here = group ? sim_group_local_size(group) : 1;
    return available_memory() / 100 * 95 / here;
}

static bool uses_tls(const struct scenario *scenario)
{
    for (uint32_t c = 0; c < scenario->cohort_count; c++)
        if (scenario->cohorts[c].identity == IDENTITY_CERTIFICATE)
            return true;
    return false;
}

static uint32_t processes(const struct world_options *options)
{
    return options->group ? sim_group_size(options->group) : 1;
}

/* Of one process; the partitions share out evenly over the ranks. */
static bool check_virtual(const struct scenario *scenario, const struct world_options *options, struct text *text,
                          char *remedy, size_t remedy_capacity)
{
    uint32_t size = processes(options);
    uint32_t regions = scenario->cloud.regions.on ? scenario->region_count * REGION_BYTES_PER_VEHICLE : 0;
    uint32_t real = scenario->cloud.real_cryptography ? REAL_BYTES_PER_VEHICLE : 0;
    uint32_t shadows = scenario->cloud.shadow.on ? SHADOW_BYTES_PER_VEHICLE : 0;
    uint32_t each = VIRTUAL_BYTES_PER_VEHICLE + real + regions + shadows;
    uint64_t needed = (uint64_t)scenario->fleet / size * each + VIRTUAL_BYTES_PER_PROCESS;
    uint64_t have = options->memory_limit ? options->memory_limit : world_memory_limit(options->group);
    line(text, "  memory         %.2f GiB in each of %u process%s, available %.2f GiB\n", (double)needed / 0x1p30, size,
         size == 1 ? "" : "es", (double)have / 0x1p30);
    if (needed <= have)
        return true;
    char needs[32], has[32];
    measure_format_bytes((double)needed, needs, sizeof needs);
    measure_format_bytes((double)have, has, sizeof has);
    snprintf(
        remedy, remedy_capacity,
        "needs about %s of memory in each of %u process%s, %s are available; use --fleet to run fewer vehicles, raise "
        "--memory if it is given, or take more machines (docs/clusters.md)",
        needs, size, size == 1 ? "" : "es", has);
    return false;
}

static bool check_memory(uint64_t needed, const struct world_options *options, struct text *text, char *remedy,
                         size_t remedy_capacity)
{
    uint64_t have = available_memory();
    if (options->memory_limit && options->memory_limit < have)
        have = options->memory_limit;
    line(text, "  memory         %.2f GiB, available %.2f GiB\n", (double)needed / 0x1p30, (double)have / 0x1p30);
    if (needed <= have)
        return true;
    snprintf(remedy, remedy_capacity,
             "needs about %.1f GiB of memory, %.1f GiB are available; use --fleet to run fewer vehicles",
             (double)needed / 0x1p30, (double)have / 0x1p30);
    return false;
}

static bool clear(const struct world_options *options)
{
    for (uint32_t b = 0; b < options->broker_count; b++)
        if (strncmp(options->brokers[b], "mqtt://", 7) != 0)
            return false;
    return options->broker_count > 0;
}

static bool embedded(const struct world_options *options)
{
    return options->broker_count == 0 || strcmp(options->brokers[0], "embedded") == 0;
}

/* Of one process: its vehicles share out evenly. Our own clouds are as many as their descriptors ask for. */
static bool check_descriptors(const struct scenario *scenario, const struct world_options *options, struct text *text,
                              char *remedy, size_t remedy_capacity)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    uint32_t size = processes(options), reserved = DESCRIPTORS_RESERVED;
    uint64_t most = limit.rlim_max > 2 * reserved ? limit.rlim_max - reserved : reserved;
    uint64_t needed = ((uint64_t)scenario->fleet + size - 1) / size + reserved;
    line(text, "  descriptors    %llu in each of %u process%s, limit %llu (hard %llu)\n", (unsigned long long)needed,
         size, size == 1 ? "" : "es", (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
    if (limit.rlim_cur < limit.rlim_max) { /* the cloud's process inherits it */
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (needed <= limit.rlim_max)
        return true;
    snprintf(remedy, remedy_capacity,
             "needs %llu file descriptors in one process, the hard limit is %llu: needs -j %llu; or run at most "
             "--fleet %llu, or raise "
             "it: ulimit -Hn %llu",
             (unsigned long long)needed, (unsigned long long)limit.rlim_max,
             (unsigned long long)((scenario->fleet + most - 1) / most), (unsigned long long)(most * size),
             (unsigned long long)needed);
    return false;
}

/* A source address reaches each listener from PORTS_PER_ADDRESS ports. Only loopback brokers are reached from several addresses. */
static bool check_ports(const struct scenario *scenario, const struct world_options *options, struct text *text,
                        char *remedy, size_t remedy_capacity)
{
    uint32_t listeners = options->broker_count ? options->broker_count : 1;
    if (embedded(options) && processes(options) > listeners)
        listeners = processes(options);
    uint32_t fleet = scenario->fleet, each = (fleet + listeners - 1) / listeners;
    uint32_t addresses = options->source_addresses ? options->source_addresses : each / PORTS_PER_ADDRESS + 1;
    uint64_t have = (uint64_t)addresses * PORTS_PER_ADDRESS * listeners;
    line(text, "  local ports    %u, %u source address%s × %d ports × %u listener%s\n", fleet, addresses,
         addresses == 1 ? "" : "es", PORTS_PER_ADDRESS, listeners, listeners == 1 ? "" : "s");
    if (have >= fleet && addresses <= SOURCE_ADDRESSES_MAX)
        return true;
    uint64_t per_listener =
        (uint64_t)(addresses < SOURCE_ADDRESSES_MAX ? addresses : SOURCE_ADDRESSES_MAX) * PORTS_PER_ADDRESS;
    snprintf(remedy, remedy_capacity,
             "needs %u local ports, %llu are to be had from %u source address%s to %u listener%s; needs %llu "
             "listeners: give "
             "--broker more often, or more source addresses",
             fleet, (unsigned long long)have, addresses, addresses == 1 ? "" : "es", listeners,
             listeners == 1 ? "" : "s", (unsigned long long)((fleet + per_listener - 1) / per_listener));
    return false;
}

bool world_preflight(const struct scenario *scenario, const struct world_options *options, char *out,
                     size_t out_capacity, char *remedy, size_t remedy_capacity)
{
    struct text text = {out, out_capacity};
    out[0] = remedy[0] = 0;
    line(&text, "  world          %s\n", options->kind == WORLD_VIRTUAL ? "virtual" : "live");
    line(&text, "  cores          %u busy, %ld online\n", processes(options), sysconf(_SC_NPROCESSORS_ONLN));
    if (options->kind == WORLD_VIRTUAL)
        return check_virtual(scenario, options, &text, remedy, remedy_capacity);
    uint64_t per_vehicle = uses_tls(scenario) && !clear(options) ? LIVE_TLS_BYTES : LIVE_PLAIN_BYTES;
    per_vehicle *= embedded(options) ? EMBEDDED_RATIO : 1;
    bool memory = check_memory((uint64_t)scenario->fleet * per_vehicle, options, &text, remedy, remedy_capacity);
    bool descriptors = check_descriptors(scenario, options, &text, remedy, remedy_capacity);
    bool ports = check_ports(scenario, options, &text, remedy, remedy_capacity);
    return memory && descriptors && ports;
}

void world_run(struct script *script, const struct world_options *options, struct world_result *result)
{
    if (options->kind == WORLD_VIRTUAL)
        world_run_virtual(script, options, result);
    else
        world_run_live(script, options, result);
}
