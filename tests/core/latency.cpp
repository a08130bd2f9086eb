// SPDX-License-Identifier: MIT
#include <sluice/core/latency.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>
#include <vector>

namespace {

using namespace sluice::core;
using namespace std::chrono_literals;

constexpr Time start = Time(1h);

/// One after another, the first of them answered at `start`.
Latency with_samples(const std::vector<Duration>& round_trips, Duration cap = 200ms) {
    Latency latency(cap);
    Time now = start - (round_trips.empty() ? 0ms : round_trips.front());
    for (const Duration round_trip : round_trips)
        latency.sample(round_trip, now += round_trip);
    return latency;
}

/// Smoothing in integers leaves some nanoseconds of deviation for ever.
bool is_about(Duration credit, Duration expected) {
    return credit <= expected && credit > expected - 1us;
}

std::vector<Duration> jittery(std::size_t count, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    const auto way = [&] { return Duration(10ms) + Duration(random() % 290'000'000); };
    std::vector<Duration> round_trips(count);
    for (Duration& round_trip : round_trips)
        round_trip = way() + way();
    return round_trips;
}

} // namespace

TEST_CASE("a steady path earns its whole round trip as credit") {
    CHECK(is_about(with_samples(std::vector<Duration>(50, 60ms)).credit(start), 60ms));
}

TEST_CASE("a few samples earn no credit, however much they agree") {
    CHECK(with_samples({}).credit(start) == 0ms);
    CHECK(with_samples(std::vector<Duration>(5, 60ms)).credit(start) == 0ms);
}

TEST_CASE("no credit exceeds the cap") {
    CHECK(with_samples(std::vector<Duration>(50, 900ms)).credit(start) == 200ms);
    CHECK(with_samples(std::vector<Duration>(50, 900ms), 20ms).credit(start) == 20ms);
}

TEST_CASE("no credit exceeds the least round trip") {
    std::vector<Duration> round_trips(50, 60ms);
    round_trips[7] = 55ms;
    const Duration credit = with_samples(round_trips).credit(start);
    CHECK(credit <= 55ms);
    CHECK(credit > 30ms);
}

TEST_CASE("a jittery path earns none") {
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        CAPTURE(seed);
        REQUIRE(with_samples(jittery(100, seed)).credit(start) == 0ms);
    }
}

TEST_CASE("a burst whose answers come sorted by their delay earns none either") {
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        CAPTURE(seed);
        std::vector<Duration> round_trips = jittery(8 + seed % 8, seed);
        std::sort(round_trips.begin(), round_trips.end());
        Latency latency(200ms);
        for (const Duration round_trip : round_trips) {
            latency.sample(round_trip, start + round_trip);
            REQUIRE(latency.credit(start + round_trip) <= 20ms); // the least that is possible
        }
    }
}

TEST_CASE("a burst that one connection keeps in order earns none, however alike its round trips") {
    std::mt19937_64 random(2);
    const auto way = [&] { return Duration(20ms) + Duration(random() % 80'000'000); };
    for (int run = 0; run < 200; ++run) {
        CAPTURE(run);
        Latency latency(200ms);
        Time now = start;
        for (int burst = 0; burst < 5; ++burst) { // fewer than would prove anything
            Time there = now;
            Time back = now;
            for (std::uint64_t order = 1; order <= 50; ++order) {
                there = std::max(there, now + way());
                back = std::max(back, there + way());
                latency.sample(back - now, back, order);
            }
            REQUIRE(latency.credit(back) <= 40ms); // the least that is possible
            now = back + 1s;
        }
    }
}

TEST_CASE("where answers overtake each other all of a burst count") {
    Latency latency(200ms);
    for (std::uint64_t order = 100; order > 0; --order)
        latency.sample(order == 50 ? 60ms : 61ms, start + (order == 50 ? 60ms : 61ms), order);
    CHECK(latency.credit(start + 61ms) > 50ms);
}

TEST_CASE("what may have waited in the client earns no credit, even where answers overtake") {
    Latency latency(200ms);
    for (std::uint64_t order = 100; order > 0; --order)
        latency.sample(120ms, start + 120ms, order, MeasuredFrom::issue);
    CHECK(latency.credit(start + 120ms) == 0ms);
    latency.sample(120ms, start + 240ms, 101, MeasuredFrom::issue_alone);
    CHECK(latency.credit(start + 240ms) == 0ms);
    latency.sample(120ms, start + 360ms, 102, MeasuredFrom::issue_alone);
    CHECK(is_about(latency.credit(start + 360ms), 120ms));
    latency.sample(60ms, start + 420ms, 103, MeasuredFrom::issue_alone);
    CHECK(latency.credit(start + 420ms) == 0ms);
}

TEST_CASE("what the path once was is forgotten within four minutes") {
    Latency latency = with_samples(std::vector<Duration>(50, 60ms));
    CHECK(latency.valid_until() == start + 4min);
    CHECK(is_about(latency.credit(start + 4min - 1ns), 60ms));
    CHECK(latency.credit(start + 4min) == 0ms);
}

TEST_CASE("a path that has become shorter counts at once, one that became longer after a while") {
    Latency latency = with_samples(std::vector<Duration>(50, 60ms));
    for (int i = 0; i < 50; ++i)
        latency.sample(30ms, start);
    CHECK(latency.credit(start) <= 30ms);
    Time now = start;
    for (int i = 0; i < 600; ++i)
        latency.sample(90ms, now += 1s);
    CHECK(is_about(latency.credit(now), 90ms));
}

TEST_CASE("a request that came too early halves the credit, and time restores it") {
    Latency latency = with_samples(std::vector<Duration>(50, 60ms));
    latency.distrust(start);
    CHECK(is_about(latency.credit(start), 30ms));
    latency.distrust(start);
    CHECK(is_about(latency.credit(start), 15ms));
    Time now = start;
    for (int i = 0; i < 1200; ++i)
        latency.sample(60ms, now += 1s);
    CHECK(is_about(latency.credit(now), 60ms));
}

TEST_CASE("whatever refusals teach, no credit is above the cap") {
    Latency latency = with_samples(std::vector<Duration>(10, 60ms), 500us);
    CHECK(latency.credit(start) == 500us);
    latency.distrust(start);
    CHECK(latency.credit(start) <= 500us);
}

TEST_CASE("a clock that went backwards is no sample") {
    Latency latency = with_samples(std::vector<Duration>(50, 60ms));
    latency.sample(-1ms, start);
    CHECK(is_about(latency.credit(start), 60ms));
    CHECK(latency.mean() == 60ms);
}

TEST_CASE("an answer leaves one connection idle, for five seconds and for one request") {
    IdleConnections connections;
    CHECK_FALSE(connections.take(start));
    connections.add(start);
    CHECK(connections.take(start + 5s));
    CHECK_FALSE(connections.take(start + 5s));
    connections.add(start);
    CHECK_FALSE(connections.take(start + 5s + 1ns));
}

TEST_CASE("the youngest idle connection is taken first") {
    IdleConnections connections;
    connections.add(start);
    connections.add(start + 4s);
    CHECK(connections.take(start + 6s));       // the younger
    CHECK_FALSE(connections.take(start + 6s)); // the older is too old
}

TEST_CASE("more idle connections than are counted are merely cold") {
    IdleConnections connections;
    for (int i = 0; i < 200; ++i)
        connections.add(start);
    int warm = 0;
    while (connections.take(start))
        ++warm;
    CHECK(warm == 64);
}
