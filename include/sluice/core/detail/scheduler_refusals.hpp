// SPDX-License-Identifier: MIT
//
// Scheduler: what a 429 blocks and for how long, which waits become longer than their bounds, and
// after which answers nothing is sent any more. Included by core/scheduler.hpp only.
#ifndef SLUICE_CORE_DETAIL_SCHEDULER_REFUSALS_HPP
#define SLUICE_CORE_DETAIL_SCHEDULER_REFUSALS_HPP

#include <sluice/core/scheduler.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

namespace sluice::core {

/// Returns how long a refusal makes requests wait: the time it told, or a backoff that grows and is
/// never 0. A told wait that did not suffice grows as well: 1 ns, told each time, was repeated at
/// the speed of round trips. Also closes the address after a 429 from Cloudflare, and the
/// individual after one of the global limit.
inline Duration Scheduler::wait_of(Lane& lane, const Answer& answer, AnswerKind kind) noexcept {
    constexpr Duration least = std::chrono::seconds(1);
    const Time sent = answer.seen.sent;
    const Time now = answer.seen.received;
    Duration told = answer.retry_after.value_or(Duration(0));
    if (told == Duration(0) && kind == AnswerKind::user_limit)
        told = answer.seen.reset_after.value_or(Duration(0));
    if (told > Duration(0)) told += settings_.retry_margin;
    if (kind == AnswerKind::cloudflare)
        return gate_->refuse(sent, now, told > Duration(0) ? std::optional(told) : std::nullopt);
    if (kind == AnswerKind::global_limit)
        return block_individual(lane, sent, now, told > Duration(0) ? told : least);
    constexpr int most_doublings = 6;
    const int doublings = lane.strikes - (told > Duration(0) ? 2 : 1);
    if (doublings < 0 && told > Duration(0)) return told;
    return greater(told, least * (1 << std::clamp(doublings, 0, most_doublings)));
}

[[gnu::noinline]] inline void Scheduler::apply_refusal(Lane& lane, Bucket& issuer,
                                                       const Answer& answer, AnswerKind kind,
                                                       Time now) {
    const bool hidden = kind == AnswerKind::headerless || kind == AnswerKind::sublimit ||
                        kind == AnswerKind::shared_limit;
    const bool own = kind != AnswerKind::global_limit && kind != AnswerKind::cloudflare;
    const Crowd* crowd = crowd_of(lane);
    // Other lanes of this client took the slots that came back, so this does not show that the wait
    // was too short.
    if (crowd != nullptr && crowd->succeeded > lane.struck) lane.strikes = 0;
    const bool news = own && lane.strike(answer.seen.sent, now);
    if (hidden && news) lane.narrow_down();
    const Duration wait = wait_of(lane, answer, kind);
    note_answer(EventKind::refused, lane, answer, kind, wait);
    switch (kind) {
    case AnswerKind::user_limit:
        refuse_bucket(lane, issuer, answer, wait);
        break;
    case AnswerKind::global_limit:
        refuse_bounds_before(now + wait, lane.traits.individual(), now);
        break;
    case AnswerKind::cloudflare:
        refuse_bounds_before(now + wait, std::nullopt, now);
        break;
    case AnswerKind::headerless:
        issuer.window.narrow();
        block_lane(lane, now + wait);
        break;
    case AnswerKind::sublimit:
        block_lane(lane, now + wait);
        join_crowd(lane, now);
        accept_refusal(lane, answer);
        break;
    default: // shared: what others spend does not lower our counts
        block_lane(lane, now + wait, true);
        join_crowd(lane, now);
        break;
    }
}

/// Applies the headers of a refusal by a hidden limit: they still describe the visible bucket.
inline void Scheduler::accept_refusal(const Lane& lane, const Answer& answer) {
    const Observation& seen = answer.seen;
    const HashId hash = registry_.find_hash(answer.hash);
    Bucket* named = hash == 0 ? nullptr : registry_.find_bucket(registry_.key_of(hash, lane));
    if (named == nullptr || seen.limit != named->window.limit()) return;
    // A success with nothing spent shows that the server counts after it reports. A request that
    // was not counted does not show that.
    if (!seen.remaining || *seen.remaining >= *seen.limit) return;
    named->accept(seen, credit(seen.received));
    named->settle_lost(seen.sent, seen.received);
}

/// The hash of a refusal never changes a mapping: a tighter limit may have answered under its own
/// hash (discord-api-docs#7394, 2025-02). If it names another bucket than the one that issued the
/// request, that bucket is spent, this lane waits, and the lane draws on that bucket as well from
/// then on.
inline void Scheduler::refuse_bucket(Lane& lane, Bucket& issuer, const Answer& answer,
                                     Duration wait) {
    const Time now = answer.seen.received;
    const HashId hash = registry_.find_hash(answer.hash);
    Bucket* known = hash == 0 ? nullptr : registry_.find_bucket(registry_.key_of(hash, lane));
    // If the end of the window was only an estimate and came too early, the credit is not at fault.
    const bool guessed = known != nullptr && known->asks();
    if (!guessed && credit(now) > Duration(0) && wait < latency_.mean()) {
        latency_.distrust(now);
        credit_known_ = false;
    }
    if (hash != 0 && shows_common(lane, issuer, hash, answer, now)) {
        if (!lane.bucket->window.refuse(answer.seen, wait, credit(now)))
            block_lane(lane, now + wait);
        return;
    }
    const bool silent = known != nullptr && known->is_silent();
    if (known != nullptr && !silent && !issuer.key.hash_known && !issuer.window.answered()) {
        // No answer has shown this route's bucket yet. Until one does, the lane queues for the
        // bucket that refused it: retried alone, it would come too late each time others are
        // waiting.
        Bucket& counter = link(issuer, hash);
        if (!counter.refuse(answer.seen, wait, credit(now))) block_lane(lane, now + wait);
        return;
    }
    const bool foreign = issuer.key.hash_known ? !answer.hash.empty() && issuer.key.name != hash
                                               : silent; // no route's successes name it
    if (!foreign) {
        if (!issuer.refuse(answer.seen, wait, credit(now))) block_lane(lane, now + wait);
        issuer.settle_lost(answer.seen.sent, now);
        for (Lane& other : issuer.lanes)
            refuse_bounds_before(other, issuer.blocked_until());
        return;
    }
    block_lane(lane, now + wait);
    join_crowd(lane, now);
    if (Bucket* named = refused_by(lane, answer, now)) {
        named->refuse_hidden(answer.seen, wait, credit(now));
        named->settle_lost(answer.seen.sent, now);
        serve(*named, now);
        rest(*named, now);
    }
}

inline void Scheduler::block_lane(Lane& lane, Time until, bool shared) {
    if (until > lane.blocked_until) {
        lane.blocked_until = until;
        lane.shared = shared;
        lane.crowded = false;
    }
    refuse_bounds_before(lane, lane.blocked_until);
}

/// Refuses the waiters of this lane whose bounds lie before `until`. It passes over at most a
/// thousand that can wait that long; those behind them are refused when their bounds have passed.
inline void Scheduler::refuse_bounds_before(Lane& lane, Time until) {
    if (bounds_.empty() || bounds_.top_key() >= until) return; // no waiter has such a bound
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

/// Refuses every waiter whose bound lies before the end of a block: of the individual `only`, or of
/// the whole address if that is absent.
inline void Scheduler::refuse_bounds_before(Time until, std::optional<Individual> only, Time now) {
    std::vector<std::pair<Waiter*, Time>> spared; // their bounds are set again at the end
    while (!bounds_.empty() && bounds_.top_key() < until) {
        Waiter& waiter = bounds_.top();
        if (only && waiter.place.lane->traits.individual() != *only) {
            if (spared.size() == most_passed_over) break;
            spared.emplace_back(&waiter, bounds_.top_key());
            if (!delayed_.contains(waiter)) --waiter.place.lane->bounded;
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
        if (!delayed_.contains(*waiter)) ++waiter->place.lane->bounded;
        bounds_.set(*waiter, bound);
    }
}

/// Refuses waiters that an answer has made wait longer than their bounds. Those at the back wait
/// longest, so the search begins there and stops at the first that still fits. An earlier waiter
/// with a tighter bound is refused when that has passed.
[[gnu::noinline]] inline void Scheduler::recheck_bounds(Bucket& bucket, Time now) {
    for (Lane& lane : bucket.lanes) {
        while (lane.bounded != 0) {
            Waiter& last = lane.waiting.back();
            if (!bounds_.contains(last)) break;
            auto at = predict_for(bucket, now, lane.queued - 1, Foresight::certain);
            if (lane.draws) at = predict_draws(lane, at, now, lane.queued - 1, Foresight::certain);
            if (!at || *at <= bounds_.key_of(last)) break;
            refuse(last, Refused::wait_too_long);
            ++counters_.refused_waits;
        }
    }
}

[[gnu::noinline]] inline std::optional<Refused> Scheduler::find_bar(const Lane& lane, Time now) {
    if (gate_->stopped(now)) return Refused::too_many_invalid;
    if (unauthorized_ && !lane.traits.tokenless) return Refused::unauthorized;
    if (latches_.empty() || !lane.traits.path_token) return std::nullopt;
    const auto at = latches_.find(lane.major());
    return at != latches_.end() && now < at->second.until ? std::optional(at->second.why)
                                                          : std::nullopt;
}

/// Sends nothing more to this webhook or interaction until then, and refuses its waiters. Beyond
/// most_latches, the oldest is forgotten.
inline void Scheduler::latch(Lane& lane, Refused why, Time until, Time now) {
    const auto [at, added] = latches_.insert_or_assign(lane.major(), Latch{why, until});
    if (added) latched_.push_back(lane.major());
    while (latched_.size() > most_latches) {
        latches_.erase(latched_.front());
        latched_.pop_front();
    }
    refuse_all_of(lane, why, now);
}

/// Lets one request try a webhook or interaction that was latched: the others wait for its answer,
/// or until that is overdue.
inline void Scheduler::try_latch(const Lane& lane, Time now) noexcept {
    const auto at = latches_.find(lane.major());
    if (at != latches_.end()) at->second.until = now + SlowStart::patience;
}

/// Refuses the waiters of this webhook or interaction. One that this misses is refused when it
/// could go.
inline void Scheduler::refuse_all_of(Lane& lane, Refused why, Time now) {
    const auto refuse_one = [&](Lane& other) { refuse_lane(other, why, now); };
    const auto same = [&](const Lane& other) {
        return other.traits.path_token && other.major() == lane.major();
    };
    refuse_delayed(same, why, now);
    for (Lane& other : lane.bucket->lanes) {
        if (other.major() == lane.major()) refuse_one(other);
    }
    registry_.each_lane_of_webhook(lane.major(), refuse_one);
}

inline void Scheduler::refuse_lane(Lane& lane, Refused why, Time now) {
    if (lane.queued == 0) return;
    while (lane.queued != 0)
        refuse(lane.waiting.front(), why);
    serve(*lane.bucket, now);
}

/// Counts invalid requests, which may end in a ban, and refuses requests that can only add to them.
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
    judge_tokens(lane, answer, now);
}

/// Decides which token an answer shows to be invalid, and refuses its waiters. Codes: Discord docs,
/// "JSON Error Codes". Only answers of Discord itself count: a proxy in between has codes of its
/// own.
inline void Scheduler::judge_tokens(Lane& lane, const Answer& answer, Time now) {
    constexpr int none = -1;
    constexpr int general = 0;
    constexpr int unauthorized = 40001;
    constexpr int invalid_webhook_token = 50027;
    constexpr int unknown_webhook = 10015;
    // An interaction's token lives this long (Discord docs, "Receiving and Responding"); later the
    // latch is of no use. A webhook's token may be corrected, so it is tried again.
    constexpr Duration life = std::chrono::minutes(15);
    constexpr Duration webhook_pause = std::chrono::minutes(10);
    if (!answer.from_discord) return;
    const bool path_refused =
        lane.traits.path_token && (lane.traits.tokenless || answer.code == invalid_webhook_token);
    if (answer.status == 401 && path_refused) {
        latch(lane, Refused::invalid_token, now + (lane.traits.exempt ? life : webhook_pause), now);
    } else if (answer.status == 401 && lane.traits.bots && !lane.traits.tokenless &&
               !answer.old_token &&
               (answer.code == none || answer.code == general || answer.code == unauthorized)) {
        if (std::exchange(unauthorized_, true)) return;
        refuse_delayed([](const Lane& other) { return !other.traits.tokenless; },
                       Refused::unauthorized, now);
        registry_.each_waiting_lane([&](Lane& other) {
            if (!other.traits.tokenless) refuse_lane(other, Refused::unauthorized, now);
        });
    } else if (answer.status == 404 && answer.code == unknown_webhook && lane.traits.webhook) {
        latch(lane, Refused::unknown_webhook, never, now);
    } else if (answer.status < 400 && lane.traits.path_token && !latches_.empty()) {
        latches_.erase(lane.major()); // it works again
    }
}

} // namespace sluice::core

#endif
