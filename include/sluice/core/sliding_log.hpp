// SPDX-License-Identifier: MIT
//
// When each request comes back, in a bucket that gives requests back one by one, each a period
// after it was counted (a sliding log). No header tells that: Reset names the end of the last one.
//
// A client that is the only one can know it all the same, by the rule of global_limit.hpp for one
// bucket. A request that was answered at r was decided before r. A request sent at r + period -
// credit arrives a period after that. As long as no more than `limit` requests are in flight or
// were answered less than a period ago, no period at the server ever holds more of them.
//
// A bucket shows that it is a log if its Reset-After stays a whole period while more and more is
// spent: see Window::look_for_sliding(). A counter that each request keeps alive for another period
// looks the same, until a request is sent before its end. Therefore one goes alone first.
#ifndef SLUICE_CORE_SLIDING_LOG_HPP
#define SLUICE_CORE_SLIDING_LOG_HPP

#include <sluice/core/fifo.hpp>
#include <sluice/core/time.hpp>

#include <cstddef>
#include <cstdint>

namespace sluice::core {

class SlidingLog {
public:
    /// Keeps the latest `limit` requests, all that can matter.
    explicit SlidingLog(std::int64_t limit) noexcept : limit_(limit) {}

    /// Keeps the longest period, so that it is never too short, whatever the last digit of a header
    /// says.
    void learn_period(Duration period) noexcept { period_ = greater(period_, period); }

    /// Adds so many requests decided before `received`, which is never earlier than in a call
    /// before.
    void add(Time received, std::int64_t count = 1) {
        for (; count > 0; --count) {
            if (size() >= limit_) answered_.pop_front();
            answered_.push_back(received);
        }
        latest_ = received;
    }
    [[nodiscard]] Time latest() const noexcept { return latest_; }

    /// Returns how many are not back.
    [[nodiscard]] std::int64_t held(Time now, Duration credit) const noexcept {
        std::int64_t back = 0;
        for (std::int64_t end = size(); back < end;) {
            const std::int64_t middle = back + (end - back) / 2;
            if (back_at(middle, credit) <= now) {
                back = middle + 1;
            } else {
                end = middle;
            }
        }
        return size() - back;
    }
    /// Returns when the next of them is back, or `never`.
    [[nodiscard]] Time next(Time now, Duration credit) const noexcept {
        const std::int64_t known = held(now, credit);
        return known == 0 ? never : back_at(size() - known, credit);
    }
    /// Returns the earliest time for a request that waits until `before` others and one more are
    /// back. Those in flight are not answered yet, and each that takes a place keeps it for a
    /// period.
    [[nodiscard]] Time foresee(Time now, std::int64_t before, Duration credit) const noexcept {
        const std::int64_t known = held(now, credit);
        const std::int64_t first = before % limit_;
        const Time at =
            first < known ? back_at(size() - known + first, credit) : now + after(credit);
        return later(at, before / limit_, after(credit));
    }

private:
    [[nodiscard]] std::int64_t size() const noexcept {
        return static_cast<std::int64_t>(answered_.size());
    }
    [[nodiscard]] Time back_at(std::int64_t index, Duration credit) const noexcept {
        return answered_[static_cast<std::size_t>(index)] + after(credit);
    }
    [[nodiscard]] Duration after(Duration credit) const noexcept {
        return period_ - lesser(credit, period_);
    }

    std::int64_t limit_;
    Duration period_{0};
    Time latest_ = Time::min();
    Fifo<Time> answered_; // ascending, including those that are back
};

} // namespace sluice::core

#endif
