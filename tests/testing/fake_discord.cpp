// SPDX-License-Identifier: MIT
//
// The fake Discord without I/O: counters and their keys, the global limit, changes during a run,
// scripts, and the log.
#include <sluice/testing/fake_discord.hpp>

#include "support/catch.hpp"
#include "support/fake_requests.hpp"

#include <chrono>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace sluice::testing;

} // namespace

TEST_CASE("a counter belongs to one token, one hash and one major parameter", "[F1]") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 3, 5s}});
    CHECK(accepted_of(discord, post("/channels/1/messages"), 9, 0s) == 3);
    CHECK(accepted_of(discord, post("/channels/2/messages"), 9, 0s) == 3);
    CHECK(accepted_of(discord, post("/api/v10/channels/1/messages"), 9, 0s) == 0);
    CHECK(accepted_of(discord, post("/channels/1/messages", "Bot b"), 9, 0s) == 3);
    CHECK(accepted_of(discord, post("/channels/1/messages", ""), 9, 0s) == 3);
}

TEST_CASE("ids that are not major share a counter") {
    FakeDiscord discord{without_global()};
    discord.rule(edit_message, {.limit = Limit{Algorithm::fixed, 3, 5s}});
    CHECK(accepted_of(discord, patch("/channels/1/messages/2"), 2, 0s) == 2);
    CHECK(accepted_of(discord, patch("/channels/1/messages/3"), 2, 0s) == 1);
}

TEST_CASE("routes with one hash count together, unless the rule says that they count apart",
          "[F7]") {
    const bool apart = GENERATE(false, true);
    FakeDiscord discord{without_global()};
    const Rule rule{
        .limit = Limit{Algorithm::fixed, 3, 5s}, .hash = "shared", .counts_apart = apart};
    discord.rule(create_message, rule);
    discord.rule(edit_message, rule);
    CHECK(accepted_of(discord, post(), 2, 0s) == 2);
    CHECK(accepted_of(discord, patch(), 5, 0s) == (apart ? 3 : 1));
    CHECK(header(discord.receive(patch(), 0s), "X-RateLimit-Bucket") == "shared");
}

TEST_CASE("routes without a named hash have one each, of 32 hexadecimal digits") {
    FakeDiscord discord;
    const auto one = header(discord.receive(post(), 0s), "X-RateLimit-Bucket");
    const auto other = header(discord.receive(patch(), 0s), "X-RateLimit-Bucket");
    CHECK(one != other);
    CHECK(one.size() == 32);
    CHECK(one.find_first_not_of("0123456789abcdef") == std::string::npos);
    CHECK(header(discord.receive(post("/channels/9/messages"), 0s), "X-RateLimit-Bucket") == one);
}

TEST_CASE("a rule can count over all major parameters, or over all tokens") {
    FakeDiscord discord{without_global()};
    const Limit limit{Algorithm::fixed, 3, 5s};
    SECTION("over all major parameters") {
        discord.rule(create_message, {.limit = limit, .per_major = false});
        CHECK(accepted_of(discord, post("/channels/1/messages"), 2, 0s) == 2);
        CHECK(accepted_of(discord, post("/channels/2/messages"), 2, 0s) == 1);
        CHECK(accepted_of(discord, post("/channels/2/messages", "Bot b"), 4, 0s) == 3);
    }
    SECTION("over all tokens") {
        discord.rule(create_message, {.limit = limit, .per_individual = false});
        CHECK(accepted_of(discord, post("/channels/1/messages"), 2, 0s) == 2);
        CHECK(accepted_of(discord, post("/channels/1/messages", "Bot b"), 2, 0s) == 1);
        CHECK(accepted_of(discord, post("/channels/2/messages", "Bot b"), 4, 0s) == 3);
    }
}

TEST_CASE("a route without a limit of its own is bound by the global limit only") {
    FakeDiscord discord{{.global = Limit{Algorithm::fixed, 50, 1s}}};
    discord.rule(create_message, {.limit = std::nullopt});
    CHECK(line(discord.receive(post(), 0s)) == "200 - - - -");
    CHECK(accepted_of(discord, post(), 100, 0s) == 49);
}

TEST_CASE("routes that no rule names follow the fallback") {
    FakeDiscord discord{{.fallback = {.limit = Limit{Algorithm::fixed, 2, 1s}, .status = 201}}};
    CHECK(discord.receive(post(), 0s).status == 201);
    CHECK(discord.receive(post(), 0s).status == 201);
    CHECK(discord.receive(post(), 0s).status == 429);
}

TEST_CASE("a rule names a template in any spelling of its braces, or by any route of it") {
    FakeDiscord discord{without_global()};
    discord.rule("POST /channels/{}/messages", {.hash = "by text"});
    CHECK(header(discord.receive(post(), 0s), "X-RateLimit-Bucket") == "by text");
    discord.rule(sluice::route<"POST /channels/{a}/messages">(77), {.hash = "by route"});
    CHECK(header(discord.receive(post(), 0s), "X-RateLimit-Bucket") == "by route");
    CHECK(discord.rule(create_message).hash == "by route");
    discord.rule("PUT /channels/{channel.id}/messages/{message.id}/reactions/{emoji}/@me",
                 {.hash = "reaction"});
    const FakeRequest react{.method = "PUT",
                            .target = "/channels/1/messages/2/reactions/%F0%9F%91%8D/@me"};
    CHECK(header(discord.receive(react, 0s), "X-RateLimit-Bucket") == "reaction");
    CHECK_THROWS_AS(discord.rule("POST", Rule{}), std::invalid_argument);
    CHECK_THROWS_AS(discord.rule("FETCH /channels/{}", Rule{}), std::invalid_argument);
    CHECK_THROWS_AS(discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 0, 1s}}),
                    std::invalid_argument);
}

TEST_CASE("the global limit counts from the first arrival, by the second, as a log or as GCRA",
          "[F6]") {
    const auto accepted = [](Algorithm algorithm, Duration now) {
        FakeDiscord discord{{.global = Limit{algorithm, 50, 1s}, .epoch = 0s}};
        discord.rule(create_message, {.limit = std::nullopt});
        const int first = accepted_of(discord, post(), 20, 600ms);
        const int second = accepted_of(discord, post(), 100, 900ms);
        return std::vector{first, second, accepted_of(discord, post(), 100, now)};
    };
    // The measurement of 2022-07 in discord-api-docs#5144 fits the first and the third.
    CHECK(accepted(Algorithm::fixed, 1599ms) == std::vector{20, 30, 0});
    CHECK(accepted(Algorithm::fixed, 1600ms) == std::vector{20, 30, 50});
    CHECK(accepted(Algorithm::aligned, 1000ms) == std::vector{20, 30, 50});
    CHECK(accepted(Algorithm::sliding_log, 1600ms) == std::vector{20, 30, 20});
    CHECK(accepted(Algorithm::sliding_log, 1900ms) == std::vector{20, 30, 50});
    CHECK(accepted(Algorithm::gcra, 1600ms) == std::vector{20, 45, 35});
}

TEST_CASE("the global limit is one per token, and one per address without a token", "[F6]") {
    FakeDiscord discord{{.global = Limit{Algorithm::fixed, 10, 1s}}};
    discord.rule(create_message, {.limit = std::nullopt});
    auto anonymous = post("/channels/1/messages", "");
    CHECK(accepted_of(discord, post("/channels/1/messages"), 8, 0s) == 8);
    CHECK(accepted_of(discord, post("/channels/2/messages"), 8, 0s) == 2);
    CHECK(accepted_of(discord, post("/channels/1/messages", "Bot b"), 20, 0s) == 10);
    CHECK(accepted_of(discord, anonymous, 20, 0s) == 10);
    anonymous.address = "10.0.0.2";
    CHECK(accepted_of(discord, anonymous, 20, 0s) == 10);
    CHECK(accepted_of(discord, post("/channels/1/messages", "10.0.0.2"), 20, 0s) == 10);
}

TEST_CASE("interaction endpoints are exempt from the global limit, or not if a token is sent",
          "[F6]") {
    const bool exempt = GENERATE(true, false);
    FakeDiscord discord{{.global = Limit{Algorithm::fixed, 1, 1s},
                         .exempt_interactions = exempt,
                         .fallback = {.limit = std::nullopt}}};
    // "interaction:1:x" in base64.
    const auto callback = post("/interactions/1/aW50ZXJhY3Rpb246MTp4/callback");
    const auto follow_up = post("/webhooks/9/aW50ZXJhY3Rpb246MTp4");
    CHECK(accepted_of(discord, callback, 3, 0s) == (exempt ? 3 : 1));
    CHECK(accepted_of(discord, follow_up, 3, 1s) == (exempt ? 3 : 1));
    CHECK(accepted_of(discord, post("/interactions/1/aW50ZXJhY3Rpb246MTp4/callback", ""), 3, 2s) ==
          3);
    CHECK(accepted_of(discord, post("/webhooks/9/no-interaction", ""), 3, 3s) == 1);
}

TEST_CASE("a request refused by one limit spends nothing of the other") {
    FakeDiscord discord{{.global = Limit{Algorithm::fixed, 4, 1s}, .epoch = 0s}};
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 2, 10s}});
    discord.rule(edit_message, {.limit = Limit{Algorithm::fixed, 5, 10s}});
    CHECK(accepted_of(discord, post(), 20, 0s) == 2);
    CHECK(accepted_of(discord, patch(), 20, 0s) == 2);
    CHECK(discord.count(FakeVerdict::user_limit) == 18);
    CHECK(discord.count(FakeVerdict::global_limit) == 18);
    CHECK(line(discord.receive(patch(), 1s)) == "200 2 10.000 9.000 -");
}

TEST_CASE("an unknown path is answered 404 and counts in the global limit") {
    FakeDiscord discord{{.global = Limit{Algorithm::fixed, 1, 1s}}};
    const auto answer = discord.receive(post("/channels//messages"), 0s);
    CHECK(answer.status == 404);
    CHECK(line(answer) == "404 - - - -");
    CHECK(discord.log().back().verdict == FakeVerdict::unknown_route);
    CHECK_FALSE(discord.log().back().route.valid());
    CHECK(discord.receive(post(), 0s).status == 429);
}

TEST_CASE("a limit, a hash and the global limit can change at a time during a run", "[F7]") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 2, 5s}, .hash = "old"});
    discord.at(20s, [](FakeDiscord& later) { later.global(Limit{Algorithm::fixed, 1, 1s}); });
    discord.at(10s, [](FakeDiscord& later) {
        later.rule(create_message, {.limit = Limit{Algorithm::fixed, 3, 5s}, .hash = "new"});
    });
    CHECK(accepted_of(discord, post(), 9, 10s - 1ns) == 2);
    CHECK(header(discord.receive(post(), 10s - 1ns), "X-RateLimit-Bucket") == "old");
    // A new hash is a new counter.
    CHECK(accepted_of(discord, post(), 9, 10s) == 3);
    CHECK(header(discord.receive(post(), 10s), "X-RateLimit-Bucket") == "new");
    CHECK(accepted_of(discord, post(), 9, 20s) == 1);
}

TEST_CASE("a change may schedule the next one") {
    FakeDiscord discord{without_global()};
    discord.at(1s, [](FakeDiscord& later) {
        later.at(2s, [](FakeDiscord& last) { last.rule(create_message, {.hash = "last"}); });
    });
    CHECK(header(discord.receive(post(), 1s), "X-RateLimit-Bucket") != "last");
    CHECK(header(discord.receive(post(), 2s), "X-RateLimit-Bucket") == "last");
}

TEST_CASE("what was spent stays spent when only the limit of a rule changes") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 5, 5s}});
    CHECK(accepted_of(discord, post(), 4, 0s) == 4);
    Rule rule = discord.rule(create_message);
    rule.limit->limit = 2;
    discord.rule(create_message, rule);
    CHECK(line(discord.receive(post(), 1s)) == "429 0 5.000 4.000 4");
}

TEST_CASE("a script answers before any limit and spends nothing") {
    FakeDiscord discord{{.global = Limit{Algorithm::fixed, 1, 1s}}};
    discord.script([](const FakeRequest& request, Duration now) -> std::optional<FakeResponse> {
        if (request.method != "PATCH" || now >= 1s) return std::nullopt;
        return FakeResponse{.status = 502, .headers = {{"Server", "cloudflare"}}, .body = "no"};
    });
    for (int i = 0; i < 5; ++i) {
        const auto answer = discord.receive(patch(), 0s);
        CHECK(answer.status == 502);
        CHECK(answer.body == "no");
        CHECK(answer.headers.size() == 1);
    }
    CHECK(discord.count(FakeVerdict::scripted) == 5);
    CHECK(discord.receive(post(), 0s).status == 200);
    CHECK(discord.receive(patch(), 1s).status == 200);
    discord.script(nullptr);
    CHECK(discord.receive(patch(), 2s).status == 200);
}

TEST_CASE("every arrival is recorded with its time, token, route, counter and verdict", "[F13]") {
    FakeDiscord discord{{.global = Limit{Algorithm::fixed, 3, 1s}}};
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 1, 5s}, .status = 201});
    (void)discord.receive(post(), 100ms);
    (void)discord.receive(post(), 200ms);
    (void)discord.receive(post("/channels/2/messages", "Bot b"), 300ms);
    REQUIRE(discord.log().size() == 3);
    const auto& first = discord.log()[0];
    const auto& second = discord.log()[1];
    const auto& third = discord.log()[2];
    CHECK(first.at == 100ms);
    CHECK(first.token == "Bot a");
    CHECK(first.address == "10.0.0.1");
    CHECK(first.target == "/channels/1/messages");
    CHECK(first.route == sluice::route<"POST /channels/{channel.id}/messages">(1));
    CHECK(first.verdict == FakeVerdict::accepted);
    CHECK(first.status == 201);
    CHECK(first.retry_after == 0s);
    CHECK(second.verdict == FakeVerdict::user_limit);
    CHECK(second.status == 429);
    CHECK(second.retry_after == 4900ms);
    CHECK(second.counter == first.counter);
    CHECK(third.token == "Bot b");
    CHECK(third.counter != first.counter);
}

TEST_CASE("requests are in flight until thought over, or until they are delivered") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message, {.limit = std::nullopt, .think_time = 1s});
    const auto arrive = [&](Duration now) {
        (void)discord.receive(post(), now);
        return discord.log().back().in_flight;
    };
    CHECK(arrive(0ms) == 1);
    CHECK(arrive(500ms) == 2);
    CHECK(arrive(1000ms) == 2);
    discord.count_in_flight(InFlight::until_delivered);
    CHECK(arrive(9s) == 1);
    CHECK(arrive(99s) == 2);
    discord.delivered();
    CHECK(arrive(100s) == 2);
}

TEST_CASE("the log keeps the newest arrivals and can be switched off, the counts go on") {
    const std::size_t capacity = GENERATE(std::size_t{0}, std::size_t{3});
    FakeDiscord discord{{.global = std::nullopt, .log_capacity = capacity}};
    discord.rule(create_message, {.limit = std::nullopt});
    for (int i = 0; i < 10; ++i)
        (void)discord.receive(post(), i * 1s);
    CHECK(discord.log().size() == capacity);
    CHECK(discord.count(FakeVerdict::accepted) == 10);
    if (capacity != 0) CHECK(discord.log().front().at == 7s);
    discord.clear_log();
    CHECK(discord.log().empty());
}

TEST_CASE("the wait can be asked for without spending anything") {
    FakeDiscord discord{{.global = Limit{Algorithm::fixed, 3, 1s}}};
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 2, 5s}});
    for (int i = 0; i < 10; ++i)
        CHECK(discord.retry_after(post(), 0s) == 0s);
    CHECK(accepted_of(discord, post(), 2, 0s) == 2);
    CHECK(discord.retry_after(post(), 1s) == 4s);
    CHECK(discord.retry_after(patch(), 0s) == 0s);
    (void)discord.receive(patch(), 0s);
    CHECK(discord.retry_after(patch(), 0s) == 1s);
    CHECK(discord.retry_after(post(), 4500ms) == 500ms);
}

TEST_CASE("time does not run backwards: a late request arrives at the newest time seen", "[F14]") {
    FakeDiscord discord{without_global()};
    (void)discord.receive(post(), 5s);
    (void)discord.receive(post(), 4s);
    CHECK(discord.log().back().at == 5s);
}

TEST_CASE("forgetting counters that are full again changes no decision") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 1, 100s}});
    (void)discord.receive(post("/channels/1/messages"), 0s);
    for (int i = 2; i < 20'000; ++i) {
        const std::string target = "/channels/" + std::to_string(i) + "/messages";
        REQUIRE(discord.receive(post(target), i * 1ms).status == 200);
    }
    CHECK(discord.receive(post("/channels/1/messages"), 100s - 1ms).status == 429);
    CHECK(discord.receive(post("/channels/19000/messages"), 100s).status == 429);
    CHECK(discord.receive(post("/channels/1/messages"), 100s).status == 200);
}
