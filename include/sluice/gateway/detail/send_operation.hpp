// SPDX-License-Identifier: MIT
//
// One event that waits for its permit: a node of a lane of the schedule. Everything about waiting
// is in detail/waiter.hpp; here is what is waited for.
#ifndef SLUICE_GATEWAY_DETAIL_SEND_OPERATION_HPP
#define SLUICE_GATEWAY_DETAIL_SEND_OPERATION_HPP

#include <sluice/core/send_request.hpp>
#include <sluice/detail/handler_executor.hpp>
#include <sluice/detail/waiter.hpp>
#include <sluice/error.hpp>
#include <sluice/gateway/detail/deliver_permit.hpp>
#include <sluice/gateway/send_options.hpp>
#include <sluice/gateway/send_permit.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/system/error_code.hpp>

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace sluice::gateway::detail {

class SendOperation;

/// What a waiting operation needs from the limiter.
class SendIssuer : public SendSettler {
public:
    [[nodiscard]] virtual boost::asio::any_io_executor executor() const = 0;
    /// Queues the operation. It is posted exactly once, now or later, unless its execution context
    /// is destroyed first.
    virtual void start(SendOperation& operation) = 0;
    /// From any thread, at any time before the operation has run.
    virtual void abort(SendOperation& operation) = 0;
    /// The operation runs now. False: its grant has been taken back.
    virtual bool deliver(SendOperation& operation) = 0;
    /// Destroys what waits on that context, without running it.
    virtual void shut_down(boost::asio::execution_context& context) = 0;
};

/// What a handler is given.
struct SendResult {
    boost::system::error_code code;
    SendPermit permit;
};

class SendOperation : public sluice::detail::BasicWaitOperation<SendIssuer, core::SendWaiter> {
public:
    using BasicWaitOperation::BasicWaitOperation;

    SendResult finish() {
        if (!issuer->deliver(*this)) outcome = boost::asio::error::operation_aborted;
        SendResult result{outcome.code(), SendPermit()};
        if (!outcome) result.permit = SendPermitAccess::make(issuer, std::exchange(place, {}));
        return result;
    }

    void give_back() noexcept {
        if (issuer->deliver(*this) && place.taken) issuer->cancel(place);
    }

    std::size_t bytes = 0; // of the payload

protected:
    ~SendOperation() = default;
};

/// A function object, so that what async_initiate stores has a name and no captures by reference.
class StartSend {
public:
    using executor_type = boost::asio::any_io_executor;

    explicit StartSend(std::shared_ptr<SendIssuer> issuer) noexcept : issuer_(std::move(issuer)) {}
    template <class = void> // or every unit would compile it
    [[nodiscard]] executor_type get_executor() const noexcept {
        return sluice::detail::or_system(issuer_->executor());
    }
    template <class Handler>
    void operator()(Handler&& handler, const core::SendRequest& request, std::size_t bytes) const {
        using Operation =
            sluice::detail::HandlerOperation<SendOperation, std::decay_t<Handler>, DeliverPermit>;
        // The operation may have run, with the last reference but this one, before start() returns.
        const std::shared_ptr<SendIssuer> starter = issuer_;
        Operation& operation =
            Operation::make(starter, std::forward<Handler>(handler), DeliverPermit());
        operation.place.request = request;
        operation.bytes = bytes;
        operation.begin([&](SendOperation& begun) { starter->start(begun); });
    }

private:
    std::shared_ptr<SendIssuer> issuer_;
};

template <class CompletionToken>
auto async_acquire(std::shared_ptr<SendIssuer> issuer, const core::SendRequest& request,
                   std::size_t bytes, CompletionToken&& token) {
    return boost::asio::async_initiate<CompletionToken,
                                       void(boost::system::error_code, SendPermit)>(
        StartSend(std::move(issuer)), token, request, bytes);
}

/// `Engine` is the limiter itself, so that the way without waiting costs no virtual call.
template <class Engine>
boost::asio::awaitable<SendPermit> acquire(std::shared_ptr<Engine> engine,
                                           core::SendRequest request, std::size_t bytes) {
    core::SendPlace place;
    if (bytes <= max_payload_bytes && engine->try_take(request, bytes, place)) {
        co_return SendPermitAccess::make(std::move(engine), place);
    }
    auto [code, permit] = co_await async_acquire(std::move(engine), request, bytes,
                                                 boost::asio::as_tuple(boost::asio::deferred));
    if (code) throw Error(code);
    co_return std::move(permit);
}

} // namespace sluice::gateway::detail

#endif
