-- The scenario language, continued: what a scenario says and asserts about identities. Runs after prelude.lua, with what that one lends.
local host, env, plan, kit = ...

local floor = math.floor
local format = string.format
local fail, quote, did_you_mean, known_fields, in_file = kit.fail, kit.quote, kit.did_you_mean, kit.known_fields, kit.in_file
local want_table, want_marked, want_distribution, boolean = kit.want_table, kit.want_marked, kit.want_distribution, kit.boolean
local number_in, whole, share, text_of, name_of, one_of = kit.number_in, kit.whole, kit.share, kit.text_of, kit.name_of, kit.one_of
local duration, keys_of, action = kit.duration, kit.keys_of, kit.action
local source, switch, series, metric_step = kit.source, kit.switch, kit.series, kit.metric_step
local SECOND, MINUTE, DAY = 1e6, 60e6, 86400e6

local NEEDED = "lifecycle { ... }"

-- What makes no sense without lifecycle { }; it may come later in the file.
local wanted_by
local function needs_lifecycle(what)
  if not plan.lifecycle.on and not wanted_by then wanted_by = { what = what, line = host.here() } end
end

local function time_distribution(where, value, example)
  local d = want_distribution(where, value)
  local largest = d.kind == "uniform" and d.b or d.a
  if largest > 0 and largest < 1000 then fail(format("%s: %s is in microseconds; write %s", where, d.text, example)) end
  return d
end

-- ---- lifecycle -----------------------------------------------------------------------------------------------------

plan.lifecycle = {
  on = false, policy = "vehicle", claim_policy = "claim", rollout = 0, timeout = 0, retries = 0, abort_share = 0, abort_minimum = 0,
  expiring_within = 30 * DAY, cut = env.uniform(0, 180 * SECOND), bound = 4 * MINUTE, takeovers = 0, within = 0, decision = "revoke",
  ecus = 0, scan_for_vins = true, require_device = true, probe_old = true, faults = {} }

local fault_names = { "forget_deactivation", "never_activate", "forget_cut", "forget_revocation", "keep_data", "lose_answers", "vin_in_clear",
                      "share_identity" }
for _, name in ipairs(fault_names) do plan.lifecycle.faults[name] = 0 end

local function rotation_part(l, spec)
  local where = "lifecycle: rotation"
  want_table(where, spec)
  known_fields(where, spec, { "rollout", "timeout", "retries", "abort", "expiring_within" })
  if spec.rollout ~= nil then
    local a_minute = want_marked(where .. ".rollout", spec.rollout, "rate", "per_minute(100) or per_hour(...)").per_day / 1440
    if a_minute < 1 then fail(format("%s.rollout must be at least per_minute(1), got per_minute(%g)", where, a_minute)) end
    l.rollout = floor(a_minute + 0.5)
  end
  if spec.timeout ~= nil then l.timeout = duration(where .. ".timeout", spec.timeout, SECOND) end
  if spec.retries ~= nil then l.retries = whole(where .. ".retries", spec.retries, 0, 10) end
  if spec.expiring_within ~= nil then l.expiring_within = duration(where .. ".expiring_within", spec.expiring_within, SECOND) end
  if spec.abort ~= nil then
    want_table(where .. ".abort", spec.abort)
    known_fields(where .. ".abort", spec.abort, { "share", "minimum" })
    l.abort_share = share(where .. ".abort.share", spec.abort.share)
    if l.abort_share == 0 then fail(where .. ".abort.share must be above 0; leave abort out for none") end
    l.abort_minimum = whole(where .. ".abort.minimum", spec.abort.minimum or 1, 1, 1e9)
  end
end

local function revocation_part(l, spec)
  local where = "lifecycle: revocation"
  want_table(where, spec)
  known_fields(where, spec, { "cut", "bound" })
  if spec.cut ~= nil then l.cut = time_distribution(where .. ".cut", spec.cut, "uniform(seconds(0), seconds(180))") end
  if spec.bound ~= nil then l.bound = duration(where .. ".bound", spec.bound) end
  local longest = l.cut.kind == "uniform" and l.cut.b or l.cut.kind == "constant" and l.cut.a or 0
  if longest > l.bound then
    fail(format("%s: a cut may take %s, longer than its bound of %s", where, kit.time_text(longest), kit.time_text(l.bound)))
  end
end

local function clones_part(l, spec)
  local where = "lifecycle: clones"
  want_table(where, spec)
  known_fields(where, spec, { "takeovers", "within", "decision" })
  l.takeovers = whole(where .. ".takeovers", spec.takeovers or 4, 2, 1000)
  l.within = duration(where .. ".within", spec.within or 2 * MINUTE, SECOND)
  l.decision = one_of(where .. ".decision", spec.decision or "revoke", { "revoke", "quarantine", "report" })
end

function env.lifecycle(spec)
  in_file("lifecycle")
  want_table("lifecycle", spec)
  local l = plan.lifecycle
  if l.on then fail("lifecycle is declared twice") end
  known_fields("lifecycle", spec, { "ecus", "policy", "claim_policy", "rotation", "revocation", "clones", "scan_for_vins", "require_device",
                                    "probe_old", "faults" })
  l.on = true
  if spec.policy ~= nil then l.policy = one_of("lifecycle: policy", spec.policy, { "vehicle", "claim", "wide" }) end
  if spec.claim_policy ~= nil then l.claim_policy = one_of("lifecycle: claim_policy", spec.claim_policy, { "vehicle", "claim", "wide" }) end
  if spec.rotation ~= nil then rotation_part(l, spec.rotation) end
  if spec.revocation ~= nil then revocation_part(l, spec.revocation) end
  if spec.clones ~= nil then clones_part(l, spec.clones) end
  if spec.ecus ~= nil then l.ecus = whole("lifecycle: ecus", spec.ecus, 0, 8) end
  for _, name in ipairs { "scan_for_vins", "require_device", "probe_old" } do
    if spec[name] ~= nil then l[name] = boolean("lifecycle: " .. name, spec[name]) end
  end
  if spec.faults ~= nil then
    want_table("lifecycle: faults", spec.faults)
    known_fields("lifecycle: faults", spec.faults, fault_names)
    for name, value in pairs(spec.faults) do l.faults[name] = share("lifecycle: faults." .. name, value) end
  end
end

-- ---- parts of a cohort ---------------------------------------------------------------------------------------------

function env.factory(spec)
  spec = want_table("factory", spec)
  known_fields("factory", spec, { "kind", "provisioning", "cryptography", "user", "password", "server_key", "expires" })
  local f = { mark = "identity" }
  f.kind = one_of("factory: kind", spec.kind or "certificate", { "certificate", "password", "none" })
  f.provisioning = one_of("factory: provisioning", spec.provisioning or "done", { "done", "just-in-time", "claim" })
  if spec.cryptography == "real" then
    fail("factory: cryptography = \"real\": all vehicles of a run have one kind; write cloud { cryptography = \"real\" }")
  end
  one_of("factory: cryptography", spec.cryptography or "modelled", { "modelled" })
  f.user = spec.user and text_of("factory: user", spec.user, 31) or ""
  f.password = spec.password and text_of("factory: password", spec.password, 63) or ""
  if f.kind == "password" and (f.user == "" or f.password == "") then
    f.user, f.password = f.user == "" and "%" or f.user, f.password == "" and "secret" or f.password
  end
  f.server_key = boolean("factory: server_key", spec.server_key or false)
  if f.provisioning == "claim" then
    if f.kind ~= "certificate" then fail("factory: provisioning = \"claim\" is for kind = \"certificate\"") end
    needs_lifecycle("factory: provisioning = \"claim\"")
  elseif f.server_key then
    fail("factory: server_key is for provisioning = \"claim\": the vehicle makes its key otherwise")
  end
  if spec.expires ~= nil then
    f.expires = time_distribution("factory: expires", spec.expires, "uniform(days(5), days(60))")
    if f.kind ~= "certificate" or f.provisioning ~= "done" then
      fail("factory: expires is for provisioning = \"done\": other certificates live as long as cloud { certificate_lifetime } says")
    end
    needs_lifecycle("factory: expires")
  end
  return f
end

-- steals, steals_old, strangers of cohort c.
function plan.cohort_identity(where, spec, c)
  c.steals, c.steals_old = 0, boolean(where .. ": steals_old", spec.steals_old or false)
  c.strangers = boolean(where .. ": strangers", spec.strangers or false)
  if spec.steals ~= nil then
    c.steals = kit.cohort_index[spec.steals]
    if not c.steals then fail(format("%s: steals: unknown cohort %s%s", where, quote(spec.steals), did_you_mean(spec.steals, keys_of(kit.cohort_index)))) end
    local owner = plan.cohorts[c.steals]
    if owner.steals ~= 0 then fail(format("%s: steals: cohort \"%s\" has stolen its identities itself", where, owner.name)) end
    if owner.identity.kind ~= "certificate" then fail(format("%s: steals: cohort \"%s\" has no certificates", where, owner.name)) end
    if c.identity.kind ~= "certificate" or c.identity.provisioning ~= "done" or c.identity.expires then
      fail(where .. ": steals: what is stolen is there already; leave identity out")
    end
    needs_lifecycle(where .. ": steals")
  elseif c.steals_old then
    fail(where .. ": steals_old: say of whom with steals = \"...\"")
  end
  if c.strangers then
    if c.identity.kind ~= "certificate" then fail(where .. ": strangers are told by their certificates; identity has none") end
    needs_lifecycle(where .. ": strangers")
  end
end

-- ---- actions -------------------------------------------------------------------------------------------------------

local function life_action(kind, spec, extra)
  local a = action(kind, spec, extra or {})
  if not plan.lifecycle.on then fail(format("%s needs %s in the file", kind, NEEDED)) end
  return a, spec or {}
end
function env.rotate(spec)
  local a = life_action("rotate", spec)
  return host.act(a)
end
function env.audit(spec)
  if next(want_table("audit", spec or {})) ~= nil then fail("audit takes no fields: it looks at the whole cloud; write audit { }") end
  local a = life_action("audit", {})
  return host.act(a)
end
function env.revoke(spec)
  local a, spec = life_action("revoke", spec, { "reason" })
  a.option = spec.reason == nil and "keyCompromise" or text_of("revoke: reason", spec.reason, 31)
  return host.act(a)
end
function env.change_owner(spec)
  local a, spec = life_action("change_owner", spec, { "tenant" })
  a.option = name_of("change_owner: tenant", spec.tenant)
  return host.act(a)
end
function env.swap_tcu(spec)
  local a, spec = life_action("swap_tcu", spec, { "workshop" })
  a.option = one_of("swap_tcu: workshop", spec.workshop or "registered", { "registered", "unregistered", "taken out" })
  return host.act(a)
end
function env.decommission(spec)
  local a = life_action("decommission", spec)
  return host.act(a)
end
function env.release(spec)
  local a = life_action("release", spec)
  return host.act(a)
end
function env.power_cut(spec)
  local a, spec = life_action("power_cut", spec, { "lasts", "at_store_write", "after", "writes" })
  a.lasts = duration("power_cut: lasts", spec.lasts, 1000)
  if spec.at_store_write == "each" then
    if spec.after ~= nil then fail("power_cut: at_store_write = \"each\" cuts half of the vehicles before and half after the write; leave after out") end
    if spec.writes == nil then fail("power_cut: at_store_write = \"each\": say how many there are, writes = 9") end
    a.store_write, a.store_writes = -1, whole("power_cut: writes", spec.writes, 1, 1000)
    return host.act(a)
  end
  if spec.writes ~= nil then fail("power_cut: writes is for at_store_write = \"each\"") end
  if spec.at_store_write ~= nil then
    if type(spec.at_store_write) ~= "number" then
      fail(format("power_cut: at_store_write must be a number or \"each\", got %s", quote(spec.at_store_write)))
    end
    a.store_write = whole("power_cut: at_store_write", spec.at_store_write, 1, 1000)
    a.after_write = boolean("power_cut: after", spec.after or false)
  elseif spec.after ~= nil then
    fail("power_cut: after which write? at_store_write = 1")
  end
  return host.act(a)
end

-- ---- what is measured ----------------------------------------------------------------------------------------------

local function life_source(noun, ...)
  needs_lifecycle(noun)
  local kind, what, text, statistic, q, more = ...
  local s = source(kind, what, text, statistic, q, more, noun)
  s.needed = "lifecycle" -- nothing counted where nobody looks must not pass for nothing wrong
  return s
end
-- What only the cloud's own door can do or see: let in, cut off, take over, deny, hear.
local function at_the_door(s)
  s.needed = "door"
  return s
end
local function needing(feature, method)
  return function(self)
    local s = method(self)
    s.needed = feature
    return s
  end
end

function env.rotation()
  return life_source("rotation()", "metric", "rotation.total", "rotation", "quantile", 0.99, {
    notice = metric_step("rotation.notice", "rotation, job known"), key = metric_step("rotation.key", "rotation, key pair"),
    certificate = metric_step("rotation.certificate", "rotation, certificate"),
    registration = metric_step("rotation.registration", "rotation, registration"), switch = metric_step("rotation.switch", "rotation, switch"),
    deactivation = metric_step("rotation.deactivation", "rotation, deactivation"),
    overlap = metric_step("rotation.overlap", "rotation, both valid"), decided = series("rotations", "rotations decided", "total"),
    succeeded = series("rotations_succeeded", "rotations succeeded", "total"), failed = series("rotations_failed", "rotations failed", "total"),
    rolled_back = series("rotations_rolled_back", "rotations rolled back", "total") })
end
function env.revocation()
  return at_the_door(life_source("revocation()", "metric", "revocation.cut", "revocation until the cut", "quantile", 0.99, {
    cut = metric_step("revocation.cut", "revocation until the cut"),
    revoked = needing("lifecycle", series("revoked", "certificates revoked", "total")),
    cut_connections = series("connections_cut", "connections cut", "total") }))
end
function env.intrusions()
  return at_the_door(life_source("intrusions()", "counter", "intrusions", "intrusions accepted", "total", 0, {
    accepted = series("intrusions", "intrusions accepted", "total"), refused = series("intrusions_refused", "intrusions refused", "total") }))
end
function env.clones()
  return at_the_door(life_source("clones()", "metric", "clone.detection", "clone until found out", "quantile", 0.99, {
    detection = metric_step("clone.detection", "clone until found out"), detected = series("clones_detected", "clones found out", "total"),
    quarantined = series("quarantined", "vehicles quarantined", "total") }))
end
function env.swaps()
  return life_source("swaps()", "metric", "swap.total", "TCU swap", "quantile", 0.99, {
    total_time = metric_step("swap.total", "TCU swap"), done = series("swaps", "TCUs swapped", "total") })
end
function env.owners()
  return life_source("owners()", "metric", "owner.total", "change of owner", "quantile", 0.99, {
    total_time = metric_step("owner.total", "change of owner"), changed = series("owners_changed", "owners changed", "total"),
    data_crossed = series("data_crossed", "data seen across owners", "total") })
end

local flaws = { "flaw.second_certificate", "flaw.shared_identity", "flaw.still_active", "flaw.still_connected", "flaw.job_open", "flaw.history",
                "flaw.reference", "flaw.old_accepted" }
local identity_methods = {
  issued = series("certificates_issued", "certificates issued", "total"),
  decommissioned = series("decommissioned", "vehicles decommissioned", "total"),
  forbidden = series("forbidden", "denied by policy", "total"),
  vins_seen = series("vins_seen", "VINs seen in clear", "total"),
  offline_at_end = series("offline_at_end", "vehicles offline at the end", "total"),
  power_cuts = series("power_cuts", "power cuts", "total"),
  without_certificate = series("flaw.no_certificate", "vehicles without certificate", "total"),
  with_second_certificate = series("flaw.second_certificate", "vehicles with a second certificate", "total"),
  shared = series("flaw.shared_identity", "identities shared", "total"),
  still_active = series("flaw.still_active", "certificates still active", "total"),
  still_connected = series("flaw.still_connected", "vehicles still connected", "total"),
  job_open = series("flaw.job_open", "rotations still open", "total"), history = series("flaw.history", "histories with a gap", "total"),
  reference_changed = series("flaw.reference", "Reference IDs changed", "total"),
  old_accepted = series("flaw.old_accepted", "old certificates accepted", "total") }
local door_methods = { forbidden = true, vins_seen = true, still_connected = true, old_accepted = true }
for name, method in pairs(identity_methods) do
  identity_methods[name] = needing(door_methods[name] and "door" or "lifecycle", method)
end
function identity_methods.flaws(self)
  local s = identity_methods.without_certificate(self)
  s.text, s.also = "flaws of identities", flaws
  return at_the_door(s) -- some of them
end
function env.identities()
  local s = life_source("identities()", "counter", "flaw.no_certificate", "flaws of identities", "total", 0, identity_methods)
  s.also = flaws
  return at_the_door(s)
end

-- ---- after the file ------------------------------------------------------------------------------------------------

local finish = plan.finish
function plan.finish()
  finish()
  if wanted_by and not plan.lifecycle.on then fail(format("%s needs %s in the file", wanted_by.what, NEEDED), wanted_by.line) end
end
