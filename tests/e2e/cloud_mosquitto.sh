#!/bin/bash
# mosquitto's clients against convoy cloud: publish, subscribe, retained, will, shared subscription, request and response; both MQTT versions; registration.
. "$(dirname "$0")/lib_cloud.sh"
need mosquitto_rr mosquitto-clients
need sqlite3 sqlite3
start_cloud --registry "$WORK/registry.db" --activation-delay 300
HERE=(-h 127.0.0.1 -p "$MQTT")

# listen FILE ARGUMENTS...: a subscriber in the background that has subscribed when this returns (its first line says so).
listen() {
    local file=$1
    shift
    stdbuf -oL mosquitto_sub "${HERE[@]}" -d "$@" >"$file" 2>&1 &
    LISTENER=$!
    STARTED+=("$LISTENER")
    until_true 10 grep -q '^Subscribed' "$file" || echo "the subscriber of $file did not subscribe"
}
messages() { grep -v -e '^Client ' -e '^Subscribed' "$1"; }

for version in 5 311; do
    listen "$WORK/sub$version" -V $version -t "plain/$version/#" -q 2 -C 3 -W 10 -v
    for qos in 0 1 2; do
        mosquitto_pub "${HERE[@]}" -V $version -t "plain/$version/$qos" -q $qos -m "at qos $qos"
    done
    wait "$LISTENER"
    same "publish and subscribe, MQTT $version" "plain/$version/0 at qos 0
plain/$version/1 at qos 1
plain/$version/2 at qos 2" "$(messages "$WORK/sub$version" | sort)"
    mosquitto_pub "${HERE[@]}" -V $version -t "kept/$version" -r -m remembered
    same "retained, MQTT $version" "1 remembered" "$(mosquitto_sub "${HERE[@]}" -V $version -t "kept/$version" -C 1 -W 5 -F '%r %p')"
    mosquitto_pub "${HERE[@]}" -V $version -t "kept/$version" -r -n
    same "retained is gone, MQTT $version" "" "$(mosquitto_sub "${HERE[@]}" -V $version -t "kept/$version" -C 1 -W 1 -F '%r %p' 2>/dev/null)"
done

listen "$WORK/will" -V 5 -t will/topic -C 1 -W 10
stdbuf -oL mosquitto_sub "${HERE[@]}" -d -V 5 -i mortal -t nothing --will-topic will/topic --will-payload farewell --will-qos 1 >"$WORK/mortal" 2>&1 &
MORTAL=$!
until_true 10 grep -q '^Subscribed' "$WORK/mortal"
kill -KILL $MORTAL
wait $MORTAL 2>/dev/null
wait "$LISTENER"
same "will of a client that was killed" farewell "$(messages "$WORK/will")"

listen "$WORK/share1" -V 5 -t '$share/group/shared/#' -q 1
FIRST=$LISTENER
listen "$WORK/share2" -V 5 -t '$share/group/shared/#' -q 1
for i in $(seq 1 20); do echo "message $i"; done | mosquitto_pub "${HERE[@]}" -V 5 -t shared/work -q 1 -l
until_true 10 eval '[ $(cat "$WORK/share1" "$WORK/share2" | grep -c "^message") -ge 20 ]'
same "shared subscription: each message to one member" 20 "$(cat "$WORK/share1" "$WORK/share2" | grep '^message' | sort -u | wc -l)"
same "none to two" 20 "$(cat "$WORK/share1" "$WORK/share2" | grep -c '^message')"
same "both had work" "10 10" "$(grep -c '^message' "$WORK/share1") $(grep -c '^message' "$WORK/share2")"
kill "$FIRST" "$LISTENER"

# The answering side: takes the response topic and the correlation data from the request.
listen "$WORK/request" -V 5 -t service/ask -C 1 -W 10 -F 'topic=%R data=%D payload=%p'
mosquitto_rr "${HERE[@]}" -V 5 -t service/ask -e service/answer/7 -m question -D publish correlation-data abc -W 10 >"$WORK/rr" 2>&1 &
ASKING=$!
wait "$LISTENER"
same "request carries its response topic and correlation data" "topic=service/answer/7 data=abc payload=question" "$(messages "$WORK/request")"
mosquitto_pub "${HERE[@]}" -V 5 -t service/answer/7 -m answer -D publish correlation-data abc
wait $ASKING
same "request and response" answer "$(cat "$WORK/rr")"

# Just-in-time registration, with a certificate from the certificate broker.
check "a device enrols" enrol VIN7
TLS=(-h localhost -p "$MQTTS" --cafile "$PKI/ca.pem" --cert "$WORK/VIN7.crt" --key "$WORK/VIN7.key" -V 5 -i VIN7)
listen "$WORK/events" -V 5 -t '$aws/events/#' -v
refuse "its first connect is dropped" timeout 10 mosquitto_pub "${TLS[@]}" -t dt/VIN7/telemetry -m 1 2>/dev/null
check "it is let in later" until_true 15 timeout 10 mosquitto_pub "${TLS[@]}" -t dt/VIN7/telemetry -q 1 -m 2 2>/dev/null
check "the event named the certificate" until_true 5 grep -q "certificates/registered/.*$(openssl x509 -in "$WORK/VIN7.crt" -outform DER | sha256sum | cut -c1-64).*PENDING_ACTIVATION" "$WORK/events"
check "presence told of it" until_true 5 grep -q 'presence/connected/VIN7 .*"thingName":"VIN7"' "$WORK/events"
check "and of its going" until_true 5 grep -q 'presence/disconnected/VIN7 .*CLIENT_INITIATED_DISCONNECT' "$WORK/events"
refuse "another's client id" timeout 10 mosquitto_pub "${TLS[@]}" -i VIN8 -t dt/VIN8/telemetry -m 3 2>/dev/null
kill "$LISTENER"
mosquitto_pub "${HERE[@]}" -V 5 -q 1 -t '$aws/events/forged' -m x 2>"$WORK/forged"
check "a client may not write reserved topics" grep -q 'Not authorized' "$WORK/forged"

kill -TERM "$CLOUD_PID"
wait "$CLOUD_PID"
same "ends as told" 0 $?
same "the registry kept it" "VIN7|ACTIVE|VIN7" "$(sqlite3 "$WORK/registry.db" 'SELECT common_name, status, thing FROM certificate')"
verdict
