// expect: include the adapter of the HTTP client
// SPDX-License-Identifier: MIT
#include <sluice/execute.hpp>

struct Reply {
    int status = 0;
};

boost::asio::awaitable<int> run(sluice::BucketManager& limiter, sluice::Route route) {
    auto send = [](sluice::Ticket&) -> boost::asio::awaitable<Reply> { co_return Reply{}; };
    const Reply reply = co_await sluice::execute(limiter, route, send);
    co_return reply.status;
}
