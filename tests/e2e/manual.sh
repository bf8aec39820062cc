#!/usr/bin/env bash
# The manual page is well-formed and true: it knows every command and option that the program knows, and no others.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

page=$source_tree/docs/convoy.1
command -v mandoc >/dev/null || fail "mandoc is missing: install the Debian package mandoc (./dev test does)"
mandoc -Tlint -W warning "$page" >"$work/lint" || fail "mandoc finds fault: $(cat "$work/lint")"
mandoc -Tascii "$page" | col -bx >"$work/page"

# Long options that the program's help lists, of the commands whose options the page lists.
options() {
    "$convoy" "$1" --help | grep -oE -- '--[a-z][a-z0-9-]+' | grep -vxE -- '--(usage|version)' | sort -u
}
for command in run check cloud tcu replay diff conform; do
    for option in $(options "$command"); do
        grep -qE -- "(^|[^a-z-])$option([^a-z0-9-]|\$)" "$work/page" || fail "convoy.1 does not know $option of convoy $command"
    done
done
{ options run; options check; options cloud; options tcu; options replay; options diff; options conform; } | sort -u >"$work/known"
for option in $(grep -oE -- '--[a-z][a-z0-9-]+' "$work/page" | sort -u); do
    case $option in --version | --help) continue ;; esac
    grep -qx -- "$option" "$work/known" || fail "convoy.1 tells of $option, which no command has"
done
ok "options"

"$convoy" --help >"$work/help"
for command in $(sed -n 's/^  \([a-z][a-z]*\)  *.*/\1/p' "$work/help"); do
    grep -qw -- "$command" "$work/page" || fail "convoy.1 does not know convoy $command"
done
for code in 0 1 2 3 4 130; do
    grep -qE "^ +$code +" "$work/page" || fail "convoy.1 does not tell exit status $code"
    grep -qE "(^|[ :])$code " <(grep 'exit codes' "$work/help") || fail "convoy --help does not tell exit code $code"
done
for file in result.json junit.xml report.html run.sqlite metrics.prom; do
    grep -qF "$file" "$work/page" || fail "convoy.1 does not tell of $file"
done
ok "commands, exit status, files"
