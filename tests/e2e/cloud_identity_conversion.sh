#!/bin/bash
# The conversion API over HTTPS: who may, which way, how often; every request is in the audit log, and no VIN is anywhere but in an answer.
. "$(dirname "$0")/lib_cloud.sh"
need jq jq
need sqlite3 sqlite3
PKI=$WORK/pki REGISTRY=$WORK/registry.sqlite VIN=1M8GDM9AXKP042788 OTHER=1HGCM82633A004352
"$CONVOY" cloud --init --pki "$PKI" >/dev/null && "$CONVOY" cloud --pki "$PKI" --make operator alice >/dev/null
serve() { "$CONVOY" cloud --pki "$PKI" --mqtt-port 0 --mqtts-port 0 --https-port 0 "$@" >"$WORK/out" 2>"$WORK/err"; }
serve --lifecycle --conversion-client shop:acme:100:both
same "without a registry: exit code" 2 $?
serve --registry "$REGISTRY" --conversion-client shop:acme:100:both
same "without --lifecycle: exit code" 2 $?
serve --lifecycle --registry "$REGISTRY" --conversion-client shop:acme:often:both
same "no rate: exit code" 2 $?
serve --lifecycle --registry "$REGISTRY" --conversion-client shop:acme:100:both
same "no secret: exit code and lines" "3 1" "$? $(wc -l <"$WORK/err")"
echo tell-nobody >"$PKI/conversion-shop.secret"
chmod 644 "$PKI/conversion-shop.secret"
serve --lifecycle --registry "$REGISTRY" --conversion-client shop:acme:100:both
same "a secret that everybody may read: exit code" "3 1" "$? $(grep -c 'chmod 600' "$WORK/err")"
chmod 600 "$PKI/conversion-shop.secret"
export CONVOY_CONVERSION_SECRET_RECALL=a-second-secret CONVOY_CONVERSION_SECRET_LOCK_SMITH=a-third CONVOY_CONVERSION_SECRET_SLOW=a-fourth
start_cloud --lifecycle --registry "$REGISTRY" --conversion-client shop:acme:100:both --conversion-client recall:*:600:to-reference \
    --conversion-client lock-smith:umbrella:600:to-vin --conversion-client slow:acme:0.1:to-vin

ask() { # ask TOKEN PATH [curl options]
    curl -s -o "$WORK/body" -D "$WORK/headers" -w '%{http_code}' --cacert "$PKI/ca.pem" -H "Authorization: Bearer $1" "https://127.0.0.1:$EST/v1/$2" "${@:3}"
}
register() {
    curl -s --cacert "$PKI/ca.pem" --cert "$PKI/alice.crt" --key "$PKI/alice.key" "https://127.0.0.1:$EST/v1/vehicles" -d "{\"vin\":\"$1\",\"tenant\":\"$2\"}" | jq -r .referenceId
}
SHOP=shop.tell-nobody RECALL=recall.a-second-secret SMITH=lock-smith.a-third
REF=$(register $VIN acme) OTHER_REF=$(register $OTHER umbrella)

same "VIN to Reference ID" "200 $REF" "$(ask $SHOP reference -d '{"vin":"'$VIN'"}') $(jq -r .referenceId "$WORK/body")"
same "and back" "200 $VIN" "$(ask $SHOP vin -d '{"referenceId":"'"$REF"'"}') $(jq -r .vin "$WORK/body")"
check "not to be kept" grep -qi '^Cache-Control: no-store' "$WORK/headers"
same "another tenant's vehicle" 404 "$(ask $SHOP reference -d '{"vin":"'$OTHER'"}')"
same "who may see all" "200 $OTHER_REF" "$(ask $RECALL reference -d '{"vin":"'$OTHER'"}') $(jq -r .referenceId "$WORK/body")"
same "but not that way" 403 "$(ask $RECALL vin -d '{"referenceId":"'"$REF"'"}')"
same "the locksmith, that way" "200 $OTHER" "$(ask $SMITH vin -d '{"referenceId":"'"$OTHER_REF"'"}') $(jq -r .vin "$WORK/body")"
same "not the other" 403 "$(ask $SMITH reference -d '{"vin":"'$OTHER'"}')"
same "a wrong secret" 401 "$(ask shop.tell-everybody vin -d '{"referenceId":"'"$REF"'"}')"
same "nobody" 401 "$(curl -s -o /dev/null -w '%{http_code}' --cacert "$PKI/ca.pem" "https://127.0.0.1:$EST/v1/vin" -d '{}')"
same "an operator is no application" 401 "$(curl -s -o /dev/null -w '%{http_code}' --cacert "$PKI/ca.pem" --cert "$PKI/alice.crt" --key "$PKI/alice.key" "https://127.0.0.1:$EST/v1/vin" -d '{"referenceId":"'"$REF"'"}')"
same "an application is no operator" 401 "$(ask $SHOP verify)"
same "no VIN" 400 "$(ask $SHOP reference -d '{"vin":"1M8GDM9A0KP042788"}')"
same "by GET" 405 "$(ask $SHOP vin)"
check "which is said" grep -qi '^Allow: POST' "$WORK/headers"
audit() { sqlite3 "$REGISTRY" "SELECT count(*) FROM conversion_audit WHERE $1"; }
same "every request is noted" 12 "$(audit 1)"
same "who, what, whose, how" "shop|to-vin|$REF|200" "$(sqlite3 "$REGISTRY" "SELECT client, direction, reference, status FROM conversion_audit ORDER BY rowid LIMIT 1 OFFSET 1")"
same "one with a wrong secret, too" "shop|401" "$(sqlite3 "$REGISTRY" "SELECT client, status FROM conversion_audit WHERE status = 401 ORDER BY rowid LIMIT 1")"

echo "--- a thousand at once"
used=$(audit "client = 'shop' AND status NOT IN (401, 429)")
{
    for i in $(seq 1000); do
        [ "$i" = 1 ] || echo next
        printf 'url = "https://127.0.0.1:%s/v1/vin"\ncacert = "%s"\nheader = "Authorization: Bearer %s"\n' "$EST" "$PKI/ca.pem" $SHOP
        printf 'data = "{\\"referenceId\\":\\"%s\\"}"\noutput = "%s"\nwrite-out = "%%{http_code}\\n"\n' "$REF" "$WORK/burst.$((i % 50))"
    done
} >"$WORK/burst.conf"
began=$(date +%s)
curl -s --parallel --parallel-max 20 -K "$WORK/burst.conf" >"$WORK/statuses" 2>"$WORK/progress"
# A minute's worth at most, however much of it has come back since it was used, and what comes back while it lasts (and a second more, for the
# clock's sake).
most=$((100 + 100 * ($(date +%s) - began + 1) / 60 + 1))
answered=$(grep -c '^200$' "$WORK/statuses") limited=$(grep -c '^429$' "$WORK/statuses")
same "each has an answer, one of two" 1000 $((answered + limited))
check "a minute's worth is answered ($answered of at most $most)" test "$answered" -ge $((100 - used)) -a "$answered" -le "$most"
same "all of it is in the audit log" "1012 $answered $limited" "$(audit 1) $(audit "client = 'shop' AND direction = 'to-vin' AND status = 200 AND rowid > 12") $(audit 'status = 429')"
same "one in ten minutes" 200 "$(ask slow.a-fourth vin -d '{"referenceId":"'"$REF"'"}')"
same "and not two: it says when to come again" "429 1" "$(ask slow.a-fourth vin -d '{"referenceId":"'"$REF"'"}') $(grep -ci '^Retry-After: [1-9]' "$WORK/headers")"
same "others go on" 200 "$(ask $RECALL reference -d '{"vin":"'$VIN'"}')"
kill -TERM "$CLOUD_PID"
wait "$CLOUD_PID"
same "ends as told" 0 $?
same "none of it is lost" 1015 "$(audit 1)"
rm -f "$WORK/body" "$WORK"/burst.*
refuse "no VIN in clear in what is kept" grep -rqaE "$VIN|$OTHER" "$PKI" "$REGISTRY"* "$WORK/cloud.err"
refuse "and no secret" grep -qaE 'tell-nobody|a-second-secret|a-third|a-fourth' "$REGISTRY"* "$WORK/cloud.err"
verdict
