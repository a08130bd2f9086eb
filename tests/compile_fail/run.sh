#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: run.sh <compiler> <include flags...> -- <source>
#
# The first line of the source says what must happen when it is compiled:
#   // expect: <extended regex>   it is refused, and an error message matches
#   // compiles                   it is accepted
#   // compiles with <flags...>   it is accepted with these
# Exit status: 0 as said, 1 otherwise, 2 when called wrongly.
set -u

if [ $# -lt 3 ]; then
    echo "usage: run.sh <compiler> <include flags...> -- <source>" >&2
    exit 2
fi
compiler=$1
shift
for last in "$@"; do
    source=$last
done
IFS= read -r first <"$source" || exit 2

# The "--" is of this script: compilers read it as the name of a file.
count=$#
while [ "$count" -gt 0 ]; do
    argument=$1
    shift
    [ "$argument" = "--" ] || set -- "$@" "$argument"
    count=$((count - 1))
done

case $first in
"// compiles with "*)
    # shellcheck disable=SC2086 # a list of words
    set -- ${first#"// compiles with "} "$@"
    ;;
esac
output=$(LC_ALL=C "$compiler" -std=c++20 -fsyntax-only "$@" 2>&1)
status=$?

case $first in
"// compiles" | "// compiles with "*)
    [ "$status" -eq 0 ] && exit 0
    echo "should compile: $source"
    ;;
"// expect: "*)
    expected=${first#"// expect: "}
    # Only lines that carry an error: the quoted source would match all too easily.
    if [ "$status" -ne 0 ] && printf '%s\n' "$output" | grep 'error:' | grep -Eq -- "$expected"; then
        exit 0
    fi
    echo "should be refused with: $expected ($source)"
    ;;
*)
    echo "$source: the first line says neither '// compiles' nor '// expect: <regex>'" >&2
    exit 2
    ;;
esac
printf '%s\n' "$output"
exit 1
