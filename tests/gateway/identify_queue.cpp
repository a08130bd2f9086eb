// SPDX-License-Identifier: MIT
//
// IdentifyQueue passes the suite of all identify queues; the rest is how it behaves towards Asio.
#include <sluice/gateway/identify_queue.hpp>
#include <sluice/testing/manual_clock.hpp>

#include "gateway/identify_suite.hpp"
#include "support/catch.hpp"

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace sluice::tests::identifying;
using namespace boost::asio::experimental::awaitable_operators;
using sluice::gateway::BasicIdentifyQueue;
using sluice::gateway::IdentifyQueue;
using Clock = sluice::testing::ManualClock;
using Queue = BasicIdentifyQueue<Clock>;

struct World {
    World(const SessionStartLimit& limit, const IdentifyQueueOptions& options)
        : queue(std::in_place, io, limit, options, clock) {}

    void pass(Clock::duration time) { clock.run_for(io, time); }

    asio::io_context io;
    Clock clock;
    std::optional<Queue> queue;
};

TEST_CASE("the queue does what every identify queue must do") {
    for (const auto& each : IdentifySuite<World>::all()) {
        DYNAMIC_SECTION(each.name) {
            each.run();
        }
    }
}

TEST_CASE("coroutines acquire in loops, in conditions, with options and against a timer") {
    World world(limit_of(1), {});
    int steps = 0;
    const auto bot = [&]() -> asio::awaitable<void> {
        for (std::uint64_t shard = 0; shard < 3; ++shard)
            co_await world.queue->acquire(shard);
        ++steps;
        if (co_await world.queue->acquire(3, {.use_reserve = true, .max_wait = 1min})) ++steps;
        const auto first = co_await (world.queue->acquire(4) || world.clock.sleep(1s));
        if (first.index() == 1) ++steps;
        try {
            co_await world.queue->acquire(5, {.max_wait = 1s});
        } catch (const sluice::Error& error) {
            if (error.code() == sluice::errc::wait_too_long) ++steps;
            CHECK(error.retry_after() == 4500ms); // the timer has taken one second
        }
        world.queue->update(limit_of(1, 0, 1h));
        try {
            co_await world.queue->acquire(5, {.max_wait = 1min});
        } catch (const sluice::Error& error) {
            if (error.code() == sluice::errc::sessions_exhausted) ++steps;
            CHECK(error.retry_after() == 1h + 1ms);
        }
    };
    co_spawn(world.io, bot(), asio::detached);
    world.clock.run(world.io);
    CHECK(steps == 5);
    CHECK(world.queue->remaining() == 0);
}

TEST_CASE("every completion token works, and completions run on the executor of their handler") {
    World world(limit_of(4), {});
    std::future<IdentifyPermit> future = world.queue->async_acquire(0, asio::use_future);
    Ending deferred;
    auto operation = world.queue->async_acquire(1, asio::deferred);
    CHECK(world.queue->stats().permits_out == 1);
    std::move(operation)(into(deferred));
    asio::io_context other;
    Ending elsewhere;
    world.queue->async_acquire(2, asio::bind_executor(other.get_executor(), into(elsewhere)));
    world.pass(0s);
    CHECK(future.get());
    CHECK(deferred.permit);
    CHECK(elsewhere.times == 0);
    other.run();
    CHECK(elsewhere.permit);
}

TEST_CASE("try_acquire gives a permit or nothing") {
    World world(limit_of(1), {});
    std::optional<IdentifyPermit> permit = world.queue->try_acquire(7);
    REQUIRE(permit);
    CHECK(permit->shard_id() == 7);
    CHECK_FALSE(world.queue->try_acquire(8));
    permit->cancel();
    CHECK(world.queue->try_acquire(8));
}

TEST_CASE("how long a permit may be held follows the margin, unless it is told") {
    using sluice::gateway::detail::settings_of;
    CHECK(settings_of({}).permit_timeout == 1s);
    CHECK(settings_of({.margin = 2s}).permit_timeout == 4s);
    CHECK(settings_of({.margin = 2s, .permit_timeout = 1s}).permit_timeout == 1s);
    CHECK(settings_of({.margin = 0s}).permit_timeout == 1ns); // some time ahead
    CHECK(settings_of({.permit_timeout = -1s}).permit_timeout == 1ns);
    CHECK(settings_of({.margin = 24h * 365 * 9}).permit_timeout == sluice::core::longest_setting);
}

TEST_CASE("a shard is told how long until its turn, in time, and that it hangs on an update") {
    World world(limit_of(1, 2, 1h), {.reserve = 1});
    CHECK(world.queue->timeout_for(0) == 0s);
    IdentifyPermit permit = *world.queue->try_acquire(0);
    CHECK(world.queue->timeout_for(1, {.use_reserve = true}) == 6500ms);
    permit.sent();
    world.pass(1s);
    CHECK(world.queue->timeout_for(1, {.use_reserve = true}) == 4500ms);
    CHECK(world.queue->timeout_for(1) == 1h + 1ms - 1s);
    world.queue->update({1, 1, 1h, 1}); // all of it is kept back
    CHECK(world.queue->timeout_for(1) == std::nullopt);
    world.queue->close();
    CHECK(world.queue->timeout_for(1, {.use_reserve = true}) == std::nullopt);
}

TEST_CASE("an answer makes the margin unnecessary") {
    World world(limit_of(1), {});
    IdentifyPermit permit = *world.queue->try_acquire(0);
    Ending next;
    world.queue->async_acquire(1, into(next));
    permit.sent();
    world.pass(100ms);
    permit.answered();
    world.pass(4999ms);
    CHECK(next.times == 0);
    world.pass(1ms);
    CHECK(next.times == 1);
}

TEST_CASE("an empty permit, a moved-from one and a settled one accept every call") {
    World world(limit_of(1), {});
    IdentifyPermit permit = *world.queue->try_acquire(0);
    IdentifyPermit moved = std::move(permit);
    IdentifyPermit empty;
    for (IdentifyPermit* each : {&permit, &empty, &moved, &moved}) {
        each->sent();
        each->cancel();
        each->answered();
        CHECK_FALSE(*each);
    }
    CHECK(world.queue->remaining() == 999);
}

TEST_CASE("interval, margin and day may last for ever") {
    constexpr Clock::duration for_ever = Clock::duration::max();
    constexpr Clock::duration year = 24h * 365;
    SECTION("a key opens once, and who cannot wait for it is told so") {
        World world(limit_of(1), {.margin = for_ever, .interval = for_ever});
        CHECK(world.queue->try_acquire(0));
        world.pass(year);
        CHECK_FALSE(world.queue->try_acquire(1));
        std::vector<Ending> endings(100);
        for (std::size_t i = 0; i < endings.size(); ++i)
            world.queue->async_acquire(i, into(endings[i]));
        Ending hurried;
        world.queue->async_acquire(200, {.max_wait = year}, into(hurried));
        world.pass(0s);
        CHECK(hurried.code == sluice::errc::wait_too_long);
        world.pass(year);
        CHECK(endings.front().times == 0);
    }
    SECTION("a day is the last") {
        World world(limit_of(1, 1, 1h), {.margin = for_ever, .interval = 0s, .day = for_ever});
        CHECK(world.queue->try_acquire(0));
        world.pass(year);
        CHECK_FALSE(world.queue->try_acquire(0));
    }
}

TEST_CASE("io_context, queue and permits may end in every order, with waiters at every stage") {
    for (int order = 0; order < 4; ++order) {
        for (std::size_t handlers = 0; handlers < 4; ++handlers) {
            auto io = std::make_unique<asio::io_context>();
            Clock clock;
            auto queue = std::make_unique<Queue>(*io, limit_of(2), IdentifyQueueOptions(), clock);
            auto held = std::make_shared<Ending>();
            for (std::uint64_t shard = 0; shard < 6; ++shard) {
                queue->async_acquire(shard, [held](error_code, IdentifyPermit permit) {
                    held->permit = std::move(permit);
                });
            }
            for (std::size_t i = 0; i < handlers; ++i)
                io->poll_one();
            if (order == 0) queue.reset();
            if (order == 1) io.reset();
            if (order == 2) held->permit = IdentifyPermit();
            if (order == 3) clock.advance(6s);
            if (queue) CHECK(queue->stats().permits_out <= 2);
            io.reset();
            held->permit.cancel();
            queue.reset();
            CHECK(held.use_count() == 1);
        }
    }
}

TEST_CASE("threads acquire, cancel, update and settle at once, and every acquire ends once") {
    asio::io_context io;
    IdentifyQueueOptions options;
    options.interval = 0s;
    options.margin = 0s;
    IdentifyQueue queue(io, SessionStartLimit{100'000, 100'000, 24h, 4}, options);
    std::atomic<int> ended = 0;
    constexpr int each = 400;
    const auto bot = [&](std::uint64_t salt) {
        for (int i = 0; i < each; ++i) {
            const std::uint64_t shard = (static_cast<std::uint64_t>(i) * 7 + salt) % 32;
            queue.async_acquire(shard, [&, i](error_code, IdentifyPermit permit) {
                if (i % 3 == 0) permit.cancel();
                if (i % 3 == 1) permit.answered();
                ++ended;
            });
            if (i % 50 == 0) queue.update({100'000, 100'000, 24h, 1 + i % 7});
            if (i % 90 == 0) queue.cancel_all();
        }
    };
    auto work = asio::make_work_guard(io);
    std::thread first([&] { io.run(); });
    std::thread second([&] { io.run(); });
    std::thread other([&] { bot(1); });
    bot(2);
    other.join();
    work.reset();
    first.join();
    second.join();
    CHECK(ended == 2 * each);
    CHECK(queue.stats().permits_out == 0);
}

} // namespace
