// SPDX-License-Identifier: MIT
//
// One request that waits for a ticket: a node of a lane. Everything about waiting is in waiter.hpp;
// here is what is waited for, a place in a bucket, or the reason why there is none.
#ifndef SLUICE_DETAIL_WAIT_OPERATION_HPP
#define SLUICE_DETAIL_WAIT_OPERATION_HPP

#include <sluice/core/lane.hpp>
#include <sluice/core/scheduler.hpp>
#include <sluice/detail/context_service.hpp>
#include <sluice/detail/issuer.hpp>
#include <sluice/detail/waiter.hpp>
#include <sluice/error.hpp>

#include <boost/asio/error.hpp>
#include <boost/system/error_code.hpp>

#include <memory>
#include <utility>

namespace sluice::detail {

/// What a handler is given, as a ticket or otherwise.
struct WaitResult {
    std::shared_ptr<Issuer> issuer;
    boost::system::error_code code;
    core::Place place;
    std::unique_ptr<Refusal> refusal;
};

class WaitOperation : public BasicWaitOperation<Issuer, core::Waiter> {
public:
    using BasicWaitOperation::BasicWaitOperation;

    WaitResult finish() {
        if (hand_over() && aborted) {
            issuer->cancel(place);
            outcome = boost::asio::error::operation_aborted;
        }
        return {std::move(issuer), outcome.code(), place, std::move(refusal)};
    }

    void give_back() noexcept {
        if (hand_over()) issuer->cancel(place);
        core::Scheduler::release(place);
    }

    std::unique_ptr<Refusal> refusal; // only beside a code

protected:
    ~WaitOperation() = default;

private:
    /// Whether it has been granted; from now on others may be admitted past it. Needs no lock.
    bool hand_over() noexcept {
        if (state != core::WaiterState::granted) return false;
        core::Scheduler::delivered(*place.lane);
        return true;
    }
};

} // namespace sluice::detail

#endif
