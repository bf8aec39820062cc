#!/usr/bin/env bash
# check.sh [ROOT]: the rules of the house. Each finding is a line `file:line: what is wrong; what to do instead`; exit 1 if any.
# Every file of the tree counts, committed or not; docs/developing.md lists the rules for people.
set -euo pipefail
export LC_ALL=C

root=$(cd "${1:-$(dirname "${BASH_SOURCE[0]}")/../..}" && pwd)
cd "$root"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
findings=$scratch/findings
: >"$findings"

lines_maximum=900

list_files() {
    if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        git ls-files --cached --others --exclude-standard
    else
        find . -type d \( -name node_modules -o -name 'build*' -o -name runs -o -name .git \) -prune -o -type f -print | sed 's#^\./##'
    fi | while IFS= read -r file; do
        if [ -f "$file" ]; then echo "$file"; fi
    done | sort -u
}
list_files >"$scratch/files"
if ! grep -q '\.c$' "$scratch/files"; then
    echo "check.sh: no C file under $root: nothing was checked" >&2
    exit 2
fi

# C with comments removed and strings emptied (not those of #include), as file:line:code; so that words in comments break no rule.
# shellcheck disable=SC2016
strip_c='
FNR == 1 { inside = 0 }
{
    line = $0; out = ""
    if (!inside && line ~ /^[ \t]*#[ \t]*include/) { sub(/[ \t]*\/\*.*/, "", line); print FILENAME ":" FNR ":" line; next }
    while (length(line) > 0) {
        if (inside) {
            at = index(line, "*/")
            if (at == 0) break
            line = substr(line, at + 2); inside = 0; out = out " "
        } else if (match(line, /\/\*|\/\/|"|\x27/)) {
            token = substr(line, RSTART, RLENGTH)
            out = out substr(line, 1, RSTART - 1); line = substr(line, RSTART + RLENGTH)
            if (token == "//") break
            if (token == "/*") { inside = 1; continue }
            while (length(line) > 0) {
                c = substr(line, 1, 1)
                if (c == "\\") { line = substr(line, 3); continue }
                line = substr(line, 2)
                if (c == token) break
            }
            out = out token token
        } else { out = out line; line = "" }
    }
    if (out ~ /[^ \t]/) print FILENAME ":" FNR ":" out
}'
grep -E '\.[ch]$' "$scratch/files" | xargs -r awk "$strip_c" >"$scratch/code"
grep -E '^[^:]*:[0-9]*:[[:space:]]*#[[:space:]]*include' "$scratch/code" >"$scratch/includes" || true

# report FIX: turns lines `file:line:text` on standard input into findings.
report() {
    awk -v fix="$1" '{
        at = index($0, ":"); file = substr($0, 1, at - 1); rest = substr($0, at + 1)
        at = index(rest, ":"); text = substr(rest, at + 1); gsub(/^[ \t]+|[ \t]+$/, "", text)
        printf "%s:%s: %s: %s\n", file, substr(rest, 1, at - 1), substr(text, 1, 100), fix
    }' >>"$findings"
}

# within FOLDERS: keeps lines of files under the folders (an extended regular expression); without: the others.
within() { grep -E "^($1)/" || true; }
without() { grep -vE "^($1)/" || true; }

# calls NAMES: lines that call one of these libc functions: not a member (->time(...)), not part of a longer name.
calls() { grep -E "^[^:]*:[0-9]*:(.*[^A-Za-z0-9_.>])?($1)[[:space:]]*\(" || true; }

# forbid_include FOLDERS HEADERS FIX
forbid_include() {
    within "$1" <"$scratch/includes" | { grep -E "include[[:space:]]*[\"<](\.\./)*($2)" || true; } | report "$3"
}

# ---------------------------------------------------------------------------------------------- who may know whom

rule_layers() {
    forbid_include 'vehicle|include/vehicle' '(cloud|cloud-mock|sim|report|reports)/' \
        "vehicle/ is firmware and meets the others only as bytes: take it through vehicle/port.h"
    forbid_include 'cloud-mock|include/cloud' '(vehicle|sim|report|reports)/' \
        "cloud-mock/ knows only mqtt5/ and itself: pass it in as a function pointer or as bytes"
    forbid_include 'vehicle/mqtt5|include/mqtt5' '(vehicle|cloud)/' \
        "mqtt5/ is used by everybody and knows nobody: only base.h and mqtt5/"
    forbid_include 'sim/(engine|models|measure)' '(vehicle|cloud|report)/' \
        "the engine, the models and the measures know neither vehicles nor clouds: that is sim/worlds' part"
    forbid_include 'reports' '(vehicle|cloud)/' \
        "reports read measures (sim/measure.h), not vehicles or clouds"
}

# Headers of libc that need no operating system; everything else in angle brackets is one of its, or a library's.
rule_portable() {
    within 'vehicle/(mqtt5|agent)|include/(mqtt5|vehicle)|cloud-mock/broker' <"$scratch/includes" |
        { grep '<' || true; } |
        { grep -vE '<(assert|ctype|errno|inttypes|limits|math|stdalign|stdarg|stdbool|stddef|stdint|stdio|stdlib|string)\.h>' || true; } |
        report "only headers of freestanding libc here: ask the port (vehicle/ports) or the world for it"
}

rule_no_input_output() {
    within 'vehicle/(mqtt5|agent)|cloud-mock/broker' <"$scratch/code" |
        { grep -v '^vehicle/mqtt5/assert\.c:' || true; } |
        calls 'printf|fprintf|vprintf|vfprintf|puts|putchar|fputs|fopen|fread|fwrite|fclose|getenv|system|remove|rename|perror' |
        report "does no input or output here: hand it to the port, or return it"
}

rule_no_heap_in_vehicles() {
    within 'vehicle/(mqtt5|agent)' <"$scratch/code" | calls 'malloc|calloc|realloc|free|strdup|strndup|aligned_alloc|alloca' |
        report "a vehicle lives in its caller's block: take the memory at init"
}

rule_no_clock() {
    without 'sim/worlds|sim/conform|sim/cli|sim/parallel|vehicle/ports|cloud-mock/serve|tests' <"$scratch/code" |
        calls 'time|clock|clock_gettime|gettimeofday|timespec_get|nanosleep|usleep|sleep|ev_time|ev_now' |
        report "time is a parameter: take now_us as an argument; only sim/worlds, sim/conform, sim/parallel, vehicle/ports and cloud-mock/serve read a clock"
}

rule_no_sockets() {
    without 'sim/worlds|sim/conform|vehicle/ports|cloud-mock/serve|tests' <"$scratch/includes" |
        { grep -E '<(sys/socket|sys/epoll|sys/un|netinet/[a-z]+|arpa/inet|netdb|poll|ev|event2/[a-z_]+|curl/curl|MQTTAsync|MQTTClient)\.h>' || true; } |
        report "only sim/worlds, sim/conform, vehicle/ports and cloud-mock/serve touch sockets: move it there"
}

rule_no_rand() {
    calls 'rand|srand|rand_r|random|srandom|drand48|lrand48' <"$scratch/code" |
        report "not repeatable: draw from the entity's stream (sim/random.h) or ask the port for random bits"
}

# ---------------------------------------------------------------------------------------------- what is written

# Patterns are spelt with brackets so that this file does not find itself.
search_all() { grep -vE '(^|/)package-lock\.json$' "$scratch/files" | xargs -r -d '\n' grep -nHIE "$@" -- || true; }

rule_words() {
    search_all -w -e 'T[O]DO|F[I]XME|X[X]X' | report "finish it, or file an issue and say in the text what is not there"
    grep -E '\.(c|h|lua|sh|mjs|js)$' "$scratch/files" | xargs -r -d '\n' grep -nHiwE -e 's[t]ubs?|p[l]aceholder' -- |
        { grep -v 'p[l]aceholder=' || true; } | report "say what it really does; what is not there ends the program with a message" || true
}

rule_places() {
    search_all -e '(^|[^A-Za-z0-9_.$}/-])/(w[o]rk|r[o]ot|h[o]me/[a-z]+|U[s]ers)/' |
        report "a path of one machine: relative to the source folder, or from an option"
    xargs -r -d '\n' grep -nHIE -e 'registry\.n[p]mjs|n[p]mjs\.(org|com)|(deb|security)\.d[e]bian\.org|py[p]i\.org|"r[e]solved":' -- <"$scratch/files" |
        report "no registry's host in the tree: name packages only (lock files: omit-lockfile-registry-resolved)" || true
}

rule_length() {
    grep -E '\.(c|h|lua|sh|mjs|js|cmake)$' "$scratch/files" | while IFS= read -r file; do
        count=$(wc -l <"$file")
        if [ "$count" -gt "$lines_maximum" ]; then echo "$file:$count:$count lines"; fi
    done | report "above $lines_maximum: part it by idea into files that read top-down"
}

# Every folder says its job; not those that hold only data (corpora, vectors) and not include/'s, whose headers are the manual.
rule_readmes() {
    { grep / "$scratch/files" || true; } | while IFS= read -r folder; do
        while [[ $folder == */* ]]; do
            folder=${folder%/*}
            echo "$folder"
        done
    done | sort -u | while IFS= read -r folder; do
        case $folder in
        tests/unit | tests/sim | tests/e2e | tests/tools | tests/fuzz | tests/bench) continue ;; # tests/README.md is theirs
        .* | include/* | */corpus | */corpus/* | */vectors/* | */data | */data/* | */golden | */golden/* | scenarios/*/*) continue ;;
        esac
        if ! grep -qxF "$folder/README.md" "$scratch/files"; then echo "$folder/README.md:1:missing"; fi
    done | report "a screen at most: its job, what it does not do, in which order to read it"
}

# ---------------------------------------------------------------------------------------------- headers stand alone

rule_headers() {
    local flags
    flags=$(pkg-config --cflags gsl lua5.4 libcjson sqlite3 openssl libcurl 2>/dev/null || true)
    # shellcheck disable=SC2016
    { grep -E '^include/.*\.h$' "$scratch/files" || true; } |
        xargs -r -P "$(nproc)" -I{} sh -c '
            out=$1/header-$(echo "$2" | tr / -); flags=$3
            printf "#include \"%s\"\n" "${2#include/}" >"$out.c"
            ${CC:-cc} -std=gnu17 -Wall -Wextra -Wno-unused-parameter -Werror -fsyntax-only -Iinclude $flags "$out.c" >"$out.txt" 2>&1 ||
                { grep -m 1 -E "error|warning" "$out.txt" || head -n 1 "$out.txt"; } | sed "s#^#$2:1:#" >"$out.found"
        ' sh "$scratch" {} "$flags"
    find "$scratch" -name 'header-*.found' -exec cat {} + | sort | report "a header compiles alone: include what it uses"
}

rules=(layers portable no_input_output no_heap_in_vehicles no_clock no_sockets no_rand words places length readmes headers)
for rule in "${rules[@]}"; do "rule_$rule"; done

if [ -s "$findings" ]; then
    cat "$findings"
    echo "house rules: $(wc -l <"$findings") findings in $(wc -l <"$scratch/files") files" >&2
    exit 1
fi
echo "house rules: ${#rules[@]} rules hold in $(wc -l <"$scratch/files") files"
