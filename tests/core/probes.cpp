// SPDX-License-Identifier: MIT
//
// Requests on routes nobody knows yet count against the buckets they may turn out to draw on.
#include <sluice/core/probes.hpp>

#include "support/catch.hpp"
#include "support/core_client.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace {

using namespace sluice;
using namespace sluice::tests;
using Call = CoreClient::Call;

/// Route 1 of channel 1 has `left` requests left for a minute.
void leave(CoreClient& client, std::int64_t left) {
    Call& call = client.send({});
    client.answer(call, shows(5, left, 60s));
    client.release(call);
    client.order.clear();
}

const Target known{.route = 1};
const Target unseen{.route = 2};
const Target unseen_too{.route = 3};

} // namespace

TEST_CASE("one probe flies per route and channel, and others wait for its answer", "[R3]") {
    CoreClient client;
    client.send(3, {.route = 1, .channel = 1});
    client.send(3, {.route = 1, .channel = 2});
    client.send(3, {.route = 2, .channel = 1});
    CHECK(client.order == std::vector{1, 4, 7});
}

TEST_CASE("a probe takes a place in the known buckets of its channel until it is answered") {
    CoreClient client;
    leave(client, 1);
    Call& probe = client.send(unseen);
    Call& waiting = client.send(known);
    CHECK_FALSE(waiting.sent()); // the probe may take the last one
    client.answer(probe, shows(7, 6, 5s, "another"));
    CHECK(waiting.sent());
}

TEST_CASE("a probe that turns out to share the bucket has left nothing for the other route") {
    CoreClient client;
    leave(client, 1);
    Call& probe = client.send(unseen);
    Call& waiting = client.send(known);
    client.answer(probe, shows(5, 0, 60s));
    CHECK_FALSE(waiting.sent());
    CHECK(&client.bucket(known) == &client.bucket(unseen));
}

TEST_CASE("several probes take several places") {
    CoreClient client;
    leave(client, 3);
    Call& first = client.send(unseen);
    client.send(unseen_too);
    client.send(3, known);
    CHECK(client.order == std::vector{2, 3, 4}); // both probes, and the one that is left for sure
    client.answer(first, shows(7, 6, 5s, "another"));
    CHECK(client.order == std::vector{2, 3, 4, 5});
}

TEST_CASE("a probe takes no place in other channels") {
    CoreClient client;
    leave(client, 1);
    client.send({.route = 2, .channel = 2});
    CHECK(client.send(known).sent());
}

TEST_CASE("a route that is known but was never used in this channel is no probe of the others") {
    CoreClient client;
    leave(client, 1);
    Call& elsewhere = client.send({.route = 2, .channel = 9});
    client.answer(elsewhere, shows(7, 6, 5s, "another")); // route 2 is known from here on
    client.send(unseen);
    CHECK(client.send(known).sent());
}

TEST_CASE("a lost or cancelled probe gives its places back") {
    CoreClient client;
    leave(client, 2);
    Call& lost = client.send(unseen);
    Call& cancelled = client.send(unseen_too);
    Call& waiting = client.send(known);
    CHECK_FALSE(waiting.sent());
    client.lose(lost);
    CHECK(waiting.sent());
    Call& next = client.send(known);
    CHECK_FALSE(next.sent());
    client.cancel(cancelled);
    CHECK(next.sent());
}

TEST_CASE("a probe that is not answered holds up others for a while only") {
    CoreClient client;
    leave(client, 1);
    client.send(unseen);
    Call& waiting = client.send(known);
    CHECK(client.time_until_sent(waiting) == core::Probes::suspected_for);
}

TEST_CASE("a probe that was refused is a probe when it is repeated") {
    CoreClient client;
    leave(client, 1);
    Call& probe = client.send(unseen);
    client.answer(probe, bare_429(1s));
    client.retry(probe);
    client.pass(1s);
    REQUIRE(probe.sent());
    CHECK_FALSE(client.send(known).sent());
}

TEST_CASE("an answer without headers ends the suspicion: the route has no bucket to share") {
    CoreClient client;
    leave(client, 1);
    client.answer(client.send(unseen), silent());
    client.send(5, unseen);
    CHECK(client.send(known).sent());
}

TEST_CASE("20 PUT and 20 DELETE that turn out to share a bucket never overdraw it", "[R8]") {
    CoreClient client;
    std::vector<Call*> calls;
    for (int i = 0; i < 20; ++i) {
        calls.push_back(&client.send(known));
        calls.push_back(&client.send(unseen));
    }
    CHECK(client.order.size() == 2); // a probe each
    client.answer(*calls[0], shows(10, 9, 10s));
    CHECK(client.scheduler.in_flight() == 9); // 9 are left, and the other probe takes one of them
    client.answer(*calls[1], shows(10, 8, 10s));
    CHECK(client.scheduler.in_flight() == 8);
    client.pass(20s); // in each window to come, those under way may count
    CHECK(client.scheduler.in_flight() == 10);
}
