// SPDX-License-Identifier: MIT
//
// What the fake Discord writes: every header of every kind of answer, digit for digit. The two long
// traces are those of Discord's window algorithms, worked by hand.
#include <sluice/testing/fake_headers.hpp>

#include "support/catch.hpp"
#include "support/fake_requests.hpp"

#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace sluice::testing;

} // namespace

TEST_CASE("the worked trace of a fixed window reproduces digit for digit", "[F2]") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 10, 10s}});
    CHECK(line(discord.receive(post(), 0ms)) == "200 9 10.000 10.000 -");
    CHECK(line(discord.receive(post(), 100ms)) == "200 8 10.000 9.900 -");
    CHECK(line(discord.receive(post(), 200ms)) == "200 7 10.000 9.800 -");
    CHECK(line(discord.receive(post(), 5000ms)) == "200 6 10.000 5.000 -");
    for (int i = 0; i < 5; ++i)
        CHECK(discord.receive(post(), 9900ms).status == 200);
    CHECK(line(discord.receive(post(), 9900ms)) == "200 0 10.000 0.100 -");
    const auto refused = discord.receive(post(), 9950ms);
    CHECK(line(refused) == "429 0 10.000 0.050 1");
    CHECK(refused.body == refusal("0.050"));
    CHECK(line(discord.receive(post(), 10050ms)) == "200 9 20.050 10.000 -");
}

TEST_CASE("the worked trace of a sliding window reproduces digit for digit", "[F2]") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message, {.limit = Limit{Algorithm::gcra, 5, 5s}});
    CHECK(line(discord.receive(post(), 0ms)) == "200 4 1.000 1.000 -");
    CHECK(line(discord.receive(post(), 100ms)) == "200 3 2.000 1.900 -");
    CHECK(line(discord.receive(post(), 200ms)) == "200 2 3.000 2.800 -");
    CHECK(line(discord.receive(post(), 300ms)) == "200 1 4.000 3.700 -");
    CHECK(line(discord.receive(post(), 400ms)) == "200 0 5.000 4.600 -");
    const auto first = discord.receive(post(), 500ms);
    CHECK(line(first) == "429 0 5.000 4.500 1");
    CHECK(first.body == refusal("0.500"));
    CHECK(line(discord.receive(post(), 1500ms)) == "200 0 6.000 4.500 -");
    const auto second = discord.receive(post(), 1600ms);
    CHECK(line(second) == "429 0 6.000 4.400 1");
    CHECK(second.body == refusal("0.400"));
    CHECK(line(discord.receive(post(), 6000ms)) == "200 4 7.000 1.000 -");
}

TEST_CASE("an accepted answer describes its bucket and the server, and nothing of a refusal") {
    FakeDiscord discord{{.epoch = 1'694'028'246'950ms}};
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 5, 2s}, .hash = "abc"});
    const auto answer = discord.receive(post(), 0s);
    CHECK(header(answer, "X-RateLimit-Limit") == "5");
    CHECK(header(answer, "X-RateLimit-Remaining") == "4");
    CHECK(header(answer, "X-RateLimit-Reset") == "1694028248.950");
    CHECK(header(answer, "X-RateLimit-Reset-After") == "2.000");
    CHECK(header(answer, "X-RateLimit-Bucket") == "abc");
    CHECK(header(answer, "X-RateLimit-Scope") == "-");
    CHECK(header(answer, "X-RateLimit-Global") == "-");
    CHECK(header(answer, "Retry-After") == "-");
    CHECK(header(answer, "Date") == "Wed, 06 Sep 2023 19:24:06 GMT");
    CHECK(header(answer, "Via") == "1.1 google");
    CHECK(header(answer, "Content-Type") == "application/json");
}

TEST_CASE("a refusal by a route's limit carries the bucket and scope user") {
    FakeDiscord discord;
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 1, 2s}, .hash = "abc"});
    (void)discord.receive(post(), 0s);
    const auto answer = discord.receive(post(), 1s);
    CHECK(answer.status == 429);
    CHECK(header(answer, "X-RateLimit-Limit") == "1");
    CHECK(header(answer, "X-RateLimit-Bucket") == "abc");
    CHECK(header(answer, "X-RateLimit-Scope") == "user");
    CHECK(header(answer, "X-RateLimit-Global") == "-");
    CHECK(header(answer, "Retry-After") == "1");
    CHECK(header(answer, "Content-Type") == "application/json");
    CHECK(header(answer, "Via") == "1.1 google");
}

TEST_CASE("a refusal by the global limit carries no bucket") {
    FakeDiscord discord{{.global = Limit{Algorithm::fixed, 1, 1s}}};
    (void)discord.receive(post(), 0ms);
    const auto answer = discord.receive(post(), 250ms);
    CHECK(line(answer) == "429 - - - 1");
    CHECK(header(answer, "X-RateLimit-Limit") == "-");
    CHECK(header(answer, "X-RateLimit-Bucket") == "-");
    CHECK(header(answer, "X-RateLimit-Global") == "true");
    CHECK(header(answer, "X-RateLimit-Scope") == "global");
    CHECK(answer.body == refusal("0.750", "true"));
}

TEST_CASE("times are rounded up to the next millisecond, Retry-After to the next second", "[F3]") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message, {.limit = Limit{Algorithm::gcra, 3, 1s}});
    CHECK(line(discord.receive(post(), 0s)) == "200 2 0.334 0.334 -");
    CHECK(line(discord.receive(post(), 1ns)) == "200 1 0.667 0.667 -");
    CHECK(line(discord.receive(post(), 2ns)) == "200 0 1.000 1.000 -");
    const auto answer = discord.receive(post(), 333'333'333ns);
    CHECK(line(answer) == "429 0 1.000 0.667 1");
    CHECK(answer.body == refusal("0.001"));
}

TEST_CASE("numbers can be whole seconds, or those of version 6", "[F3]") {
    const auto answers = [](NumberFormat numbers) {
        FakeDiscord discord{{.global = std::nullopt, .numbers = numbers, .epoch = 0s}};
        discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 1, 2500ms}});
        const auto first = line(discord.receive(post(), 0ms));
        const auto second = discord.receive(post(), 100ms);
        return std::vector{first, line(second), second.body};
    };
    CHECK(answers(NumberFormat::integers) ==
          std::vector<std::string>{"200 0 3 3 -", "429 0 3 3 3", refusal("3")});
    CHECK(answers(NumberFormat::milliseconds) ==
          std::vector<std::string>{"200 0 3 3 -", "429 0 3 3 2400", refusal("2400")});
}

TEST_CASE("a limit without headers is enforced all the same", "[F1]") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 1, 5s}, .headers = false});
    CHECK(line(discord.receive(post(), 0s)) == "200 - - - -");
    const auto answer = discord.receive(post(), 0s);
    CHECK(line(answer) == "429 - - - 5");
    CHECK(header(answer, "X-RateLimit-Bucket") == "-");
    CHECK(answer.body == refusal("5.000"));
}

TEST_CASE("a rule's thinking time delays the answer, whose numbers are those of the arrival",
          "[F4]") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message,
                 {.limit = Limit{Algorithm::fixed, 2, 5s}, .think_time = 2300ms, .status = 204});
    const auto slow = discord.receive(post(), 0s);
    CHECK(slow.think_time == 2300ms);
    CHECK(line(slow) == "204 1 5.000 5.000 -");
    // As in discord-api-docs#6407: Date is of the answer, not of the check.
    CHECK(header(slow, "Date") == "Thu, 01 Jan 1970 00:00:02 GMT");
    CHECK(discord.receive(patch(), 0s).think_time == 0s);
}

TEST_CASE("an accepted request is answered with the status and the body of its rule") {
    FakeDiscord discord;
    discord.rule(create_message, {.status = 204});
    const auto empty = discord.receive(post(), 0s);
    CHECK(empty.status == 204);
    CHECK(empty.body.empty());
    CHECK(header(empty, "Content-Type") == "-");
}

TEST_CASE("clocks of API nodes differ in Reset and Date, and in nothing else") {
    FakeOptions options{.global = std::nullopt, .epoch = 1000s, .nodes = 3, .node_skew = 4s};
    const auto run = [&] {
        FakeDiscord discord{options};
        discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 100, 50s}});
        std::vector<std::string> lines;
        for (int i = 0; i < 60; ++i) {
            const auto answer = discord.receive(post(), 0s);
            CHECK(header(answer, "X-RateLimit-Reset-After") == "50.000");
            CHECK(header(answer, "X-RateLimit-Remaining") == std::to_string(99 - i));
            lines.push_back(header(answer, "X-RateLimit-Reset") + " " + header(answer, "Date"));
        }
        return lines;
    };
    const auto lines = run();
    CHECK(std::set(lines.begin(), lines.end()) ==
          std::set<std::string>{"1048.000 Thu, 01 Jan 1970 00:16:38 GMT",
                                "1050.000 Thu, 01 Jan 1970 00:16:40 GMT",
                                "1052.000 Thu, 01 Jan 1970 00:16:42 GMT"});
    CHECK(lines == run());
    ++options.seed;
    options.seed *= 1000;
    CHECK(lines != run());
}
