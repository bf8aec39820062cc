#!/usr/bin/env bash
# Scenarios of regions with a cloud each, in the virtual world: without a fault all their expectations hold; with each fault exactly those fail that it
# names. Two processes find what one finds, and what cannot be together is refused in one line.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_faults.sh"

fleet=2000
all="region-move region-outage broker-migration"
# Sums of how many came across, were taken over, were refused: they belong to no vehicle.
of_nobody="$of_nobody|vehicles taken over|vehicles connected|no region may serve it|vehicles on the new broker|back on the old broker"
# shellcheck disable=SC2086 # words
scenarios_with_faults 8 "$fleet" $all

# The seed is not what makes them hold.
for scenario in $all; do
    expect_exit 0 "$convoy" run "$scenarios/$scenario.lua" --fleet "$fleet" --seed 4711 --out "$work/seed"
done
ok "another seed holds, too"

as_one_process region-move "$fleet"
as_one_process region-outage "$fleet"

# A move says how long it took until the car served commands, and what the query of the old region found.
equal "$(json "$work/region-move/result.json" "it.expectations.find((e) => e.id === 'nothing-left').measured")" 0 "what the old region still has"
[ "$(json "$work/region-move/result.json" "it.expectations.find((e) => e.id === 'time-to-service').samples")" -ge 100 ] || fail "too few moves were timed"
ok "time to service and the query of the old region are in the result"

# All that regions change is in the partition: it comes to the same end when it is played again.
for scenario in region-move broker-migration; do
    expect_exit 0 "$convoy" replay "$work/$scenario" --vehicle 17 --until 1
    grep -q "identical to the run" "$work/out" "$work/out.err" || fail "the replay of $scenario does not say that it is the same"
done
ok "replayed"

# Given up while the new region still registers the car: that is not done behind the clean-up's back.
cat >"$work/given_up.lua" <<'LUA'
scenario "given-up" { duration = seconds(170), warm_up = seconds(5) }
region "europe"  { latency = milliseconds(2) }
region "america" { latency = milliseconds(2), residency = { "europe" } }
cloud { activation = seconds(70), processors = 2 }
resolver { by = "geolocation", standard = "europe", ttl = seconds(1), between = { { "europe", "america", milliseconds(30) } } }
region_moves { copied = { }, cleaned = { "identity", "personal", "session" }, kept = { "telemetry" }, clean_after = seconds(2), give_up = minutes(1) }
remote_commands { sealed = true }
cohort "car" { count = 40, region = { europe = 1 }, radio = "ideal", trips = always_driving(), power_up = within(seconds(1)),
               backoff = { base = milliseconds(300), cap = seconds(1) } }
at(seconds(80), function() move_region { region = "europe", to = "america", share = 0.5, within = seconds(4) } end)
expect "moved"     (regions():moves()):equals(0)
expect "left"      (regions():leftovers()):equals(0)
expect "forbidden" (regions():residency_violations()):equals(0)
expect "place"     (regions():wrong()):equals(0)
expect "online"    (broker():connected():last()):equals(40)
LUA
expect_exit 0 "$convoy" run "$work/given_up.lua" --out "$work/given_up"
[ "$(json "$work/given_up/result.json" it.counters.connects)" -gt 45 ] || fail "nobody went and came home again"
ok "a move that is given up"

# refused LINE TEXT: a scenario with this line is refused with one line that says so.
refused() {
    cat >"$work/refused.lua" <<LUA
scenario "refused" { duration = minutes(10) }
region "a" { latency = milliseconds(10) }
region "b" { latency = milliseconds(10) }
$1
cohort "car" { count = 10, region = { a = 1 } }
LUA
    expect_exit 2 "$convoy" check "$work/refused.lua"
    equal "$(wc -l <"$work/out.err")" 1 "lines about: $1"
    grep -qF -- "$2" "$work/out.err" || fail "'$1' is not refused with '$2': $(cat "$work/out.err")"
}
refused 'resolver { by = "nearness" }' "unknown value 'nearness'"
refused 'resolver { between = { { "a", "c", milliseconds(5) } } }' "unknown region 'c'"
refused 'resolver { } lifecycle { }' "lifecycle { } looks after the identities of one cloud"
refused 'resolver { } remote_commands { pattern = "executions" }' "are of one cloud's reserved topics"
refused 'region_moves { copied = { "session" } }' "unknown value 'session'"
refused 'region_moves { cleaned = { "personal" }, kept = { "personal" } }' "what is cleaned cannot be kept"
refused 'region "c" { residency = { "b" } }' "regions have a cloud each with resolver"
refused 'migration { from = "a", to = "a", start = "00:05", waves = { } }' "from and to are one region"
refused 'expect "moved" (regions():moves()):equals(0)' "regions(): regions have a cloud each with resolver"
ok "mistakes are refused"
