// SPDX-License-Identifier: MIT
//
// Buckets that give each request back a period after it, and who is taken for one.
#include <sluice/core/bucket.hpp>
#include <sluice/core/sliding_log.hpp>
#include <sluice/testing/fake_limit.hpp>

#include "support/catch.hpp"
#include "support/core_client.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <random>
#include <vector>

namespace {

using namespace sluice;
using namespace sluice::tests;
using core::SlidingLog;
using testing::Algorithm;
using Call = CoreClient::Call;

constexpr Time start = Time(1h);
constexpr Duration none{0};

/// Who is answered at once is taken for one of whom nobody knows when it was sent.
void respond(CoreClient& client, Call& call, const core::Answer& answer) {
    client.pass(1ms);
    client.answer(call, answer);
}

/// Five requests, a second apart, of a bucket of five in ten seconds that shows this Reset-After
/// when so many have gone before.
template <class ResetAfter>
void spend_slowly(CoreClient& client, ResetAfter reset_after) {
    for (int i = 0; i < 5; ++i) {
        Call& call = client.send({});
        REQUIRE(call.sent());
        respond(client, call, shows(5, 4 - i, reset_after(i)));
        client.pass(999ms);
    }
}
Duration of_log(int /*before*/) {
    return 10s;
}
/// Five a second apart, and the one that tries whether the first of them is back: it is.
void prove_sliding(CoreClient& client) {
    spend_slowly(client, of_log);
    Call& trial = client.send({});
    client.time_until_sent(trial);
    respond(client, trial, shows(5, 0, 10s));
    client.release(trial);
}
Duration of_fixed(int before) {
    return 10s - before * 1s;
}
Duration of_leaky(int before) {
    return (before + 1) * 2s - before * 1s;
}

/// Whether a bucket of that limit is taken for a log at some time, by answers that come late and
/// out of order, to requests at random moments.
bool ever_slides(Algorithm algorithm, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    const auto between = [&](Duration low, Duration high) {
        return low + Duration(static_cast<std::int64_t>(
                         random() % static_cast<std::uint64_t>((high - low).count() + 1)));
    };
    const auto most = static_cast<std::int64_t>(3 + random() % 20);
    const testing::Limit limit{algorithm, most, between(1s, 20s)};
    const Duration unit = random() % 3 == 0 ? Duration(1s) : Duration(1ms);
    const Duration slowest = between(0ms, 400ms);
    testing::Counter counter(limit);
    core::Bucket bucket;
    std::multimap<Time, core::Observation> answers;
    Time sent = start;
    for (int i = 0; i < 200; ++i) {
        sent += between(0ns, 2 * limit.period / limit.limit);
        const Duration arrival = (sent - start) + slowest; // in order, as counters want it
        const Time looked = start + arrival;
        while (!answers.empty() && answers.begin()->first <= looked) {
            bucket.accept(answers.begin()->second, none);
            answers.erase(answers.begin());
            if (bucket.window.slides()) return true;
        }
        if (counter.wait(arrival) > 0s) continue;
        counter.spend(arrival);
        const testing::Standing standing = counter.standing(arrival);
        core::Observation seen;
        seen.sent = sent;
        seen.received = looked + between(0ns, slowest);
        seen.limit = limit.limit;
        seen.remaining = standing.remaining;
        seen.reset_after = (standing.reset_after + unit - 1ns) / unit * unit;
        seen.reset = 1'000'000s + standing.reset;
        seen.unit = unit;
        answers.emplace(seen.received, seen);
    }
    return false;
}

} // namespace

TEST_CASE("of a sliding log each request comes back a period after its answer") {
    SlidingLog log(3);
    log.learn_period(10s);
    log.add(start);
    log.add(start + 1s, 2);
    CHECK(log.held(start + 10s - 1ns, none) == 3);
    CHECK(log.next(start + 2s, none) == start + 10s);
    CHECK(log.held(start + 10s, none) == 2);
    CHECK(log.next(start + 10s, none) == start + 11s);
    CHECK(log.held(start + 11s - 60ms, 60ms) == 0); // sent that early, it arrives late enough
    CHECK(log.next(start + 11s - 60ms, 60ms) == core::never);
}

TEST_CASE("a sliding log keeps no more requests than the limit, the latest") {
    SlidingLog log(2);
    log.learn_period(10s);
    for (int i = 0; i < 5; ++i)
        log.add(start + i * 1s);
    CHECK(log.held(start + 5s, none) == 2);
    CHECK(log.next(start + 5s, none) == start + 13s);
}

TEST_CASE("a sliding log foresees when the one behind so many others can go") {
    SlidingLog log(3);
    log.learn_period(10s);
    log.add(start);
    log.add(start + 1s);
    CHECK(log.foresee(start + 2s, 0, none) == start + 10s);
    CHECK(log.foresee(start + 2s, 1, none) == start + 11s);
    CHECK(log.foresee(start + 2s, 2, none) == start + 12s); // one that is still in flight
    CHECK(log.foresee(start + 2s, 3, none) == start + 20s); // who goes first is back then
    CHECK(log.foresee(start + 2s, 7, none) == start + 31s);
}

TEST_CASE("a bucket whose Reset-After stays a whole period gives back one by one") {
    CoreClient client;
    spend_slowly(client, of_log);
    const auto calls = client.send(3, {});
    SECTION("the first goes alone, when the first that was spent is back") {
        const auto waited = client.time_until_sent(*calls[0]);
        REQUIRE(waited);
        CHECK(*waited >= 5s);
        CHECK(*waited <= 5200ms);
        client.pass(3s); // by now three are back
        client.cancel(*calls[2]);
        CHECK_FALSE(calls[1]->sent());
    }
    SECTION("once that is accepted the others follow as theirs come back") {
        client.time_until_sent(*calls[0]);
        respond(client, *calls[0], shows(5, 0, 10s));
        CHECK_FALSE(calls[1]->sent());
        client.pass(1s);
        CHECK(calls[1]->sent());
        client.pass(1s);
        CHECK(calls[2]->sent()); // though the answer to the one before has yet to come
    }
    SECTION("it is foreseen") {
        const auto at = client.scheduler.predict(client.lane({}), client.now);
        REQUIRE(at);
        CHECK(*at >= client.now + 8s);
        CHECK(*at <= client.now + 8200ms); // behind three, for the fourth that was spent
    }
}

TEST_CASE("a bucket that slept is a sliding log still, and needs no trial") {
    CoreClient client({.global_limit = 0, .idle = {1s, 1h, 10}});
    prove_sliding(client);
    client.pass(60s);
    client.send({.route = 2, .channel = 9}); // the others are looked at as one is used
    for (int i = 0; i < 5; ++i) {
        respond(client, client.send({}), shows(5, 4 - i, 10s));
        client.pass(1s);
    }
    const auto calls = client.send(2, {});
    CHECK(client.time_until_sent(*calls[0]).value_or(1h) <= 5100ms);
    client.pass(1010ms);
    CHECK(calls[1]->sent());
}

TEST_CASE("a success without headers takes a place in a sliding log") {
    CoreClient client;
    prove_sliding(client);
    Call& bare = client.send({});
    client.time_until_sent(bare);
    respond(client, bare, silent());
    const auto calls = client.send(5, {});
    CHECK_FALSE(calls[0]->sent());
    client.pass(4100ms); // three of the first five are back
    CHECK(calls[2]->sent());
    CHECK(client.time_until_sent(*calls[3]).value_or(1h) <= 5200ms);
    CHECK_FALSE(calls[4]->sent()); // though the end that the trial named has passed
    CHECK(client.time_until_sent(*calls[4]) >= 800ms);
}

TEST_CASE("what another route has spent before it met a sliding log counts as spent last") {
    CoreClient client;
    respond(client, client.send({}), shows(5, 4, 10s));
    client.pass(2s);
    respond(client, client.send({.route = 2}), silent());
    client.pass(2s);
    respond(client, client.send({.route = 2}), shows(5, 2, 10s)); // now they have met
    for (int i = 0; i < 2; ++i) {
        client.pass(1s);
        respond(client, client.send({}), shows(5, 1 - i, 10s));
    }
    Call& trial = client.send({});
    CHECK(client.time_until_sent(trial) >= 4s);
    respond(client, trial, shows(5, 0, 10s));
    CHECK(client.time_until_sent(client.send({})));
    CHECK(client.now >= start + 12s); // the bare one of route 2
}

TEST_CASE("what others have spent of a sliding log shows in what is left") {
    CoreClient client;
    prove_sliding(client);
    client.pass(2s);
    Call& call = client.send({});
    REQUIRE(call.sent());
    client.pass(100ms);
    respond(client, call, shows(5, 0, 10s)); // one more than are known to be spent
    Call& next = client.send({});
    CHECK_FALSE(next.sent());
    CHECK(client.time_until_sent(next).value_or(1h) <= 1s);
}

TEST_CASE("nobody is refused for a wait that a cancelled request of a sliding log may end") {
    CoreClient client;
    prove_sliding(client);
    client.pass(2s);
    Call& first = client.send({});
    Call& second = client.send({});
    REQUIRE(second.sent());
    Call& waits = client.send({}, client.now + 500ms);
    respond(client, first, shows(5, 1, 10s));
    CHECK_FALSE(waits.refused());
    client.cancel(second);
    CHECK(waits.sent());
}

TEST_CASE("while a sliding log is blocked nothing goes, though places are back") {
    CoreClient client;
    prove_sliding(client);
    const auto calls = client.send(3, {});
    client.pass(3s);
    REQUIRE(calls[2]->sent());
    respond(client, *calls[0], spent(8s));
    respond(client, *calls[1], shows(5, 0, 10s));
    respond(client, *calls[2], shows(5, 0, 10s));
    Call& next = client.send({});
    Call& other = client.send({});
    client.pass(7s);
    client.cancel(other); // which makes it look again
    CHECK_FALSE(next.sent());
    CHECK(client.time_until_sent(next) >= 1s);
}

TEST_CASE("a counter that each request keeps alive refuses one, once") {
    CoreClient client;
    spend_slowly(client, of_log);
    Call& trial = client.send({});
    REQUIRE(client.time_until_sent(trial).value_or(1h) <= 5200ms);
    respond(client, trial, spent(4s));
    client.retry(trial);
    CHECK(client.time_until_sent(trial) >= 4s);
    respond(client, trial, shows(5, 4, 10s));
    for (int i = 0; i < 4; ++i) {
        client.pass(1s);
        respond(client, client.send({}), shows(5, 3 - i, 10s));
    }
    CHECK(client.time_until_sent(client.send({})) >= 10s);
}

TEST_CASE("places that come back before the end are trusted without a trial") {
    CoreClient client;
    for (int i = 0; i < 4; ++i) {
        respond(client, client.send({}), shows(5, 4 - i, 10s));
        client.pass(2500ms);
    }
    client.pass(200ms); // the first is back
    respond(client, client.send({}), shows(5, 1, 10s));
    respond(client, client.send({}), shows(5, 0, 10s));
    const auto calls = client.send(2, {});
    client.pass(2500ms);
    CHECK(calls[0]->sent());
    client.pass(2500ms);
    CHECK(calls[1]->sent()); // without an answer to the other
}

TEST_CASE("an answer that was overtaken proves nothing") {
    CoreClient client;
    for (int i = 0; i < 4; ++i) {
        respond(client, client.send({}), shows(6, 5 - i, 10s));
        client.pass(1s);
    }
    REQUIRE(client.bucket({}).window.slides());
    const auto calls = client.send(2, {});
    client.pass(1s);
    respond(client, *calls[1], shows(6, 0, 10s));
    respond(client, *calls[0], shows(6, 1, 10s));
    CHECK_FALSE(client.bucket({}).window.surely_slides());
}

TEST_CASE("a sliding log whose period has become shorter is followed") {
    CoreClient client;
    prove_sliding(client);
    client.pass(30s);
    int left = 5;
    for (Call* call : client.send(5, {}))
        respond(client, *call, shows(5, --left, 5s));
    CHECK(client.time_until_sent(client.send({})).value_or(1h) <= 5100ms);
}

TEST_CASE("what may have been counted of a lost request stays taken in a sliding log") {
    CoreClient client;
    prove_sliding(client);
    Call& lost = client.send({});
    client.time_until_sent(lost);
    client.lose(lost);
    Call& later = client.send({});
    client.time_until_sent(later);
    const Time answered = client.now;
    respond(client, later, shows(5, 0, 10s)); // which settles the lost one
    std::vector<Time> sent;
    for (int i = 0; i < 4; ++i) {
        Call& next = client.send({});
        client.time_until_sent(next);
        sent.push_back(client.now);
        respond(client, next, shows(5, 0, 10s));
    }
    // Two more of the first five, the trial, and then not before the lost one may be back.
    CHECK(sent[2] < answered + 9s);
    CHECK(sent[3] >= answered + 10s);
}

TEST_CASE("neither a fixed window nor a leaky bucket is taken for a sliding log") {
    CoreClient fixed;
    spend_slowly(fixed, of_fixed);
    CHECK_FALSE(fixed.bucket({}).window.may_slide());
    CoreClient leaky;
    spend_slowly(leaky, of_leaky);
    CHECK_FALSE(leaky.bucket({}).window.slides());
    const auto algorithm = GENERATE(Algorithm::fixed, Algorithm::aligned, Algorithm::gcra);
    for (std::uint64_t seed = 0; seed < 2'000; ++seed) {
        CAPTURE(static_cast<int>(algorithm), seed);
        REQUIRE_FALSE(ever_slides(algorithm, seed));
    }
}

TEST_CASE("a sliding log of three is recognised in its first window") {
    CoreClient client;
    for (int i = 0; i < 3; ++i) {
        respond(client, client.send({}), shows(3, 2 - i, 10s));
        client.pass(1s);
    }
    CHECK(client.bucket({}).window.slides());
}

TEST_CASE("most sliding logs are recognised") {
    int recognised = 0;
    for (std::uint64_t seed = 0; seed < 500; ++seed)
        recognised += ever_slides(Algorithm::sliding_log, seed) ? 1 : 0;
    CHECK(recognised > 450);
}
