// SPDX-License-Identifier: MIT
//
// SendSchedule: when an event could be sent. Included by core/send_schedule.hpp only.
//
// As for identifies, a copy of the schedule is run ahead. New permissions are assumed to be used at
// once. Outstanding permissions keep their slots, because it is unknown when they will be used.
#ifndef SLUICE_CORE_DETAIL_SEND_FORECAST_HPP
#define SLUICE_CORE_DETAIL_SEND_FORECAST_HPP

#include <sluice/core/send_schedule.hpp>

#include <deque>

namespace sluice::core {

/// Copies `other`, to run ahead of it. `waiters` receives copies of its waiters.
inline SendSchedule::SendSchedule(const SendSchedule& other, std::deque<SendWaiter>& waiters,
                                  Time now)
    : settings_(other.settings_),
      lists_(other.lists_->copy_for(this)),
      others_(other.others_),
      beats_(other.beats_),
      presence_(other.presence_),
      heartbeat_room_(other.heartbeat_room_),
      held_back_(other.held_back_),
      arrivals_(other.arrivals_),
      queued_(other.queued_),
      refused_(other.refused_) {
    for (const auto& [key, lane] : other.lanes_) {
        SendLane& mine = lanes_[key];
        mine.key = key;
        mine.kind = lane.kind;
        mine.blocked_until = lane.blocked_until;
        for (const SendWaiter& waiter : lane.waiting) {
            SendWaiter& copy = waiters.emplace_back();
            copy.place = waiter.place;
            copy.arrival = waiter.arrival;
            copy.state = waiter.state;
            mine.waiting.push_back(copy);
        }
    }
    for (auto at = lanes_.begin(); at != lanes_.end();)
        reconsider((at++)->second, now); // may delete the lane
}

/// Marks all permissions issued so far as used.
inline void SendSchedule::send_all(Time now) {
    for (SendWaiterList finished; finished.splice(take_finished()), !finished.empty();) {
        SendWaiter& waiter = finished.front();
        finished.pop_front();
        sent(waiter.place, now);
    }
}

inline Time SendSchedule::forecast(const SendRequest& request, Time now) const {
    std::deque<SendWaiter> waiters;
    SendSchedule ahead(*this, waiters, now);
    ahead.advance(now);
    ahead.send_all(now);
    SendWaiter& mine = waiters.emplace_back();
    mine.place.request = request;
    ahead.enqueue(mine, now);
    // Each step grants an event or releases a slot, so the number of steps is bounded.
    for (Time at = now; mine.state == SendState::queued;) {
        at = ahead.next_wake();
        if (at > now + longest_setting) return never;
        ahead.advance(at);
        if (mine.state != SendState::queued) return at;
        ahead.send_all(at);
    }
    return now;
}

} // namespace sluice::core

#endif
