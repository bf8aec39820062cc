#!/usr/bin/env bash
# Every fault of every shipped scenario, in the virtual world: off, all expectations hold; on, exit 1, and those that the fault names are
# among the failing testcases. The list comes from `convoy check --json`, so a new fault is tested by being declared.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# Enough vehicles for each scenario's expectations to be judged.
fleet_of() {
    case $1 in
    commute-peak) echo 5000 ;;
    cellular-drops) echo 2000 ;;
    *) echo 200 ;;
    esac
}

faults=0
for path in "$scenarios"/*.lua; do
    scenario=$(basename "$path" .lua)
    fleet=$(fleet_of "$scenario")
    expect_exit 0 "$convoy" check "$path" --json
    cp "$work/out" "$work/$scenario.json"
    [ "$(json "$work/$scenario.json" it.expectations.length)" -ge 3 ] || fail "$scenario has fewer than three expectations"

    expect_exit 0 "$convoy" run "$path" --fleet "$fleet" --out "$work/$scenario"
    equal "$(failing "$work/$scenario/junit.xml")" "" "failing testcases of $scenario without a fault"
    ok "$scenario holds with $fleet vehicles"

    for fault in $(json "$work/$scenario.json" 'it.faults.map((f) => f.name)'); do
        directory=$work/$scenario-$fault
        expect_exit 1 "$convoy" run "$path" --fleet "$fleet" --set "$fault=on" --out "$directory"
        failing "$directory/junit.xml" >"$work/failing"
        breaks=$(json "$work/$scenario.json" "it.faults.find((f) => f.name === '$fault').breaks")
        [ -n "$breaks" ] || fail "$fault of $scenario names no expectation"
        for broken in $breaks; do
            grep -qx -- "$broken" "$work/failing" || fail "$fault of $scenario breaks $broken by its word, but failing are: $(tr '\n' ' ' <"$work/failing")"
            equal "$(json "$directory/result.json" "it.expectations.find((e) => e.id === '$broken').verdict")" fail "verdict of $broken"
        done
        equal "$(json "$directory/result.json" it.verdict)" fail "verdict of $scenario with $fault"
        # The fault is on record, so that nobody takes such a run for a real one.
        equal "$(json "$directory/result.json" "it.scenario.parameters.find((p) => p.name === '$fault').overridden")" true "$fault on record"
        # Who suffered: vehicles by name wherever vehicles are what is counted (a rate of the broker's has none).
        for broken in $breaks; do
            case $broken in no-storm | all-online) continue ;; esac
            vehicles=$(json "$directory/result.json" "it.expectations.find((e) => e.id === '$broken').vehicles.map((v) => v.name)")
            [ -n "$vehicles" ] || fail "$broken failed and names no vehicle"
            grep -qF -- "$(head -n 1 <<<"$vehicles")" "$directory/junit.xml" || fail "junit.xml does not name the vehicles of $broken"
        done
        ok "$scenario $fault: $(tr '\n' ' ' <"$work/failing")"
        faults=$((faults + 1))
    done
done
[ "$faults" -ge 6 ] || fail "only $faults faults were found"

# A number between off and on is taken as it is.
expect_exit 1 "$convoy" run "$scenarios/smoke.lua" --fleet 200 --set fault.drop_commands=0.5 --out "$work/half"
lost=$(json "$work/half/result.json" 'it.commands.lost / it.commands.intended')
awk -v share="$lost" 'BEGIN { exit !(share > 0.25 && share < 0.75) }' || fail "a fault of 0.5 lost $lost of the commands"
ok "a fault by number"
