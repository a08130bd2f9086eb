// SPDX-License-Identifier: MIT
//
// Manual time: who wakes when and in which order, what runs in which call, and what happens to
// those who sleep when the clock or their context goes.
#include <sluice/testing/manual_clock.hpp>

#include "support/catch.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

namespace {

using namespace std::chrono_literals;
namespace asio = boost::asio;
using boost::system::error_code;
using sluice::testing::ManualClock;

struct Sleepers {
    asio::io_context io;
    ManualClock clock;
    ManualClock::time_point start = clock.now();
    std::vector<int> woken;

    void sleep(ManualClock::duration time, int name) {
        clock.async_sleep(time, asio::bind_executor(io, [this, name](error_code code) {
                              CHECK(!code);
                              woken.push_back(name);
                          }));
    }
    [[nodiscard]] ManualClock::duration passed() const { return clock.now() - start; }
};

} // namespace

TEST_CASE("sleepers wake in the order of their times, and of their calls when these are equal") {
    Sleepers s;
    s.sleep(30ms, 1);
    s.sleep(10ms, 2);
    s.sleep(30ms, 3);
    s.sleep(20ms, 4);
    s.sleep(10ms, 5);
    CHECK(s.clock.run(s.io) == 5);
    CHECK(s.woken == std::vector{2, 5, 4, 1, 3});
    CHECK(s.passed() == 30ms);
}

TEST_CASE("time stands still while anything is ready to run") {
    Sleepers s;
    int turns = 0;
    auto busy = [&]() -> asio::awaitable<void> {
        for (; turns < 100; ++turns)
            co_await asio::post(asio::use_awaitable);
        CHECK(s.passed() == 0ns);
        co_await s.clock.sleep(5ms);
        CHECK(s.passed() == 5ms);
    };
    s.sleep(5ms, 1);
    asio::co_spawn(s.io, busy(), asio::detached);
    s.clock.run(s.io);
    CHECK(turns == 100);
    CHECK(s.woken.size() == 1);
}

TEST_CASE("a sleep of no time, or of less, is over when its turn comes") {
    Sleepers s;
    s.sleep(0ms, 1);
    s.sleep(-5ms, 2);
    CHECK(s.woken.empty());
    s.clock.run(s.io);
    CHECK(s.woken == std::vector{2, 1});
    CHECK(s.passed() == 0ns);
}

TEST_CASE("run_for does what is due up to its end, and stands there") {
    Sleepers s;
    s.sleep(10ms, 1);
    s.sleep(20ms, 2);
    s.sleep(21ms, 3);
    CHECK(s.clock.run_for(s.io, 20ms) == 2);
    CHECK(s.woken == std::vector{1, 2});
    CHECK(s.passed() == 20ms);
    CHECK(s.clock.run_for(s.io, 0ms) == 0);
    CHECK(s.clock.run_for(s.io, 100ms) == 1);
    CHECK(s.passed() == 120ms);
    s.sleep(1s, 4);
    CHECK(s.clock.run_for(s.io, std::chrono::nanoseconds::max()) == 1);
}

TEST_CASE("run_one runs one handler, jumping when none is ready") {
    Sleepers s;
    s.sleep(10ms, 1);
    s.sleep(10ms, 2);
    asio::post(s.io, [&] { s.woken.push_back(0); });
    for (int i = 0; i < 3; ++i) {
        CHECK(s.clock.run_one(s.io) == 1);
        CHECK(s.woken.size() == static_cast<std::size_t>(i) + 1);
    }
    CHECK(s.woken == std::vector{0, 1, 2});
    CHECK(s.clock.run_one(s.io) == 0);
}

TEST_CASE("advance passes time and runs nothing, and never wakes anybody twice") {
    Sleepers s;
    s.sleep(10ms, 1);
    s.clock.advance(15ms);
    CHECK(s.woken.empty());
    CHECK(s.io.poll() == 0);
    s.sleep(1ms, 2);
    s.clock.run(s.io);
    CHECK(s.woken == std::vector{1, 2});
    CHECK(s.passed() == 16ms);
}

TEST_CASE("copies share one time, other clocks have another") {
    Sleepers s;
    ManualClock copy = s.clock;
    const ManualClock other;
    copy.advance(1s);
    CHECK(s.passed() == 1s);
    CHECK(other.now() == s.start);
    s.sleep(1s, 1);
    copy.run(s.io);
    CHECK(s.woken.size() == 1);
    CHECK(s.passed() == 2s);
}

TEST_CASE("a sleep can be cancelled by every type, once, and disturbs no other") {
    for (const auto type : {asio::cancellation_type::terminal, asio::cancellation_type::partial,
                            asio::cancellation_type::total}) {
        Sleepers s;
        asio::cancellation_signal signal;
        int calls = 0;
        error_code ended;
        s.sleep(10ms, 1);
        s.clock.async_sleep(
            10ms, asio::bind_executor(
                      s.io, asio::bind_cancellation_slot(signal.slot(), [&](error_code code) {
                          ++calls;
                          ended = code;
                      })));
        s.sleep(10ms, 2);
        signal.emit(asio::cancellation_type::none);
        s.clock.run_for(s.io, 5ms);
        CHECK(calls == 0);
        signal.emit(type);
        signal.emit(type);
        CHECK(calls == 0);
        s.clock.run_for(s.io, 0ms);
        CHECK(calls == 1);
        CHECK(ended == asio::error::operation_aborted);
        s.clock.run(s.io);
        signal.emit(type);
        CHECK(calls == 1);
        CHECK(s.woken == std::vector{1, 2});
    }
}

TEST_CASE("a sleep that has rung and not run is over: cancelling it changes nothing") {
    Sleepers s;
    asio::cancellation_signal signal;
    std::optional<error_code> ended;
    s.clock.async_sleep(10ms, asio::bind_executor(s.io, asio::bind_cancellation_slot(
                                                            signal.slot(), [&](error_code code) {
                                                                ended = code;
                                                            })));
    asio::post(s.io, [&] { signal.emit(asio::cancellation_type::none); });
    s.clock.run_for(s.io, 9ms);
    s.sleep(0ms, 1);
    s.clock.advance(1ms);
    CHECK(s.clock.run_one(s.io) == 1); // the other one, which rang first
    CHECK(s.clock.run_one(s.io) == 1);
    REQUIRE(ended);
    CHECK_FALSE(*ended);
    signal.emit(asio::cancellation_type::terminal);
    CHECK(s.clock.run(s.io) == 0);
}

TEST_CASE("a sleeper wakes on its own executor, whose context it keeps busy meanwhile") {
    ManualClock clock;
    asio::io_context driven;
    asio::io_context own;
    bool woken = false;
    const auto strand = asio::make_strand(own);
    clock.async_sleep(10ms, asio::bind_executor(strand, [&](error_code) {
                          woken = strand.running_in_this_thread();
                      }));
    CHECK(own.poll() == 0);
    CHECK_FALSE(own.stopped());
    clock.run(driven);
    CHECK_FALSE(woken);
    own.run();
    CHECK(woken);
}

TEST_CASE("sleepers may be left behind by their clock and by their context, in either order") {
    const auto token = std::make_shared<int>();
    auto nap = [](ManualClock clock, std::shared_ptr<int>) -> asio::awaitable<void> {
        co_await clock.sleep(1s);
    };
    for (const bool clock_first : {false, true}) {
        for (const int handlers : {0, 1, 2, 3, 4, 9}) {
            auto io = std::make_unique<asio::io_context>();
            auto clock = std::make_unique<ManualClock>();
            asio::cancellation_signal signal;
            asio::cancellation_signal other;
            asio::co_spawn(*io, nap(*clock, token),
                           asio::bind_cancellation_slot(other.slot(), asio::detached));
            clock->async_sleep(2s, asio::bind_executor(*io, [token](error_code) {}));
            clock->async_sleep(2s, asio::bind_executor(asio::make_strand(*io),
                                                       asio::bind_cancellation_slot(
                                                           signal.slot(), [token](error_code) {})));
            for (int i = 0; i < handlers; ++i)
                clock->run_one(*io);
            if (clock_first) clock.reset();
            io.reset();
            CHECK(token.use_count() == 1);
            signal.emit(asio::cancellation_type::terminal); // reaches nobody any more
        }
    }
}

TEST_CASE("a signal may be destroyed while the sleep that it could have cancelled goes on") {
    Sleepers s;
    auto signal = std::make_unique<asio::cancellation_signal>();
    int calls = 0;
    s.clock.async_sleep(
        10ms, asio::bind_executor(s.io, asio::bind_cancellation_slot(
                                            signal->slot(), [&](error_code) { ++calls; })));
    signal.reset();
    s.clock.run(s.io);
    CHECK(calls == 1);
}

TEST_CASE("the last copy of a clock takes along those who sleep on it") {
    const auto token = std::make_shared<int>();
    asio::io_context io;
    {
        const ManualClock clock;
        clock.async_sleep(1s, asio::bind_executor(io, [token](error_code) { CHECK(false); }));
        CHECK(io.poll() == 0);
    }
    CHECK(token.use_count() == 1);
    CHECK(io.run() == 0);
}

TEST_CASE("who sleeps for ever wakes after ten years, and who sleeps for less than nothing now") {
    Sleepers s;
    s.sleep(ManualClock::duration::max(), 1);
    s.sleep(ManualClock::duration::min(), 2);
    s.sleep(24h, 3);
    s.clock.run(s.io);
    CHECK(s.woken == std::vector<int>{2, 3, 1});
    CHECK(s.clock.now() - s.start == std::chrono::years(10));
}
