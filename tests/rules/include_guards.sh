#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The include guard of a header is its path: include/sluice/core/time.hpp has SLUICE_CORE_TIME_HPP,
# tests/support/catch.hpp has SLUICE_TESTS_SUPPORT_CATCH_HPP.
set -u
root=$1
cd "$root" || exit 2

status=0
for header in $(find include tests examples -name '*.hpp'); do
    case $header in
    include/*) path=${header#include/} ;;
    *) path=sluice/$header ;;
    esac
    guard=$(printf '%s' "$path" | tr 'a-z/.-' 'A-Z___')
    found=$(awk '$1 == "#ifndef" { name = $2; getline; if ($1 == "#define" && $2 == name) print name; exit }' "$header")
    if [ "$found" != "$guard" ]; then
        echo "$header: the guard is '$found', not $guard"
        status=1
    fi
done
exit $status
