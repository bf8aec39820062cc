-- Cars of MQTT 3.1.1 and of 5 in one fleet: the same commands and notices reach both, stale notices neither, and what never expires is not lost.
local vehicles = param("fleet", 2000, "vehicles in all")
local clear = param("identity", "certificate", "certificate, password or none; none on clear listeners")
local pace = param("pace", 1, "how many times as fast the day goes by: 1 takes 12 hours, 288 takes 2.5 minutes")

scenario "mixed-versions" { start = "2026-03-04 06:00", duration = hours(12) / pace, seed = 22, warm_up = minutes(30) / pace }

local stale   = fault("forget_expiry", { off = 0, on = 0.2, breaks = { "nothing-stale" } }, "share of notices whose expiry the broker is not told")
local once    = fault("at_most_once", { off = 0, on = 1, breaks = { "nothing-lost" } }, "notices are sent with QoS 0")
local slots = fault("no_aliases", { off = 8, on = 0, breaks = { "aliases-save" } }, "topic aliases that broker and cars use, each way")

region "here" { latency = milliseconds(12) }

-- Weather and hazards are of use for a while only; a recall waits in the session, an update for as long as it takes.
notice "weather" { every = minutes(30) / pace, expires = minutes(20) / pace, share = 0.5, grace = seconds(30) / math.sqrt(pace),
                   faults = { forget_expiry = stale, at_most_once = once } }
notice "hazard"  { every = minutes(12) / pace, expires = minutes(6) / pace, share = 0.05 }
notice "recall"  { every = minutes(75) / pace, share = 0.3 }
notice "update"  { at = hours(2) / pace, retained = true }

cohort "new" {
  count = vehicles * 0.7, radio = "lte-cat4", identity = factory { kind = clear },
  mqtt = { version = 5, topic_aliases = slots, aliases_taken = slots, session_expiry = hours(3) / pace,
           driving = { keep_alive = minutes(1) / math.sqrt(pace) },
           parked = { keep_alive = minutes(20) / pace, session_expiry = hours(5) / pace } },
  telemetry = every(minutes(1) / math.sqrt(pace)):while_driving():while_parked(minutes(10) / math.sqrt(pace)):size(lognormal(300, 0.4)):qos(1),
  trips = weekday_commute(), power_up = within(minutes(5) / pace),
}
cohort "old" {
  like = "new", count = vehicles * 0.3, radio = "lte-cat1",
  mqtt = { version = "3.1.1", session_expiry = hours(3) / pace,
           driving = { keep_alive = minutes(1) / math.sqrt(pace) }, parked = { keep_alive = minutes(20) / pace } },
}
app "companion" { users = vehicles, command = "unlock", rate = per_day(6 * pace), timeout = seconds(30), online_only = true }

-- Some are away for less than their session lasts, some for longer.
for _, hour in ipairs { 1, 3, 5, 7, 9 } do
  at(hours(hour) / pace, function() coverage_hole { share = 0.1, lasts = minutes(50) / pace } end)
end
at(hours(6) / pace, function() coverage_hole { share = 0.1, lasts = hours(4) / pace } end)

expect "nothing-lost"   (notices():lost()):equals(0)
expect "nothing-stale"  (notices():stale()):equals(0)
expect "new-told"       (notices():delivered():cohort "new"):above(vehicles * 0.7 * 10)
expect "old-told"       (notices():delivered():cohort "old"):above(vehicles * 0.3 * 10)
expect "new-unlock"     (command "unlock":cohort "new":p99()):below(seconds(5))
expect "old-unlock"     (command "unlock":cohort "old":p99()):below(seconds(5))
expect "executed-once"  (commands():executed_twice()):equals(0)
expect "telemetry"      (telemetry():lost()):equals(0)
expect "aliases-save"   (aliases():saved():cohort "new":mean()):above(2000)
