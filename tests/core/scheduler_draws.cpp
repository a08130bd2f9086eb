// SPDX-License-Identifier: MIT
//
// A tighter limit that answers its 429s under a hash of its own while the headers of successes show
// another (discord-api-docs#5646, 2022-11; #7394, 2025-02; #8161, 2026-02: 1000 shown, 5 enforced):
// its lane draws on both, and what is known of the second is learned from its 429s alone.
#include <sluice/core/draw.hpp>
#include <sluice/core/scheduler.hpp>
#include <sluice/testing/fake_limit.hpp>

#include "support/catch.hpp"
#include "support/core_client.hpp"
#include "support/core_course.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <tuple>
#include <vector>

namespace {

using namespace sluice;
using namespace sluice::tests;
using testing::Algorithm;
using testing::Limit;
using Call = CoreClient::Call;

struct Tight {
    Limit limit;
    Duration jitter{0};
    bool whole_seconds = false; ///< the wait of a 429 comes from its header alone
    std::size_t routes = 1;
    Duration spread{0};     ///< over which the requests arrive
    bool next_slot = false; ///< Reset-After of a 429 is its wait, whatever the algorithm
    bool nameless = false;  ///< a 429 shows the headers of successes, and the wait
    std::uint64_t channels = 1;
};

/// So many requests, where the headers show 1000 per 5 s.
Tally meet(std::size_t requests, const Tight& tight) {
    NamedCounter shown("a", {Algorithm::fixed, 1000, 5s});
    NamedCounter enforced("tight", tight.limit);
    CoreCourse course(
        [&](const Call&, Duration now) {
            const core::Answer answer = shown.decide(now);
            core::Answer refusal = enforced.decide(now);
            if (refusal.status != 429) return answer;
            if (tight.nameless) {
                core::Answer hidden = answer;
                hidden.status = 429;
                hidden.retry_after = refusal.retry_after;
                return hidden;
            }
            if (tight.next_slot) refusal.seen.reset_after = refusal.retry_after;
            if (tight.whole_seconds)
                refusal.retry_after = std::chrono::ceil<std::chrono::seconds>(*refusal.retry_after);
            return refusal;
        },
        tight.jitter);
    for (std::size_t i = 0; i < requests; ++i) {
        course.send({.route = 1 + i % tight.routes, .channel = 1 + i % tight.channels});
        course.pass(tight.spread / static_cast<int>(requests));
    }
    return course.run();
}

/// When the last of so many could have passed at the soonest.
Duration optimum(std::size_t requests, const Limit& limit) {
    const auto behind = static_cast<std::int64_t>(requests) - limit.limit;
    if (limit.algorithm == Algorithm::gcra) return 30ms + limit.period / limit.limit * behind;
    return 30ms + limit.period * ((behind + limit.limit - 1) / limit.limit);
}

/// A client whose lane has been refused by a limit of three per three seconds.
struct Refused : CoreClient {
    explicit Refused(Duration wait = 1s) {
        answer(send({}), shows(50, 49, 1s));
        answer(send({}), tight(wait));
    }
    static core::Answer tight(Duration wait) {
        core::Answer answer = spent(wait, "tight", 3);
        answer.seen.reset_after = 3s;
        return answer;
    }
    core::Bucket& drawn() { return *lane({}).draws->bucket; }
};

} // namespace

TEST_CASE("a limit that answers in its own name refuses the first wave and hardly one more") {
    const auto check = [](std::size_t requests, const Limit& limit, int most_refused) {
        const Tally tally = meet(requests, {limit});
        CHECK(tally.refused <= most_refused);
        CHECK(tally.in_order);
        CHECK(tally.last_passed <= optimum(requests, limit) * 51 / 50);
    };
    check(60, {Algorithm::gcra, 3, 3s}, 57);
    check(100, {Algorithm::gcra, 5, 5s}, 95);
    check(300, {Algorithm::gcra, 30, 10s}, 270);
    // Of the first window nobody knows when it began, so that the next is asked for too early.
    check(60, {Algorithm::fixed, 3, 3s}, 57 + 1);
    check(100, {Algorithm::fixed, 5, 5s}, 95 + 1);
    check(100, {Algorithm::aligned, 5, 5s}, 95 + 1);
    check(300, {Algorithm::fixed, 30, 10s}, 270 + 1);
    check(20, {Algorithm::fixed, 1, 2s}, 19 + 1);
    check(100, {Algorithm::sliding_log, 5, 5s}, 95 + 1);
}

TEST_CASE("a limit that answers in its own name refuses hardly one of those that come little by "
          "little") {
    const auto check = [](Algorithm algorithm, std::size_t routes, int most_refused) {
        const Limit limit{algorithm, 5, 5s};
        const Tally tally = meet(100, {.limit = limit, .routes = routes, .spread = 50s});
        CHECK(tally.refused <= most_refused);
        CHECK(tally.last_passed <= optimum(100, limit) * 51 / 50);
    };
    check(Algorithm::gcra, 1, 1);
    check(Algorithm::fixed, 1, 2);
    check(Algorithm::gcra, 3, 4); // each route meets it once
    check(Algorithm::fixed, 3, 4);
}

TEST_CASE("a leaky limit whose 429s name the next slot as their end is told from a fixed window") {
    const auto check = [](std::size_t requests, const Limit& limit, Duration jitter,
                          int most_refused) {
        const Tally tally = meet(requests, {.limit = limit, .jitter = jitter, .next_slot = true});
        const int first_wave = static_cast<int>(requests) - static_cast<int>(limit.limit);
        const int second_wave = static_cast<int>(limit.limit) - 1; // behind the first end told
        CHECK(tally.refused <= first_wave + second_wave + most_refused);
        CHECK((jitter > 0ms || tally.in_order));
        CHECK(tally.last_passed <= optimum(requests, limit) * 51 / 50 + 2 * jitter);
    };
    check(60, {Algorithm::gcra, 3, 3s}, 0ms, 6);
    check(80, {Algorithm::gcra, 4, 6s}, 0ms, 6);
    check(200, {Algorithm::gcra, 20, 10s}, 0ms, 8);
    check(200, {Algorithm::gcra, 20, 10s}, 60ms, 60);
}

TEST_CASE("lanes of many channels under one hidden limit go on one after the other") {
    const auto check = [](std::size_t requests, const Limit& limit, std::uint64_t channels,
                          int most_refused) {
        for (const bool nameless : {false, true}) {
            CAPTURE(requests, nameless);
            const Tally tally = meet(
                requests,
                {.limit = limit, .next_slot = true, .nameless = nameless, .channels = channels});
            CHECK(tally.refused <= most_refused);
            CHECK(tally.last_passed <= optimum(requests, limit) * 51 / 50);
            CHECK(tally.longest_silence <= limit.period + 500ms);
        }
    };
    check(90, {Algorithm::gcra, 2, 2s}, 30, 250);
    check(200, {Algorithm::fixed, 10, 5s}, 40, 420);
    check(80, {Algorithm::gcra, 5, 8s}, 8, 300);
}

TEST_CASE("with jitter a limit that answers in its own name costs the jitter alone") {
    for (const Algorithm algorithm : {Algorithm::gcra, Algorithm::fixed}) {
        const Tally tally = meet(100, {{algorithm, 5, 5s}, 60ms});
        CHECK(tally.refused <= 95);
        CHECK(tally.last_passed <= optimum(100, {algorithm, 5, 5s}) + 20 * 60ms);
    }
}

TEST_CASE("a wait in whole seconds tells less of a limit that answers in its own name") {
    for (const Algorithm algorithm : {Algorithm::gcra, Algorithm::fixed}) {
        const Tally tally = meet(100, {.limit = {algorithm, 5, 5s}, .whole_seconds = true});
        CHECK(tally.refused <= 95 + 1);
        CHECK(tally.last_passed <= optimum(100, {algorithm, 5, 5s}) * 51 / 50);
    }
}

TEST_CASE("a request counts in all buckets that its lane draws on, until it is settled") {
    Refused client;
    client.pass(4s);
    Call& call = client.send({});
    core::Bucket& drawn = client.drawn();
    CHECK(client.bucket({}).in_flight == 1);
    CHECK(drawn.in_flight == 1);
    SECTION("by its answer") {
        client.answer(call, shows(50, 49, 1s));
        CHECK(drawn.in_flight == 0);
        client.send({});
        client.send({});
        CHECK_FALSE(client.send({}).sent()); // one was spent silently
    }
    SECTION("by being cancelled") {
        client.cancel(call);
        CHECK(drawn.in_flight == 0);
        for (int i = 0; i < 3; ++i)
            CHECK(client.send({}).sent());
    }
    SECTION("by being lost, which may have spent one") {
        client.lose(call);
        CHECK(drawn.in_flight == 0);
        client.pass(500ms);
        client.send({});
        client.send({});
        CHECK_FALSE(client.send({}).sent());
    }
    SECTION("by a server error, which may have spent one") {
        client.answer(call, silent(502));
        CHECK(drawn.in_flight == 0);
    }
    SECTION("by a refusal of its own bucket") {
        client.answer(call, spent(1s));
        CHECK(drawn.in_flight == 0);
    }
}

TEST_CASE("a request that waits for a limit of another name is told how long") {
    Refused client;
    client.pass(4s);
    for (Call* call : client.send(3, {}))
        client.answer(*call, shows(50, 49, 1s));
    const auto at = client.scheduler.predict(client.lane({}), client.now);
    REQUIRE(at);
    CHECK(client.scheduler.obstacle(client.lane({}), client.now) == core::Obstacle::bucket);
    CHECK_FALSE(client.scheduler.admits(client.lane({}), client.now));
    Call& call = client.send({});
    REQUIRE(client.time_until_sent(call));
    CHECK(client.now == *at);
}

TEST_CASE("while one lane waits for a limit of another name the rest of its bucket goes on") {
    Refused client;
    CHECK_FALSE(client.send({}).sent());
    CHECK(client.send({.tag = 7}).sent());
    CHECK(client.send({.channel = 2}).sent());
}

TEST_CASE(
    "an unknown route that a limit of another name refuses learns its own bucket all the same") {
    Refused client;
    Call& probe = client.send({.route = 2});
    client.answer(probe, Refused::tight(1s));
    client.retry(probe);
    REQUIRE(client.time_until_sent(probe));
    client.answer(probe, shows(10, 9, 1s, "b"));
    CHECK(client.scheduler.registry().hash_of(client.bucket({.route = 2})) == "b");
    REQUIRE(client.lane({.route = 2}).draws);
    CHECK(client.lane({.route = 2}).draws->bucket == &client.drawn());
    CHECK(client.scheduler.counters().moved == 0);
}

TEST_CASE("lanes of several buckets that draw on one take turns as they came") {
    Refused client;
    client.answer(client.send({.route = 2}), shows(50, 49, 1s, "b"));
    client.answer(client.send({.route = 2}), Refused::tight(1s));
    client.pass(4s);
    client.order.clear();
    std::vector<Call*> calls;
    for (int i = 0; i < 12; ++i) // turns of two
        calls.push_back(&client.send({.route = (i / 2) % 2 == 0 ? 1U : 2U}));
    for (Call* call : calls) {
        REQUIRE(client.time_until_sent(*call));
        client.answer(*call, shows(50, 40, 1s, call->target.route == 1 ? "a" : "b"));
    }
    CHECK(std::is_sorted(client.order.begin(), client.order.end()));
}

TEST_CASE("a limit of another name that has refused nobody for an hour is asked whether it holds") {
    Refused client;
    client.pass(61min);
    client.answer(client.send({}), shows(50, 49, 1s)); // its last
    CHECK_FALSE(client.lane({}).draws);
    const auto calls = client.send(6, {});
    CHECK(calls[1]->sent()); // as many as it let pass, with the one before
    CHECK_FALSE(calls[3]->sent());
    client.answer(*calls[0], shows(50, 48, 1s));
    client.answer(*calls[1], shows(50, 47, 1s));
    CHECK(calls[2]->sent());
    CHECK_FALSE(calls[4]->sent());
    client.answer(*calls[2], Refused::tight(1s));
    CHECK(client.lane({}).draws);
}

TEST_CASE("what was spent of a limit of another name is not forgotten before it is back") {
    CoreClient client;
    for (const core::Answer& answer : {shows(50, 49, 1s), Refused::tight(1s)}) {
        Call& call = client.send({});
        client.answer(call, answer);
        client.release(call);
    }
    client.pass(2s); // its own bucket is full again, and the lane's wait is over
    client.scheduler.collect(client.now, 0s);
    CHECK(client.scheduler.registry().lane_count() == 1);
    client.pass(10s);
    client.scheduler.collect(client.now, 0s);
    client.scheduler.collect(client.now, 0s); // the one that was drawn on, when nobody does
    CHECK(client.scheduler.registry().bucket_count() == 0);
    CHECK(client.scheduler.registry().lane_count() == 0);
}

TEST_CASE("a 429 in another name that tells no limit is waited for and not learned") {
    CoreClient client;
    client.answer(client.send({}), shows(50, 49, 1s));
    core::Answer refusal = bare_429(2s);
    refusal.hash = "tight";
    client.answer(client.send({}), refusal);
    CHECK_FALSE(client.lane({}).draws);
    CHECK(client.time_until_sent(client.send({})) == 2s);
}

TEST_CASE("a lane that ever new names refuse draws on a few of them") {
    CoreClient client;
    client.answer(client.send({}), shows(50, 49, 1s));
    for (int i = 0; i < 20; ++i) {
        const std::string name = "tight" + std::to_string(i);
        client.answer(client.send({}), spent(10ms, name, 30));
        client.pass(2min); // each in a row is waited for longer
    }
    Call& call = client.send({});
    CHECK(call.sent());
    client.cancel(call);
    CHECK(client.at_rest());
}

TEST_CASE("two lanes that draw on each other's buckets are forgotten all the same") {
    CoreClient client;
    for (const auto& [route, own, other] : {std::tuple(1U, "a", "b"), std::tuple(2U, "b", "a")}) {
        client.answer(client.send({.route = route}), shows(50, 49, 1s, own));
        core::Answer missing = shows(50, 48, 1s, other);
        missing.status = 404;
        client.answer(client.send({.route = route}), missing);
        CHECK(client.lane({.route = route}).draws);
    }
    client.scheduler.registry().each_lane([](core::Lane& lane) { lane.holders = 0; });
    client.pass(2h);
    client.scheduler.collect(client.now, 0s);
    CHECK(client.scheduler.registry().lane_count() == 0);
}

TEST_CASE("a lane that waits for others to find out does not hold up who draws on its bucket") {
    const Target held{.route = 2};
    const Target first{.route = 2, .channel = 2};
    const Target drawing{.route = 1};
    CoreClient client;
    client.answer(client.send(held), shows(5, 4, 60s, "b"));
    client.answer(client.send(first), shows(5, 4, 60s, "b"));
    client.answer(client.send(drawing), shows(50, 49, 60s, "a"));
    client.answer(client.send(drawing), spent(1s, "b")); // it draws on "b" as well
    client.pass(2s);
    for (int left = 4; left >= 1; --left)
        client.answer(client.send(held), shows(5, left, 60s, "b"));
    core::Answer shared = bare_429(10s);
    shared.shared = true;
    client.answer(client.send(held), shared);
    client.answer(client.send(first), shared);
    Call& finds_out = client.send(first);
    Call& waits = client.send(held);
    client.pass(10s);
    REQUIRE(finds_out.sent());
    REQUIRE(waits.waits());
    CHECK(client.send(drawing).sent());
}
