#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: boost_headers.sh <package, libboost1.88-dev, or newest> <folder> [suite]
#
# Unpacks the headers of a Boost that Debian packages into <folder>, beside the one that is
# installed, and prints where they are. With a suite (trixie, testing, unstable) from that release,
# whatever is installed here, by the mirror that this machine's apt uses. Nothing is installed, and
# apt's own lists stay as they are. Ends with 77 where there is no such package to be had.
set -eu

package=$1
folder=$2
suite=${3-}

skip() {
    echo "boost_headers.sh: $1" >&2
    exit 77
}

command -v apt-get >/dev/null && command -v dpkg >/dev/null || skip "this is no Debian"
mkdir -p "$folder/lists/partial"
folder=$(CDPATH='' cd -- "$folder" && pwd)

# As who runs this, who alone may write there.
options="-o APT::Sandbox::User=$(id -un) -o Acquire::Retries=3 -o APT::Update::Error-Mode=any"
if [ -n "$suite" ]; then
    # shellcheck disable=SC2016 # apt's own $(SITE)
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Label: Debian' |
        head -n 1)
    [ -n "$mirror" ] || skip "apt knows no mirror of Debian here"
    echo "deb $mirror $suite main" >"$folder/sources.list"
    options="$options -o Dir::Etc::SourceList=$folder/sources.list -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State::Lists=$folder/lists -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
        -o Acquire::Languages=none"
    # shellcheck disable=SC2086 # a list of words
    apt-get -qq $options update >&2 || skip "$suite cannot be read"
fi
if [ "$package" = newest ]; then
    # shellcheck disable=SC2086 # a list of words
    package=$(apt-cache $options pkgnames libboost |
        grep -E '^libboost[0-9]+\.[0-9]+-dev$' | sort -V | tail -n 1)
fi
# shellcheck disable=SC2086 # a list of words
(cd "$folder" && apt-get -qq $options download "$package" >&2) ||
    skip "$package cannot be downloaded"
dpkg -x "$folder/$package"_*.deb "$folder"
rm -rf "$folder/lists" "$folder"/*.deb
echo "$folder/usr/include"
