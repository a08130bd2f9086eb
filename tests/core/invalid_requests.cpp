// SPDX-License-Identifier: MIT
//
// The sliding count of invalid requests: exact while it grows, cautious by less than a slice when
// it falls, and a spacing that cannot lead to a ban.
#include <sluice/core/invalid_requests.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <random>

namespace {

using namespace std::chrono_literals;
using sluice::core::Duration;
using sluice::core::InvalidRequestLimits;
using sluice::core::InvalidRequests;
using sluice::core::Time;

constexpr Time start = Time(1h);

InvalidRequests with(std::int64_t count, const InvalidRequestLimits& limits = {}) {
    InvalidRequests invalid(limits);
    for (std::int64_t i = 0; i < count; ++i)
        invalid.add(start);
    return invalid;
}

} // namespace

TEST_CASE("invalid requests count for ten minutes and are forgotten soon after", "[R18]") {
    InvalidRequests invalid = with(7);
    CHECK(invalid.count(start) == 7);
    CHECK(invalid.count(start + 10min - 1ns) == 7);
    CHECK(invalid.count(start + 10min) == 7); // a slice is forgotten when all of it is over
    CHECK(invalid.count(start + 10min + 10s) == 0);
}

TEST_CASE("a window that slides never counts fewer than there were, nor a slice too many",
          "[R18]") {
    const std::uint64_t seed = GENERATE(1U, 2U, 3U, 4U, 5U);
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    InvalidRequests invalid{InvalidRequestLimits()};
    std::deque<Time> known;
    Time now = start;
    for (int i = 0; i < 20'000; ++i) {
        now += Duration(static_cast<std::int64_t>(random() % 400'000'000));
        if (random() % 1000 == 0) now += std::chrono::seconds(random() % 1500);
        invalid.add(now);
        known.push_back(now);
        while (known.front() < now - 10min - 10s)
            known.pop_front();
        std::int64_t within = 0;
        for (auto at = known.rbegin(); at != known.rend() && *at > now - 10min; ++at)
            ++within;
        const std::int64_t counted = invalid.count(now);
        REQUIRE(counted >= within);
        REQUIRE(counted <= static_cast<std::int64_t>(known.size()));
    }
}

TEST_CASE("time that seems to run backwards forgets nothing") {
    InvalidRequests invalid = with(3);
    invalid.add(start - 1h);
    CHECK(invalid.count(start - 2h) == 4);
}

TEST_CASE("below the first threshold requests are not spaced, from there on they are", "[R18]") {
    InvalidRequests invalid = with(4'999);
    CHECK(!invalid.slows(start));
    CHECK(invalid.spacing(start) == 0ns);
    invalid.add(start);
    CHECK(invalid.slows(start));
    CHECK(!invalid.stops(start));
    CHECK(invalid.spacing(start) == Duration(10min + 10s) / 4'000);
}

TEST_CASE("at the second threshold everything stops, until enough is forgotten", "[R18]") {
    InvalidRequests invalid = with(8'999);
    CHECK(!invalid.stops(start));
    invalid.add(start + 1min);
    CHECK(invalid.stops(start + 1min));
    const Time until = invalid.stops_until(start + 1min);
    CHECK(until >= start + 10min);
    CHECK(until <= start + 10min + 10s);
    CHECK(invalid.stops(until - 1ns));
    CHECK(!invalid.stops(until));
    CHECK(invalid.count(until) == 1);
}

TEST_CASE("what does not stop stops until now") {
    InvalidRequests invalid = with(10);
    CHECK(invalid.stops_until(start + 5s) == start + 5s);
}

TEST_CASE("spaced requests that are all invalid never reach the second threshold", "[R18]") {
    const InvalidRequestLimits limits{50, 90, 10min};
    InvalidRequests invalid = with(89, limits);
    Time now = start;
    for (int i = 0; i < 500; ++i) {
        now += invalid.spacing(now);
        invalid.add(now);
        REQUIRE(!invalid.stops(now));
    }
}

TEST_CASE("thresholds and periods that make no sense neither divide by zero nor hang") {
    InvalidRequests none({0, 0, 0ns});
    none.add(start);
    CHECK(none.spacing(start) >= 0ns);
    CHECK(none.stops_until(start + 1h) >= start);
    InvalidRequests negative({-5, -9, -1s});
    negative.add(start);
    CHECK(negative.spacing(start + 1h) <= 0ns);
}
