#!/usr/bin/env bash
# A sealed command read by other people: OpenSSL's command line verifies its signature and knows the key, Node derives the vehicle's key and decrypts. And
# what convoy tcu says of keys it cannot use.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

seal=${CONVOY_BUILD:?}/tests/tool_seal
hex() { xxd -p -c 1000 "$@"; }

# number HEX: of 32 bytes, as DER: without leading zeros, but for one before a first bit that is set.
number() {
    local digits=$1
    while [ "${digits:0:2}" = 00 ] && [ ${#digits} -gt 2 ]; do digits=${digits:2}; done
    case ${digits:0:1} in [89a-f]) digits=00$digits ;; esac
    printf '02%02x%s' $((${#digits} / 2)) "$digits"
}

# take_apart DIR: sealed.bin into what was signed and its signature in DER.
take_apart() {
    local length body
    length=$(stat -c %s "$1/sealed.bin")
    head -c $((length - 64)) "$1/sealed.bin" >"$1/signed"
    body=$(number "$(tail -c 64 "$1/sealed.bin" | head -c 32 | hex)")$(number "$(tail -c 32 "$1/sealed.bin" | hex)")
    printf '30%02x%s' $((${#body} / 2)) "$body" | xxd -r -p >"$1/signature.der"
}

mkdir "$work/a" "$work/b"
openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$work/command.key"

# Often enough that r and s of less than 32 bytes or with their first bit set come by.
for id in $(seq 24); do
    "$seal" "$work/a" car-7 "$id" unlock 1700000060 "$work/command.key"
    equal "$(stat -c %s "$work/a/sealed.bin")" 110 "length"
    take_apart "$work/a"
    expect_exit 0 openssl dgst -sha256 -verify "$work/a/public.der" -keyform DER -signature "$work/a/signature.der" "$work/a/signed"
    equal "$(cat "$work/out")" "Verified OK" "OpenSSL on command $id"
    equal "$("$seal" "$work/a" --open)" "$id unlock" "opened again"
done
expect_exit 0 openssl pkey -pubin -inform DER -in "$work/a/public.der" -noout -text
grep -q 'NIST CURVE: P-256' "$work/out" || fail "$(cat "$work/out")"
openssl pkey -in "$work/command.key" -pubout -outform DER -out "$work/public.der"
cmp "$work/public.der" "$work/a/public.der" || fail "the service's public key is not that of its private key"
ok "signature and public key"

printf 'x' >>"$work/a/signed"
expect_exit 1 openssl dgst -sha256 -verify "$work/a/public.der" -keyform DER -signature "$work/a/signature.der" "$work/a/signed"
ok "not for anything else"

# The table of docs/commands.md in twelve lines of somebody else's library.
cat >"$work/open.mjs" <<'EOF'
import { createDecipheriv, hkdfSync } from "node:crypto";
import { readFileSync } from "node:fs";
const [sealedFile, keyFile, thing] = process.argv.slice(2);
const sealed = readFileSync(sealedFile), key = readFileSync(keyFile);
const derived = Buffer.from(hkdfSync("sha256", Buffer.alloc(32, 0x5a), "", "convoy sealed command 1 " + thing, 32));
if (!derived.equals(key)) throw new Error("another vehicle key");
const cipher = createDecipheriv("aes-256-gcm", key, Buffer.concat([Buffer.alloc(4), sealed.subarray(4, 12)]));
cipher.setAAD(sealed.subarray(0, 16));
cipher.setAuthTag(sealed.subarray(-80, -64));
const plain = Buffer.concat([cipher.update(sealed.subarray(16, -80)), cipher.final()]);
console.log(sealed.toString("latin1", 0, 2), sealed[2], sealed[3], sealed.readBigUInt64BE(4), sealed.readUInt32BE(12),
    plain.readBigUInt64BE(0), plain.toString("utf8", 8));
EOF
"$seal" "$work/a" car-7 1311768467463790320 unlock 1700000060 "$work/command.key"
equal "$(node "$work/open.mjs" "$work/a/sealed.bin" "$work/a/vehicle.key" car-7)" "CV 1 0 1n 1700000060 1311768467463790320n unlock" "what Node reads"
ok "decrypted"

# Keys in all forms they come in; a command of another cloud, or for another vehicle.
openssl pkey -pubin -inform DER -in "$work/a/public.der" -out "$work/public.pem"
cp "$work/a/vehicle.key" "$work/vehicle.raw"
cp "$work/public.pem" "$work/a/public.der"
hex "$work/vehicle.raw" >"$work/a/vehicle.key"
equal "$("$seal" "$work/a" --open)" "1311768467463790320 unlock" "with keys as text"
"$seal" "$work/b" car-7 7 unlock 1700000060
cp "$work/a/sealed.bin" "$work/b/sealed.bin"
expect_exit 1 "$seal" "$work/b" --open
expect_one_line 'sealed.bin: forged'
"$seal" "$work/b" car-8 7 unlock 1700000060 "$work/command.key"
cp "$work/a/sealed.bin" "$work/b/sealed.bin"
expect_exit 1 "$seal" "$work/b" --open
expect_one_line 'sealed.bin: unreadable'
ok "keys"

expect_exit 2 "$convoy" tcu --broker mqtt://127.0.0.1:1 --command-key "$work/public.pem"
expect_one_line '^convoy: --command-key and --vehicle-key belong together$'
expect_exit 3 "$convoy" tcu --broker mqtt://127.0.0.1:1 --store "$work/store" --command-key "$work/vehicle.raw" --vehicle-key "$work/vehicle.raw"
expect_one_line 'vehicle.raw: no public key on an elliptic curve'
expect_exit 3 "$convoy" tcu --broker mqtt://127.0.0.1:1 --store "$work/store" --command-key "$work/public.pem" --vehicle-key "$work/public.pem"
expect_one_line 'public.pem: a vehicle key is 32 bytes, or 64 hexadecimal digits'
expect_exit 3 "$convoy" tcu --broker mqtt://127.0.0.1:1 --store "$work/store" --command-key "$work/nothing" --vehicle-key "$work/vehicle.raw"
expect_one_line 'nothing: No such file or directory'
expect_exit 0 "$convoy" tcu --broker mqtt://127.0.0.1:1 --store "$work/store" --command-key "$work/public.pem" --vehicle-key "$work/vehicle.raw" --duration 0.1
ok "convoy tcu"
