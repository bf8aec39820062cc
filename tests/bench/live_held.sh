#!/usr/bin/env bash
# Fleets held by the live world on one machine: mutual TLS against mosquitto and against our own cloud, on one listener and on two; in clear over
# several listeners, from source addresses of the rig's choosing when the ports of one do not do. Each vehicle connects, stays, and publishes
# once while it is held.
#
# The usual sizes are a tenth of the full ones, which take some ten minutes and 4 GiB: BENCH_LIVE_FULL=1 ./dev bench live_held
# BENCH_LIVE_ONLY=NAME runs one of them (see below).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
convoy=${CONVOY:-$root/build/convoy}
. "$root/tests/e2e/lib_port.sh"
PATH=$PATH:/usr/sbin
command -v mosquitto >/dev/null || { echo "mosquitto is missing: install the Debian package mosquitto" >&2; exit 1; }
work=$(mktemp -d)
broker='' first=''
finish() {
    [ -z "$broker" ] || kill "$broker" 2>/dev/null || true
    [ -z "$first" ] || kill "$first" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

divisor=10
[ -z "${BENCH_LIVE_FULL:-}" ] || divisor=1

cat >"$work/held.lua" <<'END'
local vehicles = param("fleet", 100, "vehicles in all")
local identity = param("identity", "none", "certificate or none")
local ramp = param("ramp", 5, "seconds in which all of them power up")
scenario "held" { start = "2026-03-04 08:00", duration = seconds(ramp * 1.5 + 15), seed = 1, warm_up = seconds(ramp) }
region "here" { latency = milliseconds(1) }
cloud { activation = constant(milliseconds(10)), processors = 1 }
cohort "car" {
  count = vehicles, radio = "ideal", identity = factory { kind = identity, provisioning = "done" },
  mqtt = { version = 5, parked = { keep_alive = minutes(20) }, driving = { keep_alive = minutes(20) }, session_expiry = hours(1) },
  telemetry = every(seconds(ramp + 10)):always():size(constant(200)):qos(1),
  trips = always_parked(), power_up = within(seconds(ramp)), backoff = { base = seconds(1), cap = seconds(10) },
}
expect "held" (broker():connected():last()):at_least(vehicles)
END

# start_mosquitto TLS|CLEAR COUNT: its listeners' ports in $ports.
start_mosquitto() {
    local i
    ports=()
    printf 'user %s\nper_listener_settings true\nlog_type none\n' "$(id -un)" >"$work/mosquitto.conf"
    for ((i = 0; i < $2; i++)); do
        ports+=("$(free_port)")
        printf 'listener %s 127.0.0.1\nallow_anonymous true\n' "${ports[i]}" >>"$work/mosquitto.conf"
        if [ "$1" = TLS ]; then
            printf 'require_certificate true\ncafile %s/ca.pem\ncertfile %s/server.crt\nkeyfile %s/server.key\n' \
                "$work/pki" "$work/pki" "$work/pki" >>"$work/mosquitto.conf"
        fi
    done
    mosquitto -c "$work/mosquitto.conf" >"$work/mosquitto.log" 2>&1 &
    broker=$!
    for i in $(seq 100); do
        (exec 3<>"/dev/tcp/127.0.0.1/${ports[-1]}") 2>/dev/null && return 0
        sleep 0.1
    done
    echo "mosquitto does not start" >&2
    exit 1
}

stop_mosquitto() {
    kill "$broker" 2>/dev/null || true
    wait "$broker" 2>/dev/null || true
    broker=''
}

# held NAME VEHICLES RAMP-SECONDS PROCESSES IDENTITY OPTIONS...: runs and prints what came of it.
held() {
    local name=$1 vehicles=$2 ramp=$3 processes=$4 identity=$5 status=0
    shift 5
    "$convoy" run "$work/held.lua" --world live -j "$processes" --fleet "$vehicles" --set identity="$identity" --set ramp="$ramp" --lag-bound 60000 \
        --connect-rate $((2 * vehicles / ramp + 10)) --out "$work/$name" "$@" >&2 || status=$?
    [ -f "$work/$name/result.json" ] || exit "${status:-1}"
    node -e '
const r = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"));
const connected = r.expectations.find((e) => e.id === "held").measured;
console.log(JSON.stringify({ name: process.argv[2], vehicles: r.fleet, held: connected, rig_bytes_per_vehicle: Math.round(r.peak_rss_bytes / r.fleet),
    connections: r.counters.connect_attempts, failed: r.counters.connects_failed, lag_p99_us: r.lag.p99_us, rig_cpu_s: r.cpu_s,
    cloud_cpu_s: r.cloud_cpu_s, telemetry_lost: r.ledger.lost }));
process.exit(connected >= r.fleet && r.ledger.lost === 0 ? 0 : 1);' "$work/$name/result.json" "$name" || exit 1
    rm -rf "${work:?}/$name"
}

wanted() { [ -z "${BENCH_LIVE_ONLY:-}" ] || [ "$BENCH_LIVE_ONLY" = "$1" ]; }
brokers() {
    local port
    options=()
    for port in "${ports[@]}"; do options+=(--broker "$1://127.0.0.1:$port"); done
}

tls=$((15000 / divisor))
ramp=$((tls / 125 + 5))
"$convoy" cloud --init --pki "$work/pki" >&2
if wanted tls_embedded; then
    held tls_embedded "$tls" "$((2 * ramp))" 1 certificate
fi
if wanted tls_two_embedded; then
    held tls_two_embedded "$((2 * tls))" "$((2 * ramp))" 2 certificate
fi
if wanted tls_mosquitto; then
    start_mosquitto TLS 1
    brokers mqtts
    held tls_mosquitto "$tls" "$ramp" 1 certificate "${options[@]}" --pki "$work/pki"
    stop_mosquitto
fi
if wanted tls_two_mosquitto; then # a listener of a process of its own each: one process has 20,000 descriptors on such machines
    start_mosquitto TLS 1
    first=$broker all=("${ports[@]}")
    start_mosquitto TLS 1
    ports=("${all[@]}" "${ports[@]}")
    brokers mqtts
    held tls_two_mosquitto "$((2 * tls))" "$((2 * ramp))" 2 certificate "${options[@]}" --pki "$work/pki"
    stop_mosquitto
    kill "$first" 2>/dev/null || true
    first=''
fi
if wanted clear_embedded; then
    held clear_embedded "$((40000 / divisor))" 20 3 none
fi
