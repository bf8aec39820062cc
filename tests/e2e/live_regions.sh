#!/usr/bin/env bash
# Regions with a cloud of our own each, live: one goes and its neighbour takes its cars over, another's cars may be served nowhere else and wait; who was taken
# over is sent home over the wire. Cars change continent: the old region sends them on, and forgets them. Four runs at a time.
# Mostly waits.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

cat >"$work/outage.lua" <<'LUA'
local anywhere = param("anywhere", 0, "the resolver sends cars to any region that is up")
scenario "outage" { duration = seconds(26), warm_up = seconds(5) }
region "east"  { latency = milliseconds(2), residency = { "west" } }
region "west"  { latency = milliseconds(2), residency = { "east" } }
region "china" { latency = milliseconds(2), ca_mode = "SNI_ONLY" }
cloud { activation = constant(milliseconds(200)), processors = 2 }
resolver { by = "geolocation", ttl = seconds(1), health_check = milliseconds(500), fail_back = seconds(3),
           between = { { "east", "west", milliseconds(5) }, { "east", "china", milliseconds(40) } },
           faults = { ignore_residency = anywhere } }
cohort "car" {
  count = 40, region = { east = 0.5, west = 0.25, china = 0.25 }, radio = "ideal", trips = always_driving(), power_up = within(seconds(1)),
  mqtt = { session_expiry = hours(1) }, telemetry = every(seconds(1)):always():qos(1):queue(64),
  backoff = { base = milliseconds(300), cap = seconds(1) },
}
at(seconds(7), function() region_outage { region = "east", lasts = seconds(6) } end)
at(seconds(9), function() region_outage { region = "china", lasts = seconds(6) } end)
expect "taken"     (regions():failovers()):at_least(12)
expect "quick"     (regions():failover():p99()):below(seconds(6))
expect "refused"   (regions():refusals()):at_least(5)
expect "forbidden" (regions():residency_violations()):equals(0)
expect "home"      (regions():wrong()):equals(0)
expect "lost"      (telemetry():lost()):equals(0)
expect "online"    (broker():connected():last()):equals(40)
LUA

cat >"$work/move.lua" <<'LUA'
local hoards = param("hoards", 0, "share of cars that the old region does not forget")
scenario "move" { duration = seconds(26), warm_up = seconds(5) }
region "europe"  { latency = milliseconds(2) }
region "america" { latency = milliseconds(2), residency = { "europe" }, ca_mode = "SNI_ONLY" }
cloud { activation = constant(milliseconds(200)), processors = 2 }
resolver { by = "geolocation", standard = "europe", ttl = minutes(2), between = { { "europe", "america", milliseconds(30) } } }
region_moves { copied = { "identity" }, cleaned = { "identity", "personal", "session" }, kept = { "telemetry" }, clean_after = seconds(2),
               give_up = minutes(1), faults = { keep_old = hoards } }
remote_commands { sealed = true, fallback = seconds(5) }
cohort "car" {
  count = 40, region = { europe = 0.7, america = 0.3 }, radio = "ideal", trips = always_driving(), power_up = within(seconds(1)),
  mqtt = { session_expiry = hours(1) }, telemetry = every(seconds(1)):always():qos(1),
  backoff = { base = milliseconds(300), cap = seconds(1) },
}
app "companion" { users = 40, command = "unlock", rate = per_minute(4), timeout = seconds(8), from = seconds(5), to = seconds(14) }
at(seconds(6), function()
  move_region { region = "europe", to = "america", share = 0.4, within = seconds(4) }
  travel { region = "america", to = "europe", share = 0.4, within = seconds(4) }
end)
expect "moved"     (regions():moves()):at_least(5)
expect "service"   (regions():move_time():p99()):below(seconds(8))
expect "sent on"   (broker():refused()):at_least(5)
expect "left"      (regions():leftovers()):equals(0)
expect "forbidden" (regions():residency_violations()):equals(0)
expect "place"     (regions():wrong()):equals(0)
expect "lost"      (telemetry():lost()):equals(0)
expect "once"      (commands():executed_twice()):equals(0)
expect "right"     (commands():misreported()):equals(0)
expect "presence"  (presence():wrong()):equals(0)
expect "online"    (broker():connected():last()):equals(40)
LUA

# run NAME FILE ARGUMENTS: in the background
run() {
    local name=$1 file=$2
    shift 2
    (
        code=0
        "$convoy" run "$work/$file" --world live --lag-bound 2000 --out "$work/$name" "$@" >"$work/$name.out" 2>"$work/$name.err" || code=$?
        echo "$code" >"$work/$name.code"
    ) &
}
failed() {
    json "$work/$1/result.json" "it.expectations.filter((e) => e.verdict !== 'pass').map((e) => e.id).join(' ')"
}
ended() {
    equal "$(cat "$work/$1.code")" "$2" "the exit code of $1"
    equal "$(failed "$1")" "$3" "what does not hold of $1"
}

run outage outage.lua
run anywhere outage.lua --set anywhere=1
run move move.lua
run hoards move.lua --set hoards=1
wait

ended outage 0 ""
for registry in "" -1 -2; do
    [ -f "$work/outage/registry$registry.sqlite" ] || fail "a region has no registry of its own"
done
ok "a region goes"
ended anywhere 1 "refused forbidden"
ok "its cloud says where data lies that may not"
ended move 0 ""
[ "$(json "$work/move/result.json" it.commands.intended)" -ge 10 ] || fail "too few commands were asked"
ok "cars change continent"
ended hoards 1 "left"
ok "the old cloud says whom it has not forgotten"

expect_exit 2 "$convoy" run "$work/outage.lua" --world live --broker mqtt://127.0.0.1:9 --out "$work/theirs"
grep -q "clouds of our own only" "$work/out.err" || fail "somebody else's broker is not refused"
ok "refused"
