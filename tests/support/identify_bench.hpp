// SPDX-License-Identifier: MIT
//
// An IdentifySchedule for the tests of the core: time stands still unless a test says otherwise,
// and what has been granted is sent at once unless it says not to.
#ifndef SLUICE_TESTS_SUPPORT_IDENTIFY_BENCH_HPP
#define SLUICE_TESTS_SUPPORT_IDENTIFY_BENCH_HPP

#include <sluice/core/identify_schedule.hpp>

#include <chrono>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <vector>

namespace sluice::tests::identifying {

using namespace sluice::core;
using namespace std::chrono_literals;

inline constexpr Time start{1h};

/// A schedule, the time, and the shards that wait.
struct Bench {
    explicit Bench(const IdentifyLimit& limit, const IdentifySettings& settings = {})
        : schedule(settings, limit, start) {}

    IdentifyWaiter& wait(std::uint64_t shard, bool use_reserve = false) {
        IdentifyWaiter& waiter = waiters.emplace_back();
        waiter.place.shard = shard;
        waiter.use_reserve = use_reserve;
        schedule.enqueue(waiter, now);
        return waiter;
    }
    void wait_all(std::initializer_list<std::uint64_t> shards) {
        for (const std::uint64_t shard : shards)
            wait(shard);
    }
    /// The shards that have been granted since the last call, in order; they are sent at once.
    std::vector<std::uint64_t> granted(bool send = true) {
        std::vector<std::uint64_t> shards;
        IdentifyWaiterList finished = schedule.take_finished();
        while (!finished.empty()) {
            IdentifyWaiter& waiter = finished.front();
            finished.pop_front();
            if (waiter.state != IdentifyState::granted) continue;
            shards.push_back(waiter.place.shard);
            if (send) schedule.sent(waiter.place, now);
        }
        return shards;
    }
    std::vector<std::uint64_t> at(Duration time) {
        now = start + time;
        schedule.advance(now);
        return granted();
    }

    Time now = start;
    std::deque<IdentifyWaiter> waiters; // outlives the lists of the schedule
    IdentifySchedule schedule;
};

using Shards = std::vector<std::uint64_t>;

constexpr IdentifyLimit limit_of(std::uint64_t max_concurrency, std::int64_t remaining = 1000,
                                 Duration reset_after = 20h) {
    return {1000, remaining, reset_after, max_concurrency};
}

} // namespace sluice::tests::identifying

#endif
