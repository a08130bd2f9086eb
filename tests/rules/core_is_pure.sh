#!/bin/sh
# SPDX-License-Identifier: MIT
#
# core/ decides and never waits: no Asio, and no clock is read. Comments may name both.
set -u
root=$1

found=$(find "$root/include/sluice/core" -name '*.hpp' -exec awk '
    { code = $0; sub(/\/\/.*/, "", code) }
    code ~ /asio|::now *\(/ { print FILENAME ":" FNR ": " $0 }' {} +)
[ -z "$found" ] && exit 0
echo "core/ must not know Asio nor read a clock:"
echo "$found"
exit 1
