// SPDX-License-Identifier: MIT
//
// A handle on the bucket that a route draws on. Its calls do what the limiter's calls do for that
// route. It remains valid when the bucket is renamed, moved or evicted, and after the limiter's end
// (acquires then fail with errc::closed).
//
//     sluice::Bucket bucket = limiter.bucket(create_message(channel_id));
//     sluice::Ticket ticket = co_await bucket.acquire();
#ifndef SLUICE_BUCKET_HPP
#define SLUICE_BUCKET_HPP

#include <sluice/detail/handler_executor.hpp>
#include <sluice/detail/issuer.hpp>
#include <sluice/options.hpp>
#include <sluice/response.hpp>
#include <sluice/route.hpp>
#include <sluice/ticket.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <memory>
#include <optional>
#include <utility>

namespace sluice {

/// Copyable; copies are the same handle. May be used from any thread.
class Bucket {
public:
    /// Tickets of one bucket are issued first come, first served. See BucketManager::acquire.
    template <class = void> // so that only units that call it compile its coroutine
    [[nodiscard]] boost::asio::awaitable<Ticket> acquire() const {
        return detail::acquire(issuer_, route_, detail::DefaultOptions());
    }
    template <class = void>
    [[nodiscard]] boost::asio::awaitable<Ticket> acquire(AcquireOptions options) const {
        return detail::acquire(issuer_, route_, options);
    }
    template <class CompletionToken = detail::DefaultToken<boost::asio::any_io_executor>>
    auto async_acquire(const AcquireOptions& options,
                       CompletionToken&& token = CompletionToken()) const {
        return detail::async_acquire(issuer_, route_, options,
                                     std::forward<CompletionToken>(token));
    }
    template <detail::TokenBeside<AcquireOptions> CompletionToken =
                  detail::DefaultToken<boost::asio::any_io_executor>>
    auto async_acquire(CompletionToken&& token = CompletionToken()) const {
        return async_acquire(AcquireOptions(), std::forward<CompletionToken>(token));
    }
    [[nodiscard]] std::optional<Ticket> try_acquire() const {
        return detail::TicketAccess::try_acquire(issuer_, route_);
    }

    /// Applies an answer to a request of this bucket that was made without a ticket.
    Verdict update(const Response& answer) const { return issuer_->update(route_, answer); }

    /// Returns nullopt if no request of this route has been seen, or if the bucket has been
    /// evicted.
    [[nodiscard]] std::optional<BucketInfo> info() const { return issuer_->find(route_); }

    [[nodiscard]] const Route& route() const noexcept { return route_; }

private:
    template <class, class, class>
    friend class BasicBucketManager;
    Bucket(std::shared_ptr<detail::Issuer> issuer, const Route& route)
        : issuer_(std::move(issuer)), route_(route) {}

    std::shared_ptr<detail::Issuer> issuer_;
    Route route_;
};

} // namespace sluice

#endif
