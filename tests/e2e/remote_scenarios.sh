#!/usr/bin/env bash
# Scenarios of remote commands, sleeping cars and networks, in the virtual world: without a fault all their expectations hold; with each fault exactly
# those fail that it names. Two processes find what one finds.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_faults.sh"

fleet=2000
all="unlock-in-garage shoulder-tap ignition-off-keepalive reconnect-storm exactly-once tunnel-drops edrx-fleet both-worlds"
# What is counted or timed here names no vehicle.
of_nobody="$of_nobody|network|forgotten|batteries|cut off|round trip|ended|unended|TCUs|vehicles connected|reconnect|two attempts"
# shellcheck disable=SC2086 # words
scenarios_with_faults 22 "$fleet" $all

as_one_process shoulder-tap "$fleet"

# A user who thinks as long again before the next command asks half as often.
cat >"$work/think.lua" <<'END'
local thinks = param("thinks", true, "users pause")
scenario "think" { start = "2026-03-04 18:00", duration = hours(10) }
region "here" { latency = milliseconds(12) }
cohort "car" { count = 200, radio = "ideal", trips = always_driving(), telemetry = every(minutes(10)):always() }
app "companion" { users = 200, command = "unlock", rate = per_hour(6), think = thinks and constant(minutes(10)) or nil }
expect "asked" (commands():intended()):above(0)
END
for thinks in true false; do
    expect_exit 0 "$convoy" run "$work/think.lua" --set "thinks=$thinks" --out "$work/think-$thinks"
done
hasty=$(json "$work/think-false/result.json" it.commands.intended)
pensive=$(json "$work/think-true/result.json" it.commands.intended)
[ $((100 * pensive)) -gt $((45 * hasty)) ] && [ $((100 * pensive)) -lt $((55 * hasty)) ] || fail "$pensive commands with pauses, $hasty without"
ok "users think"
