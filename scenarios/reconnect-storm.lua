-- A broker restarts at the evening peak: everybody is cut at once and comes back with jitter. With jitter switched off they come back as one. A quarter of an
-- hour later a node of the broker dies with a fifth of the connections. Judged as an aggregate, and for the single vehicle: none hammers at the door.
local vehicles = param("fleet", 20000, "vehicles in all")
local pace     = param("pace", 1, "how much quicker restart and backoff are than in the field; a live run of 200 vehicles wants 4, with --speedup 12")
local back     = param("back", "17:05", "when everybody must be back; 17:15 with a pace of a third of the speedup")

scenario "reconnect-storm" { start = "2026-03-04 16:30", duration = hours(1), seed = 9, warm_up = minutes(10) }

local steady = fault("no_jitter", { off = 0, on = 1, breaks = { "no-storm" } }, "firmware that waits a fixed time before it comes back")
local gone   = fault("no_names", { off = 0, on = 1, breaks = { "back-soon", "reconnect" } }, "names are not resolved for six minutes after the restart")

local eager  = fault("impatient", { off = 0, on = 1, breaks = { "no-storm", "patient" } }, "firmware that tries again almost at once")

region "here" { latency = milliseconds(10) }
cohort "car" {
  count = vehicles, radio = "lte-cat4", trips = weekday_commute(), power_up = within(minutes(5)),
  mqtt = { driving = { keep_alive = minutes(2) }, parked = { keep_alive = minutes(20) }, session_expiry = hours(4) },
  telemetry = every(seconds(60)):while_driving():size(lognormal(300, 0.4)):qos(1),
  backoff = { base = seconds((eager > 0 and 0.2 or 8) / pace), cap = seconds((eager > 0 and 1 or 120) / pace), jitter = steady == 0 },
}

at("17:00", function()
  broker_restart { lasts = seconds(60 / pace) }
  note "the broker restarts"
  if gone > 0 then resolver_gone { lasts = minutes(6 / pace) } end
end)

at("17:15", function() node_loss { share = 0.2 } end)

expect "no-storm"     (broker():connects_per_second():max()):below(0.06 * pace * vehicles):from("16:50")
expect "back-soon"    (broker():connected()):eventually():at_least(0.99 * vehicles):from("17:01"):by(back)
expect "reconnect"    (reconnect():p90()):below(minutes(5 / pace))
expect "patient"      (reconnect():interval():p50()):above(seconds(5 / pace))
expect "nothing-lost" (telemetry():lost()):equals(0)
