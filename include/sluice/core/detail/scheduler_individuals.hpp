// SPDX-License-Identifier: MIT
//
// Scheduler: what else decides once a bucket has room, and which of the buckets that wait goes
// next: the individual that a request counts against, and the address. Included by
// core/scheduler.hpp only.
//
// Interactions count against no individual until one of them meets a 429 of the global limit. That
// shows that they are counted, and as far as is known only the address can be. So for an hour they
// take slots of the address.
#ifndef SLUICE_CORE_DETAIL_SCHEDULER_INDIVIDUALS_HPP
#define SLUICE_CORE_DETAIL_SCHEDULER_INDIVIDUALS_HPP

#include <sluice/core/scheduler.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace sluice::core {

/// True if the individual may send one more request. What blocks the whole address is asked
/// separately.
inline bool Scheduler::lets_go(Individual who, Time now) {
    const auto credit_now = [&] { return credit(now); };
    if (outage_of(who).start.opens(now) > now) return false;
    if (who == Individual::token) return bot_.admits(now, credit_now);
    if (who == Individual::address) {
        return gate_->with_tokenless(
            [&](Allowance& allowed) { return allowed.admits(now, credit_now); });
    }
    if (interactions_.opens(now) > now) return false;
    return !interactions_bound(now) || gate_->with_tokenless([&](Allowance& allowed) {
        return allowed.limit.has_room(now, credit_now);
    });
}

/// Returns the next moment after `now` at which lets_go() may become true by itself, or `never`.
inline Time Scheduler::next_chance(Individual who, Time now) {
    const Time again = outage_of(who).start.opens(now);
    if (again > now) return again;
    if (who == Individual::token) return bot_.next_change(now, credit(now));
    Time next = interactions_.opens(now);
    if (who == Individual::address) {
        next = gate_->with_tokenless(
            [&](Allowance& allowed) { return allowed.next_change(now, credit(now)); });
    } else if (next <= now) {
        next = gate_->with_tokenless(
            [&](Allowance& allowed) { return allowed.limit.next_change(now, credit(now)); });
    }
    return look_again(next, closed_until(who, now), now);
}

/// Returns when to look again. This scheduler cannot hear of the answers to another limiter of the
/// same address, so it looks every 50 ms while the gate is shared. Before `closed` no answer
/// changes anything.
inline Time Scheduler::look_again(Time next, Time closed, Time now) const noexcept {
    constexpr Duration often = std::chrono::milliseconds(50);
    return closed > now || !gate_->shared() ? next : lesser(next, now + often);
}

/// Returns when the individual admits the request behind `ahead` waiting ones, if answers come at
/// once.
inline Time Scheduler::predict_chance(Individual who, Time now, std::int64_t ahead) {
    const auto limited = [&](GlobalLimit& limit) { return limit.predict(now, ahead, credit(now)); };
    Time at = closed_until(who, now);
    if (who == Individual::token) return greater(at, limited(bot_.limit));
    if (who == Individual::interaction && !interactions_bound(now)) return at;
    return gate_->with_tokenless(
        [&](Allowance& allowed) { return greater(at, limited(allowed.limit)); });
}

/// Returns a lower bound: nothing of the individual goes before, whatever is answered meanwhile.
inline Time Scheduler::closed_until(Individual who, Time now) {
    const auto close = [now](const SlowStart& start) { return start.closed_until(now); };
    return greater(with_start(who, close), close(outage_of(who).start));
}

inline void Scheduler::pass(const Lane& lane, Time now, Place& place) {
    const Individual who = lane.traits.individual();
    const bool bound = who == Individual::interaction && interactions_bound(now);
    if (who == Individual::address || bound) {
        place.slot = gate_->with_tokenless([&](Allowance& all) { return all.limit.take(now); });
        place.slot_of = SlotOf::address;
    }
    with_start(who, [now](SlowStart& start) { start.pass(now); });
    outage_of(who).start.pass(now);
    gate_->pass(now);
    if (lane.traits.path_token && !latches_.empty()) try_latch(lane, now);
    Crowd* crowd = lane.crowded ? crowd_of(lane) : nullptr;
    place.in_crowd = crowd != nullptr;
    if (crowd != nullptr) crowd->start.pass(now);
}

/// Notes that a request that had passed is no longer in flight, and serves others of its crowd.
inline void Scheduler::land(const Place& place, Time now) {
    const Individual who = place.lane->traits.individual();
    with_start(who, [&](SlowStart& start) { start.land(place.sent); });
    outage_of(who).start.land(place.sent);
    gate_->land(place.sent);
    if (!place.in_crowd) return;
    Crowd& crowd = *place.lane->family->crowd;
    crowd.start.land(place.sent);
    serve_crowd(crowd, now);
}

/// Notes what an answer shows of the limit on all requests, and of the server.
inline void Scheduler::note_outcome(const Lane& lane, const Answer& answer, AnswerKind kind,
                                    Time now) {
    const Individual who = lane.traits.individual();
    const Time sent = answer.seen.sent;
    const auto succeed = [sent](SlowStart& start) { start.succeed(sent); };
    if (passed_global(answer, kind)) {
        with_start(who, succeed);
        succeed(outage_of(who).start);
    }
    if (kind != AnswerKind::server_error) {
        if (lane.traits.exempt && kind == AnswerKind::success) ++exempt_successes_;
        return;
    }
    const std::uint64_t all = counters_.by_kind[static_cast<std::size_t>(AnswerKind::success)];
    const bool exempt = who == Individual::interaction;
    outage_of(who).fail(lane.route, exempt ? exempt_successes_ : all - exempt_successes_, sent, now,
                        greater(pause_after(settings_.backoff, 1, arrivals_, now), Duration(1)),
                        settings_.backoff.most);
}

/// A limit that no header of this lane shows refused one of its requests: the lane waits for the
/// end told. Other lanes may wait for the same limit.
inline void Scheduler::join_crowd(Lane& lane, Time now) {
    if (lane.family == nullptr) return;
    lane.crowded = true;
    if (lane.family->crowd == nullptr) lane.family->crowd = std::make_unique<Crowd>();
    Crowd& crowd = *lane.family->crowd;
    const bool idle = crowd.start.idle();
    crowd.add(lane.major(), now, lane.blocked_until);
    if (idle && !crowd.start.idle()) ++crowds_;
}

/// Serves lanes of a crowd after one of it was answered, lost or cancelled: at most as many as a
/// round trip can release. Those that are left look again by themselves.
inline void Scheduler::serve_crowd(Crowd& crowd, Time now) {
    std::int64_t left = SlowStart::wide;
    for (; !crowd.waiting.empty() && left > 0 && crowd.start.opens(now) <= now; --left) {
        const LaneKey key = crowd.waiting.front();
        crowd.waiting.pop_front();
        Lane* next = registry_.find_lane(key);
        if (next == nullptr) continue;
        next->in_line = false;
        serve(*next->bucket, now);
    }
}

inline void Scheduler::note_crowd_success(const Lane& lane, Time sent, Time now) {
    Crowd* crowd = crowd_of(lane);
    if (crowd == nullptr) return;
    crowd->start.succeed(sent);
    crowd->succeeded = greater(crowd->succeeded, sent);
    if (crowd->start.idle()) --crowds_;
    serve_crowd(*crowd, now);
}

/// The lane's wait is over, but others of its crowd go first as a trial: the lane joins the crowd's
/// queue.
inline void Scheduler::wait_in_line(Lane& lane) {
    if (lane.in_line || !lane.crowded || crowd_of(lane) == nullptr) return;
    lane.family->crowd->waiting.push_back({lane.route, lane.major(), lane.tag});
    lane.in_line = true;
}

/// Call when the answer has come.
inline void Scheduler::give_back_slot(const Place& place, Time now) {
    if (place.slot_of == SlotOf::token) return bot_.limit.give_back(place.slot, now);
    if (place.slot_of == SlotOf::nobody) return;
    gate_->with_tokenless([&](Allowance& allowed) { allowed.limit.give_back(place.slot, now); });
}

inline void Scheduler::lose_slot(const Place& place, Time now) {
    if (place.slot_of == SlotOf::token) return bot_.limit.lose(place.slot, now);
    if (place.slot_of == SlotOf::nobody) return;
    gate_->with_tokenless([&](Allowance& allowed) { allowed.limit.lose(place.slot, now); });
}

inline void Scheduler::cancel_slot(const Place& place) {
    if (place.slot_of == SlotOf::token) return bot_.limit.cancel(place.slot);
    if (place.slot_of == SlotOf::nobody) return;
    gate_->with_tokenless([&](Allowance& allowed) { allowed.limit.cancel(place.slot); });
}

/// Applies a 429 of the global limit that told to wait so long. Returns how long the wait has
/// become.
inline Duration Scheduler::block_individual(const Lane& lane, Time sent, Time now, Duration told) {
    const Individual who = lane.traits.individual();
    constexpr Duration memory = std::chrono::hours(1);
    if (who == Individual::interaction) bound_until_ = now + memory;
    return with_start(who, [&](SlowStart& start) { return start.refuse(sent, now, told); });
}

/// Returns the individual that has the next slot, or nothing. Interactions have three seconds to
/// answer (Discord docs, "Receiving and Responding"), so they go first. Where they take turns with
/// the others, because the address is blocked or spaced, every fourth turn goes to the others.
inline std::optional<Individual> Scheduler::next_served(Time now) {
    if (gate_->opens(now) > now) return std::nullopt;
    constexpr std::uint8_t most_in_a_row = 3;
    std::optional<Individual> next;
    for (const Individual who : individuals) {
        const auto& waiting = ready_.of(who);
        if (waiting.empty() || !lets_go(who, now)) continue;
        const bool earlier = next == Individual::interaction
                                 ? favoured_ >= most_in_a_row
                                 : next && waiting.top_key() < ready_.of(*next).top_key();
        if (!next || earlier) next = who;
    }
    return next;
}

/// Grants what the first bucket in the queue may have, for as long as its next waiter is first
/// again: when thousands wait for one bucket, serve() would find out no more for each of them.
inline void Scheduler::serve_first_ready(Individual who, Time now, std::size_t& left) {
    Bucket& bucket = ready_.of(who).top();
    if (is_outdated(bucket)) [[unlikely]] {
        --left;
        return serve(bring_up_to_date(bucket, now), now);
    }
    const bool in_turns = !gate_->untroubled() && ready_.has_others(who);
    for (Lane* lane = lane_with_room(bucket, now);
         lane != nullptr && lane->traits.individual() == who;) {
        if (left == 0 || !may_pass(*lane, now)) return;
        --left;
        favoured_ = who == Individual::interaction && in_turns
                        ? static_cast<std::uint8_t>(std::min(favoured_ + 1, UINT8_MAX))
                        : std::uint8_t{0};
        grant(*lane, now);
        lane = lane_with_room(bucket, now);
        if (in_turns || lane == nullptr) break;
        if (!ready_.keep_top(who, lane->waiting.front().place.arrival)) break;
    }
    serve(bucket, now);
    if (left != 0) --left;
}

[[gnu::noinline]] inline void Scheduler::serve_global(Time now, std::size_t left) {
    if (unfinished_) return; // an earlier one may not be in ready_ yet
    global_wake_ = never;
    while (!ready_.empty() && left != 0) {
        const auto who = next_served(now);
        if (!who) break;
        serve_first_ready(*who, now, left);
    }
    if (ready_.empty()) return;
    if (left == 0) return stop_here(now);
    global_wake_ = next_ready(now);
}

/// Returns when one of the buckets that wait may go by itself.
inline Time Scheduler::next_ready(Time now) {
    const Time opens = gate_->opens(now);
    if (opens > now) return look_again(opens, gate_->closed_until(now), now);
    Time next = never;
    for (const Individual who : individuals) {
        if (!ready_.of(who).empty()) next = lesser(next, next_chance(who, now));
    }
    return next;
}

/// Returns a lower bound of how many requests of other buckets go before one that arrived then, as
/// soon as the individual admits them. It looks at a few buckets, and counts one for each of the
/// others.
inline std::int64_t Scheduler::ready_before(const Bucket& own, Individual who, Time now,
                                            std::uint64_t arrival) {
    constexpr std::size_t most_looked_at = 64;
    const auto& waiting = ready_.of(who);
    std::int64_t before = 0;
    waiting.each_of_first(most_looked_at, [&](Bucket& bucket, std::uint64_t turn) {
        if (&bucket == &own || turn >= arrival) return;
        before += std::clamp<std::int64_t>(available(bucket, now), 1, bucket.queued);
    });
    if (waiting.size() > most_looked_at)
        before += static_cast<std::int64_t>(waiting.size() - most_looked_at);
    return before;
}

} // namespace sluice::core

#endif
