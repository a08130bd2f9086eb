// SPDX-License-Identifier: MIT
#include <sluice/core/send_schedule.hpp>

#include "support/catch.hpp"
#include "support/send_connection.hpp"

#include <chrono>
#include <cstdint>
#include <vector>

namespace {

using namespace sluice::tests::scheduling;

TEST_CASE("of 120 slots five are kept and the rest go at once") {
    Connection connection;
    CHECK(connection.schedule.reserved() == 5);
    CHECK(connection.schedule.room() == 115);
    CHECK(connection.send_all(voice) == 115);
    CHECK(connection.schedule.held() == 115);
    CHECK(connection.schedule.room() == 0);
}

TEST_CASE("a slot comes back a period and the margin after its event was written") {
    Connection connection;
    SendPlace slow;
    REQUIRE(connection.schedule.try_admit(voice, connection.now, slow));
    REQUIRE(connection.send_all(voice) == 114);
    SendWaiter& first = connection.wait(voice);
    connection.pass(5s);
    connection.schedule.sent(slow, connection.now);
    CHECK(connection.schedule.next_wake() == start + 61s);
    connection.pass(56s - 1ns);
    CHECK(first.state == SendState::queued);
    connection.pass(1ns);
    CHECK(first.state == SendState::granted);
    CHECK(connection.send_all(voice) == 113); // one waiter, one still held by what was slow
    connection.pass(5s - 1ns);
    CHECK_FALSE(connection.try_one(voice));
    connection.pass(1ns);
    CHECK(connection.try_one(voice));
}

TEST_CASE("a permission that is not used gives its slot to the next waiter at once") {
    Connection connection;
    SendPlace unused;
    REQUIRE(connection.schedule.try_admit(voice, connection.now, unused));
    REQUIRE(connection.send_all(voice) == 114);
    SendWaiter& next = connection.wait(voice);
    CHECK(next.state == SendState::queued);
    connection.schedule.cancel(unused, connection.now);
    connection.collect();
    CHECK(next.state == SendState::granted);
    connection.schedule.cancel(unused, connection.now);
    CHECK(connection.schedule.held() == 115);
}

TEST_CASE("a permission holds its slot for as long as nobody says what became of it") {
    Connection connection;
    SendPlace held;
    REQUIRE(connection.schedule.try_admit(voice, connection.now, held));
    connection.pass(24h);
    CHECK(connection.schedule.held() == 1);
    CHECK(connection.send_all(voice) == 114);
}

TEST_CASE("heartbeats go at once when nothing else may and there is room for them") {
    Connection connection;
    REQUIRE(connection.send_all(voice) == 115);
    REQUIRE_FALSE(connection.try_one(voice));
    for (int i = 0; i < 4; ++i)
        REQUIRE(connection.try_one(beat));
    CHECK(connection.schedule.held() == 119);
    CHECK(connection.schedule.counters().crowded == 0);
    CHECK(connection.wait(beat).state == SendState::granted);
    CHECK(connection.schedule.held() == 120);
}

TEST_CASE("a heartbeat for which no room is left goes all the same and is counted as such") {
    Connection connection;
    REQUIRE(connection.send_all(voice) == 115);
    CHECK(connection.send_all(beat, 7) == 7);
    CHECK(connection.schedule.counters().crowded == 2);
    CHECK(connection.schedule.counters().heartbeats == 7);
}

TEST_CASE("room is kept for the heartbeats of a period and as many that Discord asks for") {
    struct Case {
        Duration interval;
        std::int64_t reserved;
    };
    // Heartbeats in 61 s, twice, and one for a new session.
    for (const Case& one : {Case{10s, 15}, Case{20s, 9}, Case{30s, 7}, Case{41'250ms, 5},
                            Case{45s, 5}, Case{60s, 5}, Case{61s, 5}, Case{62s, 3}, Case{1h, 3}}) {
        CAPTURE(one.interval.count());
        Connection connection;
        connection.schedule.set_heartbeat_interval(one.interval);
        CHECK(connection.schedule.reserved() == one.reserved);
        CHECK(connection.send_all(voice) == 120 - one.reserved);
    }
}

TEST_CASE("an absurd heartbeat interval neither stops other events nor breaks anything") {
    Connection connection;
    for (const Duration nothing : {Duration(0), Duration(-5s), Duration::min()}) {
        connection.schedule.set_heartbeat_interval(nothing);
        CHECK(connection.schedule.reserved() == 5);
    }
    connection.schedule.set_heartbeat_interval(1ns);
    CHECK(connection.schedule.reserved() == 119);
    CHECK(connection.send_all(voice) == 1);
    connection.schedule.set_heartbeat_interval(Duration::max());
    CHECK(connection.schedule.reserved() == 3);
}

TEST_CASE("more heartbeats than expected take the room of other events") {
    Connection connection;
    REQUIRE(connection.send_all(beat, 30) == 30);
    CHECK(connection.schedule.room() == 120 - 30 - 1);
    CHECK(connection.send_all(voice) == 89);
    SendWaiter& next = connection.wait(voice);
    // The heartbeats' slots come back; four of them are kept free for the next ones.
    connection.pass(61s);
    CHECK(next.state == SendState::granted);
    CHECK(connection.send_all(voice) == 114);
}

TEST_CASE("identify and resume go ahead of all that waits, into room of their own") {
    Connection connection;
    REQUIRE(connection.send_all(voice) == 115);
    SendWaiter& early = connection.wait(voice);
    CHECK(connection.wait(identify).state == SendState::granted);
    SendWaiter& second = connection.wait(resume);
    CHECK(second.state == SendState::queued);
    CHECK(connection.try_one(beat));
    connection.pass(61s);
    CHECK(early.state == SendState::granted);
    REQUIRE(connection.order.size() == 3);
    CHECK(connection.order[1] == &second);
    CHECK(connection.order[2] == &early);
}

TEST_CASE("events of all opcodes go in the order in which they came") {
    Connection connection;
    REQUIRE(connection.send_all(voice) == 115);
    std::vector<SendWaiter*> came;
    for (int i = 0; i < 5; ++i) {
        came.push_back(&connection.wait(sounds));
        came.push_back(&connection.wait(voice));
        came.push_back(&connection.wait(list(static_cast<std::uint64_t>(i) + 1)));
        if (i == 2) came.push_back(&connection.wait(presence));
    }
    connection.pass(61s);
    CHECK(connection.order == came);
}

TEST_CASE("who comes later does not go before one that waits or has just been granted") {
    Connection connection;
    REQUIRE(connection.send_all(voice) == 115);
    connection.wait(sounds);
    connection.send = false;
    connection.now += 61s;
    SendPlace place;
    CHECK_FALSE(connection.schedule.try_admit(voice, connection.now, place));
    connection.collect();
    CHECK(connection.schedule.try_admit(voice, connection.now, place));
}

TEST_CASE("a withdrawn waiter leaves no gap") {
    Connection connection;
    REQUIRE(connection.send_all(voice) == 115);
    SendWaiter& first = connection.wait(voice);
    SendWaiter& second = connection.wait(sounds);
    SendWaiter& third = connection.wait(voice);
    connection.schedule.withdraw(first, connection.now);
    connection.schedule.withdraw(second, connection.now);
    CHECK(connection.schedule.queued() == 1);
    CHECK(connection.schedule.next_wake() == start + 61s);
    connection.schedule.withdraw(third, connection.now);
    CHECK(connection.schedule.queued() == 0);
    CHECK(connection.schedule.next_wake() == never);
    connection.pass(61s);
    CHECK(connection.order.empty());
    CHECK(connection.send_all(voice) == 115);
}

TEST_CASE("a new connection starts afresh, but for the member lists of the bot") {
    Connection connection;
    REQUIRE(connection.send_all(presence) == 5);
    REQUIRE(connection.try_one(list(1)));
    REQUIRE(connection.send_all(voice) == 109);
    connection.schedule.refuse({SendKind::plain, 31, 1h}, connection.now);
    SendWaiter& waiting = connection.wait(voice);
    SendWaiter& blocked = connection.wait(sounds);
    SendWaiter& status = connection.wait(presence);
    SendWaiter& members = connection.wait(list(1));
    connection.schedule.reset(connection.now);
    connection.collect();
    CHECK(waiting.state == SendState::granted);
    CHECK(blocked.state == SendState::granted);
    CHECK(status.state == SendState::granted);
    CHECK(members.state == SendState::queued);
    CHECK(connection.schedule.held() == 3);
    CHECK(connection.send_all(presence) == 4);
}

TEST_CASE("a permission from before may be used on the new connection and counts there") {
    Connection connection;
    SendPlace early;
    REQUIRE(connection.schedule.try_admit(voice, connection.now, early));
    connection.schedule.reset(connection.now);
    CHECK(connection.send_all(voice) == 114);
    connection.schedule.sent(early, connection.now);
    CHECK(connection.schedule.held() == 115);
}

TEST_CASE("while held back only heartbeats, identify and resume go") {
    Connection connection;
    connection.schedule.hold(true, connection.now);
    CHECK_FALSE(connection.try_one(voice));
    SendWaiter& waiting = connection.wait(voice);
    CHECK(connection.try_one(beat));
    CHECK(connection.try_one(identify));
    CHECK(connection.wait(resume).state == SendState::granted);
    connection.pass(1h);
    CHECK(waiting.state == SendState::queued);
    CHECK(connection.schedule.next_wake() == never);
    connection.schedule.hold(false, connection.now);
    connection.collect();
    CHECK(waiting.state == SendState::granted);
}

TEST_CASE("all that waits is ended at once, and later events find an empty queue") {
    Connection connection;
    REQUIRE(connection.send_all(voice) == 115);
    for (std::uint64_t guild = 1; guild <= 3; ++guild)
        connection.wait(list(guild));
    connection.wait(voice);
    CHECK(connection.schedule.end_all() == 4);
    connection.collect();
    CHECK(connection.order.size() == 4);
    for (const SendWaiter* waiter : connection.order)
        CHECK(waiter->state == SendState::ended);
    CHECK(connection.schedule.queued() == 0);
    CHECK(connection.schedule.next_wake() == never);
    CHECK(connection.send_all(beat, 1) == 1);
}

} // namespace
