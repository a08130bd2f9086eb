// SPDX-License-Identifier: MIT
//
// One acquire and one update, on the real clock: by try_acquire, co_await acquire and
// async_acquire(deferred); with the default mutex and with none; the answer given parsed, or parsed
// from a Beast response each time; at 1, 10,000 and 1,000,000 buckets. Beside it the yardsticks of
// support/yardsticks.hpp, so that ratios survive a slower machine, bare and with the two looks at
// the clock that no limiter can do without: when did the request leave, when did its answer come?
//
//     cycle [buckets ...]
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

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

constexpr std::size_t cycles = 300'000;

void require(bool condition) {
    if (condition) return;
    std::fputs("cycle: a limit was in the way\n", stderr);
    std::exit(1);
}

void consume(std::int64_t value) {
    asm volatile("" : : "r"(value) : "memory");
}

void run(asio::io_context& context, asio::awaitable<void> work) {
    asio::co_spawn(context, std::move(work), asio::detached);
    context.restart();
    context.run();
}

struct Times {
    double try_acquire = 0;
    double acquire = 0;
};

// --- Ours
// -----------------------------------------------------------------------------------------

enum class Answers { given, parsed };

template <class Mutex>
class Bench {
public:
    using Manager = sluice::BasicBucketManager<Clock, Mutex>;

    explicit Bench(std::size_t buckets) : buckets_(buckets) {
        for (std::size_t i = 0; i < buckets; ++i) {
            auto ticket = limiter_.try_acquire(bench::create_message(bench::channel(i)));
            require(ticket.has_value());
            ticket->update(answer_);
        }
    }

    [[nodiscard]] double time_try_acquire(Answers answers) {
        return bench::nanoseconds_per_operation(cycles, [&](std::size_t count) {
            bench::Wander channels(buckets_);
            for (std::size_t i = 0; i < count; ++i) {
                auto ticket = limiter_.try_acquire(bench::create_message(channels.next()));
                require(ticket.has_value());
                settle(*ticket, answers);
            }
        });
    }
    [[nodiscard]] double time_acquire(Answers answers) {
        return bench::nanoseconds_per_operation(
            cycles, [&](std::size_t count) { run(context_, acquire(count, answers)); });
    }
    [[nodiscard]] double time_async_acquire(Answers answers) {
        return bench::nanoseconds_per_operation(
            cycles, [&](std::size_t count) { run(context_, async_acquire(count, answers)); });
    }

private:
    void settle(sluice::Ticket& ticket, Answers answers) {
        if (answers == Answers::given) {
            ticket.update(answer_);
        } else {
            ticket.update(sluice::response_from(reply_));
        }
    }
    asio::awaitable<void> acquire(std::size_t count, Answers answers) {
        bench::Wander channels(buckets_);
        for (std::size_t i = 0; i < count; ++i) {
            const sluice::Route route = bench::create_message(channels.next());
            sluice::Ticket ticket = co_await limiter_.acquire(route);
            settle(ticket, answers);
        }
    }
    asio::awaitable<void> async_acquire(std::size_t count, Answers answers) {
        bench::Wander channels(buckets_);
        for (std::size_t i = 0; i < count; ++i) {
            const sluice::Route route = bench::create_message(channels.next());
            sluice::Ticket ticket = co_await limiter_.async_acquire(route, asio::deferred);
            settle(ticket, answers);
        }
    }

    std::size_t buckets_;
    asio::io_context context_{1};
    Manager limiter_{context_, bench::open_options(buckets_)};
    bench::Reply reply_ = bench::full_reply();
    sluice::Response answer_ = sluice::response_from(reply_);
};

template <class Mutex>
Times measure(bench::Report& report, std::size_t buckets, const std::string& mutex, bool targets) {
    Bench<Mutex> limiter(buckets);
    const std::string with = ", " + mutex + ", " + std::to_string(buckets) + " buckets";
    const auto bound = [&](double most) {
        return targets ? bench::at_most(most) : bench::Target();
    };
    Times times;
    times.try_acquire = limiter.time_try_acquire(Answers::given);
    report.row("try_acquire + update" + with, times.try_acquire, "ns", bound(55));
    times.acquire = limiter.time_acquire(Answers::given);
    report.row("co_await acquire + update" + with, times.acquire, "ns", bound(90));
    report.row("async_acquire(deferred) + update" + with,
               limiter.time_async_acquire(Answers::given), "ns");
    report.row("try_acquire + parse + update" + with, limiter.time_try_acquire(Answers::parsed),
               "ns");
    report.row("co_await acquire + parse + update" + with, limiter.time_acquire(Answers::parsed),
               "ns");
    report.row("async_acquire(deferred) + parse + update" + with,
               limiter.time_async_acquire(Answers::parsed), "ns");
    return times;
}

// --- Yardsticks --------------------------------------------------------------------------------

enum class Looks { none, two };

void look(Looks looks) {
    if (looks == Looks::two) consume(Clock::now().time_since_epoch().count());
}

asio::awaitable<void> await_ready(bench::LockedCounters& counters, std::size_t buckets, Looks looks,
                                  std::size_t count) {
    bench::Wander channels(buckets);
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint64_t channel = channels.next();
        look(looks);
        consume(co_await counters.async_acquire(channel));
        look(looks);
        consume(counters.update(channel));
    }
}

Times measure_yardsticks(bench::Report& report, std::size_t buckets, Looks looks) {
    asio::io_context context{1};
    bench::LockedCounters counters;
    counters.reserve(buckets);
    for (std::size_t i = 0; i < buckets; ++i)
        counters.acquire(bench::channel(i));
    const std::string at = (looks == Looks::two ? ", two looks at the clock, " : ", ") +
                           std::to_string(buckets) + " buckets";
    Times times;
    times.try_acquire = bench::nanoseconds_per_operation(cycles, [&](std::size_t count) {
        bench::Wander channels(buckets);
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint64_t channel = channels.next();
            look(looks);
            consume(counters.acquire(channel));
            look(looks);
            consume(counters.update(channel));
        }
    });
    report.row("std::mutex + std::unordered_map counter" + at, times.try_acquire, "ns");
    times.acquire = bench::nanoseconds_per_operation(cycles, [&](std::size_t count) {
        run(context, await_ready(counters, buckets, looks, count));
    });
    report.row("the same behind a ready awaitable" + at, times.acquire, "ns");
    return times;
}

void measure_parts(bench::Report& report) {
    const bench::Reply reply = bench::full_reply();
    const double parse = bench::nanoseconds_per_operation(cycles, [&](std::size_t count) {
        for (std::size_t i = 0; i < count; ++i)
            consume(sluice::response_from(reply).remaining.value_or(0));
    });
    report.row("header parsing of a full answer", parse, "ns", bench::at_most(250));
    const double look = bench::nanoseconds_per_operation(cycles, [](std::size_t count) {
        for (std::size_t i = 0; i < count; ++i)
            consume(Clock::now().time_since_epoch().count());
    });
    report.row("one look at the clock (a cycle takes two)", look, "ns");
}

struct Figures {
    Times ours;
    Times yardsticks; ///< with two looks at the clock
};

Figures measure_at(bench::Report& report, std::size_t buckets) {
    const bool targets = buckets == 10'000;
    const Times yardsticks = measure_yardsticks(report, buckets, Looks::none);
    const Times timed = measure_yardsticks(report, buckets, Looks::two);
    const Times ours = measure<std::mutex>(report, buckets, "mutex", targets);
    report.row("  try_acquire / counter", ours.try_acquire / yardsticks.try_acquire, "");
    report.row("  co_await acquire / ready awaitable", ours.acquire / yardsticks.acquire, "",
               targets ? bench::at_most(1.7) : bench::Target());
    report.row("  try_acquire / counter with two looks", ours.try_acquire / timed.try_acquire, "");
    report.row("  co_await acquire / ready awaitable with two looks", ours.acquire / timed.acquire,
               "");
    measure<sluice::NullMutex>(report, buckets, "no mutex", false);
    return {ours, timed};
}

void report_growth(bench::Report& report, const Figures& few, const Figures& many) {
    const std::string growth = ", 1000000 buckets / 10000";
    report.row("try_acquire + update" + growth, many.ours.try_acquire / few.ours.try_acquire, "",
               bench::at_most(4));
    report.row("co_await acquire + update" + growth, many.ours.acquire / few.ours.acquire, "",
               bench::at_most(4));
    report.row("  counter with two looks" + growth,
               many.yardsticks.try_acquire / few.yardsticks.try_acquire, "");
}

} // namespace

int main(int count, char** arguments) {
    std::vector<std::size_t> sizes;
    for (int i = 1; i < count; ++i)
        sizes.push_back(std::strtoul(arguments[i], nullptr, 10));
    if (sizes.empty()) sizes = {1, 10'000, 1'000'000};

    bench::leave_single_threaded_mode();
    bench::Report report("acquire + update");
    measure_parts(report);
    std::map<std::size_t, Figures> figures;
    for (const std::size_t buckets : sizes)
        figures[buckets] = measure_at(report, buckets);
    if (figures.count(10'000) != 0 && figures.count(1'000'000) != 0)
        report_growth(report, figures[10'000], figures[1'000'000]);
    return 0;
}
