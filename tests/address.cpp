// SPDX-License-Identifier: MIT
//
// Several limiters behind one outgoing address: what Cloudflare and the ban threshold see is their
// sum, and nothing else is shared.
#include <sluice/address.hpp>
#include <sluice/bucket_manager.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <chrono>
#include <memory>
#include <vector>

namespace {

using namespace sluice::tests;
using sluice::Address;
using sluice::AddressOptions;
using sluice::errc;
using sluice::EventKind;
using sluice::Options;
using sluice::Route;

const Route route = create_message(1);
const Route other_route = create_message(2);

/// Two bots with tokens of their own.
struct TwoBots {
    explicit TwoBots(const AddressOptions& limits = {})
        : address(std::make_shared<Address>(limits)),
          first(io, {.address = address}, clock),
          second(io,
                 {.address = address,
                  .observer = [this](const sluice::Event& event) { seen.push_back(event.kind); }},
                 clock) {}

    static bool goes(Manager& limiter, const Route& asked = route) {
        auto ticket = limiter.try_acquire(asked);
        if (ticket) ticket->cancel();
        return ticket.has_value();
    }

    asio::io_context io;
    Clock clock;
    std::shared_ptr<Address> address;
    std::vector<EventKind> seen;
    Manager first;
    Manager second;
};

} // namespace

TEST_CASE("limiters without an address in common have nothing in common", "[R17][R18]") {
    VirtualBot first;
    VirtualBot second;
    first.limiter.update(route, {.status = 429, .retry_after = 60s, .from_discord = false});
    CHECK(first.limiter.stats().invalid_requests == 1);
    CHECK(second.limiter.stats().invalid_requests == 0);
    CHECK(!first.limiter.try_acquire(route));
    CHECK(second.limiter.try_acquire(route));
}

TEST_CASE("limiters of one address count invalid requests together", "[R18]") {
    TwoBots bots({.slow_at = 100, .stop_at = 3});
    bots.first.update(route, {.status = 403});
    bots.second.update(route, {.status = 403});
    CHECK(bots.first.stats().invalid_requests == 2);
    CHECK(TwoBots::goes(bots.second));
    bots.first.update(route, {.status = 403});
    CHECK(!TwoBots::goes(bots.first));
    CHECK(!TwoBots::goes(bots.second));
    Ending ending;
    bots.second.async_acquire(route, into(ending));
    bots.clock.run_for(bots.io, 0s);
    CHECK(ending.failed(errc::too_many_invalid_requests));
}

TEST_CASE("limiters of one address are spaced together", "[R18]") {
    TwoBots bots({.slow_at = 1, .stop_at = 7});
    bots.first.update(route, {.status = 403});
    CHECK(TwoBots::goes(bots.first));
    CHECK(!TwoBots::goes(bots.second));
    Ending first;
    Ending second;
    bots.first.async_acquire(other_route, into(first));
    bots.second.async_acquire(other_route, into(second));
    const Duration spacing = Duration(10min + 10s) / 6;
    bots.clock.run_for(bots.io, spacing);
    CHECK(first.times + second.times == 1);
    bots.clock.run_for(bots.io, spacing);
    CHECK(first.granted());
    CHECK(second.granted());
}

TEST_CASE("a block by Cloudflare stops every limiter of the address, waiters included", "[R17]") {
    TwoBots bots;
    bots.second.update(route, answer(1, 0, 5s));
    Ending queued;
    bots.second.async_acquire(route, into(queued));
    bots.first.update(route, {.status = 429, .retry_after = 60s, .from_discord = false});
    CHECK(!TwoBots::goes(bots.second, other_route));
    bots.clock.run_for(bots.io, 60s - 1ns);
    CHECK(queued.times == 0);
    bots.clock.run_for(bots.io, 1ns);
    CHECK(queued.granted());
}

TEST_CASE("a block that is made longer while limiters wait for its end holds them all", "[R17]") {
    TwoBots bots;
    const sluice::Response block{.status = 429, .retry_after = 60s, .from_discord = false};
    bots.first.update(route, block);
    Ending queued;
    bots.second.async_acquire(route, into(queued));
    bots.clock.run_for(bots.io, 30s);
    bots.first.update(route, block);
    bots.clock.run_for(bots.io, 60s - 1ns);
    CHECK(queued.times == 0);
    bots.clock.run_for(bots.io, 1ns);
    CHECK(queued.granted());
}

TEST_CASE("tokens behind one address are condemned and limited one by one", "[R14][R19]") {
    TwoBots bots;
    bots.first.update(route, global_429(60s));
    CHECK(!TwoBots::goes(bots.first, other_route));
    CHECK(TwoBots::goes(bots.second));
    bots.first.update(route, {.status = 401});
    bots.clock.run_for(bots.io, 61s);
    CHECK(!TwoBots::goes(bots.first));
    CHECK(TwoBots::goes(bots.second));
}

TEST_CASE("an address may outlive its limiters, and keeps its count", "[R18]") {
    const auto address = std::make_shared<Address>(AddressOptions{.slow_at = 9, .stop_at = 2});
    asio::io_context io;
    Clock clock;
    {
        Manager limiter{io, {.address = address}, clock};
        limiter.update(route, {.status = 403});
        limiter.update(route, {.status = 403});
    }
    Manager next{io, {.address = address}, clock};
    CHECK(!TwoBots::goes(next));
}
