// SPDX-License-Identifier: MIT
//
// One acquire that need not wait and one update, at 10,000 buckets on the real clock: by co_await
// acquire, and by async_acquire(deferred) posted and with an immediate executor (Boost 1.82).
//
// Ten to a coroutine: Asio resumes a coroutine inside the call that completed at once, so that each
// takes a piece of the stack until the coroutine waits for something or ends.
#include <sluice/sluice.hpp>

#include "support/report.hpp"
#include "support/timing.hpp"
#include "support/workload.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/system_executor.hpp>
#include <boost/version.hpp>

#if BOOST_VERSION >= 108200
#include <boost/asio/bind_immediate_executor.hpp>
#endif

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace {

namespace asio = boost::asio;

constexpr std::size_t buckets = 10'000;
constexpr std::size_t cycles = 100'000;
constexpr std::size_t of_a_coroutine = 10;
constexpr int rounds = 5;

class Bench {
public:
    Bench() {
        for (std::size_t i = 0; i < buckets; ++i) {
            auto ticket = limiter_.try_acquire(bench::create_message(bench::channel(i)));
            if (!ticket) std::exit(1);
            ticket->update(answer_);
        }
    }

    /// Nanoseconds of a cycle; `begin(limiter, route)` is what is awaited.
    template <class Begin>
    double time(Begin begin) {
        return bench::nanoseconds_per_operation(cycles, [&](std::size_t count) {
            bench::Wander channels(buckets);
            for (std::size_t i = 0; i < count; i += of_a_coroutine) {
                asio::co_spawn(context_, cycle(begin, channels), asio::detached);
                context_.restart();
                context_.run();
            }
        });
    }

private:
    template <class Begin>
    asio::awaitable<void> cycle(Begin& begin, bench::Wander& channels) {
        for (std::size_t i = 0; i < of_a_coroutine; ++i) {
            const sluice::Route route = bench::create_message(channels.next());
            sluice::Ticket ticket = co_await begin(limiter_, route);
            ticket.update(answer_);
        }
    }

    asio::io_context context_{1};
    sluice::BucketManager limiter_{context_, bench::open_options(buckets)};
    bench::Reply reply_ = bench::full_reply();
    sluice::Response answer_ = sluice::response_from(reply_);
};

void lower(double& least, double time) {
    least = least == 0 ? time : std::min(least, time);
}

} // namespace

int main() {
    bench::leave_single_threaded_mode();
    bench::Report report("acquire that need not wait + update, 10000 buckets");
    Bench bench;
    double awaited = 0;
    double posted = 0;
    [[maybe_unused]] double immediate = 0;
    // In turns, because the machine's neighbours change for minutes what a cycle takes.
    for (int round = 0; round < rounds; ++round) {
        lower(awaited, bench.time([](auto& limiter, const sluice::Route& route) {
            return limiter.acquire(route);
        }));
        lower(posted, bench.time([](auto& limiter, const sluice::Route& route) {
            return limiter.async_acquire(route, asio::deferred);
        }));
#if BOOST_VERSION >= 108200
        lower(immediate, bench.time([](auto& limiter, const sluice::Route& route) {
            return limiter.async_acquire(
                route, asio::bind_immediate_executor(asio::system_executor(), asio::deferred));
        }));
#endif
    }
    report.row("co_await acquire", awaited, "ns");
    report.row("async_acquire(deferred), posted", posted, "ns");
#if BOOST_VERSION >= 108200
    report.row("async_acquire(deferred), immediate", immediate, "ns");
    report.row("  immediate / posted", immediate / posted, "", bench::at_most(0.6));
    report.row("  immediate / co_await acquire", immediate / awaited, "", bench::at_most(1.3));
#else
    std::puts("immediate completion needs Boost 1.82");
#endif
    return 0;
}
