#!/usr/bin/env bash
# convoy replay: one vehicle of a run lives again, exactly; its timeline agrees with the run's books; and what cannot be replayed, or is no
# longer what it was, is said.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_virtual.sh"

how_many() { grep -cE -- "$2" "$work/$1" || true; }

# ---- the books ---------------------------------------------------------------------------------------------------------------
# Acknowledgements are lost, links are cut, queues are short: every vehicle has something in its books.
cat >"$work/rough.lua" <<'END'
scenario "rough" { start = "2026-03-04 06:00", duration = hours(3), seed = 5 }
region "here" { latency = milliseconds(10) }
local lost = fault("lose", { off = 0, on = 0.05, breaks = { "once" } }, "share of acknowledgements lost")
cohort "car" {
  count = param("fleet", 64, "vehicles in all"), radio = radio("lte-cat-m1", { drops_per_hour = 6, holes_per_hour = 6, hole = seconds(60) }),
  telemetry = every(seconds(10)):always():queue(3, "drop-oldest"):lose_acknowledgements(lost), trips = always_driving(), power_up = within(minutes(5)),
}
app "companion" { users = 64, command = "unlock", rate = per_hour(2) }
at("07:00", function() if coverage_hole { share = 0.5, lasts = minutes(2) } > 20 then drop_links { share = 0.2 } end end)
expect "once"  (telemetry():duplicated():share()):below(0.01)
expect "asked" (commands():intended()):above(0)
END
run_any rough "$work/rough.lua" --set fault.lose=on --seed 6
column() { sqlite3 "$work/rough/run.sqlite" "select $1 from ledger where vehicle = $2"; }
mapfile -t vehicles < <(sqlite3 "$work/rough/run.sqlite" 'select vehicle from ledger where dropped > 0 and duplicated > 0 limit 3')
equal "${#vehicles[@]}" 3 "vehicles with dropped and duplicated telemetry"
for vehicle in "${vehicles[@]}"; do
    lived rough "$vehicle" life
    equal "$(how_many life 'agent +telemetry intended')" "$(column intended "$vehicle")" "telemetry intended by vehicle $vehicle"
    equal "$(how_many life 'agent +telemetry acknowledged')" "$(column acknowledged "$vehicle")" "telemetry acknowledged to vehicle $vehicle"
    equal "$(how_many life '> broker +PUBLISH q1 .*topic=(dt/| )')" "$(column 'delivered + duplicated' "$vehicle")" "telemetry of vehicle $vehicle that arrived"
    # What the agent gave up may have arrived before.
    [ "$(how_many life 'agent +telemetry dropped')" -ge "$(column dropped "$vehicle")" ] || fail "vehicle $vehicle dropped more than it told"
    [ "$(how_many life 'link +link ')" -gt 5 ] || fail "hardly a link in the life of vehicle $vehicle"
done
name=$(printf 'car-%06d' "$vehicle")
lived rough "$name" by_name
same_life by_name life "by number and by name"
[ "$(how_many life '(coverage|radio)')" -gt 0 ] || fail "no word of coverage"
LC_ALL=C sort -s -c -k 1,1 "$work/life" || fail "the timeline is not in order"
ok "telemetry in the timelines is that of the ledger"

# A part of it: the same lines.
lived rough "$name" part --from 0:50:00 --until 1:10:00
awk '$1 >= "06:50:00.000000" && $1 < "07:10:00.000000"' "$work/life" >"$work/cut"
[ -s "$work/cut" ] || fail "nothing happened around seven"
same_life part cut "a part of the timeline"
lived rough "$name" part --from 3000 --until 70:00
same_life part cut "seconds and minutes"

# A fleet of one: all the books are its.
run_any one "$work/rough.lua" --fleet 1 --set fault.lose=on
lived one 0 alone
total() { json "$work/one/result.json" "it.$1"; }
[ "$(total commands.executed)" -gt 10 ] || fail "hardly a command"
equal "$(how_many alone 'its user asks for a command')" "$(total commands.intended)" "commands intended"
equal "$(how_many alone 'agent +command executed')" "$(total commands.executed)" "commands executed"
equal "$(how_many alone 'agent +telemetry intended')" "$(total ledger.intended)" "telemetry intended"
equal "$(how_many alone '> broker +PINGREQ')" "$(total counters.pings)" "keep-alive pings at the broker"
equal "$(how_many alone 'agent +online')" "$(total counters.connects)" "connects"
equal "$(grep -E 'agent +command received' "$work/alone" | awk '{print $NF}' | sort -u | wc -l)" "$(total commands.delivered)" "commands delivered"
ok "commands and connects, too"

# ---- other ways to have run ----------------------------------------------------------------------------------------------------
deciding_scenario "$work/decide.lua"
run_any decide "$work/decide.lua"
run_any decide-2 "$work/decide.lua" -j 2 --window 2048
[ "$(sqlite3 "$work/decide/run.sqlite" 'select count(distinct touched) from action')" -gt 3 ] || fail "the actions decide nothing"
for vehicle in 5 212 399; do
    lived decide "$vehicle" life
    lived decide-2 "$vehicle" life-2
    same_life life-2 life "vehicle $vehicle of a run by one process and by two"
    grep -q 'script: ' "$work/life" || fail "no action touched vehicle $vehicle"
done
ok "timelines that decide by what they did, by one process and by two"

talking_scenario "$work/talk.lua"
run_any talk "$work/talk.lua"
run_any talk-2 "$work/talk.lua" -j 2
lived talk 17 life
lived talk-2 car-000017 life-2
same_life life-2 life "a vehicle of a fleet that speaks, one process and two"
grep -q 'agent .*command executed' "$work/life" || fail "nobody spoke to vehicle 17"
ok "vehicles that speak to each other"

# ---- what is no longer true ------------------------------------------------------------------------------------------------------
# changed RUN SQL: a copy of the run's database is changed, and vehicle 3 did not live what it holds.
changed() {
    rm -rf "$work/changed"
    cp -r "$work/$1" "$work/changed"
    sqlite3 "$work/changed/run.sqlite" "$2"
    expect_exit 1 timeout 60 "$convoy" replay "$work/changed" --vehicle 3
    expect_one_line "this is not what the vehicle lived in the run: partition 3 came to digest [0-9a-f]{32}, in the run to ([0-9a-f]{32}|none)"
}
changed rough "update partition set digest = '00000000000000000000000000000000' where number = 3"
changed rough "delete from partition"
changed rough "update run set value = 7 where key = 'seed'"
changed rough "update override set value = 'off'"
changed decide "delete from action"
ok "a run that is not what it was: exit 1"

# ---- what cannot be replayed -----------------------------------------------------------------------------------------------------
bad() {
    local code=$1 pattern=$2
    shift 2
    expect_exit "$code" timeout 60 "$convoy" replay "$@"
    expect_one_line "$pattern"
    equal "$(cat "$work/out")" "" "output of a replay that cannot be"
}
bad 2 "nowhere is no run directory" "$work/nowhere" --vehicle 1
mkdir "$work/empty"
bad 2 "empty is no run directory" "$work/empty" --vehicle 1
[ ! -e "$work/empty/run.sqlite" ] || fail "a database was made where there was none"
echo nothing >"$work/empty/run.sqlite"
bad 2 "empty is no run directory" "$work/empty" --vehicle 1
sqlite3 "$work/other.sqlite" 'create table x(y)'
mv "$work/other.sqlite" "$work/empty/run.sqlite"
bad 2 "empty is no run directory" "$work/empty" --vehicle 1
bad 2 "by number \(0 to 63\) or name, got '64'" "$work/rough" --vehicle 64
bad 2 "or name, got 'car-000064'" "$work/rough" --vehicle car-000064
bad 2 "or name, got '-1'" "$work/rough" --vehicle -1
bad 2 "or name, got ''" "$work/rough" --vehicle ''
bad 2 "which vehicle" "$work/rough"

# A few vehicles, so that it is set up at once, and far more days than there is time for.
code=0
timeout -s INT 5 "$convoy" run "$scenarios/commute-peak.lua" --fleet 2000 --duration 8000h --out "$work/interrupted" >"$work/out" 2>&1 || code=$?
equal "$code" 124 "exit code of timeout"
expect_run_directory "$work/interrupted"
bad 2 "interrupted cannot be replayed: it is not a completed run of the virtual world" "$work/interrupted" --vehicle 1
"$convoy" run "$scenarios/smoke.lua" --world live --fleet 2 --duration 2s --set identity=none --out "$work/live" >"$work/out" 2>&1 || true
[ -s "$work/live/run.sqlite" ] || fail "no live run: $(cat "$work/out")"
bad 2 "live cannot be replayed: it is not a completed run of the virtual world" "$work/live" --vehicle 1
ok "what cannot be replayed is one line, exit 2"
