#!/usr/bin/env bash
# conform_ten.sh: the same broker, held against the standard ten times in a row, two of them on a machine whose every core is busy: each check must say the
# same each time. Prints what differs; exit 1 when anything does. By hand: it takes ten times as long as a run.
#
#   CONVOY=build/convoy tests/long/conform_ten.sh [--runs N] [--keep DIR] [--protocol 3.1.1] [--user NAME --password WORD] [--profile NAME] URI|embedded ...
set -euo pipefail
convoy=${CONVOY:-build/convoy}
runs=10
keep=
more=()
while [ $# -gt 0 ]; do
    case $1 in
    --runs) runs=$2 && shift 2 ;;
    --keep) keep=$2 && shift 2 ;;
    --protocol | --user | --password | --profile) more+=("$1" "$2") && shift 2 ;;
    -*) echo "usage: conform_ten.sh [--runs N] [--keep DIR] [--protocol 3.1.1] [--user NAME --password WORD] [--profile NAME] URI|embedded ..." >&2 && exit 2 ;;
    *) break ;;
    esac
done
[ $# -gt 0 ] || { echo "which broker? conform_ten.sh [--runs N] URI|embedded ..." >&2 && exit 2; }
[ -x "$convoy" ] || { echo "$convoy is no program: CONVOY=... names it" >&2 && exit 2; }
work=${keep:-$(mktemp -d)}
mkdir -p "$work"
busy=()

calm() {
    [ ${#busy[@]} -eq 0 ] || kill "${busy[@]}" 2>/dev/null || true
    busy=()
}

finish() {
    local code=$?
    trap - EXIT
    calm
    [ -n "$keep" ] || rm -rf "$work"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The third of every five runs has a loop on every core beside it.
is_busy() { [ $(($1 % 5)) -eq 3 ]; }

disturb() {
    for _ in $(seq "$(nproc)"); do
        (while :; do :; done) &
        busy+=($!)
    done
}

differences() {
    node -e '
        const fs = require("fs");
        const [directory, runs] = [process.argv[1], Number(process.argv[2])];
        const told = new Map();
        let results = 0;
        for (let run = 1; run <= runs; run++) {
            const it = JSON.parse(fs.readFileSync(`${directory}/${run}/result.json`, "utf8"));
            for (const each of it.expectations) {
                const hits = each.findings.filter((finding) => finding.verdict === "fail").map((finding) => finding.id).sort();
                const text = [each.verdict, ...hits].join(" ");
                const why = each.measured === "as expected" ? "" : each.measured;
                if (!told.has(each.id)) told.set(each.id, Array.from({ length: runs }, () => ({ text: "not there", why: "" })));
                told.get(each.id)[run - 1] = { text, why };
                results++;
            }
        }
        let differing = 0;
        for (const [id, each] of told) {
            if (new Set(each.map((one) => one.text)).size === 1) continue;
            differing++;
            console.log(`  ${id}: ${each.map((one) => one.text).join(", ")}`);
            for (const why of new Set(each.map((one) => one.why).filter(Boolean))) console.log(`      ${why}`);
        }
        console.log(`${told.size} checks and rows, ${runs} runs, ${results} verdicts: ${differing ? `${differing} differ` : "all the same"}`);
        process.exit(differing ? 1 : 0);
    ' "$1" "$2"
}

unlike=0
for uri in "$@"; do
    directory=$work/$(tr -c 'A-Za-z0-9.\n' - <<<"$uri")
    rm -rf "$directory"
    mkdir -p "$directory"
    echo "$uri"
    for run in $(seq "$runs"); do
        beside=
        if is_busy "$run"; then
            disturb
            beside=", with a busy loop on every core"
        fi
        code=0
        "$convoy" conform "$uri" ${more[@]+"${more[@]}"} --out "$directory/$run" >"$directory/$run.log" 2>&1 || code=$?
        calm
        case $code in
        0 | 1 | 4) ;;
        *) tail -n 2 "$directory/$run.log" >&2 && exit "$code" ;;
        esac
        echo "  run $run: $(grep -m 1 'checks and rows:' "$directory/$run.log" | sed 's/^ *checks and rows: *//') exit $code$beside"
        rm -f "$directory/$run/trace.pcapng"
    done
    differences "$directory" "$runs" || unlike=1
done
exit "$unlike"
