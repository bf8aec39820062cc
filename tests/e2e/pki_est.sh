#!/bin/bash
# EST beyond the first certificate (RFC 7030), by curl and openssl: re-enrolment, a key made by the server, request attributes; profiles of identities.
. "$(dirname "$0")/lib_cloud.sh"
need curl curl
need openssl openssl
start_cloud
URL=https://127.0.0.1:$EST/.well-known/est
CA=(--cacert "$PKI/ca.pem")
status() { curl -s -o "$WORK/body" -D "$WORK/head" -w '%{http_code}' "${CA[@]}" "$@"; }
header() { tr -d '\r' <"$WORK/head" | sed -n "s/^$1: //Ip"; }
certificate() { openssl base64 -d -in "$1" | openssl pkcs7 -inform DER -print_certs; }

check "enrols" enrol VIN1
DEVICE=(--cert "$PKI/VIN1.crt" --key "$PKI/VIN1.key")
OWN=(--cert "$WORK/VIN1.crt" --key "$WORK/VIN1.key")
request() { openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$WORK/$1.key" -subj "/CN=$2" -outform DER 2>/dev/null | openssl base64 >"$WORK/$1.csr"; }

same "cacerts: type" "application/pkcs7-mime; smime-type=certs-only" "$(status "$URL/cacerts" >/dev/null; header Content-Type)"
same "cacerts: transfer encoding" base64 "$(header Content-Transfer-Encoding)"

# The next certificate, for a new key, by the one in use.
request next VIN1
same "re-enrols" 200 "$(status "${OWN[@]}" --data-binary "@$WORK/next.csr" "$URL/simplereenroll")"
same "re-enrol: transfer encoding" base64 "$(header Content-Transfer-Encoding)"
certificate "$WORK/body" >"$WORK/next.crt"
check "the new certificate chains" openssl verify -CAfile "$PKI/ca.pem" "$WORK/next.crt"
same "it has the same name" "subject=CN = VIN1" "$(openssl x509 -in "$WORK/next.crt" -noout -subject)"
same "it is for the new key" "$(openssl pkey -in "$WORK/next.key" -pubout)" "$(openssl x509 -in "$WORK/next.crt" -noout -pubkey)"
same "the new one re-enrols too" 200 "$(status --cert "$WORK/next.crt" --key "$WORK/next.key" --data-binary "@$WORK/VIN1.csr" "$URL/simplereenroll")"
request other VIN2
same "another's name" 400 "$(status "${OWN[@]}" --data-binary "@$WORK/other.csr" "$URL/simplereenroll")"
same "no request" 400 "$(status "${OWN[@]}" -X POST "$URL/simplereenroll")"
same "no certificate" 401 "$(status --data-binary "@$WORK/next.csr" "$URL/simplereenroll")"
same "an attestation certificate does not re-enrol" 403 "$(status "${DEVICE[@]}" --data-binary "@$WORK/next.csr" "$URL/simplereenroll")"
same "wrong method" 405 "$(status "${OWN[@]}" "$URL/simplereenroll")"

# A certificate that has run out, signed with the operational CA's key: the handshake passes, the broker says why not.
openssl req -new -key "$WORK/VIN1.key" -subj /CN=VIN1 -out "$WORK/old.req"
mkdir "$WORK/ca" && : >"$WORK/ca/index.txt" && echo 77 >"$WORK/ca/serial"
printf '[ca]\ndefault_ca=x\n[x]\ndatabase=%s/ca/index.txt\nserial=%s/ca/serial\nnew_certs_dir=%s/ca\ndefault_md=sha256\npolicy=p\nx509_extensions=v\nunique_subject=no\n[p]\ncommonName=supplied\n[v]\nextendedKeyUsage=clientAuth\nauthorityKeyIdentifier=keyid:always\n' \
    "$WORK" "$WORK" "$WORK" >"$WORK/ca.cnf"
openssl ca -batch -notext -config "$WORK/ca.cnf" -cert "$PKI/operational.crt" -keyfile "$PKI/operational.key" -in "$WORK/old.req" -out "$WORK/old.crt" \
    -startdate 20200101000000Z -enddate 20210101000000Z >/dev/null 2>&1
same "an expired certificate does not re-enrol" 403 "$(status --cert "$WORK/old.crt" --key "$WORK/VIN1.key" --data-binary "@$WORK/next.csr" "$URL/simplereenroll")"
check "and is told why" grep -q 'out of its validity' "$WORK/body"

# A key made by the server.
same "serverkeygen" 200 "$(status "${DEVICE[@]}" --data-binary "@$WORK/VIN1.csr" "$URL/serverkeygen")"
check "it is multipart/mixed" grep -qi '^content-type: multipart/mixed; *boundary=' "$WORK/head"
same "the parts say their encoding, the whole does not" "" "$(header Content-Transfer-Encoding)"
BOUNDARY=$(header Content-Type | sed 's/.*boundary=//')
tr -d '\r' <"$WORK/body" | awk -v b="--$BOUNDARY" -v out="$WORK/part" '
    $0 == b { n++; head = 1; next } $0 == b "--" { n = 0 } n && head && $0 == "" { head = 0; next } n { print > (out n (head ? ".head" : ".body")) }'
check "first part: a key" grep -qi '^content-type: application/pkcs8' "$WORK/part1.head"
check "second part: a certificate" grep -qi '^content-type: application/pkcs7-mime; smime-type=certs-only' "$WORK/part2.head"
same "both in base64" 2 "$(cat "$WORK/part1.head" "$WORK/part2.head" | grep -ci '^content-transfer-encoding: base64')"
openssl base64 -d -in "$WORK/part1.body" | openssl pkey -inform DER -out "$WORK/made.key"
certificate "$WORK/part2.body" >"$WORK/made.crt"
same "they belong together" "$(openssl pkey -in "$WORK/made.key" -pubout)" "$(openssl x509 -in "$WORK/made.crt" -noout -pubkey)"
differ_from_request() { [ "$(openssl pkey -in "$WORK/VIN1.key" -pubout)" != "$(openssl x509 -in "$WORK/made.crt" -noout -pubkey)" ]; }
check "the key is not the request's" differ_from_request
check "the certificate chains" openssl verify -CAfile "$PKI/ca.pem" "$WORK/made.crt"
same "serverkeygen without a certificate" 401 "$(status --data-binary "@$WORK/VIN1.csr" "$URL/serverkeygen")"
same "serverkeygen for another's name" 400 "$(status "${DEVICE[@]}" --data-binary "@$WORK/other.csr" "$URL/serverkeygen")"
same "serverkeygen without a request" 400 "$(status "${DEVICE[@]}" -X POST "$URL/serverkeygen")"

same "csrattrs" 200 "$(status "$URL/csrattrs")"
same "csrattrs: type" application/csrattrs "$(header Content-Type)"
same "csrattrs: what it asks for" "ecdsa-with-SHA256 id-ecPublicKey prime256v1" "$(openssl base64 -d -in "$WORK/body" | openssl asn1parse -inform DER | sed -n 's/.*OBJECT *://p' | paste -sd' ')"

# Profiles.
years() { echo $((($(date -d "$(openssl x509 -in "$PKI/$1.crt" -noout -enddate | cut -d= -f2)" +%s) - $(date +%s) + 86400) / 31536000)); }
"$CONVOY" cloud --pki "$PKI" --make attestation CAR1-TCU CAR1-IVI >"$WORK/out"
same "several ECUs at once" 4 "$(wc -l <"$WORK/out")"
same "attestation lasts 20 years" 20 "$(years CAR1-TCU)"
check "with a key each" test "$(openssl x509 -in "$PKI/CAR1-TCU.crt" -noout -pubkey)" != "$(openssl x509 -in "$PKI/CAR1-IVI.crt" -noout -pubkey)"
"$CONVOY" cloud --pki "$PKI" --make claim LOT7 >/dev/null
same "claim: 5 years, by the claim CA" "5 issuer=CN = Convoy claim CA" "$(years LOT7) $(openssl x509 -in "$PKI/LOT7.crt" -noout -issuer)"
"$CONVOY" cloud --pki "$PKI" --make operational --certificate-days 730 BENCH1 >/dev/null
same "operational: as long as is asked for" 2 "$(years BENCH1)"
same "keys are their owner's" 600 "$(stat -c %a "$PKI/BENCH1.key")"
"$CONVOY" cloud --pki "$PKI" --make server broker.example >/dev/null
check "server: for its name" openssl verify -CAfile "$PKI/ca.pem" -verify_hostname broker.example -purpose sslserver "$PKI/broker.example.crt"
for name in operational server a/b .hidden; do
    "$CONVOY" cloud --pki "$PKI" --make claim "$name" >/dev/null 2>"$WORK/err"
    same "'$name' is no name: exit code" "2 1" "$? $(wc -l <"$WORK/err")"
done
check "the CA's key is still its own" openssl verify -CAfile "$PKI/root.crt" "$PKI/operational.crt"
"$CONVOY" cloud --pki "$PKI" --make nonsense X >/dev/null 2>"$WORK/err"
same "an unknown profile: exit code" 2 $?
verdict
