#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: sh tests/newest_boost.sh
#
# Compiles tests/tokens with the newest Boost that Debian has packaged, and runs them. Its headers
# come from unstable, unpacked under build/newest-boost: nothing is installed, and apt's own state
# stays as it is. The mirror is that of this machine's sources. Ends with 77 where the package
# cannot be had, and says so. CXX chooses the compiler.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
work=$root/build/newest-boost
suite=unstable
compiler=${CXX:-g++}

skip() {
    echo "newest_boost: skipped, $1" >&2
    exit 77
}

# The address of the first source of Debian itself, in either format of apt.
mirror() {
    find /etc/apt/sources.list /etc/apt/sources.list.d -type f 2>/dev/null | sort |
        xargs -r cat | awk '
            $1 == "URIs:" { for (i = 2; i <= NF; ++i) print $i }
            $1 == "deb" { for (i = 2; i <= NF; ++i) if ($i ~ /^[a-z+]+:\/\//) print $i }' |
        grep -E '/debian/?$' | head -n 1
}

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || skip "this is no Debian"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f "$keyring" ] || skip "the keys of Debian's archive are missing"
from=$(mirror)
[ -n "$from" ] || skip "apt has no source of Debian's"

mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
echo "deb [signed-by=$keyring] $from $suite main" >"$work/sources.list"
# apt <command> <arguments>...: with lists and a cache of its own. Fetches as who runs this, who
# alone may write there.
apt() {
    command=$1
    shift
    "apt-$command" -q -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o Acquire::Retries=3 \
        -o APT::Sandbox::User="$(id -un)" -o APT::Update::Error-Mode=any "$@"
}
apt get update >"$work/log" 2>&1 || { cat "$work/log" >&2; skip "$suite cannot be read"; }

package=$(apt cache pkgnames libboost1. | grep -E '^libboost1\.[0-9]+-dev$' | sort -V | tail -n 1)
[ -n "$package" ] || skip "$suite has no package of Boost's headers"
rm -rf "$work/package"
mkdir -p "$work/package"
(cd "$work/package" && apt get download "$package") >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; skip "$package cannot be downloaded"; }
for archive in "$work/package"/*.deb; do
    dpkg-deb --fsys-tarfile "$archive" | tar -x -C "$work/package" ./usr/include/boost
done
headers=$work/package/usr/include
echo "newest_boost: $(basename "$archive")," \
    "$(sed -n 's/^#define BOOST_LIB_VERSION //p' "$headers/boost/version.hpp"), $compiler"

# Its own Catch main: the installed one, if any, is linked against nothing of Boost's.
catch=
for library in Catch2 Catch2Main; do
    if echo 'int main() {}' | "$compiler" -x c++ - "-l$library" -o "$work/probe" 2>/dev/null; then
        catch="$catch -l$library"
    fi
done
objects=
for source in "$root"/tests/tokens/*.cpp "$root/tests/support/main.cpp"; do
    object=$work/$(basename "$source" .cpp).o
    "$compiler" -std=c++20 -O0 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror \
        -isystem "$headers" -I"$root/include" -I"$root/tests" -c "$source" -o "$object"
    objects="$objects $object"
    echo "newest_boost: $(basename "$source") compiles"
done
# shellcheck disable=SC2086 # lists of words
"$compiler" $objects $catch -pthread -o "$work/tokens"
exec "$work/tokens"
