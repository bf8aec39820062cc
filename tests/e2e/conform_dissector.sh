#!/usr/bin/env bash
# Wireshark's dissector, given the capture of a full conformance run, sees the packets that we decoded: type, flags, length, topic, packet identifier,
# reason codes, options, properties, packet by packet. That the comparison would notice is shown by a file of ours with one field changed.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
if ! command -v tshark >/dev/null; then
    echo "skipped: tshark is not installed"
    exit 77
fi
expect_exit 0 "$convoy" conform embedded --packets --out "$work/run"
dissect() { tshark -r "$work/run/trace.pcapng" -T pdml -J "mqtt _ws.malformed" 2>"$work/tshark.err"; }
against() { node "$source_tree/tests/tools/conform_dissector.mjs" "$1"; }
dissect | against "$work/run/packets.jsonl" >"$work/agreed" || fail "the dissector differs: $(grep -A1 '^differs' "$work/agreed" | head -c 3000)"
cat "$work/agreed"
sed -n 's/^\([0-9]* of [0-9]* packets agree\).*/figure: of a whole run Wireshark and the trace: \1/p' "$work/agreed"
packets=$(json "$work/run/result.json" "it.packets_in + it.packets_out")
lines=$(wc -l <"$work/run/packets.jsonl")
equal "$lines" "$packets" "lines of packets.jsonl"
ok "every packet of the run"
expect_exit 0 "$convoy" conform embedded --only B-CONN-003 --packets --out "$work/run2"
rm -r "$work/run" && mv "$work/run2" "$work/run"
dissect | against "$work/run/packets.jsonl" >"$work/agreed" || fail "a small run differs: $(cat "$work/agreed")"
for change in 's/"keep_alive_s":60/"keep_alive_s":61/' 's/"reasons":\[0\]/"reasons":[1]/' 's/"length":2,/"length":3,/' '$d' 's/"legal":true/"legal":false,"why":"nothing"/'; do
    sed "$change" "$work/run/packets.jsonl" >"$work/changed.jsonl"
    dissect | against "$work/changed.jsonl" >"$work/changed" && fail "not noticed: $change"
done
ok "a field changed is noticed"
