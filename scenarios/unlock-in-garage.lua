-- Unlock the door, now, with the car parked in a garage since yesterday. Cars stay connected for two hours after ignition off, then sleep; a command to a
-- sleeping one taps it on the shoulder by SMS. A part of the garages has no coverage at all: those commands expire, and are told so.
local vehicles = param("fleet", 2000, "vehicles in all")
local pace     = param("pace", 1, "how much quicker SMS, patience and deadlines are than in the field; a live run with a shortened calendar wants 8")
local first    = param("first", "18:00", "when the first command may be asked for; a shortened calendar wants the fleet connected before")
local last     = param("last", "1 d 08:30", "when the last command may be asked for")

scenario "unlock-in-garage" { start = "2026-03-04 18:00", duration = hours(15), seed = 5, warm_up = hours(1) }

local lost    = fault("lose_sms", { off = 0, on = 0.8, breaks = { "tap", "most-done", "each-ended" } }, "share of SMS that the network loses")
local trusted = fault("trust_old_presence", { off = 0, on = 1, breaks = { "tap" } },
                      "the desk takes every car for connected: only its fallback wakes one")
local mute    = fault("lose_answers", { off = 0, on = 0.05, breaks = { "each-ended" } }, "share of cars whose answers never reach the desk")
local blind  = fault("skip_verification", { off = 0, on = 0.5, breaks = { "not-fooled" } }, "share of cars that do not look at signatures")

region "here" { latency = milliseconds(12) }
cloud { activation = constant(seconds(1)), processors = 2 }
remote_commands {
  sealed = true, presence = true, debounce = seconds(5 / pace), fallback = seconds(20 / pace), watchers = 2, strangers = 0.02, failures = 0.01,
  shoulder_tap = { latency = lognormal(seconds(6 / pace), 0.5), loss = 0.02, duplicates = 0.02, times = 4, retry_after = seconds(25 / pace), validity = hours(1) },
  faults = { lose_sms = lost, trust_old_presence = trusted, lose_answers = mute, skip_verification = blind },
  attacks = { forged = per_day(0.3), replayed = per_day(0.2), late = per_day(0.05) },
}

cohort "suv" {
  count = vehicles, radio = "lte-cat4", trips = weekday_commute(), power_up = within(minutes(5)),
  mqtt = { driving = { keep_alive = minutes(2) }, parked = { keep_alive = minutes(20) }, session_expiry = days(7) },
  telemetry = every(minutes(1)):while_driving():size(lognormal(300, 0.4)):qos(1),
  backoff = { base = seconds(1 / pace), cap = minutes(1 / pace), stable = seconds(30 / pace) },
  parking = { stay_connected = hours(2), linger = minutes(1 / pace),
              garage = { share = 0.5, dark = 0.02, radio = radio("lte-cat-m1", { loss = 0.02 }) } },
}
app "companion" { users = vehicles, command = "unlock", rate = per_day(4), timeout = seconds(120 / pace), from = first, to = last }

expect "connected"  (command "unlock":path "connected":p95()):below(seconds(3))
expect "tap"        (command "unlock":path "tap":p90()):below(seconds(1.5 + 20 / pace))
expect "tapped"     (command "unlock":path "tap":count()):at_least(0.3 * vehicles)
expect "most-done"  (commands():ended_executed():share()):above(0.9 - 4 / vehicles)
expect "once"       (commands():executed_twice()):equals(0)
expect "told-all"   (commands():astray()):equals(0)
expect "told-right" (commands():misreported()):equals(0)
expect "not-fooled" (commands():forged_taken()):equals(0)
expect "refused"    (commands():forged_refused()):above(0.02 * vehicles)
expect "each-ended" (commands():unended():share()):below(0.02 + 6 / vehicles)
expect "strangers"  (commands():ended_refused():share()):at_most(0.03 + 6 / vehicles)
expect "presence"   (presence():wrong()):equals(0)
expect "asleep"     (parked():asleep():max()):above(0.5 * vehicles)
