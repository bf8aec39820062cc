#!/bin/bash
# convoy tcu and everything that can be wrong: one clear line, the right exit code; and on a plain mosquitto.
. "$(dirname "$0")/lib_cloud.sh"
PATH=$PATH:/usr/sbin
need mosquitto mosquitto
need mosquitto_rr mosquitto-clients

fails() { # fails NAME CODE TEXT OPTIONS...: exit code, one line on standard error that contains the text
    local name=$1 code=$2 text=$3
    shift 3
    "$CONVOY" tcu "$@" >"$WORK/out" 2>"$WORK/err"
    same "$name: exit code" "$code" $?
    same "$name: one line" 1 "$(wc -l <"$WORK/err")"
    check "$name: says so" grep -qF -- "$text" "$WORK/err"
}
B=(--broker mqtt://127.0.0.1:1 --store "$WORK/store" --duration 1)
fails "no broker" 2 "which broker?"
fails "unknown option" 2 "unknown option '--brokr'" --brokr x
fails "missing value" 2 "option '--broker' needs a value" --broker
fails "no such scheme" 2 "mqtts://HOST:PORT" --broker http://127.0.0.1
fails "port out of range" 3 "is no broker address" --broker mqtt://127.0.0.1:99999 --store "$WORK/store"
fails "name with a wildcard" 2 "--name takes" "${B[@]}" --name 'a/#'
fails "name too long" 2 "--name takes" "${B[@]}" --name "$(printf 'x%.0s' $(seq 41))"
fails "half an identity" 2 "belong together" "${B[@]}" --attestation-key k
fails "negative period" 2 "--period takes" "${B[@]}" --period -1
fails "duration in words" 2 "--duration takes" "${B[@]}" --duration long
fails "no such CA" 3 "cannot read the CA file $WORK/none: No such file" "${B[@]}" --ca "$WORK/none"
fails "no such PKI" 3 "$WORK/nopki" "${B[@]}" --factory "$WORK/nopki" --ca /dev/null
fails "no attestation" 3 "cannot read the attestation certificate" "${B[@]}" --certificate-broker https://127.0.0.1:1
: >"$WORK/file"
fails "store is a file" 3 "store $WORK/file" "${B[@]}" --store "$WORK/file/x"

says() { grep -q -- "$2" "$1"; }
"$CONVOY" tcu "${B[@]}" >"$WORK/unreachable" 2>&1
same "unreachable: goes on trying to the end" 0 $?
check "unreachable: says so" says "$WORK/unreachable" 'no connection: cannot reach it'
"$CONVOY" tcu "${B[@]}" --broker mqtt://no-such-host.invalid >"$WORK/unresolved" 2>&1
check "unknown name: says so" says "$WORK/unresolved" 'the name cannot be resolved'

start_cloud
"$CONVOY" cloud --pki "$WORK/other" --init >/dev/null
"$CONVOY" tcu --broker "mqtts://127.0.0.1:$MQTTS" --ca "$WORK/other/ca.pem" --store "$WORK/store2" --duration 2 >"$WORK/ca" 2>&1
check "wrong CA at the broker: says so" says "$WORK/ca" 'TLS: certificate verify failed'
"$CONVOY" tcu --broker "mqtts://127.0.0.1:$MQTTS" --certificate-broker "https://127.0.0.1:$EST" --factory "$PKI" --ca "$WORK/other/ca.pem" \
    --store "$WORK/store3" --duration 2 >"$WORK/est" 2>&1
check "wrong CA at the certificate broker: says so" says "$WORK/est" 'not provisioned: .*certificate'
"$CONVOY" tcu --broker "mqtts://127.0.0.1:$MQTTS" --certificate-broker "https://127.0.0.1:$EST" --factory "$WORK/other" --ca "$PKI/ca.pem" \
    --store "$WORK/store4" --duration 2 >"$WORK/maker" 2>&1
check "unknown maker: says so" says "$WORK/maker" 'not provisioned: '
refuse "unknown maker: gets nothing" test -e "$WORK/store4/operational.pem"

echo "--- a plain mosquitto"
# Started on a port that was free a moment ago: tried again should somebody else have taken it since.
start_mosquitto() {
    local port
    for _ in 1 2 3 4 5; do
        port=$((20000 + RANDOM % 12000))
        printf 'listener %s 127.0.0.1\nallow_anonymous true\n' "$port" >"$WORK/mosquitto.conf"
        mosquitto -c "$WORK/mosquitto.conf" >"$WORK/mosquitto.log" 2>&1 &
        MOSQUITTO_PID=$!
        STARTED+=("$MOSQUITTO_PID")
        until_true 10 mosquitto_pub -h 127.0.0.1 -p "$port" -t up -n 2>/dev/null && kill -0 "$MOSQUITTO_PID" 2>/dev/null && MOSQUITTO=$port && return
    done
    skip "mosquitto does not start: $(cat "$WORK/mosquitto.log")"
}
chmod 755 "$WORK"
start_mosquitto
: >"$WORK/tcu"
"$CONVOY" tcu --broker "mqtt://127.0.0.1:$MOSQUITTO" --store "$WORK/plain" --name VIN9 --period 1 >"$WORK/tcu" 2>&1 &
TCU_PID=$!
STARTED+=("$TCU_PID")
check "online" until_true 60 says "$WORK/tcu" ' online'
check "telemetry" until_true 60 says "$WORK/tcu" 'telemetry 2 acknowledged'
seen=$(mosquitto_sub -h 127.0.0.1 -p "$MOSQUITTO" -V 5 -t 'dt/+/telemetry' -C 1 -W 30 -F '%t %P %p')
check "as the contract has it" grep -q '^dt/VIN9/telemetry .*fw:convoy-tcu.*schema:telemetry-1.*enc:json.*{"id":"VIN9","n":[0-9]*,"ts":[0-9]*,"speed":0,' <<<"$seen"
answer=$(mosquitto_rr -h 127.0.0.1 -p "$MOSQUITTO" -V 5 -q 1 -W 20 -t cmd/VIN9/request -e cmd/VIN9/response -m lock -D publish correlation-data x)
check "command" grep -q '"status":"succeeded","command":"lock"' <<<"$answer"
echo "--- the broker goes and comes back"
kill -TERM "$MOSQUITTO_PID" && wait "$MOSQUITTO_PID"
check "notices" until_true 60 says "$WORK/tcu" ' offline'
before=$(grep -c acknowledged "$WORK/tcu")
mosquitto -c "$WORK/mosquitto.conf" >"$WORK/mosquitto.log" 2>&1 &
STARTED+=($!)
more() { [ "$(grep -c acknowledged "$WORK/tcu")" -gt $((before + 1)) ]; }
check "comes back and sends what it has kept" until_true 90 more
gapless() { # every number once, in order
    grep -o 'telemetry [0-9]* acknowledged' "$WORK/tcu" | awk '{ if ($2 != NR) exit 1 }'
}
check "no number is missing or out of order" gapless
verdict
