#!/bin/bash
# The reference TCU with its keys in a PKCS#11 token (SoftHSM): enrolled at the certificate broker, claimed, rotated; what other people's
# tool (OpenSC's) sees in the token; what is left after power cuts.
. "$(dirname "$0")/lib_cloud.sh"
need openssl openssl
need curl curl
need mosquitto_pub mosquitto-clients
MODULE=
for file in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so; do
    [ -e "$file" ] && MODULE=$file && break
done
if [ -z "$MODULE" ] || ! command -v softhsm2-util >/dev/null || ! command -v pkcs11-tool >/dev/null; then
    echo "skipped: no token to test with (Debian packages softhsm2, opensc)"
    exit 77
fi

export SOFTHSM2_CONF=$WORK/softhsm2.conf
mkdir "$WORK/tokens"
printf 'directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n' "$WORK/tokens" >"$SOFTHSM2_CONF"
softhsm2-util --init-token --free --label 'a car' --so-pin 87654321 --pin 4711 >/dev/null || skip "SoftHSM makes no token"
softhsm2-util --init-token --free --label other --so-pin 87654321 --pin 1111 >/dev/null
echo 4711 >"$WORK/pin"
TOKEN=(--token 'pkcs11:token=a%20car' --token-module "$MODULE" --pin-file "$WORK/pin")

says() { grep -q -- "$2" "$1"; }
tool() { pkcs11-tool --module "$MODULE" --token-label 'a car' --login --pin 4711 "$@" 2>/dev/null; }
# keys LABEL: how many private keys have that label; "" for any.
keys() { tool --list-objects --type privkey | grep -c "label: *$1"; }
public_of() { tool --read-object --type pubkey --label "$1" | openssl pkey -pubin -inform DER -outform DER 2>/dev/null | sha256sum; }
public_in() { openssl x509 -in "$1" -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum; }
tcu() { # tcu OUTPUT OPTIONS...: in the background
    local out=$1
    shift
    : >"$out"
    "$CONVOY" tcu "$@" >>"$out" 2>&1 &
    TCU_PID=$!
    STARTED+=("$TCU_PID")
}
end_tcu() { # end_tcu SIGNAL: sets TCU_CODE
    kill "-$1" "$TCU_PID"
    wait "$TCU_PID"
    TCU_CODE=$?
    STARTED=("$CLOUD_PID")
}
secrets() { grep -rq 'PRIVATE KEY' "$1"; }

echo "--- made in the token, certified by the certificate broker"
start_cloud --activation-delay 500
DOORS=(--broker "mqtts://127.0.0.1:$MQTTS" --certificate-broker "https://127.0.0.1:$EST" --store "$WORK/store" --name VIN7 --period 1 --driving)
tcu "$WORK/first" "${DOORS[@]}" "${TOKEN[@]}" --factory "$PKI"
check "provisions itself" until_true 60 says "$WORK/first" ' provisioned$'
check "telemetry is acknowledged" until_true 60 says "$WORK/first" 'telemetry 2 acknowledged'
check "the module is loaded" grep -q softhsm "/proc/$TCU_PID/maps"
end_tcu TERM
same "ends as told" 0 "$TCU_CODE"
same "one operational key" 1 "$(keys 'convoy VIN7 operational$')"
same "one for the maker's identity" 1 "$(keys 'convoy VIN7 attestation$')"
same "and no other" 2 "$(keys '')"
same "each of them is sensitive and never extractable" 2 "$(tool --list-objects --type privkey | grep -c 'sensitive, always sensitive, never extractable, local')"
same "the certificate is the key's" "$(public_of 'convoy VIN7 operational')" "$(public_in "$WORK/store/operational.pem")"
check "and chains to the CAs" openssl verify -CAfile "$PKI/ca.pem" "$WORK/store/operational.pem"
refuse "no private key in any file of the store" secrets "$WORK/store"
identity=$(sha256sum <"$WORK/store/operational.pem")

echo "--- the power comes back"
export PKCS11_MODULE_PATH=$MODULE
tcu "$WORK/second" "${DOORS[@]}" --token 'pkcs11:token=a%20car' --pin-file "$WORK/pin" --ca "$PKI/ca.pem"
unset PKCS11_MODULE_PATH
check "connects with what it has kept" until_true 60 says "$WORK/second" 'acknowledged'
check "in the session it had" says "$WORK/second" 'online, session resumed'
refuse "without a new key" says "$WORK/second" 'key pair'
end_tcu KILL 2>/dev/null
same "and is who it was" "$identity" "$(sha256sum <"$WORK/store/operational.pem")"

echo "--- what a power cut may leave"
tool --keypairgen --key-type EC:prime256v1 --label 'convoy VIN7 operational' --id 77 >/dev/null
tool --keypairgen --key-type EC:prime256v1 --label 'convoy VIN7 operational-second' --id 78 >/dev/null
tool --keypairgen --key-type EC:prime256v1 --label 'convoy VIN8 operational' --id 79 >/dev/null
tcu "$WORK/third" "${DOORS[@]}" "${TOKEN[@]}" --ca "$PKI/ca.pem"
check "it starts all the same" until_true 60 says "$WORK/third" 'acknowledged'
end_tcu TERM
same "leftovers of its slots are gone" 1 "$(keys 'convoy VIN7 operational')"
same "the key in use is not" "$(public_of 'convoy VIN7 operational')" "$(public_in "$WORK/store/operational.pem")"
same "nor that of another TCU" 1 "$(keys 'convoy VIN8 operational')"

echo "--- the key is lost"
tcu "$WORK/lost" "${DOORS[@]}" "${TOKEN[@]}" --ca "$PKI/ca.pem"
check "online with it" until_true 60 says "$WORK/lost" 'acknowledged'
tool --delete-object --type privkey --label 'convoy VIN7 operational' >/dev/null
mosquitto_pub -h 127.0.0.1 -p "$MQTT" -V 5 -i VIN7 -t "x" -m 'somebody takes over' # so that it has to come back
check "without it nobody is let in, and it says why" until_true 60 says "$WORK/lost" "token 'a car' has no key for the certificate"
end_tcu TERM
tcu "$WORK/fourth" "${DOORS[@]}" "${TOKEN[@]}" --ca "$PKI/ca.pem"
check "it gets itself another identity" until_true 60 says "$WORK/fourth" ' provisioned$'
end_tcu TERM
same "with one key" 1 "$(keys 'convoy VIN7 operational')"
same "of the certificate" "$(public_of 'convoy VIN7 operational')" "$(public_in "$WORK/store/operational.pem")"

echo "--- without a token nothing of it is there"
tcu "$WORK/fifth" "${DOORS[@]}" --factory "$PKI" --store "$WORK/plain" --name VIN9
check "provisions itself" until_true 60 says "$WORK/fifth" ' provisioned$'
refuse "no module is loaded" grep -qE '(softhsm2|pkcs11|p11-kit-proxy)[^/]*[.]so' "/proc/$TCU_PID/maps"
end_tcu TERM
check "the key is in the store" secrets "$WORK/plain"
kill -TERM "$CLOUD_PID"
wait "$CLOUD_PID"
STARTED=()

echo "--- claimed and rotated"
"$CONVOY" cloud --pki "$PKI" --make operator alice >/dev/null
"$CONVOY" cloud --pki "$PKI" --make claim lot-7 >/dev/null
start_cloud --lifecycle --mqtt-port -1 --registry "$WORK/registry.sqlite"
api() { curl -sS --fail --cacert "$PKI/ca.pem" --cert "$PKI/alice.crt" --key "$PKI/alice.key" "https://127.0.0.1:$EST/v1/$1" "${@:2}"; }
REF=$(api vehicles -d '{"vin":"1HGCM82633A004352","device":"tcu-1","tenant":"acme"}' | sed 's/.*"referenceId":"\([^"]*\)".*/\1/')
openssl pkey -in "$PKI/lot-7.key" -outform DER -out "$WORK/lot.der"
openssl pkey -in "$PKI/lot-7.key" -pubout -outform DER -out "$WORK/lot.pub"
tool --write-object "$WORK/lot.der" --type privkey --label lot-7 --id 07 --usage-sign >/dev/null
tool --write-object "$WORK/lot.pub" --type pubkey --label lot-7 --id 07 --usage-sign >/dev/null
rm "$WORK/lot.der"
tcu "$WORK/claim" --broker "mqtts://127.0.0.1:$MQTTS" --ca "$PKI/ca.pem" --name "$REF" --device tcu-1 --store "$WORK/claimed" --period 1 \
    --driving --claim-certificate "$PKI/lot-7.crt" "${TOKEN[@]}"
check "claims with a key that its maker put into the token" until_true 60 says "$WORK/claim" 'telemetry 1 acknowledged'
same "and has one of its own" 1 "$(keys "convoy $REF operational")"
old=$(public_of "convoy $REF operational")
same "to which the certificate belongs" "$old" "$(public_in "$WORK/claimed/operational.pem")"
JOB=$(api "vehicles/$REF/rotate" -X POST | sed 's/.*"jobId":"\([^"]*\)".*/\1/')
check "a job rotates it" until_true 60 says "$WORK/claim" "job $JOB: ended, on the new certificate"
rotated() { [ "$(keys "convoy $REF operational-second$")" = 1 ] && [ "$(keys "convoy $REF operational$")" = 0 ]; }
check "the second slot has a key, the first has none" until_true 30 rotated
new=$(public_of "convoy $REF operational-second")
refuse "which is another one" [ "$old" = "$new" ]
same "the certificate belongs to it" "$new" "$(public_in "$WORK/claimed/operational-second.pem")"
refuse "the first certificate is gone" test -e "$WORK/claimed/operational.pem"
refuse "no private key in any file" secrets "$WORK/claimed"
end_tcu KILL 2>/dev/null
tcu "$WORK/again" --broker "mqtts://127.0.0.1:$MQTTS" --ca "$PKI/ca.pem" --name "$REF" --device tcu-1 --store "$WORK/claimed" --period 1 "${TOKEN[@]}" --profile aws-iot
check "after a power cut it is on the new one" until_true 60 says "$WORK/again" 'acknowledged'
JOB=$(api "vehicles/$REF/rotate" -X POST | sed 's/.*"jobId":"\([^"]*\)".*/\1/')
check "and is rotated back into the first slot" until_true 60 says "$WORK/again" "job $JOB: ended, on the new certificate"
back() { [ "$(keys "convoy $REF operational-second$")" = 0 ] && [ "$(keys "convoy $REF operational$")" = 1 ]; }
check "whose key is the only one" until_true 30 back
end_tcu TERM
same "the maker's is still there" 1 "$(keys lot-7)"

echo "--- what can be wrong"
fails() { # fails NAME CODE TEXT OPTIONS...
    local name=$1 code=$2 text=$3
    shift 3
    "$CONVOY" tcu --broker mqtts://127.0.0.1:1 --store "$WORK/wrong" --name VIN7 --duration 1 "$@" >"$WORK/out" 2>"$WORK/err"
    same "$name: exit code" "$code" $?
    same "$name: one line" 1 "$(wc -l <"$WORK/err")"
    check "$name: says so" grep -qF -- "$text" "$WORK/err"
}
M=(--token-module "$MODULE")
echo 1234 >"$WORK/wrong-pin"
: >"$WORK/no-pin"
fails "wrong PIN" 3 "the PIN is wrong" --token 'pkcs11:token=a%20car' "${M[@]}" --pin-file "$WORK/wrong-pin"
fails "empty file" 3 "no PIN in" --token 'pkcs11:token=a%20car' "${M[@]}" --pin-file "$WORK/no-pin"
fails "no such file" 3 "No such file" --token 'pkcs11:token=a%20car' "${M[@]}" --pin-file "$WORK/none"
fails "no PIN" 3 "wants a PIN: --pin-file" --token 'pkcs11:token=a%20car' "${M[@]}"
fails "no such token" 3 "has no tokens 'lorry'" --token pkcs11:token=lorry "${M[@]}" --pin-file "$WORK/pin"
fails "several" 3 "has several tokens" --token pkcs11:manufacturer=SoftHSM%20project "${M[@]}" --pin-file "$WORK/pin"
fails "no name" 3 "names no token" --token pkcs11: "${M[@]}" --pin-file "$WORK/pin"
fails "half a byte" 3 "names no token" --token pkcs11:token=a%2 "${M[@]}" --pin-file "$WORK/pin"
fails "another scheme" 3 "names no token" --token token=a "${M[@]}" --pin-file "$WORK/pin"
fails "no module" 3 "cannot load the token's module" --token pkcs11:token=a --token-module "$WORK/none.so" --pin-file "$WORK/pin"
fails "no token's module" 3 "is no PKCS#11 module" --token pkcs11:token=a --token-module libz.so.1 --pin-file "$WORK/pin"
fails "in clear text" 2 "mqtts://HOST:PORT" --broker mqtt://127.0.0.1:1 "${TOKEN[@]}"
fails "a PIN for nothing" 2 "--pin-file belongs to --token" --pin-file "$WORK/pin"
fails "a certificate of a key elsewhere" 3 "the token has no key for $PKI/server.crt" --certificate-broker https://127.0.0.1:1 \
    --attestation-certificate "$PKI/server.crt" "${TOKEN[@]}"
verdict
