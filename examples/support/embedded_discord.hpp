// SPDX-License-Identifier: MIT
//
// A fake Discord on the loopback interface, so that the examples run without a token: messages are
// limited to 5 per 5 s and channel, reactions to 10 per 10 s with adding and removing in one
// bucket, users have no limit but the global one. 20-40 ms each way.
#ifndef SLUICE_EXAMPLES_SUPPORT_EMBEDDED_DISCORD_HPP
#define SLUICE_EXAMPLES_SUPPORT_EMBEDDED_DISCORD_HPP

#include <sluice/testing/fake_discord_server.hpp>

#include "http_client.hpp"

#include <boost/asio/any_io_executor.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

namespace examples {

class EmbeddedDiscord {
public:
    EmbeddedDiscord() : server_(discord(), options()) {}

    [[nodiscard]] HttpClient client(const asio::any_io_executor& executor) {
        return {[executor] { return std::make_unique<PlainConnection>(executor); }, "127.0.0.1",
                std::to_string(server_->port())};
    }

    [[nodiscard]] std::size_t requests() {
        return server_->with([](const auto& discord) { return discord.log().size(); });
    }
    [[nodiscard]] std::size_t refusals() {
        return server_->with([](const auto& discord) {
            return discord.log().size() - discord.count(sluice::testing::FakeVerdict::accepted);
        });
    }

private:
    static sluice::testing::FakeDiscord discord() {
        using namespace std::chrono_literals;
        using sluice::testing::Algorithm;
        using sluice::testing::Limit;
        sluice::testing::FakeDiscord fake;
        fake.rule("POST /channels/{channel.id}/messages",
                  {.limit = Limit{Algorithm::fixed, 5, 5s}});
        for (const char* method : {"PUT", "DELETE"}) {
            fake.rule(std::string(method) +
                          " /channels/{channel.id}/messages/{message.id}/reactions/{emoji.id}/@me",
                      {.limit = Limit{Algorithm::gcra, 10, 10s}, .hash = "reactions"});
        }
        fake.rule("GET /users/{user.id}", {.limit = std::nullopt, .headers = false});
        return fake;
    }
    static sluice::testing::FakeServerOptions options() {
        using namespace std::chrono_literals;
        sluice::testing::FakeServerOptions options;
        options.forward = options.backward = {20ms, 40ms};
        return options;
    }

    sluice::testing::FakeDiscordThread server_;
};

} // namespace examples

#endif
