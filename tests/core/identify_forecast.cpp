// SPDX-License-Identifier: MIT
//
// What is foretold of identifies, against what happens then.
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

TEST_CASE("a turn is foretold behind all that wait in its key, and now where nobody does") {
    Bench bench(limit_of(2));
    CHECK(bench.schedule.forecast(0, false, bench.now) == start);
    bench.wait_all({0, 2, 4});
    bench.granted();
    bench.now = start + 1s;
    CHECK(bench.schedule.forecast(6, false, bench.now) == start + 16500ms);
    CHECK(bench.schedule.forecast(1, false, bench.now) == bench.now);
}

TEST_CASE("behind a permit that is held the turn is foretold for when it counts as sent") {
    Bench bench(limit_of(1));
    IdentifyWaiter& first = bench.wait(0);
    bench.granted(false);
    CHECK(bench.schedule.forecast(1, false, bench.now) == start + 6500ms);
    bench.now = start + 300ms;
    bench.schedule.sent(first.place, bench.now);
    CHECK(bench.schedule.forecast(1, false, bench.now) == start + 5800ms);
    bench.schedule.answered(first.place, bench.now);
    CHECK(bench.schedule.forecast(1, false, bench.now) == start + 5300ms);
}

TEST_CASE("a day that is spent puts the turn behind its end, and is nothing to the reserve") {
    IdentifySettings settings;
    settings.reserve = 1;
    Bench bench(limit_of(1, 1, 1h), settings);
    CHECK(bench.schedule.forecast(0, false, bench.now) == start + 1h + 1ms);
    CHECK(bench.schedule.forecast(0, true, bench.now) == start);
    bench.wait(1);
    CHECK(bench.schedule.forecast(0, false, bench.now) == start + 1h + 1ms + 5500ms);
    CHECK(bench.schedule.forecast(0, true, bench.now) == start);
}

TEST_CASE("what only an update can bring, and what is for ever, is never") {
    Bench none({0, 0, 1h, 1});
    CHECK(none.schedule.forecast(0, false, none.now) == never);
    IdentifySettings settings;
    settings.interval = settings.margin = longest_setting;
    Bench once(limit_of(1), settings);
    for (std::uint64_t shard = 0; shard < 100; ++shard)
        once.wait(shard);
    once.granted();
    CHECK(once.schedule.forecast(100, false, once.now) == never);
}

/// A schedule in which anything may have happened.
void stir(Bench& bench, std::mt19937_64& random, std::int64_t total) {
    for (int step = 0; step < 30; ++step) {
        if (random() % 3 != 0) {
            IdentifyWaiter& waiter = bench.waiters.emplace_back();
            waiter.place.shard = random() % 12;
            waiter.use_reserve = random() % 4 == 0;
            if (random() % 4 == 0) waiter.bound = bench.now + std::chrono::seconds(random() % 40);
            bench.schedule.enqueue(waiter, bench.now);
        }
        if (random() % 20 == 0)
            bench.schedule.update({total, total, 60s, 1 + random() % 4}, bench.now);
        bench.granted(random() % 3 != 0);
        bench.now += std::chrono::milliseconds(random() % 2000);
        bench.schedule.advance(bench.now);
        bench.granted(random() % 3 != 0);
    }
}

TEST_CASE("what is foretold comes true to the nanosecond, if permits are used at once") {
    int waited = 0;
    for (std::uint64_t round = 0; round < 1000; ++round) {
        std::mt19937_64 random(round);
        IdentifySettings settings;
        settings.reserve = static_cast<std::int64_t>(random() % 3);
        settings.day = 100s;
        const std::int64_t total = settings.reserve + 1 + static_cast<std::int64_t>(random() % 20);
        Bench bench({total, static_cast<std::int64_t>(random() % 20) % (total + 1),
                     std::chrono::seconds(random() % 100), 1 + random() % 4},
                    settings);
        stir(bench, random, total);
        const std::uint64_t shard = random() % 12;
        const bool use_reserve = random() % 4 == 0;
        const Time foretold = bench.schedule.forecast(shard, use_reserve, bench.now);
        CAPTURE(round);
        REQUIRE(foretold != never);
        IdentifyWaiter& mine = bench.wait(shard, use_reserve);
        while (mine.state == IdentifyState::queued) {
            bench.granted();
            if (mine.state != IdentifyState::queued) break;
            bench.now = bench.schedule.next_wake();
            bench.schedule.advance(bench.now);
            ++waited;
        }
        REQUIRE(mine.state == IdentifyState::granted);
        REQUIRE(bench.now == foretold);
    }
    CHECK(waited > 1000);
}

TEST_CASE("to ask when a turn comes changes nothing of what is granted, refused or counted") {
    const auto story = [](std::uint64_t seed, bool asks) {
        std::mt19937_64 random(seed);
        Bench bench({9, 5, 30s, 2});
        std::vector<Time> said;
        for (int step = 0; step < 200; ++step) {
            if (random() % 2 == 0) bench.wait(random() % 8, false);
            const Shards shards = bench.granted(random() % 3 != 0);
            for (const std::uint64_t shard : shards)
                said.push_back(Time(Duration(static_cast<Duration::rep>(shard))));
            said.push_back(bench.schedule.next_wake());
            for (std::uint64_t shard = 0; asks && shard < 8; ++shard)
                static_cast<void>(bench.schedule.forecast(shard, step % 2 == 0, bench.now));
            bench.now += std::chrono::milliseconds(random() % 4000);
            bench.schedule.advance(bench.now);
        }
        said.push_back(Time(Duration(bench.schedule.remaining())));
        return said;
    };
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
        CAPTURE(seed);
        REQUIRE(story(seed, false) == story(seed, true));
    }
}

} // namespace
