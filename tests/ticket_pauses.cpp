// SPDX-License-Identifier: MIT
//
// The loop of the README, `while (verdict.retry) co_await ticket.reacquire()`, against a server
// that cannot answer: how long each pause is, who goes on meanwhile, and how a pause can end.
#include <sluice/ticket.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <set>
#include <utility>
#include <vector>

namespace {

using namespace sluice::tests;
using sluice::AnswerKind;
using sluice::errc;
using sluice::Options;
using sluice::Response;
using sluice::Route;
using sluice::Ticket;
using sluice::Verdict;

const Route get = get_message(1, 2);
const Route post = create_message(1);

Ticket take(VirtualBot& bot, const Route& route = post) {
    auto ticket = bot.limiter.try_acquire(route);
    REQUIRE(ticket);
    return std::move(*ticket);
}

/// A known bucket with room to spare.
void make_known(VirtualBot& bot, const Route& route = post) {
    bot.limiter.update(route, answer(50, 49, 600s));
}

Response status(int code) {
    return {.status = code};
}

/// Sends until it may not repeat, against a server that answers 503 for so long.
std::vector<Duration> tries_in_outage(VirtualBot& bot, Duration outage) {
    std::vector<Duration> tries;
    auto loop = [&]() -> asio::awaitable<void> {
        const auto start = bot.clock.now();
        Ticket ticket = co_await bot.limiter.acquire(post);
        for (;;) {
            tries.push_back(bot.clock.now() - start);
            co_await bot.clock.sleep(60ms);
            const bool out = bot.clock.now() - start < outage;
            const Verdict verdict = ticket.update(out ? status(503) : answer(50, 48, 600s));
            if (!verdict.retry) co_return;
            co_await ticket.reacquire();
        }
    };
    asio::co_spawn(bot.io, loop(), asio::detached);
    bot.clock.run(bot.io);
    return tries;
}

} // namespace

TEST_CASE("an outage of a minute costs a request about ten tries, on a route of any kind") {
    const bool known = GENERATE(false, true);
    VirtualBot bot;
    if (known) make_known(bot);
    const auto tries = tries_in_outage(bot, 60s);
    CAPTURE(tries.size());
    CHECK(tries.size() >= 8);
    CHECK(tries.size() <= 12); // every pause as short as it may be
    Duration most = 500ms;
    for (std::size_t i = 1; i < tries.size(); ++i) {
        const Duration pause = tries[i] - tries[i - 1] - 60ms;
        CHECK(pause >= most / 2);
        CHECK(pause <= most);
        most = std::min<Duration>(2 * most, 16s);
    }
    CHECK(bot.limiter.stats().queued == 0);
    CHECK(bot.limiter.stats().in_flight == 0);
}

TEST_CASE("a verdict after 502 and 503 tells the pause that reacquire waits") {
    const int code = GENERATE(502, 503);
    VirtualBot bot(Options{.first_backoff = 2s, .max_backoff = 4s});
    make_known(bot);
    Ticket ticket = take(bot);
    Duration most = 2s;
    for (int i = 0; i < 4; ++i) {
        const Verdict verdict = ticket.update(status(code));
        CHECK(verdict.kind == AnswerKind::server_error);
        CHECK(verdict.retry);
        CHECK(verdict.after >= most / 2);
        CHECK(verdict.after <= most);
        int granted = 0;
        ticket.async_reacquire([&](error_code ended) { granted += ended ? 100 : 1; });
        bot.pass(verdict.after - 1ns);
        CHECK(granted == 0);
        bot.pass(1ns);
        CHECK(granted == 1);
        most = 4s;
    }
    ticket.update(answer(50, 48, 600s));
}

TEST_CASE("a verdict after a 5xx tells the wait of the bucket where that is longer") {
    VirtualBot bot;
    bot.limiter.update(post, answer(1, 0, 5s));
    bot.pass(5100ms);
    Ticket ticket = take(bot);
    bot.limiter.update(post, user_429(30s, 1));
    CHECK(ticket.update(status(503)).after >= 30s);
}

TEST_CASE("requests that met an outage together do not come back together") {
    VirtualBot bot;
    make_known(bot);
    std::vector<Ticket> tickets;
    std::set<Duration> pauses;
    for (int i = 0; i < 20; ++i)
        tickets.push_back(take(bot));
    for (Ticket& ticket : tickets)
        pauses.insert(ticket.update(status(503)).after);
    CHECK(pauses.size() == 20);
    CHECK(*pauses.rbegin() - *pauses.begin() > 100ms);
}

TEST_CASE("a 502 or 503 gives the place of a first request back, and others of its route go on") {
    const int code = GENERATE(502, 503);
    VirtualBot bot;
    Ticket probe = take(bot);
    Ending next;
    bot.limiter.async_acquire(post, into(next));
    bot.turn();
    CHECK(next.times == 0);
    probe.update(status(code));
    bot.turn();
    CHECK(next.granted());
    CHECK(bot.limiter.find(post)->in_flight == 1);
}

TEST_CASE("after any other 5xx a request may have been counted") {
    const int code = GENERATE(500, 504, 520, 530);
    VirtualBot bot;
    make_known(bot, get);
    take(bot, get).update(status(code));
    CHECK(bot.limiter.find(get)->in_flight == 1);
}

TEST_CASE("5xx of Cloudflare's edge are repeated for GET, PUT and DELETE only") {
    // Cloudflare docs, "5xx errors"; the set that JDA and discord.js users meet.
    VirtualBot bot;
    for (const int code : {520, 521, 522, 523, 524, 525, 529, 530}) {
        CAPTURE(code);
        CHECK(bot.limiter.update(get, status(code)).retry);
        CHECK_FALSE(bot.limiter.update(post, status(code)).retry);
    }
    for (const int code : {519, 526, 527, 528, 531})
        CHECK_FALSE(bot.limiter.update(get, status(code)).retry);
}

TEST_CASE("a request that pauses holds up nobody, and goes before those that came later") {
    VirtualBot bot(Options{.first_backoff = 4s});
    bot.limiter.update(post, answer(2, 0, 5s));
    bot.pass(5100ms);
    Ticket paused = take(bot);
    take(bot).update(answer(2, 0, 5s));
    paused.update(status(503));
    bool again = false;
    paused.async_reacquire([&](error_code code) { again = !code; });
    Ending later[3];
    for (Ending& each : later)
        bot.limiter.async_acquire(post, into(each));
    bot.pass(4s);
    CHECK_FALSE(again); // back in its lane, whose window is spent
    CHECK(later[0].times == 0);
    bot.pass(1100ms);
    CHECK(again);
    CHECK(later[0].granted());
    CHECK(later[1].times == 0);
}

TEST_CASE("a pause ends when the limiter is closed, waits are cancelled, or the wait is aborted") {
    VirtualBot bot(Options{.first_backoff = 60s, .max_backoff = 60s});
    Ticket ticket = take(bot);
    ticket.update(status(503));
    error_code ended;
    int times = 0;
    const auto again = [&] {
        ticket.async_reacquire([&](error_code code) {
            ++times;
            ended = code;
        });
        bot.turn();
        CHECK(bot.limiter.stats().queued == 1);
    };
    again();
    SECTION("closed") {
        bot.limiter.close();
        bot.turn();
        CHECK(ended == errc::closed);
    }
    SECTION("cancelled, and the pause goes on when it waits again") {
        bot.pass(10s);
        CHECK(bot.limiter.cancel_all() == 1);
        bot.turn();
        CHECK(ended == asio::error::operation_aborted);
        again();
        bot.pass(19s);
        CHECK(times == 1);
        bot.pass(31s);
        CHECK(times == 2);
        CHECK_FALSE(ended);
        ticket.cancel();
    }
    CHECK(bot.limiter.stats().queued == 0);
    CHECK(bot.limiter.stats().in_flight == 0);
}

TEST_CASE("a pause longer than the limiter's bound fails at once, and tells how long it is") {
    VirtualBot bot(Options{.max_wait = 5s, .first_backoff = 60s, .max_backoff = 60s});
    Ticket ticket = take(bot);
    const Duration after = ticket.update(status(503)).after;
    error_code ended;
    ticket.async_reacquire([&](error_code code) { ended = code; });
    bot.turn();
    CHECK(ended == errc::wait_too_long);
    CHECK(ticket.refusal().retry_after == after);
}

TEST_CASE("what pauses when its context ends is destroyed, and the rest goes on") {
    VirtualBot bot(Options{.first_backoff = 60s, .max_backoff = 60s});
    Ticket ticket = take(bot);
    ticket.update(status(503));
    const auto alive = std::make_shared<int>();
    {
        asio::io_context other;
        ticket.async_reacquire(asio::bind_executor(other, [alive](error_code) { FAIL(); }));
        CHECK(alive.use_count() == 2);
        CHECK(bot.limiter.stats().queued == 1);
    }
    CHECK(alive.use_count() == 1);
    CHECK(bot.limiter.stats().queued == 0);
    CHECK(bot.limiter.try_acquire(post));
}
