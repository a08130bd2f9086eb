// SPDX-License-Identifier: MIT
//
// What keeps a bot from being banned, and its author from waiting without end: the count of invalid
// requests, the stop after a 401 or a webhook's 404, bounds on waits and queues, and answers that
// no server should send.
#include <sluice/bucket_manager.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <string_view>
#include <utility>

namespace {

using namespace sluice::tests;
using sluice::Address;
using sluice::AddressOptions;
using sluice::BucketHash;
using sluice::errc;
using sluice::Options;
using sluice::Response;
using sluice::Route;
using sluice::Scope;
using sluice::Ticket;

inline constexpr auto execute_webhook = sluice::route<"POST /webhooks/{webhook.id}/{token}">;
inline constexpr auto get_webhook = sluice::route<"GET /webhooks/{webhook.id}/{token}">;
inline constexpr auto edit_by_webhook =
    sluice::route<"PATCH /webhooks/{webhook.id}/{token}/messages/{message.id}">;

constexpr std::string_view interaction_token = "aW50ZXJhY3Rpb246MTIzOmFiYw"; // interaction:123:abc

Options with_address(const AddressOptions& address) {
    return {.global = {.limit = 0}, .address = std::make_shared<Address>(address)};
}

struct Bot : VirtualBot {
    explicit Bot(const Options& options = {}) : VirtualBot(options) {}

    void request(const Route& route, const Response& response) {
        auto ticket = limiter.try_acquire(route);
        REQUIRE(ticket);
        ticket->update(response);
    }
    [[nodiscard]] bool goes(const Route& route) {
        auto ticket = limiter.try_acquire(route);
        if (ticket) ticket->cancel();
        return ticket.has_value();
    }
    [[nodiscard]] Duration wait(const Route& route) {
        return limiter.timeout_for(route).value_or(Duration::min());
    }
    /// What an acquire that cannot go ends with.
    Ending refused(const Route& route, const sluice::AcquireOptions& options = {}) {
        Ending ending;
        limiter.async_acquire(route, options, into(ending));
        turn();
        return ending;
    }
    [[nodiscard]] std::int64_t invalid() const { return limiter.stats().invalid_requests; }
};

/// An ending and where it was asked for.
struct Waiting {
    Waiting(Bot& bot, const Route& route, const sluice::AcquireOptions& options = {}) {
        bot.limiter.async_acquire(route, options, into(ending));
        bot.turn();
    }
    Ending ending;
};

} // namespace

TEST_CASE("401, 403 and 429 count as invalid, but a shared 429 does not", "[R18][R13]") {
    Bot bot;
    for (const int status : {200, 204, 400, 404, 500, 502})
        bot.limiter.update(create_message(1), {.status = status});
    bot.limiter.update(create_message(1), shared_429(1s));
    CHECK(bot.invalid() == 0);
    bot.limiter.update(create_message(1), {.status = 403});
    bot.limiter.update(execute_webhook(1, "t"), {.status = 401});
    bot.limiter.update(create_message(1), user_429(1s));
    bot.limiter.update(create_message(1), global_429(1s));
    CHECK(bot.invalid() == 4);
    bot.pass(11min);
    CHECK(bot.invalid() == 0);
}

TEST_CASE("counting shared 429s can be switched on", "[R13][R18]") {
    Bot bot(with_address({.count_shared = true}));
    bot.limiter.update(create_message(1), shared_429(1s));
    CHECK(bot.invalid() == 1);
}

TEST_CASE("at the first threshold requests are spaced, on every route", "[R18]") {
    Bot bot(with_address({.slow_at = 3, .stop_at = 13, .period = 10min}));
    for (int i = 0; i < 3; ++i)
        bot.request(create_message(1), {.status = 403});
    CHECK(bot.goes(create_message(1))); // the first may go at once
    CHECK(!bot.goes(create_message(2)));
    CHECK(!bot.goes(callback(1, interaction_token)));
    Waiting first(bot, create_message(2));
    Waiting second(bot, create_message(3));
    bot.pass(61s); // (10 min + 10 s) / (13 - 3)
    CHECK(first.ending.granted());
    CHECK(second.ending.times == 0);
    bot.pass(61s);
    CHECK(second.ending.granted());
}

TEST_CASE("at the second threshold acquires end at once, queued ones too, and say until when",
          "[R18][R21]") {
    Bot bot(with_address({.slow_at = 50, .stop_at = 5, .period = 10min}));
    bot.request(create_message(1), answer(5, 0, 300s));
    Waiting queued(bot, create_message(1));
    for (int i = 0; i < 5; ++i)
        bot.request(create_message(2), {.status = 403});
    bot.turn();
    CHECK(queued.ending.failed(errc::too_many_invalid_requests));
    const auto ending = bot.refused(create_message(2));
    CHECK(ending.failed(errc::too_many_invalid_requests));
    REQUIRE(ending.ticket.refusal().retry_after);
    CHECK(*ending.ticket.refusal().retry_after > 10min - 1s);
    CHECK(*ending.ticket.refusal().retry_after < 10min + 11s);
    CHECK(queued.ending.ticket.refusal().retry_after == ending.ticket.refusal().retry_after);
    CHECK(bot.refused(callback(1, interaction_token)).failed(errc::too_many_invalid_requests));
    bot.pass(*ending.ticket.refusal().retry_after);
    CHECK(bot.goes(create_message(2)));
}

TEST_CASE("a stop leaves no bucket behind that would never be forgotten", "[R23]") {
    Bot bot(with_address({.slow_at = 50, .stop_at = 1, .period = 10min}));
    bot.request(create_message(1), answer(5, 0, 300s));
    bot.limiter.update(create_message(1).sublimit("x"), shared_429(1s));
    Waiting queued(bot, create_message(1));
    bot.limiter.update(create_message(2), {.status = 403});
    bot.turn();
    CHECK(queued.ending.failed(errc::too_many_invalid_requests));
    bot.pass(1h);
    bot.limiter.collect(1min);
    CHECK(bot.limiter.stats().buckets == 0);
    CHECK(bot.limiter.stats().lanes == 0);
}

TEST_CASE("after a 401 nothing goes out with the token, until it is replaced", "[R19]") {
    Bot bot;
    bot.request(create_message(1), answer(5, 0, 300s));
    Waiting queued(bot, create_message(1));
    bot.request(create_message(2), {.status = 401});
    bot.turn();
    CHECK(queued.ending.failed(errc::unauthorized));
    CHECK(!bot.goes(create_message(3)));
    CHECK(bot.refused(create_message(3)).failed(errc::unauthorized));
    CHECK(bot.goes(execute_webhook(1, "token")));
    CHECK(bot.goes(callback(1, interaction_token)));
    bot.limiter.replace_token();
    CHECK(bot.goes(create_message(3)));
}

TEST_CASE("a 401 that the old token earned does not condemn the new one", "[R19]") {
    Bot bot;
    bot.limiter.update(create_message(1), answer(5, 4, 60s));
    Ticket first = *bot.limiter.try_acquire(create_message(1));
    Ticket second = *bot.limiter.try_acquire(create_message(1));
    first.update({.status = 401});
    bot.limiter.replace_token();
    second.update({.status = 401});
    CHECK(bot.goes(create_message(1)));
    bot.request(create_message(1), {.status = 401});
    CHECK(!bot.goes(create_message(1)));
}

TEST_CASE("a 401 of a webhook or an interaction says nothing of the bot's token", "[R19]") {
    Bot bot;
    bot.request(execute_webhook(1, "token"), {.status = 401});
    bot.request(callback(1, interaction_token), {.status = 401});
    CHECK(bot.goes(create_message(1)));
}

namespace {

Response unknown_webhook() {
    Response answer{.status = 404};
    answer.code = 10015; // Discord docs, "JSON Error Codes"
    return answer;
}

} // namespace

TEST_CASE("after a webhook's 404 nothing more goes to it, and queued requests end at once",
          "[R19]") {
    Bot bot;
    const Route webhook = execute_webhook(1, "token");
    bot.request(get_webhook(1, "token"), answer(5, 0, 300s, "other"));
    bot.request(webhook, answer(5, 1, 300s));
    Ticket out = *bot.limiter.try_acquire(webhook);
    Waiting same_route(bot, webhook);
    Waiting same_webhook(bot, get_webhook(1, "token"));
    out.update(unknown_webhook());
    bot.turn();
    CHECK(same_route.ending.failed(errc::unknown_webhook));
    CHECK(same_webhook.ending.failed(errc::unknown_webhook));
    CHECK(bot.refused(webhook).failed(errc::unknown_webhook));
    CHECK(bot.refused(edit_by_webhook(1, "token", 5)).failed(errc::unknown_webhook));
    CHECK(bot.goes(execute_webhook(1, "another")));
    CHECK(bot.goes(execute_webhook(2, "token")));
}

TEST_CASE("a webhook's 404 ends what waits for it in whichever bucket, and for no other webhook",
          "[R19]") {
    Bot bot;
    const Route webhook = execute_webhook(1, "token");
    const Route other_webhook = execute_webhook(2, "token");
    bot.request(webhook, answer(5, 1, 300s, "small"));
    bot.request(other_webhook, answer(5, 1, 300s, "large")); // as new webhooks are taken to be
    Ticket out = *bot.limiter.try_acquire(webhook);
    Ticket other_out = *bot.limiter.try_acquire(other_webhook);
    Ticket unknown = *bot.limiter.try_acquire(get_webhook(1, "token"));
    Waiting same_route(bot, webhook);
    Waiting hidden(bot, webhook.sublimit("name"));
    Waiting unknown_bucket(bot, get_webhook(1, "token"));
    Waiting other(bot, other_webhook);
    out.update(unknown_webhook());
    bot.turn();
    CHECK(same_route.ending.failed(errc::unknown_webhook));
    CHECK(hidden.ending.failed(errc::unknown_webhook));
    CHECK(unknown_bucket.ending.failed(errc::unknown_webhook));
    CHECK(other.ending.times == 0);
    CHECK(bot.limiter.stats().queued == 1);
}

TEST_CASE("the 404 of a webhook's message, or of anything else, ends nothing", "[R19]") {
    Bot bot;
    bot.request(edit_by_webhook(1, "token", 5), {.status = 404});
    bot.request(create_message(1), {.status = 404});
    CHECK(bot.goes(execute_webhook(1, "token")));
    CHECK(bot.goes(create_message(1)));
}

TEST_CASE("a follow-up that is ahead of its callback does not end the interaction", "[R19]") {
    // Observed 2026-06, Rapptz/discord.py#10461: 404, Unknown Webhook, before the first response.
    Bot bot;
    bot.request(execute_webhook(1, interaction_token), {.status = 404});
    CHECK(bot.goes(callback(2, interaction_token)));
    CHECK(bot.goes(execute_webhook(1, interaction_token)));
}

TEST_CASE("a wait longer than the bound fails at once, with the wait, and is never queued",
          "[R21]") {
    Bot bot({.max_wait = 10s});
    bot.request(create_message(1), answer(5, 0, 60s));
    const Ending by_default = bot.refused(create_message(1));
    CHECK(by_default.failed(errc::wait_too_long));
    CHECK(*by_default.ticket.refusal().retry_after >= 60s);
    CHECK(*by_default.ticket.refusal().retry_after <= 60s + 1ms);
    CHECK(by_default.ticket.refusal().bucket == BucketHash::parse("abc"));
    CHECK(bot.limiter.stats().queued == 0);
    Waiting patient(bot, create_message(1), {.max_wait = 61s});
    CHECK(patient.ending.times == 0);
    bot.pass(61s);
    CHECK(patient.ending.granted());
}

TEST_CASE("a block that is longer than the bound refuses even while an answer is under way",
          "[R21]") {
    Bot bot;
    SECTION("of the token") {
        bot.limiter.update(create_message(1), global_429(60s));
        Waiting unbounded(bot, create_message(2)); // will be the first to find out about the route
        CHECK(bot.refused(create_message(2), {.max_wait = 2s}).failed(errc::wait_too_long));
    }
    SECTION("of the lane") {
        const Route name = create_message(1).sublimit("name");
        bot.request(name, shared_429(60s));
        Ticket probe = *bot.limiter.try_acquire(create_message(1));
        const Ending ending = bot.refused(name, {.max_wait = 2s});
        CHECK(ending.failed(errc::wait_too_long));
        CHECK(ending.ticket.refusal().retry_after == 60s);
        probe.cancel();
    }
}

TEST_CASE("requests behind a sublimit do not make others' predicted waits longer", "[R21][R12]") {
    Bot bot;
    const Route plain = create_message(1);
    const Route name = plain.sublimit("name");
    bot.request(plain, answer(5, 1, 5s));
    bot.limiter.update(name, shared_429(600s));
    std::deque<Waiting> tagged;
    for (int i = 0; i < 20; ++i)
        tagged.emplace_back(bot, name);
    Waiting goes(bot, plain, {.max_wait = 1s});
    CHECK(goes.ending.granted());
    Waiting waits(bot, plain, {.max_wait = 6s});
    CHECK(waits.ending.times == 0);
    bot.pass(6s);
    CHECK(waits.ending.granted());
}

TEST_CASE("an answer that makes a wait too long ends it at once", "[R21]") {
    Bot bot;
    const Route route = create_message(1);
    bot.limiter.update(route, answer(2, 1, 5s));
    Ticket out = *bot.limiter.try_acquire(route);
    Waiting bounded(bot, route, {.max_wait = 10s});
    Waiting unbounded(bot, route);
    Waiting exempt(bot, callback(1, interaction_token), {.max_wait = 10s});
    exempt.ending.ticket.cancel();
    REQUIRE(bounded.ending.times == 0);
    SECTION("a 429 of the bucket") {
        out.update(user_429(60s, 2));
    }
    SECTION("a shared 429") {
        out.update(shared_429(60s));
    }
    SECTION("a global 429, seen by another route") {
        bot.limiter.update(create_message(2), global_429(60s));
    }
    SECTION("a block by Cloudflare, seen by another route") {
        bot.limiter.update(create_message(2),
                           {.status = 429, .retry_after = 60s, .from_discord = false});
    }
    bot.turn();
    CHECK(bounded.ending.failed(errc::wait_too_long));
    CHECK(bounded.ending.ticket.refusal().retry_after.value_or(0s) >= 60s);
    CHECK(unbounded.ending.times == 0);
    CHECK(bot.limiter.stats().queued == 1);
}

TEST_CASE("a global 429 ends no wait that the global limit does not bind", "[R21][R16]") {
    Bot bot;
    const Route route = callback(1, interaction_token);
    bot.request(route, answer(1, 0, 5s));
    Waiting exempt(bot, route, {.max_wait = 10s});
    bot.limiter.update(create_message(2), global_429(60s));
    bot.turn();
    CHECK(exempt.ending.times == 0);
    bot.pass(6s);
    CHECK(exempt.ending.granted());
}

TEST_CASE("no more than max_queued wait, and what need not wait always goes", "[R21]") {
    Bot bot({.max_queued = 2});
    bot.request(create_message(1), answer(5, 0, 60s));
    Waiting first(bot, create_message(1));
    Waiting second(bot, create_message(1));
    CHECK(bot.refused(create_message(1)).failed(errc::queue_full));
    CHECK(bot.refused(create_message(2)).granted());
    bot.pass(61s);
    CHECK(first.ending.granted());
    CHECK(second.ending.granted());
}

TEST_CASE("a retry is queued even when the queue is full", "[R21]") {
    Bot bot({.max_queued = 1});
    bot.request(create_message(1), answer(5, 1, 60s));
    Ticket out = *bot.limiter.try_acquire(create_message(1));
    Waiting queued(bot, create_message(1));
    out.update(user_429(60s));
    bool again = false;
    out.async_reacquire([&](error_code code) { again = !code; });
    bot.pass(61s);
    CHECK(again);
}

TEST_CASE("min_remaining is asked for at the moment of admission", "[R21]") {
    Bot bot;
    const Route route = create_message(1);
    const sluice::AcquireOptions spare{.min_remaining = 3};
    Waiting unknown(bot, route, spare);
    CHECK(unknown.ending.granted()); // nobody knows how many there are
    unknown.ending.ticket.cancel();
    bot.limiter.update(route, answer(5, 3, 5s));
    Waiting enough(bot, route, spare);
    CHECK(enough.ending.granted());
    const Ending too_few = bot.refused(route, spare);
    CHECK(too_few.failed(errc::wait_too_long));
    enough.ending.ticket.update(answer(5, 1, 5s));
    bot.request(route, answer(5, 0, 5s));
    Waiting at_reset(bot, route, spare);
    CHECK(at_reset.ending.times == 0);
    Waiting behind(bot, route);
    bot.pass(6s);
    CHECK(at_reset.ending.granted());
    CHECK(behind.ending.granted());
}

TEST_CASE("max_ahead refuses to queue behind too many", "[R21]") {
    Bot bot;
    bot.request(create_message(1), answer(5, 0, 60s));
    Waiting first(bot, create_message(1), {.max_ahead = 0});
    CHECK(first.ending.times == 0);
    CHECK(bot.refused(create_message(1), {.max_ahead = 0}).failed(errc::queue_full));
    Waiting second(bot, create_message(1), {.max_ahead = 1});
    CHECK(second.ending.times == 0);
    bot.pass(61s);
    CHECK(first.ending.granted());
    CHECK(second.ending.granted());
}

TEST_CASE("a wait that ends after the end of time is predicted as never", "[R22]") {
    Bot bot;
    const Route route = create_message(1);
    bot.limiter.update(route, answer(1, 0, std::chrono::days(366)));
    std::deque<Waiting> waiting;
    for (int i = 0; i < 600; ++i)
        waiting.emplace_back(bot, route);
    CHECK(bot.wait(route) > std::chrono::days(366) * 100);
    CHECK(bot.refused(route, {.max_wait = std::chrono::days(20'000)}).failed(errc::wait_too_long));
}

TEST_CASE("answers that no server should send never throw, hang or overflow", "[R22]") {
    const std::uint64_t seed = GENERATE(range(1U, 41U));
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const auto one_of = [&](const auto& values) { return values[random() % std::size(values)]; };
    using std::int64_t;
    constexpr std::array<int64_t, 8> counts{
        -5, 0, 1, 4, 5, 50'000, 2'147'483'647, std::numeric_limits<int64_t>::max()};
    constexpr Duration longest = std::chrono::hours(366 * 24);
    constexpr std::array<Duration, 8> times{-5s,           0s,      1ns,    500ms, 5s,
                                            102'737'719ms, longest, longest};
    constexpr std::array<int, 9> statuses{0, 200, 204, 403, 404, 429, 429, 500, 502};
    constexpr std::array<std::string_view, 3> hashes{"", "a", "b"};
    const auto any_answer = [&] {
        Response response{.status = one_of(statuses), .bucket = BucketHash::parse(one_of(hashes))};
        if (random() % 2 == 0) response.limit = one_of(counts);
        if (random() % 2 == 0) response.remaining = one_of(counts);
        if (random() % 2 == 0) response.reset_after = one_of(times);
        if (random() % 2 == 0) response.retry_after = one_of(times);
        response.global = random() % 16 == 0;
        response.from_discord = random() % 16 != 0;
        if (random() % 4 == 0) response.scope = Scope::shared;
        return response;
    };
    Bot bot(with_address({.slow_at = 1'000'000, .stop_at = 1'000'000}));
    std::deque<Ending> endings;
    for (int i = 0; i < 400; ++i) {
        const Route route = create_message(random() % 3);
        const auto patience = random() % 2 == 0 ? std::optional(longest / 4 * 3) : std::nullopt;
        bot.limiter.async_acquire(route, {.max_wait = patience}, into(endings.emplace_back()));
        (void)bot.limiter.timeout_for(route);
        (void)bot.limiter.find(route);
        bot.pass(std::chrono::milliseconds(random() % 2000));
        Ending& any = endings[random() % endings.size()];
        if (any.ticket) (void)any.ticket.update(any_answer());
    }
    for (int round = 0; round < 500; ++round) {
        for (Ending& ending : endings)
            if (ending.ticket) ending.ticket.update(answer(50, 49, 1s, "a"));
        bot.pass(std::chrono::days(20));
    }
    for (const Ending& ending : endings)
        CHECK(ending.times == 1);
    CHECK(bot.limiter.stats().in_flight == 0);
}
