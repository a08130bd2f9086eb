#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: run.sh <consumer> <scratch directory> <cmake> <compiler>
#
# Configures, builds and runs one of the projects beside this file, from nothing.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
consumer=$1
scratch=$2/$1
cmake=$3
compiler=$4
rm -rf "$scratch"

# The projects get the path of sluice and nothing else, as a stranger's would.
set -- -DSLUICE_ROOT="$root"
if [ "$consumer" = find_package ]; then
    # As the README says it. To install is not to test: Catch2 is not even looked for.
    "$cmake" -S "$root" -B "$scratch/sluice" -DCMAKE_CXX_COMPILER="$compiler" \
        -DCMAKE_DISABLE_FIND_PACKAGE_Catch2=ON -DFETCHCONTENT_FULLY_DISCONNECTED=ON
    "$cmake" --install "$scratch/sluice" --prefix "$scratch/prefix"
    set -- -DCMAKE_PREFIX_PATH="$scratch/prefix"
fi
"$cmake" -S "$here/$consumer" -B "$scratch/build" -DCMAKE_CXX_COMPILER="$compiler" "$@"
"$cmake" --build "$scratch/build"
"$scratch/build/consumer"
