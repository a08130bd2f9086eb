// SPDX-License-Identifier: MIT
//
// One shard that waits for its permit, and the operations that hand permits out. Everything about
// waiting is in waiter.hpp.
#ifndef SLUICE_GATEWAY_DETAIL_IDENTIFY_OPERATION_HPP
#define SLUICE_GATEWAY_DETAIL_IDENTIFY_OPERATION_HPP

#include <sluice/core/identify_schedule.hpp>
#include <sluice/detail/handler_executor.hpp>
#include <sluice/detail/waiter.hpp>
#include <sluice/error.hpp>
#include <sluice/gateway/detail/deliver_permit.hpp>
#include <sluice/gateway/identify_options.hpp>
#include <sluice/gateway/identify_permit.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/system/error_code.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace sluice::gateway::detail {

class IdentifyOperation;

/// What a waiting operation needs from the queue.
class IdentifyIssuer : public IdentifySettler {
public:
    [[nodiscard]] virtual boost::asio::any_io_executor executor() const = 0;
    /// Queues the operation. It is posted exactly once, now or later, unless its execution context
    /// is destroyed first.
    virtual void start(IdentifyOperation& operation,
                       std::optional<std::chrono::nanoseconds> max_wait) = 0;
    /// From any thread, at any time before the operation has run.
    virtual void abort(IdentifyOperation& operation) = 0;
    /// The operation runs now. False: its grant has been taken back.
    virtual bool deliver(IdentifyOperation& operation) = 0;
    /// Destroys what waits on that context, without running it.
    virtual void shut_down(boost::asio::execution_context& context) = 0;
};

struct IdentifyResult {
    boost::system::error_code code;
    IdentifyPermit permit;
};

class IdentifyOperation
    : public sluice::detail::BasicWaitOperation<IdentifyIssuer, core::IdentifyWaiter> {
public:
    using BasicWaitOperation::BasicWaitOperation;

    IdentifyResult finish() {
        if (!issuer->deliver(*this)) outcome = boost::asio::error::operation_aborted;
        IdentifyResult result;
        result.code = outcome.code();
        if (!outcome) result.permit = IdentifyPermitAccess::make(issuer, std::exchange(place, {}));
        return result;
    }

    void give_back() noexcept {
        if (issuer->deliver(*this) && place.taken) issuer->cancel(place);
    }

protected:
    ~IdentifyOperation() = default;
};

/// A function object, so that what async_initiate stores has a name and no captures by reference.
class StartIdentify {
public:
    using executor_type = boost::asio::any_io_executor;

    explicit StartIdentify(std::shared_ptr<IdentifyIssuer> issuer) noexcept
        : issuer_(std::move(issuer)) {}
    template <class = void> // or every unit would compile it
    [[nodiscard]] executor_type get_executor() const noexcept {
        return sluice::detail::or_system(issuer_->executor());
    }
    template <class Handler>
    void operator()(Handler&& handler, std::uint64_t shard_id,
                    const IdentifyOptions& options) const {
        using Operation = sluice::detail::HandlerOperation<IdentifyOperation, std::decay_t<Handler>,
                                                           DeliverPermit>;
        // The operation may have run, with the last reference but this one, before start() returns.
        const std::shared_ptr<IdentifyIssuer> starter = issuer_;
        Operation& operation =
            Operation::make(starter, std::forward<Handler>(handler), DeliverPermit());
        operation.place.shard = shard_id;
        operation.use_reserve = options.use_reserve;
        operation.begin([&](IdentifyOperation& begun) { starter->start(begun, options.max_wait); });
    }

private:
    std::shared_ptr<IdentifyIssuer> issuer_;
};

template <class CompletionToken>
auto async_acquire(std::shared_ptr<IdentifyIssuer> issuer, std::uint64_t shard_id,
                   const IdentifyOptions& options, CompletionToken&& token) {
    return boost::asio::async_initiate<CompletionToken,
                                       void(boost::system::error_code, IdentifyPermit)>(
        StartIdentify(std::move(issuer)), token, shard_id, options);
}

template <class Engine>
boost::asio::awaitable<IdentifyPermit> acquire(std::shared_ptr<Engine> engine,
                                               std::uint64_t shard_id, IdentifyOptions options) {
    core::IdentifyPlace place;
    if (engine->try_take(shard_id, options, place)) {
        co_return IdentifyPermitAccess::make(std::move(engine), place);
    }
    auto [code, permit] = co_await async_acquire(engine, shard_id, options,
                                                 boost::asio::as_tuple(boost::asio::deferred));
    if (code) throw Error(code, engine->refusal_of(code, shard_id, options));
    co_return std::move(permit);
}

} // namespace sluice::gateway::detail

#endif
