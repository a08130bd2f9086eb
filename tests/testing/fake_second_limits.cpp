// SPDX-License-Identifier: MIT
//
// Limits that no header shows: of a field, of a channel over its webhooks, and of a resource that
// others spend too.
#include <sluice/testing/fake_second_limit.hpp>

#include "support/catch.hpp"
#include "support/fake_requests.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace {

using namespace std::chrono_literals;
using namespace sluice::testing;

constexpr auto edit_channel = "PATCH /channels/{channel.id}";
constexpr auto execute_webhook = "POST /webhooks/{webhook.id}/{webhook.token}";
constexpr auto edit_original =
    "PATCH /webhooks/{application.id}/{interaction.token}/messages/@original";
constexpr auto create_thread = "POST /channels/{channel.id}/threads";

FakeRequest edit(std::string_view body, std::string_view target = "/channels/1") {
    return {.method = "PATCH", .target = target, .token = "Bot a", .body = body};
}

constexpr std::string_view new_name = R"({"name": "x"})";
constexpr std::string_view new_topic = R"({"topic": "name", "nsfw": true})";
constexpr std::string_view both = R"({"topic": "x", "name": "y"})";

FakeDiscord with_channel_edits() {
    FakeDiscord discord{without_global()};
    discord.rule(edit_channel,
                 {.limit = Limit{Algorithm::fixed, 10, 15s},
                  .hash = "ordinary",
                  .second = {{.limit = {Algorithm::fixed, 2, 600s}, .field = "name"},
                             {.limit = {Algorithm::fixed, 2, 600s}, .field = "topic"}}});
    return discord;
}

Rule webhook_rule() {
    return {.limit = Limit{Algorithm::fixed, 5, 2s},
            .second = {{.limit = {Algorithm::fixed, 30, 60s},
                        .name = "webhooks of the channel",
                        .per = CountedPer::channel}},
            .channels = {{"501", 1},
                         {"502", 1},
                         {"503", 2},
                         {"aW50ZXJhY3Rpb246MTp4", 1},
                         {"aW50ZXJhY3Rpb246Mjp4", 1}}};
}

/// How many of `tries` are accepted, one each second.
int accepted_slowly(FakeDiscord& discord, const FakeRequest& request, int tries, Duration from) {
    int accepted = 0;
    for (int i = 0; i < tries; ++i)
        accepted += discord.receive(request, from + i * 1s).status == 200 ? 1 : 0;
    return accepted;
}

} // namespace

TEST_CASE("renaming a channel has a hidden limit, refused with the ordinary headers", "[F8]") {
    auto discord = with_channel_edits();
    CHECK(line(discord.receive(edit(new_name), 0s)) == "200 9 15.000 15.000 -");
    CHECK(line(discord.receive(edit(new_name), 1s)) == "200 8 15.000 14.000 -");
    const auto answer = discord.receive(edit(new_name), 16s);
    CHECK(line(answer) == "429 9 31.000 15.000 584");
    CHECK(answer.body == refusal("584.000"));
    CHECK(header(answer, "X-RateLimit-Bucket") == "ordinary");
    CHECK(header(answer, "X-RateLimit-Limit") == "10");
    CHECK(header(answer, "X-RateLimit-Scope") == "user");
    CHECK(discord.log().back().verdict == FakeVerdict::hidden_limit);
    CHECK(discord.log().back().retry_after == 584s);
    CHECK(discord.retry_after(edit(new_name), 16s) == 584s);
    CHECK(discord.receive(edit(new_name), 600s).status == 200);
}

TEST_CASE("name and topic are counted apart, and other fields are not counted", "[F8]") {
    auto discord = with_channel_edits();
    CHECK(accepted_of(discord, edit(new_name), 2, 0s) == 2);
    CHECK(accepted_of(discord, edit(new_topic), 3, 0s) == 2);
    CHECK(accepted_of(discord, edit(R"({"nsfw": true})"), 2, 0s) == 2);
    CHECK(accepted_of(discord, edit(new_name, "/channels/2"), 2, 0s) == 2);
    CHECK(accepted_of(discord, edit(new_name), 1, 15s) == 0);
}

TEST_CASE("a request that edits both fields waits for whichever is spent", "[F8]") {
    auto discord = with_channel_edits();
    CHECK(discord.receive(edit(both), 0s).status == 200);
    CHECK(discord.receive(edit(new_name), 0s).status == 200);
    CHECK(discord.receive(edit(both), 0s).status == 429);
    // The refused one has spent nothing of the topic's limit.
    CHECK(accepted_of(discord, edit(new_topic), 2, 0s) == 1);
}

TEST_CASE("the ordinary limit comes first, and what it refuses spends no hidden one", "[F8]") {
    auto discord = with_channel_edits();
    CHECK(accepted_of(discord, edit("{}"), 10, 0s) == 10);
    CHECK(line(discord.receive(edit(new_name), 1s)) == "429 0 15.000 14.000 14");
    CHECK(discord.log().back().verdict == FakeVerdict::user_limit);
    CHECK(accepted_of(discord, edit(new_name), 5, 15s) == 2);
}

TEST_CASE("a field is found in the outermost object of the body only", "[F8]") {
    using detail::json_member;
    CHECK(json_member(R"({"name":"x"})", "name") == "x");
    CHECK(json_member(R"({"a": {"name": 1}, "b": ["name"], "name" : 7 })", "name") == "7");
    CHECK(json_member(R"({"a\"}": "{", "name": null})", "name") == "null");
    CHECK_FALSE(json_member(R"({"a": {"name": 1}, "b": "name"})", "name"));
    CHECK_FALSE(json_member(R"({"names": 1, "nam": 2})", "name"));
    CHECK(json_member("--x\r\nname=\"payload_json\"\r\n\r\n{\"name\": \"y\"}\r\n--x--", "name") ==
          "y");
    for (const auto broken : {"", "{", "{\"", "{\"name", "{\"name\"", "}{", "[\"name\":1]", "{\\"})
        CHECK_FALSE(json_member(broken, "name"));
    CHECK(json_member("{\"name\":", "name") == "");
    CHECK(json_member("{\"name\":\"", "name") == "");
}

TEST_CASE("the webhooks of one channel share a hidden limit of thirty a minute", "[F8]") {
    FakeDiscord discord{without_global()};
    discord.rule(execute_webhook, webhook_rule());
    CHECK(accepted_slowly(discord, post("/webhooks/501/a"), 20, 0s) == 20);
    CHECK(accepted_slowly(discord, post("/api/v10/webhooks/502/b?wait=true"), 15, 20s) == 10);
    const auto answer = discord.receive(post("/webhooks/501/a"), 35s);
    CHECK(line(answer) == "429 4 37.000 2.000 25");
    CHECK(discord.receive(post("/webhooks/503/c"), 35s).status == 200);
    CHECK(discord.receive(post("/webhooks/504/d"), 35s).status == 200);
    CHECK(discord.receive(post("/webhooks/502/b", ""), 36s).status == 429);
    CHECK(discord.receive(post("/webhooks/501/a"), 60s).status == 200);
}

TEST_CASE("follow-ups and edits of interactions draw on the limit of their channel", "[F8]") {
    FakeDiscord discord{without_global()};
    discord.rule(execute_webhook, webhook_rule());
    discord.rule(edit_original, webhook_rule());
    const auto first = post("/webhooks/9/aW50ZXJhY3Rpb246MTp4");
    const auto second = post("/webhooks/9/aW50ZXJhY3Rpb246Mjp4");
    const FakeRequest edit_first{.method = "PATCH",
                                 .target = "/webhooks/9/aW50ZXJhY3Rpb246MTp4/messages/@original"};
    CHECK(accepted_slowly(discord, first, 12, 0s) == 12);
    CHECK(accepted_slowly(discord, second, 12, 12s) == 12);
    CHECK(accepted_slowly(discord, edit_first, 12, 24s) == 6);
    CHECK(discord.receive(post("/webhooks/501/a"), 36s).status == 429);
}

TEST_CASE("a hidden limit can be of all, or of each token apart", "[F8]") {
    FakeDiscord discord{without_global()};
    const bool apart = GENERATE(false, true);
    discord.rule(create_message, {.limit = std::nullopt,
                                  .second = {{.limit = {Algorithm::fixed, 3, 5s},
                                              .per = CountedPer::nothing,
                                              .per_individual = apart}}});
    CHECK(accepted_of(discord, post("/channels/1/messages"), 2, 0s) == 2);
    CHECK(accepted_of(discord, post("/channels/2/messages", "Bot b"), 9, 0s) == (apart ? 3 : 1));
}

TEST_CASE("others spend a shared limit, which is refused with scope shared", "[F9]") {
    FakeDiscord discord{without_global()};
    discord.rule(
        create_thread,
        {.limit = Limit{Algorithm::fixed, 10, 100s},
         .second = {{.limit = {Algorithm::fixed, 5, 60s}, .shared = true, .code = 20028}}});
    const auto thread = post("/channels/1/threads");
    CHECK(discord.receive(thread, 0s).status == 200);
    discord.others_spend(thread, 3, 1s);
    CHECK(discord.receive(thread, 2s).status == 200);
    const auto answer = discord.receive(thread, 3s);
    CHECK(line(answer) == "429 7 100.000 97.000 57");
    CHECK(header(answer, "X-RateLimit-Scope") == "shared");
    CHECK(answer.body.find("The resource is being rate limited.") != std::string::npos);
    CHECK(answer.body.find("\"code\": 20028") != std::string::npos);
    CHECK(discord.log().back().verdict == FakeVerdict::shared_limit);
    CHECK(discord.receive(post("/channels/2/threads"), 3s).status == 200);
    discord.others_spend(thread, 99, 60s);
    CHECK(discord.receive(thread, 60s).status == 429);
    CHECK(discord.receive(thread, 120s).status == 200);
}

TEST_CASE("another user who never rests leaves only a share of a shared limit", "[F9]") {
    FakeDiscord discord{without_global()};
    discord.rule(
        create_thread,
        {.limit = std::nullopt,
         .second = {{.limit = {Algorithm::gcra, 10, 10s}, .shared = true, .others_every = 2s}}});
    int accepted = 0;
    for (int i = 0; i < 1000; ++i)
        accepted += discord.receive(post("/channels/1/threads"), i * 1s + 500ms).status == 200;
    // One a second for both; the other takes every other one. The bucket was not empty at first.
    CHECK(accepted >= 500);
    CHECK(accepted <= 512);
}

TEST_CASE("what others did in a long silence is bounded work and shows at once", "[F9]") {
    FakeDiscord discord{without_global()};
    discord.rule(
        create_thread,
        {.limit = std::nullopt,
         .second = {{.limit = {Algorithm::fixed, 5, 60s}, .shared = true, .others_every = 1ms}}});
    CHECK(discord.receive(post("/channels/1/threads"), 0s).status == 200);
    CHECK(discord.receive(post("/channels/1/threads"), 24h * 365 + 30s).status == 429);
    CHECK(discord.receive(post("/channels/2/threads"), 24h * 365 + 30s).status == 429);
}

TEST_CASE("a shared limit can lift earlier than it is told", "[F9]") {
    FakeDiscord discord{without_global()};
    discord.rule(
        create_thread,
        {.limit = std::nullopt,
         .second = {{.limit = {Algorithm::fixed, 1, 145s}, .shared = true, .overstated = 74s}}});
    const auto thread = post("/channels/1/threads");
    CHECK(discord.receive(thread, 0s).status == 200);
    const auto answer = discord.receive(thread, 0s);
    CHECK(line(answer) == "429 - - - 219");
    CHECK(answer.body.find("\"retry_after\": 219.000") != std::string::npos);
    CHECK(discord.log().back().retry_after == 145s);
    CHECK(discord.receive(thread, 145s - 1ns).status == 429);
    CHECK(discord.receive(thread, 145s).status == 200);
}

TEST_CASE("a route can show its two limits in turn, and each counts what it counts") {
    FakeDiscord discord{without_global()};
    discord.rule(
        create_message,
        {.limit = Limit{Algorithm::fixed, 1000, 5s},
         .hash = "wide",
         .second = {{.limit = {Algorithm::fixed, 6, 60s}, .hash = "tight", .shown_every = 2}}});
    const auto told = [&](Duration now) {
        const auto answer = discord.receive(post(), now);
        return header(answer, "X-RateLimit-Bucket") + " " + line(answer);
    };
    CHECK(told(0s) == "wide 200 999 5.000 5.000 -");
    CHECK(told(1s) == "tight 200 4 60.000 59.000 -");
    CHECK(told(2s) == "wide 200 997 5.000 3.000 -");
    CHECK(told(3s) == "tight 200 2 60.000 57.000 -");
    CHECK(told(6s) == "wide 200 999 11.000 5.000 -");
    CHECK(told(7s) == "tight 200 0 60.000 53.000 -");
    CHECK(told(8s) == "tight 429 0 60.000 52.000 52");
}

TEST_CASE("each major parameter has its own turn of showing a second limit") {
    FakeDiscord discord{without_global()};
    discord.rule(
        create_message,
        {.hash = "wide",
         .second = {{.limit = {Algorithm::fixed, 6, 60s}, .hash = "tight", .shown_every = 2}}});
    std::string seen;
    for (int i = 0; i < 6; ++i) {
        const auto answer =
            discord.receive(post(i % 2 == 0 ? "/channels/1/messages" : "/channels/2/messages"), 0s);
        seen += header(answer, "X-RateLimit-Bucket").substr(0, 1);
    }
    CHECK(seen == "wwttww");
}

TEST_CASE("forgetting second counters that are full again changes no decision", "[F8]") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message,
                 {.limit = std::nullopt, .second = {{.limit = {Algorithm::fixed, 1, 100s}}}});
    for (int i = 1; i < 20'000; ++i) {
        const std::string target = "/channels/" + std::to_string(i) + "/messages";
        REQUIRE(discord.receive(post(target), i * 1ms).status == 200);
    }
    CHECK(discord.receive(post("/channels/1/messages"), 100s).status == 429);
    CHECK(discord.receive(post("/channels/1/messages"), 100s + 1ms).status == 200);
}

TEST_CASE("a second limit that makes no sense is refused", "[F8]") {
    FakeDiscord discord;
    CHECK_THROWS_AS(discord.rule(create_message, {.second = {{.overstated = -1s}}}),
                    std::invalid_argument);
    CHECK_THROWS_AS(discord.rule(create_message, {.second = {{.shown_every = 1}}}),
                    std::invalid_argument);
    CHECK_THROWS_AS(
        discord.rule(create_message, {.second = {{.limit = {Algorithm::fixed, 0, 1s}}}}),
        std::invalid_argument);
}
