// SPDX-License-Identifier: MIT
//
// A bot that stops and one that goes on from what it knew, whose clock has another origin. Whole
// bots that are stopped at random are in simulation.cpp.
#include <sluice/core/invalid_requests.hpp>
#include <sluice/core/scheduler.hpp>
#include <sluice/core/snapshot.hpp>

#include "support/catch.hpp"
#include "support/core_client.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

namespace {

using namespace sluice;
using namespace sluice::tests;
using Call = CoreClient::Call;

/// The next one, started so long after the snapshot.
std::unique_ptr<CoreClient> after(Duration downtime, CoreClient& before,
                                  const core::Settings& settings = {.global_limit = 0}) {
    auto next = std::make_unique<CoreClient>(settings);
    next->now = Time(25h);
    next->scheduler.restore(before.scheduler.save(before.now), next->now - downtime, next->now);
    return next;
}

void meet(CoreClient& client, const Target& target, const core::Answer& with) {
    Call& call = client.send(target);
    REQUIRE(call.sent());
    client.answer(call, with);
    client.release(call);
}

/// How many of so many requests go at once; they are never sent.
int go_at_once(CoreClient& client, const Target& target, int requests) {
    int gone = 0;
    for (int i = 0; i < requests; ++i) {
        Call& call = client.send(target);
        gone += call.sent() ? 1 : 0;
    }
    return gone;
}

/// How long until one more request goes; nothing if that hangs on an answer.
std::optional<Duration> wait(CoreClient& client, const Target& target) {
    return client.time_until_sent(client.send(target));
}

} // namespace

TEST_CASE("a window that is still open goes on, less the time between") {
    CoreClient before;
    meet(before, {}, shows(5, 2, 10s));
    CHECK(go_at_once(*after(4s, before), {}, 5) == 2);
    const auto next = after(4s, before);
    CHECK(go_at_once(*next, {}, 2) == 2);
    CHECK(wait(*next, {}) == 6s + 1ms); // as the old one would have waited, without credit
}

TEST_CASE("a window that ended in the meantime is full, and no probe flies alone") {
    CoreClient before;
    meet(before, {}, shows(5, 0, 10s));
    CHECK(go_at_once(*after(11s, before), {}, 9) == 5);
}

TEST_CASE("requests under way when a bot stopped count as lost") {
    CoreClient before;
    meet(before, {}, shows(5, 4, 10s));
    REQUIRE(go_at_once(before, {}, 2) == 2);
    const auto next = after(1s, before);
    CHECK(go_at_once(*next, {}, 5) == 2);
    const auto later = after(1h, before); // whatever became of them
    CHECK(go_at_once(*later, {}, 9) == 5);
}

TEST_CASE("a first request under way when a bot stopped is waited for as a lost one is") {
    CoreClient before;
    REQUIRE(before.send(Target{}).sent());
    CHECK(wait(*after(100ms, before), {}) == 1s);
}

TEST_CASE("what is queued is not saved, and nothing waits for it") {
    CoreClient before;
    meet(before, {}, shows(1, 0, 10s));
    REQUIRE(go_at_once(before, {}, 3) == 0);
    CHECK(go_at_once(*after(11s, before), {}, 1) == 1);
}

TEST_CASE("a route's hash is known in channels that nobody has met, and routes share buckets") {
    CoreClient before;
    const Target beside{.route = 2};
    meet(before, {}, shows(5, 4, 10s));
    meet(before, beside, shows(5, 3, 10s));
    const auto next = after(1s, before);
    CHECK(&next->bucket({}) == &next->bucket(beside));
    CHECK(next->scheduler.registry().hash_of(next->bucket({.route = 2, .channel = 77})) == "a");
}

TEST_CASE("a route without limits stays as wide as it was") {
    CoreClient before;
    meet(before, {}, silent());
    const int again = go_at_once(*after(1s, before), {}, 60);
    CHECK(again == go_at_once(before, {}, 60));
    CHECK(again == 50);
}

TEST_CASE("a bucket that drips goes on dripping") {
    CoreClient before;
    meet(before, {}, shows(5, 4, 1s));
    Call& first = before.send(Target{});
    before.pass(50ms);
    before.answer(first, shows(5, 3, 1950ms)); // grows: one slot each second
    REQUIRE(before.bucket({}).window.drips());
    const auto next = after(100ms, before);
    CHECK(next->bucket({}).window.drips());
    CHECK(next->bucket({}).window.interval() == before.bucket({}).window.interval());
    REQUIRE(go_at_once(*next, {}, 3) == 3);
    CHECK(wait(*next, {}).value() < 1s);
}

TEST_CASE("a bucket that sleeps is saved as well") {
    CoreClient before;
    meet(before, {}, shows(5, 4, 1s));
    before.pass(1min);
    meet(before, {.route = 2, .channel = 2}, shows(5, 4, 1s, "b")); // sends the other to sleep
    REQUIRE(before.scheduler.registry().lane_count() == 1);
    CHECK(go_at_once(*after(1s, before), {}, 9) == 5);
}

TEST_CASE("a lane that a hidden limit blocks stays blocked, and no other") {
    CoreClient before;
    const Target renaming{.tag = 9};
    meet(before, {}, shows(5, 4, 1s));
    core::Answer hidden = shows(5, 3, 1s);
    hidden.status = 429;
    hidden.retry_after = 10min;
    meet(before, renaming, hidden);
    const auto next = after(1min, before);
    CHECK(go_at_once(*next, {}, 1) == 1);
    CHECK(wait(*next, renaming) == 9min);
}

TEST_CASE("a bucket stays blocked for as long as its 429 told") {
    CoreClient before;
    meet(before, {}, spent(30s));
    CHECK(wait(*after(10s, before), {}) == 20s + 1ms);
}

TEST_CASE("routes that were found to count apart stay apart") {
    CoreClient before;
    const Target beside{.route = 2};
    for (int left = 4; before.scheduler.counters().split == 0; --left) {
        REQUIRE(left >= 2);
        for (const Target& target : {Target{}, beside}) {
            Call& call = before.send(target);
            before.pass(50ms);
            before.answer(call, shows(5, left, 10s));
            before.release(call);
        }
    }
    REQUIRE(before.scheduler.counters().split == 1);
    const auto next = after(1s, before);
    CHECK(&next->bucket({}) != &next->bucket(beside));
    const int left = go_at_once(before, {}, 5);
    CHECK(left > 0);
    CHECK(go_at_once(*next, {}, 5) == left);
    CHECK(go_at_once(*next, beside, 5) == go_at_once(before, beside, 5));
    CHECK(&next->bucket({.channel = 5}) != &next->bucket({.route = 2, .channel = 5}));
}

TEST_CASE("slots of the global limit come back when they would have") {
    const core::Settings settings{.global_limit = 3, .global_period = 10s};
    CoreClient before(settings);
    meet(before, {}, shows(50, 49, 1s));
    before.pass(4s);
    REQUIRE(before.send(Target{}).sent()); // under way: its slot is held for a period from now on
    const auto next = after(1s, before, settings);
    CHECK(go_at_once(*next, {.exempt = true}, 2) == 2);
    CHECK(go_at_once(*next, {.channel = 2}, 2) == 1);
    const auto later = after(5s, before, settings);
    REQUIRE(go_at_once(*later, {.channel = 2}, 1) == 1);
    CHECK(wait(*later, {.channel = 3}) == 1s); // the first slot: 4 s before, 5 s between
}

TEST_CASE("global and Cloudflare's blocks go on") {
    CoreClient before;
    core::Answer global = bare_429(20s);
    global.global = true;
    global.from_discord = true;
    meet(before, {}, global);
    CHECK(wait(*after(5s, before), {.channel = 2}).value() >= 14s);
    CHECK(go_at_once(*after(5s, before), {.channel = 2, .exempt = true}, 1) == 1);

    CoreClient banned;
    core::Answer block = bare_429(20s);
    block.from_discord = false;
    meet(banned, {}, block);
    CHECK(wait(*after(5s, banned), {.channel = 2, .exempt = true}) == 15s);
    CHECK(after(20s, banned)->scheduler.gate().untroubled()); // or each request would ask for more
}

TEST_CASE("a webhook that is gone stays gone, and a refused token is forgotten") {
    CoreClient before;
    core::LaneTraits traits;
    traits.webhook = traits.tokenless = traits.path_token = true;
    const core::LaneKey key{7, {core::MajorKind::webhook_token, 1, 2}, 0};
    core::Lane& lane = before.scheduler.lane(key, traits, before.now);
    core::Place place;
    REQUIRE(before.scheduler.try_admit(lane, before.now, place));
    core::Answer gone = silent(404);
    gone.code = 10015;
    before.scheduler.answer(place, gone, core::never, before.now);
    core::Scheduler::release(place);
    meet(before, {}, silent(401));

    const auto next = after(1h, before);
    core::Lane& again = next->scheduler.lane(key, traits, next->now);
    CHECK(next->scheduler.barred(again, next->now) == core::Refused::unknown_webhook);
    CHECK(!next->scheduler.barred(next->lane({}), next->now));
}

TEST_CASE("invalid requests are forgotten when they would have been") {
    core::InvalidRequests before({.slow_at = 5, .stop_at = 10, .period = 10min});
    const Time start(1h);
    for (int minute = 0; minute < 8; ++minute)
        before.add(start + minute * 1min);
    std::vector<core::InvalidRequests::Slice> slices;
    const Time stopped = start + 8min;
    before.each_slice(stopped, [&](const auto& slice) { slices.push_back(slice); });
    CHECK(slices.size() == 8);

    core::InvalidRequests next({.slow_at = 5, .stop_at = 10, .period = 10min});
    next.add(Time(40h));
    const Time then(50h);
    next.restore(slices, then);
    for (Duration later{0}; later < 12min; later += 7s) {
        CAPTURE(later);
        REQUIRE(next.count(then + later) == before.count(stopped + later));
    }
}

TEST_CASE("an address that has counted for itself is not told again") {
    CoreClient before;
    meet(before, {}, silent(403));
    meet(before, {}, silent(403));
    const auto next = after(1s, before);
    CHECK(next->scheduler.gate().invalid(next->now) == 2);
    meet(*next, {}, silent(403));
    const core::Snapshot saved = before.scheduler.save(before.now);
    next->scheduler.restore(saved, next->now, next->now);
    CHECK(next->scheduler.gate().invalid(next->now) == 3);
}

TEST_CASE("what a bot has learned since it started is newer than any snapshot") {
    CoreClient before;
    meet(before, {}, shows(5, 0, 10min));
    CoreClient next;
    meet(next, {}, shows(7, 6, 10s, "b"));
    next.scheduler.restore(before.scheduler.save(before.now), next.now, next.now);
    CHECK(next.scheduler.registry().hash_of(next.bucket({})) == "b");
    CHECK(go_at_once(next, {}, 9) == 6);

    CoreClient same;
    meet(same, {}, shows(5, 3, 10s));
    same.scheduler.restore(before.scheduler.save(before.now), same.now, same.now);
    CHECK(go_at_once(same, {}, 9) == 3);
}

TEST_CASE("what waits and what is out while a snapshot is restored is left alone") {
    CoreClient before;
    meet(before, {}, shows(5, 0, 10min));
    CoreClient next;
    Call& probe = next.send(Target{});
    Call& waiting = next.send(Target{});
    REQUIRE(waiting.waits());
    next.scheduler.restore(before.scheduler.save(before.now), next.now, next.now);
    next.answer(probe, shows(5, 4, 10s, "b"));
    CHECK(waiting.sent());
    next.cancel(waiting);
    next.release(waiting);
    next.release(probe);
    CHECK(next.at_rest());
}

TEST_CASE("a snapshot of a restored bot is the snapshot that it was restored from") {
    CoreClient before;
    meet(before, {}, shows(5, 2, 10s));
    meet(before, {.route = 2, .channel = 2}, silent());
    meet(before, {.route = 3, .channel = 3}, spent(30s, "c"));
    const core::Snapshot first = before.scheduler.save(before.now);
    const auto next = after(1s, before);
    const core::Snapshot second = next->scheduler.save(next->now);
    REQUIRE(second.buckets.size() == first.buckets.size());
    for (const auto& bucket : first.buckets) {
        const auto same =
            std::find_if(second.buckets.begin(), second.buckets.end(),
                         [&](const auto& other) { return other.major == bucket.major; });
        REQUIRE(same != second.buckets.end());
        CHECK(same->name.hash == bucket.name.hash);
        CHECK(same->window.left == bucket.window.left);
        CHECK(same->window.remains.limit == bucket.window.remains.limit);
        if (bucket.window.full_in) CHECK(*same->window.full_in == *bucket.window.full_in - 1s);
    }
    CHECK(second.routes.size() == first.routes.size());
    CHECK(next->at_rest());
}
