/* The cellular link: latency, shared bandwidth, stalls for lost segments, a radio that goes idle. What the network does to it
 * is in network.c, a modem that sleeps in sleep.c.
 *
 * Sources: LTE round trips of 30-80 ms awake and 100-300 ms with connection set-up; hand-over gaps of 40 ms in the median;
 * about 99 % coverage on the road; UE categories' peak rates from 3GPP TS 36.306. What is marked [assumption] is sound
 * engineering without a measurement behind it: a scenario may replace it.
 */
#include "sleep.h"

#include <threads.h>

#define SEGMENT_BYTES  1400 /* payload of one TCP segment on a mobile path */
#define DOUBLINGS_MOST 6

/* [assumption] Rates are what a loaded cell leaves of the peak: a fifth of category 4 (150/50 Mbit/s), half of category 1
 * (10/5 Mbit/s), half-duplex category M1 (300/375 kbit/s).
 * [assumption] Loss is what HARQ and RLC leave over; the stall is the stack's least retransmission time and a round trip.
 * [assumption] idle_after is the usual inactivity timer of 10 s; wake brings an idle round trip to 100-300 ms.
 * [assumption] drops are radio link failures that no hand-over saved. Holes sum up to 1 % of the time on the road
 * (36 s an hour); M1 reaches deeper, so half of them. */
static struct link_profile profiles[] = {
    /* One way longer than the smallest window, so that it can be a lookahead; no limit to bandwidth (rate 0). */
    {.name = "ideal", .latency_median_us = 2000, .latency_minimum_us = 2000, .retransmit_us = 200000},
    {.name = "lte-cat1",
     .latency_median_us = 30000,
     .latency_sigma = 0.40,
     .latency_minimum_us = 12000,
     .up_bytes_per_s = 312500,
     .down_bytes_per_s = 625000,
     .loss_ppm = 300,
     .retransmit_us = 260000,
     .idle_after_us = 10 * US_PER_S,
     .wake_us = 150000,
     .drops_per_hour = 0.5,
     .holes_per_hour = 1.2,
     .hole_mean_us = 30 * US_PER_S,
     .overhead_bytes = 74},
    {.name = "lte-cat4",
     .latency_median_us = 25000,
     .latency_sigma = 0.35,
     .latency_minimum_us = 10000,
     .up_bytes_per_s = 1250000,
     .down_bytes_per_s = 3750000,
     .loss_ppm = 200,
     .retransmit_us = 250000,
     .idle_after_us = 10 * US_PER_S,
     .wake_us = 120000,
     .drops_per_hour = 0.5,
     .holes_per_hour = 1.2,
     .hole_mean_us = 30 * US_PER_S,
     .overhead_bytes = 74},
    {.name = "lte-cat-m1",
     .latency_median_us = 60000,
     .latency_sigma = 0.50,
     .latency_minimum_us = 25000,
     .up_bytes_per_s = 46875,
     .down_bytes_per_s = 37500,
     .loss_ppm = 500,
     .retransmit_us = 500000,
     .idle_after_us = 10 * US_PER_S,
     .wake_us = 300000,
     .drops_per_hour = 1.0,
     .holes_per_hour = 0.6,
     .hole_mean_us = 30 * US_PER_S,
     .overhead_bytes = 74},
};

static once_flag built = ONCE_FLAG_INIT;

void link_profile_build(struct link_profile *profile)
{
    sim_table_build(&profile->latency, profile->latency_sigma > 0 ? SIM_LOGNORMAL : SIM_CONSTANT,
                    (double)profile->latency_median_us, profile->latency_sigma, profile->latency_minimum_us, INT64_MAX);
}

static void build_all(void)
{
    for (size_t i = 0; i < sizeof profiles / sizeof *profiles; i++)
        link_profile_build(&profiles[i]);
}

const struct link_profile *link_profile_find(const char *name)
{
    call_once(&built, build_all);
    for (size_t i = 0; i < sizeof profiles / sizeof *profiles; i++) {
        if (strcmp(profiles[i].name, name) == 0)
            return &profiles[i];
    }
    return NULL;
}

const char *link_profile_names(void)
{
    return "ideal, lte-cat1, lte-cat4, lte-cat-m1";
}

int64_t link_minimum_us(const struct link_profile *profile)
{
    return profile->latency_minimum_us;
}

void link_reset(struct link_state *state)
{
    *state = (struct link_state){.last_active_us = LINK_FRESH};
}

/* ---- transfer ----------------------------------------------------------------------------------------------------- */

static inline uint32_t segments_of(uint32_t bytes)
{
    return bytes == 0 ? 1 : (bytes - 1) / SEGMENT_BYTES + 1;
}

static inline int64_t serialise_us(const struct link_profile *profile, enum link_direction direction, uint32_t bytes,
                                   uint32_t segments)
{
    uint32_t rate = direction == LINK_UP ? profile->up_bytes_per_s : profile->down_bytes_per_s;
    uint64_t total = bytes + (uint64_t)segments * profile->overhead_bytes;
    /* Never less than a microsecond, so that arrivals in one direction are distinct and ordered. */
    if (rate == 0)
        return 1;
    uint64_t scaled = total * US_PER_S + rate - 1;
    /* What fits is divided in 32 bits, at half the time. */
    return (int64_t)(scaled <= UINT32_MAX ? (uint32_t)scaled / rate : scaled / rate) + (total == 0);
}

/* Probability, in parts of 2^32, that all of `segments` get through at once: integers, because the digest sees what follows. */
static uint64_t many_arrive(uint64_t one, uint32_t segments)
{
    uint64_t all = UINT64_C(1) << 32;
    for (; segments > 0; segments /= 2) {
        if (segments & 1)
            all = (uint64_t)((unsigned __int128)all * one >> 32);
        one = (uint64_t)((unsigned __int128)one * one >> 32);
    }
    return all;
}

static inline uint64_t all_arrive(uint32_t loss_ppm, uint32_t segments)
{
    uint64_t one = (UINT64_C(1) << 32) - ((uint64_t)loss_ppm << 32) / 1000000;
    return segments == 1 ? one : many_arrive(one, segments);
}

static __attribute__((noinline)) int64_t stall_of_loss_us(const struct link_profile *profile, struct sim_random *random)
{
    int64_t stall = profile->retransmit_us;
    for (int doubling = 1; doubling <= DOUBLINGS_MOST && sim_random_ppm(random, profile->loss_ppm); doubling++)
        stall += profile->retransmit_us << doubling;
    return stall;
}

/* A loss stalls what comes behind it until the retransmission, which may be lost as well and then waits twice as long. A
 * transfer of many segments stalls once: the others it loses are repaired on the way by fast retransmission. */
static inline int64_t stall_us(const struct link_profile *profile, struct sim_random *random, uint32_t segments)
{
    if (profile->loss_ppm == 0 || sim_random_u32(random) < all_arrive(profile->loss_ppm, segments))
        return 0;
    return stall_of_loss_us(profile, random);
}

static inline int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* When the radio can carry what is handed over now. */
static inline int64_t awake_us(const struct link_profile *profile, const struct link_state *state, int64_t now_us)
{
    if (profile->idle_after_us == 0 || state->last_active_us == LINK_FRESH)
        return now_us;
    if (state->last_active_us > now_us)
        return state->last_active_us;
    int64_t last_us = later(state->last_active_us, later(state->free_us[LINK_UP], state->free_us[LINK_DOWN]));
    return now_us - last_us > profile->idle_after_us ? now_us + profile->wake_us : now_us;
}

int64_t link_transfer(const struct link_profile *profile, struct link_state *state, struct sim_random *random,
                      enum link_direction direction, int64_t now_us, uint32_t bytes)
{
    uint32_t segments = segments_of(bytes);
    int64_t start_us;
    if (__builtin_expect(sleep_wanted(profile), 0)) {
        start_us = sleep_start_us(profile, state, random, direction, now_us);
        if (start_us == TIME_NEVER)
            return TIME_NEVER;
    } else {
        start_us = awake_us(profile, state, now_us);
    }
    state->last_active_us = start_us;
    int64_t first_us = start_us + sim_table_draw(&profile->latency, random);
    first_us += stall_us(profile, random, segments);
    int64_t arrival_us = later(first_us, state->free_us[direction]) + serialise_us(profile, direction, bytes, segments);
    state->free_us[direction] = arrival_us;
    return arrival_us;
}

/* ---- set-up ------------------------------------------------------------------------------------------------------- */

/* Bytes of each TLS 1.3 handshake as OpenSSL 3.0 sends it (X25519, P-256 certificates, two tickets), measured in memory. */
static const struct {
    uint32_t up, down;
} handshakes[] = {{0, 0}, {287, 1635}, {1191, 2534}, {974, 912}};

/* Name query and answer, and the three segments of a TCP connect, with their headers. */
enum { QUERY_BYTES = 80, ANSWER_BYTES = 140, SYN_BYTES = 60, SYN_ACK_BYTES = 60, ACK_BYTES = 52 };

/* There and back again, each with its own luck. */
static int64_t round_trip_us(const struct link_profile *profile, struct sim_random *random, uint32_t up, uint32_t down)
{
    uint32_t segments_up = segments_of(up), segments_down = segments_of(down);
    return sim_table_draw(&profile->latency, random) + stall_us(profile, random, segments_up) +
           serialise_us(profile, LINK_UP, up, segments_up) + sim_table_draw(&profile->latency, random) +
           stall_us(profile, random, segments_down) + serialise_us(profile, LINK_DOWN, down, segments_down);
}

void link_setup_draw(const struct link_profile *profile, struct sim_random *random, int64_t computing_us,
                     struct link_setup *setup)
{
    ASSERT(setup->tls < sizeof handshakes / sizeof *handshakes);
    uint32_t up = handshakes[setup->tls].up, down = handshakes[setup->tls].down;
    setup->resolve_us = profile->wake_us + round_trip_us(profile, random, QUERY_BYTES, ANSWER_BYTES);
    setup->tcp_us = round_trip_us(profile, random, SYN_BYTES, SYN_ACK_BYTES);
    setup->tls_us = setup->tls == 0 ? 0 : round_trip_us(profile, random, up, down) + computing_us;
    setup->bytes_up = QUERY_BYTES + SYN_BYTES + ACK_BYTES + up;
    setup->bytes_down = ANSWER_BYTES + SYN_ACK_BYTES + down;
    if (up != 0) {
        setup->bytes_up += segments_of(up) * profile->overhead_bytes;
        setup->bytes_down += segments_of(down) * profile->overhead_bytes;
    }
}
