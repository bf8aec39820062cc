#!/usr/bin/env bash
# selftest.sh: breaks each rule of check.sh once in a small tree and wants exactly that finding; a clean tree gives none.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

# A tree that keeps every rule: words of broken rules in comments and strings, members named like libc's functions.
clean_tree() {
    rm -rf "$scratch/tree"
    mkdir -p "$scratch/tree"/{vehicle/agent,sim/worlds,include/vehicle}
    cd "$scratch/tree"
    local folder
    for folder in . vehicle vehicle/agent sim sim/worlds include; do echo "# $folder" >"$folder/README.md"; done
    printf '#include <stdint.h>\nstatic inline int64_t twice(int64_t a_us) { return 2 * a_us; }\n' >include/vehicle/agent.h
    cat >vehicle/agent/good.c <<'C'
#include "vehicle/agent.h"
/* malloc(1) and
 * rand() in a comment */
const char *text = "calls malloc( and time( \" in a string"; // free(x)
int good(struct port *port) { return port->random(port) + port->time(port) + x.free(1) + my_malloc(2) + '"'; }
C
    printf '#include <sys/socket.h>\n#include <time.h>\nint now(void) { return (int)time(0); }\n' >sim/worlds/live.c
}

run_check() { bash "$here/check.sh" "$scratch/tree" >"$scratch/out" 2>"$scratch/err"; }

fail() {
    echo "selftest: $1" >&2
    cat "$scratch/out" "$scratch/err" >&2
    failed=1
}

# wants FILE:LINE WORDS: one finding, there, and its fix says so.
wants() {
    if run_check; then
        fail "not found: $1 $2"
    elif [ "$(wc -l <"$scratch/out")" != 1 ] || ! grep -qF "$1: " "$scratch/out" || ! grep -qF "$2" "$scratch/out"; then
        fail "wanted one finding at $1 that says '$2'"
    fi
}

# breaks FILE CONTENT: a clean tree with one more file.
breaks() {
    clean_tree
    mkdir -p "$(dirname "$1")"
    printf '%b' "$2" >"$1"
}

clean_tree
run_check || fail "a clean tree has findings"

breaks vehicle/agent/bad.c '\n#include "cloud/broker.h"\n'
wants vehicle/agent/bad.c:2 'only as bytes'
breaks vehicle/agent/bad.c '#include "../../cloud-mock/broker/tree.h"\n'
wants vehicle/agent/bad.c:1 'only as bytes'
breaks include/vehicle/port.h '#include "sim/engine.h"\n'
if run_check || ! grep -q 'only as bytes' "$scratch/out"; then fail "a header of vehicle/ may not include sim/"; fi
breaks vehicle/agent/bad.c '#include <unistd.h>\n'
wants vehicle/agent/bad.c:1 'ask the port'
breaks vehicle/agent/bad.c 'int f(void) { return printf("x"); }\n'
wants vehicle/agent/bad.c:1 'no input or output'
breaks vehicle/agent/bad.c 'void *f(void)\n{\n    return malloc (1);\n}\n'
wants vehicle/agent/bad.c:3 'block'
breaks sim/bad.c 'long f(void) { /* a\n b */ return time(0); }\n'
wants sim/bad.c:2 'time is a parameter'
breaks sim/bad.c '#include <netinet/tcp.h>\n'
wants sim/bad.c:1 'touch sockets'
breaks sim/worlds/bad.c 'int f(void) { return rand(); }\n'
wants sim/worlds/bad.c:1 'not repeatable'
breaks sim/bad.c "/* TO""DO later */\n"
wants sim/bad.c:1 'finish it'
breaks sim/bad.c "/* only a st""ub */\n"
wants sim/bad.c:1 'really does'
breaks sim/bad.c "const char *path = \"/ro""ot/x\";\n"
wants sim/bad.c:1 'one machine'
breaks sim/bad.c "/* from registry.n""pmjs.org */\n"
wants sim/bad.c:1 'registry'
breaks sim/bad.c "$(printf 'int a;\\n%.0s' {1..901})"
wants sim/bad.c:901 'part it by idea'
breaks sim/engine/new.c 'int a;\n'
wants sim/engine/README.md:1 'its job'
breaks include/vehicle/bad.h 'uint8_t a(void);\n'
wants include/vehicle/bad.h:1 'compiles alone'

if [ "$failed" = 0 ]; then echo "house selftest: every rule finds its breach"; fi
exit "$failed"
