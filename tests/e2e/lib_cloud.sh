# lib_cloud.sh: sourced by the cloud's end-to-end tests: a scratch directory, a cloud that is ended by its own process id, checks that count.
# shellcheck disable=SC2034 # variables for the scripts that source it
set -u
CONVOY=${CONVOY:?path of the convoy program}
WORK=$(mktemp -d "${TMPDIR:-/tmp}/convoy-e2e-XXXXXX")
STARTED=()
failures=0
. "$(dirname "${BASH_SOURCE[0]}")/lib_port.sh"

finish() {
    local pid
    for pid in "${STARTED[@]:-}"; do
        [ -n "$pid" ] && kill -TERM "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    rm -rf "$WORK"
}
trap finish EXIT

skip() { # a missing tool is not a pass: say what to install
    echo "cannot run: $1"
    exit 1
}
need() { command -v "$1" >/dev/null || skip "$1 is not installed (Debian package $2)"; }

check() { # check NAME COMMAND...: the command must succeed
    local name=$1
    shift
    if "$@"; then
        echo "ok      $name"
    else
        echo "FAILED  $name"
        failures=$((failures + 1))
    fi
}
refuse() { # the command must fail
    local name=$1
    shift
    if "$@"; then
        echo "FAILED  $name (was accepted)"
        failures=$((failures + 1))
    else
        echo "ok      $name"
    fi
}
same() { # same NAME WANTED GOT
    if [ "$2" = "$3" ]; then
        echo "ok      $1"
    else
        printf 'FAILED  %s\n  wanted: %s\n  got:    %s\n' "$1" "$2" "$3"
        failures=$((failures + 1))
    fi
}
verdict() {
    echo "$failures failures"
    [ "$failures" -eq 0 ]
    exit
}

# start_cloud OPTIONS...: sets MQTT, MQTTS, PASSWORD_PORT, EST (ports), PKI, CLOUD_PID.
start_cloud() {
    PKI=$WORK/pki
    : >"$WORK/doors"
    "$CONVOY" cloud --mqtt-port 0 --mqtts-port 0 --password-port 0 --https-port 0 --pki "$PKI" --json "$@" >"$WORK/doors" 2>"$WORK/cloud.err" &
    CLOUD_PID=$!
    STARTED+=("$CLOUD_PID")
    local i
    for i in $(seq 1 200); do
        [ -s "$WORK/doors" ] && break
        kill -0 "$CLOUD_PID" 2>/dev/null || { cat "$WORK/cloud.err"; exit 1; }
        sleep 0.05
    done
    port_of() { sed -n "s/.*\"$1\":\"[a-z]*:\/\/127.0.0.1:\([0-9]*\)\".*/\1/p" "$WORK/doors"; }
    MQTT=$(port_of mqtt) MQTTS=$(port_of mqtts) PASSWORD_PORT=$(port_of mqtts_password) EST=$(port_of est)
}

# enrol NAME: attestation identity, key, request, certificate broker: $WORK/NAME.crt, $WORK/NAME.key.
enrol() {
    "$CONVOY" cloud --pki "$PKI" --issue "$1" >/dev/null || return 1
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$WORK/$1.key" -subj "/CN=$1" -outform DER 2>/dev/null |
        openssl base64 >"$WORK/$1.csr"
    curl -sS --fail --cacert "$PKI/ca.pem" --cert "$PKI/$1.crt" --key "$PKI/$1.key" -H 'Content-Type: application/pkcs10' \
        --data-binary "@$WORK/$1.csr" -o "$WORK/$1.p7" "https://127.0.0.1:$EST/.well-known/est/simpleenroll" || return 1
    openssl base64 -d -in "$WORK/$1.p7" | openssl pkcs7 -inform DER -print_certs -out "$WORK/$1.crt"
}
# until_true SECONDS COMMAND...
until_true() {
    local end=$(($(date +%s) + $1))
    shift
    until "$@"; do
        [ "$(date +%s)" -lt "$end" ] || return 1
        sleep 0.1
    done
}
