# lib_faults.sh: a scenario without a fault, and with each of its faults, in the virtual world. Sourced after lib.sh.
# What is run comes from `convoy check --json`, so a new fault is tested by being declared.
# shellcheck disable=SC2034,SC2154 # variables of one script, used by another

faults=0

# plays_identities SCENARIO: does it play the lives of identities?
plays_identities() {
    expect_exit 0 "$convoy" check "$scenarios/$1.lua" --json
    [ "$(json "$work/out" '"lifecycle" in it')" = true ]
}

# Figures that are sums and belong to no vehicle: how fast, how many of something there should have been.
of_nobody="connects|TCUs swapped|clones found out|certificates revoked|rotations decided"

# expect_named DIRECTORY ID: the vehicles are in result.json and junit.xml, in a rotation with the step each was at, the first of them on the
# terminal.
expect_named() {
    local directory=$1 it="it.expectations.find((e) => e.id === '$2')" text name step
    text=$(json "$directory/result.json" "$it.text")
    if grep -qE "$of_nobody" <<<"$text"; then return 0; fi
    # Of those connected at some moment of the run nobody keeps a list; of those at its end, yes: where the scenario looks after identities.
    if grep -q "vehicles connected" <<<"$text" && { [ "$(json "$directory/result.json" "$it.statistic")" != last ] || [ "$(json "$directory/result.json" "it.counters.offline_at_end + it.counters.intrusions")" = 0 ]; }; then return 0; fi
    # A rotation that nobody began failed with nobody.
    if [ "$text" = "rotations succeeded" ] && [ "$(json "$directory/result.json" it.counters.rotations)" -eq 0 ]; then return 0; fi
    name=$(json "$directory/result.json" "($it.vehicles[0] || {}).name || ''")
    [ -n "$name" ] || fail "$2 failed and names no vehicle"
    grep -q -- "^$name " "$directory/junit.xml" || fail "junit.xml does not name the vehicles of $2"
    grep -qF -- "$name (" "$work/out" || fail "the terminal does not name the vehicles of $2"
    case $text in rotations*)
        equal "$(json "$directory/result.json" "$it.vehicles.filter((v) => !v.step).length")" 0 "vehicles of $2 without the step they were at"
        step=$(json "$directory/result.json" "$it.vehicles[0].step")
        grep -q -- "^$name .*$step at " "$directory/junit.xml" || fail "junit.xml does not say that $name was at '$step'"
        grep -q -- "$name ([^)]*$step at " "$work/out" || fail "the terminal does not say that $name was at '$step'"
        ;;
    esac
}

# without_faults SCENARIO FLEET: all of its expectations hold.
without_faults() {
    local path=$scenarios/$1.lua
    expect_exit 0 "$convoy" check "$path" --json
    cp "$work/out" "$work/$1.json"
    [ "$(json "$work/$1.json" it.expectations.length)" -ge 3 ] || fail "$1 has fewer than three expectations"
    expect_exit 0 "$convoy" run "$path" --fleet "$2" --out "$work/$1"
    equal "$(failing "$work/$1/junit.xml")" "" "failing testcases of $1 without a fault"
    equal "$(json "$work/$1/result.json" "it.expectations.filter((e) => e.verdict !== 'pass').map((e) => e.id)")" "" "what does not hold of $1"
    ok "$1 holds with $2 vehicles"
}

# with_each_fault SCENARIO FLEET: after without_faults. Exit 1, what fails is what the fault names and nothing else, and who suffered is named.
with_each_fault() {
    local path=$scenarios/$1.lua fault directory broken failed breaks
    for fault in $(json "$work/$1.json" 'it.faults.map((f) => f.name)'); do
        directory=$work/$1-$fault
        expect_exit 1 "$convoy" run "$path" --fleet "$2" --set "$fault=on" --out "$directory"
        breaks=$(json "$work/$1.json" "it.faults.find((f) => f.name === '$fault').breaks.sort()")
        [ -n "$breaks" ] || fail "$fault of $1 names no expectation"
        failed=$(json "$directory/result.json" "it.expectations.filter((e) => e.verdict === 'fail').map((e) => e.id).sort()")
        equal "$(tr '\n' ' ' <<<"$failed")" "$(tr '\n' ' ' <<<"$breaks")" "what fails of $1 with $fault and $2 vehicles"
        # In junit.xml what could not be judged for want of samples is a failure, too.
        for broken in $breaks; do
            failing "$directory/junit.xml" | grep -qx -- "$broken" || fail "$broken is no failing testcase of $1 with $fault"
            expect_named "$directory" "$broken"
        done
        equal "$(json "$directory/result.json" it.verdict)" fail "verdict of $1 with $fault"
        # The fault is on record, so that nobody takes such a run for a real one.
        equal "$(json "$directory/result.json" "it.scenario.parameters.find((p) => p.name === '$fault').overridden")" true "$fault on record"
        ok "$1 $fault: $(tr '\n' ' ' <<<"$failed")"
        faults=$((faults + 1))
    done
}

# scenarios_with_faults FAULTS FLEET SCENARIO...: each without and with each of its faults, two a scenario and FAULTS in all at least.
scenarios_with_faults() {
    local wanted=$1 vehicles=$2 scenario
    shift 2
    for scenario in "$@"; do
        without_faults "$scenario" "$vehicles"
        [ "$(json "$work/$scenario.json" it.faults.length)" -ge 2 ] || fail "$scenario has fewer than two faults"
        with_each_fault "$scenario" "$vehicles"
    done
    [ "$faults" -ge "$wanted" ] || fail "only $faults faults were found"
}

# as_one_process SCENARIO FLEET: after without_faults. Two processes end as one did.
as_one_process() {
    local what
    [ -n "$(command -v mpirun)" ] || return 0
    expect_exit 0 "$convoy" run "$scenarios/$1.lua" --fleet "$2" -j 2 --out "$work/two"
    for what in it.digest it.counters it.commands 'it.expectations.map((e) => [e.id, e.measured])'; do
        equal "$(json "$work/two/result.json" "JSON.stringify($what)")" "$(json "$work/$1/result.json" "JSON.stringify($what)")" "$what of two processes"
    done
    ok "$1: two processes end as one does"
}
