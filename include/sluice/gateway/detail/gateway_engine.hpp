// SPDX-License-Identifier: MIT
//
// What the identify queue and the send limiter have in common: a schedule of the core under one
// lock, with a clock and one alarm, whose waiters are operations. It performs what the schedule
// decides and decides nothing itself.
//
// Rules: no handler, no posting and no freeing of a waiter happens under the lock; finished waiters
// are posted in the order in which they finished, by one thread at a time.
#ifndef SLUICE_GATEWAY_DETAIL_GATEWAY_ENGINE_HPP
#define SLUICE_GATEWAY_DETAIL_GATEWAY_ENGINE_HPP

#include <sluice/core/time.hpp>
#include <sluice/detail/alarm.hpp>
#include <sluice/detail/context_service.hpp>
#include <sluice/detail/outbox.hpp>
#include <sluice/detail/outcome.hpp>
#include <sluice/detail/waiter.hpp>
#include <sluice/error.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution_context.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace sluice::gateway::detail {

/// `Traits` names the types Issuer, Operation, Schedule, Place and WaiterList, and has
///     Outcome outcome_of(const Operation&);   what a finished operation ended with
template <class Traits, class Clock, class Mutex>
class GatewayEngine : public Traits::Issuer,
                      public std::enable_shared_from_this<GatewayEngine<Traits, Clock, Mutex>> {
public:
    using Operation = typename Traits::Operation;
    using Place = typename Traits::Place;

    void attach() {
        sluice::detail::BasicContextService<typename Traits::Issuer>::watch(
            context_, this->shared_from_this());
    }
    [[nodiscard]] const Clock& clock() const noexcept { return clock_; }

    boost::asio::any_io_executor executor() const final {
        const std::lock_guard lock(mutex_);
        return executor_;
    }
    void abort(Operation& operation) final;
    void shut_down(boost::asio::execution_context& context) final;
    void sent(Place& place) final {
        const Session session(*this);
        schedule_.sent(place, session.now());
    }
    void cancel(Place& place) final {
        const Session session(*this);
        schedule_.cancel(place, session.now());
    }
    std::size_t cancel_all() {
        const Session session(*this);
        return end_waiters(boost::asio::error::operation_aborted);
    }
    void close() {
        const Session session(*this);
        closed_ = true;
        end_waiters(errc::closed);
    }
    /// What the alarm calls.
    void ring();

protected:
    /// Holds the lock, and on the way out arms the alarm and posts what has finished.
    class Session;

    /// `make_schedule(now)` makes the schedule.
    template <class MakeSchedule>
    GatewayEngine(boost::asio::any_io_executor executor, Clock clock, MakeSchedule make_schedule)
        : executor_(std::move(executor)),
          context_(sluice::detail::context_of(executor_)),
          clock_(std::move(clock)),
          latest_(read_clock()),
          schedule_(make_schedule(latest_)),
          wake_up_(clock_, executor_) {}
    ~GatewayEngine() override = default;

    void claim(Operation& operation, sluice::detail::Outcome outcome) {
        operation.outcome = outcome;
        outbox_.push_back(operation);
    }
    void sort_out_finished();

private:
    using WaiterList = typename Traits::WaiterList;
    using State = decltype(Operation::state);

    [[nodiscard]] core::Time read_clock() const {
        return core::Time(
            std::chrono::duration_cast<core::Duration>(clock_.now().time_since_epoch()));
    }
    std::size_t end_waiters(sluice::detail::Outcome outcome);
    WaiterList take_out(const boost::asio::execution_context& context, core::Time now);

    boost::asio::any_io_executor executor_; // under the lock: its context may end at any time
    boost::asio::execution_context& context_;
    [[no_unique_address]] Clock clock_;
    mutable Mutex mutex_;
    core::Time latest_; // now, as it was told last; as all that follows, under the lock

protected:
    typename Traits::Schedule schedule_;
    bool closed_ = false;

private:
    sluice::detail::WakeUp<Clock> wake_up_;
    sluice::detail::Outbox<Operation, WaiterList> outbox_;
};

template <class Traits, class Clock, class Mutex>
class GatewayEngine<Traits, Clock, Mutex>::Session {
public:
    explicit Session(GatewayEngine& engine) : engine_(engine), lock_(engine.mutex_) {
        engine.latest_ = core::greater(engine.latest_, engine.read_clock());
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    ~Session() {
        engine_.sort_out_finished();
        engine_.wake_up_.set(engine_.schedule_.next_wake(), now(), engine_);
        if (!engine_.outbox_.empty()) engine_.outbox_.post(lock_);
    }

    /// Never runs backwards, whatever the clock does.
    [[nodiscard]] core::Time now() const noexcept { return engine_.latest_; }

private:
    GatewayEngine& engine_;
    std::unique_lock<Mutex> lock_;
};

/// What the schedule has finished goes to the outbox.
template <class Traits, class Clock, class Mutex>
void GatewayEngine<Traits, Clock, Mutex>::sort_out_finished() {
    WaiterList finished = schedule_.take_finished();
    while (!finished.empty()) {
        auto& operation = static_cast<Operation&>(finished.front());
        finished.pop_front();
        claim(operation, Traits::outcome_of(operation));
    }
}

template <class Traits, class Clock, class Mutex>
void GatewayEngine<Traits, Clock, Mutex>::abort(Operation& operation) {
    const Session session(*this);
    operation.aborted = true;
    if (operation.state != State::queued) return;
    schedule_.withdraw(operation, session.now());
    claim(operation, boost::asio::error::operation_aborted);
}

template <class Traits, class Clock, class Mutex>
void GatewayEngine<Traits, Clock, Mutex>::ring() {
    const Session session(*this);
    wake_up_.done();
    schedule_.advance(session.now());
}

/// Ends all waiters; what was granted before stays granted.
template <class Traits, class Clock, class Mutex>
std::size_t GatewayEngine<Traits, Clock, Mutex>::end_waiters(sluice::detail::Outcome outcome) {
    sort_out_finished();
    const std::size_t ended = schedule_.end_all();
    WaiterList finished = schedule_.take_finished();
    while (!finished.empty()) {
        auto& operation = static_cast<Operation&>(finished.front());
        finished.pop_front();
        claim(operation, outcome);
    }
    return ended;
}

/// Takes out what waits on the context or was to be posted there, and disturbs nobody else.
template <class Traits, class Clock, class Mutex>
typename GatewayEngine<Traits, Clock, Mutex>::WaiterList
GatewayEngine<Traits, Clock, Mutex>::take_out(const boost::asio::execution_context& context,
                                              core::Time now) {
    std::vector<Operation*> queued;
    schedule_.each_waiter([&](auto& waiter) {
        auto& operation = static_cast<Operation&>(waiter);
        if (&operation.context() == &context) queued.push_back(&operation);
    });
    for (Operation* operation : queued) {
        if (operation->state != State::queued) continue; // granted by the one before
        schedule_.withdraw(*operation, now);
        claim(*operation, boost::asio::error::operation_aborted);
    }
    sort_out_finished();
    return outbox_.take_out(context);
}

template <class Traits, class Clock, class Mutex>
void GatewayEngine<Traits, Clock, Mutex>::shut_down(boost::asio::execution_context& context) {
    WaiterList doomed;
    {
        const Session session(*this);
        const bool ours = &context == &context_;
        if (ours) {
            closed_ = true;
            wake_up_.shut_down();
            executor_ = {}; // a strand must not outlive its context
        }
        doomed.splice(take_out(context, session.now()));
        if (ours) end_waiters(errc::closed);
    }
    {
        std::unique_lock lock(mutex_);
        outbox_.wait_for_poster(lock);
    }
    while (!doomed.empty()) {
        auto& operation = static_cast<Operation&>(doomed.front());
        doomed.pop_front();
        operation.give_back();
        operation.destroy();
    }
}

} // namespace sluice::gateway::detail

#endif
