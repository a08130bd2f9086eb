// SPDX-License-Identifier: MIT
//
// The errors of calls that return no ticket. Expected refusals are error codes of the category
// `sluice`. Asio's own codes pass unchanged: a cancelled wait ends with
// asio::error::operation_aborted.
//
//     try {
//         auto ticket = co_await limiter.acquire(route, {.max_wait = 2s});
//     } catch (const sluice::Error& error) {
//         if (error.code() == sluice::errc::wait_too_long) reply_later(*error.retry_after());
//     }
#ifndef SLUICE_ERROR_HPP
#define SLUICE_ERROR_HPP

#include <sluice/response.hpp>

#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <type_traits>

namespace sluice {

enum class errc {
    closed = 1,      ///< the limiter was closed or destroyed
    wait_too_long,   ///< the wait is longer than the caller's max_wait; carries retry_after
    queue_full,      ///< the queue would exceed the configured limit
    unauthorized,    ///< this token got a 401: no more requests are sent with it
    unknown_webhook, ///< that webhook answered 404: no more requests are sent to it
    too_many_invalid_requests, ///< one more 401, 403 or 429 would risk a ban of the address
    invalid_route,             ///< the route was made from an empty or malformed argument
    superseded,                ///< gateway: a newer presence update replaced this one
    payload_too_large,         ///< gateway: over 4096 bytes; Discord would close the connection
    sessions_exhausted,        ///< gateway: the day's identifies are used up
    invalid_snapshot,          ///< restore() was given something that is not from snapshot()
    invalid_webhook_token,     ///< the token in that path, a webhook's or an interaction's, was
                               ///< refused with 401 (JSON code 50027); other tokens still work
};

namespace detail {

// Boost's destructor is not virtual, and no category is destroyed through it.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnon-virtual-dtor"
class ErrorCategory final : public boost::system::error_category {
public:
    [[nodiscard]] const char* name() const noexcept override { return "sluice"; }
    [[nodiscard]] std::string message(int value) const override {
        switch (static_cast<errc>(value)) {
        case errc::closed:
            return "the limiter is closed";
        case errc::wait_too_long:
            return "the wait is longer than allowed";
        case errc::queue_full:
            return "the queue is full";
        case errc::unauthorized:
            return "the token was refused with 401";
        case errc::unknown_webhook:
            return "the webhook is unknown";
        case errc::too_many_invalid_requests:
            return "too many invalid requests from this address";
        case errc::invalid_route:
            return "the route has an empty or malformed argument";
        case errc::superseded:
            return "superseded by a newer event";
        case errc::payload_too_large:
            return "the payload is larger than 4096 bytes";
        case errc::sessions_exhausted:
            return "no session starts are left";
        case errc::invalid_snapshot:
            return "this is no snapshot of a limiter";
        case errc::invalid_webhook_token:
            return "the webhook or interaction token was refused with 401";
        }
        return "unknown error";
    }
};
#pragma GCC diagnostic pop

} // namespace detail

[[nodiscard]] inline const boost::system::error_category& category() noexcept {
    static const detail::ErrorCategory instance;
    return instance;
}

[[nodiscard]] inline boost::system::error_code make_error_code(errc value) noexcept {
    return {static_cast<int>(value), category()};
}

/// Details of a refusal beside its error code.
struct Refusal {
    std::optional<std::chrono::nanoseconds> retry_after =
        std::nullopt;                                ///< time until a ticket is available
    std::optional<Scope> scope = std::nullopt;       ///< the kind of limit that blocks the request
    std::optional<BucketHash> bucket = std::nullopt; ///< absent while the hash is unknown

    friend bool operator==(const Refusal&, const Refusal&) = default;
};

/// Thrown by acquire(), reacquire(), execute() and restore().
class Error : public boost::system::system_error {
public:
    explicit Error(boost::system::error_code code, const Refusal& refusal = {})
        : system_error(code), refusal_(refusal) {}

    [[nodiscard]] std::optional<std::chrono::nanoseconds> retry_after() const noexcept {
        return refusal_.retry_after;
    }
    [[nodiscard]] std::optional<Scope> scope() const noexcept { return refusal_.scope; }
    [[nodiscard]] std::optional<BucketHash> bucket() const noexcept { return refusal_.bucket; }
    [[nodiscard]] const Refusal& refusal() const noexcept { return refusal_; }

private:
    Refusal refusal_;
};

} // namespace sluice

template <>
struct boost::system::is_error_code_enum<sluice::errc> : std::true_type {};

#endif
