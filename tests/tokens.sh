#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: tokens.sh <compiler> [folder of Boost headers]
#
# Compiles the tests of completion tokens and executors by one compiler against one Boost, warnings
# as errors, and runs them. Without CMake, because Boost may lie anywhere (tests/boost_headers.sh).
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
compiler=$1
boost=${2:-/usr/include}
boost=$(CDPATH='' cd -- "$boost" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

library=
if [ -e /usr/include/catch2/catch_all.hpp ]; then
    library=-lCatch2
fi
system=
if [ "$boost" != /usr/include ]; then
    system="-isystem $boost"
fi
version=$(awk '$1 == "#define" && $2 == "BOOST_LIB_VERSION" { print $3 }' "$boost/boost/version.hpp")
echo "$("$compiler" --version | head -n 1), Boost $version"

# One command for each source, as many at a time as there are processors.
for source in "$root"/tests/tokens/*.cpp "$root/tests/support/main.cpp"; do
    echo "$source"
done | xargs -P "$(nproc 2>/dev/null || echo 2)" -I {} sh -c 'name=$(basename "$1" .cpp)
    shift
    "$@" -o "$0/$name.o"' "$scratch" {} \
    "$compiler" -std=c++20 -O0 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror \
    -I"$root/include" $system -I"$root/tests" -DSLUICE_TEST_DIR="\"$root/tests\"" -c {}
"$compiler" "$scratch"/*.o $library -pthread -o "$scratch/tests"
"$scratch/tests"
