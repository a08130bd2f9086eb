// SPDX-License-Identifier: MIT
//
// The code that users will write against <sluice/sluice.hpp>, in the shapes that g++ 12 is known to
// miscompile: it destroys aggregate temporaries of a co_await expression twice, which shows as a
// crash or under AddressSanitizer. What such an expression holds must be trivially destructible.
#include <sluice/sluice.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <exception>
#include <type_traits>
#include <utility>
#include <variant>

namespace {

using namespace sluice::tests;
using namespace boost::asio::experimental::awaitable_operators;
using sluice::errc;
using sluice::Error;
using sluice::Response;
using sluice::Route;
using sluice::Ticket;

template <class... Types>
constexpr bool trivially_destructible = (std::is_trivially_destructible_v<Types> && ...);

static_assert(trivially_destructible<Route, sluice::AcquireOptions, sluice::GlobalLimit,
                                     sluice::Verdict, Response, sluice::BucketHash,
                                     sluice::BucketInfo, sluice::Refusal, sluice::Stats>);
static_assert(sluice::Limiter<sluice::BucketManager>);
static_assert(sluice::Limiter<Manager>);
static_assert(!std::is_copy_constructible_v<Manager> && !std::is_move_constructible_v<Manager>);
static_assert(std::is_nothrow_move_constructible_v<sluice::Bucket>);

/// Runs a coroutine to its end; false if it did not get there.
template <class Coroutine>
bool completes(VirtualBot& bot, Coroutine& coroutine) {
    bool ended = false;
    asio::co_spawn(bot.io, coroutine(), [&](std::exception_ptr thrown) {
        if (thrown) std::rethrow_exception(thrown);
        ended = true;
    });
    bot.clock.run(bot.io);
    return ended;
}

} // namespace

TEST_CASE("acquire with braced options, in a loop, in conditions, as an argument") {
    VirtualBot bot;
    int sent = 0;
    auto work = [&]() -> asio::awaitable<void> {
        const Route route = create_message(1);
        for (int i = 0; i < 10; ++i) {
            Ticket ticket = co_await bot.limiter.acquire(route, {.max_wait = 60s});
            ticket.update(answer(2, 1 - i % 2, 5s));
            ++sent;
        }
        if (Ticket ticket = co_await bot.limiter.acquire(route, {.max_wait = 60s}); ticket) {
            ticket.update({.status = 200, .limit = 2, .remaining = 0, .reset_after = 5s});
            ++sent;
        }
        (co_await bot.limiter.acquire(create_message(2), {})).update({.status = 200});
        const auto kind = (co_await bot.limiter.bucket(route).acquire({.max_wait = 60s}))
                              .update(answer(2, 1, 5s))
                              .kind;
        CHECK(kind == sluice::AnswerKind::success);
        sent += 2;
    };
    CHECK(completes(bot, work));
    CHECK(sent == 13);
    CHECK(bot.limiter.stats().in_flight == 0);
}

TEST_CASE("acquire in ||, with braced options on either side, in a loop") {
    VirtualBot bot;
    bot.limiter.update(create_message(1), answer(1, 0, 5s));
    int tickets = 0;
    int timeouts = 0;
    auto work = [&]() -> asio::awaitable<void> {
        for (int i = 0; i < 20; ++i) {
            auto result = co_await (bot.limiter.acquire(create_message(1), {.max_wait = 30s}) ||
                                    bot.clock.sleep(2s));
            if (result.index() == 1) {
                ++timeouts;
                continue;
            }
            std::get<0>(result).update(answer(1, 0, 5s));
            ++tickets;
        }
        auto either = co_await (bot.limiter.acquire(create_message(1), {.max_wait = 60s}) ||
                                bot.limiter.acquire(create_message(2), {.max_wait = 60s}));
        CHECK(either.index() == 1);
        std::get<1>(either).update({.status = 200});
        auto [one, other] = co_await (bot.limiter.acquire(create_message(3), {.max_wait = 1s}) &&
                                      bot.limiter.acquire(create_message(4), {.max_wait = 1s}));
        one.cancel();
        other.cancel();
    };
    CHECK(completes(bot, work));
    CHECK(tickets == 6);
    CHECK(timeouts == 14);
    CHECK(bot.limiter.stats().in_flight == 0);
}

TEST_CASE("errors by exception and by tuple, in a loop") {
    VirtualBot bot;
    bot.limiter.update(create_message(1), answer(1, 0, 3600s));
    int refused = 0;
    auto work = [&]() -> asio::awaitable<void> {
        const Route route = create_message(1);
        for (int i = 0; i < 5; ++i) {
            try {
                const Ticket never = co_await bot.limiter.acquire(route, {.max_wait = 2s});
            } catch (const Error& error) {
                CHECK(error.code() == errc::wait_too_long);
                CHECK(error.retry_after() > 3000s);
                ++refused;
            }
            auto [code, ticket] = co_await bot.limiter.async_acquire(
                route, {.max_wait = 2s}, asio::as_tuple(asio::use_awaitable));
            CHECK(code == errc::wait_too_long);
            CHECK(ticket.refusal().retry_after > 3000s);
            auto [again, empty] = co_await bot.limiter.bucket(route).async_acquire(
                {.max_wait = 2s}, asio::as_tuple(asio::deferred));
            CHECK(again == errc::wait_too_long);
            CHECK_FALSE(empty);
            refused += 2;
        }
    };
    CHECK(completes(bot, work));
    CHECK(refused == 15);
}

TEST_CASE("verdicts and reacquire in the loop of a request") {
    VirtualBot bot;
    int tries = 0;
    auto send = [&](Route route) -> asio::awaitable<Response> {
        Ticket ticket = co_await bot.limiter.acquire(route, {.max_wait = 60s});
        for (;;) {
            ticket.sent();
            co_await bot.clock.sleep(30ms);
            const Response response = ++tries % 3 == 0 ? answer(5, 4, 5s) : user_429(1s);
            if (!ticket.update(response).retry) co_return response;
            co_await ticket.reacquire();
        }
    };
    auto work = [&]() -> asio::awaitable<void> {
        for (int i = 0; i < 3; ++i) {
            const Response response = co_await send(create_message(1));
            CHECK(response.status == 200);
        }
        auto result = co_await (send(create_message(1)) || bot.clock.sleep(1ms));
        CHECK(result.index() == 1);
    };
    CHECK(completes(bot, work));
    CHECK(tries == 9);
}
