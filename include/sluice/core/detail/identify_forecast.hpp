// SPDX-License-Identifier: MIT
//
// IdentifySchedule: when a shard would get its permit. Included by core/identify_schedule.hpp only.
//
// The forecast runs a copy of the schedule ahead until the shard gets its permit. It so uses the
// same decisions as the schedule itself, which is not changed. When an outstanding permit will be
// sent is unknown, so the latest moment is assumed; later permits are assumed to be sent at once,
// as they should be.
#ifndef SLUICE_CORE_DETAIL_IDENTIFY_FORECAST_HPP
#define SLUICE_CORE_DETAIL_IDENTIFY_FORECAST_HPP

#include <sluice/core/identify_schedule.hpp>

#include <cstdint>
#include <deque>

namespace sluice::core {

/// Copies `other`, to run ahead of it. `waiters` receives copies of its waiters.
inline IdentifySchedule::IdentifySchedule(const IdentifySchedule& other,
                                          std::deque<IdentifyWaiter>& waiters)
    : settings_(other.settings_),
      day_(other.day_),
      max_concurrency_(other.max_concurrency_),
      out_(other.out_),
      all_ready_(other.all_ready_),
      turns_(other.turns_),
      arrivals_(other.arrivals_),
      queued_(other.queued_),
      reserve_queued_(other.reserve_queued_) {
    for (const auto& [id, key] : other.keys_) {
        auto& mine = *keys_.try_emplace(keys_.end(), id);
        mine.second.ready = key.ready;
        mine.second.out = key.out;
        for (const IdentifyWaiterList* list : {&key.waiting, &key.reserve_waiting}) {
            for (const IdentifyWaiter& waiter : *list) {
                IdentifyWaiter& copy = waiters.emplace_back();
                copy.place = waiter.place;
                copy.arrival = waiter.arrival;
                copy.bound = waiter.bound;
                copy.use_reserve = waiter.use_reserve;
                copy.state = waiter.state;
                mine.second.push_back(copy);
                if (copy.bound != never) bounded_.emplace(copy.bound, &copy);
            }
        }
        track(mine);
    }
}

/// Marks all permits granted so far as sent.
inline void IdentifySchedule::send_all(Time now) {
    for (IdentifyWaiterList finished; finished.splice(take_finished()), !finished.empty();) {
        IdentifyWaiter& waiter = finished.front();
        finished.pop_front();
        sent(waiter.place, now);
    }
}

inline Time IdentifySchedule::forecast(std::uint64_t shard, bool use_reserve, Time now) const {
    std::deque<IdentifyWaiter> waiters;
    IdentifySchedule ahead(*this, waiters);
    ahead.advance(now);
    ahead.send_all(now);
    IdentifyWaiter& mine = waiters.emplace_back();
    mine.place.shard = shard;
    mine.use_reserve = use_reserve;
    ahead.enqueue(mine, now);
    // Each step grants, refuses or ends an entry, so the number of steps is bounded.
    for (Time at = now; mine.state == IdentifyState::queued;) {
        at = ahead.next_wake();
        if (at > now + longest_setting) return never;
        ahead.advance(at);
        if (mine.state != IdentifyState::queued) return at;
        ahead.send_all(at);
    }
    return now;
}

} // namespace sluice::core

#endif
