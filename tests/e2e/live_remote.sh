#!/usr/bin/env bash
# Remote commands in the live world, against our own cloud and against mosquitto: doors of cars that sleep open by SMS, every command has its one end, and what a fault
# breaks is found. Calendars are shortened. Then brokers that restart, names that are gone and certificates that have expired, on real sockets.
# Mostly waits.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
command -v mosquitto >/dev/null || PATH=$PATH:/usr/sbin
command -v mosquitto >/dev/null || fail "mosquitto is missing: install the Debian package mosquitto (./dev test does)"

port=$(free_port)
cat >"$work/mosquitto.conf" <<END
user $(id -un)
listener $port 127.0.0.1
allow_anonymous true
max_queued_messages 10000
END
start mosquitto mosquitto -c "$work/mosquitto.conf"
wait_port "$port" "$started"
mosquitto=mqtt://127.0.0.1:$port

declare -A runs
# live NAME ARGUMENTS...: in the background; they wait, and hardly compute.
live() {
    local name=$1
    shift
    start "$name" "$convoy" run "$@" --world live --lag-bound 5000 --out "$work/$name"
    runs[$name]=$started
}
# ended NAME CODE
ended() {
    local code=0
    wait "${runs[$1]}" || code=$?
    [ "$code" -eq "$2" ] || { cat "$work/$1.log" "$work/$1.err" >&2; fail "$1: exit code $code instead of $2"; }
}
counter() { json "$work/$1/result.json" "it.counters['$2'] ?? 0"; }

# ---- brokers in trouble ------------------------------------------------------------------------------------------------

cat >"$work/troubles.lua" <<'END'
local vehicles = param("fleet", 20, "vehicles in all")
local forget   = param("forget", 0, "1: the broker loses its sessions")
local kind     = param("kind", "car", "of vehicles: two runs on one broker")
scenario "broker-troubles" { start = "2026-03-04 08:00", duration = seconds(26), seed = 3, warm_up = seconds(4) }
region "here" { latency = milliseconds(2) }
cloud { activation = constant(milliseconds(200)) }
cohort(kind) {
  count = vehicles, radio = "lte-cat4", trips = always_driving(), power_up = within(seconds(1)),
  mqtt = { parked = { keep_alive = seconds(20) }, driving = { keep_alive = seconds(10) }, session_expiry = hours(1) },
  telemetry = every(seconds(1)):while_driving():size(lognormal(300, 0.4)):qos(1),
  backoff = { base = milliseconds(300), cap = seconds(1) }, acknowledge_timeout = seconds(5),
}
at("08:00:05", function() broker_restart { lasts = seconds(2), lose_sessions = forget > 0 } end)
at("08:00:12", function() resolver_gone { lasts = seconds(2) } drop_links {} end)
at("08:00:19", function() server_certificate_expired { lasts = seconds(2) } drop_links {} end)
expect "cut"          (broker():connected()):eventually():at_most(0):from("08:00:04"):by("08:00:08")
expect "back"         (broker():connected()):eventually():at_least(vehicles):from("08:00:08"):by("08:00:12")
expect "at-the-end"   (broker():connected()):eventually():at_least(vehicles):from("08:00:21"):by("08:00:26")
-- What reaches a broker that has forgotten its subscribers reaches nobody until they are back.
expect "nothing-lost" (telemetry():lost()):at_most(forget * 3 * vehicles)
END

# ---- scenarios, all at the same time -----------------------------------------------------------------------------------

garage=(--fleet 100 --speedup 900 --duration 10h --set pace=8 --set first=20:30 --set "last=1 d 00:15")
tap=(--fleet 100 --speedup 480 --duration 6h --set pace=12 --set stay=80 --set first=21:30 --set "last=1 d 00:00")
live garage-own "$scenarios/unlock-in-garage.lua" "${garage[@]}"
live garage-theirs "$scenarios/unlock-in-garage.lua" "${garage[@]}" --broker "$mosquitto"
live garage-fault "$scenarios/unlock-in-garage.lua" "${garage[@]}" --set fault.lose_sms=on
live tap-own "$scenarios/shoulder-tap.lua" "${tap[@]}" -j 2
live tap-theirs "$scenarios/shoulder-tap.lua" "${tap[@]}" --broker "$mosquitto"
live tap-fault "$scenarios/shoulder-tap.lua" "${tap[@]}" --set fault.lose_answers=on
live cut-short "$scenarios/shoulder-tap.lua" "${tap[@]}" --duration 3h --set fault.lose_sms=on
live troubles-own "$work/troubles.lua"
live troubles-forgotten "$work/troubles.lua" --set forget=1
live troubles-theirs "$work/troubles.lua" --broker "$mosquitto"
live troubles-refused "$work/troubles.lua" --broker "$mosquitto" --set forget=1 --set kind=van

for name in garage-own garage-theirs tap-own tap-theirs; do
    ended "$name" 0
    equal "$(json "$work/$name/result.json" it.commands.executed_twice)" 0 "commands executed twice in $name"
    [ "$(json "$work/$name/result.json" it.commands.ended_executed)" -ge 10 ] || fail "hardly a command was executed in $name"
    [ "$(counter "$name" sms_delivered)" -ge 5 ] || fail "hardly an SMS was delivered in $name"
    [ "$(counter "$name" sleeps)" -ge 50 ] || fail "hardly a car slept in $name"
    ok "$name: every command has its end"
done
ended garage-fault 1
failing "$work/garage-fault/junit.xml" | grep -qxE "tap|most-done|each-ended" || fail "lost SMS do not show"
ended tap-fault 1
failing "$work/tap-fault/junit.xml" | grep -qx each-ended || fail "lost answers do not show in each-ended"
ended cut-short 1
[ "$(json "$work/cut-short/result.json" it.commands.unended)" -ge 1 ] || fail "no command was open when the run ended"
ok "faults are found, and a run that leaves commands open comes to its end"

ended troubles-own 0
json "$work/troubles-own/result.json" it.notes | grep -q 'certificate has expired' || fail "no certificate has expired"
json "$work/troubles-own/result.json" it.notes | grep -q 'TCP connections failed' || fail "nobody was refused while the broker restarted"
json "$work/troubles-own/result.json" it.notes | grep -q "name could not be resolved" || fail "all names were resolved"
ended troubles-forgotten 0
ok "our own broker restarts, nothing is lost; without its sessions the vehicles are back as well"
ended troubles-theirs 0
json "$work/troubles-theirs/result.json" it.notes | grep -q "acted at the vehicles' end" || fail "how the restart was acted is not noted"
ended troubles-refused 1
json "$work/troubles-refused/result.json" it.notes | grep -q 'cannot be made to lose its sessions' ||
    fail "it is not said why somebody else's broker keeps its sessions"
ok "somebody else's broker goes on, its vehicles do not see that"
