// SPDX-License-Identifier: MIT
//
// The window algorithms that the fake Discord enforces: fixed windows, windows aligned to the
// server's clock, GCRA (the sliding window of Discord since 2022-11) and a sliding log.
//
// Invariant: a decision depends only on the arrival times of the accepted requests, in exact
// integer nanoseconds. Headers are a view of a counter, never its source.
//
//     Counter counter{{Algorithm::gcra, 5, 5s}};
//     if (counter.wait(now) == 0ns) counter.spend(now);
//
// Observed 2022-11 to 2025-07, discord-api-docs#7680: Discord moved most routes to a sliding window
// (leaky bucket), some stayed fixed, and no header says which.
#ifndef SLUICE_TESTING_FAKE_LIMIT_HPP
#define SLUICE_TESTING_FAKE_LIMIT_HPP

#include <sluice/core/time.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <variant>
#include <vector>

namespace sluice::testing {

using Duration = core::Duration;

enum class Algorithm : std::uint8_t {
    fixed,       ///< the window opens at the first request and does not move
    aligned,     ///< windows begin at whole multiples of the period on the server's clock
    gcra,        ///< one request becomes available every period/limit
    sliding_log, ///< each request becomes available again one period after it arrived
};

struct Limit {
    Algorithm algorithm = Algorithm::fixed;
    std::int64_t limit = 5;
    Duration period = std::chrono::seconds{5}; ///< for the whole limit

    friend constexpr bool operator==(const Limit&, const Limit&) = default;
};

/// What the headers of an answer show.
struct Standing {
    std::int64_t remaining = 0;
    Duration reset{};       ///< when the whole limit is available, on the time line of the arrivals
    Duration reset_after{}; ///< from the time asked about until `reset`
};

namespace detail {

/// Throws std::invalid_argument unless both figures are positive and small enough to be exact.
inline const Limit& checked(const Limit& limit) {
    if (limit.limit <= 0 || limit.period <= Duration::zero())
        throw std::invalid_argument("sluice::testing::Limit: limit and period must be positive");
    // GCRA multiplies the two numbers.
    if (limit.period.count() > std::numeric_limits<std::int64_t>::max() / limit.limit)
        throw std::invalid_argument("sluice::testing::Limit: limit times period exceeds 292 years");
    return limit;
}

class FixedWindow {
public:
    [[nodiscard]] Duration wait(const Limit& limit, Duration now) const noexcept {
        return now < end_ && used_ >= limit.limit ? end_ - now : Duration::zero();
    }

    void spend(const Limit& limit, Duration now) noexcept {
        if (now >= end_) {
            used_ = 0;
            end_ = now + limit.period;
            if (limit.algorithm == Algorithm::aligned) end_ -= now % limit.period;
        }
        ++used_;
    }

    [[nodiscard]] Standing standing(const Limit& limit, Duration now) const noexcept {
        if (now >= end_) return {limit.limit, now, Duration::zero()};
        return {std::max<std::int64_t>(0, limit.limit - used_), end_, end_ - now};
    }

private:
    std::int64_t used_ = 0; // first and zero: see Gcra::Moment
    Duration end_ = Duration::min();
};

class Gcra {
public:
    [[nodiscard]] Duration wait(const Limit& limit, Duration now) const noexcept {
        const Moment next = after_one_more(limit, now);
        return std::max(Duration::zero(), next.rounded_up() - now - limit.period);
    }

    void spend(const Limit& limit, Duration now) noexcept {
        all_back_ = after_one_more(limit, now);
    }

    [[nodiscard]] Standing standing(const Limit& limit, Duration now) const noexcept {
        const Duration reset = all_back_.rounded_up();
        if (reset <= now) return {limit.limit, now, Duration::zero()};
        const std::int64_t spare = (limit.period - (all_back_.whole - now)).count();
        const std::int64_t drips = spare <= 0 ? 0 : spare * limit.limit - all_back_.part;
        return {drips <= 0 ? 0 : drips / limit.period.count(), reset, reset - now};
    }

    /// Drops the fraction, which is in units of 1/limit and invalid under another limit.
    void forget_fraction() noexcept { all_back_ = {0, all_back_.rounded_up()}; }

private:
    /// `whole` nanoseconds plus `part`/limit of one. period/limit is seldom an integer, and an
    /// interval rounded to a nanosecond would admit a request early or late after some thousands.
    /// The zero member comes first: otherwise g++ 14, in a variant with a vector, mistakes another
    /// value at that place for a pointer that the vector deletes, and warns
    /// (-Wfree-nonheap-object).
    struct Moment {
        std::int64_t part = 0;
        Duration whole = Duration::min();

        [[nodiscard]] Duration rounded_up() const noexcept {
            return part > 0 ? whole + Duration{1} : whole;
        }
    };

    [[nodiscard]] Moment after_one_more(const Limit& limit, Duration now) const noexcept {
        Moment moment = all_back_.whole < now ? Moment{0, now} : all_back_;
        moment.whole += limit.period / limit.limit;
        moment.part += limit.period.count() % limit.limit;
        if (moment.part >= limit.limit) {
            moment.part -= limit.limit;
            moment.whole += Duration{1};
        }
        return moment;
    }

    Moment all_back_; ///< the theoretical arrival time (TAT) of the literature
};

class SlidingLog {
public:
    [[nodiscard]] Duration wait(const Limit& limit, Duration now) const noexcept {
        const auto held = arrivals_.end() - first_held(limit, now);
        if (held < limit.limit) return Duration::zero();
        return *(arrivals_.end() - limit.limit) + limit.period - now;
    }

    void spend(const Limit& limit, Duration now) {
        const auto first = first_held(limit, now);
        // Erasing only when half of the entries are stale keeps a request O(1) on average.
        if (2 * (first - arrivals_.begin()) > arrivals_.end() - arrivals_.begin())
            arrivals_.erase(arrivals_.begin(), first);
        arrivals_.push_back(now);
    }

    [[nodiscard]] Standing standing(const Limit& limit, Duration now) const noexcept {
        const std::int64_t held = arrivals_.end() - first_held(limit, now);
        if (held == 0) return {limit.limit, now, Duration::zero()};
        const Duration reset = arrivals_.back() + limit.period;
        return {std::max<std::int64_t>(0, limit.limit - held), reset, reset - now};
    }

private:
    [[nodiscard]] std::vector<Duration>::const_iterator first_held(const Limit& limit,
                                                                   Duration now) const noexcept {
        return std::partition_point(arrivals_.begin(), arrivals_.end(), [&](Duration arrival) {
            return arrival + limit.period <= now;
        });
    }

    std::vector<Duration> arrivals_; ///< ascending; the front may be stale
};

} // namespace detail

/// One counter of the use of one limit. Times must not decrease between calls.
class Counter {
public:
    explicit Counter(const Limit& limit)
        : limit_(detail::checked(limit)), window_(window_of(limit)) {}

    /// Returns zero if a request that arrives now is within the limit, else the time until one
    /// would be.
    [[nodiscard]] Duration wait(Duration now) const {
        return std::visit([&](const auto& window) { return window.wait(limit_, now); }, window_);
    }

    /// Takes one request. Call only when `wait(now)` is zero.
    void spend(Duration now) {
        std::visit([&](auto& window) { window.spend(limit_, now); }, window_);
    }

    [[nodiscard]] Standing standing(Duration now) const {
        return std::visit([&](const auto& window) { return window.standing(limit_, now); },
                          window_);
    }

    /// True if this counter is equivalent to a new one.
    [[nodiscard]] bool full(Duration now) const { return standing(now).reset <= now; }

    /// Switches to another limit. Used quota stays used, unless the algorithm changes.
    void adapt(const Limit& limit) {
        if (limit == limit_) return;
        if (limit.algorithm != limit_.algorithm) window_ = window_of(limit);
        if (auto* gcra = std::get_if<detail::Gcra>(&window_)) gcra->forget_fraction();
        limit_ = detail::checked(limit);
    }

private:
    using Window = std::variant<detail::FixedWindow, detail::Gcra, detail::SlidingLog>;

    [[nodiscard]] static Window window_of(const Limit& limit) {
        if (limit.algorithm == Algorithm::gcra) return detail::Gcra{};
        if (limit.algorithm == Algorithm::sliding_log) return detail::SlidingLog{};
        return detail::FixedWindow{};
    }

    Limit limit_;
    Window window_;
};

} // namespace sluice::testing

#endif
