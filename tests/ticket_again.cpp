// SPDX-License-Identifier: MIT
//
// reacquire() of a ticket whose try nobody has settled: it counts as lost and is queued again in
// one step, so that nobody of its lane goes before it.
#include <sluice/ticket.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <chrono>
#include <utility>

namespace {

using namespace sluice::tests;
using sluice::errc;
using sluice::Options;
using sluice::Route;
using sluice::Ticket;

const Route route = create_message(1);

/// A known bucket with room, in a lane of which a hidden limit lets one at a time pass.
Ticket take_narrowed(VirtualBot& bot) {
    bot.limiter.update(route, answer(50, 49, 600s));
    auto ticket = bot.limiter.try_acquire(route);
    REQUIRE(ticket);
    ticket->update(shared_429(1s));
    bot.pass(1100ms);
    ticket = bot.limiter.try_acquire(route);
    REQUIRE(ticket);
    REQUIRE_FALSE(bot.limiter.try_acquire(route));
    return std::move(*ticket);
}

} // namespace

TEST_CASE("an unsettled ticket of a narrowed lane goes again before those that wait there") {
    const bool in_coroutine = GENERATE(false, true);
    VirtualBot bot;
    Ticket ticket = take_narrowed(bot);
    Ending later;
    bot.limiter.async_acquire(route, into(later));
    if (in_coroutine) {
        asio::co_spawn(bot.io, ticket.reacquire(), asio::detached);
    } else {
        ticket.async_reacquire([](error_code code) { CHECK_FALSE(code); });
    }
    bot.turn();
    CHECK(ticket);
    CHECK(later.times == 0);
    CHECK(bot.limiter.stats().counters.lost == 1);
    CHECK(bot.limiter.stats().in_flight == 1);
    ticket.update(answer(50, 40, 500s));
    bot.turn();
    CHECK(later.granted());
}

TEST_CASE("an unsettled ticket that pauses lets those go that wait in its lane") {
    VirtualBot bot(Options{.first_backoff = 30s, .max_backoff = 30s});
    Ticket ticket = take_narrowed(bot);
    ticket.update({.status = 503});
    Ending later;
    ticket.async_reacquire([](error_code) {});
    bot.limiter.async_acquire(route, into(later));
    bot.turn();
    CHECK_FALSE(ticket);
    CHECK(later.granted());
}

TEST_CASE("whatever ends the wait, an unsettled try is lost, and others get what it held") {
    VirtualBot bot(Options{.max_wait = 1s});
    Ticket ticket = take_narrowed(bot);
    Ending later;
    bot.limiter.async_acquire(route, {.max_wait = 60s}, into(later));
    error_code ended;
    const auto again = [&] { ticket.async_reacquire([&](error_code code) { ended = code; }); };
    SECTION("a wait that is too long") {
        bot.limiter.update(route, user_429(20s, 50));
        again();
        bot.turn();
        CHECK(ended == errc::wait_too_long);
        bot.pass(20s);
        CHECK(later.granted());
    }
    SECTION("a closed limiter") {
        bot.limiter.close();
        again();
        bot.turn();
        CHECK(ended == errc::closed);
    }
    SECTION("a token that was refused") {
        bot.limiter.update(create_message(2), {.status = 401});
        again();
        bot.turn();
        CHECK(ended == errc::unauthorized);
    }
    CHECK_FALSE(ticket);
    CHECK(bot.limiter.stats().counters.lost == 1);
    later.ticket.cancel();
    CHECK(bot.limiter.stats().in_flight == 0);
    CHECK(bot.limiter.stats().queued == 0);
}
