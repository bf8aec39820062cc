-- A week: cars stay connected for up to seven days after ignition off, within a battery budget; behind them a network that forgets connections which
-- are silent for half an hour. Doors open in seconds as long as the connection is kept; afterwards by SMS.
local vehicles = param("fleet", 2000, "vehicles in all")
local pace     = param("pace", 1, "how much quicker SMS, patience and deadlines are than in the field; a live run with a shortened calendar wants 30")
local first    = param("first", "00:00", "when the first command may be asked for; a shortened calendar wants the fleet connected before")
local last     = param("last", "6 d 23:00", "when the last command may be asked for")
local silence  = param("silence", 30, "minutes after which the network forgets a silent connection; a live run with a shortened calendar wants 0.1")

scenario "ignition-off-keepalive" { start = "2026-03-02 00:00", duration = days(7), seed = 3, warm_up = hours(6) }

local silent = fault("long_keep_alive", { off = 2 / 3, on = 8, breaks = { "most-done", "forgotten" } },
                     "time between pings of a parked car, as a part of what the network remembers")
local small  = fault("small_battery", { off = 6, on = 0.4, breaks = { "battery-low", "not-cut-off" } }, "ampere hours a parking may take")

region "here" { latency = milliseconds(12) }
remote_commands { debounce = seconds(5 / pace), fallback = seconds(15 / pace),
                  shoulder_tap = { latency = lognormal(seconds(6 / pace), 0.5), loss = 0.01, times = 3, retry_after = seconds(30 / pace) } }

cohort "suv" {
  count = vehicles, radio = radio("lte-cat4", { nat_idle = minutes(silence) }), trips = weekday_commute(), power_up = within(hours(1)),
  mqtt = { driving = { keep_alive = minutes(5) }, parked = { keep_alive = minutes(silent * silence) }, session_expiry = days(7) },
  telemetry = every(minutes(5)):while_driving():size(lognormal(300, 0.4)):qos(1),
  backoff = { base = seconds(1 / pace), cap = minutes(1 / pace), stable = seconds(30 / pace) },
  parking = { stay_connected = days(7), linger = minutes(1 / pace), battery = battery { budget = small, reserve = small / 10 } },
}
app "companion" { users = vehicles, command = "unlock", rate = per_day(1), timeout = seconds(120 / pace), from = first, to = last }

expect "connected"   (command "unlock":path "connected":p99()):below(seconds(5))
expect "tapped"      (command "unlock":path "tap":count()):below(0.5 * vehicles)
expect "most-done"   (commands():ended_executed():share()):above(0.97)
expect "once"        (commands():executed_twice()):equals(0)
expect "told-right"  (commands():misreported()):equals(0)
expect "forgotten"   (network():forgotten()):below(0.2 * vehicles)
expect "battery"     (parked():battery_used():p90()):below(6e6)
expect "battery-low" (parked():battery_low()):below(0.1 * vehicles)
expect "not-cut-off" (parked():cut_off()):below(0.01 * vehicles)
expect "presence"    (presence():wrong()):equals(0)
