#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: readme_snippet.sh <source folder>
#
# README.md is short and shows compiled code: at most 1,500 words, and a first C++ block of at most
# 15 lines that calls sluice::execute and includes nothing of this repository by a relative path.
# The test consumers.readme compiles and runs that block. The first C++ block of examples/README.md
# is the marked region of the first example.
set -eu
cd "$1"

status=0
complain() {
    echo "$1" >&2
    status=1
}

first_block() {
    awk '/^```cpp$/ { inside = 1; next } /^```$/ && inside { exit } inside' "$1"
}

words=$(wc -w <README.md)
[ "$words" -le 1500 ] || complain "README.md has $words words, more than 1,500"

snippet=$(first_block README.md)
lines=$(printf '%s\n' "$snippet" | wc -l)
[ "$lines" -le 15 ] || complain "the first C++ block of README.md has $lines lines, more than 15"
case $snippet in
*sluice::execute\(*) ;;
*) complain "the first C++ block of README.md does not call sluice::execute" ;;
esac
case $snippet in
*'#include "'*) complain "the first C++ block of README.md includes a file by a relative path" ;;
esac

compiled=$(sed -n '/^\/\/ \[readme\]$/,/^\/\/ \[\/readme\]$/p' examples/01_send_messages.cpp |
    sed '/^\/\/ \[\/\{0,1\}readme\]$/d')
if [ -z "$compiled" ] || [ "$(first_block examples/README.md)" != "$compiled" ]; then
    complain "examples/README.md does not show the marked region of examples/01_send_messages.cpp"
fi
exit $status
