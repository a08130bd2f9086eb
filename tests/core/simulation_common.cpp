// SPDX-License-Identifier: MIT
//
// Whole bots on servers that count one hash over all channels, and on servers that do not while
// others use the token too. A seed replays a run.
#include "support/catch.hpp"
#include "support/share.hpp"
#include "support/simulation.hpp"
#include "support/simulation_random.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace {

using namespace sluice;
using namespace sluice::tests;
using testing::Algorithm;

std::vector<Request> one_each(std::size_t channels, Duration at = 0s) {
    std::vector<Request> requests;
    for (std::size_t channel = 0; channel < channels; ++channel)
        requests.push_back({0, channel, at});
    return requests;
}

World hundred(Algorithm algorithm, std::int64_t limit) {
    World world;
    world.limits = {{algorithm, limit, 5s}};
    world.channels = 100;
    world.common = true;
    world.global_limit = 50;
    return world;
}

/// Up to 31 channels, and requests all over them.
std::vector<Request> spread(World& world, Dice& dice) {
    world.channels = 2 + dice.below(30);
    std::vector<Request> requests = random_requests(world);
    for (Request& request : requests)
        request.channel = dice.below(world.channels);
    return requests;
}

Duration last_of(const std::vector<Request>& requests) {
    Duration last{0};
    for (const Request& request : requests)
        last = std::max(last, request.at);
    return last;
}

/// Up to three times as much as the bot does.
void add_second_user(World& world, const std::vector<Request>& requests, Dice& dice) {
    const std::size_t count = requests.size() * (1 + dice.below(3));
    for (std::size_t i = 0; i < count; ++i)
        world.others.push_back({dice.below(world.limits.size()), dice.below(world.channels),
                                dice.between(0ns, last_of(requests) + 1s)});
}

} // namespace

TEST_CASE("a counter over 100 channels costs the 429s that are under way when it shows",
          "[simulation]") {
    for (const Algorithm algorithm : {Algorithm::fixed, Algorithm::gcra, Algorithm::sliding_log}) {
        for (const std::int64_t limit : {1, 2, 3, 5, 10}) {
            CAPTURE(static_cast<int>(algorithm), limit);
            const World world = hundred(algorithm, limit);
            const Outcome outcome = Simulation(world, one_each(100)).run();
            CHECK(outcome.joined == 1);
            CHECK(outcome.refused == static_cast<std::size_t>(50 - limit)); // 950 to 4560 without
            CHECK(outcome.ratio() <= 1.02);
        }
    }
}

TEST_CASE("a common counter that was joined once refuses nobody again", "[simulation]") {
    World world = hundred(Algorithm::fixed, 5);
    std::vector<Request> requests = one_each(100);
    for (const Request& request : one_each(100, 200s))
        requests.push_back(request);
    CHECK(Simulation(world, requests).run().refused == 45);
    world.stops = {150s}; // and not in the next process either
    CHECK(Simulation(world, requests).run().refused == 45);
}

TEST_CASE("thousands of channels on one counter wait in one bucket soon", "[simulation]") {
    World world = hundred(Algorithm::gcra, 50);
    world.channels = 2'000 / share;
    const Outcome outcome = Simulation(world, one_each(world.channels)).run();
    CHECK(outcome.joined == 1);
    CHECK(outcome.refused <= 50);
    CHECK(outcome.ratio() <= 1.02);
}

TEST_CASE("counters by channel are never joined while nobody else uses the token", "[simulation]") {
    for (std::uint64_t seed = 0; seed < 3'000 / share; ++seed) {
        CAPTURE(seed);
        World world = random_world(seed);
        Dice dice(seed * 31 + 7);
        const std::vector<Request> requests = spread(world, dice);
        world.loss = seed % 2 == 0 ? 0.05 : 0;
        world.cancelled = seed % 3 == 0 ? 0.05 : 0;
        const Outcome outcome = Simulation(world, requests).run();
        CHECK(outcome.joined == 0);
        world.joins = false;
        CHECK(Simulation(world, requests).run().digest == outcome.digest);
    }
}

TEST_CASE("a second user or a restart has counters by channel joined hardly ever, and never long",
          "[simulation]") {
    std::size_t joined = 0;
    std::size_t with = 0;
    std::size_t without = 0;
    for (std::uint64_t seed = 0; seed < 2'000 / share; ++seed) {
        CAPTURE(seed);
        World world = random_world(seed);
        Dice dice(seed * 31 + 7);
        const std::vector<Request> requests = spread(world, dice);
        if (seed % 2 == 0) add_second_user(world, requests, dice);
        if (seed % 3 == 0) {
            const Duration last = last_of(requests) + 1s;
            world.stops = {dice.between(0ns, last), dice.between(0ns, last)};
            world.saves = dice.one_in(2);
        }
        const Outcome outcome = Simulation(world, requests).run();
        world.joins = false;
        const Outcome apart = Simulation(world, requests).run();
        joined += outcome.joined;
        with += outcome.refused;
        without += apart.refused;
        if (outcome.joined != 0) CHECK(outcome.makespan < 2 * apart.makespan);
    }
    CHECK(joined <= 20 / share + 1);                                               // of 2,000
    CHECK(static_cast<double>(with) <= 1.02 * static_cast<double>(without) + 100); // by chance
}

TEST_CASE("random counters over all channels refuse far less", "[simulation]") {
    std::size_t with = 0;
    std::size_t without = 0;
    for (std::uint64_t seed = 0; seed < 1'000 / share; ++seed) {
        CAPTURE(seed);
        World world = random_world(seed);
        world.common = true;
        Dice dice(seed * 31 + 7);
        std::vector<Request> requests = spread(world, dice);
        for (Request& request : requests)
            request.at *= static_cast<std::int64_t>(world.channels);
        if (seed % 2 == 0) add_second_user(world, requests, dice);
        with += Simulation(world, requests).run().refused;
        world.joins = false;
        without += Simulation(world, requests).run().refused;
    }
    CHECK(static_cast<double>(with) <= 0.6 * static_cast<double>(without));
}
