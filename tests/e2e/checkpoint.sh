#!/usr/bin/env bash
# A run that is saved, stopped and gone on with comes to what it would have come to; what cannot be gone on with is one line, and nothing
# is overwritten. And a run that outgrows its memory ends with a report.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_virtual.sh"

day=("$scenarios/commute-peak.lua" --fleet 3000 --duration 12h)
talking_scenario "$work/talk.lua"
talk=("$work/talk.lua" --fleet 2000 --duration 90m)

# ---- interrupted and resumed -------------------------------------------------------------------------------------------------
reference=whole
run_any whole "${day[@]}" --checkpoint 1h
equal "$(find "$work/whole" -name 'checkpoint*' | wc -l)" 0 "checkpoints left after a completed run"
run_any plain "${day[@]}"
same_as whole plain "with and without checkpoints"
interrupted one "${day[@]}" --checkpoint 30m
cp -r "$work/one" "$work/kept"
resumed one
# Twice from the same point, and on with checkpoints.
resumed kept --checkpoint 5h
interrupted two "${day[@]}" --checkpoint 30m -j 2
cp -r "$work/two" "$work/damaged"
resumed two -j 2
ok "interrupted and resumed, the digest and the measures are those of a run in one go"

reference=spoken
run_any spoken "${talk[@]}"
# A checkpoint shortly before the end cuts the window in which a partition does its last.
run_any early "$work/talk.lua" --set fleet=60
run_any late "$work/talk.lua" --set fleet=60 --checkpoint 1194.84s
same_as late early "a checkpoint within a window"
interrupted words "${talk[@]}" --checkpoint 2m -j 2
resumed words -j 2
interrupted word "${talk[@]}" --checkpoint 2m
resumed word
ok "the same where vehicles speak to each other: messages under way are kept"

# ---- what cannot be resumed --------------------------------------------------------------------------------------------------
all_of() { (cd "$1" && find . -type f -exec cksum {} + | sort); }

# refused CODE PATTERN ARGUMENTS...: one line, and the directory is as it was.
refused() {
    local wanted=$1 pattern=$2 before
    shift 2
    before=$(all_of "$work/damaged")
    expect_exit "$wanted" timeout 600 "$convoy" run "$@"
    expect_one_line "$pattern"
    equal "$(all_of "$work/damaged" | cksum)" "$(cksum <<<"$before")" "files after a refused resume"
}
from=(--resume "$work/damaged")
refused 3 "no checkpoint to resume from: .*checkpoint-1-of-1.* as many ranks" "${from[@]}"
refused 3 "no checkpoint to resume from: .*checkpoint-1-of-3.* as many ranks" "${from[@]}" -j 3
refused 3 "no checkpoint to resume from: .*nowhere" --resume "$work/nowhere"
[ ! -e "$work/nowhere" ] || fail "a refused resume made the directory it looked into"
refused 3 "no checkpoint to resume from" --resume "$work/one"
refused 3 "no checkpoint to resume from" --resume "$work/one" --out "$work/elsewhere" -j 2
[ ! -e "$work/elsewhere" ] || fail "a refused resume left a directory"
for option in "--fleet 5" "--duration 1h" "--seed 3" "--set fault.drop_commands=on" "--partitions 20"; do
    # shellcheck disable=SC2086
    refused 2 "as it was: no SCENARIO, --set, --fleet" "${from[@]}" -j 2 $option
done
refused 2 "as it was: no SCENARIO" "${from[@]}" -j 2 "$scenarios/smoke.lua"

file=$work/damaged/checkpoint-2-of-2
cp "$file" "$work/image"
truncate -s -1000 "$file"
refused 3 "cannot resume from the checkpoint .*checkpoint-2-of-2: the image is cut short" "${from[@]}" -j 2
: >"$file"
refused 3 "cannot resume from the checkpoint .*checkpoint-2-of-2: the image is cut short" "${from[@]}" -j 2
# A file of another program: its build id is in the head, as the program has it.
id=$(readelf -n "$convoy" | sed -n 's/^ *Build ID: //p')
at=$(head -c 4096 "$work/image" | xxd -p -c 0 | awk -v id="$id" '{ print index($0, id) }')
[ "$at" -gt 0 ] || fail "the head of a checkpoint does not hold the program's build id $id"
cp "$work/image" "$file"
printf '\377\376\375' | dd of="$file" bs=1 seek=$(((at - 1) / 2)) conv=notrunc status=none
refused 3 "checkpoint-2-of-2: the image was written by another build of the program" "${from[@]}" -j 2
# One byte in the middle.
cp "$work/image" "$file"
middle=$(($(stat -c %s "$file") / 2))
byte=$(xxd -p -s "$middle" -l 1 "$file")
printf '%b' "\\x$(printf %02x $((0x$byte ^ 0x10)))" | dd of="$file" bs=1 seek="$middle" conv=notrunc status=none
refused 3 "checkpoint-2-of-2: the image is damaged" "${from[@]}" -j 2
# The files of two ranks, exchanged.
cp "$work/image" "$file"
mv "$work/damaged/checkpoint-1-of-2" "$work/swap"
mv "$file" "$work/damaged/checkpoint-1-of-2"
mv "$work/swap" "$file"
refused 3 "are not of one checkpoint" "${from[@]}" -j 2
mv "$file" "$work/swap"
mv "$work/damaged/checkpoint-1-of-2" "$file"
mv "$work/swap" "$work/damaged/checkpoint-1-of-2"
reference=whole
resumed damaged -j 2
ok "what cannot be resumed is one line, and leaves everything as it was"

if [ "$(id -u)" -ne 0 ] || unshare --mount true 2>/dev/null; then
    # A disk too small for the checkpoint.
    expect_exit 3 bash -c 'ulimit -f 2000; exec "$@"' - "$convoy" run "${day[@]}" --checkpoint 6h --out "$work/full"
    expect_one_line "cannot write the (checkpoint|image)|File too large"
    equal "$(find "$work/full" -name 'checkpoint*' | wc -l)" 0 "half checkpoints"
    ok "a checkpoint that does not fit on the disk"
fi

# ---- memory ------------------------------------------------------------------------------------------------------------------
# Nothing reaches the cloud for hours, and everything is kept: the queues outgrow what a fleet usually needs.
cat >"$work/queues.lua" <<'E2'
scenario "queues" { start = "2026-03-04 06:00", duration = hours(6) }
region "here" { latency = milliseconds(10) }
cohort "car" { count = 4000, telemetry = every(seconds(10)):always():queue(1024, "drop-oldest"), trips = always_driving() }
at("06:10", function() coverage_hole { lasts = hours(5) } end)
expect "meant" (telemetry():intended()):above(0)
E2
for ranks in 1 2; do
    directory=$work/grown-$ranks
    expect_exit 3 timeout 600 "$convoy" run "$work/queues.lua" --memory "$((ranks == 1 ? 29 : 27))M" -j "$ranks" --out "$directory"
    expect_one_line "out of memory with [0-9.]+ [kMG]?B in use"
    expect_run_directory "$directory"
    equal "$(json "$directory/result.json" it.verdict)" error "verdict of a run that outgrew its memory"
    equal "$(json "$directory/result.json" it.exit_code)" 3 "exit code in the report"
    [ "$(json "$directory/result.json" 'Math.floor(it.simulated_s)')" -gt 0 ] || fail "nothing of the run was kept"
    [ "$(json "$directory/result.json" it.ledger.delivered)" -gt 0 ] || fail "what was measured is gone"
    equal "$(json "$directory/result.json" it.ledger.vehicles)" 4000 "vehicles of all processes in the report"
    grep -q 'exit 3' "$work/out" || fail "the summary does not say its exit code"
done
ok "a run that outgrows its memory ends with a report"
