#!/usr/bin/env bash
# A fleet goes from one broker to another in the live world: on two clouds of our own, where the old one sends cars on over the wire, and on two mosquittos,
# where their links are cut. Nothing is lost, every command ends once; what goes wrong takes the wave back.
# Mostly waits.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
command -v mosquitto >/dev/null || PATH=$PATH:/usr/sbin
command -v mosquitto >/dev/null || fail "mosquitto is missing: install the Debian package mosquitto (./dev test does)"

cat >"$work/migration.lua" <<'LUA'
local refuses = param("refuses", 0, "share of cars that the new broker refuses")
scenario "migration" { duration = seconds(27), warm_up = seconds(3) }
-- Registered at once: everybody has connected before the first turn comes, also on a slow machine.
cloud { activation = constant(milliseconds(50)) }
region "old" { latency = 0, endpoint = "old.fleet.test" }
region "new" { latency = 0, endpoint = "new.fleet.test" }
remote_commands { sealed = true, fallback = seconds(5) }
cohort "canary" {
  count = 8, region = { old = 1 }, radio = "ideal", trips = always_driving(), power_up = within(seconds(1)),
  telemetry = every(seconds(1)):always():qos(1), backoff = { base = milliseconds(500), cap = seconds(2) },
}
cohort "car" { like = "canary", count = 32 }
migration {
  from = "old", to = "new", start = seconds(4), abort = 0.3, settle = seconds(10), drain = seconds(10),
  waves = { { cohort = "canary", at = 0, within = seconds(1) }, { cohort = "car", at = seconds(12), within = seconds(4) } },
  faults = { new_refuses = refuses },
}
app "companion" { users = 40, command = "unlock", rate = per_minute(4), timeout = seconds(8), from = seconds(4), to = seconds(20) }
expect "across"  (regions():migrated()):equals(40)
expect "back"    (regions():migrated_back()):equals(0)
expect "place"   (regions():wrong()):equals(0)
expect "lost"    (telemetry():lost()):equals(0)
expect "once"    (commands():executed_twice()):equals(0)
expect "right"   (commands():misreported()):equals(0)
expect "ended"   (commands():unended()):equals(0)
expect "gap"     (reconnect():p90()):below(seconds(3))
expect "online"  (broker():connected():last()):equals(40)
LUA

migrate() {
    local name=$1
    shift
    expect_exit 0 "$convoy" run "$work/migration.lua" --world live --lag-bound 1000 --out "$work/$name" "$@"
    equal "$(json "$work/$name/result.json" "it.expectations.filter((e) => e.verdict !== 'pass').map((e) => e.id)")" "" "what does not hold of $name"
    [ "$(json "$work/$name/result.json" it.commands.intended)" -ge 15 ] || fail "too few commands were asked in $name"
    ok "$name"
}

migrate "own clouds"
# Over the wire: whoever was connected was told, none had to wait for a refusal.
equal "$(json "$work/own clouds/result.json" it.counters.connects)" 80 "connects"

for which in a b; do
    port=$(free_port)
    printf 'listener %s 127.0.0.1\nallow_anonymous true\n' "$port" >"$work/$which.conf"
    start "$which" mosquitto -c "$work/$which.conf"
    wait_port "$port" "$started"
    eval "port_$which=$port"
done
# shellcheck disable=SC2154 # by eval
migrate "mosquitto" --broker "mqtt://127.0.0.1:$port_a" --broker "mqtt://127.0.0.1:$port_b"
grep -q "its link was cut" "$work/mosquitto/result.json" || fail "the report does not say how cars were sent on"

expect_exit 1 "$convoy" run "$work/migration.lua" --world live --lag-bound 1000 --set refuses=0.6 --out "$work/back"
equal "$(json "$work/back/result.json" "it.expectations.filter((e) => e.verdict === 'fail').map((e) => e.id).includes('back')")" true "the canaries went back"
[ "$(json "$work/back/result.json" it.counters.migrated)" -le 8 ] || fail "the wave behind the canaries went on"
equal "$(json "$work/back/result.json" it.counters.connected)" 40 "connected at the end, after going back"
ok "a wave that fails goes back"

expect_exit 2 "$convoy" run "$work/migration.lua" --world live --broker "mqtt://127.0.0.1:$port_a" --out "$work/one"
grep -q "give --broker once for each region" "$work/out.err" || fail "one broker for two regions is not refused"
expect_exit 2 "$convoy" run "$scenarios/region-outage.lua" --world live --fleet 5 --broker "mqtt://127.0.0.1:$port_a" --out "$work/outage"
grep -q "clouds of our own only" "$work/out.err" || fail "the live world does not say what it has not"
ok "refused"
