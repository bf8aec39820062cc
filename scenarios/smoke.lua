-- A minute of a small fleet: provision, connect, publish, answer commands. The same file in the virtual world and against any broker.
local vehicles = param("fleet", 500, "vehicles in all")
local identity = param("identity", "certificate", "certificate, password or none; none on clear listeners")

scenario "smoke" { start = "2026-03-04 08:00", duration = minutes(1), seed = 1,
                   warm_up = seconds(10) }         -- everybody powers up and provisions; kept out of the statistics

local dropped   = fault("drop_commands", { off = 0, on = 0.2, breaks = { "no-command-lost" } },
                        "share of commands lost between service and broker")
local slow_rule = fault("delay_registration", { off = 0.5, on = 30, breaks = { "provisioned", "no-command-lost", "end-to-end" } },
                        "seconds the registration rule takes to activate a certificate")
local ack_loss  = fault("lose_acknowledgements", { off = 0, on = 0.2, breaks = { "acknowledged", "all-online", "end-to-end" } },
                        "share of telemetry acknowledgements lost on the way to the vehicle")

region "here" { latency = milliseconds(2) }

cloud { activation = constant(seconds(slow_rule)), processors = 2 }

cohort "car" {
  count     = vehicles,
  radio     = "ideal",
  identity  = factory { kind = identity, provisioning = "just-in-time" },
  mqtt      = { version = 5, parked = { keep_alive = minutes(5) }, driving = { keep_alive = seconds(30) }, session_expiry = hours(1) },
  telemetry = every(seconds(5)):while_driving():size(lognormal(300, 0.4)):qos(1):lose_acknowledgements(ack_loss),
  trips     = always_driving(),
  power_up  = within(seconds(5)),
  backoff   = { base = milliseconds(500), cap = seconds(8) },
  acknowledge_timeout = seconds(10),
}

app "companion" { users = vehicles, command = "unlock", rate = per_minute(1), timeout = seconds(5), from = seconds(20), to = seconds(50),
                  loss = dropped }

expect "provisioned"     (provisioning():with_warm_up():p99()):below(seconds(20)):needs "registration"
expect "all-online"      (broker():connected():last()):at_least(vehicles)
expect "unlock"          (command "unlock":path "connected":p95()):below(seconds(2))
expect "no-command-lost" (commands():lost()):equals(0)
expect "nothing-lost"    (telemetry():lost()):equals(0)
expect "acknowledged"    (telemetry():unacknowledged():share()):below(0.02)
expect "end-to-end"      (telemetry():end_to_end():p99()):below(seconds(2))
