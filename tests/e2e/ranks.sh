#!/usr/bin/env bash
# One run by several processes: digest, verdicts and everything measured are those of one process, whatever their number and the engine's
# window; and what goes wrong is one line and the right exit code, not one line a process.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_virtual.sh"

commute=("$scenarios/commute-peak.lua" --fleet 600 --duration 8h)
talking_scenario "$work/talk.lua"
deciding_scenario "$work/decide.lua"

# ---- the same result ---------------------------------------------------------------------------------------------------------
run_any day "${commute[@]}"
run_any talk "$work/talk.lua"
run_any decide "$work/decide.lua"
[ "$(json "$work/talk/result.json" it.commands.delivered)" -gt 100 ] || fail "the vehicles of talk hardly speak"
json "$work/talk/result.json" it.notes | grep -q ' event 50 is ' || fail "on_event has no count of the whole fleet"
differ "$(digest_in day)" "$(digest_in talk)" "digests of two scenarios"

# More processes than cores are slow: each number of them and each window at least once, for both ways of running.
while read -r ranks window; do
    run_any "day-$ranks" "${commute[@]}" -j "$ranks" --window "$window"
    same_as "day-$ranks" day "$ranks processes, window of $window µs"
    run_any "talk-$ranks" "$work/talk.lua" -j "$ranks" --window "$window"
    same_as "talk-$ranks" talk "vehicles that speak, $ranks processes, window of $window µs"
done <<'END'
2 1024
2 2048
3 4096
5 8192
END
for window in 1024 2048 4096 8192; do
    run_any "day-$window" "${commute[@]}" --window "$window"
    same_as "day-$window" day "window of $window µs"
    run_any "talk-$window" "$work/talk.lua" --window "$window"
    same_as "talk-$window" talk "vehicles that speak, window of $window µs"
done
run_any decide-2 "$work/decide.lua" -j 2
same_as decide-2 decide "timeline that decides by what it did, 2 processes"
run_any decide-3 "$work/decide.lua" -j 3 --window 2048
same_as decide-3 decide "timeline that decides by what it did, 3 processes"
expect_run_directory "$work/day-3"
equal "$(sqlite3 "$work/day-3/run.sqlite" 'select * from partition order by number' | cksum)" \
    "$(sqlite3 "$work/day/run.sqlite" 'select * from partition order by number' | cksum)" "digests of the partitions"
equal "$(sqlite3 "$work/day-3/run.sqlite" 'select * from ledger order by vehicle' | cksum)" \
    "$(sqlite3 "$work/day/run.sqlite" 'select * from ledger order by vehicle' | cksum)" "ledger of every vehicle"
json "$work/day-3/result.json" it.notes | grep -q '^3 ranks' || fail "the report does not say how many processes it took"
ok "one digest and one set of measures for 1, 2, 3 and 5 processes and windows of 1 to 8 ms"

# More processes than partitions: some have nothing to do.
run_any few "${commute[@]}" --partitions 2
run_any few-3 "${commute[@]}" --partitions 2 -j 3
same_as few-3 few "3 processes for 2 partitions"
ok "more processes than partitions"

# By mpirun itself, as on a cluster; it may not be root's without being told.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
code=0
timeout 120 mpirun --oversubscribe --mca btl self,vader -n 2 "$convoy" run "${commute[@]}" --out "$work/mpirun" \
    >"$work/out" 2>"$work/out.err" </dev/null || code=$?
equal "$code" "$(json "$work/day/result.json" it.exit_code)" "exit code under mpirun"
same_as mpirun day "mpirun -n 2"
equal "$(grep -c '^commute-peak' "$work/out")" 1 "heads of the run under mpirun"
code=0
timeout 60 mpirun --oversubscribe --mca btl self,vader -n 3 "$convoy" run "$scenarios/smoke.lua" --bogus >"$work/out" 2>&1 </dev/null || code=$?
equal "$code" 2 "exit code of a wrong option under mpirun"
equal "$(grep -c "unknown option '--bogus'" "$work/out")" 1 "lines about a wrong option under mpirun"
ok "mpirun -n 2 convoy run"

# ---- Ctrl-C ------------------------------------------------------------------------------------------------------------------
# A background job of a script ignores SIGINT; env gives it its usual meaning back.
start interrupted env --default-signal=INT "$convoy" run "$scenarios/commute-peak.lua" --fleet 60000 -j 2 --out "$work/interrupted"
pid=$started
sleep 3
kill -INT "$pid"
code=0
wait "$pid" || code=$?
equal "$code" 130 "exit code after Ctrl-C"
equal "$(cat "$work/interrupted.err")" "" "standard error after Ctrl-C"
expect_run_directory "$work/interrupted"
equal "$(json "$work/interrupted/result.json" it.verdict)" interrupted "verdict after Ctrl-C"
equal "$(json "$work/interrupted/result.json" it.digest)" null "digest after Ctrl-C"
simulated=$(json "$work/interrupted/result.json" 'Math.round(it.simulated_s)')
[ "$simulated" -gt 0 ] && [ "$simulated" -lt 86400 ] || fail "interrupted after $simulated simulated seconds"
ok "Ctrl-C with two processes, $simulated s into the day"

# ---- what goes wrong ---------------------------------------------------------------------------------------------------------
cd "$work"
bad() {
    local code=$1 pattern=$2
    shift 2
    expect_exit "$code" timeout 60 "$@" </dev/null
    expect_one_line "$pattern"
}
smoke=$scenarios/smoke.lua
bad 2 "missing.lua: cannot be read" "$convoy" run missing.lua -j 2
bad 2 "unknown option '--bogus'" "$convoy" run "$smoke" -j 2 --bogus
bad 2 "bogus" "$convoy" run "$smoke" -j 2 --set bogus=1
: >file
bad 3 "cannot make the run directory file/run: Not a directory" "$convoy" run "$smoke" -j 2 --out file/run
bad 3 "needs about .* of memory in each of 2 processes" "$convoy" run "$smoke" --fleet 90000 -j 2 --memory 30M --out small
[ ! -e small ] || fail "a run that never began left a directory"
sed '$a at("08:00:30", function() local x = nil; x.y = 1 end)' "$smoke" >late.lua
bad 2 "late.lua:$(wc -l <late.lua): attempt to index" "$convoy" run late.lua --fleet 50 -j 2 --out late
expect_run_directory late
mkdir bin
ln -s "$(command -v env)" bin/
bad 3 "mpirun: apt-get install openmpi-bin" env PATH="$work/bin" "$convoy" run "$smoke" --fleet 50 -j 2 --out none
bad 3 "mpirun: apt-get install openmpi-bin" env PATH="$work/bin" "$convoy" run --resume "$work/day" -j 2
ok "mistakes are one line, whatever the number of processes"
