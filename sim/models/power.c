/* What a parked TCU takes out of the battery: currents by mode, a charge for each byte, and a radio that stays active for a tail
 * after each transfer. Exact in integers: charge is counted in micro ampere microseconds, of which 3.6e9 are a micro ampere hour.
 *
 * A tail is accounted for when it begins, at the active current, up to since_us, which then lies ahead; what is asked for a moment
 * before that leaves out the rest of it. So overlapping tails count once, and what is used at any moment follows from the state.
 *
 * Not modelled: temperature, self-discharge, voltage, ageing, the other control units.
 */
#include "sim/models.h"

#define UA_US_PER_UAH UINT64_C(3600000000)
#define UA_US_PER_NAH UINT64_C(3600000)

/* At 12 V. What telematics boxes' makers state: 5-7 mA asleep and online, 4.5-8 mA with their other sleeps. A cellular system in a
 * package (nRF9160, product specification, at 3.7 V): 100-115 mA sending 180 kbit/s at 23 dBm, 18 uA in eDRX of 81.92 s with one window of
 * 2.56 s, 2.7 uA in PSM; so that of the two sleeping modes the rest of the TCU is what counts.
 * [assumption] All the others: an application processor with Linux, radio and transceivers awake take 3 W; what stays on in each sleep
 * (regulators, the wake-up controller, memory refreshed) is 1.2 mA with a modem that is paged every few seconds (asleep), 200 uA with
 * one that rarely is, 150 uA without; 50 uA leak. The budget is 2.5 % of a battery of 60 Ah, a tenth of it the reserve. A byte is
 * 44 us of sending at 0.43 W and a converter's loss. The tail is the radio's inactivity timer. */
void power_profile_standard(struct power_profile *profile)
{
    *profile = (struct power_profile){
        .budget_uah = 1500000,
        .reserve_uah = 150000,
        .awake_ua = 250000,
        .connected_ua = 6000,
        .edrx_ua = 200,
        .psm_ua = 150,
        .asleep_ua = 1200,
        .off_ua = 50,
        .byte_nah = 1,
        .tail_us = 10 * US_PER_S,
    };
}

static uint32_t current_ua(const struct power_profile *profile, uint8_t mode)
{
    const uint32_t currents[POWER_MODES] = {
        [POWER_AWAKE] = profile->awake_ua, [POWER_CONNECTED] = profile->connected_ua, [POWER_EDRX] = profile->edrx_ua,
        [POWER_PSM] = profile->psm_ua,     [POWER_ASLEEP] = profile->asleep_ua,       [POWER_OFF] = profile->off_ua,
    };
    ASSERT(mode < POWER_MODES);
    return currents[mode];
}

/* A parking of centuries ends at the largest number there is. */
static void use(struct power_state *state, uint64_t amount, uint64_t times)
{
    unsigned __int128 sum = (unsigned __int128)amount * times + state->used_ua_us;
    state->used_ua_us = sum > UINT64_MAX ? UINT64_MAX : (uint64_t)sum;
}

static void advance(const struct power_profile *profile, struct power_state *state, int64_t now_us)
{
    if (now_us <= state->since_us)
        return;
    use(state, current_ua(profile, state->mode), (uint64_t)(now_us - state->since_us));
    state->since_us = now_us;
}

/* What is used at now_us, of a state that is accounted for up to there at least. */
static uint64_t used_at(const struct power_profile *profile, const struct power_state *state, int64_t now_us)
{
    uint64_t ahead_us = state->since_us > now_us ? (uint64_t)(state->since_us - now_us) : 0;
    return state->used_ua_us - ahead_us * profile->awake_ua;
}

static uint64_t low_ua_us(const struct power_profile *profile)
{
    uint32_t reserve_uah = profile->reserve_uah < profile->budget_uah ? profile->reserve_uah : profile->budget_uah;
    return (profile->budget_uah - reserve_uah) * UA_US_PER_UAH;
}

static uint64_t all_ua_us(const struct power_profile *profile)
{
    return profile->budget_uah * UA_US_PER_UAH;
}

/* ---- the ignition --------------------------------------------------------------------------------------------------- */

void power_park(struct power_state *state, int64_t now_us, enum power_mode mode)
{
    *state = (struct power_state){.since_us = now_us, .mode = (uint8_t)mode, .parked = true};
}

uint32_t power_drive(const struct power_profile *profile, struct power_state *state, int64_t now_us)
{
    uint32_t used_uah = power_used_uah(profile, state, now_us);
    *state = (struct power_state){0};
    return used_uah;
}

uint32_t power_used_uah(const struct power_profile *profile, const struct power_state *state, int64_t now_us)
{
    if (!state->parked)
        return 0;
    struct power_state then = *state;
    advance(profile, &then, now_us);
    uint64_t used_uah = used_at(profile, &then, now_us) / UA_US_PER_UAH;
    return used_uah > UINT32_MAX ? UINT32_MAX : (uint32_t)used_uah;
}

/* ---- use ------------------------------------------------------------------------------------------------------------ */

void power_set_mode(const struct power_profile *profile, struct power_state *state, int64_t now_us,
                    enum power_mode mode)
{
    if (!state->parked || state->cut_off)
        return;
    advance(profile, state, now_us);
    if (mode == POWER_OFF) { /* the tail ends as well */
        state->used_ua_us = used_at(profile, state, now_us);
        state->since_us = now_us;
    }
    state->mode = (uint8_t)mode;
}

void power_transfer(const struct power_profile *profile, struct power_state *state, int64_t now_us, uint32_t bytes)
{
    if (!state->parked || state->cut_off || state->mode == POWER_OFF)
        return;
    advance(profile, state, now_us);
    use(state, UA_US_PER_NAH * profile->byte_nah, bytes);
    int64_t until_us = now_us + profile->tail_us;
    if (until_us > state->since_us) {
        use(state, profile->awake_ua, (uint64_t)(until_us - state->since_us));
        state->since_us = until_us;
    }
}

/* ---- events --------------------------------------------------------------------------------------------------------- */

enum power_event power_account(const struct power_profile *profile, struct power_state *state, int64_t now_us)
{
    if (!state->parked)
        return POWER_NOTHING;
    advance(profile, state, now_us);
    if (profile->budget_uah == 0)
        return POWER_NOTHING;
    uint64_t used = used_at(profile, state, now_us);
    if (!state->low && used >= low_ua_us(profile)) {
        state->low = true;
        return POWER_LOW;
    }
    if (!state->cut_off && used >= all_ua_us(profile)) {
        power_set_mode(profile, state, now_us, POWER_OFF);
        state->cut_off = true;
        return POWER_CUT_OFF;
    }
    return POWER_NOTHING;
}

int64_t power_next_us(const struct power_profile *profile, const struct power_state *state)
{
    if (!state->parked || profile->budget_uah == 0 || state->cut_off)
        return TIME_NEVER;
    uint64_t wanted = state->low ? all_ua_us(profile) : low_ua_us(profile);
    if (state->used_ua_us >= wanted) {
        /* In the tail, at the active current, or at its beginning by what was sent. */
        uint64_t over = state->used_ua_us - wanted, tail_us = (uint64_t)profile->tail_us;
        uint64_t back_us = profile->awake_ua == 0 ? tail_us : over / profile->awake_ua;
        return state->since_us - (int64_t)(back_us < tail_us ? back_us : tail_us);
    }
    uint64_t left = wanted - state->used_ua_us;
    uint32_t ua = current_ua(profile, state->mode);
    if (ua == 0)
        return TIME_NEVER;
    uint64_t wait_us = left / ua + (left % ua != 0);
    return wait_us > (uint64_t)(TIME_NEVER - state->since_us) ? TIME_NEVER : state->since_us + (int64_t)wait_us;
}
