-- A region goes for half an hour at the evening peak. Its neighbour may serve its cars and takes them over; another region's cars may be served nowhere else
-- when theirs goes later, and are refused until it is back. Who was taken over is sent home, one after the other.
local vehicles = param("fleet", 20000, "vehicles in all")
local pace     = param("pace", 1, "how much quicker outages and resolver are than in the field; a live run with a shortened calendar wants 60 for --speedup 60")
local quick    = pace > 1

scenario "region-outage" { start = "2026-03-04 16:30", duration = hours(3), seed = 11, warm_up = minutes(10) }

local anywhere = fault("ignore_residency", { off = 0, on = 1, breaks = { "refused", "nothing-forbidden" } },
                       "the resolver sends cars to any region that is up, whatever their law says")
local blind    = fault("no_health_check", { off = 0, on = 1, breaks = { "taken-over", "back-soon", "refused" } },
                       "nobody tells the resolver that a region is down")
local steady   = fault("no_jitter", { off = 0, on = 1, breaks = { "no-storm" } }, "firmware that waits a fixed time before it comes back")

region "eu-central" { latency = milliseconds(12), residency = { "eu-west" } }
region "eu-west"    { latency = milliseconds(15), residency = { "eu-central" } }
region "china"      { latency = milliseconds(20), ca_mode = "SNI_ONLY" }
cloud { activation = constant(seconds(1 / pace)), processors = 2 }
resolver {
  by = "geolocation", ttl = seconds(60 / pace), health_check = seconds(10 / pace), fail_back = minutes(20 / pace),
  between = { { "eu-central", "eu-west", milliseconds(11) }, { "eu-central", "china", milliseconds(95) }, { "eu-west", "china", milliseconds(100) } },
  faults = { ignore_residency = anywhere, no_health_check = blind },
}

cohort "car" {
  count = vehicles, region = { ["eu-central"] = 0.5, ["eu-west"] = 0.3, china = 0.2 },
  radio = "lte-cat4", trips = weekday_commute(), power_up = within(minutes(5)),
  mqtt = { driving = { keep_alive = minutes(2) }, parked = { keep_alive = minutes(20) }, session_expiry = hours(4) },
  telemetry = every(seconds(60 / math.sqrt(pace))):while_driving():size(lognormal(300, 0.4)):qos(1):queue(256),
  -- The first wait is the firmware's, whatever the pace: it is what spreads half the fleet, an eighth of all a second when a quick outage is over.
  backoff = { base = seconds(8), cap = seconds(math.max(8, 120 / pace)), jitter = steady == 0 },
}

at("17:00", function()
  region_outage { region = "eu-central", lasts = minutes(30 / pace) }
  note "eu-central goes"
end)
at("18:15", function()
  region_outage { region = "china", lasts = minutes(20 / pace) }
  note "china goes"
end)

expect "failover"          (regions():failover():p99()):below(minutes(6 / pace) + seconds(24) * (1 - 1 / pace))
expect "taken-over"        (regions():failovers()):at_least(0.4 * vehicles)
expect "back-soon"         (broker():connected()):eventually():at_least(0.99 * vehicles):from("17:01"):by(quick and "17:20" or "17:06")
expect "refused"           (regions():refusals()):at_least(0.15 * vehicles)
expect "nothing-forbidden" (regions():residency_violations()):equals(0)
expect "home-again"        (regions():wrong()):equals(0)
expect "no-storm"          (broker():connects_per_second():max()):below((quick and 0.22 or 0.05) * vehicles):from("16:50")
expect "all-back"          (broker():connected()):eventually():at_least(0.99 * vehicles):from("18:36"):by(quick and "18:55" or "18:42")
expect "nothing-lost"      (telemetry():lost()):equals(0)
