/* Tunnels: places on the road without coverage. Which of them lies on a trip, where, and how long it takes to drive through follow from the trip
 * alone: the same trip meets the same tunnels however often it is asked for, and whoever else is on the road.
 *
 * Not modelled: maps. A tunnel is a share of the trips that pass it and a moment on the way; two tunnels know nothing of each other, and those
 * that touch are one.
 */
#include "sim/models.h"

#define HALF 0x1p-32

/* Two words a tunnel and trip: whether and when it is reached, how long it lasts. */
static uint64_t word_of(uint64_t seed, uint32_t vehicle, uint32_t number, uint32_t trip, uint32_t which)
{
    return sim_random_at(seed, vehicle, SIM_FOR_TUNNELS | number << 8, (uint64_t)trip * 2 + which);
}

bool tunnel_on_trip(const struct tunnel *tunnel, uint64_t seed, uint32_t vehicle, uint32_t number, uint32_t trip,
                    struct tunnel_passage *out)
{
    uint64_t word = word_of(seed, vehicle, number, trip, 0);
    if ((double)(uint32_t)word * HALF >= tunnel->share)
        return false;
    out->after_us = sim_table_at(&tunnel->at, (uint32_t)(word >> 32));
    out->lasts_us = sim_table_at(&tunnel->lasts, (uint32_t)word_of(seed, vehicle, number, trip, 1));
    return true;
}

bool tunnel_is_dark(const struct tunnel *tunnel, int64_t time_of_day_us)
{
    if (tunnel->from_us == tunnel->until_us)
        return true;
    bool behind = time_of_day_us >= tunnel->from_us, before = time_of_day_us < tunnel->until_us;
    return tunnel->from_us < tunnel->until_us ? behind && before : behind || before;
}
