-- Every vehicle is given a new certificate, and every one loses its power on the way: at the first, second ... store write of its rotation, half of them
-- before the write happened, half after. All end with exactly one valid certificate and their job SUCCEEDED.
local vehicles = param("fleet", 2000, "vehicles in all")
local writes   = param("writes", 10, "store writes a rotation makes")
local cryptography = param("cryptography", "modelled", "modelled, or real: P-256 keys and X.509 certificates (virtual world)")

-- A cloud instance rolls out 1,000 a minute. Up to 4,096 vehicles share one (live; the virtual world has more of them and is done sooner).
local instances = param("instances", vehicles <= 4096 and 1 or math.max(16, math.ceil(vehicles / 4096)), "cloud instances that share the roll-out")
local rollout_s = math.ceil(vehicles / instances * 60 / 1000)

scenario "rotation-power-loss" { start = "2026-03-04 02:00", duration = seconds(128 + rollout_s), seed = 7 }

local never  = fault("never_activate", { off = 0, on = 0.05, breaks = { "all-rotated", "none-failed", "none-rolled-back" } },
                     "share of vehicles whose new certificate is granted and never made active")
local forget = fault("forget_deactivation", { off = 0, on = 0.05, breaks = { "no-flaw" } },
                     "share of vehicles whose old certificate stays active")

region "here" { latency = milliseconds(8) }
cloud { activation = constant(seconds(1)), processors = 2, cryptography = cryptography }
lifecycle {
  rotation = { rollout = per_minute(1000), timeout = minutes(30) },
  revocation = { cut = uniform(seconds(0), seconds(2)), bound = seconds(10) },
  faults = { never_activate = never, forget_deactivation = forget },
}

cohort "car" {
  count = vehicles, radio = "ideal",
  identity = factory { kind = "certificate", provisioning = "done" },
  mqtt = { version = 5, parked = { keep_alive = minutes(5) }, driving = { keep_alive = minutes(1) }, session_expiry = hours(1) },
  trips = always_parked(), power_up = within(seconds(20)), backoff = { base = milliseconds(500), cap = seconds(4) },
}

at("02:00:30", function()
  rotate {}
  power_cut { at_store_write = "each", writes = writes, lasts = seconds(4) }
end)

-- (A vehicle that has to go back to its old certificate makes fewer writes and may never come to its own.)
expect "power-lost"       (identities():power_cuts()):at_least(never > 0 and 0.9 * vehicles or vehicles)
expect "all-rotated"      (rotation():succeeded()):equals(vehicles)
expect "none-failed"      (rotation():failed()):equals(0)
expect "none-rolled-back" (rotation():rolled_back()):equals(0)
expect "succeeded"        (rotation():p99()):below(seconds(88 + rollout_s))
expect "all-online"       (broker():connected():last()):at_least(vehicles)
expect "no-flaw"          (identities():flaws()):equals(0)
