#!/usr/bin/env bash
# Rotations and swaps come to the same, however a run is carried out: by one process or several, in other windows of the engine, saved in the
# middle of a rotation and gone on with; and the life of a vehicle that rotated is lived again exactly.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_virtual.sh"

counter() { json "$work/$1/result.json" "it.counters.$2"; }

# ---- ranks and windows -------------------------------------------------------------------------------------------------------
for scenario in rotation-wave tcu-swap; do
    path=$scenarios/$scenario.lua
    run_any "$scenario" "$path" --fleet 600
    equal "$(json "$work/$scenario/result.json" it.exit_code)" 0 "exit code of $scenario"
    [ "$(counter "$scenario" rotations)" -gt 0 ] || fail "nothing was rotated in $scenario"
    while read -r ranks window; do
        run_any "$scenario-$ranks-$window" "$path" --fleet 600 -j "$ranks" --window "$window"
        same_as "$scenario-$ranks-$window" "$scenario" "$scenario, $ranks processes, window of $window µs"
    done <<'END2'
1 1024
1 4096
2 8192
2 1024
3 8192
3 4096
END2
    # Luck is another's with another seed: the digest tells.
    run_any "$scenario-seed" "$path" --fleet 600 --seed 99
    differ "$(digest_in "$scenario-seed")" "$(digest_in "$scenario")" "digests of two seeds of $scenario"
    ok "$scenario: one digest and one set of measures for 1, 2 and 3 processes and three windows"
done

# ---- saved in the middle of a rotation ---------------------------------------------------------------------------------------
# saved SCENARIO FLEET LENGTH MOMENT: the only checkpoint of the run is at the moment, when some have their new identity and some do not.
saved() {
    local path=$scenarios/$1.lua under_way
    run_any "$1-until" "$path" --fleet "$2" --duration "$4"
    under_way=$(json "$work/$1-until/result.json" 'it.counters.rotations - it.counters.rotations_succeeded - it.counters.rotations_failed')
    [ "$under_way" -gt 0 ] || fail "no rotation of $1 is under way at $4"
    [ "$(counter "$1-until" certificates_issued)" -gt 0 ] || fail "no certificate of $1 has been issued at $4"
    reference=$1-whole
    run_any "$reference" "$path" --fleet "$2" --duration "$3"
    interrupted "$1-one" "$path" --fleet "$2" --duration "$3" --checkpoint "$4"
    resumed "$1-one"
    interrupted "$1-two" "$path" --fleet "$2" --duration "$3" --checkpoint "$4" -j 2
    resumed "$1-two" -j 2
    ok "$1: saved with $under_way rotations under way and gone on with, by one process and by two"
}
saved rotation-wave 60000 40m 1200.6s
saved tcu-swap 20000 100s 50.19s

# ---- lived again -------------------------------------------------------------------------------------------------------------
has() { grep -qE -- "$2" "$work/$1" || fail "the life of $3 has no /$2/"; }

vehicle=$(json "$work/rotation-wave/result.json" 'it.expectations.find((e) => e.id === "switch").vehicles[0].name')
lived rotation-wave "$vehicle" life
lived rotation-wave-2-1024 "$vehicle" life-2
same_life life-2 life "$vehicle of a run by one process and by two"
for line in 'operator: rotate' 'jobs/start-next/accepted' 'create-from-csr/json/accepted' 'provision/json/accepted' 'certificate/deactivate' \
    'jobs/[^ ]*/update/accepted' 'rotation ended'; do
    has life "$line" "$vehicle"
done
first=$(json "$work/tcu-swap/result.json" 'it.scenario.cohorts.find((c) => c.name === "rotating").first')
for vehicle in "$first" "$((first + 3))"; do
    lived tcu-swap "$vehicle" life
    lived tcu-swap-3-4096 "$vehicle" life-2
    same_life life-2 life "vehicle $vehicle of a run by one process and by three"
    has life 'operator: rotate' "vehicle $vehicle"
    has life 'power is back' "vehicle $vehicle"
done
# The power goes in the middle of a rotation, at another store write of each vehicle.
run_any power "$scenarios/rotation-power-loss.lua" --fleet 200
for vehicle in 0 7 19 112; do
    lived power "$vehicle" life
    has life 'power lost' "vehicle $vehicle"
    has life 'rotation ended' "vehicle $vehicle"
done
ok "vehicles that rotated, were swapped meanwhile or lost their power are lived again exactly"
