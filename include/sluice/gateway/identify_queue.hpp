// SPDX-License-Identifier: MIT
//
// Says when a shard may identify, for bots of any size: one shard, or thousands that come up in
// batches of max_concurrency.
//
//     IdentifyQueue identifies{executor, SessionStartLimit::parse(answer_of_get_gateway_bot)};
//     IdentifyPermit permit = co_await identifies.acquire(shard_id);
//     co_await socket.async_write(identify, use_awaitable);
//     permit.sent();
//
// Discord docs, "Gateway", Sharding and Session Start Limit: each key (shard_id mod
// max_concurrency) may identify once in 5 s, keys in parallel; spending the identifies of a day
// ends all sessions and resets the token. One queue for all shards of a token, therefore. Resumes
// are not limited and do not pass here.
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

/// *Threads*: every member but construction and destruction may be called from any thread. The
/// queue is neither copied nor moved.
/// *End*: destroying it ends waiters with errc::closed. Permits may outlive it; it and they may
/// outlive the execution context, in any order.
/// *Clock*: a chrono clock, or testing::ManualClock for virtual time. Should it run backwards, time
/// stands still. *Mutex*: any Lockable. *Executor*: any_io_executor, or what as_default_on_t makes
/// of it.
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
    /// For as_default_on(): takes over from a queue that nothing was asked of yet, and which may
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

    /// Returns when the shard may identify; does not suspend when that is now. The place in the
    /// queue is taken when it is first awaited. The permit may be dropped: then the identify counts
    /// as sent at that moment.
    /// *Errors*: throws sluice::Error with the codes of async_acquire; for those of max_wait its
    /// retry_after() says when it is worth trying again, as far as is known.
    boost::asio::awaitable<IdentifyPermit> acquire(std::uint64_t shard_id,
                                                   IdentifyOptions options = {}) {
        return detail::acquire(engine_, shard_id, options);
    }

    /// Completes when the shard may identify.
    /// *Completion signature*: void(boost::system::error_code, IdentifyPermit); on an error the
    /// permit is empty.
    /// *Errors*: with max_wait only errc::sessions_exhausted and errc::wait_too_long, at once when
    /// the wait is known to be longer, later when it has become so; errc::closed;
    /// asio::error::operation_aborted. Without max_wait a day that is spent is waited for.
    /// *Cancellation*: terminal, partial and total; a cancelled shard spends nothing and leaves no
    /// gap, also between the grant and the completion.
    /// *Ordering*: shards of one key in the order in which they came, one permit out at a time.
    /// Keys do not wait for each other; of those that open at one moment the lowest batch (shard_id
    /// / max_concurrency) goes first, which matters when the day's identifies run out. Order means
    /// the order in which completions are posted.
    /// *Executor*: completes on the handler's associated executor, else the queue's; never inside
    /// this call, unless the handler has an immediate executor: as BucketManager::async_acquire.
    /// *Token*: by default Asio's for executor_type, or what as_default_on() has set.
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

    /// A permit if one can be had now and nobody is overtaken. Never waits.
    [[nodiscard]] std::optional<IdentifyPermit> try_acquire(std::uint64_t shard_id,
                                                            IdentifyOptions options = {}) {
        core::IdentifyPlace place;
        if (!engine_->try_take(shard_id, options, place)) return std::nullopt;
        return detail::IdentifyPermitAccess::make(engine_, place);
    }

    /// Until the shard could have a permit, behind all that are queued; 0: now. A permit that is
    /// out is taken to be sent when its time is over, those to come at once: it may turn out
    /// shorter. Nothing while that hangs on an update(), when it is for ever, and once closed. Of
    /// the options only use_reserve counts. Cost: a step for each that waits.
    [[nodiscard]] std::optional<std::chrono::nanoseconds>
    timeout_for(std::uint64_t shard_id, IdentifyOptions options = {}) const {
        return engine_->timeout_for(shard_id, options);
    }

    /// GET /gateway/bot has answered anew. Takes effect at once, also for waiters, which keep their
    /// order; permits already given stay valid. After a change of max_concurrency every key waits
    /// until the last identify of the old keys can do no harm. Identifies of the last seconds are
    /// counted once more, for nobody knows whether Discord's answer has them in.
    /// *Errors*: throws InvalidSessionStartLimit, with nothing changed, if a field makes no sense:
    /// max_concurrency 0, say.
    void update(const SessionStartLimit& limit) { engine_->update(limit); }

    /// Identifies of the day that are still to be had, the reserve among them.
    [[nodiscard]] std::int64_t remaining() const { return engine_->stats().remaining; }

    /// Ends all waiters with asio::error::operation_aborted. Returns how many.
    std::size_t cancel_all() { return engine_->cancel_all(); }

    /// Ends waiters and later calls with errc::closed.
    void close() { engine_->close(); }

    [[nodiscard]] IdentifyStats stats() const { return engine_->stats(); }

    /// Empty once its context has ended. By Asio's rule a copy of a strand may not outlive the
    /// context, so a thread that the context does not wait for should not hold one.
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
