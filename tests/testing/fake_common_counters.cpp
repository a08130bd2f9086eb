// SPDX-License-Identifier: MIT
//
// One counter over many major parameters: of a hash, over all routes that show it, and of a second
// limit, shared or hidden.
#include <sluice/testing/fake_discord.hpp>

#include "support/catch.hpp"
#include "support/fake_requests.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace {

using namespace std::chrono_literals;
using namespace sluice::testing;

std::string channel(int id) {
    return "/channels/" + std::to_string(id) + "/messages";
}

} // namespace

// Reported in discord-api-docs#971 and #6753; nirn-proxy (2024) counts `/channels/{id}` so.
TEST_CASE("a hundred channels can draw on one counter, and their headers show it") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 5, 5s}, .per_major = false});
    std::string seen;
    for (int id = 1; id <= 100; ++id)
        seen += header(discord.receive(post(channel(id)), 0s), "X-RateLimit-Remaining");
    CHECK(seen == "43210" + std::string(95, '0'));
    CHECK(discord.count(FakeVerdict::user_limit) == 95);
    CHECK(line(discord.receive(post(channel(101)), 1s)) == "429 0 5.000 4.000 4");
    CHECK(discord.receive(post(channel(101)), 5s).status == 200);
}

TEST_CASE("routes with one hash that count over all major parameters have one counter") {
    FakeDiscord discord{without_global()};
    const Rule rule{.limit = Limit{Algorithm::fixed, 4, 5s}, .hash = "common", .per_major = false};
    discord.rule(create_message, rule);
    discord.rule(edit_message, rule);
    discord.rule("POST /guilds/{guild.id}/roles", rule);
    CHECK(discord.receive(post(channel(1)), 0s).status == 200);
    CHECK(discord.receive(patch("/channels/2/messages/3"), 0s).status == 200);
    CHECK(discord.receive(post("/guilds/3/roles"), 0s).status == 200);
    CHECK(line(discord.receive(post(channel(4)), 0s)) == "200 0 5.000 5.000 -");
    CHECK(discord.receive(patch("/channels/5/messages/3"), 0s).status == 429);
    CHECK(discord.receive(post("/guilds/6/roles"), 0s).status == 429);
    CHECK(discord.receive(post(channel(1), "Bot b"), 0s).status == 200);
}

TEST_CASE("a route that counts each major parameter keeps apart from one that does not") {
    FakeDiscord discord{without_global()};
    const Limit limit{Algorithm::fixed, 1, 5s};
    discord.rule(create_message, {.limit = limit, .hash = "common", .per_major = false});
    discord.rule(edit_message, {.limit = limit, .hash = "common"});
    CHECK(discord.receive(post(channel(1)), 0s).status == 200);
    CHECK(discord.receive(post(channel(2)), 0s).status == 429);
    CHECK(discord.receive(patch("/channels/1/messages/3"), 0s).status == 200);
    CHECK(discord.receive(patch("/channels/2/messages/3"), 0s).status == 200);
}

TEST_CASE("a shared limit can be one counter over all channels, guilds, routes and tokens") {
    FakeDiscord discord{without_global()};
    const Rule rule{.limit = Limit{Algorithm::fixed, 10, 5s},
                    .second = {{.limit = {Algorithm::fixed, 3, 60s},
                                .name = "everything",
                                .per = CountedPer::nothing,
                                .shared = true}}};
    discord.rule(create_message, rule);
    discord.rule("POST /guilds/{guild.id}/roles", rule);
    CHECK(discord.receive(post(channel(1)), 0s).status == 200);
    CHECK(discord.receive(post(channel(2), "Bot b"), 0s).status == 200);
    CHECK(discord.receive(post("/guilds/3/roles"), 0s).status == 200);
    for (const auto& target : {channel(1), channel(4), std::string{"/guilds/5/roles"}}) {
        const auto answer = discord.receive(post(target), 10s);
        CHECK(header(answer, "X-RateLimit-Scope") == "shared");
        CHECK(header(answer, "Retry-After") == "50");
        CHECK(header(answer, "X-RateLimit-Remaining") == "9");
    }
    CHECK(discord.invalid_requests("10.0.0.1") == 0);
    discord.others_spend(post(channel(9)), 2, 60s);
    CHECK(discord.receive(post(channel(1)), 60s).status == 200);
    CHECK(discord.receive(post(channel(2)), 60s).status == 429);
}
