/* scenario.c: what follows from a scenario's plain data alone. Pure; called for every message, so no Lua, no allocation, no locale. */
#include "sim/scenario.h"

#include "sim/random.h"

#include <stdio.h>

/* Which draw of a vehicle's SIM_FOR_MIX stream decides what. */
enum { MIX_REGION, MIX_FIRMWARE };

/* A share as a threshold for the upper 32 bits of a draw. */
static uint64_t threshold_of(double share)
{
    return share >= 1 ? UINT64_C(1) << 32 : share > 0 ? (uint64_t)(share * 4294967296.0) : 0;
}

static uint32_t pick(const struct scenario *scenario, uint32_t vehicle, uint64_t which, const double *shares,
                     uint32_t count)
{
    uint32_t last = 0, named = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (shares[i] > 0) {
            last = i;
            named++;
        }
    }
    if (named <= 1)
        return last;
    uint64_t drawn = sim_random_at(scenario->seed, vehicle, SIM_FOR_MIX, which) >> 32;
    double sum = 0;
    for (uint32_t i = 0; i < last; i++) {
        sum += shares[i];
        if (drawn < threshold_of(sum))
            return i;
    }
    return last;
}

/* The last cohort that begins at or before the vehicle: one without vehicles begins where the next one does. */
uint32_t scenario_cohort_of(const struct scenario *scenario, uint32_t vehicle)
{
    uint32_t low = 0, high = scenario->cohort_count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (scenario->cohorts[middle].first <= vehicle)
            low = middle;
        else
            high = middle;
    }
    return low;
}

uint32_t scenario_region_of(const struct scenario *scenario, uint32_t vehicle)
{
    const struct scenario_cohort *cohort = &scenario->cohorts[scenario_cohort_of(scenario, vehicle)];
    uint32_t count = scenario->region_count < 16 ? scenario->region_count : 16;
    return pick(scenario, vehicle, MIX_REGION, cohort->region_share, count);
}

uint32_t scenario_firmware_of(const struct scenario *scenario, uint32_t vehicle)
{
    const struct scenario_cohort *cohort = &scenario->cohorts[scenario_cohort_of(scenario, vehicle)];
    return pick(scenario, vehicle, MIX_FIRMWARE, cohort->firmware_share, cohort->firmware_count);
}

/* ---- names ----------------------------------------------------------------------------------------------------------- */

#define NAME_DIGITS 6 /* at least; more only for a number that needs them, so that a vehicle has one name */

size_t scenario_vehicle_name(const struct scenario *scenario, uint32_t vehicle, char *out, size_t capacity)
{
    const char *cohort = scenario->cohorts[scenario_cohort_of(scenario, vehicle)].name;
    char digits[10];
    size_t count = 0, length = strlen(cohort), at = 0;
    for (uint32_t rest = vehicle; rest > 0 || count < NAME_DIGITS; rest /= 10)
        digits[count++] = (char)('0' + rest % 10);
    if (capacity == 0 || length + 1 + count >= capacity) {
        if (capacity > 0)
            out[0] = 0;
        return 0;
    }
    memcpy(out, cohort, length);
    at = length;
    out[at++] = '-';
    while (count > 0)
        out[at++] = digits[--count];
    out[at] = 0;
    return at;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "digits are read by the word");

/* "?-123456": most names end so. false: not six digits behind a dash. */
static inline bool six_digits(const uint8_t *end, uint64_t *number)
{
    uint64_t x;
    memcpy(&x, end - 8, sizeof x);
    uint64_t digits = (x >> 16) ^ UINT64_C(0x303030303030);
    if ((x >> 8 & 0xFF) != '-' || (((digits + UINT64_C(0x060606060606)) | digits) & UINT64_C(0xF0F0F0F0F0F0)))
        return false;
    digits <<= 16; /* behind two zeros: pairs, then fours, then all */
    digits = (digits * 10 + (digits >> 8)) & UINT64_C(0x00FF00FF00FF00FF);
    digits = (digits * 100 + (digits >> 16)) & UINT64_C(0x0000FFFF0000FFFF);
    *number = (digits * 10000 + (digits >> 32)) & UINT32_MAX;
    return true;
}

/* Reads the number behind the last dash; leaves `at` on the dash. false: too few digits, or written longer than it is. */
static bool take_digits(struct span name, uint32_t *at, uint64_t *number)
{
    uint64_t factor = 1;
    uint32_t digits = 0;
    *number = 0;
    for (*at = name.length; *at > 0 && name.data[*at - 1] >= '0' && name.data[*at - 1] <= '9' && digits < 10;
         digits++) {
        *number += factor * (uint32_t)(name.data[--*at] - '0');
        factor *= 10;
    }
    return digits >= NAME_DIGITS && *at > 0 && name.data[--*at] == '-' &&
           (digits == NAME_DIGITS || name.data[*at + 1] != '0');
}

bool scenario_vehicle_find(const struct scenario *scenario, struct span name, uint32_t *vehicle)
{
    uint64_t number;
    uint32_t length = name.length - NAME_DIGITS - 1;
    if ((name.length < 8 || !six_digits(name.data + name.length, &number)) && !take_digits(name, &length, &number))
        return false;
    if (number >= scenario->fleet)
        return false;
    const char *cohort = scenario->cohorts[scenario_cohort_of(scenario, (uint32_t)number)].name;
    if (length == 0 || length >= SCENARIO_NAME || cohort[length - 1] == 0 || cohort[length] != 0 ||
        memcmp(cohort, name.data, length) != 0)
        return false;
    *vehicle = (uint32_t)number;
    return true;
}

/* ---- selections, phases, time ---------------------------------------------------------------------------------------- */

bool scenario_selected(const struct scenario *scenario, uint32_t vehicle, uint16_t cohort, uint16_t region,
                       double share, uint64_t salt)
{
    if (cohort != MEASURE_ANY && scenario_cohort_of(scenario, vehicle) != cohort)
        return false;
    if (share < 1) {
        if ((sim_random_at(scenario->seed, vehicle, SIM_FOR_SCRIPT, salt) >> 32) >= threshold_of(share))
            return false;
    }
    return region == MEASURE_ANY || scenario_region_of(scenario, vehicle) == region;
}

uint32_t scenario_excluded(const struct scenario *scenario, struct measure_interval *out, uint32_t capacity)
{
    uint32_t count = 0;
    if (scenario->warm_up_us > 0 && count < capacity)
        out[count++] = (struct measure_interval){0, scenario->warm_up_us, "warm-up"};
    for (uint32_t i = 0; i < scenario->phase_count && count < capacity; i++) {
        const struct scenario_phase *phase = &scenario->phases[i];
        if (!phase->excluded)
            continue;
        out[count] = (struct measure_interval){.from_us = phase->from_us, .to_us = phase->to_us};
        snprintf(out[count].name, sizeof(out[count].name), "%.31s", phase->name);
        count++;
    }
    return count;
}

void scenario_time_text(const struct scenario *scenario, int64_t at_us, char *out, size_t capacity)
{
    int64_t time_us = scenario->start_of_day_us + (at_us > 0 ? at_us : 0);
    int days = (int)(time_us / US_PER_DAY), seconds = (int)(time_us % US_PER_DAY / US_PER_S);
    int hour = seconds / 3600, minute = seconds / 60 % 60, second = seconds % 60;
    if (days > 0)
        snprintf(out, capacity, "%d d %02d:%02d:%02d", days, hour, minute, second);
    else
        snprintf(out, capacity, "%02d:%02d:%02d", hour, minute, second);
}
