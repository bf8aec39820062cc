-- Somebody has copied the identity of some cars and uses it beside them. Two that take over from each other again and again are found out, and the
-- identity is of no use to either until the car has another TCU.
local vehicles = param("fleet", 2000, "vehicles and thieves in all")
local cryptography = param("cryptography", "modelled", "modelled, or real: P-256 keys and X.509 certificates (virtual world)")
local thieves  = math.max(8, math.floor(vehicles / 100))

scenario "clone" { start = "2026-03-04 12:00", duration = seconds(140), seed = 9 }

local blind  = fault("no_detection", { off = 0, on = 1, breaks = { "detected", "revoked", "no-clone-left", "others-stay" } }, "takeovers are not counted")
local no_cut = fault("forget_cut", { off = 0, on = 1, breaks = { "no-clone-left", "others-stay", "no-flaw" } }, "live connections of revoked certificates are not cut")

region "here" { latency = milliseconds(8) }
cloud { activation = constant(seconds(1)), processors = 2, cryptography = cryptography }
lifecycle {
  clones = { takeovers = blind > 0 and 1000 or 4, within = minutes(2), decision = "revoke" },
  revocation = { cut = uniform(seconds(0), seconds(5)), bound = seconds(10) },
  faults = { forget_cut = no_cut },
}

cohort "car" {
  count = vehicles - thieves,
  radio = "ideal", identity = factory { kind = "certificate", provisioning = "done" },
  mqtt = { version = 5, parked = { keep_alive = minutes(5) }, driving = { keep_alive = minutes(1) }, session_expiry = hours(1) },
  trips = always_parked(), power_up = within(seconds(15)), backoff = { base = milliseconds(500), cap = seconds(4) },
}
cohort "thief" { like = "car", count = thieves, steals = "car", power_up = within(seconds(40)) }

expect "detected"      (clones():detected()):equals(thieves)
expect "detection"     (clones():detection():max()):below(minutes(1))
expect "no-clone-left" (broker():connected():cohort("thief"):last()):equals(0):needs "door"
expect "others-stay"   (broker():connected():last()):equals(vehicles - 2 * thieves):needs "door"
expect "revoked"       (revocation():revoked()):equals(thieves)
expect "no-flaw"       (identities():flaws()):equals(0)
