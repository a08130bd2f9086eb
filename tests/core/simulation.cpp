// SPDX-License-Identifier: MIT
//
// Whole bots against exact servers in virtual time. Each run replays from its seed. What must hold
// in every run (order per lane, places back to zero, nobody left without a wake time) is checked by
// the harness, which throws; what is judged over many runs is checked here.
#include "support/simulation.hpp"

#include "support/catch.hpp"
#include "support/share.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace {

using namespace sluice;
using namespace sluice::tests;
using testing::Algorithm;

constexpr std::array algorithms{Algorithm::fixed, Algorithm::gcra, Algorithm::sliding_log};

class Dice {
public:
    explicit Dice(std::uint64_t seed) : random_(seed * 7919 + 1) {}

    std::size_t below(std::size_t end) { return random_() % end; }
    bool one_in(std::size_t n) { return below(n) == 0; }
    double part() { return static_cast<double>(below(1000)) / 1000; }
    Duration between(Duration low, Duration high) {
        return low + Duration(static_cast<std::int64_t>(
                         below(static_cast<std::size_t>((high - low).count()) + 1)));
    }
    /// Steady one time in three.
    Range range(Duration low, Duration high) {
        const Duration a = between(low, high);
        const Duration b = one_in(3) ? a : between(low, high);
        return {std::min(a, b), std::max(a, b)};
    }
    template <class T, std::size_t N>
    const T& of(const std::array<T, N>& choices) {
        return choices[below(N)];
    }
    std::mt19937_64& engine() { return random_; }

private:
    std::mt19937_64 random_;
};

struct Bot {
    World world;
    std::vector<Request> requests;
};

void choose_limits(World& world, Dice& dice) {
    constexpr std::array<Duration, 8> periods{250ms, 500ms, 1s, 2s, 5s, 10s, 60s, 600s};
    const bool simple = dice.one_in(2);
    const std::size_t hashes = simple ? 1 : 1 + dice.below(3);
    const std::size_t routes = simple ? 1 : hashes + dice.below(3);
    world.limits.clear();
    world.routes.clear();
    for (std::size_t i = 0; i < hashes; ++i) {
        world.limits.push_back(
            {dice.of(algorithms), static_cast<std::int64_t>(1 + dice.below(50)), dice.of(periods)});
    }
    for (std::size_t i = 0; i < routes; ++i)
        world.routes.push_back(i < hashes ? i : dice.below(hashes));
    if (dice.one_in(3)) world.channels = 1 + dice.below(4);
}

void choose_network(World& world, Dice& dice) {
    constexpr std::array globals{Algorithm::fixed, Algorithm::aligned, Algorithm::gcra,
                                 Algorithm::sliding_log};
    const std::size_t kind = dice.below(3);
    world.forward = world.backward = {10ms, 300ms};
    if (kind == 0) {
        const Duration forward = dice.between(5ms, 150ms);
        const Duration backward = dice.between(5ms, 150ms);
        world.forward = {forward, forward};
        world.backward = {backward, backward};
    } else if (kind == 1) {
        world.forward = dice.range(10ms, 300ms);
        world.backward = dice.range(10ms, 300ms);
    }
    if (dice.one_in(2)) {
        world.connect = dice.range(0ms, 300ms);
        world.connection_life = dice.range(5s, 60s);
    }
    if (dice.one_in(3)) world.upload = dice.range(0ms, 500ms);
    world.marks_sent = dice.one_in(4);
    if (dice.one_in(2)) world.skew = dice.between(0ms, 20ms);
    if (dice.one_in(4)) {
        world.global_limit = 50;
        world.global_algorithm = dice.of(globals);
    }
}

double rate_of(const World& world) {
    double rate = 0;
    for (const testing::Limit& limit : world.limits) {
        rate +=
            static_cast<double>(limit.limit) / std::chrono::duration<double>(limit.period).count();
    }
    return rate * static_cast<double>(world.channels);
}

/// Poisson arrivals from half to twice the limit, or bursts with pauses of up to two periods.
std::vector<Request> choose_requests(const World& world, Dice& dice) {
    const std::size_t count = 20 + dice.below(180);
    const bool poisson = dice.one_in(2);
    std::exponential_distribution<> gap(rate_of(world) * (0.5 + 1.5 * dice.part()));
    Duration pause = Duration::max();
    for (const testing::Limit& limit : world.limits)
        pause = std::min(pause, 2 * limit.period);
    std::vector<Request> requests;
    Duration at{0};
    for (std::size_t i = 0; i < count; ++i) {
        if (poisson) {
            at += Duration(static_cast<std::int64_t>(gap(dice.engine()) * 1e9));
        } else if (dice.one_in(8)) {
            at += dice.between(0ns, pause);
        }
        requests.push_back({dice.below(world.routes.size()), dice.below(world.channels), at});
    }
    return requests;
}

Bot random_bot(std::uint64_t seed) {
    Dice dice(seed);
    Bot bot;
    bot.world.seed = seed;
    choose_limits(bot.world, dice);
    choose_network(bot.world, dice);
    bot.requests = choose_requests(bot.world, dice);
    return bot;
}

/// A queue longer than one window on one bucket.
Bot long_queue(std::uint64_t seed, Algorithm algorithm, Range delay) {
    constexpr std::array<std::int64_t, 6> limits{1, 2, 3, 5, 10, 30};
    constexpr std::array<Duration, 6> periods{1s, 2s, 5s, 10s, 60s, 600s};
    Dice dice(seed);
    Bot bot;
    const std::int64_t limit = dice.of(limits);
    bot.world.seed = seed;
    bot.world.limits = {{algorithm, limit, dice.of(periods)}};
    bot.world.forward = bot.world.backward = delay;
    bot.requests = burst(static_cast<std::size_t>(limit) + 1 +
                         dice.below(static_cast<std::size_t>(7 * limit)));
    return bot;
}

double mean_ratio(Algorithm algorithm, Range delay) {
    constexpr int runs = 6000 / share;
    double sum = 0;
    std::size_t avoidable = 0;
    for (int seed = 0; seed < runs; ++seed) {
        const Bot bot = long_queue(static_cast<std::uint64_t>(seed), algorithm, delay);
        const Outcome outcome = Simulation(bot.world, bot.requests).run();
        sum += outcome.ratio();
        avoidable += outcome.avoidable;
    }
    CHECK(avoidable == 0);
    return sum / runs;
}

/// All 429s per 1,000 requests at twice the limit.
template <class Change>
double refused_per_thousand(Change change, std::span<const Algorithm> of = algorithms) {
    std::size_t refused = 0;
    std::size_t requests = 0;
    for (std::uint64_t seed = 0; seed < 600 / share; ++seed) {
        for (const Algorithm algorithm : of) {
            Dice dice(seed);
            World world;
            world.seed = seed;
            world.limits = {
                {algorithm, static_cast<std::int64_t>(1 + dice.below(50)), dice.between(1s, 30s)}};
            world.forward = world.backward = dice.range(10ms, 100ms);
            change(world);
            const Duration gap = world.limits[0].period / (2 * world.limits[0].limit);
            std::vector<Request> queue;
            for (int i = 0; i < 100; ++i)
                queue.push_back({0, 0, i * gap});
            const Outcome outcome = Simulation(world, queue).run();
            refused += outcome.refused;
            requests += outcome.requests;
        }
    }
    return 1000.0 * static_cast<double>(refused) / static_cast<double>(requests);
}

} // namespace

TEST_CASE("10,000 random bots get no avoidable 429", "[simulation]") {
    for (std::uint64_t seed = 0; seed < 10'000 / share; ++seed) {
        CAPTURE(seed);
        const Bot bot = random_bot(seed);
        const Outcome outcome = Simulation(bot.world, bot.requests).run();
        REQUIRE(outcome.avoidable == 0);
    }
}

TEST_CASE("a lost answer costs at most one 429, and only if it was a first one", "[simulation]") {
    std::size_t refused = 0;
    for (std::uint64_t seed = 0; seed < 5'000 / share; ++seed) {
        CAPTURE(seed);
        Bot bot = random_bot(seed);
        bot.world.loss = 0.02;
        const Outcome outcome = Simulation(bot.world, bot.requests).run();
        REQUIRE(outcome.avoidable == 0); // the harness forgives one for each lost first answer
        refused += outcome.refused;
    }
    CHECK(refused > 0); // or nothing was put to the test
}

TEST_CASE("requests that are given up leave no place behind", "[simulation]") {
    std::size_t abandoned = 0;
    for (std::uint64_t seed = 0; seed < 3'000 / share; ++seed) {
        CAPTURE(seed);
        Bot bot = random_bot(seed);
        bot.world.cancelled = 0.1;
        bot.world.impatient = 0.2;
        bot.world.loss = seed % 2 == 0 ? 0.02 : 0;
        const Outcome outcome = Simulation(bot.world, bot.requests).run();
        REQUIRE(outcome.avoidable == 0);
        abandoned += outcome.abandoned;
    }
    CHECK(abandoned > 0);
}

TEST_CASE("a bucket that slept goes on as if it had not", "[simulation]") {
    std::size_t slept = 0;
    for (std::uint64_t seed = 0; seed < 2'000 / share; ++seed) {
        CAPTURE(seed);
        Bot bot = random_bot(seed / 2);
        if (seed % 2 == 0) { // they leave the most behind
            for (testing::Limit& limit : bot.world.limits)
                limit.algorithm = Algorithm::sliding_log;
        }
        bot.world.channels += 3; // while one is used another sleeps
        for (Request& request : bot.requests)
            request.channel =
                (request.channel + static_cast<std::size_t>(request.at / 1ns)) % bot.world.channels;
        bot.world.dormant_after = std::chrono::hours(24);
        const Outcome awake = Simulation(bot.world, bot.requests).run();
        bot.world.dormant_after = 0ns;
        const Outcome dormant = Simulation(bot.world, bot.requests).run();
        REQUIRE(dormant.digest == awake.digest);
        slept += dormant.slept;
    }
    CHECK(slept > 10'000 / share);
}

TEST_CASE("what is due at once leaves in the same order, however little is served at a time",
          "[simulation]") {
    int different = 0;
    for (std::uint64_t seed = 0; seed < 2'000 / share; ++seed) {
        CAPTURE(seed);
        Bot bot = random_bot(seed);
        bot.world.channels += 3;
        for (std::size_t i = 0; i < bot.requests.size(); ++i)
            bot.requests[i].channel = i % bot.world.channels;
        bot.world.impatient = seed % 3 == 0 ? 0.2 : 0;
        bot.world.loss = seed % 4 == 0 ? 0.02 : 0;
        if (seed % 2 == 0) bot.world.global_limit = 20;
        const Outcome whole = Simulation(bot.world, bot.requests).run();
        bot.world.serves_at_once = 1;
        const Outcome one_by_one = Simulation(bot.world, bot.requests).run();
        // The credit is reckoned when it is asked for, which is not at the same moments.
        const bool later = one_by_one.makespan > whole.makespan + 100us;
        if (later || one_by_one.order != whole.order) ++different;
        bot.world.rings_late = true;
        const Outcome late = Simulation(bot.world, bot.requests).run();
        REQUIRE(late.avoidable == 0);
    }
    // Those in which an answer comes at the very moment that others are due.
    CHECK(different <= 2);
}

TEST_CASE("with steady delays a queue takes hardly longer than the optimum", "[simulation]") {
    const Range steady{30ms, 30ms};
    CHECK(mean_ratio(Algorithm::fixed, steady) <= 1.02);
    CHECK(mean_ratio(Algorithm::gcra, steady) <= 1.01);
    CHECK(mean_ratio(Algorithm::sliding_log, steady) <= 1.03);
}

TEST_CASE("delays of 10 to 300 ms cost little more than themselves", "[simulation]") {
    const Range jitter{10ms, 300ms};
    CHECK(mean_ratio(Algorithm::fixed, jitter) <= 1.08);
    CHECK(mean_ratio(Algorithm::gcra, jitter) <= 1.07);
    CHECK(mean_ratio(Algorithm::sliding_log, jitter) <= 1.15);
}

TEST_CASE("a sliding log is used to the full where the global limit spreads what it is asked",
          "[simulation]") {
    const auto ratio = [](std::int64_t limit, Duration period, std::size_t each) {
        World world;
        world.limits = {{Algorithm::sliding_log, limit, period}};
        world.channels = 20;
        world.global_limit = 50;
        std::vector<Request> requests;
        for (std::size_t i = 0; i < each * world.channels; ++i)
            requests.push_back({0, i % world.channels, 0s});
        const Outcome outcome = Simulation(world, requests).run();
        CHECK(outcome.refused == 0);
        return outcome.ratio();
    };
    CHECK(ratio(20, 10s, 40) <= 1.02); // 1.42 if each waits for its Reset
    CHECK(ratio(5, 5s, 10) <= 1.04);   // 1.19
    CHECK(ratio(5, 5s, 20) <= 1.02);   // 1.07
}

TEST_CASE("API nodes whose clocks differ cost no 429, and few of sliding logs", "[simulation]") {
    constexpr std::array steady{Algorithm::fixed, Algorithm::gcra};
    constexpr std::array moving{Algorithm::sliding_log};
    for (const Duration skew :
         {Duration(60ms), Duration(100ms), Duration(200ms), Duration(400ms)}) {
        CAPTURE(skew);
        const auto apart = [&](World& world) { world.skew = skew; };
        CHECK(refused_per_thousand(apart, steady) == 0);
        CHECK(refused_per_thousand(apart, moving) <= 4);
    }
}

TEST_CASE("headers that lie or are missing cost few 429s and never hang a lane", "[simulation]") {
    const auto with = [](Headers headers) {
        return refused_per_thousand([headers](World& world) { world.headers = headers; });
    };
    CHECK(with(Headers::whole_seconds) <= 20);
    CHECK(with(Headers::missing_in_30_percent) <= 20);
    CHECK(with(Headers::counted_after_report) <= 20);
    CHECK(with(Headers::limit_zero) <= 20);
}

TEST_CASE("a limit that shrinks, grows or gets another hash mid-run is followed", "[simulation]") {
    for (std::uint64_t seed = 0; seed < 2'000 / share; ++seed) {
        CAPTURE(seed);
        Dice dice(seed);
        World world;
        world.seed = seed;
        const Algorithm algorithm = dice.of(algorithms);
        const auto first = static_cast<std::int64_t>(1 + dice.below(20));
        const auto second = static_cast<std::int64_t>(1 + dice.below(20));
        world.limits = {{algorithm, first, 5s}};
        world.forward = world.backward = dice.range(10ms, 100ms);
        world.changes = {{dice.between(1s, 20s), 0, {algorithm, second, 5s}, dice.one_in(2)}};
        const Outcome outcome = Simulation(world, burst(60)).run(); // throws if anything hangs
        // What was under way when it changed may be refused once; later requests are not.
        REQUIRE(static_cast<std::int64_t>(outcome.refused) <= std::max(first, second));
    }
}

TEST_CASE("a global limit lower than configured is waited out", "[simulation]") {
    for (std::uint64_t seed = 0; seed < 500 / share; ++seed) {
        CAPTURE(seed);
        Bot bot = random_bot(seed);
        bot.world.global_limit = 10;
        bot.world.client_global_limit = 50;
        const Outcome outcome = Simulation(bot.world, bot.requests).run();
        REQUIRE(outcome.decided == outcome.requests + outcome.refused);
    }
}

TEST_CASE("a bot that starts again from a snapshot gets no avoidable 429", "[simulation]") {
    std::size_t stopped = 0;
    const auto avoidable = [&](bool saves) {
        std::size_t sum = 0;
        for (std::uint64_t seed = 0; seed < 3'000 / share; ++seed) {
            CAPTURE(seed);
            Bot bot = random_bot(seed);
            Dice dice(seed);
            bot.world.stops = {dice.between(0s, 5s), dice.between(20s, 60s)};
            bot.world.saves = saves;
            const Outcome outcome = Simulation(bot.world, bot.requests).run();
            if (saves) CHECK(outcome.avoidable == 0);
            sum += outcome.avoidable;
            stopped += outcome.abandoned;
        }
        return sum;
    };
    CHECK(avoidable(true) == 0);
    CHECK(stopped > 0);
    CHECK(avoidable(false) > 0); // one that remembers nothing does
}

TEST_CASE("a plain answer changes what any way of applying it would change", "[simulation]") {
    std::size_t requests = 0;
    std::size_t plain = 0;
    for (std::uint64_t seed = 0; seed < 3'000 / share; ++seed) {
        CAPTURE(seed);
        Bot bot = random_bot(seed);
        bot.world.cancelled = 0.05;
        bot.world.loss = seed % 3 == 0 ? 0.02 : 0;
        if (seed % 4 == 0) { // late answers still carry the hash of before
            Dice dice(seed);
            bot.world.changes = {{dice.between(0s, 10s), 0, bot.world.limits.front(), true}};
        }
        bot.world.plain = false;
        const Outcome stepwise = Simulation(bot.world, bot.requests).run();
        REQUIRE(stepwise.plain == 0);
        bot.world.plain = true;
        const Outcome at_once = Simulation(bot.world, bot.requests).run();
        REQUIRE(at_once.digest == stepwise.digest);
        requests += at_once.requests;
        plain += at_once.plain;
    }
    CHECK(plain > requests / 10);
}
