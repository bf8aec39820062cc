#!/usr/bin/env bash
# convoy conform as a person uses it: our own broker passes, the run's files are whole, what cannot be is one line and the right exit code.
# Mostly waits.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
# shellcheck disable=SC2013 # names, no blanks
for table in $(sed -n 's/^CHECK_TABLE(\([a-z0-9_]*\).*/\1/p' "$source_tree"/sim/conform/*.c); do
    grep -q "&$table," "$source_tree/sim/conform/tables.c" || fail "tables.c does not know $table: its checks are not run"
done
ok "every table of checks is run"
expect_exit 0 "$convoy" conform embedded --only "B-SUB*,B-UNSUB*,B-WIRE*" --out "$work/run" # all of them: conform_dissector.sh
for file in result.json junit.xml report.html trace.pcapng; do
    [ -s "$work/run/$file" ] || fail "$file is missing"
done
[ ! -e "$work/run/journal" ] || fail "something was left on the broker: $(cat "$work/run/journal")"
equal "$(json "$work/run/result.json" it.verdict)" pass "verdict"
equal "$(json "$work/run/result.json" "it.expectations.filter((e) => e.verdict === 'fail').length")" 0 "failures"
[ "$(json "$work/run/result.json" "it.expectations.filter((e) => e.verdict === 'pass').length")" -gt 0 ] || fail "nothing passed"
equal "$(json "$work/run/result.json" it.statements.length)" 340 "statements"
xmllint --noout "$work/run/junit.xml"
ok "embedded"
expect_exit 0 "$convoy" conform embedded --only B-CONN-003 --trace --out "$work/one"
grep -q 'CONNACK 0x00' "$work/out" || fail "no trace: $(cat "$work/out")"
ok "one check, with its packets"
expect_exit 0 "$convoy" conform embedded --protocol 3.1.1 --out "$work/smaller"
equal "$(json "$work/smaller/result.json" it.protocol)" 3.1.1 "protocol"
equal "$(json "$work/smaller/result.json" "it.statements.filter((e) => !e.id.startsWith('V3-MQTT-') || e.verdict !== 'pass').length")" 0 "statements of 3.1.1 that do not pass"
[ "$(json "$work/smaller/result.json" "it.expectations.length")" -ge 100 ] || fail "too few checks and rows of 3.1.1"
[ ! -e "$work/smaller/journal" ] || fail "something was left on the broker: $(cat "$work/smaller/journal")"
grep -q 'MQTT 3.1.1' "$work/smaller/report.html" || fail "the report does not name 3.1.1"
expect_exit 2 "$convoy" conform embedded --protocol 4
ok "3.1.1"
expect_exit 2 "$convoy" conform embedded --only NO-SUCH-CHECK --out "$work/none"
grep -q 'NO-SUCH-CHECK' "$work/out.err" || fail "the id is not in the message"
expect_exit 2 "$convoy" conform
expect_exit 2 "$convoy" conform embedded --parallel 0
expect_exit 2 "$convoy" conform "http://127.0.0.1:1"
expect_exit 3 "$convoy" conform "mqtt://127.0.0.1:$(free_port)" --out "$work/nobody"
[ ! -e "$work/nobody/result.json" ] || fail "a report of nothing"
ok "what cannot be"
