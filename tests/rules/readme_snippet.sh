#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: readme_snippet.sh <source folder>
#
# The README shows compiled code: its first C++ block is the marked region of the first example.
set -eu
cd "$1"

shown=$(sed -n '/^```cpp$/,/^```$/p' README.md | sed '/^```cpp$/d; /^```$/q' | sed '/^```$/d')
compiled=$(sed -n '/^\/\/ \[readme\]$/,/^\/\/ \[\/readme\]$/p' examples/01_send_messages.cpp |
    sed '/^\/\/ \[\/\{0,1\}readme\]$/d')
if [ "$shown" != "$compiled" ]; then
    echo "README.md does not show the marked region of examples/01_send_messages.cpp" >&2
    exit 1
fi
