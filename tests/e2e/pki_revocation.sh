#!/bin/bash
# Revocation: everybody who can be asked agrees before and after it: CRL, OCSP, EST, the broker's TLS door and a live connection.
. "$(dirname "$0")/lib_cloud.sh"
need curl curl
need openssl openssl
need mosquitto_sub mosquitto-clients
need sqlite3 sqlite3
PORT=$(free_port)
URL=http://127.0.0.1:$PORT
start_cloud --registry "$WORK/registry.db" --activation-delay 100 --http-port "$PORT" --public-url "$URL"
EST_URL=https://127.0.0.1:$EST/.well-known/est
for name in GOOD BAD; do check "$name enrols" enrol $name; done
serial() { openssl x509 -in "$1" -noout -serial | cut -d= -f2; }

same "certificates say where the responder is" "$URL/ocsp" "$(openssl x509 -in "$WORK/BAD.crt" -noout -ocsp_uri)"
check "and where the list is" grep -q "URI:$URL/crl/operational.crl" <(openssl x509 -in "$WORK/BAD.crt" -noout -ext crlDistributionPoints)

# ---- the list ----
fetch_list() { curl -sS --fail -o "$WORK/list.der" "${@:-$URL/crl/operational.crl}"; }
number() { openssl crl -inform DER -in "$WORK/list.der" -noout -crlnumber | cut -d= -f2; }
check "the list in clear" fetch_list
same "it is signed by the operational CA" "verify OK" "$(openssl crl -inform DER -in "$WORK/list.der" -CAfile "$PKI/ca.pem" -noout 2>&1)"
check "it says when the next comes" grep -q 'nextUpdate=' <(openssl crl -inform DER -in "$WORK/list.der" -noout -nextupdate)
same "in DER, with its type" application/pkix-crl "$(curl -sS -o /dev/null -w '%{content_type}' "$URL/crl/operational.crl")"
same "the same over HTTPS, without a certificate" 200 "$(curl -sS -o "$WORK/list2.der" -w '%{http_code}' --cacert "$PKI/ca.pem" "https://127.0.0.1:$EST/crl/operational.crl")"
check "the same list" cmp "$WORK/list.der" "$WORK/list2.der"
check "the same as the file" cmp "$WORK/list.der" "$PKI/operational.crl.der"
same "no such list" 404 "$(curl -sS -o /dev/null -w '%{http_code}' "$URL/crl/../index.db")"
same "EST not in clear" 403 "$(curl -sS -o /dev/null -w '%{http_code}' "$URL/.well-known/est/cacerts")"
FIRST=$(number)

# ---- who is asked, in words ----
by_list() { openssl verify -crl_check -CAfile "$PKI/ca.pem" -CRLfile "$PKI/operational.crl" "$1" 2>&1 | grep -o 'certificate revoked\|: OK$' | sed 's/^: //'; }
by_ocsp() { # FILE [OPTIONS...]
    local file=$1
    shift
    openssl ocsp -issuer "$PKI/operational.crt" -cert "$file" -CAfile "$PKI/ca.pem" -url "$URL/ocsp" "$@" >"$WORK/ocsp" 2>"$WORK/ocsp.err"
    grep -q 'Response verify OK' "$WORK/ocsp.err" || echo "not verified"
    sed -n "s#^$file: ##p" "$WORK/ocsp"
}
by_est() { curl -s -o /dev/null -w '%{http_code}' --cacert "$PKI/ca.pem" --cert "$WORK/$1.crt" --key "$WORK/$1.key" --data-binary "@$WORK/$1.csr" "$EST_URL/simplereenroll"; }
shake() { # the alert, or nothing
    { sleep 0.5; } | timeout 10 openssl s_client -connect "127.0.0.1:$MQTTS" -CAfile "$PKI/ca.pem" -cert "$WORK/$1.crt" -key "$WORK/$1.key" "${@:2}" 2>&1 |
        grep -o 'alert certificate [a-z]*' | head -1
}
publish() { timeout 10 mosquitto_pub -h localhost -p "$MQTTS" --cafile "$PKI/ca.pem" --cert "$WORK/$1.crt" --key "$WORK/$1.key" -V 5 -i "$1" -t "dt/$1/telemetry" -q 1 -m hello 2>/dev/null; }

for name in GOOD BAD; do
    same "$name by the list" OK "$(by_list "$WORK/$name.crt")"
    same "$name by OCSP" good "$(by_ocsp "$WORK/$name.crt")"
    check "$name: the nonce came back" grep -qv 'no nonce' "$WORK/ocsp.err"
    same "$name at the certificate broker" 200 "$(by_est $name)"
    same "$name at the TLS door" "" "$(shake $name)"
    check "$name publishes" until_true 15 publish $name
done
same "a serial number nobody has issued" unknown "$(openssl ocsp -issuer "$PKI/operational.crt" -serial 0x1234567 -CAfile "$PKI/ca.pem" -url "$URL/ocsp" 2>/dev/null | sed -n 's/^0x1234567: //p')"
openssl ocsp -issuer "$PKI/operational.crt" -cert "$WORK/GOOD.crt" -reqout "$WORK/ocsp.request" -no_nonce >/dev/null 2>&1
PATH64=$(openssl base64 -A -in "$WORK/ocsp.request" | sed 's#/#%2F#g; s#+#%2B#g; s#=#%3D#g')
check "OCSP by GET" curl -sS --fail -o "$WORK/ocsp.response" "$URL/ocsp/$PATH64"
check "is verified" grep -q 'Response verify OK' <(openssl ocsp -respin "$WORK/ocsp.response" -reqin "$WORK/ocsp.request" -issuer "$PKI/operational.crt" -cert "$WORK/GOOD.crt" -CAfile "$PKI/ca.pem" 2>&1)
curl -sS -o "$WORK/ocsp.response" --data-binary nonsense "$URL/ocsp"
check "what is no request is malformed" grep -q 'malformedrequest (1)' <(openssl ocsp -respin "$WORK/ocsp.response" -resp_text -noverify 2>&1)
same "the attestation CA has a responder too" good "$(openssl ocsp -issuer "$PKI/attestation.crt" -cert "$PKI/BAD.crt" -CAfile "$PKI/ca.pem" -url "$URL/ocsp" 2>/dev/null | sed -n "s#^$PKI/BAD.crt: ##p")"

# ---- a live connection, and a session that could be resumed ----
stdbuf -oL mosquitto_sub -h localhost -p "$MQTTS" --cafile "$PKI/ca.pem" --cert "$WORK/BAD.crt" --key "$WORK/BAD.key" -V 5 -i BAD -t none -d >"$WORK/live" 2>&1 &
LIVE=$!
STARTED+=("$LIVE")
check "BAD is connected" until_true 10 grep -q '^Subscribed' "$WORK/live"
{ printf '\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03BAX'; sleep 1; } | openssl s_client -quiet -connect "127.0.0.1:$MQTTS" -CAfile "$PKI/ca.pem" -cert "$WORK/BAD.crt" -key "$WORK/BAD.key" -sess_out "$WORK/session" >/dev/null 2>&1
check "a session could be resumed" grep -q 'Reused' <({ sleep 0.5; } | openssl s_client -connect "127.0.0.1:$MQTTS" -CAfile "$PKI/ca.pem" -cert "$WORK/BAD.crt" -key "$WORK/BAD.key" -sess_in "$WORK/session" 2>&1)

"$CONVOY" cloud --pki "$PKI" --revoke BAD --reason keyCompromise >"$WORK/out"
same "revoked: exit code" 0 $?
check "it says so" grep -q '^BAD: [0-9]* certificates\{0,1\} revoked' "$WORK/out"
check "the live connection is cut" until_true 5 grep -q '^Received DISCONNECT (135)' "$WORK/live"
same "BAD by the list" "certificate revoked" "$(by_list "$WORK/BAD.crt")"
same "BAD by OCSP" revoked "$(by_ocsp "$WORK/BAD.crt")"
check "OCSP says why" grep -q 'Reason: keyCompromise' "$WORK/ocsp"
same "BAD at the certificate broker" 403 "$(by_est BAD)"
same "BAD at the TLS door" "alert certificate revoked" "$(shake BAD)"
same "BAD with a session to resume" "alert certificate revoked" "$(shake BAD -sess_in "$WORK/session")"
refuse "BAD publishes" publish BAD
same "GOOD by the list" OK "$(by_list "$WORK/GOOD.crt")"
same "GOOD by OCSP" good "$(by_ocsp "$WORK/GOOD.crt")"
same "GOOD at the certificate broker" 200 "$(by_est GOOD)"
check "GOOD publishes" publish GOOD
registered() { sqlite3 "$WORK/registry.db" "SELECT status FROM certificate WHERE serial = $((16#$(serial "$1")))"; }
check "BAD in the registry" until_true 10 eval '[ "$(registered "$WORK/BAD.crt")" = REVOKED ]'
same "GOOD in the registry" ACTIVE "$(registered "$WORK/GOOD.crt")"
check "the new list" fetch_list
check "its number grew" test $((16#${FIRST#0x})) -lt $((16#$(number | sed 's/^0x//')))
check "it names BAD" grep -q "Serial Number: $(serial "$WORK/BAD.crt")" <(openssl crl -inform DER -in "$WORK/list.der" -noout -text)
check "and the reason" grep -q 'Key Compromise' <(openssl crl -inform DER -in "$WORK/list.der" -noout -text)

# ---- by serial number; attestation; mistakes ----
"$CONVOY" cloud --pki "$PKI" --revoke "$(serial "$PKI/GOOD.crt")" >/dev/null
same "an attestation certificate by its number: exit code" 0 $?
same "its device enrols no more" 403 "$(until_true 5 test -s "$PKI/attestation.crl"; sleep 0.3; curl -s -o /dev/null -w '%{http_code}' --cacert "$PKI/ca.pem" --cert "$PKI/GOOD.crt" --key "$PKI/GOOD.key" --data-binary "@$WORK/GOOD.csr" "$EST_URL/simpleenroll")"
same "its operational certificate stands" good "$(by_ocsp "$WORK/GOOD.crt")"
"$CONVOY" cloud --pki "$PKI" --revoke BAD >"$WORK/out"
same "twice is no mistake" "0 BAD: revoked already" "$? $(cat "$WORK/out")"
"$CONVOY" cloud --pki "$PKI" --revoke NOBODY >/dev/null 2>"$WORK/err"
same "an unknown name: exit code and lines" "3 1" "$? $(wc -l <"$WORK/err")"
"$CONVOY" cloud --pki "$PKI" --revoke GOOD --reason boredom >/dev/null 2>"$WORK/err"
same "an unknown reason: exit code" 2 $?
"$CONVOY" cloud --pki "$WORK/nowhere" --revoke GOOD >/dev/null 2>"$WORK/err"
same "no directory: exit code and lines" "3 1" "$? $(wc -l <"$WORK/err")"
check "no directory was made" test ! -e "$WORK/nowhere"
kill -TERM "$CLOUD_PID"
wait "$CLOUD_PID"
same "ends as told" 0 $?

# ---- the next cloud on the same directory knows it ----
start_cloud --cut-delay 1500
same "BAD at the next cloud's TLS door" "alert certificate revoked" "$(shake BAD)"
check "another enrols" enrol LATE
check "and is let in" until_true 15 publish LATE
stdbuf -oL mosquitto_sub -h localhost -p "$MQTTS" --cafile "$PKI/ca.pem" --cert "$WORK/LATE.crt" --key "$WORK/LATE.key" -V 5 -i LATE -t none -d >"$WORK/live" 2>&1 &
LIVE=$!
STARTED+=("$LIVE")
check "it is connected" until_true 10 grep -q '^Subscribed' "$WORK/live"
"$CONVOY" cloud --pki "$PKI" --revoke LATE >/dev/null
check "with a delay its connection is cut as well" until_true 10 grep -q '^Received DISCONNECT (135)' "$WORK/live"
same "without --http-port there is no such door" "" "$(port_of http)"
check "a certificate made without --public-url" enrol PLAIN
same "names no responder" "" "$(openssl x509 -in "$WORK/PLAIN.crt" -noout -ocsp_uri)"
verdict
