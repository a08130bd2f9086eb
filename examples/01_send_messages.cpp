// SPDX-License-Identifier: MIT
//
// Twelve messages to one channel that takes five in five seconds: no 429, and no second wasted.
#include <sluice/adapters/beast.hpp>
#include <sluice/sluice.hpp>

#include "support/embedded_discord.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include <cstdint>
#include <cstdio>

namespace asio = boost::asio;
namespace http = boost::beast::http;

// [readme]
// The template is checked when this is compiled: method, braces, and the number of ids below.
inline constexpr auto create_message = sluice::route<"POST /channels/{channel.id}/messages">;

asio::awaitable<void> say(sluice::BucketManager& limiter, examples::HttpClient& client,
                          std::uint64_t channel, int number) {
    // Waits until the request can go out without being refused; messages keep their order.
    sluice::Ticket ticket = co_await limiter.acquire(create_message(channel));
    for (;;) {
        examples::Request request{http::verb::post, "/api/v10" + create_message.path(channel), 11};
        request.set(http::field::content_type, "application/json");
        request.body() = R"({"content": "hello"})";
        const examples::Reply reply = co_await client.send(std::move(request), ticket);

        // Learns the limits from the headers. A 429 that passes with time says so.
        const sluice::Verdict verdict = ticket.update(sluice::response_from(reply));
        std::printf("message %2d: %u\n", number, reply.result_int());
        if (!verdict.retry) co_return;
        co_await ticket.reacquire(); // at the front of the queue
    }
}
// [/readme]

int main() {
    examples::EmbeddedDiscord discord;
    asio::io_context context;
    sluice::BucketManager limiter{context};
    examples::HttpClient client = discord.client(context.get_executor());
    for (int i = 1; i <= 12; ++i)
        asio::co_spawn(context, say(limiter, client, 42, i), asio::detached);
    context.run();
}
