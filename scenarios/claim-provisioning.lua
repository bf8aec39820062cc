-- Fleet provisioning by claim: every TCU of a lot has the same claim certificate, good for nothing but asking for one of its own. A tenth has no
-- random number generator to speak of and lets the cloud make its key. Strangers hold the claim certificate too, and are in no registry.
local vehicles  = param("fleet", 2000, "vehicles and strangers in all")
local within_s  = param("within", 40, "seconds in which they all get power")
local cryptography = param("cryptography", "modelled", "modelled, or real: P-256 keys and X.509 certificates (virtual world)")
local strangers = math.max(1, math.floor(vehicles / 100))
local weak      = math.max(1, math.floor(vehicles / 10))

scenario "claim-provisioning" { start = "2026-03-04 06:00", duration = seconds(within_s + 80), seed = 5 }

local lost  = fault("lose_answers", { off = 0, on = 0.1, breaks = { "all-online" } },
                    "share of vehicles that no answer of the provisioning service ever reaches")
local never = fault("never_activate", { off = 0, on = 0.03, breaks = { "all-online", "no-flaw" } },
                    "share of vehicles whose certificate is granted and never made active")
local twins = fault("share_identity", { off = 0, on = 0.02, breaks = { "all-online", "no-flaw" } },
                    "share of TCUs that left their maker with another one's serial number")

region "here" { latency = milliseconds(8) }
cloud { activation = constant(seconds(1)), processors = 2, cryptography = cryptography }
lifecycle { policy = "vehicle", ecus = 2, faults = { lose_answers = lost, never_activate = never, share_identity = twins } }

cohort "car" {
  count = vehicles - strangers - weak,
  radio = "ideal", identity = factory { kind = "certificate", provisioning = "claim" },
  mqtt = { version = 5, parked = { keep_alive = minutes(5) }, driving = { keep_alive = minutes(1) }, session_expiry = hours(1) },
  telemetry = every(seconds(20)):always():size(constant(200)):qos(1), trips = always_parked(),
  power_up = within(seconds(within_s)), backoff = { base = milliseconds(500), cap = seconds(8) },
}
cohort "weak"     { like = "car", count = weak, identity = factory { kind = "certificate", provisioning = "claim", server_key = true } }
cohort "stranger" { like = "car", count = strangers, strangers = true }

expect "provisioned" (provisioning():p99()):below(seconds(15)):needs "lifecycle"
expect "certificate" (provisioning():certificate():p99()):below(seconds(5)):needs "lifecycle"
expect "granted"     (provisioning():registration():p99()):below(seconds(5)):needs "lifecycle"
expect "all-online"  (broker():connected():last()):at_least(vehicles - strangers)
expect "no-stranger" (intrusions():accepted()):equals(0)
expect "no-flaw"     (identities():flaws()):equals(0)
expect "no-vin-seen" (identities():vins_seen()):equals(0)
expect "nothing-lost" (telemetry():lost()):equals(0)
