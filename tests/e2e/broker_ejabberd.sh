#!/usr/bin/env bash
# A small fleet in the live world against somebody else's broker: ejabberd's MQTT 5 listener, run as the current user in a scratch directory.
# Mostly waits.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

port=$(free_port)
start_ejabberd "$port"
ejabberd=$started

# It answers MQTT 5 as mosquitto's client sees it, so that a failure below is ours.
mosquitto_pub -V 5 -h 127.0.0.1 -p "$port" -u probe -P probe -i probe -q 1 -t probe/topic -m hello ||
    fail "ejabberd does not take an MQTT 5 publish"
ok "ejabberd listens on port $port"

expect_exit 0 timeout 300 "$convoy" run "$scenarios/smoke.lua" --world live --broker "mqtt://127.0.0.1:$port" --user fleet --password fleet \
    --fleet 30 --duration 40s --lag-bound 2000 --out "$work/run"
expect_run_directory "$work/run"
result=$work/run/result.json
equal "$(json "$result" it.verdict)" pass "verdict"
equal "$(json "$result" it.world)" live "world"
equal "$(json "$result" it.fleet)" 30 "fleet"
[ "$(json "$result" it.ledger.delivered)" -gt 100 ] || fail "hardly any telemetry was delivered"
equal "$(json "$result" it.ledger.lost)" 0 "telemetry lost"
equal "$(json "$result" 'it.expectations.find((e) => e.id === "all-online").verdict')" pass "all-online"
# What this broker cannot do is said, not skipped in silence.
equal "$(json "$result" 'it.expectations.find((e) => e.id === "provisioned").verdict')" "not available" "provisioned"
ok "30 vehicles on ejabberd"

stop "$ejabberd"
running "$ejabberd" && fail "ejabberd did not end"
ok "ejabberd ended"
