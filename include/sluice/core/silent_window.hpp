// SPDX-License-Identifier: MIT
//
// What a client can know of a counter that describes itself only in its 429s, while the headers of
// successes describe another one (discord-api-docs#5646, 2022-11; #8161, 2026-02: `limit` 1000 in
// the headers, a 429 of 5 under a hash of its own). Each success is counted without any news of the
// counter, and each 429 corrects the count. Pure arithmetic on (state, now, event).
//
// One 429 with limit L, Reset-After A and wait w tells the algorithm. A leaky bucket (GCRA) refuses
// while A - w = (L - 1) * T and w <= T, for T between two slots; in a fixed window A = w.
//
// A = w also holds where A names the next slot of a leaky bucket. That shows when the end is over
// and fewer than L pass before the next 429: T is then the time between two such ends, divided by
// how many passed. Requests of other clients look the same, so this T is a guess that is tried
// again and again, after twice as many successes each time that it was right: one more request goes
// at a time, and more with each success.
//
// Invariant: an end that a 429 has told is exact, and the whole limit may go after it. An end that
// was computed from the period is an estimate: a single request goes first, and its answer decides.
#ifndef SLUICE_CORE_SILENT_WINDOW_HPP
#define SLUICE_CORE_SILENT_WINDOW_HPP

#include <sluice/core/time.hpp>
#include <sluice/core/window.hpp>

#include <chrono>
#include <cstdint>
#include <optional>

namespace sluice::core {

class SilentWindow {
public:
    [[nodiscard]] std::int64_t limit() const noexcept { return limit_; }
    [[nodiscard]] bool leaky() const noexcept { return leaky_; }
    /// True if an estimated end is over and no answer has confirmed it.
    [[nodiscard]] bool asks() const noexcept { return asking_; }
    [[nodiscard]] Duration period() const noexcept {
        return leaky_ ? limit_ * interval_ : greater(period_, Duration(1));
    }
    [[nodiscard]] Time blocked_until() const noexcept { return blocked_until_; }
    /// True if nothing that was spent counts any more.
    [[nodiscard]] bool all_back(Time now) const noexcept {
        return now >= blocked_until_ && (!has_deadline_ || now >= deadline_);
    }

    /// Applies a 429 of this counter, which names its limit.
    void refuse(const Observation& seen, Duration wait) noexcept;
    /// Notes that a request that counts here was accepted.
    void succeed(Time sent, Time received, Duration credit) noexcept;
    /// Notes that such a request may have been accepted, and that no answer will tell.
    void lose(Time now, Duration credit) noexcept { spend(now, now, credit); }

    /// As in Window.
    [[nodiscard]] std::int64_t available(Time now, std::int64_t out, Duration credit) noexcept;
    [[nodiscard]] Time next_change(Time now, std::int64_t out, Duration credit) const noexcept;
    [[nodiscard]] std::optional<Time> predict(Time now, std::int64_t out, std::int64_t held,
                                              std::int64_t ahead, Duration credit) const noexcept;

private:
    /// Returns the possible error of a wait: a Retry-After without a body is rounded up to whole
    /// seconds.
    [[nodiscard]] static Duration rounding(Duration wait, Duration unit) noexcept {
        constexpr Duration second = std::chrono::seconds(1);
        return wait % second == Duration(0) ? second : unit;
    }
    void roll(Time now, Duration credit) noexcept;
    void spend(Time sent, Time received, Duration credit) noexcept;
    void learn_interval(Duration after, Duration wait, Duration unit) noexcept;
    void learn_period(const Observation& seen, Duration after) noexcept;
    void guess_interval(Time end, Duration round_trip) noexcept;
    [[nodiscard]] std::int64_t slots_missing(Time now, Duration credit) const noexcept;

    std::int64_t limit_ = 0;
    std::int64_t spent_ = 0;         ///< only for a fixed window
    std::int64_t since_refusal_ = 0; ///< successes of requests sent since
    Time struck_ = Time::min();      ///< when it refused last
    Time deadline_{};                ///< when everything is back, without credit
    Time blocked_until_ = Time::min();
    Time rolled_ = Time::min();
    Time first_sent_{};    ///< when the first success of this window was sent
    Duration period_{0};   ///< the longest that a 429 has shown
    Duration interval_{0}; ///< a lower bound of the time of one slot, if leaky
    Duration each_{0};     ///< an upper bound of it, nearly: what a success adds
    Duration longest_wait_{0};
    std::int64_t trust_ = 1; ///< after so many successes a guess is tried
    bool leaky_ = false;
    bool guessed_ = false; ///< its interval is a guess
    bool has_deadline_ = false;
    bool told_ = false;      ///< deadline_ is from a 429
    bool whole_ = false;     ///< the last end that passed was told: all should be back
    bool asking_ = false;    ///< an estimated end is over: one request goes first
    bool has_first_ = false; ///< first_sent_ is known
};

/// Learns the interval of a leaky bucket. A single answer seldom gives T exactly, and each answer
/// raises the bounds. If the whole limit has passed and the next request is refused all the same, T
/// is a little larger.
inline void SilentWindow::learn_interval(Duration after, Duration wait, Duration unit) noexcept {
    constexpr Duration least_gap = std::chrono::milliseconds(50);
    const std::int64_t others = limit_ - 1;
    const Duration gap = after - wait;
    const bool was_leaky = leaky_ && !guessed_;
    leaky_ = others > 0 && gap > least_gap &&
             wait - rounding(wait, unit) <= (gap + rounding(wait, unit) + unit) / others;
    if (!leaky_) return;
    guessed_ = false;
    if (!was_leaky) interval_ = each_ = Duration(0);
    if (was_leaky && since_refusal_ >= limit_) each_ += each_ / 64;
    interval_ = greater(interval_, greater((after - unit) / limit_, (gap - unit) / others));
    each_ = greater(each_, greater((after + unit) / limit_, (gap + unit) / others));
}

/// Learns the period: this window began with its first success and ends when the 429 says.
inline void SilentWindow::learn_period(const Observation& seen, Duration after) noexcept {
    const Duration elapsed = seen.sent - first_sent_;
    const bool of_this = has_first_ && elapsed >= Duration(0) && elapsed <= 2 * period_;
    period_ = greater(period_, of_this ? after + elapsed : after);
}

/// Guesses the interval when a request was refused before the whole limit had passed: then a single
/// slot was back at each end. The next slot is never further away than the time between two.
inline void SilentWindow::guess_interval(Time end, Duration round_trip) noexcept {
    constexpr int fraction = 8;
    constexpr std::int64_t longest_trust = 1024;
    constexpr Duration longest_period = std::chrono::hours(24 * 365);
    const bool fewer = whole_ && since_refusal_ < limit_;
    if ((!guessed_ && !fewer) || since_refusal_ == 0 || end <= blocked_until_) return;
    const Duration each = (end - blocked_until_) / since_refusal_;
    const Duration doubt = each / fraction + round_trip;
    if (!guessed_ && longest_wait_ > each + doubt) return;
    if (limit_ > longest_period / (each + each / fraction + Duration(1))) { // or it would overflow
        guessed_ = false;
        return;
    }
    const bool confirmed = guessed_ && interval_ <= each + doubt && each <= interval_ + doubt;
    trust_ = confirmed ? lesser(2 * trust_, longest_trust) : 1;
    // At most `each`.
    interval_ = guessed_ ? lesser(each, interval_ + interval_ / fraction) : each;
    each_ = interval_;
    guessed_ = true;
}

inline void SilentWindow::refuse(const Observation& seen, Duration wait) noexcept {
    Duration after = seen.reset_after.value_or(wait);
    if (seen.limit && *seen.limit > 0 && *seen.limit != limit_) {
        *this = SilentWindow();
        limit_ = *seen.limit;
    }
    const Duration told = lesser(after, wait); // a wait that did not suffice has grown
    longest_wait_ = greater(longest_wait_, told);
    if (seen.sent > struck_) { // requests in flight together are refused together
        learn_interval(after, wait, seen.unit);
        if (!leaky_) guess_interval(seen.received + told, seen.received - seen.sent);
        since_refusal_ = 0;
        struck_ = seen.received;
    }
    learn_period(seen, after);
    if (guessed_) {
        leaky_ = true;
        after = wait + (limit_ - 1) * interval_;
    }
    blocked_until_ = greater(blocked_until_, seen.received + wait);
    const Time end = seen.received + after + seen.unit;
    deadline_ = has_deadline_ && (told_ || leaky_) ? greater(deadline_, end) : end;
    spent_ = limit_;
    has_deadline_ = told_ = true;
    asking_ = false;
}

inline void SilentWindow::roll(Time now, Duration credit) noexcept {
    if (!has_deadline_ || now < deadline_ - credit) return;
    whole_ = told_ && !leaky_;
    asking_ = !told_ && !leaky_;
    if (!asking_) has_first_ = false; // a 429 to the trial request tells how long it really lasts
    spent_ = 0;
    has_deadline_ = false;
    rolled_ = now;
}

inline void SilentWindow::spend(Time sent, Time received, Duration credit) noexcept {
    roll(received, credit);
    ++spent_;
    if (leaky_) {
        deadline_ = (has_deadline_ ? greater(deadline_, received) : received) + each_;
    } else if (!has_deadline_) {
        deadline_ = received + period_ + std::chrono::milliseconds(1);
        first_sent_ = sent;
        has_first_ = true;
        told_ = false;
    }
    has_deadline_ = true;
}

inline void SilentWindow::succeed(Time sent, Time received, Duration credit) noexcept {
    spend(sent, received, credit);
    if (sent > struck_) ++since_refusal_;
    if (sent >= rolled_) asking_ = false;
}

inline std::int64_t SilentWindow::slots_missing(Time now, Duration credit) const noexcept {
    const std::int64_t interval = greater<std::int64_t>(1, interval_.count());
    const std::int64_t left = greater<std::int64_t>(0, (deadline_ - credit - now).count());
    return left / interval + (left % interval != 0 ? 1 : 0);
}

inline std::int64_t SilentWindow::available(Time now, std::int64_t out, Duration credit) noexcept {
    if (now < blocked_until_) return 0;
    roll(now, credit);
    if (leaky_ && has_deadline_) {
        const std::int64_t room = limit_ - slots_missing(now, credit);
        const std::int64_t trial = guessed_ ? since_refusal_ - trust_ + 1 : 0;
        return greater(room, trial) - out;
    }
    return (asking_ ? 1 : limit_ - spent_) - out;
}

inline Time SilentWindow::next_change(Time now, std::int64_t out, Duration credit) const noexcept {
    Time next = never;
    const auto consider = [&](Time at) {
        if (at > now) next = lesser(next, at);
    };
    consider(blocked_until_);
    if (!has_deadline_) return next;
    const Time due = deadline_ - credit;
    consider(due);
    if (leaky_ && out < limit_) consider(due - (limit_ - 1 - out) * interval_);
    return next;
}

inline std::optional<Time> SilentWindow::predict(Time now, std::int64_t out, std::int64_t held,
                                                 std::int64_t ahead,
                                                 Duration credit) const noexcept {
    const Time start = greater(now, blocked_until_);
    const std::int64_t wanted = ahead + 1;
    SilentWindow then = *this;
    const std::int64_t room = then.available(start, out, credit);
    if (wanted <= room) return start;
    if (wanted <= room + (out - held)) return std::nullopt; // what is in flight may not count
    if (!then.has_deadline_) {
        if (wanted <= limit_) return std::nullopt;
        return later(start, (wanted - 1) / limit_, period());
    }
    const Time due = deadline_ - credit;
    if (leaky_) return greater(start, later(due, wanted + held - limit_, interval_));
    const std::int64_t behind = wanted - greater<std::int64_t>(0, limit_ - spent_ - held);
    return greater(start, later(due, (behind - 1) / limit_, period()));
}

} // namespace sluice::core

#endif
