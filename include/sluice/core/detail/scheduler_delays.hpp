// SPDX-License-Identifier: MIT
//
// Scheduler: requests that pause by themselves while others of their lane go on. Included by
// core/scheduler.hpp only.
#ifndef SLUICE_CORE_DETAIL_SCHEDULER_DELAYS_HPP
#define SLUICE_CORE_DETAIL_SCHEDULER_DELAYS_HPP

#include <sluice/core/scheduler.hpp>

#include <cstddef>
#include <vector>

namespace sluice::core {

/// Decides whether the request itself may be tried again, and how long it has to pause before that.
inline void Scheduler::judge(Place& place, const Lane& lane, const Answer& answer,
                             Time now) noexcept {
    if (answer.status == 429) return; // the wait is that of the bucket, the lane or all requests
    const bool unready = is_unready(answer);
    constexpr int locked = 423;
    const bool again = unready || did_not_run(answer.status) ||
                       (lane.traits.idempotent && may_have_run(answer.status)) ||
                       (lane.traits.merges && answer.status == locked);
    if (!again) {
        place.failures = 0;
        return;
    }
    pause(place, settings_.backoff, now);
    // 0 is "a short delay". A retry before the first pause would be in vain.
    const Duration told = unready ? *answer.retry_after : Duration(0);
    if (told >= in_range(settings_.backoff.first) && told > Duration(0))
        place.pause_until(now + told + settings_.retry_margin);
}

/// Puts a queued waiter into its lane, in order of arrival. serve() has to follow.
inline void Scheduler::enter(Waiter& waiter, Time now) {
    Lane& lane = *waiter.place.lane;
    waiter.place.sent = now; // until it is granted: since when it waits here
    const bool retry = lane.queued != 0 && waiter.place.arrival < lane.waiting.back().place.arrival;
    lane.waiting.insert(retry ? find_turn(lane, waiter) : lane.waiting.end(), waiter);
    ++lane.queued;
    if (lane.bucket->queued++ == 0) lane.bucket->quiet_since = now;
    if (bounds_.contains(waiter)) ++lane.bounded;
    registry_.set_waiting(*lane.bucket);
}

/// Moves waiters whose pause is over into their lanes, which are due at once. All of them enter
/// before any is granted, so they keep their order. Returns false if nothing is `left` of what one
/// call may do.
[[gnu::noinline]] inline bool Scheduler::enter_due(Time now, std::size_t& left) {
    for (; delayed_.least() <= due_; --left) {
        if (left == 0) {
            stop_here(now);
            return false;
        }
        Waiter& waiter = delayed_.top();
        delayed_.erase(waiter);
        enter(waiter, now);
        wakes_.set(*waiter.place.lane->bucket, due_);
    }
    return true;
}

/// Refuses the pausing waiters of such lanes together with all others that wait there, in order of
/// arrival. Returns how many.
template <class Which>
std::size_t Scheduler::refuse_delayed(Which which, Refused why, Time now) {
    std::vector<Waiter*> entering;
    each_delayed([&](Waiter& waiter) {
        if (which(*waiter.place.lane)) entering.push_back(&waiter);
    });
    for (Waiter* waiter : entering) {
        delayed_.erase(*waiter);
        enter(*waiter, now);
    }
    std::size_t refused = 0;
    for (const Waiter* waiter : entering) {
        refused += waiter->place.lane->queued;
        refuse_lane(*waiter->place.lane, why, now);
    }
    return refused;
}

} // namespace sluice::core

#endif
