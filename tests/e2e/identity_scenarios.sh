#!/usr/bin/env bash
# The ten scenarios of identities, in the virtual world: without a fault all their expectations hold; with each fault exactly those fail that it
# names, with the vehicles, and in rotations with the step each was at.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_faults.sh"

fleet=400
ten="provisioning-wave claim-provisioning rotation-wave rotation-power-loss compromise clone owner-change tcu-swap decommission ca-expiry"
for scenario in $ten; do
    plays_identities "$scenario" || fail "$scenario has no lifecycle"
    without_faults "$scenario" "$fleet"
    [ "$(json "$work/$scenario.json" it.faults.length)" -ge 2 ] || fail "$scenario has fewer than two faults"
    with_each_fault "$scenario" "$fleet"
    # What the end state is judged by is judged in each.
    json "$work/$scenario.json" 'it.expectations.map((e) => e.id)' | grep -qx no-flaw || fail "$scenario does not look for flaws"
done
[ "$faults" -ge 20 ] || fail "only $faults faults were found"

# None is left out: what has a lifecycle is one of the ten.
for path in "$scenarios"/*.lua; do
    scenario=$(basename "$path" .lua)
    if plays_identities "$scenario"; then
        case " $ten " in *" $scenario "*) ;; *) fail "$scenario plays identities and is not tested here" ;; esac
    fi
done
