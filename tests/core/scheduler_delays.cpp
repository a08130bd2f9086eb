// SPDX-License-Identifier: MIT
//
// Requests that pause by themselves: they wait outside their lane, whose others go on, come back to
// their old place in it, and can end in every way in which others can.
#include <sluice/core/scheduler.hpp>

#include "support/catch.hpp"
#include "support/core_client.hpp"

#include <chrono>
#include <cstddef>
#include <vector>

namespace {

using namespace sluice;
using namespace sluice::tests;
using core::Refused;
using Call = CoreClient::Call;

/// In a bucket of one request in 10 s, of which nothing is left.
struct Client : CoreClient {
    explicit Client(const core::Settings& settings = {.global_limit = 0}) : CoreClient(settings) {
        answer(send({}), shows(1, 0, 10s));
    }

    /// A request that was sent, was decided, and now has to pause that long.
    Call& pause(Duration time, Time bound = core::never) {
        pass(11s);
        Call& call = send({}, bound);
        REQUIRE(call.sent());
        answer(call, shows(1, 0, 10s));
        call.place.pause_until(now + time);
        retry(call);
        REQUIRE(call.waits());
        return call;
    }
    void end(Call& call) {
        answer(call, shows(1, 0, 10s));
        release(call);
    }
};

} // namespace

TEST_CASE("a request that pauses by itself goes when its pause is over, not before") {
    Client client;
    Call& call = client.pause(20s);
    CHECK(client.scheduler.queued() == 1);
    CHECK(client.scheduler.next_wake() == client.now + 20s);
    CHECK(client.time_until_sent(call) == 20s);
    client.end(call);
    CHECK(client.at_rest());
}

TEST_CASE("while a request pauses by itself others of its lane go on") {
    Client client;
    Call& paused = client.pause(60s);
    Call& other = client.send({});
    CHECK(client.time_until_sent(other).value() <= 10100ms);
    CHECK(paused.waits());
}

TEST_CASE("after its pause a request is before those of its lane that arrived later") {
    Client client;
    Call& paused = client.pause(5s);
    Call& later = client.send({});
    client.pass(9s);
    CHECK(client.bucket({}).queued == 2);
    client.pass(2s);
    CHECK(paused.sent());
    CHECK(later.waits());
}

TEST_CASE("requests whose pauses end together keep their order, whichever was to end first") {
    Client client;
    Call& first = client.pause(60s);
    Call& second = client.pause(40s);
    client.now += 65s; // the alarm is late
    client.advance();
    CHECK(first.sent());
    CHECK(second.waits());
}

TEST_CASE("a pause that is over by the time of the retry is none") {
    Client client;
    client.pass(11s);
    Call& call = client.send({});
    client.answer(call, shows(1, 0, 0s));
    call.place.pause_until(client.now);
    client.retry(call);
    CHECK(client.time_until_sent(call) < 2s);
}

TEST_CASE("a pausing request can be withdrawn, and nothing of it remains") {
    Client client;
    Call& call = client.pause(20s);
    client.cancel(call);
    client.release(call);
    CHECK(client.at_rest());
    CHECK(client.scheduler.next_wake() == core::never);
}

TEST_CASE("a pausing request is refused when its bound has passed") {
    const bool others = GENERATE(false, true);
    Client client;
    Call& call = client.pause(60s);
    client.cancel(call);
    call.bound = client.now + 15s;
    client.retry(call);
    Call* other = others ? &client.send({}, client.now + 20s) : nullptr;
    client.pass(14s);
    CHECK(call.waits());
    client.pass(1s);
    REQUIRE(call.refused());
    CHECK(call.why == Refused::wait_too_long);
    client.release(call);
    if (other != nullptr) client.end(*other);
    CHECK(client.at_rest());
}

TEST_CASE("a block of the whole token that outlasts its bound refuses a pausing request at once") {
    Client client({.global_limit = 50});
    Call& call = client.pause(5s);
    client.cancel(call);
    call.bound = client.now + 15s;
    client.retry(call);
    Call& other = client.send({.route = 2, .channel = 2});
    REQUIRE(other.sent());
    core::Answer global = bare_429(30s);
    global.global = true;
    client.answer(other, global);
    CHECK(call.refused());
    client.release(call);
    client.release(other);
    CHECK(client.at_rest());
}

TEST_CASE("when all waiters are told to go the pausing ones go too, in order of arrival") {
    Client client;
    Call& first = client.pause(60s);
    Call& second = client.pause(30s);
    Call& third = client.send({});
    CHECK(client.scheduler.refuse_all(client.now) == 3);
    core::WaiterList finished = client.scheduler.take_finished();
    for (Call* expected : {&first, &second, &third}) {
        REQUIRE_FALSE(finished.empty());
        CHECK(&finished.front() == expected);
        finished.pop_front();
        CHECK(expected->refused());
        client.release(*expected);
    }
    CHECK(client.at_rest());
}

TEST_CASE("a 401 refuses the requests that pause as well") {
    Client client;
    Call& paused = client.pause(60s);
    Call& other = client.send({.route = 2, .channel = 2});
    client.answer(other, silent(401));
    CHECK(paused.refused());
    CHECK(paused.why == Refused::unauthorized);
    for (Call* call : {&paused, &other})
        client.release(*call);
    CHECK(client.at_rest());
}

TEST_CASE("thousands of pauses that end together are served in several calls, in order") {
    CoreClient client({.global_limit = 0, .serves_at_once = 10});
    client.answer(client.send({}), shows(1'000, 999, 60s));
    const std::vector<Call*> calls = client.send(100, {});
    for (std::size_t i = 0; i < calls.size(); ++i) {
        client.answer(*calls[i], shows(1'000, 899, 60s));
        calls[i]->place.pause_until(client.now + 5s - Duration(i));
        client.retry(*calls[i]);
    }
    client.order.clear();
    client.now += 6s;
    for (int turns = 0; client.scheduler.next_wake() <= client.now; ++turns) {
        REQUIRE(turns < 100);
        client.advance();
    }
    REQUIRE(client.order.size() == 100);
    for (std::size_t i = 1; i < calls.size(); ++i)
        CHECK(client.order[i] == client.order[i - 1] + 1);
}
