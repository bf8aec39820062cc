#!/usr/bin/env bash
# A weekday of 20,000 vehicles in the virtual world: packets, events and vehicle days a second on one core, bytes a vehicle by part.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
convoy=${CONVOY:-$root/build/convoy}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
status=0
"$convoy" run "$root/scenarios/commute-peak.lua" --fleet "${BENCH_FLEET:-20000}" --out "$out/run" >&2 || status=$?
[ -f "$out/run/result.json" ] || exit "${status:-1}"
node -e '
const r = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"));
const say = (name, value, unit, better) => console.log(JSON.stringify({ name, value, unit, better }));
say("virtual.packets_per_s", r.packets / r.wall_s, "packets/s", "higher");
say("virtual.events_per_s", r.events / r.wall_s, "events/s", "higher");
say("virtual.vehicle_days_per_s", r.fleet * r.simulated_s / 86400 / r.wall_s, "vehicle days/s", "higher");
say("virtual.bytes_per_vehicle", r.bytes_per_vehicle, "bytes", "lower");
for (const part of r.memory ?? []) say("virtual.bytes." + part.part.replace(/\W+/g, "_"), part.bytes / r.fleet, "bytes/vehicle", "lower");
' "$out/run/result.json"
