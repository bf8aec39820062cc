#!/usr/bin/env bash
# The link model on real sockets: the same scenarios in both worlds have the same medians and lose nothing; without the model loopback's times are found.
# Silent connections that the network forgets, dead ones, new addresses, modems that sleep: as often and as late as in the virtual world.
# Mostly waits.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# alike METRIC QUANTILE: live it is not sooner by more than a quarter than in the virtual world, nor later by more than that and a few times the run's own lag. A machine
# that is late for its own sends by more than 20 ms says nothing of lateness.
alike() {
    local virtual live lag
    virtual=$(json "$work/virtual/result.json" "it.metrics['$1'].$2")
    live=$(json "$work/live/result.json" "it.metrics['$1'].$2")
    lag=$(json "$work/live/result.json" it.lag.p99_us)
    [ "$((virtual * 3 / 4))" -le "$live" ] || fail "$1 $2 takes $live us live, $virtual us virtual"
    if [ "$lag" -le 20000 ]; then
        [ "$live" -le "$((virtual * 5 / 4 + 4 * lag))" ] || fail "$1 $2 takes $live us live, $virtual us virtual, with a lag of $lag us"
    fi
}

# both NAME: in both worlds; the model is on by itself or by what the caller adds.
both() {
    local scenario=$work/$1.lua world
    shift
    expect_exit 0 "$convoy" run "$scenario" --out "$work/virtual"
    expect_exit 0 "$convoy" run "$scenario" --world live --lag-bound 2000 --out "$work/live" "$@"
    json "$work/live/result.json" it.notes | grep -q 'link model on' || fail "the link model is not noted"
    for world in virtual live; do
        equal "$(json "$work/$world/result.json" it.ledger.lost)" 0 "telemetry lost, $world"
        equal "$(json "$work/$world/result.json" 'it.ledger.intended - it.ledger.acknowledged - it.ledger.unacknowledged')" 0 "telemetry not accounted for, $world"
    done
}

cat >"$work/drops.lua" <<'END_OF_SCENARIO'
scenario "drops" { start = "2026-03-04 08:00", duration = seconds(20), seed = 5, warm_up = seconds(0) }
region "here" { latency = milliseconds(8) }
cloud { processors = 1 }
cohort "car" {
  count = 100, radio = "lte-cat4", identity = factory { kind = "certificate", provisioning = "just-in-time" },
  mqtt = { version = 5, parked = { keep_alive = minutes(5) }, driving = { keep_alive = minutes(5) }, session_expiry = hours(1) },
  telemetry = every(seconds(4)):always():size(lognormal(300, 0.4)):qos(1),
  trips = always_parked(), power_up = within(seconds(5)), backoff = { base = milliseconds(500), cap = seconds(2) },
}
at(seconds(14), function() drop_links { share = 0.5 } end)
expect "online" (broker():connected():last()):at_least(100)
END_OF_SCENARIO
both drops --link-model on
intended=$(json "$work/virtual/result.json" it.ledger.intended)
difference=$(($(json "$work/live/result.json" it.ledger.intended) - intended))
[ "$((${difference#-} * 100))" -le "$intended" ] || fail "$difference more messages intended live than virtual" # a late loop's last one
for metric in connect.resolve connect.tcp connect.tls connect.connack connect.total reconnect telemetry.ack telemetry.end_to_end \
    provision.certificate provision.registration bytes.up_day bytes.down_day; do
    alike "$metric" p50
done
ok "set-up, reconnects, telemetry and enrolment take as long on sockets as in the model"

expect_exit 0 "$convoy" run "$work/drops.lua" --world live --link-model off --duration 13s --lag-bound 2000 --out "$work/off"
! json "$work/off/result.json" it.notes | grep -q 'link model' || fail "a run without the link model notes one"
for metric in connect.tcp telemetry.ack; do # there and back take 36 ms at least: the radio's 10 ms and the region's 8 ms
    [ "$(json "$work/live/result.json" "it.metrics['$metric'].min")" -ge 36000 ] || fail "with the model $metric is sooner than a radio can be"
    [ "$(json "$work/off/result.json" "it.metrics['$metric'].min")" -lt 36000 ] || fail "without the model $metric takes as long as a radio"
done
ok "without it the sockets' own times are measured"

cat >"$work/networks.lua" <<'END_OF_SCENARIO'
scenario "networks" { start = "2026-03-04 08:00", duration = seconds(40), seed = 5, warm_up = seconds(0) }
region "here" { latency = milliseconds(8) }
cloud { processors = 1 }
cohort "car" {
  count = 60, radio = radio("lte-cat4", { nat_idle = seconds(9) }), path = "vpn",
  identity = factory { kind = "none", provisioning = "done" },
  mqtt = { version = 5, parked = { keep_alive = seconds(6) }, driving = { keep_alive = minutes(5) }, session_expiry = hours(1) },
  telemetry = every(seconds(3)):always():size(lognormal(300, 0.4)):qos(1), acknowledge_timeout = seconds(5),
  trips = always_parked(), power_up = within(seconds(4)), backoff = { base = milliseconds(500), cap = seconds(2) },
}
cohort "silent" {
  like = "car", count = 40, telemetry = every(seconds(11)):always():size(lognormal(300, 0.4)):qos(1),
  mqtt = { version = 5, parked = { keep_alive = minutes(1) }, driving = { keep_alive = minutes(5) }, session_expiry = hours(1) },
}
cohort "sleepy" {
  like = "silent", count = 40, path = "internet", radio = radio("lte-cat-m1", { edrx = seconds(5.12), edrx_window = seconds(1.28) }),
  telemetry = every(seconds(30)):always():size(lognormal(300, 0.4)):qos(1),
}
cohort "moving" {
  like = "car", count = 60, path = "private", trips = always_driving(),
  radio = radio("lte-cat1", { drops_per_hour = 0, holes_per_hour = 0, handovers_per_hour = 600, handover_gap = milliseconds(80), half_open_per_hour = 60, addresses_per_hour = 60 }),
  mqtt = { version = 5, parked = { keep_alive = minutes(5) }, driving = { keep_alive = seconds(6) }, session_expiry = hours(1) },
}
tunnel "underpass" { share = 0.5, at = uniform(seconds(5), seconds(25)), lasts = seconds(4), cohort = "moving" }
app "unlocking" { users = 40, command = "unlock", rate = per_minute(3), timeout = seconds(20), cohort = "sleepy", online_only = true }
at(seconds(12), function() half_open { cohort = "car", share = 0.3 } end)
at(seconds(20), function() address_change { cohort = "car", share = 0.3 } end)
expect "none lost" (telemetry():lost()):equals(0)
END_OF_SCENARIO
both networks
for counter in nat_kills half_open address_changes handovers; do
    counted=$(json "$work/live/result.json" "it.counters.$counter")
    [ "$counted" -gt 20 ] || fail "$counter: $counted"
    # Whether a vehicle has a connection in just that moment follows from its back-off, which is drawn as often as it was refused.
    difference=$((counted - $(json "$work/virtual/result.json" "it.counters.$counter")))
    [ "$((${difference#-} * 5))" -le "$counted" ] || fail "$counter: $counted live, $difference more than virtual"
done
alike connection.dead p50
alike connect.resolve p50 # a tunnel is set up first
alike data.cost_day p50
alike command.round_trip p50
alike command.round_trip p90 # behind a paging occasion
[ "$(json "$work/live/result.json" "it.metrics['command.round_trip'].max")" -gt 2000000 ] || fail "no command waited for a paging occasion"
ok "connections forgotten, dead and moved, and modems that sleep"

# ---- what cannot be ----------------------------------------------------------------------------------------------------

refused() {
    local pattern=$1
    shift
    expect_exit 2 "$convoy" run "$@" --out "$work/refused"
    expect_one_line "$pattern"
    [ ! -e "$work/refused/result.json" ] || fail "a report of a run that never began"
}
refused "link-model takes on or off" "$work/drops.lua" --world live --link-model sideways
refused "no links but modelled ones" "$work/drops.lua" --link-model off
refused "acted out by the link model" "$work/networks.lua" --world live --link-model off
ok "refused in one line"
