#!/usr/bin/env bash
# Mixed fleets, notices and processors: the shipped scenarios in the virtual world without and with each fault, on two processes as on one; and a short one
# live, on our own cloud and on mosquitto.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_faults.sh"
. "$(dirname "$0")/lib_virtual.sh"

fleet=1000
# What is counted here names no vehicle.
of_nobody="$of_nobody|processors|bytes saved|messages routed$"
scenarios_with_faults 7 "$fleet" telemetry-processors mixed-versions

as_one_process telemetry-processors "$fleet"
as_one_process mixed-versions "$fleet"

# What processors hold in hand is in a checkpoint, and a vehicle's life can be told again though scripts act on processors at barriers.
reference=whole
run_any whole "$scenarios/telemetry-processors.lua" --fleet 6000
interrupted one "$scenarios/telemetry-processors.lua" --fleet 6000 --checkpoint 13m
resumed one
lived whole 77 life
ok "interrupted and resumed; a vehicle's life told again"

# ---- live ----------------------------------------------------------------------------------------------------------------

cat >"$work/short.lua" <<'END'
scenario "short" { start = "2026-03-04 08:00", duration = seconds(24), seed = 5, warm_up = seconds(3) }
region "here" { latency = milliseconds(2) }
processors {
  route = "firmware", commit = milliseconds(500), session = seconds(4),
  groups = { old = { firmware = { "1.0.0", "1.4.0" }, count = 2 }, new = { firmware = { "2.0.0" }, count = 2 } },
}
notice "weather" { every = seconds(5), expires = seconds(3), grace = seconds(1) }
notice "recall"  { every = seconds(7) }
notice "update"  { at = seconds(8), retained = true }
local part = { identity = factory { kind = "none" }, radio = "ideal", trips = always_driving(), power_up = within(seconds(2)),
               telemetry = every(milliseconds(500)):always():qos(1) }
cohort "five"  { count = 28, identity = part.identity, radio = part.radio, trips = part.trips, power_up = part.power_up, telemetry = part.telemetry,
                 firmware = { ["1.4.0"] = 0.5, ["2.0.0"] = 0.5 }, mqtt = { aliases_taken = 4 } }
cohort "three" { like = "five", count = 12, firmware = { ["1.0.0"] = 1 }, mqtt = { version = "3.1.1" } }
app "companion" { users = 40, command = "unlock", rate = per_minute(4), timeout = seconds(5), online_only = true }
at(seconds(6), function() processors_scale { to = 3 } end)
at(seconds(6), function() coverage_hole { share = 0.3, lasts = seconds(6) } end)
at(seconds(10), function() processor_dies { back_after = seconds(2) } end)
at(seconds(16), function() processor_dies { group = "old" } end)
expect "lost"      (telemetry():lost()):equals(0)
expect "right"     (processors():routed_wrong()):equals(0)
expect "routed"    (processors():routed()):above(1000)
expect "deaths"    (processors():deaths()):at_least(2)
expect "told"      (notices():delivered()):above(200)
expect "none-lost" (notices():lost()):equals(0)
expect "stale"     (notices():stale()):equals(0)
expect "saved"     (aliases():saved():cohort "five":mean()):above(0)
expect "three"     (command "unlock":cohort "three":p99()):below(seconds(2))
END

command -v mosquitto >/dev/null || PATH=$PATH:/usr/sbin
command -v mosquitto >/dev/null || fail "mosquitto is missing: install the Debian package mosquitto (./dev test does)"
port=$(free_port)
printf '%s\n' "user $(id -un)" "listener $port 127.0.0.1" "allow_anonymous true" "max_queued_messages 10000" >"$work/mosquitto.conf"
start mosquitto mosquitto -c "$work/mosquitto.conf"
wait_port "$port" "$started"
for broker in embedded "mqtt://127.0.0.1:$port"; do
    expect_exit 0 "$convoy" run "$work/short.lua" --world live --broker "$broker" --lag-bound 2000 --out "$work/live"
    equal "$(json "$work/live/result.json" it.verdict)" pass "verdict on $broker"
    case $broker in embedded) wanted=3 ;; *) wanted=2 ;; esac # who never comes back is not asked for on a broker that need not help then
    equal "$(json "$work/live/result.json" it.counters.members_died)" "$wanted" "processors that died on $broker"
    ok "mixed fleet, notices, processors that die on ${broker%%:*}"
done
grep -q "processor_dies .* was not done" "$work/out" || grep -q "was not done" "$work/live/result.json" || fail "what was not done is not told"
