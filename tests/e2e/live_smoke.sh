#!/usr/bin/env bash
# The same scenario file, live: against our own cloud, mosquitto over mutual TLS, mosquitto in clear. Then what must not go wrong in silence: a wrong CA, no CA,
# an unreachable broker, an expired certificate, and Ctrl-C in the middle.
# Mostly waits.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

command -v mosquitto >/dev/null || PATH=$PATH:/usr/sbin
command -v mosquitto >/dev/null || fail "mosquitto is missing: install the Debian package mosquitto (./dev test does)"
smoke=$scenarios/smoke.lua
fleet=40
length=24s

verdict() { json "$1/result.json" "it.expectations.find((e) => e.id === '$2').verdict"; }

# A run of the smoke scenario that must hold; what the caller adds goes to the command line.
run_live() {
    local out=$1
    shift
    expect_exit 0 "$convoy" run "$smoke" --world live --fleet "$fleet" --duration "$length" --set identity=certificate --lag-bound 2000 --out "$out" "$@"
    expect_run_directory "$out"
    equal "$(json "$out/result.json" it.verdict)" pass "verdict"
    equal "$(json "$out/result.json" it.world)" live "world"
    equal "$(json "$out/result.json" it.ledger.lost)" 0 "telemetry lost"
    equal "$(json "$out/result.json" it.commands.lost)" 0 "commands lost"
    [ "$(json "$out/result.json" it.ledger.delivered)" -gt $((fleet * 3)) ] || fail "hardly any telemetry was delivered"
    [ "$(json "$out/result.json" it.commands.executed)" -gt 0 ] || fail "no command was executed"
    equal "$(verdict "$out" all-online)" pass "all-online"
}

# ---- our own cloud -----------------------------------------------------------------------------------------------------

run_live "$work/embedded"
equal "$(verdict "$work/embedded" provisioned)" pass "provisioned"
equal "$(json "$work/embedded/result.json" it.registered_things)" "$fleet" "things registered"
equal "$(json "$work/embedded/result.json" it.active_certificates)" "$fleet" "active certificates"
[ "$(json "$work/embedded/result.json" it.counters.connects_refused)" -ge "$fleet" ] || fail "a first connect was not refused"
ok "$fleet vehicles provision, connect, publish and answer on our own cloud"

# ---- mosquitto ---------------------------------------------------------------------------------------------------------

expect_exit 0 "$convoy" cloud --init --pki "$work/pki"
mutual=$(free_port)
clear=$(free_port)
cat >"$work/mosquitto.conf" <<END
user $(id -un)
per_listener_settings true
max_queued_messages 10000
listener $mutual 127.0.0.1
allow_anonymous true
require_certificate true
cafile $work/pki/ca.pem
certfile $work/pki/server.crt
keyfile $work/pki/server.key
listener $clear 127.0.0.1
allow_anonymous true
END
start mosquitto mosquitto -c "$work/mosquitto.conf"
mosquitto=$started
wait_port "$mutual" "$mosquitto"
wait_port "$clear" "$mosquitto"

run_live "$work/mutual" --broker "mqtts://127.0.0.1:$mutual" --pki "$work/pki"
equal "$(verdict "$work/mutual" provisioned)" "not available" "provisioned without registration"
[ "$(json "$work/mutual/result.json" it.metrics['"provision.certificate"'].count)" -eq "$fleet" ] || fail "certificates were not enrolled for"
ok "mosquitto over mutual TLS"

run_live "$work/clear" --broker "mqtt://127.0.0.1:$clear"
equal "$(verdict "$work/clear" provisioned)" "not available" "provisioned in clear"
json "$work/clear/result.json" it.notes | grep -q 'identity replaced' || fail "the replaced identity is not noted"
ok "mosquitto in clear"

left=$(timeout 20 mosquitto_sub -p "$clear" -t 'convoy/#' -v -W 2 2>/dev/null || true)
equal "$left" "" "retained messages left on the broker"
ok "nothing retained is left behind"

# ---- what goes wrong ---------------------------------------------------------------------------------------------------

refused() {
    local pattern=$1
    shift
    expect_exit 3 "$convoy" run "$smoke" --world live --fleet 3 --duration "$length" --out "$work/refused" "$@"
    expect_one_line "$pattern"
    [ ! -e "$work/refused/result.json" ] || fail "a report of a run that never began"
}

expect_exit 0 "$convoy" cloud --init --pki "$work/strangers"
refused "issuer certificate" --broker "mqtts://127.0.0.1:$mutual" --pki "$work/strangers"
refused "issuer certificate" --broker "mqtts://127.0.0.1:$mutual" --pki "$work/pki" --ca "$work/strangers/ca.pem"
refused "add --pki DIR" --broker "mqtts://127.0.0.1:$mutual"
refused "cannot reach it" --broker "mqtt://127.0.0.1:$(free_port)"
refused "cannot resolve" --broker "mqtt://no-such-host.invalid:1883"
refused "stands alone" --broker embedded --broker "mqtt://127.0.0.1:$clear"
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/old.key" -subj /CN=old -out "$work/old.csr" 2>/dev/null
openssl x509 -req -in "$work/old.csr" -CA "$work/pki/operational.crt" -CAkey "$work/pki/operational.key" -set_serial 7 -days -1 -out "$work/old.crt" 2>/dev/null
refused "expired" --broker "mqtts://127.0.0.1:$mutual" --pki "$work/pki" --certificate "$work/old.crt" --key "$work/old.key"
ok "a wrong, missing or expired identity and an absent broker are told in one line"

# ---- Ctrl-C ------------------------------------------------------------------------------------------------------------

start interrupted "$convoy" run "$smoke" --world live --fleet 10 --lag-bound 2000 --out "$work/interrupted"
interrupted=$started
sleep 8
kill -INT "$interrupted"
code=0
wait "$interrupted" || code=$?
equal "$code" 130 "exit code after Ctrl-C"
expect_run_directory "$work/interrupted"
[ "$(json "$work/interrupted/result.json" it.ledger.intended)" -gt 0 ] || fail "what was measured was not kept"
pgrep -P "$interrupted" >/dev/null && fail "the cloud's process is still there"
ok "Ctrl-C in the middle keeps what was measured and ends the cloud"
