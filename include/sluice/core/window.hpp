// SPDX-License-Identifier: MIT
//
// What a client can know of one counter at Discord: how many requests may go now, and when to look
// again. Pure arithmetic on (state, now, answer); no clock, no waiting.
//
// It rests on three facts that hold for fixed windows, GCRA and sliding logs alike:
//   1. at the time X-RateLimit-Reset names, the whole limit is back;
//   2. `remaining` was exact when the server looked, and only our own requests have changed it
//   since;
//   3. the server looked after the request was sent and before its answer came.
// From 3: the window ends, in client time, within [sent + A - unit, received + A + unit] for a
// Reset-After of A. A request sent at received + A - (forward + backward delay) arrives after the
// end; `credit` is the part of that round trip which is known to be safe (latency.hpp). It is taken
// off when a decision is made, not when the answer came: by then the slower answers of the same
// burst have told how steady the path is.
//
// Invariant: told < limit implies a deadline. So a queue in front of this window always has a
// request in flight or a moment, strictly in the future, at which it is looked at again.
#ifndef SLUICE_CORE_WINDOW_HPP
#define SLUICE_CORE_WINDOW_HPP

#include <sluice/core/drip.hpp>
#include <sluice/core/non_negative.hpp>
#include <sluice/core/time.hpp>

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <limits>
#include <optional>

namespace sluice::core {

/// What one answer says about the counter that it was decided on. Absent fields were absent or
/// unusable.
struct Observation {
    Time sent{};     ///< when the ticket was issued
    Time received{}; ///< when the answer was handed over
    NonNegative<std::int64_t> limit;
    NonNegative<std::int64_t> remaining;
    NonNegative<Duration> reset;       ///< server wall clock; orders windows, times nothing
    NonNegative<Duration> reset_after; ///< relative to the moment the server looked
    Duration unit = std::chrono::milliseconds(1); ///< one unit of reset_after's last digit
};

class Window {
public:
    /// The period of a bucket while no answer has named one.
    static constexpr Duration default_period = std::chrono::seconds(1);
    /// API nodes' clocks differ: two Resets that lie closer together name one window.
    static constexpr Duration reset_tolerance = std::chrono::milliseconds(50);
    /// How much the clocks of two nodes differ in a healthy fleet. A Reset that rises by less may
    /// not have risen at all.
    static constexpr Duration clock_difference = std::chrono::milliseconds(20);
    /// Two Resets of the same end differ by rounding alone, which is at most this.
    static constexpr Duration reset_rounding = std::chrono::milliseconds(1);
    /// So many Resets in a row that name one end show that all nodes' clocks agree; two may do so
    /// by chance. After a disagreement it takes many more.
    static constexpr std::int8_t clocks_agree = 4;
    static constexpr std::int8_t clocks_differ = -100;
    /// The clocks differ by more than clock_difference, so no Reset tells how far another has
    /// risen.
    static constexpr std::int8_t clocks_stray = -128;

    /// API nodes' clocks differ, and so does the time left until one and the same Reset.
    static constexpr Duration doubt_of_slides = std::chrono::milliseconds(100);
    /// No log is kept of a larger limit.
    static constexpr std::int16_t longest_log = 1'024;
    /// What is known of whether the bucket is a sliding log: each request comes back by itself, a
    /// period after it was spent.
    enum class Slides : std::int8_t {
        unknown,
        may,   ///< its end moves, as that of a leaky bucket does
        seems, ///< not leaky, but each request may keep all others spent for another period
        proven,
        refuted ///< it seemed so, and then refused a request whose slot would have been back
    };

    /// What a window leaves behind that is over, with nothing in flight: all that holds for any
    /// window after it.
    struct Remains {
        [[no_unique_address]] DripDetector::Bounds drip;
        std::int8_t agreement = 0;
        Slides slides = Slides::unknown;
        bool answered = false;
        bool narrowed = false;
        bool counts_late = false;
        /// While no limit is known: how many may be in flight. Otherwise that of a full window.
        std::int32_t told = 0;
        std::int32_t limit = 0;
        Duration period{0};
    };
    /// The state of a window that is still open, relative to some moment.
    struct Saved {
        Remains remains;
        std::int64_t left = 0;         ///< told()
        NonNegative<Duration> full_in; ///< until deadline(); absent while nothing is spent
        Duration blocked_for{0};
    };
    [[nodiscard]] Remains remains() const noexcept {
        const Count full = known() ? std::max(1, limit_) : told_;
        return {drip_.bounds(), agreement_, slides_, answered_, narrowed_,
                counts_late_,   full,       limit_,  period_};
    }

    Window() = default;
    /// `over`: by then the window was over, and all requests sent before were answered.
    Window(const Remains& before, Time over) noexcept
        : told_(before.told),
          limit_(before.limit),
          slides_(before.slides),
          rolled_(known() ? over : Time::min()),
          period_(before.period),
          drip_(before.drip),
          agreement_(before.agreement),
          answered_(before.answered),
          narrowed_(before.narrowed),
          counts_late_(before.counts_late) {}

    /// The state of `saved` at `then`, without which answers it has seen: the next answer is
    /// believed.
    Window(const Saved& saved, Time then) noexcept;
    [[nodiscard]] Saved save(Time now) const noexcept;

    /// True if an answer with rate-limit headers has been seen.
    [[nodiscard]] bool known() const noexcept { return limit_ > 0; }
    /// True if any request has been accepted. Until then a single probe is in flight, and a refused
    /// probe is repeated as a probe.
    [[nodiscard]] bool answered() const noexcept { return answered_ || known(); }
    [[nodiscard]] bool drips() const noexcept { return drip_.drips(); }
    /// Returns a lower bound of the time between two slots; 0 while unknown.
    [[nodiscard]] Duration interval() const noexcept { return drip_.interval(); }
    [[nodiscard]] bool counts_late() const noexcept { return counts_late_; }
    /// True if a log of the answers may be of use; see sliding_log.hpp.
    [[nodiscard]] bool may_slide() const noexcept {
        return slides_ >= Slides::may && slides_ <= Slides::proven && !drip_.drips();
    }
    [[nodiscard]] bool slides() const noexcept { return may_slide() && slides_ != Slides::may; }
    /// True once the sliding log is confirmed. If it is only suspected, send one trial request
    /// first.
    [[nodiscard]] bool surely_slides() const noexcept {
        return slides_ == Slides::proven && may_slide();
    }
    /// Call before accept(), for each answer received later than soon_begun(). Returns true if
    /// Reset-After still spans a whole period, which suggests a sliding log: then
    /// look_for_sliding() has to see the answer. That is rare. Also counts the answer as late.
    [[nodiscard]] bool repeats_period(const Observation& seen) noexcept {
        note_late();
        return names_period(seen);
    }
    /// Call after accept(): notes if the answer has ruled out a leaky bucket.
    void rule_out_drips() noexcept {
        if (slides_ == Slides::may && !drip_.may_drip()) slides_ = Slides::seems;
    }
    /// Looks for a sliding log in one answer. `decided_last`: the server decided it after all that
    /// were answered before.
    void look_for_sliding(const Observation& seen, bool decided_last) noexcept;
    /// Returns an upper bound of how many spent requests were answered later than soon_begun().
    [[nodiscard]] std::int64_t late() const noexcept { return late_; }
    [[nodiscard]] Time soon_begun() const noexcept { return begun_ + doubt_of_slides; }
    void note_late() noexcept {
        if (late_ < longest_log) ++late_;
    }
    [[nodiscard]] std::int64_t limit() const noexcept { return limit_; }
    [[nodiscard]] std::int64_t told() const noexcept { return greater(0, told_ - silent_); }
    [[nodiscard]] Duration period() const noexcept {
        return period_ > Duration(0) ? period_ : default_period;
    }
    /// Returns when all that was spent at `since` is back, whatever the algorithm: a Reset-After is
    /// at least the time that one slot of a leaky bucket takes.
    [[nodiscard]] Time surely_full(Time since) const noexcept {
        return drip_.drips() ? since + period() : later(since, limit_, period());
    }
    /// Returns when the bucket is full again, in client time without credit; nothing if nothing is
    /// known to be spent.
    [[nodiscard]] std::optional<Time> deadline() const noexcept {
        return has_deadline_ ? std::optional(deadline_) : std::nullopt;
    }
    /// True if nothing that this client sent is known to be spent in the window of a request sent
    /// then.
    [[nodiscard]] bool untouched(Time sent) const noexcept {
        return !has_deadline_ && sent >= rolled_;
    }
    [[nodiscard]] Time blocked_until() const noexcept { return blocked_until_; }
    /// True if something is known to be spent. Then accept() has no use for the credit where the
    /// answer names an end.
    [[nodiscard]] bool spent() const noexcept { return has_deadline_; }
    /// True if available() is the same for every credit up to `most`.
    [[nodiscard]] bool indifferent(Time now, Duration most) const noexcept {
        return !has_deadline_ || now >= deadline_ || (now < deadline_ - most && !drip_.drips());
    }

    /// True if one more request certainly may go while `out` places are taken, and no end of a
    /// window is so near that the credit, which is at most `most`, decides. False proves nothing.
    /// Rolls the window if it is over.
    [[nodiscard]] bool surely_admits(Time now, std::int64_t out, Duration most) noexcept {
        if (now < blocked_until_ || !indifferent(now, most)) return false;
        roll(now, Duration(0));
        return told() > out;
    }

    /// Returns how many requests may go at `now` while `out` places are taken; may be negative.
    /// Rolls the window if it is over.
    [[nodiscard]] std::int64_t available(Time now, std::int64_t out, Duration credit) noexcept;

    /// Returns the next moment after `now` at which available() can rise without an answer, or
    /// `never`. It solves the comparison that available() makes, so waking then is neither early
    /// nor late.
    [[nodiscard]] Time next_change(Time now, std::int64_t out, Duration credit) const noexcept;

    /// Predicts the earliest time for one request behind `ahead` others. Returns nothing if that
    /// may be now but depends on an answer still in flight. Of the `out` places taken, `held` come
    /// back by time alone.
    [[nodiscard]] std::optional<Time> predict(Time now, std::int64_t out, std::int64_t held,
                                              std::int64_t ahead, Duration credit) const noexcept;

    /// Applies the answer to an accepted request that has at least one rate-limit header. Returns
    /// false if the answer names an earlier end than this window's and was not believed, though its
    /// request was sent after this window had begun.
    bool accept(const Observation& seen, Duration credit) noexcept;
    /// Applies an answer that was not believed because it is of another counter: its `remaining`
    /// has to hold for both.
    void hold_to(const Observation& seen) noexcept {
        if (seen.remaining) told_ = lesser(told_, count_of(*seen.remaining));
    }

    /// Applies a refusal because this counter is spent. `wait` is what the refusal told. Returns
    /// false if it is about a window that is over: then only that request has to wait.
    bool refuse(const Observation& seen, Duration wait, Duration credit) noexcept;

    /// Applies the answer to an accepted request that says nothing about limits. While no limit is
    /// known, up to `width` requests may be in flight.
    void accept_silent(Time received, std::int64_t width, Duration credit) noexcept;

    /// Begins a slow start after a refusal without headers: one request in flight, doubling with
    /// each success. No effect if the limit is known.
    void narrow() noexcept;

    /// Call when answers of another counter have been taken for this one's. The lowest allowance
    /// and the latest end that they named hold until that end, and the true end may lie anywhere.
    void distrust() noexcept {
        drip_ = DripDetector();
        has_window_ = has_deadline_;
        low_ = Time::min();
        high_ = Time::max();
        has_reset_ = false;
        agreement_ = 0;
        slides_ = Slides::unknown;
        if (has_deadline_) deadline_ = std::max(deadline_, latest_);
    }

    /// After distrust(): the next answer is of this counter, and its request was sent when all
    /// others had been answered.
    void trust_next() noexcept { has_window_ = false; }

    void block_until(Time until) noexcept { blocked_until_ = std::max(blocked_until_, until); }

private:
    /// Small, because there are as many windows as buckets; counts beyond this have no meaning.
    using Count = std::int32_t;
    [[nodiscard]] static constexpr Count count_of(std::int64_t number) noexcept {
        constexpr std::int64_t most = std::numeric_limits<Count>::max();
        return static_cast<Count>(std::clamp<std::int64_t>(number, 0, most));
    }

    enum class Era { old, same, moved, later };
    struct Interval {
        Time low;
        Time high;
    };

    void roll(Time now, Duration credit) noexcept;
    void start_afresh(std::int64_t limit, Time sent) noexcept;
    [[nodiscard]] bool learn_limit(const Observation& seen) noexcept;
    void note_silent(Time received) noexcept;
    [[nodiscard]] Count left_after(const Observation& seen) noexcept;
    void accept_endless(const Observation& seen, Count remaining, Duration credit) noexcept;
    [[nodiscard]] Era era_of(const Observation& seen, Interval end) const noexcept;
    /// Never less than clock_difference.
    [[nodiscard]] Duration tolerance() const noexcept;
    [[nodiscard]] static bool within(Duration number, Duration most) noexcept {
        return number <= most && number >= -most;
    }
    void adopt(const Observation& seen, Interval end, Count remaining) noexcept;
    void merge(const Observation& seen, Interval end, Count remaining, bool moved,
               Duration credit) noexcept;
    void place_deadline(const Observation& seen, Interval end) noexcept;
    void compare_clocks(Duration apart) noexcept {
        if (!within(apart, reset_rounding)) {
            agreement_ = std::min(agreement_, clocks_differ);
        } else if (agreement_ < clocks_agree) {
            ++agreement_;
        }
    }
    [[nodiscard]] bool names_period(const Observation& seen) const noexcept {
        return seen.reset_after &&
               *seen.reset_after + doubt_of_slides / 2 + 2 * seen.unit >= period_;
    }
    void set_deadline(Time deadline) noexcept;
    [[nodiscard]] std::int64_t slots_missing(Time now, Duration credit) const noexcept;
    void learn_period(Duration reset_after) noexcept;
    void check() const noexcept { assert(!known() || told() >= limit_ || has_deadline_); }

    // told_: the lowest `remaining` of this window; while no limit is known, how many may be in
    // flight.
    Count told_ = 1;
    Count limit_ = 0;  // 0: unknown
    Count silent_ = 0; // successes without `remaining`, which told_ may not include yet
    // At most so many answers came later than soon_begun(), up to longest_log.
    std::int16_t late_ = 0;
    Slides slides_ = Slides::unknown;
    Time silent_at_{};       // when the last of silent_ was received
    Time deadline_{};        // without credit
    Time latest_{};          // the greatest end that an answer of this window named
    Time low_ = Time::min(); // the window's end lies in [low_, high_]
    Time high_ = Time::max();
    Duration reset_{0}; // the latest Reset of this window, server time
    Duration sharp_{0}; // the lowest end less Reset of any answer of this window
    Time rolled_ = Time::min();
    Time begun_{};                  // this window had begun by then; all earlier ones were over
    Time limit_sent_ = Time::min(); // send time of the request whose answer set limit_
    Time blocked_until_ = Time::min();
    Duration period_{0};
    [[no_unique_address]] DripDetector drip_; // the flags below fill up its last word
    std::int8_t agreement_ = 0; // Resets in a row that named one end; up to clocks_agree
    bool has_deadline_ = false;
    bool has_window_ = false;
    bool has_reset_ = false;
    bool answered_ = false;
    bool narrowed_ = false;    // refused while no limit was known: slow start
    bool counts_late_ = false; // the server reports before it counts: remaining is one too high
};

inline Window::Window(const Saved& saved, Time then) noexcept : Window(saved.remains, then) {
    if (saved.blocked_for > Duration(0)) blocked_until_ = then + saved.blocked_for;
    if (!known() || saved.left >= limit_) return;
    told_ = count_of(saved.left);
    rolled_ = Time::min();
    latest_ = then + saved.full_in.value_or(period());
    set_deadline(latest_);
}

inline Window::Saved Window::save(Time now) const noexcept {
    Saved saved{remains(), told(), {}, greater(Duration(0), greater(blocked_until_, now) - now)};
    if (has_deadline_) saved.full_in = greater(Duration(0), std::max(deadline_, latest_) - now);
    return saved;
}

inline void Window::roll(Time now, Duration credit) noexcept {
    if (!has_deadline_ || now < deadline_ - credit) return;
    told_ = std::max(1, limit_);
    silent_ = 0;
    has_deadline_ = false;
    rolled_ = now;
}

inline std::int64_t Window::slots_missing(Time now, Duration credit) const noexcept {
    const auto interval = std::max<std::int64_t>(1, drip_.interval().count());
    const auto left = std::max<std::int64_t>(0, (deadline_ - credit - now).count());
    return left / interval + (left % interval != 0 ? 1 : 0);
}

inline std::int64_t Window::available(Time now, std::int64_t out, Duration credit) noexcept {
    if (now < blocked_until_) return 0;
    roll(now, credit);
    if (drip_.drips() && has_deadline_) return limit_ - slots_missing(now, credit) - out;
    return told() - out;
}

inline Time Window::next_change(Time now, std::int64_t out, Duration credit) const noexcept {
    Time next = never;
    const auto consider = [&](Time at) {
        if (at > now) next = std::min(next, at);
    };
    consider(blocked_until_);
    if (has_deadline_) {
        const Time due = deadline_ - credit;
        consider(due);
        if (drip_.drips() && out < limit_) consider(due - (limit_ - 1 - out) * drip_.interval());
    }
    return next;
}

inline std::optional<Time> Window::predict(Time now, std::int64_t out, std::int64_t held,
                                           std::int64_t ahead, Duration credit) const noexcept {
    const Time start = std::max(now, blocked_until_);
    const std::int64_t wanted = ahead + 1;
    Window then = *this;
    const std::int64_t room = then.available(start, out, credit);
    if (wanted <= room) return start;
    // What is in flight may have been counted already, or not at all.
    if (wanted <= room + (out - held)) return std::nullopt;
    if (!then.has_deadline_) {
        // Full, or unknown: what is missing is in flight. Requests behind a full window's worth
        // wait for windows that have not begun yet.
        if (!known() || wanted <= then.told()) return std::nullopt;
        return later(start, (wanted + held - 1) / limit_, period());
    }
    if (drip_.drips()) {
        return std::max(start, later(deadline_ - credit, wanted + held - limit_, drip_.interval()));
    }
    const std::int64_t behind = wanted - std::max<std::int64_t>(0, told() - held);
    return std::max(start, later(deadline_ - credit, (behind - 1) / limit_, period()));
}

} // namespace sluice::core

#include <sluice/core/detail/window_answers.hpp>

#endif
