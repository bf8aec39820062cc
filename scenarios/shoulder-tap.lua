-- Cars that sleep as soon as they are parked: every command is a shoulder tap by SMS, some SMS are lost or come twice. No door may open twice.
local vehicles = param("fleet", 2000, "vehicles in all")
local pace     = param("pace", 1, "how much quicker SMS, patience and deadlines are than in the field; a live run with a shortened calendar wants 8")
local first    = param("first", "20:00", "when the first command may be asked for; a shortened calendar wants the fleet connected before")
local stay     = param("stay", 2, "minutes a parked car stays connected; long enough for its first connection in a shortened calendar, too")
local last     = param("last", "1 d 03:30", "when the last command may be asked for")

scenario "shoulder-tap" { start = "2026-03-04 20:00", duration = hours(8), seed = 11, warm_up = minutes(30) }

local lost = fault("lose_sms", { off = 0, on = 0.6, breaks = { "tap", "most-done", "each-ended" } }, "share of SMS that the network loses on top")
local mute = fault("lose_answers", { off = 0, on = 0.15, breaks = { "each-ended", "most-done" } }, "share of cars whose answers never reach the desk")

region "here" { latency = milliseconds(12) }
remote_commands {
  sealed = true, debounce = seconds(5 / pace), fallback = seconds(20 / pace), failures = 0.01,
  shoulder_tap = { latency = lognormal(seconds(8 / pace), 0.6), loss = 0.02, duplicates = 0.1, times = 4, retry_after = seconds(40 / pace), validity = hours(1) },
  faults = { lose_sms = lost, lose_answers = mute },
}

cohort "city" {
  count = vehicles, radio = "lte-cat1", trips = weekday_commute(), power_up = within(minutes(5)),
  mqtt = { driving = { keep_alive = minutes(2) }, parked = { keep_alive = minutes(20) }, session_expiry = days(7) },
  telemetry = every(minutes(1)):while_driving():size(lognormal(300, 0.4)):qos(1),
  backoff = { base = seconds(1 / pace), cap = minutes(1 / pace), stable = seconds(30 / pace) },
  parking = { stay_connected = minutes(stay), linger = seconds(30 / pace) },
}
app "companion" { users = vehicles, command = "unlock", rate = per_day(4), timeout = seconds(180 / pace), from = first, to = last }

expect "tap"        (command "unlock":path "tap":p90()):below(seconds(5 + 30 / pace))
expect "sms"        (sms():delivery():p90()):below(seconds(30 / pace))
expect "most-done"  (commands():ended_executed():share()):above(0.95 - 5 / vehicles)
expect "once"       (commands():executed_twice()):equals(0)
expect "told-right" (commands():misreported()):equals(0)
expect "each-ended" (commands():unended():share()):below(0.005 + 4 / vehicles)
expect "duplicates" (sms():duplicated()):above(0)
expect "presence"   (presence():wrong()):equals(0)
