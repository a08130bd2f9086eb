// SPDX-License-Identifier: MIT
//
// Routes that show one hash and count apart: what is known of both counters must hold before, at
// and after the moment that tells. How soon that is, and that it never comes where they share one,
// is in sharing.cpp.
#include <sluice/core/scheduler.hpp>

#include "support/catch.hpp"
#include "support/core_client.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace {

using namespace sluice;
using namespace sluice::tests;
using Call = CoreClient::Call;

/// Two routes of one hash, whose windows all end at the same moment.
struct LyingHash : CoreClient {
    Call& ask(std::uint64_t route, std::uint64_t channel) {
        pass(3ms);
        return send({.route = route, .channel = channel});
    }
    void tell(Call& call, std::int64_t remaining) {
        pass(3ms);
        answer(call, shows(5, remaining, end - now));
    }
    void ask_both(std::uint64_t channel, std::int64_t remaining) {
        Call& first = ask(1, channel);
        Call& second = ask(2, channel);
        tell(first, remaining);
        tell(second, remaining);
    }
    /// So often that one counter is out of the question.
    void split(std::uint64_t channel) {
        for (const std::int64_t remaining : {4, 3, 2})
            ask_both(channel, remaining);
        REQUIRE(scheduler.counters().split == 1);
    }
    std::size_t goes(std::uint64_t route, std::uint64_t channel) {
        std::size_t sent = 0;
        while (send({.route = route, .channel = channel}).sent())
            ++sent;
        return sent;
    }

    Time end = now + 900ms;
};

} // namespace

TEST_CASE("a late answer that shows routes apart gives nothing back", "[R8]") {
    LyingHash client;
    client.ask_both(1, 4);
    Call& late = client.ask(2, 1);
    Call& later = client.ask(2, 1);
    Call& other = client.ask(1, 1);
    client.tell(other, 3);
    client.tell(later, 2);
    REQUIRE(client.scheduler.counters().split == 0);
    client.tell(late, 3);
    REQUIRE(client.scheduler.counters().split == 1);
    CHECK(client.goes(2, 1) == 2);
}

TEST_CASE("a lane follows a split seen elsewhere with whichever answer comes first", "[R8]") {
    LyingHash client;
    client.ask_both(2, 4);
    Call& one = client.ask(1, 2);
    Call& two = client.ask(1, 2);
    Call& three = client.ask(1, 2);
    client.ask(1, 2);      // stays under way
    client.tell(three, 3); // sent last and decided first
    client.split(1);
    client.tell(one, 2);
    client.tell(two, 1);
    CHECK(client.goes(1, 2) == 0); // one is left, and one is under way
}

TEST_CASE("what each of two routes shows holds, though their windows end at different times",
          "[R8]") {
    CoreClient client;
    const auto tell = [&](Call& call, std::int64_t remaining, Time end) {
        client.answer(call, shows(4, remaining, end - client.now));
    };
    const auto ask = [&](std::uint64_t route) -> Call& {
        client.pass(10ms);
        return client.send({.route = route});
    };
    const Time earlier = client.now + 10s;
    const Time later = earlier + 80ms;
    Call& probe = ask(1);
    tell(probe, 3, earlier);
    Call& other = ask(2);
    Call& first = ask(1);
    Call& second = ask(1);
    client.pass(10ms);
    tell(other, 3, later); // of another counter, as nobody knows yet
    client.pass(10ms);
    tell(first, 2, earlier);
    tell(second, 1, earlier);
    REQUIRE(client.scheduler.counters().split == 0);
    CHECK(client.send({.route = 1}).sent());
    CHECK_FALSE(client.send({.route = 1}).sent());
}
