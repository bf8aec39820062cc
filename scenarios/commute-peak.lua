-- A weekday of a fleet in two regions, with a hole in the coverage in the morning peak. Nobody may lose a message or a door.
local vehicles = param("fleet", 100000, "vehicles in all")

scenario "commute-peak" {
  start    = "2026-03-04 00:00",          -- a Wednesday
  duration = hours(24),
  seed     = 7,
  warm_up  = minutes(30),                 -- the fleet powers up and provisions; kept out of the statistics
}

local dropped    = fault("drop_commands", { off = 0, on = 0.05, breaks = { "commands-arrive" } },
                         "share of commands lost between service and broker")
local slow_rule  = fault("delay_registration", { off = 1.5, on = 90, breaks = { "provisioned" } },
                         "seconds the registration rule takes to activate a certificate")
local ack_loss   = fault("lose_acknowledgements", { off = 0, on = 0.02, breaks = { "acknowledged", "no-duplicates" } },
                         "share of telemetry acknowledgements lost on the way to the vehicle")

region "eu" { latency = milliseconds(12), endpoint = "eu.fleet.test" }
region "us" { latency = milliseconds(18), endpoint = "us.fleet.test" }

cloud {
  activation           = lognormal(seconds(slow_rule), 0.3),
  certificate_lifetime = days(365),
  issue                = milliseconds(40),
  processors           = 4,
}

cohort "suv" {
  count     = 0.6 * vehicles,
  region    = { eu = 0.7, us = 0.3 },
  firmware  = { ["4.2.1"] = 0.8, ["4.3.0-rc2"] = 0.2 },
  radio     = "lte-cat4",
  identity  = factory { provisioning = "just-in-time" },
  mqtt      = { version = 5, parked = { keep_alive = minutes(20) }, driving = { keep_alive = seconds(60) },
                session_expiry = days(7), topic_aliases = 1 },
  telemetry = every(seconds(10)):while_driving():size(lognormal(300, 0.4)):qos(1):queue(64, "drop-oldest"):lose_acknowledgements(ack_loss),
  trips     = weekday_commute(),           -- hourly shares, 2.2 trips a day, 23 minutes each
  power_up  = within(minutes(15)),
}
cohort "city" { like = "suv", count = 0.4 * vehicles, radio = "lte-cat-m1" }

app "companion" { users = 0.1 * vehicles, command = "unlock", rate = per_day(1.5), timeout = seconds(60), loss = dropped }

phase("morning peak", "06:30", "09:00")
phase("evening peak", "16:00", "18:30")

at("07:40", function()
  coverage_hole { region = "eu", share = 0.05, lasts = minutes(3) }
  note "a tunnel swallows 5 % of the eu region"
end)

expect "provisioned"     (provisioning():with_warm_up():p99()):below(seconds(30))
expect "unlock"          (command "unlock":path "connected":p99()):below(seconds(3)):confidence(0.99)
expect "commands-arrive" (commands():lost():share()):below(0.005)  -- a car in a tunnel for longer than the time-out is lost to its app
expect "once"            (commands():executed_twice()):equals(0)
expect "nothing-lost"    (telemetry():lost()):equals(0)
expect "acknowledged"    (telemetry():acknowledge_time():p99()):below(seconds(10))
expect "no-duplicates"   (telemetry():duplicated():share()):below(0.001)
expect "no-storm"        (broker():connects_per_second():max()):below(20 + 0.004 * vehicles)
