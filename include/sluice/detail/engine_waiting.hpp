// SPDX-License-Identifier: MIT
//
// Engine, the part that waits: queueing, the alarm, and how waiters end. Included by engine.hpp
// only.
#ifndef SLUICE_DETAIL_ENGINE_WAITING_HPP
#define SLUICE_DETAIL_ENGINE_WAITING_HPP

#include <sluice/core/scheduler.hpp>
#include <sluice/core/time.hpp>
#include <sluice/detail/engine.hpp>
#include <sluice/detail/outcome.hpp>
#include <sluice/detail/wait_operation.hpp>
#include <sluice/error.hpp>

#include <boost/asio/error.hpp>
#include <boost/asio/execution_context.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace sluice::detail {

template <class Clock, class Mutex>
errc Engine<Clock, Mutex>::code_of(core::Refused why) noexcept {
    switch (why) {
    case core::Refused::unauthorized:
        return errc::unauthorized;
    case core::Refused::unknown_webhook:
        return errc::unknown_webhook;
    case core::Refused::invalid_token:
        return errc::invalid_webhook_token;
    case core::Refused::too_many_invalid:
        return errc::too_many_invalid_requests;
    case core::Refused::ended:
        return errc::closed;
    case core::Refused::wait_too_long:
    case core::Refused::too_few_left:
        break;
    }
    return errc::wait_too_long;
}

template <class Clock, class Mutex>
void Engine<Clock, Mutex>::claim(WaitOperation& operation, Outcome outcome) {
    operation.outcome = outcome;
    outbox_.push_back(operation);
}

template <class Clock, class Mutex>
void Engine<Clock, Mutex>::start(WaitOperation& operation, const WaitRequest& request) {
    const Session session(*this);
    const core::Time now = session.now();
    if (operation.place.lane != nullptr) return start_again(operation, request, now);
    if (operation.aborted) return claim(operation, boost::asio::error::operation_aborted);
    if (closed_) return claim(operation, errc::closed);
    if (!request.route.valid()) return claim(operation, errc::invalid_route);
    core::Lane& lane = lane_of(request.route, now);
    const auto why = scheduler_.barred(lane, now);
    const std::int64_t min_remaining = request.options.min_remaining;
    const bool full = scheduler_.queued() >= options_.max_queued.value_or(SIZE_MAX) ||
                      lane.bucket->queued > request.options.max_ahead.value_or(UINT64_MAX);
    if (why) {
        claim_barred(operation, lane, *why, now);
    } else if (full && !scheduler_.admits(lane, now, min_remaining)) {
        claim(operation, errc::queue_full);
    } else {
        // What this cuts off lies beyond any limit.
        operation.min_remaining =
            static_cast<std::uint32_t>(std::clamp<std::int64_t>(min_remaining, 0, UINT32_MAX));
        const auto& own = request.options.max_wait;
        return enqueue(operation, lane, own ? own : options_.max_wait, now);
    }
    scheduler_.leave(lane, now);
}

/// A try that nobody has settled counts as lost, and the next one is queued before others get what
/// comes back.
template <class Clock, class Mutex>
void Engine<Clock, Mutex>::start_again(WaitOperation& operation, const WaitRequest& request,
                                       core::Time now) {
    core::Place last = operation.place;
    operation.place.bucket = nullptr;
    if (last.taken()) scheduler_.begin_loss(last, now);
    queue_again(operation, request, now);
    if (last.taken()) scheduler_.end_loss(last, now);
}

template <class Clock, class Mutex>
void Engine<Clock, Mutex>::queue_again(WaitOperation& operation, const WaitRequest& request,
                                       core::Time now) {
    if (operation.aborted) return claim(operation, boost::asio::error::operation_aborted);
    if (closed_) return claim(operation, errc::closed);
    core::Lane& lane = *operation.place.lane;
    if (const auto why = scheduler_.barred(lane, now))
        return claim_barred(operation, lane, *why, now);
    const auto& own = request.options.max_wait;
    enqueue(operation, lane, own ? own : options_.max_wait, now);
}

/// No request of this lane may go: says so at once, and until when if that is known.
template <class Clock, class Mutex>
void Engine<Clock, Mutex>::claim_barred(WaitOperation& operation, core::Lane& lane,
                                        core::Refused why, core::Time now) {
    std::optional<std::chrono::nanoseconds> wait;
    if (why == core::Refused::too_many_invalid) wait = scheduler_.gate().stopped_until(now) - now;
    operation.refusal = std::make_unique<Refusal>(refusal_of(lane, why, now, wait));
    claim(operation, code_of(why));
}

template <class Clock, class Mutex>
void Engine<Clock, Mutex>::enqueue(WaitOperation& operation, core::Lane& lane,
                                   std::optional<std::chrono::nanoseconds> max_wait,
                                   core::Time now) {
    core::Time bound = core::never;
    if (max_wait) {
        const std::uint64_t arrival =
            operation.place.arrival == 0 ? UINT64_MAX : operation.place.arrival;
        const core::Time opens = scheduler_.predict(lane, now, arrival, core::Foresight::certain)
                                     .value_or(scheduler_.opens(lane, now));
        const core::Time at = core::greater(opens, operation.place.not_before());
        const core::Duration most = core::greater(core::Duration(0), *max_wait);
        if (at - now > most) {
            operation.refusal = std::make_unique<Refusal>(
                refusal_of(lane, core::Refused::wait_too_long, now, at - now));
            scheduler_.leave(lane, now);
            return claim(operation, errc::wait_too_long);
        }
        if (most < core::never - now) bound = now + most;
    }
    scheduler_.enqueue(operation, lane, now, bound);
}

/// What the scheduler has granted or refused goes to the outbox.
template <class Clock, class Mutex>
void Engine<Clock, Mutex>::sort_out_finished(core::Time now) {
    const bool all_granted = !scheduler_.has_refused();
    core::WaiterList finished = scheduler_.take_finished();
    if (all_granted) return outbox_.splice(finished); // without touching any of them
    while (!finished.empty()) {
        auto& operation = static_cast<WaitOperation&>(finished.front());
        finished.pop_front();
        Outcome outcome;
        if (operation.state == core::WaiterState::refused) {
            core::Lane& lane = *operation.place.lane;
            auto at = scheduler_.predict(lane, now, operation.place.arrival);
            if (at) at = core::greater(*at, operation.place.not_before());
            if (operation.why == core::Refused::too_many_invalid)
                at = scheduler_.gate().stopped_until(now);
            operation.refusal = std::make_unique<Refusal>(
                refusal_of(lane, operation.why, now, at ? std::optional(*at - now) : std::nullopt));
            outcome = code_of(operation.why);
        }
        claim(operation, outcome);
    }
}

template <class Clock, class Mutex>
void Engine<Clock, Mutex>::abort(WaitOperation& operation) {
    const Session session(*this);
    operation.aborted = true;
    if (operation.state != core::WaiterState::queued) return;
    scheduler_.withdraw(operation, session.now());
    claim(operation, boost::asio::error::operation_aborted);
}

template <class Clock, class Mutex>
void Engine<Clock, Mutex>::ring() {
    const Session session(*this);
    wake_up_.done();
    scheduler_.advance(session.now());
}

/// What is known beside its code of a refusal for such a reason.
template <class Clock, class Mutex>
Refusal Engine<Clock, Mutex>::refusal_of(core::Lane& lane, core::Refused why, core::Time now,
                                         std::optional<std::chrono::nanoseconds> wait) {
    Refusal refusal;
    refusal.retry_after = wait;
    if (why == core::Refused::wait_too_long || why == core::Refused::too_few_left)
        refusal.scope = scope_of(scheduler_.obstacle(lane, now));
    refusal.bucket = BucketHash::parse(scheduler_.registry().hash_of(*lane.bucket));
    return refusal;
}

template <class Clock, class Mutex>
std::optional<Scope> Engine<Clock, Mutex>::scope_of(core::Obstacle obstacle) noexcept {
    switch (obstacle) {
    case core::Obstacle::bucket:
        return Scope::user;
    case core::Obstacle::shared:
        return Scope::shared;
    case core::Obstacle::global:
        return Scope::global;
    case core::Obstacle::address:
    case core::Obstacle::server:
        break;
    }
    return std::nullopt;
}

/// Ends all waiters; what was granted before stays granted.
template <class Clock, class Mutex>
std::size_t Engine<Clock, Mutex>::end_waiters(Outcome outcome, core::Time now) {
    sort_out_finished(now);
    const std::size_t ended = scheduler_.refuse_all(now);
    core::WaiterList finished = scheduler_.take_finished();
    while (!finished.empty()) {
        auto& operation = static_cast<WaitOperation&>(finished.front());
        finished.pop_front();
        const bool granted = operation.state == core::WaiterState::granted;
        claim(operation, granted ? Outcome() : outcome);
    }
    return ended;
}

template <class Clock, class Mutex>
std::size_t Engine<Clock, Mutex>::cancel_all() {
    const Session session(*this);
    return end_waiters(boost::asio::error::operation_aborted, session.now());
}

template <class Clock, class Mutex>
void Engine<Clock, Mutex>::close() {
    const Session session(*this);
    closed_ = true;
    end_waiters(errc::closed, session.now());
}

/// Takes out what waits on the context or was to be posted there, and disturbs nobody else.
template <class Clock, class Mutex>
core::WaiterList Engine<Clock, Mutex>::take_out(const boost::asio::execution_context& context,
                                                core::Time now) {
    std::vector<WaitOperation*> queued;
    scheduler_.registry().each_waiting_lane([&](core::Lane& lane) {
        for (core::Waiter& waiter : lane.waiting) {
            auto& operation = static_cast<WaitOperation&>(waiter);
            if (&operation.context() == &context) queued.push_back(&operation);
        }
    });
    scheduler_.each_delayed([&](core::Waiter& waiter) {
        auto& operation = static_cast<WaitOperation&>(waiter);
        if (&operation.context() == &context) queued.push_back(&operation);
    });
    for (WaitOperation* operation : queued) {
        if (operation->state != core::WaiterState::queued) continue; // granted by the one before
        scheduler_.withdraw(*operation, now);
        claim(*operation, boost::asio::error::operation_aborted);
    }
    sort_out_finished(now);
    return outbox_.take_out(context);
}

template <class Clock, class Mutex>
void Engine<Clock, Mutex>::shut_down(boost::asio::execution_context& context) {
    core::WaiterList doomed;
    {
        const Session session(*this);
        const bool ours = &context == &context_;
        if (ours) {
            closed_ = true;
            wake_up_.shut_down();
            executor_ = {}; // a strand must not outlive its context
        }
        doomed.splice(take_out(context, session.now()));
        if (ours) end_waiters(errc::closed, session.now());
    }
    {
        std::unique_lock lock(mutex_);
        outbox_.wait_for_poster(lock);
    }
    while (!doomed.empty()) {
        auto& operation = static_cast<WaitOperation&>(doomed.front());
        doomed.pop_front();
        operation.give_back();
        operation.destroy();
    }
}

} // namespace sluice::detail

#endif
