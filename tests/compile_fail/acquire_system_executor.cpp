// compiles with -Wall -Wextra -Werror
// SPDX-License-Identifier: MIT
//
// An executor without a destructor is held for nothing, which is no reason to warn.
#include <sluice/sluice.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/system_executor.hpp>

void run(sluice::BucketManager& limiter, sluice::Route route) {
    limiter.async_acquire(
        route, boost::asio::bind_executor(
                   boost::asio::system_executor(),
                   [](boost::system::error_code, sluice::Ticket ticket) { ticket.cancel(); }));
}
