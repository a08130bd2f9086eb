// SPDX-License-Identifier: MIT
//
// Answers below 429 that are no result yet: a 202 that tells when to ask again, and a 423 while an
// account is being merged. What their verdict says, and how execute() repeats them.
#include <sluice/execute.hpp>

#include "support/catch.hpp"
#include "support/execute_bot.hpp"

#include <chrono>
#include <cstddef>
#include <optional>

namespace {

using namespace sluice::tests;
using sluice::AnswerKind;
using sluice::Options;
using sluice::Response;
using sluice::Route;
using sluice::Ticket;
using sluice::Verdict;

const Route search = sluice::route<"GET /guilds/{guild.id}/messages/search">(1);

/// Discord docs, "Search Guild Messages": the index is being made, with the ordinary headers.
Response unready(Duration wait) {
    Response response = answer(10, 9, 60s, "search");
    response.status = 202;
    response.retry_after = wait;
    response.retry_after_in_body = true;
    return response;
}

Script unready_at_first(std::size_t times, Duration wait) {
    return [=](std::size_t number, Ticket&) {
        return number < times ? unready(wait) : answer(10, 8, 60s, "search");
    };
}

} // namespace

TEST_CASE("a 202 that tells a wait is a success to be repeated after it") {
    const bool known = GENERATE(false, true);
    VirtualBot bot;
    if (known) bot.limiter.update(search, answer(10, 9, 60s, "search"));
    auto ticket = bot.limiter.try_acquire(search);
    REQUIRE(ticket);
    const Verdict verdict = ticket->update(unready(7s));
    CHECK(verdict.kind == AnswerKind::success);
    CHECK(verdict.retry);
    CHECK(verdict.after == 7s);
    CHECK(bot.limiter.find(search)->remaining == 9);
    bool again = false;
    ticket->async_reacquire([&](error_code code) { again = !code; });
    CHECK(bot.limiter.try_acquire(search)); // others go on
    bot.pass(7s - 1ns);
    CHECK_FALSE(again);
    bot.pass(1ns);
    CHECK(again);
    CHECK_FALSE(ticket->update(answer(10, 7, 50s, "search")).retry);
}

TEST_CASE("a 202 waits for its bucket where that is longer") {
    VirtualBot bot;
    auto ticket = bot.limiter.try_acquire(search);
    Response spent = unready(2s);
    spent.remaining = 0;
    CHECK(ticket->update(spent).after >= 60s);
}

TEST_CASE("a 202 that tells 0, or next to nothing, is repeated after pauses that grow") {
    const Duration told = GENERATE(Duration(0), Duration(1), Duration(499ms));
    VirtualBot bot;
    auto ticket = bot.limiter.try_acquire(search);
    Duration most = 500ms;
    for (int i = 0; i < 4; ++i, most *= 2) {
        const Verdict verdict = ticket->update(unready(told));
        CHECK(verdict.retry);
        CHECK(verdict.after >= most / 2);
        CHECK(verdict.after <= most);
        ticket->async_reacquire([](error_code) {});
        bot.pass(verdict.after);
        REQUIRE(*ticket);
    }
    ticket->cancel();
}

TEST_CASE("a 202 without a wait is a result") {
    VirtualBot bot;
    auto ticket = bot.limiter.try_acquire(search);
    CHECK_FALSE(ticket->update(Response{.status = 202}).retry);
    CHECK_FALSE(bot.limiter.update(search, Response{.status = 202}).retry);
    CHECK(bot.limiter.update(search, unready(3s)).after == 3s);
}

TEST_CASE("execute repeats a 202 until the result is ready") {
    ExecuteBot bot;
    bot.finish(search, unready_at_first(3, 5s));
    REQUIRE(bot.tries.size() == 4);
    CHECK(bot.reply->status == 200);
    for (std::size_t i = 1; i < 4; ++i)
        CHECK(bot.pause_before(i) == 5s);
}

TEST_CASE("execute returns a 202 when its tries or its time are over") {
    ExecuteBot bot;
    SECTION("tries") {
        bot.finish(search, unready_at_first(99, 5s), {.max_tries = 3});
        CHECK(bot.tries.size() == 3);
    }
    SECTION("time, without waiting for it") {
        bot.finish(search, unready_at_first(99, 5s), {.total = 12s});
        CHECK(bot.tries.size() == 3);
        CHECK(*bot.ended < 11s);
    }
    CHECK(bot.reply->status == 202);
}

TEST_CASE("a 423 passes while an account is being merged, and nowhere else") {
    // Discord docs, "Merging Provisional Accounts", 2026-04-09.
    const Route merge = sluice::route<"POST /partner-sdk/token">();
    CHECK(ExecuteBot().finish(merge, statuses({423, 423, 200})).tries.size() == 3);
    CHECK(ExecuteBot().finish(create_message(1), statuses({423, 200})).tries.size() == 1);
    VirtualBot bot;
    const Verdict verdict = bot.limiter.update(merge, Response{.status = 423});
    CHECK(verdict.retry);
    CHECK(verdict.after >= 250ms);
}
