#!/usr/bin/env bash
# The virtual world from end to end: a scenario in, verdicts, exit code and five files out; and the promise of the digest.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# ---- one run -------------------------------------------------------------------------------------------------------------
# Enough vehicles for every expectation to be judged (fewer app users are too few for a p99 that is 99 % sure), and the hours
# that hold the first peak and the tunnel.
commute=("$convoy" run "$scenarios/commute-peak.lua" --fleet 6000 --duration 24h)
expect_exit 0 "${commute[@]}" --out "$work/day"
equal "$(cat "$work/out.err")" "" "standard error of a run that is no terminal"
grep -q 'exit 0' "$work/out" || fail "the summary does not say its exit code"
expect_run_directory "$work/day"
result=$work/day/result.json
for field in verdict exit_code command world started machine seed digest fleet simulated_s wall_s events packets scenario.hash \
    scenario.parameters expectations metrics counters ledger commands versions bytes_per_vehicle notes; do
    json "$result" "it.$field" >/dev/null
done
equal "$(json "$result" it.verdict)" pass verdict
equal "$(json "$result" it.exit_code)" 0 exit_code
equal "$(json "$result" it.fleet)" 6000 fleet
equal "$(json "$result" it.simulated_s)" 86400 "simulated seconds"
equal "$(xmllint --xpath 'count(//testcase)' "$work/day/junit.xml")" "$(json "$result" it.expectations.length)" "testcases"
equal "$(failing "$work/day/junit.xml")" "" "failing testcases"
digest=$(json "$result" it.digest)
[[ $digest =~ ^[0-9a-f]{32}$ ]] || fail "'$digest' is no digest"
grep -q "${digest:0:4}" "$work/out" || fail "the summary does not show the digest"
ok "a weekday of 6,000 vehicles holds all expectations"

# The books balance, by the report's own numbers: what was meant to be sent is delivered, dropped, still there, or lost.
equal "$(json "$result" 'it.ledger.intended - it.ledger.delivered - it.ledger.dropped - it.ledger.pending - it.ledger.lost')" 0 "telemetry ledger"
equal "$(sqlite3 "$work/day/run.sqlite" 'select count(*) from expectation')" "$(json "$result" it.expectations.length)" "rows of expectation"
ok "the telemetry ledger balances"

# ---- the digest ------------------------------------------------------------------------------------------------------------
small=("$convoy" run "$scenarios/commute-peak.lua" --fleet 500 --duration 8h)
# Exit 4: fewer app users than the confidence asks for; 1: the fault. The digest is that of the whole run all the same.
digest_of() {
    local name=$1 code=0
    shift
    "${small[@]}" "$@" --out "$work/$name" >"$work/out" 2>"$work/out.err" || code=$?
    [ "$code" -le 1 ] || [ "$code" -eq 4 ] || fail "exit code $code: ${small[*]} $*"
    json "$work/$name/result.json" it.digest
}
first=$(digest_of first)
equal "$(digest_of again)" "$first" "digest of the same seed"
differ "$(digest_of other --seed 8)" "$first" "digest of another seed"
for window in 1024 4096 16384; do
    equal "$(digest_of "window-$window" --window "$window")" "$first" "digest with a window of $window µs"
done
differ "$(digest_of faulty --set fault.lose_acknowledgements=on)" "$first" "digest with a fault"
ok "the digest follows the seed and the scenario, not the engine's window"

# Verdicts are as repeatable as the digest: everything measured is the same, but for what tells of this machine.
measured='({e: it.expectations.map((e) => [e.id, e.verdict, e.measured, e.vehicles]), m: it.metrics, c: it.counters, l: it.ledger})'
equal "$(json "$work/again/result.json" "$measured" | cksum)" "$(json "$work/first/result.json" "$measured" | cksum)" "measured twice"
ok "two runs of one seed measure the same"

expect_exit 4 "${small[@]}" --out "$work/few"
equal "$(json "$work/few/result.json" it.verdict)" inconclusive "verdict of too few samples"
ok "too few samples are inconclusive, exit 4"

# ---- the other outcomes of the command line ----------------------------------------------------------------------------------
expect_exit 0 "$convoy" check "$scenarios/commute-peak.lua"
for word in parameters fault.drop_commands expectations no-storm needs; do
    grep -q -- "$word" "$work/out" || fail "convoy check does not mention $word"
done
expect_exit 0 "$convoy" check "$scenarios/smoke.lua" --json
json "$work/out" 'it.faults.map((f) => f.name)' | grep -qx fault.drop_commands || fail "convoy check --json lists no fault.drop_commands"
(cd "$work" && "$convoy" run "$scenarios/smoke.lua" --fleet 20 --seed 5 >/dev/null)
[ -s "$work/runs/smoke-5/result.json" ] || fail "the default run directory is not runs/smoke-5"
(cd "$work" && "$convoy" run "$scenarios/smoke.lua" --fleet 20 --seed 5 >/dev/null)
[ -s "$work/runs/smoke-5-2/result.json" ] || fail "a second run did not get a directory of its own"
ok "check, and the default run directory"
