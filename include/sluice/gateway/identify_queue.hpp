// SPDX-License-Identifier: MIT
//
// Decides when a shard may identify, for bots of any size: one shard, or thousands that start in
// batches of max_concurrency.
//
//     IdentifyQueue identifies{executor, SessionStartLimit::parse(answer_of_get_gateway_bot)};
//     IdentifyPermit permit = co_await identifies.acquire(shard_id);
//     co_await socket.async_write(identify, use_awaitable);
//     permit.sent();
//
// Discord docs, "Gateway", Sharding and Session Start Limit: each key (shard_id mod
// max_concurrency) may identify once in 5 s, keys in parallel. Using up the identifies of a day
// ends all sessions and resets the token. Use one queue for all shards of a token, therefore.
// Resumes are not limited and need no permit.
#ifndef SLUICE_GATEWAY_IDENTIFY_QUEUE_HPP
#define SLUICE_GATEWAY_IDENTIFY_QUEUE_HPP

#include <sluice/detail/handler_executor.hpp>
#include <sluice/error.hpp>
#include <sluice/gateway/detail/identify_engine.hpp>
#include <sluice/gateway/identify_options.hpp>
#include <sluice/gateway/identify_permit.hpp>
#include <sluice/gateway/session_start_limit.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/execution_context.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace sluice::gateway {

/// *Threads*: every member except construction and destruction may be called from any thread. The
/// queue is neither copied nor moved.
/// *End*: destroying it ends waiters with errc::closed. Permits may outlive it. The queue and its
/// permits may outlive the execution context, in any order.
/// *Clock*: a chrono clock, or testing::ManualClock for virtual time. If the clock runs backwards,
/// the limiter's time stands still. *Mutex*: any Lockable.
/// *Executor*: any_io_executor, or the adapted type that as_default_on_t makes of it.
template <class Clock, class Mutex = std::mutex, class Executor = boost::asio::any_io_executor>
class BasicIdentifyQueue {
public:
    using executor_type = Executor;
    template <class Other>
    struct rebind_executor {
        using other = BasicIdentifyQueue<Clock, Mutex, Other>;
    };

    /// *Errors*: throws InvalidSessionStartLimit, as update() does.
    BasicIdentifyQueue(boost::asio::any_io_executor executor, const SessionStartLimit& limit,
                       const IdentifyQueueOptions& options = {}, Clock clock = Clock())
        : engine_(std::make_shared<Engine>(std::move(executor), limit, options, std::move(clock))) {
        engine_->attach();
    }
    template <class Context>
    requires std::derived_from<Context, boost::asio::execution_context>
    BasicIdentifyQueue(Context& context, const SessionStartLimit& limit,
                       const IdentifyQueueOptions& options = {}, Clock clock = Clock())
        : BasicIdentifyQueue(context.get_executor(), limit, options, std::move(clock)) {}
    /// For as_default_on(): takes over from a queue that has not been used yet. The other queue may
    /// only be destroyed afterwards.
    template <class Other>
    requires(!std::same_as<Other, Executor>) explicit BasicIdentifyQueue(
        BasicIdentifyQueue<Clock, Mutex, Other>&& other) noexcept
        : engine_(std::move(other.engine_)) {}
    BasicIdentifyQueue(const BasicIdentifyQueue&) = delete;
    BasicIdentifyQueue& operator=(const BasicIdentifyQueue&) = delete;
    ~BasicIdentifyQueue() {
        if (engine_) engine_->close();
    }

    /// Returns a permit when the shard may identify. Does not suspend when that is now. The request
    /// takes its position in the queue when the awaitable is first awaited. The permit may be
    /// dropped: then the identify counts as sent at that moment.
    /// *Errors*: throws sluice::Error with the codes of async_acquire. For those of max_wait its
    /// retry_after() says when to try again, as far as is known.
    boost::asio::awaitable<IdentifyPermit> acquire(std::uint64_t shard_id,
                                                   IdentifyOptions options = {}) {
        return detail::acquire(engine_, shard_id, options);
    }

    /// Completes when the shard may identify.
    /// *Completion signature*: void(boost::system::error_code, IdentifyPermit). On an error the
    /// permit is empty.
    /// *Errors*: only with max_wait: errc::sessions_exhausted and errc::wait_too_long, at once when
    /// the wait is known to be longer, later when it becomes so. Always: errc::closed;
    /// asio::error::operation_aborted. Without max_wait the call waits until the next day's
    /// identifies are available.
    /// *Cancellation*: terminal, partial and total. A cancelled shard uses no identify and leaves
    /// no gap in the queue, even when it is cancelled between the grant and the completion.
    /// *Ordering*: shards of one key complete in the order in which they came, one outstanding
    /// permit at a time. Keys do not wait for each other. Of the keys that open at one moment, the
    /// lowest batch (shard_id / max_concurrency) goes first, which matters when the day's
    /// identifies run out. Order means the order in which completions are posted.
    /// *Executor*: completes on the handler's associated executor, or else on the queue's; never
    /// inside this call, unless the handler has an immediate executor: as
    /// BucketManager::async_acquire.
    /// *Token*: by default Asio's default for executor_type, or the one that as_default_on() has
    /// set.
    template <class CompletionToken = sluice::detail::DefaultToken<Executor>>
    auto async_acquire(std::uint64_t shard_id, IdentifyOptions options,
                       CompletionToken&& token = CompletionToken()) {
        return detail::async_acquire(engine_, shard_id, options,
                                     std::forward<CompletionToken>(token));
    }
    template <sluice::detail::TokenBeside<IdentifyOptions> CompletionToken =
                  sluice::detail::DefaultToken<Executor>>
    auto async_acquire(std::uint64_t shard_id, CompletionToken&& token = CompletionToken()) {
        return async_acquire(shard_id, IdentifyOptions(), std::forward<CompletionToken>(token));
    }

    /// Returns a permit if one is available now and no queued shard would be overtaken, else
    /// nullopt. Never waits.
    [[nodiscard]] std::optional<IdentifyPermit> try_acquire(std::uint64_t shard_id,
                                                            IdentifyOptions options = {}) {
        core::IdentifyPlace place;
        if (!engine_->try_take(shard_id, options, place)) return std::nullopt;
        return detail::IdentifyPermitAccess::make(engine_, place);
    }

    /// Returns how long the shard would wait for a permit behind all queued shards; 0: it may go
    /// now. Assumes that an outstanding permit is sent when its timeout ends, and that later
    /// permits are sent at once, so the wait may turn out shorter. Returns nullopt if the wait
    /// depends on an update(), if it never ends, and after close(). Of the options only use_reserve
    /// matters. Cost: one step for each waiter.
    [[nodiscard]] std::optional<std::chrono::nanoseconds>
    timeout_for(std::uint64_t shard_id, IdentifyOptions options = {}) const {
        return engine_->timeout_for(shard_id, options);
    }

    /// Call with each new answer of GET /gateway/bot. Takes effect at once, also for waiters, which
    /// keep their order. Permits already issued stay valid. After a change of max_concurrency every
    /// key waits until the last identify of the old keys can no longer collide. Identifies of the
    /// last seconds are counted once more, because it is unknown whether Discord's answer includes
    /// them.
    /// *Errors*: throws InvalidSessionStartLimit, with nothing changed, if a field is invalid, such
    /// as max_concurrency 0.
    void update(const SessionStartLimit& limit) { engine_->update(limit); }

    /// Returns the identifies of the day that are still available, including the reserve.
    [[nodiscard]] std::int64_t remaining() const { return engine_->stats().remaining; }

    /// Ends all waiters with asio::error::operation_aborted. Returns how many.
    std::size_t cancel_all() { return engine_->cancel_all(); }

    /// Ends waiters and all later calls with errc::closed.
    void close() { engine_->close(); }

    [[nodiscard]] IdentifyStats stats() const { return engine_->stats(); }

    /// Returns the queue's executor, empty once its context has ended. By Asio's rule a copy of a
    /// strand may not outlive the context, so a thread that the context does not wait for should
    /// not hold one.
    [[nodiscard]] executor_type get_executor() const { return engine_->executor(); }

private:
    using Engine = detail::IdentifyEngine<Clock, Mutex>;
    template <class, class, class>
    friend class BasicIdentifyQueue;

    std::shared_ptr<Engine> engine_;
};

using IdentifyQueue = BasicIdentifyQueue<std::chrono::steady_clock>;

} // namespace sluice::gateway

#endif
