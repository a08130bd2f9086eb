// expect: give the lambda a name first
// SPDX-License-Identifier: MIT
//
// g++ 12 destroys a temporary in a co_await expression twice. Other compilers have nothing to
// refuse; the assertion below stands in for the one that is tested.
#include <sluice/execute.hpp>

#include <string>

#if defined(__clang__) || __GNUC__ > 12
static_assert(sizeof(int) == 0, "give the lambda a name first");
#endif

boost::asio::awaitable<sluice::Response> run(sluice::BucketManager& limiter, sluice::Route route) {
    const std::string body = "a text too long for the small buffer of a string";
    co_return co_await sluice::execute(
        limiter, route, [body](sluice::Ticket&) -> boost::asio::awaitable<sluice::Response> {
            co_return sluice::Response{.status = static_cast<int>(body.size())};
        });
}
