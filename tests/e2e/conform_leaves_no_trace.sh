#!/usr/bin/env bash
# A broker in use is left as it was: a hundred foreign clients, their retained messages, sessions and queues, before and after a full conformance run,
# and again after one that was killed in the middle and cleaned up after.
# Mostly waits.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
mosquitto=$(command -v mosquitto || echo /usr/sbin/mosquitto)
if [ ! -x "$mosquitto" ] || [ ! -d "$source_tree/tests/interop/node_modules/mqtt" ]; then
    echo "skipped: mosquitto or tests/interop/node_modules is missing"
    exit 77
fi
port=$(free_port)
printf 'listener %s 127.0.0.1\nallow_anonymous true\nsys_interval 1\n' "$port" >"$work/mosquitto.conf"
start mosquitto "$mosquitto" -c "$work/mosquitto.conf"
wait_port "$port" "$started"

# A run that finds faults of the broker is a run, too.
cat >"$work/full" <<END
code=0
"$convoy" conform mqtt://127.0.0.1:$port --out "$work/run" >"$work/full.log" 2>"$work/full.err" || code=\$?
tail -n 3 "$work/full.log"
[ \$code -eq 0 ] || [ \$code -eq 1 ] || [ \$code -eq 4 ] || exit 1
[ ! -e "$work/run/journal" ] || { echo "left in the journal:"; cat "$work/run/journal"; exit 1; }
END
# Sessions of 3.1.1 do not expire by themselves.
sed -e 's/ --out / --protocol 3.1.1 --out /' -e "s,$work/run,$work/run311," "$work/full" >"$work/smaller"
# Killed once a few things are there to be left behind.
cat >"$work/killed" <<END
"$convoy" conform mqtt://127.0.0.1:$port --out "$work/killed.run" >"$work/killed.log" 2>&1 &
pid=\$!
left() { cat "$work/killed.run/journal" 2>/dev/null | awk '/^\+/ {n++} /^-/ {n--} END {print n + 0}'; }
for i in \$(seq 600); do
    [ "\$(grep -c '^+' "$work/killed.run/journal" 2>/dev/null)" -gt 100 ] 2>/dev/null && [ "\$(left)" -gt 5 ] && break
    sleep 0.02
done
kill -KILL \$pid
wait \$pid 2>/dev/null
echo "killed with \$(left) names in the journal"
[ "\$(left)" -gt 0 ] || exit 1
code=0
"$convoy" conform mqtt://127.0.0.1:$port --out "$work/killed.run" --only B-CONN-003 >"$work/again.log" 2>&1 || code=\$?
[ \$code -eq 2 ] && grep -q 'clean-up' "$work/again.log" || { echo "the journal is not looked after"; exit 1; }
sleep 2
"$convoy" conform mqtt://127.0.0.1:$port --cleanup "$work/killed.run" || exit 1
[ ! -e "$work/killed.run/journal" ] || exit 1
END
node "$source_tree/tests/tools/foreign_traffic.mjs" "mqtt://127.0.0.1:$port" "bash $work/full" "bash $work/smaller" "bash $work/killed" >"$work/out" 2>"$work/out.err" || {
    cat "$work/out.err" >&2
    fail "the broker is not as it was: $(grep -v '^after' "$work/out" | head -n 40)"
}
cat "$work/out"
echo "figure: after $(grep -c '^after' "$work/out") conformance runs, one of them killed, a broker with a hundred foreign clients is as it was"
ok "nothing is left, and nobody noticed"
