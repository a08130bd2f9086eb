// SPDX-License-Identifier: MIT
//
// How waiting for a permit behaves towards Asio: completion tokens, executors, cancellation at
// every stage, and every order of ends.
#include <sluice/gateway/send_limiter.hpp>

#include "support/catch.hpp"
#include "support/posted_context.hpp"
#include "support/send_bot.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

namespace {

using namespace sluice::tests::sending;
using namespace boost::asio::experimental::awaitable_operators;
using asio::cancellation_type;
using sluice::errc;

const error_code aborted = asio::error::operation_aborted;
constexpr auto all_types = {cancellation_type::terminal, cancellation_type::partial,
                            cancellation_type::total};

/// An acquire with a slot for cancellation, brought to a stage by one that waits behind it.
void check_cancellation(cancellation_type type, bool granted) {
    Bot bot;
    asio::cancellation_signal signal;
    Ending ending;
    REQUIRE(bot.spend() == 115);
    bot.sends.async_acquire(Opcode::voice_state_update, SendOptions(),
                            asio::bind_cancellation_slot(signal.slot(), into(ending)));
    Ending& behind = bot.wait(Opcode::voice_state_update);
    if (granted) {
        bot.clock.advance(61s);
        CHECK(bot.sends.stats().queued == 0); // granted and posted, but nothing runs yet
    }
    signal.emit(type);
    bot.turn();
    CHECK(ending.times == 1);
    CHECK(ending.code == aborted);
    CHECK_FALSE(ending.permit);
    bot.pass(61s);
    CHECK(behind.times == 1);
    CHECK(bot.spend() == 114);
    signal.emit(type); // of nothing
}

TEST_CASE("cancellation of every type ends a waiter that is queued and loses no slot") {
    for (const cancellation_type type : all_types)
        check_cancellation(type, false);
}

TEST_CASE("cancellation of every type reaches a waiter that is granted and has not run yet") {
    for (const cancellation_type type : all_types)
        check_cancellation(type, true);
}

TEST_CASE("an acquire that loses against a timer leaves no gap") {
    Bot bot;
    REQUIRE(bot.spend() == 115);
    int timed_out = 0;
    const auto run = [&]() -> asio::awaitable<void> {
        const auto winner =
            co_await (bot.sends.acquire(Opcode::voice_state_update) || bot.clock.sleep(5s));
        timed_out += static_cast<int>(winner.index());
    };
    co_spawn(bot.io, run(), asio::detached);
    bot.clock.run(bot.io);
    CHECK(timed_out == 1);
    CHECK(bot.sends.stats().queued == 0);
}

TEST_CASE("every completion token works") {
    Bot bot;
    std::future<SendPermit> future =
        bot.sends.async_acquire(Opcode::voice_state_update, asio::use_future);
    Ending deferred;
    auto operation = bot.sends.async_acquire(Opcode::presence_update, asio::deferred);
    CHECK(bot.sends.stats().held == 1);
    std::move(operation)(into(deferred));
    bot.turn();
    CHECK(future.get());
    CHECK(deferred.times == 1);
}

TEST_CASE("completions run on the executor of their handler") {
    Bot bot;
    asio::io_context other;
    int ran = 0;
    bot.sends.async_acquire(
        Opcode::voice_state_update,
        asio::bind_executor(other.get_executor(), [&](error_code, SendPermit) { ++ran; }));
    bot.turn();
    CHECK(ran == 0);
    other.run();
    CHECK(ran == 1);
}

TEST_CASE("close ends waiters and later calls, and permits may still be settled") {
    Bot bot;
    SendPermit permit = *bot.sends.try_acquire(Opcode::voice_state_update);
    REQUIRE(bot.spend() == 114);
    Ending& waiting = bot.wait(Opcode::voice_state_update);
    bot.sends.close();
    Ending& later = bot.wait(Opcode::heartbeat);
    CHECK_FALSE(bot.sends.try_acquire(Opcode::heartbeat));
    bot.turn();
    CHECK(waiting.code == errc::closed);
    CHECK(later.code == errc::closed);
    permit.sent();
}

TEST_CASE("cancel_all ends the waiters and nothing else") {
    Bot bot;
    REQUIRE(bot.spend() == 115);
    bot.wait(Opcode::voice_state_update);
    bot.wait(Opcode::request_guild_members, {.guild = 3});
    CHECK(bot.sends.cancel_all() == 2);
    bot.turn();
    for (const Ending& ending : bot.endings)
        CHECK(ending.code == aborted);
    Ending& later = bot.wait(Opcode::voice_state_update);
    bot.pass(61s);
    CHECK(later.times == 1);
    CHECK_FALSE(later.code);
}

TEST_CASE("a limiter may end before its waiters and permits") {
    for (const bool granted : {false, true}) {
        CAPTURE(granted);
        Ending ending;
        std::optional<SendPermit> permit;
        asio::io_context io;
        Clock clock;
        {
            Limiter sends(io, {}, clock);
            permit = sends.try_acquire(Opcode::voice_state_update);
            while (!granted && sends.try_acquire(Opcode::voice_state_update)) {
            }
            sends.async_acquire(Opcode::voice_state_update, into(ending));
        }
        clock.run(io);
        CHECK(ending.times == 1);
        CHECK(ending.code == (granted ? error_code() : error_code(errc::closed)));
    }
}

TEST_CASE("an execution context may end before limiter, waiters and permits") {
    for (const bool granted : {false, true}) {
        CAPTURE(granted);
        Clock clock;
        auto io = std::make_unique<asio::io_context>();
        Ending ending;
        Limiter sends(*io, {}, clock);
        std::optional<SendPermit> permit = sends.try_acquire(Opcode::voice_state_update);
        while (!granted && sends.try_acquire(Opcode::voice_state_update)) {
        }
        sends.async_acquire(Opcode::voice_state_update, into(ending));
        io.reset();
        CHECK(ending.times == 0);
        CHECK(sends.stats().queued == 0);
    }
}

TEST_CASE("the timer of a real clock ends with its execution context") {
    std::optional<asio::io_context> io(std::in_place);
    Ending ending;
    sluice::gateway::SendLimiter sends(*io);
    while (sends.try_acquire(Opcode::voice_state_update)) {
    }
    sends.async_acquire(Opcode::voice_state_update, into(ending));
    io.reset();
    CHECK(ending.times == 0);
    CHECK_FALSE(sends.try_acquire(Opcode::heartbeat));
}

TEST_CASE("a waiter whose own execution context ends is forgotten and gives back its slot") {
    for (const bool granted : {false, true}) {
        CAPTURE(granted);
        Bot bot;
        Ending ending;
        {
            asio::io_context other;
            while (!granted && bot.sends.try_acquire(Opcode::voice_state_update)) {
            }
            bot.sends.async_acquire(Opcode::voice_state_update,
                                    asio::bind_executor(other.get_executor(), into(ending)));
        }
        CHECK(ending.times == 0);
        CHECK(bot.sends.stats().queued == 0);
        CHECK(bot.sends.stats().held == (granted ? 0 : 115));
    }
}

TEST_CASE("the execution context of a waiter does not go while another thread posts to it") {
    Bot bot;
    sluice::tests::PostedContext context;
    CHECK(bot.spend() == 115);
    bot.sends.async_acquire(
        Opcode::voice_state_update, SendOptions(),
        context.bind([](error_code, SendPermit) { FAIL_CHECK("nobody runs this context"); }));
    const auto look = [&] {
        bot.clock.advance(61s);
        static_cast<void>(bot.sends.stats());
    };
    CHECK(context.outlives_posting(look));
    CHECK(bot.sends.stats().queued == 0);
    CHECK(bot.spend() == 115);
}

TEST_CASE("a limiter without waiters does not keep its context running") {
    asio::io_context io;
    sluice::gateway::SendLimiter sends(io);
    while (sends.try_acquire(Opcode::voice_state_update)) {
    }
    CHECK(io.run() == 0);
}

TEST_CASE("many coroutines on two threads all get their permits, each once") {
    asio::io_context io;
    sluice::gateway::SendLimiter sends(io,
                                       {.margin = 0s, .limit = 200'000, .presence_limit = 200'000});
    std::atomic<int> done = 0;
    const auto run = [&]() -> asio::awaitable<void> {
        for (int i = 0; i < 200; ++i) {
            SendPermit permit = co_await sends.acquire(Opcode::voice_state_update);
            if (i % 3 == 0) permit.cancel();
            co_await sends.async_acquire(Opcode::presence_update, asio::use_awaitable);
            ++done;
        }
    };
    for (int i = 0; i < 50; ++i) {
        co_spawn(asio::make_strand(io), run(), asio::detached);
    }
    std::thread second([&] { io.run(); });
    io.run();
    second.join();
    CHECK(done == 10'000);
}

TEST_CASE("an event is told how long until its turn, and that it hangs on what nobody knows") {
    Bot bot;
    CHECK(bot.sends.timeout_for(Opcode::presence_update) == 0s);
    bot.spend();
    bot.pass(1s);
    CHECK(bot.sends.timeout_for(Opcode::voice_state_update) == 60s);
    CHECK(bot.sends.timeout_for(Opcode::heartbeat) == 0s);
    CHECK(bot.sends.timeout_for(Opcode::identify) == 0s);
    CHECK(bot.sends.timeout_for(Opcode::identify, {.bytes = 5000}) == std::nullopt);
    CHECK(bot.sends.stats().payloads_too_large == 0);
    bot.sends.hold();
    CHECK(bot.sends.timeout_for(Opcode::voice_state_update) == std::nullopt);
    CHECK(bot.sends.timeout_for(Opcode::resume) == 0s);
    bot.sends.release();
    bot.sends.close();
    CHECK(bot.sends.timeout_for(Opcode::heartbeat) == std::nullopt);
}

} // namespace
