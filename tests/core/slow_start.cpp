// SPDX-License-Identifier: MIT
#include <sluice/core/slow_start.hpp>

#include "support/catch.hpp"

#include <chrono>

namespace {

using namespace sluice::core;
using namespace std::chrono_literals;

constexpr Time start = Time(1h);

} // namespace

TEST_CASE("nothing is in the way of who has never been stopped") {
    SlowStart begin;
    CHECK(begin.idle());
    CHECK(begin.opens(start) == start);
    begin.pass(start);
    begin.land(start);
    begin.succeed(start);
    CHECK(begin.idle());
}

TEST_CASE("a refusal closes until its time, and a shorter one does not end it", "[R14]") {
    SlowStart begin;
    CHECK(begin.refuse(start, start + 60ms, 2s) == 2s);
    CHECK(begin.refuse(start, start + 60ms, 1s) == 1s);
    CHECK(begin.opens(start + 100ms) == start + 2060ms);
    CHECK(begin.closed_until(start + 100ms) == start + 2060ms);
    CHECK(begin.opens(start + 2060ms) == start + 2060ms);
}

TEST_CASE("an answer that never comes holds up the others for a while only") {
    SlowStart begin;
    begin.refuse(start, start, 2s);
    const Time first = start + 2s;
    begin.pass(first);
    CHECK(begin.opens(first) == first + SlowStart::patience);
    const Time second = first + SlowStart::patience;
    begin.pass(second);
    CHECK(begin.opens(second) == second + SlowStart::patience);
    begin.land(first); // overdue: it makes no room
    CHECK(begin.opens(second) > second);
    begin.land(second);
    CHECK(begin.opens(second) == second);
}

TEST_CASE("a wait that proves too short doubles, however long it was told to be", "[R11]") {
    SlowStart begin;
    Time now = start;
    for (const Duration wait : {60s, 120s, 240s, 480s}) {
        CHECK(begin.refuse(now, now + 60ms, 60s) == wait);
        now += 60ms + wait;
    }
    CHECK(begin.refuse(now, now, 24h) == 24h); // longer than any growth
    now += 24h;
    begin.succeed(now);
    CHECK(begin.refuse(now + 1s, now + 1s, 60s) == 60s);
}

TEST_CASE("a wait of a nanosecond grows until it is felt") {
    SlowStart begin;
    Time now = start;
    int refused = 0;
    for (; now < start + 10min; ++refused)
        now += 60ms + begin.refuse(now, now + 60ms, 1ns);
    CHECK(refused <= 12); // as after one of nothing
}

TEST_CASE("after so many successes nothing is in the way any more") {
    SlowStart begin;
    begin.refuse(start, start, 1s);
    begin.succeed(start); // sent before: it shows nothing
    Time now = start + 1s;
    for (int i = 1; i < SlowStart::wide; ++i) {
        CHECK_FALSE(begin.idle());
        begin.pass(now);
        begin.land(now);
        begin.succeed(now);
        now += 60ms;
    }
    CHECK(begin.idle());
}
