#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Boost.Asio: asio::post(handler), where the handler is a plain lambda, and the same with the
# executor spelled out, asio::post(asio::get_associated_executor(handler), handler). Boost 1.88 of
# Debian 13, 1.92 of Debian testing.
#
# A good guess: both compile with both and run the handler on the system's thread pool, as the
# documentation of post has it. (Guessed before the first run: at least the short one must.)
#
# Seen: neither compiles with 1.92. A handler's executor is inline_executor by default since 1.90,
# and that cannot be asked for blocking.never, which post needs. asio::post(system_executor(), handler)
# is left.
#
# Needs: g++, apt on Debian. Exits with 1 when something else is seen, with 2 when a version has gone.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# fetch <suite> <package>=<version>: unpacks it into $folder/<package>; the mirror is apt's own.
fetch() {
    apt="-o Dir::Etc::SourceList=$folder/list -o Dir::Etc::SourceParts=/dev/null"
    apt="$apt -o Dir::State::Lists=$folder/lists.$1 -o Dir::Cache=$folder/cache"
    apt="$apt -o Acquire::Languages=none -o APT::Sandbox::User=root"
    # shellcheck disable=SC2016 # apt's own $(SITE)
    site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
    echo "deb $site $1 main" >"$folder/list"
    mkdir -p "$folder/lists.$1/partial" "$folder/cache/archives/partial"
    # shellcheck disable=SC2086 # a list of words
    if ! (apt-get -qq $apt update && cd "$folder" && apt-get -qq $apt download "$2") >&2; then
        echo "$2 of $1 cannot be had: nothing is shown" >&2
        exit 2
    fi
    dpkg -x "$folder/${2%%=*}"_*.deb "$folder/${2%%=*}"
}

cat >"$folder/program.cpp" <<'PROGRAM'
#include <boost/asio.hpp>
#include <cstdio>

namespace asio = boost::asio;

int main() {
    std::printf("Boost %s: ", BOOST_LIB_VERSION);
    auto handler = [] { std::puts("the handler has run"); };
#ifdef WITH_EXECUTOR
    asio::post(asio::get_associated_executor(handler), handler);
#else
    asio::post(handler);
#endif
    asio::query(asio::system_executor(), asio::execution::context).join();
}
PROGRAM

cat >"$folder/expected" <<'EXPECTED'
Boost 1_88: the handler has run
Boost 1_88: the handler has run
libboost1.92-dev: refused by the compiler
libboost1.92-dev -DWITH_EXECUTOR: refused by the compiler
EXPECTED

# see <package> [-DWITH_EXECUTOR]: what the program says. Refused counts where the error is post's.
see() {
    package=$1
    shift
    if g++ -std=c++20 "$@" -isystem "$folder/$package/usr/include" "$folder/program.cpp" -pthread \
        -o "$folder/program" 2>"$folder/errors"; then
        "$folder/program"
    elif grep -q 'error:.*inline_executor' "$folder/errors"; then
        echo "$package${1:+ $1}: refused by the compiler"
    else
        cat "$folder/errors"
    fi | tee -a "$folder/seen"
}

g++ --version | head -n 1
fetch trixie libboost1.88-dev=1.88.0-1
fetch testing libboost1.92-dev=1.92.0-4+b1
for package in libboost1.88-dev libboost1.92-dev; do
    see "$package"
    see "$package" -DWITH_EXECUTOR
done
diff "$folder/expected" "$folder/seen"
