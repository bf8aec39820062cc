/* power.c: ignition, sleep and what wakes from it.
 *
 * A power state decides how often the car reports and how long it stays silent. A parked TCU whose profile says so sleeps: it has said
 * good-bye, waits without an end (connection.c) and reports nothing. It is awake for a reason (enum tcu_wake), and until `power_due_us`: a moment
 * that what comes from outside puts off. What is unfinished then holds it a while longer; what is still unfinished when it sleeps
 * after all (answers, telemetry, a change of identity) is gone on with when it wakes. It begins awake at each power-up: that it slept
 * before is nothing it knows. */
#include "agent_internal.h"

enum { LINGER_S = 60, HOLD_ONLINE = 10 }; /* online things make progress, but not always: so many lingers at most */

static bool sleeps(const struct tcu *tcu)
{
    return tcu->profile->stay_connected_us > 0;
}

static int64_t linger_us(const struct tcu *tcu)
{
    return tcu->profile->linger_us > 0 ? tcu->profile->linger_us : LINGER_S * US_PER_S;
}

static void radio(struct tcu *tcu, bool needed)
{
    if (tcu->port->radio)
        tcu->port->radio(tcu->port_context, needed);
}

/* Awake, and its time has come. Offline: how much longer is bounded more tightly, as every attempt costs. */
static int64_t held_until(const struct tcu *tcu)
{
    int64_t lingers = tcu->state == TCU_ONLINE ? HOLD_ONLINE : 1;
    return tcu->more->power_due_us + lingers * linger_us(tcu);
}

static bool held(const struct tcu *tcu)
{
    bool greeting = tcu->state == TCU_ONLINE && (tcu->want_subscribe | tcu->subscribe_sent | tcu->presence_sent);
    return tcu->state == TCU_PROVISIONING || tcu->state == TCU_CONNECTING || greeting || agent_rotation(tcu) ||
           (tcu->slots && tcu->slots->busy > 0) || tcu->queue_count > 0 || agent_shadow_busy(tcu);
}

static void set_wake_timer(struct tcu *tcu)
{
    int64_t every_us = tcu->more->battery_low ? 0 : tcu->profile->wake_every_us;
    if (every_us > 0 && tcu->port->sleep_us)
        every_us = tcu->port->sleep_us(tcu->port_context, every_us);
    tcu->more->power_due_us = every_us > 0 ? tcu->now_us + every_us : TIME_NEVER;
}

static void fall_asleep(struct tcu *tcu)
{
    struct agent_more *more = tcu->more;
    agent_enter(tcu, AGENT_SLEEP, 0, 0);
    more->asleep = 1;
    set_wake_timer(tcu);
    agent_tell(tcu, TCU_PROBE_ASLEEP, more->awake_for, 0);
    radio(tcu, false);
}

/* The caller sees to the report that a change is worth, and makes the attempt. */
static void wake(struct tcu *tcu, enum tcu_wake why)
{
    struct agent_more *more = tcu->more;
    more->asleep = more->reached = 0;
    more->awake_for = why & 7;
    more->power_due_us = tcu->now_us + linger_us(tcu);
    agent_tell(tcu, TCU_PROBE_AWAKE, more->awake_for, 0);
    radio(tcu, true);
    agent_enter(tcu, AGENT_WAKE, 0, 0);
}

bool agent_power_start(struct tcu *tcu)
{
    if (!sleeps(tcu))
        return true;
    struct agent_more *more = agent_more_need(tcu);
    if (!more)
        return false;
    more->asleep = more->reached = more->battery_low = 0;
    more->awake_for = tcu->power == TCU_DRIVING ? TCU_WAKE_IGNITION : TCU_WAKE_POWER;
    more->power_due_us = tcu->power == TCU_DRIVING ? TIME_NEVER : tcu->now_us + tcu->profile->stay_connected_us;
    radio(tcu, true);
    return true;
}

void agent_power_stop(struct tcu *tcu)
{
    if (!tcu->more)
        return;
    tcu->more->asleep = 0;
    tcu->more->power_due_us = TIME_NEVER;
}

void agent_power_tick(struct tcu *tcu)
{
    if (!tcu->more->asleep || tcu->now_us < tcu->more->power_due_us)
        return;
    wake(tcu, TCU_WAKE_TIMER);
    agent_telemetry_schedule(tcu);
}

void agent_power_settle(struct tcu *tcu)
{
    const struct agent_more *more = tcu->more;
    if (tcu->state == TCU_OFF || more->asleep || tcu->now_us < more->power_due_us)
        return;
    if (!held(tcu) || tcu->now_us >= held_until(tcu))
        fall_asleep(tcu);
}

int64_t agent_power_next_deadline(const struct tcu *tcu)
{
    const struct agent_more *more = tcu->more;
    if (more->power_due_us == TIME_NEVER || more->asleep || tcu->now_us < more->power_due_us)
        return more->power_due_us;
    return held_until(tcu);
}

void agent_power_stay(struct tcu *tcu)
{
    struct agent_more *more = tcu->more;
    int64_t until_us = tcu->now_us + linger_us(tcu);
    if (!more->asleep && more->power_due_us < until_us)
        more->power_due_us = until_us;
}

/* Woken for a talk, its time counts from when it can be talked to; but a link that comes and goes does not keep it awake. */
void agent_power_online(struct tcu *tcu)
{
    struct agent_more *more = tcu->more;
    if (!more || more->reached)
        return;
    more->reached = 1;
    if (more->awake_for == TCU_WAKE_SMS || more->awake_for == TCU_WAKE_TIMER)
        agent_power_stay(tcu);
}

/* For a TCU that sleeps; true: it was asleep. */
static bool ignite(struct tcu *tcu, bool on)
{
    struct agent_more *more = tcu->more;
    bool woken = on && more->asleep;
    if (woken)
        wake(tcu, TCU_WAKE_IGNITION);
    if (on) {
        more->awake_for = TCU_WAKE_IGNITION;
        more->battery_low = 0;
        more->power_due_us = TIME_NEVER;
    } else {
        more->power_due_us = tcu->now_us + tcu->profile->stay_connected_us;
    }
    return woken;
}

void tcu_ignition(struct tcu *tcu, int64_t now_us, bool on)
{
    uint8_t power = on ? TCU_DRIVING : TCU_PARKED;
    if (tcu->state == TCU_OFF || tcu->power == power)
        return;
    agent_begin(tcu, now_us);
    agent_telemetry_run(tcu); /* what was due in the old state is reported as of then */
    bool woken = sleeps(tcu) && ignite(tcu, on);
    tcu->power = power & 1;
    agent_tell(tcu, TCU_PROBE_POWER, 0, power);
    agent_telemetry_schedule(tcu);
    agent_keep_alive_changed(tcu);
    if (woken)
        agent_timer_run(tcu);
    agent_telemetry_run(tcu);
    agent_end(tcu);
}

void tcu_sms(struct tcu *tcu, int64_t now_us, struct span text)
{
    if (tcu->state == TCU_OFF)
        return;
    agent_begin(tcu, now_us);
    if (tcu_asleep(tcu)) {
        wake(tcu, TCU_WAKE_SMS);
        agent_telemetry_schedule(tcu);
    } else {
        if (tcu->more)
            agent_power_stay(tcu);
        agent_enter(tcu, AGENT_WAKE, 0, 0); /* somebody waits: no wait for the next attempt */
    }
    agent_command_sms(tcu, text); /* its answer waits for the connection */
    agent_telemetry_run(tcu);
    agent_timer_run(tcu);
    agent_end(tcu);
}

void tcu_battery(struct tcu *tcu, int64_t now_us, enum tcu_battery battery)
{
    struct agent_more *more = tcu->more;
    if (tcu->state == TCU_OFF || !sleeps(tcu) || tcu->power == TCU_DRIVING)
        return;
    agent_begin(tcu, now_us);
    more->battery_low = battery == TCU_BATTERY_LOW;
    if (!more->asleep && more->battery_low)
        fall_asleep(tcu);
    else if (more->asleep)
        set_wake_timer(tcu);
    agent_end(tcu);
}

bool tcu_asleep(const struct tcu *tcu)
{
    return tcu->more && tcu->more->asleep;
}
