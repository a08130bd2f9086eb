// SPDX-License-Identifier: MIT
//
// Options out of range: a time that means for ever, and one below 0. Neither may overflow, and each
// does what it says.
#include <sluice/options.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace {

using namespace sluice::tests;
using sluice::Address;
using sluice::Options;
using sluice::Ticket;

constexpr Duration for_ever = Duration::max();
constexpr Duration below_zero = Duration::min();
constexpr Duration years = std::chrono::years(9);

/// Of one request after another in each of so many channels, answered after 50 ms.
std::vector<Duration> grants(const Options& options, std::uint64_t channels, int each) {
    VirtualBot bot(options);
    const auto start = bot.clock.now();
    std::vector<Duration> granted;
    const auto run = [&](std::uint64_t channel) -> asio::awaitable<void> {
        for (int i = 0; i < each; ++i) {
            Ticket ticket = co_await bot.limiter.acquire(create_message(channel));
            granted.push_back(bot.clock.now() - start);
            co_await bot.clock.sleep(50ms);
            ticket.update(answer(1, 0, 950ms));
        }
    };
    for (std::uint64_t channel = 1; channel <= channels; ++channel)
        co_spawn(bot.io, run(channel), asio::detached);
    bot.clock.run(bot.io);
    return granted;
}

/// How many of so many requests, each in a channel of its own and answered at once, go now.
int go_at_once(VirtualBot& bot, int requests) {
    int gone = 0;
    for (int i = 0; i < requests; ++i) {
        const auto channel = static_cast<std::uint64_t>(1'000 + i);
        if (auto ticket = bot.limiter.try_acquire(create_message(channel))) {
            ticket->update({.status = 200});
            ++gone;
        }
    }
    return gone;
}

} // namespace

TEST_CASE("a slot of the global limit that may be held for ever is held until its answer") {
    const auto usual = grants({}, 200, 1);
    REQUIRE(usual.size() == 200);
    CHECK(usual.back() >= 3s);
    CHECK(usual.back() <= 3200ms);
    CHECK(grants({.longest_global_hold = for_ever}, 200, 1) == usual);
    CHECK(grants({.longest_global_hold = below_zero}, 200, 1) == usual);
}

TEST_CASE("a global limit for ever lets its number go and no more") {
    VirtualBot bot({.global = {.period = for_ever}});
    CHECK(go_at_once(bot, 60) == 50);
    bot.pass(24h * 365);
    CHECK(go_at_once(bot, 60) == 0);
}

TEST_CASE("whoever waits behind several periods without end waits for ever") {
    VirtualBot bot({.global = {.period = for_ever}});
    CHECK(go_at_once(bot, 60) == 50);
    std::vector<Ending> endings(2'000);
    for (std::size_t i = 0; i < endings.size(); ++i)
        bot.limiter.async_acquire(create_message(i + 1), into(endings[i]));
    bot.turn();
    CHECK(bot.limiter.timeout_for(create_message(999'999)) > years);
    bot.limiter.close();
    bot.turn();
}

TEST_CASE("the global limit may become one for ever, or none") {
    VirtualBot bot;
    bot.limiter.set_global({.limit = 10, .period = for_ever});
    CHECK(go_at_once(bot, 60) == 10);
    bot.pass(24h);
    CHECK(go_at_once(bot, 60) == 0);
    bot.limiter.set_global({.limit = 10, .period = below_zero});
    CHECK(go_at_once(bot, 60) == 60);
}

TEST_CASE("a credit without bound is what the way to Discord takes") {
    const auto usual = grants({.max_credit = 1h}, 1, 600);
    REQUIRE(usual.size() == 600);
    CHECK(grants({.max_credit = for_ever}, 1, 600) == usual);
    CHECK(grants({.max_credit = below_zero}, 1, 600) == grants({.max_credit = 0s}, 1, 600));
}

TEST_CASE("a retry margin without end is waited for") {
    VirtualBot bot({.retry_margin = for_ever});
    auto ticket = bot.limiter.try_acquire(create_message(1));
    REQUIRE(ticket);
    CHECK(ticket->update(user_429(1s)).after > years);
    CHECK(bot.limiter.timeout_for(create_message(1)) > years);
    bot.limiter.update(create_message(2), global_429(1s));
    CHECK(bot.limiter.timeout_for(create_message(3)) > years);
}

TEST_CASE("idle buckets are kept for ever, or not at all") {
    const auto kept = [](Duration idle_time) {
        VirtualBot bot({.global = {.limit = 0}, .idle_time = idle_time});
        go_at_once(bot, 100);
        for (int i = 0; i < 100; ++i) {
            bot.pass(1h);
            bot.look();
        }
        return bot.limiter.stats().buckets;
    };
    CHECK(kept(for_ever) >= 100);
    CHECK(kept(below_zero) <= 1);
    CHECK(kept(below_zero) == kept(0s));
}

TEST_CASE("collect takes a time out of range") {
    VirtualBot bot;
    go_at_once(bot, 10);
    bot.pass(1min);
    CHECK(bot.limiter.collect(for_ever) == 0);
    CHECK(bot.limiter.collect(below_zero) == 10);
}

TEST_CASE("a sleep for ever does not end") {
    VirtualBot bot;
    bool ended = false;
    const auto run = [&]() -> asio::awaitable<void> {
        co_await bot.limiter.sleep(for_ever);
        ended = true;
    };
    co_spawn(bot.io, run(), asio::detached);
    bot.pass(years);
    CHECK_FALSE(ended);
}

TEST_CASE("invalid requests may count for ever") {
    auto address = std::make_shared<Address>(
        sluice::AddressOptions{.slow_at = 5, .stop_at = 10, .period = for_ever});
    VirtualBot bot({.address = address});
    for (int i = 0; i < 8; ++i)
        bot.limiter.update(create_message(1), {.status = 403});
    CHECK(bot.limiter.try_acquire(create_message(2)));
    bot.pass(24h * 365);
    CHECK_FALSE(bot.limiter.try_acquire(create_message(2)));
    for (int i = 0; i < 2; ++i)
        bot.limiter.update(create_message(1), {.status = 403});
    bot.pass(24h * 365);
    Ending ending;
    bot.limiter.async_acquire(create_message(2), into(ending));
    bot.turn();
    CHECK(ending.failed(sluice::errc::too_many_invalid_requests));
    CHECK(bot.limiter.stats().invalid_requests == 10);
}

TEST_CASE("a negative max_wait takes what is free and refuses every wait, as 0 does") {
    VirtualBot bot;
    const auto max_wait = GENERATE(-1ns, Duration(0), Duration::min());
    const auto ended = [&] {
        Ending ending;
        bot.limiter.async_acquire(create_message(1), {.max_wait = max_wait}, into(ending));
        bot.turn();
        return ending;
    };
    const Ending free = ended();
    CHECK(free.granted());
    CHECK(ended().failed(sluice::errc::wait_too_long));
}
