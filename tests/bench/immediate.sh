#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: sh tests/bench/immediate.sh
#
# Builds and runs immediate.cpp with a Boost that knows immediate executors (1.82): the newest that
# Debian packages, unpacked beside, where the installed one is older. Ends with 77 where there is
# none to be had.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
compiler=${CXX:-g++}
boost=/usr/include
version=$(sed -n 's/^#define BOOST_VERSION //p' $boost/boost/version.hpp 2>/dev/null || true)
if [ "${version:-0}" -lt 108200 ]; then
    boost=$(sh "$root/tests/boost_headers.sh" newest "$root/build/newest-boost" unstable)
fi
mkdir -p "$root/build/bench"
"$compiler" -std=c++20 -O2 -DNDEBUG -isystem "$boost" -I"$root/include" -I"$here" \
    "$here/immediate.cpp" -pthread -o "$root/build/bench/immediate"
echo "$("$compiler" --version | head -n 1)," \
    "Boost $(sed -n 's/^#define BOOST_LIB_VERSION //p' "$boost/boost/version.hpp")"
exec "$root/build/bench/immediate"
