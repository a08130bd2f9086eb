// SPDX-License-Identifier: MIT
//
// The limiter of one bot token. It maps route templates to bucket hashes, and hashes plus major
// parameters to buckets; each bucket hands out tickets first come, first served.
//
//     sluice::BucketManager limiter{executor};
//     sluice::Ticket ticket = co_await limiter.acquire(create_message(channel_id));
//     ticket.update(sluice::Response::parse(status, headers, body));
//
// Discord docs, "Rate Limits": limits belong to an individual, taken from the authentication, so
// make one manager for each token and let everything that uses the token share it.
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

/// *Threads*: every member but construction and destruction may be called from any thread. The
/// manager is neither copied nor moved.
/// *End*: destroying it ends waiters with errc::closed. Tickets may outlive it and may still be
/// settled; it and they may outlive the execution context, in any order.
/// *Clock*: a chrono clock, or testing::ManualClock for virtual time; now() is called from several
/// threads at once, and must neither block nor call the manager. Should it run backwards, time
/// stands still. *Mutex*: any Lockable. *Executor*: any_io_executor, or what as_default_on_t makes
/// of it.
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
    /// For as_default_on(): takes over from a manager that nothing was asked of yet, and which may
    /// only be destroyed afterwards.
    template <class Other>
    requires(!std::same_as<Other, Executor>) explicit BasicBucketManager(
        BasicBucketManager<Clock, Mutex, Other>&& other) noexcept
        : engine_(std::move(other.engine_)) {}
    BasicBucketManager(const BasicBucketManager&) = delete;
    BasicBucketManager& operator=(const BasicBucketManager&) = delete;
    ~BasicBucketManager() {
        if (engine_) engine_->close();
    }

    /// A ticket for one request of the route, as soon as it may go. Does not suspend when that is
    /// now and nobody is overtaken. The place in the queue is taken when it is first awaited.
    /// *Errors*: throws sluice::Error with the codes of async_acquire.
    [[nodiscard]] boost::asio::awaitable<Ticket> acquire(const Route& route) {
        return detail::acquire(engine_, route, detail::DefaultOptions());
    }
    [[nodiscard]] boost::asio::awaitable<Ticket> acquire(const Route& route,
                                                         AcquireOptions options) {
        return detail::acquire(engine_, route, options);
    }

    /// Completes when one request of the route may go.
    /// *Completion signature*: void(boost::system::error_code, Ticket); on an error the ticket is
    /// empty and its refusal() says what is known.
    /// *Errors*: errc::closed; errc::wait_too_long at once when the wait is known to be longer than
    /// max_wait, later when it has become so; errc::queue_full; errc::unauthorized after a 401,
    /// until replace_token(); errc::unknown_webhook after a 404 of that webhook;
    /// errc::too_many_invalid_requests; errc::invalid_route for a route made from bad arguments;
    /// asio::error::operation_aborted.
    /// *Cancellation*: terminal, partial and total; a cancelled request leaves no gap, also between
    /// the grant and the completion.
    /// *Ordering*: requests of one lane (route, major parameter, sublimit) complete in the order in
    /// which they were made, but for retries, which go first; among the lanes of one bucket, and
    /// among buckets that wait for the global limit only, the earliest goes first. Order means the
    /// order in which completions are posted.
    /// *Executor*: completes on the handler's associated executor, else the manager's; never inside
    /// this call, unless the handler has an immediate executor (Boost 1.82) and need not wait. One
    /// that cannot be posted to, or hides its context (any_completion_handler), is given the
    /// handler by the manager's, whose end destroys the handler. Once the manager's context has
    /// ended there is none left: then errc::closed comes on Asio's system executor. *Token*: by
    /// default Asio's for executor_type, or what as_default_on() has set.
    template <class CompletionToken = detail::DefaultToken<Executor>>
    auto async_acquire(Route route, AcquireOptions options,
                       CompletionToken&& token = CompletionToken()) {
        return detail::async_acquire(engine_, route, options, std::forward<CompletionToken>(token));
    }
    template <detail::TokenBeside<AcquireOptions> CompletionToken = detail::DefaultToken<Executor>>
    auto async_acquire(Route route, CompletionToken&& token = CompletionToken()) {
        return async_acquire(route, AcquireOptions(), std::forward<CompletionToken>(token));
    }

    /// A ticket if one can be had now and nobody is overtaken. Never waits, never throws for
    /// limits.
    [[nodiscard]] std::optional<Ticket> try_acquire(Route route) {
        return detail::TicketAccess::try_acquire(engine_, route);
    }

    /// A handle on the bucket that the route draws on.
    [[nodiscard]] Bucket bucket(Route route) const { return Bucket(engine_, route); }

    /// An answer to a request that was made without a ticket.
    Verdict update(Route route, const Response& answer) { return engine_->update(route, answer); }

    /// Until a ticket could be had, behind all that are queued; 0: now. Nothing while that hangs on
    /// the first answer of this route, or of one that may draw on the same bucket, nor while
    /// acquire() would fail for good: see errc::closed, unauthorized and unknown_webhook.
    [[nodiscard]] std::optional<std::chrono::nanoseconds> timeout_for(Route route) {
        return engine_->timeout_for(route);
    }

    /// The bucket of the route; nothing if it has never been used or has been forgotten.
    [[nodiscard]] std::optional<BucketInfo> find(Route route) { return engine_->find(route); }

    /// Forgets buckets that have been idle this long and hold nothing that could be lost. Returns
    /// how many. Cost: one step for each idle bucket.
    std::size_t collect(std::chrono::nanoseconds idle) { return engine_->collect(idle); }

    /// Ends all waiters with asio::error::operation_aborted. Returns how many.
    std::size_t cancel_all() { return engine_->cancel_all(); }

    /// Ends waiters and later calls with errc::closed.
    void close() { engine_->close(); }

    [[nodiscard]] Stats stats() const { return engine_->stats(); }

    /// Takes effect at once; requests already sent keep counting.
    void set_global(const GlobalLimit& global) { engine_->set_global(global); }

    /// The bot has a new token: after a 401 acquires work again.
    void replace_token() { engine_->replace_token(); }

    /// What the limiter has learned and what it must not forget, for a bot that starts again: the
    /// hashes of routes, each bucket's window, what is blocked and until when, slots of the global
    /// limit, invalid requests of the address and webhooks that are gone. Requests in flight count
    /// as lost. No token is in it, nor whether the token was refused.
    ///
    ///     std::ofstream("limits.json") << limiter.snapshot();
    ///
    /// *Cost*: one step and some 300 characters for each bucket.
    template <class Json = nlohmann::json>
    [[nodiscard]] Json snapshot() const {
        return detail::SnapshotWriter<Json>::write(engine_->save());
    }

    /// Goes on from a snapshot, before the first acquire: what is known already stays. The time
    /// between the two is measured on the system clock, or on Clock if that is another than
    /// std::chrono::steady_clock. Of a system clock that was set back it takes none to have passed.
    /// *Errors*: errc::invalid_snapshot when it is none, or of a later version; then nothing has
    /// changed. Numbers out of range are brought into it.
    template <class Json>
    void restore(const Json& state, boost::system::error_code& error) {
        const auto saved = detail::SnapshotReader<Json>::read(state);
        error = saved ? boost::system::error_code() : make_error_code(errc::invalid_snapshot);
        if (saved) engine_->restore(*saved);
    }
    /// The same, but throws sluice::Error.
    template <class Json>
    void restore(const Json& state) {
        boost::system::error_code error;
        restore(state, error);
        if (error) throw Error(error);
    }

    /// The limiter's clock.
    [[nodiscard]] typename Clock::time_point now() const { return engine_->clock().now(); }

    /// Waits on the limiter's clock, ten years at most. Cancellation ends it with
    /// asio::error::operation_aborted.
    [[nodiscard]] boost::asio::awaitable<void> sleep(std::chrono::nanoseconds time) {
        return detail::sleep(engine_->clock(), core::in_range(time));
    }

    /// Empty once its context has ended. By Asio's rule a copy of a strand may not outlive the
    /// context, so a thread that the context does not wait for should not hold one.
    [[nodiscard]] executor_type get_executor() const { return engine_->executor(); }

private:
    using Engine = detail::Engine<Clock, Mutex>;
    template <class, class, class>
    friend class BasicBucketManager;

    std::shared_ptr<Engine> engine_;
};

using BucketManager = BasicBucketManager<std::chrono::steady_clock>;

/// What client code may rely on whether its limiter works alone or shares its state with other
/// processes.
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
