# lib.sh: what the end-to-end scripts share. Sourced, not run: . "$(dirname "$0")/lib.sh"
#
# Gives a scratch directory ($work, removed at the end), processes that are ended by their own id, free ports on 127.0.0.1, exit codes and
# output held against what is expected. Every complaint goes to standard error and ends the script with 1.
# Told by the caller's environment: CONVOY, the program; CONVOY_SOURCE, the source tree.
# shellcheck disable=SC2034,SC2154 # variables of one script, used by another

convoy=${CONVOY:?CONVOY must name the program}
source_tree=${CONVOY_SOURCE:?CONVOY_SOURCE must name the source tree}
. "$(dirname "${BASH_SOURCE[0]}")/lib_port.sh"
scenarios=$source_tree/scenarios
work=$(mktemp -d)
e2e_pids=()

e2e_end() {
    local code=$? pid
    trap - EXIT
    for pid in "${e2e_pids[@]}"; do
        stop "$pid"
    done
    if [ "$code" -ne 0 ]; then
        echo "--- what was left in $work:" >&2
        tail -n 15 "$work/out" "$work"/*.err "$work"/*.log >&2 2>/dev/null || true
    fi
    rm -rf "$work"
    exit "$code"
}
trap e2e_end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "FAIL: $*" >&2
    exit 1
}

ok() { echo "ok: $*"; }

# ---- processes ---------------------------------------------------------------------------------------------------------

# start NAME COMMAND...: in the background, standard error in $work/NAME.err, output in $work/NAME.log; its id is in $started.
start() {
    local name=$1
    shift
    "$@" >"$work/$name.log" 2>"$work/$name.err" </dev/null &
    started=$!
    e2e_pids+=("$started")
}

running() { kill -0 "$1" 2>/dev/null && [ "$(awk '{print $3}' "/proc/$1/stat" 2>/dev/null)" != Z ]; }

# stop PID: asks, waits up to a minute, then insists.
stop() {
    local i
    kill -TERM "$1" 2>/dev/null || return 0
    for i in $(seq 600); do
        running "$1" || return 0
        sleep 0.1
    done
    kill -KILL "$1" 2>/dev/null || true
    for i in $(seq 100); do
        running "$1" || return 0
        sleep 0.1
    done
}

# wait_port PORT PID: until somebody listens there; fails when the process that should has gone.
wait_port() {
    local i
    for i in $(seq 1200); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then
            return 0
        fi
        running "$2" || fail "process $2 ended before it listened on port $1"
        sleep 0.1
    done
    fail "nobody listens on port $1"
}

# wait_text TEXT FILE PID: until the file holds the text.
wait_text() {
    local i
    for i in $(seq 1200); do
        grep -qF -- "$1" "$2" 2>/dev/null && return 0
        running "$3" || fail "process $3 ended before it said '$1'"
        sleep 0.1
    done
    fail "'$1' did not appear in $(basename "$2")"
}

# start_ejabberd PORT [WS_PORT]: ejabberd's MQTT 5 listener, and one for WebSocket at /mqtt, as the current user in the scratch directory.
# The Erlang machine directly, because ejabberdctl insists on the package's user, and on a node name: without one nothing is
# distributed, no port mapper (epmd) is started, and nothing else listens.
start_ejabberd() {
    local libs web=''
    command -v erl >/dev/null || fail "erl is missing: install the Debian package ejabberd (./dev test does)"
    libs=$(find /usr/lib -path '*/ejabberd-*/ebin/ejabberd.app' 2>/dev/null | head -n 1)
    [ -n "$libs" ] || fail "ejabberd's files are missing: install the Debian package ejabberd (./dev test does)"
    libs=$(dirname "$(dirname "$(dirname "$libs")")")
    mkdir -p "$work/ejabberd/spool"
    if [ $# -gt 1 ]; then
        web="  - port: $2\n    ip: \"127.0.0.1\"\n    module: ejabberd_http\n    request_handlers:\n      /mqtt: mod_mqtt\n"
    fi
    sed -e "s/@PORT@/$1/" -e "s|^modules:|${web}modules:|" "$source_tree/tests/e2e/ejabberd.yml.in" >"$work/ejabberd/ejabberd.yml"
    start ejabberd env HOME="$work/ejabberd" EJABBERD_CONFIG_PATH="$work/ejabberd/ejabberd.yml" \
        EJABBERD_LOG_PATH="$work/ejabberd/ejabberd.log" ERL_LIBS="$libs" ERL_CRASH_DUMP="$work/ejabberd/crash" \
        erl +K true -noinput -mnesia dir "\"$work/ejabberd/spool\"" -s ejabberd
    wait_port "${2:-$1}" "$started"
    wait_port "$1" "$started"
}

# ---- expectations ------------------------------------------------------------------------------------------------------

# expect_exit CODE COMMAND...: output in $work/out and $work/out.err.
expect_exit() {
    local wanted=$1 code=0
    shift
    "$@" >"$work/out" 2>"$work/out.err" || code=$?
    [ "$code" -eq "$wanted" ] || fail "exit code $code instead of $wanted: $*"
}

# expect_one_line [PATTERN]: what the last command said on standard error is one line, and matches the extended regular expression.
expect_one_line() {
    local lines
    lines=$(wc -l <"$work/out.err")
    [ "$lines" -eq 1 ] || fail "$lines lines on standard error instead of one: $(head -c 600 "$work/out.err")"
    [ $# -eq 0 ] || grep -qE -- "$1" "$work/out.err" || fail "standard error says '$(cat "$work/out.err")', expected /$1/"
}

equal() { [ "$1" = "$2" ] || fail "$3: '$1' instead of '$2'"; }

differ() { [ "$1" != "$2" ] || fail "$3: both are '$1'"; }

# json FILE EXPRESSION: a value of a JSON document, which is `it` in the JavaScript expression; texts bare, arrays a line an element.
json() {
    node -e '
        const it = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"));
        const value = eval(process.argv[2]);
        if (value === undefined) { console.error(`no ${process.argv[2]} in ${process.argv[1]}`); process.exit(1); }
        if (Array.isArray(value)) value.forEach((x) => console.log(typeof x === "object" ? JSON.stringify(x) : x));
        else console.log(typeof value === "object" ? JSON.stringify(value) : String(value));' "$1" "$2" ||
        fail "cannot read $2 from $1"
}

# failing FILE: the failing testcases of a junit.xml, one name a line, sorted.
failing() {
    xmllint --xpath '//testcase[failure]/@name' "$1" 2>/dev/null | sed 's/^ *name="\(.*\)"$/\1/' | sort
}

# expect_run_directory DIR: the five files are there, none is empty, and those with a grammar obey it.
expect_run_directory() {
    local file
    for file in result.json junit.xml report.html run.sqlite metrics.prom; do
        [ -s "$1/$file" ] || fail "$1/$file is missing or empty"
    done
    json "$1/result.json" it.verdict >/dev/null
    xmllint --noout "$1/junit.xml" || fail "junit.xml is not well-formed"
    equal "$(sqlite3 "$1/run.sqlite" 'pragma integrity_check')" ok "integrity of run.sqlite"
    tail -n 1 "$1/metrics.prom" | grep -qx '# EOF' || fail "metrics.prom does not end with # EOF"
    equal "$(find "$1" -maxdepth 1 -name '.*' -type f | wc -l)" 0 "half-written files in $1"
}
