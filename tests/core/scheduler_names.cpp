// SPDX-License-Identifier: MIT
//
// Answers of one route under changing names. Observed 2026-05, discord-api-docs#8330: a 404 to
// `DELETE message` shows the bucket of young messages, 5 per 5 s, whatever the age. An error answer
// describes the bucket that it names and moves no lane.
#include <sluice/core/draw.hpp>
#include <sluice/core/scheduler.hpp>
#include <sluice/testing/fake_limit.hpp>

#include "support/catch.hpp"
#include "support/core_client.hpp"
#include "support/core_course.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace {

using namespace sluice;
using namespace sluice::tests;
using testing::Algorithm;
using Call = CoreClient::Call;

/// A success of the route's own bucket, and a 404 in the young one's name.
core::Answer deleted(std::int64_t remaining, std::int64_t limit = 30) {
    return shows(limit, remaining, 120s, "old");
}
core::Answer gone(std::int64_t remaining) {
    core::Answer answer = shows(5, remaining, 5s, "young");
    answer.status = 404;
    return answer;
}

struct Purge {
    Algorithm algorithm = Algorithm::fixed;
    bool first_is_gone = false;
    Duration jitter{0};
};

/// 120 deletes, of which three in ten are of messages that are gone already.
Tally purge(const Purge& how) {
    NamedCounter young("young", {how.algorithm, 5, 5s});
    NamedCounter old("old", {how.algorithm, 30, 120s});
    CoreCourse course(
        [&](const Call& call, Duration now) {
            const bool missing = (call.number + (how.first_is_gone ? 2 : 1)) % 10 % 3 == 0 &&
                                 (call.number + (how.first_is_gone ? 2 : 1)) % 10 != 0;
            return missing ? young.decide(now, 404) : old.decide(now);
        },
        how.jitter);
    for (int i = 0; i < 120; ++i)
        course.send({});
    return course.run();
}

[[nodiscard]] std::string_view name_of(CoreClient& client, const Target& target) {
    return client.scheduler.registry().hash_of(client.bucket(target));
}

} // namespace

TEST_CASE("404s in the name of another bucket cost no 429 once one of them has been seen") {
    for (const Algorithm algorithm : {Algorithm::fixed, Algorithm::gcra}) {
        for (const bool first : {false, true}) {
            const Tally tally = purge({algorithm, first});
            CHECK(tally.refused <= 5); // 29 leave at once, before the first 404
            // 84 are under 30 per 120 s, and the last of those that are gone under 5 per 5 s.
            const Duration optimum = algorithm == Algorithm::fixed ? 240s + 10s : 54 * 4s;
            CHECK(tally.last_passed <= optimum * 51 / 50);
        }
        CHECK(purge({algorithm, false, 60ms}).refused <= 5);
    }
}

TEST_CASE("an error answer describes the bucket that it names and moves no lane") {
    CoreClient client;
    client.answer(client.send({}), deleted(29));
    client.pass(10ms);
    client.answer(client.send({}), gone(4));
    CHECK(name_of(client, {}) == "old");
    CHECK(client.scheduler.counters().moved == 0);
    REQUIRE(client.lane({}).draws);
    core::Bucket& young = *client.lane({}).draws->bucket;
    CHECK(client.scheduler.registry().hash_of(young) == "young");
    CHECK(client.scheduler.describe(young, client.now).remaining == 4);
    CHECK(client.scheduler.describe(client.bucket({}), client.now).remaining == 29);
    CHECK(client.send({.channel = 2}).sent());
    CHECK(name_of(client, {.channel = 2}) == "old");
}

TEST_CASE("an error answer names the bucket of a route that no success has shown") {
    CoreClient client;
    client.answer(client.send({}), gone(4));
    CHECK(name_of(client, {}) == "young");
    client.pass(10ms);
    client.answer(client.send({}), deleted(29));
    CHECK(name_of(client, {}) == "old");
    client.pass(10ms);
    client.answer(client.send({}), gone(3));
    CHECK(name_of(client, {}) == "old");
    CHECK(client.scheduler.counters().moved == 1);
}

TEST_CASE("a request counts in both buckets that its answer may name, and spends the one it does") {
    CoreClient client;
    client.answer(client.send({}), deleted(29));
    client.pass(10ms);
    client.answer(client.send({}), gone(4));
    const auto calls = client.send(6, {});
    CHECK(calls[3]->sent());
    CHECK_FALSE(calls[4]->sent()); // four may be gone
    client.pass(10ms);
    client.answer(*calls[0], deleted(28));
    CHECK(calls[4]->sent());
    CHECK_FALSE(calls[5]->sent());
    client.answer(*calls[1], gone(3));
    CHECK_FALSE(calls[5]->sent());
    client.answer(*calls[2], deleted(27));
    CHECK(calls[5]->sent());
    CHECK(client.scheduler.describe(client.bucket({}), client.now).remaining == 24);
    client.cancel(*calls[3]);
    client.lose(*calls[4]);
    client.answer(*calls[5], deleted(26));
    CHECK(client.lane({}).draws->bucket->in_flight == 0);
}

TEST_CASE("a lane that error answers of another bucket hold up goes on when that has room") {
    CoreClient client;
    client.answer(client.send({}), deleted(29));
    client.answer(client.send({.route = 2}), shows(5, 4, 5s, "young"));
    client.pass(10ms);
    client.answer(client.send({}), gone(1));
    Call& other = client.send({.route = 2}); // takes what is left
    Call& call = client.send({});
    CHECK_FALSE(call.sent());
    SECTION("by an answer") {
        client.cancel(other);
        CHECK(call.sent());
    }
    SECTION("by time") {
        client.answer(other, shows(5, 0, 5s, "young"));
        const auto wait = client.time_until_sent(call);
        REQUIRE(wait);
        CHECK(*wait <= 5001ms);
        CHECK(*wait >= 4900ms);
    }
}

TEST_CASE(
    "whoever queues for a bucket of its own does not pass one that draws on it and was before") {
    CoreClient client;
    client.answer(client.send({}), deleted(29));
    client.answer(client.send({.route = 2}), shows(5, 4, 5s, "young"));
    client.pass(10ms);
    client.answer(client.send({}), gone(0));
    client.order.clear();
    std::vector<Call*> calls;
    for (int i = 0; i < 10; ++i)
        calls.push_back(&client.send({.route = i % 2 == 0 ? 2U : 1U}));
    client.pass(5100ms);
    CHECK(client.order.size() == 5);
    for (int i = 0; i < 4; ++i)
        CHECK(calls[static_cast<std::size_t>(i)]->sent());
}

TEST_CASE("a lane whose successes show two names in turn draws on both") {
    CoreClient client;
    for (const std::string_view hash : {"a", "b", "a", "b", "a", "b"}) {
        client.answer(client.send({}), shows(5, 4, 5s, hash));
        client.pass(10ms);
    }
    CHECK(client.scheduler.counters().moved == 1);
    REQUIRE(client.lane({}).draws);
    SECTION("and follows the one that alone is left in the end") {
        for (int minutes = 0; minutes < 65; ++minutes) {
            client.pass(1min);
            client.answer(client.send({}), shows(5, 4, 5s, "a"));
        }
        CHECK(name_of(client, {}) == "a");
        CHECK(client.scheduler.counters().moved == 2);
    }
    SECTION("and forgets the one that nobody shows any more") {
        for (int minutes = 0; minutes < 65; ++minutes) {
            client.pass(1min);
            client.answer(client.send({}), shows(5, 4, 5s, "b"));
        }
        CHECK_FALSE(client.lane({}).draws);
        CHECK(name_of(client, {}) == "b");
    }
}

TEST_CASE("a lane whose hash changes for good moves, whatever comes late") {
    CoreClient client;
    client.answer(client.send({}), shows(5, 4, 5s, "a"));
    client.pass(10ms);
    Call& late = client.send({});
    Call& error = client.send({});
    client.pass(10ms);
    client.answer(client.send({}), shows(5, 4, 5s, "b"));
    client.answer(late, shows(5, 3, 5s, "a"));
    core::Answer missing = shows(5, 2, 5s, "a");
    missing.status = 404;
    client.answer(error, missing);
    CHECK(name_of(client, {}) == "b");
    CHECK_FALSE(client.lane({}).draws);
    CHECK(client.scheduler.counters().moved == 1);
}

TEST_CASE("a tagged sublimit lane stays put when its untagged sister moves") {
    CoreClient client;
    client.answer(client.send({}), shows(5, 4, 5s, "a"));
    client.answer(client.send({.tag = 7}), shows(5, 3, 5s, "a"));
    client.pass(10ms);
    client.answer(client.send({}), shows(5, 4, 5s, "b"));
    CHECK(name_of(client, {}) == "b");
    CHECK(name_of(client, {.tag = 7}) == "a");
    SECTION("until its own answer shows the other hash") {
        client.pass(10ms);
        client.answer(client.send({.tag = 7}), shows(5, 3, 5s, "b"));
        CHECK(name_of(client, {.tag = 7}) == "b");
    }
}
