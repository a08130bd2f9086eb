// SPDX-License-Identifier: MIT
//
// What is stopped before any limit: banned addresses, bad tokens, webhooks that are gone, clients
// that do not say what they are.
#include <sluice/testing/fake_gate.hpp>

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

FakeRequest from(std::string_view address, std::string_view target = "/channels/1/messages") {
    return {.method = "POST", .target = target, .token = "Bot a", .address = address};
}

FakeOptions banning_after(std::int64_t threshold) {
    return {.global = std::nullopt,
            .epoch = 0s,
            .invalid = InvalidLimit{.threshold = threshold, .period = 10min, .ban = 2h}};
}

int times(FakeDiscord& discord, const FakeRequest& request, int tries, Duration now, int status) {
    int hits = 0;
    for (int i = 0; i < tries; ++i)
        hits += discord.receive(request, now).status == status ? 1 : 0;
    return hits;
}

} // namespace

TEST_CASE("too many invalid requests ban their address, and Cloudflare answers", "[F10]") {
    FakeDiscord discord{banning_after(10)};
    discord.rule(create_message, {.status = 403});
    discord.rule(edit_message, {.limit = std::nullopt});
    CHECK(times(discord, from("10.0.0.1"), 9, 0s, 403) == 5);
    CHECK(discord.invalid_requests("10.0.0.1") == 9);
    CHECK(times(discord, from("10.0.0.1"), 1, 1s, 429) == 1);
    CHECK(discord.invalid_requests("10.0.0.1") == 0);
    const auto answer = discord.receive(
        {.method = "PATCH", .target = "/channels/1/messages/2", .address = "10.0.0.1"}, 3601s);
    CHECK(answer.status == 429);
    CHECK(header(answer, "Via") == "-");
    CHECK(header(answer, "Server") == "cloudflare");
    CHECK(header(answer, "Retry-After") == "3600");
    CHECK(header(answer, "Content-Type") == "text/html; charset=UTF-8");
    CHECK(discord.log().back().verdict == FakeVerdict::blocked);
    CHECK(discord.receive(from("10.0.0.2"), 3601s).status == 403);
    CHECK(discord.receive(from("10.0.0.1"), 7201s - 1ns).status == 429);
    CHECK(discord.receive(from("10.0.0.1"), 7201s).status == 403);
}

TEST_CASE("invalid requests are counted over ten minutes", "[F10]") {
    FakeDiscord discord{banning_after(3)};
    discord.rule(create_message, {.limit = std::nullopt, .status = 403});
    CHECK(times(discord, from("a"), 2, 0s, 403) == 2);
    CHECK(times(discord, from("a"), 2, 600s, 403) == 2);
    CHECK(discord.receive(from("a"), 601s).status == 403);
    CHECK(discord.receive(from("a"), 602s).status == 429);
}

TEST_CASE("401, 403 and 429 are invalid, shared 429s and other errors are not", "[F10]") {
    FakeDiscord discord{banning_after(100)};
    const auto counted = [&](Rule rule) {
        discord.rule(create_message, std::move(rule));
        const auto before = discord.invalid_requests("a");
        (void)discord.receive(from("a"), 0s);
        return discord.invalid_requests("a") - before;
    };
    const auto refusing = [](RefusalKind kind) {
        return Rule{.faults = {{.kind = FaultKind::refusal, .refusal = {.kind = kind}}}};
    };
    CHECK(counted({.limit = std::nullopt}) == 0);
    CHECK(counted({.limit = std::nullopt, .status = 403}) == 1);
    CHECK(counted({.limit = std::nullopt, .status = 401}) == 1);
    CHECK(counted({.limit = std::nullopt, .status = 404}) == 0);
    CHECK(counted({.faults = {{.status = 500}}}) == 0);
    CHECK(counted(refusing(RefusalKind::user)) == 1);
    CHECK(counted(refusing(RefusalKind::sublimit)) == 1);
    CHECK(counted(refusing(RefusalKind::global)) == 1);
    CHECK(counted(refusing(RefusalKind::headerless)) == 1);
    CHECK(counted(refusing(RefusalKind::shared)) == 0);
    CHECK(counted(refusing(RefusalKind::cloudflare_text)) == 0);
}

TEST_CASE("shared 429s can be counted as invalid after all", "[F10]") {
    FakeOptions options = banning_after(2);
    options.invalid->count_shared = true;
    FakeDiscord discord{options};
    discord.rule(
        create_message,
        {.limit = std::nullopt, .second = {{.limit = {Algorithm::fixed, 1, 1h}, .shared = true}}});
    CHECK(times(discord, from("a"), 3, 0s, 429) == 2);
    CHECK(header(discord.receive(from("a"), 0s), "Server") == "cloudflare");
}

TEST_CASE("a ban can be set by the test, answer with the block page and tell no wait", "[F10]") {
    FakeOptions options = banning_after(10'000);
    options.invalid->answer = RefusalKind::cloudflare_block;
    FakeDiscord discord{options};
    discord.ban("a", 60s);
    const auto answer = discord.receive(from("a"), 0s);
    CHECK(answer.body.find("You are being blocked") != std::string::npos);
    CHECK(header(answer, "Retry-After") == "-");
    CHECK(discord.receive(from("b"), 0s).status == 200);
    CHECK(discord.receive(from("a"), 60s).status == 200);
}

TEST_CASE("a ban can tell a minute every time and last for ten", "[F10]") {
    const auto kind = GENERATE(RefusalKind::cloudflare_html, RefusalKind::cloudflare_block);
    FakeOptions options = banning_after(10'000);
    options.invalid->answer = kind;
    FakeDiscord discord{options};
    discord.ban("a", 10min, 60s);
    for (const Duration now : {Duration{0s}, Duration{60s}, Duration{10min - 1ns}})
        CHECK(line(discord.receive(from("a"), now)) == "429 - - - 60");
    CHECK(discord.receive(from("a"), 10min).status == 200);
}

TEST_CASE("a ban that requests have earned can tell less than the truth as well", "[F10]") {
    FakeOptions options = banning_after(1);
    options.invalid->tells = 0s;
    FakeDiscord discord{options};
    discord.rule(create_message, {.status = 403});
    (void)discord.receive(from("a"), 0s);
    CHECK(header(discord.receive(from("a"), 0s), "Retry-After") == "0");
    discord.ban("a", 3h, 5s);
    CHECK(header(discord.receive(from("a"), 1s), "Retry-After") == "5");
    options.invalid->tells = -1s;
    CHECK_THROWS_AS(FakeDiscord{options}, std::invalid_argument);
}

TEST_CASE("a ban is by address: another token does not get through", "[F10]") {
    FakeDiscord discord{banning_after(1)};
    discord.rule(create_message, {.status = 403});
    (void)discord.receive(from("a"), 0s);
    auto other = from("a");
    other.token = "Bot b";
    CHECK(discord.receive(other, 0s).status == 429);
}

TEST_CASE("ten thousand invalid requests ban by default, and never when switched off", "[F10]") {
    const bool on = GENERATE(true, false);
    FakeOptions options{.global = std::nullopt, .log_capacity = 0};
    if (!on) options.invalid = std::nullopt;
    FakeDiscord discord{options};
    discord.rule(create_message, {.limit = std::nullopt, .status = 403});
    CHECK(times(discord, from("a"), 10'000, 0s, 403) == 10'000);
    CHECK(discord.receive(from("a"), 0s).status == (on ? 429 : 403));
}

TEST_CASE("answers of a script count as invalid like any other", "[F10]") {
    FakeDiscord discord{banning_after(5)};
    discord.script(
        [](const FakeRequest&, Duration) { return std::optional{FakeResponse{.status = 401}}; });
    CHECK(times(discord, from("a"), 5, 0s, 401) == 5);
    discord.script(nullptr);
    CHECK(discord.receive(from("a"), 0s).status == 429);
}

TEST_CASE("a token that is no good is answered 401 and spends nothing", "[F10]") {
    FakeDiscord discord{{.global = std::nullopt, .tokens = {"Bot a", "Bot b"}}};
    const auto answer = discord.receive(post("/channels/1/messages", "Bot c"), 0s);
    CHECK(answer.status == 401);
    CHECK(line(answer) == "401 - - - -");
    CHECK(header(answer, "Via") == "1.1 google");
    CHECK(answer.body == R"({"message": "401: Unauthorized", "code": 0})");
    CHECK(discord.log().back().verdict == FakeVerdict::denied);
    CHECK(discord.receive(post("/channels/1/messages", "Bot a"), 0s).status == 200);
    CHECK(discord.receive(post("/channels/1/messages", ""), 0s).status == 200);
    discord.at(1s, [](FakeDiscord& later) { later.revoke_token("Bot a"); });
    CHECK(discord.receive(post("/channels/1/messages", "Bot a"), 1s).status == 401);
    CHECK(discord.receive(post("/channels/1/messages", "Bot b"), 1s).status == 200);
    CHECK(discord.invalid_requests("10.0.0.1") == 2);
}

TEST_CASE("a webhook that is gone is answered 404, with any token of it", "[F10]") {
    FakeDiscord discord{without_global()};
    discord.remove_webhook("501");
    const auto answer = discord.receive(post("/api/v10/webhooks/501/abc?wait=true", ""), 0s);
    CHECK(answer.status == 404);
    CHECK(answer.body.find("10015") != std::string::npos);
    CHECK(discord.receive(post("/webhooks/501/abc/messages/1", ""), 0s).status == 404);
    CHECK(discord.receive(post("/webhooks/502/abc", ""), 0s).status == 200);
    CHECK(discord.receive(post("/channels/501/messages"), 0s).status == 200);
    CHECK(discord.invalid_requests("10.0.0.1") == 0);
}

TEST_CASE("an unknown User-Agent is refused by Cloudflare, if that is asked for", "[F16]") {
    const bool asked = GENERATE(true, false);
    FakeDiscord discord{{.check_user_agent = asked}};
    const auto status = [&](std::string_view agent) {
        FakeRequest request = post();
        request.user_agent = agent;
        return discord.receive(request, 0s).status;
    };
    CHECK(status("DiscordBot (https://example.org, 1.0)") == 200);
    CHECK(status("DiscordBot (https://example.org, 1.0) Boost.Beast/345") == 200);
    for (const auto agent : {"", "curl/8.0", "DiscordBot", "DiscordBot (", "DiscordBot (x)",
                             "DiscordBot (, 1)", "DiscordBot (x, )", "a DiscordBot (x, 1)"}) {
        CAPTURE(agent);
        discord.at(0s, [](FakeDiscord& later) { later.rule(create_message, Rule{}); });
        const int got = status(agent);
        CHECK((got == 403) == asked);
    }
}

TEST_CASE("the refusal of a User-Agent has code 40333 and never reached Discord", "[F16]") {
    FakeDiscord discord{{.check_user_agent = true}};
    const auto answer = discord.receive(post(), 0s);
    CHECK(answer.status == 403);
    CHECK(answer.body.find("\"code\": 40333") != std::string::npos);
    CHECK(header(answer, "Via") == "-");
    CHECK(header(answer, "Server") == "cloudflare");
    CHECK(discord.log().back().verdict == FakeVerdict::blocked);
}

TEST_CASE("only Cloudflare can ban, and only after a number of requests", "[F10]") {
    FakeOptions options = banning_after(0);
    CHECK_THROWS_AS(FakeDiscord{options}, std::invalid_argument);
    options = banning_after(1);
    options.invalid->answer = RefusalKind::user;
    CHECK_THROWS_AS(FakeDiscord{options}, std::invalid_argument);
}
