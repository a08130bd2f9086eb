// SPDX-License-Identifier: MIT
//
// Every kind of 429 that Discord sends: what each blocks, for how long, and what goes on meanwhile.
// Answers that matter for the wait are parsed from the headers and bodies that Discord documents or
// that were reported; discord-rate-limits.md, section 4.
#include <sluice/bucket_manager.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <array>
#include <chrono>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace sluice::tests;
using sluice::AnswerKind;
using sluice::errc;
using sluice::HeaderList;
using sluice::Options;
using sluice::Response;
using sluice::Route;
using sluice::Scope;
using sluice::Ticket;
using sluice::Verdict;

inline constexpr auto patch_channel = sluice::route<"PATCH /channels/{channel.id}">;
inline constexpr auto follow_up = sluice::route<"POST /webhooks/{application.id}/{token}">;

constexpr std::string_view interaction_token = "aW50ZXJhY3Rpb246MTIzOmFiYw"; // interaction:123:abc

/// A 429 of a limit that the headers, which are those of the ordinary bucket, say nothing of.
Response sublimit_429(Duration retry_after, std::string_view hash = "abc") {
    Response response = answer(5, 4, 15s, hash); // discord-api-docs#1900
    response.status = 429;
    response.retry_after = retry_after;
    response.scope = Scope::user;
    return response;
}

Response headerless_429(std::optional<Duration> retry_after = std::nullopt) {
    return {.status = 429, .retry_after = retry_after};
}

Response cloudflare_429(std::optional<Duration> retry_after = std::nullopt) {
    return {.status = 429, .retry_after = retry_after, .from_discord = false};
}

std::string body_with(std::string_view retry_after) {
    return R"({"message": "You are being rate limited.", "retry_after": )" +
           std::string(retry_after) + R"(, "global": false})";
}

/// Two routes of one bucket in channel 1, one of them in channel 2 as well; 5 per 60 s each.
struct Bot : VirtualBot {
    explicit Bot(const Options& options = {}) : VirtualBot(options) {
        limiter.update(message, answer(5, 4, 60s));
        limiter.update(patch, answer(5, 3, 60s));
        limiter.update(elsewhere, answer(5, 4, 60s));
    }

    [[nodiscard]] bool goes(const Route& route) {
        auto ticket = limiter.try_acquire(route);
        if (ticket) ticket->cancel();
        return ticket.has_value();
    }
    /// A request that goes now and is answered at once.
    Verdict request(const Route& route, const Response& response) {
        auto ticket = limiter.try_acquire(route);
        REQUIRE(ticket);
        return ticket->update(response);
    }
    [[nodiscard]] Duration wait(const Route& route) {
        const auto wait = limiter.timeout_for(route);
        REQUIRE(wait);
        return *wait;
    }
    [[nodiscard]] std::int64_t remaining(const Route& route) {
        return limiter.find(route)->remaining.value_or(-1);
    }

    Route message = create_message(1);
    Route patch = patch_channel(1);
    Route elsewhere = create_message(2);
    Route exempt = callback(1, interaction_token);
};

} // namespace

TEST_CASE("the wait after a 429 is the larger of header and body, with its fractions", "[R11]") {
    struct Told {
        std::string_view header, body, reset_after;
        Duration wait;
    };
    const auto told = GENERATE(Told{"65", "64.57", "64.57", 64'570ms}, // Discord docs
                               Told{"1", "0.25", "0.25", 250ms}, Told{"3", "0.5", "2.5", 3s},
                               Told{"1", "1163.097", "4.1", 1'163'097ms}, // #6109
                               Told{"2", "", "1.2", 2s});
    CAPTURE(told.header, told.body);
    Bot bot;
    const std::string body = told.body.empty() ? "" : body_with(told.body);
    const HeaderList headers{{"X-RateLimit-Limit", "5"},
                             {"X-RateLimit-Remaining", "0"},
                             {"X-RateLimit-Reset-After", told.reset_after},
                             {"X-RateLimit-Bucket", "abc"},
                             {"X-RateLimit-Scope", "user"},
                             {"Retry-After", told.header},
                             {"Via", "1.1 google"}};
    const Route route = create_message(7);
    const Verdict verdict = bot.request(route, Response::parse(429, headers, body));
    CHECK(verdict.retry);
    CHECK(verdict.after >= told.wait);
    CHECK(verdict.after <= told.wait + 100ms); // one unit of the header's last digit
    bot.pass(told.wait - 1ns);
    CHECK(!bot.goes(route));
    bot.pass(100ms + 1ns);
    CHECK(bot.goes(route));
}

TEST_CASE("a 429 that tells no wait is waited out for longer each time, and never not at all",
          "[R11]") {
    const auto told = GENERATE(std::optional<Duration>(), std::optional<Duration>(0s));
    Bot bot;
    const Route route = create_message(7);
    std::vector<Duration> waits;
    for (int i = 0; i < 9; ++i) {
        waits.push_back(bot.request(route, headerless_429(told)).after);
        bot.pass(waits.back());
    }
    CHECK(waits[0] == 1s);
    CHECK(waits[1] == 2s);
    CHECK(waits[2] == 4s);
    CHECK(waits[6] == 64s);
    CHECK(waits[8] == 64s);
    bot.request(route, {.status = 200});
    CHECK(bot.request(route, headerless_429(told)).after == 1s);
}

TEST_CASE("requests that were refused together lengthen the backoff once", "[R11]") {
    Bot bot;
    const Route route = get_message(7, 1);
    bot.request(route, {.status = 200}); // names no limits: many may be under way
    std::vector<Ticket> tickets;
    for (int i = 0; i < 20; ++i)
        tickets.push_back(*bot.limiter.try_acquire(route));
    bot.pass(50ms);
    for (Ticket& ticket : tickets)
        CHECK(ticket.update(headerless_429()).after == 1s);
}

TEST_CASE("a 429 of the bucket without a wait lasts until the reset", "[R11]") {
    Bot bot;
    Response response = user_429(7s);
    response.retry_after.reset();
    bot.request(bot.message, response);
    bot.pass(7s - 1ns);
    CHECK(!bot.goes(bot.message));
    bot.pass(2ms);
    CHECK(bot.wait(bot.message) <= 60s);
}

TEST_CASE("a margin is added to every wait that a 429 tells", "[R11]") {
    Bot bot({.retry_margin = 300ms});
    CHECK(bot.request(bot.message, shared_429(2s)).after == 2300ms);
}

TEST_CASE("a 429 of the bucket blocks all its routes, and the bucket of no other channel",
          "[R12]") {
    Bot bot;
    const Verdict verdict = bot.request(bot.message, user_429(60s));
    CHECK(verdict.kind == AnswerKind::user_limit);
    CHECK(verdict.retry);
    CHECK(!bot.goes(bot.message));
    CHECK(!bot.goes(bot.patch));
    CHECK(bot.goes(bot.elsewhere));
    CHECK(bot.remaining(bot.patch) == 0);
}

TEST_CASE("a limit that no header shows blocks its route and channel only", "[R12]") {
    Bot bot;
    const Response response = GENERATE(sublimit_429(582'019ms), [] {
        Response spent = sublimit_429(582'019ms);
        spent.remaining = 0; // and a wait far beyond Reset-After
        return spent;
    }());
    const Verdict verdict = bot.request(bot.patch, response);
    CHECK(verdict.kind == AnswerKind::sublimit);
    CHECK(verdict.after == 582'019ms);
    CHECK(!bot.goes(bot.patch));
    CHECK(bot.goes(bot.message));
    CHECK(bot.goes(bot.elsewhere));
    CHECK(bot.goes(patch_channel(2)));
    CHECK(bot.remaining(bot.message) == 3); // as the ordinary answers said
    bot.pass(582'019ms);
    CHECK(bot.goes(bot.patch));
}

TEST_CASE("requests tagged with a sublimit share its wait, and the rest of the route goes on",
          "[R12]") {
    Bot bot;
    const Route name = bot.patch.sublimit("name");
    bot.request(name, sublimit_429(600s));
    CHECK(!bot.goes(name));
    CHECK(!bot.goes(patch_channel(1).sublimit("name")));
    CHECK(bot.goes(bot.patch));
    CHECK(bot.goes(bot.patch.sublimit("topic")));
    CHECK(bot.goes(patch_channel(2).sublimit("name")));
}

TEST_CASE("tagged and untagged requests of one route draw on one bucket", "[R12]") {
    Bot bot;
    bot.request(bot.patch.sublimit("name"), answer(5, 0, 60s));
    CHECK(!bot.goes(bot.patch));
    CHECK(!bot.goes(bot.patch.sublimit("topic")));
    CHECK(!bot.goes(bot.message));
}

TEST_CASE("who waits behind a sublimit waits its time, who waits for the bucket only the reset",
          "[R12]") {
    Bot bot;
    bot.request(bot.message, answer(5, 0, 60s));
    const Route name = bot.patch.sublimit("name");
    bot.limiter.update(name, sublimit_429(600s));
    Ending tagged;
    Ending plain;
    bot.limiter.async_acquire(name, into(tagged));
    bot.limiter.async_acquire(bot.patch, into(plain));
    bot.pass(60s + 1s);
    CHECK(plain.granted());
    CHECK(tagged.times == 0);
    bot.pass(540s);
    CHECK(tagged.granted());
}

TEST_CASE("a shared 429 blocks its lane by its own wait and leaves remaining as it was", "[R13]") {
    Bot bot;
    const HeaderList headers{{"X-RateLimit-Limit", "10"},          {"X-RateLimit-Remaining", "0"},
                             {"X-RateLimit-Reset-After", "64.57"}, {"X-RateLimit-Bucket", "abc"},
                             {"X-RateLimit-Scope", "shared"},      {"Retry-After", "1337"}};
    const Response response = Response::parse(429, headers, body_with("1336.57"));
    const Verdict verdict = bot.request(bot.message, response);
    CHECK(verdict.kind == AnswerKind::shared_limit);
    CHECK(verdict.after == 1'336'570ms);
    CHECK(!bot.goes(bot.message));
    CHECK(bot.goes(bot.patch));
    CHECK(bot.goes(bot.elsewhere));
    CHECK(bot.remaining(bot.patch) == 3);
    CHECK(bot.limiter.find(bot.patch)->limit == 5);
    CHECK(bot.limiter.stats().invalid_requests == 0);
}

TEST_CASE("a global 429 stops every route of the token, those queued too", "[R14]") {
    Bot bot;
    bot.request(bot.message, answer(5, 0, 60s));
    Ending queued;
    bot.limiter.async_acquire(bot.message, into(queued));
    const Verdict verdict = bot.request(bot.elsewhere, global_429(70s));
    CHECK(verdict.kind == AnswerKind::global_limit);
    CHECK(verdict.after == 70s);
    CHECK(!bot.goes(bot.elsewhere));
    CHECK(!bot.goes(patch_channel(9)));
    bot.pass(70s - 1ns);
    CHECK(queued.times == 0);
    bot.pass(1ns);
    CHECK(queued.granted());
    CHECK(!bot.goes(bot.elsewhere)); // one finds out whether it is over
    queued.ticket.update(answer(5, 4, 60s));
    CHECK(bot.goes(bot.elsewhere));
}

TEST_CASE("a global 429 touches no other token and no exempt route", "[R14][R16]") {
    Bot bot;
    Manager other{bot.io, {}, bot.clock};
    bot.request(bot.message, global_429(60s));
    CHECK(other.try_acquire(bot.message));
    CHECK(bot.goes(bot.exempt));
    CHECK(bot.goes(follow_up(1, interaction_token)));
}

TEST_CASE("exempt routes go while the global limit is spent, and spend none of it", "[R16]") {
    Bot bot({.global = {.limit = 1, .period = 1s}});
    Ticket only = *bot.limiter.try_acquire(bot.message);
    CHECK(!bot.goes(bot.elsewhere));
    for (int i = 0; i < 3; ++i)
        CHECK(bot.goes(callback(i, interaction_token)));
    only.update(answer(5, 3, 60s));
    bot.pass(1s);
    Ticket one = *bot.limiter.try_acquire(bot.exempt);
    CHECK(bot.goes(bot.elsewhere));
    one.cancel();
}

TEST_CASE("exempt requests do not stand behind those that wait for the global limit", "[R16]") {
    Bot bot;
    bot.request(bot.message, cloudflare_429(10s));
    Ending bound;
    Ending exempt;
    bot.limiter.async_acquire(bot.elsewhere, into(bound));
    bot.limiter.async_acquire(bot.exempt, into(exempt));
    bot.limiter.update(bot.message, global_429(60s));
    bot.pass(10s);
    CHECK(exempt.granted());
    CHECK(bound.times == 0);
    bot.pass(50s);
    CHECK(bound.granted());
}

TEST_CASE("Cloudflare's 429 stops everything that goes out, exempt routes too, and is told",
          "[R17]") {
    struct Block {
        HeaderList headers;
        std::string_view body;
    };
    const HeaderList bare{{"Server", "cloudflare"}, {"Retry-After", "900"}};
    const HeaderList with_via{{"Via", "1.1 google"}, {"Retry-After", "900"}};
    const std::array<Block, 4> blocks{
        {{bare, "error code: 1015"},
         {bare, "<!DOCTYPE html><html></html>"},
         {bare, R"({"code":0,"message":"You are being blocked from accessing our API"})"},
         {with_via, "<html>not JSON</html>"}}};
    for (const Block& block : blocks) {
        CAPTURE(block.body);
        Bot bot;
        Ending queued;
        bot.request(bot.message, answer(5, 0, 60s));
        bot.limiter.async_acquire(bot.message, into(queued));
        const Verdict verdict =
            bot.request(bot.elsewhere, Response::parse(429, block.headers, block.body));
        CHECK(verdict.kind == AnswerKind::cloudflare);
        CHECK(verdict.after == 900s);
        for (const Route& route : {bot.message, bot.patch, bot.elsewhere, bot.exempt})
            CHECK(!bot.goes(route));
        bot.pass(900s - 1ns);
        CHECK(queued.times == 0);
        bot.pass(1ns);
        CHECK(queued.granted());
        CHECK(!bot.goes(bot.exempt)); // one finds out whether it is over
        queued.ticket.update(answer(5, 4, 60s));
        CHECK(bot.goes(bot.exempt));
    }
}

TEST_CASE("a block by Cloudflare without a time lasts a minute, then longer, whatever the route",
          "[R17][R11]") {
    Bot bot;
    CHECK(bot.request(bot.message, cloudflare_429()).after == 60s);
    bot.pass(60s);
    CHECK(bot.request(bot.elsewhere, cloudflare_429()).after == 120s);
    bot.pass(120s);
    CHECK(bot.request(bot.exempt, cloudflare_429()).after == 240s);
    bot.pass(240s);
    bot.request(bot.elsewhere, answer(5, 4, 60s));
    CHECK(bot.request(bot.message, cloudflare_429()).after == 60s);
}

TEST_CASE("a headerless 429 blocks its lane, which starts again with one request at a time") {
    Bot bot;
    const Route route = create_message(7);
    bot.request(route, {.status = 200});
    CHECK(bot.request(route, headerless_429(5s)).kind == AnswerKind::headerless);
    CHECK(!bot.goes(route));
    CHECK(bot.goes(bot.message));
    bot.pass(5s);
    Ticket first = *bot.limiter.try_acquire(route);
    CHECK(!bot.goes(route));
    first.update({.status = 200});
    Ticket second = *bot.limiter.try_acquire(route);
    Ticket third = *bot.limiter.try_acquire(route);
    CHECK(!bot.goes(route));
    second.cancel();
    third.cancel();
}

TEST_CASE("a refused request goes back to the front of its lane, whatever kind the 429 was",
          "[R24]") {
    for (const Response& refusal : {user_429(60s), sublimit_429(20s), shared_429(2s),
                                    global_429(2s), cloudflare_429(2s), headerless_429(2s)}) {
        Bot bot;
        std::string order;
        Ticket first = *bot.limiter.try_acquire(bot.message);
        first.update(refusal);
        bot.limiter.async_acquire(bot.message, [&](error_code, Ticket) { order += 'b'; });
        first.async_reacquire([&](error_code) {
            order += 'a';
            first.update({.status = 200}); // a hidden limit lets one go first
        });
        bot.pass(90s);
        CHECK(order == "ab");
    }
}
