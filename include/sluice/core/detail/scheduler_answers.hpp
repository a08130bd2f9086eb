// SPDX-License-Identifier: MIT
//
// Scheduler: what answers, losses and cancelled requests change. Included by
// core/scheduler.hpp only.
#ifndef SLUICE_CORE_DETAIL_SCHEDULER_ANSWERS_HPP
#define SLUICE_CORE_DETAIL_SCHEDULER_ANSWERS_HPP

#include <sluice/core/scheduler.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace sluice::core {

/// Releases all that the place counts in, except its pin on the bucket: the owner drops that last,
/// because applying an answer may merge the bucket away. Returns the bucket that it counted in.
inline Bucket& Scheduler::uncount(Place& place, Time now) {
    Bucket& counted = Registry::resolve(place.bucket);
    discount(*place.lane, counted);
    place.lane->land(place.sent);
    counted.landed(place.sent);
    counted.quiet_since = now;
    if (place.probe) free_probe(place.lane->major(), now);
    if (!untroubled() || place.slot_of == SlotOf::address) land(place, now);
    if (place.draws != 0) uncount_draws(place);
    return counted;
}

inline void Scheduler::unpin(Place& place, Time now) {
    Bucket& bucket = Registry::resolve(place.bucket);
    if (place.lane->bucket != &bucket) [[unlikely]] // the lane has moved
        serve_home(*place.lane, now);
    if (place.lane->draws) serve_draws(*place.lane, now);
    registry_.drop_place(place.bucket);
    place.bucket = nullptr;
    look_again(bucket, now);
}

[[gnu::noinline]] inline void Scheduler::serve_home(const Lane& lane, Time now) {
    serve(*lane.bucket, now);
    rest(*lane.bucket, now);
}

[[gnu::noinline]] inline void Scheduler::free_probe(const Major& major, Time now) {
    Probes::Watchers freed;
    probes_.remove(major, freed);
    while (!freed.empty())
        serve(freed.front(), now); // serve() takes it off the list
}

inline void Scheduler::learn_credit(Time now) noexcept {
    credit_ = latency_.credit(now);
    credit_until_ = latency_.valid_until();
    credit_known_ = true;
}

inline void Scheduler::note_round_trip(const Place& place, Time sent, Time now) {
    if (sent != never ? place.open : place.warm) {
        if (sent != never) {
            latency_.sample(now - sent, now, place.arrival);
        } else {
            const bool alone = place.alone;
            latency_.sample(now - place.sent, now, place.arrival,
                            alone ? MeasuredFrom::issue_alone : MeasuredFrom::issue);
        }
        credit_known_ = false;
    }
    connections_.add(now);
    give_back_slot(place, now);
}

inline AnswerKind Scheduler::answer(Place& place, Answer& answer, Time sent, Time now) {
    sync(now);
    Lane& lane = *place.lane;
    note_round_trip(place, sent, now);
    const AnswerKind kind = classify(answer);
    answer.seen.sent = place.sent;
    answer.seen.received = now;
    answer.old_token = place.token != token_;
    answer.draws = place.draws;
    if (registry_.any_joined()) [[unlikely]]
        follow_majors(lane, now);

    Bucket& issuer = uncount(place, now);
    apply(lane, issuer, answer, kind, now);
    unpin(place, now);
    judge(place, lane, answer, now);
    return kind;
}

inline bool Scheduler::answer_plain(Place& place, std::string_view hash, const Observation& seen,
                                    Time sent) {
    const Time now = seen.received;
    Lane& lane = *place.lane;
    Bucket& bucket = *lane.bucket;
    if (place.bucket != &bucket || place.probe || place.draws != 0 || !bucket.key.hash_known)
        [[unlikely]]
        return false;
    // Others share the limit of the address.
    if (place.slot_of == SlotOf::address) [[unlikely]]
        return false;
    if (bucket.queued != 0 || !bucket.plain()) [[unlikely]]
        return false;
    if (bucket.has_several_lanes() && !bucket.is_of(lane.traits.family)) [[unlikely]]
        return false;
    if (!seen.reset_after || settings_.record_events || !calm(now)) [[unlikely]]
        return false;
    if (!registry_.hash_is(bucket, hash) || !registry_.confirm(lane)) [[unlikely]]
        return false;
    // More is spent than this client has sent; see common_counter.hpp.
    if (!bucket.window.spent() && seen.limit.value_or(0) - seen.remaining.value_or(INT32_MAX) >
                                      std::int64_t{bucket.in_flight}) [[unlikely]]
        return false;

    note_round_trip(place, sent, now);
    discount(lane, bucket);
    ++counters_.answered;
    ++counters_.by_kind[static_cast<std::size_t>(AnswerKind::success)];
    exempt_successes_ += lane.traits.exempt ? 1 : 0;
    if (lane.was_refused()) [[unlikely]] {
        lane.land(seen.sent);
        lane.succeed(seen.sent);
    }
    lane.hash_sent = greater(lane.hash_sent, seen.sent);
    bucket.accept_plain(seen, bucket.window.spent() ? Duration(0) : credit(now));
    registry_.drop_place(&bucket);
    place.bucket = nullptr;
    rest(bucket, now);
    return true;
}

[[gnu::noinline]] inline AnswerKind Scheduler::answer_unplaced(Lane& lane, Answer& answer,
                                                               Time now) {
    sync(now);
    const AnswerKind kind = classify(answer);
    answer.seen.sent = answer.seen.received = now;
    answer.draws = all_draws;
    lane.holders.fetch_add(1, std::memory_order_relaxed); // keeps the lane from being evicted below
    if (registry_.any_joined()) [[unlikely]]
        follow_majors(lane, now);
    apply(lane, *lane.bucket, answer, kind, now);
    lane.holders.fetch_sub(1, std::memory_order_release);
    look_again(*lane.bucket, now);
    return kind;
}

inline void Scheduler::begin_loss(Place& place, Time now) {
    sync(now);
    lose_slot(place, now);
    uncount(place, now).lose(now);
    if (place.draws != 0) lose_draws(*place.lane, place.draws, now);
    ++counters_.lost;
}

inline void Scheduler::cancel(Place& place, Time now) {
    sync(now);
    cancel_slot(place);
    if (place.open) connections_.add(now);
    uncount(place, now);
    ++counters_.cancelled;
    unpin(place, now);
}

inline void Scheduler::release(Place& place) noexcept {
    if (place.lane == nullptr) return;
    place.lane->holders.fetch_sub(1, std::memory_order_release);
    place.lane = nullptr;
}

inline void Scheduler::apply(Lane& lane, Bucket& issuer, const Answer& answer, AnswerKind kind,
                             Time now) {
    ++counters_.answered;
    ++counters_.by_kind[static_cast<std::size_t>(kind)];
    note_answer(EventKind::answered, lane, answer, kind);
    constexpr int least_invalid = 401;
    if (answer.status >= least_invalid || slowed_ || stopped_ || !latches_.empty())
        protect(lane, answer, kind, now);
    if (answer.from_discord) gate_->accepted(answer.seen.sent, now);
    note_outcome(lane, answer, kind, now);
    if (kind == AnswerKind::success) {
        apply_success(lane, issuer, answer, now);
    } else if (kind != AnswerKind::server_error) {
        apply_refusal(lane, issuer, answer, kind, now);
    } else if (answer.has_numbers()) {
        apply_success(lane, issuer, answer, now);
    } else if (!did_not_run(answer.status)) {
        issuer.lose(now); // it may have been counted
        if (answer.draws != 0) lose_draws(lane, answer.draws, now);
    }
    follow_some(now);
    if (!bounds_.empty()) recheck_bounds(*lane.bucket, now);
    if (now >= bound_until_) bound_until_ = Time::min();
    look_for_trouble();
}

inline void Scheduler::apply_success(Lane& lane, Bucket& issuer, const Answer& answer, Time now) {
    if (lane.was_refused()) [[unlikely]]
        lane.succeed(answer.seen.sent);
    if (lane.crowded) [[unlikely]]
        note_crowd_success(lane, answer.seen.sent, now);
    Bucket& counter = counter_of(lane, issuer, answer, now);
    if (answer.has_numbers()) {
        const bool believed = counter.accept(answer.seen, credit(now));
        // Routes of one hash may have separate counters.
        if (!believed && !counter.is_of(lane.traits.family)) counter.window.hold_to(answer.seen);
    } else {
        // The route has shown a limit in another bucket: slow start here until this one shows its
        // limit.
        if (counter.key.hash_known && !counter.window.answered()) counter.window.narrow();
        counter.accept_silent(now, settings_.headerless_width, credit(now));
    }
    counter.settle_lost(answer.seen.sent, now);
    if (answer.draws != 0) spend_draws(lane, counter, answer, now);
    if (&counter != lane.bucket) {
        serve(counter, now);
        serve_drawers(counter, now);
        rest(counter, now);
    }
}

/// Returns the bucket that a success counts in. May rename, merge or move the lane's bucket.
inline Bucket& Scheduler::counter_of(Lane& lane, Bucket& issuer, const Answer& answer, Time now) {
    if (answer.hash.empty()) return Registry::resolve(&issuer);
    Bucket& bucket = *lane.bucket;
    // Fast path: nothing new for the lane, nor for others of its family.
    if (registry_.hash_is(bucket, answer.hash) && registry_.confirm(lane)) {
        lane.hash_sent = std::max(lane.hash_sent, answer.seen.sent);
        return check_sharing(lane, bucket, answer, now);
    }
    const HashId hash = registry_.intern(answer.hash);
    if (hash == 0) return Registry::resolve(&issuer);
    if (Bucket* named = named_beside(lane, hash, answer, now)) return *named;
    return check_sharing(lane, follow_hash(lane, hash, answer.seen, now), answer, now);
}

/// Returns the bucket that the numbers of an answer belong to. Moves the lane there if the answer
/// is news.
[[gnu::noinline]] inline Bucket& Scheduler::follow_hash(Lane& lane, HashId hash,
                                                        const Observation& seen, Time now) {
    Bucket& from = *lane.bucket;
    const BucketKey key = registry_.key_of(hash, lane);
    if (from.key == key) {
        lane.hash_sent = std::max(lane.hash_sent, seen.sent);
        registry_.learn(lane.traits.family, hash);
        link_some(lane.traits.family, hash, now);
        return from;
    }
    // That routes of one hash have separate counters is news, however old the answer that shows it.
    const bool other_hash = from.key.hash_known && from.key.name != key.name;
    if (other_hash && seen.sent <= lane.hash_sent) return registry_.bucket(key);

    lane.hash_sent = std::max(lane.hash_sent, seen.sent);
    registry_.learn(lane.traits.family, hash);
    if (!from.key.hash_known) {
        Bucket& counter = link(from, hash);
        link_some(lane.traits.family, hash, now);
        return counter;
    }
    return move(lane, key, now);
}

/// Moves the lane to the bucket of this key, and with it others of its routes. A tagged lane moves
/// by its own answers only: a request with a field limit may have another hash than one without.
/// Returns the new bucket.
inline Bucket& Scheduler::move(Lane& lane, const BucketKey& key, Time now) {
    Bucket& from = *lane.bucket;
    Bucket& to = registry_.bucket(key);
    registry_.set_busy(to);
    for (auto at = from.lanes.begin(); at != from.lanes.end();) {
        Lane& other = *at++;
        if (other.traits.family != lane.traits.family || other.major() != lane.major()) continue;
        if (other.hash_sent > lane.hash_sent) continue;
        if (&other != &lane && other.tag != 0) continue;
        // What is in flight from it was issued by the old bucket but counts in the new one.
        if (find_draw(other, to.key) == nullptr) to.lose(now, other.in_flight);
        other.hash_sent = lane.hash_sent;
        other.left_hash = static_cast<HashId>(from.key.name);
        other.left_at = now;
        registry_.move_lane(other, to);
        ++counters_.moved;
        note(EventKind::lane_moved, other);
    }
    serve(from, now);
    rest(from, now);
    return to;
}

/// Gives the bucket of a route its hash: renames it, or merges it into the bucket that has the hash
/// already. Returns the bucket that remains.
inline Bucket& Scheduler::link(Bucket& unknown, HashId hash) {
    const BucketKey key = registry_.key_of(hash, unknown.key.major, unknown.key.name);
    Bucket* known = registry_.find_bucket(key);
    if (known == nullptr) {
        registry_.rename(unknown, key);
        return unknown;
    }
    // A wait that a refusal told these lanes holds whichever bucket they draw on.
    for (Lane& lane : unknown.lanes)
        block_lane(lane, unknown.window.blocked_until());
    unschedule(unknown);
    registry_.merge(unknown, *known);
    ++counters_.linked;
    return *known;
}

/// Gives other buckets of the route the hash, too. A few with each answer: a bot may have made
/// thousands before the first answer came, and no call may take that long.
inline void Scheduler::link_some(std::uint64_t family, HashId hash, Time now) {
    constexpr int at_most = 32;
    for (int linked = 0; linked < at_most; ++linked) {
        Bucket* unknown = registry_.next_unknown(family);
        if (unknown == nullptr) return;
        Bucket& counter = link(*unknown, hash);
        serve(counter, now);
        rest(counter, now);
    }
}

[[gnu::noinline]] inline Bucket& Scheduler::compare_sharing(Lane& lane, Bucket& counter,
                                                            const Answer& answer, Time now) {
    const Observation& seen = answer.seen;
    // The send time of a request without a place is unknown.
    const bool timed = seen.sent < seen.received;
    if (!settings_.split_lying_hashes || !timed || !seen.limit || !seen.remaining ||
        !seen.reset_after) {
        return counter;
    }
    const bool several = !counter.is_of(lane.traits.family);
    if (*seen.limit != counter.window.limit()) counter.forget_sharing();
    if (!several || *seen.limit != counter.window.limit() || counter.window.counts_late()) {
        return counter;
    }
    const SharingSample sample{seen.sent, seen.received, *seen.reset_after, seen.unit,
                               *seen.limit - *seen.remaining};
    Sharing& evidence = counter.sharing();
    const bool lies = evidence.contradicts(sample);
    const bool exact = lies && evidence.all_received_by(sample.sent);
    evidence.add(sample);
    const auto hash = static_cast<HashId>(counter.key.name);
    if (!lies || !registry_.split(hash)) return counter;
    ++counters_.split;
    note(EventKind::split, lane);
    split(counter, now);
    Bucket& own = registry_.bucket(registry_.key_of(hash, lane));
    if (exact) own.window.trust_next();
    return own;
}

/// Moves every lane of this bucket, except those of its first family, to a bucket of its family's
/// own. Buckets of other major parameters follow with their next answers.
inline void Scheduler::split(Bucket& bucket, Time now) {
    const auto hash = static_cast<HashId>(bucket.key.name);
    const std::uint64_t first = bucket.lanes.front().traits.family;
    registry_.rename(bucket, registry_.key_of(hash, bucket.lanes.front()));
    bucket.window.distrust();
    const auto stranger = [&] { // one move takes along the whole family
        return std::find_if(bucket.lanes.begin(), bucket.lanes.end(),
                            [&](const Lane& lane) { return lane.traits.family != first; });
    };
    for (auto at = stranger(); at != bucket.lanes.end(); at = stranger()) {
        Bucket& to = move(*at, registry_.key_of(hash, *at), now);
        if (!to.window.answered()) to.window = bucket.window; // each number may be of that counter
        serve(to, now);
    }
}

[[gnu::noinline]] inline void Scheduler::record(EventKind kind, const Lane& lane, int status,
                                                AnswerKind what, Duration wait) {
    events_.push_back({kind,
                       what,
                       status,
                       lane.route,
                       lane.major(),
                       lane.tag,
                       wait,
                       1,
                       {},
                       0,
                       {},
                       lane.traits.text});
}

/// Records that a request of this lane is about to be queued.
[[gnu::noinline]] inline void Scheduler::note_waiting(Lane& lane, std::uint64_t arrival, Time now) {
    const auto at = predict(lane, now, arrival);
    record(EventKind::waiting, lane, 0, AnswerKind(), at.value_or(opens(lane, now)) - now);
    Event& event = events_.back();
    event.obstacle = obstacle(lane, now);
    event.limit = lane.bucket->window.limit();
    event.bucket = registry_.hash_of(*lane.bucket);
}

[[gnu::noinline]] inline void Scheduler::note_evicted(std::size_t count) {
    if (count == 0) return;
    counters_.evicted += count;
    if (settings_.record_events)
        events_.push_back({EventKind::evicted, {}, 0, 0, {}, 0, {}, count, {}, 0, {}, {}});
}

} // namespace sluice::core

#endif
