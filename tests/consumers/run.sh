#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: run.sh <consumer> <scratch directory> <cmake> <compiler>
#
# Configures, builds and runs one of the projects beside this file, from nothing. `readme` compiles
# the C++ of the documents: in a folder outside the repository, with the installed headers only.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
consumer=$1
scratch=$2/$1
cmake=$3
compiler=$4
rm -rf "$scratch"

# cpp_blocks <document> [how many]: its C++ blocks, one after the other
cpp_blocks() {
    awk -v most="${2:-1000}" '
        /^```cpp$/ { inside = ++blocks <= most; next }
        /^```$/ { inside = 0; next }
        inside' "$1"
}

# The projects get the path of sluice and nothing else, as a stranger's would.
set -- -DSLUICE_ROOT="$root"
source=$here/$consumer
case $consumer in
find_package | readme)
    # As the README says it. To install is not to test: Catch2 is not even looked for.
    "$cmake" -S "$root" -B "$scratch/sluice" -DCMAKE_CXX_COMPILER="$compiler" \
        -DCMAKE_DISABLE_FIND_PACKAGE_Catch2=ON -DFETCHCONTENT_FULLY_DISCONNECTED=ON
    "$cmake" --install "$scratch/sluice" --prefix "$scratch/prefix"
    if find "$scratch/prefix/include" -type f ! -name '*.hpp' | grep .; then
        echo "only headers belong into include/" >&2
        exit 1
    fi
    set -- -DCMAKE_PREFIX_PATH="$scratch/prefix"
    ;;
esac
if [ "$consumer" = readme ]; then
    outside=$(mktemp -d)
    trap 'rm -rf "$outside"' EXIT
    cp "$here"/readme/* "$outside"
    cpp_blocks "$root/README.md" 1 >"$outside/snippet.hpp"
    cpp_blocks "$root/include/sluice/README.md" >"$outside/guide.cpp"
    echo "int main() {}" >>"$outside/guide.cpp"
    cpp_blocks "$root/include/sluice/testing/README.md" >"$outside/testing.cpp"
    source=$outside
    scratch=$outside
fi
"$cmake" -S "$source" -B "$scratch/build" -DCMAKE_CXX_COMPILER="$compiler" "$@"
"$cmake" --build "$scratch/build"
"$scratch/build/consumer"
if [ "$consumer" = readme ]; then
    "$scratch/build/testing"
fi
