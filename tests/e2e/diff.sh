#!/usr/bin/env bash
# convoy diff: two runs of a small scenario with other seeds, with a fault, of other scenarios, across worlds, and damaged files.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_virtual.sh"

smoke=$scenarios/smoke.lua
run_any a "$smoke" --fleet 300 --seed 1
run_any same "$smoke" --fleet 300 --seed 1
run_any b "$smoke" --fleet 300 --seed 2
run_any faulty "$smoke" --fleet 300 --seed 1 --set fault.drop_commands=on
run_any other "$scenarios/cellular-drops.lua" --fleet 100 --duration 20m
cd "$work"

# The same run twice: nothing that was measured differs.
expect_exit 0 "$convoy" diff a same --tolerance 0 --json same.json
equal "$(cat out.err)" "" "standard error"
equal "$(json same.json 'it.expectations.filter((e) => e.changed || e.trend !== "same").length')" 0 "expectations that differ"
equal "$(json same.json '["metrics", "counters", "ledger", "commands"].flatMap((g) => it[g]).filter((r) => r.a !== r.b).length')" 0 \
    "numbers that differ"
equal "$(json same.json it.exceeds)" false "beyond a tolerance of 0"
grep -q "0 of 7 verdicts changed, 0 for the worse" out || fail "no verdict changed, and it is not said"
ok "a run and itself"

# Other seeds: what the documents say is what the comparison says.
expect_exit 0 "$convoy" diff a b --tolerance 20 --json seeds.json --html seeds.html
equal "$(json seeds.json '[it.a.seed, it.b.seed].join()')" 1,2 "seeds"
for name in a b; do
    wanted=$(json $name/result.json 'it.metrics["command.round_trip"].p50')
    equal "$(json seeds.json "it.medians.find((m) => m.name === 'command.round_trip' && m.path === 'any').$name")" "$wanted" "median of $name"
    wanted=$(json $name/result.json it.counters.commands)
    equal "$(json seeds.json "it.counters.find((c) => c.name === 'commands').$name")" "$wanted" "commands of $name"
done
grep -q "within a tolerance of 20 %" out || fail "the conclusion is not told"
equal "$(json seeds.json 'it.metrics.some((m) => m.bounds_overlap !== undefined)')" true "bounds of quantiles"
node -e '
    const page = require("fs").readFileSync("seeds.html", "utf8"), body = page.slice(page.indexOf("<body>"));
    if (/(src|href)="http|@import|<script/.test(page)) throw "the page loads something";
    if (!body.includes("class=\"other\"") || !body.includes("class=\"bar\"")) throw "no distributions over each other";
    if (/NaN|\bnan\b|="inf/.test(body)) throw "a number is none";' || fail "the page"
ok "two seeds"

# A fault: the verdict that got worse is first, and with a tolerance the exit code says so.
expect_exit 0 "$convoy" diff a faulty
expect_exit 1 "$convoy" diff a faulty --tolerance 50 --json fault.json
equal "$(json fault.json 'it.expectations[0].id')" no-command-lost "first expectation"
equal "$(json fault.json '[it.expectations[0].verdict_a, it.expectations[0].verdict_b, it.expectations[0].worse].join()')" \
    pass,fail,true "its verdicts"
equal "$(json fault.json 'it.parameters.map((p) => [p.name, p.a, p.b, p.fault].join("=")).join()')" fault.drop_commands=0=0.2=true \
    "parameters that differ"
equal "$(json fault.json '[it.accounts.commands.accounted_a, it.accounts.commands.accounted_b].join()')" true,false "commands accounted for"
grep -qE '^  ✗ no-command-lost +pass → fail' out || fail "the expectation that failed is not marked"
# The other way round it got better.
expect_exit 0 "$convoy" diff faulty a --tolerance 50
ok "a fault"

# Medians beyond the tolerance, though no verdict changed.
mkdir slow
node -e '
    const fs = require("fs"), it = JSON.parse(fs.readFileSync("a/result.json", "utf8"));
    it.metrics["command.round_trip"].p50 = Math.round(it.metrics["command.round_trip"].p50 * 1.15);
    fs.writeFileSync("slow/result.json", JSON.stringify(it));'
expect_exit 0 "$convoy" diff a slow --tolerance 16
expect_exit 1 "$convoy" diff a slow --tolerance 14
grep -q "run.sqlite cannot be read" out || fail "that there are no distributions is not said"
ok "a tolerance"

# Across worlds. (The live run's document is a virtual one here: what a live run measures is the business of other tests.)
mkdir live
sed 's/"world":\([ \t]*\)"virtual"/"world":\1"live"/' a/result.json >live/result.json
expect_exit 0 "$convoy" diff a live --json worlds.json
grep -q "virtual world against live world" out || fail "no section across worlds"
equal "$(json worlds.json 'it.worlds.every((w) => w.holds) && it.worlds.length >= 5')" true "worlds agree"
equal "$(json same.json it.worlds)" null "one world"
ok "two worlds"

# Not comparable: one line and 2; not readable: one line and 3.
expect_exit 2 "$convoy" diff a other
expect_one_line 'different scenarios, smoke and cellular-drops; --any'
expect_exit 0 "$convoy" diff a other --any
mkdir empty torn strange
expect_exit 2 "$convoy" diff a empty
expect_one_line 'empty is not a run directory'
expect_exit 2 "$convoy" diff nowhere a
expect_one_line 'nowhere is not a run directory'
head -c 3000 a/result.json >torn/result.json
expect_exit 3 "$convoy" diff a torn
expect_one_line 'torn/result.json is damaged'
echo '{"world": "virtual", "expectations": []}' >strange/result.json
expect_exit 2 "$convoy" diff strange a
expect_one_line 'is not the result of a run'
mkdir folder folder/result.json
expect_exit 3 "$convoy" diff a folder
expect_one_line 'folder/result.json'
cp -r b damaged
head -c 5000 /dev/urandom >damaged/run.sqlite
expect_exit 0 "$convoy" diff a damaged --html damaged.html
grep -q "B: run.sqlite cannot be read" out || fail "a damaged run.sqlite is passed over in silence"
for wrong in "a" "a b same" "a b --tolerance -1" "a b --tolerance x" "a b --frobnicate"; do
    # shellcheck disable=SC2086 # words
    expect_exit 2 "$convoy" diff $wrong
    expect_one_line
done
expect_exit 3 "$convoy" diff a b --json nowhere/x.json
expect_one_line 'nowhere/x.json'
expect_exit 0 "$convoy" diff --help
ok "what cannot be compared"

# A storm with jitter and without: what the curves hold is what the comparison tells, and the page shows both over time.
storm=$scenarios/reconnect-storm.lua
run_any calm "$storm" --fleet 1000
run_any wild "$storm" --fleet 1000 --set fault.no_jitter=on
expect_exit 0 "$convoy" diff calm wild --json storm.json --html storm.html
for name in calm wild; do
    side=a && [ "$name" = wild ] && side=b
    peak=$(sqlite3 "$name/run.sqlite" "select max(value) from series where name = 'connects' and at_s >= 1800")
    equal "$(json storm.json "it.storm.find((r) => /connects a second/.test(r.name)).$side")" "$peak" "peak of $name"
    before=$(sqlite3 "$name/run.sqlite" "select max(value) from series where name = 'connected' and at_s between 600 and 1799")
    equal "$(json storm.json "it.storm.find((r) => /before/.test(r.name)).$side")" "$before" "connected before, $name"
    back=$(sqlite3 "$name/run.sqlite" "select min(at_s) - 1800 from series where name = 'connected' and at_s > 1800 and value >= 0.99 * $before")
    equal "$(json storm.json "it.storm.find((r) => /99 %/.test(r.name)).$side")" "${back%.0}" "time until 99 % of $name are back"
done
[ "$(json storm.json 'it.storm.find((r) => /connects a second/.test(r.name)).percent > 500')" = true ] || fail "no jitter, and no storm"
[ "$(grep -o '<figcaption>' storm.html | wc -l)" = 4 ] || fail "not both runs over time"
expect_exit 0 "$convoy" diff a b --json calm.json
equal "$(json calm.json it.storm.length)" 0 "storms where there is none"
ok "a storm, with jitter and without"
