#!/bin/bash
# Somebody else's broker with our PKI: mosquitto, fed with ca.pem and operational.crl, takes the good certificate and refuses the revoked and the expired one on the wire.
. "$(dirname "$0")/lib_cloud.sh"
need mosquitto mosquitto
need mosquitto_pub mosquitto-clients
need openssl openssl
start_cloud --activation-delay 100
MOSQUITTO=$(command -v mosquitto)
for name in GOOD BAD; do check "$name enrols" enrol $name; done
check "a server certificate for mosquitto" "$CONVOY" cloud --pki "$PKI" --make server 127.0.0.1 >/dev/null

# One that has run out: signed with the operational CA's key, as the certificate broker would not.
mkdir "$WORK/ca" && : >"$WORK/ca/index.txt" && echo 77 >"$WORK/ca/serial"
printf '[ca]\ndefault_ca=x\n[x]\ndatabase=%s/ca/index.txt\nserial=%s/ca/serial\nnew_certs_dir=%s/ca\ndefault_md=sha256\npolicy=p\nx509_extensions=v\nunique_subject=no\n[p]\ncommonName=supplied\n[v]\nextendedKeyUsage=clientAuth\nauthorityKeyIdentifier=keyid:always\n' \
    "$WORK" "$WORK" "$WORK" >"$WORK/ca.cnf"
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$WORK/OLD.key" -subj /CN=OLD -out "$WORK/OLD.req" 2>/dev/null
openssl ca -batch -notext -config "$WORK/ca.cnf" -cert "$PKI/operational.crt" -keyfile "$PKI/operational.key" -in "$WORK/OLD.req" -out "$WORK/OLD.crt" \
    -startdate 20200101000000Z -enddate 20210101000000Z >/dev/null 2>&1

PORT=$(free_port)
printf '%s\n' "listener $PORT 127.0.0.1" "cafile $PKI/ca.pem" "crlfile $PKI/operational.crl" "certfile $PKI/127.0.0.1.crt" "keyfile $PKI/127.0.0.1.key" \
    "require_certificate true" "use_identity_as_username true" "allow_anonymous false" >"$WORK/mosquitto.conf"
[ "$(id -u)" = 0 ] && echo "user root" >>"$WORK/mosquitto.conf" # the keys are ours to read only
begin_mosquitto() {
    "$MOSQUITTO" -c "$WORK/mosquitto.conf" >"$WORK/mosquitto.log" 2>&1 &
    BROKER=$!
    STARTED+=("$BROKER")
    until_true 10 eval '(exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null'
}
end_mosquitto() {
    kill -TERM "$BROKER"
    wait "$BROKER" 2>/dev/null
}
publish() { # NAME HOST PORT
    timeout 10 mosquitto_pub -h "$2" -p "$3" --cafile "$PKI/ca.pem" --cert "$WORK/$1.crt" --key "$WORK/$1.key" -V 5 -i "$1" -t "dt/$1/telemetry" -q 1 -m hello >/dev/null 2>&1
}
ours() { publish "$1" localhost "$MQTTS"; }
theirs() { publish "$1" 127.0.0.1 "$PORT"; }
shake() { # NAME PORT: the alert on the wire, or nothing
    { sleep 0.5; } | timeout 10 openssl s_client -connect "127.0.0.1:$2" -CAfile "$PKI/ca.pem" -cert "$WORK/$1.crt" -key "$WORK/$1.key" 2>&1 |
        grep -o 'alert certificate [a-z]*' | head -1
}

check "mosquitto starts with our files" begin_mosquitto
check "GOOD publishes to mosquitto" theirs GOOD
check "BAD publishes to mosquitto, not yet revoked" theirs BAD
refuse "OLD does not" theirs OLD
same "OLD at mosquitto, on the wire" "alert certificate expired" "$(shake OLD "$PORT")"
same "OLD at our own door" "alert certificate expired" "$(shake OLD "$MQTTS")"
check "GOOD publishes to our cloud" until_true 15 ours GOOD
check "BAD publishes to our cloud" until_true 15 ours BAD
refuse "OLD does not" ours OLD
end_mosquitto

"$CONVOY" cloud --pki "$PKI" --revoke BAD --reason keyCompromise >/dev/null
same "revoked" 0 $?
check "mosquitto starts with the new list" begin_mosquitto
check "GOOD publishes to mosquitto" theirs GOOD
refuse "BAD does not" theirs BAD
same "BAD at mosquitto, on the wire" "alert certificate revoked" "$(shake BAD "$PORT")"
same "BAD at our own door" "alert certificate revoked" "$(shake BAD "$MQTTS")"
refuse "BAD does not publish to our cloud" ours BAD
check "GOOD publishes to our cloud" ours GOOD
refuse "an attestation certificate is nothing to mosquitto" mosquitto_pub -h 127.0.0.1 -p "$PORT" --cafile "$PKI/ca.pem" --cert "$PKI/GOOD.crt" --key "$PKI/GOOD.key" -t a -m b >/dev/null 2>&1
end_mosquitto
verdict
