// SPDX-License-Identifier: MIT
//
// What the limiter is measured against in the same run, so that a ratio survives a slower machine:
// a counter per channel in a locked standard map, touched at acquire and at update, as a plain
// call and behind an awaitable that is ready at once.
#ifndef SLUICE_TESTS_BENCH_SUPPORT_YARDSTICKS_HPP
#define SLUICE_TESTS_BENCH_SUPPORT_YARDSTICKS_HPP

#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>

namespace bench {

class LockedCounters {
public:
    void reserve(std::size_t count) { in_flight_.reserve(count); }

    std::int64_t acquire(std::uint64_t channel) {
        const std::lock_guard lock(mutex_);
        return ++in_flight_[channel];
    }
    std::int64_t update(std::uint64_t channel) {
        const std::lock_guard lock(mutex_);
        return --in_flight_[channel];
    }
    boost::asio::awaitable<std::int64_t> async_acquire(std::uint64_t channel) {
        co_return acquire(channel);
    }

private:
    std::mutex mutex_;
    std::unordered_map<std::uint64_t, std::int64_t> in_flight_;
};

} // namespace bench

#endif
