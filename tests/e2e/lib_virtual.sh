# lib_virtual.sh: what the tests of long and shared virtual runs have in common. Sourced after lib.sh.
# shellcheck disable=SC2034,SC2154 # variables of one script, used by another

# MPI keeps memory for as long as the process lives, which is no leak of ours.
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"

# run_any NAME ARGUMENTS...: a run into $work/NAME that gets to its verdict, whichever that is (a small fleet has too few samples for some).
run_any() {
    local name=$1 code=0
    shift
    timeout 600 "$convoy" run "$@" --out "$work/$name" >"$work/out" 2>"$work/out.err" </dev/null || code=$?
    [ "$code" -le 1 ] || [ "$code" -eq 4 ] || fail "exit code $code: convoy run $* ($(head -n 3 "$work/out.err"))"
    equal "$(cat "$work/out.err")" "" "standard error of convoy run $*"
}

digest_in() { json "$work/$1/result.json" it.digest; }

# Everything measured, without what tells of this machine: a checksum.
measured_in() {
    json "$work/$1/result.json" '({
        e: it.expectations.map((e) => [e.id, e.verdict, e.measured, e.samples, e.vehicles]), m: it.metrics, c: it.counters, l: it.ledger,
        k: it.commands, x: [it.events, it.packets, it.wire_bytes, it.registered_things, it.active_certificates, it.simulated_s],
        n: it.notes.filter((n) => /^[0-9]/.test(n) && !/^[0-9]+ ranks/.test(n)) })' | cksum
}

# same_as NAME OTHER WHAT: two runs came to the same, digest and measures.
same_as() {
    equal "$(digest_in "$1")" "$(digest_in "$2")" "digest, $3"
    equal "$(measured_in "$1")" "$(measured_in "$2")" "measured, $3"
}

# Vehicles that speak to each other: what one does makes another's user ask for something, with one count for the whole fleet; and an action
# whose result decides what happens next.
talking_scenario() {
    cat >"$1" <<'END'
scenario "talk" { start = "2026-03-04 07:00", duration = minutes(20), seed = 3 }
region "eu" { latency = milliseconds(12) }
region "us" { latency = milliseconds(18) }
local seen, fleet = 0, param("fleet", 600, "vehicles in all")
cohort "car" {
  count = fleet, region = { eu = 0.5, us = 0.5 }, radio = "lte-cat1", power_up = within(minutes(2)),
  telemetry = every(seconds(10)):while_driving():while_parked(minutes(2)),
  on_event = function(vehicle, event)
    seen = seen + 1
    if event == "online" then
      send_command { vehicle = (vehicle.number * 7 + seen) % fleet, command = "flash", timeout = seconds(30) }
    elseif seen % 50 == 0 then
      note("event " .. seen .. " is " .. vehicle.name .. " " .. event)
      send_command { vehicle = vehicle, command = "horn", timeout = seconds(20) }
    end
  end,
}
at("07:10", function()
  local hidden = coverage_hole { region = "eu", share = 0.2, lasts = seconds(40) }
  note(hidden .. " vehicles hidden")
  if hidden % 2 == 0 then drop_links { region = "us", share = 0.1 } end
  send_command { share = 0.05 * (hidden % 5 + 1), command = "locate", timeout = seconds(30) }
end)
at("07:12", function() -- reads what on_event counted, which one process alone knows
  note(seen .. " events so far")
  if seen > fleet then drop_links { share = 0.1 } end
end)
expect "reached" (commands():delivered():share()):above(0.5)
expect "asked"   (commands():intended()):above(200)
expect "quick"   (commands():round_trip():p95()):below(seconds(20))
expect "nothing" (telemetry():lost()):equals(0)
expect "all"     (broker():connected():last()):at_least(0.9 * fleet)
END
}

# A day whose timeline decides by what its actions returned; nobody speaks to anybody.
deciding_scenario() {
    cat >"$1" <<'END'
scenario "deciding" { start = "2026-03-04 06:00", duration = hours(3), seed = 11 }
region "here" { latency = milliseconds(10) }
cohort "car" { count = param("fleet", 400, "vehicles in all"), power_up = within(minutes(5)), identity = factory { provisioning = "just-in-time" } }
app "companion" { users = 100, command = "unlock", rate = per_hour(1) }
every_so_often(minutes(20), function()
  local cut = drop_links { share = 0.3 }
  local asked = send_command { share = (cut % 10 + 1) / 20, command = "locate", timeout = seconds(40) }
  if (cut + asked) % 3 == 0 then
    ignition_on { share = 0.2 }
  elseif (cut + asked) % 3 == 1 then
    coverage_hole { share = 0.1, lasts = seconds(cut % 50 + 5) }
  end
  note(cut .. " cut, " .. asked .. " asked")
end)
expect "nothing" (telemetry():lost()):equals(0)
expect "asked"   (commands():intended()):above(0)
END
}

# wait_checkpoint DIR PID: until the run has written a checkpoint there.
wait_checkpoint() {
    for _ in $(seq 600); do
        if compgen -G "$1/checkpoint-*-of-*[0-9]" >/dev/null; then return 0; fi
        running "$2" || fail "the run ended before its first checkpoint: $(tail -n 3 "$work"/*.err)"
        sleep 0.05
    done
    fail "no checkpoint in $1"
}

# interrupted NAME ARGUMENTS...: a run into $work/NAME that is ended by Ctrl-C after its first checkpoint. $reference names the run in one go
# that it is held against. (A background job of a script ignores SIGINT; env gives it its usual meaning back.)
interrupted() {
    local name=$1 pid code=0
    shift
    start "$name" env --default-signal=INT "$convoy" run "$@" --out "$work/$name"
    pid=$started
    wait_checkpoint "$work/$name" "$pid"
    kill -INT "$pid"
    wait "$pid" || code=$?
    equal "$code" 130 "exit code after Ctrl-C"
    equal "$(cat "$work/$name.err")" "" "standard error after Ctrl-C"
    expect_run_directory "$work/$name"
    equal "$(json "$work/$name/result.json" it.verdict)" interrupted "verdict after Ctrl-C"
    [ "$(json "$work/$name/result.json" 'it.simulated_s')" != "$(json "$work/$reference/result.json" it.simulated_s)" ] ||
        fail "$name was not interrupted in the middle"
}

# resumed NAME ARGUMENTS...: goes on in $work/NAME to a verdict; the reference's.
resumed() {
    local name=$1 code=0
    shift
    timeout 600 "$convoy" run --resume "$work/$name" "$@" >"$work/out" 2>"$work/out.err" </dev/null || code=$?
    equal "$code" "$(json "$work/$reference/result.json" it.exit_code)" "exit code of a resumed run"
    equal "$(cat "$work/out.err")" "" "standard error of a resumed run"
    same_as "$name" "$reference" "resumed"
    equal "$(find "$work/$name" -name 'checkpoint*' | wc -l)" 0 "checkpoints left after a completed run"
    expect_run_directory "$work/$name"
    json "$work/$name/result.json" it.notes | grep -q '^Resumed from the checkpoint of ' || fail "the report does not say that it was resumed"
}

# lived RUN VEHICLE FILE [OPTIONS...]: its timeline, identical to the run.
lived() {
    local run=$1 vehicle=$2 file=$3
    shift 3
    expect_exit 0 timeout 600 "$convoy" replay "$work/$run" --vehicle "$vehicle" "$@"
    expect_one_line "^$(wc -l <"$work/out") lines; identical to the run: partition [0-9]+ of [0-9]+ came to digest [0-9a-f]{32} again\$"
    cp "$work/out" "$work/$file"
}

same_life() { cmp -s "$work/$1" "$work/$2" || fail "$3: $(diff "$work/$1" "$work/$2" | head -n 4)"; }
