#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: boost_headers.sh <package, libboost1.88-dev, or newest> <folder> [suite]
#
# Unpacks the headers of a Boost that Debian packages into <folder>, beside the one that is
# installed, and prints where they are. With a suite (trixie, testing) from that release, whatever is
# installed here, by the mirror that this machine's apt uses; nothing is installed.
set -eu

package=$1
folder=$2
suite=${3-}
mkdir -p "$folder/lists/partial" "$folder/archives/partial"
folder=$(CDPATH='' cd -- "$folder" && pwd)

options=
if [ -n "$suite" ]; then
    # shellcheck disable=SC2016 # apt's own $(SITE)
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Label: Debian' |
        head -n 1)
    echo "deb $mirror $suite main" >"$folder/sources.list"
    options="-o Dir::Etc::SourceList=$folder/sources.list -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State::Lists=$folder/lists -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
        -o Acquire::Languages=none -o APT::Sandbox::User=root"
    # shellcheck disable=SC2086 # a list of words
    apt-get -qq $options update >&2
fi
if [ "$package" = newest ]; then
    # shellcheck disable=SC2086 # a list of words
    package=$(apt-cache $options pkgnames libboost |
        grep -E '^libboost[0-9]+\.[0-9]+-dev$' | sort -V | tail -n 1)
fi
# shellcheck disable=SC2086 # a list of words
(cd "$folder" && apt-get -qq $options download "$package" >&2)
dpkg -x "$folder/$package"_*.deb "$folder"
rm -rf "$folder/lists" "$folder/archives" "$folder"/*.deb
echo "$folder/usr/include"
