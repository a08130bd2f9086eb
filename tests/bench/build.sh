#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: sh tests/bench/build.sh <build tree> <benchmark>...
#
# Builds benchmarks as a bot would be built: optimised, assertions off.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
build=$1
shift

generator=
if [ ! -f "$build/CMakeCache.txt" ] && command -v ninja >/dev/null 2>&1; then
    generator=-GNinja
fi
cmake -S "$root" -B "$build" ${generator:+"$generator"} -DCMAKE_CXX_COMPILER="${CXX:-g++}" \
    -DSLUICE_BUILD_MODE=release -DCMAKE_BUILD_TYPE= -DCMAKE_CXX_FLAGS=-DNDEBUG \
    -DSLUICE_BUILD_TESTS=ON -DSLUICE_BUILD_EXAMPLES=OFF
cmake --build "$build" --parallel "${SLUICE_BENCH_JOBS:-1}" --target "$@"
