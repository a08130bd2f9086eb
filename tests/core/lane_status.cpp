// SPDX-License-Identifier: MIT
//
// What stops a lane is asked in five ways: may it go (try_admit), when may it go (predict), what is
// in its way (obstacle), when is it looked at again (next_wake), whose turn is it (advance). For
// each cause all of them must give one answer.
#include <sluice/core/scheduler.hpp>

#include "support/catch.hpp"
#include "support/core_client.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

namespace {

using namespace sluice;
using namespace sluice::tests;
using core::Obstacle;
using Call = CoreClient::Call;

core::Answer failed(int status, std::int32_t code = -1) {
    core::Answer answer = silent(status);
    answer.code = code;
    return answer;
}

/// Asks all five about one more request of `target`, of which nothing waits yet. `wait` is how long
/// it has to wait, nothing while that hangs on an answer.
void check_all(CoreClient& client, const Target& target, std::optional<Duration> wait,
               Obstacle obstacle) {
    constexpr Duration rounding = 1ms; // of the headers, which is waited out as well
    core::Lane& lane = client.lane(target);
    core::Place place;
    CHECK_FALSE(client.scheduler.admits(lane, client.now));
    CHECK_FALSE(client.scheduler.try_admit(lane, client.now, place));
    const auto at = client.scheduler.predict(lane, client.now);
    REQUIRE(at.has_value() == wait.has_value());
    Call& call = client.send(target);
    REQUIRE(call.waits());
    CHECK(client.scheduler.obstacle(client.lane(target), client.now) == obstacle);
    if (!wait) {
        CHECK(client.time_until_sent(call).value_or(1h) > 1s); // not by itself
        return;
    }
    CHECK(*at - client.now >= *wait);
    CHECK(*at - client.now <= *wait + rounding);
    CHECK(client.scheduler.next_wake() <= *at);
    CHECK(client.time_until_sent(call).has_value());
    CHECK(client.now == *at);
}

/// The same where no request may go whenever it comes: it is refused, not queued.
void check_refused(CoreClient& client, const Target& target, core::Refused why) {
    core::Place place;
    CHECK_FALSE(client.scheduler.try_admit(client.lane(target), client.now, place));
    CHECK(client.scheduler.barred(client.lane(target), client.now) == why);
    const Call& call = client.send(target);
    CHECK(call.refused());
    CHECK(call.why == why);
}

} // namespace

TEST_CASE("whatever asks what stops a lane gets one answer") {
    const Target target{};
    CoreClient client;
    client.answer(client.send(target), shows(50, 49, 7s));
    core::Answer refusal = bare_429(7s);
    SECTION("its window is spent") {
        client.answer(client.send(target), shows(50, 0, 7s));
        check_all(client, target, 7s, Obstacle::bucket);
    }
    SECTION("a 429 of its bucket") {
        client.answer(client.send(target), spent(7s, "a", 50));
        check_all(client, target, 7s, Obstacle::bucket);
    }
    SECTION("a limit that no header shows") {
        client.answer(client.send(target), refusal);
        check_all(client, target, 7s, Obstacle::bucket);
    }
    SECTION("the request that finds out whether such a limit has ended") {
        client.answer(client.send(target), refusal);
        client.pass(7s);
        REQUIRE(client.send(target).sent());
        check_all(client, target, std::nullopt, Obstacle::bucket);
    }
    SECTION("a limit shared with others") {
        refusal.shared = true;
        client.answer(client.send(target), refusal);
        check_all(client, target, 7s, Obstacle::shared);
    }
    SECTION("a global 429") {
        refusal.global = true;
        client.answer(client.send({.route = 2}), refusal);
        check_all(client, target, 7s, Obstacle::global);
    }
    SECTION("the request that finds out whether a global 429 has ended") {
        refusal.global = true;
        client.answer(client.send({.route = 2}), refusal);
        client.pass(7s);
        REQUIRE(client.send({.route = 3}).sent());
        check_all(client, target, std::nullopt, Obstacle::global);
    }
    SECTION("Cloudflare's block of the address") {
        refusal.from_discord = false;
        client.answer(client.send({.route = 2}), refusal);
        check_all(client, target, 7s, Obstacle::address);
    }
    SECTION("the first request of its route is under way") {
        const Target unknown{.route = 2};
        REQUIRE(client.send(unknown).sent());
        check_all(client, unknown, std::nullopt, Obstacle::bucket);
    }
    SECTION("a 401") {
        client.answer(client.send(target), failed(401));
        check_refused(client, target, core::Refused::unauthorized);
    }
}

TEST_CASE("whatever asks what stops a lane finds the global limit spent") {
    CoreClient client({.global_limit = 2});
    client.answer(client.send({}), shows(50, 49, 60s));
    client.answer(client.send({}), shows(50, 48, 60s));
    check_all(client, {}, 1s, Obstacle::global);
}

TEST_CASE("whatever asks what stops a lane finds a webhook gone") {
    Target target;
    target.traits.path_token = true;
    target.traits.webhook = true;
    CoreClient client;
    client.answer(client.send(target), failed(404, 10015));
    check_refused(client, target, core::Refused::unknown_webhook);
}

TEST_CASE("whatever asks what stops a lane finds too many invalid requests") {
    const auto gate = std::make_shared<core::Gate>(core::InvalidRequestLimits{.stop_at = 1}, false);
    CoreClient client({.global_limit = 0}, gate);
    client.answer(client.send({}), failed(403));
    // The layer above refuses it. Who queues it all the same waits until the count allows one more.
    CHECK(client.scheduler.barred(client.lane({}), client.now) == core::Refused::too_many_invalid);
    check_all(client, {}, gate->stopped_until(client.now) - client.now, Obstacle::address);
}
