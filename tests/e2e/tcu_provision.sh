#!/bin/bash
# The reference TCU on Paho against convoy cloud: from a bare device to answered commands, over every interruption in between.
. "$(dirname "$0")/lib_cloud.sh"
need mosquitto_rr mosquitto-clients
need openssl openssl
start_cloud --activation-delay 1500

TCU_OPTIONS=(--broker "mqtts://127.0.0.1:$MQTTS" --certificate-broker "https://127.0.0.1:$EST" --store "$WORK/store" --name VIN7 --driving)
start_tcu() { # start_tcu OUTPUT OPTIONS...
    local out=$1
    shift
    : >"$out"
    "$CONVOY" tcu "${TCU_OPTIONS[@]}" "$@" >>"$out" 2>&1 &
    TCU_PID=$!
    STARTED+=("$TCU_PID")
}
end_tcu() { # end_tcu SIGNAL: sets TCU_CODE
    kill "-$1" "$TCU_PID"
    wait "$TCU_PID"
    TCU_CODE=$?
    STARTED=("$CLOUD_PID")
}
says() { grep -q -- "$2" "$1"; }
before() { # before FILE FIRST SECOND: lines in this order
    local first second
    first=$(grep -n -m1 -- "$2" "$1" | cut -d: -f1)
    second=$(grep -n -m1 -- "$3" "$1" | cut -d: -f1)
    [ -n "$first" ] && [ -n "$second" ] && [ "$first" -lt "$second" ]
}
ask() { # ask COMMAND ID
    mosquitto_rr -h 127.0.0.1 -p "$MQTT" -V 5 -q 1 -W 20 -t cmd/VIN7/request -e cmd/VIN7/response -m "$1" -D publish correlation-data "$2"
}

echo "--- a bare device"
start_tcu "$WORK/first" --factory "$PKI" --period 1
check "provisions itself" until_true 60 says "$WORK/first" ' provisioned$'
check "the first connect is refused" before "$WORK/first" 'no connection: closed before it is accepted\|refused' ' online'
check "key and request first" before "$WORK/first" 'key pair and request made' 'operational certificate stored'
check "the certificate is stored before it is shown" before "$WORK/first" 'operational certificate stored' 'connect: attempt 1$'
check "telemetry is acknowledged" until_true 60 says "$WORK/first" 'telemetry 3 acknowledged'
same "the identity names it" "subject=CN = VIN7" "$(openssl x509 -in "$WORK/store/operational.pem" -noout -subject)"
check "and chains to the CAs" openssl verify -CAfile "$PKI/ca.pem" "$WORK/store/operational.pem"
same "nobody else can read it" 600 "$(stat -c %a "$WORK/store/operational.pem")"

echo "--- commands"
answer=$(ask unlock c-1)
check "answers a command" grep -q '"status":"succeeded","command":"unlock"' <<<"$answer"
again=$(ask unlock c-1)
check "answers its repetition" grep -q '"status":"succeeded"' <<<"$again"
same "but executes it once" 1 "$(grep -c "command 'unlock' \[c-1\] executed" "$WORK/first")"
check "and says so" says "$WORK/first" '\[c-1\] is a duplicate'
end_tcu TERM
same "ends as told" 0 "$TCU_CODE"
identity=$(sha256sum <"$WORK/store/operational.pem")

echo "--- the power comes back"
start_tcu "$WORK/second" --ca "$PKI/ca.pem" --period 1
check "connects with what it has kept" until_true 60 says "$WORK/second" ' online'
check "its session is still there" says "$WORK/second" 'online, session resumed'
same "without a new identity" "$identity" "$(sha256sum <"$WORK/store/operational.pem")"
refuse "and without asking for one" says "$WORK/second" 'key pair'
answer=$(ask unlock c-1)
check "still remembers the command" grep -q '"status":"succeeded"' <<<"$answer"
refuse "and does not execute it again" says "$WORK/second" '\] executed'
check "goes on with its numbers" until_true 60 says "$WORK/second" 'telemetry 2[0-9][0-9] acknowledged\|telemetry [4-9] acknowledged\|telemetry [1-9][0-9] acknowledged'
refuse "and uses none twice" says "$WORK/second" 'telemetry [123] acknowledged'
end_tcu INT
same "an interruption is told from an end" 130 "$TCU_CODE"

echo "--- the power goes without a word"
start_tcu "$WORK/third" --ca "$PKI/ca.pem" --period 1
check "online again" until_true 60 says "$WORK/third" 'acknowledged'
end_tcu KILL 2>/dev/null
start_tcu "$WORK/fourth" --ca "$PKI/ca.pem" --period 1
check "and again after a power cut" until_true 60 says "$WORK/fourth" 'acknowledged'
check "in the session it had" says "$WORK/fourth" 'online, session resumed'
end_tcu TERM
verdict
