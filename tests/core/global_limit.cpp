// SPDX-License-Identifier: MIT
#include <sluice/core/global_limit.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

namespace {

using namespace sluice::core;
using namespace std::chrono_literals;

constexpr Time start = Time(1h);
constexpr Duration none{0};

GlobalLimit with_limit(std::int64_t limit, Duration period = 1s, Duration longest_hold = none) {
    GlobalLimit global;
    global.configure(limit, period, longest_hold);
    return global;
}

struct Delays {
    Duration least;
    Duration most;
    Duration draw(std::mt19937_64& random) const {
        const auto span = static_cast<std::uint64_t>((most - least).count()) + 1;
        return least + Duration(static_cast<std::int64_t>(random() % span));
    }
};

struct Answer {
    Time at;
    GlobalLimit::Slot slot;
    bool operator<(const Answer& other) const { return at > other.at; }
};

/// Sends as fast as the limit allows, with all the credit that is safe, for ten periods. Returns
/// when the requests arrived at the server.
std::vector<Time> arrivals_of(GlobalLimit& global, Delays delays, std::mt19937_64& random) {
    std::vector<Time> arrivals;
    std::vector<Answer> answers; // a heap, next first
    const Time end = start + 10 * global.period();
    for (Time now = start; now < end;) {
        while (!answers.empty() && answers.front().at <= now) {
            std::pop_heap(answers.begin(), answers.end());
            global.give_back(answers.back().slot, now, 2 * delays.least);
            answers.pop_back();
        }
        while (global.has_room(now)) {
            const GlobalLimit::Slot slot = global.take(now);
            const Time arrival = now + delays.draw(random);
            arrivals.push_back(arrival);
            answers.push_back({arrival + delays.draw(random), slot});
            std::push_heap(answers.begin(), answers.end());
        }
        const Time answered = answers.empty() ? never : answers.front().at;
        const Time next = std::min(global.next_change(now), answered);
        REQUIRE(next > now);
        now = next;
    }
    std::sort(arrivals.begin(), arrivals.end());
    return arrivals;
}

/// The most that arrived within one period, its end not included.
std::int64_t most_in_one_period(const std::vector<Time>& arrivals, Duration period) {
    std::int64_t most = 0;
    std::size_t first = 0;
    for (std::size_t last = 0; last < arrivals.size(); ++last) {
        while (arrivals[first] + period <= arrivals[last])
            ++first;
        most = std::max(most, static_cast<std::int64_t>(last - first + 1));
    }
    return most;
}

} // namespace

TEST_CASE("the server never sees more than the limit in one period, whatever the jitter", "[R15]") {
    const std::vector<Delays> paths{{30ms, 30ms}, {20ms, 40ms}, {10ms, 300ms}, {0ms, 3s}};
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
        for (std::size_t path = 0; path < paths.size(); ++path) {
            CAPTURE(seed, path);
            std::mt19937_64 random(seed);
            const auto limit = static_cast<std::int64_t>(1 + random() % 60);
            GlobalLimit global = with_limit(limit);
            REQUIRE(most_in_one_period(arrivals_of(global, paths[path], random), 1s) <= limit);
        }
    }
}

TEST_CASE("with steady delays nearly all of the limit is used", "[R15]") {
    std::mt19937_64 random(1);
    GlobalLimit global = with_limit(50);
    CHECK(arrivals_of(global, {30ms, 30ms}, random).size() >= 495);
}

TEST_CASE("a slot comes back one period after its answer, less the credit") {
    GlobalLimit global = with_limit(1);
    const GlobalLimit::Slot slot = global.take(start);
    CHECK_FALSE(global.has_room(start + 1h)); // no answer yet
    CHECK(global.next_change(start) == never);
    global.give_back(slot, start + 60ms, 20ms);
    CHECK(global.next_change(start + 60ms) == start + 1040ms);
    CHECK_FALSE(global.has_room(start + 1040ms - 1ns));
    CHECK(global.has_room(start + 1040ms));
}

TEST_CASE("a credit beyond the period gives the slot back at once and no sooner") {
    GlobalLimit global = with_limit(1, 100ms);
    global.give_back(global.take(start), start + 60ms, 200ms);
    CHECK(global.has_room(start + 60ms));
}

TEST_CASE("a request that was never sent gives its slot back at once") {
    for (const Duration longest_hold : {none, Duration(5s)}) {
        GlobalLimit global = with_limit(1, 1s, longest_hold);
        global.cancel(global.take(start));
        CHECK(global.has_room(start));
        CHECK(global.held() == 0);
    }
}

TEST_CASE("a lowered limit lets nothing out until enough has come back", "[R15]") {
    GlobalLimit global = with_limit(10);
    std::vector<GlobalLimit::Slot> slots;
    for (int i = 0; i < 10; ++i)
        slots.push_back(global.take(start));
    global.configure(3, 1s, none);
    CHECK_FALSE(global.has_room(start));
    for (int i = 0; i < 10; ++i)
        global.give_back(slots[static_cast<std::size_t>(i)], start + i * 1ms, none);
    CHECK_FALSE(global.has_room(start + 1s + 6ms)); // seven are back, three are held
    CHECK(global.has_room(start + 1s + 7ms));
}

TEST_CASE("a raised limit has room at once", "[R15]") {
    GlobalLimit global = with_limit(1);
    (void)global.take(start);
    CHECK_FALSE(global.has_room(start));
    global.configure(2, 1s, none);
    CHECK(global.has_room(start));
}

TEST_CASE("a limit of 0 limits nothing, and one without a period neither") {
    for (const auto& [limit, period] : {std::pair(0, Duration(1s)), std::pair(5, none)}) {
        GlobalLimit global = with_limit(limit, period);
        for (int i = 0; i < 1000; ++i)
            (void)global.take(start);
        CHECK(global.has_room(start));
    }
}

TEST_CASE("a bound on holding frees the slot of an answer that is slow, once") {
    GlobalLimit global = with_limit(1, 1s, 3s);
    const GlobalLimit::Slot slow = global.take(start);
    CHECK(global.next_change(start) == start + 3s);
    CHECK_FALSE(global.has_room(start + 3s - 1ns));
    CHECK(global.has_room(start + 3s));
    (void)global.take(start + 3s);
    global.give_back(slow, start + 4s, none); // too late to give anything back
    CHECK_FALSE(global.has_room(start + 5s + 500ms));
    CHECK(global.held() == 1);
}

TEST_CASE("held slots come to zero, whatever became of their requests") {
    for (const Duration longest_hold : {none, Duration(2s)}) {
        std::mt19937_64 random(5);
        GlobalLimit global = with_limit(20, 1s, longest_hold);
        std::vector<GlobalLimit::Slot> open;
        Time now = start;
        for (int step = 0; step < 20'000; ++step) {
            now += Duration(random() % 100'000'000);
            if (open.size() < 40 && global.has_room(now)) open.push_back(global.take(now));
            if (open.empty() || random() % 3 == 0) continue;
            std::swap(open[random() % open.size()], open.back());
            if (random() % 4 == 0) {
                global.cancel(open.back());
            } else {
                global.give_back(open.back(), now, 10ms);
            }
            open.pop_back();
        }
        for (const GlobalLimit::Slot slot : open)
            global.give_back(slot, now, none);
        CHECK(global.has_room(now + 10s));
        CHECK(global.held() == 0);
    }
}

TEST_CASE("a block holds back whoever would have room", "[R14]") {
    GlobalLimit global = with_limit(5);
    global.block_until(start + 2s);
    global.block_until(start + 1s); // a shorter one does not end it
    CHECK_FALSE(global.has_room(start + 2s - 1ns));
    CHECK(global.next_change(start) == start + 2s);
    CHECK(global.has_room(start + 2s));
}

TEST_CASE("the wait behind other requests for the global limit is foreseen") {
    GlobalLimit global = with_limit(2);
    CHECK(global.predict(start, 0) == start);
    CHECK(global.predict(start, 1) == start);
    global.give_back(global.take(start), start + 60ms, none);
    global.give_back(global.take(start), start + 80ms, none);
    const Time now = start + 100ms;
    CHECK(global.predict(now, 0) == start + 1060ms);
    CHECK(global.predict(now, 1) == start + 1080ms);
    CHECK(global.predict(now, 2) == now + 1s); // a period more, at the soonest
    CHECK(global.predict(now, 4) == now + 2s);
    global.block_until(start + 5s);
    CHECK(global.predict(now, 0) == start + 5s);
}
