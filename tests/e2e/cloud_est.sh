#!/bin/bash
# The certificate broker with other people's tools: curl and openssl enrol, and every way to be refused.
. "$(dirname "$0")/lib_cloud.sh"
need curl curl
need openssl openssl
start_cloud
URL=https://127.0.0.1:$EST/.well-known/est
CA=(--cacert "$PKI/ca.pem")

check "enrols with an attestation certificate" enrol VIN1
check "the certificate chains to the CAs" openssl verify -CAfile "$PKI/ca.pem" "$WORK/VIN1.crt"
same "it names the device" "subject=CN = VIN1" "$(openssl x509 -in "$WORK/VIN1.crt" -noout -subject)"
same "it was issued by the operational CA" "issuer=CN = Convoy operational CA" "$(openssl x509 -in "$WORK/VIN1.crt" -noout -issuer)"
same "it is for this key" "$(openssl pkey -in "$WORK/VIN1.key" -pubout)" "$(openssl x509 -in "$WORK/VIN1.crt" -noout -pubkey)"

status() { curl -s -o "$WORK/body" -w '%{http_code}' "${CA[@]}" "$@"; }
DEVICE=(--cert "$PKI/VIN1.crt" --key "$PKI/VIN1.key")
OWN=(--cert "$WORK/VIN1.crt" --key "$WORK/VIN1.key")
same "the CA certificates are for everybody" 200 "$(status "$URL/cacerts")"
same "all five of them" 5 "$(openssl base64 -d -in "$WORK/body" | openssl pkcs7 -inform DER -print_certs | grep -c BEGIN)"
same "no certificate" 401 "$(status --data-binary "@$WORK/VIN1.csr" "$URL/simpleenroll")"
same "wrong method" 405 "$(status "${DEVICE[@]}" "$URL/simpleenroll")"
same "wrong path" 404 "$(status "${DEVICE[@]}" "$URL/fullcmc")"
same "no request" 400 "$(status "${DEVICE[@]}" -X POST "$URL/simpleenroll")"
same "not a request" 400 "$(status "${DEVICE[@]}" --data-binary 'no request at all' "$URL/simpleenroll")"
openssl req -new -key "$WORK/VIN1.key" -subj /CN=VIN2 -outform DER | openssl base64 >"$WORK/other.csr"
same "another's name" 400 "$(status "${DEVICE[@]}" --data-binary "@$WORK/other.csr" "$URL/simpleenroll")"
same "an operational certificate does not enrol" 403 "$(status "${OWN[@]}" --data-binary "@$WORK/VIN1.csr" "$URL/simpleenroll")"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$WORK/self.key" -subj /CN=VIN1 -out "$WORK/self.crt" 2>/dev/null
refuse "a certificate signed by itself" curl -s -o /dev/null "${CA[@]}" --cert "$WORK/self.crt" --key "$WORK/self.key" "$URL/cacerts"
refuse "a client that trusts somebody else" curl -s -o /dev/null --cacert "$WORK/self.crt" "$URL/cacerts"
same "twice over one connection" "200200" "$(curl -s -o /dev/null -o /dev/null -w '%{http_code}' "${CA[@]}" "$URL/cacerts" "$URL/cacerts")"
same "a body beyond all measure" 413 "$(head -c 200000 /dev/zero | tr '\0' A | status "${DEVICE[@]}" -H 'Expect:' --data-binary @- "$URL/simpleenroll")"

kill -TERM "$CLOUD_PID"
wait "$CLOUD_PID"
same "ends as told" 0 $?
verdict
