-- Cars go to the scrap yard: refused for good, their history kept, everybody else undisturbed.
local vehicles = param("fleet", 2000, "vehicles in all")
local cryptography = param("cryptography", "modelled", "modelled, or real: P-256 keys and X.509 certificates (virtual world)")
local scrapped = math.max(2, math.floor(vehicles / 20))

scenario "decommission" { start = "2026-03-04 16:00", duration = seconds(120), seed = 12 }

local no_cut    = fault("forget_cut", { off = 0, on = 0.5, breaks = { "gone", "no-flaw" } }, "share of decommissioned vehicles whose live connection is not cut")
local no_effect = fault("forget_revocation", { off = 0, on = 0.5, breaks = { "no-flaw" } }, "share of decommissionings that never reach the door")

region "here" { latency = milliseconds(8) }
cloud { activation = constant(seconds(1)), processors = 2, cryptography = cryptography }
lifecycle {
  revocation = { cut = uniform(seconds(0), seconds(15)), bound = seconds(20) },
  faults = { forget_cut = no_cut, forget_revocation = no_effect },
}

cohort "car" {
  count = vehicles - scrapped,
  radio = "ideal", identity = factory { kind = "certificate", provisioning = "done" },
  mqtt = { version = 5, parked = { keep_alive = minutes(5) }, driving = { keep_alive = minutes(1) }, session_expiry = hours(1) },
  trips = always_parked(), power_up = within(seconds(20)), backoff = { base = milliseconds(500), cap = seconds(5) },
}
cohort "scrapped" { like = "car", count = scrapped }

at("16:00:40", function() decommission { cohort = "scrapped" } end)

expect "decommissioned" (identities():decommissioned()):equals(scrapped)
expect "gone"           (broker():connected():cohort("scrapped"):max()):equals(0):from("16:01:05"):by("16:01:55"):needs "door"
expect "cut-in-time"    (revocation():cut():max()):below(seconds(20))
expect "others-stay"    (broker():connected():cohort("car"):last()):equals(vehicles - scrapped)
expect "no-flaw"        (identities():flaws()):equals(0)
