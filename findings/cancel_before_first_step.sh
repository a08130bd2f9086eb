#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Boost.Asio: a coroutine that never waits is spawned with a handler that takes any exception, and
# its cancellation signal is emitted before the loop has run. What does the handler hear? Boost 1.81
# of Debian 12, 1.83 and 1.88 of Debian 13.
#
# A good guess: the same in each version; the handler is called, and run() returns. To bind the
# handler to the executor that the coroutine has anyway changes nothing.
#
# Seen: 1.83 never calls the handler: the system_error leaves io_context::run(). 1.88 calls it with
# the error, 1.81 without one. In 1.83 and 1.88 the same handler is called without an error once it is
# bound to the coroutine's own executor. A total cancellation is heard by nobody.
#
# Needs: g++, apt on Debian. Exits with 1 when something else is seen.
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

asio::awaitable<void> nothing() { co_return; }

void spawn(const char* name, asio::cancellation_type type, bool bound) {
    asio::io_context io;
    asio::cancellation_signal signal;
    const char* handler = "not called";
    auto hears = asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr error) {
        handler = error ? "called with an error" : "called without an error";
    });
    if (bound) {
        asio::co_spawn(io, nothing, asio::bind_executor(io.get_executor(), hears));
    } else {
        asio::co_spawn(io, nothing, hears);
    }
    signal.emit(type);
    const char* ended = "returned";
    try {
        io.run();
    } catch (const std::exception&) {
        ended = "threw";
    }
    std::printf("%s, %s: handler %s, run() %s\n", name, bound ? "bound" : "plain", handler, ended);
}

int main() {
    std::printf("Boost %s\n", BOOST_LIB_VERSION);
    for (bool bound : {false, true}) {
        spawn("terminal", asio::cancellation_type::terminal, bound);
        spawn("total", asio::cancellation_type::total, bound);
    }
}
PROGRAM

cat >"$folder/expected" <<'EXPECTED'
Boost 1_81
terminal, plain: handler called without an error, run() returned
total, plain: handler called without an error, run() returned
terminal, bound: handler called without an error, run() returned
total, bound: handler called without an error, run() returned
Boost 1_83
terminal, plain: handler not called, run() threw
total, plain: handler called without an error, run() returned
terminal, bound: handler called without an error, run() returned
total, bound: handler called without an error, run() returned
Boost 1_88
terminal, plain: handler called with an error, run() returned
total, plain: handler called without an error, run() returned
terminal, bound: handler called without an error, run() returned
total, bound: handler called without an error, run() returned
EXPECTED

# see <suite> <package>=<version>
see() {
    fetch "$1" "$2"
    g++ -std=c++20 -isystem "$folder/${2%%=*}/usr/include" "$folder/program.cpp" -pthread \
        -o "$folder/program"
    "$folder/program" | tee -a "$folder/seen"
}

g++ --version | head -n 1
see bookworm libboost1.81-dev=1.81.0-5+deb12u1
see trixie libboost1.83-dev=1.83.0-4.2
see trixie libboost1.88-dev=1.88.0-1
diff "$folder/expected" "$folder/seen"
