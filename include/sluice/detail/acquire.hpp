// SPDX-License-Identifier: MIT
//
// The asynchronous operations that hand out tickets: one initiating function for all tokens, and
// the coroutine that does not suspend when a ticket can be had now. Included by ticket.hpp only.
#ifndef SLUICE_DETAIL_ACQUIRE_HPP
#define SLUICE_DETAIL_ACQUIRE_HPP

#include <sluice/core/backoff.hpp>
#include <sluice/core/time.hpp>
#include <sluice/detail/frame_wait.hpp>
#include <sluice/detail/handler_executor.hpp>
#include <sluice/ticket.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/append.hpp>
#include <boost/asio/deferred.hpp>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace sluice::detail {

/// Makes and takes apart tickets on behalf of the limiter.
struct TicketAccess {
    /// Fills an empty ticket where it lies, if that can be done now: what has just been written is
    /// slow to move.
    template <class From>
    static bool take(Ticket& ticket, const std::shared_ptr<From>& issuer, const Route& route,
                     std::int64_t min_remaining) {
        if (!issuer->try_take(route, min_remaining, ticket.place_)) return false;
        ticket.issuer_ = issuer;
        return true;
    }
    template <class From>
    static std::optional<Ticket> try_acquire(const std::shared_ptr<From>& issuer,
                                             const Route& route) {
        std::optional<Ticket> ticket(std::in_place);
        if (!take(*ticket, issuer, route, 1)) ticket.reset();
        return ticket;
    }
    static core::Place& place(Ticket& ticket) noexcept { return ticket.place_; }
    /// What a call may wait, as a ticket keeps it.
    static core::Duration bound_of(const AcquireOptions& options) noexcept {
        return options.max_wait ? core::in_range(*options.max_wait) : unbounded;
    }
    static void bound(Ticket& ticket, const AcquireOptions& options) noexcept {
        ticket.max_wait_ = bound_of(options);
    }
    static WaitRequest request_again(const Ticket& ticket) noexcept {
        WaitRequest request;
        if (ticket.max_wait_ != unbounded) request.options.max_wait = ticket.max_wait_;
        return request;
    }
    static void refuse(Ticket& ticket, std::unique_ptr<Refusal> refusal) noexcept {
        ticket.refusal_ = std::move(refusal);
    }
    static const std::shared_ptr<Issuer>& issuer(Ticket& ticket) noexcept { return ticket.issuer_; }
    static void lose(Ticket& ticket) {
        if (ticket.place_.taken()) ticket.issuer_->lose(ticket.place_);
    }
    /// The request has failed so many times in a row; returns how long it pauses. Lost if nobody
    /// has settled it.
    static core::Duration pause(Ticket& ticket, const core::Backoff& backoff, int failures) {
        lose(ticket);
        core::Place& place = ticket.place_;
        const core::Time now = ticket.issuer_->now();
        place.failures = static_cast<std::uint8_t>(std::clamp(failures - 1, 0, UINT8_MAX - 1));
        core::pause(place, backoff, now);
        return place.not_before() - now;
    }
    /// What is asked for again: the ticket's place, which counts as lost if nobody has settled it.
    static core::Place again(Ticket& ticket) noexcept {
        ticket.sent_ = unmarked;
        ticket.refusal_.reset();
        const core::Place place = ticket.place_;
        ticket.place_.bucket = nullptr;
        return place;
    }
    /// Puts the new place into the ticket that asked for it again, or why there is none.
    static void renew(Ticket& ticket, WaitResult& result) noexcept {
        if (!result.code) {
            lose(ticket); // what another wait or an assignment has put there meanwhile
            std::swap(ticket.place_, result.place);
            ticket.issuer_ = std::move(result.issuer);
        }
        core::Scheduler::release(result.place); // one of two holds on the lane
        ticket.refusal_ = std::move(result.refusal);
    }
};

struct DeliverTicket {
    core::Duration max_wait;

    template <class Handler>
    void operator()(Handler& handler, WaitResult& result) const {
        if (!result.code) [[likely]] {
            const Issued<Issuer> issued{result.issuer, result.place, max_wait};
            return std::move(handler)(result.code, Ticket(issued));
        }
        core::Scheduler::release(result.place);
        Ticket ticket;
        TicketAccess::refuse(ticket, std::move(result.refusal));
        std::move(handler)(result.code, std::move(ticket));
    }
};

/// Puts the result into the ticket that waits.
struct DeliverAgain {
    Ticket* ticket;

    template <class Handler>
    void operator()(Handler& handler, WaitResult& result) const {
        TicketAccess::renew(*ticket, result);
        std::move(handler)(result.code);
    }
};

/// A function object, so that what async_initiate stores has a name and no captures by reference.
struct StartWait {
    template <class Handler, class Deliver>
    void operator()(Handler&& handler, Deliver deliver, std::shared_ptr<Issuer> issuer,
                    const WaitRequest& request, Ticket* again = nullptr) const {
        using Operation = HandlerOperation<WaitOperation, std::decay_t<Handler>, Deliver>;
        // The operation may have run, with the last reference but this one, before start() returns.
        const std::shared_ptr<Issuer> starter = issuer;
        Operation& operation =
            Operation::make(std::move(issuer), std::forward<Handler>(handler), std::move(deliver));
        if (again != nullptr) {
            operation.place = TicketAccess::again(*again);
            core::Lane* const lane = operation.place.lane;
            if (lane != nullptr) lane->holders.fetch_add(1, std::memory_order_relaxed);
        }
        operation.begin([&](WaitOperation& begun) { starter->start(begun, request); });
    }
};

/// A handler that is called at once with its ticket.
template <class Handler>
struct Granted {
    Handler handler;
    Ticket ticket;

    void operator()() { std::move(handler)(boost::system::error_code(), std::move(ticket)); }
};

/// The same for whoever has the issuer. Adapters of tokens ask it for an executor.
class StartAcquire {
public:
    using executor_type = boost::asio::any_io_executor;

    explicit StartAcquire(std::shared_ptr<Issuer> issuer) noexcept : issuer_(std::move(issuer)) {}
    template <class = void> // or every unit would compile it
    [[nodiscard]] executor_type get_executor() const noexcept {
        return or_system(issuer_->executor());
    }
    template <class Handler>
    void operator()(Handler&& handler, const Route& route, const AcquireOptions& options) const {
        if constexpr (has_immediate_executor<std::decay_t<Handler>>) {
            Ticket ticket;
            if (TicketAccess::take(ticket, issuer_, route, options.min_remaining)) {
                TicketAccess::bound(ticket, options);
                return complete_at_once(handler, *issuer_, [&] {
                    return Granted<std::decay_t<Handler>>{std::forward<Handler>(handler),
                                                          std::move(ticket)};
                });
            }
        }
        StartWait()(std::forward<Handler>(handler), DeliverTicket{TicketAccess::bound_of(options)},
                    issuer_, WaitRequest{route, options});
    }

private:
    std::shared_ptr<Issuer> issuer_;
};

/// The same for a coroutine, whose operation lies in its frame.
struct StartFrameWait {
    template <class Handler, class Options>
    void operator()(Handler&& handler, FrameWait* wait, const Route* route,
                    const Options* options) const {
        StartWait()(std::forward<Handler>(handler), DeliverToFrame{wait},
                    std::move(wait->result.issuer), WaitRequest{*route, *options});
    }
    template <class Handler>
    void operator()(Handler&& handler, FrameWait* wait, Ticket* ticket) const {
        StartWait()(std::forward<Handler>(handler), DeliverToFrame{wait},
                    TicketAccess::issuer(*ticket), TicketAccess::request_again(*ticket), ticket);
    }
};

/// The same lane and arrival number again, when the operation is really begun.
class StartAgain {
    struct NoIssuer {
        [[nodiscard]] static boost::asio::any_io_executor executor() { return {}; }
    };

public:
    using executor_type = boost::asio::any_io_executor;

    explicit StartAgain(Ticket& ticket) noexcept : ticket_(&ticket) {}
    template <class = void> // or every unit would compile it
    [[nodiscard]] executor_type get_executor() const noexcept {
        const std::shared_ptr<Issuer>& issuer = TicketAccess::issuer(*ticket_);
        return or_system(issuer ? issuer->executor() : executor_type());
    }
    template <class Handler>
    void operator()(Handler&& handler) const {
        const std::shared_ptr<Issuer>& issuer = TicketAccess::issuer(*ticket_);
        if (issuer == nullptr) {
            const boost::system::error_code closed = errc::closed;
            const HandlerExecutors<std::decay_t<Handler>> executors(handler, NoIssuer());
            executors.post(boost::asio::append(std::forward<Handler>(handler), closed));
            return;
        }
        StartWait()(std::forward<Handler>(handler), DeliverAgain{ticket_}, issuer,
                    TicketAccess::request_again(*ticket_), ticket_);
    }

private:
    Ticket* ticket_;
};

template <class CompletionToken>
auto async_acquire(std::shared_ptr<Issuer> issuer, const Route& route,
                   const AcquireOptions& options, CompletionToken&& token) {
    return boost::asio::async_initiate<CompletionToken, void(boost::system::error_code, Ticket)>(
        StartAcquire(std::move(issuer)), token, route, options);
}

/// Stands for an AcquireOptions that nobody has set, and costs a coroutine nothing to keep.
struct DefaultOptions {
    static constexpr std::int64_t min_remaining = AcquireOptions().min_remaining;
    operator AcquireOptions() const noexcept { return {}; }
};

/// Waits in the frame of the coroutine that awaits this, which keeps the arguments: those of
/// StartFrameWait.
template <class... What>
auto async_wait(FrameWait& wait, What&... what) {
    return boost::asio::async_initiate<const boost::asio::deferred_t, void()>(
        StartFrameWait(), boost::asio::deferred, &wait, &what...);
}

/// `From` is the limiter itself where its type is known, so that the way without waiting costs no
/// virtual call.
template <class From, class Options>
boost::asio::awaitable<Ticket> acquire(std::shared_ptr<From> issuer, Route route, Options options) {
    core::Place place;
    if (issuer->try_take(route, options.min_remaining, place)) {
        co_return Issued<From>{issuer, place, TicketAccess::bound_of(options)};
    }
    FrameWait wait;
    wait.result.issuer = std::move(issuer);
    co_await async_wait(wait, route, options);
    WaitResult& result = wait.result;
    if (result.code) {
        core::Scheduler::release(result.place);
        throw Error(result.code, result.refusal ? *result.refusal : Refusal());
    }
    co_return Issued<Issuer>{result.issuer, result.place, TicketAccess::bound_of(options)};
}

/// Waits by the operation that acquire() has compiled already.
/// A template because g++ compiles every other coroutine, called or not.
boost::asio::awaitable<void> reacquire(std::same_as<Ticket> auto& ticket) {
    if (TicketAccess::issuer(ticket) == nullptr) throw Error(errc::closed);
    FrameWait wait;
    co_await async_wait(wait, ticket);
    TicketAccess::renew(ticket, wait.result);
    if (wait.result.code) throw Error(wait.result.code, ticket.refusal());
}

} // namespace sluice::detail

namespace sluice {

template <class CompletionToken>
auto Ticket::async_reacquire(CompletionToken&& token) {
    return boost::asio::async_initiate<CompletionToken, void(boost::system::error_code)>(
        detail::StartAgain(*this), token);
}

} // namespace sluice

#endif
