#!/bin/bash
# MQTT over WebSocket at convoy cloud's doors: MQTT.js in clear text and over TLS, and what the upgrade refuses.
. "$(dirname "$0")/lib_cloud.sh"
need node nodejs
need curl curl
SOURCE=$(cd "$(dirname "$0")/../.." && pwd)
[ -d "$SOURCE/tests/interop/node_modules/mqtt" ] || skip "tests/interop has no node_modules (npm ci there, or ./dev build)"
start_cloud --ws-port 0 --wss-port 0
WS=$(sed -n 's/.*"ws":"\(ws:[^"]*\)".*/\1/p' "$WORK/doors") WSS=$(sed -n 's/.*"wss":"\(wss:[^"]*\)".*/\1/p' "$WORK/doors")
check "MQTT.js over ws" node "$SOURCE/tests/interop/cloud_roundtrip.js" "$WS"
check "MQTT.js over wss" env NODE_EXTRA_CA_CERTS="$PKI/ca.pem" node "$SOURCE/tests/interop/cloud_roundtrip.js" "$WSS"
refuse "MQTT.js over wss that does not know the CA" node "$SOURCE/tests/interop/cloud_roundtrip.js" "$WSS" >/dev/null

# upgrade PATH HEADERS...: the status of a GET that asks for an upgrade as RFC 6455 has it; a header given again takes the other's place.
upgrade() {
    local path=$1 header headers=("Connection: Upgrade" "Upgrade: websocket" "Sec-WebSocket-Version: 13"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==" "Sec-WebSocket-Protocol: mqtt") arguments=() each i
    shift
    for each in "$@"; do
        for i in "${!headers[@]}"; do
            [ "${headers[i]%%:*}" = "${each%%:*}" ] && headers[i]=$each
        done
    done
    for header in "${headers[@]}"; do arguments+=(-H "$header"); done
    timeout 10 curl -s --http1.1 --max-time "${PATIENCE:-5}" -o "$WORK/body" -D "$WORK/head" -w '%{http_code}' "${arguments[@]}" "http${WS#ws}${path}"
}
WS=${WS%/mqtt}
same "an upgrade" 101 "$(PATIENCE=1 upgrade /mqtt)"
check "its key is answered" grep -q 'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=' "$WORK/head"
check "its subprotocol is mqtt" grep -qi '^Sec-WebSocket-Protocol: mqtt.$' "$WORK/head"
same "names of any case, one of several subprotocols" 101 "$(PATIENCE=1 upgrade '/mqtt?a=b' 'Connection: keep-alive, upgrade' 'Upgrade: WebSocket' 'Sec-WebSocket-Protocol: chat, mqtt')"
same "another path" 404 "$(upgrade /chat)"
same "no upgrade" 426 "$(upgrade /mqtt 'Connection: close')"
same "another version" 426 "$(upgrade /mqtt 'Sec-WebSocket-Version: 8')"
check "the version that is spoken is named" grep -qi '^Sec-WebSocket-Version: 13' "$WORK/head"
same "another subprotocol" 400 "$(upgrade /mqtt 'Sec-WebSocket-Protocol: mqttv3.1')"
same "no key" 400 "$(upgrade /mqtt 'Sec-WebSocket-Key: short')"
same "a request that is too long" 431 "$(upgrade /mqtt "Connection: $(printf 'x%.0s' $(seq 9000))")"
same "the door lives" 101 "$(PATIENCE=1 upgrade /mqtt)"
kill -TERM "$CLOUD_PID"
wait "$CLOUD_PID"
same "ends as told" 0 $?
verdict
