#!/bin/bash
# MQTT.js, version 5 of the protocol, against convoy cloud.
. "$(dirname "$0")/lib_cloud.sh"
need node nodejs
SOURCE=$(cd "$(dirname "$0")/../.." && pwd)
[ -d "$SOURCE/tests/interop/node_modules/mqtt" ] || skip "tests/interop has no node_modules (npm ci there, or ./dev build)"
start_cloud
check "MQTT.js" node "$SOURCE/tests/interop/cloud_roundtrip.js" "mqtt://127.0.0.1:$MQTT"
kill -TERM "$CLOUD_PID"
wait "$CLOUD_PID"
same "ends as told" 0 $?
verdict
