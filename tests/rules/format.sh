#!/bin/sh
# SPDX-License-Identifier: MIT
#
# clang-format has nothing to change. Only version 14 is asked: others format differently.
set -u
root=$1
cd "$root" || exit 2

for formatter in clang-format-14 clang-format none; do
    "$formatter" --version 2>/dev/null | grep -q 'version 14\.' && break
done
if [ "$formatter" = none ]; then
    echo "clang-format 14 is not installed"
    exit 77
fi
find include tests examples -name '*.[ch]pp' ! -path 'tests/compile_fail/*' -exec \
    "$formatter" --dry-run --Werror {} +
