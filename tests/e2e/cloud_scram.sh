#!/bin/bash
# Enhanced authentication of MQTT 5 at convoy cloud: SCRAM-SHA-256 by MQTT.js, and judged by convoy conform; the others go on as before.
. "$(dirname "$0")/lib_cloud.sh"
need node nodejs
need mosquitto_pub mosquitto-clients
SOURCE=$(cd "$(dirname "$0")/../.." && pwd)
[ -d "$SOURCE/tests/interop/node_modules/mqtt" ] || skip "tests/interop has no node_modules (npm ci there, or ./dev build)"

printf '# the fleet\nalice:wonder:land 7\n\nbob:builder\n' >"$WORK/users"
chmod 600 "$WORK/users"
start_cloud --scram-users "$WORK/users" --user fleet --password secret
check "MQTT.js" node "$SOURCE/tests/interop/cloud_scram.js" "mqtt://127.0.0.1:$MQTT" alice 'wonder:land 7'
check "without a method: user and password" mosquitto_pub -h 127.0.0.1 -p "$MQTT" -V 5 -i car -t a -m b -q 1 -u fleet -P secret
refuse "without a method, a user of the method's" mosquitto_pub -h 127.0.0.1 -p "$MQTT" -V 5 -i car -t a -m b -q 1 -u bob -P builder 2>/dev/null

cat >"$WORK/profile.json" <<END
{"like": "mqtt5", "told": {"auth_method": "SCRAM-SHA-256", "auth_user": "alice", "auth_password": "wonder:land 7"}}
END
check "convoy conform" "$CONVOY" conform "mqtt://127.0.0.1:$MQTT" --profile "$WORK/profile.json" --user fleet --password secret --packets --only 'B-AUTH*,B-CONN-017' --out "$WORK/run" >"$WORK/log"
same "all but what the cloud never says is judged" "B-AUTH-013" \
    "$(node -e 'const r = require(process.argv[1]); console.log(r.expectations.filter((e) => e.verdict !== "pass").map((e) => e.id).join(" "))' "$WORK/run/result.json")"
refuse "no password in what a run leaves" grep -rlF 'wonder:land 7' "$WORK/run"
refuse "no proof either" grep -rlE '[pv]=[A-Za-z0-9+/]{28}' "$WORK/run"

bad() { # bad TEXT MESSAGE
    printf '%b' "$1" >"$WORK/bad"
    local said code
    said=$("$CONVOY" cloud --pki "$PKI" --scram-users "$WORK/bad" 2>&1)
    code=$?
    same "a bad file: $2" "2 convoy cloud: --scram-users: $WORK/bad$2" "$code $said"
}
bad '' ': there is no user in it; a line is user:password'
bad 'a:b\nalice\n' ":2: no ':' in it; a line is user:password"
bad 'alice:\n' ':1: a user and a password are at least one character each'
bad 'a:b\nc:d\na:e\n' ": user 'a' stands there twice"
kill -TERM "$CLOUD_PID"
wait "$CLOUD_PID"
same "ends as told" 0 $?
verdict
