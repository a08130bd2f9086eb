// SPDX-License-Identifier: MIT
//
// Outages of the whole server: what is answered, by whom, to which requests, and for how long.
#include <sluice/testing/fake_outage.hpp>

#include "support/catch.hpp"
#include "support/fake_requests.hpp"

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>

namespace {

using namespace std::chrono_literals;
using namespace sluice::testing;

FakeRequest follow_up() {
    return post("/webhooks/9/aW50ZXJhY3Rpb246MTp4", "");
}

} // namespace

TEST_CASE("an outage answers every request with 5xx for its time, and runs nothing") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 5, 100s}});
    discord.outage(10s, 70s);
    CHECK(line(discord.receive(post(), 10s - 1ns)) == "200 4 110.000 100.000 -");
    for (const Duration now : {Duration{10s}, Duration{70s - 1ns}}) {
        const auto answer = discord.receive(post(), now);
        CHECK(line(answer) == "502 - - - -");
        CHECK(header(answer, "Via") == "-");
        CHECK(header(answer, "Server") == "-");
        CHECK(header(answer, "Content-Type") == "text/html; charset=UTF-8");
        CHECK(answer.body.find('{') == std::string::npos);
        CHECK_FALSE(discord.log().back().executed);
        CHECK(discord.log().back().verdict == FakeVerdict::faulted);
    }
    CHECK(discord.receive(follow_up(), 70s - 1ns).status == 502);
    CHECK(line(discord.receive(post(), 70s)) == "200 3 110.000 40.000 -");
    CHECK(discord.invalid_requests("10.0.0.1") == 0);
}

TEST_CASE("520 to 530 are Cloudflare's, 500 to 504 are not") {
    for (const int status : {500, 502, 503, 504, 520, 521, 522, 523, 524, 525, 529, 530}) {
        FakeDiscord discord{without_global()};
        discord.outage(0s, 60s, status);
        const auto answer = discord.receive(post(), 0s);
        CAPTURE(status);
        CHECK(answer.status == status);
        CHECK(header(answer, "Server") == (status < 520 ? "-" : "cloudflare"));
        CHECK(header(answer, "Via") == "-");
        CHECK(answer.body.find('{') == std::string::npos);
        CHECK(header(answer, "Date") != "-");
    }
}

TEST_CASE("an outage can leave interactions alone") {
    FakeDiscord discord{without_global()};
    discord.outage({.until = 60s, .status = 503, .interactions = false});
    CHECK(discord.receive(post(), 0s).status == 503);
    CHECK(discord.receive(follow_up(), 0s).status == 200);
}

TEST_CASE("overload lets a share of the requests fail, counted from the first") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message, {.limit = std::nullopt});
    discord.outage({.until = 60s, .status = 503, .every = 3});
    std::string seen;
    for (int i = 0; i < 7; ++i)
        seen += discord.receive(post(), 0s).status == 503 ? 'x' : '.';
    CHECK(seen == "x..x..x");
}

TEST_CASE("in an outage nobody checks tokens and webhooks, but Cloudflare's bans hold") {
    FakeDiscord discord{without_global()};
    discord.revoke_token("Bot a");
    discord.remove_webhook("501");
    discord.outage(0s, 60s);
    CHECK(discord.receive(post(), 0s).status == 502);
    CHECK(discord.receive(post("/webhooks/501/a", ""), 0s).status == 502);
    discord.ban("10.0.0.1", 30s);
    CHECK(discord.receive(post(), 0s).status == 429);
    CHECK(discord.receive(post(), 30s).status == 502);
    CHECK(discord.receive(post(), 60s).status == 401);
}

TEST_CASE("an outage can be slow to answer, and be the one of the options") {
    FakeDiscord discord{
        {.global = std::nullopt, .outages = {{.until = 9s, .status = 504, .think_time = 30s}}}};
    const auto answer = discord.receive(post(), 0s);
    CHECK(answer.status == 504);
    CHECK(answer.think_time == 30s);
    CHECK(discord.receive(post(), 9s).status == 200);
}

TEST_CASE("an outage that makes no sense is refused") {
    FakeDiscord discord;
    for (const int status : {200, 429, 505, 519, 531})
        CHECK_THROWS_AS(discord.outage(0s, 1s, status), std::invalid_argument);
    CHECK_THROWS_AS(discord.outage({.every = 0}), std::invalid_argument);
    CHECK_THROWS_AS(FakeDiscord{{.outages = {{.status = 200}}}}, std::invalid_argument);
}
