-- A fleet on LTE-M whose modems sleep while the cars are parked, connected all the time: eDRX cycles of 20 s, 82 s and 11 min by cohort, and a part with PSM that
-- can be reached once an hour only. A command waits for the next paging occasion, no longer; the battery lasts.
local vehicles = param("fleet", 20000, "vehicles in all")
local pace     = param("pace", 1, "how much quicker modems and patience are than in the field; a live run with a shortened calendar wants 32 for --speedup 192")
local first    = param("first", "19:00", "when the first command may be asked for; a shortened calendar wants 20:00, when warm-up is over and the fleet connected")
local last     = param("last", "1 d 08:30", "until when users ask; a shortened calendar wants the longest sleep behind it, an hour of pace")

scenario "edrx-fleet" { start = "2026-03-04 19:00", duration = hours(16), seed = 27, warm_up = hours(1) }

local times   = fault("longer_cycles", { off = 1, on = 4, breaks = { "quick", "usual", "slow" } }, "the network grants cycles so many times as long as were asked for")
local ignored = fault("no_edrx", { off = 0, on = 1, breaks = { "battery" } }, "the network grants no cycle: modems listen all night")
local chatty  = fault("chatty", { off = 240, on = 25, breaks = { "battery", "psm" } }, "minutes between pings of a parked car: each wakes the modem")
local hurried = fault("hurried", { off = 120, on = 1, breaks = { "most-done", "psm" } }, "minutes an app waits: less than its car sleeps")

local function modem(cycle)
  if ignored > 0 then return radio("lte-cat-m1") end
  return radio("lte-cat-m1", { edrx = seconds(times * cycle / pace), edrx_window = seconds(math.min(1.28, cycle / pace / 4)) })
end
local night = battery { budget = 1.5, reserve = 0.15 }

region "here" { latency = milliseconds(12) }
remote_commands { sealed = true, debounce = seconds(5 / pace), fallback = hours(3 / pace), failures = 0.01 }

cohort "quick" {
  count = 0.3 * vehicles, radio = "lte-cat-m1", path = "private", trips = weekday_commute(), power_up = within(minutes(10)),
  mqtt = { driving = { keep_alive = minutes(4) }, parked = { keep_alive = minutes(chatty / pace) }, session_expiry = days(2) },
  telemetry = every(minutes(1)):while_driving():size(lognormal(300, 0.4)):qos(1),
  parking = { radio = modem(20.48), battery = night },
}
cohort "usual" { like = "quick", count = 0.4 * vehicles, parking = { radio = modem(81.92), battery = night } }
cohort "slow"  { like = "quick", count = 0.2 * vehicles, parking = { radio = modem(655.36), battery = night } }
cohort "psm"   { like = "quick", count = 0.1 * vehicles, parking = { radio = radio("lte-cat-m1", { psm_active = seconds(16), psm_period = hours(1 / pace) }), battery = night } }

app "companion" { users = vehicles, command = "unlock", rate = per_day(4), timeout = minutes(hurried / pace), from = first, to = last }

expect "quick"       (command "unlock":path "edrx":cohort "quick":p99()):below(seconds(20.48 / pace + 2))
expect "usual"       (command "unlock":path "edrx":cohort "usual":p99()):below(seconds(81.92 / pace + 2))
expect "slow"        (command "unlock":path "edrx":cohort "slow":p99()):below(seconds(655.36 / pace + 2))
expect "psm"         (command "unlock":path "edrx":cohort "psm":p90()):above(minutes(30 / pace))
expect "not-at-once" (command "unlock":path "edrx":cohort "usual":p50()):above(seconds(20 / pace))
expect "on-the-road" (command "unlock":path "connected":p50()):below(seconds(2))
expect "most-done"   (commands():ended_executed():share()):above(0.97)
expect "once"        (commands():executed_twice()):equals(0)
expect "told-right"  (commands():misreported()):equals(0)
expect "battery"     (parked():battery_used():p90()):below(12000)
expect "not-cut-off" (parked():cut_off()):equals(0)
expect "pings"       (network():pings_missed()):equals(0)
