#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: sh tests/run.sh [release|debug|asan|tsan] [--compiler g++|clang++-19|...] [--werror]
#                        [-D<cmake variable>...] [ctest arguments...]
#
# Installs what is missing (Debian), builds and runs all tests: as release with g++ unless told
# otherwise. Assertions are on in every mode. The build tree is build/<mode>-<compiler>.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
mode=release
compiler=${CXX:-g++}
werror=OFF
definitions=
while [ $# -gt 0 ]; do
    case $1 in
    release | debug | asan | tsan) mode=$1 ;;
    --compiler)
        [ $# -ge 2 ] || { echo "--compiler needs a name" >&2; exit 2; }
        compiler=$2
        shift
        ;;
    --werror) werror=ON ;;
    -D*=*) definitions="$definitions $1" ;;
    *) break ;;
    esac
    shift
done

groups="build tests"
case $mode in
asan | tsan) groups="$groups sanitizers" ;;
esac
# shellcheck disable=SC2086 # a list of words
CXX=$compiler sh "$root/cmake/install-debian.sh" $groups

build=$root/build/$mode-$(basename "$compiler")
jobs=$(nproc 2>/dev/null || echo 2)
generator=
if [ ! -f "$build/CMakeCache.txt" ] && command -v ninja >/dev/null 2>&1; then
    generator=-GNinja
fi

# shellcheck disable=SC2086 # a list of words
cmake -S "$root" -B "$build" ${generator:+"$generator"} -DCMAKE_CXX_COMPILER="$compiler" \
    -DSLUICE_BUILD_MODE="$mode" -DSLUICE_BUILD_TESTS=ON -DSLUICE_BUILD_EXAMPLES=OFF \
    -DCMAKE_BUILD_TYPE= -DCMAKE_COMPILE_WARNING_AS_ERROR="$werror" $definitions
cmake --build "$build" --parallel "$jobs"

# ThreadSanitizer of older compilers stops when addresses are randomised as widely as new kernels do.
run=
if [ "$mode" = tsan ] && setarch -R true 2>/dev/null; then
    run="setarch -R"
fi
exec $run ctest --test-dir "$build" --output-on-failure --parallel "$jobs" "$@"
