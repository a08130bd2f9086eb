// SPDX-License-Identifier: MIT
//
// How long a ticket may wait to be had again: as long as the call that got it, each time anew.
#include <sluice/ticket.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <chrono>
#include <utility>

namespace {

using namespace sluice::tests;
using sluice::AcquireOptions;
using sluice::errc;
using sluice::Options;
using sluice::Ticket;

const sluice::Route route = create_message(1);

/// By a coroutine or with a handler, at once or after a wait.
Ticket acquire(VirtualBot& bot, AcquireOptions options, bool in_coroutine, bool waits) {
    if (waits) bot.limiter.update(route, answer(1, 0, 1s));
    Ticket ticket;
    auto wait = [&]() -> asio::awaitable<void> {
        ticket = co_await bot.limiter.acquire(route, options);
    };
    if (in_coroutine) {
        asio::co_spawn(bot.io, wait(), asio::detached);
    } else {
        bot.limiter.async_acquire(route, options,
                                  [&](error_code, Ticket got) { ticket = std::move(got); });
    }
    bot.pass(2s);
    REQUIRE(ticket);
    return ticket;
}

error_code again(VirtualBot& bot, Ticket& ticket, Duration within) {
    error_code ended = asio::error::in_progress;
    ticket.async_reacquire([&](error_code code) { ended = code; });
    bot.pass(within);
    return ended;
}

} // namespace

TEST_CASE("a ticket waits again no longer than the call that got it, each time anew") {
    const bool in_coroutine = GENERATE(false, true);
    const bool waits = GENERATE(false, true);
    VirtualBot bot;
    Ticket ticket = acquire(bot, {.max_wait = 5s}, in_coroutine, waits);
    SECTION("a 429 that is told to be longer fails at once") {
        ticket.update(user_429(20s, 1));
        CHECK(again(bot, ticket, 0s) == errc::wait_too_long);
        CHECK(ticket.refusal().retry_after >= 20s);
        bot.pass(16s);
        CHECK(again(bot, ticket, 5s) == error_code()); // later it is short enough
    }
    SECTION("several that are short enough may be longer together") {
        for (int i = 0; i < 3; ++i) {
            ticket.update(user_429(3s, 1));
            CHECK(again(bot, ticket, 4s) == error_code());
        }
    }
    SECTION("a moved ticket keeps it") {
        Ticket other = std::move(ticket);
        ticket = std::move(other);
        ticket.update(user_429(20s, 1));
        CHECK(again(bot, ticket, 0s) == errc::wait_too_long);
    }
    ticket.cancel();
    CHECK(bot.limiter.stats().in_flight == 0);
}

TEST_CASE("a call's bound stands before the limiter's, which holds without one") {
    const bool in_coroutine = GENERATE(false, true);
    VirtualBot bot(Options{.max_wait = 5s});
    Ticket longer = acquire(bot, {.max_wait = 60s}, in_coroutine, false);
    longer.update(user_429(20s, 1));
    CHECK(again(bot, longer, 21s) == error_code());
    longer.update(answer(1, 0, 1s));
    bot.pass(2s);
    Ticket plain = acquire(bot, {}, in_coroutine, false);
    plain.update(user_429(20s, 1));
    CHECK(again(bot, plain, 0s) == errc::wait_too_long);
}

TEST_CASE("a ticket that was asked not to wait at all does not wait again either") {
    VirtualBot bot;
    Ticket ticket = acquire(bot, {.max_wait = 0s}, true, false);
    ticket.update(user_429(1s, 1));
    CHECK(again(bot, ticket, 0s) == errc::wait_too_long);
}
