// SPDX-License-Identifier: MIT
#include <sluice/core/send_schedule.hpp>

#include "support/catch.hpp"
#include "support/send_connection.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace {

using namespace sluice::tests::scheduling;

TEST_CASE("five presence updates go in 20 s and the margin") {
    Connection connection;
    CHECK(connection.send_all(presence) == 5);
    SendWaiter& sixth = connection.wait(presence);
    CHECK(connection.schedule.next_wake() == start + 21s);
    connection.pass(21s - 1ns);
    CHECK(sixth.state == SendState::queued);
    connection.pass(1ns);
    CHECK(sixth.state == SendState::granted);
    CHECK(connection.send_all(presence) == 4);
}

TEST_CASE("presence updates that are held up delay nobody else") {
    Connection connection;
    REQUIRE(connection.send_all(presence) == 5);
    connection.wait(presence);
    CHECK(connection.try_one(voice));
    CHECK(connection.wait(sounds).state == SendState::granted);
}

TEST_CASE("a waiting presence update gives way to a newer one, which takes its turn") {
    Connection connection;
    REQUIRE(connection.send_all(voice) == 115);
    SendWaiter& oldest = connection.wait(presence);
    SendWaiter& between = connection.wait(voice);
    SendWaiter& older = connection.wait(presence);
    SendWaiter& newest = connection.wait(presence);
    CHECK(oldest.state == SendState::superseded);
    CHECK(older.state == SendState::superseded);
    CHECK(connection.schedule.queued() == 2);
    CHECK(connection.schedule.counters().superseded == 2);
    connection.pass(61s);
    REQUIRE(connection.order.size() == 4);
    CHECK(connection.order[2] == &newest);
    CHECK(connection.order[3] == &between);
}

TEST_CASE("a presence update whose permission is not used makes room for the next at once") {
    Connection connection;
    SendPlace unused;
    REQUIRE(connection.schedule.try_admit(presence, connection.now, unused));
    REQUIRE(connection.send_all(presence) == 4);
    SendWaiter& next = connection.wait(presence);
    connection.schedule.cancel(unused, connection.now);
    connection.collect();
    CHECK(next.state == SendState::granted);
}

TEST_CASE("a whole member list is asked for once per guild in 30 s and the margin") {
    Connection connection;
    CHECK(connection.try_one(list(1)));
    CHECK_FALSE(connection.try_one(list(1)));
    SendWaiter& again = connection.wait(list(1));
    CHECK(connection.try_one(list(2)));
    CHECK(connection.try_one(voice));
    connection.pass(31s - 1ns);
    CHECK(again.state == SendState::queued);
    connection.pass(1ns);
    CHECK(again.state == SendState::granted);
}

TEST_CASE("member requests by prefix or user ids are not held up") {
    Connection connection;
    CHECK(connection.try_one(list(1)));
    CHECK(connection.send_all(query(1), 50) == 50);
    CHECK(connection.try_one(list(2)));
}

TEST_CASE("the 30 s of a member list run from when it was written") {
    Connection connection;
    SendPlace slow;
    REQUIRE(connection.schedule.try_admit(list(1), connection.now, slow));
    SendWaiter& next = connection.wait(list(1));
    CHECK(connection.schedule.next_wake() == never);
    connection.pass(10s);
    connection.schedule.sent(slow, connection.now);
    CHECK(connection.schedule.next_wake() == start + 41s);
    connection.pass(31s);
    CHECK(next.state == SendState::granted);
}

TEST_CASE("the connections of a bot share the limit on member lists") {
    const auto lists = std::make_shared<MemberListLimit>();
    Connection one({}, lists);
    Connection two({}, lists);
    REQUIRE(one.try_one(list(7)));
    CHECK_FALSE(two.try_one(list(7)));
    SendWaiter& waiting = two.wait(list(7));
    one.pass(31s);
    two.pass(31s);
    CHECK(waiting.state == SendState::granted);
    CHECK_FALSE(one.try_one(list(7)));

    SECTION("and one that holds a permission does not lock the others out for ever") {
        SendPlace place;
        one.pass(31s);
        two.pass(31s);
        REQUIRE(one.schedule.try_admit(list(7), one.now, place));
        SendWaiter& next = two.wait(list(7));
        two.pass(5s);
        CHECK(next.state == SendState::queued);
        one.schedule.cancel(place, one.now);
        two.pass(1s);
        CHECK(next.state == SendState::granted);
    }
}

TEST_CASE("the limit on member lists forgets guilds that may be asked again") {
    const auto lists = std::make_shared<MemberListLimit>();
    for (std::uint64_t guild = 1; guild <= 10'000; ++guild) {
        const Time now = start + guild * 1s;
        REQUIRE(lists->take({guild, true}, nullptr, now));
        lists->sent({guild, true}, now);
    }
    CHECK(lists->size() <= 128);
}

TEST_CASE("a refused member list waits for its time, and others do not") {
    Connection connection;
    REQUIRE(connection.try_one(list(1, "a")));
    connection.pass(200ms);
    CHECK(connection.schedule.refuse(refusal(1, 7s, "a"), connection.now));
    SendWaiter& again = connection.wait(list(1, "a"));
    CHECK(connection.try_one(list(2)));
    CHECK(connection.try_one(query(1)));
    connection.pass(7s - 1ns);
    CHECK(again.state == SendState::queued);
    connection.pass(1ns);
    CHECK(again.state == SendState::granted);
    CHECK(connection.schedule.counters().refused == 1);
}

TEST_CASE("a refused request goes ahead of all that came after it") {
    Connection connection;
    REQUIRE(connection.try_one(list(1, "a")));
    REQUIRE(connection.send_all(voice) == 114);
    SendWaiter& other = connection.wait(voice);
    SendWaiter& stranger = connection.wait(list(1, "b"));
    REQUIRE(connection.schedule.refuse(refusal(1, 2s, "a"), connection.now));
    SendWaiter& again = connection.wait(list(1, "a"));
    SendWaiter& second = connection.wait(list(1, "a"));
    connection.pass(61s);
    REQUIRE(connection.order.size() == 2);
    CHECK(connection.order[0] == &again);
    CHECK(connection.order[1] == &other);
    CHECK(stranger.state == SendState::queued);
    connection.pass(31s);
    CHECK(stranger.state == SendState::granted);
    CHECK(second.state == SendState::queued);
}

TEST_CASE("a refusal is matched by nonce where there is one, else by the guild's newest request") {
    Connection connection;
    REQUIRE(connection.try_one(query(1, "a")));
    REQUIRE(connection.try_one(query(1, "b")));
    CHECK_FALSE(connection.schedule.refuse(refusal(1, 2s, "c"), connection.now));
    CHECK_FALSE(connection.schedule.refuse(refusal(2, 2s, "a"), connection.now));
    CHECK_FALSE(connection.try_one(list(1))); // nobody knows which it was: the documented one
    CHECK(connection.schedule.refuse(refusal(0, 2s, "a"), connection.now));
    CHECK_FALSE(connection.try_one(query(1)));
    connection.pass(2s);
    CHECK(connection.schedule.refuse(refusal(1, 2s), connection.now)); // b
    CHECK_FALSE(connection.schedule.refuse(refusal(1, 2s), connection.now));
}

TEST_CASE("a refused opcode for which no limit is known waits as a whole") {
    Connection connection;
    CHECK_FALSE(connection.schedule.refuse({SendKind::plain, 31, 3s}, connection.now));
    CHECK_FALSE(connection.try_one(sounds));
    SendWaiter& waiting = connection.wait(sounds);
    CHECK(connection.try_one(voice));
    CHECK(connection.schedule.next_wake() == start + 3s);
    connection.pass(3s);
    CHECK(waiting.state == SendState::granted);
    CHECK(connection.try_one(sounds));
}

TEST_CASE("a nonce longer than Discord takes is none") {
    CHECK(Nonce("abc").view() == "abc");
    CHECK(Nonce(std::string(32, 'x')).view().size() == 32);
    CHECK(Nonce(std::string(33, 'x')).empty());
}

} // namespace
