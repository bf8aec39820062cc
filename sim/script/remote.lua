-- The scenario language, continued: remote commands, parked cars, networks. Runs after identities.lua, with what prelude.lua lends.
local host, env, plan, kit = ...

local format = string.format
local fail, known_fields, in_file = kit.fail, kit.known_fields, kit.in_file
local want_table, want_marked, want_distribution, boolean = kit.want_table, kit.want_marked, kit.want_distribution, kit.boolean
local number_in, whole, share, one_of = kit.number_in, kit.whole, kit.share, kit.one_of
local duration, action, source, series, metric_step = kit.duration, kit.action, kit.source, kit.series, kit.metric_step
local SECOND, MINUTE, DAY = 1e6, 60e6, 86400e6

local wanted_by
local function needs_commands(what)
  if not plan.remote.on and not wanted_by then wanted_by = { what = what, line = host.here() } end
end

-- ---- commands ------------------------------------------------------------------------------------------------------

plan.remote = {
  on = false, pattern = "plain", sealed = false, presence = true, debounce = 5 * SECOND, fallback = 10 * SECOND, tap_retry = 30 * SECOND, taps = 0,
  command_in_sms = false, sms_latency = env.lognormal(8 * SECOND, 0.5), sms_loss = 0, sms_duplicates = 0, sms_validity = DAY, watchers = 0, strangers = 0,
  failures = 0, faults = {}, attacks = { forged = 0, replayed = 0, late = 0 } }

local fault_names = { "lose_sms", "trust_old_presence", "lose_answers", "no_fallback", "skip_verification" }
for _, name in ipairs(fault_names) do plan.remote.faults[name] = 0 end

local function tap_part(r, spec)
  local where = "remote_commands: shoulder_tap"
  want_table(where, spec)
  known_fields(where, spec, { "latency", "loss", "duplicates", "validity", "times", "retry_after", "carries_command" })
  r.taps = whole(where .. ".times", spec.times or 3, 1, 20)
  if spec.latency ~= nil then
    r.sms_latency = want_distribution(where .. ".latency", spec.latency)
    if r.sms_latency.a > 0 and r.sms_latency.a < 1000 then
      fail(format("%s.latency: %s is in microseconds; write lognormal(seconds(8), 0.5)", where, r.sms_latency.text))
    end
  end
  if spec.loss ~= nil then r.sms_loss = share(where .. ".loss", spec.loss) end
  if spec.duplicates ~= nil then r.sms_duplicates = share(where .. ".duplicates", spec.duplicates) end
  if spec.validity ~= nil then r.sms_validity = duration(where .. ".validity", spec.validity, SECOND) end
  if spec.retry_after ~= nil then r.tap_retry = duration(where .. ".retry_after", spec.retry_after, SECOND) end
  r.command_in_sms = boolean(where .. ".carries_command", spec.carries_command or false)
end

function env.remote_commands(spec)
  in_file("remote_commands")
  want_table("remote_commands", spec)
  local r = plan.remote
  if r.on then fail("remote_commands is declared twice") end
  known_fields("remote_commands", spec, { "pattern", "sealed", "presence", "debounce", "fallback", "shoulder_tap", "watchers", "strangers", "failures", "faults", "attacks" })
  r.on = true
  if spec.pattern ~= nil then r.pattern = one_of("remote_commands: pattern", spec.pattern, { "plain", "executions", "shadow" }) end
  for _, name in ipairs { "sealed", "presence" } do
    if spec[name] ~= nil then r[name] = boolean("remote_commands: " .. name, spec[name]) end
  end
  if spec.debounce ~= nil then r.debounce = duration("remote_commands: debounce", spec.debounce, 100e3) end
  if spec.fallback ~= nil then r.fallback = duration("remote_commands: fallback", spec.fallback, 100e3) end
  if spec.shoulder_tap ~= nil then tap_part(r, spec.shoulder_tap) end
  if spec.watchers ~= nil then r.watchers = whole("remote_commands: watchers", spec.watchers, 0, 16) end
  if spec.strangers ~= nil then r.strangers = share("remote_commands: strangers", spec.strangers) end
  if spec.failures ~= nil then r.failures = share("remote_commands: failures", spec.failures) end
  if spec.attacks ~= nil then
    want_table("remote_commands: attacks", spec.attacks)
    known_fields("remote_commands: attacks", spec.attacks, { "forged", "replayed", "late" })
    for name, value in pairs(spec.attacks) do
      local where = "remote_commands: attacks." .. name
      r.attacks[name] = number_in(where .. " (a vehicle and day)", want_marked(where, value, "rate", "per_day(0.5)").per_day, 0, 1e4)
    end
    if not r.sealed then fail("remote_commands: attacks: who takes unsealed commands takes anybody's; write sealed = true") end
    if r.pattern ~= "plain" then fail("remote_commands: attacks: he listens to plain requests only; write pattern = \"plain\"") end
  end
  if spec.faults ~= nil then
    want_table("remote_commands: faults", spec.faults)
    known_fields("remote_commands: faults", spec.faults, fault_names)
    if spec.faults.skip_verification ~= nil and not r.sealed then
      fail("remote_commands: faults.skip_verification: there is nothing to verify; write sealed = true")
    end
    for name, value in pairs(spec.faults) do r.faults[name] = share("remote_commands: faults." .. name, value) end
  end
end

-- ---- parked cars ---------------------------------------------------------------------------------------------------

function env.battery(spec)
  local where = "battery()"
  want_table(where, spec)
  known_fields(where, spec, { "budget", "reserve" })
  local b = { mark = "battery" }
  b.budget = number_in(where .. ": budget (ampere hours)", spec.budget, 0.001, 200)
  b.reserve = number_in(where .. ": reserve (ampere hours)", spec.reserve or 0, 0, b.budget)
  return b
end

local function radio_of(where, value)
  if type(value) == "string" then value = env.radio(value) end
  return want_marked(where, value, "radio", "\"lte-cat-m1\" or radio(\"lte-cat-m1\", { ... })")
end

-- parking and path of cohort c.
function plan.cohort_parking(where, spec, c)
  local p = { stay_connected = 0, linger = 60 * SECOND, wake_every = 0, clock_drift = 0, garage_share = 0, garage_dark = 0 }
  c.parking = p
  c.path = one_of(where .. ": path", spec.path or "internet", host.paths)
  c.has_path = spec.path ~= nil
  if spec.parking == nil then return end
  where = where .. ": parking"
  want_table(where, spec.parking)
  known_fields(where, spec.parking, { "stay_connected", "linger", "wake_every", "clock_drift", "radio", "garage", "battery" })
  local s = spec.parking
  if s.stay_connected ~= nil then p.stay_connected = duration(where .. ".stay_connected", s.stay_connected, SECOND) end
  if s.linger ~= nil then p.linger = duration(where .. ".linger", s.linger, SECOND) end
  if s.wake_every ~= nil then p.wake_every = duration(where .. ".wake_every", s.wake_every, MINUTE) end
  if s.clock_drift ~= nil then p.clock_drift = number_in(where .. ".clock_drift (parts per million)", s.clock_drift, 0, 10000) end
  if s.radio ~= nil then p.radio = radio_of(where .. ".radio", s.radio) end
  if s.battery ~= nil then p.battery = want_marked(where .. ".battery", s.battery, "battery", "battery { budget = 3 }") end
  if s.garage ~= nil then
    want_table(where .. ".garage", s.garage)
    known_fields(where .. ".garage", s.garage, { "share", "dark", "radio" })
    p.garage_share = share(where .. ".garage.share", s.garage.share)
    p.garage_dark = share(where .. ".garage.dark", s.garage.dark or 0)
    p.garage_radio = radio_of(where .. ".garage.radio", s.garage.radio or c.radio)
  end
end

-- ---- actions -------------------------------------------------------------------------------------------------------

function env.broker_restart(spec)
  local a = action("broker_restart", spec, { "lasts", "lose_sessions" })
  a.lasts = duration("broker_restart: lasts", spec.lasts, 1000)
  a.option = boolean("broker_restart: lose_sessions", spec.lose_sessions or false) and "lose sessions" or ""
  return host.act(a)
end
function env.resolver_gone(spec)
  local a = action("resolver_gone", spec, { "lasts" })
  a.lasts = duration("resolver_gone: lasts", spec.lasts, 1000)
  return host.act(a)
end
function env.server_certificate_expired(spec)
  local a = action("server_certificate_expired", spec, { "lasts" })
  a.lasts = duration("server_certificate_expired: lasts", spec.lasts, 1000)
  return host.act(a)
end
function env.half_open(spec) return host.act(action("half_open", spec, {})) end
function env.address_change(spec) return host.act(action("address_change", spec, {})) end

-- ---- what is measured ----------------------------------------------------------------------------------------------

local function remote(what, text) return series(what, text, "total") end

function env.sms()
  needs_commands("sms()")
  return source("metric", "sms.delivery", "SMS delivery", "quantile", 0.99, {
    delivery = metric_step("sms.delivery", "SMS delivery"), sent = remote("sms_sent", "SMS sent"), delivered = remote("sms_delivered", "SMS delivered"),
    duplicated = remote("sms_duplicated", "SMS delivered twice"), lost = remote("sms_lost", "SMS lost") }, "sms()")
end
function env.parked()
  return source("metric", "battery.used", "battery used a parking", "quantile", 0.99, {
    battery_used = metric_step("battery.used", "battery used a parking"), asleep = series("asleep", "vehicles asleep", "last"),
    sleeps = remote("sleeps", "times asleep"), wakes = remote("wakes", "times woken"), battery_low = remote("battery_low", "batteries low"),
    cut_off = remote("battery_cut_off", "TCUs cut off") }, "parked()")
end
function env.presence()
  needs_commands("presence()")
  local s = source("counter", "presence_wrong", "presence wrong", "total", 0, { wrong = remote("presence_wrong", "presence wrong") }, "presence()")
  return s
end

-- ---- after the file ------------------------------------------------------------------------------------------------

local finish = plan.finish
function plan.finish()
  finish()
  if wanted_by and not plan.remote.on then fail(format("%s needs remote_commands { ... } in the file", wanted_by.what), wanted_by.line) end
  if plan.remote.on and plan.remote.faults.no_fallback > 0 and plan.remote.taps == 0 then
    fail("remote_commands: faults.no_fallback: there is no shoulder_tap to fall back to", plan.line)
  end
end
