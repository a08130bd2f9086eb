// SPDX-License-Identifier: MIT
//
// What the limiter keeps and how it grows: bytes per idle bucket, waiting bucket, waiter and mapped
// route; the heap after ten million interaction tokens; the cost of a cycle from 1 to 1M buckets,
// eviction and remapping included; the longest single call at 1M buckets; allocations of the
// no-wait cycle. Bytes are those of mallinfo2: what the allocator adds is in them.
//
//     memory [section ...]     buckets waiters mapping tokens growth pauses allocations
#include <sluice/sluice.hpp>

#include "support/allocations.hpp"
#include "support/report.hpp"
#include "support/timing.hpp"
#include "support/workload.hpp"

#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using Manager = sluice::BasicBucketManager<bench::StepClock>;

constexpr std::size_t million = 1'000'000;
constexpr auto callback =
    sluice::route<"POST /interactions/{interaction.id}/{interaction.token}/callback">;
constexpr auto execute_webhook = sluice::route<"POST /webhooks/{webhook.id}/{webhook.token}">;

void require(bool condition) {
    if (condition) return;
    std::fputs("memory: a limit was in the way\n", stderr);
    std::exit(1);
}

double per(std::size_t bytes, std::size_t count) {
    return static_cast<double>(bytes) / static_cast<double>(count);
}

sluice::Response open_answer() {
    return sluice::response_from(bench::full_reply());
}

/// A bucket of one request for an hour, spent.
sluice::Response spent_answer() {
    sluice::Response answer = open_answer();
    answer.limit = 1;
    answer.remaining = 0;
    return answer;
}

struct Bench {
    bench::StepClock clock;
    asio::io_context context{1};
    Manager limiter;

    explicit Bench(const sluice::Options& options) : limiter(context, options, clock) {}
    explicit Bench(std::size_t buckets) : Bench(bench::open_options(buckets)) {}

    void cycle(const sluice::Route& route, const sluice::Response& answer) {
        auto ticket = limiter.try_acquire(route);
        require(ticket.has_value());
        ticket->update(answer);
    }
    void fill(std::size_t buckets, const sluice::Response& answer) {
        for (std::size_t i = 0; i < buckets; ++i)
            cycle(bench::create_message(bench::channel(i)), answer);
    }
};

// --- Buckets
// --------------------------------------------------------------------------------------

/// Of a million buckets that sleep. Each is met once: a tenth of these cycles warm up, and there
/// are seven runs.
double waking_cycle(Bench& bot) {
    const sluice::Response answer = open_answer();
    bench::Wander channels(million);
    const double time = bench::nanoseconds_per_operation(140'000, [&](std::size_t count) {
        for (std::size_t i = 0; i < count; ++i)
            bot.cycle(bench::create_message(channels.next()), answer);
    });
    require(bot.limiter.stats().lanes > 140'000 * 7);
    return time;
}

/// What buckets take whose windows have just been opened, and when all but one have slept in.
void measure_buckets(bench::Report& report) {
    for (const bool reserved : {true, false}) {
        sluice::Options options = bench::open_options(million);
        if (!reserved) options.expected_buckets = 0;
        options.idle_time = 24h;
        const std::size_t before = bench::heap_bytes();
        Bench bot(options);
        const auto bytes = [&] { return per(bench::heap_bytes() - before, million); };
        const std::string how = reserved ? ", 1M, reserved" : ", 1M, grown";
        bot.fill(million, open_answer());
        report.row("bucket just used, everything included" + how, bytes(), "bytes");
        bot.clock.leap(2h); // the windows are over
        while (bot.limiter.stats().lanes > 1)
            bot.fill(1, open_answer());
        require(bot.limiter.stats().buckets == million);
        report.row("idle bucket, everything included" + how, bytes(), "bytes",
                   reserved ? bench::at_most(256) : bench::Target());
        report.row("  cycle that wakes it", waking_cycle(bot), "ns");
    }
    report.row("  of a used one: core::Bucket", sizeof(sluice::core::Bucket), "bytes");
    report.row("  of a used one: core::Lane", sizeof(sluice::core::Lane), "bytes");
    report.row("  of Bucket: core::Window", sizeof(sluice::core::Window), "bytes");
    report.row("  of an idle one: core::DormantBucket", sizeof(sluice::core::DormantBucket),
               "bytes");
}

// --- Waiters
// --------------------------------------------------------------------------------------

constexpr std::size_t waiters = 100'000;

/// Suspends coroutines in storage made before, so that what is counted is theirs alone.
struct Parking {
    std::size_t bytes = 0;
    std::function<void()> clear;
};

template <class Handler>
std::vector<Handler>& parked() {
    static std::vector<Handler> handlers;
    return handlers;
}

/// Takes what an acquire takes, so that a coroutine which awaits it has as large a frame.
struct Park {
    template <class Handler>
    void operator()(Handler&& handler, Parking* parking, const std::shared_ptr<Parking>&,
                    const sluice::detail::WaitRequest&, const sluice::core::Place&) const {
        auto& handlers = parked<std::decay_t<Handler>>();
        if (handlers.capacity() == 0) {
            handlers.reserve(waiters);
            parking->bytes += handlers.capacity() * sizeof(std::decay_t<Handler>);
            parking->clear = [&handlers] { std::decay_t<decltype(handlers)>().swap(handlers); };
        }
        handlers.push_back(std::forward<Handler>(handler));
    }
};

template <class CompletionToken>
auto async_park(Parking& parking, sluice::Route route, CompletionToken&& token) {
    return asio::async_initiate<CompletionToken, void(boost::system::error_code, sluice::Ticket)>(
        Park(), token, &parking, std::shared_ptr<Parking>(), sluice::detail::WaitRequest{route, {}},
        sluice::core::Place());
}

asio::awaitable<void> park(Parking& parking, sluice::Route route) {
    const sluice::Ticket ticket = co_await async_park(parking, route, asio::deferred);
}

asio::awaitable<void> wait_by_acquire(Manager& limiter, sluice::Route route) {
    const sluice::Ticket ticket = co_await limiter.acquire(route);
}

asio::awaitable<void> wait_by_operation(Manager& limiter, sluice::Route route) {
    const sluice::Ticket ticket = co_await limiter.async_acquire(route, asio::deferred);
}

/// Bytes of `waiters` coroutines that wait, spread over `buckets` spent buckets.
template <class Start>
double bytes_per_waiter(std::size_t buckets, Start start) {
    Bench bot(waiters);
    bot.fill(waiters, spent_answer());
    const std::size_t before = bench::heap_bytes();
    for (std::size_t i = 0; i < waiters; ++i)
        start(bot, bench::create_message(bench::channel(i % buckets)));
    bot.context.poll();
    const double bytes = per(bench::heap_bytes() - before, waiters);
    require(bot.limiter.stats().queued == waiters);
    bot.limiter.close();
    bot.context.restart();
    bot.context.poll();
    return bytes;
}

double bytes_per_parked_coroutine() {
    asio::io_context context{1};
    Parking parking;
    const std::size_t before = bench::heap_bytes();
    for (std::size_t i = 0; i < waiters; ++i) {
        asio::co_spawn(context, park(parking, bench::create_message(bench::channel(0))),
                       asio::detached);
    }
    context.poll();
    const double bytes = per(bench::heap_bytes() - before - parking.bytes, waiters);
    parking.clear(); // the coroutines must not outlive the context
    return bytes;
}

void ignore_failure(std::exception_ptr) {}

void measure_waiters(bench::Report& report) {
    const double coroutine = bytes_per_parked_coroutine();
    report.row("a coroutine that waits for something else", coroutine, "bytes");
    const auto operation = [](Bench& bot, sluice::Route route) {
        asio::co_spawn(bot.context, wait_by_operation(bot.limiter, route), ignore_failure);
    };
    const auto acquire = [](Bench& bot, sluice::Route route) {
        asio::co_spawn(bot.context, wait_by_acquire(bot.limiter, route), ignore_failure);
    };
    const auto plain = [](Bench& bot, sluice::Route route) {
        bot.limiter.async_acquire(route, [](boost::system::error_code, const sluice::Ticket&) {});
    };
    const double one = bytes_per_waiter(1, operation) - coroutine;
    const double many = bytes_per_waiter(waiters, operation) - coroutine;
    report.row("waiter beyond it, co_await async_acquire(deferred)", one, "bytes",
               bench::at_most(192));
    report.row("waiter beyond it, co_await acquire (adds its own frame)",
               bytes_per_waiter(1, acquire) - coroutine, "bytes");
    report.row("waiter with a plain function", bytes_per_waiter(1, plain), "bytes");
    report.row("waiting bucket beyond an idle one and its waiter", many - one, "bytes");
}

// --- Mapping
// --------------------------------------------------------------------------------------

/// What remains of a route when its buckets have been forgotten.
void measure_mapping(bench::Report& report) {
    constexpr std::size_t routes = 4'000;
    Bench bot(routes * 4);
    sluice::Response answer = open_answer();
    answer.reset_after = 1s;
    std::vector<sluice::Route> all;
    for (std::size_t i = 0; i < routes; ++i)
        all.push_back(sluice::Route::parse("GET", "/kind-" + std::to_string(i)).value());
    const std::size_t before = bench::heap_bytes();
    for (std::size_t i = 0; i < routes; ++i) {
        const std::string hash = "80c17d2f203122d936070c88" + std::to_string(10'000'000 + i);
        answer.bucket = sluice::BucketHash::parse(hash);
        bot.cycle(all[i], answer);
    }
    bot.clock.leap(1h);
    require(bot.limiter.collect(1min) == routes);
    report.row("mapping entry: route to a hash of its own, 4,000 routes",
               per(bench::heap_bytes() - before, routes), "bytes");
}

// --- Interaction tokens
// ---------------------------------------------------------------------------

void measure_tokens(bench::Report& report) {
    const std::size_t before = bench::heap_bytes();
    Bench bot{sluice::Options()};
    sluice::Response answer = open_answer();
    answer.limit = 5;
    answer.remaining = 4;
    answer.reset_after = 1s;
    std::string token = "aW50ZXJhY3Rpb246MTIzNDU2Nzg5MDEyMzQ1Njc4OTpXZXJ0eXVpb3Bhc2RmZ2hq";
    const auto start = std::chrono::steady_clock::now();
    std::size_t peak = 0;
    for (std::size_t i = 1; i <= 10 * million; ++i) {
        token.resize(64);
        token += std::to_string(i);
        bot.cycle(callback(i, token), answer);
        bot.clock.leap(1ms); // a thousand interactions per second
        if (i % 100'000 == 0) peak = std::max(peak, bench::heap_bytes() - before);
        if (i == million || i == 10 * million) {
            const std::string when =
                "after " + std::to_string(i / million) + "M interaction tokens";
            report.row("heap " + when, per(bench::heap_bytes() - before, million), "MB");
            report.row("buckets " + when, static_cast<double>(bot.limiter.stats().buckets), "");
        }
    }
    report.row("most heap at any time", per(peak, million), "MB");
    report.row("cycle with a new token, eviction included", bench::nanoseconds_since(start) / 1e7,
               "ns");
}

// --- Growth
// ---------------------------------------------------------------------------------------

double cycle_at(std::size_t buckets, const sluice::Options& options) {
    Bench bot(options);
    const sluice::Response answer = open_answer();
    bot.fill(buckets, answer);
    bench::Wander channels(buckets);
    return bench::nanoseconds_per_operation(million, [&](std::size_t count) {
        for (std::size_t i = 0; i < count; ++i)
            bot.cycle(bench::create_message(channels.next()), answer);
    });
}

/// Each cycle is of a channel never seen, and pushes one out that was idle for longest.
double evicting_cycle_at(std::size_t buckets) {
    sluice::Options options = bench::open_options(buckets);
    options.max_idle_buckets = buckets;
    Bench bot(options);
    sluice::Response answer = open_answer();
    answer.reset_after = 1s;
    bot.fill(buckets, answer);
    bot.clock.leap(2s);
    std::uint64_t next = buckets;
    const double time = bench::nanoseconds_per_operation(300'000, [&](std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            bot.cycle(bench::create_message(bench::channel(next++)), answer);
            bot.clock.leap(1s);
        }
    });
    require(bot.limiter.stats().counters.evicted > 1'000);
    return time;
}

/// Each answer names another hash than the channel's last one.
double remapping_cycle_at(std::size_t buckets) {
    sluice::Options options = bench::open_options(buckets * 2);
    Bench bot(options);
    std::array<sluice::Response, 2> answers{open_answer(), open_answer()};
    answers[1].bucket = sluice::BucketHash::parse("f00dfacef00dfacef00dfacef00dface");
    bot.fill(buckets, answers[0]);
    bench::Wander channels(buckets);
    std::uint64_t done = 0;
    const double time = bench::nanoseconds_per_operation(300'000, [&](std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t turn = (++done / buckets + 1) % 2;
            bot.cycle(bench::create_message(channels.next()), answers[turn]);
        }
    });
    if (done > buckets) require(bot.limiter.stats().counters.moved > buckets / 2);
    return time;
}

void measure_growth(bench::Report& report) {
    double at_10k = 0;
    for (const std::size_t buckets : {1UL, 10UL, 100UL, 1'000UL, 10'000UL, 100'000UL, million}) {
        const double time = cycle_at(buckets, bench::open_options(buckets));
        report.row("cycle at " + std::to_string(buckets) + " buckets", time, "ns");
        if (buckets == 10'000) at_10k = time;
        if (buckets == million) {
            // bench/cycle.cpp has the one of a real clock, which a bot pays.
            report.row("cycle at 1M / at 10k, with a clock that costs nothing", time / at_10k, "");
        }
    }
    sluice::Options crowded = bench::open_options(million);
    crowded.max_idle_buckets = 100'000;
    report.row("cycle at 1M open buckets, max_idle_buckets 100k", cycle_at(million, crowded), "ns");
    for (const std::size_t buckets : {10'000UL, million}) {
        const std::string at = " at " + std::to_string(buckets) + " buckets";
        report.row("cycle of a new bucket, another evicted," + at, evicting_cycle_at(buckets),
                   "ns");
        report.row("cycle whose answer renames the bucket," + at, remapping_cycle_at(buckets),
                   "ns");
    }
}

// --- Pauses
// ---------------------------------------------------------------------------------------

void measure_pauses(bench::Report& report) {
    const sluice::Response answer = open_answer();
    for (const bool reserved : {true, false}) {
        sluice::Options options = bench::open_options(million);
        if (!reserved) options.expected_buckets = 0;
        Bench bot(options);
        bench::Pauses acquires;
        bench::Pauses updates;
        for (std::size_t i = 0; i < million; ++i) {
            const auto route = bench::create_message(bench::channel(i));
            auto ticket = acquires.time([&] { return bot.limiter.try_acquire(route); });
            require(ticket.has_value());
            updates.time([&] { ticket->update(answer); });
        }
        const std::string how = reserved ? ", reserved" : ", growing";
        const bench::Target target = reserved ? bench::at_most(1000) : bench::Target();
        report.row("longest try_acquire of 1M new buckets" + how, acquires.worst_microseconds(),
                   "us", target);
        report.row("longest update of 1M new buckets" + how, updates.worst_microseconds(), "us",
                   target);
        if (!reserved) continue;

        bench::Pauses cycles;
        bench::Wander channels(million);
        for (std::size_t i = 0; i < million; ++i) {
            const auto route = bench::create_message(channels.next());
            cycles.time([&] { bot.cycle(route, answer); });
        }
        report.row("longest cycle of 1M at 1M buckets", cycles.worst_microseconds(), "us", target);

        const auto once = [&](const std::string& name, bench::Target bound, auto call) {
            bench::Pauses pause;
            pause.time(call);
            report.row(name + " at 1M buckets", pause.worst_microseconds(), "us", bound);
        };
        const auto refuse = [&](const sluice::Route& route, int status) {
            sluice::Response refusal;
            refusal.status = status;
            bot.limiter.update(route, refusal);
        };
        const auto first = bench::create_message(bench::channel(0));
        once("stats()", bench::at_most(1000), [&] { static_cast<void>(bot.limiter.stats()); });
        once("find()", bench::at_most(1000), [&] { static_cast<void>(bot.limiter.find(first)); });
        once("first answer 404 of a webhook", bench::at_most(1000),
             [&] { refuse(execute_webhook(7, "token"), 404); });
        once("answer 401", bench::at_most(1000), [&] { refuse(first, 401); });
        once("replace_token()", bench::at_most(1000), [&] { bot.limiter.replace_token(); });
        once("cancel_all() (answers for all)", {}, [&] { bot.limiter.cancel_all(); });
        once("snapshot() (answers for all)", {},
             [&] { require(bot.limiter.snapshot()["buckets"].size() >= million - 1); });
        bot.clock.leap(2h);
        once("collect() of all (answers for all)", {},
             [&] { require(bot.limiter.collect(1min) >= million - 1); });
    }
}

// --- Allocations
// ----------------------------------------------------------------------------------

asio::awaitable<void> acquire_cycles(Bench& bot, const bench::Reply& reply, std::size_t count,
                                     bool deferred) {
    bench::Wander channels(1000);
    for (std::size_t i = 0; i < count; ++i) {
        const sluice::Route route = bench::create_message(channels.next());
        sluice::Ticket ticket;
        if (deferred) {
            ticket = co_await bot.limiter.async_acquire(route, asio::deferred);
        } else {
            ticket = co_await bot.limiter.acquire(route);
        }
        ticket.update(sluice::response_from(reply));
    }
}

void measure_allocations(bench::Report& report) {
    constexpr std::size_t cycles = 100'000;
    Bench bot(1000);
    bot.fill(1000, open_answer());
    const bench::Reply reply = bench::full_reply();
    const auto count = [&](const std::string& name, bench::Target target, auto work) {
        work(); // queues and pools reach their size
        const std::uint64_t before = bench::allocations;
        work();
        report.row("allocations in 1000 " + name,
                   static_cast<double>(bench::allocations - before) * 1000 / cycles, "", target);
    };
    const auto spawn = [&](bool deferred) {
        asio::co_spawn(bot.context, acquire_cycles(bot, reply, cycles, deferred), asio::detached);
        bot.context.restart();
        bot.context.run();
    };
    count("header parses", bench::at_most(0), [&] {
        for (std::size_t i = 0; i < cycles; ++i)
            require(sluice::response_from(reply).remaining.has_value());
    });
    count("try_acquire cycles", bench::at_most(0), [&] {
        bench::Wander channels(1000);
        for (std::size_t i = 0; i < cycles; ++i)
            bot.cycle(bench::create_message(channels.next()), sluice::response_from(reply));
    });
    // One of each run is the coroutine that runs the cycles.
    count("co_await acquire cycles", bench::at_most(0.2), [&] { spawn(false); });
    count("co_await async_acquire(deferred) cycles", {}, [&] { spawn(true); });
}

struct Section {
    std::string_view name;
    void (*measure)(bench::Report&);
};

constexpr std::array<Section, 7> sections{{
    {"buckets", measure_buckets},
    {"waiters", measure_waiters},
    {"mapping", measure_mapping},
    {"tokens", measure_tokens},
    {"growth", measure_growth},
    {"pauses", measure_pauses},
    {"allocations", measure_allocations},
}};

} // namespace

int main(int count, char** arguments) {
    const std::vector<std::string_view> wanted(arguments + 1, arguments + count);
    bench::leave_single_threaded_mode();
    bench::Report report("memory, growth and pauses");
    for (const Section& section : sections) {
        if (wanted.empty() || std::find(wanted.begin(), wanted.end(), section.name) != wanted.end())
            section.measure(report);
    }
    return 0;
}
