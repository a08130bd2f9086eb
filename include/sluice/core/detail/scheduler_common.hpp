// SPDX-License-Identifier: MIT
//
// Scheduler: hashes that have one counter for all major parameters; common_counter.hpp says what
// shows that. Included by core/scheduler.hpp only.
//
// No call looks at all lanes of a hash: there may be thousands. Lanes with waiters are moved a few
// at a time, with each answer and each advance(); the rest when they are next used.
#ifndef SLUICE_CORE_DETAIL_SCHEDULER_COMMON_HPP
#define SLUICE_CORE_DETAIL_SCHEDULER_COMMON_HPP

#include <sluice/core/scheduler.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace sluice::core {

/// True if the answer shows more spent than this client has sent to that bucket, and not more than
/// it can have sent to others. The request itself is not in flight there any more.
inline bool Scheduler::is_strange(const Lane& lane, const Bucket& bucket, const Answer& answer) {
    const Observation& seen = answer.seen;
    if (!seen.limit || !seen.remaining || !bucket.window.untouched(seen.sent)) return false;
    if (bucket.has_lost() || bucket.in_doubt()) return false;
    // Another route of this major may turn out to share the hash.
    const std::int64_t probes = probes_.count(lane.major(), seen.received);
    const std::int64_t sent = probes + bucket.in_flight + (answer.status == 429 ? 0 : 1);
    const std::int64_t used = *seen.limit - *seen.remaining;
    return used > sent && used <= static_cast<std::int64_t>(CommonEvidence::most) + 1;
}

[[gnu::noinline]] inline bool Scheduler::suspect(Lane& lane, const Bucket& bucket, HashId hash,
                                                 const Answer& answer, Time now) {
    const Observation& seen = answer.seen;
    constexpr Duration coarse = std::chrono::milliseconds(10);
    const bool numbers = seen.limit && *seen.limit > 0 && seen.remaining && seen.reset &&
                         seen.reset_after && seen.unit <= coarse;
    const bool timed = seen.sent < seen.received; // otherwise its send time is unknown
    if (!numbers || !timed || !registry_.may_join(hash, now)) return false;
    if (!suspects_) suspects_ = std::make_unique<CommonSuspects>();
    CommonSuspects::Suspect& suspect = suspects_->find(hash);
    if (suspect.hash != hash) {
        if (suspect.hash != 0) registry_.suspect(suspect.hash, false);
        suspect = {hash, now, {}};
    }
    suspect.used = now;
    const auto verdict = suspect.evidence.add(
        {lane.major(), seen, answer.status == 429, is_strange(lane, bucket, answer)});
    if (verdict == CommonEvidence::Verdict::open) {
        registry_.suspect(hash, suspect.evidence.is_fresh(now));
        return false;
    }
    const CommonEvidence evidence = std::exchange(suspect, {}).evidence;
    if (verdict == CommonEvidence::Verdict::common && registry_.join(hash)) {
        join(lane, hash, evidence, now);
        return true;
    }
    constexpr Duration surely_by_major = std::chrono::hours(1);
    registry_.part(hash, now + surely_by_major);
    return false;
}

/// Joins the majors of a hash. The common bucket begins with what the answers have shown that led
/// to it.
inline void Scheduler::join(Lane& lane, HashId hash, const CommonEvidence& evidence, Time now) {
    ++counters_.joined;
    note(EventKind::joined, lane);
    registry_.learn(lane.traits.family, hash);
    Bucket& common = registry_.bucket(registry_.key_of(hash, lane));
    evidence.each_earlier([&](const MajorSample& sample) {
        if (!sample.refused) common.accept(sample.seen, Duration(0));
    });
    unvisited_ = queued_ + in_flight_; // at most so many buckets wait
    if (registry_.is_outdated(lane)) fold(lane, now);
}

/// Merges the lane's bucket into the one that is common to all majors. Returns the common bucket.
inline Bucket& Scheduler::fold(Lane& lane, Time now) {
    Bucket& from = *lane.bucket;
    if (!from.key.hash_known) return link(from, registry_.learned(from.key.name));
    Bucket& common = registry_.bucket(registry_.key_of(static_cast<HashId>(from.key.name), lane));
    common.window.block_until(from.window.blocked_until());
    unschedule(from);
    registry_.merge(from, common);
    ++counters_.linked;
    leave_empty(common, now);
    return common;
}

/// Compares an answer with the others of a common bucket, and parts its majors if they contradict
/// each other. Returns the bucket that the answer counts in.
[[gnu::noinline]] inline Bucket& Scheduler::compare_majors(Lane& lane, Bucket& common,
                                                           const Answer& answer, Time now) {
    const Observation& seen = answer.seen;
    const bool timed = seen.sent < seen.received;
    if (!timed || !seen.limit || !seen.remaining || !seen.reset_after) return common;
    if (*seen.limit != common.window.limit()) common.forget_sharing();
    if (*seen.limit != common.window.limit() || common.window.counts_late()) return common;
    const SharingSample sample{seen.sent, seen.received, *seen.reset_after, seen.unit,
                               *seen.limit - *seen.remaining};
    Sharing& evidence = common.sharing();
    const bool lies = evidence.contradicts(sample);
    evidence.add(sample);
    if (!lies) return common;
    part(common, now);
    if (registry_.is_outdated(lane)) move_out(lane, now);
    return *lane.bucket;
}

/// The join was a mistake: undoes it for good.
inline void Scheduler::part(Bucket& common, Time now) {
    registry_.part(static_cast<HashId>(common.key.name), never);
    common.forget_sharing();
    common.window.distrust();
    parted_ = common.key;
    move_out_some(common, now);
}

inline void Scheduler::move_out(Lane& lane, Time now) {
    Bucket& from = *lane.bucket;
    Bucket& to = registry_.bucket(registry_.key_of(static_cast<HashId>(from.key.name), lane));
    registry_.set_busy(to);
    to.lose(now, lane.in_flight);                       // issued elsewhere, but counts there
    if (!to.window.answered()) to.window = from.window; // each number may be its own
    registry_.move_lane(lane, to);
    ++counters_.moved;
    serve(to, now);
    leave_empty(to, now);
}

/// Moves some lanes out of a parted bucket. Returns false if none was left.
inline bool Scheduler::move_out_some(Bucket& common, Time now) {
    constexpr int at_most = 64;
    bool moved = false;
    for (int visited = 0; visited < at_most && !common.lanes.empty(); ++visited) {
        Lane& lane = common.lanes.front();
        if (registry_.is_outdated(lane)) {
            move_out(lane, now);
            moved = true;
        } else {
            common.lanes.pop_front();
            common.lanes.push_back(lane);
        }
    }
    return moved;
}

/// Call before the lane is used: moves it to the bucket that its hash counts on by now.
[[gnu::noinline]] inline void Scheduler::follow_majors(Lane& lane, Time now) {
    if (registry_.is_outdated(lane)) {
        const BucketKey& key = lane.bucket->key;
        if (!key.hash_known || registry_.is_common(static_cast<HashId>(key.name))) {
            serve(fold(lane, now), now);
        } else {
            move_out(lane, now);
        }
    }
    const BucketKey& key = lane.bucket->key;
    if (key.hash_known && registry_.is_common(static_cast<HashId>(key.name)))
        registry_.drop_idle_lanes(lane, now, settings_.idle.evict_after);
}

/// Returns the bucket in which the waiters of a bucket that is due are served; moves lanes there.
inline Bucket& Scheduler::bring_up_to_date(Bucket& bucket, Time now) {
    if (!is_outdated(bucket)) return bucket;
    const BucketKey& key = bucket.key;
    if (!key.hash_known || registry_.is_common(static_cast<HashId>(key.name)))
        return fold(bucket.lanes.front(), now);
    move_out_some(bucket, now);
    return bucket;
}

/// After join() and part(): moves some of the lanes that wait.
inline void Scheduler::follow_some(Time now) {
    if (unvisited_ == 0 && !parted_) [[likely]]
        return;
    constexpr int at_most = 32;
    Bucket* filled = nullptr;
    for (int visited = 0; visited < at_most && unvisited_ != 0; ++visited, --unvisited_) {
        Bucket* bucket = registry_.next_waiting();
        if (bucket == nullptr) break;
        Bucket& known = bring_up_to_date(*bucket, now);
        if (&known == bucket) continue;
        if (filled != nullptr && filled != &known) serve(*filled, now);
        filled = &known;
    }
    if (filled != nullptr) serve(*filled, now);
    if (!parted_) return;
    Bucket* common = registry_.find_bucket(*parted_);
    if (common == nullptr || !move_out_some(*common, now)) {
        parted_.reset();
    } else {
        serve(*common, now);
    }
}

} // namespace sluice::core

#endif
