// SPDX-License-Identifier: MIT
//
// What is foretold of events, against what happens then.
#include <sluice/core/send_schedule.hpp>

#include "support/catch.hpp"
#include "support/send_connection.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <vector>

namespace {

using namespace sluice::tests::scheduling;

TEST_CASE("a slot is foretold behind all that wait, and none is needed for a heartbeat") {
    Connection connection;
    CHECK(connection.schedule.forecast(voice, connection.now) == start);
    connection.send_all(voice, 100);
    connection.pass(10s);
    connection.send_all(voice);
    CHECK(connection.schedule.forecast(voice, connection.now) == start + 61s);
    for (int i = 0; i < 100; ++i)
        connection.wait(voice);
    CHECK(connection.schedule.forecast(voice, connection.now) == start + 71s);
    CHECK(connection.schedule.forecast(beat, connection.now) == connection.now);
    CHECK(connection.schedule.forecast(identify, connection.now) == connection.now);
}

TEST_CASE("presences and member lists are foretold by limits of their own") {
    Connection connection;
    connection.send_all(presence, 5);
    REQUIRE(connection.try_one(list(1)));
    connection.pass(1s);
    CHECK(connection.schedule.forecast(presence, connection.now) == start + 21s);
    connection.wait(presence);
    CHECK(connection.schedule.forecast(presence, connection.now) == start + 21s); // takes its turn
    CHECK(connection.schedule.forecast(list(1), connection.now) == start + 31s);
    connection.wait(list(1));
    CHECK(connection.schedule.forecast(list(1), connection.now) == start + 62s);
    CHECK(connection.schedule.forecast(list(2), connection.now) == connection.now);
    CHECK(connection.schedule.forecast(query(1), connection.now) == connection.now);
    connection.schedule.refuse(refusal(1, 3s), connection.now);
    CHECK(connection.schedule.forecast(query(1), connection.now) == connection.now);
}

TEST_CASE("what hangs on a permission that is out, or on the end of a hold, is never") {
    const auto lists = std::make_shared<MemberListLimit>();
    Connection one({}, lists);
    Connection other({}, lists);
    SendPlace held;
    REQUIRE(one.schedule.try_admit(list(1), one.now, held));
    CHECK(one.schedule.forecast(list(1), one.now) == never);
    CHECK(other.schedule.forecast(list(1), other.now) == never);
    CHECK(other.schedule.forecast(list(2), other.now) == start);
    one.schedule.sent(held, one.now);
    CHECK(other.schedule.forecast(list(1), other.now) == start + 31s);
    std::deque<SendPlace> places(200);
    while (one.schedule.try_admit(voice, one.now, places.front()))
        places.emplace_front();
    CHECK(one.schedule.forecast(voice, one.now) == start + 61s); // the list's slot
    one.wait(voice);
    CHECK(one.schedule.forecast(voice, one.now) == start + 122s); // once more
    other.schedule.hold(true, other.now);
    CHECK(other.schedule.forecast(voice, other.now) == never);
    CHECK(other.schedule.forecast(resume, other.now) == start);
}

SendRequest any_request(std::mt19937_64& random) {
    switch (random() % 7) {
    case 0:
        return random() % 4 == 0 ? identify : resume;
    case 1:
    case 2:
        return presence;
    case 3:
        return list(1 + random() % 3, random() % 2 == 0 ? Nonce("a") : Nonce());
    case 4:
        return query(1 + random() % 3);
    case 5:
        return sounds;
    default:
        return voice;
    }
}

TEST_CASE("what is foretold comes true to the nanosecond, if permissions are used at once") {
    int waited = 0;
    for (std::uint64_t round = 0; round < 500; ++round) {
        std::mt19937_64 random(round);
        SendSettings settings;
        settings.limit = 15;
        Connection connection(settings);
        for (int step = 0; step < 60; ++step) {
            connection.wait(random() % 9 == 0 ? beat : any_request(random));
            if (random() % 9 == 0) {
                connection.schedule.refuse(
                    refusal(1 + random() % 3, std::chrono::seconds(random() % 20)), connection.now);
            }
            if (random() % 2 == 0) connection.pass(std::chrono::milliseconds(random() % 9000));
        }
        const SendRequest request = any_request(random);
        const Time foretold = connection.schedule.forecast(request, connection.now);
        CAPTURE(round, static_cast<int>(request.kind));
        REQUIRE(foretold != never);
        const SendWaiter& mine = connection.wait(request);
        for (; mine.state == SendState::queued; ++waited)
            connection.pass(connection.schedule.next_wake() - connection.now);
        REQUIRE(mine.state == SendState::granted);
        REQUIRE(connection.now == foretold);
    }
    CHECK(waited > 1000);
}

TEST_CASE("to ask when an event could be sent changes nothing of what is granted") {
    const auto story = [](std::uint64_t seed, bool asks) {
        std::mt19937_64 random(seed);
        Connection connection;
        std::vector<Time> said;
        for (int step = 0; step < 500; ++step) {
            connection.wait(any_request(random));
            if (asks) {
                for (const SendRequest& request : {voice, presence, resume, list(1, "a"), query(2)})
                    static_cast<void>(connection.schedule.forecast(request, connection.now));
            }
            said.push_back(connection.schedule.next_wake());
            said.emplace_back(Duration(connection.order.size()));
            connection.pass(std::chrono::milliseconds(random() % 500));
        }
        return said;
    };
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        CAPTURE(seed);
        REQUIRE(story(seed, false) == story(seed, true));
    }
}

} // namespace
