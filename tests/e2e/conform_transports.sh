#!/usr/bin/env bash
# convoy conform over every transport: our own broker's doors, and WebSocket listeners of brokers that others have made. A handful of checks each.
# Mostly waits.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
few='B-CONN-001,B-CONN-003,B-CONN-004,B-SESS-018,B-QOS-013,B-WS*,B-TLS*'

# checks DIR [PATTERN]: how many passed whose id matches.
checks() { json "$1/result.json" "it.expectations.filter((e) => e.verdict === 'pass' && /${2:-.}/.test(e.id)).length"; }

for transport in tcp tls mtls ws wss; do
    expect_exit 0 "$convoy" conform embedded --transport "$transport" --only "$few" --out "$work/$transport"
    equal "$(json "$work/$transport/result.json" it.verdict)" pass "verdict over $transport"
    [ "$(checks "$work/$transport")" -gt 5 ] || fail "hardly any check passed over $transport"
    case $transport in
    ws | wss) [ "$(checks "$work/$transport" '^B-WS')" -ge 15 ] || fail "checks of WebSocket over $transport" ;;
    *) equal "$(checks "$work/$transport" '^B-WS')" 0 "checks of WebSocket over $transport" ;;
    esac
    case $transport in
    tls | mtls) [ "$(checks "$work/$transport" '^B-TLS')" -ge 3 ] || fail "checks of TLS over $transport" ;;
    wss) [ "$(checks "$work/$transport" '^B-TLS-001')" -ge 2 ] || fail "checks of TLS over $transport" ;;
    *) equal "$(checks "$work/$transport" '^B-TLS')" 0 "checks of TLS over $transport" ;;
    esac
    ok "embedded over $transport"
done

# What the trace and the capture tell is MQTT, whatever carried it.
expect_exit 0 "$convoy" conform embedded --transport wss --only B-CONN-003 --trace --out "$work/one"
grep -q '< CONNACK 0x00' "$work/out" || fail "no packet in the trace: $(cat "$work/out")"
xxd -p "$work/one/trace.pcapng" | tr -d '\n' | grep -q '00044d51545405' || fail "no CONNECT in the capture"
ok "packets in trace and capture"

expect_exit 2 "$convoy" conform embedded --transport http
expect_exit 2 "$convoy" conform ws://127.0.0.1:1 --transport ws
ok "what cannot be"

# Others' brokers. Mosquitto serves text frames (docs/conformance-findings.md): B-WS-003 is left out. Its certificate is of a PKI of ours.
ours='B-CONN-001,B-CONN-003,B-CONN-004,B-WS-001[0],B-WS-004,B-WS-005,B-WS-006,B-WS-007'
"$convoy" cloud --pki "$work/pki" --init >/dev/null
plain=$(free_port) secure=$(free_port) tcp=$(free_port)
cat >"$work/mosquitto.conf" <<END
allow_anonymous true
listener $plain 127.0.0.1
protocol websockets
listener $secure 127.0.0.1
protocol websockets
cafile $work/pki/ca.pem
certfile $work/pki/server.crt
keyfile $work/pki/server.key
listener $tcp 127.0.0.1
END
if [ "$(id -u)" = 0 ]; then echo 'user root' >>"$work/mosquitto.conf"; fi
start mosquitto "$(command -v mosquitto || echo /usr/sbin/mosquitto)" -c "$work/mosquitto.conf"
wait_port "$plain" "$started"
expect_exit 0 "$convoy" conform "ws://127.0.0.1:$plain" --only "$ours" --out "$work/mosquitto-ws"
[ "$(checks "$work/mosquitto-ws")" -ge 12 ] || fail "checks of mosquitto over ws"
expect_exit 0 "$convoy" conform "wss://127.0.0.1:$secure/mqtt" --ca "$work/pki/ca.pem" --only "$ours" --out "$work/mosquitto-wss"
[ "$(checks "$work/mosquitto-wss")" -ge 12 ] || fail "checks of mosquitto over wss"
expect_exit 3 "$convoy" conform "wss://127.0.0.1:$secure" --only B-CONN-003 --out "$work/none"
expect_one_line 'TLS with wss'
expect_exit 3 "$convoy" conform "ws://127.0.0.1:$tcp" --only B-CONN-003 --out "$work/none"
expect_one_line 'WebSocket with ws'
ok "mosquitto"

# ejabberd serves text frames and names whatever subprotocol it is offered.
port=$(free_port) web=$(free_port)
start_ejabberd "$port" "$web"
expect_exit 0 "$convoy" conform "ws://127.0.0.1:$web/mqtt" --user probe --password probe --only "$ours" --out "$work/ejabberd-ws"
[ "$(checks "$work/ejabberd-ws")" -ge 12 ] || fail "checks of ejabberd over ws"
expect_exit 3 "$convoy" conform "ws://127.0.0.1:$web/nowhere" --user probe --password probe --only B-CONN-003 --out "$work/none"
expect_one_line 'the answer is "HTTP/1.1 404'
ok "ejabberd"
