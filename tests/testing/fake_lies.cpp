// SPDX-License-Identifier: MIT
//
// Every lie of Discord's headers that was observed, told on demand while the true limit is
// enforced.
#include <sluice/testing/fake_lie.hpp>

#include "support/catch.hpp"
#include "support/fake_requests.hpp"

#include <chrono>
#include <optional>
#include <string>

namespace {

using namespace std::chrono_literals;
using namespace sluice::testing;

FakeDiscord lying(const Limit& limit, const Lie& lie) {
    FakeDiscord discord{without_global()};
    discord.rule(create_message, {.limit = limit, .lie = lie});
    return discord;
}

} // namespace

TEST_CASE("a limit of 50000 over a day can be shown while five are enforced", "[F11]") {
    auto discord =
        lying({Algorithm::fixed, 5, 5s}, {.limit = 50'000, .reset_after = 102'737'719ms});
    const auto answer = discord.receive(post(), 0s);
    CHECK(line(answer) == "200 49999 102737.719 102737.719 -");
    CHECK(header(answer, "X-RateLimit-Limit") == "50000");
    CHECK(accepted_of(discord, post(), 99, 0s) == 4);
    CHECK(line(discord.receive(post(), 0s)) == "429 49995 102737.719 102737.719 5");
}

TEST_CASE("a limit of 1000 can be shown while five are enforced", "[F11]") {
    auto discord = lying({Algorithm::fixed, 5, 5s}, {.limit = 1000});
    CHECK(line(discord.receive(post(), 0s)) == "200 999 5.000 5.000 -");
    CHECK(line(discord.receive(post(), 1s)) == "200 998 5.000 4.000 -");
    CHECK(accepted_of(discord, post(), 99, 1s) == 3);
}

TEST_CASE("a limit smaller than the true one never shows a negative rest", "[F11]") {
    auto discord = lying({Algorithm::fixed, 5, 5s}, {.limit = 2});
    CHECK(line(discord.receive(post(), 0s)) == "200 1 5.000 5.000 -");
    CHECK(accepted_of(discord, post(), 3, 0s) == 3);
    CHECK(line(discord.receive(post(), 0s)) == "200 0 5.000 5.000 -");
}

TEST_CASE("the first answer can say that of five none is left for a minute", "[F11]") {
    auto discord = lying({Algorithm::fixed, 1, 60s}, {.limit = 5, .remaining = 0});
    const auto answer = discord.receive(post(), 0s);
    CHECK(line(answer) == "200 0 60.000 60.000 -");
    CHECK(header(answer, "X-RateLimit-Limit") == "5");
    CHECK(line(discord.receive(post(), 1s)) == "429 0 60.000 59.000 59");
}

TEST_CASE("the rest can be stuck whatever is spent", "[F11]") {
    auto discord = lying({Algorithm::gcra, 30, 9s}, {.limit = 2000, .remaining = 1999});
    for (int i = 0; i < 30; ++i)
        CHECK(header(discord.receive(post(), 0s), "X-RateLimit-Remaining") == "1999");
    CHECK(line(discord.receive(post(), 0s)) == "429 1999 9.000 9.000 1");
}

TEST_CASE("Retry-After can be 1 while the body says 1163.097", "[F11]") {
    auto discord = lying({Algorithm::fixed, 1, 1'163'097ms}, {.retry_after = 1s});
    CHECK(line(discord.receive(post(), 0s)) == "200 0 1163.097 1163.097 -");
    const auto answer = discord.receive(post(), 0s);
    CHECK(header(answer, "Retry-After") == "1");
    CHECK(answer.body == refusal("1163.097"));
    CHECK(discord.log().back().retry_after == 1'163'097ms);
    CHECK(discord.receive(post(), 1'163'096ms).status == 429);
    CHECK(discord.receive(post(), 1'163'097ms).status == 200);
}

TEST_CASE("the body can lie while Retry-After is true", "[F11]") {
    auto discord = lying({Algorithm::fixed, 1, 10s}, {.retry_after_in_body = 2500ms});
    (void)discord.receive(post(), 0s);
    const auto answer = discord.receive(post(), 1s);
    CHECK(header(answer, "Retry-After") == "9");
    CHECK(answer.body == refusal("2.500"));
}

TEST_CASE("Reset can be 2.3 s before the Date of the same answer", "[F11]") {
    FakeDiscord discord{{.epoch = 1'694'028'249s}};
    discord.rule(create_message, {.limit = Limit{Algorithm::gcra, 5, 2s},
                                  .think_time = 100ms,
                                  .lie = Lie{.reset_from_date = -2300ms}});
    const auto answer = discord.receive(post(), 0s);
    CHECK(line(answer) == "200 4 1694028246.800 0.400 -");
    CHECK(header(answer, "Date") == "Wed, 06 Sep 2023 19:24:09 GMT");
}

TEST_CASE("Reset can be off by a constant while all else is true", "[F11]") {
    auto discord = lying({Algorithm::fixed, 5, 5s}, {.reset_offset = 500ms});
    CHECK(line(discord.receive(post(), 0s)) == "200 4 5.500 5.000 -");
}

TEST_CASE("the server's clock can be wrong, and be set during a run", "[F11]") {
    FakeDiscord discord{{.global = std::nullopt, .epoch = 1000s, .clock_offset = 40s}};
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 5, 5s}});
    const auto ahead = discord.receive(post(), 0s);
    CHECK(line(ahead) == "200 4 1045.000 5.000 -");
    CHECK(header(ahead, "Date") == "Thu, 01 Jan 1970 00:17:20 GMT");
    discord.at(1s, [](FakeDiscord& later) { later.clock_offset(-100s); });
    const auto behind = discord.receive(post(), 1s);
    CHECK(line(behind) == "200 3 905.000 4.000 -");
    CHECK(header(behind, "Date") == "Thu, 01 Jan 1970 00:15:01 GMT");
    CHECK(accepted_of(discord, post(), 9, 4s) == 3);
}

TEST_CASE("any header can be replaced, added or left out", "[F11]") {
    auto discord = lying({Algorithm::fixed, 5, 5s}, {.headers = {{"X-RateLimit-Limit", "-1"},
                                                                 {"X-RateLimit-Bucket", ""},
                                                                 {"Via", ""},
                                                                 {"X-New", "1"}}});
    const auto answer = discord.receive(post(), 0s);
    CHECK(header(answer, "X-RateLimit-Limit") == "-1");
    CHECK(header(answer, "X-RateLimit-Bucket") == "-");
    CHECK(header(answer, "Via") == "-");
    CHECK(header(answer, "X-New") == "1");
    CHECK(header(answer, "X-RateLimit-Remaining") == "4");
}

TEST_CASE("a lie changes no decision", "[F11]") {
    const Limit limit{Algorithm::gcra, 5, 5s};
    auto liar = lying(limit, {.limit = 1, .remaining = 0, .reset_after = 1h, .retry_after = 9h});
    FakeDiscord honest{without_global()};
    honest.rule(create_message, {.limit = limit});
    for (int i = 0; i < 200; ++i) {
        const Duration now = i * 137ms;
        CHECK(liar.receive(post(), now).status == honest.receive(post(), now).status);
        CHECK(liar.log().back().retry_after == honest.log().back().retry_after);
    }
}

TEST_CASE("a wait of nothing at all can be told for ever, as 0.000 or as a nanosecond") {
    FakeDiscord discord{without_global()};
    const bool zero = GENERATE(true, false);
    Lie lie{.retry_after = 0s, .retry_after_text = "1e-9"};
    if (zero) lie = {.retry_after = 0s, .retry_after_in_body = 0s};
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 1, 60s}, .lie = lie});
    CHECK(discord.receive(post(), 0s).status == 200);
    for (const Duration now : {Duration{0s}, Duration{1s}, Duration{60s - 1ns}}) {
        const auto answer = discord.receive(post(), now);
        CHECK(header(answer, "Retry-After") == "0");
        CHECK(answer.body == refusal(zero ? "0.000" : "1e-9"));
        CHECK(discord.log().back().retry_after == 60s - now);
    }
    CHECK(discord.receive(post(), 60s).status == 200);
}

TEST_CASE("a lie about the text of a wait leaves its header true, unless that lies too") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 1, 60s},
                                  .lie = Lie{.retry_after_text = "null"}});
    CHECK(discord.receive(post(), 0s).status == 200);
    const auto answer = discord.receive(post(), 0s);
    CHECK(header(answer, "Retry-After") == "60");
    CHECK(answer.body == refusal("null"));
}
