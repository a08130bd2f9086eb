// SPDX-License-Identifier: MIT
//
// Waiting: n requests queued in one bucket, and one in each of n buckets (1k, 100k, 1M), until all
// of them have been released and have run. Enqueueing and waking are timed apart, and beside them
// what the waiting coroutines cost by themselves. Then, on the real clock, how late 10,000 buckets
// that wait for their resets release their requests.
//
//     wake [most]      leaves out sizes above `most`
#include <sluice/sluice.hpp>

#include "support/report.hpp"
#include "support/timing.hpp"
#include "support/workload.hpp"
#include "support/yardsticks.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

void require(bool condition) {
    if (condition) return;
    std::fputs("wake: requests were not where they should be\n", stderr);
    std::exit(1);
}

// --- How many per second ------------------------------------------------------------------------

struct Times {
    double enqueue = 0; // ns per waiter: coroutine started and queued
    double wake = 0;    // ns per waiter: granted, posted, resumed
};

asio::awaitable<void> wait_by_acquire(sluice::BucketManager& limiter, std::uint64_t channel,
                                      std::vector<sluice::Ticket>& tickets) {
    const sluice::Route route = bench::create_message(channel);
    tickets.push_back(co_await limiter.acquire(route));
}

asio::awaitable<void> wait_by_operation(sluice::BucketManager& limiter, std::uint64_t channel,
                                        std::vector<sluice::Ticket>& tickets) {
    const sluice::Route route = bench::create_message(channel);
    tickets.push_back(co_await limiter.async_acquire(route, asio::deferred));
}

/// One bucket: its first request is out as a probe; the answer lets all the others go at once.
/// Many: a probe each, answered one after the other before the released ones run.
template <class Start>
Times wake(std::size_t waiters, std::size_t buckets, Start start) {
    asio::io_context context{1};
    sluice::BucketManager limiter(context, bench::open_options(buckets));
    std::vector<sluice::Ticket> probes;
    for (std::size_t i = 0; i < buckets; ++i) {
        auto probe = limiter.try_acquire(bench::create_message(bench::channel(i)));
        require(probe.has_value());
        probes.push_back(std::move(*probe));
    }
    std::vector<sluice::Ticket> tickets;
    tickets.reserve(waiters);

    Times times;
    auto begin = Clock::now();
    for (std::size_t i = 0; i < waiters; ++i)
        start(context, limiter, bench::channel(i % buckets), tickets);
    context.poll();
    times.enqueue = bench::nanoseconds_since(begin) / static_cast<double>(waiters);
    require(limiter.stats().queued == waiters && tickets.empty());

    const sluice::Response answer = bench::answer_of(10'000'000, 9'999'999, 1h);
    begin = Clock::now();
    for (sluice::Ticket& probe : probes)
        probe.update(answer);
    context.restart();
    context.poll();
    times.wake = bench::nanoseconds_since(begin) / static_cast<double>(waiters);
    require(tickets.size() == waiters);
    for (sluice::Ticket& ticket : tickets)
        ticket.cancel();
    return times;
}

/// The same coroutines, begun, woken and ended, around the least that can be waited for.
asio::awaitable<void> wait_for_nothing(bench::BareWaiters& waiters) {
    co_await waiters.async_wait(asio::deferred);
}

Times wake_bare(std::size_t count) {
    asio::io_context context{1};
    bench::BareWaiters waiters;
    Times times;
    auto begin = Clock::now();
    for (std::size_t i = 0; i < count; ++i)
        asio::co_spawn(context, wait_for_nothing(waiters), asio::detached);
    context.poll();
    times.enqueue = bench::nanoseconds_since(begin) / static_cast<double>(count);
    require(waiters.size() == count);
    begin = Clock::now();
    asio::post(context, [&] { waiters.wake_all(); });
    context.restart();
    context.poll();
    times.wake = bench::nanoseconds_since(begin) / static_cast<double>(count);
    require(waiters.size() == 0 && context.stopped());
    return times;
}

template <class Run>
Times fastest_of(std::size_t waiters, Run run) {
    Times fastest = run();
    const int repetitions = waiters <= 1'000 ? 50 : 3;
    for (int i = 1; i < repetitions; ++i) {
        const Times times = run();
        fastest.enqueue = std::min(fastest.enqueue, times.enqueue);
        fastest.wake = std::min(fastest.wake, times.wake);
    }
    return fastest;
}

double target_of(std::size_t waiters) {
    return waiters <= 1'000 ? 6e6 : waiters <= 100'000 ? 2e6 : 1e6;
}

template <class Start>
void measure(bench::Report& report, const std::string& how, std::size_t most, bool targets,
             Start start) {
    for (const std::size_t waiters : {1'000UL, 100'000UL, 1'000'000UL}) {
        if (waiters > most) continue;
        for (const std::size_t buckets : {std::size_t{1}, waiters}) {
            const Times times = fastest_of(waiters, [&] { return wake(waiters, buckets, start); });
            const std::string what = how + ", " + std::to_string(waiters) + " waiters in " +
                                     (buckets == 1 ? "one bucket" : "a bucket each");
            report.row("enqueued: " + what, times.enqueue, "ns each");
            report.row("woken: " + what, times.wake, "ns each");
            report.row("woken: " + what, 1e9 / times.wake, "per second",
                       targets && buckets == 1 ? bench::at_least(target_of(waiters))
                                               : bench::Target());
        }
    }
}

void measure_bare(bench::Report& report, std::size_t most) {
    for (const std::size_t waiters : {1'000UL, 100'000UL, 1'000'000UL}) {
        if (waiters > most) continue;
        const Times times = fastest_of(waiters, [&] { return wake_bare(waiters); });
        const std::string what = "coroutines by themselves, " + std::to_string(waiters);
        report.row("enqueued: " + what, times.enqueue, "ns each");
        report.row("woken: " + what, times.wake, "ns each");
    }
}

// --- How late -----------------------------------------------------------------------------------

asio::awaitable<void> note_release(sluice::BucketManager& limiter, std::uint64_t channel,
                                   Clock::time_point due, std::vector<double>& late) {
    const sluice::Route route = bench::create_message(channel);
    sluice::Ticket ticket = co_await limiter.acquire(route);
    late.push_back(bench::nanoseconds_since(due) / 1e6);
    ticket.update(bench::answer_of(1, 0, 1h));
}

/// The resets are spread over two seconds: five in each millisecond.
void measure_lateness(bench::Report& report) {
    constexpr std::size_t buckets = 10'000;
    constexpr auto first = 500ms;
    constexpr std::chrono::nanoseconds spread = 2s;
    asio::io_context context{1};
    sluice::Options options = bench::open_options(buckets);
    options.max_credit = 0ns; // a release is due at the reset itself
    sluice::BucketManager limiter(context, options);
    std::vector<double> late;
    late.reserve(buckets);
    const auto start = Clock::now();
    for (std::size_t i = 0; i < buckets; ++i) {
        const std::uint64_t channel = bench::channel(i * 7'919 % buckets);
        auto ticket = limiter.try_acquire(bench::create_message(channel));
        require(ticket.has_value());
        const auto reset = start + first + spread * i / buckets;
        const auto now = Clock::now();
        ticket->update(bench::answer_of(1, 0, reset - now));
        // The limiter looks at its clock a little later and adds a unit of the last digit.
        const auto due = limiter.timeout_for(bench::create_message(channel));
        require(due.has_value());
        asio::co_spawn(context, note_release(limiter, channel, Clock::now() + *due, late),
                       asio::detached);
    }
    context.run();
    require(late.size() == buckets);
    std::sort(late.begin(), late.end());
    const std::string of = "lateness of a release, 10,000 waiting buckets, ";
    report.row(of + "p50", late[buckets / 2], "ms");
    report.row(of + "p99", late[buckets * 99 / 100], "ms", bench::at_most(2));
    report.row(of + "max", late.back(), "ms");
}

} // namespace

int main(int count, char** arguments) {
    const std::size_t most =
        count > 1 ? std::strtoul(arguments[1], nullptr, 10) : std::size_t{1'000'000};
    bench::leave_single_threaded_mode();
    bench::Report report("waiting");
    measure(report, "co_await async_acquire(deferred)", most, true,
            [](asio::io_context& context, sluice::BucketManager& limiter, std::uint64_t channel,
               std::vector<sluice::Ticket>& tickets) {
                asio::co_spawn(context, wait_by_operation(limiter, channel, tickets),
                               asio::detached);
            });
    measure(report, "co_await acquire", most, false,
            [](asio::io_context& context, sluice::BucketManager& limiter, std::uint64_t channel,
               std::vector<sluice::Ticket>& tickets) {
                asio::co_spawn(context, wait_by_acquire(limiter, channel, tickets), asio::detached);
            });
    measure(report, "async_acquire(handler)", most, true,
            [](asio::io_context&, sluice::BucketManager& limiter, std::uint64_t channel,
               std::vector<sluice::Ticket>& tickets) {
                limiter.async_acquire(bench::create_message(channel),
                                      [&](boost::system::error_code, sluice::Ticket ticket) {
                                          tickets.push_back(std::move(ticket));
                                      });
            });
    measure_bare(report, most);
    measure_lateness(report);
    return 0;
}
