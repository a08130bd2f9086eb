// SPDX-License-Identifier: MIT
//
// Limits that no header shows: how many of a lane's requests leave once one of them has been
// refused, and that nobody is left behind by it.
#include <sluice/core/scheduler.hpp>
#include <sluice/testing/fake_limit.hpp>

#include "support/catch.hpp"
#include "support/core_client.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <vector>

namespace {

using namespace sluice;
using namespace sluice::tests;
using testing::Algorithm;
using Call = CoreClient::Call;

/// A 429 that leaves the bucket's own limit as it is.
core::Answer hidden(Duration wait, std::int64_t remaining = 40) {
    core::Answer answer = shows(50, remaining, 1s);
    answer.status = 429;
    answer.retry_after = wait;
    return answer;
}

/// A client whose lane has been refused while so many of ten passed, and the nine calls that wait
/// for the end of that.
struct Narrowed {
    explicit Narrowed(int passed) {
        client.answer(client.send({}), shows(50, 49, 1s));
        const auto first = client.send(10, {});
        client.pass(10ms);
        for (int i = 9; i >= 0; --i) { // what went before the first refusal nobody has counted
            const bool passes = i < passed;
            client.answer(*first[static_cast<std::size_t>(i)],
                          passes ? shows(50, 48 - i, 1s) : hidden(60s));
        }
        calls = client.send(9, {});
        REQUIRE(left() == 0);
        client.pass(61s);
    }
    /// How many of the nine have left.
    [[nodiscard]] std::size_t left() const { return client.order.size() - 11; }

    CoreClient client;
    std::vector<Call*> calls;
};

struct Tally {
    int refused = 0;
    Duration span{0};
};

/// So many requests at once, under a hidden limit and one of 50 per second that headers show; 60 ms
/// of way there and back.
Tally tally(int requests, const testing::Limit& limit) {
    constexpr Duration way = 30ms;
    CoreClient client;
    std::vector<testing::Counter> counters; // g++ 12 warns of a plain one's std::variant
    counters.emplace_back(testing::Limit{Algorithm::fixed, 50, 1s});
    counters.emplace_back(limit);
    testing::Counter& shown = counters[0];
    testing::Counter& counter = counters[1];
    const Time start = client.now;
    struct Flight {
        Call* call;
        core::Answer answer;
        Time back;
    };
    std::deque<Flight> flying;
    std::vector<Call*> waiting = client.send(static_cast<std::size_t>(requests), {});
    Tally result;
    while (!waiting.empty() || !flying.empty()) {
        for (auto at = waiting.begin(); at != waiting.end();) {
            Call& call = **at;
            if (!call.sent()) {
                ++at;
                continue;
            }
            const Duration looked = client.now + way - start;
            shown.spend(looked);
            const Duration wait = counter.wait(looked);
            if (wait == 0s) counter.spend(looked);
            const testing::Standing standing = shown.standing(looked);
            core::Answer answer = shows(50, standing.remaining, standing.reset_after);
            if (wait > 0s) {
                answer.status = 429;
                answer.retry_after = wait;
            }
            flying.push_back({&call, answer, client.now + 2 * way});
            at = waiting.erase(at);
        }
        const Time wake = std::min(client.scheduler.next_wake(),
                                   flying.empty() ? core::never : flying.front().back);
        REQUIRE(wake != core::never);
        client.pass(wake - client.now);
        while (!flying.empty() && flying.front().back <= client.now) {
            Flight landed = flying.front();
            flying.pop_front();
            client.answer(*landed.call, landed.answer);
            if (landed.answer.status == 429) {
                ++result.refused;
                client.retry(*landed.call);
                waiting.push_back(landed.call);
            }
        }
        result.span = client.now - start;
    }
    CHECK(client.at_rest());
    return result;
}

} // namespace

TEST_CASE("after a hidden limit as many go as it let pass, then one at a time") {
    Narrowed lane(3);
    CoreClient& client = lane.client;
    CHECK(lane.left() == 3);
    client.pass(10ms);
    client.answer(*lane.calls[0], shows(50, 49, 1s));
    CHECK(lane.left() == 3);
    client.answer(*lane.calls[1], shows(50, 48, 1s));
    client.answer(*lane.calls[2], shows(50, 47, 1s));
    CHECK(lane.left() == 4); // the one that finds out
    client.answer(*lane.calls[3], shows(50, 46, 1s));
    CHECK(lane.left() == 6); // there is more than there was
    client.answer(*lane.calls[4], shows(50, 45, 1s));
    client.answer(*lane.calls[5], shows(50, 44, 1s));
    CHECK(lane.left() == 9);
}

TEST_CASE("after a hidden limit that let nothing pass one goes first") {
    Narrowed lane(0);
    CoreClient& client = lane.client;
    CHECK(lane.left() == 1);
    CHECK_FALSE(client.scheduler.predict(client.lane({}), client.now)); // hangs on its answer
    SECTION("it is refused as well") {
        client.pass(10ms);
        client.answer(*lane.calls[0], hidden(60s));
        client.pass(30s);
        CHECK(lane.left() == 1);
        client.pass(31s);
        CHECK(lane.left() == 2);
    }
    SECTION("it is lost") {
        client.lose(*lane.calls[0]);
        CHECK(lane.calls[1]->sent());
        CHECK_FALSE(lane.calls[2]->sent());
    }
    SECTION("it is cancelled") {
        client.cancel(*lane.calls[0]);
        CHECK(lane.calls[1]->sent());
        CHECK_FALSE(lane.calls[2]->sent());
    }
}

TEST_CASE("other lanes of a bucket go on while one finds out what a hidden limit lets pass") {
    Narrowed lane(0);
    CHECK(lane.client.send({.tag = 7}).sent());
}

TEST_CASE("a lane that a hidden limit has narrowed goes on when its request counts elsewhere") {
    Narrowed lane(0);
    CoreClient& client = lane.client;
    Call& tagged = client.send({.tag = 7});
    client.answer(tagged, shows(50, 49, 1s, "b")); // moves the route, and this lane with it
    REQUIRE(client.lane({}).bucket->in_flight == 0);
    SECTION("before what it has taken along is back") {}
    SECTION("after that") {
        client.pass(5s);
    }
    SECTION("while another lane has one in flight there") {
        client.pass(10ms);
        Call& settles = client.send({.tag = 7}); // what was taken along
        client.pass(10ms);
        REQUIRE(client.send({.tag = 7}).sent());
        client.answer(settles, shows(50, 48, 1s, "b"));
        client.pass(5s);
    }
    SECTION("when that is answered") {
        client.answer(*lane.calls[0], shows(50, 49, 1s));
    }
    if (lane.calls[0]->sent()) client.lose(*lane.calls[0]);
    CHECK(client.time_until_sent(*lane.calls[1]).value_or(1h) <= 1s);
}

TEST_CASE("whoever comes while one finds out what a hidden limit lets pass waits as well") {
    CoreClient client;
    client.answer(client.send({}), shows(50, 49, 1s));
    client.answer(client.send({}), hidden(60s));
    client.pass(61s);
    Call& first = client.send({});
    REQUIRE(first.sent());
    Call& second = client.send({});
    CHECK_FALSE(second.sent());
    client.answer(first, shows(50, 49, 1s));
    CHECK(second.sent());
}

TEST_CASE("a lane that nothing has refused for long is narrow no more") {
    CoreClient client;
    client.answer(client.send({}), shows(50, 49, 1s));
    client.answer(client.send({}), hidden(1s));
    client.pass(2s);
    for (int i = 0; i < 70; ++i)
        client.answer(client.send({}), shows(50, 40, 1s));
    CHECK(client.lane({}).narrow != 0); // its window may be as long
    client.pass(1h);
    client.answer(client.send({}), shows(50, 49, 1s));
    CHECK(client.lane({}).narrow == 0);
}

TEST_CASE("what was sent before a hidden limit refused holds nobody back") {
    CoreClient client;
    client.answer(client.send({}), shows(50, 49, 1s));
    Call& slow = client.send({});
    client.pass(10ms);
    client.answer(client.send({}), hidden(60s));
    const auto calls = client.send(3, {});
    client.pass(61s);
    CHECK(calls[0]->sent());
    CHECK_FALSE(calls[1]->sent());
    client.answer(slow, shows(50, 48, 1s)); // which passed before, too
    CHECK_FALSE(calls[1]->sent());
    client.answer(*calls[0], shows(50, 49, 1s));
    CHECK(calls[1]->sent());
}

TEST_CASE("a lane behind one that waits for an answer is told its own wait") {
    CoreClient client;
    client.answer(client.send({}), shows(5, 4, 10s));
    client.answer(client.send({}), hidden(60s, 3));
    client.send(30, {});
    client.pass(61s); // one goes, 29 wait for its answer
    const auto at = client.scheduler.predict(client.lane({.tag = 7}), client.now);
    REQUIRE(at);
    CHECK(*at == client.now);
    CHECK(client.send({.tag = 7}).sent());
}

TEST_CASE("a lane that waits for an answer is not said to wait for the global limit") {
    Narrowed lane(0);
    CoreClient& client = lane.client;
    CHECK(client.scheduler.obstacle(client.lane({}), client.now) == core::Obstacle::bucket);
}

TEST_CASE("a lane that waits for an answer is told how long everything is blocked at least") {
    Narrowed lane(0);
    CoreClient& client = lane.client;
    core::Answer global = bare_429(30s);
    global.global = true;
    client.answer(client.send({.route = 2}), global);
    CHECK(client.scheduler.predict(client.lane({}), client.now) == client.now + 30s);
}

TEST_CASE("a lane is as narrow after a restart") {
    Narrowed lane(3);
    const core::Snapshot saved = lane.client.scheduler.save(lane.client.now);
    CoreClient next;
    next.scheduler.restore(saved, next.now, next.now);
    CHECK(next.lane({}).narrow == 4);
}

TEST_CASE("a hidden limit refuses hardly more than one request each time") {
    const Tally pair = tally(20, {Algorithm::fixed, 2, 600s});
    // Of all at first, of twice as many as pass in the second window, then one in each.
    CHECK(pair.refused <= 18 + 3 + 9);
    CHECK(pair.span <= 9 * 600s + 2s);
    const Tally many = tally(200, {Algorithm::fixed, 30, 60s});
    CHECK(many.refused <= 20 + 31 + 6);
    CHECK(many.span <= 6 * 60s + 6s);
    const Tally wide = tally(500, {Algorithm::fixed, 100, 60s});
    CHECK(wide.refused <= 110); // 450 where all that wait leave each time
    CHECK(wide.span <= 5 * 60s);
    const Tally drip = tally(100, {Algorithm::gcra, 30, 60s});
    CHECK(drip.refused <= 20 + 31 + 70); // every other one, where all that waited went each time
    CHECK(drip.span <= 70 * 2s + 6s);
}
