// SPDX-License-Identifier: MIT
//
// Server errors, cut connections and lost answers, before and after the request ran, and how often
// each request did run.
#include <sluice/testing/fake_fault.hpp>

#include "support/catch.hpp"
#include "support/fake_requests.hpp"

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace sluice::testing;

FakeDiscord failing(const Fault& fault) {
    FakeDiscord discord{without_global()};
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 5, 5s}, .faults = {fault}});
    return discord;
}

/// The numbers of those of `tries` requests that a fault struck, from 1.
std::vector<int> struck_of(FakeDiscord& discord, int tries) {
    std::vector<int> struck;
    for (int i = 1; i <= tries; ++i)
        if (discord.receive(post(), i * 10s).status == 502) struck.push_back(i);
    return struck;
}

} // namespace

TEST_CASE("server errors carry no bucket headers, and have run only if told to", "[F12]") {
    const int status = GENERATE(500, 502, 503, 504);
    const bool executes = GENERATE(false, true);
    auto discord = failing({.status = status, .executes = executes, .times = 1});
    FakeRequest request = post();
    request.identity = "one";
    const auto answer = discord.receive(request, 0s);
    CHECK(line(answer) == std::to_string(status) + " - - - -");
    CHECK(header(answer, "Via") == "1.1 google");
    CHECK_FALSE(answer.body.empty());
    CHECK(discord.executions("one") == (executes ? 1 : 0));
    CHECK(discord.log().back().executed == executes);
    CHECK(discord.log().back().verdict == FakeVerdict::faulted);
    CHECK(discord.log().back().status == status);
    CHECK(line(discord.receive(request, 0s)) ==
          (executes ? "200 3 5.000 5.000 -" : "200 4 5.000 5.000 -"));
    CHECK(discord.executions("one") == (executes ? 2 : 1));
}

TEST_CASE("a connection can be cut before or after the request ran", "[F12]") {
    const bool executes = GENERATE(false, true);
    auto discord = failing({.kind = FaultKind::cut, .executes = executes, .times = 1});
    FakeRequest request = post();
    request.body = R"({"content": "x", "nonce": "n1"})";
    const auto answer = discord.receive(request, 0s);
    CHECK(answer.cut);
    CHECK_FALSE(answer.silent);
    CHECK(answer.status == 0);
    CHECK(answer.headers.empty());
    CHECK(discord.executions("n1") == (executes ? 1 : 0));
    CHECK(discord.receive(request, 0s).status == 200);
    CHECK(discord.executions("n1") == (executes ? 2 : 1));
    CHECK(discord.log().back().identity == "n1");
}

TEST_CASE("an answer can be lost on an open connection", "[F12]") {
    auto discord = failing({.kind = FaultKind::silence, .executes = true, .times = 1});
    const auto answer = discord.receive(post(), 0s);
    CHECK(answer.silent);
    CHECK_FALSE(answer.cut);
    CHECK(line(discord.receive(post(), 0s)) == "200 3 5.000 5.000 -");
}

TEST_CASE("a fault strikes by counting: after some, each so many, so often", "[F12]") {
    auto discord = failing({.skip = 2, .every = 3, .times = 3});
    CHECK(struck_of(discord, 20) == std::vector{3, 6, 9});
    auto always = failing({});
    CHECK(struck_of(always, 3) == std::vector{1, 2, 3});
}

TEST_CASE("a fault strikes between two moments of server time", "[F12]") {
    auto discord = failing({.from = 30s, .until = 50s});
    CHECK(struck_of(discord, 7) == std::vector{3, 4});
}

TEST_CASE("the first of several faults strikes, and each counts for itself", "[F12]") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message, {.limit = std::nullopt,
                                  .faults = {{.status = 503, .every = 2},
                                             {.status = 504, .every = 2},
                                             {.status = 500, .executes = true}}});
    std::vector<int> answers;
    for (int i = 0; i < 6; ++i)
        answers.push_back(discord.receive(post(), 0s).status);
    // The second sees only what the first lets pass, the third what both do.
    CHECK(answers == std::vector{503, 504, 503, 500, 503, 504});
}

TEST_CASE("a refused request is not struck by a fault that executes", "[F12]") {
    auto discord = failing({.executes = true, .skip = 5});
    CHECK(accepted_of(discord, post(), 9, 0s) == 5);
    CHECK(discord.count(FakeVerdict::user_limit) == 4);
    CHECK(discord.receive(post(), 5s).status == 502);
}

TEST_CASE("a fault before the limits hides a spent bucket", "[F12]") {
    auto discord = failing({.status = 503, .skip = 6});
    CHECK(accepted_of(discord, post(), 6, 0s) == 5);
    CHECK(discord.receive(post(), 0s).status == 503);
}

TEST_CASE("what ran without a fault is counted once, what was refused not at all", "[F12]") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 2, 5s}});
    discord.rule(edit_message, {.status = 403});
    const auto send = [&](FakeRequest request, std::string_view identity) {
        request.identity = identity;
        (void)discord.receive(request, 0s);
    };
    send(post(), "a");
    send(post(), "b");
    send(post(), "c");
    send(patch(), "d");
    send({.method = "POST", .target = "/"}, "e");
    CHECK(discord.executions("a") == 1);
    CHECK(discord.executions("b") == 1);
    CHECK(discord.executions("c") == 0);
    CHECK(discord.executions("d") == 0);
    CHECK(discord.executions("e") == 0);
    CHECK(discord.executions("never sent") == 0);
}

TEST_CASE("a fault delays its answer as its rule does, and is in flight meanwhile", "[F12]") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message, {.think_time = 2s, .faults = {{.kind = FaultKind::cut}}});
    CHECK(discord.receive(post(), 0s).think_time == 2s);
    (void)discord.receive(post(), 1s);
    CHECK(discord.log().back().in_flight == 2);
}

TEST_CASE("faults that make no sense are refused when the rule is set", "[F12]") {
    FakeDiscord discord;
    const auto refused_rule = [&](const Fault& fault) {
        CHECK_THROWS_AS(discord.rule(create_message, {.faults = {fault}}), std::invalid_argument);
    };
    refused_rule({.status = 429});
    refused_rule({.every = 0});
    refused_rule({.kind = FaultKind::refusal, .executes = true});
    CHECK_THROWS_AS(discord.rule(create_message, {.status = 0}), std::invalid_argument);
    CHECK_THROWS_AS(discord.rule(create_message, {.status = 600}), std::invalid_argument);
}
