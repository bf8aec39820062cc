#!/usr/bin/env bash
# Every fault of every shipped scenario that is not about identities (identity_scenarios.sh has those), in the virtual world: off, all
# expectations hold; on, exit 1, and those that the fault names are the ones that fail.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_faults.sh"

# Enough vehicles for each scenario's expectations to be judged.
fleet_of() {
    case $1 in
    commute-peak) echo 5000 ;;
    cellular-drops) echo 2000 ;;
    *) echo 200 ;;
    esac
}

for path in "$scenarios"/*.lua; do
    scenario=$(basename "$path" .lua)
    plays_identities "$scenario" && continue
    case $scenario in unlock-in-garage | shoulder-tap | ignition-off-keepalive | reconnect-storm | exactly-once | tunnel-drops | edrx-fleet | both-worlds) continue ;; esac # remote_scenarios.sh
    case $scenario in telemetry-processors | mixed-versions) continue ;; esac # message_scenarios.sh
    case $scenario in region-move | region-outage | broker-migration) continue ;; esac # region_scenarios.sh
    [ "$scenario" = shadow-convergence ] && continue # shadow_scenario.sh
    without_faults "$scenario" "$(fleet_of "$scenario")"
    with_each_fault "$scenario" "$(fleet_of "$scenario")"
done
[ "$faults" -ge 6 ] || fail "only $faults faults were found"

# A number between off and on is taken as it is.
expect_exit 1 "$convoy" run "$scenarios/smoke.lua" --fleet 200 --set fault.drop_commands=0.5 --out "$work/half"
lost=$(json "$work/half/result.json" 'it.commands.lost / it.commands.intended')
awk -v share="$lost" 'BEGIN { exit !(share > 0.25 && share < 0.75) }' || fail "a fault of 0.5 lost $lost of the commands"
ok "a fault by number"
