-- The certificates of a whole model year run out within some weeks. A daily audit finds what is due, rotates each once, and nobody is ever refused for
-- a certificate that ran out. Live in two minutes: --speedup 1800, which shrinks what the factory's certificates have left, and how soon an audit calls soon,
-- along with the calendar. (Live, never_activate breaks nobody-stranded as well: going back to the old certificate takes seconds, which are hours of such a calendar,
-- and some have run out by then.)
local vehicles = param("fleet", 2000, "vehicles in all")
local cryptography = param("cryptography", "modelled", "modelled, or real: P-256 keys and X.509 certificates (virtual world)")

scenario "ca-expiry" { start = "2026-03-04 00:00", duration = hours(60), seed = 13 }

local audits = fault("no_audit", { off = 0, on = 1, breaks = { "all-due-rotated", "no-flaw" } }, "nobody looks for certificates that run out")
local never  = fault("never_activate", { off = 0, on = 0.1, breaks = { "all-due-rotated", "none-failed", "none-twice", "no-flaw" } },
                     "share of vehicles whose new certificate is granted and never made active")

region "here" { latency = milliseconds(8) }
cloud { activation = constant(seconds(1)), processors = 2, cryptography = cryptography }
lifecycle {
  rotation = { rollout = per_minute(1000), timeout = hours(12), expiring_within = days(30) },
  revocation = { cut = uniform(seconds(0), seconds(20)), bound = seconds(40) },
  faults = { never_activate = never },
}

local due, soon = math.floor(vehicles / 5), math.floor(vehicles / 10)
cohort "later" {
  count = vehicles - due - soon, identity = factory { kind = "certificate", provisioning = "done", expires = uniform(days(60), days(300)) },
  radio = "ideal",
  mqtt = { version = 5, parked = { keep_alive = minutes(20) }, driving = { keep_alive = minutes(20) }, session_expiry = hours(48) },
  trips = always_parked(), power_up = within(minutes(10)), backoff = { base = seconds(1), cap = minutes(1) },
}
cohort "due"   { like = "later", count = due,  identity = factory { kind = "certificate", provisioning = "done", expires = uniform(days(20), days(29)) } }
cohort "soon"  { like = "later", count = soon, identity = factory { kind = "certificate", provisioning = "done", expires = uniform(hours(20), hours(50)) } }

if audits == 0 then every_so_often(hours(12), function() audit {} end, { from = hours(1), till = hours(40) }) end

expect "all-due-rotated" (rotation():succeeded()):equals(due + soon)
expect "none-twice"      (rotation():decided()):at_most(due + soon)
expect "none-failed"     (rotation():failed()):equals(0)
expect "nobody-stranded" (broker():connected():last()):equals(vehicles)
expect "no-flaw"         (identities():flaws()):equals(0)
