#!/usr/bin/env bash
# Enhanced authentication of somebody else's broker: Mosquitto with a plugin that knows SCRAM-SHA-256 (tests/interop/mosquitto_scram.c); its AUTH, CONNACK and
# DISCONNECT are its own. Every check of AUTH is judged; what is wrong with it is known (docs/conformance-findings.md).
# Mostly waits.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
mosquitto=$(command -v mosquitto || echo /usr/sbin/mosquitto)
if [ ! -x "$mosquitto" ] || ! echo '#include <mosquitto_broker.h>' | cc -include stdint.h -include stddef.h -include stdbool.h -fsyntax-only -x c - 2>/dev/null; then
    echo "skipped: mosquitto, or what its plugins are made with (mosquitto-dev), is missing"
    exit 77
fi

cc -std=gnu17 -shared -fPIC -Wall -Wextra -Werror -o "$work/scram.so" -I "$source_tree/include" "$source_tree/tests/interop/mosquitto_scram.c" \
    "$source_tree/cloud-mock/serve/scram.c" -lgsasl
secret=wonderland-2207
echo "alice:$secret" >"$work/users"
port=$(free_port)
printf 'listener %s 127.0.0.1\nallow_anonymous true\nplugin %s\nplugin_opt_users %s\n' "$port" "$work/scram.so" "$work/users" >"$work/mosquitto.conf"
if [ "$(id -u)" = 0 ]; then echo 'user root' >>"$work/mosquitto.conf"; fi
start mosquitto "$mosquitto" -c "$work/mosquitto.conf"
wait_port "$port" "$started"

cat >"$work/profile.json" <<END
{"like": "mqtt5", "told": {"auth_method": "SCRAM-SHA-256", "auth_user": "alice", "auth_password": "$secret"}}
END
expect_exit 1 "$convoy" conform "mqtt://127.0.0.1:$port" --profile "$work/profile.json" --only 'B-AUTH*,B-CONN-017' --out "$work/run"

# Statements, and checks (rows by their check), with this verdict, on a line.
statements() { json "$work/run/result.json" "it.statements.filter((s) => s.verdict === '$1').map((s) => s.id).sort().join(' ')"; }
checks() { json "$work/run/result.json" "[...new Set(it.expectations.filter((e) => '$*'.split(' ').includes(e.verdict)).map((e) => e.id.replace(/\\[.*/, '')))].sort().join(' ')"; }
# Flags of AUTH are not looked at, DISCONNECT comes before CONNACK, and a second CONNACK to who fails to authenticate again.
[ "$(statements fail)" = 'MQTT-3.14.0-1 MQTT-3.15.1-1 MQTT-3.2.0-2' ] || fail "what fails is $(statements fail)"
[ "$(checks fail)" = B-AUTH-004 ] || fail "the checks that fail are $(checks fail)"
[ "$(checks skip)" = 'B-AUTH-012 B-AUTH-013' ] || fail "what is skipped is $(checks skip)" # it gives no reasons in words
[ -z "$(checks inconclusive error)" ] || fail "what was not judged is $(checks inconclusive error)"
if grep -rqF "$secret" "$work/run"; then fail "the password is in what the run leaves"; fi
ok "every AUTH of another broker is judged"
