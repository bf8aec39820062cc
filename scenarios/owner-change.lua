-- Used cars get new owners: a new certificate for each, the old owner's data split off; nothing crosses, either way.
local vehicles = param("fleet", 2000, "vehicles in all")
local cryptography = param("cryptography", "modelled", "modelled, or real: P-256 keys and X.509 certificates (virtual world)")
local sold     = math.max(2, math.floor(vehicles / 20))

scenario "owner-change" { start = "2026-03-04 14:00", duration = seconds(120), seed = 10 }

local kept   = fault("keep_data", { off = 0, on = 0.3, breaks = { "nothing-crosses" } }, "share of sold cars whose data stays the old owner's")
local forget = fault("forget_deactivation", { off = 0, on = 0.3, breaks = { "no-flaw" } }, "share of vehicles whose old certificate stays active")

region "here" { latency = milliseconds(8) }
cloud { activation = constant(seconds(1)), processors = 2, cryptography = cryptography }
lifecycle {
  rotation = { rollout = per_minute(1000), timeout = minutes(10) },
  revocation = { cut = uniform(seconds(0), seconds(5)), bound = seconds(10) },
  faults = { keep_data = kept, forget_deactivation = forget },
}

cohort "car" {
  count = vehicles - sold,
  radio = "ideal", identity = factory { kind = "certificate", provisioning = "done" },
  mqtt = { version = 5, parked = { keep_alive = minutes(5) }, driving = { keep_alive = minutes(1) }, session_expiry = hours(1) },
  telemetry = every(seconds(20)):always():size(constant(200)):qos(1),
  trips = always_parked(), power_up = within(seconds(20)), backoff = { base = milliseconds(500), cap = seconds(5) },
}
cohort "sold" { like = "car", count = sold }

at("14:00:40", function() change_owner { cohort = "sold", tenant = "second-owner" } end)

expect "changed"         (owners():changed()):equals(sold)
expect "new-identity"    (owners():total_time():p99()):below(minutes(1))
expect "all-rotated"     (rotation():succeeded()):equals(sold)
expect "nothing-crosses" (owners():data_crossed()):equals(0)
expect "all-online"      (broker():connected():last()):equals(vehicles)
expect "no-flaw"         (identities():flaws()):equals(0)
expect "no-vin-seen"     (identities():vins_seen()):equals(0)
expect "nothing-lost"    (telemetry():lost()):equals(0)
