#!/bin/bash
# docs/identity.md, as it is written: its lines are run one after the other in an empty directory, with other ports.
# Where the page sleeps, the test waits until what the page waits for has happened.
. "$(dirname "$0")/lib_cloud.sh"
need jq jq
need mosquitto_pub mosquitto-clients
need openssl openssl
MQTTS=$(free_port) EST=$(free_port) HTTP=$(free_port)
page=${CONVOY_SOURCE:?}/docs/identity.md
mkdir "$WORK/bin" "$WORK/page"
ln -s "$(realpath "$CONVOY")" "$WORK/bin/convoy"
{
    cat <<'PRELUDE'
waits=0
sleep() {
    local i text
    waits=$((waits + 1))
    case $waits in
    1) text=operators ;;
    2) text='says that it is active' ;;
    3) text='rotation ended: SUCCEEDED' ;;
    esac
    for i in $(seq 600); do
        grep -q "$text" cloud.log && return 0
        command sleep 0.1
    done
    echo "the page waited for '$text' in vain" >&2
    exit 1
}
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
PRELUDE
    awk '/^```sh$/ { inside = 1; next } /^```/ { inside = 0; print "" } inside' "$page" |
        sed "s/8883/$MQTTS/g; s/8443/$EST/g; s/8080/$HTTP/g"
} >"$WORK/page.sh"
cd "$WORK/page" || exit 1
PATH=$WORK/bin:$PATH timeout 240 bash "$WORK/page.sh" >"$WORK/out" 2>"$WORK/err"
same "the page runs to its end" 0 $?

# What came out, one answer a line but for the PKI's paths.
grep '^{' "$WORK/out" >"$WORK/answers"
answer() { sed -n "$1p" "$WORK/answers" | jq -r "$2"; }
same "registered" built "$(jq -r .state vehicle.json)"
REF=$(jq -r .referenceId vehicle.json)
same "active after the claim" "active true 1" "$(answer 1 '"\(.state) \(.connected) \(.certificates | length)"')"
same "the job has succeeded" "$REF SUCCEEDED" "$(answer 2 '.executions[0] | "\(.referenceId) \(.status)"')"
same "no flaw" 0 "$(answer 3 .count)"
check "the old certificate is refused" grep -qx refused "$WORK/out"
same "revoked" "quarantined REVOKED REVOKED" "$(answer 4 '"\(.state) \(.certificates[0].status) \(.certificates[1].status)"')"
check "the responder says so" grep -q '^old.pem: revoked' "$WORK/out"
check "and why" grep -q 'Reason: keyCompromise' "$WORK/out"
same "decommissioned" decommissioned "$(answer 5 .state)"
check "the TCU was online with its own certificate" grep -q 'ended, on the new certificate' tcu.log
refuse "the VIN is nowhere in what the cloud has kept or said" grep -rqa 1HGCM82633A004352 pki tcu-1 cloud.log "$WORK/answers" vehicle.json
[ "$failures" = 0 ] || tail -n 20 "$WORK/err" cloud.log tcu.log
verdict
