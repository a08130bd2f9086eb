// SPDX-License-Identifier: MIT
//
// The first snippet of README.md, included before anything else, sends five messages to a fake
// Discord that takes two in 200 ms. None may be refused.
#include "snippet.hpp"

#include <sluice/testing/fake_discord_server.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using namespace sluice::testing;

asio::awaitable<void> five_messages(sluice::BucketManager& limiter, std::uint16_t port) {
    boost::beast::tcp_stream stream(co_await asio::this_coro::executor);
    const asio::ip::tcp::endpoint discord(asio::ip::make_address("127.0.0.1"), port);
    co_await stream.async_connect(discord, asio::use_awaitable);
    for (int i = 0; i < 5; ++i) {
        http::request<http::string_body> request{http::verb::post, create_message.path(42), 11};
        request.set(http::field::authorization, "Bot token");
        request.body() = R"({"content": "hello"})";
        request.prepare_payload();
        const Reply reply = co_await say(limiter, 42, stream, request);
        std::printf("message %d: %u\n", i, reply.result_int());
    }
}

} // namespace

int main() {
    FakeDiscord fake;
    fake.rule("POST /channels/{channel.id}/messages", {.limit = Limit{Algorithm::fixed, 2, 200ms}});
    FakeDiscordThread server(std::move(fake));
    asio::io_context io;
    sluice::BucketManager limiter{io};
    asio::co_spawn(io, five_messages(limiter, server->port()), [](std::exception_ptr error) {
        if (error) std::rethrow_exception(error);
    });
    io.run();
    return server->with([](const FakeDiscord& discord) {
        return discord.log().size() == 5 && discord.count(FakeVerdict::accepted) == 5 ? 0 : 1;
    });
}
