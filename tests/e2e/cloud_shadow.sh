#!/bin/bash
# Device Shadow and the commands feature of convoy cloud: MQTT.js and mosquitto's clients over reserved topics, certificates and policies, an operator
# over HTTPS, an execution to its end.
. "$(dirname "$0")/lib_cloud.sh"
need node nodejs
need jq jq
need mosquitto_pub mosquitto-clients
need openssl openssl
SOURCE=$(cd "$(dirname "$0")/../.." && pwd)
[ -d "$SOURCE/tests/interop/node_modules/mqtt" ] || skip "tests/interop has no node_modules (npm ci there, or ./dev build)"
PKI=$WORK/pki
check "--init" "$CONVOY" cloud --pki "$PKI" --init >/dev/null
check "an operator" "$CONVOY" cloud --pki "$PKI" --make operator alice >/dev/null
start_cloud --lifecycle --activation-delay 50
check "MQTT.js" node "$SOURCE/tests/interop/cloud_shadow.js" "mqtt://127.0.0.1:$MQTT"

# A client in clear is an app or a service: let in by other means than a certificate.
app() { "mosquitto_$1" -h 127.0.0.1 -p "$MQTT" -V 5 "${@:2}"; }
# A car, by its certificate.
car() { "mosquitto_$1" -h localhost -p "$MQTTS" --cafile "$PKI/ca.pem" --cert "$WORK/$2.crt" --key "$WORK/$2.key" -V 5 -i "$2" "${@:3}"; }
ask() { # ask PATH [curl options]: status; body in $WORK/body
    curl -s -o "$WORK/body" -w '%{http_code}' --cacert "$PKI/ca.pem" --cert "$PKI/alice.crt" --key "$PKI/alice.key" "https://127.0.0.1:$EST/v1/$1" "${@:2}"
}
it() { jq -r "$1" "$WORK/body"; }
for name in CAR1 CAR2; do
    check "$name has a certificate" enrol "$name"
    until_true 10 car pub "$name" -t "dt/$name/telemetry" -m '{}' -q 1 2>/dev/null
done

echo "--- mosquitto's clients"
SHADOW='$aws/things/CAR1/shadow'
(app sub -t "$SHADOW/#" -F '%t %p' -C 3 -W 20 >"$WORK/heard") &
WATCHER=$!
STARTED+=("$WATCHER")
# Whoever wants the answers has subscribed: not who asks here.
wish() { # until the watcher is there
    app pub -t "$SHADOW/update" -m '{"state":{"desired":{"climate":21}}}' -q 1 && sleep 0.3 && [ -s "$WORK/heard" ]
}
check "a wish" until_true 15 wish
wait "$WATCHER"
same "accepted, delta and documents" "accepted delta documents" "$(sed 's/ .*//; s/.*\///' "$WORK/heard" | sort | tr '\n' ' ' | sed 's/ $//')"
same "a car's report about itself" 0 "$(car pub CAR1 -t "$SHADOW/update" -m '{"state":{"reported":{"climate":21}}}' -q 1 >/dev/null 2>&1; echo $?)"
car pub CAR2 -t "$SHADOW/update" -m '{"state":{"reported":{"climate":99}}}' -q 1 >"$WORK/out" 2>&1
same "another car's report about it" 200 "$(ask shadows/CAR1)"
same "is not taken" "21 null" "$(it '"\(.state.reported.climate) \(.state.delta)"')"

echo "--- an operator"
same "desired by HTTPS" 200 "$(ask shadows/CAR1 -d '{"state":{"desired":{"climate":24}}}')"
VERSION=$(it .version)
same "a version of before" "409 Version conflict" "$(ask shadows/CAR1 -d "{\"state\":{\"desired\":{\"climate\":25}},\"version\":$((VERSION - 1))}") $(it .message)"
same "what is left to do" "200 24" "$(ask shadows/CAR1) $(it .state.delta.climate)"
same "a named one" "200 1" "$(ask shadows/CAR1/cabin -d '{"state":{"desired":{"seat":2}}}') $(it .version)"
same "no such name" 404 "$(ask shadows/CAR1/boot)"
same "gone" "200 404" "$(ask shadows/CAR1/cabin -X DELETE) $(ask shadows/CAR1/cabin)"
same "another method" 405 "$(ask shadows/CAR1 -X PUT)"

echo "--- an execution"
COMMANDS='$aws/commands/things/CAR1/executions'
(car sub CAR1 -t "$COMMANDS/+/request/json" -q 1 -F '%t %p' -C 1 -W 20 >"$WORK/request") &
CAR=$!
STARTED+=("$CAR")
(app sub -t '$aws/events/commandExecution/unlock/#' -F '%t' -C 3 -W 30 >"$WORK/events") &
EVENTS=$!
STARTED+=("$EVENTS")
begun() { # until the car and the watcher are there
    [ "$(ask executions/CAR1 -d '{"command":"unlock","timeoutSeconds":30}')" = 201 ] || return 1
    sleep 0.3
    [ -s "$WORK/request" ]
}
check "started, and the car has it" until_true 15 begun
wait "$CAR"
ID=$(sed 's/.*executions\/\([^/]*\)\/request.*/\1/' "$WORK/request")
same "what it has" '{"command":"unlock"}' "$(sed 's/^[^ ]* //' "$WORK/request")"
same "begun" "CREATED false" "$(ask "executions/CAR1/$ID" >/dev/null; it '"\(.status) \(.terminal)"')"
answer() { car pub CAR1 -t "$COMMANDS/$ID/response/json" -m "$1" -q 1 >/dev/null 2>&1; }
answer '{"status":"IN_PROGRESS"}'
same "at work" "IN_PROGRESS false" "$(ask "executions/CAR1/$ID" >/dev/null; it '"\(.status) \(.terminal)"')"
car pub CAR2 -t "$COMMANDS/$ID/response/json" -m '{"status":"FAILED"}' -q 1 >/dev/null 2>&1
answer '{"status":"SUCCEEDED","result":{"doors":{"s":"open"}}}'
same "done" "SUCCEEDED true open" "$(ask "executions/CAR1/$ID" >/dev/null; it '"\(.status) \(.terminal) \(.response.result.doors.s)"')"
answer '{"status":"FAILED"}'
same "an end is an end" "SUCCEEDED true" "$(ask "executions/CAR1/$ID" >/dev/null; it '"\(.status) \(.terminal)"')"
same "no such execution" 404 "$(ask executions/CAR1/0000)"
same "no command" 400 "$(ask executions/CAR1 -d '{}')"
same "a command that is no name" 400 "$(ask executions/CAR1 -d '{"command":"un lock"}')"
wait "$EVENTS"
check "events" grep -q '^\$aws/events/commandExecution/unlock/CREATED$' "$WORK/events"
kill -TERM "$CLOUD_PID"
wait "$CLOUD_PID"
same "ends as told" 0 $?
verdict
