#!/usr/bin/env bash
# Settings of cars, commands through their shadows and as executions in the live world, on the embedded cloud and on mosquitto: cloud, users and cars agree in the end,
# a fault is found, and the virtual world finds nearly the same figures.
# Mostly waits.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
command -v mosquitto >/dev/null || PATH=$PATH:/usr/sbin
command -v mosquitto >/dev/null || fail "mosquitto is missing: install the Debian package mosquitto (./dev test does)"

cat >"$work/settings.lua" <<'EOF'
local deaf = fault("deaf", { off = 0, on = 0.5, breaks = { "converged" } }, "share of cars that say 'done' and do nothing")
local mute = fault("lose_answers", { off = 0, on = 0.4, breaks = { "done" } }, "share of cars whose reports get lost")
scenario "settings" { start = "2026-03-04 07:00", duration = seconds(42), seed = 17 }
region "here" { latency = milliseconds(12) }
cloud { activation = constant(milliseconds(200)), processors = 1 }
remote_commands { pattern = "shadow", fallback = seconds(5), faults = { lose_answers = mute } }
shadow {
  state = { climate = { 16, 28 }, charge_limit = { 50, 100 } }, apps = { users = 2, rate = per_minute(8), think = seconds(2) }, driver = per_minute(3),
  apply = milliseconds(300), failures = 0.05, to = "07:00:14", settle = seconds(8), faults = { deaf = deaf },
}
cohort "suv" { count = 60, radio = radio("lte-cat4", { drops_per_hour = 60 }), trips = always_driving(), power_up = within(seconds(4)),
               mqtt = { session_expiry = days(1) } }
app "companion" { users = 60, command = "flash", rate = per_minute(8), timeout = seconds(24), from = "07:00:05", to = "07:00:17" }
expect "converged"  (shadows():diverged()):equals(0)
expect "all-synced" (shadows():sync():count()):at_least(20)
expect "conflicts"  (shadows():conflicts()):above(0)
expect "done"       (commands():ended_executed():share()):above(0.8)
expect "once"       (commands():executed_twice()):equals(0)
expect "told-right" (commands():misreported()):equals(0)
EOF
# Sealed executions: no shadow, and a share of cars that cannot. Other names: two runs share a broker.
sed -e '/^shadow {/,/^}/d; /deaf/d; /converged/d; /all-synced/d; /conflicts/d; s/"shadow"/"executions", sealed = true, failures = 0.1/; s/cohort "suv"/cohort "van"/' \
    "$work/settings.lua" >"$work/executions.lua"
sed 's/cohort "suv"/cohort "bus"/' "$work/settings.lua" >"$work/buses.lua"
echo 'expect "failed" (commands():ended_failed()):above(0)' >>"$work/executions.lua"
echo 'expect "ended"  (commands():unended()):equals(0)' >>"$work/executions.lua"

port=$(free_port)
printf 'user %s\nmax_queued_messages 10000\nlistener %s 127.0.0.1\nallow_anonymous true\n' "$(id -un)" "$port" >"$work/mosquitto.conf"
start mosquitto mosquitto -c "$work/mosquitto.conf"
wait_port "$port" "$started"

run_live() { # NAME SCENARIO OPTIONS...: in the background; its exit code in $work/NAME.code
    local name=$1 scenario=$2
    shift 2
    (
        code=0
        "$convoy" run "$work/$scenario.lua" --world live --lag-bound 20000 --out "$work/$name" "$@" >"$work/$name.log" 2>&1 || code=$?
        echo "$code" >"$work/$name.code"
    ) &
    e2e_pids+=("$!")
}
run_live embedded settings
run_live executions executions
run_live executions-mosquitto executions --broker "mqtt://127.0.0.1:$port"
run_live mosquitto settings --broker "mqtt://127.0.0.1:$port"
run_live deaf settings --set fault.deaf=on
run_live lost settings --set fault.lose_answers=on
run_live executions-lost executions --set fault.lose_answers=on
run_live lost-mosquitto buses --set fault.lose_answers=on --broker "mqtt://127.0.0.1:$port"
expect_exit 0 "$convoy" run "$work/settings.lua" --out "$work/virtual"
wait "${e2e_pids[@]: -8}"
for name in embedded mosquitto executions executions-mosquitto; do
    equal "$(cat "$work/$name.code")" 0 "exit code on $name: $(tail -n 12 "$work/$name.log")"
    ok "$name"
done
found() { # NAME WHAT EXPECTATIONS
    equal "$(cat "$work/$1.code")" 1 "exit code with $2: $(tail -n 12 "$work/$1.log")"
    equal "$(json "$work/$1/result.json" "it.expectations.filter((e) => e.verdict === 'fail').map((e) => e.id).join()")" "$3" "what fails with $2"
    ok "$2 are found"
}
found deaf "deaf cars" converged
found lost "reports that get lost" converged,done
found lost-mosquitto "reports that get lost on somebody else's broker" converged,done
found executions-lost "answers to executions that get lost" done,ended
# The same users ask for the same things in every world.
for name in embedded mosquitto; do
    equal "$(json "$work/$name/result.json" it.commands.intended)" "$(json "$work/virtual/result.json" it.commands.intended)" "commands intended on $name"
done
ok "the same commands as in the virtual world"
sed -e 's/drops_per_hour = 60/drops_per_hour = 60, handovers_per_hour = 60/' "$work/settings.lua" >"$work/cells.lua"
expect_exit 2 "$convoy" run "$work/cells.lua" --world live --link-model off --out "$work/cells"
grep -q "acted out by the link model" "$work/out.err" || fail "the live world does not say what it cannot"
ok "refused"
