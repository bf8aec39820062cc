-- A production lot gets its identities: attestation certificate, certificate broker, refused first connect, registration, online.
-- Beside it strangers knock: TCUs with a genuine attestation certificate that no vehicle registry knows.
local vehicles  = param("fleet", 2000, "vehicles and strangers in all")
local within_s  = param("within", 40, "seconds in which they all get power")
local cryptography = param("cryptography", "modelled", "modelled, or real: P-256 keys and X.509 certificates (virtual world)")
local strangers = math.max(1, math.floor(vehicles / 100))

scenario "provisioning-wave" { start = "2026-03-04 06:00", duration = seconds(within_s + 80), seed = 4 }

local slow_rule = fault("delay_registration", { off = 0.8, on = 25, breaks = { "provisioned", "registered" } },
                        "seconds the registration rule takes to activate a certificate")
local twins     = fault("share_identity", { off = 0, on = 0.02, breaks = { "all-online", "key", "no-flaw" } },
                        "share of TCUs that left their maker with another one's serial number")
local vins      = fault("vin_in_clear", { off = 0, on = 0.05, breaks = { "no-vin-seen" } }, "share of vehicles whose telemetry says their VIN")

region "here" { latency = milliseconds(8) }
cloud { activation = uniform(seconds(slow_rule * 0.5), seconds(slow_rule * 1.5)), processors = 2, cryptography = cryptography }
lifecycle { policy = "vehicle", ecus = 2, faults = { share_identity = twins, vin_in_clear = vins } }

cohort "car" {
  count = vehicles - strangers,
  radio = "ideal", identity = factory { kind = "certificate", provisioning = "just-in-time" },
  mqtt = { version = 5, parked = { keep_alive = minutes(5) }, driving = { keep_alive = minutes(1) }, session_expiry = hours(1) },
  telemetry = every(seconds(20)):always():size(constant(200)):qos(1), trips = always_parked(),
  power_up = within(seconds(within_s)), backoff = { base = milliseconds(500), cap = seconds(8) },
}
cohort "stranger" { like = "car", count = strangers, strangers = true }

expect "provisioned"   (provisioning():cohort("car"):p99()):below(seconds(20)):needs "registration"
expect "key"           (provisioning():key():cohort("car"):p99()):below(seconds(5))
expect "certificate"   (provisioning():certificate():cohort("car"):p99()):below(seconds(10))
expect "registered"    (provisioning():registration():cohort("car"):p99()):below(seconds(10)):needs "registration"
expect "refused-first" (broker():registrations_refused():cohort("car")):at_least((vehicles - strangers) * 0.9):needs "registration"
expect "all-online"    (broker():connected():cohort("car"):last()):at_least(vehicles - strangers)
expect "no-stranger"   (intrusions():accepted()):equals(0)
expect "no-flaw"       (identities():flaws()):equals(0)
expect "no-vin-seen"   (identities():vins_seen()):equals(0)
expect "nothing-lost"  (telemetry():cohort("car"):lost()):equals(0)
