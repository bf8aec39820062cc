#!/usr/bin/env bash
# A live fleet over several processes and several brokers: the books must come out as those of one process. Two processes with clouds of their own, two
# clouds in one process, two processes sharing mosquitto, three processes on two listeners; and what goes wrong: a process that stops, one that is late, a broker that goes.
# Mostly waits.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

command -v mosquitto >/dev/null || PATH=$PATH:/usr/sbin
command -v mosquitto >/dev/null || fail "mosquitto is missing: install the Debian package mosquitto (./dev test does)"
command -v mpirun >/dev/null || fail "mpirun is missing: install the Debian package openmpi-bin (./dev test does)"
smoke=$scenarios/smoke.lua
fleet=40
length=24s

# held OUT: everybody was online, nothing was lost, and each vehicle's telemetry is there.
held() {
    local result=$1/result.json
    expect_run_directory "$1"
    equal "$(json "$result" it.verdict)" pass "verdict"
    equal "$(json "$result" it.fleet)" "$fleet" "vehicles"
    equal "$(json "$result" it.ledger.vehicles)" "$fleet" "vehicles that sent telemetry"
    equal "$(json "$result" it.ledger.lost)" 0 "telemetry lost"
    equal "$(json "$result" it.ledger.duplicated)" 0 "telemetry received twice"
    equal "$(json "$result" it.ledger.delivered)" "$(json "$result" it.ledger.intended)" "telemetry delivered"
    equal "$(json "$result" it.commands.lost)" 0 "commands lost"
    [ "$(json "$result" it.commands.executed)" -gt 0 ] || fail "no command was executed"
    [ "$(json "$result" it.ledger.intended)" -gt $((fleet * 3)) ] || fail "hardly any telemetry was sent"
}

run_shards() {
    local out=$1 processes=$2
    shift 2
    expect_exit 0 "$convoy" run "$smoke" --world live -j "$processes" --fleet "$fleet" --duration "$length" --lag-bound 2000 --out "$out" "$@"
    held "$out"
    equal "$(json "$out/result.json" it.notes | grep -c 'of processor time')" "$processes" "processes with figures of their own"
}

run_shards "$work/two" 2
equal "$(json "$work/two/result.json" it.registered_things)" "$fleet" "things registered in both clouds"
[ -s "$work/two/registry-1.sqlite" ] || fail "the second process has no cloud of its own"
ok "two processes, each with a cloud of its own"

# A timeline runs in both processes, each acts on its own vehicles, and the script is told of all of them.
cat >"$work/burst.lua" <<'END'
local vehicles = param("fleet", 100, "vehicles in all")
scenario "burst" { start = "2026-03-04 08:00", duration = seconds(12), seed = 1, warm_up = seconds(3) }
region "here" { latency = milliseconds(1) }
cloud { processors = 1 }
cohort "car" { count = vehicles, radio = "ideal", identity = factory { kind = "none", provisioning = "done" },
  mqtt = { version = 5, parked = { keep_alive = minutes(5) }, driving = { keep_alive = minutes(5) }, session_expiry = hours(1) },
  trips = always_parked(), power_up = within(seconds(1)), backoff = { base = milliseconds(500), cap = seconds(1) } }
at("08:00:06", function() note("asked " .. tostring(send_command { command = "horn", share = 1, timeout = seconds(5) })) end)
expect "answered" (commands():answered()):equals(vehicles)
END
expect_exit 0 "$convoy" run "$work/burst.lua" --world live -j 2 --fleet 200 --lag-bound 2000 --out "$work/burst"
equal "$(json "$work/burst/result.json" it.notes | grep -c 'asked 200')" 1 "marks of a timeline that acted on every vehicle"
equal "$(json "$work/burst/result.json" it.commands.executed)" 200 "commands executed"
ok "one timeline, two processes"

expect_exit 0 "$convoy" run "$smoke" --world live --broker embedded --broker embedded --fleet "$fleet" --duration "$length" --lag-bound 2000 --out "$work/clouds"
held "$work/clouds"
equal "$(json "$work/clouds/result.json" it.registered_things)" "$fleet" "things registered in both clouds"
[ "$(sqlite3 "$work/clouds/registry-1.sqlite" 'select count(*) from name where thing')" -eq $((fleet / 2)) ] || fail "the second cloud has not half of the fleet"
ok "two clouds beside one process"

# ---- somebody else's broker --------------------------------------------------------------------------------------------

first=$(free_port)
second=$(free_port)
cat >"$work/mosquitto.conf" <<END
user $(id -un)
per_listener_settings true
max_queued_messages 10000
listener $first 127.0.0.1
allow_anonymous true
listener $second 127.0.0.1
allow_anonymous true
END
start mosquitto mosquitto -c "$work/mosquitto.conf"
mosquitto=$started
wait_port "$first" "$mosquitto"
wait_port "$second" "$mosquitto"

run_shards "$work/shared" 2 --broker "mqtt://127.0.0.1:$first"
ok "two processes share a broker"
run_shards "$work/three" 3 --broker "mqtt://127.0.0.1:$first" --broker "mqtt://127.0.0.1:$second"
ok "three processes on two listeners"
left=$(timeout 20 mosquitto_sub -p "$first" -t 'convoy/#' -v -W 2 2>/dev/null || true)
equal "$left" "" "retained messages left on the broker"

# ---- what goes wrong ---------------------------------------------------------------------------------------------------

expect_exit 3 "$convoy" run "$smoke" --world live -j 2 --fleet 10 --duration "$length" --out "$work/nobody" --broker "mqtt://127.0.0.1:$(free_port)"
grep -q "cannot reach it" "$work/out.err" || fail "an absent broker is not told: $(cat "$work/out.err")"
[ ! -e "$work/nobody/result.json" ] || fail "a report of a run that never began"
ok "an absent broker ends all processes"

# One of the processes is told to stop, by the batch system for instance: the other follows, and what both measured is kept.
start interrupted "$convoy" run "$smoke" --world live -j 2 --fleet 10 --lag-bound 2000 --out "$work/interrupted"
interrupted=$started
sleep 9
mpirun_id=$(pgrep -P "$interrupted") || fail "no mpirun under $interrupted"
mapfile -t ranks < <(pgrep -P "$mpirun_id")
equal "${#ranks[@]}" 2 "processes under mpirun"
kill -TERM "${ranks[1]}"
code=0
wait "$interrupted" || code=$?
equal "$code" 130 "exit code after one process was stopped"
expect_run_directory "$work/interrupted"
[ "$(json "$work/interrupted/result.json" it.ledger.intended)" -gt 0 ] || fail "what was measured was not kept"
[ "$(json "$work/interrupted/result.json" "Math.floor(it.simulated_s)")" -lt 50 ] || fail "the other process ran on"
equal "$(find "$work/interrupted" -name '*.stop' | wc -l)" 0 "files left to stop others"
ok "a process that is stopped takes the others along, and what they measured is kept"

cat >"$work/steady.lua" <<'END'
local vehicles = param("fleet", 20, "vehicles in all")
scenario "steady" { start = "2026-03-04 08:00", duration = seconds(14), seed = 1, warm_up = seconds(2) }
region "here" { latency = milliseconds(1) }
cloud { processors = 1 }
cohort "car" { count = vehicles, radio = "ideal", identity = factory { kind = "none", provisioning = "done" },
  mqtt = { version = 5, parked = { keep_alive = minutes(5) }, driving = { keep_alive = minutes(5) }, session_expiry = hours(1) },
  telemetry = every(milliseconds(250)):always():size(constant(100)):qos(1),
  trips = always_parked(), power_up = within(seconds(1)), backoff = { base = milliseconds(500), cap = seconds(1) } }
expect "lost" (telemetry():lost()):equals(0)
END

# begin OUT OPTIONS...: two processes, after eight seconds; their ids are in $ranks.
begin() {
    start steady "$convoy" run "$work/steady.lua" --world live -j 2 --out "$work/$1" "${@:2}"
    steady=$started
    sleep 8
    mpirun_id=$(pgrep -P "$steady") || fail "no mpirun under $steady"
    mapfile -t ranks < <(pgrep -P "$mpirun_id")
    equal "${#ranks[@]}" 2 "processes under mpirun"
}
ended() {
    code=0
    wait "$steady" || code=$?
    equal "$code" "$1" "exit code"
}

begin late --lag-bound 500
kill -STOP "${ranks[1]}"
sleep 1.5
kill -CONT "${ranks[1]}"
ended 4
expect_run_directory "$work/late"
equal "$(json "$work/late/result.json" it.verdict)" inconclusive "verdict"
grep -q "the rig was the bottleneck" "$work/steady.err" || fail "that the rig was late is not told: $(cat "$work/steady.err")"
ok "one process that is late makes the run inconclusive"

# Clouds outlive their vehicles, however their process is told to stop.
begin terminated --lag-bound 2000
kill -TERM "$steady"
ended 130
equal "$(json "$work/terminated/result.json" it.counters.disconnects)" 0 "vehicles that lost their broker after SIGTERM"
ok "SIGTERM to all: the clouds stay until their vehicles have gone"

third=$(free_port)
printf 'user %s\nlistener %s 127.0.0.1\nallow_anonymous true\n' "$(id -un)" "$third" >"$work/other.conf"
start other mosquitto -c "$work/other.conf"
other=$started
wait_port "$third" "$other"
begin gone --lag-bound 2000 --broker "mqtt://127.0.0.1:$first" --broker "mqtt://127.0.0.1:$third"
kill -KILL "$other"
ended 0
failed=$(json "$work/gone/result.json" it.notes | sed -n 's/^process 1: \([0-9]*\) TCP connections failed$/\1/p')
[ "${failed:-0}" -gt 0 ] || fail "the process without a broker does not say so"
equal "$(json "$work/gone/result.json" it.counters.connects_failed)" "$failed" "failed connects"
ok "one of two brokers goes: the run does not hang, and says whose it was"
