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

# compile <argument>...
compile() {
    # shellcheck disable=SC2086 # a list of words
    "$compiler" -std=c++20 -O0 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror \
        -I"$root/include" $system -I"$root/tests" -DSLUICE_TEST_DIR="\"$root/tests\"" "$@"
}

compile -c "$root/tests/support/main.cpp" -o "$scratch/main.o"
for source in "$root"/tests/tokens/*.cpp; do
    compile "$source" "$scratch/main.o" $library -pthread -o "$scratch/tests"
    "$scratch/tests"
done
