// SPDX-License-Identifier: MIT
//
// A thousand random bots in virtual time: from one shard to 2,048, at every max_concurrency, with
// reconnect storms, lost connections, limits that change and days that end. No identify comes too
// early, no day is overrun, and starting takes no longer than Discord's own arithmetic demands.
#include <sluice/gateway/identify_queue.hpp>
#include <sluice/testing/manual_clock.hpp>

#include "support/catch.hpp"
#include "support/identify_world.hpp"
#include "support/share.hpp"

#include <chrono>
#include <cmath>
#include <cstdint>
#include <random>

namespace {

using namespace sluice::tests::identifying;
using namespace std::chrono_literals;
using sluice::gateway::SessionStartLimit;
using sluice::testing::GatewayComplaints;
using sluice::tests::share;

/// Evenly over the orders of magnitude.
std::int64_t magnitude(Random& random, double most) {
    const double exponent = std::uniform_real_distribution(0.0, std::log(most + 1))(random);
    return static_cast<std::int64_t>(std::exp(exponent));
}

Habits random_habits(Random& random) {
    Habits habits;
    habits.tells_answers = random() % 2 == 0;
    habits.drops_permits = random() % 4 == 0;
    return habits;
}

TEST_CASE("a thousand random bots start in time, and nothing they do is refused or too much") {
    Random random(1000);
    std::uint64_t identifies = 0;
    for (int round = 0; round < 1000 / share; ++round) {
        const std::int64_t shards = magnitude(random, 2048);
        SessionStartLimit limit{5000, 5000, std::chrono::hours(1 + random() % 24),
                                magnitude(random, 128)};
        limit.remaining -= static_cast<std::int64_t>(random() % 2900);
        CAPTURE(round, shards, limit.max_concurrency, limit.remaining);
        IdentifyBot bot(random, limit, random_habits(random));
        const Moment begin = bot.clock.now();
        bot.start(static_cast<std::uint64_t>(shards));
        bot.finish();
        const std::int64_t waves = (shards + limit.max_concurrency - 1) / limit.max_concurrency;
        REQUIRE(bot.ready() == static_cast<std::uint64_t>(shards));
        REQUIRE(bot.last_ready() - begin <= waves * 5500ms + 1s);
        REQUIRE(bot.server.complaints() == GatewayComplaints());
        identifies += bot.server.identifies();
    }
    CHECK(identifies > 100'000 / share);
}

TEST_CASE("bots that hold their permits for ever start all the same, a second per wave later") {
    Random random(14);
    for (int round = 0; round < 200 / share; ++round) {
        const std::int64_t shards = magnitude(random, 300);
        const SessionStartLimit limit{1000, 1000, 20h, magnitude(random, 64)};
        CAPTURE(round, shards, limit.max_concurrency);
        IdentifyBot bot(random, limit, {.keeps_permits = true});
        const Moment begin = bot.clock.now();
        bot.start(static_cast<std::uint64_t>(shards));
        bot.finish();
        const std::int64_t waves = (shards + limit.max_concurrency - 1) / limit.max_concurrency;
        REQUIRE(bot.ready() == static_cast<std::uint64_t>(shards));
        REQUIRE(bot.last_ready() - begin <= waves * 6500ms + 1s);
        REQUIRE(bot.server.complaints() == GatewayComplaints());
    }
}

TEST_CASE("a thousand bots in storms, with lost connections and changing limits, overrun nothing") {
    Random random(4014);
    std::uint64_t identifies = 0;
    int days_waited = 0;
    for (int round = 0; round < 1000 / share; ++round) {
        const auto shards = static_cast<std::uint64_t>(magnitude(random, 300));
        SessionStartLimit limit{0, 0, std::chrono::minutes(1 + random() % 1440),
                                magnitude(random, 128)};
        limit.total = static_cast<std::int64_t>(shards) + magnitude(random, 1000);
        limit.remaining = static_cast<std::int64_t>(random() % 1000) % (limit.total + 1);
        Habits habits = random_habits(random);
        habits.failures = static_cast<int>(random() % 20);
        // Who drops permits at the grant says that nothing comes between it and the write.
        if (!habits.drops_permits) habits.write = between(random, 0ms, 2s);
        CAPTURE(round, shards, limit.max_concurrency, limit.total, limit.remaining);
        IdentifyBot bot(random, limit, habits);
        bot.start(shards);
        std::uint64_t expected = shards;
        for (int storm = 0; storm < 4; ++storm) {
            bot.pass(between(random, 0ms, 1min));
            if (random() % 4 == 0) bot.pass(between(random, 0ms, 20h));
            if (random() % 2 == 0) bot.ask_for_limit();
            if (random() % 3 == 0) bot.change(magnitude(random, 128));
            const std::uint64_t percent = random() % 101; // the others resume, which is free
            for (std::uint64_t shard = 0; shard < shards; ++shard) {
                if (random() % 100 >= percent) continue;
                bot.reconnect(shard);
                ++expected;
            }
        }
        const Moment begin = bot.clock.now();
        bot.finish();
        if (bot.clock.now() - begin > 30min) ++days_waited;
        REQUIRE(bot.waiting() == 0);
        REQUIRE(bot.ready() == expected);
        REQUIRE(bot.server.complaints() == GatewayComplaints());
        identifies += bot.server.identifies();
    }
    CHECK(identifies > 100'000 / share);
    CHECK(days_waited > 50 / share);
}

} // namespace
