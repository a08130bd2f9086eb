// SPDX-License-Identifier: MIT
//
// How a gateway's waiter calls its handler: with the error code and the permit of its result.
#ifndef SLUICE_GATEWAY_DETAIL_DELIVER_PERMIT_HPP
#define SLUICE_GATEWAY_DETAIL_DELIVER_PERMIT_HPP

#include <utility>

namespace sluice::gateway::detail {

struct DeliverPermit {
    template <class Handler, class Result>
    void operator()(Handler& handler, Result& result) const {
        std::move(handler)(result.code, std::move(result.permit));
    }
};

} // namespace sluice::gateway::detail

#endif
