// SPDX-License-Identifier: MIT
//
// A ticket is the permission for one request. Take one before each request, and pass the answer to
// it:
//
//     sluice::Ticket ticket = co_await limiter.acquire(route);
//     auto answer = co_await send(request);
//     sluice::Verdict verdict = ticket.update(answer);
//     while (verdict.retry) { co_await ticket.reacquire(); ... }
//
// Every ticket holds a place (the reservation of one request) in its bucket until update(),
// cancel(), or destruction. A ticket destroyed without either counts as sent with an unknown
// outcome: its place stays reserved until an answer to a later request arrives, or for one period
// of the bucket.
#ifndef SLUICE_TICKET_HPP
#define SLUICE_TICKET_HPP

#include <sluice/core/lane.hpp>
#include <sluice/core/scheduler.hpp>
#include <sluice/core/time.hpp>
#include <sluice/detail/handler_executor.hpp>
#include <sluice/detail/issuer.hpp>
#include <sluice/detail/wait_operation.hpp>
#include <sluice/error.hpp>
#include <sluice/response.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace sluice {
class Ticket;

/// State of the connection that a request is sent on.
enum class Connection : std::uint8_t {
    unknown,
    fresh, ///< no answer has arrived on it yet
    reused ///< it has carried an answer
};

namespace detail {
struct TicketAccess;

/// Marks a call that sets no max_wait.
inline constexpr core::Duration unbounded = core::Duration::min();

/// The parts of a ticket. A coroutine that returns this constructs its ticket in place, without a
/// move.
template <class From>
struct Issued {
    std::shared_ptr<From>& issuer;
    const core::Place& place;
    core::Duration max_wait = unbounded;
};

boost::asio::awaitable<void> reacquire(std::same_as<Ticket> auto& ticket);
} // namespace detail

/// Move-only. Distinct tickets may be used from different threads; one ticket may be used from one
/// thread at a time. An empty, moved-from or settled ticket accepts every call.
class [[nodiscard("a Ticket dropped without update() counts as a lost request")]] Ticket {
public:
    /// Makes an empty ticket, which holds no permission.
    Ticket() = default;
    Ticket(Ticket && other) noexcept
        : issuer_(std::move(other.issuer_)),
          place_(taken_from(other.place_)),
          sent_(std::exchange(other.sent_, detail::unmarked)),
          max_wait_(other.max_wait_),
          refusal_(std::move(other.refusal_)) {}
    Ticket& operator=(Ticket&& other) noexcept {
        if (this != &other) {
            drop();
            issuer_ = std::move(other.issuer_);
            place_ = taken_from(other.place_);
            sent_ = std::exchange(other.sent_, detail::unmarked);
            max_wait_ = other.max_wait_;
            refusal_ = std::move(other.refusal_);
        }
        return *this;
    }
    /// For the limiter, which alone can issue tickets.
    template <class From>
    explicit Ticket(detail::Issued<From> issued) noexcept
        : issuer_(std::move(issued.issuer)), place_(issued.place), max_wait_(issued.max_wait) {}
    ~Ticket() {
        drop();
    }

    /// True if this is a permission that has been neither settled nor cancelled.
    [[nodiscard]] explicit operator bool() const noexcept {
        return place_.taken();
    }

    /// Call when the request is sent on an open connection: its round trip is measured from here.
    /// The round trip of the first request on a connection is never used, because it includes the
    /// rest of opening the connection. Pass the connection's state if it is known. Otherwise the
    /// limiter takes a connection for reused if an answer has left one idle.
    /// Optional. Without this call the limiter measures from the issue of the ticket, and only
    /// learns from requests that were issued while no other was in flight, because others may have
    /// waited inside the client.
    void sent(Connection connection = Connection::unknown) {
        if (!place_.taken()) return;
        sent_ = issuer_->now();
        if (connection != Connection::unknown) place_.open = connection == Connection::reused;
    }

    /// Applies the answer to this request and settles the ticket. Returns what the answer means for
    /// this request. After the first call, or after cancel(), it does what
    /// BucketManager::update(route, answer) does. Never throws, whatever the server sends.
    Verdict update(const Response& answer) {
        if (place_.lane == nullptr) return {};
        return issuer_->update(place_, answer, std::exchange(sent_, detail::unmarked));
    }

    /// Call when the request was never sent: its place is released at once.
    void cancel() {
        if (place_.taken()) issuer_->cancel(place_);
    }

    /// Waits for permission to send the request again, at the front of its lane. A ticket keeps its
    /// first arrival number, so several refused requests keep their order, whichever was answered
    /// first. If the ticket is unsettled, its request first counts as lost. The ticket must not be
    /// moved or destroyed during the wait.
    /// The max_wait of the call that issued the ticket applies to each of these waits separately,
    /// measured from the start of the wait and including pauses. Without one, the limiter's
    /// max_wait applies.
    /// Throws sluice::Error. The ticket then holds nothing and may reacquire again, except after
    /// errc::closed. An empty ticket fails with errc::closed.
    template <class = void> // so that only units that call it compile its coroutine
    [[nodiscard]] boost::asio::awaitable<void> reacquire() {
        return detail::reacquire(*this);
    }

    /// Does what reacquire() does, with any completion token.
    /// *Completion signature*: void(boost::system::error_code).
    /// *Errors*, *cancellation*, *threads*: as BucketManager::async_acquire.
    /// *Executor*: as BucketManager::async_acquire. An empty ticket knows no manager, so its
    /// errc::closed completes on the handler's associated executor, or else on Asio's system
    /// executor.
    template <class CompletionToken = detail::DefaultToken<boost::asio::any_io_executor>>
    auto async_reacquire(CompletionToken && token = CompletionToken());

    /// Returns the details that sluice::Error carries, for an acquire that reported an error code.
    [[nodiscard]] Refusal refusal() const {
        return refusal_ ? *refusal_ : Refusal();
    }

private:
    friend struct detail::TicketAccess;

    /// Copies the place and empties `other`.
    static core::Place taken_from(core::Place & other) noexcept {
        const core::Place place = other;
        other.lane = nullptr;
        other.bucket = nullptr;
        return place;
    }
    void drop() noexcept {
        if (place_.taken()) issuer_->lose(place_);
        core::Scheduler::release(place_);
    }

    std::shared_ptr<detail::Issuer> issuer_;
    core::Place place_;
    core::Time sent_ = detail::unmarked;
    core::Duration max_wait_ = detail::unbounded;
    std::unique_ptr<Refusal> refusal_;
};

} // namespace sluice

#include <sluice/detail/acquire.hpp>

#endif
