// SPDX-License-Identifier: MIT
//
// What the limiter foretells: timeout_for, and what a refusal says beside its code. It is compared
// with what happens then.
#include <sluice/bucket_manager.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace sluice::tests;
using sluice::errc;
using sluice::Refusal;
using sluice::Response;
using sluice::Route;
using sluice::Scope;
using sluice::Ticket;
using sluice::Verdict;

inline constexpr auto list_messages = sluice::route<"GET /channels/{channel.id}/messages">;
inline constexpr auto execute_webhook = sluice::route<"POST /webhooks/{webhook.id}/{token}">;

constexpr Response unlimited{.status = 200};

struct Bot : VirtualBot {
    using VirtualBot::VirtualBot;

    Verdict meet(const Route& route, const Response& with) {
        auto ticket = limiter.try_acquire(route);
        REQUIRE(ticket.has_value());
        return ticket->update(with);
    }
    /// How long until one more request goes. It is never sent.
    Duration wait(const Route& route) {
        const auto begin = clock.now();
        std::optional<Duration> waited;
        limiter.async_acquire(route, [&](error_code code, Ticket ticket) {
            if (!code) waited = clock.now() - begin;
            ticket.cancel();
        });
        clock.run(io);
        REQUIRE(waited.has_value());
        return *waited;
    }
    /// What a request that may not wait is refused with.
    Ending refused(const Route& route) {
        Ending ending;
        limiter.async_acquire(route, {.max_wait = 0s}, into(ending));
        turn();
        REQUIRE(ending.times == 1);
        return ending;
    }
};

/// One whose global limit lets a request go each second, and to the channels of which so many
/// requests are queued each. They are answered at once.
struct BusyBot : Bot {
    BusyBot(std::size_t channels, std::size_t each) : Bot({.global = {.limit = 1, .period = 1s}}) {
        for (std::size_t channel = 0; channel <= channels; ++channel) {
            meet(list_messages(channel), unlimited);
            pass(2s);
        }
        for (std::size_t i = 0; i < channels * each; ++i) {
            limiter.async_acquire(list_messages(1 + i % channels),
                                  [](error_code, Ticket ticket) { ticket.update(unlimited); });
        }
    }
};

} // namespace

TEST_CASE("timeout_for counts all that wait for the global limit, whichever bucket they wait in") {
    const auto [channels, each] = GENERATE(std::pair<std::size_t, std::size_t>{1, 20},
                                           std::pair<std::size_t, std::size_t>{5, 4});
    BusyBot bot(channels, each);
    const auto told = bot.limiter.timeout_for(list_messages(0));
    CHECK(told == 20s);
    CHECK(told == bot.wait(list_messages(0)));
}

TEST_CASE("who would wait too long for the global limit is refused at once, with the wait") {
    BusyBot bot(1, 20);
    Ending ending;
    bot.limiter.async_acquire(list_messages(0), {.max_wait = 19s}, into(ending));
    bot.turn();
    CHECK(ending.failed(errc::wait_too_long));
    CHECK(ending.ticket.refusal().retry_after == 20s);
    CHECK(ending.ticket.refusal().scope == Scope::global);
    Ending patient;
    bot.limiter.async_acquire(list_messages(0), {.max_wait = 20s}, into(patient));
    bot.clock.run(bot.io);
    CHECK(patient.granted());
}

TEST_CASE("requests that their own bucket holds back are not in the way of others") {
    Bot bot({.global = {.limit = 1, .period = 1s}});
    const auto end = bot.clock.now() + 10min;
    std::int64_t left = 2;
    const auto spend = [&](error_code, Ticket ticket) {
        ticket.update(answer(5, --left, end - bot.clock.now()));
    };
    bot.meet(create_message(1), answer(5, left, 10min));
    bot.pass(2s);
    bot.meet(list_messages(2), unlimited);
    for (int i = 0; i < 20; ++i)
        bot.limiter.async_acquire(create_message(1), spend);
    CHECK(bot.limiter.timeout_for(list_messages(2)) == 3s); // behind two of the twenty
    std::optional<Duration> waited;
    const auto begin = bot.clock.now();
    bot.limiter.async_acquire(list_messages(2), [&](error_code, Ticket ticket) {
        waited = bot.clock.now() - begin;
        ticket.cancel();
    });
    bot.pass(1min);
    CHECK(waited == 3s);
}

TEST_CASE("what is known to be lost and holds a first request back is foretold") {
    Bot bot;
    Ticket ticket = *bot.limiter.try_acquire(list_messages(1));
    const Verdict verdict = ticket.update({.status = 500});
    CHECK(verdict.retry);
    CHECK(verdict.after == 1s);
    const auto begin = bot.clock.now();
    std::optional<Duration> waited;
    ticket.async_reacquire([&](error_code) { waited = bot.clock.now() - begin; });
    bot.clock.run(bot.io);
    CHECK(waited == verdict.after);

    { const auto dropped = bot.limiter.try_acquire(list_messages(2)); }
    CHECK(bot.limiter.timeout_for(list_messages(2)) == 1s);
    bot.limiter.update(list_messages(3), global_429(300ms));
    CHECK(bot.limiter.timeout_for(list_messages(2)) == 1s);
    CHECK(bot.wait(list_messages(2)) == 1s);
}

TEST_CASE("a refusal names the limit that is in the way for the longest") {
    const Route route = create_message(1);
    const auto scope_after = [&](const std::vector<Response>& answers) {
        Bot bot;
        for (const Response& each : answers)
            bot.limiter.update(route, each);
        const Ending ending = bot.refused(route);
        REQUIRE(ending.failed(errc::wait_too_long));
        return ending.ticket.refusal().scope;
    };
    CHECK(scope_after({answer(5, 0, 5s)}) == Scope::user);
    CHECK(scope_after({user_429(5s)}) == Scope::user);
    CHECK(scope_after({unlimited, shared_429(60s)}) == Scope::shared);
    CHECK(scope_after({answer(5, 0, 5s), shared_429(60s)}) == Scope::shared);
    CHECK(scope_after({answer(5, 0, 90s), shared_429(60s)}) == Scope::user);
    CHECK(scope_after({answer(5, 0, 5s), global_429(30s)}) == Scope::global);
    CHECK(scope_after({answer(5, 0, 40s), global_429(30s)}) == Scope::user);
    Response block = {.status = 429, .retry_after = 60s};
    block.from_discord = false;
    CHECK(scope_after({answer(5, 0, 5s), block}) == std::nullopt);
}

TEST_CASE("while nothing of a route may go, no wait is told") {
    const Route route = list_messages(1);
    const auto check = [&](const Route& barred, Bot& bot, const Route& asked) {
        Response answer{.status = asked == barred ? 404 : 401};
        if (asked == barred) answer.code = 10015; // Unknown Webhook
        bot.limiter.update(barred, answer);
        CHECK(!bot.limiter.timeout_for(asked));
        const Ending ending = bot.refused(asked);
        CHECK(ending.ticket.refusal().scope == std::nullopt);
        CHECK(ending.code != errc::wait_too_long);
    };
    Bot unauthorized;
    check(list_messages(2), unauthorized, route);
    Bot gone;
    check(execute_webhook(1, "token"), gone, execute_webhook(1, "token"));

    Bot closed;
    closed.limiter.close();
    CHECK(!closed.limiter.timeout_for(route));
}

TEST_CASE("too many invalid requests are foretold until they are forgotten") {
    Bot bot({.address = std::make_shared<sluice::Address>(
                 sluice::AddressOptions{.slow_at = 1, .stop_at = 2})});
    for (int i = 0; i < 2; ++i)
        bot.limiter.update(list_messages(1), {.status = 403});
    const auto told = bot.limiter.timeout_for(list_messages(1));
    REQUIRE(told.has_value());
    CHECK(*told > 9min);
    CHECK(told == bot.refused(list_messages(1)).ticket.refusal().retry_after);
    bot.pass(*told);
    CHECK(!bot.limiter.timeout_for(list_messages(1)).value_or(1h).count());
}

TEST_CASE("numbers that no header can carry cost nothing but the answer that was made of them") {
    using std::chrono::sys_seconds;
    using std::chrono::sys_time;
    Bot bot;
    Response absurd = unlimited;
    absurd.reset = sys_time<Duration>(Duration::max());
    absurd.reset_after = Duration(-1);
    bot.limiter.update(create_message(1), absurd);
    absurd.date = sys_seconds(-1s);
    bot.limiter.update(create_message(1), absurd);
    absurd.date = sys_seconds::max();
    absurd.reset = sys_time<Duration>(Duration::min());
    bot.limiter.update(create_message(1), absurd);
    absurd.reset_after = Duration::max();
    bot.limiter.update(create_message(1), absurd);
    CHECK(bot.wait(create_message(1)) == 0s);
}
