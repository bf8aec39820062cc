-- The scenario language, continued: device shadows, executions. Runs after remote.lua, with what prelude.lua lends.
local host, env, plan, kit = ...

local format = string.format
local fail, known_fields, in_file, keys_of = kit.fail, kit.known_fields, kit.in_file, kit.keys_of
local want_table, want_marked, boolean, name_of, whole = kit.want_table, kit.want_marked, kit.boolean, kit.name_of, kit.whole
local number_in, share, duration, source, series, metric_step = kit.number_in, kit.share, kit.duration, kit.source, kit.series, kit.metric_step
local SECOND, MINUTE = 1e6, 60e6

plan.shadow = { on = false, name = "", settings = {}, versions = true, users = 0, per_day = 0, think = 20 * SECOND, driver_per_day = 0, apply = 2 * SECOND,
                failures = 0, from = 0, to = 0, settle = 10 * MINUTE, faults = { deaf = 0, stale_reports = 0, ignore_versions = 0 } }
local fault_names = { "deaf", "stale_reports", "ignore_versions" }

local function state_part(s, spec)
  want_table("shadow: state", spec)
  for _, name in ipairs(keys_of(spec)) do
    local where, range = format("shadow: state.%s", name), spec[name]
    name_of(where, name)
    if name == "command" then fail(where .. ": 'command' is the agent's own member; take another name") end
    if type(range) ~= "table" or #range ~= 2 then fail(where .. " takes the lowest and the highest value, e.g. { 16, 28 }") end
    local low = whole(where .. ", lowest", range[1], 0, 30000)
    s.settings[#s.settings + 1] = { name = name, low = low, high = whole(where .. ", highest", range[2], low + 1, 30000) }
  end
  if #s.settings == 0 then fail("shadow: state holds no setting; write state = { climate = { 16, 28 } }") end
  if #s.settings > 8 then fail("shadow: state: more than 8 settings") end
end

local function rate_of(where, value)
  return want_marked(where, value, "rate", "per_day(1.5), per_hour(...) or per_minute(...)").per_day
end

local function apps_part(s, spec)
  want_table("shadow: apps", spec)
  known_fields("shadow: apps", spec, { "users", "rate", "think" })
  s.users = whole("shadow: apps.users", spec.users or 1, 1, 2)
  s.per_day = rate_of("shadow: apps.rate", spec.rate)
  if spec.think ~= nil then s.think = duration("shadow: apps.think", spec.think, 100e3) end
end

local function faults_part(s, spec)
  want_table("shadow: faults", spec)
  known_fields("shadow: faults", spec, fault_names)
  for name, value in pairs(spec) do s.faults[name] = share("shadow: faults." .. name, value) end
end

function env.shadow(spec)
  in_file("shadow")
  want_table("shadow", spec)
  local s = plan.shadow
  if s.on then fail("shadow is declared twice") end
  if not plan.name then fail("shadow: scenario \"name\" { ... } has to come first") end
  known_fields("shadow", spec, { "name", "state", "versions", "apps", "driver", "apply", "failures", "from", "to", "settle", "faults" })
  s.on = true
  state_part(s, spec.state)
  if spec.name ~= nil then s.name = name_of("shadow: name", spec.name) end
  if spec.versions ~= nil then s.versions = boolean("shadow: versions", spec.versions) end
  if spec.apps ~= nil then apps_part(s, spec.apps) end
  if spec.driver ~= nil then s.driver_per_day = rate_of("shadow: driver", spec.driver) end
  if spec.apply ~= nil then s.apply = duration("shadow: apply", spec.apply) end
  if spec.failures ~= nil then s.failures = number_in("shadow: failures", spec.failures, 0, 0.9) end
  if spec.settle ~= nil then s.settle = duration("shadow: settle", spec.settle, SECOND) end
  s.from = spec.from ~= nil and kit.moment("shadow: from", spec.from) or 0
  s.to = spec.to ~= nil and kit.moment("shadow: to", spec.to) or 0
  if s.to > 0 and s.to <= s.from then fail("shadow: to must be after from") end
  if spec.faults ~= nil then faults_part(s, spec.faults) end
end

-- ---- what is measured ----------------------------------------------------------------------------------------------

local wanted
function env.shadows()
  if not plan.shadow.on and not wanted then wanted = host.here() end
  return source("metric", "shadow.sync", "shadow in step", "quantile", 0.99, {
    sync = metric_step("shadow.sync", "shadow in step"), updates = series("shadow_updates", "shadow updates", "total"),
    conflicts = series("shadow_conflicts", "version conflicts", "total"), diverged = series("shadow_diverged", "shadows diverged", "total") }, "shadows()")
end

local finish = plan.finish
function plan.finish()
  finish()
  local s = plan.shadow
  if wanted and not s.on then fail("shadows() needs shadow { ... } in the file", wanted) end
  if plan.remote.pattern == "shadow" and not s.on then
    fail("remote_commands: pattern = \"shadow\" needs shadow { ... } in the file", plan.line)
  end
  if plan.remote.pattern == "shadow" and s.name ~= "" then
    fail("remote_commands: pattern = \"shadow\" goes through the classic shadow; leave out shadow: name", plan.line)
  end
  if plan.remote.pattern == "shadow" and plan.remote.sealed then
    fail("remote_commands: a command in a shadow cannot be sealed; leave out sealed, or take another pattern", plan.line)
  end
  if s.faults.ignore_versions > 0 and s.users < 2 then
    fail("shadow: faults.ignore_versions: one user alone loses no update; write apps = { users = 2, ... }", plan.line)
  end
end
