#!/usr/bin/env bash
# Everything that can happen to a link, live: drops and holes of the radio, holes and drops by script, an outage, commands meanwhile. Nothing may be lost
# and nothing done twice.
# Mostly waits.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

cat >"$work/troubles.lua" <<'END'
local vehicles = param("fleet", 30, "vehicles in all")
scenario "live-troubles" { start = "2026-03-04 08:00", duration = seconds(28), seed = 3, warm_up = seconds(5) }
region "here" { latency = milliseconds(2) }
cloud { activation = constant(milliseconds(300)), processors = 2 }
cohort "car" {
  count     = vehicles,
  radio     = radio("lte-cat1", { drops_per_hour = 200, holes_per_hour = 100, hole = seconds(2) }),
  identity  = factory { provisioning = "done" },
  mqtt      = { version = 5, parked = { keep_alive = seconds(20) }, driving = { keep_alive = seconds(10) }, session_expiry = hours(1) },
  telemetry = every(seconds(1)):while_driving():size(lognormal(300, 0.4)):qos(1),
  trips     = always_driving(),
  power_up  = within(seconds(2)),
  backoff   = { base = milliseconds(200), cap = seconds(2) },
  acknowledge_timeout = seconds(5),
}
app "companion" { users = vehicles, command = "unlock", rate = per_minute(6), timeout = seconds(10) }
at("08:00:08", function() coverage_hole { share = 0.5, lasts = seconds(3) } note "half of them have no radio" end)
at("08:00:12", function() drop_links { share = 1 } end)
at("08:00:15", function() cloud_outage { lasts = seconds(3) } end)
at("08:00:21", function() send_command { command = "horn", share = 1, timeout = seconds(5) } end)
expect "nothing-lost" (telemetry():lost()):equals(0)
expect "nothing-dropped" (telemetry():dropped()):equals(0)
expect "once" (commands():executed_twice()):equals(0)
expect "outage" (broker():connected()):eventually():at_most(0):from("08:00:14"):by("08:00:18")
expect "comes-back" (broker():connected()):eventually():at_least(vehicles * 0.6):from("08:00:18"):by("08:00:28")
END
expect_exit 0 "$convoy" run "$work/troubles.lua" --world live --lag-bound 2000 --out "$work/run"
result=$work/run/result.json
equal "$(json "$result" it.verdict)" pass "verdict"
[ "$(json "$result" it.counters.link_drops)" -gt 30 ] || fail "hardly any link was lost"
json "$result" it.notes | grep -q 'half of them have no radio' || fail "the script's mark is missing"
json "$result" it.notes | grep -q 'cloud outage acted' || fail "how the outage was acted is not noted"
ok "links come and go, nothing is lost, nothing done twice"
