// SPDX-License-Identifier: MIT
//
// Which token a 401 or a 404 condemns, for how long, and whom that stops.
#include <sluice/core/scheduler.hpp>

#include "support/catch.hpp"
#include "support/core_client.hpp"
#include "support/served.hpp"

#include <chrono>

namespace {

using namespace sluice;
using namespace sluice::tests;
using core::Refused;
using Call = CoreClient::Call;

Target hook(std::uint64_t number, bool interaction = false) {
    Target target{.route = 8, .channel = number, .exempt = interaction};
    target.traits.tokenless = target.traits.path_token = true;
    target.traits.webhook = !interaction;
    return target;
}

core::Answer with_code(int status, int code) {
    core::Answer answer = silent(status);
    answer.code = code;
    return answer;
}

std::optional<Refused> barred(CoreClient& client, const Target& target) {
    return client.scheduler.barred(client.lane(target), client.now);
}

} // namespace

TEST_CASE("a refused token in a path stops what goes to it for a while, and nothing else") {
    const bool interaction = GENERATE(false, true);
    const Duration pause = interaction ? Duration(15min) : Duration(10min);
    CoreClient client;
    client.answer(client.send(hook(1, interaction)), with_code(401, 50027));
    CHECK(barred(client, hook(1, interaction)) == Refused::invalid_token);
    CHECK_FALSE(barred(client, hook(2, interaction)));
    CHECK_FALSE(barred(client, {}));
    client.pass(pause - 1ns);
    CHECK(barred(client, hook(1, interaction)) == Refused::invalid_token);
    client.pass(1ns);
    Call& probe = client.send(hook(1, interaction));
    CHECK(probe.sent());
    CHECK(client.send(hook(1, interaction)).refused()); // until that one has found out
    SECTION("it is refused again") {
        client.answer(probe, with_code(401, 50027));
        client.pass(pause - 1s);
        CHECK(barred(client, hook(1, interaction)) == Refused::invalid_token);
    }
    SECTION("it works again") {
        client.answer(probe, silent());
        CHECK_FALSE(barred(client, hook(1, interaction)));
    }
}

TEST_CASE("whoever waits for a token that is refused hears of it") {
    CoreClient client;
    Call& first = client.send(hook(1));
    Call& second = client.send(hook(1));
    REQUIRE(second.waits());
    client.answer(first, with_code(401, 50027));
    CHECK(second.refused());
    CHECK(second.why == Refused::invalid_token);
}

TEST_CASE("thirty expired interactions, edited once a second, cost one 401 each in ten minutes") {
    CoreClient client;
    int unauthorized = 0;
    for (int second = 0; second < 600; ++second) {
        for (std::uint64_t i = 1; i <= 30; ++i) {
            Call& call = client.send(hook(i, true));
            if (!call.sent()) continue;
            ++unauthorized;
            client.answer(call, with_code(401, 50027));
        }
        client.pass(1s);
    }
    CHECK(unauthorized == 30); // 7,038 before, and the bot was silenced
    CHECK(client.send({}).sent());
}

TEST_CASE("a 401 stops the bot only where it speaks of the bot's token", "[R19]") {
    CoreClient client;
    const auto after = [&](const Target& target, const core::Answer& answer) {
        client.answer(client.send(target), answer);
        const auto bar = barred(client, {.route = 99});
        client.scheduler.replace_token();
        return bar;
    };
    CHECK(after({}, silent(401)) == Refused::unauthorized);
    CHECK(after({}, with_code(401, 0)) == Refused::unauthorized);
    CHECK(after({}, with_code(401, 40001)) == Refused::unauthorized);
    CHECK_FALSE(after({}, with_code(401, 50025))); // an OAuth2 access token
    CHECK_FALSE(after({}, with_code(401, 50027))); // a webhook's token
    Target other{.route = 5};
    other.traits.bots = false; // GET /oauth2/@me
    CHECK_FALSE(after(other, with_code(401, 0)));
    core::Answer foreign = silent(401);
    foreign.from_discord = false; // a proxy's own
    CHECK_FALSE(after({}, foreign));
}

TEST_CASE("only an unknown webhook is one that is gone", "[R19]") {
    CoreClient client;
    client.answer(client.send(hook(1)), silent(404));
    CHECK_FALSE(barred(client, hook(1)));
    client.answer(client.send(hook(1)), with_code(404, 10003)); // its thread
    CHECK_FALSE(barred(client, hook(1)));
    core::Answer foreign = with_code(404, 10015);
    foreign.from_discord = false;
    client.answer(client.send(hook(1)), foreign);
    CHECK_FALSE(barred(client, hook(1)));
    client.answer(client.send(hook(1)), with_code(404, 10015));
    CHECK(barred(client, hook(1)) == Refused::unknown_webhook);
    client.pass(24h);
    CHECK(barred(client, hook(1)) == Refused::unknown_webhook);
}

TEST_CASE("refused tokens without end take no memory without end") {
    constexpr core::InvalidRequestLimits patient{1'000'000, 1'000'000, 10min};
    CoreClient client({.global_limit = 0}, std::make_shared<core::Gate>(patient, false));
    for (std::uint64_t i = 1; i <= 70'000; ++i)
        client.answer(client.send(hook(i, true)), with_code(401, 50027));
    CHECK(barred(client, hook(70'000, true)) == Refused::invalid_token);
    CHECK_FALSE(barred(client, hook(1, true))); // the oldest is forgotten
}
