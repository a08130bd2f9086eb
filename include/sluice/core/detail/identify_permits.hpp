// SPDX-License-Identifier: MIT
//
// IdentifySchedule: the end of outstanding permits. Included by core/identify_schedule.hpp only.
//
// An outstanding permit closes its key until it is sent, cancelled or dropped, at the latest until
// its deadline. Calls after the deadline still count: sent() closes the key again, and cancel()
// opens it, unless another identify of the key has gone since.
#ifndef SLUICE_CORE_DETAIL_IDENTIFY_PERMITS_HPP
#define SLUICE_CORE_DETAIL_IDENTIFY_PERMITS_HPP

#include <sluice/core/identify_schedule.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace sluice::core {

/// Ends one outstanding permit of the key. Returns the key.
inline IdentifySchedule::Key& IdentifySchedule::free_key(std::uint64_t shard, std::uint64_t turn,
                                                         Time ready) {
    auto& key = key_of(shard);
    untrack(key);
    --key.second.out;
    key.second.ready = std::max(key.second.ready, ready);
    track(key);
    out_.erase(turn);
    return key.second;
}

/// Counts an outstanding permit as sent at that moment.
inline void IdentifySchedule::spend(std::uint64_t shard, std::uint64_t turn, Time at) {
    const Time opened = key_of(shard).second.ready;
    Key& key = free_key(shard, turn, at + spacing());
    // After an update one key may have several permits; an answer to one proves nothing about the
    // others.
    key.decided_by = key.out == 0 && opened <= at ? turn : 0;
    day_.sent(at);
}

/// Counts overdue permits as sent at their deadline, even if this is called later.
inline void IdentifySchedule::expire(Time now) {
    while (!out_.empty() && out_.begin()->second.deadline <= now) {
        const auto [turn, out] = *out_.begin();
        ++counters_.expired;
        spend(out.shard, turn, out.deadline);
    }
}

/// The permit has counted since its deadline, and was sent only now. Its identify moves to this
/// moment if no other of its key has gone since; otherwise it is counted twice, which costs little.
inline void IdentifySchedule::sent_late(const IdentifyPlace& place, Time now) {
    auto& key = key_of(place.shard);
    untrack(key);
    if (key.second.decided_by == place.turn) {
        day_.take_back(key.second.ready - spacing());
    } else {
        key.second.decided_by = 0;
    }
    key.second.ready = std::max(key.second.ready, now + spacing());
    track(key);
    day_.sent(now);
}

/// The permit has counted since its deadline, and will not be sent. It stays counted once another
/// of its key has gone.
inline void IdentifySchedule::cancel_late(const IdentifyPlace& place, Time now) {
    auto& key = key_of(place.shard);
    if (key.second.decided_by != place.turn) return;
    untrack(key);
    day_.take_back(key.second.ready - spacing());
    key.second.ready = std::min(key.second.ready, now);
    key.second.decided_by = 0;
    track(key);
}

inline void IdentifySchedule::sent(IdentifyPlace& place, Time now) {
    if (!std::exchange(place.taken, false)) return;
    expire(now);
    if (is_out(place)) {
        spend(place.shard, place.turn, now);
    } else {
        sent_late(place, now);
    }
    ++counters_.sent;
    advance(now);
}

inline void IdentifySchedule::dropped(IdentifyPlace& place, Time now) {
    expire(now);
    if (is_out(place)) return sent(place, now);
    place.taken = false;
    advance(now);
}

inline void IdentifySchedule::answered(IdentifyPlace& place, Time now) {
    sent(place, now);
    expire(now);
    auto& key = key_of(place.shard);
    if (place.turn != 0 && place.turn == key.second.decided_by) {
        untrack(key);
        key.second.ready = std::min(key.second.ready, now + settings_.interval);
        track(key);
        ++counters_.answered;
    }
    place.turn = 0;
    advance(now);
}

inline void IdentifySchedule::cancel(IdentifyPlace& place, Time now) {
    if (!std::exchange(place.taken, false)) return;
    expire(now);
    if (is_out(place)) {
        free_key(place.shard, place.turn, Time::min());
    } else {
        cancel_late(place, now);
    }
    ++counters_.cancelled;
    advance(now);
}

} // namespace sluice::core

#endif
