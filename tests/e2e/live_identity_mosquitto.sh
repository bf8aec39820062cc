#!/bin/bash
# Identities on somebody else's broker: fifty vehicles are given new certificates over mosquitto and mutual TLS. What the rotation itself must do is judged, and goes wrong
# when a fault is on; what only a door of our own could do is not available, and never passed in silence.
# Mostly waits.
set -eu
. "$(dirname "$0")/lib.sh"
command -v mosquitto >/dev/null || PATH=$PATH:/usr/sbin
command -v mosquitto >/dev/null || fail "mosquitto is missing: install the Debian package mosquitto (./dev test does)"

fleet=50
verdict() { json "$1/result.json" "it.expectations.find((e) => e.id === '$2').verdict"; }
counter() { json "$1/result.json" "it.counters['$2'] ?? 0"; }

expect_exit 0 "$convoy" cloud --init --pki "$work/pki"
port=$(free_port)
cat >"$work/mosquitto.conf" <<END
user $(id -un)
max_queued_messages 10000
listener $port 127.0.0.1
allow_anonymous true
require_certificate true
cafile $work/pki/ca.pem
certfile $work/pki/server.crt
keyfile $work/pki/server.key
END
start mosquitto mosquitto -c "$work/mosquitto.conf"
mosquitto=$started
wait_port "$port" "$mosquitto"

# run_on EXIT DIR OPTIONS...
run_on() {
    local wanted=$1 out=$2
    shift 2
    expect_exit "$wanted" "$convoy" run "$scenarios/rotation-wave.lua" --world live --broker "mqtts://127.0.0.1:$port" --pki "$work/pki" --fleet $fleet \
        --set share=1 --speedup 240 --lag-bound 2000 --out "$out" "$@"
}

# ---- all is well -------------------------------------------------------------------------------------------------------

run_on 0 "$work/clean"
for id in decided notice certificate switch succeeded overlap most-rotated none-failed none-rolled-back one-certificate none-open nothing-lost; do
    equal "$(verdict "$work/clean" $id)" pass "$id"
done
for id in no-flaw no-vin-seen; do
    equal "$(verdict "$work/clean" $id)" "not available" "$id"
done
equal "$(json "$work/clean/result.json" it.unavailable)" "registration,door" "what mosquitto has not"
equal "$(counter "$work/clean" rotations)" $fleet "rotations decided"
equal "$(counter "$work/clean" rotations_succeeded)" $fleet "rotations succeeded"
equal "$(json "$work/clean/result.json" it.active_certificates)" $fleet "certificates ACTIVE at the end"
json "$work/clean/result.json" it.notes | grep -q "^$fleet identities from the factory" || fail "what the factory made is not noted"
! json "$work/clean/result.json" it.notes | grep -q 'shown again' || fail "old certificates were shown to a door that is not ours"
ok "$fleet vehicles have new certificates"

# ---- faults ------------------------------------------------------------------------------------------------------------

run_on 1 "$work/forgotten" --set fault.forget_deactivation=on
equal "$(failing "$work/forgotten/junit.xml")" one-certificate "what a forgotten deactivation breaks"
json "$work/forgotten/result.json" "it.expectations.find((e) => e.id === 'one-certificate').detail" | grep -q '[0-9] vehicles' ||
    fail "it is not said how many vehicles are concerned"
ok "old certificates left active are found without a door"

# ---- what is not there -------------------------------------------------------------------------------------------------

expect_exit 0 "$convoy" run "$scenarios/rotation-wave.lua" --world live --broker "mqtts://127.0.0.1:$port" --pki "$work/pki" --fleet $fleet -j 2 --speedup 240 \
    --duration 3m --out "$work/shared"
equal "$(verdict "$work/shared" none-failed)" "not available" "rotations of two processes on one broker"
json "$work/shared/result.json" it.notes | grep -q 'identities are not looked after' || fail "it is not said why identities are not looked after"
ok "two processes on one broker: said, not passed"
