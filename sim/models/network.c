/* What mobile networks do to connections (cuts, holes, hand-overs, forgotten and half-open connections, new addresses), the
 * paths from the mobile network to the cloud, and clocks that drift.
 *
 * Figures marked [assumption] are sound engineering without a measurement behind them: a scenario may replace them. The others:
 * hand-over gaps of 40 ms in the median and of 50-500 ms elsewhere; AWS's price list for US East of 2025 (out to the internet
 * 0.09 $/GB, through a NAT gateway another 0.045, over Direct Connect 0.02) and its NAT gateway's idle timer of 350 s, after
 * which what is sent up is answered with a reset; RFC 4303, 3948, 4106, 7296 and 2784 for headers and round trips of tunnels.
 */
#include "sim/models.h"

#include <math.h>
#include <threads.h>

#define UNIT 1000000
/* [assumption] Between the two sources: one gap in 400 is longer than 500 ms where the median is 40. */
#define HANDOVER_SIGMA 0.9

static struct sim_table unit_exponential, unit_lognormal;
static once_flag built = ONCE_FLAG_INIT;

static void build_all(void)
{
    sim_table_build(&unit_exponential, SIM_EXPONENTIAL, UNIT, 0, 0, INT64_MAX);
    sim_table_build(&unit_lognormal, SIM_LOGNORMAL, UNIT, HANDOVER_SIGMA, 0, INT64_MAX);
}

/* ---- cuts, holes, hand-overs ---------------------------------------------------------------------------------------- */

static int64_t scaled_us(const struct sim_table *unit, struct sim_random *random, int64_t by_us)
{
    return (int64_t)((__int128)sim_table_draw(unit, random) * by_us / UNIT) + 1;
}

static int64_t next_us(struct sim_random *random, double per_hour)
{
    call_once(&built, build_all);
    /* Rarer than once in a thousand years is never; the mean is rounded once, everything after it is in integers. */
    if (!(per_hour > 1e-7))
        return TIME_NEVER;
    return scaled_us(&unit_exponential, random, llround((double)US_PER_HOUR / per_hour));
}

int64_t link_next_drop_us(const struct link_profile *profile, struct sim_random *random)
{
    return next_us(random, profile->drops_per_hour);
}

int64_t link_next_hole_us(const struct link_profile *profile, struct sim_random *random)
{
    return next_us(random, profile->holes_per_hour);
}

int64_t link_hole_duration_us(const struct link_profile *profile, struct sim_random *random)
{
    call_once(&built, build_all);
    return scaled_us(&unit_exponential, random, profile->hole_mean_us);
}

int64_t link_next_handover_us(const struct link_profile *profile, struct sim_random *random)
{
    return next_us(random, profile->handovers_per_hour);
}

int64_t link_handover_gap_us(const struct link_profile *profile, struct sim_random *random)
{
    call_once(&built, build_all);
    return profile->handover_gap_us == 0 ? 0 : scaled_us(&unit_lognormal, random, profile->handover_gap_us);
}

/* Nothing has been sent: last_active_us stays, so that a connection's silence goes on. */
void link_stand_still(struct link_state *state, int64_t until_us)
{
    for (int direction = LINK_UP; direction <= LINK_DOWN; direction++) {
        if (state->free_us[direction] < until_us)
            state->free_us[direction] = until_us;
    }
}

/* ---- connections that the network forgets ---------------------------------------------------------------------------- */

bool link_alive(const struct link_profile *profile, const struct link_state *state, int64_t now_us)
{
    return profile->nat_idle_us == 0 || state->last_active_us == LINK_FRESH ||
           now_us - state->last_active_us <= profile->nat_idle_us;
}

int64_t link_next_half_open_us(const struct link_profile *profile, struct sim_random *random)
{
    return next_us(random, profile->half_open_per_hour + profile->addresses_per_hour);
}

bool link_is_new_address(const struct link_profile *profile, struct sim_random *random)
{
    double sum = profile->half_open_per_hour + profile->addresses_per_hour;
    return sum > 0 && sim_random_ppm(random, (uint32_t)llround(1e6 * profile->addresses_per_hour / sum));
}

/* ---- paths ---------------------------------------------------------------------------------------------------------- */

static const struct network_path paths[] = {
    /* What every other path is measured against. Its address translation is the mobile network's: the radio's nat_idle. */
    {.name = "internet", .price_per_gb = 0.09},
    /* IPsec from the TCU to a concentrator: outer IP 20, UDP 8, ESP 8, initial value 8, padding and trailer 4, tag 16 bytes (AES-GCM);
     * IKEv2 in two round trips. Behind it our NAT gateway, with its price and its idle timer. [assumption] The detour is 4 ms. */
    {.name = "vpn",
     .latency_us = 4000,
     .overhead_bytes = 64,
     .setup_round_trips = 2,
     .price_per_gb = 0.09 + 0.045,
     .nat_idle_us = 350 * US_PER_S},
    /* An access point of our own at the operator, fixed private addresses, GRE (IP 20, GRE 4 bytes) over a leased line. [assumption] Its
     * detour is 2 ms. What the operator asks for a month and the line's port-hours are in no price per GB. */
    {.name = "private", .latency_us = 2000, .overhead_bytes = 24, .price_per_gb = 0.02},
};

const struct network_path *network_path_find(const char *name)
{
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        if (strcmp(paths[i].name, name) == 0)
            return &paths[i];
    }
    return NULL;
}

const char *network_path_names(void)
{
    return "internet, private, vpn";
}

/* ---- clocks --------------------------------------------------------------------------------------------------------- */

#define BILLION INT64_C(1000000000)

/* A clock that is fast has counted its time when less has passed. */
int64_t clock_drifted_us(int64_t wanted_us, double drift_ppm)
{
    int64_t rate = BILLION + llround(drift_ppm * 1000);
    ASSERT(rate > 0); /* a clock that stands still or runs backwards wakes nobody */
    if (wanted_us == TIME_NEVER || rate == BILLION)
        return wanted_us;
    __int128 real_us = ((__int128)wanted_us * BILLION + rate / 2) / rate;
    return real_us >= TIME_NEVER ? TIME_NEVER : (int64_t)real_us;
}
