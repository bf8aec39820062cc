-- Two users of an app and a driver change a car's settings whenever they like, over a network that drops. Whoever wrote last by the version counts, nobody
-- overwrites what was not read, and when all is quiet the cloud's wish, the report and the car say the same. Remote commands go through the shadow, too.
local vehicles = param("fleet", 2000, "vehicles in all")

scenario "shadow-convergence" { start = "2026-03-04 07:00", duration = hours(2), seed = 17, warm_up = minutes(10) }

local deaf  = fault("deaf", { off = 0, on = 0.05, breaks = { "converged" } }, "share of cars that say 'done' and do nothing")
local stale = fault("stale_reports", { off = 0, on = 0.05, breaks = { "converged" } }, "share of cars that report what they were at first")
local blind = fault("ignore_versions", { off = 0, on = 1, breaks = { "converged" } },
                    "share of the users' changes that do not say which version they were made from")
local mute  = fault("lose_answers", { off = 0, on = 0.05, breaks = { "converged", "each-ended" } }, "share of cars whose reports never reach the cloud")

region "here" { latency = milliseconds(12) }
cloud { activation = constant(seconds(1)), processors = 2 }
remote_commands { pattern = "shadow", fallback = seconds(20), failures = 0.01, faults = { lose_answers = mute } }
shadow {
  state = { climate = { 16, 28 }, charge_limit = { 50, 100 }, seat_heating = { 0, 3 } },
  apps = { users = 2, rate = per_hour(2), think = seconds(20) }, driver = per_hour(1),
  apply = seconds(2), failures = 0.05, to = "08:40", settle = minutes(5),
  faults = { deaf = deaf, stale_reports = stale, ignore_versions = blind },
}

cohort "suv" {
  count = vehicles, radio = radio("lte-cat4", { drops_per_hour = 2, holes_per_hour = 0.3, hole = seconds(60), loss = 0.01 }),
  trips = always_driving(), power_up = within(minutes(5)),
  mqtt = { driving = { keep_alive = minutes(2) }, session_expiry = days(1) },
  telemetry = every(minutes(5)):while_driving():size(lognormal(300, 0.4)):qos(1),
}
app "companion" { users = vehicles, command = "flash", rate = per_hour(1), timeout = seconds(90), to = "08:40" }

expect "converged"  (shadows():diverged()):equals(0)
expect "in-step"    (shadows():sync():p50()):below(seconds(10))
expect "all-synced" (shadows():sync():count()):at_least(vehicles)
expect "conflicts"  (shadows():conflicts()):above(0.05 * vehicles)
expect "shadow"     (command "flash":path "shadow":p50()):below(seconds(3))
expect "most-done"  (commands():ended_executed():share()):above(0.9)
expect "once"       (commands():executed_twice()):equals(0)
expect "told-right" (commands():misreported()):equals(0)
expect "each-ended" (commands():unended():share()):below(0.02)
