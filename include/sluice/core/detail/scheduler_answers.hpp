// SPDX-License-Identifier: MIT
//
// Scheduler, second half: what answers, losses and cancelled requests change. Included by
// core/scheduler.hpp only.
#ifndef SLUICE_CORE_DETAIL_SCHEDULER_ANSWERS_HPP
#define SLUICE_CORE_DETAIL_SCHEDULER_ANSWERS_HPP

#include <sluice/core/scheduler.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace sluice::core {

/// Lets go of everything the place counted in but the pin on its bucket, which its owner drops
/// last: applying an answer may merge that bucket away.
inline Bucket& Scheduler::uncount(Place& place, Time now) {
    Bucket& counted = Registry::resolve(place.bucket);
    --counted.in_flight;
    --place.lane->in_flight;
    --in_flight_;
    if (place.probe) free_probe(place.lane->key.major, now);
    return counted;
}

inline void Scheduler::unpin(Place& place, Time now) {
    Bucket& bucket = Registry::resolve(place.bucket);
    registry_.drop_place(place.bucket);
    place.bucket = nullptr;
    serve(bucket, now);
    serve_global(now);
    rest(bucket, now);
}

inline void Scheduler::free_probe(const Major& major, Time now) {
    Probes::Watchers freed;
    probes_.remove(major, freed);
    while (!freed.empty())
        serve(freed.front(), now); // which takes it off the list
}

inline void Scheduler::learn_credit(Time now) noexcept {
    credit_ = latency_.credit(now);
    credit_until_ = latency_.valid_until();
}

inline AnswerKind Scheduler::answer(Place& place, Answer answer, std::optional<Time> sent,
                                    Time now) {
    sync(now);
    Lane& lane = *place.lane;
    if (place.warm || sent) {
        latency_.sample(now - sent.value_or(place.sent), now);
        learn_credit(now);
    }
    connections_.add(now);
    if (place.holds_slot) global_.give_back(place.slot, now, credit(now));
    const AnswerKind kind = classify(answer);
    answer.seen.sent = place.sent;
    answer.seen.received = now;

    Bucket& issuer = uncount(place, now);
    issuer.settle_lost(place.sent);
    apply(lane, issuer, answer, kind, now);
    unpin(place, now);
    return kind;
}

inline AnswerKind Scheduler::answer_unplaced(Lane& lane, Answer answer, Time now) {
    sync(now);
    const AnswerKind kind = classify(answer);
    answer.seen.sent = answer.seen.received = now;
    lane.holders.fetch_add(1, std::memory_order_relaxed); // so that nothing below evicts it
    apply(lane, *lane.bucket, answer, kind, now);
    lane.holders.fetch_sub(1, std::memory_order_release);
    serve_global(now);
    rest(*lane.bucket, now);
    return kind;
}

inline void Scheduler::lose(Place& place, Time now) {
    sync(now);
    if (place.holds_slot) global_.give_back(place.slot, now, Duration(0));
    uncount(place, now).lose(now);
    ++counters_.lost;
    unpin(place, now);
}

inline void Scheduler::cancel(Place& place, Time now) {
    sync(now);
    if (place.holds_slot) global_.cancel(place.slot);
    if (place.warm) connections_.add(now);
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
    if (kind == AnswerKind::server_error && !answer.has_numbers()) {
        issuer.lose(now); // it may have been counted: nobody knows
    } else if (kind == AnswerKind::success || kind == AnswerKind::server_error) {
        apply_success(lane, issuer, answer, now);
    } else {
        apply_refusal(lane, issuer, answer, kind, now);
    }
    serve(*lane.bucket, now);
}

inline void Scheduler::apply_success(Lane& lane, Bucket& issuer, const Answer& answer, Time now) {
    lane.strikes = 0;
    const HashId hash = registry_.intern(answer.hash);
    Bucket& counter =
        hash == 0 ? Registry::resolve(&issuer) : follow_hash(lane, hash, answer.seen, now);
    if (answer.has_numbers()) {
        counter.window.accept(answer.seen, credit(now));
    } else {
        counter.window.accept_silent(now, settings_.headerless_width, credit(now));
    }
    counter.settle_lost(answer.seen.sent);
    if (&counter != lane.bucket) {
        serve(counter, now);
        rest(counter, now);
    }
}

/// The bucket that an answer's numbers belong to; turns the lane there if the answer is news.
inline Bucket& Scheduler::follow_hash(Lane& lane, HashId hash, const Observation& seen, Time now) {
    Bucket& from = *lane.bucket;
    const BucketKey key{hash, lane.key.major, true};
    if (from.key == key) {
        lane.hash_sent = std::max(lane.hash_sent, seen.sent);
        registry_.learn(lane.key.route, hash);
        return from;
    }
    if (from.key.hash_known && seen.sent <= lane.hash_sent) return registry_.bucket(key);

    lane.hash_sent = seen.sent;
    registry_.learn(lane.key.route, hash);
    if (!from.key.hash_known) {
        Bucket& counter = link(from, hash);
        link_some(lane.key.route, hash, now);
        return counter;
    }
    Bucket& to = registry_.bucket(key);
    // What is in flight from this lane was issued elsewhere and will count there all the same.
    to.lose(now, lane.in_flight);
    registry_.set_busy(to);
    Registry::move_lane(lane, to);
    ++counters_.moved;
    serve(from, now);
    rest(from, now);
    return to;
}

/// The bucket of a route gets its hash: it is renamed, or turns out to be one that exists.
inline Bucket& Scheduler::link(Bucket& unknown, HashId hash) {
    Bucket* known = registry_.find_bucket({hash, unknown.key.major, true});
    if (known == nullptr) {
        registry_.rename(unknown, hash);
        return unknown;
    }
    unschedule(unknown);
    registry_.merge(unknown, *known);
    ++counters_.linked;
    return *known;
}

/// Other buckets of the route get the hash too. A few with each answer: a bot may have made
/// thousands before the first answer came, and no call may take that long.
inline void Scheduler::link_some(std::uint64_t route, HashId hash, Time now) {
    constexpr int at_most = 32;
    for (int linked = 0; linked < at_most; ++linked) {
        Bucket* unknown = registry_.next_unknown(route);
        if (unknown == nullptr) return;
        serve(link(*unknown, hash), now);
    }
}

/// How long a refusal makes us wait: what it told, else a backoff that grows and never is 0.
inline Duration Scheduler::wait_of(Lane& lane, const Answer& answer, AnswerKind kind) noexcept {
    constexpr int most_doublings = 6;
    const Duration told = answer.retry_after.value_or(Duration(0));
    if (told > Duration(0)) return told + settings_.retry_margin;
    if (kind == AnswerKind::user_limit &&
        answer.seen.reset_after.value_or(Duration(0)) > Duration(0)) {
        return *answer.seen.reset_after + settings_.retry_margin;
    }
    const Duration first =
        kind == AnswerKind::cloudflare ? std::chrono::seconds(60) : std::chrono::seconds(1);
    const Duration wait = first * (1 << lane.strikes);
    if (lane.strikes < most_doublings) ++lane.strikes;
    return wait;
}

inline void Scheduler::apply_refusal(Lane& lane, Bucket& issuer, const Answer& answer,
                                     AnswerKind kind, Time now) {
    const Duration wait = wait_of(lane, answer, kind);
    switch (kind) {
    case AnswerKind::user_limit:
        refuse_bucket(lane, issuer, answer, wait);
        break;
    case AnswerKind::global_limit:
        global_.block_until(now + wait);
        break;
    case AnswerKind::cloudflare:
        blocked_until_ = std::max(blocked_until_, now + wait);
        break;
    case AnswerKind::headerless:
        issuer.window.narrow();
        block_lane(lane, now + wait);
        break;
    default:
        block_lane(lane, now + wait);
        break;
    }
}

/// The hash of a refusal never changes a mapping: a tighter limit may have answered in its own name
/// (discord-api-docs#7394, 2025-02). If it names another bucket than the one that issued the
/// request, that bucket is spent, and this lane waits.
inline void Scheduler::refuse_bucket(Lane& lane, Bucket& issuer, const Answer& answer,
                                     Duration wait) {
    const Time now = answer.seen.received;
    if (credit(now) > Duration(0) && wait < latency_.mean()) {
        latency_.distrust(now);
        learn_credit(now);
    }
    const HashId hash = registry_.find_hash(answer.hash);
    const bool foreign = !answer.hash.empty() && issuer.key.hash_known && issuer.key.name != hash;
    if (!foreign) {
        if (!issuer.window.refuse(answer.seen, wait, credit(now))) block_lane(lane, now + wait);
        return;
    }
    block_lane(lane, now + wait);
    Bucket* named = hash == 0 ? nullptr : registry_.find_bucket({hash, lane.key.major, true});
    if (named != nullptr) {
        named->window.refuse(answer.seen, wait, credit(now));
        serve(*named, now);
    }
}

inline void Scheduler::block_lane(Lane& lane, Time until) {
    lane.blocked_until = std::max(lane.blocked_until, until);
    // Whoever cannot wait that long hears of it now.
    for (auto at = lane.waiting.begin(); lane.bounded != 0 && at != lane.waiting.end();) {
        Waiter& waiter = *at++;
        if (waiter.bound >= lane.blocked_until) continue;
        refuse(waiter);
        ++counters_.refused_waits;
    }
}

} // namespace sluice::core

#endif
