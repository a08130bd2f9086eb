// SPDX-License-Identifier: MIT
//
// Whose global limit a request draws on: its token's, its address's, or nobody's.
#include <sluice/testing/fake_discord.hpp>

#include "support/catch.hpp"
#include "support/fake_requests.hpp"

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace {

using namespace std::chrono_literals;
using namespace sluice::testing;

constexpr auto execute_webhook = "POST /webhooks/{webhook.id}/{webhook.token}";
constexpr std::string_view follow_up = "/webhooks/9/aW50ZXJhY3Rpb246MTp4";
constexpr std::string_view webhook = "/webhooks/501/abc";

FakeOptions five_for_tokens() {
    return {.global = Limit{Algorithm::fixed, 5, 1s}, .epoch = 0s};
}

FakeDiscord made(const FakeOptions& options) {
    FakeDiscord discord{options};
    discord.rule(create_message, {.limit = std::nullopt});
    discord.rule(execute_webhook, {.limit = std::nullopt});
    discord.rule("POST /interactions/{}/{}/callback", {.limit = std::nullopt});
    return discord;
}

FakeRequest from(std::string_view address, std::string_view target, std::string_view token = {}) {
    return {.method = "POST", .target = target, .token = token, .address = address};
}

} // namespace

TEST_CASE("a token's global limit and its address's are two") {
    auto discord = made(five_for_tokens());
    CHECK(accepted_of(discord, post("/channels/1/messages", "Bot a"), 9, 0s) == 5);
    CHECK(accepted_of(discord, from("10.0.0.1", webhook), 9, 0s) == 5);
    CHECK(accepted_of(discord, from("10.0.0.1", "/channels/1/messages"), 9, 0s) == 0);
    CHECK(accepted_of(discord, from("10.0.0.2", webhook), 9, 0s) == 5);
    CHECK(accepted_of(discord, post("/channels/1/messages", "Bot a"), 9, 1s) == 5);
}

TEST_CASE("several tokens on one address share no global limit, one token on two does") {
    auto discord = made(five_for_tokens());
    CHECK(accepted_of(discord, from("a", "/channels/1/messages", "Bot a"), 3, 0s) == 3);
    CHECK(accepted_of(discord, from("a", "/channels/1/messages", "Bot b"), 9, 0s) == 5);
    CHECK(accepted_of(discord, from("a", "/channels/1/messages", "Bearer c"), 9, 0s) == 5);
    CHECK(accepted_of(discord, from("b", "/channels/1/messages", "Bot a"), 9, 0s) == 2);
}

TEST_CASE("the address's global limit can be another than the token's, and be changed") {
    FakeOptions options = five_for_tokens();
    options.address_global = Limit{Algorithm::fixed, 2, 1s};
    auto discord = made(options);
    CHECK(accepted_of(discord, post("/channels/1/messages", "Bot a"), 9, 0s) == 5);
    CHECK(accepted_of(discord, from("10.0.0.1", webhook), 9, 0s) == 2);
    CHECK(discord.retry_after(from("10.0.0.1", webhook), 0s) == 1s);
    discord.address_global(Limit{Algorithm::fixed, 3, 1s});
    CHECK(accepted_of(discord, from("10.0.0.1", webhook), 9, 0s) == 1);
    discord.global(std::nullopt);
    CHECK(accepted_of(discord, from("10.0.0.1", webhook), 9, 1s) == 3);
    CHECK(accepted_of(discord, post("/channels/1/messages", "Bot a"), 9, 1s) == 9);
    CHECK_THROWS_AS(discord.address_global(Limit{Algorithm::fixed, 0, 1s}), std::invalid_argument);
}

TEST_CASE("interactions are bound by no global limit unless they are held to the address's") {
    const bool held = GENERATE(false, true);
    const auto token = GENERATE(as<std::string_view>{}, "", "Bot a");
    FakeOptions options = five_for_tokens();
    options.interactions_per_address = held;
    auto discord = made(options);
    CHECK(accepted_of(discord, from("a", follow_up, token), 4, 0s) == 4);
    CHECK(accepted_of(discord, from("a", "/interactions/5/x/callback", token), 9, 0s) ==
          (held ? 1 : 9));
    const auto answer = discord.receive(from("a", follow_up, token), 0s);
    CHECK(header(answer, "X-RateLimit-Global") == (held ? "true" : "-"));
    CHECK(accepted_of(discord, from("a", webhook), 9, 0s) == (held ? 0 : 5));
    CHECK(accepted_of(discord, from("a", "/channels/1/messages", "Bot a"), 9, 0s) == 5);
    CHECK(accepted_of(discord, from("b", follow_up, token), 5, 0s) == 5);
}

TEST_CASE("three hundred follow-ups at once are two hundred and fifty beyond an address's limit") {
    auto discord = made({.interactions_per_address = true});
    int accepted = 0;
    for (int i = 0; i < 300; ++i) {
        const auto target = "/webhooks/9/aW50ZXJhY3Rpb246" + std::to_string(i);
        accepted += discord.receive(from("a", target), 0s).status == 200 ? 1 : 0;
    }
    CHECK(accepted == 50);
    CHECK(discord.count(FakeVerdict::global_limit) == 250);
}

TEST_CASE("a global 429 of an address stops no token, and the other way round") {
    auto discord = made(five_for_tokens());
    CHECK(accepted_of(discord, from("a", webhook), 5, 0s) == 5);
    const auto refused = discord.receive(from("a", webhook), 200ms);
    CHECK(header(refused, "X-RateLimit-Scope") == "global");
    CHECK(refused.body == refusal("0.800", "true"));
    CHECK(discord.receive(from("a", webhook, "Bot a"), 200ms).status == 200);
    CHECK(accepted_of(discord, from("a", webhook, "Bot a"), 9, 300ms) == 4);
    CHECK(accepted_of(discord, from("a", webhook), 9, 1s) == 5);
}
