-- Cars that sleep as soon as they are parked: every command is a shoulder tap by SMS, some SMS are lost or come twice. No door may open twice.
local vehicles = param("fleet", 2000, "vehicles in all")

scenario "shoulder-tap" { start = "2026-03-04 20:00", duration = hours(8), seed = 11, warm_up = minutes(30) }

local lost = fault("lose_sms", { off = 0, on = 0.6, breaks = { "tap", "most-done", "each-ended" } }, "share of SMS that the network loses on top")
local mute = fault("lose_answers", { off = 0, on = 0.05, breaks = { "each-ended", "most-done" } }, "share of cars whose answers never reach the desk")

region "here" { latency = milliseconds(12) }
remote_commands {
  sealed = true, fallback = seconds(20), failures = 0.01,
  shoulder_tap = { latency = lognormal(seconds(8), 0.6), loss = 0.02, duplicates = 0.1, times = 4, retry_after = seconds(40), validity = hours(1) },
  faults = { lose_sms = lost, lose_answers = mute },
}

cohort "city" {
  count = vehicles, radio = "lte-cat1", trips = weekday_commute(), power_up = within(minutes(5)),
  mqtt = { driving = { keep_alive = minutes(2) }, parked = { keep_alive = minutes(20) }, session_expiry = days(7) },
  telemetry = every(minutes(1)):while_driving():size(lognormal(300, 0.4)):qos(1),
  parking = { stay_connected = minutes(2), linger = seconds(30) },
}
app "companion" { users = vehicles, command = "unlock", rate = per_day(4), timeout = seconds(180), to = "1 d 03:30" }

expect "tap"        (command "unlock":path "tap":p90()):below(seconds(35))
expect "sms"        (sms():delivery():p90()):below(seconds(30))
expect "most-done"  (commands():ended_executed():share()):above(0.95)
expect "once"       (commands():executed_twice()):equals(0)
expect "told-right" (commands():misreported()):equals(0)
expect "each-ended" (commands():unended():share()):below(0.005)
expect "duplicates" (sms():duplicated()):above(0)
expect "presence"   (presence():wrong()):equals(0)
