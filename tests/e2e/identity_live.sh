#!/usr/bin/env bash
# Identities over real sockets and real TLS, against our own cloud: claim provisioning, and rotations in which every vehicle loses its power. Both hold, and
# a fault of each is found. Four runs at once, shortened: they are waiting most of the time.
# Mostly waits.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

fleet=40
declare -A process

# begin NAME SCENARIO ARGUMENTS...
begin() {
    local name=$1 scenario=$2
    shift 2
    start "$name" "$convoy" run "$scenarios/$scenario.lua" --world live --fleet "$fleet" --lag-bound 2000 --out "$work/$name" "$@"
    process[$name]=$started
}

# ended NAME CODE
ended() {
    local code=0
    wait "${process[$1]}" || code=$?
    equal "$code" "$2" "exit code of $1: $(grep -E '✗|\?' "$work/$1.log" | tr '\n' ';') $(head -n 2 "$work/$1.err")"
    expect_run_directory "$work/$1"
    equal "$(json "$work/$1/result.json" it.world)" live "world of $1"
    equal "$(json "$work/$1/result.json" it.counters.protocol_errors)" 0 "protocol errors of $1"
}

verdict() { json "$work/$1/result.json" "it.expectations.find((e) => e.id === '$2').verdict"; }
failed() { json "$work/$1/result.json" "it.expectations.filter((e) => e.verdict === 'fail').map((e) => e.id).sort()" | tr '\n' ' '; }
counter() { json "$work/$1/result.json" "it.counters.$2"; }
# Vehicles by name, in a rotation with the step.
named() { json "$work/$1/result.json" "it.expectations.find((e) => e.id === '$2').vehicles.map((v) => v.name + ' ' + (v.step || ''))"; }

begin claim claim-provisioning --set within=5 --duration 15s
begin claim-fault claim-provisioning --set within=5 --duration 20s --set fault.lose_answers=0.3
begin power rotation-power-loss --duration 45s
begin power-fault rotation-power-loss --duration 45s --set fault.never_activate=0.2

# ---- claim -------------------------------------------------------------------------------------------------------------------
ended claim 0
online=$((fleet - 1)) # and a stranger
equal "$(counter claim provisioned)" "$online" "vehicles provisioned by claim"
equal "$(json "$work/claim/result.json" it.active_certificates)" "$online" "active certificates"
[ "$(json "$work/claim/result.json" 'it.metrics["provision.certificate"].count')" -ge "$online" ] || fail "certificates were not asked for"
equal "$(counter claim intrusions)" 0 "strangers let in"
ok "$online vehicles get their identity by claim, some with a key from the cloud; a stranger does not"

ended claim-fault 1
equal "$(failed claim-fault)" "all-online " "what fails when answers of the provisioning service are lost"
[ "$(counter claim-fault provisioned)" -lt "$online" ] || fail "all answers came after all"
ok "lost answers are found: $(counter claim-fault provisioned) of $online online"

# ---- power -------------------------------------------------------------------------------------------------------------------
ended power 0
equal "$(counter power rotations_succeeded)" "$fleet" "rotations"
[ "$(counter power power_cuts)" -ge "$fleet" ] || fail "power was cut $(counter power power_cuts) times only"
equal "$(json "$work/power/result.json" it.active_certificates)" "$fleet" "active certificates: one a vehicle"
ok "$fleet vehicles lose their power in a rotation, and each ends with one certificate"

ended power-fault 1
for id in all-rotated none-failed none-rolled-back; do
    equal "$(verdict power-fault "$id")" fail "verdict of $id"
done
equal "$(verdict power-fault all-online)" pass "verdict of all-online: back on the old certificate"
[ "$(counter power-fault rotations_rolled_back)" -gt 0 ] || fail "nobody rolled back"
named power-fault none-rolled-back | grep -qE '^car-[0-9]+ .*switching' || fail "who rolled back, and where, is not said: $(named power-fault none-rolled-back)"
grep -qE 'car-[0-9]+ \(.*switching at ' "$work/power-fault.log" || fail "the terminal does not say who rolled back"
ok "$(counter power-fault rotations_rolled_back) certificates that never became active: those vehicles are back on their old ones"
