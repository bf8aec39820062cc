/* Extended discontinuous reception (eDRX) and power saving mode (PSM): when the network can reach a modem that sleeps, and the
 * standard's encodings of their timers (3GPP TS 24.008: 10.5.5.32 extended DRX parameters, 10.5.7.4 GPRS timer 2, which is
 * T3324, 10.5.7.4a GPRS timer 3, which is T3412 extended).
 *
 * A modem is connected for the radio's inactivity timer after its last traffic; then it is idle and wakes for its paging time
 * window once a cycle. With PSM it sleeps altogether when its active time is over, and comes back for its periodic update.
 *
 * last_active_us of a link that waits for an occasion is the moment its radio can carry what waits: further ahead than waking
 * takes, which is how it is told from a radio that is waking.
 *
 * Not modelled: the paging frames inside a window, pages that are lost, networks that grant other timers than were asked for.
 */
#include "sleep.h"

/* ---- timers of the standard ---------------------------------------------------------------------------------------- */

#define DEACTIVATED 7 /* the three bits of a timer's unit */

/* In hyperframes' halves: 5.12 s. LTE-M stops at 2621.44 s (bits 1101), the last two are NB-IoT's. */
static const uint16_t edrx_cycles[16] = {1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 64, 128, 256, 512, 1024, 2048};

int64_t link_edrx_cycle_us(uint8_t bits)
{
    return edrx_cycles[bits & 15] * INT64_C(5120000);
}

int64_t link_edrx_window_us(uint8_t bits)
{
    return ((bits & 15) + 1) * INT64_C(1280000);
}

int64_t link_t3412_us(uint8_t octet)
{
    static const int64_t units_us[] = {10 * US_PER_MIN, US_PER_HOUR, 10 * US_PER_HOUR, 2 * US_PER_S,
                                       30 * US_PER_S,   US_PER_MIN,  320 * US_PER_HOUR};
    return octet >> 5 == DEACTIVATED ? TIME_NEVER : units_us[octet >> 5] * (octet & 31);
}

int64_t link_t3324_us(uint8_t octet)
{
    /* Units the standard leaves open count as minutes. */
    static const int64_t units_us[] = {2 * US_PER_S, US_PER_MIN, 6 * US_PER_MIN, US_PER_MIN,
                                       US_PER_MIN,   US_PER_MIN, US_PER_MIN};
    return octet >> 5 == DEACTIVATED ? TIME_NEVER : units_us[octet >> 5] * (octet & 31);
}

/* The least time at or above the wanted one, of the least code that has it. A timer that is off stands for no time but never. */
static int least_code(int64_t (*time_of)(uint8_t), unsigned codes, int64_t wanted_us)
{
    int best = -1;
    int64_t best_us = TIME_NEVER;
    for (unsigned code = 0; code < codes; code++) {
        int64_t time_us = time_of((uint8_t)code);
        bool fits = wanted_us == TIME_NEVER ? time_us == TIME_NEVER : time_us >= wanted_us && time_us < best_us;
        if (!fits)
            continue;
        if (wanted_us == TIME_NEVER)
            return (int)code;
        best = (int)code;
        best_us = time_us;
    }
    return best;
}

int link_edrx_bits(int64_t cycle_us)
{
    return least_code(link_edrx_cycle_us, 16, cycle_us);
}

int link_t3412_octet(int64_t period_us)
{
    return least_code(link_t3412_us, 256, period_us);
}

int link_t3324_octet(int64_t active_us)
{
    return least_code(link_t3324_us, 256, active_us);
}

/* ---- reachability --------------------------------------------------------------------------------------------------- */

static inline int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t add_us(int64_t a, int64_t b)
{
    return b > TIME_NEVER - later(a, 0) ? TIME_NEVER : a + b;
}

static int64_t last_traffic_us(const struct link_state *state)
{
    return later(state->last_active_us, later(state->free_us[LINK_UP], state->free_us[LINK_DOWN]));
}

/* now, if a window is open then, or when the next opens. A vehicle's share of the cycle is its own, in any profile. */
static int64_t next_occasion_us(const struct link_profile *profile, const struct sim_random *random, int64_t now_us)
{
    int64_t cycle_us = profile->edrx_cycle_us;
    if (cycle_us == 0)
        return now_us;
    uint64_t seed = random->key[0] | (uint64_t)random->key[1] << 32;
    uint64_t share = sim_random_at(seed, random->entity, SIM_FOR_SLEEP, 0);
    int64_t phase_us = (int64_t)((unsigned __int128)share * (uint64_t)cycle_us >> 64);
    int64_t into_us = (now_us - phase_us) % cycle_us;
    if (into_us < 0)
        into_us += cycle_us;
    return into_us <= profile->edrx_window_us ? now_us : add_us(now_us, cycle_us - into_us);
}

/* The modem has traffic, or had it so shortly ago that it is still connected. An update is traffic. */
static bool connected(const struct link_profile *profile, int64_t since_us, int64_t now_us)
{
    return now_us - since_us <= profile->idle_after_us;
}

static bool waits(const struct link_profile *profile, const struct link_state *state, int64_t now_us)
{
    return state->last_active_us != LINK_FRESH && state->last_active_us - now_us > profile->wake_us;
}

/* The last traffic or update before now. */
static int64_t last_contact_us(const struct link_profile *profile, const struct link_state *state, int64_t now_us)
{
    int64_t last_us = last_traffic_us(state);
    if (profile->psm_period_us == 0 || now_us <= last_us)
        return last_us;
    return now_us - (now_us - last_us) % profile->psm_period_us;
}

int64_t link_reachable_us(const struct link_profile *profile, const struct link_state *state,
                          const struct sim_random *random, int64_t now_us)
{
    if (!sleep_wanted(profile) || state->last_active_us == LINK_FRESH)
        return now_us;
    if (waits(profile, state, now_us))
        return state->last_active_us - profile->wake_us;
    int64_t contact_us = last_contact_us(profile, state, now_us);
    if (connected(profile, contact_us, now_us))
        return now_us;
    int64_t occasion_us = next_occasion_us(profile, random, now_us);
    if (profile->psm_period_us == 0)
        return occasion_us;
    int64_t update_us = add_us(contact_us, profile->psm_period_us);
    return occasion_us - contact_us <= profile->psm_active_us ? sooner(occasion_us, update_us) : update_us;
}

int64_t sleep_start_us(const struct link_profile *profile, const struct link_state *state,
                       const struct sim_random *random, enum link_direction direction, int64_t now_us)
{
    if (state->last_active_us == LINK_FRESH)
        return now_us;
    /* Waiting or waking: what goes down goes with the rest, what goes up waits for no occasion. */
    if (state->last_active_us > now_us)
        return direction == LINK_DOWN ? state->last_active_us
                                      : sooner(state->last_active_us, now_us + profile->wake_us);
    int64_t start_us = direction == LINK_DOWN ? link_reachable_us(profile, state, random, now_us) : now_us;
    if (start_us == TIME_NEVER || connected(profile, last_contact_us(profile, state, start_us), start_us))
        return start_us;
    return start_us + profile->wake_us;
}

int64_t link_hasten_us(const struct link_profile *profile, struct link_state *state, int64_t now_us)
{
    if (!sleep_wanted(profile) || !waits(profile, state, now_us))
        return 0;
    int64_t sooner_us = state->last_active_us - (now_us + profile->wake_us);
    state->last_active_us -= sooner_us;
    /* All that is under way down waits: with anything else under way the modem would not have slept. */
    state->free_us[LINK_DOWN] -= sooner_us;
    return sooner_us;
}
