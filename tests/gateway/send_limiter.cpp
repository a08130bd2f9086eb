// SPDX-License-Identifier: MIT
//
// What the schedule decides is tested in tests/core; here is that it reaches who waits.
#include <sluice/gateway/send_limiter.hpp>

#include "support/catch.hpp"
#include "support/send_bot.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace sluice::tests::sending;
using nlohmann::json;
using sluice::errc;

static_assert(std::is_trivially_destructible_v<SendOptions>);
static_assert(!std::is_copy_constructible_v<SendPermit>);
static_assert(std::is_nothrow_move_constructible_v<SendPermit>);

TEST_CASE("a coroutine gets its permits at once until the minute is full, and then in time") {
    Bot bot;
    std::vector<Clock::duration> sent;
    const auto start = bot.clock.now();
    const auto run = [&]() -> asio::awaitable<void> {
        for (int i = 0; i < 250; ++i) {
            co_await bot.sends.acquire(Opcode::voice_state_update);
            sent.push_back(bot.clock.now() - start);
        }
    };
    co_spawn(bot.io, run(), asio::detached);
    bot.clock.run(bot.io);
    REQUIRE(sent.size() == 250);
    CHECK(sent[114] == 0s);
    CHECK(sent[115] == 61s);
    CHECK(sent[229] == 61s);
    CHECK(sent[230] == 122s);
}

TEST_CASE("options are written in the call, in loops and in conditions") {
    Bot bot;
    int done = 0;
    const auto run = [&]() -> asio::awaitable<void> {
        for (std::uint64_t guild = 1; guild <= 3; ++guild) {
            co_await bot.sends.acquire(Opcode::request_guild_members,
                                       {.guild = guild, .nonce = "abc", .bytes = 90});
            ++done;
        }
        if (SendPermit permit = co_await bot.sends.acquire(Opcode::request_guild_members,
                                                           {.guild = 1, .whole_list = false})) {
            permit.cancel();
            ++done;
        }
        auto [code, permit] = co_await bot.sends.async_acquire(
            Opcode::presence_update, {.bytes = 5000}, asio::as_tuple(asio::use_awaitable));
        CHECK(code == errc::payload_too_large);
        CHECK_FALSE(permit);
    };
    co_spawn(bot.io, run(), asio::detached);
    bot.clock.run(bot.io);
    CHECK(done == 4);
}

TEST_CASE("a permit that is kept runs its minute from sent(), and a dropped one from then") {
    Bot bot;
    std::optional<SendPermit> kept = bot.sends.try_acquire(Opcode::voice_state_update);
    REQUIRE(kept);
    CHECK(kept->opcode() == Opcode::voice_state_update);
    REQUIRE(bot.spend() == 114);
    Ending& next = bot.wait(Opcode::voice_state_update);
    bot.pass(61s);
    REQUIRE(next.times == 1);
    next.permit.sent();
    REQUIRE(bot.spend() == 113);
    kept.reset();
    Ending& last = bot.wait(Opcode::voice_state_update);
    bot.pass(60s);
    CHECK(last.times == 0);
    bot.pass(1s);
    CHECK(last.times == 1);
}

TEST_CASE("a cancelled permit lets the next waiter go at once, and a second call does nothing") {
    Bot bot;
    std::optional<SendPermit> permit = bot.sends.try_acquire(Opcode::voice_state_update);
    REQUIRE(bot.spend() == 114);
    Ending& next = bot.wait(Opcode::voice_state_update);
    bot.turn();
    REQUIRE(next.times == 0);
    permit->cancel();
    permit->cancel();
    permit->sent();
    permit.reset();
    bot.turn();
    CHECK(next.times == 1);
    CHECK(bot.sends.stats().held == 115);
    SendPermit moved = std::move(next.permit);
    next.permit.cancel();
    CHECK(bot.sends.stats().held == 115);
}

TEST_CASE("heartbeats complete at once whatever waits") {
    Bot bot;
    REQUIRE(bot.spend() == 115);
    Ending& waiting = bot.wait(Opcode::voice_state_update);
    for (int i = 0; i < 10; ++i) {
        Ending& beat = bot.wait(Opcode::heartbeat);
        CHECK(beat.times == 0); // never inside the initiating function
        bot.turn();
        CHECK(beat.times == 1);
        CHECK_FALSE(beat.code);
        CHECK(bot.sends.try_acquire(Opcode::heartbeat));
    }
    CHECK(waiting.times == 0);
    CHECK(bot.sends.stats().counters.heartbeats == 20);
}

TEST_CASE("a payload over 4096 bytes is refused before it costs anything") {
    Bot bot;
    for (const Opcode opcode : {Opcode::voice_state_update, Opcode::heartbeat, Opcode::identify,
                                Opcode::presence_update, Opcode::request_guild_members}) {
        Ending& ending = bot.wait(opcode, {.guild = 1, .bytes = 4097});
        bot.turn();
        CHECK(ending.times == 1);
        CHECK(ending.code == errc::payload_too_large);
        CHECK_FALSE(ending.permit);
        CHECK_FALSE(bot.sends.try_acquire(opcode, {.guild = 1, .bytes = 4097}));
    }
    CHECK(bot.sends.stats().payloads_too_large == 10);
    CHECK(bot.sends.stats().held == 0);
    CHECK(bot.sends.try_acquire(Opcode::request_guild_members, {.guild = 1, .bytes = 4096}));
}

TEST_CASE("an acquire that fails throws an error with its code") {
    Bot bot;
    error_code thrown;
    const auto run = [&]() -> asio::awaitable<void> {
        try {
            co_await bot.sends.acquire(Opcode::identify, {.bytes = 1 << 20});
        } catch (const sluice::Error& error) {
            thrown = error.code();
        }
    };
    co_spawn(bot.io, run(), asio::detached);
    bot.clock.run(bot.io);
    CHECK(thrown == errc::payload_too_large);
    CHECK(bot.sends.stats().payloads_too_large == 1);
}

TEST_CASE("a presence update that waits ends as superseded when a newer one comes") {
    Bot bot;
    while (bot.sends.try_acquire(Opcode::presence_update)) {
    }
    Ending& older = bot.wait(Opcode::presence_update);
    Ending& newer = bot.wait(Opcode::presence_update);
    bot.turn();
    CHECK(older.times == 1);
    CHECK(older.code == errc::superseded);
    CHECK(newer.times == 0);
    bot.pass(21s);
    CHECK(newer.times == 1);
    CHECK_FALSE(newer.code);
    CHECK(bot.sends.stats().counters.superseded == 1);
}

TEST_CASE("connections of one bot share the limit on member lists, from several threads too") {
    const auto lists = std::make_shared<MemberListLimit>();
    std::vector<std::unique_ptr<Bot>> bots;
    for (int i = 0; i < 4; ++i) {
        bots.push_back(std::make_unique<Bot>(SendLimiterOptions{.member_lists = lists}));
    }
    std::atomic<int> granted = 0;
    std::vector<std::thread> threads;
    for (auto& bot : bots) {
        threads.emplace_back([&granted, &sends = bot->sends] {
            for (std::uint64_t guild = 1; guild <= 100; ++guild) {
                if (sends.try_acquire(Opcode::request_guild_members, {.guild = guild})) ++granted;
            }
        });
    }
    for (std::thread& thread : threads)
        thread.join();
    CHECK(granted == 100);
}

TEST_CASE("a refused request is told to its caller, waits and goes first") {
    Bot bot;
    REQUIRE(bot.sends.try_acquire(Opcode::request_guild_members, {.guild = 5, .nonce = "n"}));
    REQUIRE(bot.spend() == 114);
    Ending& other = bot.wait(Opcode::voice_state_update);
    const auto refused = bot.sends.on_rate_limited(json::parse(
        R"({"opcode": 8, "retry_after": 20.5, "meta": {"guild_id": "5", "nonce": "n"}})"));
    REQUIRE(refused);
    CHECK(refused->matched);
    CHECK(refused->guild == 5);
    CHECK(refused->nonce.view() == "n");
    CHECK(refused->retry_after == 20'500ms);
    std::vector<int> order;
    bot.sends.async_acquire(Opcode::request_guild_members,
                            {.guild = refused->guild, .nonce = refused->nonce},
                            [&](error_code, SendPermit) {
                                CHECK(other.times == 0);
                                order.push_back(1);
                            });
    bot.pass(61s);
    CHECK(order.size() == 1);
    CHECK(other.times == 1);
}

TEST_CASE("a dispatch that cannot be read changes nothing and is counted") {
    Bot bot;
    CHECK_FALSE(bot.sends.on_rate_limited(json::parse(R"({"opcode": 8})")));
    CHECK_FALSE(bot.sends.on_rate_limited(json()));
    CHECK(bot.sends.stats().malformed == 2);
    CHECK(bot.sends.stats().counters.refused == 0);
}

TEST_CASE("the heartbeat interval of hello decides how much room is kept") {
    Bot bot;
    CHECK(bot.sends.stats().reserved == 5);
    bot.sends.set_heartbeat_interval(10s);
    CHECK(bot.sends.stats().reserved == 15);
    REQUIRE(bot.spend() == 105);
    Ending& waiting = bot.wait(Opcode::voice_state_update);
    bot.sends.set_heartbeat_interval(45s);
    bot.turn();
    CHECK(waiting.times == 1);
}

TEST_CASE("a new connection starts afresh and waiters go over it") {
    Bot bot;
    REQUIRE(bot.spend() == 115);
    Ending& waiting = bot.wait(Opcode::voice_state_update);
    SECTION("at once") {
        bot.sends.reset();
        bot.turn();
        CHECK(waiting.times == 1);
        CHECK(bot.spend() == 114);
    }
    SECTION("or, when held, once it is ready") {
        bot.sends.hold();
        bot.sends.reset();
        bot.pass(1h);
        CHECK(waiting.times == 0);
        CHECK_FALSE(bot.sends.try_acquire(Opcode::presence_update));
        CHECK(bot.sends.try_acquire(Opcode::identify));
        CHECK(bot.sends.try_acquire(Opcode::heartbeat));
        bot.sends.release();
        bot.turn();
        CHECK(waiting.times == 1);
    }
}

TEST_CASE("a queue that is full refuses more, but never a heartbeat") {
    Bot bot(SendLimiterOptions{.max_queued = 2});
    REQUIRE(bot.spend() == 115);
    bot.wait(Opcode::voice_state_update);
    bot.wait(Opcode::voice_state_update);
    Ending& third = bot.wait(Opcode::voice_state_update);
    Ending& beat = bot.wait(Opcode::heartbeat);
    bot.turn();
    CHECK(third.code == errc::queue_full);
    CHECK(beat.times == 1);
    CHECK_FALSE(beat.code);
}

TEST_CASE("a limit of one, which is kept for identify, lets other events go all the same") {
    Bot bot(SendLimiterOptions{.limit = 1});
    bot.sends.set_heartbeat_interval(41'250ms);
    Ending& event = bot.wait(Opcode::voice_state_update);
    bot.pass(10min);
    CHECK(event.times == 1);
    CHECK_FALSE(event.code);
}

TEST_CASE("a queue that is full refuses nothing that need not wait") {
    SECTION("identify, when a new connection is open") {
        Bot bot(SendLimiterOptions{.max_queued = 1});
        bot.sends.hold();
        bot.wait(Opcode::voice_state_update);
        bot.sends.reset();
        Ending& identify = bot.wait(Opcode::identify);
        Ending& ordinary = bot.wait(Opcode::voice_state_update);
        bot.turn();
        CHECK(identify.times == 1);
        CHECK_FALSE(identify.code);
        CHECK(ordinary.code == errc::queue_full);
    }
    SECTION("anything while nobody waits, though nobody may") {
        Bot bot(SendLimiterOptions{.max_queued = 0});
        Ending& event = bot.wait(Opcode::voice_state_update);
        bot.turn();
        CHECK(event.times == 1);
        CHECK_FALSE(event.code);
        while (bot.sends.try_acquire(Opcode::presence_update)) {
        }
        Ending& presence = bot.wait(Opcode::presence_update);
        bot.turn();
        CHECK(presence.code == errc::queue_full);
    }
}

TEST_CASE("periods and margins may last for ever") {
    constexpr Clock::duration for_ever = Clock::duration::max();
    constexpr Clock::duration year = 24h * 365;
    const auto goes = [](Bot& bot, Opcode opcode) {
        int sent = 0;
        while (sent < 200 && bot.sends.try_acquire(opcode, {.guild = 1}))
            ++sent;
        return sent;
    };
    SECTION("of all events") {
        Bot bot(SendLimiterOptions{.margin = for_ever, .period = for_ever});
        const int sent = goes(bot, Opcode::voice_state_update);
        CHECK(sent < 120);
        bot.pass(year);
        CHECK(goes(bot, Opcode::voice_state_update) == 0);
    }
    SECTION("of presence updates") {
        Bot bot(SendLimiterOptions{.presence_period = for_ever});
        CHECK(goes(bot, Opcode::presence_update) == 5);
        bot.pass(year);
        CHECK(goes(bot, Opcode::presence_update) == 0);
    }
    SECTION("of member lists") {
        const auto lists = std::make_shared<MemberListLimit>(for_ever, for_ever);
        Bot bot(SendLimiterOptions{.member_lists = lists});
        CHECK(goes(bot, Opcode::request_guild_members) == 1);
        bot.pass(year);
        CHECK(goes(bot, Opcode::request_guild_members) == 0);
    }
    SECTION("and a heart may beat once") {
        Bot bot(SendLimiterOptions{.heartbeat_interval = for_ever});
        CHECK(bot.sends.stats().reserved == 3);
        bot.sends.set_heartbeat_interval(for_ever);
        CHECK(bot.sends.stats().reserved == 3);
    }
}

} // namespace
