-- The scenario language: runs before a scenario file, in the same sandbox, and turns what the file says into one plain table.
-- `host` is C's side: here() is the line of the scenario that is being run, nearest(word, list) the closest spelling or nil,
-- fail(line, text) ends the loading with one line. Nothing of this file is visible to a scenario but what it puts into `env`.
local host, env, plan, overrides = ...

local floor, huge = math.floor, math.huge
local format, concat, sort = string.format, table.concat, table.sort
local find, match, sub, gsub = string.find, string.match, string.sub, string.gsub -- the methods of texts are the scenario's few ones

plan.parameters, plan.regions, plan.cohorts, plan.apps, plan.phases = {}, {}, {}, {}, {}
plan.timeline, plan.expectations, plan.functions, plan.commands_named = {}, {}, {}, {}

local function fail(text, line) host.fail(line or host.here(), text) end

local function quote(value)
  if type(value) == "string" then return format("'%s'", #value > 60 and sub(value, 1, 60) .. "..." or value) end
  if type(value) == "table" or type(value) == "function" then return "a " .. type(value) end
  if value ~= value then return "nan" end
  return value == nil and "nothing" or tostring(value)
end

local function keys_of(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = tostring(key) end
  sort(keys)
  return keys
end

local function did_you_mean(word, allowed)
  if #allowed == 0 then return "; none is declared before this line" end
  local near = host.nearest(tostring(word), allowed)
  return near and format("; did you mean '%s'?", near) or format("; there are %s", concat(allowed, ", "))
end

-- ---- checked reading of fields -------------------------------------------------------------------------------------

local function known_fields(where, t, allowed)
  local known, unknown = {}, nil
  for _, name in ipairs(allowed) do known[name] = true end
  for key in pairs(t) do -- a table's order changes from run to run; the message must not
    if not known[key] and (not unknown or tostring(key) < tostring(unknown)) then unknown = key end
  end
  if type(unknown) == "number" then fail(format("%s: a value without a field's name; the fields are %s", where, concat(allowed, ", "))) end
  if unknown == nil then return end
  local head, part = match(where, "^(%a+ \"[^\"]*\"): (.+)$")
  where, part = head or where, part and " in " .. part or ""
  fail(format("%s: unknown field %s%s%s", where, quote(unknown), part, did_you_mean(unknown, allowed)))
end

-- Declarations are two calls, cohort "suv" { ... }; what was begun and not ended is found at the end.
local begun = {}
local function begin(where, missing) begun[#begun + 1] = { where = where, missing = missing, line = host.here() } return #begun end
local function ended(index) begun[index].done = true end

local function in_file(word)
  if plan.running then fail(word .. " belongs into the file, not into a function that runs later") end
end

local function want_table(where, value)
  if type(value) ~= "table" then fail(format("%s takes a table { ... }, got %s", where, quote(value))) end
  return value
end

local function number_in(where, value, low, high, unit)
  if type(value) ~= "number" or value ~= value then fail(format("%s must be a number, got %s", where, quote(value))) end
  if value < low or value > high then
    local hint = ""
    if low == 0 and high == 1 and value > 1 and value <= 100 then hint = format(" (%g %%? write %g)", value, value / 100) end
    local text = high == huge and format("at least %.16g", low) or format("between %.16g and %.16g", low, high)
    fail(format("%s must be %s%s, got %.12g%s", where, text, unit or "", value, hint))
  end
  return value
end

local function share(where, value) return number_in(where, value, 0, 1) end

local function whole(where, value, low, high)
  number_in(where, value, low, high)
  if value ~= floor(value) then fail(format("%s must be a whole number, got %.12g", where, value)) end
  return floor(value)
end

local function text_of(where, value, longest)
  if type(value) ~= "string" or value == "" then fail(format("%s must be a text, got %s", where, quote(value))) end
  if #value > longest then fail(format("%s is longer than %d characters", where, longest)) end
  return value
end

local function name_of(where, value)
  text_of(where, value, 31)
  if not find(value, "^[A-Za-z0-9][A-Za-z0-9_.-]*$") then
    fail(format("%s: %s may hold letters, digits, '_', '-' and '.' only", where, quote(value)))
  end
  return value
end

local function boolean(where, value)
  if type(value) ~= "boolean" then fail(format("%s must be true or false, got %s", where, quote(value))) end
  return value
end

local function one_of(where, value, allowed)
  for _, name in ipairs(allowed) do if value == name then return value end end
  if type(value) ~= "string" then fail(format("%s must be one of %s, got %s", where, concat(allowed, ", "), quote(value))) end
  fail(format("%s: unknown value %s%s", where, quote(value), did_you_mean(value, allowed)))
end

-- ---- time ----------------------------------------------------------------------------------------------------------

local SECOND, MINUTE, HOUR, DAY = 1e6, 60e6, 3600e6, 86400e6
local LONGEST = 366 * DAY

local function unit(name, factor)
  env[name] = function(n) return number_in(name .. "()", n, 0, LONGEST / factor) * factor end
end
unit("microseconds", 1) unit("milliseconds", 1e3) unit("seconds", SECOND) unit("minutes", MINUTE) unit("hours", HOUR) unit("days", DAY)

local function time_text(t)
  if t < SECOND then return format("%g ms", t / 1e3) end
  if t < 2 * MINUTE then return format("%g s", t / SECOND) end
  if t < 2 * HOUR then return format("%g min", t / MINUTE) end
  return t < 2 * DAY and format("%g h", t / HOUR) or format("%g d", t / DAY)
end

local function duration(where, value, low)
  low = low or 0
  if type(value) ~= "number" or value ~= value then fail(format("%s takes a time like seconds(30), got %s", where, quote(value))) end
  if value > 0 and value < 1000 and not find(where, "latency", 1, true) then
    fail(format("%s: %g microseconds is surely not meant; write seconds(%g)", where, value, value))
  end
  if value < low then fail(format("%s must be at least %s, got %s", where, low == 0 and "0" or time_text(low), time_text(value))) end
  if value > LONGEST then fail(format("%s must be at most 366 d, got %s", where, time_text(value))) end
  return floor(value)
end

local function time_of_day(where, text)
  local days, h, m, s = match(text, "^(%d+) d (%d%d?):(%d%d):?(%d?%d?)$")
  if not days then days, h, m, s = 0, match(text, "^(%d%d?):(%d%d):?(%d?%d?)$") end
  h, m, s = tonumber(h), tonumber(m), tonumber(s == "" and 0 or s or 0)
  if not h or h > 23 or m > 59 or s > 59 then
    fail(format("%s: %s is no time of day; write \"07:40\", \"07:40:30\" or \"1 d 07:40\"", where, quote(text)))
  end
  return tonumber(days) * DAY + h * HOUR + m * MINUTE + s * SECOND, tonumber(days)
end

-- A moment of the run: a clock time, or a time since the start.
local function moment(where, value)
  if not plan.start_of_day then fail(format("%s: scenario \"name\" { ... } has to come first", where)) end
  if type(value) ~= "string" then return duration(where, value) end
  local at, days = time_of_day(where, value)
  local offset = at - plan.start_of_day
  if days == 0 and offset < 0 then offset = offset + DAY end
  if offset < 0 then fail(format("%s: %s is before the start", where, quote(value))) end
  return floor(offset)
end

-- Days since 1970 of a civil date (proleptic Gregorian).
local function days_from_civil(y, m, d)
  y = m <= 2 and y - 1 or y
  local era = y // 400
  local yoe = y - era * 400
  local doy = (153 * (m + (m > 2 and -3 or 9)) + 2) // 5 + d - 1
  local doe = yoe * 365 + yoe // 4 - yoe // 100 + doy
  return era * 146097 + doe - 719468
end

local function calendar(where, text)
  local y, mo, d, h, mi = match(tostring(text), "^(%d%d%d%d)%-(%d%d)%-(%d%d) (%d%d):(%d%d)$")
  if not y then fail(format("%s takes \"2026-03-04 00:00\", got %s", where, quote(text))) end
  y, mo, d, h, mi = tonumber(y), tonumber(mo), tonumber(d), tonumber(h), tonumber(mi)
  local lengths = { 31, (y % 4 == 0 and (y % 100 ~= 0 or y % 400 == 0)) and 29 or 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }
  if y < 1970 or y > 2200 or mo < 1 or mo > 12 or d < 1 or d > lengths[mo] or h > 23 or mi > 59 then
    fail(format("%s: %s is no date", where, quote(text)))
  end
  local days = days_from_civil(y, mo, d)
  plan.start_of_day = h * HOUR + mi * MINUTE
  plan.start_weekday = (days + 3) % 7
  plan.start_epoch = floor(days * DAY + plan.start_of_day)
end

-- ---- distributions -------------------------------------------------------------------------------------------------

local distribution_mark = {}
local function distribution(kind, text, a, b)
  return { mark = distribution_mark, kind = kind, a = a, b = b, text = text }
end
function env.constant(value) return distribution("constant", format("constant(%g)", number_in("constant()", value, 0, LONGEST)), value, 0) end
function env.uniform(low, high)
  number_in("uniform()", low, 0, LONGEST)
  number_in("uniform()", high, 0, LONGEST)
  if high < low then fail(format("uniform(): %g to %g ends before it begins; write uniform(%g, %g)", low, high, high, low)) end
  return distribution("uniform", format("uniform(%g, %g)", low, high), low, high)
end
function env.exponential(mean) return distribution("exponential", format("exponential(%g)", number_in("exponential()", mean, 0, LONGEST)), mean, 0) end
function env.lognormal(median, sigma)
  number_in("lognormal() median", median, 0, LONGEST)
  number_in("lognormal() sigma", sigma, 0, 5)
  return distribution("lognormal", format("lognormal(%g, %g)", median, sigma), median, sigma)
end
function env.normal(mean, deviation)
  number_in("normal() mean", mean, 0, LONGEST)
  number_in("normal() deviation", deviation, 0, LONGEST)
  return distribution("normal", format("normal(%g, %g)", mean, deviation), mean, deviation)
end
local function want_distribution(where, value)
  if type(value) == "number" then return env.constant(value) end
  if type(value) ~= "table" or value.mark ~= distribution_mark then
    fail(format("%s takes a number or a distribution like lognormal(300, 0.4), got %s", where, quote(value)))
  end
  return value
end

-- ---- parameters and faults -----------------------------------------------------------------------------------------

local parameter_by_name = {}
local function converted(name, standard, text, is_fault, off, on)
  if is_fault and (text == "on" or text == "off") then return text == "on" and on or off end
  if type(standard) == "number" then
    local value = tonumber(text)
    if not value or value ~= value or value == huge or value == -huge then
      fail(format("--set %s=%s: takes a number%s", name, text, is_fault and ", on or off" or ""))
    end
    return value
  elseif type(standard) == "boolean" then
    if text == "true" or text == "on" or text == "1" then return true end
    if text == "false" or text == "off" or text == "0" then return false end
    fail(format("--set %s=%s: takes true or false", name, text))
  end
  if #text > 63 then fail(format("--set %s: longer than 63 characters", name)) end
  return text
end

local function parameter(name, standard, text, entry)
  if #plan.parameters >= 256 then fail("more than 256 parameters") end
  if parameter_by_name[name] then fail(format("parameter '%s' is declared twice", name)) end
  entry.name, entry.standard, entry.text, entry.line = name, standard, text or "", host.here()
  entry.value = standard
  if overrides[name] then
    entry.value = converted(name, standard, overrides[name], entry.fault, entry.off, entry.on)
    entry.overridden = true
  end
  parameter_by_name[name] = entry
  plan.parameters[#plan.parameters + 1] = entry
  return entry.value
end

function env.param(name, standard, text)
  in_file("param")
  name_of("param", name)
  if type(standard) ~= "number" and type(standard) ~= "boolean" and type(standard) ~= "string" then
    fail(format("param \"%s\": its standard value must be a number, true, false or a text, got %s", name, quote(standard)))
  end
  if name == "fleet" and plan.fleet_wanted > 0 and not overrides.fleet then overrides.fleet = tostring(plan.fleet_wanted) end
  local value = parameter(name, standard, text and text_of("param \"" .. name .. "\" description", text, 150), {})
  if name == "fleet" then
    plan.fleet_parameter = true
    if type(value) ~= "number" or value < 1 or value > 1e8 or value ~= floor(value) then
      fail(format("fleet must be a whole number between 1 and 100000000, got %s", quote(value)))
    end
  end
  return value
end

function env.fault(name, spec, text)
  in_file("fault")
  name_of("fault", name)
  local where = format("fault \"%s\"", name)
  want_table(where, spec)
  known_fields(where, spec, { "off", "on", "breaks" })
  number_in(where .. ": off", spec.off, -1e15, 1e15)
  number_in(where .. ": on", spec.on, -1e15, 1e15)
  want_table(where .. ": breaks", spec.breaks)
  if #spec.breaks == 0 or #spec.breaks > 8 then fail(where .. ": breaks names one to eight expectations that the fault must break") end
  local breaks = {}
  for i, id in ipairs(spec.breaks) do breaks[i] = text_of(where .. ": breaks", id, 47) end
  return parameter("fault." .. name, spec.off, text and text_of(where .. " description", text, 150),
                   { fault = true, off = spec.off, on = spec.on, breaks = breaks })
end

-- ---- scenario, regions, cloud --------------------------------------------------------------------------------------

function env.scenario(name)
  in_file("scenario")
  name_of("scenario", name)
  if plan.name then fail("scenario is declared twice") end
  local where = format("scenario \"%s\"", name)
  local this = begin(where, "{ duration = hours(24) }")
  return function(spec)
    ended(this)
    want_table(where, spec)
    known_fields(where, spec, { "start", "duration", "seed", "warm_up" })
    plan.name, plan.line = name, host.here()
    calendar(where .. ": start", spec.start or "2026-03-04 00:00")
    if spec.duration == nil then fail(where .. ": duration is missing; write duration = hours(24)") end
    plan.duration = duration(where .. ": duration", spec.duration, 1e6)
    plan.seed = whole(where .. ": seed", spec.seed or 1, 0, 2 ^ 53)
    plan.warm_up = duration(where .. ": warm_up", spec.warm_up or 0)
    if plan.duration_wanted > 0 then plan.duration = plan.duration_wanted end
    if plan.warm_up >= plan.duration and plan.duration_wanted == 0 then fail(where .. ": warm_up must be shorter than duration") end
  end
end

local region_index = {}
function env.region(name)
  in_file("region")
  name_of("region", name)
  local where = format("region \"%s\"", name)
  if region_index[name] then fail(where .. " is declared twice") end
  if #plan.regions >= 16 then fail("more than 16 regions") end
  local this = begin(where, "{ latency = milliseconds(10) }")
  return function(spec)
    ended(this)
    want_table(where, spec)
    known_fields(where, spec, { "latency", "endpoint", "residency", "ca_mode" })
    local r = { name = name, line = host.here(), latency = duration(where .. ": latency", spec.latency or 0),
                endpoint = text_of(where .. ": endpoint", spec.endpoint or name .. ".fleet.test", 127) }
    plan.region_parts(where, spec, r)
    plan.regions[#plan.regions + 1] = r
    region_index[name] = #plan.regions
  end
end

function env.cloud(spec)
  in_file("cloud")
  want_table("cloud", spec)
  known_fields("cloud", spec, { "activation", "certificate_lifetime", "issue", "processors", "keep_alive_maximum", "session_expiry_maximum",
                                "receive_maximum", "topic_alias_maximum", "service", "cryptography" })
  local c = plan.cloud
  if spec.activation ~= nil then
    c.activation = want_distribution("cloud: activation", spec.activation)
    if c.activation.a > 0 and c.activation.a < 1000 then
      fail(format("cloud: activation: %s is in microseconds; write lognormal(seconds(1), 0.3)", c.activation.text))
    end
  end
  if spec.certificate_lifetime ~= nil then c.certificate_lifetime = duration("cloud: certificate_lifetime", spec.certificate_lifetime, SECOND) end
  if spec.issue ~= nil then c.issue = duration("cloud: issue", spec.issue) end
  if spec.processors ~= nil then c.processors = whole("cloud: processors", spec.processors, 1, 12) end
  if spec.keep_alive_maximum ~= nil then c.keep_alive_maximum = duration("cloud: keep_alive_maximum", spec.keep_alive_maximum) end
  if spec.session_expiry_maximum ~= nil then c.session_expiry_maximum = duration("cloud: session_expiry_maximum", spec.session_expiry_maximum) end
  if spec.receive_maximum ~= nil then c.receive_maximum = whole("cloud: receive_maximum", spec.receive_maximum, 1, 65535) end
  if spec.topic_alias_maximum ~= nil then c.topic_alias_maximum = whole("cloud: topic_alias_maximum", spec.topic_alias_maximum, 0, 65535) end
  if spec.service ~= nil then c.service = duration("cloud: service", spec.service) end
  if spec.cryptography ~= nil then c.cryptography = one_of("cloud: cryptography", spec.cryptography, { "modelled", "real" }) end
end
plan.cloud = { activation = env.lognormal(1e6, 0.3), certificate_lifetime = 365 * DAY, issue = 40e3, processors = 2, keep_alive_maximum = 0,
               session_expiry_maximum = 0, receive_maximum = 100, topic_alias_maximum = 8, service = 1e3, cryptography = "modelled" }

-- ---- parts of a cohort ---------------------------------------------------------------------------------------------

local function marked(kind, t) t.mark = kind return t end
local function want_marked(where, value, kind, example)
  if type(value) ~= "table" or value.mark ~= kind then fail(format("%s takes %s, got %s", where, example, quote(value))) end
  return value
end

function env.radio(name, spec)
  spec = want_table("radio()", spec or {})
  known_fields("radio()", spec, { "latency", "sigma", "up", "down", "loss", "drops_per_hour", "holes_per_hour", "hole", "edrx", "edrx_window",
                                  "psm_active", "psm_period", "nat_idle", "search", "handovers_per_hour", "handover_gap", "half_open_per_hour",
                                  "addresses_per_hour" })
  local r = marked("radio", { name = one_of("radio()", name, host.radios) })
  if spec.latency ~= nil then r.latency = duration("radio: latency", spec.latency, 1) end
  if spec.sigma ~= nil then r.sigma = number_in("radio: sigma", spec.sigma, 0, 3) end
  if spec.up ~= nil then r.up = whole("radio: up", spec.up, 100, 1e9) end
  if spec.down ~= nil then r.down = whole("radio: down", spec.down, 100, 1e9) end
  if spec.loss ~= nil then r.loss = share("radio: loss", spec.loss) end
  if spec.drops_per_hour ~= nil then r.drops_per_hour = number_in("radio: drops_per_hour", spec.drops_per_hour, 0, 3600) end
  if spec.holes_per_hour ~= nil then r.holes_per_hour = number_in("radio: holes_per_hour", spec.holes_per_hour, 0, 3600) end
  if spec.hole ~= nil then r.hole = duration("radio: hole", spec.hole) end
  for _, name in ipairs { "edrx", "edrx_window", "psm_active", "psm_period", "nat_idle", "search" } do
    if spec[name] ~= nil then r[name] = duration("radio: " .. name, spec[name], 100e3) end
  end
  plan.radio_rates(spec, r)
  if r.edrx_window and not r.edrx then fail("radio: edrx_window is of an eDRX cycle; write edrx = seconds(81.92)") end
  if (r.psm_active == nil) ~= (r.psm_period == nil) then fail("radio: PSM has two timers; write psm_active = seconds(10), psm_period = hours(1)") end
  return r
end

local telemetry_methods = {}
local telemetry_class = { __index = function(_, key)
  return telemetry_methods[key] or fail(format("telemetry: unknown method '%s'%s", tostring(key), did_you_mean(key, keys_of(telemetry_methods))))
end }
function telemetry_methods:while_driving() self.driving = self.period return self end
function telemetry_methods:while_parked(period) self.parked = duration("while_parked()", period or self.period, SECOND) return self end
function telemetry_methods:always() self.driving, self.parked = self.period, self.period return self end
function telemetry_methods:size(d) self.bytes = want_distribution("telemetry: size()", d) return self end
function telemetry_methods:qos(q) self.level = whole("telemetry: qos()", q, 0, 2) return self end
function telemetry_methods:queue(n, rule)
  self.capacity = whole("telemetry: queue()", n, 1, 1024)
  self.rule = one_of("telemetry: queue()", rule or "drop-oldest", { "drop-oldest", "drop-newest" })
  return self
end
function telemetry_methods:lose_acknowledgements(s) self.ack_loss = share("telemetry: lose_acknowledgements()", s) return self end

local function every(period, more)
  if more ~= nil then fail("every(period) tells how often telemetry is sent; on the timeline write every_so_often(period, function() ... end)") end
  return setmetatable(marked("telemetry", { period = duration("every()", period, 100e3), driving = 0, parked = 0, level = 1, capacity = 64,
                                            rule = "drop-oldest", ack_loss = 0, bytes = env.lognormal(300, 0.4) }), telemetry_class)
end
env.every = every

function env.weekday_commute(spec)
  spec = want_table("weekday_commute", spec or {})
  known_fields("weekday_commute", spec, { "trips_per_day", "parked_all_day", "minutes", "sigma" })
  return marked("trips", { mode = "trips", trips_per_day = spec.trips_per_day and number_in("weekday_commute: trips_per_day", spec.trips_per_day, 0, 5),
    parked_all_day = spec.parked_all_day and share("weekday_commute: parked_all_day", spec.parked_all_day),
    mean = spec.minutes and number_in("weekday_commute: minutes", spec.minutes, 1, 600) * 60,
    sigma = spec.sigma and number_in("weekday_commute: sigma", spec.sigma, 0, 2) })
end
function env.always_driving() return marked("trips", { mode = "always" }) end
function env.always_parked() return marked("trips", { mode = "never" }) end
function env.within(t) return marked("within", { time = duration("within()", t) }) end

local function power(where, spec, standard)
  spec = want_table(where, spec or {})
  known_fields(where, spec, { "keep_alive", "session_expiry" })
  local session = spec.session_expiry and duration(where .. ".session_expiry", spec.session_expiry, SECOND) // 1000000 or 0
  local keep_alive = duration(where .. ".keep_alive", spec.keep_alive or standard)
  if keep_alive > 65535 * SECOND then fail(where .. ".keep_alive: MQTT allows at most 65535 s (18 h 12 min)") end
  return keep_alive // 1000000, session
end

local function mqtt_part(where, spec)
  where = where .. ": mqtt"
  spec = want_table(where, spec or {})
  known_fields(where, spec, { "version", "driving", "parked", "session_expiry", "receive_maximum", "outgoing_maximum", "topic_aliases",
                              "aliases_taken", "reconnect_on_power_change" })
  local m = {}
  m.version = spec.version or 5
  if m.version ~= 5 and m.version ~= 3.1 and m.version ~= 4 and m.version ~= "3.1.1" then
    fail(format("%s.version must be 5 or \"3.1.1\", got %s", where, quote(m.version)))
  end
  m.version = m.version == 5 and 5 or 4
  m.driving, m.driving_session = power(where .. ".driving", spec.driving, 60 * SECOND)
  m.parked, m.parked_session = power(where .. ".parked", spec.parked, 20 * MINUTE)
  m.session_expiry = duration(where .. ".session_expiry", spec.session_expiry or DAY) // 1000000
  m.receive_maximum = whole(where .. ".receive_maximum", spec.receive_maximum or 16, 1, 1000)
  m.outgoing_maximum = whole(where .. ".outgoing_maximum", spec.outgoing_maximum or 8, 2, 1000)
  m.topic_aliases = whole(where .. ".topic_aliases", spec.topic_aliases or 1, 0, 16)
  m.aliases_taken = whole(where .. ".aliases_taken", spec.aliases_taken or 0, 0, 16)
  m.reconnect = boolean(where .. ".reconnect_on_power_change", spec.reconnect_on_power_change or false)
  return m
end

local function backoff_part(where, spec)
  where = where .. ": backoff"
  spec = want_table(where, spec or {})
  known_fields(where, spec, { "base", "cap", "stable", "jitter" })
  local b = { base = duration(where .. ".base", spec.base or SECOND, 1000), cap = duration(where .. ".cap", spec.cap or MINUTE, 1000),
              stable = duration(where .. ".stable", spec.stable or 30 * SECOND),
              no_jitter = spec.jitter ~= nil and not boolean(where .. ".jitter", spec.jitter) }
  if b.cap < b.base then fail(where .. ": cap must not be shorter than base") end
  return b
end

local function shares(where, spec, index)
  want_table(where, spec)
  local list, sum = {}, 0
  for _, name in ipairs(keys_of(spec)) do
    if index and not index[name] then fail(format("%s: unknown region '%s'%s", where, name, did_you_mean(name, keys_of(index)))) end
    local s = share(format("%s.%s", where, name), spec[name])
    list[#list + 1] = { name = name, share = s }
    sum = sum + s
  end
  if #list == 0 or sum < 0.999 or sum > 1.001 then fail(format("%s: the shares must sum to 1, they sum to %g", where, sum)) end
  return list, sum
end

local cohort_index, cohort_raw = {}, {}
local cohort_fields = { "like", "count", "region", "firmware", "radio", "identity", "mqtt", "telemetry", "trips", "power_up", "backoff",
                        "acknowledge_timeout", "connect_timeout", "execute", "on_event", "steals", "steals_old", "strangers",
                        "parking", "path" }

local function with_model(where, spec)
  if spec.like == nil then return spec end
  local model = cohort_raw[spec.like]
  if not model then fail(format("%s: like: unknown cohort %s%s", where, quote(spec.like), did_you_mean(spec.like, keys_of(cohort_raw)))) end
  local merged = {}
  for key, value in pairs(model) do merged[key] = value end
  for key, value in pairs(spec) do merged[key] = value end
  if spec.steals ~= nil then merged.identity = spec.identity end -- what is stolen takes the place of the model's
  return merged
end

local function cohort_telemetry(where, spec)
  local t = want_marked(where .. ": telemetry", spec.telemetry or every(10 * SECOND):while_driving(), "telemetry",
                        "every(seconds(10)):while_driving()")
  if t.driving == 0 and t.parked == 0 then fail(where .. ": telemetry: say when: every(...):while_driving(), :while_parked() or :always()") end
  return t
end

function env.cohort(name)
  in_file("cohort")
  name_of("cohort", name)
  local where = format("cohort \"%s\"", name)
  if cohort_index[name] then fail(where .. " is declared twice") end
  if #plan.cohorts >= 64 then fail("more than 64 cohorts") end
  local this = begin(where, "{ count = 1000 }")
  return function(spec)
    ended(this)
    if cohort_index[name] then fail(where .. " is declared twice") end
    want_table(where, spec)
    known_fields(where, spec, cohort_fields)
    if spec.count == nil then fail(where .. ": count is missing; write count = 1000") end
    spec = with_model(where, spec)
    if #plan.regions == 0 then fail(where .. ": declare a region first: region \"here\" { latency = milliseconds(10) }") end
    local c = { name = name, line = host.here() }
    c.count = number_in(where .. ": count", spec.count, 0, 1e8)
    if spec.region then
      c.regions = shares(where .. ": region", spec.region, region_index)
    elseif #plan.regions == 1 then
      c.regions = { { name = plan.regions[1].name, share = 1 } }
    else
      fail(where .. ": region is missing; write region = { " .. plan.regions[1].name .. " = 1 }")
    end
    for _, r in ipairs(c.regions) do r.index = region_index[r.name] end
    c.firmware = shares(where .. ": firmware", spec.firmware or { ["1.0.0"] = 1 })
    if #c.firmware > 8 then fail(where .. ": firmware: more than 8 versions") end
    for _, f in ipairs(c.firmware) do text_of(where .. ": firmware", f.name, 23) end
    local radio = spec.radio or "lte-cat4"
    if type(radio) == "string" then radio = env.radio(radio) end
    c.radio = want_marked(where .. ": radio", radio, "radio", "\"lte-cat4\" or radio(\"lte-cat4\", { ... })")
    c.identity = want_marked(where .. ": identity", spec.identity or env.factory {}, "identity", "factory { ... }")
    plan.cohort_identity(where, spec, c)
    plan.cohort_parking(where, spec, c)
    c.mqtt = mqtt_part(where, spec.mqtt)
    c.telemetry = cohort_telemetry(where, spec)
    c.trips = want_marked(where .. ": trips", spec.trips or env.weekday_commute(), "trips", "weekday_commute(), always_driving() or always_parked()")
    c.power_up = want_marked(where .. ": power_up", spec.power_up or env.within(0), "within", "within(minutes(5))").time
    c.backoff = backoff_part(where, spec.backoff)
    c.acknowledge_timeout = duration(where .. ": acknowledge_timeout", spec.acknowledge_timeout or 30 * SECOND)
    c.connect_timeout = duration(where .. ": connect_timeout", spec.connect_timeout or 30 * SECOND, SECOND)
    c.execute = duration(where .. ": execute", spec.execute or 150e3)
    if spec.on_event ~= nil then
      if type(spec.on_event) ~= "function" then fail(where .. ": on_event takes a function(vehicle, event)") end
      plan.functions[#plan.functions + 1] = spec.on_event
      c.on_event = #plan.functions
    end
    cohort_raw[name] = spec
    plan.cohorts[#plan.cohorts + 1] = c
    cohort_index[name] = #plan.cohorts
  end
end

-- ---- apps, phases, timeline ----------------------------------------------------------------------------------------

function env.per_day(n) return marked("rate", { per_day = number_in("per_day()", n, 0, 1e7) }) end
function env.per_hour(n) return env.per_day(number_in("per_hour()", n, 0, 1e5) * 24) end
function env.per_minute(n) return env.per_day(number_in("per_minute()", n, 0, 1e3) * 1440) end

local app_names = {}
function env.app(name)
  in_file("app")
  name_of("app", name)
  local where = format("app \"%s\"", name)
  if app_names[name] then fail(where .. " is declared twice") end
  if #plan.apps >= 64 then fail("more than 64 apps") end
  app_names[name] = true
  local this = begin(where, "{ users = 100, command = \"unlock\", rate = per_day(1) }")
  return function(spec)
    ended(this)
    want_table(where, spec)
    known_fields(where, spec, { "users", "command", "rate", "timeout", "loss", "from", "to", "online_only", "cohort", "think" })
    local a = { name = name, line = host.here() }
    a.users = number_in(where .. ": users", spec.users, 0, 1e9)
    a.command = name_of(where .. ": command", spec.command)
    plan.commands_named[a.command] = true
    a.per_day = want_marked(where .. ": rate", spec.rate, "rate", "per_day(1.5), per_hour(...) or per_minute(...)").per_day
    if spec.think ~= nil then
      a.think = want_distribution(where .. ": think", spec.think)
      if a.think.a > 0 and a.think.a < 1000 then fail(format("%s: think: %s is in microseconds; write lognormal(minutes(2), 0.5)", where, a.think.text)) end
    end
    a.timeout = duration(where .. ": timeout", spec.timeout or 60 * SECOND, 100e3)
    a.loss = share(where .. ": loss", spec.loss or 0)
    a.from = spec.from and moment(where .. ": from", spec.from) or 0
    a.to = spec.to and moment(where .. ": to", spec.to) or 0
    if a.to > 0 and a.to <= a.from then fail(where .. ": to must be after from") end
    a.online_only = boolean(where .. ": online_only", spec.online_only or false)
    a.cohort = 0
    if spec.cohort ~= nil then
      a.cohort = cohort_index[spec.cohort]
      if not a.cohort then fail(format("%s: unknown cohort %s%s", where, quote(spec.cohort), did_you_mean(spec.cohort, keys_of(cohort_index)))) end
    end
    plan.apps[#plan.apps + 1] = a
  end
end

local phase_index = {}
function env.phase(name, from, to, spec)
  in_file("phase")
  text_of("phase", name, 31)
  local where = format("phase \"%s\"", name)
  if phase_index[name] then fail(where .. " is declared twice") end
  if #plan.phases >= 60 then fail("more than 60 phases") end
  spec = want_table(where, spec or {})
  known_fields(where, spec, { "excluded" })
  local p = { name = name, line = host.here(), from = moment(where .. ": from", from), to = moment(where .. ": to", to),
              excluded = boolean(where .. ": excluded", spec.excluded or false) }
  if p.to <= p.from then fail(where .. ": ends before it begins") end
  plan.phases[#plan.phases + 1] = p
  phase_index[name] = p
end

local function timeline(where, entry, fn)
  in_file(where)
  if type(fn) ~= "function" then fail(where .. " takes a function: " .. where .. "(\"07:40\", function() ... end)") end
  if #plan.timeline >= 1024 then fail("more than 1024 timeline entries") end
  plan.functions[#plan.functions + 1] = fn
  entry.fn, entry.line = #plan.functions, host.here()
  plan.timeline[#plan.timeline + 1] = entry
end
function env.at(time, fn) timeline("at", { at = moment("at()", time), every = 0, till = 0 }, fn) end
function env.every_so_often(period, fn, spec)
  spec = want_table("every_so_often", spec or {})
  known_fields("every_so_often", spec, { "from", "till" })
  period = duration("every_so_often()", period, SECOND)
  local from = spec.from and moment("every_so_often: from", spec.from) or period
  local till = spec.till and moment("every_so_often: till", spec.till) or 0
  if spec.till and till <= from then fail("every_so_often: till must be after from") end
  timeline("every_so_often", { at = from, every = period, till = till }, fn)
end

-- ---- actions, while the run goes on --------------------------------------------------------------------------------

local function action(kind, spec, extra)
  spec = want_table(kind, spec or {})
  local allowed = { "cohort", "region", "share", "vehicle" }
  for _, key in ipairs(extra) do allowed[#allowed + 1] = key end
  known_fields(kind, spec, allowed)
  if not plan.running then fail(kind .. " belongs into a function: at(\"07:40\", function() " .. kind .. " { ... } end)") end
  local cohort, region = 0, 0
  if spec.cohort ~= nil then
    cohort = cohort_index[spec.cohort] or fail(format("%s: unknown cohort %s%s", kind, quote(spec.cohort), did_you_mean(spec.cohort, keys_of(cohort_index))))
  end
  if spec.region ~= nil then
    region = region_index[spec.region] or fail(format("%s: unknown region %s%s", kind, quote(spec.region), did_you_mean(spec.region, keys_of(region_index))))
  end
  local vehicle = -1
  if type(spec.vehicle) == "table" then vehicle = whole(kind .. ": vehicle", spec.vehicle.number, 0, 1e8)
  elseif spec.vehicle ~= nil then vehicle = whole(kind .. ": vehicle", spec.vehicle, 0, 1e8) end
  return { kind = kind, cohort = cohort, region = region, share = share(kind .. ": share", spec.share or 1), vehicle = vehicle, lasts = 0,
           command = "", timeout = 0, option = "", store_write = 0, after_write = false, store_writes = 0, line = host.here() }
end
function env.coverage_hole(spec)
  local a = action("coverage_hole", spec, { "lasts" })
  a.lasts = duration("coverage_hole: lasts", spec.lasts, 1000)
  return host.act(a)
end
function env.drop_links(spec) return host.act(action("drop_links", spec, {})) end
function env.send_command(spec)
  local a = action("send_command", spec, { "command", "timeout" })
  a.command = name_of("send_command: command", spec.command)
  a.timeout = duration("send_command: timeout", spec.timeout or 60 * SECOND, 100e3)
  return host.act(a)
end
function env.ignition_on(spec) return host.act(action("ignition_on", spec, {})) end
function env.ignition_off(spec) return host.act(action("ignition_off", spec, {})) end
function env.kick(spec) return host.act(action("kick", spec, {})) end
function env.node_loss(spec)
  local a = action("node_loss", spec, { "lose_sessions" })
  a.option = boolean("node_loss: lose_sessions", spec and spec.lose_sessions or false) and "lose sessions" or ""
  return host.act(a)
end
function env.cloud_outage(spec)
  local a = action("cloud_outage", spec, { "lasts" })
  a.lasts = duration("cloud_outage: lasts", spec.lasts, 1000)
  return host.act(a)
end
function env.note(text)
  if not plan.running then fail("note belongs into a function: at(\"07:40\", function() note \"...\" end)") end
  host.note(text_of("note", text, 150))
end

-- ---- expectations --------------------------------------------------------------------------------------------------

local function class(noun, methods)
  return { __index = function(_, key)
    return methods[key] or fail(format("%s has no '%s'%s", noun, tostring(key), did_you_mean(key, keys_of(methods))))
  end }
end

local common = {}
local function statistic(name, q)
  common[name] = function(self) self.statistic, self.q = q and "quantile" or name, q or 0 return self end
end
statistic("p50", 0.5) statistic("p90", 0.9) statistic("p95", 0.95) statistic("p99", 0.99) statistic("p999", 0.999)
statistic "mean" statistic "max" statistic "min" statistic "count" statistic "total" statistic "last" statistic "share"
function common:quantile(q)
  self.statistic, self.q = "quantile", number_in("quantile()", q, 0, 1)
  return self
end
function common:cohort(name)
  self.cohort_filter = cohort_index[name] or fail(format("unknown cohort %s%s", quote(name), did_you_mean(name, keys_of(cohort_index))))
  self.filters = self.filters .. format(", cohort %s", name)
  return self
end
function common:region(name)
  self.region_filter = region_index[name] or fail(format("unknown region %s%s", quote(name), did_you_mean(name, keys_of(region_index))))
  self.filters = self.filters .. format(", region %s", name)
  return self
end
function common:path(name)
  self.path_filter = one_of("path", name, { "connected", "queued", "tap", "edrx", "shadow" })
  self.filters = self.filters .. format(", path %s", name)
  return self
end
function common:phase(name)
  local p = phase_index[name] or fail(format("unknown phase %s%s", quote(name), did_you_mean(name, keys_of(phase_index))))
  self.from, self.by, self.with_excluded = p.from, p.to, true
  self.filters = self.filters .. format(", phase %s", name)
  return self
end
function common:with_warm_up() self.with_excluded = true return self end

local function source(kind, what, text, standard, q, more, noun)
  local methods = {}
  for key, value in pairs(common) do methods[key] = value end
  for key, value in pairs(more or {}) do methods[key] = value end
  local s = { mark = "source", kind = kind, what = what, text = text, statistic = standard, q = q or 0, filters = "", cohort_filter = 0,
              region_filter = 0, path_filter = "", from = 0, by = 0, with_excluded = false, needed = "" }
  return setmetatable(s, class(noun or text, methods))
end
local function switch(kind, what, text, standard, q)
  return function(self)
    local s = source(kind, what, text, standard, q)
    s.cohort_filter, s.region_filter, s.path_filter, s.filters = self.cohort_filter, self.region_filter, self.path_filter, self.filters
    s.from, s.by, s.with_excluded, s.needed = self.from, self.by, self.with_excluded, self.needed
    return s
  end
end
local function metric_step(what, text) return switch("metric", what, text, "quantile", 0.99) end

function env.provisioning()
  return source("metric", "provision.total", "provisioning", "quantile", 0.99, {
    key = metric_step("provision.key", "provisioning, key pair"), certificate = metric_step("provision.certificate", "provisioning, certificate"),
    registration = metric_step("provision.registration", "provisioning, registration") }, "provisioning()")
end
function env.connect()
  return source("metric", "connect.total", "connect", "quantile", 0.99, {
    resolve = metric_step("connect.resolve", "connect, name resolution"), tcp = metric_step("connect.tcp", "connect, TCP"),
    tls = metric_step("connect.tls", "connect, TLS"), connack = metric_step("connect.connack", "connect, CONNACK") }, "connect()")
end
function env.reconnect()
  return source("metric", "reconnect", "reconnect", "quantile", 0.99, { interval = metric_step("reconnect.interval", "between two attempts") }, "reconnect()")
end
local function ledger(what) return switch("ledger", what, "telemetry " .. what, "total") end
function env.telemetry()
  return source("metric", "telemetry.end_to_end", "telemetry end to end", "quantile", 0.99, {
    end_to_end = metric_step("telemetry.end_to_end", "telemetry end to end"), acknowledge_time = metric_step("telemetry.ack", "telemetry acknowledgement"),
    intended = ledger "intended", acknowledged = ledger "acknowledged", unacknowledged = ledger "unacknowledged", delivered = ledger "delivered",
    duplicated = ledger "duplicated", dropped = ledger "dropped", pending = ledger "pending", lost = ledger "lost" }, "telemetry()")
end
local function series(what, text, standard) return switch("counter", what, text, standard or "max") end
local function outcome(what) return switch("commands", what, "commands " .. gsub(what, "_", " "), "total") end
local function command_source(text)
  return source("metric", "command.round_trip", text .. " round trip", "quantile", 0.99, {
    round_trip = metric_step("command.round_trip", text .. " round trip"), delivery = metric_step("command.delivery", text .. " delivery"),
    service = metric_step("command.service", text .. ", in the cloud"), wake = metric_step("command.wake", text .. ", woken"),
    connect = metric_step("command.connect", text .. ", connecting"), transit = metric_step("command.transit", text .. ", on its way"),
    execute = metric_step("command.execute", text .. ", executed"), answer = metric_step("command.answer", text .. ", answer"),
    intended = outcome "intended", sent = outcome "sent", delivered = outcome "delivered", executed = outcome "executed",
    executed_twice = outcome "executed_twice", answered = outcome "answered", timed_out = outcome "timed_out", lost = outcome "lost",
    pending = outcome "pending", ended_executed = outcome "ended_executed", ended_failed = outcome "ended_failed",
    ended_expired = outcome "ended_expired", ended_refused = outcome "ended_refused", unended = outcome "unended",
    forged_taken = series("commands_forged_taken", "forged commands taken", "total"),
    forged_refused = series("commands_forged", "forged commands refused", "total"),
    astray = series("results_astray", "results astray", "total"),
    misreported = series("commands_misreported", "commands told wrong", "total") }, text == "commands" and "commands()" or text)
end
function env.commands() return command_source("commands") end
function env.command(name)
  if not plan.commands_named[name] then
    fail(format("command %s: no app sends it%s", quote(name), next(plan.commands_named) and did_you_mean(name, keys_of(plan.commands_named)) or ""))
  end
  local s = command_source(format("command \"%s\"", name))
  plan.command_line = plan.command_line or host.here()
  return s
end
local broker_methods = {
  connects_per_second = series("connects", "connects/s"), connect_attempts_per_second = series("connect_attempts", "connect attempts/s"),
  refused_per_second = series("connects_refused", "connects refused/s"), disconnects_per_second = series("disconnects", "disconnects/s"),
  publishes_per_second = series("publishes", "publishes/s"), deliveries_per_second = series("deliveries", "deliveries/s"),
  commands_per_second = series("commands", "commands/s"), bytes_up_per_second = series("bytes_up", "bytes up/s"),
  bytes_down_per_second = series("bytes_down", "bytes down/s"), connected = series("connected", "vehicles connected", "last"),
  driving = series("driving", "vehicles driving", "last"), connects = series("connects", "connects", "total"),
  connect_attempts = series("connect_attempts", "connect attempts", "total"), refused = series("connects_refused", "connects refused", "total"),
  failed = series("connects_failed", "connects failed", "total"), disconnects = series("disconnects", "disconnects", "total"),
  publishes = series("publishes", "publishes", "total"), republishes = series("republishes", "publishes sent again", "total"),
  acknowledgements = series("publish_acks", "acknowledgements", "total"), deliveries = series("deliveries", "deliveries", "total"),
  pings = series("pings", "pings", "total"), provisioned = series("provisioned", "vehicles provisioned", "total"),
  registrations_refused = series("registrations_refused", "first connects refused", "total"),
  presence_events = series("presence_events", "presence events", "total"), link_drops = series("link_drops", "links dropped", "total"),
  protocol_errors = series("protocol_errors", "protocol errors", "total") }
function env.broker() return source("counter", "connects", "connects", "total", 0, broker_methods, "broker()") end
function env.bytes_up_per_day() return source("metric", "bytes.up_day", "bytes up a vehicle and day", "mean") end
function env.bytes_down_per_day() return source("metric", "bytes.down_day", "bytes down a vehicle and day", "mean") end
function env.send_lag() return source("metric", "send.lag", "the rig's own lag", "quantile", 0.99) end

local bounds = {}
local function comparison(name, kind)
  bounds[name] = function(self, value)
    self.comparison, self.bound = kind, number_in(format("expect \"%s\": %s()", self.id, name), value, -1e18, 1e18)
    return self
  end
end
comparison("below", "below") comparison("at_most", "at_most") comparison("above", "above") comparison("at_least", "at_least") comparison("equals", "equals")
function bounds:confidence(c) self.confidence_wanted = number_in("confidence()", c, 0.5, 0.9999) return self end
function bounds:samples(n) self.minimum_samples = whole("samples()", n, 1, 1e12) return self end
function bounds:needs(feature) self.needed = one_of("needs", feature, { "registration", "presence", "lifecycle", "door" }) return self end
function bounds:eventually() self.temporal = "eventually" return self end
function bounds:always() self.temporal = "always" return self end
function bounds:from(t) self.source.from = moment("from()", t) self.source.with_excluded = true return self end
function bounds:by(t) self.source.by = moment("by()", t) self.source.with_excluded = true return self end

function env.expect(id)
  in_file("expect")
  text_of("expect", id, 47)
  if #plan.expectations >= 256 then fail("more than 256 expectations") end
  for _, e in ipairs(plan.expectations) do if e.id == id then fail(format("expect \"%s\" is declared twice", id)) end end
  local this = begin(format("expect \"%s\"", id), "(telemetry():lost()):equals(0)")
  return function(s)
    ended(this)
    if type(s) ~= "table" or s.mark ~= "source" then
      fail(format("expect \"%s\" takes what is measured, e.g. (telemetry():lost()), got %s", id, quote(s)))
    end
    local e = setmetatable({ id = id, source = s, temporal = "end", confidence_wanted = 0, minimum_samples = 0, needed = s.needed, line = host.here() },
                           class(format("expect \"%s\"", id), bounds))
    plan.expectations[#plan.expectations + 1] = e
    return e
  end
end

-- ---- after the file ------------------------------------------------------------------------------------------------

-- A clock time before the start means the next day, so a wrong one tends to lie behind the end. Not when --duration cut the run short.
local function check_moments()
  local function check(what, at, line)
    if type(at) ~= "number" or at <= plan.duration then return end
    fail(format("%s comes %.12g minutes after the start, when the run has ended (duration is %.12g minutes)", what, at / MINUTE, plan.duration / MINUTE), line)
  end
  for _, t in ipairs(plan.timeline) do check(t.every == 0 and "at()" or "every_so_often()", t.at, t.line) end
  for _, a in ipairs(plan.apps) do check(format("app \"%s\": from", a.name), a.from, a.line) end
  for _, p in ipairs(plan.phases) do check(format("phase \"%s\"", p.name), p.from, p.line) end
  for _, e in ipairs(plan.expectations) do
    check(format("expect \"%s\": from", e.id), e.source.from, e.line)
    check(format("expect \"%s\": by", e.id), e.source.by, e.line)
  end
end

function plan.finish()
  for _, b in ipairs(begun) do
    if not b.done then fail(format("%s is not complete; write %s %s", b.where, b.where, b.missing), b.line) end
  end
  if not plan.name then fail("no scenario \"name\" { ... } in this file", 1) end
  if #plan.cohorts == 0 then fail("no cohort \"name\" { ... } in this file", plan.line) end
  for _, name in ipairs(keys_of(overrides)) do
    if not parameter_by_name[name] and not (name == "fleet" and plan.fleet_wanted > 0) then
      host.fail(0, format("--set %s: the scenario has no such parameter%s", name, #plan.parameters == 0 and "; it declares none"
        or did_you_mean(name, keys_of(parameter_by_name))))
    end
  end
  if plan.duration_wanted == 0 then check_moments() end
  if plan.command_line and #keys_of(plan.commands_named) > 1 then
    fail(format("commands are measured together, and the apps send %s; write commands()", concat(keys_of(plan.commands_named), ", ")), plan.command_line)
  end
  local ids = {}
  for _, e in ipairs(plan.expectations) do
    ids[e.id] = true
    if not rawget(e, "comparison") then fail(format("expect \"%s\" has no bound; end it with :below(...), :at_least(...) or :equals(...)", e.id), e.line) end
    e.source.line = e.line
    if e.temporal ~= "end" and e.source.kind ~= "counter" then
      fail(format("expect \"%s\": eventually() and always() look at a series over time: broker():connected() and the like", e.id), e.line)
    end
  end
  for _, p in ipairs(plan.parameters) do
    for _, id in ipairs(p.breaks or {}) do
      if not ids[id] then
        fail(format("%s: breaks names '%s', which is no expectation%s", p.name, id, next(ids) and did_you_mean(id, keys_of(ids)) or ""), p.line)
      end
    end
  end
end

-- For identities.lua, remote.lua and the others, which are the same language in other files.
return { fail = fail, quote = quote, keys_of = keys_of, did_you_mean = did_you_mean, known_fields = known_fields, in_file = in_file,
         want_table = want_table, want_marked = want_marked, want_distribution = want_distribution, number_in = number_in, share = share,
         whole = whole, text_of = text_of, name_of = name_of, boolean = boolean, one_of = one_of, duration = duration, moment = moment, time_text = time_text, time_of_day = time_of_day,
         begin = begin, ended = ended, marked = marked,
         cohort_index = cohort_index, region_index = region_index, shares = shares, action = action, source = source, switch = switch, series = series, metric_step = metric_step }
