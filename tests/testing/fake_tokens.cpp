// SPDX-License-Identifier: MIT
//
// Tokens in paths: when they are answered 401 or 404, with which code, and that nothing else is.
#include <sluice/testing/fake_tokens.hpp>

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

constexpr auto callback = "POST /interactions/{interaction.id}/{interaction.token}/callback";
constexpr auto execute_webhook = "POST /webhooks/{webhook.id}/{webhook.token}";

FakeRequest follow_up(std::string_view target = "/webhooks/9/aW50ZXJhY3Rpb246MTp4") {
    return post(target, "");
}
FakeRequest call_back() {
    return post("/interactions/5/aW50ZXJhY3Rpb246MTp4/callback", "");
}

FakeOptions with_lives(const TokenLife& life = {}) {
    return {.global = std::nullopt, .epoch = 0s, .interaction_tokens = life};
}

std::string said(const FakeResponse& answer) {
    const auto code = detail::json_member(answer.body, "code");
    return std::to_string(answer.status) + " " + std::string{code.value_or("-")};
}

} // namespace

TEST_CASE("an interaction's token is answered 401 with code 50027 after fifteen minutes") {
    FakeDiscord discord{with_lives()};
    discord.rule(callback, {.limit = std::nullopt, .status = 204});
    CHECK(said(discord.receive(call_back(), 10s)) == "204 -");
    CHECK(said(discord.receive(follow_up(), 10s + 15min - 1ns)) == "200 -");
    const auto answer = discord.receive(follow_up(), 10s + 15min);
    CHECK(line(answer) == "401 - - - -");
    CHECK(answer.body == R"({"message": "Invalid Webhook Token", "code": 50027})");
    CHECK(header(answer, "Via") == "1.1 google");
    CHECK(discord.log().back().verdict == FakeVerdict::denied);
    CHECK(said(discord.receive(call_back(), 10s + 15min)) == "401 50027");
    CHECK(said(discord.receive(follow_up(), 24h)) == "401 50027");
    CHECK(discord.invalid_requests("10.0.0.1") == 1);
    CHECK(said(discord.receive(follow_up("/webhooks/9/aW50ZXJhY3Rpb246Mjp4"), 24h)) == "200 -");
    CHECK(said(discord.receive(post(), 24h)) == "200 -");
}

TEST_CASE("the life of an interaction's token can be set, and is without end unless it is") {
    FakeDiscord discord{with_lives({.life = 2s})};
    FakeDiscord endless{without_global()};
    (void)discord.receive(follow_up(), 0s);
    (void)endless.receive(follow_up(), 0s);
    CHECK(said(discord.receive(follow_up(), 2s)) == "401 50027");
    CHECK(said(endless.receive(follow_up(), 24h)) == "200 -");
}

TEST_CASE("a follow-up before the callback ran is answered 404 with code 10015, if asked for") {
    FakeDiscord discord{with_lives({.needs_callback = true})};
    const FakeRequest edit{.method = "PATCH",
                           .target = "/webhooks/9/aW50ZXJhY3Rpb246MTp4/messages/@original"};
    CHECK(said(discord.receive(follow_up(), 0s)) == "404 10015");
    CHECK(said(discord.receive(edit, 0s)) == "404 10015");
    discord.rule(callback, {.status = 400});
    CHECK(said(discord.receive(call_back(), 1s)) == "400 -");
    CHECK(said(discord.receive(follow_up(), 1s)) == "404 10015");
    discord.rule(callback, {.status = 204});
    CHECK(said(discord.receive(call_back(), 2s)) == "204 -");
    CHECK(said(discord.receive(follow_up(), 2s)) == "200 -");
    CHECK(said(discord.receive(edit, 2s)) == "200 -");
    CHECK(said(discord.receive(follow_up("/webhooks/9/aW50ZXJhY3Rpb246Mjp4"), 2s)) == "404 10015");
}

TEST_CASE("a token in a path can be made to end at any time, a webhook's as well") {
    FakeDiscord discord{without_global()};
    discord.expire_token("aW50ZXJhY3Rpb246MTp4", 10s);
    discord.expire_token("abc");
    CHECK(said(discord.receive(follow_up(), 10s - 1ns)) == "200 -");
    CHECK(said(discord.receive(follow_up(), 10s)) == "401 50027");
    CHECK(said(discord.receive(post("/webhooks/501/abc?wait=true", ""), 10s)) == "401 50027");
    CHECK(said(discord.receive(post("/webhooks/501/new", ""), 10s)) == "200 -");
    CHECK(said(discord.receive(post("/channels/501/messages"), 10s)) == "200 -");
}

TEST_CASE("what a dead token asks for spends nothing of any limit") {
    FakeDiscord discord{{.global = Limit{Algorithm::fixed, 1, 1s}, .epoch = 0s}};
    discord.rule(execute_webhook, {.limit = Limit{Algorithm::fixed, 2, 60s}});
    discord.expire_token("abc");
    CHECK(said(discord.receive(post("/webhooks/501/abc", ""), 0s)) == "401 50027");
    CHECK(line(discord.receive(post("/webhooks/501/new", ""), 0s)) == "200 1 60.000 60.000 -");
}

TEST_CASE("a webhook that posts to a thread that is gone is answered 404 with code 10003") {
    FakeDiscord discord{without_global()};
    discord.remove_thread("77");
    const auto gone = discord.receive(post("/webhooks/501/abc?wait=true&thread_id=77", ""), 0s);
    CHECK(gone.status == 404);
    CHECK(gone.body == R"({"message": "Unknown Channel", "code": 10003})");
    for (const auto target :
         {"/webhooks/501/abc", "/webhooks/501/abc?thread_id=78", "/webhooks/501/abc?thread_id=777",
          "/webhooks/501/abc?thread_i=77", "/webhooks/501/abc?xthread_id=77",
          "/channels/1/messages?thread_id=77"})
        CHECK(said(discord.receive(post(target, ""), 0s)) == "200 -");
    discord.remove_webhook("501");
    CHECK(said(discord.receive(post("/webhooks/501/abc?thread_id=77", ""), 0s)) == "404 10015");
}

TEST_CASE("a token without any life is refused") {
    CHECK_THROWS_AS(FakeDiscord{with_lives({.life = 0s})}, std::invalid_argument);
}
