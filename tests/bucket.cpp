// SPDX-License-Identifier: MIT
//
// The bucket handle: its calls equal the limiter's for its route, and it outlives every change of
// the bucket behind it.
#include <sluice/bucket.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace {

using namespace sluice::tests;
using sluice::Bucket;
using sluice::BucketHash;
using sluice::errc;
using sluice::Ticket;

const sluice::Route route = create_message(1);

} // namespace

TEST_CASE("a handle's calls equal the limiter's for its route") {
    VirtualBot bot;
    const Bucket bucket = bot.limiter.bucket(route);
    CHECK(bucket.route() == route);
    CHECK_FALSE(bucket.info());
    auto ticket = bucket.try_acquire();
    REQUIRE(ticket);
    CHECK_FALSE(bot.limiter.try_acquire(route));
    ticket->update(answer(2, 1, 5s));
    CHECK(bucket.info()->remaining == 1);
    CHECK(bot.limiter.find(route)->remaining == 1);
    bucket.update(answer(2, 0, 5s));
    CHECK_FALSE(bot.limiter.try_acquire(route));
    Ending refused;
    bucket.async_acquire({.max_wait = 1s}, into(refused));
    bot.turn();
    CHECK(refused.failed(errc::wait_too_long));
}

TEST_CASE("waiters of a handle and of the limiter stand in one queue, first come, first served") {
    VirtualBot bot;
    const Bucket bucket = bot.limiter.bucket(route);
    bucket.update(answer(4, 0, 5s));
    std::vector<int> order;
    auto wait = [&](bool by_handle, int number) -> asio::awaitable<void> {
        Ticket ticket;
        if (by_handle) {
            ticket = co_await bucket.acquire();
        } else {
            ticket = co_await bot.limiter.acquire(route);
        }
        order.push_back(number);
        ticket.update(answer(4, 0, 5s));
    };
    for (int i = 0; i < 4; ++i)
        asio::co_spawn(bot.io, wait(i % 2 == 0, i), asio::detached);
    bot.clock.run(bot.io);
    CHECK(order == std::vector{0, 1, 2, 3});
}

TEST_CASE("a handle follows its bucket through naming, linking and moving") {
    VirtualBot bot;
    const Bucket one = bot.limiter.bucket(route);
    const Bucket other = bot.limiter.bucket(get_message(1, 2));
    auto first = one.try_acquire();
    auto second = other.try_acquire();
    Ending waiting;
    other.async_acquire(into(waiting));
    first->update(answer(5, 4, 5s, "one"));
    CHECK(one.info()->hash == BucketHash::parse("one"));
    CHECK_FALSE(other.info()->hash);
    second->update(answer(5, 3, 5s, "one"));
    CHECK(other.info()->hash == BucketHash::parse("one"));
    bot.turn();
    REQUIRE(waiting.granted());
    CHECK(one.info()->remaining == 2); // one counter for both now
    bot.pass(1s);
    auto third = one.try_acquire();
    third->update(answer(9, 8, 5s, "two"));
    CHECK(one.info()->hash == BucketHash::parse("two"));
    CHECK(one.info()->limit == 9);
    CHECK(other.info()->hash == BucketHash::parse("one"));
}

TEST_CASE("a handle survives the eviction of its bucket") {
    VirtualBot bot;
    const Bucket bucket = bot.limiter.bucket(route);
    bucket.try_acquire()->update(answer(5, 4, 5s));
    bot.pass(60s);
    CHECK(bot.limiter.collect(10s) == 1);
    CHECK_FALSE(bucket.info());
    auto again = bucket.try_acquire();
    REQUIRE(again);
    again->update(answer(5, 4, 5s));
    CHECK(bucket.info()->remaining == 4);
}

TEST_CASE("a bucket that sleeps is found, and goes on where it was", "[R23]") {
    VirtualBot bot;
    const Bucket bucket = bot.limiter.bucket(route);
    bucket.try_acquire()->update(answer(2, 0, 5s));
    bot.pass(1min);
    bot.limiter.try_acquire(create_message(99))->cancel(); // whoever rests next looks after it
    CHECK(bot.limiter.stats().buckets == 2);
    CHECK(bot.limiter.stats().lanes == 1);
    CHECK(bucket.info()->hash == BucketHash::parse("abc"));
    CHECK(bucket.info()->limit == 2);
    CHECK(bucket.info()->remaining == 2);
    CHECK(bot.limiter.timeout_for(route) == 0ns);
    auto first = bucket.try_acquire();
    auto second = bucket.try_acquire();
    CHECK((first && second));
    CHECK_FALSE(bucket.try_acquire()); // no probe, and no more than the limit
    CHECK(bot.limiter.stats().buckets == 2);
}

TEST_CASE("a handle outlives the limiter: acquires fail with closed, answers are accepted") {
    asio::io_context io;
    Clock clock;
    std::optional<Manager> limiter(std::in_place, io, sluice::Options(), clock);
    const Bucket bucket = limiter->bucket(route);
    const Bucket copy = bucket;
    auto ticket = bucket.try_acquire();
    limiter.reset();
    CHECK_FALSE(copy.try_acquire());
    Ending ending;
    copy.async_acquire(into(ending));
    error_code thrown;
    auto wait = [&]() -> asio::awaitable<void> {
        try {
            (void)co_await bucket.acquire();
        } catch (const sluice::Error& error) {
            thrown = error.code();
        }
    };
    asio::co_spawn(io, wait(), asio::detached);
    clock.run(io);
    CHECK(ending.failed(errc::closed));
    CHECK(thrown == errc::closed);
    ticket->update(answer(5, 4, 5s));
    CHECK(bucket.info()->remaining == 4);
}
