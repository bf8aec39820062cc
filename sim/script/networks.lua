-- The scenario language, continued: what mobile networks do to connections, tunnels. Runs after remote.lua, with what prelude.lua lends.
local host, env, plan, kit = ...

local format = string.format
local fail, known_fields, in_file, quote, did_you_mean, keys_of = kit.fail, kit.known_fields, kit.in_file, kit.quote, kit.did_you_mean, kit.keys_of
local want_table, want_distribution, number_in, share, name_of = kit.want_table, kit.want_distribution, kit.number_in, kit.share, kit.name_of
local duration, source, series, metric_step = kit.duration, kit.source, kit.series, kit.metric_step


-- ---- rates ---------------------------------------------------------------------------------------------------------

-- Of a radio, while driving.
function plan.radio_rates(spec, r)
  for _, name in ipairs { "handovers_per_hour", "half_open_per_hour", "addresses_per_hour" } do
    if spec[name] ~= nil then r[name] = number_in("radio: " .. name, spec[name], 0, 3600) end
  end
  if spec.handover_gap ~= nil then r.handover_gap = duration("radio: handover_gap", spec.handover_gap, 1000) end
  if (r.handovers_per_hour or 0) > 0 and not r.handover_gap then r.handover_gap = 40e3 end
  if r.handover_gap and not r.handovers_per_hour then fail("radio: handover_gap is of hand-overs; write handovers_per_hour = 60") end
end

-- ---- tunnels -------------------------------------------------------------------------------------------------------

plan.tunnels = {}
local names = {}

local function of_day(where, value)
  if type(value) ~= "string" then fail(format("%s takes a time of day like \"06:30\", got %s", where, quote(value))) end
  local at, days = kit.time_of_day(where, value)
  if days > 0 then fail(format("%s: %s is no time of day; it holds each day, write \"06:30\"", where, quote(value))) end
  return math.floor(at)
end

local function times(where, value, example)
  local d = want_distribution(where, value)
  if d.a > 0 and d.a < 1000 then fail(format("%s: %s is in microseconds; write %s", where, d.text, example)) end
  return d
end

local function one_named(where, what, value, index)
  if value == nil then return 0 end
  return index[value] or fail(format("%s: unknown %s %s%s", where, what, quote(value), did_you_mean(value, keys_of(index))))
end

function env.tunnel(name)
  in_file("tunnel")
  name_of("tunnel", name)
  local where = format("tunnel \"%s\"", name)
  if names[name] then fail(where .. " is declared twice") end
  if #plan.tunnels >= 64 then fail("more than 64 tunnels") end
  names[name] = true
  local this = kit.begin(where, "{ share = 0.2, at = uniform(minutes(2), minutes(10)), lasts = seconds(45) }")
  return function(spec)
    kit.ended(this)
    want_table(where, spec)
    known_fields(where, spec, { "share", "at", "lasts", "from", "to", "cohort", "region" })
    local t = { name = name, line = host.here() }
    t.share = share(where .. ": share", spec.share)
    t.at = times(where .. ": at", spec.at, "uniform(minutes(2), minutes(10))")
    t.lasts = times(where .. ": lasts", spec.lasts, "lognormal(seconds(45), 0.4)")
    if (spec.from == nil) ~= (spec.to == nil) then fail(where .. ": from and to go together: from = \"06:30\", to = \"09:00\"") end
    t.from = spec.from and of_day(where .. ": from", spec.from) or 0
    t.till = spec.to and of_day(where .. ": to", spec.to) or 0
    if spec.from and t.from == t.till then fail(where .. ": to must be another time than from; leave both away for all day") end
    t.cohort = one_named(where, "cohort", spec.cohort, kit.cohort_index)
    t.region = one_named(where, "region", spec.region, kit.region_index)
    plan.tunnels[#plan.tunnels + 1] = t
  end
end

-- ---- what is measured ----------------------------------------------------------------------------------------------

local function total(what, text) return series(what, text, "total") end

function env.network()
  return source("counter", "nat_kills", "connections forgotten", "total", 0, {
    forgotten = total("nat_kills", "connections forgotten"), half_open = total("half_open", "half-open connections"),
    address_changes = total("address_changes", "new addresses"), handovers = total("handovers", "hand-overs"),
    pings_missed = total("pings_missed", "vehicles silent for too long"),
    found_dead = metric_step("connection.dead", "dead connection found out"),
    cost_per_day = metric_step("data.cost_day", "data cost a vehicle and day") }, "network()")
end
