#!/usr/bin/env bash
# Several processes on this machine: one digest for any number of them and any window, output and exit codes of a run as if it were one
# process, a report after Ctrl-C, and no hang when one of them dies.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

ranks=$CONVOY_BUILD/tests/tool_parallel_ranks
phold=$CONVOY_BUILD/tests/tool_parallel_phold
module=$CONVOY_BUILD/convoy-mpi.so
# MPI keeps memory for as long as the process lives, which is no leak of ours.
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"

# ended CODE COMMAND...: its output into $work/out and $work/err, its exit code is CODE, and it does not take a minute.
ended() {
    local wanted=$1 code=0
    shift
    timeout 60 "$@" >"$work/out" 2>"$work/err" </dev/null || code=$?
    [ "$code" = "$wanted" ] || fail "exit $code instead of $wanted: $* ($(head -n 5 "$work/err"))"
}
says() { grep -qF -- "$2" "$work/$1" || fail "$1 lacks '$2': $(head -n 5 "$work/$1")"; }
lines() { [ "$(wc -l <"$work/$1")" = "$2" ] || fail "$1 has not $2 lines: $(head -n 5 "$work/$1")"; }

[ -f "$module" ] || fail "convoy-mpi.so was not built: Open MPI is missing here (./dev setup)"
for program in "$CONVOY" "$ranks"; do
    if ldd "$program" | grep -q libmpi; then fail "$program links MPI"; fi
done

# Collective calls; rank 0 alone is heard.
for count in 1 2 3 5; do
    ended 0 "$ranks" -j "$count" collect
    says out "rank 0 of $count, gathered in order"
    lines out 1
    lines err 0
done
for code in 0 1 4; do
    ended "$code" "$ranks" -j 3 exit "$code"
    lines out 1
    lines err 1
done

# A rank's end is everybody's, in one line.
ended 3 "$ranks" -j 3 die 1
says err "convoy: the run is lost: process rank 1"
lines err 1
ended 3 "$ranks" -j 3 die 0
says err "convoy: the run is lost: process rank 0"
ended 3 "$ranks" -j 3 assert 2
says err "convoy: process 2 of the run says:"
says err "broken invariant !chosen"
ended 4 "$ranks" -j 3 abort 2 4
says err "no more of this"
ended 3 "$phold" -j 2 --die 1
ended 3 "$phold" -j 3 --die 0

# Signals: every rank's own handler sees them, and the report comes.
for signal in INT TERM; do
    # A background job of a script ignores SIGINT; env gives it its usual meaning back.
    env --default-signal=INT "$ranks" -j 2 wait >"$work/out" 2>"$work/err" </dev/null &
    waited=$!
    e2e_pids+=("$waited")
    for _ in $(seq 600); do
        if grep -q ready "$work/out" || ! kill -0 "$waited" 2>/dev/null; then break; fi
        sleep 0.1
    done
    kill -s "$signal" "$waited"
    code=0
    wait "$waited" || code=$?
    [ "$code" = 130 ] || fail "SIG$signal: exit $code instead of 130"
    says out "partial report of 2 processes"
    lines err 0
done

# Without MPI: one process works, more are refused in one line.
mkdir "$work/alone"
cp "$ranks" "$work/alone/"
ended 0 "$work/alone/tool_parallel_ranks" collect
says out "rank 0 of 1, gathered in order 0, no library"
ended 3 "$work/alone/tool_parallel_ranks" -j 2 collect
says err "-j 2: this build of convoy has no convoy-mpi.so"
lines err 1
ended 3 env PATH=/nowhere "$ranks" -j 2 collect
says err "-j 2 needs Open MPI's mpirun: apt-get install openmpi-bin libopenmpi3"
lines err 1

# One digest.
ended 0 "$phold" --window-ms 8
line=$(cat "$work/out")
[[ $line == "whole digest "* ]] || fail "no digest: $line"
for count in 1 2 3 5; do
    for window in 1 2 4 8; do
        # More ranks than cores crawl: not every window for each.
        if [ "$count" -gt 2 ] && [ "$window" = 1 ]; then continue; fi
        ended 0 "$phold" -j "$count" --window-ms "$window"
        [ "$(cat "$work/out")" = "$line" ] || fail "$count processes, windows of $window ms: $(cat "$work/out") instead of $line"
    done
done
# Blocks above what travels with the head: thousands of messages a window.
ended 0 "$phold" --entities 400 --seconds 1
line=$(cat "$work/out")
for count in 2 3; do
    ended 0 "$phold" -j "$count" --entities 400 --seconds 1
    [ "$(cat "$work/out")" = "$line" ] || fail "$count processes, large blocks: $(cat "$work/out") instead of $line"
done

# Whoever stops or runs out of memory, all end, and none waits.
ended 1 "$phold" -j 3 --stop 2
says out "partial digest"
ended 1 "$phold" -j 3 --entities 2000 --seconds 1 --poor 1
says out "partial digest"
ended 1 "$phold" -j 2 --entities 2000 --seconds 1 --poor 0
says out "partial digest"

# mpirun by hand, as on a cluster.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
ended 0 mpirun --oversubscribe --mca btl self,vader -n 3 "$ranks" collect
says out "rank 0 of 3, gathered in order 12"
ended 3 mpirun --oversubscribe --mca btl self,vader -n 1 env OMPI_COMM_WORLD_SIZE=2 "$ranks" collect

echo "parallel: one digest for 1, 2, 3 and 5 processes"
