#!/usr/bin/env bash
# Real cryptography in the virtual world against its model: the same verdicts and the same fates of identities; the same digest whenever it is run and
# on however many ranks; a fault still breaks what it names; what such a run cannot do is one line.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_virtual.sh"

fleet=240

# What became of everybody. How often somebody knocked who was not let in depends on where he was refused, in the handshake or behind it; so do bytes.
fates='JSON.stringify([
    it.expectations.map((e) => [e.id, e.verdict]),
    Object.entries(it.counters).filter(([name]) => !/^(bytes_|connect_attempts|connects_|intrusions_refused|registrations_refused|presence_events|pings)/.test(name)),
    it.registered_things, it.active_certificates])'

# play NAME SCENARIO KIND ARGUMENTS...: all expectations hold.
play() {
    local name=$1 scenario=$2 kind=$3
    shift 3
    expect_exit 0 timeout 600 "$convoy" run "$scenarios/$scenario.lua" --fleet "$fleet" --set "cryptography=$kind" --out "$work/$name" "$@"
    equal "$(cat "$work/out.err")" "" "standard error of $scenario, $kind"
}

# Claims with a key from the cloud, jobs, stolen identities; and a radio on which bytes take time.
for scenario in claim-provisioning rotation-wave clone; do
    play model "$scenario" modelled
    play real "$scenario" real
    equal "$(json "$work/real/result.json" "$fates")" "$(json "$work/model/result.json" "$fates")" "what became of everybody in $scenario"
    [ "$(json "$work/real/result.json" it.counters.bytes_down)" -gt 0 ] || fail "no bytes in $scenario"
    json "$work/real/result.json" it.notes | grep -q 'Real: .*keys and certificates' || fail "the report of $scenario does not say what was real"
    [ ! -e "$work/model/pki" ] || fail "a modelled run has made keys"
    expect_exit 0 openssl verify -CAfile "$work/real/pki/root.crt" "$work/real/pki/operational.crt" "$work/real/pki/claim.crt"
    play again "$scenario" real
    play ranks "$scenario" real -j 2
    same_as again real "$scenario, real cryptography once more"
    same_as ranks real "$scenario, real cryptography on two ranks"
    cmp -s "$work/real/pki/root.crt" "$work/again/pki/root.crt" && fail "two runs have the same root"
    rm -rf "$work/model" "$work/again" "$work/ranks"
    [ "$scenario" = clone ] || rm -rf "$work/real"
    ok "$scenario"
done
[ "$(json "$work/real/result.json" it.counters.connects_failed)" -gt 0 ] || fail "no revoked certificate was refused in the handshake"
equal "$(json "$work/real/result.json" it.counters.connects_refused)" 0 "refused behind the handshake"

# A fault: what the clone is cut off for is forgotten.
expect_exit 1 "$convoy" run "$scenarios/clone.lua" --fleet "$fleet" --set cryptography=real --set fault.forget_cut=on --out "$work/fault"
equal "$(json "$work/fault/result.json" 'it.expectations.filter((e) => e.verdict === "fail").map((e) => e.id).sort().join(" ")')" \
    "no-clone-left no-flaw others-stay" "broken by forget_cut"
ok "a fault"

# A hierarchy of somebody's own is used; one that cannot be is no reason to make another.
cp -r "$work/real/pki" "$work/own"
play own clone real --pki "$work/own"
[ ! -e "$work/own/pki" ] || fail "a hierarchy was made though one was given"
same_as own real "with a hierarchy of one's own"
echo nonsense >"$work/own/root.crt"
expect_exit 3 "$convoy" run "$scenarios/clone.lua" --fleet "$fleet" --set cryptography=real --pki "$work/own" --out "$work/spoilt"
grep -q '^convoy: certificates: .*/own/root' "$work/out.err" || fail "$(cat "$work/out.err")"
ok "hierarchies"

expect_exit 2 "$convoy" run "$scenarios/clone.lua" --fleet "$fleet" --set cryptography=real --checkpoint 1m --out "$work/saved"
expect_one_line 'real cryptography cannot be saved'
[ ! -e "$work/saved" ] || fail "a refused run has left a directory"
expect_exit 2 "$convoy" replay "$work/real" --vehicle 3
expect_one_line 'real cryptography cannot be replayed'
expect_exit 2 "$convoy" run "$scenarios/clone.lua" --fleet "$fleet" --set cryptography=rsa --out "$work/saved"
expect_one_line 'cryptography'
ok "refusals"
