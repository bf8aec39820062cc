#!/bin/bash
# An operator drives the life of a vehicle's identity over HTTPS, and everybody who can be asked agrees: broker, TLS door, responder, registry.
. "$(dirname "$0")/lib_cloud.sh"
need jq jq
need mosquitto_pub mosquitto-clients
need openssl openssl
need sqlite3 sqlite3
PKI=$WORK/pki VIN=1M8GDM9AXKP042788 OTHER_VIN=1HGCM82633A004352
make() { "$CONVOY" cloud --pki "$PKI" --make "$@" >/dev/null; }
check "--init" "$CONVOY" cloud --pki "$PKI" --init >/dev/null
same "the key of the VINs is nobody else's to read" 600 "$(stat -c %a "$PKI/vin.key")"
check "an operator" make operator alice
check "another" make operator mallory
check "a claim certificate" make claim lot-7
check "an operational one, which opens no operator's door" make operational ONE
"$CONVOY" cloud --pki "$PKI" --make operator root >"$WORK/out" 2>"$WORK/err"
same "a name that is taken: exit code and lines" "2 1" "$? $(wc -l <"$WORK/err")"

LIFE=(--lifecycle --require-device --registry "$PKI/registry.sqlite" --clones quarantine:4:60)
start_cloud "${LIFE[@]}" --http-port 0
HTTP=$(port_of http)

ask_as() { # ask_as WHO PATH [curl options]: status; body in $WORK/body
    curl -s -o "$WORK/body" -w '%{http_code}' --cacert "$PKI/ca.pem" --cert "$PKI/$1.crt" --key "$PKI/$1.key" "https://127.0.0.1:$EST/v1/$2" "${@:3}"
}
ask() { ask_as alice "$@"; }
it() { jq -r "$1" "$WORK/body"; }
told() { # told PATH EXPRESSION: of a GET
    ask "$1" >/dev/null
    it "$2"
}
is() { [ "$(told "$1" "$2")" = "$3" ]; }

echo "--- who may"
same "without a certificate" 401 "$(curl -s -o /dev/null -w '%{http_code}' --cacert "$PKI/ca.pem" "https://127.0.0.1:$EST/v1/verify")"
same "with an operational one" 403 "$(ask_as ONE verify)"
same "an operator" 200 "$(ask verify)"
same "another operator" 200 "$(ask_as mallory verify)"
sed -i '/ mallory$/d' "$PKI/operators"
same "whose line is taken out" 403 "$(ask_as mallory verify)"
refuse "an operator's certificate opens no broker" mosquitto_pub -h localhost -p "$MQTTS" --cafile "$PKI/ca.pem" --cert "$PKI/alice.crt" --key "$PKI/alice.key" -V 5 -i alice -t x -m x 2>/dev/null
same "and is no attestation" 401 "$(curl -s -o /dev/null -w '%{http_code}' --cacert "$PKI/ca.pem" --cert "$PKI/alice.crt" --key "$PKI/alice.key" --data-binary x "https://127.0.0.1:$EST/.well-known/est/simpleenroll")"

echo "--- questions that cannot be answered"
same "no JSON" 400 "$(ask vehicles -d nonsense)"
same "no object" 400 "$(ask vehicles -d '[1]')"
same "something behind it" 400 "$(ask vehicles -d '{} {}')"
same "a member nobody knows" 400 "$(ask vehicles -d '{"vin":"'$VIN'","tennant":"acme"}')"
same "a number" 400 "$(ask vehicles -d '{"vin":1,"tenant":"acme"}')"
same "no VIN" 400 "$(ask vehicles -d '{"tenant":"acme"}')"
same "a wrong check digit" 400 "$(ask vehicles -d '{"vin":"1M8GDM9A0KP042788","tenant":"acme"}')"
refuse "the answer does not repeat it" grep -q KP042788 "$WORK/body"
same "a long tenant" 400 "$(ask vehicles -d '{"vin":"'$VIN'","tenant":"12345678901234567890123456789012"}')"
head -c 5000 /dev/zero | tr '\0' ' ' >"$WORK/long"
same "a long body" 400 "$(ask vehicles --data-binary "@$WORK/long")"
same "another method" 405 "$(ask vehicles -X DELETE)"
same "nobody" 404 "$(ask vehicles/nobody)"
same "nobody to rotate" 404 "$(ask vehicles/nobody/rotate -X POST)"
same "nothing" 404 "$(ask nothing)"
same "no job" 404 "$(ask jobs/rotate-77)"

echo "--- a vehicle"
same "registered" 201 "$(ask vehicles -d '{"vin":"'$VIN'","device":"tcu-1","tenant":"acme"}')"
REF=$(it .referenceId)
same "the same again" "200 $REF" "$(ask vehicles -d '{"vin":"'$VIN'","device":"tcu-1","tenant":"acme"}') $(it .referenceId)"
same "for another tenant" 409 "$(ask vehicles -d '{"vin":"'$VIN'","device":"tcu-1","tenant":"umbrella"}')"
same "with another device" 409 "$(ask vehicles -d '{"vin":"'$VIN'","device":"tcu-2","tenant":"acme"}')"
same "a device that is in another vehicle" 409 "$(ask vehicles -d '{"vin":"'$OTHER_VIN'","device":"tcu-1","tenant":"acme"}')"
same "an act nobody knows" 404 "$(ask "vehicles/$REF/explode" -X POST)"
same "an act by GET" 405 "$(ask "vehicles/$REF/rotate")"
same "nothing to rotate yet" 409 "$(ask "vehicles/$REF/rotate" -X POST)"
same "nothing to revoke yet" 409 "$(ask "vehicles/$REF/revoke" -X POST)"
same "not in quarantine" 409 "$(ask "vehicles/$REF/release" -X POST)"

start_tcu() { # start_tcu STORE DEVICE: sets TCU_PID; what it says is in $WORK/STORE.log
    "$CONVOY" tcu --broker "mqtts://127.0.0.1:$MQTTS" --ca "$PKI/ca.pem" --name "$REF" --device "$2" --store "$WORK/$1" --driving --period 1 \
        --claim-certificate "$PKI/lot-7.crt" --claim-key "$PKI/lot-7.key" >"$WORK/$1.log" 2>&1 &
    TCU_PID=$!
    STARTED+=("$TCU_PID")
}
publish() { # publish PEM TOPIC
    timeout 20 mosquitto_pub -h localhost -p "$MQTTS" --cafile "$PKI/ca.pem" --cert "$1" --key "$1" -V 5 -i "$REF" -t "$2" -q 1 -m hello -d >"$WORK/published" 2>&1 &&
        ! grep -q 'Not authorized\|rc135\|(135)' "$WORK/published"
}
shake() { # the alert, or nothing
    { sleep 0.5; } | timeout 10 openssl s_client -connect "127.0.0.1:$MQTTS" -CAfile "$PKI/ca.pem" -cert "$1" -key "$1" 2>&1 | grep -o 'alert certificate [a-z]*' | head -1
}
by_ocsp() { openssl ocsp -issuer "$PKI/operational.crt" -cert "$1" -CAfile "$PKI/ca.pem" -url "http://127.0.0.1:$HTTP/ocsp" 2>/dev/null | sed -n "s#^$1: ##p"; }
newest() { ls -t "$WORK/$1"/operational*.pem | head -1; }

echo "--- it claims its identity"
start_tcu stranger tcu-9
check "another device is refused it" until_true 30 grep -q 'not provisioned\|refused\|denied' "$WORK/stranger.log"
kill "$TCU_PID"
wait "$TCU_PID"
same "the vehicle is as it was" "built 0" "$(told "vehicles/$REF" '"\(.state) \(.certificates | length)"')"
start_tcu first tcu-1
check "active" until_true 60 is "vehicles/$REF" .state active
same "connected, with its one certificate" "true ACTIVE true" "$(told "vehicles/$REF" '"\(.connected) \(.certificates[0].status) \(.certificates[0].connected)"')"
same "its history" "registered provisioned active" "$(told "vehicles/$REF" '[.history[].change] | join(" ")')"
same "no flaw" 0 "$(told verify .count)"

echo "--- rotation"
cp "$(newest first)" "$WORK/old.pem"
same "asked for" 200 "$(ask "vehicles/$REF/rotate" -X POST)"
JOB=$(it .jobId)
check "the job succeeds" until_true 60 is "jobs/$JOB" '.executions[0].status' SUCCEEDED
same "all of it" COMPLETED "$(told "jobs/$JOB" .status)"
check "the old certificate is out, the new one in" is "vehicles/$REF" '[.certificates[].status] | join(" ")' "INACTIVE ACTIVE"
same "no flaw" 0 "$(told verify .count)"
refuse "the old key publishes" publish "$WORK/old.pem" "dt/$REF/telemetry"
check "the broker says why" grep -q 'Not authorized' "$WORK/published"
# CONNECT of MQTT 5 with the Reference ID as client id, by hand: CONNACK says 0x87
connack() {
    { printf '\x10\x31\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x24%s' "$REF"; sleep 1; } |
        timeout 10 openssl s_client -quiet -connect "127.0.0.1:$MQTTS" -CAfile "$PKI/ca.pem" -cert "$1" -key "$1" 2>/dev/null | head -c 4 | od -An -tx1 | cut -c8-12
}
same "by hand through openssl s_client" " 87" "$(connack "$WORK/old.pem" | sed 's/.* \(..\)$/ \1/')"
same "another key for the old one's handshake gets no further" "" "$(shake "$WORK/old.pem")"

echo "--- what it may"
kill "$TCU_PID"
wait "$TCU_PID"
cp "$(newest first)" "$WORK/new.pem"
check "mosquitto_pub with the provisioned identity, its own topic" publish "$WORK/new.pem" "dt/$REF/telemetry"
refuse "another's topic" publish "$WORK/new.pem" "dt/another/telemetry"
refuse "another's name" env REF=another bash -c 'timeout 20 mosquitto_pub -h localhost -p "$0" --cafile "$1/ca.pem" --cert "$2" --key "$2" -V 5 -i another -t dt/another/telemetry -q 1 -m x 2>/dev/null' "$MQTTS" "$PKI" "$WORK/new.pem"

echo "--- a restart of the cloud"
before=$(told "vehicles/$REF" '[.state, .device, .tenant, .certificates, .history] | tostring' | sed 's/"connected":true/"connected":false/g')
kill -TERM "$CLOUD_PID"
wait "$CLOUD_PID"
same "ends as told" 0 $?
mv "$PKI/vin.key" "$WORK/vin.key"
head -c 32 /dev/urandom >"$PKI/vin.key"
chmod 600 "$PKI/vin.key"
"$CONVOY" cloud --pki "$PKI" --mqtt-port 0 --mqtts-port 0 --https-port 0 "${LIFE[@]}" >"$WORK/out" 2>"$WORK/err"
same "not with another key: exit code and lines" "3 1" "$? $(wc -l <"$WORK/err")"
mv "$WORK/vin.key" "$PKI/vin.key"
start_cloud "${LIFE[@]}" --http-port 0
HTTP=$(port_of http)
same "the vehicle is as it was" "$before" "$(told "vehicles/$REF" '[.state, .device, .tenant, .certificates, .history] | tostring')"
same "no flaw" 0 "$(told verify .count)"
start_tcu first tcu-1
check "it is connected again" until_true 60 is "vehicles/$REF" .connected true

echo "--- another owner"
same "sold" 200 "$(ask "vehicles/$REF/owner" -d '{"tenant":"umbrella"}')"
same "a second owner" "umbrella 2" "$(it '"\(.tenant) \(.owner)"')"
JOB=$(it .jobId)
check "with a key of its own" until_true 60 is "jobs/$JOB" '.executions[0].status' SUCCEEDED
same "no owner" 400 "$(ask "vehicles/$REF/owner" -d '{}')"

echo "--- another device"
cp "$(newest first)" "$WORK/first.pem"
same "not the one in it" 409 "$(ask "vehicles/$REF/swap" -d '{"device":"tcu-7","next":"tcu-2"}')"
same "swapped" 200 "$(ask "vehicles/$REF/swap" -d '{"device":"tcu-1","next":"tcu-2"}')"
same "waits for the new one" "built tcu-2" "$(it '"\(.state) \(.device)"')"
same "the old one's certificate" revoked "$(by_ocsp "$WORK/first.pem")"
same "at the TLS door" "alert certificate revoked" "$(shake "$WORK/first.pem")"
refuse "the old key publishes" publish "$WORK/first.pem" "dt/$REF/telemetry"
check "the old TCU is told" until_true 30 grep -q 'offline' "$WORK/first.log"
kill "$TCU_PID"
wait "$TCU_PID"
start_tcu second tcu-2
check "the new TCU claims it" until_true 60 is "vehicles/$REF" .state active
same "no flaw" 0 "$(told verify .count)"

echo "--- revoked"
cp "$(newest second)" "$WORK/second.pem"
same "the responder before" good "$(by_ocsp "$WORK/second.pem")"
same "no such reason" 400 "$(ask "vehicles/$REF/revoke" -d '{"reason":"boredom"}')"
same "revoked" "200 quarantined" "$(ask "vehicles/$REF/revoke" -d '{"reason":"keyCompromise"}') $(it .state)"
same "the responder after" revoked "$(by_ocsp "$WORK/second.pem")"
check "the live connection is cut" until_true 30 grep -q 'offline: Not authorized' "$WORK/second.log"
same "the TLS door" "alert certificate revoked" "$(shake "$WORK/second.pem")"
same "twice" 409 "$(ask "vehicles/$REF/revoke" -X POST)"
check "nobody is connected" is "vehicles/$REF" .connected false
same "no flaw" 0 "$(told verify .count)"
kill "$TCU_PID" 2>/dev/null
wait "$TCU_PID"
same "released" "200 active" "$(ask "vehicles/$REF/release" -X POST) $(it .state)"
rm -r "$WORK/second"
start_tcu second tcu-2
check "and claims a new identity" until_true 60 is "vehicles/$REF" .connected true

echo "--- by its CA, from the command line"
"$CONVOY" cloud --pki "$PKI" --revoke "$REF" --reason privilegeWithdrawn >/dev/null
check "the life cycle hears of it" until_true 30 is "vehicles/$REF" .state quarantined
same "with the reason" privilegeWithdrawn "$(told "vehicles/$REF" '.history[-1].detail')"
check "and cuts it" until_true 30 is "vehicles/$REF" .connected false
same "an audit finds nothing more" "200 0" "$(ask audit -X POST) $(it .acted)"

echo "--- the end"
same "decommissioned" "200 decommissioned" "$(ask "vehicles/$REF/decommission" -X POST) $(it .state)"
same "twice" 409 "$(ask "vehicles/$REF/decommission" -X POST)"
same "nothing leads back" 409 "$(ask "vehicles/$REF/owner" -d '{"tenant":"acme"}')"
same "not even another device" 409 "$(ask "vehicles/$REF/swap" -d '{"device":"tcu-2","next":"tcu-3"}')"
same "no flaw" 0 "$(told verify .count)"
kill "$TCU_PID" 2>/dev/null
kill -TERM "$CLOUD_PID"
wait "$CLOUD_PID"
same "in the registry" decommissioned "$(sqlite3 "$PKI/registry.sqlite" "SELECT state FROM vehicle WHERE reference = '$REF'")"
refuse "the VIN is nowhere in clear" grep -rqaE "$VIN|$OTHER_VIN" "$PKI" "$WORK/body" "$WORK/first.log" "$WORK/second.log" "$WORK/first" "$WORK/second" "$WORK/cloud.err"
verdict
