// SPDX-License-Identifier: MIT
//
// Routes whose bucket hash is not one for ever: by the age of a message, at a 429, in the middle of
// a run, or not at all.
#include <sluice/testing/fake_plan.hpp>

#include "support/catch.hpp"
#include "support/fake_requests.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>

namespace {

using namespace std::chrono_literals;
using namespace sluice::testing;

constexpr Duration epoch = 1'700'000'000s;
constexpr auto delete_message = "DELETE /channels/{channel.id}/messages/{message.id}";

/// The path of a message of channel 1 that is made at `server_time`.
std::string message_of(Duration server_time) {
    const auto made = std::chrono::floor<std::chrono::milliseconds>(epoch + server_time);
    const std::int64_t since_2015 = made.count() - 1'420'070'400'000;
    return "/channels/1/messages/" + std::to_string(since_2015 << 22);
}

Rule by_age() {
    return {
        .limit = Limit{Algorithm::fixed, 30, 120s},
        .hash = "old",
        .ages = {
            {.below = 10s, .limit = Limit{Algorithm::fixed, 5, 5s}, .hash = "young"},
            {.below = 14 * 24h + 1ms, .limit = Limit{Algorithm::fixed, 3, 1s}, .hash = "middle"}}};
}

/// The hash and the limit shown when a message made at `made` is deleted at `now`.
std::string shown(FakeDiscord& discord, Duration made, Duration now) {
    const std::string target = message_of(made);
    const auto answer =
        discord.receive({.method = "DELETE", .target = target, .token = "Bot a"}, now);
    return header(answer, "X-RateLimit-Bucket") + " " + header(answer, "X-RateLimit-Limit");
}

} // namespace

TEST_CASE("deletes are limited by the age of the message, with a hash for each class", "[F7]") {
    FakeDiscord discord{{.global = std::nullopt, .epoch = epoch}};
    discord.rule(delete_message, by_age());
    CHECK(shown(discord, 0s, 0s) == "young 5");
    CHECK(shown(discord, 1s, 0s) == "young 5");
    CHECK(shown(discord, 0s, 9999ms) == "young 5");
    CHECK(shown(discord, 0s, 10s) == "middle 3");
    CHECK(shown(discord, 0s, 14 * 24h) == "middle 3");
    CHECK(shown(discord, 0s, 14 * 24h + 999us) == "middle 3");
    CHECK(shown(discord, 0s, 14 * 24h + 1ms) == "old 30");
}

TEST_CASE("each class of age has a counter of its own", "[F7]") {
    FakeDiscord discord{{.global = std::nullopt, .epoch = epoch}};
    discord.rule(delete_message, by_age());
    const auto deletes = [&](Duration made) {
        const std::string target = message_of(made);
        return accepted_of(discord, {.method = "DELETE", .target = target}, 99, 100s);
    };
    CHECK(deletes(99s) == 5);
    CHECK(deletes(1s) == 3);
    CHECK(deletes(-15 * 24h) == 30);
    const std::string old = message_of(-15 * 24h);
    CHECK(discord.retry_after({.method = "DELETE", .target = old}, 100s) == 120s);
}

TEST_CASE("classes of age without named hashes have one each", "[F7]") {
    FakeDiscord discord{{.global = std::nullopt, .epoch = epoch}};
    const std::string before = shown(discord, 0s, 0s).substr(0, 32);
    Rule rule = by_age();
    rule.hash.clear();
    for (auto& age : rule.ages)
        age.hash.clear();
    discord.rule(delete_message, rule);
    const auto young = shown(discord, 0s, 0s).substr(0, 32);
    const auto middle = shown(discord, -11s, 0s).substr(0, 32);
    const auto old = shown(discord, -15 * 24h, 0s).substr(0, 32);
    CHECK(std::set{young, middle, old}.size() == 3);
    CHECK(old == before);
}

TEST_CASE("ages that do not ascend are refused", "[F7]") {
    FakeDiscord discord;
    Rule rule = by_age();
    rule.ages[1].below = 10s;
    CHECK_THROWS_AS(discord.rule(delete_message, rule), std::invalid_argument);
}

TEST_CASE("a 429 can show another hash and another limit than the answers before it", "[F7]") {
    FakeDiscord discord{without_global()};
    const Rule rule{.limit = Limit{Algorithm::fixed, 50000, 100'000s},
                    .hash = "wide",
                    .second = {{.limit = {Algorithm::fixed, 2, 5s}, .hash = "narrow"}}};
    discord.rule(create_message, rule);
    for (int i = 0; i < 2; ++i) {
        const auto answer = discord.receive(post(), 0s);
        CHECK(header(answer, "X-RateLimit-Bucket") == "wide");
        CHECK(header(answer, "X-RateLimit-Limit") == "50000");
    }
    const auto answer = discord.receive(post(), 1s);
    CHECK(line(answer) == "429 0 5.000 4.000 4");
    CHECK(header(answer, "X-RateLimit-Bucket") == "narrow");
    CHECK(header(answer, "X-RateLimit-Limit") == "2");
    CHECK(header(answer, "X-RateLimit-Scope") == "user");
    CHECK(discord.log().back().verdict == FakeVerdict::hidden_limit);
    CHECK(header(discord.receive(post(), 5s), "X-RateLimit-Bucket") == "wide");
}

TEST_CASE("a hash can change in the middle of a run, and vanish", "[F7]") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message, {.hash = "before"});
    discord.at(10s, [](FakeDiscord& later) { later.rule(create_message, {.hash = "after"}); });
    discord.at(20s, [](FakeDiscord& later) { later.rule(create_message, {.headers = false}); });
    CHECK(header(discord.receive(post(), 0s), "X-RateLimit-Bucket") == "before");
    CHECK(header(discord.receive(post(), 10s), "X-RateLimit-Bucket") == "after");
    CHECK(header(discord.receive(post(), 20s), "X-RateLimit-Bucket") == "-");
}
