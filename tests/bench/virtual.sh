#!/usr/bin/env bash
# The weekday of scenarios/commute-peak.lua in the virtual world, with one process and with two in one run of this bench: packets, events and
# vehicle days a second, how much faster two are (run wall time; their digests must be the same), bytes a vehicle by part.
#   BENCH_FLEET=1000000   vehicles (standard: 20,000; the million is minutes)
#   BENCH_DURATION=24h    scenario time
#   BENCH_RANKS=2         processes of the second run; 1: no second run
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
convoy=${CONVOY:-$root/build/convoy}
ranks=${BENCH_RANKS:-2}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# weekday NAME OPTION...: a run; a missed expectation is no failure of the bench, a run without result is.
weekday() {
    local name=$1 status=0
    shift
    "$convoy" run "$root/scenarios/commute-peak.lua" --fleet "${BENCH_FLEET:-20000}" --duration "${BENCH_DURATION:-24h}" \
        --out "$out/$name" "$@" >&2 || status=$?
    if [ ! -f "$out/$name/result.json" ]; then exit "${status:-1}"; fi
}

weekday one
if [ "$ranks" -gt 1 ]; then weekday more -j "$ranks"; fi
node -e '
const fs = require("fs");
const read = (name) => { try { return JSON.parse(fs.readFileSync(process.argv[1] + "/" + name + "/result.json", "utf8")); } catch { return null; } };
const one = read("one"), more = read("more"), r = more ?? one;
const say = (name, value, unit, better) => console.log(JSON.stringify({ name, value, unit, better }));
if (more && more.digest !== one.digest) { console.error(`digests differ: ${one.digest}, ${more.digest}`); process.exit(1); }
say("virtual.fleet", one.fleet, "vehicles");
say("virtual.packets_per_s", one.packets / one.wall_s, "packets/s", "higher");
say("virtual.events_per_s", one.events / one.wall_s, "events/s", "higher");
say("virtual.cpu_ns_per_event", one.cpu_s / one.events * 1e9, "ns", "lower");
say("virtual.vehicle_days_per_s", one.fleet * one.simulated_s / 86400 / one.wall_s, "vehicle days/s", "higher");
say("virtual.wall_s", one.wall_s, "s", "lower");
if (more) {
  say("virtual.ranks", Number(process.argv[2]), "processes");
  say("virtual.ranks.wall_s", more.wall_s, "s", "lower");
  say("virtual.ranks.vehicle_days_per_s", more.fleet * more.simulated_s / 86400 / more.wall_s, "vehicle days/s", "higher");
  say("virtual.ranks.times_one", one.wall_s / more.wall_s, "", "higher");
  say("virtual.ranks.cpu_of_one", more.cpu_s / one.cpu_s, "", "lower");
}
say("virtual.bytes_per_vehicle", r.bytes_per_vehicle, "bytes", "lower");
for (const part of r.memory ?? []) say("virtual.bytes." + part.part.replace(/\W+/g, "_"), part.bytes / r.fleet, "bytes/vehicle", "lower");
' "$out" "$ranks"
