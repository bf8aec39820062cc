#!/usr/bin/env bash
# Scenarios with each of their faults: without one, exit 0; with one, exit 1 and exactly the expectations fail that it names.
#   scenarios.sh [--world virtual|live] [--jobs N] [--only clean|faults] [--out DIR] [NAME...]
# Every scenario that has a line in live.txt, or those named. Virtual: 100,000 vehicles; live: 200 against the embedded cloud, with the arguments of live.txt.
# A line for each run goes to standard output; the exit code is 1 when one was not as it should be.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export convoy=${CONVOY:-$root/build/convoy} root
export world=virtual out=${TMPDIR:-/tmp}/convoy-long
jobs=1 only=all names=()

usage() {
    sed -n '2,5s/^# //p' "$0" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
    --world | --jobs | --only | --out)
        [ $# -ge 2 ] || usage
        declare "${1#--}=$2"
        shift 2
        ;;
    -*) usage ;;
    *)
        names+=("$1")
        shift
        ;;
    esac
done
case $world-$only in virtual-all | virtual-clean | virtual-faults | live-all | live-clean | live-faults) ;; *) usage ;; esac
[ -x "$convoy" ] || {
    echo "scenarios.sh: there is no program at $convoy: ./dev build makes it" >&2
    exit 3
}

# one NAME FAULT|clean ARGUMENTS: runs it and says what came of it.
one() {
    local name=$1 fault=$2 run=$out/$world-$1-$2 code=0 begun=$SECONDS options=() verdict=ok
    eval "options=($3)" # The arguments are lines of ours, with quotes in them.
    [ "$fault" = clean ] || options+=(--set "$fault=on")
    if [ "$world" = live ]; then options+=(--world live --fleet 200 --lag-bound 300); else options+=(--fleet 100000); fi
    "$convoy" run "$root/scenarios/$name.lua" "${options[@]}" --out "$run" >"$run.log" 2>&1 || code=$?
    local named failed
    named=$("$convoy" check "$root/scenarios/$name.lua" --json | node -e '
        const found = JSON.parse(require("fs").readFileSync(0, "utf8")).faults.find((it) => it.name === process.argv[1]);
        console.log(found ? [...found.breaks].sort().join(",") : "");' "$fault")
    failed=$(node -e '
        const { expectations } = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"));
        console.log(expectations.filter((it) => it.verdict === "fail").map((it) => it.id).sort().join(","));
        ' "$run/result.json" 2>/dev/null || tail -n 1 "$run.log")
    if [ "$fault" = clean ]; then [ "$code" = 0 ] || verdict=WRONG; else [ "$code-$failed" = "1-$named" ] || verdict=WRONG; fi
    echo "$verdict $world $name $fault: exit $code, $((SECONDS - begun)) s, failed [$failed]$([ $verdict = ok ] || echo " instead of [$named]")"
    [ $verdict = ok ]
}
export -f one

mkdir -p "$out"
while IFS='|' read -r name options; do
    name=${name// /}
    case $name in '' | '#'*) continue ;; esac
    [ ${#names[@]} -eq 0 ] || [[ " ${names[*]} " == *" $name "* ]] || continue
    [ "$world" = live ] || options=
    [ "$only" = faults ] || printf '%s\0' "$name" clean "$options"
    [ "$only" = clean ] && continue
    for fault in $("$convoy" check "$root/scenarios/$name.lua" --json | node -e '
        console.log(JSON.parse(require("fs").readFileSync(0, "utf8")).faults.map((it) => it.name).join(" "));'); do
        printf '%s\0' "$name" "$fault" "$options"
    done
done <"$here/live.txt" >"$out/list"
[ -s "$out/list" ] || {
    echo "scenarios.sh: no scenario of that name in live.txt" >&2
    exit 2
}
# shellcheck disable=SC2016 # The shell that xargs starts expands them.
xargs -0 -n 3 -P "$jobs" bash -c 'one "$1" "$2" "$3"' one <"$out/list"
