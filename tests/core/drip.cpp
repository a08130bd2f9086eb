// SPDX-License-Identifier: MIT
//
// The proof that a bucket gives its slots back one by one, against the worked trace of GCRA and
// against exact servers: it must never be found where it is not true, whatever the delays.
#include <sluice/core/drip.hpp>
#include <sluice/testing/fake_limit.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>
#include <vector>

namespace {

using namespace sluice::core;
using namespace std::chrono_literals;
using sluice::testing::Algorithm;
using sluice::testing::Counter;
using sluice::testing::Limit;

constexpr Time start = Time(1h);

/// A request that took 60 ms, seen by a bucket with five slots.
struct Detector : DripDetector {
    void see(Duration sent, std::int64_t remaining, Duration reset_after, Duration took = 60ms) {
        observe(
            {start + sent, start + sent + took, reset_after, static_cast<std::int32_t>(remaining)},
            5 - remaining, 1ms);
    }
};

/// The answers to one request after the other, or several at once, of an exact server, in the order
/// in which they are received.
std::vector<DripSample> samples_of(const Limit& limit, std::mt19937_64& random) {
    const auto delay = [&] { return Duration(random() % 300'000'000); };
    Counter counter(limit);
    std::vector<DripSample> samples;
    Duration now{0};
    for (int i = 0; i < 60; ++i) {
        now += Duration(static_cast<std::int64_t>(
            random() % static_cast<std::uint64_t>(limit.period.count() / limit.limit)));
        if (counter.wait(now) > 0ns) continue;
        counter.spend(now);
        const auto standing = counter.standing(now);
        samples.push_back({start + now - delay(), start + now + delay(),
                           std::chrono::ceil<std::chrono::milliseconds>(standing.reset_after),
                           static_cast<std::int32_t>(standing.remaining)});
    }
    std::sort(samples.begin(), samples.end(),
              [](const auto& a, const auto& b) { return a.received < b.received; });
    return samples;
}

Limit random_limit(Algorithm algorithm, std::mt19937_64& random) {
    return {algorithm, static_cast<std::int64_t>(1 + random() % 50),
            Duration(250ms + std::chrono::milliseconds(random() % 20'000))};
}

} // namespace

TEST_CASE("the worked trace of GCRA is recognised at its second answer", "[R9]") {
    Detector bucket;
    bucket.see(0ms, 4, 1000ms);
    CHECK_FALSE(bucket.drips()); // 5 per 1 s, if it were fixed
    bucket.see(100ms, 3, 1900ms);
    CHECK(bucket.drips());
    CHECK(bucket.interval() == 999ms); // a slot per second, less the last digit
}

TEST_CASE("the proof does not depend on the order of the answers", "[R9]") {
    Detector bucket;
    bucket.see(100ms, 3, 1900ms, 60ms);
    bucket.see(0ms, 4, 1000ms, 500ms); // sent first, answered last
    CHECK(bucket.drips());
}

TEST_CASE("a longer Reset-After of the next window proves nothing", "[R9]") {
    Detector bucket;
    bucket.see(0ms, 4, 1000ms);
    bucket.see(900ms, 3, 100ms);
    bucket.see(1000ms, 4, 1000ms); // may be the next one already
    bucket.see(1200ms, 3, 800ms);
    CHECK_FALSE(bucket.drips());
}

TEST_CASE("growth within what nodes' clocks may differ by proves nothing", "[R9]") {
    Detector bucket;
    bucket.see(0ms, 4, 40ms);
    bucket.see(10ms, 3, 90ms, 20ms);
    CHECK_FALSE(bucket.drips());
}

TEST_CASE("growth between two answers of unknown order proves nothing", "[R9]") {
    Detector bucket;
    bucket.see(0ms, 3, 1900ms, 400ms);
    bucket.see(10ms, 3, 2500ms, 400ms); // both under way at once, and both show the same count
    CHECK_FALSE(bucket.drips());
}

TEST_CASE("answers that no interval explains withdraw the proof", "[R9]") {
    Detector bucket;
    bucket.see(0ms, 4, 1000ms);
    bucket.see(100ms, 3, 1900ms);
    REQUIRE(bucket.drips());
    bucket.see(200ms, 0, 1800ms); // five slots at once would be over 4 s away
    CHECK_FALSE(bucket.drips());
}

TEST_CASE("the interval never exceeds the true one", "[R9]") {
    for (std::uint64_t seed = 0; seed < 500; ++seed) {
        CAPTURE(seed);
        std::mt19937_64 random(seed);
        const Limit limit = random_limit(Algorithm::gcra, random);
        DripDetector detector;
        for (const DripSample& sample : samples_of(limit, random)) {
            detector.observe(sample, limit.limit - sample.remaining, 1ms);
            REQUIRE(detector.interval() <= limit.period / limit.limit);
        }
    }
}

TEST_CASE("most dripping buckets are recognised, however jittery the path", "[R9]") {
    int recognised = 0;
    for (std::uint64_t seed = 0; seed < 500; ++seed) {
        std::mt19937_64 random(seed);
        Limit limit = random_limit(Algorithm::gcra, random);
        limit.limit = std::max<std::int64_t>(2, limit.limit); // a single slot looks fixed
        limit.period = limit.limit * 200ms;
        DripDetector detector;
        for (const DripSample& sample : samples_of(limit, random))
            detector.observe(sample, limit.limit - sample.remaining, 1ms);
        recognised += detector.drips() ? 1 : 0;
    }
    CHECK(recognised > 400);
}

TEST_CASE("neither a fixed window nor a sliding log ever seems to drip", "[R9]") {
    for (std::uint64_t seed = 0; seed < 1000; ++seed) {
        CAPTURE(seed);
        std::mt19937_64 random(seed);
        const Limit limit =
            random_limit(seed % 2 == 0 ? Algorithm::fixed : Algorithm::sliding_log, random);
        DripDetector detector;
        for (const DripSample& sample : samples_of(limit, random)) {
            detector.observe(sample, limit.limit - sample.remaining, 1ms);
            REQUIRE_FALSE(detector.drips());
        }
    }
}
