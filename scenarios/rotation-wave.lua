-- Five percent of a fleet get new certificates during the morning peak: job, new key, CSR and certificate over MQTT, switch, the old one deactivated,
-- job SUCCEEDED, and the old one refused. Live in two minutes: --speedup 30. (A rotation's time-out shrinks with the calendar, to a minute at least.) On
-- somebody else's broker (--broker mqtts://...) all but its door is looked at: what is let in, cut off and heard is not available.
local vehicles = param("fleet", 2000, "vehicles in all")
local share    = param("share", 0.05, "share of the fleet that is rotated")
local cryptography = param("cryptography", "modelled", "modelled, or real: P-256 keys and X.509 certificates (virtual world)")

scenario "rotation-wave" { start = "2026-03-04 07:00", duration = hours(1), seed = 6, warm_up = minutes(5) }

local lost   = fault("lose_answers", { off = 0, on = 0.2, breaks = { "none-failed" } },
                     "share of vehicles that no answer of the provisioning service ever reaches")
local never  = fault("never_activate", { off = 0, on = 0.3, breaks = { "none-failed", "none-rolled-back" } },
                     "share of vehicles whose new certificate is granted and never made active")
local forget = fault("forget_deactivation", { off = 0, on = 0.3, breaks = { "one-certificate", "no-flaw" } },
                     "share of vehicles whose old certificate stays active")

region "here" { latency = milliseconds(8) }
cloud { activation = constant(seconds(1)), processors = 2, cryptography = cryptography }
lifecycle {
  policy = "vehicle",
  rotation = { rollout = per_minute(1000), timeout = minutes(20), retries = 0 },
  revocation = { cut = uniform(seconds(0), seconds(20)), bound = seconds(40) },
  faults = { lose_answers = lost, never_activate = never, forget_deactivation = forget },
}

cohort "car" {
  count = vehicles, radio = "lte-cat4",
  identity = factory { kind = "certificate", provisioning = "done" },
  mqtt = { version = 5, parked = { keep_alive = minutes(20) }, driving = { keep_alive = minutes(2) }, session_expiry = hours(4) },
  telemetry = every(seconds(60)):while_driving():size(lognormal(300, 0.4)):qos(1),
  trips = weekday_commute(), power_up = within(minutes(3)), backoff = { base = seconds(1), cap = seconds(30) },
}

at("07:20", function() note("rotation decided") rotate { share = share } end)

local due = vehicles * share
expect "decided"          (rotation():decided()):at_least(due * 0.6)
expect "notice"           (rotation():notice():p99()):below(minutes(10))
expect "certificate"      (rotation():certificate():p99()):below(seconds(10))
expect "switch"           (rotation():switch():p99()):below(minutes(1))
expect "succeeded"        (rotation():p99()):below(minutes(15))
expect "overlap"          (rotation():overlap():p99()):below(minutes(5))
expect "most-rotated"     (rotation():succeeded()):at_least(due * 0.3)
expect "none-failed"      (rotation():failed()):equals(0)
expect "none-rolled-back" (rotation():rolled_back()):equals(0)
expect "one-certificate"  (identities():with_second_certificate()):equals(0)
expect "none-open"        (identities():job_open()):equals(0)
expect "no-flaw"          (identities():flaws()):equals(0)
expect "no-vin-seen"      (identities():vins_seen()):equals(0)
expect "nothing-lost"     (telemetry():lost()):equals(0)
