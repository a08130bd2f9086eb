// SPDX-License-Identifier: MIT
//
// Scheduler, first half: admission, queues and wake times. Included by core/scheduler.hpp only.
#ifndef SLUICE_CORE_DETAIL_SCHEDULER_ADMISSION_HPP
#define SLUICE_CORE_DETAIL_SCHEDULER_ADMISSION_HPP

#include <sluice/core/scheduler.hpp>

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

namespace sluice::core {

inline Scheduler::Scheduler(const Settings& settings, std::shared_ptr<Gate> gate)
    : settings_(settings),
      gate_(gate ? std::move(gate) : std::make_shared<Gate>(InvalidRequestLimits(), false)),
      latency_(settings.credit_cap) {
    bot_.limit.configure(settings.global_limit, settings.global_period,
                         settings.longest_global_hold);
    gate_->join();
}

inline void Scheduler::set_global(std::int64_t limit, Duration period, Time now) {
    bot_.limit.configure(limit, period, settings_.longest_global_hold);
    advance(now);
    serve_global(now);
}

inline std::int64_t Scheduler::available(Bucket& bucket, Time now) {
    const std::int64_t probes = bucket.key.hash_known ? probes_.count(bucket.key.major, now) : 0;
    const Duration credit = credit_for(bucket, now);
    const std::int64_t room = bucket.available(now, bucket.out(now) + probes, credit);
    if (!bucket.in_doubt()) [[likely]]
        return room;
    return std::min<std::int64_t>(room, bucket.may_ask() ? 1 : 0);
}

inline Lane* Scheduler::next_lane(Bucket& bucket, Time now, bool held_back_too) {
    Lane* next = nullptr;
    const bool drawn = bucket.is_drawn();
    for (Lane& lane : bucket.lanes) {
        if (lane.queued == 0) continue;
        LaneStatus status = lane_status(lane, now);
        if (held_back_too && status.awaits == AwaitedAnswers::own)
            status.awaits = AwaitedAnswers::none;
        if (!status.may_go(now)) continue;
        const std::uint64_t arrival = lane.waiting.front().place.arrival;
        if (next != nullptr && next->waiting.front().place.arrival < arrival) continue;
        if ((drawn || lane.draws) && !draws_admit(lane, now, arrival)) continue;
        next = &lane;
    }
    return next;
}

inline void Scheduler::hold(Lane& lane, Bucket& bucket, Time now, Place& place) {
    place.slot_of = SlotOf::nobody;
    if (lane.traits.individual() == Individual::token) {
        place.slot = bot_.limit.take(now); // may throw, hence first
        place.slot_of = SlotOf::token;
    }
    if (place.lane == nullptr) {
        place.lane = &lane;
        lane.holders.fetch_add(1, std::memory_order_relaxed);
    }
    if (place.arrival == 0) place.arrival = ++arrivals_;
    place.bucket = &bucket;
    place.sent = now;
    place.token = token_;
    place.open = connections_.take(now, IdleConnections::kept_for);
    place.warm = place.open && connections_.taken() + IdleConnections::open_for >= now;
    place.alone = in_flight_ == 0;
    place.probe = false;
    place.draws = 0;
    ++lane.in_flight;
    ++bucket.in_flight;
    registry_.add_place(bucket);
    ++in_flight_;
    ++counters_.granted;
}

inline void Scheduler::take(Lane& lane, Time now, Place& place) {
    Bucket& bucket = *lane.bucket;
    const bool probe = !bucket.key.hash_known && !bucket.window.answered();
    if (probe) probes_.add(bucket.key.major, now); // may throw as well
    hold(lane, bucket, now, place);
    bucket.quiet_since = now;
    place.probe = probe;
    if (lane.draws) count_draws(lane, place);
    pass(lane, now, place);
}

/// True if at least `min_remaining` requests remain. A bucket that has named no limit has no number
/// that could be too small.
inline bool Scheduler::leaves_enough(Bucket& bucket, Time now, std::int64_t min_remaining) {
    return min_remaining <= 1 || !bucket.window.known() || available(bucket, now) >= min_remaining;
}

inline bool Scheduler::admits(Lane& lane, Time now, std::int64_t min_remaining) {
    sync(now);
    if (barred(lane, now)) return false;
    if (lane.queued != 0 || lane.granted != 0 || !lane_status(lane, now).may_go(now)) return false;
    if (unfinished_ && goes_in_turn(lane)) return false;
    Bucket& bucket = *lane.bucket;
    // A bucket that has room and waiters waits for the global limit.
    if (ready_.contains(bucket)) return false;
    if (available(bucket, now) < 1 || !leaves_enough(bucket, now, min_remaining)) return false;
    const bool shares = lane.draws || bucket.is_drawn();
    if (shares && !draws_admit(lane, now, UINT64_MAX)) return false;
    if (!goes_in_turn(lane)) return true;
    const Individual who = lane.traits.individual();
    // While the address blocks or spaces requests, those of all individuals share one order.
    const bool overtakes = gate_->untroubled() ? !ready_.of(who).empty() : !ready_.empty();
    return !overtakes && may_pass(lane, now);
}

inline bool Scheduler::admit_plain(Lane& lane, Time now, Place& place) {
    Bucket& bucket = *lane.bucket;
    if (lane.granted != 0 || now < lane.blocked_until || lane.narrow != 0) [[unlikely]]
        return false;
    if (lane.draws) [[unlikely]]
        return false;
    if (bucket.queued != 0 || bucket.unsettled()) [[unlikely]]
        return false;
    if (!bucket.key.hash_known || !probes_.empty()) [[unlikely]]
        return false;
    if (!bucket.window.surely_admits(now, bucket.in_flight, settings_.credit_cap)) [[unlikely]]
        return false;
    if (!lane.traits.exempt && (lane.traits.tokenless || !bot_.limit.surely_has_room()))
        [[unlikely]]
        return false;
    // Another scheduler may have changed a shared gate in between.
    assert(gate_.use_count() > 1 || (calm(now) && admits(lane, now)));
    hold(lane, bucket, now, place);
    return true;
}

inline bool Scheduler::try_admit(Lane& lane, Time now, Place& place, std::int64_t min_remaining) {
    if (min_remaining <= 1 && calm(now) && admit_plain(lane, now, place)) return true;
    if (!admits(lane, now, min_remaining)) return false;
    take(lane, now, place);
    return true;
}

inline void Scheduler::enqueue(Waiter& waiter, Lane& lane, Time now, Time bound) {
    sync(now);
    Place& place = waiter.place;
    if (place.lane == nullptr) {
        place.lane = &lane;
        lane.holders.fetch_add(1, std::memory_order_relaxed);
    }
    if (place.arrival == 0) place.arrival = ++arrivals_;
    waiter.state = WaiterState::queued;
    if (settings_.record_events) note_waiting(lane, place.arrival, now);
    ++queued_;
    if (bound != never) bounds_.set(waiter, bound);
    if (place.not_before() > now) [[unlikely]] {
        delayed_.set(waiter, place.not_before());
        return rest(*lane.bucket, now);
    }
    enter(waiter, now);
    serve(*lane.bucket, now);
    serve_global(now);
}

/// Returns the position of a retry in its lane: only other retries can be ahead of it. They mostly
/// come back in the order in which they were sent, so the search begins at the last one, which it
/// then replaces as `last_retry`.
[[gnu::noinline]] inline WaiterList::iterator Scheduler::find_turn(Lane& lane,
                                                                   Waiter& retry) noexcept {
    const std::uint64_t arrival = retry.place.arrival;
    auto at = lane.last_retry != nullptr ? WaiterList::at(*lane.last_retry) : lane.waiting.begin();
    while (at != lane.waiting.begin() && std::prev(at)->place.arrival > arrival)
        --at;
    while (at->place.arrival < arrival)
        ++at;
    lane.last_retry = &retry;
    return at;
}

inline void Scheduler::unqueue(Waiter& waiter) noexcept {
    Lane& lane = *waiter.place.lane;
    --queued_;
    if (delayed_.contains(waiter)) [[unlikely]] {
        bounds_.erase(waiter);
        return delayed_.erase(waiter);
    }
    if (lane.last_retry == &waiter) [[unlikely]] {
        const auto at = WaiterList::at(waiter);
        lane.last_retry = at == lane.waiting.begin() ? nullptr : &*std::prev(at);
    }
    WaiterList::erase(waiter);
    --lane.queued;
    --lane.bucket->queued;
    if (bounds_.contains(waiter)) {
        --lane.bounded;
        bounds_.erase(waiter);
    }
}

inline void Scheduler::withdraw(Waiter& waiter, Time now) {
    Lane& lane = *waiter.place.lane;
    Bucket& bucket = *lane.bucket;
    unqueue(waiter);
    waiter.state = WaiterState::idle;
    if (lane.draws) serve_draws(lane, now);
    look_again(bucket, now);
}

inline void Scheduler::refuse(Waiter& waiter, Refused why) {
    unqueue(waiter);
    waiter.state = WaiterState::refused;
    waiter.why = why;
    refused_some_ = true;
    finished_.push_back(waiter);
}

/// Grants the first waiter of the lane, or refuses it if it may not go any more.
inline void Scheduler::grant(Lane& lane, Time now) {
    Waiter& waiter = lane.waiting.front();
    if (const auto why = barred(lane, now)) return refuse(waiter, *why);
    if (!leaves_enough(*lane.bucket, now, waiter.min_remaining)) {
        return refuse(waiter, Refused::too_few_left);
    }
    unqueue(waiter);
    const Duration waited = now - waiter.place.sent;
    counters_.longest_wait = std::max(counters_.longest_wait, waited);
    note(EventKind::granted, lane, waited);
    take(lane, now, waiter.place);
    lane.granted.fetch_add(1, std::memory_order_relaxed);
    waiter.state = WaiterState::granted;
    finished_.push_back(waiter);
}

inline Time Scheduler::wake_time(Bucket& bucket, Time now) {
    const std::int64_t out = bucket.out(now);
    Time wake = std::min(
        {bucket.next_change(now, out, credit(now)), bucket.next_lost(), bucket.doubt_ends()});
    for (Lane& lane : bucket.lanes) {
        if (lane.queued == 0) continue;
        const LaneStatus status = lane_status(lane, now);
        if (status.opens > now) wake = std::min(wake, status.opens);
        // The lane may have moved here since: then what it waits for counts in another bucket.
        if (status.awaits != AwaitedAnswers::none && bucket.in_flight == 0) {
            Time again = now + Window::default_period;
            if (status.awaits == AwaitedAnswers::of_crowd)
                again = greater(again, crowd_of(lane)->start.closed_until(now));
            wake = std::min(wake, again);
            wait_in_line(lane);
        }
        const bool shares = lane.draws || bucket.is_drawn();
        if (shares && status.may_go(now)) wake = std::min(wake, wake_of_draws(lane, now));
    }
    if (bucket.in_flight != 0 && bucket.quiet_since + longest_silence > now)
        wake = std::min(wake, bucket.quiet_since + longest_silence);
    if (bucket.key.hash_known && bucket.available(now, out, credit(now)) > 0 &&
        probes_.count(bucket.key.major, now) > 0) {
        wake = std::min(wake, probes_.watch(bucket));
    }
    assert(wake > now);
    return wake;
}

/// Serves the waiters of a bucket: grants what exempt lanes may send, queues the bucket for the
/// global limit if it has room, and sets its wake time otherwise. A bucket without any use rests.
[[gnu::noinline]] inline void Scheduler::serve(Bucket& bucket, Time now) {
    bucket.stop_watching();
    while (bucket.queued != 0) {
        Lane* lane = lane_with_room(bucket, now);
        if (lane == nullptr) break;
        if (goes_in_turn(*lane)) {
            wakes_.erase(bucket);
            ready_.set(bucket, lane->traits.individual(), lane->waiting.front().place.arrival);
            return;
        }
        grant(*lane, now);
    }
    ready_.erase(bucket);
    if (bucket.queued == 0) {
        wakes_.erase(bucket);
        leave_empty(bucket, now); // its last waiter may have been refused
        return;
    }
    Time wake = wake_time(bucket, now);
    assert(wake != never || bucket.in_flight != 0);
    if (wake == never && bucket.in_flight == 0) wake = now + Window::default_period;
    if (wake == never) {
        wakes_.erase(bucket);
    } else {
        wakes_.set(bucket, wake);
    }
}

/// Returns the lane that goes next if the bucket has room for it, or null.
inline Lane* Scheduler::lane_with_room(Bucket& bucket, Time now) {
    Lane* lane = next_lane(bucket, now, false);
    if (lane != nullptr && available(bucket, now) > 0) return lane;
    return stalled(bucket, now) ? next_lane(bucket, now, true) : nullptr;
}

/// True if one more request may go besides those in flight, after longest_silence. Lost places and
/// doubt end by time alone, and probes are suspected for a short time only.
inline bool Scheduler::stalled(Bucket& bucket, Time now) {
    if (bucket.in_flight == 0 || now < bucket.quiet_since + longest_silence) return false;
    const std::int64_t out = bucket.out(now);
    const std::int64_t probes = bucket.key.hash_known ? probes_.count(bucket.key.major, now) : 0;
    if (bucket.in_doubt()) return false;
    return bucket.available(now, out - bucket.in_flight + probes, credit(now)) > 0;
}

/// Serves what was due when it began before what becomes due meanwhile, so that new work delays
/// none of it.
[[gnu::noinline]] inline void Scheduler::advance(Time now, std::size_t left) {
    if (!unfinished_) due_ = now;
    unfinished_ = false;
    if (!enter_due(now, left)) return;
    constexpr std::size_t steps = 2; // of a bucket that has waited long and is in no cache
    for (; wakes_.least() <= due_; left -= lesser(left, steps)) {
        if (left == 0) return stop_here(now);
        serve(bring_up_to_date(wakes_.top(), now), now);
    }
    follow_some(now);
    serve_global(now, left);
    for (; !unfinished_ && bounds_.least() <= now; --left) {
        if (left == 0) return stop_here(now);
        Waiter& waiter = bounds_.top();
        Bucket& bucket = *waiter.place.lane->bucket;
        refuse(waiter, Refused::wait_too_long);
        ++counters_.refused_waits;
        serve(bucket, now);
        rest(bucket, now);
    }
    serve_global(now);
}

/// Puts an unused bucket among the idle ones, and looks at a few that have been idle for long.
/// Cleaning up needs no task of its own: it is part of every use.
inline void Scheduler::rest(Bucket& bucket, Time now) {
    if (bucket.queued != 0 || bucket.places != 0) return;
    registry_.set_idle(bucket, now);
    const std::size_t evicted = registry_.sweep(now, settings_.idle, 2);
    if (evicted != 0) note_evicted(evicted);
}

inline std::size_t Scheduler::collect(Time now, Duration idle) {
    const std::size_t evicted = registry_.collect(now, now - idle);
    note_evicted(evicted);
    return evicted;
}

inline std::size_t Scheduler::refuse_all(Time now, Refused why) {
    std::size_t refused = refuse_delayed([](const Lane&) { return true; }, why, now);
    registry_.each_waiting_lane([&](Lane& lane) {
        refused += lane.queued;
        refuse_lane(lane, why, now);
    });
    serve_global(now);
    return refused;
}

inline Time Scheduler::opens(const Lane& lane, Time now) {
    Time own = std::max(lane_status(lane, now).opens, lane.bucket->blocked_until());
    each_draw(lane, all_draws,
              [&own](Draw& draw, DrawMask) { own = std::max(own, draw.bucket->blocked_until()); });
    return std::max({gate_->closed_until(now), own, closed_until(lane.traits.individual(), now)});
}

/// Predicts when a bucket has room for one more request behind `ahead` others, whatever else blocks
/// it. Returns nothing while that depends on an answer. Drops losses that have expired.
inline std::optional<Time> Scheduler::predict_for(Bucket& bucket, Time now, std::int64_t ahead,
                                                  Foresight how) {
    const std::int64_t probes = bucket.key.hash_known ? probes_.count(bucket.key.major, now) : 0;
    const std::int64_t out = bucket.out(now);
    const auto with = [&](Duration credit) {
        // An answer also settles losses.
        const bool may_settle = how == Foresight::certain && probes + bucket.in_flight > 0;
        const bool losses = !bucket.is_silent() && (bucket.has_lost() || bucket.in_doubt());
        if (!may_settle && losses) return bucket.predict_losses(now, probes, ahead, credit);
        // Probes may turn out to draw on another bucket.
        return bucket.predict(now, out + probes, may_settle ? 0 : out, ahead, credit);
    };
    const auto at = with(credit(now));
    // By then the credit may have expired.
    return at && *at > now && *at >= credit_until_ ? with(Duration(0)) : at;
}

/// Returns when all blocks end; nothing if none is active. Valid while waiting for an answer, too.
inline std::optional<Time> Scheduler::wait_of_opening(const Lane& lane, Time now) {
    const Time open = opens(lane, now);
    return open > now ? std::optional(open) : std::nullopt;
}

inline std::optional<Time> Scheduler::predict(Lane& lane, Time now, std::uint64_t arrival,
                                              Foresight how) {
    Bucket& bucket = *lane.bucket;
    const LaneStatus own = lane_status(lane, now);
    std::int64_t ahead = 0;
    for (const Lane& other : bucket.lanes) {
        if (other.queued == 0) continue;
        // A lane that is blocked for longer than this one, or waits for an answer, is not ahead.
        const LaneStatus theirs = lane_status(other, now);
        if (&other != &lane && theirs.awaits != AwaitedAnswers::none) continue;
        if (theirs.opens > std::max(now, own.opens)) continue;
        if (other.waiting.front().place.arrival < arrival) ahead += other.queued;
    }
    const Individual who = lane.traits.individual();
    const Time start = std::max(gate_->closed_until(now), own.opens);
    auto at = predict_for(bucket, now, ahead, how);
    if (lane.draws) {
        const bool behind = lane.queued != 0 && lane.waiting.front().place.arrival < arrival;
        at = predict_draws(lane, at, now, behind ? lane.queued : 0, how);
    }
    if (!at) return wait_of_opening(lane, now);
    *at = std::max(*at, start);
    if (*at <= now && !own.may_go(now)) return wait_of_opening(lane, now);
    const std::int64_t here = ready_.contains(bucket) ? ahead : 0;
    const std::int64_t before = here + ready_before(bucket, who, now, arrival);
    *at = std::max(*at, predict_chance(who, now, before));
    // There is room, but during a slow start others have to succeed first.
    if (*at <= now && !untroubled() && !may_pass(lane, now)) return std::nullopt;
    return at;
}

inline Obstacle Scheduler::obstacle(Lane& lane, Time now) {
    auto at = predict_for(*lane.bucket, now, 0, Foresight::likely);
    if (lane.draws) at = predict_draws(lane, at, now, 0, Foresight::likely);
    Time longest = at.value_or(now);
    // A bucket that has room and waiters waits for the global limit.
    const LaneStatus status = lane_status(lane, now);
    const bool room = at && *at <= now && status.awaits == AwaitedAnswers::none;
    Obstacle what = room && goes_in_turn(lane) ? Obstacle::global : Obstacle::bucket;
    const auto consider = [&](Time until, Obstacle obstacle) {
        if (until <= longest) return;
        longest = until;
        what = obstacle;
    };
    consider(lane.bucket->blocked_until(), Obstacle::bucket);
    consider(status.opens, lane.shared ? Obstacle::shared : Obstacle::bucket);
    const Individual who = lane.traits.individual();
    consider(with_start(who, [now](const SlowStart& start) { return start.closed_until(now); }),
             Obstacle::global);
    consider(outage_of(who).start.opens(now), Obstacle::server);
    consider(gate_->opens(now), Obstacle::address);
    return what;
}

inline BucketState Scheduler::describe(Bucket& bucket, Time now) {
    BucketState state;
    state.out = bucket.out(now);
    if (!bucket.window.known()) return state;
    const std::int64_t left = bucket.available(now, state.out, credit(now));
    state.limit = bucket.window.limit();
    state.remaining = std::max<std::int64_t>(0, left);
    const auto deadline = bucket.window.deadline();
    state.reset_after =
        deadline ? std::max(Duration(0), *deadline - credit(now) - now) : Duration(0);
    return state;
}

inline void Scheduler::unschedule(Bucket& bucket) noexcept {
    wakes_.erase(bucket);
    ready_.erase(bucket);
}

} // namespace sluice::core

#endif
