#!/usr/bin/env bash
# Regions with a cloud of our own each, live: one goes and its neighbour takes its cars over, another's cars may be served nowhere else and wait; who was taken
# over is sent home over the wire.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

cat >"$work/outage.lua" <<'LUA'
local anywhere = param("anywhere", 0, "the resolver sends cars to any region that is up")
scenario "outage" { duration = seconds(26), warm_up = seconds(5) }
region "east"  { latency = milliseconds(2), residency = { "west" } }
region "west"  { latency = milliseconds(2), residency = { "east" } }
region "china" { latency = milliseconds(2), ca_mode = "SNI_ONLY" }
cloud { activation = constant(milliseconds(200)), processors = 2 }
resolver { by = "geolocation", ttl = seconds(1), health_check = milliseconds(500), fail_back = seconds(3),
           between = { { "east", "west", milliseconds(5) }, { "east", "china", milliseconds(40) } },
           faults = { ignore_residency = anywhere } }
cohort "car" {
  count = 40, region = { east = 0.5, west = 0.25, china = 0.25 }, radio = "ideal", trips = always_driving(), power_up = within(seconds(1)),
  mqtt = { session_expiry = hours(1) }, telemetry = every(seconds(1)):always():qos(1):queue(64),
  backoff = { base = milliseconds(300), cap = seconds(1) },
}
at(seconds(7), function() region_outage { region = "east", lasts = seconds(6) } end)
at(seconds(9), function() region_outage { region = "china", lasts = seconds(6) } end)
expect "taken"     (regions():failovers()):at_least(12)
expect "quick"     (regions():failover():p99()):below(seconds(6))
expect "refused"   (regions():refusals()):at_least(5)
expect "forbidden" (regions():residency_violations()):equals(0)
expect "home"      (regions():wrong()):equals(0)
expect "lost"      (telemetry():lost()):equals(0)
expect "online"    (broker():connected():last()):equals(40)
LUA

failed() {
    json "$1/result.json" "it.expectations.filter((e) => e.verdict !== 'pass').map((e) => e.id).join(' ')"
}

expect_exit 0 "$convoy" run "$work/outage.lua" --world live --lag-bound 1000 --out "$work/outage"
equal "$(failed "$work/outage")" "" "what does not hold"
for registry in "" -1 -2; do
    [ -f "$work/outage/registry$registry.sqlite" ] || fail "a region has no registry of its own"
done
ok "a region goes"

expect_exit 1 "$convoy" run "$work/outage.lua" --world live --lag-bound 1000 --set anywhere=1 --out "$work/anywhere"
equal "$(failed "$work/anywhere")" "refused forbidden" "what fails when the resolver ignores residency"
ok "its cloud says where data lies that may not"

expect_exit 2 "$convoy" run "$work/outage.lua" --world live --broker mqtt://127.0.0.1:9 --out "$work/theirs"
grep -q "clouds of our own only" "$work/out.err" || fail "somebody else's broker is not refused"
ok "refused"
