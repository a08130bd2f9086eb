// SPDX-License-Identifier: MIT
//
// Whose limits a request counts against, as a bot author meets it: routes that are sent without the
// bot's token, with it, and interactions.
#include <sluice/sluice.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <chrono>
#include <optional>
#include <vector>

namespace {

using namespace sluice;
using namespace sluice::tests;

constexpr auto get_invite = route<"GET /invites/{invite.code}">;
constexpr auto execute_webhook = route<"POST /webhooks/{webhook.id}/{webhook.token}">;
constexpr auto current_authorization = route<"GET /oauth2/@me">;

/// How many such requests may go at this moment.
int width(VirtualBot& bot, const Route& route, int most) {
    std::vector<Ticket> out;
    for (int i = 0; i < most; ++i) {
        std::optional<Ticket> ticket = bot.limiter.try_acquire(route);
        if (!ticket) break;
        out.push_back(std::move(*ticket));
    }
    const auto count = static_cast<int>(out.size());
    for (Ticket& ticket : out)
        ticket.cancel();
    return count;
}

void meet(VirtualBot& bot, const Route& route, const Response& with) {
    std::optional<Ticket> ticket = bot.limiter.try_acquire(route);
    REQUIRE(ticket);
    bot.pass(50ms);
    ticket->update(with);
}

} // namespace

TEST_CASE("a route draws on another bucket when it is sent without the bot's token") {
    VirtualBot bot;
    const Route route = get_invite("abc");
    meet(bot, route, answer(5, 0, 60s, "invites"));
    CHECK(width(bot, route, 5) == 0);
    meet(bot, route.unauthenticated(), answer(5, 4, 60s, "invites"));
    CHECK(width(bot, route.unauthenticated(), 5) == 4);
    CHECK(width(bot, route, 5) == 0);
}

TEST_CASE("what the bot's token may send and what goes without it are limited apart", "[R15]") {
    VirtualBot bot({.global = {.limit = 3, .period = 10s}});
    std::vector<Ticket> out;
    for (std::uint64_t i = 1; i <= 3; ++i)
        out.push_back(*bot.limiter.try_acquire(create_message(i)));
    CHECK(width(bot, create_message(9), 1) == 0);
    CHECK(width(bot, get_invite("abc"), 1) == 0);
    CHECK(width(bot, get_invite("abc").unauthenticated(), 1) == 1);
    CHECK(width(bot, execute_webhook(1, "token"), 1) == 1);
    CHECK(width(bot, execute_webhook(1, "token").authenticated(), 1) == 0);
    CHECK(width(bot, callback(1, "aW50ZXJhY3Rpb246x"), 1) == 1);
}

TEST_CASE("a 401 on a route that is for other tokens leaves the bot alone", "[R19]") {
    VirtualBot bot;
    meet(bot, current_authorization(), {.status = 401}); // discord-api-docs#3945
    CHECK(width(bot, create_message(1), 1) == 1);
    meet(bot, create_message(2), {.status = 401});
    CHECK(width(bot, create_message(1), 1) == 0);
}

TEST_CASE("a dead interaction ends what waits for it with an error of its own") {
    VirtualBot bot;
    constexpr auto edit = route<"PATCH /webhooks/{application.id}/{interaction.token}/messages/"
                                "@original">;
    const Route dead = edit(1, "aW50ZXJhY3Rpb246dead");
    Response expired{.status = 401};
    expired.code = 50027;
    meet(bot, dead, expired);
    Ending ending;
    bot.limiter.async_acquire(dead, into(ending));
    bot.turn();
    CHECK(ending.failed(errc::invalid_webhook_token));
    CHECK(width(bot, edit(1, "aW50ZXJhY3Rpb246alive"), 1) == 1);
    CHECK(width(bot, create_message(1), 1) == 1);
    bot.pass(15min);
    CHECK(width(bot, dead, 2) == 1); // one finds out
}

TEST_CASE("a global 429 on an interaction is waited for by the verdict and by reacquire") {
    VirtualBot bot;
    Ticket ticket = *bot.limiter.try_acquire(callback(1, "aW50ZXJhY3Rpb246x"));
    bot.pass(60ms);
    const Verdict verdict = ticket.update(global_429(2500ms));
    CHECK(verdict.retry);
    CHECK(verdict.after == 2500ms);
    bool again = false;
    ticket.async_reacquire([&](error_code) { again = true; });
    bot.pass(2500ms - 1ns);
    CHECK(!again);
    bot.pass(1ns);
    CHECK(again);
}
