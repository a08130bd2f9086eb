// SPDX-License-Identifier: MIT
//
// Error answers under another name than successes, and which counter they spend.
#include <sluice/testing/fake_error_answer.hpp>

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

constexpr auto delete_message = "DELETE /channels/{channel.id}/messages/{message.id}";

FakeRequest delete_of(std::string_view target) {
    return {.method = "DELETE", .target = target, .token = "Bot a", .address = "10.0.0.1"};
}

/// Messages 404 and 405 are gone; all are older than two weeks.
Rule deletes() {
    return {.limit = Limit{Algorithm::fixed, 30, 120s},
            .hash = "old",
            .status = 204,
            .ages = {{.below = 10s, .limit = Limit{Algorithm::fixed, 5, 5s}, .hash = "young"}},
            .errors = {{.code = 10008, .ids = {"404", "405"}, .age = 0}}};
}

std::string told(const FakeResponse& answer) {
    return std::to_string(answer.status) + " " + header(answer, "X-RateLimit-Bucket") + " " +
           header(answer, "X-RateLimit-Limit") + " " + header(answer, "X-RateLimit-Remaining");
}

} // namespace

TEST_CASE("a message that is gone is answered in the young bucket's name and numbers") {
    FakeDiscord discord{{.global = std::nullopt}};
    discord.rule(delete_message, deletes());
    CHECK(told(discord.receive(delete_of("/channels/1/messages/2"), 0s)) == "204 old 30 29");
    const auto gone = discord.receive(delete_of("/channels/1/messages/404"), 0s);
    CHECK(told(gone) == "404 young 5 4");
    CHECK(gone.body == R"({"message": "Unknown Message", "code": 10008})");
    CHECK_FALSE(discord.log().back().executed);
    CHECK(told(discord.receive(delete_of("/channels/1/messages/3"), 0s)) == "204 old 30 28");
    CHECK(told(discord.receive(delete_of("/channels/1/messages/405?x=1"), 0s)) == "404 young 5 3");
}

TEST_CASE("an error spends the counter it names, and is refused when that one is spent") {
    FakeDiscord discord{{.global = std::nullopt}};
    discord.rule(delete_message, deletes());
    const auto gone = delete_of("/channels/1/messages/404");
    for (int i = 0; i < 5; ++i)
        CHECK(discord.receive(gone, 0s).status == 404);
    CHECK(told(discord.receive(gone, 1s)) == "429 young 5 0");
    CHECK(discord.retry_after(gone, 1s) == 4s);
    CHECK(discord.retry_after(delete_of("/channels/1/messages/2"), 1s) == 0s);
    CHECK(told(discord.receive(delete_of("/channels/1/messages/2"), 1s)) == "204 old 30 29");
    // A message younger than ten seconds draws on the counter that the errors have spent.
    discord.rule("DELETE /channels/{a}/messages/{b}", [] {
        Rule young = deletes();
        young.ages[0].below = 24h * 365 * 100;
        return young;
    }());
    CHECK(told(discord.receive(delete_of("/channels/1/messages/2"), 1s)) == "429 young 5 0");
}

TEST_CASE("an error can have a limit of its own, shared with whoever has its hash") {
    FakeDiscord discord{{.global = std::nullopt}};
    discord.rule(
        edit_message,
        {.limit = Limit{Algorithm::fixed, 9, 5s},
         .hash = "edits",
         .errors = {{.ids = {"404"}, .limit = Limit{Algorithm::fixed, 2, 5s}, .hash = "other"}}});
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 2, 5s}, .hash = "other"});
    CHECK(told(discord.receive(patch("/channels/1/messages/404"), 0s)) == "404 other 2 1");
    CHECK(told(discord.receive(post("/channels/1/messages"), 0s)) == "200 other 2 0");
    CHECK(told(discord.receive(patch("/channels/1/messages/404"), 0s)) == "429 other 2 0");
    CHECK(told(discord.receive(patch("/channels/2/messages/404"), 0s)) == "404 other 2 1");
    CHECK(told(discord.receive(patch("/channels/1/messages/2"), 0s)) == "200 edits 9 8");
}

TEST_CASE("an error that names no limit is described and counted as successes are") {
    FakeDiscord discord{{.global = std::nullopt}};
    discord.rule(create_message,
                 {.limit = Limit{Algorithm::fixed, 5, 5s}, .hash = "h", .errors = {{.every = 3}}});
    CHECK(told(discord.receive(post(), 0s)) == "200 h 5 4");
    CHECK(told(discord.receive(post(), 0s)) == "200 h 5 3");
    const auto third = discord.receive(post(), 0s);
    CHECK(told(third) == "404 h 5 2");
    CHECK(third.body == R"({"message": "404: Not Found", "code": 0})");
    CHECK(told(discord.receive(post(), 0s)) == "200 h 5 1");
}

TEST_CASE("an error that is not counted comes before all limits of its route") {
    FakeDiscord discord{{.global = std::nullopt}};
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 1, 5s},
                                  .second = {{.limit = {Algorithm::fixed, 1, 60s}}},
                                  .errors = {{.status = 403, .every = 2, .counted = false}}});
    CHECK(discord.receive(post(), 0s).status == 200);
    CHECK(line(discord.receive(post(), 0s)) == "403 - - - -");
    CHECK(discord.receive(post(), 5s).status == 429);
    CHECK(discord.retry_after(post(), 6s) == 0s);
    CHECK(discord.receive(post(), 6s).status == 403);
}

TEST_CASE("a share of all paths is gone, and each path is gone for ever or not at all") {
    FakeDiscord discord{{.global = std::nullopt}};
    discord.rule(delete_message, {.limit = std::nullopt, .errors = {{.share = 0.3}}});
    int gone = 0;
    for (int id = 1; id <= 2000; ++id) {
        const std::string target = "/channels/1/messages/" + std::to_string(id);
        const int status = discord.receive(delete_of(target), 0s).status;
        CHECK(discord.receive(delete_of(target + "?again"), 0s).status == status);
        gone += status == 404 ? 1 : 0;
    }
    CHECK(gone > 550);
    CHECK(gone < 650);
}

TEST_CASE("a route can refuse the token of a bot and take the bearer of a user") {
    FakeDiscord discord{without_global()};
    discord.rule("GET /oauth2/@me",
                 {.errors = {{.status = 401, .token = TokenKind::bot, .counted = false}}});
    const auto ask = [&](std::string_view token) {
        return discord.receive({.method = "GET", .target = "/oauth2/@me", .token = token}, 0s);
    };
    const auto refused = ask("Bot a");
    CHECK(line(refused) == "401 - - - -");
    CHECK(header(refused, "Via") == "1.1 google");
    CHECK(refused.body == R"({"message": "401: Unauthorized", "code": 0})");
    CHECK(ask("Bearer a").status == 200);
    CHECK(ask("").status == 200);
    CHECK(discord.receive(post(), 0s).status == 200);
}

TEST_CASE("a bearer that has expired is answered 401 with code 50025, and no other token is") {
    FakeDiscord discord{without_global()};
    discord.expire_bearer("Bearer a", 10s);
    const auto target = "/channels/1/messages";
    CHECK(discord.receive(post(target, "Bearer a"), 10s - 1ns).status == 200);
    const auto refused = discord.receive(post(target, "Bearer a"), 10s);
    CHECK(line(refused) == "401 - - - -");
    CHECK(refused.body == R"({"message": "Invalid OAuth2 access token", "code": 50025})");
    CHECK(discord.receive(post(target, "Bearer b"), 10s).status == 200);
    CHECK(discord.receive(post(target, "Bot a"), 10s).status == 200);
    CHECK(discord.invalid_requests("10.0.0.1") == 1);
}

TEST_CASE("a rule can answer every request with one status and code, and counts them all") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message,
                 {.limit = Limit{Algorithm::fixed, 5, 5s}, .status = 403, .code = 50001});
    const auto answer = discord.receive(post(), 0s);
    CHECK(line(answer) == "403 4 5.000 5.000 -");
    CHECK(answer.body == R"({"message": "403: Forbidden", "code": 50001})");
}

TEST_CASE("an error answer that makes no sense is refused") {
    FakeDiscord discord;
    const auto refuses = [&](const ErrorAnswer& error) {
        CHECK_THROWS_AS(discord.rule(create_message, {.errors = {error}}), std::invalid_argument);
    };
    refuses({.status = 200});
    refuses({.every = 0});
    refuses({.share = 1.5});
    refuses({.age = 0});
    refuses({.limit = Limit{}});
    refuses({.hash = "of no limit"});
    refuses({.limit = Limit{Algorithm::fixed, 0, 5s}, .hash = "h"});
}
