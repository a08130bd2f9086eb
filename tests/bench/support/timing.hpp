// SPDX-License-Identifier: MIT
//
// How long things take on a machine that others use as well: the fastest of several runs for what
// is repeated, since others can only slow it down, and the processor time of the thread for a
// single call, so that one that was preempted does not pass for a slow one.
#ifndef SLUICE_TESTS_BENCH_SUPPORT_TIMING_HPP
#define SLUICE_TESTS_BENCH_SUPPORT_TIMING_HPP

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <limits>

namespace bench {

[[nodiscard]] inline double nanoseconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start)
        .count();
}

/// Of one operation, where `work(count)` does `count` of them.
template <class Work>
[[nodiscard]] double nanoseconds_per_operation(std::size_t count, Work work,
                                               std::size_t repetitions = 7) {
    work(count / 10 + 1); // caches and branch predictors
    double fastest = std::numeric_limits<double>::max();
    for (std::size_t i = 0; i < repetitions; ++i) {
        const auto start = std::chrono::steady_clock::now();
        work(count);
        fastest = std::min(fastest, nanoseconds_since(start) / static_cast<double>(count));
    }
    return fastest;
}

/// Processor time that this thread has used.
[[nodiscard]] inline std::chrono::nanoseconds thread_time() noexcept {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

/// The longest of many calls.
class Pauses {
public:
    template <class Call>
    decltype(auto) time(Call call) {
        const Stop stop{*this, thread_time()};
        return call();
    }
    [[nodiscard]] double worst_microseconds() const noexcept {
        return std::chrono::duration<double, std::micro>(worst_).count();
    }

private:
    struct Stop {
        Pauses& pauses;
        std::chrono::nanoseconds start;
        ~Stop() { pauses.worst_ = std::max(pauses.worst_, thread_time() - start); }
    };
    std::chrono::nanoseconds worst_{0};
};

} // namespace bench

#endif
