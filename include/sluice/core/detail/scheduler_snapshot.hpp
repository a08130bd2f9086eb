// SPDX-License-Identifier: MIT
//
// Scheduler: saves what it knows, and restores it in another one. Included by core/scheduler.hpp
// only.
//
// Requests in flight at shutdown are restored as lost: their places come back as lost ones do. So
// such a request is neither forgotten nor waited for.
// What a lane draws on besides its own bucket is not saved. Its wait is, and the next answer that
// names the other bucket shows it again.
#ifndef SLUICE_CORE_DETAIL_SCHEDULER_SNAPSHOT_HPP
#define SLUICE_CORE_DETAIL_SCHEDULER_SNAPSHOT_HPP

#include <sluice/core/scheduler.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace sluice::core {

template <class BucketName>
BucketName Scheduler::name_of(const BucketEntry& bucket) const {
    BucketName name;
    name.hash = registry_.hash_of(bucket);
    if (!bucket.key.hash_known) name.family = bucket.key.name;
    name.apart = bucket.key.apart;
    return name;
}

/// Returns a key whose name is 0 if the hash cannot be stored, because there are too many.
template <class BucketName>
BucketKey Scheduler::key_of(const BucketName& name, const Major& major) {
    if (name.hash.empty()) return {name.family, major, 0, false};
    const HashId hash = registry_.intern(name.hash);
    return {hash, hash != 0 && registry_.is_common(hash) ? Major() : major, name.apart, true};
}

template <class Saved>
Saved Scheduler::save(Time now) {
    using BucketName = typename Saved::BucketName;
    Saved saved;
    registry_.each_learned([&](std::uint64_t family, std::string_view hash) {
        saved.routes.push_back({family, std::string(hash)});
    });
    registry_.each_split([&](std::string_view hash) { saved.apart.emplace_back(hash); });
    registry_.each_joined([&](std::string_view hash) { saved.common.emplace_back(hash); });
    registry_.each_bucket([&](BucketEntry& entry) {
        typename Saved::SavedBucket bucket{name_of<BucketName>(entry), entry.key.major, {}, 0};
        if (entry.dormant) {
            const Window window(static_cast<DormantBucket&>(entry).window, entry.last_used);
            bucket.window = window.save(now);
        } else {
            auto& awake = static_cast<Bucket&>(entry);
            bucket.out = static_cast<std::uint32_t>(awake.out(now));
            bucket.window = awake.window.save(now);
        }
        const bool used = bucket.window.remains.answered || bucket.window.remains.limit > 0;
        if (used || bucket.out != 0 || bucket.window.blocked_for > Duration(0))
            saved.buckets.push_back(std::move(bucket));
    });
    registry_.each_lane([&](Lane& lane) {
        const Duration blocked = std::max(lane.blocked_until, now) - now;
        const bool at_home =
            registry_.home_of(lane.major(), lane.traits.family) == lane.bucket->key;
        if (at_home && blocked == Duration(0) && !lane.was_refused()) return;
        saved.lanes.push_back({{lane.route, lane.major(), lane.tag},
                               lane.traits,
                               name_of<BucketName>(*lane.bucket),
                               blocked,
                               lane.strikes,
                               lane.narrow,
                               lane.shared});
    });
    for (const auto& [major, latch] : latches_) {
        if (latch.why == Refused::unknown_webhook) saved.gone_webhooks.push_back(major);
    }
    saved.globally_blocked_for = bot_.start.closed_until(now) - now;
    bot_.limit.each_slot(now, [&](Duration back) { saved.slots.push_back(back); });
    saved.address_blocked_for = gate_->blocked_until(now) - now;
    gate_->each_invalid(now, [&](const auto& slice) { saved.invalid.push_back(slice); });
    return saved;
}

template <class Saved>
void Scheduler::restore(const Saved& saved, Time then, Time now) {
    for (const auto& hash : saved.apart) {
        if (const HashId id = registry_.intern(hash)) registry_.split(id);
    }
    for (const auto& hash : saved.common) {
        const HashId id = settings_.join_common_counters ? registry_.intern(hash) : 0;
        if (id != 0) registry_.join(id);
    }
    for (const auto& route : saved.routes) {
        const HashId hash = registry_.intern(route.hash);
        if (hash != 0 && registry_.learned(route.family) == 0) registry_.learn(route.family, hash);
    }
    for (const auto& bucket : saved.buckets)
        restore_bucket(bucket, then, now);
    for (const auto& lane : saved.lanes)
        restore_lane(lane, then, now);
    for (const Major& webhook : saved.gone_webhooks) {
        if (latched_.size() >= most_latches) break;
        if (latches_.insert({webhook, {Refused::unknown_webhook, never}}).second)
            latched_.push_back(webhook);
    }
    if (then + saved.globally_blocked_for > now)
        bot_.start.close(now, then + saved.globally_blocked_for);
    for (const Duration slot : saved.slots) {
        if (then + slot > now) bot_.limit.restore(then + slot);
    }
    if (then + saved.address_blocked_for > now)
        gate_->block_until(now, then + saved.address_blocked_for);
    gate_->restore_invalid(saved.invalid, then, now);
    look_for_trouble();
}

template <class SavedBucket>
void Scheduler::restore_bucket(const SavedBucket& saved, Time then, Time now) {
    const BucketKey key = key_of(saved.name, saved.major);
    if (key.name == 0) return;
    Bucket& bucket = registry_.bucket(key);
    if (bucket.window.answered() || bucket.places != 0 || bucket.queued != 0) return;
    bucket.window = Window(saved.window, then);
    // They were sent before `then`, and Discord may have decided about them later.
    constexpr Duration longest_way = std::chrono::seconds(5);
    bucket.lose(lesser(then + longest_way, now), saved.out);
    leave_empty(bucket, now);
}

template <class SavedLane>
void Scheduler::restore_lane(const SavedLane& saved, Time then, Time now) {
    const BucketKey key = key_of(saved.bucket, saved.key.major);
    if (key.name == 0 || registry_.find_lane(saved.key) != nullptr) return;
    Bucket& bucket = registry_.bucket(key);
    Lane& lane = registry_.lane(saved.key, saved.traits);
    Bucket& home = *lane.bucket;
    if (&home != &bucket) registry_.move_lane(lane, bucket);
    if (saved.blocked_for > Duration(0)) lane.blocked_until = then + saved.blocked_for;
    lane.shared = lane.crowded = saved.shared;
    lane.strikes = lesser(saved.strikes, Lane::most_strikes);
    lane.narrow = saved.narrow;
    leave_empty(home, now);
    leave_empty(bucket, now);
}

} // namespace sluice::core

#endif
