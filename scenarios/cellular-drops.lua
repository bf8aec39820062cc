-- A morning on a bad network: links drop while driving, holes of a minute, a region-wide outage of the radio, then a thundering return.
local vehicles = param("fleet", 20000, "vehicles in all")

scenario "cellular-drops" { start = "2026-03-04 06:00", duration = hours(4), seed = 11, warm_up = minutes(30) }

local jitterless = fault("no_jitter", { off = 30, on = 1, breaks = { "no-storm" } }, "cap of the reconnect back-off in seconds")
local small_queue = fault("small_queue", { off = 256, on = 4, breaks = { "nothing-dropped" } }, "telemetry messages a vehicle keeps while offline")

region "north" { latency = milliseconds(15) }
region "south" { latency = milliseconds(25) }

cloud { activation = lognormal(seconds(1), 0.3), processors = 2 }

cohort "van" {
  count     = vehicles,
  region    = { north = 0.5, south = 0.5 },
  radio     = radio("lte-cat1", { drops_per_hour = 2, holes_per_hour = 0.5, hole = seconds(60) }),
  identity  = factory { provisioning = "done" },
  mqtt      = { version = 5, parked = { keep_alive = minutes(10) }, driving = { keep_alive = seconds(60) }, session_expiry = days(1) },
  telemetry = every(seconds(10)):while_driving():size(lognormal(300, 0.4)):qos(1):queue(small_queue, "drop-oldest"),
  trips     = weekday_commute(),
  power_up  = within(minutes(10)),
  backoff   = { base = seconds(1), cap = seconds(jitterless) },
}

app "dispatch" { users = 0.2 * vehicles, command = "locate", rate = per_hour(0.5), timeout = minutes(5) }

at("08:00", function()
  coverage_hole { region = "north", share = 1, lasts = minutes(5) }
  note "the north has no radio for five minutes"
end)
every_so_often(minutes(60), function() drop_links { share = 0.01 } end)

expect "reconnect"       (reconnect():p95()):below(minutes(10))
expect "nothing-dropped" (telemetry():dropped()):equals(0)
expect "nothing-lost"    (telemetry():lost()):equals(0)
expect "once"            (commands():executed_twice()):equals(0)
expect "located"         (command "locate":path "connected":p95()):below(seconds(10))
expect "no-storm"        (broker():connects_per_second():max()):below(10 + 0.04 * vehicles)
expect "comes-back"      (broker():connected()):eventually():at_least(0.98 * vehicles):from("08:05"):by("08:15")
