// SPDX-License-Identifier: MIT
//
// Registry: buckets that prove to be one counter, and hashes whose majors all share one. Included
// by core/registry.hpp only.
//
// To mark a hash so costs O(1). Its buckets and lanes follow when they are next used, or a few at a
// time when the scheduler visits them; until then they are outdated.
#ifndef SLUICE_CORE_DETAIL_REGISTRY_JOINING_HPP
#define SLUICE_CORE_DETAIL_REGISTRY_JOINING_HPP

#include <sluice/core/registry.hpp>

namespace sluice::core {

inline void Registry::rename(Bucket& bucket, const BucketKey& key) {
    buckets_.erase(&bucket);
    bucket.GroupHook::unlink();
    bucket.key = key;
    buckets_.insert(&bucket);
}

inline void Registry::merge(Bucket& from, Bucket& to) {
    buckets_.erase(&from);
    from.GroupHook::unlink();
    from.UseHook::unlink();
    set_busy(from);
    set_busy(to);
    to.absorb_places(from);
    while (!from.lanes.empty())
        move_lane(from.lanes.front(), to);
    if (from.places == 0) {
        delete &from;
        return;
    }
    from.merged_into = &to;
    ++to.places;
    merged_.push_back(from);
}

inline void Registry::move_lane(Lane& lane, Bucket& to) noexcept {
    Bucket& from = *lane.bucket;
    LaneList::erase(lane);
    from.queued -= lane.queued;
    lane.bucket = &to;
    to.lanes.push_back(lane);
    to.queued += lane.queued;
    to.quiet_since = greater(to.quiet_since, from.quiet_since);
    if (lane.queued != 0) set_waiting(to);
}

[[gnu::noinline]] inline void Registry::drop_merged(Bucket* bucket) noexcept {
    while (bucket->places == 0 && bucket->merged_into != nullptr) {
        Bucket* to = bucket->merged_into;
        delete bucket;
        bucket = to;
        --bucket->places;
    }
}

inline bool Registry::join(HashId hash) noexcept {
    KnownHash& known = hashes_[hash - 1]->second;
    if (known.common || known.parted_until == never) return false;
    any_odd_ = any_joined_ = true;
    known.common = true;
    known.suspected = false;
    return true;
}

inline void Registry::part(HashId hash, Time until) noexcept {
    KnownHash& known = hashes_[hash - 1]->second;
    known.common = known.suspected = false;
    known.parted_until = until;
}

inline void Registry::suspect(HashId hash, bool suspected) noexcept {
    hashes_[hash - 1]->second.suspected = suspected;
    any_odd_ = any_odd_ || suspected;
}

/// A bucket without a hash is treated as one of the hash that its family shows.
inline bool Registry::differs(const Lane& lane) const noexcept {
    const BucketKey& key = lane.bucket->key;
    const HashId hash = key.hash_known ? static_cast<HashId>(key.name) : learned(key.name);
    if (hash == 0) return false;
    if (!key.hash_known) return is_common(hash);
    return key.major != major_of(hash, lane.major());
}

inline void Registry::drop_idle_lanes(Lane& but, Time now, Duration idle) noexcept {
    constexpr int at_most = 2; // each call brings one new lane at most
    LaneList& lanes = but.bucket->lanes;
    for (int steps = 0; steps < at_most && &lanes.front() != &but; ++steps) {
        Lane& lane = lanes.front();
        lanes.pop_front();
        const bool told =
            lane.blocked_until > now || (lane.was_refused() && lane.struck > now - idle);
        if (told || lane.in_use()) {
            lanes.push_back(lane);
            continue;
        }
        lanes_.erase(&lane);
        delete &lane;
    }
}

inline Bucket* Registry::next_waiting() noexcept {
    if (waiting_.empty()) return nullptr;
    BucketEntry& next = waiting_.front();
    waiting_.pop_front();
    waiting_.push_back(next);
    return static_cast<Bucket*>(&next);
}

} // namespace sluice::core

#endif
