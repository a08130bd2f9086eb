// SPDX-License-Identifier: MIT
//
// Registry, second half: what becomes of unused buckets, step by step with each call: in use, idle,
// dormant, evicted. Included by core/registry.hpp only.
#ifndef SLUICE_CORE_DETAIL_REGISTRY_AGING_HPP
#define SLUICE_CORE_DETAIL_REGISTRY_AGING_HPP

#include <sluice/core/registry.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <utility>

namespace sluice::core {

inline void Registry::file(Bucket& bucket, Time now) noexcept {
    bucket.UseHook::unlink();
    bucket.filed = now;
    filed_.push_back(bucket);
}

/// True if nothing that was spent counts any more.
inline bool Registry::over(Bucket& bucket, Time now) noexcept {
    return bucket.out(now) == 0 && bucket.window.blocked_until() <= now && bucket.all_back(now) &&
           bucket.window.deadline().value_or(Time::min()) <= now;
}

/// Lanes that have been idle for as long as a draw is kept give up their draws on this bucket:
/// otherwise two lanes that draw on each other's bucket would keep both permanently.
inline void Registry::forget_draws_on(Bucket& bucket, Time now) noexcept {
    if (!bucket.is_drawn()) return;
    for (auto at = bucket.drawers().begin(); at != bucket.drawers().end();) {
        const Draw& draw = *at++;
        Lane& lane = *draw.lane;
        if (lane.in_use() || lane.in_flight != 0 || now - draw.shown <= Draw::kept_for) continue;
        std::unique_ptr<Draw>* link = &lane.draws;
        while (link->get() != &draw)
            link = &(*link)->next;
        *link = std::move((*link)->next);
    }
}

inline bool Registry::evictable(Bucket& bucket, Time now) noexcept {
    if (!bucket.idle || !over(bucket, now)) return false;
    if (bucket.is_drawn()) return false;
    for (const Lane& lane : bucket.lanes) {
        if (lane.in_use() || lane.blocked_until > now) return false;
        for (const Draw* draw = lane.draws.get(); draw != nullptr; draw = draw->next.get()) {
            if (!over(*draw->bucket, now)) return false; // its spender would be forgotten
        }
    }
    return true;
}

inline void Registry::drop_lanes(Bucket& bucket) noexcept {
    while (!bucket.lanes.empty()) {
        Lane& lane = bucket.lanes.front();
        bucket.lanes.pop_front();
        lanes_.erase(&lane);
        delete &lane;
    }
}

inline void Registry::evict(Bucket& bucket) noexcept {
    set_busy(bucket);
    buckets_.erase(&bucket);
    drop_lanes(bucket);
    delete &bucket;
}

inline void Registry::evict(DormantBucket& dormant) noexcept {
    --idle_count_;
    buckets_.erase(&dormant);
    delete &dormant;
}

/// True if an evictable bucket holds no more than its window leaves behind, and each of its lanes
/// no more than its route provides.
inline bool Registry::may_sleep(const Bucket& bucket) const noexcept {
    if (!bucket.may_sleep()) return false;
    for (const Lane& lane : bucket.lanes) {
        const bool shows_exempt = lane.major().kind == MajorKind::interaction;
        if (lane.was_refused() || lane.draws || (lane.traits.exempt && !shows_exempt)) return false;
        if (home_of(lane.major(), lane.traits.family) != bucket.key) return false;
    }
    return true;
}

/// Replaces the bucket by a dormant one. Returns false if there is no memory for that.
inline bool Registry::put_to_sleep(Bucket& bucket) noexcept {
    auto* dormant = new (std::nothrow) DormantBucket;
    if (dormant == nullptr) return false;
    dormant->key = bucket.key;
    dormant->dormant = true;
    dormant->last_used = bucket.last_used;
    dormant->window = bucket.window.remains();
    replace(bucket, *dormant);
    dormant_.push_back(*dormant);
    drop_lanes(bucket);
    delete &bucket;
    return true;
}

inline Bucket& Registry::wake(DormantBucket& dormant) {
    auto made = std::make_unique<Bucket>();
    made->key = dormant.key;
    made->last_used = made->filed = dormant.last_used;
    made->window = Window(dormant.window, dormant.last_used);
    made->wake_up();
    made->idle = true;
    if (!made->key.hash_known) {
        if (Family* route = entry(made->key.name)) route->unknown.push_back(*made);
    }
    replace(dormant, *made);
    filed_.push_back(*made);
    delete &dormant;
    return *made.release();
}

/// Replaces an entry of the table in place: their keys are equal.
inline void Registry::replace(BucketEntry& entry, BucketEntry& by) noexcept {
    const_cast<BucketEntry*&>(*buckets_.find(&entry)) = &by;
}

/// Evicts the oldest dormant bucket and returns true, if its time is over or if there are too many.
inline bool Registry::evict_dormant(Time now, const IdleLimits& limits) noexcept {
    if (dormant_.empty()) return false;
    auto& oldest = static_cast<DormantBucket&>(dormant_.front());
    const bool too_many = idle_count_ > limits.most_idle;
    if (!too_many && oldest.last_used > now - limits.evict_after) return false;
    evict(oldest);
    return true;
}

[[gnu::noinline]] inline std::size_t Registry::sweep_some(Time now, const IdleLimits& limits,
                                                          std::size_t steps) {
    std::size_t evicted = 0;
    for (; steps > 0; --steps) {
        if (evict_dormant(now, limits)) {
            ++evicted;
            continue;
        }
        const bool too_many = idle_count_ > limits.most_idle;
        if (filed_.empty()) break;
        auto& oldest = static_cast<Bucket&>(filed_.front());
        if (oldest.filed > now - limits.dormant_after && !too_many) break;
        forget_draws_on(oldest, now);
        if (oldest.last_used > oldest.filed) {
            file(oldest, oldest.last_used); // used since: filed again by its last use
        } else if (!evictable(oldest, now)) {
            file(oldest, now); // in use, or its window is still open
        } else if (too_many || oldest.last_used <= now - limits.evict_after) {
            evict(oldest);
            ++evicted;
        } else if (!may_sleep(oldest) || !put_to_sleep(oldest)) {
            file(oldest, now); // stays until it may be evicted
        }
    }
    due_ = next_sweep(now, limits);
    return evicted;
}

/// Returns when a sweep next has work due by age: buckets filed later are due later.
inline Time Registry::next_sweep(Time now, const IdleLimits& limits) const noexcept {
    const auto in = [now](Duration after, Time since) {
        return since <= now - after ? Duration(0) : after - (now - since);
    };
    Duration wait = limits.dormant_after;
    if (!filed_.empty()) {
        const auto& oldest = static_cast<const Bucket&>(filed_.front());
        wait = std::min(wait, in(limits.dormant_after, oldest.filed));
    }
    if (!dormant_.empty())
        wait = std::min(wait, in(limits.evict_after, dormant_.front().last_used));
    return now + wait;
}

inline std::size_t Registry::collect(Time now, Time before) {
    std::size_t evicted = 0;
    for (auto at = dormant_.begin(); at != dormant_.end();) {
        auto& dormant = static_cast<DormantBucket&>(*at++);
        if (dormant.last_used > before) continue;
        evict(dormant);
        ++evicted;
    }
    for (auto at = filed_.begin(); at != filed_.end();) {
        auto& bucket = static_cast<Bucket&>(*at++);
        if (bucket.last_used > before) continue;
        forget_draws_on(bucket, now);
        if (!evictable(bucket, now)) continue;
        evict(bucket);
        ++evicted;
    }
    return evicted;
}

} // namespace sluice::core

#endif
