/* sim/models.h: what surrounds a TCU: its cellular link and its driver's day. Pure models: time and random streams come in.
 *
 * Not modelled: radio cells and their neighbours, TCP congestion control (a loss is a stall), roads.
 */
#ifndef SIM_MODELS_H
#define SIM_MODELS_H

#include "sim/random.h"

/* ---- cellular link ------------------------------------------------------------------------------------------------ */

struct link_profile {
    char name[24];             /* "lte-cat4", "lte-cat1", "lte-cat-m1", "ideal" */
    int64_t latency_median_us; /* one way */
    double latency_sigma;      /* of the logarithm */
    int64_t latency_minimum_us;
    uint32_t up_bytes_per_s, down_bytes_per_s;
    uint32_t loss_ppm; /* segments lost: a stall of retransmit_us, doubled for each further loss */
    int64_t retransmit_us;
    int64_t idle_after_us;    /* radio goes idle after so much silence; 0: never */
    int64_t wake_us;          /* and takes this long to come back */
    double drops_per_hour;    /* while driving: the link is cut without a word */
    double holes_per_hour;    /* while driving: no coverage ... */
    int64_t hole_mean_us;     /* ... for this long (exponential) */
    uint32_t overhead_bytes;  /* per segment: IP, TCP and TLS record */
    struct sim_table latency; /* built by link_profile_build() */
};

/* Built-in profiles by name; NULL if unknown. link_profile_names() is "ideal, lte-cat1, lte-cat4, ..." for error messages. */
const struct link_profile *link_profile_find(const char *name);
const char *link_profile_names(void);
/* Fills the table; call after changing a copy. */
void link_profile_build(struct link_profile *profile);

enum link_direction { LINK_UP = 0, LINK_DOWN = 1 };

struct link_state {
    int64_t free_us
        [2]; /* when the last byte of what was sent before has arrived, per direction: keeps order, shares bandwidth */
    int64_t last_active_us; /* lies ahead while the radio is waking; LINK_FRESH: just set up, so awake */
};
#define LINK_FRESH (-1)
void link_reset(struct link_state *state);
/* Arrival time of `bytes` handed over at now_us; later than every earlier arrival in this direction. */
int64_t link_transfer(const struct link_profile *profile, struct link_state *state, struct sim_random *random,
                      enum link_direction direction, int64_t now_us, uint32_t bytes);
/* Smallest one-way latency this profile can produce: the lookahead. */
int64_t link_minimum_us(const struct link_profile *profile);
/* Time to the next drop or hole of driving, exponential; TIME_NEVER if the rate is 0. Duration of a hole. */
int64_t link_next_drop_us(const struct link_profile *profile, struct sim_random *random);
int64_t link_next_hole_us(const struct link_profile *profile, struct sim_random *random);
int64_t link_hole_duration_us(const struct link_profile *profile, struct sim_random *random);

/* Set-up of a link, as the virtual world models it: phases in round trips, bytes and computing time. */
struct link_setup {
    uint8_t tls;        /* 0: plain TCP, 1: TLS 1.3, 2: TLS 1.3 with client certificate, 3: TLS 1.3 resumed */
    int64_t resolve_us; /* name resolution, out: duration of each phase */
    int64_t tcp_us;
    int64_t tls_us;
    uint32_t bytes_up, bytes_down;
};
/* in: tls; out: the rest. The radio counts as idle before it (resolve_us holds its waking), as awake after it. computing_us: CPU time of both ends for the handshake. */
void link_setup_draw(const struct link_profile *profile, struct sim_random *random, int64_t computing_us,
                     struct link_setup *setup);

/* ---- trips -------------------------------------------------------------------------------------------------------- */

#define TRIPS_PER_DAY_MAX 8

struct trip_profile {
    double weekday_share[24],
        weekend_share[24];                  /* of a day's trip starts, by hour; normalised by trip_profile_build() */
    double trips_per_day;                   /* mean over all vehicles */
    double parked_all_day;                  /* share of vehicles that do not move on a day */
    double duration_mean_s, duration_sigma; /* lognormal: mean, sigma of the logarithm */
    bool commute; /* on weekdays half of the vehicles go out in the morning and back in the evening */
    /* Built: cumulative shares in parts of 2^32, by hour; what the commuters' two trips leave of a weekday is in `other`. */
    uint32_t weekday[24], weekend[24], out[24], back[24], other[24];
    uint32_t move_ppm;         /* vehicles that move on a day */
    uint32_t commuter_ppm;     /* vehicles that commute, by vehicle and not by day */
    uint32_t more_ppm[3];      /* each further trip, up to TRIPS_PER_DAY_MAX: weekday, commuter's weekday, weekend */
    struct sim_table duration; /* microseconds */
};
/* The default weekday commute: hourly shares of the 2001 national survey (see docs), 2.2 trips a day, 23.3 minutes. */
void trip_profile_commute(struct trip_profile *profile);
void trip_profile_build(struct trip_profile *profile);

struct trip {
    int64_t start_us, end_us; /* scenario time */
};
/* Trips of one vehicle on one day (day 0 starts at scenario time -day_offset_us), ordered, not overlapping, at least a minute apart.
 * Pure in (seed, vehicle, day). weekday: 0 Monday .. 6 Sunday. Returns the count. */
uint32_t trips_of_day(const struct trip_profile *profile, uint64_t seed, uint32_t vehicle, int32_t day,
                      uint32_t weekday, int64_t day_start_us, struct trip out[TRIPS_PER_DAY_MAX]);

#endif
