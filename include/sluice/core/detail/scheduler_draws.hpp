// SPDX-License-Identifier: MIT
//
// Scheduler: lanes that draw on further buckets besides their own; see draw.hpp. Included by
// core/scheduler.hpp only.
#ifndef SLUICE_CORE_DETAIL_SCHEDULER_DRAWS_HPP
#define SLUICE_CORE_DETAIL_SCHEDULER_DRAWS_HPP

#include <sluice/core/scheduler.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

namespace sluice::core {

/// Calls visit(draw, its bit). A lane may have moved to a bucket that it draws on: such a draw has
/// no effect meanwhile.
template <class Visitor>
void Scheduler::each_draw(const Lane& lane, DrawMask mask, Visitor visit) {
    DrawMask bit = 1;
    for (Draw* draw = lane.draws.get(); draw != nullptr; draw = draw->next.get()) {
        if ((mask & bit) != 0) visit(*draw, bit);
        bit = static_cast<DrawMask>(bit << 1U);
    }
}

/// Finds the draw or makes it, and notes that it was shown. Returns null if the lane has as many as
/// it may.
[[gnu::noinline]] inline Draw* Scheduler::draw_on(Lane& lane, Bucket& bucket, bool hidden,
                                                  Time now) {
    int count = 0;
    std::unique_ptr<Draw>* end = &lane.draws;
    for (; *end; end = &(*end)->next, ++count) {
        if ((*end)->bucket == &bucket) break;
    }
    if (!*end) {
        if (count == Draw::most) return nullptr;
        auto made = std::make_unique<Draw>(lane, bucket, hidden);
        bucket.add_drawer(*made);
        *end = std::move(made);
    }
    Draw& draw = **end;
    draw.shown = now;
    draw.hidden = draw.hidden && hidden;
    return &draw;
}

inline const Draw* Scheduler::find_draw(const Lane& lane, const BucketKey& key) noexcept {
    const Draw* draw = lane.draws.get();
    while (draw != nullptr && draw->bucket->key != key)
        draw = draw->next.get();
    return draw;
}

/// Returns the room in a bucket. Probes of the same major parameter are not counted: they may turn
/// out to draw on another bucket, and nothing would then wake the lanes that wait here.
inline std::int64_t Scheduler::room_in(Bucket& bucket, Time now) {
    const std::int64_t room = bucket.available(now, bucket.out(now), credit_for(bucket, now));
    if (!bucket.in_doubt()) return room;
    return std::min<std::int64_t>(room, bucket.may_ask() ? 1 : 0);
}

inline bool Scheduler::has_room_in_all(const Lane& lane, Time now) {
    bool room = true;
    each_draw(lane, all_draws, [&](Draw& draw, DrawMask) {
        room = room && (draw.bucket == lane.bucket || room_in(*draw.bucket, now) > 0);
    });
    return room;
}

/// True if this lane, of another bucket, has an earlier request that waits for its turn only.
inline bool Scheduler::goes_before(Lane& lane, Time now, std::uint64_t arrival) {
    return lane.queued != 0 && lane.waiting.front().place.arrival < arrival &&
           lane_status(lane, now).may_go(now) && available(*lane.bucket, now) > 0 &&
           has_room_in_all(lane, now);
}

/// True if `bucket` has room for a request of `lane` and for all earlier requests of other buckets
/// that draw on it.
inline bool Scheduler::has_turn_in(Bucket& bucket, const Lane& lane, Time now,
                                   std::uint64_t arrival) {
    std::int64_t room = room_in(bucket, now);
    if (room <= 0) return false;
    const auto yield_to = [&](Lane& other) {
        if (other.bucket != lane.bucket && goes_before(other, now, arrival)) --room;
    };
    if (bucket.is_drawn()) {
        for (Draw& draw : bucket.drawers())
            yield_to(*draw.lane);
    }
    if (&bucket != lane.bucket) {
        for (Lane& other : bucket.lanes)
            yield_to(other);
    }
    return room > 0;
}

[[gnu::noinline]] inline bool Scheduler::draws_admit(const Lane& lane, Time now,
                                                     std::uint64_t arrival) {
    bool admit = !lane.bucket->is_drawn() || has_turn_in(*lane.bucket, lane, now, arrival);
    each_draw(lane, all_draws, [&](Draw& draw, DrawMask) {
        if (draw.bucket == lane.bucket) return;
        admit = admit && has_turn_in(*draw.bucket, lane, now, arrival);
    });
    return admit;
}

[[gnu::noinline]] inline void Scheduler::count_draws(Lane& lane, Place& place) noexcept {
    each_draw(lane, all_draws, [&](Draw& draw, DrawMask bit) {
        if (draw.bucket == lane.bucket) return;
        place.draws = static_cast<DrawMask>((place.draws | bit) & all_draws);
        ++draw.bucket->in_flight;
    });
}

[[gnu::noinline]] inline void Scheduler::uncount_draws(const Place& place) noexcept {
    each_draw(*place.lane, place.draws, [&](Draw& draw, DrawMask) {
        --draw.bucket->in_flight;
        draw.bucket->landed(place.sent);
    });
}

/// Counts a success that `counter` has described. A bucket that only 429s name counts it silently.
/// A bucket that some answers name was not spent by an answer that does not name it.
[[gnu::noinline]] inline void Scheduler::spend_draws(const Lane& lane, const Bucket& counter,
                                                     const Answer& answer, Time now) {
    each_draw(lane, answer.draws, [&](Draw& draw, DrawMask) {
        if (!draw.hidden || draw.bucket == &counter) return;
        draw.bucket->accept_hidden(answer.seen, credit(now));
        draw.bucket->settle_lost(answer.seen.sent, now);
    });
}

[[gnu::noinline]] inline void Scheduler::lose_draws(const Lane& lane, DrawMask mask, Time now) {
    each_draw(lane, mask, [&](Draw& draw, DrawMask) { draw.bucket->lose_drawn(now, credit(now)); });
}

/// Returns the bucket that a refusal names besides the lane's own, or null. If the refusal tells a
/// limit, it is learned, and the lane draws on that bucket from now on.
inline Bucket* Scheduler::refused_by(Lane& lane, const Answer& answer, Time now) {
    const bool tells = answer.seen.limit.value_or(0) > 0;
    const HashId hash = tells ? registry_.intern(answer.hash) : registry_.find_hash(answer.hash);
    if (hash == 0) return nullptr;
    const BucketKey key = registry_.key_of(hash, lane);
    if (!tells) return registry_.find_bucket(key);
    Bucket& named = registry_.bucket(key);
    if (&named != lane.bucket) draw_on(lane, named, true, now);
    return &named;
}

/// Returns the bucket that an answer names besides the lane's own, or null if it means the lane's
/// own or one that the lane moves to. An error answer may describe another limit than successes do,
/// and moves no lane. A lane whose successes come back to the hash that they have just left draws
/// on both.
[[gnu::noinline]] inline Bucket* Scheduler::named_beside(Lane& lane, HashId hash,
                                                         const Answer& answer, Time now) {
    constexpr int least_error = 400;
    const Bucket& own = *lane.bucket;
    if (!own.key.hash_known || own.key.name == hash) return nullptr;
    const BucketKey key = registry_.key_of(hash, lane);
    const bool error = answer.status >= least_error;
    const bool drawn = find_draw(lane, key) != nullptr;
    const bool left = lane.left_hash == hash && now - lane.left_at <= Draw::kept_for;
    const bool late = answer.seen.sent <= lane.hash_sent;
    if (!error && !drawn && !left) return nullptr;
    if (!drawn && left && late) return nullptr; // it was sent before the lane left
    // For long, only the other bucket has been shown.
    if (!error && drawn && answer.seen.sent > lane.hash_sent + Draw::kept_for) return nullptr;
    Bucket& named = registry_.bucket(key);
    draw_on(lane, named, false, now);
    return &named;
}

/// Serves lanes of other buckets that draw on this one. Call after a change in it.
[[gnu::noinline]] inline void Scheduler::serve_drawers(Bucket& bucket, Time now) {
    if (!bucket.is_drawn()) return;
    for (Draw& draw : bucket.drawers()) {
        Bucket& home = *draw.lane->bucket;
        if (&home != &bucket && home.queued != 0) serve(home, now);
    }
}

/// Serves the lanes that share buckets with this one. Call after a change in one request of this
/// lane. Drops stale draws while nothing of it is in flight.
[[gnu::noinline]] inline void Scheduler::serve_draws(Lane& lane, Time now) {
    each_draw(lane, all_draws, [&](Draw& draw, DrawMask) {
        if (draw.bucket->queued != 0) serve(*draw.bucket, now);
        serve_drawers(*draw.bucket, now);
    });
    if (lane.in_flight == 0) drop_stale_draws(lane, now);
}

/// Drops draws on limits that have refused nothing for long: they may be larger now, or gone. Then
/// as many requests as they let pass go again, then one at a time, and one more with each success.
inline void Scheduler::drop_stale_draws(Lane& lane, Time now) {
    for (std::unique_ptr<Draw>* at = &lane.draws; *at;) {
        const Draw& draw = **at;
        if (now - draw.shown <= Draw::kept_for) {
            at = &(*at)->next;
            continue;
        }
        const std::int64_t limit = draw.bucket->hidden_limit().value_or(0);
        if (draw.hidden && draw.bucket != lane.bucket && lane.narrow == 0) {
            constexpr std::int64_t most = std::numeric_limits<std::uint16_t>::max() - 1;
            lane.passed = static_cast<std::uint16_t>(std::min(limit, most));
            lane.narrow_down();
            lane.struck = now - Duration(1); // what is granted now counts
        }
        *at = std::move((*at)->next);
    }
}

/// Returns when to look again at a lane that has waiters, as far as draws block it.
[[gnu::noinline]] inline Time Scheduler::wake_of_draws(const Lane& lane, Time now) {
    const Time soon = now + 2 * longest_silence; // a fallback: answers serve the lanes that draw
    bool room = available(*lane.bucket, now) > 0;
    Time wake = never;
    each_draw(lane, all_draws, [&](Draw& draw, DrawMask) {
        Bucket& bucket = *draw.bucket;
        if (&bucket == lane.bucket || room_in(bucket, now) > 0) return;
        room = false;
        const Time change = std::min({bucket.next_change(now, bucket.out(now), credit(now)),
                                      bucket.next_lost(), bucket.doubt_ends()});
        wake = std::min(wake, change != never ? change : soon); // at the latest; an answer tells
    });
    return room ? soon : wake; // if there is room, others go first
}

/// Returns when all that the lane draws on has room, where its own bucket admits it at `at`.
[[gnu::noinline]] inline std::optional<Time> Scheduler::predict_draws(const Lane& lane,
                                                                      std::optional<Time> at,
                                                                      Time now, std::int64_t ahead,
                                                                      Foresight how) {
    each_draw(lane, all_draws, [&](Draw& draw, DrawMask) {
        if (!at || draw.bucket == lane.bucket) return;
        const auto there = predict_for(*draw.bucket, now, ahead, how);
        at = there ? std::optional(std::max(*at, *there)) : std::nullopt;
    });
    return at;
}

} // namespace sluice::core

#endif
