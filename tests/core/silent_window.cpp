// SPDX-License-Identifier: MIT
//
// A counter that describes itself in its 429s only: what one of them tells, and what is a guess.
#include <sluice/core/silent_window.hpp>

#include "support/catch.hpp"

#include <chrono>

namespace {

using namespace std::chrono_literals;
using namespace sluice::core;

constexpr Time start{1h};
constexpr Duration none{0};

/// Of a request that was 60 ms under way.
Observation refusal(Time received, std::int64_t limit, Duration reset_after) {
    Observation seen;
    seen.sent = received - 60ms;
    seen.received = received;
    seen.limit = limit;
    seen.remaining = 0;
    seen.reset_after = reset_after;
    return seen;
}

SilentWindow refused(std::int64_t limit, Duration reset_after, Duration wait) {
    SilentWindow window;
    window.refuse(refusal(start, limit, reset_after), wait);
    return window;
}

} // namespace

TEST_CASE("a wait well below Reset-After shows a leaky bucket, and how fast it drips") {
    SilentWindow window = refused(5, 4600ms, 600ms); // one per second
    CHECK(window.leaky());
    CHECK(window.available(start + 599ms, 0, none) == 0);
    CHECK(window.available(start + 610ms, 0, none) == 1);
    CHECK(window.available(start + 1610ms, 0, none) == 2);
    CHECK(window.available(start + 4610ms, 0, none) == 5);
}

TEST_CASE("a wait that is Reset-After shows a fixed window") {
    SilentWindow window = refused(5, 4600ms, 4600ms);
    CHECK_FALSE(window.leaky());
    CHECK(window.available(start + 4600ms, 0, none) == 0);
    CHECK(window.available(start + 4601ms, 0, none) == 5);
}

TEST_CASE("a wait in whole seconds may be one that was rounded up") {
    CHECK_FALSE(refused(5, 4600ms, 5s).leaky());
    CHECK(refused(5, 4600ms, 1s).leaky());
}

TEST_CASE("behind an end that a 429 has told the whole limit goes, behind a guess one") {
    SilentWindow window = refused(5, 4s, 4s);
    Time now = start + 4001ms;
    REQUIRE(window.available(now, 0, none) == 5);
    window.succeed(now, now + 60ms, none);
    CHECK(window.available(now + 60ms, 0, none) == 4);
    now += 60ms + 4001ms;
    CHECK(window.available(now, 0, none) == 1);
    CHECK(window.available(now, 1, none) == 0);
    CHECK(window.asks());
    SECTION("until that has passed") {
        window.succeed(now, now + 60ms, none);
        CHECK(window.available(now + 60ms, 0, none) == 4);
    }
    SECTION("and when it is refused the window lasts longer") {
        window.refuse(refusal(now + 60ms, 5, 970ms), 970ms);
        now += 60ms + 971ms;
        REQUIRE(window.available(now, 0, none) == 5);
        window.succeed(now, now + 60ms, none);
        CHECK(window.period() > 5s);
        CHECK(window.period() < 5100ms);
    }
    SECTION("until it is lost, which may have spent one") {
        window.lose(now, none);
        CHECK(window.available(now, 0, none) == 1);
    }
}

TEST_CASE("a second 429 before the whole limit has passed shows how far apart the slots are") {
    SilentWindow window = refused(5, 1s, 1s);
    Time now = start + 1001ms;
    REQUIRE(window.available(now, 0, none) == 5);
    window.succeed(now, now + 60ms, none);
    window.refuse(refusal(now + 61ms, 5, 940ms), 940ms);
    const Time end = now + 61ms + 940ms; // one passed from start + 1 s to here
    CHECK(window.leaky());
    CHECK(window.available(end - 1ms, 0, none) == 0);
    CHECK(window.available(end + 1ms, 0, none) == 1);
    CHECK(window.available(end + 1010ms, 0, none) == 2);
    CHECK(SilentWindow(window).available(end + 4010ms, 0, none) == 5);
    SECTION("which is a guess, tried with the next success, then after two, then after four") {
        now = end + 1ms;
        for (const int trust : {1, 2, 4}) {
            CAPTURE(trust);
            for (int i = 0; i < trust; ++i) {
                const Time before = now;
                while (window.available(now, 0, none) == 0)
                    now += 10ms;
                CHECK((i == 0 || now - before > 900ms));
                CHECK(now - before < 1100ms);
                window.succeed(now, now, none);
            }
            CHECK(window.available(now, 0, none) == 1); // although no slot is back
            window.refuse(refusal(now + 61ms, 5, 940ms), 940ms);
            CHECK(window.available(now + 61ms, 0, none) == 0);
        }
    }
    SECTION("which is wrong if more pass") {
        now = end + 1ms;
        for (int i = 0; i < 5; ++i, now += 60ms) {
            REQUIRE(window.available(now, 0, none) >= 1);
            window.succeed(now, now + 60ms, none);
        }
        CHECK(window.available(now, 0, none) == 5);
    }
}

TEST_CASE("no slot of a leaky bucket is further away than the time between two") {
    SilentWindow window = refused(5, 4s, 4s);
    const Time now = start + 4001ms;
    REQUIRE(window.available(now, 0, none) == 5);
    window.succeed(now, now, none);
    window.succeed(now, now, none);
    window.refuse(refusal(now + 61ms, 5, 3940ms), 3940ms); // somebody else took the others
    CHECK_FALSE(window.leaky());
    CHECK(window.available(now + 4002ms, 0, none) == 5);
}

TEST_CASE("a limit that no slots could add up to is not guessed at") {
    SilentWindow window = refused(2'000'000'000, 1h, 1h);
    const Time now = start + 1h + 1ms;
    REQUIRE(window.available(now, 0, none) > 0);
    window.succeed(now, now + 60ms, none);
    window.refuse(refusal(now + 61ms, 2'000'000'000, 1h), 1h);
    CHECK_FALSE(window.leaky());
    CHECK(window.period() < 3h);
}

TEST_CASE("those that are refused together are one refusal") {
    SilentWindow window = refused(5, 1s, 1s);
    const Time now = start + 1001ms;
    REQUIRE(window.available(now, 0, none) == 5);
    window.succeed(now, now + 60ms, none);
    window.refuse(refusal(now + 60ms, 5, 940ms), 940ms);
    REQUIRE(window.leaky());
    const Duration period = window.period();
    for (int i = 0; i < 3; ++i)
        window.refuse(refusal(now + 60ms, 5, 940ms), 940ms);
    CHECK(window.leaky());
    CHECK(window.period() == period);
}

TEST_CASE("a silent window says when to look again, and never now") {
    for (const Duration wait : {600ms, 4600ms}) {
        SilentWindow window = refused(5, 4600ms, wait);
        Time now = start;
        while (window.available(now, 0, none) < 5) {
            const Time next = window.next_change(now, window.available(now, 0, none), none);
            REQUIRE(next > now);
            REQUIRE(next < start + 5s);
            now = next;
        }
        CHECK(window.all_back(now));
    }
}

TEST_CASE("a silent window foretells when the last of many goes") {
    const SilentWindow leaky = refused(5, 4600ms, 600ms);
    CHECK(leaky.predict(start, 0, 0, 0, none).value() <= start + 602ms);
    CHECK(leaky.predict(start, 0, 0, 9, none).value() >= start + 9590ms);
    const SilentWindow fixed = refused(5, 4600ms, 4600ms);
    CHECK(fixed.predict(start, 0, 0, 4, none).value() == start + 4601ms);
    CHECK(fixed.predict(start, 0, 0, 5, none).value() == start + 4601ms + 4600ms);
}

TEST_CASE("another limit begins a silent window anew") {
    SilentWindow window = refused(5, 4600ms, 600ms);
    window.refuse(refusal(start + 1s, 3, 2s), 2s);
    CHECK(window.limit() == 3);
    CHECK_FALSE(window.leaky());
}
