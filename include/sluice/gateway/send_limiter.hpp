// SPDX-License-Identifier: MIT
//
// Keeps the events that a bot sends over one gateway connection within Discord's limits: 120 events
// in 60 s, heartbeats included; five presence updates in 20 s; one whole member list per guild in
// 30 s.
//
//     sluice::gateway::SendLimiter sends{executor, {.member_lists = lists}};
//     sends.set_heartbeat_interval(hello_interval);
//     co_await sends.acquire(Opcode::presence_update);
//     co_await socket.async_write(...);
//
// Acquire a permit for every event that is sent, including heartbeats, identify and resume: Discord
// counts them all (staff, discord-api-docs#315, 2017-07), and closes with 4008 when there are too
// many. A heartbeat never waits: slots are reserved for it.
#ifndef SLUICE_GATEWAY_SEND_LIMITER_HPP
#define SLUICE_GATEWAY_SEND_LIMITER_HPP

#include <sluice/detail/handler_executor.hpp>
#include <sluice/error.hpp>
#include <sluice/gateway/detail/send_engine.hpp>
#include <sluice/gateway/opcode.hpp>
#include <sluice/gateway/rate_limited.hpp>
#include <sluice/gateway/send_options.hpp>
#include <sluice/gateway/send_permit.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/execution_context.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace sluice::gateway {

/// One per connection: make a new one for each connection, or call reset().
/// *Threads*: every member except construction and destruction may be called from any thread. The
/// limiter is neither copied nor moved.
/// *End*: destroying it ends waiters with errc::closed. Permits may outlive it. The limiter and its
/// permits may outlive the execution context, in any order.
/// *Clock*: a chrono clock, or testing::ManualClock for virtual time. If the clock runs backwards,
/// the limiter's time stands still. *Mutex*: any Lockable.
/// *Executor*: any_io_executor, or the adapted type that as_default_on_t makes of it.
template <class Clock, class Mutex = std::mutex, class Executor = boost::asio::any_io_executor>
class BasicSendLimiter {
public:
    using executor_type = Executor;
    template <class Other>
    struct rebind_executor {
        using other = BasicSendLimiter<Clock, Mutex, Other>;
    };

    explicit BasicSendLimiter(boost::asio::any_io_executor executor,
                              const SendLimiterOptions& options = {}, Clock clock = Clock())
        : engine_(std::make_shared<Engine>(std::move(executor), options, std::move(clock))) {
        engine_->attach();
    }
    template <class Context>
    requires std::derived_from<Context, boost::asio::execution_context>
    explicit BasicSendLimiter(Context& context, const SendLimiterOptions& options = {},
                              Clock clock = Clock())
        : BasicSendLimiter(context.get_executor(), options, std::move(clock)) {}
    /// For as_default_on(): takes over from a limiter that has not been used yet. The other limiter
    /// may only be destroyed afterwards.
    template <class Other>
    requires(!std::same_as<Other, Executor>) explicit BasicSendLimiter(
        BasicSendLimiter<Clock, Mutex, Other>&& other) noexcept
        : engine_(std::move(other.engine_)) {}
    BasicSendLimiter(const BasicSendLimiter&) = delete;
    BasicSendLimiter& operator=(const BasicSendLimiter&) = delete;
    ~BasicSendLimiter() {
        if (engine_) engine_->close();
    }

    /// Returns a permit for one event as soon as it may be sent. Does not suspend when that is now
    /// and no queued event would be overtaken. The event takes its position in the queue when the
    /// awaitable is first awaited. The permit may be dropped: then the event counts as sent at that
    /// moment.
    /// *Errors*: throws sluice::Error with the codes of async_acquire.
    boost::asio::awaitable<SendPermit> acquire(Opcode opcode, SendOptions options = {}) {
        return detail::acquire(engine_, detail::request_of(opcode, options), options.bytes);
    }

    /// Completes when the event may be sent. Heartbeats complete at once.
    /// *Completion signature*: void(boost::system::error_code, SendPermit). On an error the permit
    /// is empty.
    /// *Errors*: errc::payload_too_large, which costs no slot; errc::superseded when a newer
    /// presence update came while this one waited; errc::queue_full; errc::closed;
    /// asio::error::operation_aborted.
    /// *Cancellation*: terminal, partial and total. A cancelled event leaves no gap in the queue,
    /// even when it is cancelled between the grant and the completion.
    /// *Ordering*: identify and resume first, then events that Discord refused before, then all
    /// others in the order in which they came. An event blocked by its own limit (presence, member
    /// lists) lets others pass. A presence update takes the queue position of the one that it
    /// supersedes.
    /// *Executor*: completes on the handler's associated executor, or else on the limiter's; never
    /// inside this call, unless the handler has an immediate executor: as
    /// BucketManager::async_acquire.
    /// *Token*: by default Asio's default for executor_type, or the one that as_default_on() has
    /// set.
    template <class CompletionToken = sluice::detail::DefaultToken<Executor>>
    auto async_acquire(Opcode opcode, SendOptions options,
                       CompletionToken&& token = CompletionToken()) {
        return detail::async_acquire(engine_, detail::request_of(opcode, options), options.bytes,
                                     std::forward<CompletionToken>(token));
    }
    template <sluice::detail::TokenBeside<SendOptions> CompletionToken =
                  sluice::detail::DefaultToken<Executor>>
    auto async_acquire(Opcode opcode, CompletionToken&& token = CompletionToken()) {
        return async_acquire(opcode, SendOptions(), std::forward<CompletionToken>(token));
    }

    /// Returns a permit if one is available now and no queued event would be overtaken, else
    /// nullopt. Never returns one for a payload that is too large. Supersedes nothing. Always
    /// returns one for a heartbeat, unless the limiter is closed.
    [[nodiscard]] std::optional<SendPermit> try_acquire(Opcode opcode, SendOptions options = {}) {
        core::SendPlace place;
        if (!engine_->try_take(detail::request_of(opcode, options), options.bytes, place)) {
            return std::nullopt;
        }
        return detail::SendPermitAccess::make(engine_, place);
    }

    /// Returns how long such an event would wait behind all queued events; 0: it may go now, as
    /// always for a heartbeat. Returns nullopt if the wait depends on an outstanding permit or on
    /// release(), and if acquire() would fail (closed, or the payload is too large). Cost: one step
    /// for each waiter.
    [[nodiscard]] std::optional<std::chrono::nanoseconds>
    timeout_for(Opcode opcode, SendOptions options = {}) const {
        return engine_->timeout_for(detail::request_of(opcode, options), options.bytes);
    }

    /// Sets the interval from hello, which determines how many slots are reserved for heartbeats.
    /// Changes nothing unless it is positive.
    void set_heartbeat_interval(std::chrono::nanoseconds interval) {
        engine_->set_heartbeat_interval(interval);
    }

    /// Call when RATE_LIMITED has arrived: Discord has dropped that event. `json` is its `d` or the
    /// whole payload, with the interface of nlohmann::json. Events that would be refused again wait
    /// for retry_after: whole member lists of the guild, or events of that opcode. Returns which
    /// request to make again, because its acquire has long completed. When it is acquired with the
    /// same guild and nonce, it goes ahead of all events that came after it. Returns nullopt,
    /// counted in stats(), if the json cannot be read. Never throws because of its content.
    template <class Json>
    std::optional<RateLimited> on_rate_limited(const Json& json) {
        std::optional<RateLimited> refused = RateLimited::parse(json);
        engine_->on_rate_limited(refused);
        return refused;
    }

    /// Call when a new connection is open, over which nothing has been sent. Waiters keep their
    /// positions and go over the new connection, at once unless held. Limits of member lists are
    /// kept.
    void reset() { engine_->reset(); }

    /// Call when the connection is lost: until release() only heartbeats, identify and resume go.
    /// For bots that keep one limiter over reconnects: hold() on close, reset() on open, release()
    /// on READY or RESUMED, because Discord closes with 4003 if other events are sent earlier.
    void hold() { engine_->hold(true); }
    void release() { engine_->hold(false); }

    /// Ends all waiters with asio::error::operation_aborted. Returns how many.
    std::size_t cancel_all() { return engine_->cancel_all(); }

    /// Ends waiters and all later calls with errc::closed.
    void close() { engine_->close(); }

    [[nodiscard]] SendStats stats() const { return engine_->stats(); }

    /// Returns the limiter's executor, empty once its context has ended. By Asio's rule a copy of a
    /// strand may not outlive the context, so a thread that the context does not wait for should
    /// not hold one.
    [[nodiscard]] executor_type get_executor() const { return engine_->executor(); }

private:
    using Engine = detail::SendEngine<Clock, Mutex>;
    template <class, class, class>
    friend class BasicSendLimiter;

    std::shared_ptr<Engine> engine_;
};

using SendLimiter = BasicSendLimiter<std::chrono::steady_clock>;

} // namespace sluice::gateway

#endif
