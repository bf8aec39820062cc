-- A million commands against everything that makes doors open twice: links that drop, connections taken over by a vehicle with a new address while the broker
-- still holds the old one, SMS that come twice or not at all, answers that are late, brokers that restart and forget their sessions.
-- No command may be executed twice, and each ends in exactly one way: executed, failed, expired or refused.
local vehicles = param("fleet", 20000, "vehicles in all")
local each     = param("each", 51, "commands a vehicle")
local pace     = param("pace", 1, "how much quicker SMS, patience and deadlines are than in the field; a live run with a shortened calendar wants 8, and fewer commands")

scenario "exactly-once" { start = "2026-03-04 09:00", duration = hours(10), seed = 21 }

local mute  = fault("lose_answers", { off = 0, on = 0.05, breaks = { "each-ended" } }, "share of cars whose answers never reach the desk")
local steal = fault("lose_sms", { off = 0, on = 0.9, breaks = { "most-done" } }, "share of SMS that the network loses on top")

region "here" { latency = milliseconds(12) }
remote_commands {
  sealed = true, debounce = seconds(5 / pace), fallback = seconds(15 / pace), failures = 0.01, strangers = 0.01,
  shoulder_tap = { latency = lognormal(seconds(8 / pace), 0.6), loss = 0.05, duplicates = 0.3, times = 4, retry_after = seconds(30 / pace), validity = hours(1) },
  faults = { lose_answers = mute, lose_sms = steal },
}

cohort "car" {
  count = vehicles, trips = weekday_commute(), power_up = within(minutes(5)),
  radio = radio("lte-cat1", { drops_per_hour = 6, holes_per_hour = 4, hole = seconds(60 / pace), loss = 0.02 }),
  mqtt = { driving = { keep_alive = minutes(2) }, parked = { keep_alive = minutes(10) }, session_expiry = days(1) },
  telemetry = every(minutes(5)):while_driving():size(lognormal(300, 0.4)):qos(1),
  backoff = { base = seconds(1 / pace), cap = minutes(1 / pace), stable = seconds(30 / pace) }, acknowledge_timeout = seconds(30 / pace),
  parking = { stay_connected = minutes(10), linger = seconds(30 / pace) },
}
app "companion" { users = vehicles, command = "unlock", rate = per_hour(each / 8), timeout = seconds(120 / pace), to = "17:00" }

every_so_often(minutes(10), function()
  address_change { share = 0.2 }
  half_open { share = 0.05 }
  drop_links { share = 0.1 }
end)
at("11:00", function() broker_restart { lasts = seconds(20 / pace) } end)
at("14:00", function() broker_restart { lasts = seconds(40 / pace), lose_sessions = true } end)
-- Everybody is seen once more, so that what is still open can end.
at("17:30", function() ignition_on {} end)

expect "asked"      (commands():intended()):at_least(0.97 * each * vehicles)
expect "once"       (commands():executed_twice()):equals(0)
expect "each-ended" (commands():unended()):equals(0)
expect "told-right" (commands():misreported()):equals(0)
expect "most-done"  (commands():ended_executed():share()):above(0.8)
expect "changed"    (network():address_changes()):above(vehicles)
expect "sms-twice"  (sms():duplicated()):above(0.02 * each * vehicles)
