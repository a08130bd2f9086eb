// SPDX-License-Identifier: MIT
//
// The window algorithms alone: exact times, and the properties that define each of them.
#include <sluice/testing/fake_limit.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <vector>

namespace {

using namespace std::chrono_literals;
using sluice::testing::Algorithm;
using sluice::testing::Counter;
using sluice::testing::Duration;
using sluice::testing::Limit;

Duration up_to(Duration most, std::mt19937_64& random) {
    return Duration{std::uniform_int_distribution<Duration::rep>{0, most.count()}(random)};
}

std::vector<Duration> accepted_of_random_arrivals(const Limit& limit, std::uint64_t seed) {
    std::mt19937_64 random{seed};
    Counter counter{limit};
    std::vector<Duration> accepted;
    Duration now{};
    for (int i = 0; i < 3000; ++i) {
        now += up_to(2 * limit.period / limit.limit, random);
        if (counter.wait(now) > 0ns) continue;
        counter.spend(now);
        accepted.push_back(now);
    }
    return accepted;
}

int spend_all(Counter& counter, Duration now) {
    int spent = 0;
    for (; counter.wait(now) == 0ns; ++spent)
        counter.spend(now);
    return spent;
}

} // namespace

TEST_CASE("a fixed window opens at the first request and gives everything back at its end") {
    Counter counter{{Algorithm::fixed, 3, 10s}};
    CHECK(counter.wait(4s) == 0ns);
    counter.spend(4s);
    CHECK(counter.standing(5s).reset == 14s);
    CHECK(spend_all(counter, 13s) == 2);
    CHECK(counter.wait(14s - 1ns) == 1ns);
    CHECK(spend_all(counter, 14s) == 3);
    CHECK(counter.standing(14s).reset == 24s);
}

TEST_CASE("an aligned window ends at a multiple of its period, whenever the first request came") {
    Counter counter{{Algorithm::aligned, 2, 1s}};
    CHECK(spend_all(counter, 5700ms) == 2);
    CHECK(counter.wait(5700ms) == 300ms);
    CHECK(spend_all(counter, 6s) == 2);
    CHECK(counter.wait(6s) == 1s);
}

TEST_CASE("a sliding log gives each request back one period after it arrived") {
    Counter counter{{Algorithm::sliding_log, 2, 1s}};
    counter.spend(0ms);
    counter.spend(600ms);
    CHECK(counter.wait(700ms) == 300ms);
    CHECK(counter.standing(700ms).remaining == 0);
    CHECK(counter.standing(700ms).reset_after == 900ms);
    CHECK(counter.standing(1000ms).remaining == 1);
    counter.spend(1000ms);
    CHECK(counter.wait(1000ms) == 600ms);
    CHECK(counter.standing(2000ms).remaining == 2);
}

TEST_CASE("a sliding log never accepts more than the limit within any period") {
    const Limit limit{Algorithm::sliding_log, 7, 1s};
    const auto accepted = accepted_of_random_arrivals(limit, 3);
    for (std::size_t i = 7; i < accepted.size(); ++i)
        REQUIRE(accepted[i] - accepted[i - 7] >= limit.period);
}

TEST_CASE("GCRA agrees with exact fractions when the period is no multiple of the limit") {
    const auto limit = GENERATE(Limit{Algorithm::gcra, 3, 1s}, Limit{Algorithm::gcra, 7, 1s + 1ns},
                                Limit{Algorithm::gcra, 49, 333ms});
    Counter counter{limit};
    std::mt19937_64 random{11};
    Duration now{};
    // In units of 1/limit nanoseconds everything is whole.
    std::int64_t all_back = 0;
    for (int i = 0; i < 20000; ++i) {
        now += up_to(2 * limit.period / limit.limit, random);
        const std::int64_t time = now.count() * limit.limit;
        const std::int64_t next = std::max(all_back, time) + limit.period.count();
        const std::int64_t early = next - time - limit.period.count() * limit.limit;
        const std::int64_t wait = early <= 0 ? 0 : (early + limit.limit - 1) / limit.limit;
        REQUIRE(counter.wait(now).count() == wait);
        if (wait != 0) continue;
        counter.spend(now);
        all_back = next;
        const std::int64_t spare = limit.period.count() * limit.limit - (all_back - time);
        REQUIRE(counter.standing(now).remaining == spare / limit.period.count());
    }
}

TEST_CASE("GCRA accepts a full burst at once and then one request every period over limit") {
    Counter counter{{Algorithm::gcra, 3, 1s}};
    CHECK(spend_all(counter, 0s) == 3);
    CHECK(counter.wait(0s) == 333'333'334ns);
    CHECK(counter.wait(333'333'333ns) == 1ns);
    CHECK(spend_all(counter, 333'333'334ns) == 1);
    CHECK(spend_all(counter, 1000s) == 3);
}

TEST_CASE("the wait a counter tells is the shortest that is long enough") {
    const auto algorithm =
        GENERATE(Algorithm::fixed, Algorithm::aligned, Algorithm::gcra, Algorithm::sliding_log);
    Counter counter{{algorithm, 7, 1s}};
    Duration now = 123'456'789ns;
    for (int i = 0; i < 200; ++i) {
        spend_all(counter, now);
        const Duration wait = counter.wait(now);
        REQUIRE(wait > 0ns);
        REQUIRE(counter.wait(now + wait - 1ns) == 1ns);
        REQUIRE(counter.wait(now + wait) == 0ns);
        now += wait + Duration{i};
    }
}

TEST_CASE("a counter is full again exactly at its reset") {
    const auto algorithm =
        GENERATE(Algorithm::fixed, Algorithm::aligned, Algorithm::gcra, Algorithm::sliding_log);
    Counter counter{{algorithm, 3, 1s}};
    spend_all(counter, 100ms);
    const auto standing = counter.standing(100ms);
    CHECK(standing.reset - 100ms == standing.reset_after);
    CHECK_FALSE(counter.full(standing.reset - 1ns));
    CHECK(counter.full(standing.reset));
    CHECK(spend_all(counter, standing.reset) == 3);
}

TEST_CASE("a counter keeps what was spent when its limit is changed") {
    const auto algorithm = GENERATE(Algorithm::fixed, Algorithm::gcra, Algorithm::sliding_log);
    Counter counter{{algorithm, 5, 5s}};
    for (int i = 0; i < 4; ++i)
        counter.spend(0s);
    counter.adapt({algorithm, 3, 5s});
    CHECK(counter.standing(0s).remaining == 0);
    CHECK(counter.wait(0s) > 0s);
    counter.adapt({algorithm, 50, 5s});
    CHECK(counter.wait(0s) == 0s);
}

TEST_CASE("a counter starts afresh when its algorithm is changed") {
    Counter counter{{Algorithm::fixed, 1, 5s}};
    counter.spend(0s);
    counter.adapt({Algorithm::gcra, 1, 5s});
    CHECK(counter.wait(0s) == 0s);
}

TEST_CASE("limits that mean nothing or cannot be kept exactly are refused") {
    CHECK_THROWS_AS(Counter({Algorithm::fixed, 0, 1s}), std::invalid_argument);
    CHECK_THROWS_AS(Counter({Algorithm::fixed, -1, 1s}), std::invalid_argument);
    CHECK_THROWS_AS(Counter({Algorithm::fixed, 1, 0s}), std::invalid_argument);
    CHECK_THROWS_AS(Counter({Algorithm::gcra, 1'000'000'000, 3600s}), std::invalid_argument);
    // Seen on role creation and in discord-api-docs#5646: among the largest ever shown.
    CHECK_NOTHROW(Counter({Algorithm::gcra, 50'000, 102'737'719ms}));
}
