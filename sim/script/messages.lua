-- The scenario language, continued: processors, notices of the cloud, mixed fleets. Runs after remote.lua, with what prelude.lua lends.
local host, env, plan, kit = ...

local format = string.format
local fail, known_fields, in_file, did_you_mean, keys_of = kit.fail, kit.known_fields, kit.in_file, kit.did_you_mean, kit.keys_of
local want_table, boolean, number_in, whole, share = kit.want_table, kit.boolean, kit.number_in, kit.whole, kit.share
local name_of, text_of, duration, moment = kit.name_of, kit.text_of, kit.duration, kit.moment
local action, source, series, metric_step = kit.action, kit.source, kit.series, kit.metric_step
local SECOND = 1e6
local MEMBERS = 12

local m = { on = false, aliases = false, processors = false, routed = false, groups = {}, commit = SECOND, session = 0, spread = 0.2, notices = {}, grace = 30 * SECOND, faults = {} }
plan.messages = m
local fault_names = { "wrong_route", "early_acknowledgement", "unshared", "idle_members", "forget_expiry", "at_most_once" }
for _, name in ipairs(fault_names) do m.faults[name] = 0 end

local wanted = {}
local function needs(what, missing) wanted[#wanted + 1] = { what = what, missing = missing, line = host.here() } end

local function take_faults(where, spec, allowed)
  if spec == nil then return end
  want_table(where .. ": faults", spec)
  known_fields(where .. ": faults", spec, allowed)
  for name, value in pairs(spec) do m.faults[name] = share(where .. ": faults." .. name, value) end
end

-- ---- processors ----------------------------------------------------------------------------------------------------

local group_index, group_of = {}, {}

local function group_part(where, name, spec)
  want_table(where, spec)
  known_fields(where, spec, { "firmware", "count" })
  local g = { name = name, firmware = {}, count = whole(where .. ".count", spec.count or 2, 1, MEMBERS) }
  want_table(where .. ".firmware", spec.firmware)
  if #spec.firmware == 0 or #spec.firmware > 8 then fail(where .. ".firmware names one to eight versions: firmware = { \"1.0.0\" }") end
  for i, version in ipairs(spec.firmware) do
    g.firmware[i] = text_of(where .. ".firmware", version, 23)
    if group_of[version] then fail(format("%s.firmware: version %s belongs to group '%s' already", where, version, group_of[version])) end
    group_of[version] = name
  end
  m.groups[#m.groups + 1] = g
  group_index[name] = #m.groups
end

local function groups_part(spec)
  if spec.route == nil and spec.groups == nil then
    m.groups[1] = { name = "all", firmware = {}, count = whole("processors: count", spec.count or 2, 1, MEMBERS) }
    group_index.all = 1
    return
  end
  m.routed = true
  if spec.route ~= "firmware" then fail("processors: route: telemetry is routed by the user property of the firmware; write route = \"firmware\"") end
  if spec.count ~= nil then fail("processors: count: with route each group has a count of its own") end
  want_table("processors: groups", spec.groups)
  local names = keys_of(spec.groups)
  if #names < 2 or #names > 8 then fail("processors: groups names two to eight groups: groups = { old = { firmware = { \"1.0.0\" } }, new = { ... } }") end
  for _, name in ipairs(names) do
    name_of("processors: groups", name)
    if #name > 23 then fail(format("processors: groups: '%s' is longer than 23 characters", name)) end
    group_part("processors: groups." .. name, name, spec.groups[name])
  end
end

function env.processors(spec)
  if spec == nil then -- what is measured of them
    needs("processors()", "processors")
    return source("counter", "deliveries", "messages to processors", "total", 0, {
      taken = series("deliveries", "messages to processors", "total"), deaths = series("members_died", "processors died", "total"),
      uneven = series("members_uneven", "processors with more or less than their share", "total"), routed = series("routed", "messages routed", "total"),
      routed_wrong = series("routed_wrong", "messages routed wrong", "total") }, "processors()")
  end
  in_file("processors { }")
  want_table("processors", spec)
  if m.processors then fail("processors is declared twice") end
  known_fields("processors", spec, { "count", "route", "groups", "commit", "session", "spread", "faults" })
  m.processors, m.line = true, host.here()
  groups_part(spec)
  if spec.commit ~= nil then m.commit = duration("processors: commit", spec.commit) end
  if spec.session ~= nil then m.session = duration("processors: session", spec.session) // 1000000 end
  if spec.spread ~= nil then m.spread = share("processors: spread", spec.spread) end
  take_faults("processors", spec.faults, { "wrong_route", "early_acknowledgement", "unshared", "idle_members" })
end

local function group_action(kind, spec, extra)
  want_table(kind, spec)
  known_fields(kind, spec, extra)
  local a = action(kind, {}, {})
  if not m.processors then fail(kind .. " needs processors { ... } in the file") end
  if spec.group ~= nil then
    if not group_index[spec.group] then fail(format("%s: unknown group %s%s", kind, kit.quote(spec.group), did_you_mean(spec.group, keys_of(group_index)))) end
    a.option = spec.group
  end
  return a
end
function env.processors_scale(spec)
  local a = group_action("processors_scale", spec, { "to", "group" })
  a.store_writes = whole("processors_scale: to", spec.to, 1, MEMBERS)
  return host.act(a)
end
function env.processor_dies(spec)
  local a = group_action("processor_dies", spec or {}, { "count", "group", "back_after" })
  a.store_writes = whole("processor_dies: count", spec and spec.count or 1, 1, MEMBERS)
  if spec and spec.back_after ~= nil then a.lasts = duration("processor_dies: back_after", spec.back_after, SECOND) end
  return host.act(a)
end

-- ---- notices -------------------------------------------------------------------------------------------------------

local notice_index = {}
function env.notice(name)
  in_file("notice")
  name_of("notice", name)
  local where = format("notice \"%s\"", name)
  if #name > 23 then fail(where .. ": the name is longer than 23 characters") end
  if notice_index[name] then fail(where .. " is declared twice") end
  if #m.notices >= 8 then fail("more than 8 kinds of notices") end
  notice_index[name] = true
  local line, done = host.here(), {}
  wanted[#wanted + 1] = { notice = done, what = where, line = line }
  return function(spec)
    done.done = true
    want_table(where, spec)
    known_fields(where, spec, { "at", "every", "till", "expires", "share", "cohort", "region", "retained", "grace", "faults" })
    local n = { name = name, every = 0, till = 0, expires = 0, cohort = 0, region = 0 }
    if spec.at == nil and spec.every == nil then fail(where .. ": when is it sent? write at = \"08:00\" or every = hours(1)") end
    if spec.every ~= nil then n.every = duration(where .. ": every", spec.every, SECOND) end
    n.at = spec.at ~= nil and moment(where .. ": at", spec.at) or n.every
    if spec.till ~= nil then n.till = moment(where .. ": till", spec.till) end
    if n.till > 0 and n.till <= n.at then fail(where .. ": till must be after the first one") end
    if spec.expires ~= nil then n.expires = duration(where .. ": expires", spec.expires, SECOND) end
    n.share = share(where .. ": share", spec.share or 1)
    for _, key in ipairs { "cohort", "region" } do
      local index = key == "cohort" and kit.cohort_index or kit.region_index
      if spec[key] ~= nil then n[key] = index[spec[key]] or fail(format("%s: unknown %s %s%s", where, key, kit.quote(spec[key]), did_you_mean(spec[key], keys_of(index)))) end
    end
    n.retained = boolean(where .. ": retained", spec.retained or false)
    if spec.grace ~= nil then m.grace = duration(where .. ": grace", spec.grace, SECOND) end
    take_faults(where, spec.faults, { "forget_expiry", "at_most_once" })
    m.notices[#m.notices + 1] = n
  end
end

function env.notices()
  needs("notices()", "notice")
  return source("counter", "notices", "notices", "total", 0, {
    delivered = series("notices", "notices delivered", "total"), lost = series("notices_lost", "notices lost", "total"),
    stale = series("stale_delivered", "stale notices delivered", "total") }, "notices()")
end

function env.aliases()
  m.aliases = true
  return source("metric", "bytes.alias_saved_day", "bytes saved by topic aliases", "mean", 0, {
    saved = kit.switch("metric", "bytes.alias_saved_day", "bytes saved by topic aliases", "mean") }, "aliases()")
end

-- ---- after the file ------------------------------------------------------------------------------------------------

local finish = plan.finish
function plan.finish()
  finish()
  for _, w in ipairs(wanted) do
    if w.notice and not w.notice.done then fail(w.what .. " is not complete; write " .. w.what .. " { every = hours(1), expires = minutes(30) }", w.line) end
    if w.missing == "processors" and not m.processors then fail(w.what .. " needs processors { ... } in the file", w.line) end
    if w.missing == "notice" and #m.notices == 0 then fail(w.what .. " needs notice \"name\" { ... } in the file", w.line) end
  end
  if plan.places and plan.places.on and (m.processors or #m.notices > 0) then
    fail("processors { } and notices are of one cloud, and here each region has its own; leave the one or the other out", m.line or plan.line)
  end
  if plan.lifecycle.on and plan.lifecycle.policy ~= "wide" and #m.notices > 0 then
    fail("notices: the policy of vehicles lets none of them hear a notice; write lifecycle { policy = \"wide\" }, or leave one of both out", plan.line)
  end
  m.on = m.processors or m.aliases or #m.notices > 0
  if not m.routed then
    if m.faults.wrong_route > 0 then fail("processors: faults.wrong_route: nothing is routed; write route = \"firmware\"", m.line) end
    return
  end
  for _, c in ipairs(plan.cohorts) do
    for _, f in ipairs(c.firmware) do
      if not group_of[f.name] then fail(format("cohort \"%s\": no group of processors takes firmware %s%s", c.name, f.name, did_you_mean(f.name, keys_of(group_of))), c.line) end
    end
  end
end
