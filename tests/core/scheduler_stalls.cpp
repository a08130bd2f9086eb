// SPDX-License-Identifier: MIT
//
// Tickets that are held for ever: they stop nobody for ever, and cost nothing while answers come.
#include <sluice/core/scheduler.hpp>

#include "support/catch.hpp"
#include "support/core_client.hpp"

#include <chrono>
#include <cstddef>

namespace {

using namespace sluice;
using namespace sluice::tests;
using Call = CoreClient::Call;

constexpr Duration silence = core::Scheduler::longest_silence;

} // namespace

TEST_CASE("a ticket held for ever on an unknown route lets one more go each half minute") {
    CoreClient client;
    Call& held = client.send({});
    client.pass(10s);
    const auto calls = client.send(3, {});
    client.pass(silence - 1ns);
    CHECK_FALSE(calls[0]->sent());
    client.pass(1ns);
    CHECK(calls[0]->sent());
    CHECK_FALSE(calls[1]->sent());
    client.pass(silence - 1ns);
    CHECK_FALSE(calls[1]->sent());
    client.pass(1ns);
    CHECK(calls[1]->sent());
    for (Call* call : {&held, calls[0], calls[1]})
        client.answer(*call, shows(5, 4, 1s));
    CHECK(calls[2]->sent());
    client.answer(*calls[2], shows(5, 4, 1s));
    CHECK(client.at_rest());
}

TEST_CASE("so it does in a known bucket that it fills, once the window has room again") {
    CoreClient client;
    client.answer(client.send({}), shows(1, 0, 60s));
    client.pass(61s);
    Call& held = client.send({});
    REQUIRE(held.sent());
    Call& next = client.send({});
    SECTION("nothing is heard of it") {
        CHECK(client.time_until_sent(next) == silence);
    }
    SECTION("the window is spent for longer") {
        client.answer(client.send({.route = 2}), shows(1, 0, 100s));
        CHECK(client.time_until_sent(next) > 90s);
    }
}

TEST_CASE("so it does in a lane that a hidden limit has narrowed") {
    CoreClient client;
    client.answer(client.send({}), shows(50, 49, 600s));
    Call& call = client.send({});
    core::Answer shared = bare_429(1s);
    shared.shared = true;
    client.answer(call, shared);
    client.pass(2s);
    REQUIRE(client.send({}).sent()); // and is held for ever
    Call& next = client.send({});
    CHECK_FALSE(next.sent());
    CHECK(client.time_until_sent(next) == silence);
}

TEST_CASE("while anything is granted, answered, lost or cancelled in a bucket it has not stalled") {
    CoreClient client;
    client.answer(client.send({}), shows(2, 1, 5s));
    client.pass(6s);
    client.send({}); // is held for ever
    for (int i = 0; i < 5; ++i) {
        Call& other = client.send({});
        REQUIRE(other.sent());
        Call& next = client.send({});
        client.pass(20s);
        REQUIRE_FALSE(next.sent());
        client.answer(other, shows(2, 1, 5s));
        client.pass(silence - 1s);
        REQUIRE(next.sent()); // with the next window, not before
        client.cancel(next);
    }
}

TEST_CASE("a first waiter begins the half minute, however long nothing has happened before") {
    CoreClient client;
    client.send({});
    client.pass(1h);
    Call& next = client.send({});
    CHECK_FALSE(next.sent());
    CHECK(client.time_until_sent(next) == silence);
}

TEST_CASE(
    "waiters that move to a bucket in which nothing has happened for long do not go at once") {
    CoreClient client;
    client.answer(client.send({.route = 2}), shows(1, 1, 5s));
    Call& held = client.send({.route = 2}); // fills the bucket
    client.pass(1h);
    Call& first = client.send({.route = 1});
    Call& next = client.send({.route = 1});
    client.answer(first, shows(1, 0, 5s)); // shows the same bucket
    CHECK(held.sent());
    CHECK_FALSE(next.sent());
    CHECK(client.time_until_sent(next) >= 5s);
}
