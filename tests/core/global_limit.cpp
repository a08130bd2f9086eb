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

bool has_room(GlobalLimit& global, Time now, Duration credit = none) {
    return global.has_room(now, [credit] { return credit; });
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
    const Duration credit = 2 * delays.least;
    for (Time now = start; now < end;) {
        while (!answers.empty() && answers.front().at <= now) {
            std::pop_heap(answers.begin(), answers.end());
            global.give_back(answers.back().slot, now);
            answers.pop_back();
        }
        while (has_room(global, now, credit)) {
            const GlobalLimit::Slot slot = global.take(now);
            const Time arrival = now + delays.draw(random);
            arrivals.push_back(arrival);
            answers.push_back({arrival + delays.draw(random), slot});
            std::push_heap(answers.begin(), answers.end());
        }
        const Time answered = answers.empty() ? never : answers.front().at;
        const Time next = std::min(global.next_change(now, credit), answered);
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
    CHECK_FALSE(has_room(global, start + 1h)); // no answer yet
    CHECK(global.next_change(start, 20ms) == never);
    global.give_back(slot, start + 60ms);
    CHECK(global.next_change(start + 60ms, 20ms) == start + 1040ms);
    CHECK_FALSE(has_room(global, start + 1040ms - 1ns, 20ms));
    CHECK(has_room(global, start + 1040ms, 20ms));
}

TEST_CASE("the slot of a lost request comes back one period after the loss, without credit") {
    GlobalLimit global = with_limit(1);
    global.lose(global.take(start), start + 60ms);
    CHECK_FALSE(has_room(global, start + 1060ms - 1ns, 200ms));
    CHECK(global.next_change(start + 60ms, 200ms) == start + 1060ms);
    CHECK(has_room(global, start + 1060ms, 200ms));
}

TEST_CASE("slots on their way back cost no memory without end while others are free") {
    GlobalLimit global = with_limit(1'000'000'000, 10ms);
    for (int i = 0; i < 100'000; ++i)
        global.give_back(global.take(start + i * 1ms), start + i * 1ms);
    CHECK(global.held() < 100); // ten have not come back yet
}

TEST_CASE("room that needs no credit does not ask for it") {
    GlobalLimit global = with_limit(1);
    const auto not_asked = []() -> Duration { throw 0; };
    CHECK(global.has_room(start, not_asked));
    (void)global.take(start);
    CHECK_THROWS(global.has_room(start, not_asked));
}

TEST_CASE("a credit beyond the period gives the slot back at once and no sooner") {
    GlobalLimit global = with_limit(1, 100ms);
    global.give_back(global.take(start), start + 60ms);
    CHECK_FALSE(has_room(global, start + 60ms));
    CHECK(has_room(global, start + 60ms, 200ms));
}

TEST_CASE("a request that was never sent gives its slot back at once") {
    for (const Duration longest_hold : {none, Duration(5s)}) {
        GlobalLimit global = with_limit(1, 1s, longest_hold);
        global.cancel(global.take(start));
        CHECK(has_room(global, start));
        CHECK(global.held() == 0);
    }
}

TEST_CASE("a lowered limit lets nothing out until enough has come back", "[R15]") {
    GlobalLimit global = with_limit(10);
    std::vector<GlobalLimit::Slot> slots;
    for (int i = 0; i < 10; ++i)
        slots.push_back(global.take(start));
    global.configure(3, 1s, none);
    CHECK_FALSE(has_room(global, start));
    for (int i = 0; i < 10; ++i)
        global.give_back(slots[static_cast<std::size_t>(i)], start + i * 1ms);
    CHECK_FALSE(has_room(global, start + 1s + 6ms)); // seven are back, three are held
    CHECK(has_room(global, start + 1s + 7ms));
}

TEST_CASE("a raised limit has room at once", "[R15]") {
    GlobalLimit global = with_limit(1);
    (void)global.take(start);
    CHECK_FALSE(has_room(global, start));
    global.configure(2, 1s, none);
    CHECK(has_room(global, start));
}

TEST_CASE("a limit of 0 limits nothing, and one without a period neither") {
    for (const auto& [limit, period] : {std::pair(0, Duration(1s)), std::pair(5, none)}) {
        GlobalLimit global = with_limit(limit, period);
        for (int i = 0; i < 1000; ++i)
            (void)global.take(start);
        CHECK(has_room(global, start));
    }
}

TEST_CASE("a bound on holding frees the slot of an answer that is slow, once") {
    GlobalLimit global = with_limit(1, 1s, 3s);
    const GlobalLimit::Slot slow = global.take(start);
    CHECK(global.next_change(start, none) == start + 3s);
    CHECK_FALSE(has_room(global, start + 3s - 1ns));
    CHECK(has_room(global, start + 3s));
    (void)global.take(start + 3s);
    global.give_back(slow, start + 4s); // too late to give anything back
    CHECK_FALSE(has_room(global, start + 5s + 500ms));
    CHECK(global.held() == 1);
}

TEST_CASE("an answer that comes after the bound on holding holds nothing up") {
    GlobalLimit global = with_limit(2, 1s, 3s);
    const GlobalLimit::Slot slow = global.take(start);
    global.give_back(slow, start + 10s); // nobody has asked for room since it was over
    (void)global.take(start + 10s);
    CHECK(has_room(global, start + 10s));
}

TEST_CASE("held slots come to zero, whatever became of their requests") {
    for (const Duration longest_hold : {none, Duration(2s)}) {
        std::mt19937_64 random(5);
        GlobalLimit global = with_limit(20, 1s, longest_hold);
        std::vector<GlobalLimit::Slot> open;
        Time now = start;
        for (int step = 0; step < 20'000; ++step) {
            now += Duration(random() % 100'000'000);
            if (open.size() < 40 && has_room(global, now)) open.push_back(global.take(now));
            if (open.empty() || random() % 3 == 0) continue;
            std::swap(open[random() % open.size()], open.back());
            if (random() % 4 == 0) {
                global.cancel(open.back());
            } else {
                global.give_back(open.back(), now);
            }
            open.pop_back();
        }
        for (const GlobalLimit::Slot slot : open)
            global.give_back(slot, now);
        for (int i = 0; i < 20; ++i) {
            REQUIRE(has_room(global, now + 10s));
            (void)global.take(now + 10s);
        }
        CHECK_FALSE(has_room(global, now + 10s));
    }
}

TEST_CASE("the wait behind other requests for the global limit is foreseen") {
    GlobalLimit global = with_limit(2);
    CHECK(global.predict(start, 0, none) == start);
    CHECK(global.predict(start, 1, none) == start);
    global.give_back(global.take(start), start + 60ms);
    global.give_back(global.take(start), start + 80ms);
    const Time now = start + 100ms;
    CHECK(global.predict(now, 0, none) == start + 1060ms);
    CHECK(global.predict(now, 1, none) == start + 1080ms);
    CHECK(global.predict(now, 2, none) == start + 2060ms); // the first comes round again
    CHECK(global.predict(now, 5, none) == start + 3080ms);
}
