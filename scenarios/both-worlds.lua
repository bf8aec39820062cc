-- Three minutes that mean the same in both worlds: cars that drive and lose their links, cars that sleep and are woken by SMS, commands all the time. Nothing here depends on
-- how fast a calendar runs, so the medians of a virtual and of a live run of the same seed can be held against each other:
--   convoy run both-worlds.lua --out a; convoy run both-worlds.lua --world live --out b; convoy diff a b --tolerance 10
local vehicles = param("fleet", 200, "vehicles in all")

scenario "both-worlds" { start = "2026-03-04 08:00", duration = minutes(3), seed = 23 }

local slow = fault("slow_car", { off = 0.15, on = 4, breaks = { "connected", "tap" } }, "seconds a car takes to do a command")
local lazy = fault("slow_backoff", { off = 1, on = 60, breaks = { "reconnect" } }, "base of the reconnect back-off in seconds")

region "here" { latency = milliseconds(12) }
remote_commands {
  sealed = true, debounce = seconds(2), fallback = seconds(6), failures = 0.02,
  shoulder_tap = { latency = lognormal(seconds(2), 0.4), loss = 0.02, duplicates = 0.05, times = 3, retry_after = seconds(8) },
}

cohort "driving" {
  count = 0.6 * vehicles, trips = always_driving(), power_up = within(seconds(10)),
  identity = factory { kind = "certificate", provisioning = "just-in-time" },
  radio = radio("lte-cat4", { drops_per_hour = 40, loss = 0.005 }), path = "vpn",
  mqtt = { driving = { keep_alive = seconds(30) }, session_expiry = hours(1) },
  telemetry = every(seconds(5)):while_driving():size(lognormal(300, 0.4)):qos(1),
  backoff = { base = seconds(lazy), cap = seconds(60) }, execute = seconds(slow),
}
cohort "asleep" {
  like = "driving", count = 0.4 * vehicles, trips = always_parked(), radio = "lte-cat1",
  mqtt = { parked = { keep_alive = minutes(2) }, driving = { keep_alive = minutes(2) }, session_expiry = hours(1) },
  parking = { stay_connected = seconds(20), linger = seconds(8) },
}
app "drivers" { users = 0.6 * vehicles, command = "unlock", rate = per_minute(2), timeout = seconds(30), cohort = "driving", from = "08:00:20", to = "08:02:30" }
app "owners"  { users = 0.4 * vehicles, command = "unlock", rate = per_minute(2), timeout = seconds(30), cohort = "asleep", from = "08:00:20", to = "08:02:30" }

expect "connected"    (command "unlock":path "connected":p50()):below(seconds(1))
expect "tap"          (command "unlock":path "tap":p50()):below(seconds(6))
expect "reconnect"    (reconnect():p50()):below(seconds(10))
expect "once"         (commands():executed_twice()):equals(0)
expect "told-right"   (commands():misreported()):equals(0)
expect "nothing-lost" (telemetry():lost()):equals(0)
