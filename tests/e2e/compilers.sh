#!/usr/bin/env bash
# One digest whatever compiled it: the program under test, gcc without optimisation, clang. Order, rounding and undefined behaviour that a
# compiler may settle its own way would show here.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

folder=${CONVOY_BUILD:?CONVOY_BUILD must name the build folder}/compilers

# build NAME COMPILER BUILD-TYPE: without warnings as errors, which are another test's business.
build() {
    local name=$1 compiler=$2 type=$3
    mkdir -p "$folder/$name"
    if ! { CC=$compiler cmake -S "$source_tree" -B "$folder/$name" -G Ninja -DCMAKE_BUILD_TYPE="$type" -DBUILD_TESTING=OFF \
        -DCONVOY_WERROR=OFF -DCONVOY_LTO=OFF && ninja -C "$folder/$name" convoy; } >"$work/$name.log" 2>&1 </dev/null; then
        tail -n 30 "$work/$name.log" >&2
        fail "$name does not build"
    fi
}

# digests PROGRAM: of two scenarios on a small fleet.
digests() {
    local scenario
    for scenario in commute-peak cellular-drops; do
        "$1" run "$scenarios/$scenario.lua" --fleet 300 --seed 11 --out "$work/run" >"$work/out" 2>"$work/out.err" || true
        [ -f "$work/run/result.json" ] || fail "$1 run $scenario has no result"
        json "$work/run/result.json" it.digest
        rm -rf "$work/run"
    done
}

expected=$(digests "$convoy")
[[ $expected =~ ^[0-9a-f]{32}$'\n'[0-9a-f]{32}$ ]] || fail "'$expected' are no two digests"

build gcc-O0 gcc Debug
equal "$(digests "$folder/gcc-O0/convoy")" "$expected" "digests of gcc -O0"
ok "gcc -O0"
build clang-O2 clang RelWithDebInfo
equal "$(digests "$folder/clang-O2/convoy")" "$expected" "digests of clang -O2"
ok "clang -O2"
