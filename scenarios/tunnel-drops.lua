-- The commute through tunnels: coverage goes for a minute or two on the same stretch of road, cells change every minute, connections are left half open and
-- addresses change on the way, and behind it all a network that forgets what is silent for half an hour. Nothing is lost, nothing is done twice.
local vehicles = param("fleet", 20000, "vehicles in all")
local pace     = param("pace", 1, "how much quicker vehicles, cells and networks are than in the field; a live run wants its --speedup")
local lasts    = param("lasts", 13, "hours; a live run is content with the morning: 3.3")

scenario "tunnel-drops" { start = "2026-03-04 06:00", duration = hours(lasts), seed = 21, warm_up = minutes(30) }

local slow     = fault("slow_backoff", { off = 1, on = 300, breaks = { "reconnect", "end-to-end" } }, "base of the reconnect back-off in seconds")
local trusting = fault("trusting", { off = 30, on = 3600, breaks = { "found-out", "end-to-end", "nothing-dropped" } },
                       "seconds for which a vehicle waits for acknowledgements before it doubts its connection; it pings as rarely")
local small    = fault("small_queue", { off = 128, on = 4, breaks = { "nothing-dropped" } }, "telemetry messages a vehicle keeps while offline")
local rare     = fault("rare_pings", { off = 20, on = 120, breaks = { "forgotten", "found-out" } }, "minutes between pings of a parked car: longer than the network remembers")

region "north" { latency = milliseconds(12) }
region "south" { latency = milliseconds(20) }

cohort "car" {
  count = vehicles, region = { north = 0.6, south = 0.4 }, trips = weekday_commute(), power_up = within(minutes(10)),
  radio = radio("lte-cat4", { handovers_per_hour = 60 * pace, handover_gap = milliseconds(40), half_open_per_hour = pace, addresses_per_hour = 0.6 * pace,
                              nat_idle = minutes(30 / pace), search = seconds(5 / pace), drops_per_hour = 0.5 * pace, holes_per_hour = 1.2 * pace, hole = seconds(30 / pace) }),
  mqtt = { driving = { keep_alive = seconds(math.max(5, math.max(60, trusting) / pace)) }, parked = { keep_alive = minutes(rare / pace) }, session_expiry = days(1) },
  telemetry = every(seconds(10 / pace)):while_driving():size(lognormal(300, 0.4)):qos(1):queue(small, "drop-oldest"),
  backoff = { base = seconds(slow / pace), cap = seconds(math.max(30, slow) / pace) }, acknowledge_timeout = seconds(trusting / pace),
}

tunnel "ring-road" { share = 0.4, at = uniform(minutes(2), minutes(12)), lasts = lognormal(seconds(60), 0.5), region = "north" }
tunnel "underpass" { share = 0.6, at = uniform(minutes(1), minutes(20)), lasts = lognormal(seconds(12), 0.4) }
tunnel "jam"       { share = 0.3, at = uniform(minutes(4), minutes(15)), lasts = lognormal(minutes(2), 0.4), from = "07:00", to = "09:00", region = "south" }

app "companion" { users = 0.3 * vehicles, command = "locate", rate = per_hour(0.5), timeout = minutes(5) }
phase("morning peak", "06:30", "09:00")

expect "reconnect"       (reconnect():p95()):below(minutes(4 / pace))
expect "found-out"       (network():found_dead():p95()):below(seconds(90 / pace))
expect "end-to-end"      (telemetry():end_to_end():p99()):below(minutes(3 / pace))
expect "handovers"       (network():handovers()):above(0.7 * lasts * vehicles)
expect "forgotten"       (network():forgotten()):below(0.01 * vehicles)
expect "pings"           (network():pings_missed()):equals(0)
expect "nothing-dropped" (telemetry():dropped()):equals(0)
expect "nothing-lost"    (telemetry():lost()):equals(0)
expect "once"            (commands():executed_twice()):equals(0)
expect "no-storm"        (broker():connects_per_second():max()):below(10 + 0.003 * pace * vehicles)
