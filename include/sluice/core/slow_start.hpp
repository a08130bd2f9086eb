// SPDX-License-Identifier: MIT
//
// How requests begin again after a stop for all: a block of the token, of the address, an outage, a
// limit shared by many lanes. The end of such a stop is told, or guessed, as a time; how many may
// go then is unknown. So one goes first, and with each success one more may be in flight: twice as
// many with each round trip, as in TCP's slow start. Without it everything that was queued
// meanwhile leaves at once: 500 requests behind a block whose told end was ten times too short met
// 4,501 429s.
//
// A stop that proves too short grows: each refusal of a request sent after its end doubles the
// wait. Refusals of requests that were in flight together count as one.
//
// Invariant: opens() is never `never`. A request whose answer does not come holds up the others for
// at most `patience`.
#ifndef SLUICE_CORE_SLOW_START_HPP
#define SLUICE_CORE_SLOW_START_HPP

#include <sluice/core/time.hpp>

#include <chrono>
#include <cstdint>

namespace sluice::core {

class SlowStart {
public:
    /// With so many in flight at once, the slow start is over.
    static constexpr std::int64_t wide = 64;
    static constexpr Duration patience = std::chrono::seconds(10);
    static constexpr Duration longest = std::chrono::minutes(64);

    /// True if nothing is blocked: the fast path of nearly every request.
    [[nodiscard]] bool idle() const noexcept { return struck_ == Time::min(); }

    /// Returns a lower bound: nothing goes before, whatever is answered meanwhile; at least `now`.
    [[nodiscard]] Time closed_until(Time now) const noexcept {
        return idle() ? now : greater(now, until_);
    }
    /// Returns when the next request may go if no answer comes before; at least `now`.
    [[nodiscard]] Time opens(Time now) const noexcept {
        if (idle()) return now;
        if (now < until_) return until_;
        return in_flight_ < width_ ? now : greater(now, passed_ + patience);
    }

    /// Nothing goes before `until`.
    void close(Time now, Time until) noexcept {
        if (idle() || now >= until_) start(now);
        until_ = greater(until_, until);
    }
    /// Notes that a request was refused and told to wait so long, more than 0. Returns how long the
    /// wait has become: growth does not exceed `most`.
    Duration refuse(Time sent, Time now, Duration told, Duration most = longest) noexcept {
        if (idle() || sent >= until_) {
            if (refusals_ < most_refusals) ++refusals_;
            start(now);
        }
        Duration wait = refusals_ > 1 ? greater(told, least) : told;
        for (int doublings = refusals_; doublings > 1 && wait < most; --doublings)
            wait = lesser(2 * wait, greater(most, told));
        until_ = greater(until_, now + wait);
        return wait;
    }

    /// Notes that a request goes. Call it only when opens(now) == now.
    void pass(Time now) noexcept {
        if (idle()) return;
        if (in_flight_ >= width_) { // the answers are overdue
            in_flight_ = 0;
            counted_since_ = now;
        }
        ++in_flight_;
        passed_ = now;
    }
    /// Notes that a request that had passed was answered, lost or cancelled.
    void land(Time sent) noexcept {
        if (sent > struck_ && sent >= counted_since_ && in_flight_ > 0) --in_flight_;
    }
    /// Notes that the answer to a request sent then shows that nothing was blocked.
    void succeed(Time sent) noexcept {
        if (idle() || sent <= struck_) return;
        refusals_ = 0;
        if (++width_ < wide) return;
        struck_ = Time::min();
        until_ = Time::min();
    }

private:
    static constexpr int most_refusals = 40;
    /// A told wait that did not suffice grows from here, or it would take long to have an effect.
    static constexpr Duration least = std::chrono::milliseconds(500);

    void start(Time now) noexcept {
        struck_ = now;
        counted_since_ = now;
        in_flight_ = 0;
        width_ = 1;
    }

    Time struck_ = Time::min(); ///< last stop; what was sent before proves nothing more
    Time until_ = Time::min();
    Time passed_ = Time::min();        ///< when the last request went
    Time counted_since_ = Time::min(); ///< those in flight that went earlier are overdue
    std::int64_t in_flight_ = 0;
    std::int64_t width_ = 1;
    int refusals_ = 0; ///< in a row
};

} // namespace sluice::core

#endif
