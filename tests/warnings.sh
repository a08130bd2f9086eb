#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: warnings.sh <compiler>...
#
# Each public header as a user with a long list of warnings compiles it, and with plain -I, so that
# nothing counts as a system header. Warnings that Boost and others cause themselves are left out:
# what is reported names a file of ours as the place.
set -u

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
flags="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wnon-virtual-dtor -Wnull-dereference
    -Wold-style-cast"

cd "$root/include" || exit 2
find sluice -name '*.hpp' ! -path '*/detail/*' | sort | sed 's/.*/#include <&>/' >"$scratch/all.cpp"
status=0
for compiler in "$@"; do
    case $compiler in
    *clang*) more= ;;
    *) more=-Wuseless-cast ;;
    esac
    # -O2: some warnings come with the optimiser only.
    # shellcheck disable=SC2086 # a list of words
    "$compiler" -std=c++20 -O2 $flags $more -I "$root/include" -S "$scratch/all.cpp" -o /dev/null \
        >"$scratch/output" 2>&1 || { cat "$scratch/output"; status=1; }
    grep -E '/include/sluice/[^:]*:[0-9]+:[0-9]+: warning' "$scratch/output" | sort -u >"$scratch/ours"
    echo "$("$compiler" --version | head -n 1): $(wc -l <"$scratch/ours") warnings"
    [ ! -s "$scratch/ours" ] || { cat "$scratch/ours"; status=1; }
done
exit $status
