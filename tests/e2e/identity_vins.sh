#!/usr/bin/env bash
# No VIN in clear, anywhere: every byte that the scenarios of identities leave is searched, by a finder that is not the program's, for
# well-formed VINs and for those of the fleet. And the search finds what is planted, so that finding none means something.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

fleet=200
tool=$CONVOY_BUILD/tests/tool_vins
finder=$source_tree/tests/tools/find_vins.mjs

# clean DIRECTORY [--only]: none in any file, or none of the fleet's; says how much was searched.
clean() {
    node "$finder" "${2:---vins}" "$work/vins" "$1" >"$work/found" 2>"$work/found.err" || fail "VINs in what $(basename "$1") left: $(head -n 3 "$work/found") $(cat "$work/found.err")"
    cat "$work/found.err"
}

seed_of() { json "$1/result.json" it.seed; }

ten="provisioning-wave claim-provisioning rotation-wave rotation-power-loss compromise clone owner-change tcu-swap decommission ca-expiry"

# The live run goes on meanwhile: it is waiting most of the time.
live_options=(--world live --fleet 20 --set within=5 --duration 20s --lag-bound 2000)
start live "$convoy" run "$scenarios/provisioning-wave.lua" "${live_options[@]}" --out "$work/live"
live=$started

# ---- the ten, virtual --------------------------------------------------------------------------------------------------------
for scenario in $ten; do
    directory=$work/runs/$scenario
    mkdir -p "$work/runs"
    expect_exit 0 "$convoy" run "$scenarios/$scenario.lua" --fleet "$fleet" --out "$directory"
    cp "$work/out" "$directory/terminal"
    "$convoy" replay "$directory" --vehicle 3 >"$directory/replay" 2>&1 || fail "vehicle 3 of $scenario cannot be replayed"
    "$tool" "$(seed_of "$directory")" 0 "$fleet" >"$work/vins"
    equal "$(sort -u "$work/vins" | wc -l)" "$fleet" "VINs of the fleet"
    clean "$directory"
done
ok "ten scenarios, $fleet vehicles each: no VIN in any file"

# A checkpoint is the memory of the run: none there either.
start saved env --default-signal=INT "$convoy" run "$scenarios/provisioning-wave.lua" --fleet 40000 --checkpoint 30s --out "$work/saved"
saved=$started
for _ in $(seq 600); do
    if compgen -G "$work/saved/checkpoint-*-of-*[0-9]" >/dev/null || ! running "$saved"; then break; fi
    sleep 0.05
done
compgen -G "$work/saved/checkpoint-*-of-*[0-9]" >/dev/null || fail "no checkpoint was written"
kill -INT "$saved"
wait "$saved" || true
"$tool" 4 0 40000 >"$work/vins"
clean "$work/saved" --only
# It would be found there.
printf '%s' "$(sed -n 39999p "$work/vins")" | dd of="$(compgen -G "$work/saved/checkpoint-*-of-*[0-9]" | head -n 1)" bs=1 seek=5000000 conv=notrunc status=none
if node "$finder" --only "$work/vins" "$work/saved" >"$work/found" 2>&1; then fail "a VIN planted in the checkpoint was not found"; fi
ok "no VIN in a checkpoint"

# ---- control: the wire -------------------------------------------------------------------------------------------------------
expect_exit 1 "$convoy" run "$scenarios/provisioning-wave.lua" --fleet "$fleet" --set fault.vin_in_clear=on --out "$work/told"
seen=$(json "$work/told/result.json" it.counters.vins_seen)
[ "$seen" -gt 0 ] || fail "vehicles say their VIN, and the counter on the wire sees none"
equal "$(json "$work/told/result.json" 'it.expectations.find((e) => e.id === "no-vin-seen").verdict')" fail "verdict of no-vin-seen"
equal "$(json "$work/runs/provisioning-wave/result.json" it.counters.vins_seen)" 0 "VINs on the wire without the fault"
# Even then the report says who, not which VIN.
"$tool" "$(seed_of "$work/told")" 0 "$fleet" >"$work/vins"
clean "$work/told"
ok "$seen VINs in clear are seen on the wire, and not repeated in the report"

# ---- control: the search -----------------------------------------------------------------------------------------------------
# planted WAY COUNT COMMAND...: a copy of a run is changed; the search finds as many.
planted() {
    local way=$1 code=0
    shift
    rm -rf "$work/planted"
    cp -r "$work/told" "$work/planted"
    (cd "$work/planted" && "$@")
    node "$finder" --vins "$work/vins" "$work/planted" >"$work/found" 2>"$work/found.err" || code=$?
    equal "$code" 1 "exit code of the search with a VIN planted $way"
    grep -q -- "$vin\$" "$work/found" || fail "the VIN planted $way was not found: $(cat "$work/found")"
}
vin=$(sed -n 17p "$work/vins")
# shellcheck disable=SC2317 # called by name
{
    as_text() { sed -i "s/\"verdict\"/\"vehicle $vin\", \"verdict\"/" result.json; }
    in_a_column() { sqlite3 run.sqlite "create table planted (a, b, c); insert into planted values ('car', '$vin', 'DEVICE')"; }
    in_base64() { printf -- '-----BEGIN X-----\n%s\n-----END X-----\n' "$(printf 'subject=%s,serial' "$vin" | base64 -w 24)" >planted.pem; }
    in_hexadecimal() { printf '%s' "$vin" | xxd -p -c 0 >planted; }
    in_wide_letters() { printf '%s' "$vin" | sed 's/./&\x00/g' >planted; }
    in_small_letters() { printf 'vin=%s.' "${vin,,}" >>report.html; }
    of_another_fleet() { printf 'the vehicle (%s)' "$vin" >>metrics.prom; }
    of_another_in_a_column() { sqlite3 run.sqlite "create table planted (a, b, c); insert into planted values ('car', '$vin', 'DEVICE')"; }
}
planted "as text" as_text
planted "in a database, between two texts" in_a_column
planted "in base64" in_base64
planted "in hexadecimal" in_hexadecimal
planted "in letters of two bytes" in_wide_letters
planted "in small letters" in_small_letters
vin=1M8GDM9AXKP042788 # the example of 49 CFR 565, of no fleet of ours
planted "that is of another fleet" of_another_fleet
planted "that is of another fleet, in a database" of_another_in_a_column
# A wrong check digit, a letter too many, digits only: no VIN.
printf '1M8GDM9A0KP042788 A1M8GDM9AXKP042788 11111111111111111 1M8GDM9AXKPO42788' >"$work/none"
node "$finder" "$work/none" >"$work/found" 2>&1 || fail "what is no VIN was found: $(cat "$work/found")"
ok "what is planted is found, in clear or not"

# ---- live --------------------------------------------------------------------------------------------------------------------
code=0
wait "$live" || code=$?
equal "$code" 0 "exit code of the live run: $(cat "$work/live.log")"
cp "$work/live.log" "$work/live.err" "$work/live"
for file in registry.sqlite pki/operational.crt pki/index.db; do
    [ -s "$work/live/$file" ] || fail "the live run left no $file"
done
"$tool" "$(seed_of "$work/live")" 0 20 >"$work/vins"
clean "$work/live"
ok "a live run, with its registry and its PKI: no VIN"
