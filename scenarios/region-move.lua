-- Cars change continent: off the ship in a port of America, they come online there, are registered with the least that is needed, and serve commands; then
-- Europe forgets them. What Europe's law lets it keep, telemetry that was made there, stays. Others only travel and stay at home.
local vehicles = param("fleet", 20000, "vehicles in all")
local pace     = param("pace", 1, "how much quicker ships, resolver, clean-up and people are than in the field; a live run with a shortened calendar wants 120 for --speedup 120")

scenario "region-move" { start = "2026-03-04 07:00", duration = hours(6), seed = 12, warm_up = minutes(10) }
local hoards  = fault("keep_old", { off = 0, on = 0.5, breaks = { "nothing-left" } }, "share of cars that the old region does not forget")
local copies  = fault("copy_all", { off = 0, on = 0.5, breaks = { "nothing-forbidden" } },
                      "share of cars of which owner and telemetry are copied, too")
local manual  = fault("no_copy", { off = 0, on = 1, breaks = { "time-to-service" } },
                      "no identity goes along: each car is registered anew, and a person looks at it first")

region "europe"  { latency = milliseconds(12) }
region "america" { latency = milliseconds(14), residency = { "europe" }, ca_mode = "SNI_ONLY" }
cloud { activation = manual > 0 and lognormal(minutes(12 / pace) + seconds(10) * (1 - 1 / pace), 0.3) or lognormal(seconds(1), 0.3), processors = 2 }
-- A modem that has asked lately comes to Europe first, and is sent on (server reference).
resolver { by = "geolocation", standard = "europe", ttl = hours(2 / pace), between = { { "europe", "america", milliseconds(45) } } }
region_moves {
  copied = manual > 0 and {} or { "identity" }, cleaned = { "identity", "personal", "session" }, kept = { "telemetry" },
  clean_after = minutes(10 / pace), give_up = hours(2 / pace), faults = { keep_old = hoards, copy_all = copies },
}
remote_commands { sealed = true, fallback = seconds(20),
                  shoulder_tap = { latency = lognormal(seconds(6), 0.5), loss = 0.02, times = 4, retry_after = seconds(25) } }

cohort "car" {
  count = vehicles, region = { europe = 0.7, america = 0.3 },
  radio = "lte-cat4", trips = weekday_commute(), power_up = within(minutes(5)), backoff = { base = seconds(1 / math.sqrt(pace)), cap = minutes(1 / math.sqrt(pace)) },
  mqtt = { driving = { keep_alive = minutes(2) }, parked = { keep_alive = minutes(20) }, session_expiry = hours(24) },
  telemetry = every(seconds(60 / math.sqrt(pace))):while_driving():size(lognormal(300, 0.4)):qos(1),
}
app "companion" { users = vehicles, command = "unlock", rate = per_day(4), timeout = seconds(120), to = "12:30" }

at("08:00", function()
  note(move_region { region = "europe", to = "america", share = 0.1, within = hours(2 / pace) } .. " cars arrive in America")
end)
at("09:00", function() travel { region = "america", to = "europe", share = 0.05, within = hours(1 / pace) } end)

expect "moved"             (regions():moves()):at_least(math.max(1, math.min(0.06 * vehicles, 0.07 * vehicles - 3 * math.sqrt(0.07 * vehicles))))
expect "time-to-service"   (regions():move_time():p99()):below(minutes(1 / pace) + seconds(12) * (1 - 1 / pace))
expect "sent-on"           (broker():refused()):at_least(0.02 * vehicles)
expect "nothing-left"      (regions():leftovers()):equals(0)
expect "nothing-forbidden" (regions():residency_violations()):equals(0)
expect "where-it-belongs"  (regions():wrong()):equals(0)
expect "nothing-lost"      (telemetry():lost()):equals(0)
expect "once"              (commands():executed_twice()):equals(0)
expect "told-right"        (commands():misreported()):equals(0)
expect "each-ended"        (commands():unended():share()):below(0.01)
expect "presence"          (presence():wrong()):equals(0)
