// SPDX-License-Identifier: MIT
//
// The traps that other limiters fall into, one test each. Measured on the peers (see the README) or
// read in their sources. The harness checks in every run that requests of a lane leave in order and
// that places come back to zero.
#include "support/catch.hpp"
#include "support/simulation.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace {

using namespace sluice;
using namespace sluice::tests;
using testing::Algorithm;

World with_limit(Algorithm algorithm, std::int64_t limit, Duration period) {
    World world;
    world.limits = {{algorithm, limit, period}};
    return world;
}

/// `count` requests of one route to each of the channels, all there from the start.
std::vector<Request> to_channels(std::size_t channels, std::size_t count) {
    std::vector<Request> requests;
    for (std::size_t channel = 0; channel < channels; ++channel)
        requests.insert(requests.end(), count, Request{0, channel, 0ns});
    return requests;
}

} // namespace

TEST_CASE("20 cold channels of one route do not queue behind each other") {
    World world = with_limit(Algorithm::fixed, 5, 5s);
    world.channels = 20;
    world.global_limit = 50;
    const Outcome outcome = Simulation(world, to_channels(20, 10)).run();
    CHECK(outcome.refused == 0);
    CHECK(outcome.ratio() < 1.04);
}

TEST_CASE("two routes found to share a hash keep 0 429s for what was queued before") {
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        CAPTURE(seed);
        World world = with_limit(Algorithm::fixed, 10, 10s);
        world.seed = seed;
        world.routes = {0, 0};
        world.forward = world.backward = {20ms, 40ms};
        std::vector<Request> requests;
        for (std::size_t i = 0; i < 40; ++i)
            requests.push_back({i % 2, 0, 0ns});
        const Outcome outcome = Simulation(world, requests).run();
        REQUIRE(outcome.refused == 0);
        REQUIRE(outcome.ratio() < 1.008);
    }
}

TEST_CASE("a new id needs no 429 to be learned") {
    World world = with_limit(Algorithm::fixed, 5, 5s);
    world.routes = {0, 0};
    world.channels = 2;
    std::vector<Request> requests;
    // The first channel shows that both routes share a bucket; the second is met afterwards.
    for (std::size_t i = 0; i < 10; ++i)
        requests.push_back({i % 2, 0, 0ns});
    for (std::size_t i = 0; i < 20; ++i)
        requests.push_back({i % 2, 1, 1s});
    CHECK(Simulation(world, requests).run().refused == 0);
}

TEST_CASE("100 messages queued at start-up to one channel leave in order through the renaming") {
    World world = with_limit(Algorithm::fixed, 5, 5s);
    world.forward = world.backward = {10ms, 300ms};
    const Outcome outcome = Simulation(world, burst(100)).run(); // throws when one is overtaken
    CHECK(outcome.refused == 0);
    CHECK(outcome.decided == 100);
}

TEST_CASE("a cancelled request leaves no place behind, queued, granted or sent") {
    World world = with_limit(Algorithm::gcra, 5, 5s);
    world.cancelled = 0.5;
    const Outcome outcome = Simulation(world, burst(100)).run(); // throws when a place is left
    CHECK(outcome.abandoned > 20);
    CHECK(outcome.refused == 0);
}

TEST_CASE("after refusals the order is kept") {
    // The server's global limit is lower than the client believes, so requests are refused.
    World world = with_limit(Algorithm::fixed, 50, 5s);
    world.global_limit = 10;
    world.client_global_limit = 50;
    world.forward = world.backward = {10ms, 100ms};
    const Outcome outcome = Simulation(world, burst(60)).run(); // throws when one is overtaken
    CHECK(outcome.global_refused > 0);
    CHECK(outcome.decided == 60 + outcome.refused);
}

TEST_CASE("a lost answer never hangs a lane") {
    World world = with_limit(Algorithm::fixed, 1, 2s);
    world.loss = 0.5;
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        CAPTURE(seed);
        world.seed = seed;
        REQUIRE(Simulation(world, burst(10)).run().decided >= 10); // throws when one is left
    }
}

TEST_CASE("a limit that shrinks mid-run costs what was under way, no more") {
    World world = with_limit(Algorithm::fixed, 10, 5s);
    world.changes = {{12s, 0, {Algorithm::fixed, 5, 5s}, false}};
    CHECK(Simulation(world, burst(60)).run().refused <= 5);
}

TEST_CASE("a limit that grows mid-run is used") {
    World world = with_limit(Algorithm::fixed, 5, 5s);
    world.changes = {{12s, 0, {Algorithm::fixed, 20, 5s}, false}};
    const Outcome outcome = Simulation(world, burst(60)).run();
    CHECK(outcome.refused == 0);
    CHECK(outcome.makespan < 31s); // 15 in the first windows, then 20 each, instead of 56 s
}
