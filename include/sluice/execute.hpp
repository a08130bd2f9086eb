// SPDX-License-Identifier: MIT
//
// Acquires, sends, updates, and retries as far as the rules allow:
//
//     auto send = [&](sluice::Ticket&) { return client.send(request); };    // once per try
//     auto reply = co_await sluice::execute(limiter, create_message(id), send, {.total = 30s});
//
// A 429 returns to the front of its lane and waits there. A 202 that states when the result will be
// ready is repeated at that time. 502 and 503 mean that the request did not run (Discord docs,
// "HTTP response codes": 502, "wait a bit and retry") and are always repeated. After 500, 504,
// Cloudflare's own 5xx and a lost connection it is unknown whether the request ran
// (discordjs/discord.js#2655, 2018-07: a message sent twice). They are repeated only for GET, PUT
// and DELETE, or when the caller says that repeating is safe. To make repeating a message safe, put
// a `nonce` with `"enforce_nonce": true` into the body: Discord then creates one message however
// often it is sent (Discord docs, "Create Message").
#ifndef SLUICE_EXECUTE_HPP
#define SLUICE_EXECUTE_HPP

#include <sluice/bucket_manager.hpp>
#include <sluice/core/backoff.hpp>
#include <sluice/detail/never_sent.hpp>
#include <sluice/error.hpp>
#include <sluice/response.hpp>
#include <sluice/route.hpp>
#include <sluice/ticket.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/system/system_error.hpp>

#include <chrono>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace sluice {

/// Options of one execute().
struct ExecuteOptions {
    bool safe = false; ///< repeating the request does no harm even if it has run
    /// Bound on the whole call, from the call to the return. Default: unlimited. When it ends, work
    /// in progress is cancelled. With 0 or less nothing is sent.
    std::optional<std::chrono::nanoseconds> total = std::nullopt;
    std::optional<std::chrono::nanoseconds> max_wait = std::nullopt; ///< of each wait for a ticket
    int max_tries = 5; ///< tries that end in a 5xx, without an answer or before the result is ready
    /// Number of 429s after which the last one is returned. Default: no limit, as long
    /// as they state a wait.
    std::optional<int> max_refusals = std::nullopt;
    /// Bound on one try, measured from its ticket. A try that takes longer is cancelled, as far as
    /// `send` supports cancellation, and counts as a lost connection with the error
    /// asio::error::timed_out.
    std::optional<std::chrono::nanoseconds> try_timeout = std::nullopt;
    std::optional<std::chrono::nanoseconds> first_backoff = std::nullopt; ///< else the limiter's
    std::optional<std::chrono::nanoseconds> max_backoff = std::nullopt;   ///< else the limiter's
};

namespace detail {

/// Each branch of `||` begins with a filter that lets only terminal cancellation through. This
/// function admits all kinds: the caller has already decided which kinds arrive here.
inline boost::asio::awaitable<void> cancelled_by_any(boost::asio::awaitable<void> branch) {
    namespace asio = boost::asio;
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    co_await std::move(branch);
}

/// The state of one call of execute(). Lives in the frame of the coroutine that runs it.
template <class Manager, class Send>
class Execution {
    using Awaited = std::invoke_result_t<Send&, Ticket&>;
    using Instant = decltype(std::declval<Manager&>().now());

public:
    using Reply = typename Awaited::value_type;
    static_assert(
        requires(const Reply& reply) { ResponseOf<Reply>::get(reply); },
        "sluice::execute: include the adapter of the HTTP client, such as "
        "sluice/adapters/beast.hpp, or specialise sluice::ResponseOf for what send "
        "returns");

    Execution(Manager& limiter, const Route& route, Send& send, const ExecuteOptions& options)
        : limiter_(limiter), route_(route), send_(send), options_(options) {
        if (options.total && *options.total < Instant::max() - limiter.now()) {
            deadline_ = limiter.now() + *options.total;
        }
    }

    /// Tries until no further try is due. Never throws: after an exception `||` would keep waiting
    /// for its timer.
    boost::asio::awaitable<void> run() {
        try {
            Ticket ticket = co_await limiter_.acquire(route_, next_wait());
            for (;;) {
                co_await attempt(ticket);
                if (!again(ticket)) co_return;
                TicketAccess::bound(ticket, next_wait());
                co_await ticket.reacquire();
            }
        } catch (const Error& error) {
            // The result of the last try says more than "the next wait would be too long".
            if ((reply_ || failure_) && error.code() == errc::wait_too_long) co_return;
            ended_ = std::current_exception();
        } catch (...) {
            ended_ = std::current_exception();
        }
    }

    /// True if `total` sets a deadline that the clock can represent.
    [[nodiscard]] bool is_bounded() const noexcept { return deadline_.has_value(); }

    /// Returns the last reply; otherwise throws the last transport error, or the reason why there
    /// is neither.
    Reply result(bool in_time) {
        if (in_time && ended_) std::rethrow_exception(ended_);
        if (reply_) return std::move(*reply_);
        if (failure_) std::rethrow_exception(failure_);
        throw Error(boost::asio::error::timed_out);
    }

private:
    AcquireOptions next_wait() const {
        AcquireOptions options;
        options.max_wait = options_.max_wait;
        if (!deadline_) return options;
        const std::chrono::nanoseconds left = *deadline_ - limiter_.now();
        if (!options.max_wait || *options.max_wait > left) options.max_wait = left;
        return options;
    }

    boost::asio::awaitable<void> attempt(Ticket& ticket) {
        using namespace boost::asio::experimental::awaitable_operators;
        bool in_time = true;
        if (options_.try_timeout) {
            const auto first = co_await (cancelled_by_any(send_once(ticket)) ||
                                         cancelled_by_any(limiter_.sleep(*options_.try_timeout)));
            in_time = first.index() == 0;
        } else {
            co_await send_once(ticket);
        }
        if (thrown_ == nullptr) co_return;
        const auto state = co_await boost::asio::this_coro::cancellation_state;
        if (state.cancelled() != boost::asio::cancellation_type::none) {
            std::rethrow_exception(thrown_);
        }
        if (never_sent(thrown_)) ticket.cancel();
        unsent_ = !ticket;
        failure_ =
            in_time ? thrown_ : std::make_exception_ptr(Error(boost::asio::error::timed_out));
        reply_.reset();
    }

    /// Never throws, for the same reason as run().
    boost::asio::awaitable<void> send_once(Ticket& ticket) {
        thrown_ = nullptr;
        try {
            Reply reply = co_await send_(ticket);
            const Response response = ResponseOf<Reply>::get(reply);
            verdict_ = ticket.update(response);
            status_ = response.status;
            reply_ = std::move(reply);
        } catch (...) {
            thrown_ = std::current_exception();
        }
    }

    /// True if the request is to be tried again. Sets the pause that the ticket takes before.
    bool again(Ticket& ticket) {
        const bool failed = thrown_ != nullptr;
        if (!failed && status_ == 429) {
            if (options_.max_refusals && ++refusals_ >= *options_.max_refusals) return false;
            return verdict_.retry && fits(verdict_.after);
        }
        if (!may_repeat(failed) || ++tries_ >= options_.max_tries) return false;
        if (!failed && status_ < 500) return fits(verdict_.after); // the answer states the wait
        return fits(TicketAccess::pause(ticket, backoff_of(ticket), tries_));
    }

    bool may_repeat(bool failed) const {
        if (failed) return unsent_ || options_.safe || is_idempotent(route_.method());
        return verdict_.retry || (options_.safe && core::may_have_run(status_));
    }

    core::Backoff backoff_of(Ticket& ticket) const {
        core::Backoff backoff = TicketAccess::issuer(ticket)->backoff();
        backoff.first = options_.first_backoff.value_or(backoff.first);
        backoff.most = options_.max_backoff.value_or(backoff.most);
        return backoff;
    }

    /// False if the wait would reach the deadline: then the last reply is returned now.
    bool fits(std::chrono::nanoseconds wait) const {
        return !deadline_ || wait < *deadline_ - limiter_.now();
    }

    Manager& limiter_;
    Route route_;
    Send& send_;
    ExecuteOptions options_;
    std::optional<Reply> reply_;
    std::exception_ptr thrown_;  // by the last try
    std::exception_ptr failure_; // of the connection, in the last try that had no reply
    std::exception_ptr ended_;   // of the wait for a ticket, or by cancellation
    Verdict verdict_;
    std::optional<Instant> deadline_;
    int status_ = 0;
    bool unsent_ = false; // in the last try that had no reply
    int tries_ = 0;
    int refusals_ = 0;
};

/// `Send` is a reference type if the caller keeps the function, and a value type otherwise.
template <class Manager, class Send>
auto run_execution(Manager& limiter, Route route, Send send, ExecuteOptions options)
    -> boost::asio::awaitable<typename Execution<Manager, std::remove_reference_t<Send>>::Reply> {
    using namespace boost::asio::experimental::awaitable_operators;
    // If both branches are ready at once, `||` would run the try first.
    if (options.total && *options.total <= options.total->zero()) {
        throw Error(boost::asio::error::timed_out);
    }
    Execution<Manager, std::remove_reference_t<Send>> execution(limiter, route, send, options);
    bool in_time = true;
    if (execution.is_bounded()) {
        const auto first = co_await (cancelled_by_any(execution.run()) ||
                                     cancelled_by_any(limiter.sleep(*options.total)));
        in_time = first.index() == 0;
    } else {
        co_await execution.run();
    }
    co_return execution.result(in_time);
}

} // namespace detail

/// Sends one request until it has an answer that repeating would not change. Returns the last
/// reply.
/// `send(Ticket&)` returns an awaitable of the reply. It is called once per try, never
/// concurrently. An exception from it counts as a lost connection, unless the request was never
/// sent. A request counts as never sent if `send` throws a system_error for a refused connection,
/// an unreachable host or an unresolved name, or cancels the ticket before it throws. Such a
/// request is repeated for every method, and its place is released, so it delays no other.
/// *Errors*: throws what acquire throws; the last transport error when there is no reply;
/// asio::error::timed_out when `total` has passed before any try ended.
/// *Cancellation*: at every point, as far as `send` supports it.
/// The limiter must outlive the call. On g++ 12 a temporary `send` must be trivially destructible.
template <class Manager, class Send>
[[nodiscard]] auto execute(Manager& limiter, Route route, Send&& send,
                           ExecuteOptions options = {}) {
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ <= 12
    static_assert(std::is_lvalue_reference_v<Send> || std::is_trivially_destructible_v<Send>,
                  "sluice::execute: give the lambda a name first; g++ 12 destroys a temporary with "
                  "owning captures twice");
#endif
    return detail::run_execution<Manager, Send>(limiter, route, std::forward<Send>(send), options);
}

} // namespace sluice

#endif
