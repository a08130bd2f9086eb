#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The visible top level has eight entries. Asked of git: build trees and the like do not count.
set -u
root=$1
cd "$root" || exit 2
git ls-files --error-unmatch CMakeLists.txt >/dev/null 2>&1 || exit 77

extra=$(git ls-files | sed 's|/.*||' | sort -u |
    grep -Ev '^(\..*|include|tests|examples|cmake|findings|CMakeLists\.txt|README\.md|LICENSE)$')
[ -z "$extra" ] && exit 0
echo "not one of the eight entries of the top level:"
echo "$extra"
exit 1
