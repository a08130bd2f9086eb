// SPDX-License-Identifier: MIT
//
// The shared state behind an IdentifyQueue, its permits and its waiters: a core::IdentifySchedule
// under one lock, with a clock and one alarm. It performs what the schedule decides and decides
// nothing itself.
//
// Rules: no handler, no posting and no freeing of a waiter happens under the lock; finished waiters
// are posted in the order in which they finished, by one thread at a time.
#ifndef SLUICE_GATEWAY_DETAIL_IDENTIFY_ENGINE_HPP
#define SLUICE_GATEWAY_DETAIL_IDENTIFY_ENGINE_HPP

#include <sluice/core/identify_schedule.hpp>
#include <sluice/core/time.hpp>
#include <sluice/detail/alarm.hpp>
#include <sluice/detail/context_service.hpp>
#include <sluice/error.hpp>
#include <sluice/gateway/detail/identify_operation.hpp>
#include <sluice/gateway/identify_options.hpp>
#include <sluice/gateway/session_start_limit.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/system/error_code.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace sluice::gateway {

/// What an IdentifyQueue has done since it was made, and what it holds now.
struct IdentifyStats {
    core::IdentifyCounters counters = {};
    std::size_t queued = 0;      ///< shards waiting
    std::size_t permits_out = 0; ///< permits neither sent nor given back
    std::int64_t total = 0;      ///< identifies in a day
    std::int64_t remaining = 0;  ///< of these, still to be had, the reserve among them
    std::int64_t max_concurrency = 0;
    /// Until the day's identifies come back, or some of them; nothing if none has to.
    std::optional<std::chrono::nanoseconds> reset_after = std::nullopt;
};

namespace detail {

template <class Clock, class Mutex>
class IdentifyEngine final : public IdentifyIssuer,
                             public std::enable_shared_from_this<IdentifyEngine<Clock, Mutex>> {
public:
    IdentifyEngine(boost::asio::any_io_executor executor, const SessionStartLimit& limit,
                   const IdentifyQueueOptions& options, Clock clock)
        : executor_(std::move(executor)),
          context_(sluice::detail::context_of(executor_)),
          clock_(std::move(clock)),
          schedule_(settings_of(options), limit_of(limit), now()),
          alarm_(clock_, executor_) {}
    void attach() {
        sluice::detail::BasicContextService<IdentifyIssuer>::watch(context_,
                                                                   this->shared_from_this());
    }
    [[nodiscard]] const Clock& clock() const noexcept { return clock_; }

    boost::asio::any_io_executor executor() const override { return executor_; }
    /// A permit without waiting, if that overtakes nobody.
    bool try_take(std::uint64_t shard_id, const IdentifyOptions& options,
                  core::IdentifyPlace& place);
    /// What can be said to a shard that has failed with this code.
    Refusal refusal_of(boost::system::error_code code, std::uint64_t shard_id,
                       const IdentifyOptions& options);
    void start(IdentifyOperation& operation,
               std::optional<std::chrono::nanoseconds> max_wait) override;
    void abort(IdentifyOperation& operation) override;
    bool deliver(IdentifyOperation& operation) override;
    void shut_down(boost::asio::execution_context& context) override;
    void sent(core::IdentifyPlace& place) override;
    void answered(core::IdentifyPlace& place) override;
    void cancel(core::IdentifyPlace& place) override;

    void update(const SessionStartLimit& limit);
    std::size_t cancel_all();
    void close();
    IdentifyStats stats();

private:
    /// Holds the lock, and on the way out arms the alarm and posts what has finished.
    class Session;

    /// *Errors*: throws InvalidSessionStartLimit.
    static core::IdentifyLimit limit_of(const SessionStartLimit& limit);
    [[nodiscard]] core::Time now() const {
        return core::Time(
            std::chrono::duration_cast<core::Duration>(clock_.now().time_since_epoch()));
    }
    static errc code_of(core::IdentifyRefused why) noexcept;
    void claim(IdentifyOperation& operation, boost::system::error_code code);
    void sort_out_finished();
    void arm(core::Time now);
    void ring();
    std::size_t end_waiters(boost::system::error_code code);
    core::IdentifyWaiterList take_out(const boost::asio::execution_context& context,
                                      core::Time now);

    boost::asio::any_io_executor executor_;
    boost::asio::execution_context& context_;
    [[no_unique_address]] Clock clock_;
    Mutex mutex_;
    core::IdentifySchedule schedule_;
    typename sluice::detail::AlarmOf<Clock>::type alarm_;
    core::Time armed_ = core::never;
    core::IdentifyWaiterList outbox_; // claimed, not yet posted
    bool posting_ = false;            // some thread is emptying the outbox
    bool closed_ = false;
};

template <class Clock, class Mutex>
class IdentifyEngine<Clock, Mutex>::Session {
public:
    explicit Session(IdentifyEngine& engine)
        : engine_(engine), lock_(engine.mutex_), now_(engine.now()) {}
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    ~Session() {
        engine_.sort_out_finished();
        engine_.arm(now_);
        if (!engine_.posting_ && !engine_.outbox_.empty()) post();
    }

    [[nodiscard]] core::Time now() const noexcept { return now_; }

private:
    /// Empties the outbox, without the lock while it posts.
    void post() {
        engine_.posting_ = true;
        while (!engine_.outbox_.empty()) {
            core::IdentifyWaiterList batch;
            batch.swap(engine_.outbox_);
            lock_.unlock();
            while (!batch.empty()) {
                auto& operation = static_cast<IdentifyOperation&>(batch.front());
                batch.pop_front();
                operation.post();
            }
            lock_.lock();
        }
        engine_.posting_ = false;
    }

    IdentifyEngine& engine_;
    std::unique_lock<Mutex> lock_;
    core::Time now_;
};

template <class Clock, class Mutex>
core::IdentifyLimit IdentifyEngine<Clock, Mutex>::limit_of(const SessionStartLimit& limit) {
    if (const auto problem = limit.problem()) {
        throw InvalidSessionStartLimit(problem->field, problem->problem);
    }
    return {limit.total, limit.remaining, limit.reset_after,
            static_cast<std::uint64_t>(limit.max_concurrency)};
}

template <class Clock, class Mutex>
errc IdentifyEngine<Clock, Mutex>::code_of(core::IdentifyRefused why) noexcept {
    switch (why) {
    case core::IdentifyRefused::wait_too_long:
        return errc::wait_too_long;
    case core::IdentifyRefused::sessions_exhausted:
        return errc::sessions_exhausted;
    case core::IdentifyRefused::ended:
        break;
    }
    return errc::closed;
}

template <class Clock, class Mutex>
bool IdentifyEngine<Clock, Mutex>::try_take(std::uint64_t shard_id, const IdentifyOptions& options,
                                            core::IdentifyPlace& place) {
    const Session session(*this);
    return !closed_ && schedule_.try_admit(shard_id, options.use_reserve, session.now(), place);
}

template <class Clock, class Mutex>
Refusal IdentifyEngine<Clock, Mutex>::refusal_of(boost::system::error_code code,
                                                 std::uint64_t shard_id,
                                                 const IdentifyOptions& options) {
    Refusal refusal;
    if (code != errc::wait_too_long && code != errc::sessions_exhausted) return refusal;
    const Session session(*this);
    const core::Time at = schedule_.earliest(shard_id, options.use_reserve, session.now());
    if (at != core::never) refusal.retry_after = at - session.now();
    return refusal;
}

template <class Clock, class Mutex>
void IdentifyEngine<Clock, Mutex>::claim(IdentifyOperation& operation,
                                         boost::system::error_code code) {
    operation.code = code;
    operation.claimed = true;
    outbox_.push_back(operation);
}

template <class Clock, class Mutex>
void IdentifyEngine<Clock, Mutex>::start(IdentifyOperation& operation,
                                         std::optional<std::chrono::nanoseconds> max_wait) {
    const Session session(*this);
    const core::Time now = session.now();
    if (operation.aborted) return claim(operation, boost::asio::error::operation_aborted);
    if (closed_) return claim(operation, errc::closed);
    if (max_wait && *max_wait < core::never - now) {
        operation.bound = now + std::max(core::Duration(0), *max_wait);
        // What this grants to others goes out before.
        if (const auto why = schedule_.hopeless(operation, now)) {
            sort_out_finished();
            return claim(operation, code_of(*why));
        }
    }
    schedule_.enqueue(operation, now);
}

/// What the schedule has finished goes to the outbox.
template <class Clock, class Mutex>
void IdentifyEngine<Clock, Mutex>::sort_out_finished() {
    core::IdentifyWaiterList finished = schedule_.take_finished();
    while (!finished.empty()) {
        auto& operation = static_cast<IdentifyOperation&>(finished.front());
        finished.pop_front();
        boost::system::error_code code;
        if (operation.state == core::IdentifyState::refused) code = code_of(operation.why);
        claim(operation, code);
    }
}

template <class Clock, class Mutex>
void IdentifyEngine<Clock, Mutex>::abort(IdentifyOperation& operation) {
    const Session session(*this);
    operation.aborted = true;
    if (operation.claimed || operation.state != core::IdentifyState::queued) return;
    schedule_.withdraw(operation, session.now());
    claim(operation, boost::asio::error::operation_aborted);
}

template <class Clock, class Mutex>
bool IdentifyEngine<Clock, Mutex>::deliver(IdentifyOperation& operation) {
    const Session session(*this);
    if (!operation.place.taken || !operation.aborted) return true;
    schedule_.cancel(operation.place, session.now());
    return false;
}

template <class Clock, class Mutex>
void IdentifyEngine<Clock, Mutex>::arm(core::Time now) {
    const core::Time wake = schedule_.next_wake();
    if (wake == core::never) {
        if (armed_ != core::never) alarm_.clear();
        armed_ = core::never;
        return;
    }
    if (armed_ <= wake && armed_ > now) return; // early is fine: it looks again and goes on
    armed_ = wake;
    // Rounded up: an alarm on a coarser clock must not ring before the moment it stands for.
    alarm_.set(typename Clock::time_point(
                   std::chrono::ceil<typename Clock::duration>(wake.time_since_epoch())),
               [weak = this->weak_from_this()] {
                   if (const auto engine = weak.lock()) engine->ring();
               });
}

template <class Clock, class Mutex>
void IdentifyEngine<Clock, Mutex>::ring() {
    const Session session(*this);
    armed_ = core::never;
    schedule_.advance(session.now());
}

template <class Clock, class Mutex>
void IdentifyEngine<Clock, Mutex>::sent(core::IdentifyPlace& place) {
    const Session session(*this);
    schedule_.sent(place, session.now());
}

template <class Clock, class Mutex>
void IdentifyEngine<Clock, Mutex>::answered(core::IdentifyPlace& place) {
    const Session session(*this);
    schedule_.answered(place, session.now());
}

template <class Clock, class Mutex>
void IdentifyEngine<Clock, Mutex>::cancel(core::IdentifyPlace& place) {
    const Session session(*this);
    schedule_.cancel(place, session.now());
}

template <class Clock, class Mutex>
void IdentifyEngine<Clock, Mutex>::update(const SessionStartLimit& limit) {
    const core::IdentifyLimit checked = limit_of(limit);
    const Session session(*this);
    schedule_.update(checked, session.now());
}

/// Ends all waiters; what was granted before stays granted.
template <class Clock, class Mutex>
std::size_t IdentifyEngine<Clock, Mutex>::end_waiters(boost::system::error_code code) {
    sort_out_finished();
    const std::size_t ended = schedule_.end_all();
    core::IdentifyWaiterList finished = schedule_.take_finished();
    while (!finished.empty()) {
        auto& operation = static_cast<IdentifyOperation&>(finished.front());
        finished.pop_front();
        claim(operation, code);
    }
    return ended;
}

template <class Clock, class Mutex>
std::size_t IdentifyEngine<Clock, Mutex>::cancel_all() {
    const Session session(*this);
    return end_waiters(boost::asio::error::operation_aborted);
}

template <class Clock, class Mutex>
void IdentifyEngine<Clock, Mutex>::close() {
    const Session session(*this);
    closed_ = true;
    end_waiters(errc::closed);
}

/// Takes out what waits on the context or was to be posted there, and disturbs nobody else.
template <class Clock, class Mutex>
core::IdentifyWaiterList
IdentifyEngine<Clock, Mutex>::take_out(const boost::asio::execution_context& context,
                                       core::Time now) {
    std::vector<IdentifyOperation*> queued;
    schedule_.each_waiter([&](core::IdentifyWaiter& waiter) {
        auto& operation = static_cast<IdentifyOperation&>(waiter);
        if (operation.context == &context) queued.push_back(&operation);
    });
    for (IdentifyOperation* operation : queued) {
        if (operation->state != core::IdentifyState::queued) continue; // granted by the one before
        schedule_.withdraw(*operation, now);
        claim(*operation, boost::asio::error::operation_aborted);
    }
    sort_out_finished();
    core::IdentifyWaiterList taken;
    for (auto at = outbox_.begin(); at != outbox_.end();) {
        auto& operation = static_cast<IdentifyOperation&>(*at);
        if (operation.context != &context) {
            ++at;
            continue;
        }
        at = outbox_.erase(at);
        taken.push_back(operation);
    }
    return taken;
}

template <class Clock, class Mutex>
void IdentifyEngine<Clock, Mutex>::shut_down(boost::asio::execution_context& context) {
    core::IdentifyWaiterList doomed;
    {
        const Session session(*this);
        const bool ours = &context == &context_;
        if (ours) {
            closed_ = true;
            alarm_.shut_down();
            executor_ = {}; // a strand must not outlive its context
        }
        doomed = take_out(context, session.now());
        if (ours) end_waiters(errc::closed);
    }
    while (!doomed.empty()) {
        auto& operation = static_cast<IdentifyOperation&>(doomed.front());
        doomed.pop_front();
        operation.give_back();
        operation.destroy();
    }
}

template <class Clock, class Mutex>
IdentifyStats IdentifyEngine<Clock, Mutex>::stats() {
    const Session session(*this);
    schedule_.advance(session.now());
    IdentifyStats stats;
    stats.counters = schedule_.counters();
    stats.queued = schedule_.queued();
    stats.permits_out = schedule_.permits_out();
    stats.total = schedule_.total();
    stats.remaining = schedule_.remaining();
    stats.max_concurrency = static_cast<std::int64_t>(schedule_.max_concurrency());
    const core::Time reset = schedule_.reset_at();
    if (reset != core::never) stats.reset_after = reset - session.now();
    return stats;
}

} // namespace detail
} // namespace sluice::gateway

#endif
