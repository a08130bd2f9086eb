// SPDX-License-Identifier: MIT
//
// Acquire, send, update, and retry as far as the rules allow:
//
//     auto send = [&](sluice::Ticket&) { return client.send(request); };    // once per try
//     auto reply = co_await sluice::execute(limiter, create_message(id), send, {.total = 30s});
//
// A 429 goes back to the front of its lane and waits there. 502 and 503 mean that the request did
// not run (Discord docs, "HTTP response codes": 502, "wait a bit and retry") and are always
// repeated. 500, 504 and a lost connection leave that open (discordjs/discord.js#2655, 2018-07: a
// message sent twice), so they are repeated only for GET, PUT and DELETE, or when the caller says
// that repeating is safe: for messages, put a `nonce` with `"enforce_nonce": true` into the body,
// and Discord creates one message however often it is sent (Discord docs, "Create Message").
#ifndef SLUICE_EXECUTE_HPP
#define SLUICE_EXECUTE_HPP

#include <sluice/bucket_manager.hpp>
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

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace sluice {

/// Of one execute.
struct ExecuteOptions {
    bool safe = false; ///< repeating the request does no harm even if it has run
    /// From the call to the return, everything included; default: for ever. What is under way then
    /// is cancelled. With 0 or less nothing is sent.
    std::optional<std::chrono::nanoseconds> total = std::nullopt;
    std::optional<std::chrono::nanoseconds> max_wait = std::nullopt; ///< of the first acquire
    int max_tries = 5; ///< of tries that end in a 5xx or without an answer; 429s are not counted
    std::chrono::nanoseconds first_backoff = std::chrono::milliseconds(500); ///< doubles
    std::chrono::nanoseconds max_backoff = std::chrono::seconds(16);
};

namespace detail {

/// One execute under way. Lives in the frame of the coroutine that runs it.
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

    /// Tries until there is nothing left to try. Never throws: `||` would go on waiting for its
    /// timer.
    boost::asio::awaitable<void> run() {
        try {
            Ticket ticket = co_await limiter_.acquire(route_, first_wait());
            arrival_ = TicketAccess::place(ticket).arrival;
            for (;;) {
                co_await attempt(ticket);
                if (!again()) co_return;
                if (backoff_ > backoff_.zero()) co_await limiter_.sleep(backoff_);
                co_await ticket.reacquire();
            }
        } catch (const Error& error) {
            // The last reply says more than that its repetition would have to wait too long.
            if (reply_ && error.code() == errc::wait_too_long) co_return;
            ended_ = std::current_exception();
        } catch (...) {
            ended_ = std::current_exception();
        }
    }

    /// Whether `total` ends before time does.
    [[nodiscard]] bool is_bounded() const noexcept { return deadline_.has_value(); }

    /// The last reply, or the last transport error, or why there is neither.
    Reply result(bool in_time) {
        if (in_time && ended_) std::rethrow_exception(ended_);
        if (reply_) return std::move(*reply_);
        if (failure_) std::rethrow_exception(failure_);
        throw Error(boost::asio::error::timed_out);
    }

private:
    AcquireOptions first_wait() const {
        AcquireOptions options;
        options.max_wait = options_.max_wait;
        if (options_.total && (!options.max_wait || *options.max_wait > *options_.total)) {
            options.max_wait = options_.total;
        }
        return options;
    }

    boost::asio::awaitable<void> attempt(Ticket& ticket) {
        std::exception_ptr failure;
        try {
            Reply reply = co_await send_(ticket);
            const Response response = ResponseOf<Reply>::get(reply);
            verdict_ = ticket.update(response);
            status_ = response.status;
            reply_ = std::move(reply);
        } catch (...) {
            failure = std::current_exception();
        }
        failed_ = failure != nullptr;
        if (!failed_) co_return;
        TicketAccess::lose(ticket); // not only when the pause is over
        const auto state = co_await boost::asio::this_coro::cancellation_state;
        if (state.cancelled() != boost::asio::cancellation_type::none) {
            std::rethrow_exception(failure);
        }
        failure_ = failure;
        reply_.reset();
    }

    /// Whether to try once more, and after which pause.
    bool again() {
        backoff_ = backoff_.zero();
        if (!failed_ && status_ == 429) return verdict_.retry && fits(verdict_.after);
        const bool idempotent = options_.safe || is_idempotent(route_.method());
        const bool undecided = failed_ || status_ == 500 || status_ == 504;
        const bool retry = undecided ? idempotent : status_ == 502 || status_ == 503;
        if (!retry || ++tries_ >= options_.max_tries) return false;
        backoff_ = pause();
        return fits(backoff_);
    }

    /// Rather the last reply now than after a wait that cannot lead to another.
    bool fits(std::chrono::nanoseconds wait) const {
        return !deadline_ || wait < *deadline_ - limiter_.now();
    }

    /// Doubling, and spread over its upper half so that clients do not come back together.
    std::chrono::nanoseconds pause() const {
        constexpr std::chrono::nanoseconds none{0};
        const auto most = std::max(none, options_.max_backoff);
        auto whole = std::max(none, options_.first_backoff);
        for (int i = 1; i < tries_; ++i)
            whole = whole > most / 2 ? most : whole * 2;
        whole = std::min(whole, most);
        const std::int64_t half = whole.count() / 2;
        const auto spread = static_cast<std::uint64_t>(std::max<std::int64_t>(1, half));
        return std::chrono::nanoseconds(half + static_cast<std::int64_t>(random() % spread));
    }

    /// Different for each request, try and moment; the mixing is SplitMix64's (Steele, Lea, Flood,
    /// "Fast Splittable Pseudorandom Number Generators", 2014).
    std::uint64_t random() const {
        const auto moment = static_cast<std::uint64_t>(limiter_.now().time_since_epoch().count());
        std::uint64_t mixed = moment + arrival_ * 0x9e3779b97f4a7c15ULL;
        mixed = (mixed ^ (mixed >> 30U)) * 0xbf58476d1ce4e5b9ULL;
        mixed = (mixed ^ (mixed >> 27U)) * 0x94d049bb133111ebULL;
        return mixed ^ (mixed >> 31U);
    }

    Manager& limiter_;
    Route route_;
    Send& send_;
    ExecuteOptions options_;
    std::optional<Reply> reply_;
    std::exception_ptr failure_; // of the connection
    std::exception_ptr ended_;   // of the wait for a ticket, or by cancellation
    Verdict verdict_;
    std::chrono::nanoseconds backoff_{0};
    std::optional<Instant> deadline_;
    std::uint64_t arrival_ = 0;
    int status_ = 0;
    int tries_ = 0;
    bool failed_ = false;
};

/// Each branch of `||` begins with a filter that lets only terminal cancellation through. Which
/// kinds come that far the caller has decided.
inline boost::asio::awaitable<void> cancelled_by_any(boost::asio::awaitable<void> branch) {
    namespace asio = boost::asio;
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    co_await std::move(branch);
}

/// `Send` is a reference when the caller keeps the function, and a value otherwise.
template <class Manager, class Send>
auto run_execution(Manager& limiter, Route route, Send send, ExecuteOptions options)
    -> boost::asio::awaitable<typename Execution<Manager, std::remove_reference_t<Send>>::Reply> {
    using namespace boost::asio::experimental::awaitable_operators;
    // Of two that are ready at once, `||` would run the try first.
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

/// Sends one request until it has an answer that repeating would not change, and returns the last
/// reply. `send(Ticket&)` returns an awaitable of the reply and is called once per try, never twice
/// at a time; what it throws counts as a lost connection.
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
