// compiles
// SPDX-License-Identifier: MIT
//
// What its neighbour gets wrong, right: a named lambda may own what it likes, a temporary may
// capture references.
#include <sluice/execute.hpp>

#include <string>

boost::asio::awaitable<int> run(sluice::BucketManager& limiter, sluice::Route route) {
    const std::string body = "a text too long for the small buffer of a string";
    auto send = [body](sluice::Ticket&) -> boost::asio::awaitable<sluice::Response> {
        co_return sluice::Response{.status = static_cast<int>(body.size())};
    };
    const auto first = co_await sluice::execute(limiter, route, send, {.safe = true});
    const auto second = co_await sluice::execute(
        limiter, route, [&body](sluice::Ticket&) -> boost::asio::awaitable<sluice::Response> {
            co_return sluice::Response{.status = static_cast<int>(body.size())};
        });
    co_return first.status + second.status;
}
