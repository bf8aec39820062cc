#!/usr/bin/env bash
# What goes wrong is answered with one line that says what and where, with the right exit code, and with what was measured kept.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

smoke=$scenarios/smoke.lua
cd "$work"

# bad CODE PATTERN ARGUMENTS...: convoy ends with the code and says one line that matches.
bad() {
    local code=$1 pattern=$2
    shift 2
    expect_exit "$code" timeout 600 "$convoy" "$@"
    expect_one_line "$pattern"
}

# scenario NAME SED-COMMAND: smoke.lua with a mistake in it.
scenario() {
    sed "$2" "$smoke" >"$1.lua"
    if cmp -s "$1.lua" "$smoke"; then fail "$1: '$2' changes nothing in smoke.lua"; fi
}

# ---- the command line: 2 -----------------------------------------------------------------------------------------------------
bad 2 "unknown command 'bogus'" bogus
bad 2 "'plan' is not in this version" plan
bad 2 "unknown option '--bogus'" run "$smoke" --bogus
bad 2 "'--seed' needs a value" run "$smoke" --seed
bad 2 "--fleet takes .* got '-5'" run "$smoke" --fleet -5
bad 2 "--partitions takes a whole number .* got '1.5'" run "$smoke" --partitions 1.5
bad 2 "--fleet takes a whole number .* got '1.5'" run "$smoke" --fleet 1.5
bad 2 "--duration takes .* got 'never'" run "$smoke" --duration never
bad 2 "--window takes .* got '5000'" run "$smoke" --window 5000
bad 2 "--world takes virtual or live, got 'mars'" run "$smoke" --world mars
bad 2 "--broker belongs to the live world" run "$smoke" --broker mqtt://127.0.0.1:1
bad 2 "--broker takes .* got 'http://x'" run "$smoke" --world live --broker http://x
bad 2 "which scenario" run
bad 2 "one scenario at a time" run "$smoke" "$smoke"
bad 2 "--jobs takes a number from 1 to 4096, got '0'" run "$smoke" -j 0
bad 2 "--jobs takes .* got 'two'" run "$smoke" --jobs two
bad 2 "--partitions takes .* got '0'" run "$smoke" --partitions 0
bad 2 "--memory takes a size .* got '5Q'" run "$smoke" --memory 5Q
bad 2 "--memory takes a size .* got '5M'" run "$smoke" --memory 5M
bad 2 "--checkpoint takes a time .* got '0s'" run "$smoke" --checkpoint 0s
bad 2 "--checkpoint belongs to the virtual world" run "$smoke" --world live --checkpoint 1h
bad 2 "--resume belongs to the virtual world" run --world live --resume "$work"
bad 2 "--resume belongs to convoy run" check --resume "$work"
bad 2 "which vehicle of which run" replay
bad 2 "which vehicle of which run" replay "$work"
bad 2 "'--bogus'" replay "$work" --vehicle 1 --bogus
bad 2 "--from takes .* got 'noon'" replay "$work" --vehicle 1 --from noon
bad 2 "--set takes NAME=VALUE" run "$smoke" --set fleet
bad 2 "--set bogus: .* there are .*fault.drop_commands" run "$smoke" --set bogus=1
bad 2 "smoke.lua:[0-9]+: --set fault.drop_commands=maybe: takes a number, on or off" run "$smoke" --set fault.drop_commands=maybe
bad 2 "smoke.lua:[0-9]+: .* got -5" run "$smoke" --set fleet=-5
ok "command line"

# ---- the scenario: 2, with file and line ---------------------------------------------------------------------------------------
bad 2 "^missing.lua: cannot be read: No such file" run missing.lua
bad 2 "is no file" run "$work"
scenario syntax '/^scenario/s/{/{ {{/'
bad 2 "^syntax.lua:[0-9]+: " run syntax.lua
bad 2 "^syntax.lua:[0-9]+: " check syntax.lua
scenario loop '$a while true do end'
bad 2 "^loop.lua:$(wc -l <loop.lua): still running after [0-9,]+ steps" run loop.lua
scenario misspelt 's/parked = { keep_alive/parked = { keepalive/'
bad 2 "^misspelt.lua:[0-9]+: .*unknown field 'keepalive' in mqtt.parked; did you mean 'keep_alive'" run misspelt.lua
scenario negative 's/count *= vehicles/count = -5/'
bad 2 "^negative.lua:[0-9]+: cohort \"car\": count must be .* got -5" run negative.lua
scenario hungry '$a local t = {} while true do t[#t + 1] = string.rep("x", 60000) .. #t end'
bad 2 "^hungry.lua:$(wc -l <hungry.lua): .*memory" run hungry.lua
scenario nosy '$a io.open("/etc/passwd")'
bad 2 "^nosy.lua:$(wc -l <nosy.lua): 'io' is not available" run nosy.lua
scenario mute '/^expect/d; s/breaks = {[^}]*}/breaks = {}/'
bad 2 "mute.lua" run mute.lua
# A mistake that shows only during the run: what was measured until then is reported all the same.
scenario late '$a at("08:00:30", function() local x = nil; x.y = 1 end)'
bad 2 "late.lua:$(wc -l <late.lua): attempt to index" run late.lua --fleet 20 --out late
expect_run_directory late
equal "$(json late/result.json it.verdict)" error "verdict of a run whose script failed"
scenario forever '$a at("08:00:30", function() while true do end end)'
bad 2 "forever.lua:$(wc -l <forever.lua): still running after" run forever.lua --fleet 20 --out forever
ok "scenarios"

# ---- the disk: 3 -------------------------------------------------------------------------------------------------------------
: >file
bad 3 "cannot make the run directory file/run: Not a directory" run "$smoke" --fleet 20 --out file/run
if [ "$(id -u)" -ne 0 ]; then
    mkdir -m 500 sealed
    bad 3 "cannot (make|write to) the run directory" run "$smoke" --fleet 20 --out sealed/run
fi
# A disk that fills up while the report is written: one line, the files that fitted stay and are whole, no half file, and the summary says it.
full_disk() {
    expect_exit 3 "$@"
    expect_one_line "cannot write .*: (No space left on device|File too large)"
    grep -q 'exit 3' out || fail "the summary does not say exit 3"
    grep -q 'nothing-lost' out || fail "the summary has no verdicts"
    equal "$(find full -name '*.part*' | wc -l)" 0 "half files after a full disk"
    [ -s full/junit.xml ] || fail "junit.xml would have fitted"
    xmllint --noout full/junit.xml
    rm -rf full
}
full_disk bash -c 'ulimit -f 8; exec "$@"' - "$convoy" run "$smoke" --fleet 50 --out full
ok "limited file size"
mkdir disk
if unshare --mount true 2>/dev/null; then
    # The small disk exists for the command alone; its files are copied out before it goes.
    full_disk unshare --mount bash -c 'mount -t tmpfs -o size=48k none disk || exit 99
        "$@"; code=$?; mkdir -p full; cp -r disk/run/. full/; exit $code' - "$convoy" run "$smoke" --fleet 50 --out disk/run
    ok "full disk"
fi

# ---- the network: 3 ------------------------------------------------------------------------------------------------------------
closed=$(free_port)
live=("$smoke" --world live --fleet 5 --duration 20s)
bad 3 "mqtt://127.0.0.1:$closed: .*refused" run "${live[@]}" --broker "mqtt://127.0.0.1:$closed" --out unreachable
[ ! -e unreachable ] || fail "a run that measured nothing left a directory"
bad 3 "cannot resolve" run "${live[@]}" --broker mqtt://nowhere.invalid:1883 --out unresolved

"$convoy" cloud --init --pki pki >/dev/null
"$convoy" cloud --init --pki strangers >/dev/null
bad 3 "/no/such/dir" run "${live[@]}" --broker "mqtts://127.0.0.1:$closed" --pki /no/such/dir
bad 3 "/no/such/ca.pem" run "${live[@]}" --broker "mqtts://127.0.0.1:$closed" --pki pki --ca /no/such/ca.pem

# A client certificate of the right CA that is past its time.
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=convoy-rig -keyout expired.key -out expired.csr 2>/dev/null
mkdir issued
: >issued/index
echo 1000 >issued/serial
cat >issued/ca.cnf <<END
[ca]
default_ca = issuer
[issuer]
database = issued/index
serial = issued/serial
new_certs_dir = issued
default_md = sha256
policy = anything
[anything]
commonName = supplied
END
openssl ca -batch -notext -config issued/ca.cnf -cert pki/operational.crt -keyfile pki/operational.key \
    -startdate 20240101000000Z -enddate 20240201000000Z -in expired.csr -out expired.crt 2>openssl.err || fail "openssl: $(cat openssl.err)"

port=$(free_port)
cat >mosquitto.conf <<END
listener $port 127.0.0.1
cafile $work/pki/ca.pem
certfile $work/pki/server.crt
keyfile $work/pki/server.key
require_certificate true
use_identity_as_username true
allow_anonymous true
END
[ "$(id -u)" -ne 0 ] || echo "user root" >>mosquitto.conf
start mosquitto "$(PATH=$PATH:/usr/sbin command -v mosquitto)" -c mosquitto.conf
wait_port "$port" "$started"
broker=mqtts://127.0.0.1:$port
bad 3 "$broker.*certificate" run "${live[@]}" --broker "$broker" --pki pki --ca strangers/ca.pem --out wrong_ca
bad 3 "$broker.*(certificate|refused|closed|TLS)" run "${live[@]}" --broker "$broker" --pki strangers --ca pki/ca.pem --out stranger
bad 3 "$broker.*(expired|certificate)" run "${live[@]}" --broker "$broker" --pki pki --certificate expired.crt --key expired.key --out expired
ok "network and certificates"

# ---- Ctrl-C --------------------------------------------------------------------------------------------------------------------
# In the middle of a run: 130, nothing on standard error but what a terminal would show, and a report of what there is.
start interrupted "$convoy" run "$scenarios/commute-peak.lua" --fleet 60000 --out interrupted
pid=$started
sleep 2
kill -INT "$pid"
code=0
wait "$pid" || code=$?
equal "$code" 130 "exit code after Ctrl-C"
[ "$(wc -l <interrupted.err)" -le 1 ] || fail "Ctrl-C left $(cat interrupted.err)"
expect_run_directory interrupted
equal "$(json interrupted/result.json it.verdict)" interrupted "verdict after Ctrl-C"
equal "$(json interrupted/result.json it.exit_code)" 130 "exit_code after Ctrl-C"
simulated=$(json interrupted/result.json 'Math.round(it.simulated_s)')
[ "$simulated" -gt 0 ] && [ "$simulated" -lt 86400 ] || fail "interrupted after $simulated simulated seconds"
grep -q interrupted interrupted.log || fail "the summary does not say that it was interrupted"
ok "Ctrl-C in the virtual world, $simulated s into the day"

start interrupted_live "$convoy" run "$smoke" --world live --fleet 20 --out interrupted_live
pid=$started
sleep 8
kill -INT "$pid"
code=0
wait "$pid" || code=$?
equal "$code" 130 "exit code after Ctrl-C in the live world"
expect_run_directory interrupted_live
equal "$(json interrupted_live/result.json it.verdict)" interrupted "verdict after Ctrl-C in the live world"
[ "$(json interrupted_live/result.json it.ledger.delivered)" -gt 0 ] || fail "what was measured before Ctrl-C is gone"
ok "Ctrl-C in the live world"
