-- Another TCU in the same car: by a workshop, before the car was sold, while the car was offline, in the middle of a rotation, and one taken out for good.
-- The old TCU, put into another car, is refused. The Reference ID stays what it was.
local vehicles = param("fleet", 2000, "vehicles and thieves in all")
local cryptography = param("cryptography", "modelled", "modelled, or real: P-256 keys and X.509 certificates (virtual world)")
local part     = math.max(2, math.floor(vehicles / 50))

scenario "tcu-swap" { start = "2026-03-04 09:00", duration = seconds(150), seed = 11 }

local silent  = fault("workshop_says_nothing", { off = 0, on = 1, breaks = { "swapped", "swapped-in-workshop", "no-thief" } }, "the workshop does not register the new TCU")
local useless = fault("forget_revocation", { off = 0, on = 0.5, breaks = { "no-flaw" } }, "share of revocations that never reach the door")

region "here" { latency = milliseconds(8) }
cloud { activation = constant(seconds(1)), processors = 2, cryptography = cryptography }
lifecycle {
  rotation = { rollout = per_minute(1000), timeout = minutes(10) },
  revocation = { cut = uniform(seconds(0), seconds(5)), bound = seconds(10) },
  faults = { forget_revocation = useless },
}

cohort "workshop" {
  count = vehicles - 5 * part,
  radio = "ideal", identity = factory { kind = "certificate", provisioning = "just-in-time" },
  mqtt = { version = 5, parked = { keep_alive = minutes(5) }, driving = { keep_alive = minutes(1) }, session_expiry = hours(1) },
  trips = always_parked(), power_up = within(seconds(20)), backoff = { base = milliseconds(500), cap = seconds(5) },
}
cohort "factory"  { like = "workshop", count = part }
cohort "garage"   { like = "workshop", count = part }
cohort "rotating" { like = "workshop", count = part }
cohort "scrapped" { like = "workshop", count = part }
cohort "thief"    { like = "workshop", count = part, steals = "workshop", steals_old = true }

local how = silent > 0 and "unregistered" or "registered"
at("09:00:15", function() swap_tcu { cohort = "factory", workshop = "registered" } end)                 -- before most were ever online
at("09:00:40", function() swap_tcu { cohort = "workshop", share = 0.5, workshop = how } end)
at("09:00:40", function() coverage_hole { cohort = "garage", lasts = seconds(20) } end)
at("09:00:45", function() swap_tcu { cohort = "garage", workshop = "registered" } end)                  -- while nobody hears of it
at("09:00:50", function() rotate { cohort = "rotating" } end)
at(seconds(50.2), function() swap_tcu { cohort = "rotating", workshop = "registered" } end)
at("09:01:00", function() swap_tcu { cohort = "scrapped", workshop = "taken out" } end)

expect "swapped"             (swaps():done()):at_least((vehicles - 5 * part) * 0.4 + 3 * part)
expect "swapped-in-time"     (swaps():total_time():p99()):below(seconds(25))
expect "swapped-in-workshop" (broker():connected():cohort("workshop"):last()):equals(vehicles - 5 * part)
expect "back-from-factory"   (broker():connected():cohort("factory"):last()):equals(part)
expect "back-from-garage"    (broker():connected():cohort("garage"):last()):equals(part)
expect "back-from-rotation"  (broker():connected():cohort("rotating"):last()):equals(part)
expect "taken-out"           (broker():connected():cohort("scrapped"):last()):equals(0)
expect "no-thief"            (broker():connected():cohort("thief"):last()):equals(0):needs "door"
expect "no-flaw"             (identities():flaws()):equals(0)
