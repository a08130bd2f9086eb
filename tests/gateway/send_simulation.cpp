// SPDX-License-Identifier: MIT
//
// A thousand random bots in virtual time: shards that identify, are cut off and come back, bursts,
// presence updates, member lists, heartbeats on time and on demand, slow writes, and a way to the
// server that takes 10 to 300 ms. The server closes nothing, drops nothing and refuses nothing,
// whatever the shape of its windows; no heartbeat waits; and a bot that always has something to
// send sends as much as it may.
#include <sluice/gateway/send_limiter.hpp>
#include <sluice/testing/manual_clock.hpp>

#include "support/catch.hpp"
#include "support/gateway_connection.hpp"
#include "support/share.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <nlohmann/json.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace sluice::tests::sending;
using sluice::testing::GatewayComplaints;
using sluice::tests::share;

TEST_CASE("a thousand random bots are never closed, refused or kept from their heartbeats") {
    std::mt19937_64 random(4008);
    std::uint64_t events = 0;
    std::uint64_t resumed = 0;
    for (int round = 0; round < 1000 / share; ++round) {
        const Shape shape = round % 2 == 0 ? Shape::sliding_log : Shape::fixed;
        const std::uint64_t max_concurrency = 1ULL << (random() % 5);
        SimulatedBot bot(random, shape, max_concurrency);
        const int connections = 1 + static_cast<int>(random() % 4);
        CAPTURE(round, connections, max_concurrency);
        for (int i = 0; i < connections; ++i) {
            Load load = random_load(random);
            if (random() % 2 == 0) load.lifetime = 5s + up_to(random, 2min);
            bot.connect(load);
        }
        bot.run(5min);
        REQUIRE(bot.server.complaints() == GatewayComplaints());
        REQUIRE(bot.late_heartbeats() == 0);
        REQUIRE(bot.crowded_heartbeats() == 0);
        events += bot.server.events();
        resumed += bot.beginnings() - bot.server.identifies();
    }
    CHECK(events > 500'000 / share);
    CHECK(resumed > 1'000 / share);
}

TEST_CASE("a connection that always has something to send uses all but what is kept") {
    std::mt19937_64 random(120);
    for (int round = 0; round < 40; ++round) {
        SimulatedBot bot(random, round % 2 == 0 ? Shape::sliding_log : Shape::fixed);
        Load load = random_load(random);
        load.burst = 500;
        load.gap = 0s;
        load.write = 0s;
        Connection& connection = bot.connect(load);
        bot.run(10min);
        CAPTURE(round, load.interval.count(), connection.ordinary);
        CHECK(bot.server.complaints().closes_4008 == 0);
        const std::int64_t usable = 120 - connection.sends.stats().reserved;
        CHECK(connection.ordinary + 1 >= usable * (10min / 61s + 1)); // and the identify
    }
}

TEST_CASE("what another process has spent is refused once, repeated in time and then answered") {
    std::mt19937_64 random(8);
    for (int round = 0; round < 40; ++round) {
        CAPTURE(round);
        SimulatedBot bot(random, Shape::sliding_log);
        Load load = random_load(random);
        load.guilds = 5;
        bot.connect(load);
        for (std::uint64_t guild = 1; guild <= 5; ++guild)
            bot.server.spend_member_list(guild, bot.now());
        bot.run(5min);
        const GatewayComplaints& seen = bot.server.complaints();
        CHECK(seen.closes_4008 == 0);
        CHECK(seen.rate_limited <= 5);
        CHECK(bot.repeated() == seen.rate_limited);
        CHECK(bot.late_heartbeats() == 0);
    }
}

TEST_CASE("a network that stalls for no longer than the margin closes nothing") {
    std::mt19937_64 random(5);
    for (int round = 0; round < 40; ++round) {
        SimulatedBot bot(random, round % 2 == 0 ? Shape::sliding_log : Shape::fixed);
        Load load = random_load(random);
        load.stall = 2s + Duration(random() % 8'000) * 1'000'000;
        load.margin = load.stall + 300ms;
        bot.connect(load);
        CAPTURE(round, load.stall.count());
        bot.run(10min);
        CHECK(bot.server.complaints().closes_4008 == 0);
        CHECK(bot.late_heartbeats() == 0);
    }
}

} // namespace
