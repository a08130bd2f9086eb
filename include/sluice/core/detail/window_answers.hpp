// SPDX-License-Identifier: MIT
//
// Window, second half: which window an answer belongs to, and what it changes. Included by
// core/window.hpp only.
#ifndef SLUICE_CORE_DETAIL_WINDOW_ANSWERS_HPP
#define SLUICE_CORE_DETAIL_WINDOW_ANSWERS_HPP

#include <sluice/core/window.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace sluice::core {

[[gnu::noinline]] inline void Window::start_afresh(std::int64_t limit, Time sent) noexcept {
    limit_ = count_of(limit);
    limit_sent_ = sent;
    told_ = limit_;
    silent_ = 0;
    has_deadline_ = has_window_ = has_reset_ = false;
    agreement_ = 0;
    slides_ = Slides::unknown;
    low_ = Time::min();
    high_ = Time::max();
    period_ = Duration(0);
    drip_ = DripDetector();
}

inline Duration Window::tolerance() const noexcept {
    const Duration half = drip_.interval() / 2;
    if (half == Duration(0)) return reset_tolerance;
    return std::clamp(half, clock_difference, reset_tolerance);
}

inline Window::Era Window::era_of(const Observation& seen, Interval end) const noexcept {
    if (!has_window_) return Era::later;
    Era era = Era::same;
    if (end.low > high_) {
        era = Era::later;
    } else if (end.high < low_) {
        era = Era::old;
    } else if (seen.reset && has_reset_) {
        const Duration later = *seen.reset - reset_;
        if (within(later, clock_difference)) [[likely]]
            return Era::same;
        if (later > tolerance()) era = Era::later;
        if (later < -tolerance()) era = Era::old;
    }
    if (era == Era::same) return era;
    // Sent after the last roll, so it was decided in this window, however far behind the node's
    // clock is. The first such answer opens the window.
    if (era == Era::old && seen.sent >= rolled_ && rolled_ != Time::min()) {
        return has_deadline_ ? Era::same : Era::later;
    }
    // No earlier window lasts that long: an earlier Reset with so late an end comes from a node's
    // clock. Without this, 826 of 1,000 first windows between two nodes 60 ms apart were overdrawn.
    if (era == Era::old && end.high >= low_ && end.low > begun_) return Era::same;
    // No window ends before low_: a later Reset received before it is this window with its end
    // moved.
    if (era == Era::later && !drip_.drips() && seen.received < low_) return Era::moved;
    return era;
}

inline void Window::set_deadline(Time deadline) noexcept {
    deadline_ = deadline;
    has_deadline_ = true;
}

inline void Window::adopt(const Observation& seen, Interval end, Count remaining) noexcept {
    told_ = remaining;
    if (!seen.remaining) note_silent(seen.received);
    // The window before was not seen to end, and some requests sent since the last roll may belong
    // to it. Where clocks agree, their Resets tell them apart.
    if (has_deadline_ && agreement_ >= clocks_agree) rolled_ = Time::min();
    const bool keep_later = drip_.drips() && has_deadline_;
    latest_ = keep_later ? std::max(deadline_, end.high) : end.high;
    low_ = end.low;
    high_ = end.high;
    begun_ = seen.received;
    late_ = 0;
    has_window_ = true;
    has_reset_ = false;
    place_deadline(seen, end);
}

/// Places the deadline. Each answer of a window gives an end, and each end is safe as long as it
/// does not move. That of a sliding log moves with every request, and only Reset shows by how much.
/// So the deadline is the end of the sharpest answer, plus what Reset has risen by since, plus what
/// the clocks may differ by unless they are known to agree. It is never later than the latest end
/// that was named. That end alone is used where two answers prove that the clocks differ by more.
inline void Window::place_deadline(const Observation& seen, Interval end) noexcept {
    latest_ = greater(latest_, end.high);
    if (seen.reset) {
        if (has_reset_) compare_clocks(*seen.reset - reset_);
        reset_ = has_reset_ ? greater(reset_, *seen.reset) : *seen.reset;
        const Duration sharp = end.high.time_since_epoch() - *seen.reset;
        sharp_ = has_reset_ ? lesser(sharp_, sharp) : sharp;
        has_reset_ = true;
        const Duration blunt = end.low.time_since_epoch() - *seen.reset; // sharp cannot be less
        if (blunt > sharp_ + clock_difference) agreement_ = clocks_stray;
    }
    const bool tells = has_reset_ && seen.reset && !drip_.drips() && agreement_ >= clocks_differ;
    const Duration doubt = agreement_ < clocks_agree ? clock_difference : Duration(0);
    const Time placed = tells ? Time(sharp_ + reset_ + doubt) : latest_;
    set_deadline(lesser(placed, latest_));
}

inline void Window::merge(const Observation& seen, Interval end, Count remaining, bool moved,
                          Duration credit) noexcept {
    // After the roll, an answer of the rolled window counts only if its own end is still ahead:
    // then the roll was early and is undone.
    if (has_deadline_ || end.high - credit > seen.received) {
        told_ = lesser(told_, remaining);
        if (!seen.remaining) [[unlikely]]
            note_silent(seen.received);
        place_deadline(seen, end);
    }
    // The answer is of an earlier window after all, or the end has moved since: it does not tell
    // where the end is.
    if (end.high < low_) [[unlikely]]
        return;
    low_ = greater(low_, end.low);
    high_ = greater(low_, moved ? end.high : lesser(high_, end.high));
}

/// Looks for signs of a sliding log. Within one window the Reset-After of a fixed window falls as
/// time passes, and that of a leaky bucket grows with what is spent. That of a sliding log is its
/// period each time. Also, its `remaining` grows before the end; that never happens in a counter
/// that each request keeps alive for another period.
[[gnu::noinline]] inline void Window::look_for_sliding(const Observation& seen,
                                                       bool decided_last) noexcept {
    const bool timed = seen.sent < seen.received; // otherwise its send time is unknown
    if (!has_window_ || limit_ > longest_log || slides_ == Slides::refuted || !timed) return;
    if (seen.reset_after && !names_period(seen)) slides_ = Slides::unknown;
    // From low_ on the answer may be of the next window.
    if (!seen.remaining || !names_period(seen) || seen.received >= low_) return;
    if (seen.sent > soon_begun() + 4 * seen.unit && slides_ == Slides::unknown) {
        slides_ = Slides::may;
    }
    const bool more_left = *seen.remaining - (counts_late_ ? 1 : 0) >= told_;
    if (slides_ == Slides::seems && decided_last && has_deadline_ && more_left) {
        slides_ = Slides::proven;
    }
}

inline void Window::learn_period(Duration reset_after) noexcept {
    period_ = greater(period_, drip_.drips() ? limit_ * drip_.interval() : reset_after);
}

/// Learns the limit from an answer. Returns false if the limit is still unknown and the answer says
/// nothing that counts.
[[gnu::noinline]] inline bool Window::learn_limit(const Observation& seen) noexcept {
    answered_ = true;
    if (seen.limit && *seen.limit > 0 && (!known() || seen.sent >= limit_sent_)) {
        start_afresh(*seen.limit, seen.sent);
    }
    if (known()) return true;
    // Numbers without a limit: assume the lowest limit that they allow.
    if (!seen.remaining && !seen.reset_after) return false;
    start_afresh(seen.remaining.value_or(0) + 1, seen.sent);
    return true;
}

/// A success without `remaining` still spent one slot. It is subtracted until an answer to a
/// request sent later includes it.
inline void Window::note_silent(Time received) noexcept {
    ++silent_;
    silent_at_ = received;
}

/// Returns what is left after this success, by its own `remaining` if it has one. Without that, the
/// callers note it as silent if it counts in this window: a success of a window that is over has
/// spent nothing in this one. Learns whether the server reports before it counts.
inline Window::Count Window::left_after(const Observation& seen) noexcept {
    if (!seen.remaining) [[unlikely]]
        return told_;
    if (silent_ != 0 && seen.sent >= silent_at_) [[unlikely]]
        silent_ = 0;
    const bool none_spent = *seen.remaining >= limit_;
    if (none_spent) counts_late_ = true;
    const Count told = none_spent ? limit_ : static_cast<Count>(*seen.remaining);
    return greater(0, told - (counts_late_ ? 1 : 0));
}

/// Applies an answer that names no end: what is spent is back after one period at the latest.
[[gnu::noinline]] inline void Window::accept_endless(const Observation& seen, Count remaining,
                                                     Duration credit) noexcept {
    note_late();
    roll(seen.received, credit);
    if (seen.remaining) {
        told_ = std::min(told_, remaining);
    } else {
        note_silent(seen.received);
    }
    if (!has_deadline_) set_deadline(seen.received + period());
    check();
}

inline bool Window::accept(const Observation& seen, Duration credit) noexcept {
    const bool news = limit_ == 0 || *seen.limit != limit_;
    if (news) [[unlikely]] {
        if (!learn_limit(seen)) return true;
    }
    const Count remaining = left_after(seen);
    if (!seen.reset_after) [[unlikely]] {
        accept_endless(seen, remaining, credit);
        return true;
    }
    const Duration after = *seen.reset_after;
    if (seen.remaining) {
        drip_.observe({seen.sent, seen.received, after, remaining}, limit_ - remaining, seen.unit);
    }
    const Interval end{seen.sent + after - seen.unit, seen.received + after + seen.unit};
    const Era era = era_of(seen, end);
    if (era == Era::same || era == Era::moved) [[likely]] {
        merge(seen, end, remaining, era == Era::moved, credit);
    } else if (era == Era::later) {
        adopt(seen, end, remaining);
    }
    learn_period(after);
    check();
    return era != Era::old || !has_deadline_ || seen.sent < begun_;
}

inline bool Window::refuse(const Observation& seen, Duration wait, Duration credit) noexcept {
    const Duration after = std::max(wait, seen.reset_after.value_or(Duration(0)));
    const Time until = seen.received + wait + seen.unit;
    const Time end = seen.received + after + seen.unit;
    if (has_window_ && end < low_) return false;
    if (slides()) slides_ = surely_slides() ? Slides::unknown : Slides::refuted;
    block_until(until);
    learn_period(after);
    narrow();
    if (known()) {
        roll(seen.received, credit);
        told_ = 0;
        set_deadline(has_deadline_ ? std::max(deadline_, end) : end);
        low_ = std::max(low_, seen.sent + wait - seen.unit);
        high_ = std::max(high_, end);
        has_window_ = true;
    }
    check();
    return true;
}

inline void Window::accept_silent(Time received, std::int64_t width, Duration credit) noexcept {
    if (!known()) {
        const bool earned = answered_ || narrowed_;
        told_ = count_of(earned ? std::min(std::int64_t{told_} * 2, width) : width);
        answered_ = true;
        return;
    }
    note_late();
    roll(received, credit);
    if (drip_.drips()) {
        // One more slot is missing from the full bucket, whichever request took it.
        const Time full = has_deadline_ ? std::max(deadline_, received) : received;
        latest_ = full + drip_.interval() + std::chrono::milliseconds(1);
        set_deadline(latest_);
    } else {
        note_silent(received);
        if (!has_deadline_) set_deadline(received + period());
    }
    check();
}

inline void Window::narrow() noexcept {
    if (known()) return;
    told_ = 1;
    narrowed_ = true;
}

} // namespace sluice::core

#endif
