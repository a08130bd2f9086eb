// SPDX-License-Identifier: MIT
//
// Requests of which nobody will ever know more: how long they keep their places, what settles them,
// and how a bucket goes on when nothing does.
#include <sluice/core/scheduler.hpp>

#include "support/catch.hpp"
#include "support/core_client.hpp"

#include <chrono>
#include <optional>
#include <vector>

namespace {

using namespace sluice;
using namespace sluice::tests;
using Call = CoreClient::Call;

} // namespace

TEST_CASE("a lost request keeps its place until an answer to a later one") {
    CoreClient client;
    client.answer(client.send({}), shows(3, 2, 60s));
    Call& lost = client.send({});
    client.lose(lost);
    CHECK(client.bucket({}).out(client.now) == 1);
    client.pass(1s);
    Call& later = client.send({});
    CHECK(later.sent());
    CHECK_FALSE(client.send({}).sent()); // two places of two are taken
    client.answer(later, shows(3, 0, 59s));
    CHECK(client.bucket({}).out(client.now) == 0);
}

TEST_CASE("an answer to a request sent before the loss settles nothing") {
    CoreClient client;
    client.answer(client.send({}), shows(5, 4, 60s));
    Call& earlier = client.send({});
    Call& lost = client.send({});
    client.pass(1ms);
    client.lose(lost);
    client.answer(earlier, shows(5, 3, 59s));
    CHECK(client.bucket({}).out(client.now) == 1);
}

TEST_CASE("when every request is lost the bucket opens again by itself") {
    CoreClient client;
    client.answer(client.send({}), shows(1, 0, 5s));
    client.pass(6s);
    client.lose(client.send({}));
    Call& next = client.send({});
    CHECK_FALSE(next.sent());
    const auto waited = client.time_until_sent(next);
    REQUIRE(waited);
    CHECK(*waited <= 5s);
}

TEST_CASE("after losses that only time has settled one request goes first, and tells") {
    CoreClient client;
    client.answer(client.send({}), shows(5, 4, 1s)); // may be one of five, a second each
    for (Call* call : client.send(4, {}))
        client.lose(*call);
    SECTION("it tells that they had been counted") {
        const auto calls = client.send(5, {});
        client.pass(1002ms);
        REQUIRE(calls[0]->sent());
        CHECK_FALSE(calls[1]->sent());
        client.answer(*calls[0], shows(5, 0, 5s));
        CHECK_FALSE(calls[1]->sent());
        CHECK(client.time_until_sent(*calls[1]) >= 5s);
    }
    SECTION("it tells that they are back") {
        const auto calls = client.send(5, {});
        client.pass(1002ms);
        CHECK_FALSE(calls[1]->sent());
        client.answer(*calls[0], shows(5, 4, 1s));
        CHECK(calls[4]->sent());
    }
    SECTION("it is lost as well, and another follows") {
        const auto calls = client.send(5, {});
        client.pass(1002ms);
        client.lose(*calls[0]);
        CHECK_FALSE(calls[1]->sent());
        client.pass(1002ms);
        CHECK(calls[1]->sent());
        CHECK_FALSE(calls[2]->sent());
        CHECK(client.scheduler.predict(client.lane({}), client.now) == std::nullopt);
    }
    SECTION("an answer that does not come keeps nobody waiting") {
        client.pass(5s);
        client.send({}); // and nothing more is heard of it
        client.lose(client.send({}));
        client.pass(1002ms);
        CHECK(client.send({}).sent());
        CHECK_FALSE(client.send({}).sent());
    }
    SECTION("it is never answered, and all go when they must be back") {
        const auto calls = client.send(5, {});
        client.pass(1002ms);
        CHECK_FALSE(calls[1]->sent());
        client.pass(4s);
        CHECK(calls[3]->sent()); // the first still has its place
    }
    SECTION("nobody asks until all of them must be back") {
        client.pass(5s);
        CHECK(client.send(5, {}).back()->sent());
    }
}

TEST_CASE("a lost or cancelled probe is followed by the next", "[R3]") {
    CoreClient client;
    const auto calls = client.send(4, {});
    client.cancel(*calls[0]);
    CHECK(client.order == std::vector{1, 2});
    client.lose(*calls[1]);
    CHECK(client.order == std::vector{1, 2}); // it may have been counted, and the limit may be 1
    client.pass(1s);
    CHECK(client.order == std::vector{1, 2, 3});
    client.answer(*calls[2], shows(5, 4, 5s));
    CHECK(client.order == std::vector{1, 2, 3, 4});
}
