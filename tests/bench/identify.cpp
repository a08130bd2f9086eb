// SPDX-License-Identifier: MIT
//
// All shards of a very large bot at once: 2,048 acquires queued in one IdentifyQueue, until each
// has had its permit. Queueing and the rest (grant, post, run, sent, the next alarm) are timed
// apart, in virtual time, and the heap is measured while all wait.
#include <sluice/gateway/identify_queue.hpp>
#include <sluice/testing/manual_clock.hpp>

#include "support/allocations.hpp"
#include "support/report.hpp"
#include "support/timing.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using Clock = sluice::testing::ManualClock;
using Queue = sluice::gateway::BasicIdentifyQueue<Clock>;

constexpr std::size_t shards = 2048;

struct Figures {
    double queueing = 1e9; // ns per waiter
    double permit = 1e9;   // ns per permit
    double bytes = 0;      // per waiter
};

asio::awaitable<void> identify(Queue& queue, std::uint64_t shard, std::size_t& done) {
    co_await queue.acquire(shard);
    ++done;
}

/// `Start` begins one acquire, which adds one to the count when it has its permit.
template <class Start>
void measure(std::int64_t max_concurrency, Start start, Figures& figures) {
    asio::io_context io{1};
    const Clock clock;
    Queue queue(io, {10'000, 10'000, 24h, max_concurrency}, {}, clock);
    std::size_t done = 0;
    const std::size_t before = bench::heap_bytes();
    const auto begin = std::chrono::steady_clock::now();
    for (std::uint64_t shard = 0; shard < shards; ++shard)
        start(io, queue, shard, done);
    io.poll();
    figures.queueing = std::min(figures.queueing, bench::nanoseconds_since(begin) / shards);
    figures.bytes = static_cast<double>(bench::heap_bytes() - before) /
                    static_cast<double>(queue.stats().queued);
    const auto middle = std::chrono::steady_clock::now();
    const std::size_t had = done;
    Clock(clock).run(io);
    figures.permit = std::min(figures.permit,
                              bench::nanoseconds_since(middle) / static_cast<double>(shards - had));
    if (done == shards) return;
    std::fputs("identify: a shard has had no permit\n", stderr);
    std::exit(1);
}

template <class Start>
void report(bench::Report& report, const std::string& how, Start start, bench::Target bytes) {
    for (const std::int64_t max_concurrency : {1, 16, 128}) {
        Figures figures;
        for (int run = 0; run < 9; ++run)
            measure(max_concurrency, start, figures);
        const std::string name = how + ", max_concurrency " + std::to_string(max_concurrency);
        report.row(name + ": queueing", figures.queueing, "ns");
        report.row(name + ": permit", figures.permit, "ns");
        report.row(name + ": heap per waiter", figures.bytes, "bytes", bytes);
    }
}

} // namespace

int main() {
    bench::Report table("2,048 shards queued at once");
    const auto by_callback = [](asio::io_context& io, Queue& queue, std::uint64_t shard,
                                std::size_t& done) {
        queue.async_acquire(
            shard, asio::bind_executor(io.get_executor(), [&done](auto, auto) { ++done; }));
    };
    const auto by_coroutine = [](asio::io_context& io, Queue& queue, std::uint64_t shard,
                                 std::size_t& done) {
        co_spawn(io, identify(queue, shard, done), asio::detached);
    };
    // What a waiter was measured to need when it holds no more than its handler and its links.
    report(table, "handler", by_callback, bench::at_most(192));
    report(table, "coroutine", by_coroutine, {});
}
