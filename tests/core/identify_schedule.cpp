// SPDX-License-Identifier: MIT
//
// When the schedule lets which shard identify: arithmetic on times that the tests make up.
#include <sluice/core/identify_schedule.hpp>

#include "support/catch.hpp"
#include "support/identify_bench.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace {

using namespace sluice::tests::identifying;

TEST_CASE("identifies of one key keep five seconds and the margin, to the nanosecond") {
    Bench bench(limit_of(1));
    bench.wait_all({0, 1, 2});
    CHECK(bench.granted() == Shards{0});
    CHECK(bench.schedule.next_wake() == start + 5500ms);
    CHECK(bench.at(5500ms - 1ns).empty());
    CHECK(bench.at(5500ms) == Shards{1});
    CHECK(bench.at(11s) == Shards{2});
    CHECK(bench.schedule.next_wake() == never);
}

TEST_CASE(
    "the five seconds run from when the identify was sent, and until then the key is closed") {
    Bench bench(limit_of(1));
    IdentifyWaiter& first = bench.wait(0);
    bench.wait(1);
    CHECK(bench.granted(false) == Shards{0});
    CHECK(bench.at(900ms).empty());
    CHECK(bench.schedule.next_wake() == start + 1s);
    bench.schedule.sent(first.place, bench.now);
    CHECK(bench.schedule.next_wake() == start + 6400ms);
    CHECK(bench.at(6400ms - 1ns).empty());
    CHECK(bench.at(6400ms) == Shards{1});
}

TEST_CASE("an answer to the identify saves what is left of the margin") {
    Bench bench(limit_of(1));
    IdentifyWaiter& first = bench.wait(0);
    bench.wait(1);
    bench.granted();
    bench.now = start + 80ms;
    bench.schedule.answered(first.place, bench.now);
    CHECK(bench.at(5080ms - 1ns).empty());
    CHECK(bench.at(5080ms) == Shards{1});
}

TEST_CASE(
    "an answer that comes late delays nobody, and one to an earlier identify changes nothing") {
    Bench bench(limit_of(1));
    IdentifyWaiter& first = bench.wait(0);
    IdentifyWaiter& second = bench.wait(1);
    bench.wait(2);
    bench.granted();
    CHECK(bench.at(5500ms) == Shards{1});
    bench.schedule.answered(first.place, start + 5501ms);
    bench.schedule.answered(second.place, start + 9s);
    CHECK(bench.at(11s - 1ns).empty());
    CHECK(bench.at(11s) == Shards{2});
}

TEST_CASE("keys go in parallel, each in the order in which its shards came") {
    Bench bench(limit_of(4));
    bench.wait_all({0, 1, 2, 3, 8, 4, 5});
    CHECK(bench.granted() == Shards{0, 1, 2, 3});
    CHECK(bench.at(5500ms) == Shards{5, 8}); // batches 1 and 2; 4 came after 8
    CHECK(bench.at(11s) == Shards{4});
}

TEST_CASE("batches ascend: of keys that open together the lower batch goes first") {
    Bench bench(limit_of(4, 0, 1h));
    bench.wait_all({11, 6, 9, 0});
    CHECK(bench.granted().empty());
    CHECK(bench.at(1h + 1ms) == Shards{0, 6, 11, 9}); // both of batch 2 as they came
}

TEST_CASE("the lower batch takes the last identifies of the day") {
    Bench bench(limit_of(4, 0));
    bench.wait_all({11, 6, 9, 0});
    bench.schedule.update(limit_of(4, 2), bench.now);
    CHECK(bench.granted() == Shards{0, 6});
    CHECK(bench.schedule.remaining() == 0);
}

TEST_CASE("with remaining 0 nobody passes until reset_after, and then the day is whole") {
    Bench bench(limit_of(1, 1, 1h));
    bench.wait_all({0, 1});
    CHECK(bench.granted() == Shards{0});
    CHECK(bench.schedule.next_wake() == start + 1h + 1ms);
    CHECK(bench.at(1h).empty());
    CHECK(bench.at(1h + 1ms) == Shards{1});
    CHECK(bench.schedule.remaining() == 999);
}

TEST_CASE("after the reset no window of a day sees more identifies than total") {
    IdentifySettings settings;
    settings.interval = 1s;
    settings.margin = 100ms;
    settings.day = 1000s;
    std::mt19937_64 random(24);
    for (int round = 0; round < 50; ++round) {
        Bench bench({20, static_cast<std::int64_t>(random() % 21), 500s, 1 + random() % 8},
                    settings);
        for (std::uint64_t shard = 0; shard < 120; ++shard)
            bench.wait(shard);
        std::vector<Time> sent(bench.granted().size(), bench.now);
        while (bench.schedule.next_wake() != never) {
            const Time wake = bench.schedule.next_wake();
            REQUIRE(wake > bench.now);
            const std::size_t many = bench.at(wake - start).size();
            sent.insert(sent.end(), many, wake);
        }
        REQUIRE(sent.size() == 120);
        for (const Time from : sent) {
            if (from < start + 500s) continue;
            const auto inside = std::count_if(sent.begin(), sent.end(), [&](Time time) {
                return time >= from && time < from + 1000s;
            });
            REQUIRE(inside <= 20);
        }
    }
}

TEST_CASE("what was sent just before the reset counts in the new day as well") {
    Bench bench(limit_of(2, 1000, 10s));
    bench.wait(0);
    CHECK(bench.granted() == Shards{0});
    bench.now = start + 9500ms;
    bench.wait(1);
    CHECK(bench.granted() == Shards{1});
    bench.at(11s);
    CHECK(bench.schedule.remaining() == 999);
    CHECK(bench.schedule.reset_at() == start + 24h + 10s);
}

TEST_CASE("a whole day of which nothing is spent may begin with its first identify") {
    IdentifySettings settings;
    settings.day = 1000s;
    Bench bench({5, 5, 1000s, 1}, settings);
    CHECK(bench.at(100s).empty());
    std::vector<Time> sent;
    for (std::uint64_t shard = 0; shard < 6; ++shard)
        bench.wait(shard);
    for (std::size_t many = bench.granted().size(); sent.size() + many < 6;
         many = bench.at(bench.schedule.next_wake() - start).size()) {
        sent.insert(sent.end(), many, bench.now);
    }
    CHECK(sent.size() == 5);
    CHECK(sent.front() == start + 100s);
    CHECK(bench.now >= sent.front() + 1000s);
}

TEST_CASE("whoever the reserve keeps back is not ahead of those who may use it") {
    IdentifySettings settings;
    settings.reserve = 1;
    Bench bench(limit_of(1, 1, 1h), settings);
    bench.wait_all({0, 1, 2});
    CHECK(bench.granted().empty());
    IdentifyWaiter bounded;
    bounded.place.shard = 3;
    bounded.use_reserve = true;
    bounded.bound = bench.now + 4s;
    CHECK_FALSE(bench.schedule.hopeless(bounded, bench.now).has_value());
    bench.wait(4, true);
    CHECK(bench.granted() == Shards{4});
    bench.wait(5, true); // one is ahead now, and the day is spent
    CHECK(bench.schedule.hopeless(bounded, bench.now) == IdentifyRefused::sessions_exhausted);
}

TEST_CASE("a cancelled permit gives its identify and its turn back; a sent one stays spent") {
    Bench bench(limit_of(1));
    IdentifyWaiter& first = bench.wait(0);
    IdentifyWaiter& second = bench.wait(1);
    CHECK(bench.granted(false) == Shards{0});
    CHECK(bench.schedule.remaining() == 999);
    bench.schedule.cancel(first.place, bench.now);
    CHECK(bench.granted() == Shards{1});
    CHECK(bench.schedule.remaining() == 999);
    bench.schedule.cancel(second.place, bench.now);
    CHECK(bench.schedule.remaining() == 999);
    CHECK(bench.schedule.counters().cancelled == 1);
}

TEST_CASE("the reserve is for those who say so, and they pass those who may not") {
    IdentifySettings settings;
    settings.reserve = 2;
    Bench bench(limit_of(1, 3), settings);
    bench.wait_all({0, 1});
    CHECK(bench.granted() == Shards{0});
    CHECK(bench.at(10s).empty());
    bench.wait(2, true);
    CHECK(bench.granted() == Shards{2});
    bench.wait(3, true);
    CHECK(bench.at(15500ms) == Shards{3});
    CHECK(bench.schedule.remaining() == 0);
    bench.wait(4, true);
    CHECK(bench.at(1h).empty());
    CHECK(bench.at(20h + 1ms) == Shards{1});
}

TEST_CASE("while the day has enough, those who may use the reserve wait for their turn") {
    Bench bench(limit_of(1));
    bench.wait(0);
    bench.wait(1);
    bench.wait(2, true);
    CHECK(bench.granted() == Shards{0});
    CHECK(bench.at(5500ms) == Shards{1});
    CHECK(bench.at(11s) == Shards{2});
}

TEST_CASE("a larger max_concurrency spreads the waiters once the old keys are harmless") {
    Bench bench(limit_of(1));
    bench.wait_all({0, 1, 2, 3, 4});
    CHECK(bench.granted() == Shards{0});
    bench.now = start + 1s;
    bench.schedule.update(limit_of(4), bench.now);
    CHECK(bench.granted().empty());
    CHECK(bench.at(5500ms) == Shards{1, 2, 3, 4});
}

TEST_CASE("an answer says nothing of other permits that an update has put under the same key") {
    for (const Duration later : {Duration(0), Duration(1ms), Duration(100ms)}) {
        Bench bench(limit_of(2));
        IdentifyWaiter& first = bench.wait(0);
        IdentifyWaiter& second = bench.wait(1);
        CHECK(bench.granted(false) == Shards{0, 1});
        bench.schedule.update(limit_of(1), bench.now);
        bench.wait(2);
        bench.schedule.sent(first.place, start);
        bench.schedule.sent(second.place, start + later);
        bench.schedule.answered(first.place, start + 110ms);
        bench.schedule.answered(second.place, start + 120ms);
        CHECK(bench.at(later + 5500ms - 1ns).empty());
        CHECK(bench.at(later + 5500ms) == Shards{2});
    }
}

TEST_CASE("a smaller max_concurrency puts the waiters back into the order in which they came") {
    IdentifySettings settings;
    settings.permit_timeout = 1h;
    Bench bench(limit_of(3), settings);
    bench.wait_all({2, 1, 0});
    CHECK(bench.granted(false) == Shards{2, 1, 0});
    bench.wait_all({5, 4, 3});
    bench.schedule.update(limit_of(1), bench.now);
    IdentifyPlace& two = bench.waiters[0].place;
    IdentifyPlace& one = bench.waiters[1].place;
    bench.schedule.sent(two, start + 1s);
    bench.schedule.sent(one, start + 2s);
    CHECK(bench.at(10s).empty()); // shard 0 has its permit still
    bench.schedule.cancel(bench.waiters[2].place, bench.now);
    CHECK(bench.granted() == Shards{5});
    CHECK(bench.at(15500ms) == Shards{4});
    CHECK(bench.at(21s) == Shards{3});
}

TEST_CASE("an update counts the identifies of the last seconds once more") {
    Bench bench(limit_of(2));
    bench.wait_all({0, 1});
    CHECK(bench.granted() == Shards{0, 1});
    bench.now += 1s;
    bench.schedule.update(limit_of(2, 500), bench.now);
    CHECK(bench.schedule.remaining() == 498);
    bench.now += 5s;
    bench.schedule.update(limit_of(2, 500), bench.now);
    CHECK(bench.schedule.remaining() == 500);
}

TEST_CASE("a waiter that leaves makes no gap") {
    Bench bench(limit_of(1));
    bench.wait(0);
    IdentifyWaiter& leaves = bench.wait(1);
    bench.wait(2);
    bench.granted();
    bench.schedule.withdraw(leaves, bench.now);
    CHECK(bench.schedule.queued() == 1);
    CHECK(bench.at(5500ms) == Shards{2});
}

TEST_CASE("a bound is known to be too short at once, and ends a wait that has become too long") {
    IdentifySettings settings;
    settings.permit_timeout = 1h;
    Bench bench(limit_of(1), settings);
    bench.wait(0);
    CHECK(bench.granted(false) == Shards{0});
    IdentifyWaiter& waiter = bench.waiters.emplace_back();
    waiter.place.shard = 1;
    waiter.bound = start + 7s;
    CHECK_FALSE(bench.schedule.hopeless(waiter, bench.now)); // the permit may be given back
    bench.schedule.enqueue(waiter, bench.now);
    CHECK(bench.schedule.next_wake() == start + 7s);
    bench.at(7s);
    CHECK(waiter.state == IdentifyState::refused);
    CHECK(waiter.why == IdentifyRefused::wait_too_long);
    bench.schedule.sent(bench.waiters[0].place, bench.now);
    IdentifyWaiter late;
    late.place.shard = 2;
    late.bound = bench.now + 5s;
    CHECK(bench.schedule.hopeless(late, bench.now) == IdentifyRefused::wait_too_long);
    late.bound = bench.now + 6s;
    CHECK_FALSE(bench.schedule.hopeless(late, bench.now));
    bench.schedule.update(limit_of(1, 0), bench.now);
    CHECK(bench.schedule.hopeless(late, bench.now) == IdentifyRefused::sessions_exhausted);
}

TEST_CASE("a wake time lies strictly ahead, whatever has happened") {
    std::mt19937_64 random(5);
    for (int round = 0; round < 300; ++round) {
        IdentifySettings settings;
        settings.reserve = static_cast<std::int64_t>(random() % 4);
        const auto limit = [&] {
            return IdentifyLimit{20, static_cast<std::int64_t>(random() % 21),
                                 std::chrono::seconds(random() % 100), 1 + random() % 6};
        };
        Bench bench(limit(), settings);
        std::vector<IdentifyWaiter*> all;
        for (int step = 0; step < 200; ++step) {
            const std::size_t any = all.empty() ? 0 : random() % all.size();
            switch (random() % 7) {
            case 0:
            case 1:
                all.push_back(&bench.wait(random() % 12, random() % 3 == 0));
                break;
            case 2:
                if (!all.empty()) bench.schedule.sent(all[any]->place, bench.now);
                break;
            case 3:
                if (!all.empty()) bench.schedule.cancel(all[any]->place, bench.now);
                break;
            case 4:
                if (!all.empty() && !all[any]->place.taken && all[any]->place.turn != 0)
                    bench.schedule.answered(all[any]->place, bench.now);
                break;
            case 5:
                if (!all.empty() && all[any]->state == IdentifyState::queued)
                    bench.schedule.withdraw(*all[any], bench.now);
                if (random() % 8 == 0) bench.schedule.update(limit(), bench.now);
                break;
            default:
                bench.now += std::chrono::milliseconds(random() % 4000);
                bench.schedule.advance(bench.now);
            }
            bench.granted(random() % 2 == 0);
            CAPTURE(round, step);
            REQUIRE(bench.schedule.next_wake() > bench.now);
            REQUIRE(bench.schedule.remaining() >= 0);
        }
        bench.schedule.end_all();
        REQUIRE(bench.schedule.queued() == 0);
        bench.granted();
    }
}

} // namespace
