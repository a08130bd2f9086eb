// SPDX-License-Identifier: MIT
//
// Ticket::sent(): a server takes a while to accept a connection that its kernel has completed, so
// the first round trip on it is longer than the path.
#include <sluice/testing/fake_discord.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <string>

namespace {

using namespace sluice::tests;

constexpr auto get_channel = sluice::route<"GET /channels/{channel.id}">;

struct PooledBot : VirtualBot {
    /// Over an idle connection, or else over one that takes long to be accepted.
    asio::awaitable<void> request(int channel) {
        sluice::Ticket ticket = co_await limiter.acquire(get_channel(channel));
        for (;;) {
            const bool reused = idle > 0;
            if (reused) --idle;
            if (says_which) {
                ticket.sent(reused ? sluice::Connection::reused : sluice::Connection::fresh);
            } else {
                ticket.sent();
            }
            // Not in order: answers that overtake each other all count at once.
            const Duration accepted = 20ms + channel * 7 % 50 * 10us;
            co_await clock.sleep(reused ? Duration(30ms) : 30ms + accepted);
            const auto got = discord.receive(
                {.method = "GET", .target = get_channel.path(channel), .token = "Bot t"},
                clock.now() - start);
            co_await clock.sleep(30ms);
            if (keeps) ++idle;
            const auto answer = sluice::Response::parse(got.status, got.headers, got.body);
            if (!ticket.update(answer).retry) break;
            co_await ticket.reacquire();
        }
    }
    void ask(int channels) {
        for (int i = 0; i < channels; ++i)
            asio::co_spawn(io, request(++asked), asio::detached);
    }
    [[nodiscard]] std::uint64_t refused() const {
        return discord.count(sluice::testing::FakeVerdict::global_limit);
    }

    sluice::testing::FakeDiscord discord;
    Clock::time_point start = clock.now();
    bool says_which = false;
    bool keeps = true; ///< connections
    int idle = 0;
    int asked = 0;
};

} // namespace

TEST_CASE("a cold start through fresh connections keeps the global limit") {
    PooledBot bot;
    bot.says_which = GENERATE(false, true);
    CAPTURE(bot.says_which);
    bot.ask(400);
    bot.clock.run(bot.io);
    CHECK(bot.refused() == 0);
}

TEST_CASE("a client that says its connections are fresh keeps it too, though others seem idle") {
    PooledBot bot;
    bot.says_which = true;
    bot.keeps = false;
    bot.ask(150);
    bot.pass(2500ms);
    bot.idle = 50; // it keeps them from here on
    bot.ask(200);
    bot.clock.run(bot.io);
    CHECK(bot.refused() == 0);
}
