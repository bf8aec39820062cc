#!/usr/bin/env bash
# What a profile tells of a broker is used: a broker that refuses logins, client identifiers, topics and filters; every check that waits for one of them is
# judged. And nothing of what a run leaves shows a password.
# Mostly waits.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
mosquitto=$(command -v mosquitto || echo /usr/sbin/mosquitto)
plugin=$(find /usr/lib /usr/local/lib -name mosquitto_dynamic_security.so 2>/dev/null | head -n 1)
if [ ! -x "$mosquitto" ] || [ -z "$plugin" ] || ! command -v mosquitto_ctrl >/dev/null; then
    echo "skipped: mosquitto, its mosquitto_ctrl or its mosquitto_dynamic_security.so is missing"
    exit 77
fi

# Checks that cannot be judged without the profile, and those that see more with it.
needed='B-CONN-012 B-CONN-013 B-CONN-016 B-SUB-028 B-SUB-029 B-FLOW-009[0] B-FLOW-009[1]'
more='B-CONN-045 B-CONN-049 B-QOS-014[0] B-QOS-014[1]'
# Mosquitto gives no reasons in words: nothing can be left out of its acknowledgements (B-QOS-026, B-SUB-017,
# B-SUB-018), nor of its CONNACK (B-CONN-072, B-CONN-073).
wordless='B-QOS-026 B-SUB-017 B-SUB-018 B-CONN-072 B-CONN-073'
# It does no AUTH (auth_method): B-AUTH and B-CONN-017.

secret=run-secret-7731 refused=locked-secret-5521
cat >"$work/profile.json" <<END
{"name": "told", "like": "mqtt5",
 "told": {"refused_topic": "private/command", "refused_filter": "private/+/command", "refused_user": "locked", "refused_password": "$refused",
          "refused_id": "nobody-we-know"}}
END

# An acl_file cannot refuse subscriptions, the plugin can.
mosquitto_ctrl dynsec init "$work/users.json" probe "$secret" >/dev/null
node -e '
    const fs = require("fs"), it = JSON.parse(fs.readFileSync(process.argv[1]));
    const rule = (acltype, topic, allow) => ({ acltype, topic, allow, priority: allow ? 0 : 1 });
    const kinds = ["publishClientSend", "publishClientReceive", "subscribePattern", "unsubscribePattern"];
    it.roles[0].acls = kinds.map((kind) => rule(kind, "#", true));
    it.roles[0].acls.push(rule("publishClientSend", "private/#", false), rule("subscribePattern", "private/#", false));
    fs.writeFileSync(process.argv[1], JSON.stringify(it));' "$work/users.json"
port=$(free_port)
cat >"$work/mosquitto.conf" <<END
listener $port 127.0.0.1
allow_anonymous false
clientid_prefixes mc5
plugin $plugin
plugin_opt_config_file $work/users.json
END
if [ "$(id -u)" = 0 ]; then echo 'user root' >>"$work/mosquitto.conf"; fi
start mosquitto "$mosquitto" -c "$work/mosquitto.conf"
wait_port "$port" "$started"

# checks DIR VERDICT...: the ids with one of these verdicts, sorted, on a line.
checks() {
    local dir=$1
    shift
    json "$dir/result.json" "it.expectations.filter((e) => '$*'.split(' ').includes(e.verdict)).map((e) => e.id).sort().join(' ')"
}
sorted() { echo "$*" | tr ' ' '\n' | sort | tr '\n' ' ' | sed 's/ $//'; }
run() {
    local code=$1 out=$2 ids=$3
    shift 3
    expect_exit "$code" "$convoy" conform "mqtt://127.0.0.1:$port" --user probe --password "$secret" --only "$(echo "$ids" | tr ' ' ',')" --out "$work/$out" "$@"
}

run 0 told "$needed $more $wordless" --profile "$work/profile.json" --packets --trace
cp "$work/out" "$work/told/output"
equal "$(checks "$work/told" pass warn)" "$(sorted "$needed $more")" "judged"
equal "$(checks "$work/told" skip | tr ' ' '\n' | sed 's/\[.*//' | sort -u | tr '\n' ' ')" "$(sorted "$wordless") " "skipped"
equal "$(json "$work/told/result.json" "it.statements.filter((e) => ['MQTT-3.1.3-8', 'MQTT-3.1.4-2', 'MQTT-4.3.3-9', 'MQTT-3.8.4-5'].includes(e.id) && e.verdict !== 'pass').length")" 0 \
    "statements that need a refusal and do not pass"
ok "told of a broker's refusals"

run 4 untold "$needed" # nothing is learnt
equal "$(checks "$work/untold" skip)" "$(sorted "$needed")" "skipped without a profile"
equal "$(json "$work/untold/result.json" "it.expectations.filter((e) => !/\(profile: refused_/.test(JSON.stringify(e))).length")" 0 "skipped for another reason"
ok "and without being told they say what they need"

# As text or as hex digits, in whatever the run wrote; the user's name shows that the search would find it.
grep -qa 'user=locked' "$work/told/output" || fail "no trace of the login that is refused"
for file in result.json junit.xml report.html trace.pcapng packets.jsonl output; do
    [ -s "$work/told/$file" ] || fail "$file is missing"
done
hex() { printf %s "$1" | xxd -p | tr -d '\n'; }
visible() { grep -rlaiF -e "$1" -e "$(hex "$1")" "$work/told" | sed 's,.*/,,' | sort | tr '\n' ' '; }
equal "$(visible locked)" "output packets.jsonl result.json trace.pcapng " "files that show who was refused"
equal "$(visible "$secret")" "" "files that show the run's password"
equal "$(visible "$refused")" "" "files that show the password that is refused"
expect_exit 3 "$convoy" conform "mqtt://127.0.0.1:$port" --user probe --password "$refused" --only B-CONN-003 --out "$work/told/shut"
equal "$(visible "$refused")" "" "files of a run that is not let in that show its password"
! grep -qF "$refused" "$work/out" "$work/out.err" || fail "the password is in what is said"
[ ! -e "$work/told/shut/journal" ] || fail "a run that is not let in has nothing to leave: $(cat "$work/told/shut/journal")"
ok "no password is shown"
