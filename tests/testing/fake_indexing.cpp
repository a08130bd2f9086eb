// SPDX-License-Identifier: MIT
//
// Searches whose index is not ready: how often 202 is answered, and what it spends.
#include <sluice/testing/fake_indexing.hpp>

#include "support/catch.hpp"
#include "support/fake_requests.hpp"

#include <chrono>
#include <string_view>

namespace {

using namespace std::chrono_literals;
using namespace sluice::testing;

constexpr auto search_messages = "GET /guilds/{guild.id}/messages/search";

FakeRequest search(std::string_view target = "/guilds/1/messages/search?content=x") {
    return {.method = "GET", .target = target, .token = "Bot a", .address = "10.0.0.1"};
}

FakeDiscord searching(const Indexing& indexing) {
    FakeDiscord discord{without_global()};
    discord.rule(search_messages, {.limit = Limit{Algorithm::fixed, 3, 5s}, .indexing = indexing});
    return discord;
}

} // namespace

TEST_CASE("the first searches of a guild are answered 202, with the ordinary headers") {
    auto discord = searching({.first = 2, .retry_after = 4, .documents_indexed = 7});
    const auto early = discord.receive(search(), 0s);
    CHECK(line(early) == "202 2 5.000 5.000 -");
    CHECK(header(early, "Via") == "1.1 google");
    CHECK(header(early, "Content-Type") == "application/json");
    CHECK(early.body == R"({"message": "Index not yet available. Try again later", )"
                        R"("code": 110000, "documents_indexed": 7, "retry_after": 4})");
    CHECK_FALSE(discord.log().back().executed);
    CHECK(discord.log().back().verdict == FakeVerdict::accepted);
    CHECK(line(discord.receive(search(), 1s)) == "202 1 5.000 4.000 -");
    CHECK(line(discord.receive(search(), 2s)) == "200 0 5.000 3.000 -");
    CHECK(discord.log().back().executed);
    CHECK(discord.receive(search("/guilds/2/messages/search"), 2s).status == 202);
    CHECK(discord.invalid_requests("10.0.0.1") == 0);
}

TEST_CASE("an index can be ready at a time instead, whatever was asked before") {
    auto discord = searching({.first = 0, .until = 60s, .retry_after = 0});
    CHECK(discord.receive(search(), 0s).status == 202);
    CHECK(discord.receive(search(), 60s - 1ns).status == 202);
    CHECK(discord.receive(search(), 60s).status == 200);
}

TEST_CASE("a search that a limit refuses is not one of the first") {
    auto discord = searching({.first = 4});
    for (const int status : {202, 202, 202, 429, 429})
        CHECK(discord.receive(search(), 0s).status == status);
    CHECK(discord.receive(search(), 5s).status == 202);
    CHECK(discord.receive(search(), 5s).status == 200);
}
