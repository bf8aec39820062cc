#!/usr/bin/env bash
# Settings of cars in their shadows, users, drivers and commands through them, in the virtual world: without a fault all expectations hold, with each
# fault exactly those fail that it names. Two processes find what one finds; commands as executions end as plain ones do.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_faults.sh"

fleet=1000 scenario=shadow-convergence
of_nobody="$of_nobody|network|round trip|ended|unended|in step|conflicts"
scenarios_with_faults 4 "$fleet" "$scenario"

as_one_process "$scenario" "$fleet"

# Executions: the same app, the same network.
cat >"$work/executions.lua" <<'EOF'
scenario "executions" { start = "2026-03-04 07:00", duration = hours(1), seed = 3 }
region "here" { latency = milliseconds(12) }
remote_commands { pattern = "executions", sealed = true, fallback = seconds(20), failures = 0.05 }
cohort "suv" { count = 300, radio = radio("lte-cat4", { drops_per_hour = 4, loss = 0.01 }), trips = always_driving(), mqtt = { session_expiry = days(1) } }
app "companion" { users = 300, command = "unlock", rate = per_hour(3), timeout = seconds(60), to = "07:55" }
expect "done"       (commands():ended_executed():share()):above(0.9)
expect "failed"     (commands():ended_failed():share()):above(0.01)
expect "once"       (commands():executed_twice()):equals(0)
expect "told-right" (commands():misreported()):equals(0)
expect "each-ended" (commands():unended()):equals(0)
EOF
expect_exit 0 "$convoy" run "$work/executions.lua" --out "$work/executions"
ok "executions: each with its end"

# What cannot be is said in one line.
refuse() { # LINE SED-EXPRESSION
    sed -e "$2" "$scenarios/$scenario.lua" >"$work/wrong.lua"
    expect_exit 2 "$convoy" check "$work/wrong.lua"
    grep -qF -- "$1" "$work/out.err" || fail "not refused with '$1': $(cat "$work/out.err")"
}
refuse "goes through the classic shadow" 's/apply = seconds(2),/name = "cabin", apply = seconds(2),/'
refuse "cannot be sealed" 's/pattern = "shadow",/pattern = "shadow", sealed = true,/'
refuse "one user alone loses no update" 's/users = 2, rate/users = 1, rate/; s/off = 0, on = 1, breaks/off = 1, on = 1, breaks/'
refuse "did you mean 'settle'" 's/settle = /settel = /'
refuse "takes the lowest and the highest value" 's/{ 16, 28 }/16/'
ok "refusals"
