#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: sh tests/bench/run.sh [instructions|cycle|wake|crowd|memory|threads|identify|
#                                compile_cost|immediate|makespan ...]
#
# Builds and runs the benchmarks named, or all but makespan, which measures real time for minutes,
# and immediate, which needs Boost 1.82.
# Prints their tables, with the target beside each figure that has one, and writes what they found
# as JSON to build/bench/results/<name>.json. Fails only when an instruction count has grown.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
build=$root/build/bench
results=$build/results
[ $# -gt 0 ] || set -- instructions cycle wake crowd memory threads identify compile_cost

programs=
for name in "$@"; do
    case $name in
    compile_cost | immediate) ;; # by scripts of their own
    *) programs="$programs $name" ;;
    esac
done
mkdir -p "$results"
# shellcheck disable=SC2086 # a list of words
[ -z "$programs" ] || sh "$here/build.sh" "$build" $programs >"$results/build.log" ||
    { cat "$results/build.log" >&2; exit 1; }

status=0
for name in "$@"; do
    echo
    SLUICE_BENCH_JSON=$results/$name.json
    export SLUICE_BENCH_JSON
    case $name in
    instructions) sh "$here/instructions.sh" "$build/tests/instructions" || status=1 ;;
    compile_cost | immediate) sh "$here/$name.sh" || status=1 ;;
    *) "$build/tests/$name" || status=1 ;;
    esac
done
echo
echo "written to $results"
exit $status
