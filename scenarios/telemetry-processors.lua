-- Telemetry goes by firmware version to processors that share a subscription, scale with the morning and die: each message to one of the right ones.
local vehicles = param("fleet", 2000, "vehicles in all")
local clear = param("identity", "certificate", "certificate, password or none; none on clear listeners")
local pace = param("pace", 1, "how many times as fast the morning goes by: 1 takes 100 minutes, 20 takes 5")
local period = math.max(seconds(30) / pace, milliseconds(500)) -- of telemetry
local rest = seconds(pace == 1 and 20 or 6)                    -- how long a dead processor's session waits for it

scenario "telemetry-processors" { start = "2026-03-04 07:00", duration = minutes(100) / pace, seed = 21, warm_up = minutes(10) / pace }

local wrong = fault("wrong_route", { off = 0, on = 1, breaks = { "right-version" } }, "one version is routed to the processors of another")
local early = fault("drop_on_death", { off = 0, on = 1, breaks = { "nothing-lost" } }, "processors acknowledge what they have not written yet")
local apart = fault("not_shared", { off = 0, on = 1, breaks = { "to-one" } }, "each processor subscribes for itself")
local idle  = fault("idle_members", { off = 0, on = 1, breaks = { "even" } }, "processors that are added take nothing")

region "here" { latency = milliseconds(12) }
processors {
  route = "firmware", commit = seconds(2), session = rest,
  groups = { classic = { firmware = { "1.0.0", "1.4.2" }, count = 2 }, current = { firmware = { "2.0.0", "2.1.0" }, count = 2 } },
  faults = { wrong_route = wrong, early_acknowledgement = early, unshared = apart, idle_members = idle },
}

cohort "car" {
  count = vehicles * 0.8, radio = "lte-cat4", identity = factory { kind = clear }, firmware = { ["1.4.2"] = 0.4, ["2.0.0"] = 0.2, ["2.1.0"] = 0.4 },
  mqtt = { version = 5, driving = { keep_alive = minutes(1) }, parked = { keep_alive = minutes(20) } },
  telemetry = every(period):always():size(lognormal(300, 0.4)):qos(1), trips = weekday_commute(), power_up = within(minutes(5) / pace),
}
-- Five years old: MQTT 3.1.1 has no properties, so these say their version in the topic.
cohort "veteran" { like = "car", count = vehicles * 0.2, radio = "lte-cat1", firmware = { ["1.0.0"] = 1 }, mqtt = { version = "3.1.1" } }

at(minutes(25) / pace, function() processors_scale { to = 4 } end)
at(minutes(40) / pace, function() processor_dies { back_after = rest / 4 } end)
at(minutes(55) / pace, function() processor_dies { group = "classic" } end)
at(minutes(75) / pace, function() processors_scale { to = 2 } end)

expect "nothing-lost"  (telemetry():lost()):equals(0)
expect "to-one"        (telemetry():duplicated():share()):below(0.002) -- a car whose link broke sends once more
expect "right-version" (processors():routed_wrong()):equals(0)
expect "routed"        (processors():routed()):above(vehicles * 0.75 * minutes(100) / pace / period)
expect "deaths"        (processors():deaths()):at_least(2)
expect "even"          (processors():uneven()):equals(0)
expect "end-to-end"    (telemetry():end_to_end():p95()):below(seconds(4))
