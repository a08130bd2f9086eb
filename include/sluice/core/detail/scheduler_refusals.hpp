// SPDX-License-Identifier: MIT
//
// Scheduler: what a 429 blocks and for how long, whose wait it makes too long, and after which
// answers nothing more goes out at all. Included by core/scheduler.hpp only.
#ifndef SLUICE_CORE_DETAIL_SCHEDULER_REFUSALS_HPP
#define SLUICE_CORE_DETAIL_SCHEDULER_REFUSALS_HPP

#include <sluice/core/scheduler.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

namespace sluice::core {

/// How long a refusal makes us wait: what it told, else a backoff that grows and never is 0.
inline Duration Scheduler::wait_of(Lane& lane, const Answer& answer, AnswerKind kind,
                                   bool news) noexcept {
    const Duration told = answer.retry_after.value_or(Duration(0));
    if (told > Duration(0)) return told + settings_.retry_margin;
    if (kind == AnswerKind::user_limit &&
        answer.seen.reset_after.value_or(Duration(0)) > Duration(0)) {
        return *answer.seen.reset_after + settings_.retry_margin;
    }
    if (kind == AnswerKind::cloudflare) {
        return gate_->back_off(answer.seen.sent, answer.seen.received);
    }
    if (news && lane.strikes < Lane::most_strikes) ++lane.strikes;
    return std::chrono::seconds(1) * (1 << (std::max<int>(1, lane.strikes) - 1));
}

[[gnu::noinline]] inline void Scheduler::apply_refusal(Lane& lane, Bucket& issuer,
                                                       const Answer& answer, AnswerKind kind,
                                                       Time now) {
    const bool hidden = kind == AnswerKind::headerless || kind == AnswerKind::sublimit ||
                        kind == AnswerKind::shared_limit;
    const bool tells = answer.retry_after.value_or(Duration(0)) > Duration(0);
    const bool news = (hidden || !tells) && lane.strike(answer.seen.sent, now);
    if (hidden && news) lane.narrow_down();
    const Duration wait = wait_of(lane, answer, kind, news);
    note_answer(EventKind::refused, lane, answer, kind, wait);
    switch (kind) {
    case AnswerKind::user_limit:
        refuse_bucket(lane, issuer, answer, wait);
        break;
    case AnswerKind::global_limit:
        global_.block_until(now + wait);
        refuse_bounds_before(global_.blocked_until(), false, now);
        break;
    case AnswerKind::cloudflare:
        gate_->block_until(now + wait);
        refuse_bounds_before(now + wait, true, now);
        break;
    case AnswerKind::headerless:
        issuer.window.narrow();
        block_lane(lane, now + wait);
        break;
    case AnswerKind::sublimit:
        block_lane(lane, now + wait);
        accept_refusal(lane, answer);
        break;
    default: // shared: what others spend lowers no count of ours
        block_lane(lane, now + wait, true);
        break;
    }
}

/// A hidden limit refused the request; what the headers show of the visible one is as true as ever.
inline void Scheduler::accept_refusal(const Lane& lane, const Answer& answer) {
    const Observation& seen = answer.seen;
    const HashId hash = registry_.find_hash(answer.hash);
    Bucket* named = hash == 0 ? nullptr : registry_.find_bucket(registry_.key_of(hash, lane));
    if (named == nullptr || seen.limit != named->window.limit()) return;
    // A request that was not counted says nothing about when those that are counted are.
    if (!seen.remaining || *seen.remaining >= *seen.limit) return;
    named->accept(seen, credit(seen.received));
    named->settle_lost(seen.sent, seen.received);
}

/// The hash of a refusal never changes a mapping: a tighter limit may have answered in its own name
/// (discord-api-docs#7394, 2025-02). If it names another bucket than the one that issued the
/// request, that bucket is spent, and this lane waits.
inline void Scheduler::refuse_bucket(Lane& lane, Bucket& issuer, const Answer& answer,
                                     Duration wait) {
    const Time now = answer.seen.received;
    if (credit(now) > Duration(0) && wait < latency_.mean()) {
        latency_.distrust(now);
        credit_known_ = false;
    }
    const HashId hash = registry_.find_hash(answer.hash);
    if (hash != 0 && !issuer.key.hash_known && !issuer.window.answered() &&
        registry_.find_bucket(registry_.key_of(hash, lane)) != nullptr) {
        // No answer has shown this route's bucket yet. Until one does it queues for the one that
        // refused it: repeated alone, it would come too late each time that others are waiting.
        Bucket& counter = link(issuer, hash);
        if (!counter.window.refuse(answer.seen, wait, credit(now))) block_lane(lane, now + wait);
        return;
    }
    const bool foreign = !answer.hash.empty() && issuer.key.hash_known && issuer.key.name != hash;
    if (!foreign) {
        if (!issuer.window.refuse(answer.seen, wait, credit(now))) block_lane(lane, now + wait);
        issuer.settle_lost(answer.seen.sent, now);
        for (Lane& other : issuer.lanes)
            refuse_bounds_before(other, issuer.window.blocked_until());
        return;
    }
    block_lane(lane, now + wait);
    Bucket* named = hash == 0 ? nullptr : registry_.find_bucket(registry_.key_of(hash, lane));
    if (named != nullptr) {
        named->window.refuse(answer.seen, wait, credit(now));
        serve(*named, now);
    }
}

inline void Scheduler::block_lane(Lane& lane, Time until, bool shared) {
    if (until > lane.blocked_until) {
        lane.blocked_until = until;
        lane.shared = shared;
    }
    refuse_bounds_before(lane, lane.blocked_until);
}

/// Whoever cannot wait that long hears of it now; behind thousands who can, when the bound has
/// passed.
inline void Scheduler::refuse_bounds_before(Lane& lane, Time until) {
    if (bounds_.empty() || bounds_.top_key() >= until) return; // nobody anywhere
    std::size_t passed_over = 0;
    for (auto at = lane.waiting.begin(); lane.bounded != 0 && at != lane.waiting.end();) {
        Waiter& waiter = *at++;
        if (bound_of(waiter) >= until) {
            if (++passed_over == most_passed_over) return;
            continue;
        }
        refuse(waiter, Refused::wait_too_long);
        ++counters_.refused_waits;
    }
}

/// The same for whoever a block of the whole token, or of the address, is too long for.
inline void Scheduler::refuse_bounds_before(Time until, bool exempt_too, Time now) {
    std::vector<std::pair<Waiter*, Time>> spared; // without a bound for as long as this takes
    while (!bounds_.empty() && bounds_.top_key() < until) {
        Waiter& waiter = bounds_.top();
        if (!exempt_too && waiter.place.lane->traits.exempt) {
            if (spared.size() == most_passed_over) break;
            spared.emplace_back(&waiter, bounds_.top_key());
            --waiter.place.lane->bounded;
            bounds_.erase(waiter);
            continue;
        }
        Bucket& bucket = *waiter.place.lane->bucket;
        refuse(waiter, Refused::wait_too_long);
        ++counters_.refused_waits;
        serve(bucket, now);
    }
    for (const auto& [waiter, bound] : spared) {
        if (waiter->state != WaiterState::queued) continue;
        ++waiter->place.lane->bounded;
        bounds_.set(*waiter, bound);
    }
}

/// An answer may have made waits longer than their bounds. Those at the back wait longest, so it
/// looks from there and stops at the first that still fits; an earlier one with a tighter bound
/// leaves when that has passed.
[[gnu::noinline]] inline void Scheduler::recheck_bounds(Bucket& bucket, Time now) {
    for (Lane& lane : bucket.lanes) {
        while (lane.bounded != 0) {
            Waiter& last = lane.waiting.back();
            if (!bounds_.contains(last)) break;
            const auto at = predict_for(bucket, now, lane.queued - 1, Foresight::certain);
            if (!at || *at <= bounds_.key_of(last)) break;
            refuse(last, Refused::wait_too_long);
            ++counters_.refused_waits;
        }
    }
}

[[gnu::noinline]] inline std::optional<Refused> Scheduler::find_bar(const Lane& lane, Time now) {
    if (gate_->stopped(now)) return Refused::too_many_invalid;
    if (unauthorized_ && !lane.traits.tokenless) return Refused::unauthorized;
    if (!gone_webhooks_.empty() && gone_webhooks_.contains(lane.major())) {
        return Refused::unknown_webhook;
    }
    return std::nullopt;
}

inline void Scheduler::add_gone_webhook(const Major& major) {
    if (!gone_webhooks_.insert(major).second) return;
    gone_order_.push_back(major);
    if (gone_order_.size() <= most_gone_webhooks) return;
    gone_webhooks_.erase(gone_order_.front());
    gone_order_.pop_front();
}

inline void Scheduler::refuse_lane(Lane& lane, Refused why, Time now) {
    if (lane.queued == 0) return;
    while (lane.queued != 0)
        refuse(lane.waiting.front(), why);
    serve(*lane.bucket, now);
}

/// Counts what may end in a ban, and stops what can only add to it.
/// Discord docs, "Invalid Request Limit": 401, 403 and 429 count, a 429 of scope `shared` does not.
[[gnu::noinline]] inline void Scheduler::protect(Lane& lane, const Answer& answer, AnswerKind kind,
                                                 Time now) {
    const bool shared = kind == AnswerKind::shared_limit;
    const int status = answer.status;
    if (status == 401 || status == 403 || (status == 429 && (!shared || gate_->counts_shared()))) {
        gate_->add_invalid(now);
        if (gate_->slowed(now) && !std::exchange(slowed_, true)) note(EventKind::slowed, lane);
        if (gate_->stopped(now)) {
            if (!std::exchange(stopped_, true)) note(EventKind::stopped, lane);
            refuse_all(now, Refused::too_many_invalid);
        }
    } else if (slowed_ || stopped_) {
        slowed_ = gate_->slowed(now);
        stopped_ = gate_->stopped(now);
    }
    if (status == 401 && !lane.traits.tokenless && !answer.old_token &&
        !std::exchange(unauthorized_, true)) {
        registry_.each_waiting_lane([&](Lane& other) {
            if (!other.traits.tokenless) refuse_lane(other, Refused::unauthorized, now);
        });
    }
    if (status == 404 && lane.traits.webhook && !gone_webhooks_.contains(lane.major())) {
        add_gone_webhook(lane.major());
        // One that this misses is refused at its turn.
        const auto refuse_all_of = [&](Lane& other) {
            refuse_lane(other, Refused::unknown_webhook, now);
        };
        for (Lane& other : lane.bucket->lanes)
            refuse_all_of(other);
        registry_.each_lane_of_webhook(lane.major(), refuse_all_of);
    }
}

} // namespace sluice::core

#endif
