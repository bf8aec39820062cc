-- The scenario language, continued: regions, residency, migration between brokers. Runs after remote.lua, with what prelude.lua lends.
local host, env, plan, kit = ...

local format = string.format
local fail, known_fields, in_file, quote = kit.fail, kit.known_fields, kit.in_file, kit.quote
local want_table, share, whole, one_of, boolean = kit.want_table, kit.share, kit.whole, kit.one_of, kit.boolean
local duration, action, source, series, metric_step = kit.duration, kit.action, kit.source, kit.series, kit.metric_step
local region_index, cohort_index, did_you_mean, keys_of = kit.region_index, kit.cohort_index, kit.did_you_mean, kit.keys_of
local SECOND, MINUTE, HOUR, DAY = 1e6, 60e6, 3600e6, 86400e6

local wanted_by
local function needs_clouds(what)
  if not plan.places.on and not wanted_by then wanted_by = { what = what, line = host.here() } end
end

plan.places = {
  on = false, by = "geolocation", standard = 1, ttl = 60 * SECOND, health_check = 10 * SECOND, fail_back = 0, between = {},
  copied = 1, cleaned = 19, kept = 0, clean_after = 5 * MINUTE, give_up = HOUR, migrates = false, from = 1, to = 1, start = 0, waves = {},
  abort = 0, settle = 5 * MINUTE, drain = 30 * SECOND,
  faults = { ignore_residency = 0, no_health_check = 0, keep_old = 0, copy_all = 0, new_refuses = 0, no_processors = 0 } }

local function region_of(where, name)
  return region_index[name] or fail(format("%s: unknown region %s%s", where, quote(name), did_you_mean(name, keys_of(region_index))))
end

local function faults(where, spec, allowed)
  if spec == nil then return end
  want_table(where .. ": faults", spec)
  known_fields(where .. ": faults", spec, allowed)
  for name, value in pairs(spec) do plan.places.faults[name] = share(where .. ": faults." .. name, value) end
end

-- ---- regions ---------------------------------------------------------------------------------------------------------

-- Names of regions are looked up at the end: they may come later in the file.
function plan.region_parts(where, spec, r)
  r.residency = want_table(where .. ": residency", spec.residency or {})
  if #keys_of(r.residency) ~= #r.residency then fail(where .. ": residency lists regions, e.g. residency = { \"eu-west\" }") end
  r.sni_only = one_of(where .. ": ca_mode", spec.ca_mode or "DEFAULT", { "DEFAULT", "SNI_ONLY" }) == "SNI_ONLY"
  if #r.residency > 0 or r.sni_only then needs_clouds(where .. ": residency and ca_mode") end
end

local function between_part(where, list)
  want_table(where, list)
  for i, entry in ipairs(list) do
    local here = format("%s[%d]", where, i)
    if type(entry) ~= "table" or #entry ~= 3 then fail(format("%s takes two regions and a time: { \"eu\", \"us\", milliseconds(45) }", here)) end
    local a, b = region_of(here, entry[1]), region_of(here, entry[2])
    if a == b then fail(format("%s: %s is one region; its own way is region \"%s\" { latency = ... }", here, quote(entry[1]), entry[1])) end
    plan.places.between[i] = { a = a, b = b, latency = duration(here .. ": latency", entry[3]) }
  end
end

local declared = {}
local function once(word, spec)
  in_file(word)
  want_table(word, spec)
  if declared[word] then fail(word .. " is declared twice") end
  if #plan.regions < 2 then fail(word .. ": declare at least two regions first: region \"eu\" { latency = milliseconds(10) }") end
  declared[word], plan.places.on = true, true
  plan.places.line = plan.places.line or host.here()
  return plan.places
end

function env.resolver(spec)
  local p = once("resolver", spec)
  known_fields("resolver", spec, { "by", "standard", "ttl", "health_check", "fail_back", "between", "faults" })
  if spec.by ~= nil then p.by = one_of("resolver: by", spec.by, { "geolocation", "latency", "static" }) end
  if spec.standard ~= nil then p.standard = region_of("resolver: standard", spec.standard) end
  if spec.ttl ~= nil then p.ttl = duration("resolver: ttl", spec.ttl, SECOND) end
  if spec.health_check ~= nil then p.health_check = duration("resolver: health_check", spec.health_check, SECOND / 10) end
  if spec.fail_back ~= nil then p.fail_back = duration("resolver: fail_back", spec.fail_back) end
  if spec.between ~= nil then between_part("resolver: between", spec.between) end
  faults("resolver", spec.faults, { "ignore_residency", "no_health_check" })
end

-- ---- a vehicle changes its home ----------------------------------------------------------------------------------------

local kinds = { identity = 1, personal = 2, telemetry = 4, session = 16 }
local function kinds_of(where, list, allowed)
  local bits = 0
  want_table(where, list)
  if #keys_of(list) ~= #list then fail(format("%s lists kinds of data, e.g. { \"identity\" }", where)) end
  for _, name in ipairs(list) do bits = bits | kinds[one_of(where, name, allowed)] end
  return bits
end

function env.region_moves(spec)
  local p, where = once("region_moves", spec), "region_moves"
  local all = { "identity", "personal", "telemetry", "session" }
  known_fields(where, spec, { "copied", "cleaned", "kept", "clean_after", "give_up", "faults" })
  if spec.copied ~= nil then p.copied = kinds_of(where .. ": copied", spec.copied, { "identity", "personal", "telemetry" }) end
  if spec.cleaned ~= nil then p.cleaned = kinds_of(where .. ": cleaned", spec.cleaned, all) end
  if spec.kept ~= nil then p.kept = kinds_of(where .. ": kept", spec.kept, all) end
  if p.cleaned & p.kept ~= 0 then fail(where .. ": what is cleaned cannot be kept") end
  if spec.clean_after ~= nil then p.clean_after = duration(where .. ": clean_after", spec.clean_after) end
  if spec.give_up ~= nil then p.give_up = duration(where .. ": give_up", spec.give_up, MINUTE) end
  faults(where, spec.faults, { "keep_old", "copy_all" })
end

-- ---- from one broker to another ----------------------------------------------------------------------------------------

local function wave(where, entry, waves)
  want_table(where, entry)
  known_fields(where, entry, { "cohort", "at", "within" })
  local cohort = cohort_index[entry.cohort]
  if not cohort then fail(format("%s: unknown cohort %s%s", where, quote(entry.cohort), did_you_mean(entry.cohort, keys_of(cohort_index)))) end
  for _, other in ipairs(waves) do if other.cohort == cohort then fail(format("%s: cohort %s has a wave already", where, entry.cohort)) end end
  return { cohort = cohort, at = duration(where .. ".at", entry.at or 0), within = duration(where .. ".within", entry.within or 0) }
end

function env.migration(spec)
  local p, where = once("migration", spec), "migration"
  known_fields(where, spec, { "from", "to", "start", "waves", "abort", "settle", "drain", "faults" })
  p.migrates = true
  p.from, p.to = region_of(where .. ": from", spec.from), region_of(where .. ": to", spec.to)
  if p.from == p.to then fail(where .. ": from and to are one region") end
  if spec.start == nil then fail(where .. ": start is missing; write start = \"22:00\"") end
  p.start = kit.moment(where .. ": start", spec.start)
  want_table(where .. ": waves", spec.waves)
  if #spec.waves == 0 or #spec.waves > 64 then fail(where .. ": waves: one to 64 of { cohort = \"car\", at = minutes(0), within = minutes(20) }") end
  for i, entry in ipairs(spec.waves) do p.waves[i] = wave(format("%s: waves[%d]", where, i), entry, p.waves) end
  if spec.abort ~= nil then p.abort = share(where .. ": abort", spec.abort) end
  if spec.settle ~= nil then p.settle = duration(where .. ": settle", spec.settle, SECOND) end
  if spec.drain ~= nil then p.drain = duration(where .. ": drain", spec.drain) end
  faults(where, spec.faults, { "new_refuses", "no_processors" })
end

-- ---- actions -----------------------------------------------------------------------------------------------------------

local function clouds_first(word)
  if not plan.places.on then fail(word .. " needs regions with a cloud each; write resolver { } in the file") end
end

function env.region_outage(spec)
  local a = action("region_outage", spec, { "lasts" })
  clouds_first("region_outage")
  if a.region == 0 then fail("region_outage: region is missing; write region = \"" .. plan.regions[1].name .. "\"") end
  a.option, a.region = spec.region, 0
  a.lasts = duration("region_outage: lasts", spec.lasts, 1000)
  return host.act(a)
end

local function going(word, spec)
  local a = action(word, spec, { "to", "within" })
  clouds_first(word)
  region_of(word .. ": to", spec.to)
  a.option = spec.to
  a.timeout = duration(word .. ": within", spec.within or 0)
  return host.act(a)
end
function env.move_region(spec) return going("move_region", want_table("move_region", spec)) end
function env.travel(spec) return going("travel", want_table("travel", spec)) end

function env.roll_back(spec)
  local a = action("roll_back", spec, {})
  if not plan.places.migrates then fail("roll_back needs migration { ... } in the file") end
  return host.act(a)
end

-- ---- what is measured --------------------------------------------------------------------------------------------------

local function total(what, text) return series(what, text, "total") end

function env.regions()
  needs_clouds("regions()")
  return source("counter", "region_moves", "vehicles moved", "total", 0, {
    move_time = metric_step("region.move", "serving commands in the new region"), failover = metric_step("region.failover", "online in another region"),
    moves = total("region_moves", "vehicles moved"), failovers = total("failovers", "vehicles taken over"),
    refusals = total("residency_refusals", "refused, no region may serve it"), wrong = total("region_wrong", "online where they do not belong"),
    leftovers = total("region_leftovers", "left behind in a region"),
    residency_violations = total("residency_violations", "data where the rules forbid it"),
    migrated = total("migrated", "vehicles on the new broker"), migrated_back = total("migrated_back", "vehicles back on the old broker") }, "regions()")
end

-- ---- after the file ----------------------------------------------------------------------------------------------------

local finish = plan.finish
function plan.finish()
  finish()
  local p = plan.places
  if wanted_by and not p.on then
    fail(format("%s: regions have a cloud each with resolver { ... }, region_moves { ... } or migration { ... } in the file", wanted_by.what), wanted_by.line)
  end
  for i, r in ipairs(plan.regions) do
    r.residency_bits = 1 << (i - 1)
    for _, name in ipairs(r.residency) do
      local other = region_index[name]
      if not other then
        fail(format("region \"%s\": residency: unknown region %s%s", r.name, quote(name), did_you_mean(name, keys_of(region_index))), r.line)
      end
      r.residency_bits = r.residency_bits | 1 << (other - 1)
    end
  end
  if p.on and plan.lifecycle and plan.lifecycle.on then
    fail("lifecycle { } looks after the identities of one cloud; there is none for several regions in this version", p.line)
  end
  local m = plan.messages
  if p.on and m and (m.processors or #m.notices > 0) then
    fail("processors { } and notices are clients of one broker; there are none for several regions in this version", p.line)
  end
  if p.on and (plan.shadow.on or plan.remote.pattern ~= "plain") then
    fail("shadow { } and remote_commands: pattern are of one cloud's reserved topics; there are none for several regions in this version", p.line)
  end
  if p.migrates and p.by ~= "geolocation" and p.by ~= "static" then fail("migration: the resolver answers by its table; leave resolver: by away", p.line) end
  if p.migrates then -- one law on both brokers
    local both = 1 << (p.from - 1) | 1 << (p.to - 1)
    for _, i in ipairs { p.from, p.to } do plan.regions[i].residency_bits = plan.regions[i].residency_bits | both end
    p.by = "static"
  end
end
