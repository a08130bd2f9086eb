#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: install-debian.sh <group>...     groups: build tests demo sanitizers ci
#        install-debian.sh --clang        prints the clang++ that CI takes: 19, else the newest
#
# Installs what is missing on Debian and what is like it, with apt, as root or by sudo; calls
# nothing when nothing is missing. Elsewhere it says what is needed. It never fails because of a
# package: what is really needed CMake will ask for, and may have from another place. The compiler is
# $CXX, g++ unless set; clang++-22 or g++-14 get the package of that version.
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

# Catch2 3 is libcatch2-dev; Debian 12 has 2.13, named catch2, which later is an empty package.
catch_package() {
    candidate=$(apt-cache policy libcatch2-dev | awk '$1 == "Candidate:" { print $2 }')
    case $candidate in
    '' | '(none)') echo catch2 ;;
    *) echo libcatch2-dev ;;
    esac
}

# compiler_package <command>: clang++-22 is in clang-22, g++-14 in g++-14, clang++ in clang.
compiler_package() {
    case $(basename "$1") in
    clang++*) basename "$1" | sed 's/^clang++/clang/' ;;
    g++-*) basename "$1" ;;
    *) echo g++ ;;
    esac
}

# clang's runtime of the sanitizers is a package of its own, that of g++ comes with it.
need_sanitizers() {
    case $(basename "${CXX:-g++}") in
    clang++-*) need_package "libclang-rt-$(basename "$CXX" | sed 's/^clang++-//')-dev" ;;
    clang++) need_package libclang-rt-dev ;;
    esac
}

# The clang of CI. A newer release of Debian may have no 19: then its newest.
print_clang() {
    versions=$(
        apt-cache pkgnames clang- 2>/dev/null | sed -n 's/^clang-\([0-9][0-9]*\)$/\1/p'
        for number in $(seq 16 40); do
            command -v "clang++-$number" >/dev/null 2>&1 && echo "$number"
        done
    )
    if echo "$versions" | grep -qx 19; then
        echo clang++-19
    else
        echo "clang++-$(echo "$versions" | sort -n | tail -n 1)"
    fi
}

# need_command <command> <package>, need_package <package>
need_command() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need_package() { installed "$1" || missing="$missing $1"; }

need_group() {
    case $1 in
    build)
        need_command "${CXX:-g++}" "$(compiler_package "${CXX:-g++}")"
        need_command cmake cmake
        command -v make >/dev/null 2>&1 || need_command ninja ninja-build
        need_package nlohmann-json3-dev
        boost_is_there || missing="$missing boost"
        ;;
    tests) installed libcatch2-dev || installed catch2 || missing="$missing catch" ;;
    demo) need_package libssl-dev ;;
    sanitizers) need_sanitizers ;;
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

if [ "${1-}" = --clang ]; then
    print_clang
    exit
fi

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

# sudo drops the environment, so the variable goes through env. Another apt or dpkg may be at work,
# as unattended upgrades are after a start: wait for it.
apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C \
        apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@"
}

# That timeout is for dpkg's lock. For the lock of its lists apt-get update does not wait.
update() {
    tries=60
    while ! said=$(apt update 2>&1); do
        case $said in
        *"Could not get lock"*) tries=$((tries - 1)) ;;
        *) tries=0 ;;
        esac
        if [ "$tries" -eq 0 ]; then
            echo "$said"
            echo "apt-get update failed; going on with the lists that are there"
            return
        fi
        sleep 5
    done
}

echo "Installing:$missing"
update
packages=
for package in $missing; do
    case $package in
    boost) package=$(boost_package) ;;
    catch) package=$(catch_package) ;;
    esac
    if apt-cache show "$package" >/dev/null 2>&1; then
        packages="$packages $package"
    else
        echo "could not install $package: this release does not have it; going on without it"
    fi
done
[ -n "$packages" ] || exit 0
# Together first, then one by one: a package that cannot be installed stops no other.
# --no-remove: an older libboost-dev is the user's to remove, not ours.
# shellcheck disable=SC2086 # a list of names
if ! apt install -y --no-install-recommends --no-remove $packages >/dev/null; then
    for package in $packages; do
        apt install -y --no-install-recommends --no-remove "$package" >/dev/null ||
            echo "could not install $package; going on without it"
    done
fi
