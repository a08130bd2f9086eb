#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: install-debian.sh <group>...     groups: build tests demo clang ci
#
# Installs what is missing on Debian and what is like it, with apt, as root or by sudo; calls
# nothing when nothing is missing. Elsewhere it says what is needed. It never fails because of a
# package: what is really needed CMake will ask for, and may have from another place.
set -u

installed() {
    case $(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null) in
    ii*) return 0 ;;
    esac
    return 1
}

# Debian 12: libboost-dev is 1.74, which is too old, and libboost1.81-dev exists beside it.
boost_is_there() {
    for header in /usr/local/include/boost/version.hpp /usr/include/boost/version.hpp; do
        [ -f "$header" ] || continue
        number=$(awk '$1 == "#define" && $2 == "BOOST_VERSION" { print $3 }' "$header")
        [ "${number:-0}" -ge 108100 ] && return 0
    done
    return 1
}

boost_package() {
    default=$(apt-cache policy libboost-dev | awk '$1 == "Candidate:" { print $2 }')
    if dpkg --compare-versions "${default:-0}" ge 1.81; then
        echo libboost-dev
    else
        echo libboost1.81-dev
    fi
}

# need_command <command> <package>, need_package <package>
need_command() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need_package() { installed "$1" || missing="$missing $1"; }

need_group() {
    case $1 in
    build)
        need_command "${CXX:-g++}" g++
        need_command cmake cmake
        command -v make >/dev/null 2>&1 || need_command ninja ninja-build
        need_package nlohmann-json3-dev
        boost_is_there || missing="$missing boost"
        ;;
    tests) need_package catch2 ;;
    demo) need_package libssl-dev ;;
    clang)
        need_command clang++-19 clang-19
        need_package libclang-rt-19-dev
        ;;
    ci)
        need_command clang-format-14 clang-format-14
        need_command git git
        need_package libbenchmark-dev
        need_command valgrind valgrind
        ;;
    *)
        echo "install-debian.sh: unknown group $1" >&2
        exit 2
        ;;
    esac
}

if ! command -v apt-get >/dev/null 2>&1; then
    cat <<'NEEDS'
This is not Debian, so nothing is installed. sluice needs:
  a C++20 compiler (g++ 12, clang 19 or newer), CMake 3.25, make or ninja,
  Boost 1.81 (headers), nlohmann_json 3.11; tests: Catch2 2.13 or 3; demo: OpenSSL
NEEDS
    exit 0
fi

missing=
for group in "$@"; do
    need_group "$group"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root=sudo
    if ! command -v sudo >/dev/null 2>&1; then
        echo "Missing, and neither root nor sudo to install it:$missing"
        exit 0
    fi
fi

# sudo drops the environment, so the variable goes through env.
apt() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@"; }

echo "Installing:$missing"
apt update || echo "apt-get update failed; going on with the lists that are there"
packages=
for package in $missing; do
    [ "$package" = boost ] && package=$(boost_package)
    packages="$packages $package"
done
# Together first, then one by one: a package that this release does not have stops no other.
# --no-remove: an older libboost-dev is the user's to remove, not ours.
# shellcheck disable=SC2086 # a list of names
if ! apt install -y --no-install-recommends --no-remove $packages >/dev/null; then
    for package in $packages; do
        apt install -y --no-install-recommends --no-remove "$package" >/dev/null ||
            echo "could not install $package; going on without it"
    done
fi
