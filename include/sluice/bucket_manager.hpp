// SPDX-License-Identifier: MIT
//
// The limiter of one bot token. It maps route templates to bucket hashes, and hashes plus major
// parameters to buckets. Each bucket issues tickets first come, first served.
//
//     sluice::BucketManager limiter{executor};
//     sluice::Ticket ticket = co_await limiter.acquire(create_message(channel_id));
//     ticket.update(sluice::Response::parse(status, headers, body));
//
// Discord docs, "Rate Limits": limits belong to an individual, identified by the authentication.
// Make one manager for each token, and let everything that uses the token share it.
#ifndef SLUICE_BUCKET_MANAGER_HPP
#define SLUICE_BUCKET_MANAGER_HPP

#include <sluice/bucket.hpp>
#include <sluice/core/time.hpp>
#include <sluice/detail/acquire.hpp>
#include <sluice/detail/engine.hpp>
#include <sluice/detail/handler_executor.hpp>
#include <sluice/detail/snapshot_json.hpp>
#include <sluice/error.hpp>
#include <sluice/null_mutex.hpp>
#include <sluice/options.hpp>
#include <sluice/response.hpp>
#include <sluice/route.hpp>
#include <sluice/ticket.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/system/error_code.hpp>
#include <nlohmann/json_fwd.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

namespace sluice {

/// *Threads*: every member except construction and destruction may be called from any thread. The
/// manager is neither copied nor moved.
/// *End*: destroying it ends waiters with errc::closed. Tickets may outlive it and may still be
/// settled. The manager and its tickets may outlive the execution context, in any order.
/// *Clock*: a chrono clock, or testing::ManualClock for virtual time. now() is called from several
/// threads at once, and must neither block nor call the manager. If the clock runs backwards, the
/// limiter's time stands still.
/// *Mutex*: any Lockable.
/// *Executor*: any_io_executor, or the adapted type that as_default_on_t makes of it.
template <class Clock, class Mutex = std::mutex, class Executor = boost::asio::any_io_executor>
class BasicBucketManager {
public:
    using executor_type = Executor;
    template <class Other>
    struct rebind_executor {
        using other = BasicBucketManager<Clock, Mutex, Other>;
    };

    explicit BasicBucketManager(boost::asio::any_io_executor executor, const Options& options = {},
                                Clock clock = Clock())
        : engine_(std::make_shared<Engine>(std::move(executor), options, std::move(clock))) {
        engine_->attach();
    }
    template <class Context>
    requires std::derived_from<Context, boost::asio::execution_context>
    explicit BasicBucketManager(Context& context, const Options& options = {},
                                Clock clock = Clock())
        : BasicBucketManager(context.get_executor(), options, std::move(clock)) {}
    /// For as_default_on(): takes over from a manager that has not been used yet. The other manager
    /// may only be destroyed afterwards.
    template <class Other>
    requires(!std::same_as<Other, Executor>) explicit BasicBucketManager(
        BasicBucketManager<Clock, Mutex, Other>&& other) noexcept
        : engine_(std::move(other.engine_)) {}
    BasicBucketManager(const BasicBucketManager&) = delete;
    BasicBucketManager& operator=(const BasicBucketManager&) = delete;
    ~BasicBucketManager() {
        if (engine_) engine_->close();
    }

    /// Returns a ticket for one request of the route as soon as the request may go. Does not
    /// suspend when that is now and no queued request would be overtaken. The request takes its
    /// position in the queue when the awaitable is first awaited.
    /// *Errors*: throws sluice::Error with the codes of async_acquire.
    [[nodiscard]] boost::asio::awaitable<Ticket> acquire(const Route& route) {
        return detail::acquire(engine_, route, detail::DefaultOptions());
    }
    [[nodiscard]] boost::asio::awaitable<Ticket> acquire(const Route& route,
                                                         AcquireOptions options) {
        return detail::acquire(engine_, route, options);
    }

    /// Completes when one request of the route may go.
    /// *Completion signature*: void(boost::system::error_code, Ticket). On an error the ticket is
    /// empty and its refusal() says what is known.
    /// *Errors*: errc::closed; errc::wait_too_long, at once when the wait is known to be longer
    /// than max_wait, later when it becomes so; errc::queue_full; errc::unauthorized after a 401,
    /// until replace_token(); errc::unknown_webhook after a 404 of that webhook;
    /// errc::too_many_invalid_requests; errc::invalid_route for a route made from bad arguments;
    /// asio::error::operation_aborted.
    /// *Cancellation*: terminal, partial and total. A cancelled request leaves no gap in the queue,
    /// even when it is cancelled between the grant and the completion.
    /// *Ordering*: requests of one lane (route, major parameter, sublimit) complete in the order in
    /// which they were made, except retries, which go first. Among the lanes of one bucket, and
    /// among buckets that wait only for the global limit, the earliest request goes first. Order
    /// means the order in which completions are posted.
    /// *Executor*: completes on the handler's associated executor, or else on the manager's. Never
    /// completes inside this call, unless the handler has an immediate executor (Boost 1.82) and
    /// need not wait. If the associated executor cannot be posted to, or hides its context
    /// (any_completion_handler), the manager's executor passes the handler on to it, and the end of
    /// the manager's context destroys the handler. After the manager's context has ended,
    /// errc::closed completes on Asio's system executor.
    /// *Token*: by default Asio's default for executor_type, or the one that as_default_on() has
    /// set.
    template <class CompletionToken = detail::DefaultToken<Executor>>
    auto async_acquire(Route route, AcquireOptions options,
                       CompletionToken&& token = CompletionToken()) {
        return detail::async_acquire(engine_, route, options, std::forward<CompletionToken>(token));
    }
    template <detail::TokenBeside<AcquireOptions> CompletionToken = detail::DefaultToken<Executor>>
    auto async_acquire(Route route, CompletionToken&& token = CompletionToken()) {
        return async_acquire(route, AcquireOptions(), std::forward<CompletionToken>(token));
    }

    /// Returns a ticket if one is available now and no queued request would be overtaken, else
    /// nullopt. Never waits and never throws because of a limit.
    [[nodiscard]] std::optional<Ticket> try_acquire(Route route) {
        return detail::TicketAccess::try_acquire(engine_, route);
    }

    /// Returns a handle on the bucket that the route draws on.
    [[nodiscard]] Bucket bucket(Route route) const { return Bucket(engine_, route); }

    /// Applies an answer to a request that was made without a ticket. Returns what it means.
    Verdict update(Route route, const Response& answer) { return engine_->update(route, answer); }

    /// Returns how long a new request would wait behind all queued requests; 0: it may go now.
    /// Returns nullopt while the time depends on the first answer of this route, or of a route that
    /// may draw on the same bucket. Also returns nullopt while acquire() would fail permanently:
    /// see errc::closed, unauthorized and unknown_webhook.
    [[nodiscard]] std::optional<std::chrono::nanoseconds> timeout_for(Route route) {
        return engine_->timeout_for(route);
    }

    /// Returns the bucket of the route; nullopt if it has never been used or has been evicted.
    [[nodiscard]] std::optional<BucketInfo> find(Route route) { return engine_->find(route); }

    /// Evicts buckets that have been idle for at least `idle` and hold no state that could be lost.
    /// Returns how many. Cost: one step for each idle bucket.
    std::size_t collect(std::chrono::nanoseconds idle) { return engine_->collect(idle); }

    /// Ends all waiters with asio::error::operation_aborted. Returns how many.
    std::size_t cancel_all() { return engine_->cancel_all(); }

    /// Ends waiters and all later calls with errc::closed.
    void close() { engine_->close(); }

    [[nodiscard]] Stats stats() const { return engine_->stats(); }

    /// Takes effect at once. Requests already sent keep counting.
    void set_global(const GlobalLimit& global) { engine_->set_global(global); }

    /// Call when the bot has a new token: acquires work again after a 401.
    void replace_token() { engine_->replace_token(); }

    /// Returns the state that a restarted bot needs: the hashes of routes, each bucket's window,
    /// active blocks and when they end, slots of the global limit, invalid requests of the address,
    /// and webhooks that are gone. Requests in flight are saved as lost. The snapshot contains no
    /// token, and not whether the token was refused.
    ///
    ///     std::ofstream("limits.json") << limiter.snapshot();
    ///
    /// *Cost*: one step and some 300 characters for each bucket.
    template <class Json = nlohmann::json>
    [[nodiscard]] Json snapshot() const {
        return detail::SnapshotWriter<Json>::write(engine_->save());
    }

    /// Restores a snapshot. Call it before the first acquire; state that the limiter already has is
    /// kept. The time between snapshot and restore is measured on the system clock, or on Clock if
    /// Clock is not std::chrono::steady_clock. If the system clock was set back, no time is taken
    /// to have passed.
    /// *Errors*: errc::invalid_snapshot when `state` is not a snapshot, or one of a later version;
    /// then nothing has changed. Numbers out of range are clamped.
    template <class Json>
    void restore(const Json& state, boost::system::error_code& error) {
        const auto saved = detail::SnapshotReader<Json>::read(state);
        error = saved ? boost::system::error_code() : make_error_code(errc::invalid_snapshot);
        if (saved) engine_->restore(*saved);
    }
    /// Restores a snapshot like the overload above, but throws sluice::Error.
    template <class Json>
    void restore(const Json& state) {
        boost::system::error_code error;
        restore(state, error);
        if (error) throw Error(error);
    }

    /// Returns the current time of the limiter's clock.
    [[nodiscard]] typename Clock::time_point now() const { return engine_->clock().now(); }

    /// Waits on the limiter's clock, ten years at most. Cancellation ends the wait with
    /// asio::error::operation_aborted.
    [[nodiscard]] boost::asio::awaitable<void> sleep(std::chrono::nanoseconds time) {
        return detail::sleep(engine_->clock(), core::in_range(time));
    }

    /// Returns the manager's executor, empty once its context has ended. By Asio's rule a copy of a
    /// strand may not outlive the context, so a thread that the context does not wait for should
    /// not hold one.
    [[nodiscard]] executor_type get_executor() const { return engine_->executor(); }

private:
    using Engine = detail::Engine<Clock, Mutex>;
    template <class, class, class>
    friend class BasicBucketManager;

    std::shared_ptr<Engine> engine_;
};

using BucketManager = BasicBucketManager<std::chrono::steady_clock>;

/// The interface that client code may rely on, whether its limiter works alone or shares its state
/// with other processes.
template <class T>
concept Limiter = requires(T limiter, Route route, AcquireOptions options, Response answer) {
    { limiter.acquire(route) } -> std::same_as<boost::asio::awaitable<Ticket>>;
    { limiter.acquire(route, options) } -> std::same_as<boost::asio::awaitable<Ticket>>;
    { limiter.bucket(route) } -> std::same_as<Bucket>;
    { limiter.update(route, answer) } -> std::same_as<Verdict>;
    { limiter.cancel_all() } -> std::same_as<std::size_t>;
    { limiter.stats() } -> std::same_as<Stats>;
    limiter.set_global(GlobalLimit());
    limiter.replace_token();
    limiter.close();
};

static_assert(Limiter<BucketManager>);

} // namespace sluice

#endif
