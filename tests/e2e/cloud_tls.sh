#!/bin/bash
# Who gets through the TLS doors, seen by openssl s_client and mosquitto's clients.
. "$(dirname "$0")/lib_cloud.sh"
need openssl openssl
need mosquitto_pub mosquitto-clients
start_cloud --user '%' --password secret --activation-delay 100
check "a device enrols" enrol VIN1
"$CONVOY" cloud --pki "$WORK/other" --init >/dev/null
"$CONVOY" cloud --pki "$WORK/other" --issue STRANGER >/dev/null

# A CONNECT of client id "t" must be answered: with TLS 1.3 a client learns only then that its certificate was refused.
talk() { # talk PORT ARGUMENTS...
    local port=$1
    shift
    { printf '\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02t1'; sleep 1; } |
        timeout 10 openssl s_client -quiet -no_ign_eof -connect "127.0.0.1:$port" -CAfile "$PKI/ca.pem" -verify_return_error "$@" 2>"$WORK/s_client"
}
answered() { talk "$@" | od -An -tx1 | grep -q '20 02'; }
version() { openssl s_client -connect "127.0.0.1:$1" -CAfile "$PKI/ca.pem" "${@:2}" </dev/null 2>/dev/null | sed -n 's/^New, \(TLSv[0-9.]*\),.*/\1/p'; }

refuse "mutual TLS without a certificate" answered "$MQTTS"
refuse "mutual TLS with a stranger's certificate" answered "$MQTTS" -cert "$WORK/other/STRANGER.crt" -key "$WORK/other/STRANGER.key"
refuse "mutual TLS with an attestation certificate" answered "$MQTTS" -cert "$PKI/VIN1.crt" -key "$PKI/VIN1.key"
check "the password door asks for no certificate and answers" answered "$PASSWORD_PORT"
same "TLS 1.3" TLSv1.3 "$(version "$PASSWORD_PORT")"
same "no TLS 1.2 unless asked for" "" "$(version "$PASSWORD_PORT" -tls1_2 | grep TLS)"
refuse "a client that trusts another CA" openssl s_client -connect "127.0.0.1:$PASSWORD_PORT" -CAfile "$WORK/other/ca.pem" -verify_return_error </dev/null >/dev/null 2>&1
alpn() { openssl s_client -connect "127.0.0.1:$1" -CAfile "$PKI/ca.pem" -alpn "$2" </dev/null 2>/dev/null | grep -o 'ALPN protocol: .*'; }
same "ALPN mqtt" "ALPN protocol: mqtt" "$(alpn "$PASSWORD_PORT" mqtt)"
same "ALPN x-amzn-mqtt-ca" "ALPN protocol: x-amzn-mqtt-ca" "$(alpn "$PASSWORD_PORT" x-amzn-mqtt-ca)"
same "ALPN of something else" "" "$(alpn "$PASSWORD_PORT" h2)"

PASS=(-h localhost -p "$PASSWORD_PORT" --cafile "$PKI/ca.pem" -V 5 -i car -t a -m b -q 1)
check "user and password" mosquitto_pub "${PASS[@]}" -u car -P secret
refuse "wrong password" mosquitto_pub "${PASS[@]}" -u car -P guess 2>/dev/null
refuse "wrong user" mosquitto_pub "${PASS[@]}" -u bus -P secret 2>/dev/null
refuse "no password, in clear" mosquitto_pub -h 127.0.0.1 -p "$MQTT" -V 5 -i car -t a -m b 2>/dev/null
DEVICE=(-h localhost -p "$MQTTS" --cafile "$PKI/ca.pem" --cert "$WORK/VIN1.crt" --key "$WORK/VIN1.key" -V 5 -i VIN1 -t a -m b -q 1)
check "a registered device needs no password" until_true 15 timeout 10 mosquitto_pub "${DEVICE[@]}" 2>/dev/null
kill -TERM "$CLOUD_PID"
wait "$CLOUD_PID"

start_cloud --tls12 --require-sni
same "TLS 1.2 when asked for" TLSv1.2 "$(version "$PASSWORD_PORT" -tls1_2 -servername localhost)"
same "with a server name" TLSv1.3 "$(version "$PASSWORD_PORT" -servername localhost)"
same "without a server name" "" "$(version "$PASSWORD_PORT" -noservername | grep TLS)"

# A second cloud on the same port: one line, exit 3.
"$CONVOY" cloud --mqtt-port "$MQTT" --mqtts-port -1 --https-port -1 --pki "$PKI" >"$WORK/out" 2>"$WORK/err"
same "a port that is taken: exit code" 3 $?
same "a port that is taken: one line" 1 "$(wc -l <"$WORK/err")"
check "a port that is taken: says which" grep -q "port $MQTT: Address already in use" "$WORK/err"
"$CONVOY" cloud --mqtt-port lots >/dev/null 2>"$WORK/err"
same "a port that is no number: exit code" 2 $?
"$CONVOY" cloud --no-such-option >/dev/null 2>"$WORK/err"
same "an unknown option: exit code" 2 $?
verdict
