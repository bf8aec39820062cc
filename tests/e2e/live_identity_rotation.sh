#!/bin/bash
# Identities on our own cloud, live: sixty vehicles are given new certificates, in one process and in two; each replaced certificate is shown to the door once more; a second
# run with the same PKI makes no identities; a fault and Ctrl-C end as they should.
# Mostly waits.
set -eu
. "$(dirname "$0")/lib.sh"

fleet=60
counter() { json "$1/result.json" "it.counters['$2'] ?? 0"; }
notes() { json "$1/result.json" it.notes; }
rotate=("$convoy" run "$scenarios/rotation-wave.lua" --world live --fleet "$fleet" --set share=1 --speedup 180 --lag-bound 2000)
begin() { # NAME OPTIONS...
    local name=$1
    shift
    mkdir -p "$work/$name"
    "${rotate[@]}" --out "$work/$name" "$@" >"$work/$name.log" 2>"$work/$name.err" </dev/null &
    declare -g "$name=$!"
    e2e_pids+=("$!")
}
ended() { # NAME CODE
    local code=0
    wait "${!1}" || code=$?
    equal "$code" "$2" "exit code of $1"
}

begin alone --pki "$work/pki"
begin two -j 2
begin forgotten --set fault.forget_deactivation=on
begin cut
for _ in $(seq 100); do # in the middle of it: the cloud is there, and some vehicles are
    [ -e "$work/cut/registry.sqlite" ] && break
    sleep 0.1
done
sleep 4
kill -INT "$cut"

ended alone 0
equal "$(counter "$work/alone" rotations_succeeded)" $fleet "rotations that succeeded"
notes "$work/alone" | grep -q "^$fleet of $fleet replaced certificates were shown again: $fleet refused, 0 let in, 0 without an answer" || fail "the door was not asked: $(notes "$work/alone")"
notes "$work/alone" | grep -q "^$fleet identities from the factory: $fleet made now" || fail "the factory's identities are not noted"
equal "$(json "$work/alone/result.json" it.active_certificates)" $fleet "certificates ACTIVE at the end"
ok "one process: every vehicle has one certificate, and the old ones open nothing"

ended two 0
equal "$(counter "$work/two" rotations_succeeded)" $fleet "rotations that succeeded in two processes"
equal "$(notes "$work/two" | grep -c 'replaced certificates were shown again: .* 0 let in, 0 without an answer')" 2 "processes that asked their door"
ok "two processes, two clouds"

ended forgotten 1
equal "$(failing "$work/forgotten/junit.xml" | tr '\n' ' ')" "no-flaw one-certificate " "what a forgotten deactivation breaks"
open=$(counter "$work/forgotten" flaw.old_accepted)
[ "$open" -gt 0 ] || fail "no old certificate was let in"
json "$work/forgotten/result.json" "it.expectations.find((e) => e.id === 'no-flaw').detail" | grep -q 'old accepted' || fail "it is not said that old certificates were accepted"
ok "forgotten deactivations: found in the registry and at the door"

ended cut 130
expect_run_directory "$work/cut"
ok "Ctrl-C: a report of what was measured"

expect_exit 1 "${rotate[@]}" --out "$work/again" --pki "$work/pki" --duration 10m
notes "$work/again" | grep -q "^$fleet identities from the factory: 0 made now" || fail "identities were made again"
ok "the second run with the same PKI makes none"
