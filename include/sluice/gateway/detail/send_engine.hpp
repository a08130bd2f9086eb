// SPDX-License-Identifier: MIT
//
// The shared state behind a SendLimiter, its permits and its waiters: a core::SendSchedule under
// one lock, with a clock and one alarm. It performs what the schedule decides and decides nothing
// itself.
//
// Rules: no handler, no posting and no freeing of a waiter happens under the lock; finished waiters
// are posted in the order in which they finished, by one thread at a time.
#ifndef SLUICE_GATEWAY_DETAIL_SEND_ENGINE_HPP
#define SLUICE_GATEWAY_DETAIL_SEND_ENGINE_HPP

#include <sluice/core/send_schedule.hpp>
#include <sluice/core/time.hpp>
#include <sluice/detail/alarm.hpp>
#include <sluice/detail/context_service.hpp>
#include <sluice/detail/waiter.hpp>
#include <sluice/error.hpp>
#include <sluice/gateway/detail/send_operation.hpp>
#include <sluice/gateway/rate_limited.hpp>
#include <sluice/gateway/send_options.hpp>
#include <sluice/gateway/send_permit.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/system/error_code.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace sluice::gateway {

/// What a SendLimiter has done since it was made, and what it holds now.
struct SendStats {
    core::SendCounters counters = {};
    std::uint64_t payloads_too_large = 0;
    std::uint64_t malformed = 0; ///< RATE_LIMITED dispatches that could not be read
    std::size_t queued = 0;      ///< events waiting
    std::int64_t held = 0;       ///< slots in use
    std::int64_t reserved = 0;   ///< slots kept for heartbeats and a new session
    std::int64_t room = 0;       ///< ordinary events that could go at once
};

namespace detail {

template <class Clock, class Mutex>
class SendEngine final : public SendIssuer,
                         public std::enable_shared_from_this<SendEngine<Clock, Mutex>> {
public:
    SendEngine(boost::asio::any_io_executor executor, const SendLimiterOptions& options,
               Clock clock)
        : executor_(std::move(executor)),
          context_(sluice::detail::context_of(executor_)),
          clock_(std::move(clock)),
          max_queued_(options.max_queued.value_or(SIZE_MAX)),
          schedule_(settings_of(options), options.member_lists
                                              ? options.member_lists
                                              : std::make_shared<MemberListLimit>()),
          alarm_(clock_, executor_) {}
    void attach() {
        sluice::detail::BasicContextService<SendIssuer>::watch(context_, this->shared_from_this());
    }
    [[nodiscard]] const Clock& clock() const noexcept { return clock_; }

    boost::asio::any_io_executor executor() const override { return executor_; }
    /// A permission without waiting, if that overtakes nobody.
    bool try_take(const core::SendRequest& request, std::size_t bytes, core::SendPlace& place);
    void start(SendOperation& operation) override;
    void abort(SendOperation& operation) override;
    bool deliver(SendOperation& operation) override;
    void shut_down(boost::asio::execution_context& context) override;
    void sent(core::SendPlace& place) override;
    void cancel(core::SendPlace& place) override;

    void set_heartbeat_interval(std::chrono::nanoseconds interval);
    void on_rate_limited(std::optional<RateLimited>& refused);
    void reset();
    void hold(bool held);
    std::size_t cancel_all();
    void close();
    SendStats stats();

private:
    /// Holds the lock, and on the way out arms the alarm and posts what has finished.
    class Session;

    [[nodiscard]] core::Time now() const {
        return core::Time(
            std::chrono::duration_cast<core::Duration>(clock_.now().time_since_epoch()));
    }
    void claim(SendOperation& operation, boost::system::error_code code);
    [[nodiscard]] boost::system::error_code refusal_of(const SendOperation& operation);
    void sort_out_finished();
    void arm(core::Time now);
    void ring();
    std::size_t end_waiters(boost::system::error_code code);
    core::SendWaiterList take_out(const boost::asio::execution_context& context, core::Time now);

    boost::asio::any_io_executor executor_;
    boost::asio::execution_context& context_;
    [[no_unique_address]] Clock clock_;
    const std::size_t max_queued_;
    Mutex mutex_;
    core::SendSchedule schedule_;
    typename sluice::detail::AlarmOf<Clock>::type alarm_;
    core::Time armed_ = core::never;
    core::SendWaiterList outbox_; // claimed, not yet posted
    std::uint64_t payloads_too_large_ = 0;
    std::uint64_t malformed_ = 0;
    bool posting_ = false; // some thread is emptying the outbox
    bool closed_ = false;
};

template <class Clock, class Mutex>
class SendEngine<Clock, Mutex>::Session {
public:
    explicit Session(SendEngine& engine)
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
            core::SendWaiterList batch;
            batch.swap(engine_.outbox_);
            lock_.unlock();
            while (!batch.empty()) {
                auto& operation = static_cast<SendOperation&>(batch.front());
                batch.pop_front();
                operation.post();
            }
            lock_.lock();
        }
        engine_.posting_ = false;
    }

    SendEngine& engine_;
    std::unique_lock<Mutex> lock_;
    core::Time now_;
};

template <class Clock, class Mutex>
bool SendEngine<Clock, Mutex>::try_take(const core::SendRequest& request, std::size_t bytes,
                                        core::SendPlace& place) {
    const Session session(*this);
    if (closed_) return false;
    if (bytes > max_payload_bytes) {
        ++payloads_too_large_;
        return false;
    }
    return schedule_.try_admit(request, session.now(), place);
}

template <class Clock, class Mutex>
void SendEngine<Clock, Mutex>::claim(SendOperation& operation, boost::system::error_code code) {
    operation.code = code;
    operation.claimed = true;
    outbox_.push_back(operation);
}

/// Why an operation is not even queued, if there is a reason.
template <class Clock, class Mutex>
boost::system::error_code SendEngine<Clock, Mutex>::refusal_of(const SendOperation& operation) {
    if (operation.aborted) return boost::asio::error::operation_aborted;
    if (closed_) return errc::closed;
    if (operation.bytes > max_payload_bytes) {
        ++payloads_too_large_;
        return errc::payload_too_large;
    }
    const core::SendRequest& request = operation.place.request;
    const bool full = schedule_.queued() >= max_queued_;
    if (full && request.kind != core::SendKind::heartbeat && !schedule_.replaces(request)) {
        return errc::queue_full;
    }
    return {};
}

template <class Clock, class Mutex>
void SendEngine<Clock, Mutex>::start(SendOperation& operation) {
    const Session session(*this);
    schedule_.advance(session.now());
    if (const auto code = refusal_of(operation)) return claim(operation, code);
    schedule_.enqueue(operation, session.now());
}

/// What the schedule has finished goes to the outbox.
template <class Clock, class Mutex>
void SendEngine<Clock, Mutex>::sort_out_finished() {
    core::SendWaiterList finished = schedule_.take_finished();
    while (!finished.empty()) {
        auto& operation = static_cast<SendOperation&>(finished.front());
        finished.pop_front();
        boost::system::error_code code;
        if (operation.state == core::SendState::superseded) code = errc::superseded;
        claim(operation, code);
    }
}

template <class Clock, class Mutex>
void SendEngine<Clock, Mutex>::abort(SendOperation& operation) {
    const Session session(*this);
    operation.aborted = true;
    if (operation.claimed || operation.state != core::SendState::queued) return;
    schedule_.withdraw(operation, session.now());
    claim(operation, boost::asio::error::operation_aborted);
}

template <class Clock, class Mutex>
bool SendEngine<Clock, Mutex>::deliver(SendOperation& operation) {
    const Session session(*this);
    if (operation.state != core::SendState::granted) return true;
    schedule_.delivered();
    if (!operation.aborted) return true;
    schedule_.cancel(operation.place, session.now());
    return false;
}

template <class Clock, class Mutex>
void SendEngine<Clock, Mutex>::arm(core::Time now) {
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
void SendEngine<Clock, Mutex>::ring() {
    const Session session(*this);
    armed_ = core::never;
    schedule_.advance(session.now());
}

template <class Clock, class Mutex>
void SendEngine<Clock, Mutex>::sent(core::SendPlace& place) {
    const Session session(*this);
    schedule_.sent(place, session.now());
}

template <class Clock, class Mutex>
void SendEngine<Clock, Mutex>::cancel(core::SendPlace& place) {
    const Session session(*this);
    schedule_.cancel(place, session.now());
}

template <class Clock, class Mutex>
void SendEngine<Clock, Mutex>::set_heartbeat_interval(std::chrono::nanoseconds interval) {
    const Session session(*this);
    schedule_.set_heartbeat_interval(interval);
    schedule_.advance(session.now());
}

template <class Clock, class Mutex>
void SendEngine<Clock, Mutex>::on_rate_limited(std::optional<RateLimited>& refused) {
    const Session session(*this);
    if (!refused) {
        ++malformed_;
        return;
    }
    core::SendRefusal refusal;
    refusal.kind = kind_of(refused->opcode);
    refusal.opcode = static_cast<std::uint8_t>(refused->opcode);
    refusal.retry_after = refused->retry_after;
    refusal.guild = refused->guild;
    refusal.nonce = refused->nonce;
    refused->matched = schedule_.refuse(refusal, session.now());
}

template <class Clock, class Mutex>
void SendEngine<Clock, Mutex>::reset() {
    const Session session(*this);
    schedule_.reset(session.now());
}

template <class Clock, class Mutex>
void SendEngine<Clock, Mutex>::hold(bool held) {
    const Session session(*this);
    schedule_.hold(held, session.now());
}

/// Ends all waiters; what was granted before stays granted.
template <class Clock, class Mutex>
std::size_t SendEngine<Clock, Mutex>::end_waiters(boost::system::error_code code) {
    sort_out_finished();
    const std::size_t ended = schedule_.end_all();
    core::SendWaiterList finished = schedule_.take_finished();
    while (!finished.empty()) {
        auto& operation = static_cast<SendOperation&>(finished.front());
        finished.pop_front();
        claim(operation, code);
    }
    return ended;
}

template <class Clock, class Mutex>
std::size_t SendEngine<Clock, Mutex>::cancel_all() {
    const Session session(*this);
    return end_waiters(boost::asio::error::operation_aborted);
}

template <class Clock, class Mutex>
void SendEngine<Clock, Mutex>::close() {
    const Session session(*this);
    closed_ = true;
    end_waiters(errc::closed);
}

/// Takes out what waits on the context or was to be posted there, and disturbs nobody else.
template <class Clock, class Mutex>
core::SendWaiterList
SendEngine<Clock, Mutex>::take_out(const boost::asio::execution_context& context, core::Time now) {
    std::vector<SendOperation*> queued;
    schedule_.each_waiter([&](core::SendWaiter& waiter) {
        auto& operation = static_cast<SendOperation&>(waiter);
        if (operation.context == &context) queued.push_back(&operation);
    });
    for (SendOperation* operation : queued) {
        if (operation->state != core::SendState::queued) continue; // granted by the one before
        schedule_.withdraw(*operation, now);
        claim(*operation, boost::asio::error::operation_aborted);
    }
    sort_out_finished();
    core::SendWaiterList taken;
    for (auto at = outbox_.begin(); at != outbox_.end();) {
        auto& operation = static_cast<SendOperation&>(*at);
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
void SendEngine<Clock, Mutex>::shut_down(boost::asio::execution_context& context) {
    core::SendWaiterList doomed;
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
        auto& operation = static_cast<SendOperation&>(doomed.front());
        doomed.pop_front();
        if (deliver(operation) && operation.place.taken) cancel(operation.place);
        operation.destroy();
    }
}

template <class Clock, class Mutex>
SendStats SendEngine<Clock, Mutex>::stats() {
    const Session session(*this);
    schedule_.advance(session.now());
    SendStats stats;
    stats.counters = schedule_.counters();
    stats.payloads_too_large = payloads_too_large_;
    stats.malformed = malformed_;
    stats.queued = schedule_.queued();
    stats.held = schedule_.held();
    stats.reserved = schedule_.reserved();
    stats.room = schedule_.room();
    return stats;
}

} // namespace detail
} // namespace sluice::gateway

#endif
