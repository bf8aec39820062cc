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
    int64_t idle_after_us;   /* radio goes idle after so much silence; 0: never */
    int64_t wake_us;         /* and takes this long to come back */
    double drops_per_hour;   /* while driving: the link is cut without a word */
    double holes_per_hour;   /* while driving: no coverage ... */
    int64_t hole_mean_us;    /* ... for this long (exponential) */
    int64_t search_us;       /* without coverage: until the modem gives an attempt up; 0: LINK_SEARCH_US */
    uint32_t overhead_bytes; /* per segment: IP, TCP and TLS record */
    /* The modem's sleep while nothing is sent, as agreed with the network; sending wakes it at once. All 0: it always listens. */
    int64_t edrx_cycle_us;  /* downlink waits for the vehicle's next paging occasion, so far apart; 0: none */
    int64_t edrx_window_us; /* paging time window at each occasion: what arrives in it goes through */
    int64_t psm_active_us;  /* after so long without traffic not reachable at all (T3324) ... */
    int64_t psm_period_us;  /* ... until its periodic update (T3412 extended); 0: no PSM */
    /* What a mobile network does to connections. */
    int64_t
        nat_idle_us; /* a connection silent for longer is forgotten: down is lost, up is answered with a reset; 0: never */
    double handovers_per_hour; /* while driving: both directions stand still for a gap */
    int64_t handover_gap_us;   /* median; lognormal */
    double half_open_per_hour; /* the network's end is gone, nobody is told */
    double addresses_per_hour; /* a new address: as half open, and the next attempt comes from elsewhere */
    struct sim_table latency;  /* built by link_profile_build() */
};

#define LINK_SEARCH_US (5 * US_PER_S)
static inline int64_t link_search_us(const struct link_profile *profile)
{
    return profile->search_us ? profile->search_us : LINK_SEARCH_US;
}

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

/* When what reaches the network for this vehicle at now_us can go down to it: now, or the next paging occasion or periodic update. TIME_NEVER never.
 * After traffic the modem listens for idle_after_us; then it follows its cycle, and after psm_active_us nothing reaches it until its update, every
 * psm_period_us after that traffic, which it listens after as after any traffic. Phases follow from the entity of `random`, so that a vehicle's
 * occasions are its own. link_transfer() asks it itself: TIME_NEVER from there is what never arrives, and nothing has changed. */
int64_t link_reachable_us(const struct link_profile *profile, const struct link_state *state,
                          const struct sim_random *random, int64_t now_us);
/* The vehicle is about to send, and wakes its modem: by how much sooner what waits for its paging occasion arrives than link_transfer() said when it
 * was handed over (all that is under way down moves by as much); 0: nothing waits. Without this call it comes at the occasion, and what
 * follows it comes behind it. */
int64_t link_hasten_us(const struct link_profile *profile, struct link_state *state, int64_t now_us);
/* false: the network has forgotten the connection, which was silent for too long: ask before link_transfer(), which is traffic. */
bool link_alive(const struct link_profile *profile, const struct link_state *state, int64_t now_us);
int64_t link_next_handover_us(const struct link_profile *profile, struct sim_random *random);
int64_t link_handover_gap_us(const struct link_profile *profile, struct sim_random *random);
int64_t link_next_half_open_us(const struct link_profile *profile,
                               struct sim_random *random); /* half open and new address together; */
bool link_is_new_address(const struct link_profile *profile, struct sim_random *random); /* which of the two it is */
/* Nothing moves in either direction before until_us. */
void link_stand_still(struct link_state *state, int64_t until_us);
/* 3GPP TS 24.008 10.5.5.32: cycle of the four bits (0..15), paging time window of LTE-M (0..15), T3412 extended and T3324 of their octets; TIME_NEVER:
 * deactivated. And back: the least octet or value at or above a time; -1: there is none. */
int64_t link_edrx_cycle_us(uint8_t bits);
int64_t link_edrx_window_us(uint8_t bits);
int64_t link_t3412_us(uint8_t octet);
int64_t link_t3324_us(uint8_t octet);
int link_edrx_bits(int64_t cycle_us);
int link_t3412_octet(int64_t period_us);
int link_t3324_octet(int64_t active_us);

/* How a vehicle's packets get from the mobile network to the cloud. */
struct network_path {
    char name[16];              /* "internet", "vpn", "private" */
    int64_t latency_us;         /* one way, on top of the region's */
    uint32_t overhead_bytes;    /* a segment: tunnel headers */
    uint32_t setup_round_trips; /* before the first connection: the tunnel's */
    double price_per_gb;        /* of the scenario's currency; both directions */
    int64_t nat_idle_us;        /* of the path's own address translation; 0: none */
};
const struct network_path *network_path_find(const char *name); /* NULL: unknown */
const char *network_path_names(void);

/* ---- power --------------------------------------------------------------------------------------------------------- */

/* What a TCU takes out of the vehicle's battery while parked: a budget, because the engine has to start afterwards. */
struct power_profile {
    uint32_t budget_uah;      /* for one parking; 0: no limit */
    uint32_t reserve_uah;     /* the last part of the budget: LOW where it begins, CUT_OFF at its end */
    uint32_t awake_ua;        /* application processor and radio active */
    uint32_t connected_ua;    /* idle, connection kept, modem listening */
    uint32_t edrx_ua, psm_ua; /* ... modem asleep between occasions */
    uint32_t asleep_ua;       /* no connection; modem listens for SMS only */
    uint32_t off_ua;          /* cut off: what leaks */
    uint32_t byte_nah;        /* nano ampere hours for each byte sent or received */
    int64_t tail_us;          /* the radio stays active for so long after each transfer */
};
void power_profile_standard(struct power_profile *profile);
enum power_mode { POWER_AWAKE, POWER_CONNECTED, POWER_EDRX, POWER_PSM, POWER_ASLEEP, POWER_OFF, POWER_MODES };
struct power_state {  /* zeroed: nothing used, ignition on */
    int64_t since_us; /* parked and accounted for up to here; lies ahead while the radio stays active */
    uint64_t
        used_ua_us; /* since the ignition went off, in micro ampere microseconds: exact, however often it is accounted */
    uint8_t mode;   /* enum power_mode */
    bool parked, low, cut_off;
};
/* While the ignition is on none of these but power_park() does anything. */
void power_park(struct power_state *state, int64_t now_us, enum power_mode mode);
/* The ignition is on: returns what was used, in micro ampere hours (rounded down); the battery is charged. */
uint32_t power_drive(const struct power_profile *profile, struct power_state *state, int64_t now_us);
void power_set_mode(const struct power_profile *profile, struct power_state *state, int64_t now_us,
                    enum power_mode mode);
void power_transfer(const struct power_profile *profile, struct power_state *state, int64_t now_us, uint32_t bytes);
enum power_event { POWER_NOTHING, POWER_LOW, POWER_CUT_OFF };
/* Accounts up to now; LOW when the budget but for the reserve is used up, CUT_OFF when all of it is; each once a parking, LOW first: where both are
 * due, the next call returns the other. After CUT_OFF the mode is POWER_OFF and stays so until power_drive(). */
enum power_event power_account(const struct power_profile *profile, struct power_state *state, int64_t now_us);
/* When the next of these events comes if nothing changes, to the microsecond; the past: it is due. TIME_NEVER: none. */
int64_t power_next_us(const struct power_profile *profile, const struct power_state *state);
uint32_t power_used_uah(const struct power_profile *profile, const struct power_state *state, int64_t now_us);

/* A clock that drifts while its owner sleeps: how long `wanted_us` by it really is. parts per million, fast is positive. */
int64_t clock_drifted_us(int64_t wanted_us, double drift_ppm);

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

/* ---- tunnels ------------------------------------------------------------------------------------------------------- */

/* A place without coverage that a share of the trips passes. */
struct tunnel {
    double share;
    struct sim_table at, lasts; /* microseconds: into the trip; from one end to the other */
    int64_t from_us, until_us; /* time of day in which there is no coverage (at other times it is lit); equal: always */
};
struct tunnel_passage {
    int64_t after_us, lasts_us; /* after the trip began */
};
/* Pure in (seed, vehicle, number of the tunnel, trip). false: not on this trip. Whether the trip lasts long enough is the caller's to see. */
bool tunnel_on_trip(const struct tunnel *tunnel, uint64_t seed, uint32_t vehicle, uint32_t number, uint32_t trip,
                    struct tunnel_passage *out);
bool tunnel_is_dark(const struct tunnel *tunnel, int64_t time_of_day_us);

#endif
