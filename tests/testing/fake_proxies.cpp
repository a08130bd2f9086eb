// SPDX-License-Identifier: MIT
//
// Answers as they look behind a proxy.
#include <sluice/testing/fake_proxy.hpp>

#include "support/catch.hpp"
#include "support/fake_requests.hpp"

#include <chrono>
#include <optional>
#include <string>

namespace {

using namespace std::chrono_literals;
using namespace sluice::testing;

FakeDiscord behind(const std::optional<Proxy>& proxy) {
    FakeDiscord discord{{.global = Limit{Algorithm::fixed, 2, 1s}, .epoch = 0s, .proxy = proxy}};
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 1, 5s}});
    return discord;
}

} // namespace

TEST_CASE("a proxy that drops Via leaves the rest of Discord's answers as it was") {
    auto discord = behind(Proxy{});
    const auto passed = discord.receive(post(), 0s);
    CHECK(line(passed) == "200 0 5.000 5.000 -");
    CHECK(header(passed, "Via") == "-");
    const auto refused = discord.receive(post(), 0s);
    CHECK(line(refused) == "429 0 5.000 5.000 5");
    CHECK(header(refused, "Via") == "-");
    CHECK(header(refused, "X-RateLimit-Scope") == "user");
    CHECK(refused.body == refusal("5.000"));
}

TEST_CASE("a proxy that adds nothing and drops nothing changes nothing") {
    auto plain = behind(std::nullopt);
    auto discord = behind(Proxy{.drops = {}});
    for (int i = 0; i < 3; ++i) {
        const auto expected = plain.receive(post(), 0s);
        const auto answer = discord.receive(post(), 0s);
        CHECK(answer.headers == expected.headers);
        CHECK(answer.body == expected.body);
    }
}

TEST_CASE("a proxy that adds a Via of its own does so to Cloudflare's answers too") {
    auto discord = behind(Proxy{.adds = {{"Via", "1.1 nirn"}}});
    CHECK(header(discord.receive(post(), 0s), "Via") == "1.1 nirn");
    discord.ban("10.0.0.1", 10s);
    const auto banned = discord.receive(post(), 1s);
    CHECK(header(banned, "Via") == "1.1 nirn");
    CHECK(header(banned, "Server") == "cloudflare");
}

TEST_CASE("a proxy can make of a global 429 nothing but that it is global") {
    auto discord = behind(Proxy{.bare_global = true});
    const std::string target = "/channels/2/messages";
    CHECK(discord.receive(post(), 0s).status == 200);
    CHECK(discord.receive(post(target), 0s).status == 200);
    const auto refused = discord.receive(post("/channels/3/messages"), 0s);
    CHECK(line(refused) == "429 - - - -");
    CHECK(refused.body == R"({"global": true})");
    for (const auto name : {"Via", "X-RateLimit-Global", "X-RateLimit-Scope"})
        CHECK(header(refused, name) == "-");
    CHECK(header(discord.receive(post(), 1s), "Retry-After") == "4");
}

TEST_CASE("what a proxy drops is counted as invalid all the same, and what is shared is not") {
    auto discord = behind(Proxy{.drops = {"Via", "Server", "X-RateLimit-Scope"}});
    discord.rule(edit_message, {.limit = std::nullopt,
                                .faults = {{.kind = FaultKind::refusal,
                                            .refusal = {.kind = RefusalKind::shared}}}});
    CHECK(discord.receive(patch(), 0s).status == 429);
    CHECK(discord.invalid_requests("10.0.0.1") == 0);
    CHECK(discord.receive(post(), 0s).status == 200);
    CHECK(discord.receive(post(), 0s).status == 429);
    CHECK(discord.invalid_requests("10.0.0.1") == 1);
}

TEST_CASE("a proxy can come and go") {
    auto discord = behind(std::nullopt);
    CHECK(header(discord.receive(post(), 0s), "Via") == "1.1 google");
    discord.proxy(Proxy{});
    CHECK(header(discord.receive(post(), 9s), "Via") == "-");
    discord.proxy(std::nullopt);
    CHECK(header(discord.receive(post(), 18s), "Via") == "1.1 google");
}
