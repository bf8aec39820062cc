#!/usr/bin/env bash
# Checks beside vehicles that work on the same broker: the vehicles' numbers are in the report; vehicles that go away make the run inconclusive.
# Mostly waits.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
expect_exit 0 "$convoy" conform embedded --only 'B-ALIAS*,B-PUB*' --under-load 20 --out "$work/run"
result=$work/run/result.json
equal "$(json "$result" it.verdict)" pass "verdict"
equal "$(json "$result" it.fleet)" 20 "fleet"
equal "$(json "$result" it.load.vehicles)" 20 "vehicles"
equal "$(json "$result" it.load.connected_at_least)" 20 "vehicles connected all the time"
equal "$(json "$result" it.load.lost)" 0 "messages lost"
equal "$(json "$result" it.load.shortcoming)" null "shortcoming"
[ "$(json "$result" it.load.publishes)" -gt 20 ] || fail "the vehicles hardly published"
equal "$(json "$work/run/load/result.json" it.world)" live "the vehicles' world"
grep -q 'vehicles: *20, at least 20 connected' "$work/out" || fail "the terminal says nothing of the vehicles"
grep -q '20, at least 20 connected' "$work/run/report.html" || fail "the report says nothing of the vehicles"
ok "checks beside 20 vehicles"

start conform "$convoy" conform embedded --only 'B-KEEP*,B-SESS*' --under-load 10 --out "$work/gone"
run=$started
wait_text '"connected":10' "$work/gone/load.jsonl" "$run"
sleep 1
vehicles=
for pid in $(cat "/proc/$run/task/$run/children"); do
    if tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q ' run .*load.lua'; then
        vehicles=$pid
    fi
done
[ -n "$vehicles" ] || fail "the vehicles' process was not found"
kill -KILL "$vehicles"
code=0
wait "$run" || code=$?
equal "$code" 4 "exit code without vehicles"
equal "$(json "$work/gone/result.json" it.verdict)" inconclusive "verdict without vehicles"
equal "$(wc -l <"$work/conform.err")" 1 "lines on standard error"
grep -q 'the load was not kept up' "$work/conform.err" || fail "the reason is not told: $(cat "$work/conform.err")"
ok "vehicles that go away"

expect_exit 2 "$convoy" conform embedded --under-load 0
expect_exit 3 "$convoy" conform "mqtt://127.0.0.1:$(free_port)" --under-load 2 --out "$work/nobody"
expect_one_line 'under-load|127.0.0.1'
ok "what cannot be"
