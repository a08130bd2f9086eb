// SPDX-License-Identifier: MIT
//
// Invalid requests of one outgoing address, and what to do about them.
// Discord docs, "Invalid Request Limit": 10,000 answers of 401, 403 or 429 (scope `shared`
// excepted) within 10 minutes get the address banned for a while.
//
// Below the first threshold nothing happens. Between the two, requests are spaced so that the
// second would not be reached even if every one of them were invalid. At the second nothing is
// sent.
#ifndef SLUICE_CORE_INVALID_REQUESTS_HPP
#define SLUICE_CORE_INVALID_REQUESTS_HPP

#include <sluice/core/time.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace sluice::core {

struct InvalidRequestLimits {
    std::int64_t slow_at = 5'000;
    std::int64_t stop_at = 9'000;
    Duration period = std::chrono::minutes(10);
};

class InvalidRequests {
public:
    explicit InvalidRequests(const InvalidRequestLimits& limits) noexcept : limits_(limits) {}

    void add(Time now) noexcept {
        turn(now);
        ++slices_[index_];
        ++count_;
    }

    /// Returns the count of the last period, rounded to the safe side: a slice is dropped when all
    /// of it is over.
    [[nodiscard]] std::int64_t count(Time now) noexcept {
        turn(now);
        return count_;
    }

    [[nodiscard]] bool slows(Time now) noexcept { return count(now) >= limits_.slow_at; }
    [[nodiscard]] bool stops(Time now) noexcept { return count(now) >= limits_.stop_at; }

    /// Returns the least time between two requests at this count; 0 below the first threshold.
    [[nodiscard]] Duration spacing(Time now) noexcept {
        if (!slows(now)) return Duration(0);
        // The last request before the threshold comes when all the counted ones have been dropped.
        return (limits_.period + slice()) / std::max<std::int64_t>(1, limits_.stop_at - count_);
    }

    /// Returns when the count falls below `threshold` if nothing invalid is added.
    [[nodiscard]] Time below(std::int64_t threshold, Time now) noexcept {
        turn(now);
        std::int64_t left = count_;
        for (std::size_t age = slices_.size(); age > 0 && left >= threshold; --age) {
            const std::size_t oldest = (index_ + slices_.size() + 1 - age) % slices_.size();
            left -= slices_[oldest];
            if (left < threshold) {
                return start_ + slice() * static_cast<std::int64_t>(slices_.size() + 1 - age);
            }
        }
        return now;
    }
    [[nodiscard]] Time stops_until(Time now) noexcept { return below(limits_.stop_at, now); }

    /// The count of one slice of time that began so long ago.
    struct Slice {
        Duration age{0};
        std::int64_t count = 0;
    };
    /// Visits the slices that are not empty, the oldest first.
    template <class Visitor>
    void each_slice(Time now, Visitor visit) {
        turn(now);
        for (std::size_t age = slices_.size(); age-- > 0;) {
            const std::size_t at = (index_ + slices_.size() - age) % slices_.size();
            const Duration since = now - start_ + slice() * static_cast<std::int64_t>(age);
            if (slices_[at] != 0) visit(Slice{since, slices_[at]});
        }
    }
    /// Replaces all counts by what was counted elsewhere, the oldest first and relative to `then`.
    template <class Slices>
    void restore(const Slices& slices, Time then) noexcept {
        *this = InvalidRequests(limits_);
        for (const Slice& slice : slices) {
            turn(then - slice.age);
            slices_[index_] += slice.count;
            count_ += slice.count;
        }
    }

private:
    [[nodiscard]] Duration slice() const noexcept {
        return std::max(Duration(1),
                        limits_.period / static_cast<std::int64_t>(slices_.size() - 1));
    }

    /// Moves to the slice that contains `now`, and drops what is older than the period.
    void turn(Time now) noexcept {
        if (start_ == Time::min()) start_ = now;
        const std::int64_t steps = std::max<std::int64_t>(0, (now - start_) / slice());
        start_ += slice() * steps;
        const auto size = static_cast<std::int64_t>(slices_.size());
        for (std::int64_t i = 0; i < std::min(steps, size); ++i) {
            index_ = (index_ + 1) % slices_.size();
            count_ -= slices_[index_];
            slices_[index_] = 0;
        }
    }

    InvalidRequestLimits limits_;
    std::array<std::int64_t, 61> slices_{}; // 60 of them are one period
    std::size_t index_ = 0;
    Time start_ = Time::min(); // of the current slice
    std::int64_t count_ = 0;
};

} // namespace sluice::core

#endif
