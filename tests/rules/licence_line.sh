#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Every source says its licence: C++ files and CMake lists in the first line (a test of what must
# not compile has its expectation there), scripts after "#!".
set -u
root=$1
cd "$root" || exit 2

status=0
for file in CMakeLists.txt .ci/run $(find include tests examples cmake -type f \( -name '*.[ch]pp' -o \
    -name '*.sh' -o -name 'CMakeLists.txt' -o -name '*.cmake' -o -name '*.cmake.in' \)); do
    [ -f "$file" ] || continue
    case $file in
    *.sh | .ci/run | tests/compile_fail/*.cpp) lines=2 ;;
    *) lines=1 ;;
    esac
    if ! head -n $lines "$file" | grep -Eq '^(//|#) SPDX-License-Identifier: MIT$'; then
        echo "$file: no SPDX-License-Identifier line at the top"
        status=1
    fi
done
exit $status
