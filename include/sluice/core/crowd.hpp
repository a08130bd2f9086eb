// SPDX-License-Identifier: MIT
//
// Lanes of one family of routes that wait for one limit: a 429 of scope `shared`, or of a limit
// that no header of theirs shows, told several of them the same end. How many may go then is
// unknown, so they begin with a slow start. Without it all of them leave at once, and all but a few
// are refused again.
#ifndef SLUICE_CORE_CROWD_HPP
#define SLUICE_CORE_CROWD_HPP

#include <sluice/core/fifo.hpp>
#include <sluice/core/lane.hpp>
#include <sluice/core/major.hpp>
#include <sluice/core/slow_start.hpp>
#include <sluice/core/time.hpp>

#include <chrono>

namespace sluice::core {

struct Crowd {
    /// Ends that lie closer together count as one: Retry-After has whole seconds.
    static constexpr Duration same_end = std::chrono::seconds(1);

    SlowStart start;
    Fifo<LaneKey> waiting;        ///< lanes whose end has come, in that order
    Time succeeded = Time::min(); ///< send time of the request that succeeded last

    /// Notes that a lane was told to wait until then. If others wait for the same end, they begin
    /// together.
    void add(const Major& major, Time now, Time end) noexcept {
        const bool same = end - same_end <= until_ && until_ <= end + same_end;
        if (!same) {
            until_ = end;
            first_ = major;
            if (start.idle()) {
                since_ = end;
            } else {
                start.close(now, now); // one at a time again, until another is told the same
            }
            return;
        }
        until_ = greater(until_, end);
        if (!start.idle() || !(major == first_)) start.close(now, until_);
    }
    /// True if a lane that a shared limit has blocked until then belongs to this crowd.
    [[nodiscard]] bool holds(Time blocked_until) const noexcept {
        return !start.idle() && blocked_until + same_end >= since_;
    }

private:
    Time since_ = Time::min(); ///< the first end that they were told
    Time until_ = Time::min(); ///< and the last one
    Major first_;              ///< of the lane that was told the last end first
};

} // namespace sluice::core

#endif
