#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: sh tests/bench/compile_cost.sh [--instructions]
#
# What including the library adds to a translation unit that has Asio's coroutines already:
# preprocessed lines (-E -P), and seconds of processor time at -O0 and -O2 (the fastest of several
# rounds). The libraries that it brings along are reported alone, and ours with them there already.
# Writes JSON to the file named by SLUICE_BENCH_JSON. CXX chooses the compiler.
#
# --instructions counts those of g++ at -O0 by callgrind instead (five minutes), which busy
# neighbours of the machine do not change. Its garbage collection is off: it would come at other
# places in every unit.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
compiler=${CXX:-g++}
runs=${SLUICE_BENCH_RUNS:-3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

asio='#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>'
map='#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>'
node_map='#include <boost/unordered/unordered_node_map.hpp>' # Boost 1.82
json='#include <nlohmann/json.hpp>'
ours='#include <sluice/sluice.hpp>'
body='boost::asio::awaitable<void> nap() {
    boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor);
    co_await timer.async_wait(boost::asio::use_awaitable);
}
int main() {
    boost::asio::io_context context;
    boost::asio::co_spawn(context, nap(), boost::asio::detached);
    context.run();
}'
use='boost::asio::awaitable<void> send(sluice::BucketManager& limiter) {
    sluice::Ticket ticket =
        co_await limiter.acquire(sluice::route<"POST /channels/{id}/messages">(1));
    ticket.update(sluice::Response::parse(200, {{"X-RateLimit-Limit", "5"}}));
}'

# Processor time of this shell's children so far, in milliseconds: others may use the machine.
spent() {
    times >"$work/times" # not in a pipe: that would be another shell, without children
    awk 'NR == 2 {
        for (i = 1; i <= 2; ++i) { split($i, part, "m"); sum += part[1] * 60 + part[2] }
        printf "%d", sum * 1000
    }' "$work/times"
}

# unit <name> <text>: one to be measured
units=
unit() {
    printf '%s\n' "$2" >"$work/$1.cpp"
    units="$units $1"
}

# compile <name> <level>: its time in milliseconds goes to <name><level>
compile() {
    # A shell of its own, which has no other children.
    took=$($compiler -std=c++20 -I"$root/include" "$2" -c "$work/$1.cpp" -o "$work/unit.o" && spent)
    echo "$took" >>"$work/$1$2"
}

# "<name> <lines> <milliseconds at -O0> <milliseconds at -O2>" of each unit. Round after round,
# because the machine's neighbours change for minutes what a unit takes.
measure() {
    round=0
    while [ "$round" -lt "$runs" ]; do
        for name in $units; do
            compile "$name" -O0
            compile "$name" -O2
        done
        round=$((round + 1))
    done
    for name in $units; do
        printf '%s %s %s %s\n' "$name" \
            "$($compiler -std=c++20 -I"$root/include" -E -P "$work/$name.cpp" | wc -l)" \
            "$(sort -n "$work/$name-O0" | head -n 1)" "$(sort -n "$work/$name-O2" | head -n 1)"
    done
}

join() {
    printf '%s\n' "$@"
}

# count <text>: millions of instructions
count() {
    unit=$(mktemp "$work/unitXXXXXX")
    printf '%s\n' "$1" | $compiler -std=c++20 -I"$root/include" -E -x c++ - -o "$unit.ii"
    valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        "$($compiler -print-prog-name=cc1plus)" -fpreprocessed "$unit.ii" -quiet -std=c++20 -O0 \
        --param ggc-min-expand=10000 --param ggc-min-heapsize=10000000 -o /dev/null 2>&1 |
        awk '/Collected/ { printf "%d\n", $NF / 1e6 }'
}

if [ "${1:-}" = --instructions ]; then
    count "$(join "$asio" "$map" "$json" "$body")" >"$work/without" &
    with=$(count "$(join "$asio" "$map" "$json" "$ours" "$body")")
    wait
    without=$(cat "$work/without")
    echo "millions of instructions of the compiler at -O0"
    printf '  %-54s %8d\n' "Asio with coroutines and a timer, map, json.hpp" "$without"
    printf '  %-54s %8d\n' "added by sluice.hpp" $((with - without))
    exit
fi

unit asio "$(join "$asio" "$body")"
unit map "$(join "$asio" "$map" "$body")"
if printf '%s\n' "$node_map" | $compiler -std=c++20 -E -x c++ - >/dev/null 2>&1; then
    unit node_map "$(join "$asio" "$node_map" "$body")"
fi
unit json "$(join "$asio" "$json" "$body")"
unit map_json "$(join "$asio" "$map" "$json" "$body")"
unit sluice "$(join "$asio" "$ours" "$body")"
unit sluice_map_json "$(join "$asio" "$map" "$json" "$ours" "$body")"
unit sluice_used "$(join "$asio" "$ours" "$body" "$use")"
measure >"$work/measured"

awk -v json="${SLUICE_BENCH_JSON:-/dev/null}" '
    { lines[$1] = $2; o0[$1] = $3; o2[$1] = $4 }
    function row(name, with, without, lines_target, seconds_target) {
        if (!(with in lines)) return
        l = lines[with] - lines[without]
        a = (o0[with] - o0[without]) / 1000; b = (o2[with] - o2[without]) / 1000
        beside = ""
        if (lines_target) {
            beside = sprintf("<= %d lines%s, <= %.1f s at -O0%s", lines_target,
                (l > lines_target) ? " MISSED" : "", seconds_target,
                (a > seconds_target) ? " MISSED" : "")
        }
        printf "  %-54s %8d %8.2f %8.2f  %s\n", name, l, a, b, beside
        printf "%s\n  {\"name\": \"%s\", \"lines\": %d, \"seconds_O0\": %.3f, \"seconds_O2\": %.3f}", \
            (rows++ ? "," : "["), name, l, a, b >json
    }
    END {
        printf "%-56s %8s %8s %8s  %s\n", "compile cost", "lines", "-O0 s", "-O2 s", "target"
        row("Asio with coroutines and a timer: the unit itself", "asio", "none")
        row("added by boost unordered_flat_map and _set", "map", "asio")
        row("added by boost unordered_node_map", "node_map", "asio")
        row("added by nlohmann/json.hpp", "json", "asio")
        row("added by sluice.hpp, all that it brings included", "sluice", "asio")
        row("added by sluice.hpp beyond the map", "sluice", "map")
        row("added by sluice.hpp beyond json.hpp and the map", "sluice_map_json", "map_json", 12000, 0.8)
        row("added by one acquire and update in that unit", "sluice_used", "sluice")
        print "\n]" >json
    }' "$work/measured"
