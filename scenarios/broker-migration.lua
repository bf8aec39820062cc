-- A fleet goes to another make of broker without a visit to the workshop, one cohort after the other: from its turn on a car's name resolves to the new
-- one, and the old one sends it there (server reference). Both are served until everybody is across. A wave that fails goes back, and
-- those behind it do not begin.
local vehicles = param("fleet", 20000, "vehicles in all")

scenario "broker-migration" { start = "2026-03-04 20:00", duration = hours(4), seed = 13, warm_up = minutes(10) }

local shut  = fault("new_refuses", { off = 0, on = 0.5, breaks = { "all-across", "no-way-back", "gap" } },
                    "share of cars that the new broker refuses: the canaries go back, the others stay")
local blind = fault("no_processors", { off = 0, on = 1, breaks = { "nothing-lost" } }, "nobody listens to telemetry on the new broker")

region "old" { latency = milliseconds(12), endpoint = "mqtt-1.fleet.test" }
region "new" { latency = milliseconds(14), endpoint = "mqtt-2.fleet.test" }
cloud { activation = constant(seconds(1)), processors = 2 }
remote_commands { sealed = true, fallback = seconds(20),
                  shoulder_tap = { latency = lognormal(seconds(6), 0.5), loss = 0.02, times = 4, retry_after = seconds(25) } }

cohort "car" {
  count = 0.95 * vehicles, region = { old = 1 }, radio = "lte-cat4", trips = weekday_commute(), power_up = within(minutes(5)),
  mqtt = { driving = { keep_alive = minutes(2) }, parked = { keep_alive = minutes(20) }, session_expiry = hours(24) },
  telemetry = every(minutes(2)):always():size(lognormal(300, 0.4)):qos(1),
}
cohort "canary" { like = "car", count = 0.05 * vehicles }
-- The fleet's turn comes when the canaries' is judged: ten minutes and what they have to settle, ten seconds at least however fast the calendar goes.
migration {
  from = "old", to = "new", start = "21:00", abort = 0.1, settle = minutes(5), drain = minutes(3),
  waves = { { cohort = "canary", at = 0, within = minutes(10) }, { cohort = "car", at = minutes(45), within = minutes(60) } },
  faults = { new_refuses = shut, no_processors = blind },
}
app "companion" { users = vehicles, command = "unlock", rate = per_day(8), timeout = seconds(120), to = "23:30" }

expect "all-across"       (regions():migrated()):at_least(0.99 * vehicles)
expect "no-way-back"      (regions():migrated_back()):equals(0)
expect "where-it-belongs" (regions():wrong()):equals(0)
expect "stay-connected"   (broker():connected()):always():at_least(0.9 * vehicles):from("20:30"):by("23:59")
expect "no-storm"         (broker():connects_per_second():max()):below(0.2 * vehicles):from("20:30")
expect "gap"              (reconnect():p90()):below(seconds(8))
expect "nothing-lost"     (telemetry():lost()):equals(0)
expect "once"             (commands():executed_twice()):equals(0)
expect "told-right"       (commands():misreported()):equals(0)
expect "each-ended"       (commands():unended():share()):at_most(4 / vehicles)
expect "most-done"        (commands():ended_executed():share()):above(0.98)
expect "presence"         (presence():wrong()):equals(0)
