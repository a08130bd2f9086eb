#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: sh examples/run.sh [name of an example, 02_shards say] [its arguments...]
#
# Installs what is missing (Debian), builds the example, by default the demo, and runs it.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
demo=
for source in "$root"/examples/*demo*.cpp; do
    [ -f "$source" ] && demo=$(basename "$source" .cpp)
done
if [ -z "$demo" ]; then
    echo "There is no demo in examples yet."
    exit 0
fi

if [ -n "${1-}" ] && [ -f "$root/examples/$1.cpp" ]; then
    demo=$1
    shift
fi

sh "$root/cmake/install-debian.sh" build demo

build=$root/build/examples
generator=
if [ ! -f "$build/CMakeCache.txt" ] && command -v ninja >/dev/null 2>&1; then
    generator=-GNinja
fi
mkdir -p "$root/build"
cmake -S "$root" -B "$build" ${generator:+"$generator"} -DSLUICE_BUILD_MODE=debug \
    -DSLUICE_BUILD_TESTS=OFF -DSLUICE_BUILD_EXAMPLES=ON -DCMAKE_BUILD_TYPE= >"$root/build/examples.log" 2>&1 || {
    cat "$root/build/examples.log"
    exit 1
}
cmake --build "$build" --parallel "$(nproc 2>/dev/null || echo 2)" --target "$demo"
exec "$build/examples/$demo" "$@"
