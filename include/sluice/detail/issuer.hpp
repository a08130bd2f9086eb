// SPDX-License-Identifier: MIT
//
// What a ticket, a bucket handle and a waiting operation need from the limiter that made them,
// whatever its clock, its mutex or the place where its state lives.
#ifndef SLUICE_DETAIL_ISSUER_HPP
#define SLUICE_DETAIL_ISSUER_HPP

#include <sluice/core/answer.hpp>
#include <sluice/core/backoff.hpp>
#include <sluice/core/lane.hpp>
#include <sluice/core/time.hpp>
#include <sluice/options.hpp>
#include <sluice/response.hpp>
#include <sluice/route.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution_context.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace sluice {

using core::AnswerKind;

/// What an answer means for its request.
struct Verdict {
    AnswerKind kind = AnswerKind::success;
    bool retry = false;                ///< repeating the request is allowed and makes sense
    std::chrono::nanoseconds after{0}; ///< what reacquire() will wait, as far as is known
};

/// A bucket as it stands now.
struct BucketInfo {
    std::optional<BucketHash> hash = std::nullopt; ///< absent while no answer has named it
    std::optional<std::int64_t> limit = std::nullopt;
    std::optional<std::int64_t> remaining = std::nullopt;               ///< less what is in flight
    std::optional<std::chrono::nanoseconds> reset_after = std::nullopt; ///< until all of it is back
    std::uint64_t in_flight = 0; ///< tickets out, and lost ones that may still count
    std::uint64_t queued = 0;
    std::chrono::nanoseconds latency{0}; ///< smoothed round trip of this limiter; 0: not known yet
};

namespace detail {

class WaitOperation;

/// RFC 9110, 9.2.2: repeating such a request has the effect of sending it once.
[[nodiscard]] constexpr bool is_idempotent(std::string_view method) noexcept {
    return method == "GET" || method == "PUT" || method == "DELETE";
}

/// What a waiting operation asks for.
struct WaitRequest {
    Route route;
    AcquireOptions options;
};

/// Nobody has said when a request was sent.
inline constexpr core::Time unmarked = core::never; // as Scheduler::answer() takes it

class Issuer {
public:
    Issuer() = default;
    Issuer(const Issuer&) = delete;
    Issuer& operator=(const Issuer&) = delete;
    virtual ~Issuer() = default;

    [[nodiscard]] virtual boost::asio::any_io_executor executor() const = 0;
    [[nodiscard]] virtual core::Time now() = 0;

    /// A place without waiting, if that overtakes nobody.
    virtual bool try_take(const Route& route, std::int64_t min_remaining, core::Place& place) = 0;
    /// Queues the operation, again on the lane of its place if it has one. It is posted exactly
    /// once, now or later, unless its execution context is destroyed first.
    virtual void start(WaitOperation& operation, const WaitRequest& request) = 0;
    /// From any thread, at any time before the operation has run.
    virtual void abort(WaitOperation& operation) = 0;
    /// Destroys what waits on that context, without running it.
    virtual void shut_down(boost::asio::execution_context& context) = 0;

    /// `sent` is what Ticket::sent() noted, or `unmarked`.
    virtual Verdict update(core::Place& place, const Response& answer, core::Time sent) = 0;
    virtual Verdict update(const Route& route, const Response& answer) = 0;
    /// How a request pauses after a try that failed.
    [[nodiscard]] virtual core::Backoff backoff() const noexcept = 0;
    virtual void lose(core::Place& place) = 0;
    virtual void cancel(core::Place& place) = 0;
    [[nodiscard]] virtual std::optional<BucketInfo> find(const Route& route) = 0;
    [[nodiscard]] virtual std::optional<std::chrono::nanoseconds>
    timeout_for(const Route& route) = 0;
};

} // namespace detail
} // namespace sluice

#endif
