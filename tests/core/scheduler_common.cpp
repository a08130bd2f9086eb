// SPDX-License-Identifier: MIT
//
// One counter over many majors: what makes the limiter believe in it, what it does then, and how it
// gives it up. Whole bots are in simulation_common.cpp.
#include <sluice/core/scheduler.hpp>
#include <sluice/core/snapshot.hpp>

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

/// Channels whose requests all count in one window of 5 that ends at `end`.
struct OneCounter : CoreClient {
    explicit OneCounter(core::Settings settings = {.global_limit = 0}) : CoreClient(settings) {}

    std::vector<Call*> ask(std::uint64_t channels) {
        std::vector<Call*> calls;
        for (std::uint64_t channel = 1; channel <= channels; ++channel)
            calls.push_back(&send({.channel = channel}));
        return calls;
    }
    void accept(Call& call, std::int64_t remaining) {
        answer(call, shows(5, remaining, end - now));
        release(call);
    }
    void refuse(Call& call) {
        answer(call, spent(end - now));
        ++refused;
        retry(call);
    }
    /// Five are accepted, the rest refused, which is enough.
    std::vector<Call*> join(std::uint64_t channels) {
        const std::vector<Call*> calls = ask(channels);
        pass(50ms);
        for (std::int64_t left = 4; left >= 0; --left)
            accept(*calls[static_cast<std::size_t>(4 - left)], left);
        for (std::size_t i = 5; i < calls.size(); ++i)
            refuse(*calls[i]);
        return calls;
    }
    [[nodiscard]] std::uint64_t joined() const { return scheduler.counters().joined; }

    Time end = now + 5s;
    int refused = 0;
};

} // namespace

// discord-api-docs#971 (2019-06), #6753 (2024-03): GET and PATCH of a channel count over channels.
TEST_CASE("channels whose first answers show 4, 3, 2, 1, 0 draw on one bucket from then on") {
    OneCounter client;
    const auto calls = client.join(12);
    CHECK(client.joined() == 1);
    CHECK(client.bucket({.channel = 1}).lanes.has_several());
    CHECK(&client.bucket({.channel = 7}) == &client.bucket({.channel = 99}));
    client.order.clear();
    client.pass(client.end - client.now + 100ms);
    CHECK(client.order == std::vector<int>{6, 7, 8, 9, 10}); // by arrival, whatever the channel
    CHECK(!client.send({.channel = 99}).sent());
}

TEST_CASE("a common counter is not looked for when that is switched off") {
    OneCounter client({.global_limit = 0, .join_common_counters = false});
    client.join(12);
    CHECK(client.joined() == 0);
    CHECK(client.send({.channel = 99}).sent());
}

TEST_CASE("majors that each show their own count are not joined by what another user spends") {
    OneCounter client;
    const auto calls = client.ask(6);
    client.pass(50ms);
    client.accept(*calls[0], 4);
    client.accept(*calls[1], 4); // no other counter shows one spent twice
    client.accept(*calls[2], 3);
    client.accept(*calls[3], 2);
    client.accept(*calls[4], 1);
    client.accept(*calls[5], 0);
    CHECK(client.joined() == 0);
}

TEST_CASE("windows that end at different times are not one counter") {
    OneCounter client;
    const auto calls = client.ask(8);
    client.pass(50ms);
    for (std::size_t i = 0; i < 5; ++i) {
        client.end -= 300ms; // an earlier process had filled them one after the other
        client.accept(*calls[i], 4 - static_cast<std::int64_t>(i));
    }
    for (std::size_t i = 5; i < 8; ++i) {
        client.end -= 300ms;
        client.refuse(*calls[i]);
    }
    CHECK(client.joined() == 0);
}

TEST_CASE("what is contradicted later counts by major again, for good") {
    OneCounter client;
    client.join(12);
    REQUIRE(client.joined() == 1);
    client.pass(client.end - client.now + 100ms);
    client.end = client.now + 5s;
    std::vector<Call*> under_way;
    for (std::uint64_t channel = 21; channel <= 40; ++channel)
        under_way.push_back(&client.send({.channel = channel}));
    CHECK(!under_way.front()->sent()); // behind five of those that were refused
    client.pass(50ms);
    // The channels of those that left show one spent each.
    for (const std::uint64_t channel : {6U, 7U, 8U}) {
        for (core::Lane& lane : client.bucket({.channel = channel}).lanes)
            CHECK(lane.bucket != nullptr);
    }
    Call& first = client.call(6);
    Call& second = client.call(7);
    client.accept(first, 4);
    client.accept(second, 4);
    CHECK(&client.bucket({.channel = 6}) != &client.bucket({.channel = 7}));
    client.pass(6s);
    CHECK(under_way.front()->sent());
    CHECK(under_way.back()->sent()); // twenty at once, each on its own count
}

TEST_CASE("a common counter outlives the process in a snapshot") {
    OneCounter before;
    before.join(12);
    CoreClient next;
    next.now = Time(25h);
    next.scheduler.restore(before.scheduler.save(before.now), next.now - 1h, next.now);
    int gone = 0;
    for (std::uint64_t channel = 1; channel <= 20; ++channel)
        gone += next.send({.channel = channel}).sent() ? 1 : 0;
    CHECK(gone == 5);
}

TEST_CASE("lanes of a common bucket that nobody uses are forgotten") {
    OneCounter client;
    const auto calls = client.join(12);
    client.pass(30s);
    for (Call* call : calls) {
        if (!call->sent()) continue;
        client.cancel(*call);
        client.release(*call);
    }
    for (std::uint64_t channel = 100; channel < 1'100; ++channel) {
        Call& call = client.send({.channel = channel});
        client.cancel(call);
        client.release(call);
    }
    CHECK(client.scheduler.registry().lane_count() < 20);
}
