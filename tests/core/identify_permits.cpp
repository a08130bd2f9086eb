// SPDX-License-Identifier: MIT
//
// What becomes of identify permits of which nothing is heard in time.
#include <sluice/core/identify_schedule.hpp>

#include "support/catch.hpp"
#include "support/identify_bench.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace {

using namespace sluice::tests::identifying;

TEST_CASE(
    "a permit that nobody settles counts as sent when its time is over, and its key goes on") {
    Bench bench(limit_of(1));
    bench.wait_all({0, 1, 2});
    CHECK(bench.granted(false) == Shards{0});
    CHECK(bench.schedule.next_wake() == start + 1s);
    CHECK(bench.at(1s).empty());
    CHECK(bench.schedule.permits_out() == 0);
    CHECK(bench.schedule.counters().expired == 1);
    CHECK(bench.schedule.remaining() == 999);
    CHECK(bench.schedule.next_wake() == start + 6500ms);
    CHECK(bench.at(6500ms - 1ns).empty());
    CHECK(bench.at(6500ms) == Shards{1});
    CHECK(bench.at(12s) == Shards{2});
}

TEST_CASE("time that is over counts from the deadline, also if nobody looked at that moment") {
    Bench bench(limit_of(1));
    IdentifyPlace held;
    REQUIRE(bench.schedule.try_admit(0, false, bench.now, held));
    CHECK(bench.schedule.next_wake() == never); // nobody waits
    IdentifyPlace next;
    CHECK_FALSE(bench.schedule.try_admit(1, false, start + 6500ms - 1ns, next));
    CHECK(bench.schedule.try_admit(1, false, start + 6500ms, next));
}

TEST_CASE("a permit that is held and is the last of the day wakes other keys as well") {
    IdentifySettings settings;
    settings.day = 1000s;
    Bench bench({1, 0, 1s, 2}, settings);
    IdentifyPlace held;
    REQUIRE(bench.at(2s).empty());
    REQUIRE(bench.schedule.try_admit(0, false, bench.now, held));
    bench.wait(1);
    CHECK(bench.schedule.next_wake() == start + 3s);
    CHECK(bench.at(3s).empty());
    CHECK(bench.schedule.next_wake() == start + 3s + 1000500ms);
    CHECK(bench.at(3s + 1000500ms) == Shards{1});
}

TEST_CASE(
    "who says late that it was sent is believed: the key closes anew, the day counts it once") {
    Bench bench(limit_of(1));
    IdentifyWaiter& first = bench.wait(0);
    bench.wait(1);
    bench.granted(false);
    CHECK(bench.at(4s).empty());
    bench.schedule.sent(first.place, bench.now);
    CHECK(bench.schedule.remaining() == 999);
    CHECK(bench.at(9500ms - 1ns).empty());
    CHECK(bench.at(9500ms) == Shards{1});
}

TEST_CASE("an answer to an identify that was sent late saves what is left of the margin") {
    Bench bench(limit_of(1));
    IdentifyWaiter& first = bench.wait(0);
    bench.wait(1);
    bench.granted(false);
    bench.at(2s);
    bench.schedule.sent(first.place, bench.now);
    bench.at(2100ms);
    bench.schedule.answered(first.place, bench.now);
    CHECK(bench.at(7100ms - 1ns).empty());
    CHECK(bench.at(7100ms) == Shards{1});
}

TEST_CASE("what is sent after the next of its key has gone keeps its distance from the one after") {
    for (const bool answers : {false, true}) {
        Bench bench(limit_of(1));
        IdentifyWaiter& first = bench.wait(0);
        IdentifyWaiter& second = bench.wait(1);
        bench.wait(2);
        bench.granted(false);
        CHECK(bench.at(6500ms) == Shards{1});
        bench.at(8s);
        bench.schedule.sent(first.place, bench.now);
        if (answers) bench.schedule.answered(second.place, bench.now); // says nothing of the first
        CHECK(bench.schedule.remaining() == 997);                      // one too few, if anything
        CHECK(bench.at(13500ms - 1ns).empty());
        CHECK(bench.at(13500ms) == Shards{2});
    }
}

TEST_CASE("a permit given back late gives its turn and its identify back, if none has gone since") {
    Bench bench(limit_of(1));
    IdentifyWaiter& first = bench.wait(0);
    IdentifyWaiter& second = bench.wait(1);
    bench.wait(2);
    bench.granted(false);
    CHECK(bench.at(3s).empty());
    CHECK(bench.schedule.remaining() == 999);
    bench.schedule.cancel(first.place, bench.now);
    CHECK(bench.schedule.remaining() == 999); // the second's
    CHECK(bench.granted(false) == Shards{1});
    CHECK(bench.at(9500ms) == Shards{2}); // the second's second, and its five and the margin
    bench.schedule.cancel(second.place, bench.now);
    CHECK(bench.schedule.remaining() == 998);
    CHECK(bench.at(14s).empty());
}

TEST_CASE("an identify given back late stays spent once a limit has been told") {
    Bench bench(limit_of(1));
    IdentifyWaiter& first = bench.wait(0);
    bench.granted(false);
    bench.at(2s);
    bench.schedule.update(limit_of(1, 500), bench.now);
    CHECK(bench.schedule.remaining() == 499); // nobody knows whether Discord has it in
    bench.schedule.cancel(first.place, bench.now);
    CHECK(bench.schedule.remaining() == 499);
}

TEST_CASE("a permit dropped in time counts as sent then; one dropped later changes nothing") {
    Bench bench(limit_of(2));
    IdentifyWaiter& prompt = bench.wait(0);
    IdentifyWaiter& late = bench.wait(1);
    bench.granted(false);
    bench.now = start + 600ms;
    bench.schedule.dropped(prompt.place, bench.now);
    bench.wait_all({2, 3});
    CHECK(bench.at(6s).empty());
    bench.schedule.dropped(late.place, bench.now);
    CHECK_FALSE(late.place.taken);
    CHECK(bench.at(6100ms) == Shards{2});
    CHECK(bench.at(6500ms) == Shards{3});
    CHECK(bench.schedule.remaining() == 996);
}

TEST_CASE(
    "whoever waits behind permits that nobody settles has a wake time ahead and gets a turn") {
    std::mt19937_64 random(23);
    for (int round = 0; round < 500; ++round) {
        IdentifySettings settings;
        settings.reserve = static_cast<std::int64_t>(random() % 3);
        settings.day = 100s;
        settings.permit_timeout = std::chrono::milliseconds(1 + random() % 9000);
        const std::int64_t total = settings.reserve + 1 + static_cast<std::int64_t>(random() % 9);
        Bench bench({total, static_cast<std::int64_t>(random() % 10) % (total + 1),
                     std::chrono::seconds(random() % 100), 1 + random() % 4},
                    settings);
        for (int step = 0; step < 60; ++step) {
            if (random() % 3 != 0) bench.wait(random() % 8, random() % 4 == 0);
            if (random() % 9 == 0) {
                bench.schedule.update({total, total, 100s, 1 + random() % 4}, bench.now);
            }
            IdentifyWaiter* const any =
                bench.waiters.empty() ? nullptr : &bench.waiters[random() % bench.waiters.size()];
            if (any != nullptr && any->place.taken) {
                switch (random() % 8) {
                case 0:
                    bench.schedule.sent(any->place, bench.now);
                    break;
                case 1:
                    bench.schedule.cancel(any->place, bench.now);
                    break;
                case 2:
                    bench.schedule.answered(any->place, bench.now);
                    break;
                case 3:
                    bench.schedule.dropped(any->place, bench.now);
                    break;
                default:
                    break;
                }
            }
            bench.granted(false);
            if (random() % 2 == 0) {
                bench.now += std::chrono::milliseconds(random() % 3000);
                bench.schedule.advance(bench.now);
            }
            bench.granted(false);
        }
        CAPTURE(round);
        int wakes = 0;
        while (bench.schedule.queued() != 0) {
            const Time wake = bench.schedule.next_wake();
            REQUIRE(wake != never);
            REQUIRE(wake > bench.now);
            REQUIRE(++wakes < 1000);
            bench.now = wake;
            bench.schedule.advance(bench.now);
            bench.granted(false); // nobody ever says a word
        }
    }
}

} // namespace
