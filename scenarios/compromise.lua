-- The keys of some TCUs are out. Their certificates are revoked: live connections are cut, nobody comes back with them, and once a workshop has put in
-- another TCU the cars are back under the same Reference ID. Half of them have not been to a workshop when the run ends: they are still out.
local vehicles = param("fleet", 2000, "vehicles in all")
local cryptography = param("cryptography", "modelled", "modelled, or real: P-256 keys and X.509 certificates (virtual world)")
local exposed  = math.max(2, math.floor(vehicles / 100))

scenario "compromise" { start = "2026-03-04 10:00", duration = seconds(150), seed = 8 }

local no_cut    = fault("forget_cut", { off = 0, on = 0.8, breaks = { "cut-off", "still-out", "no-flaw" } },
                        "share of revoked vehicles whose live connection is not cut")
local silent    = fault("workshop_says_nothing", { off = 0, on = 1, breaks = { "back", "swapped" } },
                        "the workshop does not register the new TCUs")

region "here" { latency = milliseconds(8) }
cloud { activation = constant(seconds(1)), processors = 2, cryptography = cryptography }
lifecycle {
  revocation = { cut = uniform(seconds(0), seconds(15)), bound = seconds(20) },
  faults = { forget_cut = no_cut },
}

cohort "car" {
  count = vehicles - 2 * exposed,
  radio = "ideal", identity = factory { kind = "certificate", provisioning = "just-in-time" },
  mqtt = { version = 5, parked = { keep_alive = minutes(5) }, driving = { keep_alive = minutes(1) }, session_expiry = hours(1) },
  trips = always_parked(), power_up = within(seconds(20)), backoff = { base = milliseconds(500), cap = seconds(5) },
}
cohort "exposed" { like = "car", count = exposed }
cohort "waiting" { like = "car", count = exposed }

at("10:00:45", function()
  revoke { cohort = "exposed", reason = "keyCompromise" }
  revoke { cohort = "waiting", reason = "keyCompromise" }
end)
at("10:01:25", function() swap_tcu { cohort = "exposed", workshop = silent > 0 and "unregistered" or "registered" } end)

expect "revoked"     (revocation():revoked()):equals(2 * exposed)
expect "cut-in-time" (revocation():cut():max()):below(seconds(20))
expect "cut-off"     (broker():connected():cohort("exposed"):max()):equals(0):from("10:01:08"):by("10:01:22"):needs "door"
expect "others-stay" (broker():connected():cohort("car"):last()):equals(vehicles - 2 * exposed)
expect "back"        (broker():connected():cohort("exposed"):last()):equals(exposed):needs "door"
expect "still-out"   (broker():connected():cohort("waiting"):last()):equals(0):needs "door"
expect "swapped"     (swaps():done()):equals(exposed)
expect "in-time"     (swaps():total_time():p99()):below(seconds(20))
expect "no-flaw"     (identities():flaws()):equals(0)
