// SPDX-License-Identifier: MIT
//
// One io_context run by one thread and by two: two coroutines that acquire and update without
// pause, on the same bucket and on buckets of their own, and with some work of their own between,
// as a bot has. A second run with a mutex that looks at itself shows how often a thread found the
// lock taken and how much of its time it waited.
#include <sluice/sluice.hpp>

#include "support/report.hpp"
#include "support/timing.hpp"
#include "support/workload.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

constexpr std::size_t coroutines = 2;
constexpr std::size_t buckets_each = 5'000;

void require(bool condition) {
    if (condition) return;
    std::fputs("threads: a limit was in the way\n", stderr);
    std::exit(1);
}

/// Counts how often it was taken already, and for how long that was waited for: from the first try
/// in vain until it is had.
class WatchedMutex {
public:
    void lock() {
        if (try_lock()) return;
        mutex_.lock();
        note_had();
    }
    [[nodiscard]] bool try_lock() {
        if (mutex_.try_lock()) {
            note_had();
            return true;
        }
        if (!waits_since) {
            waits_since = Clock::now();
            found_taken.fetch_add(1, std::memory_order_relaxed);
        }
        return false;
    }
    void unlock() { mutex_.unlock(); }

    // Of all mutexes of the program: the limiter does not give its own away.
    inline static std::atomic<std::uint64_t> locks = 0;
    inline static std::atomic<std::uint64_t> found_taken = 0;
    inline static std::atomic<std::int64_t> nanoseconds_waited = 0;

private:
    void note_had() {
        locks.fetch_add(1, std::memory_order_relaxed);
        if (!waits_since) return;
        const std::chrono::nanoseconds waited = Clock::now() - *waits_since;
        nanoseconds_waited.fetch_add(waited.count(), std::memory_order_relaxed);
        waits_since.reset();
    }

    inline static thread_local std::optional<Clock::time_point> waits_since;
    std::mutex mutex_;
};

struct Scenario {
    std::string name;
    std::size_t cycles; ///< of each coroutine
    bool same_bucket;
    std::chrono::nanoseconds work; ///< between two cycles
};

void be_busy(std::chrono::nanoseconds time) {
    if (time == std::chrono::nanoseconds(0)) return;
    const auto end = Clock::now() + time;
    while (Clock::now() < end) {
    }
}

template <class Mutex>
asio::awaitable<void> cycle(sluice::BasicBucketManager<Clock, Mutex>& limiter,
                            const Scenario& scenario, std::size_t own) {
    const sluice::Response answer = sluice::response_from(bench::full_reply());
    bench::Wander channels(buckets_each);
    const std::uint64_t same = bench::channel(coroutines * buckets_each);
    const std::uint64_t first = bench::channel(own * buckets_each) - bench::channel(0);
    for (std::size_t i = 0; i < scenario.cycles; ++i) {
        const std::uint64_t channel = scenario.same_bucket ? same : first + channels.next();
        const sluice::Route route = bench::create_message(channel);
        sluice::Ticket ticket = co_await limiter.acquire(route);
        be_busy(scenario.work);
        ticket.update(answer);
    }
}

struct Figures {
    double rate = 0;           ///< cycles per second, both coroutines together
    double processor_time = 0; ///< ns of a cycle, all threads together
};

template <class Mutex>
Figures run(std::size_t threads, const Scenario& scenario) {
    asio::io_context context(static_cast<int>(threads));
    sluice::BasicBucketManager<Clock, Mutex> limiter(
        context, bench::open_options(coroutines * buckets_each + 1));
    const sluice::Response answer = sluice::response_from(bench::full_reply());
    for (std::size_t i = 0; i <= coroutines * buckets_each; ++i) {
        auto ticket = limiter.try_acquire(bench::create_message(bench::channel(i)));
        require(ticket.has_value());
        ticket->update(answer);
    }
    for (std::size_t i = 0; i < coroutines; ++i)
        asio::co_spawn(context, cycle(limiter, scenario, i), asio::detached);
    WatchedMutex::locks = WatchedMutex::found_taken = 0;
    WatchedMutex::nanoseconds_waited = 0;
    std::atomic<std::int64_t> used = 0;
    const auto work = [&] {
        const auto before = bench::thread_time();
        context.run();
        used += (bench::thread_time() - before).count();
    };
    const auto start = Clock::now();
    std::vector<std::thread> others;
    for (std::size_t i = 1; i < threads; ++i)
        others.emplace_back(work);
    work();
    for (std::thread& other : others)
        other.join();
    const double cycles = static_cast<double>(coroutines * scenario.cycles);
    return {cycles / (bench::nanoseconds_since(start) / 1e9), static_cast<double>(used) / cycles};
}

double median(std::vector<double> numbers) {
    const auto middle = numbers.begin() + static_cast<std::ptrdiff_t>(numbers.size() / 2);
    std::nth_element(numbers.begin(), middle, numbers.end());
    return *middle;
}

/// How much more two threads do of such work than one; of each of so many runs.
template <class Work>
std::vector<double> gains(int runs, Work work) {
    std::vector<double> gains;
    for (int i = 0; i < runs; ++i) {
        auto start = Clock::now();
        work();
        const double alone = bench::nanoseconds_since(start);
        start = Clock::now();
        std::thread other(work);
        work();
        other.join();
        gains.push_back(2 * alone / bench::nanoseconds_since(start));
    }
    return gains;
}

void count_to(int end) {
    for (int i = 0; i < end; ++i)
        asm volatile("" : : "r"(i));
}

/// What the machine gives a second thread that shares nothing with the first.
double gain_of_a_second_core() {
    return median(gains(15, [] { count_to(30'000'000); }));
}

/// What taking turns costs here, without anything of a limiter: threads that hold one lock for half
/// of their time and share no more than that.
double gain_under_one_lock() {
    std::mutex mutex;
    return median(gains(15, [&] {
        for (int i = 0; i < 1'000'000; ++i) {
            sluice::detail::lock_for_short(mutex);
            count_to(300);
            mutex.unlock();
            count_to(300);
        }
    }));
}

struct Comparison {
    Figures one;
    Figures two;
    double ratio = 0; ///< of the rates, two threads to one
};

/// In turns, because the machine's neighbours change what a thread gets within a second: medians,
/// that of the ratio over the pairs.
Comparison compare(const Scenario& scenario) {
    constexpr int pairs = 15;
    std::vector<double> rates[2];
    std::vector<double> times[2];
    std::vector<double> ratios;
    for (int i = 0; i < pairs; ++i) {
        for (const std::size_t threads : {1, 2}) {
            const Figures figures = run<std::mutex>(threads, scenario);
            rates[threads - 1].push_back(figures.rate);
            times[threads - 1].push_back(figures.processor_time);
        }
        ratios.push_back(rates[1].back() / rates[0].back());
    }
    return {
        {median(rates[0]), median(times[0])}, {median(rates[1]), median(times[1])}, median(ratios)};
}

/// Where two threads lose time to each other.
void watch(bench::Report& report, const Scenario& scenario) {
    const double rate = run<WatchedMutex>(2, scenario).rate;
    const double seconds = static_cast<double>(coroutines * scenario.cycles) / rate;
    const double waited = static_cast<double>(WatchedMutex::nanoseconds_waited) / 1e9;
    const double taken =
        static_cast<double>(WatchedMutex::found_taken) / static_cast<double>(WatchedMutex::locks);
    report.row("  two threads: locks found taken", taken * 100, "%");
    report.row("  two threads: time spent waiting for the lock", waited / (2 * seconds) * 100, "%");
}

} // namespace

int main() {
    bench::leave_single_threaded_mode();
    bench::Report report("threads, co_await acquire + update");
    report.row("two threads / one, of a loop that shares nothing", gain_of_a_second_core(), "");
    report.row("two threads / one, of a loop under one lock for half of its time",
               gain_under_one_lock(), "");
    const Scenario scenarios[] = {
        {"disjoint buckets", 600'000, false, {}},
        {"one bucket", 600'000, true, {}},
        {"disjoint buckets, 5 us of work per request", 50'000, false, std::chrono::microseconds(5)},
        {"one bucket, 5 us of work per request", 50'000, true, std::chrono::microseconds(5)},
    };
    for (const Scenario& scenario : scenarios) {
        const auto [one, two, ratio] = compare(scenario);
        const bool bound = !scenario.same_bucket;
        report.row("one thread: " + scenario.name, one.rate, "per second");
        report.row("two threads: " + scenario.name, two.rate, "per second");
        report.row("  two threads / one", ratio, "", bound ? bench::at_least(1) : bench::Target());
        report.row("  processor time of a cycle, one thread", one.processor_time, "ns");
        report.row("  processor time of a cycle, two threads", two.processor_time, "ns");
        watch(report, scenario);
    }
    return 0;
}
