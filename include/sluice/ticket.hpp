// SPDX-License-Identifier: MIT
//
// A ticket is the permission for one request. Take one before each request, and hand it the answer:
//
//     sluice::Ticket ticket = co_await limiter.acquire(route);
//     auto answer = co_await send(request);
//     sluice::Verdict verdict = ticket.update(answer);
//     while (verdict.retry) { co_await ticket.reacquire(); ... }
//
// Every ticket holds a place in its bucket until update(), cancel(), or its end. A ticket dropped
// without either counts as sent with an unknown fate: its place stays taken until an answer to a
// later request arrives, or for one period of the bucket.
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

/// What a request goes out on.
enum class Connection : std::uint8_t {
    unknown,
    fresh, ///< nothing has been answered on it yet
    reused ///< it has carried an answer
};

namespace detail {
struct TicketAccess;

/// Of a call that says nothing about how long it may wait.
inline constexpr core::Duration unbounded = core::Duration::min();

/// What a ticket is made of. A coroutine that returns this makes its ticket where that will lie,
/// and moves none there.
template <class From>
struct Issued {
    std::shared_ptr<From>& issuer;
    const core::Place& place;
    core::Duration max_wait = unbounded;
};

boost::asio::awaitable<void> reacquire(std::same_as<Ticket> auto& ticket);
} // namespace detail

/// Move-only. Distinct tickets may be used from different threads, one ticket from one at a time.
/// An empty, moved-from or settled ticket accepts every call.
class [[nodiscard("a Ticket dropped without update() counts as a lost request")]] Ticket {
public:
    /// An empty ticket: no permission.
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
    /// For the limiter, which alone can issue one.
    template <class From>
    explicit Ticket(detail::Issued<From> issued) noexcept
        : issuer_(std::move(issued.issuer)), place_(issued.place), max_wait_(issued.max_wait) {}
    ~Ticket() {
        drop();
    }

    /// Whether this is a permission that has neither been settled nor cancelled.
    [[nodiscard]] explicit operator bool() const noexcept {
        return place_.taken();
    }

    /// The request goes out now on an open connection: its round trip is measured from here. That
    /// of the first request on a connection never counts: it holds what is left of opening it. Say
    /// which it is if you know; otherwise the limiter takes a connection for reused if an answer
    /// has left one idle.
    /// Optional; without it the limiter measures from the ticket's issue, and learns from requests
    /// that were issued while nothing else was in flight: others may have waited in the client.
    void sent(Connection connection = Connection::unknown) {
        if (!place_.taken()) return;
        sent_ = issuer_->now();
        if (connection != Connection::unknown) place_.open = connection == Connection::reused;
    }

    /// The answer arrived. Returns what it means for this request. After the first call, or after
    /// cancel(), it does what BucketManager::update(route, answer) does. Never throws on what a
    /// server sends.
    Verdict update(const Response& answer) {
        if (place_.lane == nullptr) return {};
        return issuer_->update(place_, answer, std::exchange(sent_, detail::unmarked));
    }

    /// The request was never sent: the place comes back at once.
    void cancel() {
        if (place_.taken()) issuer_->cancel(place_);
    }

    /// Waits for permission to send the request again, at the front of its lane: a ticket keeps its
    /// first arrival number, so several refused requests keep their order whichever was answered
    /// first. An unsettled ticket counts as lost first. The ticket must stay where it is meanwhile.
    /// The max_wait of the call that got the ticket holds for each of these waits anew, from where
    /// it begins, pauses included; else the limiter's.
    /// Throws sluice::Error; the ticket then holds nothing and may reacquire again, except after
    /// errc::closed. An empty ticket fails with errc::closed.
    template <class = void> // so that only units that call it compile its coroutine
    [[nodiscard]] boost::asio::awaitable<void> reacquire() {
        return detail::reacquire(*this);
    }

    /// The same with any completion token.
    /// *Completion signature*: void(boost::system::error_code).
    /// *Errors*, *cancellation*, *threads*: as BucketManager::async_acquire.
    /// *Executor*: likewise; but an empty ticket knows no manager, so its errc::closed comes on the
    /// handler's associated executor, without one on Asio's system executor.
    template <class CompletionToken = detail::DefaultToken<boost::asio::any_io_executor>>
    auto async_reacquire(CompletionToken && token = CompletionToken());

    /// Beside the error of an asynchronous acquire: what Error carries.
    [[nodiscard]] Refusal refusal() const {
        return refusal_ ? *refusal_ : Refusal();
    }

private:
    friend struct detail::TicketAccess;

    /// Empties the other where it counts.
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
