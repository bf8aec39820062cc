/* A parked TCU sleeps and is woken. What it tells is watched: asleep and awake alternate, asleep it makes no attempt, intends nothing and has no
 * link, and its modem knows when it is needed. Minutes where the profile says minutes; every case is enumerated but the walk at the end. */
#include "agent_cloud.h"

#define S(seconds)  ((seconds)*US_PER_S)
#define MIN(number) ((number)*60 * US_PER_S)
#define HOUR        MIN(60)
enum { STAY_S = 600, LINGER_S = 60, WALK_ACTIONS = 120, CUTS_MAX = 200 };

/* What the world around a TCU knows of its sleep, and starts anew with each power-up. */
static struct watch {
    uint32_t life;
    bool asleep, radio;
    unsigned radio_calls, probes, cut_at; /* cut_at: the power goes at the so many-th probe; 0: never */
} watch;

static void watched_radio(void *context, bool needed)
{
    const struct world *w = context;
    if (w->dead)
        return;
    watch.radio = needed;
    watch.radio_calls++;
}

static void watched_probe(void *context, int64_t now_us, const struct tcu_probe *probe)
{
    struct world *w = context;
    if (w->dead)
        return;
    if (watch.life != w->life)
        watch.asleep = false;
    watch.life = w->life;
    switch (probe->kind) {
    case TCU_PROBE_ASLEEP:
        assert_false(watch.asleep);
        assert_false(w->link_wanted);
        watch.asleep = true;
        break;
    case TCU_PROBE_AWAKE:
        assert_true(watch.asleep);
        watch.asleep = false;
        break;
    case TCU_PROBE_CONNECT_BEGIN: assert_true(watch.radio); /* fall through */
    case TCU_PROBE_TELEMETRY_INTENDED:
    case TCU_PROBE_ONLINE: assert_false(watch.asleep); break;
    default: break;
    }
    world_port_probe(context, now_us, probe);
    if (++watch.probes == watch.cut_at)
        w->dead = true;
}

static void make_sleeper(struct world *w)
{
    watch = (struct watch){.life = w->life};
    w->port.radio = watched_radio;
    w->port.probe = watched_probe;
    w->profile.stay_connected_us = S(STAY_S);
    w->profile.linger_us = S(LINGER_S);
    w->restarts_parked = true;
}

static struct world *sleeper(uint64_t seed)
{
    struct world *w = world_new(seed);
    make_sleeper(w);
    return w;
}

static void check(const struct world *w)
{
    bool off = tcu_connection(w->tcu) == TCU_OFF;
    assert_int_equal(tcu_asleep(w->tcu), !off && watch.asleep);
    assert_true(off || watch.radio == !tcu_asleep(w->tcu));
    if (!tcu_asleep(w->tcu))
        return;
    assert_int_equal(tcu_connection(w->tcu), TCU_WAITING);
    assert_int_equal(tcu_power(w->tcu), TCU_PARKED);
    assert_false(w->link_wanted);
}

/* After a call that was not the world's own. */
static void settle(struct world *w)
{
    if (w->dead) {
        world_power_cut(w);
        w->now_us += S(5);
        world_start(w, w->restarts_parked ? TCU_PARKED : TCU_DRIVING);
    }
    check(w);
}

static void run(struct world *w, int64_t duration_us)
{
    world_run(w, duration_us);
    check(w);
}

static void tap(struct world *w)
{
    tcu_sms(w->tcu, w->now_us, SPAN_LITERAL("wake"));
    settle(w);
}

static void ignition(struct world *w, bool on)
{
    w->restarts_parked = !on;
    tcu_ignition(w->tcu, w->now_us, on);
    settle(w);
}

static void battery(struct world *w, enum tcu_battery is)
{
    tcu_battery(w->tcu, w->now_us, is);
    settle(w);
}

/* Driven, parked, and long enough ago. */
static void put_to_sleep(struct world *w)
{
    world_begin(w);
    world_start(w, TCU_DRIVING);
    run(w, S(100));
    ignition(w, false);
    run(w, S(STAY_S + 5));
    assert_true(tcu_asleep(w->tcu));
    assert_int_equal(tcu_telemetry_pending(w->tcu), 0);
}

static struct world *sleeping(uint64_t seed)
{
    struct world *w = sleeper(seed);
    put_to_sleep(w);
    return w;
}

static unsigned told(const struct world *w, enum tcu_probe_kind kind)
{
    return w->probes.count[kind];
}

static void parked_it_sleeps(void **state)
{
    struct world *w = sleeper(1);
    world_begin(w);
    world_start(w, TCU_DRIVING);
    run(w, 3 * HOUR);
    assert_int_equal(told(w, TCU_PROBE_ASLEEP), 0); /* driving it never does */
    ignition(w, false);
    run(w, S(STAY_S - 1));
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    assert_int_equal(w->disconnects, 0);
    run(w, S(2));
    assert_true(tcu_asleep(w->tcu));
    assert_int_equal(w->disconnects, 1); /* said good-bye, and nobody cut anything */
    assert_int_equal(w->graceful_closes, 1);
    assert_int_equal(w->aborts, 0);
    assert_true(w->session && w->subscribed);
    assert_int_equal(w->probes.reason[TCU_PROBE_ASLEEP], TCU_WAKE_IGNITION);
    assert_int_equal(told(w, TCU_PROBE_OFFLINE), 1);
    unsigned intended = told(w, TCU_PROBE_TELEMETRY_INTENDED);
    assert_int_equal(w->deadline_us, TIME_NEVER);
    run(w, 100 * HOUR);
    assert_int_equal(told(w, TCU_PROBE_TELEMETRY_INTENDED), intended);
    assert_int_equal(w->connects, 1);
    assert_int_equal(world_missing(w), 0);
    world_end(w);
}

static void a_tap_wakes(void **state)
{
    struct world *w = sleeping(2);
    unsigned intended = told(w, TCU_PROBE_TELEMETRY_INTENDED);
    run(w, 10 * HOUR);
    world_command(w, 1); /* the broker keeps it */
    run(w, S(20));
    assert_int_equal(w->executed[1], 0);
    tap(w);
    assert_int_equal(tcu_connection(w->tcu), TCU_CONNECTING); /* at once */
    assert_int_equal(w->probes.reason[TCU_PROBE_AWAKE], TCU_WAKE_SMS);
    run(w, S(3));
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    assert_int_equal(w->probes.last_number[TCU_PROBE_ONLINE], 1); /* the session */
    assert_int_equal(w->executed[1], 1);
    assert_int_equal(w->answered[1], 1);
    assert_string_equal(w->status[1], "succeeded");
    assert_int_equal(told(w, TCU_PROBE_TELEMETRY_INTENDED), intended + 1);
    assert_int_equal(w->subscribes, 1);
    run(w, S(LINGER_S - 4));
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    run(w, S(3));
    assert_true(tcu_asleep(w->tcu));
    assert_int_equal(w->probes.reason[TCU_PROBE_ASLEEP], TCU_WAKE_SMS);
    assert_int_equal(told(w, TCU_PROBE_ASLEEP), 2);
    assert_int_equal(w->disconnects, 2);
    world_end(w);
}

/* The gateway sends it again and again; a command in between counts as well. */
static void taps_and_commands_put_off_sleep(void **state)
{
    struct world *w = sleeping(3);
    for (unsigned i = 0; i < 5; i++) {
        tap(w);
        tap(w);
        run(w, S(LINGER_S - 1));
    }
    assert_int_equal(told(w, TCU_PROBE_AWAKE), 1);
    assert_int_equal(w->connects, 2);
    world_command(w, 1);
    run(w, S(LINGER_S - 1));
    assert_int_equal(w->answered[1], 1);
    assert_false(tcu_asleep(w->tcu));
    run(w, S(2));
    assert_true(tcu_asleep(w->tcu));
    world_end(w);
}

/* A second tap makes the attempt that a back-off would have put off; also for one that never sleeps. */
static void a_tap_ends_a_wait(void **state)
{
    for (unsigned never_sleeps = 0; never_sleeps < 2; never_sleeps++) {
        struct world *w = sleeper(4);
        w->profile.stay_connected_us = never_sleeps ? 0 : S(STAY_S);
        w->profile.no_jitter = true;
        w->profile.backoff_base_us = w->profile.backoff_cap_us = S(50);
        watch.radio = true;
        world_begin(w);
        w->fail_links = 1;
        world_start(w, TCU_PARKED);
        world_run(w, S(10));
        assert_int_equal(tcu_connection(w->tcu), TCU_WAITING);
        assert_int_equal(w->links_opened, 1);
        tap(w);
        assert_int_equal(tcu_connection(w->tcu), TCU_CONNECTING);
        tap(w); /* nothing more to hurry */
        assert_int_equal(w->links_opened, 2);
        world_run(w, S(2));
        assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
        assert_int_equal(told(w, TCU_PROBE_AWAKE), 0);
        world_end(w);
    }
}

/* Nobody is there: it gives up after a while, and is as easily woken the next time. */
static void a_tap_without_coverage(void **state)
{
    struct world *w = sleeping(5);
    w->link_hangs = true;
    tap(w);
    run(w, S(LINGER_S + 1));
    assert_false(tcu_asleep(w->tcu)); /* its report is still to be delivered */
    run(w, S(LINGER_S));
    assert_true(tcu_asleep(w->tcu));
    assert_int_equal(tcu_telemetry_pending(w->tcu), 1);
    w->link_hangs = false;
    run(w, HOUR);
    tap(w);
    assert_int_equal(tcu_connection(w->tcu), TCU_CONNECTING);
    run(w, S(3));
    assert_int_equal(world_missing(w), 0);
    run(w, S(LINGER_S));
    assert_true(tcu_asleep(w->tcu));
    assert_int_equal(told(w, TCU_PROBE_AWAKE), 2);
    world_end(w);
}

/* Its time to linger is counted from when it can be talked to, once. */
static void lingers_from_when_it_is_online(void **state)
{
    struct world *w = sleeper(6);
    w->profile.no_jitter = true;
    w->profile.backoff_base_us = w->profile.backoff_cap_us = S(20);
    put_to_sleep(w);
    w->fail_links = 2;
    tap(w);
    run(w, S(42));
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    run(w, S(LINGER_S - 25));
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    world_cut_link(w);
    run(w, S(22));
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    run(w, S(5));
    assert_true(tcu_asleep(w->tcu)); /* not put off by having been online again */
    world_end(w);
}

/* Nothing but the attempt itself keeps these awake, and only to its end. */
static void an_attempt_is_brought_to_its_end(void **state)
{
    for (unsigned provisioning = 0; provisioning < 2; provisioning++) {
        struct world *w = sleeper(19);
        w->profile.power[TCU_PARKED].telemetry_period_us = 0;
        w->profile.no_jitter = true;
        w->profile.backoff_base_us = w->profile.backoff_cap_us = S(10);
        w->profile.stay_connected_us = provisioning ? S(80) : S(93); /* in the fourth attempt */
        w->profile.provisioning = provisioning ? TCU_PROVISION_CERTIFICATE_BROKER : TCU_PROVISION_NONE;
        w->link_hangs = w->http_silent = true;
        world_begin(w);
        world_start(w, TCU_PARKED);
        enum tcu_connection trying = provisioning ? TCU_PROVISIONING : TCU_CONNECTING;
        int64_t end_us =
            provisioning ? S(91) + 200 * US_PER_MS : S(110); /* 3 x (15.3 + 10) + 15.3; 3 x (20 + 10) + 20 */
        run(w, end_us - US_PER_MS);
        assert_int_equal(tcu_connection(w->tcu), trying);
        run(w, 2 * US_PER_MS);
        assert_true(tcu_asleep(w->tcu));
        tap(w);
        assert_int_equal(tcu_connection(w->tcu), trying);
        world_end(w);
    }
}

/* The broker has made a new session of an old one, and nobody heard of it: what wakes next must not be deaf. */
static void sleeps_in_the_middle_of_a_connect(void **state)
{
    struct world *w = sleeping(20);
    w->forget_session = true;
    tap(w);
    while (!w->connected)
        assert_true(world_step(w, w->now_us + S(1)));
    assert_int_equal(tcu_connection(w->tcu), TCU_CONNECTING);
    battery(w, TCU_BATTERY_LOW);
    assert_true(tcu_asleep(w->tcu));
    assert_false(w->subscribed);
    tap(w);
    run(w, S(5));
    assert_int_equal(w->probes.last_number[TCU_PROBE_ONLINE], 1);
    assert_true(w->subscribed);
    world_end(w);
}

/* A power-up knows nothing of a battery; while it is off there is no timer. */
static void begins_anew(void **state)
{
    struct world *w = sleeper(21);
    w->profile.wake_every_us = HOUR;
    put_to_sleep(w);
    tcu_stop(w->tcu, w->now_us);
    assert_int_equal(w->deadline_us, TIME_NEVER);
    watch.asleep = false;
    world_start(w, TCU_PARKED);
    run(w, S(5));
    battery(w, TCU_BATTERY_LOW);
    assert_int_equal(w->deadline_us, TIME_NEVER);
    tcu_stop(w->tcu, w->now_us);
    watch.asleep = false;
    world_start(w, TCU_PARKED);
    run(w, S(STAY_S + 5));
    assert_true(tcu_asleep(w->tcu));
    assert_true(w->deadline_us != TIME_NEVER);
    world_end(w);
}

static void its_timer_wakes(void **state)
{
    struct world *w = sleeper(7);
    w->profile.wake_every_us = 6 * HOUR;
    put_to_sleep(w);
    unsigned intended = told(w, TCU_PROBE_TELEMETRY_INTENDED);
    world_command(w, 1);
    run(w, 6 * HOUR + S(10));
    assert_int_equal(w->probes.reason[TCU_PROBE_AWAKE], TCU_WAKE_TIMER);
    assert_int_equal(w->answered[1], 1);
    run(w, MIN(2));
    assert_int_equal(w->probes.reason[TCU_PROBE_ASLEEP], TCU_WAKE_TIMER);
    run(w, 120 * HOUR);
    assert_in_range(told(w, TCU_PROBE_AWAKE), 20, 21); /* from falling asleep to waking each time */
    assert_int_equal(told(w, TCU_PROBE_TELEMETRY_INTENDED), intended + told(w, TCU_PROBE_AWAKE));
    assert_int_equal(w->connects, 1 + told(w, TCU_PROBE_AWAKE));
    assert_int_equal(w->subscribes, 1);
    assert_int_equal(world_missing(w), 0);
    world_end(w);
}

static void the_ignition_wakes_for_good(void **state)
{
    struct world *w = sleeping(8);
    ignition(w, true);
    assert_int_equal(tcu_connection(w->tcu), TCU_CONNECTING);
    assert_int_equal(w->probes.reason[TCU_PROBE_AWAKE], TCU_WAKE_IGNITION);
    run(w, 3 * HOUR);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    assert_int_equal(told(w, TCU_PROBE_ASLEEP), 1);
    ignition(w, false);
    run(w, S(STAY_S + 2));
    tap(w);
    run(w, S(5));
    ignition(w, true); /* awake already, but now for good */
    assert_int_equal(told(w, TCU_PROBE_AWAKE), 2);
    run(w, HOUR);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    ignition(w, false);
    run(w, S(STAY_S + 2));
    assert_true(tcu_asleep(w->tcu));
    assert_int_equal(w->probes.reason[TCU_PROBE_ASLEEP], TCU_WAKE_IGNITION);
    world_end(w);
}

static void a_low_battery(void **state)
{
    struct world *w = sleeper(9);
    w->profile.wake_every_us = 6 * HOUR;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    run(w, S(100));
    battery(w, TCU_BATTERY_LOW); /* it is being charged */
    ignition(w, false);
    run(w, S(5));
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    battery(w, TCU_BATTERY_LOW);
    assert_true(tcu_asleep(w->tcu));
    assert_int_equal(w->disconnects, 1);
    run(w, 100 * HOUR);
    assert_int_equal(told(w, TCU_PROBE_AWAKE), 0); /* no timer */
    world_command(w, 1);
    tap(w);
    run(w, S(3));
    assert_int_equal(w->answered[1], 1);
    run(w, S(LINGER_S + 1));
    assert_true(tcu_asleep(w->tcu));
    assert_int_equal(w->deadline_us, TIME_NEVER);
    battery(w, TCU_BATTERY_FINE);
    run(w, 7 * HOUR);
    assert_int_equal(told(w, TCU_PROBE_AWAKE), 2);
    battery(w, TCU_BATTERY_LOW);
    ignition(w, true);
    ignition(w, false);
    run(w, S(STAY_S + 5) + 7 * HOUR);
    assert_int_equal(w->probes.reason[TCU_PROBE_AWAKE], TCU_WAKE_TIMER);
    world_end(w);
}

/* The battery does not wait for the car; what the command brought is told when there is a next time. */
static void low_in_the_middle_of_a_command(void **state)
{
    struct world *w = sleeping(10);
    w->execute_us = S(10);
    world_command(w, 1);
    tap(w);
    run(w, S(5));
    assert_int_equal(w->executed[1], 1);
    battery(w, TCU_BATTERY_LOW);
    battery(w, TCU_BATTERY_LOW);
    assert_true(tcu_asleep(w->tcu));
    run(w, HOUR);
    assert_int_equal(w->answered[1], 0);
    tap(w);
    run(w, S(3));
    assert_int_equal(w->answered[1], 1);
    world_end(w);
}

static void never_sleeps(void **state)
{
    struct world *w = sleeper(11);
    w->profile.stay_connected_us = 0;
    w->profile.wake_every_us = HOUR;
    watch.radio = true;
    world_begin(w);
    world_start(w, TCU_PARKED);
    run(w, S(100));
    battery(w, TCU_BATTERY_LOW);
    tap(w);
    run(w, 30 * HOUR);
    ignition(w, true);
    ignition(w, false);
    run(w, 30 * HOUR);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    assert_int_equal(told(w, TCU_PROBE_ASLEEP), 0);
    assert_int_equal(watch.radio_calls, 0);
    world_end(w);
}

/* Until the answer is with the broker; a car that never answers holds it no longer than ten times its time to linger. */
static void a_command_holds_it_awake(void **state)
{
    for (unsigned hangs = 0; hangs < 2; hangs++) {
        struct world *w = sleeper(12);
        w->execute_us = S(3 * LINGER_S);
        w->car_hangs = hangs;
        put_to_sleep(w);
        tap(w);
        run(w, S(5));
        world_command(w, 1);
        run(w, S(3 * LINGER_S - 1));
        assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
        run(w, S(3));
        assert_int_equal(w->answered[1], !hangs);
        assert_int_equal(tcu_asleep(w->tcu), !hangs);
        run(w, S(7 * LINGER_S));
        assert_int_equal(tcu_asleep(w->tcu), !hangs);
        run(w, S(LINGER_S));
        assert_true(tcu_asleep(w->tcu));
        world_end(w);
    }
}

/* Acknowledgements are what counts, not having sent it. */
static void telemetry_holds_it_awake(void **state)
{
    struct world *w = sleeper(13);
    w->profile.acknowledge_timeout_us = 0;
    put_to_sleep(w);
    w->swallow_acks = true;
    tap(w);
    run(w, S(2 * LINGER_S));
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    run(w, S(10 * LINGER_S));
    assert_true(tcu_asleep(w->tcu));
    w->swallow_acks = false;
    assert_true(tcu_telemetry_pending(w->tcu) > 0);
    tap(w);
    run(w, S(LINGER_S + 2));
    assert_true(tcu_asleep(w->tcu));
    assert_int_equal(tcu_telemetry_pending(w->tcu), 0);
    world_end(w);
}

/* A job that comes in its last second awake is done first, also when it takes longer than it would linger. */
static void a_rotation_holds_it_awake(void **state)
{
    for (unsigned unanswered = 0; unanswered < 2; unanswered++) {
        struct cloud cloud;
        struct world *w = cloud_vehicle(14, &cloud);
        make_sleeper(w);
        w->profile.step_timeout_us = S(2 * LINGER_S);
        put_to_sleep(w);
        tap(w);
        run(w, S(LINGER_S - 1));
        cloud.ignore_request = unanswered ? cloud.requests + 3 : 0;
        struct cloud_job *job = cloud_rotate(w);
        run(w, S(LINGER_S + 30));
        assert_int_equal(tcu_asleep(w->tcu), !unanswered);
        assert_int_equal(job->state == JOB_SUCCEEDED, !unanswered);
        run(w, S(4 * LINGER_S));
        assert_true(tcu_asleep(w->tcu));
        assert_int_equal(job->state, JOB_SUCCEEDED);
        tap(w);
        run(w, S(5));
        assert_int_equal(cloud_check_end(w), 1);
        world_end(w);
    }
}

/* The battery does not wait for it, the power may go as well: once heard of, it goes on when it is woken. */
static void a_rotation_sleeps_and_goes_on(void **state)
{
    for (unsigned cut = 0; cut < 2; cut++)
        for (int64_t after_us = 40 * US_PER_MS; after_us < S(2); after_us += 20 * US_PER_MS) {
            struct cloud cloud;
            struct world *w = cloud_vehicle(15, &cloud);
            make_sleeper(w);
            put_to_sleep(w);
            tap(w);
            run(w, S(5));
            struct cloud_job *job = cloud_rotate(w);
            run(w, after_us);
            battery(w, TCU_BATTERY_LOW);
            run(w, HOUR);
            if (cut) {
                world_power_cut(w);
                world_start(w, TCU_PARKED);
            }
            tap(w);
            run(w, S(STAY_S - 5));
            assert_int_equal(job->state, JOB_SUCCEEDED);
            ignition(w, true);
            run(w, S(5));
            unsigned current = cloud_check_end(w);
            assert_true(current > 0);
            cloud_check_newest(w, current);
            world_end(w);
        }
}

static void powers_up_parked(void **state)
{
    struct world *w = sleeper(15);
    world_begin(w);
    world_start(w, TCU_PARKED);
    run(w, S(STAY_S - 1));
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    run(w, S(5));
    assert_true(tcu_asleep(w->tcu));
    assert_int_equal(w->probes.reason[TCU_PROBE_ASLEEP], TCU_WAKE_POWER);
    tcu_stop(w->tcu, w->now_us);
    assert_false(tcu_asleep(w->tcu));
    assert_int_equal(w->deadline_us, TIME_NEVER);
    tap(w); /* lost */
    battery(w, TCU_BATTERY_LOW);
    assert_int_equal(tcu_connection(w->tcu), TCU_OFF);
    watch.asleep = false;
    world_start(w, TCU_PARKED);
    run(w, S(STAY_S + 5));
    assert_int_equal(told(w, TCU_PROBE_AWAKE), 0);
    assert_int_equal(told(w, TCU_PROBE_ASLEEP), 2);
    run(w, HOUR);
    world_power_cut(w);
    world_start(w, TCU_PARKED);
    run(w, S(5));
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    assert_int_equal(told(w, TCU_PROBE_AWAKE), 0);
    world_end(w);
}

static void needs_memory_to_begin(void **state)
{
    struct world *w = sleeper(16);
    w->no_memory = world_on_demand;
    world_begin(w);
    world_start(w, TCU_PARKED);
    assert_int_equal(tcu_connection(w->tcu) == TCU_OFF, world_on_demand);
    assert_int_equal(w->deadline_us == TIME_NEVER, world_on_demand);
    w->no_memory = false;
    world_start(w, TCU_PARKED);
    run(w, S(STAY_S + 5));
    assert_true(tcu_asleep(w->tcu));
    world_end(w);
}

/* Everything once, with the power gone at one of the things it tells; as many as there are. */
static unsigned course(unsigned cut_at)
{
    struct world *w = sleeper(17);
    w->profile.wake_every_us = 6 * HOUR;
    w->profile.power[TCU_DRIVING].telemetry_period_us = S(60);
    w->profile.power[TCU_PARKED].telemetry_period_us = S(900);
    watch.cut_at = cut_at;
    world_begin(w);
    w->restarts_parked = false;
    world_start(w, TCU_DRIVING);
    settle(w);
    run(w, S(70));
    world_command(w, 1);
    run(w, S(20));
    ignition(w, false);
    run(w, S(STAY_S + 60));
    world_command(w, 2);
    for (unsigned i = 0; i < 3; i++) {
        tap(w);
        run(w, S(10));
    }
    run(w, S(STAY_S + 2 * LINGER_S));
    assert_true(tcu_asleep(w->tcu));
    run(w, 7 * HOUR);
    battery(w, TCU_BATTERY_LOW);
    tap(w);
    run(w, S(5));
    battery(w, TCU_BATTERY_LOW);
    run(w, S(5));
    ignition(w, true);
    run(w, S(100));
    for (uint32_t number = 1; number <= 2; number++) /* an application asks again when it hears nothing */
        if (!w->answered[number])
            world_command(w, number);
    run(w, S(100));
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    assert_true(w->answered[1] && w->answered[2]); /* the world sees to it that none is executed twice */
    assert_int_equal(w->life, cut_at && cut_at <= watch.probes);
    unsigned probes = watch.probes;
    world_end(w);
    return probes;
}

static void power_cuts_at_each_probe(void **state)
{
    unsigned probes = course(0);
    assert_in_range(probes, 40, CUTS_MAX);
    for (unsigned cut_at = 1; cut_at <= probes; cut_at++)
        course(cut_at);
    print_message("power cuts: %u\n", probes);
}

static void without_jitter_it_waits_the_whole_window(void **state)
{
    struct world *w = sleeper(18);
    w->profile.no_jitter = true;
    w->profile.backoff_base_us = S(1);
    w->profile.backoff_cap_us = S(7);
    w->latency_us = 0;
    w->refuse = 6;
    w->refuse_reason = MQ5_SERVER_BUSY;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    run(w, S(60));
    static const int64_t at_s[] = {0, 1, 3, 7, 14, 21, 28};
    assert_int_equal(w->connects, 7);
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(w->connect_at_us[i], S(at_s[i]));
    world_end(w);
}

/* The same command again until there is an answer, then the next. */
static void ask(struct world *w, uint32_t *number)
{
    if (w->answered[*number] && *number + 1 < WORLD_COMMANDS)
        ++*number;
    world_command(w, *number);
}

static void walk_step(struct world *w, uint32_t *number)
{
    switch (world_below(w, 12)) {
    case 0: ignition(w, world_below(w, 2)); break;
    case 1:
    case 2:
    case 3: tap(w); break;
    case 4: battery(w, world_below(w, 3) ? TCU_BATTERY_LOW : TCU_BATTERY_FINE); break;
    case 5:
    case 6: ask(w, number); break;
    case 7: world_cut_link(w); break;
    case 8: w->link_hangs = world_below(w, 2); break;
    case 9: w->fail_links = world_below(w, 3); break;
    case 10: w->half_open = world_below(w, 2); break;
    case 11:
        world_power_cut(w);
        watch.asleep = false;
        world_start(w, w->restarts_parked ? TCU_PARKED : TCU_DRIVING);
        break;
    }
    run(w, world_below(w, 4) ? world_below(w, (uint32_t)S(30)) : S(world_below(w, 1200)));
}

static void a_walk(void **state)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct world *w = sleeper(seed);
        uint32_t number = 1;
        w->profile.wake_every_us = seed & 1 ? HOUR : 0;
        w->profile.power[TCU_DRIVING].telemetry_period_us = S(60);
        w->jitter_us = 50 * US_PER_MS;
        world_begin(w);
        world_start(w, TCU_PARKED);
        for (unsigned i = 0; i < WALK_ACTIONS; i++)
            walk_step(w, &number);
        ignition(w, true);
        ignition(w, false);
        run(w, S(STAY_S + 11 * LINGER_S)); /* whatever it is that does not work */
        assert_true(tcu_asleep(w->tcu) || w->profile.wake_every_us);
        assert_true(told(w, TCU_PROBE_ASLEEP) > 0);
        w->half_open = w->link_hangs = false;
        w->fail_links = 0;
        tap(w);
        run(w, S(50));
        assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
        ask(w, &number);
        run(w, S(2));
        assert_true(w->answered[number]);
        run(w, S(STAY_S));
        world_end(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parked_it_sleeps),
        cmocka_unit_test(a_tap_wakes),
        cmocka_unit_test(taps_and_commands_put_off_sleep),
        cmocka_unit_test(a_tap_ends_a_wait),
        cmocka_unit_test(a_tap_without_coverage),
        cmocka_unit_test(lingers_from_when_it_is_online),
        cmocka_unit_test(an_attempt_is_brought_to_its_end),
        cmocka_unit_test(sleeps_in_the_middle_of_a_connect),
        cmocka_unit_test(begins_anew),
        cmocka_unit_test(its_timer_wakes),
        cmocka_unit_test(the_ignition_wakes_for_good),
        cmocka_unit_test(a_low_battery),
        cmocka_unit_test(low_in_the_middle_of_a_command),
        cmocka_unit_test(never_sleeps),
        cmocka_unit_test(a_command_holds_it_awake),
        cmocka_unit_test(telemetry_holds_it_awake),
        cmocka_unit_test(a_rotation_holds_it_awake),
        cmocka_unit_test(a_rotation_sleeps_and_goes_on),
        cmocka_unit_test(powers_up_parked),
        cmocka_unit_test(needs_memory_to_begin),
        cmocka_unit_test(power_cuts_at_each_probe),
        cmocka_unit_test(without_jitter_it_waits_the_whole_window),
        cmocka_unit_test(a_walk),
    };
    return world_both(tests);
}
