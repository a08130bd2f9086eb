// SPDX-License-Identifier: MIT
//
// What an answer changes: which requests wait, for how long, and where a lane draws from. Losses
// are tested in scheduler_losses.cpp, queues in scheduler.cpp.
#include <sluice/core/scheduler.hpp>

#include "support/catch.hpp"
#include "support/core_client.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace {

using namespace sluice;
using namespace sluice::tests;
using core::AnswerKind;
using Call = CoreClient::Call;

/// A bot that has been talking on four routes: 1 and 2 share a bucket, 3 has another in the same
/// channel, and 4 is exempt.
struct Bot : CoreClient {
    Bot() {
        for (const Target& target : {shared, beside, other, exempt}) {
            Call& call = send(target);
            answer(call, shows(50, 40, 60s,
                               target.route <= 2   ? "a"
                               : target.route == 3 ? "b"
                                                   : "c"));
            release(call);
        }
        order.clear();
    }
    /// Sends a request there and answers it so.
    AnswerKind meet(const Target& target, const core::Answer& with) {
        Call& call = send(target);
        REQUIRE(call.sent());
        const AnswerKind kind = answer(call, with);
        release(call);
        return kind;
    }
    /// How long a request to this target has to wait from now on; nothing is left behind.
    Duration wait(const Target& target) {
        core::Place place;
        const auto begin = now;
        for (;;) {
            if (scheduler.try_admit(lane(target), now, place)) break;
            REQUIRE(now < begin + 1h);
            now += 100ms;
        }
        scheduler.cancel(place, now);
        core::Scheduler::release(place);
        const Duration waited = now - begin;
        return waited;
    }

    Target shared{.route = 1};
    Target beside{.route = 2};
    Target other{.route = 3};
    Target elsewhere{.route = 1, .channel = 2};
    Target exempt{.route = 4, .exempt = true};
};

core::Answer sublimit(Duration wait) {
    core::Answer answer = spent(wait);
    answer.seen.remaining = 39;
    answer.seen.limit = 50;
    answer.seen.reset_after = 60s;
    return answer;
}

core::Answer shared_scope(Duration wait) {
    core::Answer answer = sublimit(wait);
    answer.shared = true;
    return answer;
}

core::Answer global_429(Duration wait) {
    core::Answer answer = bare_429(wait);
    answer.global = true;
    return answer;
}

core::Answer cloudflare(Duration wait) {
    core::Answer answer = bare_429(wait);
    answer.from_discord = false;
    return answer;
}

} // namespace

// --- What each kind of answer blocks ------------------------------------------------------------

TEST_CASE("a 429 of the user's limit blocks the bucket, on all of its routes", "[R12]") {
    for (const Target& target : {Bot().beside, Bot().other, Bot().elsewhere}) {
        Bot bot;
        CHECK(bot.meet(bot.shared, spent(60s, "a", 50)) == AnswerKind::user_limit);
        const bool same_bucket = target.route == 2;
        CHECK((bot.wait(target) >= 60s) == same_bucket);
    }
}

TEST_CASE("a 429 of a hidden limit delays requests like it and counts as its headers show",
          "[R12]") {
    Bot bot;
    CHECK(bot.meet(bot.shared, sublimit(100s)) == AnswerKind::sublimit);
    CHECK(bot.wait(bot.beside) == 0s);
    CHECK(bot.bucket(bot.shared).window.told() == 39);
    CHECK(bot.wait(bot.shared) >= 100s);
}

TEST_CASE("a hidden limit that a route names by a tag delays that tag alone", "[R12]") {
    Bot bot;
    const Target tagged{.route = 1, .tag = 7};
    bot.meet(tagged, sublimit(100s));
    CHECK(bot.wait(bot.shared) == 0s);
    CHECK(bot.wait(tagged) >= 100s);
}

TEST_CASE("a 429 of a limit shared with others delays requests like it and lowers no count",
          "[R13]") {
    Bot bot;
    CHECK(bot.meet(bot.shared, shared_scope(100s)) == AnswerKind::shared_limit);
    CHECK(bot.wait(bot.beside) == 0s);
    CHECK(bot.bucket(bot.shared).window.told() == 40);
    CHECK(bot.wait(bot.shared) >= 100s);
}

TEST_CASE("a global 429 delays everything but what is exempt", "[R14]") {
    Bot bot;
    CHECK(bot.meet(bot.shared, global_429(5s)) == AnswerKind::global_limit);
    CHECK(bot.wait(bot.exempt) == 0s);
    CHECK(bot.wait(bot.elsewhere) >= 5s);
    CHECK(bot.wait(bot.other) == 0s); // five seconds later
}

TEST_CASE("a block by Cloudflare delays everything", "[R17]") {
    Bot bot;
    CHECK(bot.meet(bot.shared, cloudflare(90s)) == AnswerKind::cloudflare);
    CHECK(bot.wait(bot.exempt) >= 90s);
}

TEST_CASE("a block by Cloudflare delays the other bots of the same address", "[R17]") {
    const auto gate = std::make_shared<core::Gate>(core::InvalidRequestLimits(), false);
    core::Scheduler blocked({}, gate);
    core::Scheduler other({}, gate);
    const core::LaneKey key{1, {core::MajorKind::channel, 0, 1}, 0};
    const Time now = Time(1h);
    core::Place place;
    REQUIRE(blocked.try_admit(blocked.lane(key, {}, now), now, place));
    core::Answer answer = cloudflare(90s);
    blocked.answer(place, answer, core::never, now);
    core::Place late;
    CHECK_FALSE(other.try_admit(other.lane(key, {}, now), now, late));
    CHECK(other.try_admit(other.lane(key, {}, now), now + 90s, late));
}

TEST_CASE("a 429 without headers delays requests like it, which then go one at a time", "[R3]") {
    CoreClient client;
    const auto calls = client.send(10, {});
    client.answer(*calls[0], silent()); // no limit is named: all may go
    REQUIRE(client.order.size() == 10);
    CHECK(client.answer(*calls[1], bare_429(3s)) == AnswerKind::headerless);
    client.retry(*calls[1]);
    for (std::size_t i = 2; i < 10; ++i)
        client.lose(*calls[i]);
    client.send(6, {});
    client.order.clear();
    client.pass(5s);
    CHECK(client.order == std::vector{2});
    client.answer(*calls[1], silent());
    CHECK(client.order == std::vector{2, 11, 12}); // doubling from here
}

TEST_CASE("refusals that tell no time wait longer each time, and never not at all", "[R11]") {
    CoreClient client;
    Call& call = client.send({});
    Duration last{0};
    for (int i = 0; i < 5; ++i) {
        client.answer(call, bare_429());
        client.retry(call);
        const auto waited = client.time_until_sent(call);
        REQUIRE(waited);
        CHECK(*waited > last);
        last = *waited;
    }
}

TEST_CASE("a margin is added to every wait that a refusal tells", "[R11]") {
    core::Settings settings;
    settings.retry_margin = 250ms;
    CoreClient client(settings);
    Call& call = client.send({});
    client.answer(call, bare_429(1s));
    client.retry(call);
    CHECK(client.time_until_sent(call) == Duration(1250ms));
}

TEST_CASE("a 5xx after which a request may have run keeps its place taken for a while") {
    CoreClient client;
    Call& probe = client.send({});
    client.answer(probe, shows(5, 4, 5s));
    Call& failed = client.send({});
    CHECK(client.answer(failed, silent(500)) == AnswerKind::server_error);
    CHECK(client.bucket({}).out(client.now) == 1);
    CHECK(client.scheduler.in_flight() == 0);
}

TEST_CASE("a 502 or 503 did not run, so its place is back at once, that of a first request too") {
    const int status = GENERATE(502, 503);
    CoreClient client;
    Call& probe = client.send({});
    Call& next = client.send({});
    CHECK(client.answer(probe, silent(status)) == AnswerKind::server_error);
    CHECK(next.sent());
    CHECK(client.bucket({}).out(client.now) == 1);
}

// --- What else an answer settles ----------------------------------------------------------------

TEST_CASE("a refusal of a later request settles a loss as well") {
    CoreClient client;
    client.answer(client.send({}), shows(5, 4, 60s));
    client.lose(client.send({}));
    client.pass(1s);
    core::Answer refusal = sublimit(1s);
    refusal.seen.limit = 5;
    refusal.seen.remaining = 2;
    client.answer(client.send({}), refusal);
    CHECK(client.bucket({}).out(client.now) == 0);
    CHECK(client.bucket({}).window.told() == 2);
}

TEST_CASE("a refusal that shows no count settles no loss") {
    CoreClient client;
    client.answer(client.send({}), shows(5, 4, 60s));
    client.lose(client.send({}));
    client.pass(1s);
    client.answer(client.send({}), bare_429(1s));
    CHECK(client.bucket({}).out(client.now) == 1);
}

TEST_CASE("a refusal of a request that was not counted does not tell when others are") {
    CoreClient client;
    client.answer(client.send({}), shows(5, 4, 60s));
    client.pass(61s);
    core::Answer refusal = sublimit(1s);
    refusal.seen.limit = 5;
    refusal.seen.remaining = 5;
    client.answer(client.send({}), refusal);
    CHECK_FALSE(client.bucket({}).window.counts_late());
}

TEST_CASE("a hash that has changed for a tagged lane has changed for its route", "[R5]") {
    CoreClient client;
    const Target tagged{.tag = 7};
    client.answer(client.send({}), shows(5, 4, 60s, "a"));
    client.answer(client.send(tagged), shows(5, 3, 60s, "a"));
    client.pass(1s);
    client.answer(client.send(tagged), shows(5, 4, 60s, "b"));
    CHECK(&client.bucket(tagged) == &client.bucket({}));
    CHECK(client.bucket(tagged).window.told() == 4);
}

TEST_CASE("what a refusal told to wait holds when the hash becomes known", "[R5]") {
    CoreClient client;
    const Target second{.channel = 2};
    client.answer(client.send({.route = 2, .channel = 2}), shows(5, 4, 60s, "a"));
    client.answer(client.send(second), spent(20s, "unheard-of", 30));
    client.answer(client.send({.channel = 1}), shows(5, 4, 60s, "a"));
    const Call& waiting = client.send(second);
    CHECK(&client.bucket(second) == &client.bucket({.route = 2, .channel = 2}));
    REQUIRE_FALSE(waiting.sent());
    CHECK(client.time_until_sent(waiting) >= 20s);
}

TEST_CASE("a late answer takes no window back that ended early for good reason") {
    CoreClient client;
    const Time end = client.now + 10s; // at the server, which is 30 ms away
    const auto shown = [&](std::int64_t remaining) {
        return shows(20, remaining, end - (client.now - 30ms));
    };
    for (std::int64_t remaining = 19; remaining > 11; --remaining) {
        Call& call = client.send({});
        client.pass(60ms);
        client.answer(call, shown(remaining));
    }
    const Duration credit = client.scheduler.latency().credit(client.now);
    REQUIRE(credit > 20ms);
    const Time early = end + 31ms - credit; // requests that leave then arrive after the end
    client.pass(early - 10ms - client.now);
    Call& late = client.send({});
    client.pass(10ms);
    Call& next = client.send({});
    REQUIRE(client.bucket({}).window.told() == 20);
    client.pass(5ms);
    client.answer(late, shown(0));
    CHECK(client.bucket({}).window.told() == 20);
    CHECK(next.sent());
    CHECK(client.send({}).sent());
}

TEST_CASE("every place comes back, whatever became of its request") {
    CoreClient client;
    const auto calls = client.send(6, {});
    client.answer(*calls[0], shows(6, 5, 5s));
    client.answer(*calls[1], silent(502));
    client.answer(*calls[2], spent(1s, "a", 6));
    client.cancel(*calls[3]);
    client.lose(*calls[4]);
    client.answer(*calls[5], global_429(1s));
    for (Call* call : calls)
        client.release(*call);
    CHECK(client.at_rest());
    client.pass(1h);
    CHECK(client.bucket({}).out(client.now) == 0);
}

// --- Which bucket a lane draws on ---------------------------------------------------------------

TEST_CASE("the first answer lets all channels of its route know the hash", "[R1]") {
    CoreClient client;
    std::vector<Call*> calls;
    for (std::uint64_t channel = 1; channel <= 100; ++channel)
        calls.push_back(&client.send({.channel = channel}));
    CHECK(client.order.size() == 100); // each has its own probe
    for (std::size_t i = 0; i < 4; ++i)
        client.answer(*calls[i], shows(5, 4, 5s)); // a few channels follow with each answer
    for (std::uint64_t channel = 1; channel <= 100; ++channel)
        REQUIRE(client.bucket({.channel = channel}).key.hash_known);
    CHECK(&client.bucket({.channel = 1}) != &client.bucket({.channel = 2}));
}

TEST_CASE("routes that show one hash share a bucket per channel", "[R8]") {
    Bot bot;
    CHECK(&bot.bucket(bot.shared) == &bot.bucket(bot.beside));
    CHECK(&bot.bucket(bot.shared) != &bot.bucket(bot.other));
    CHECK(&bot.bucket(bot.shared) != &bot.bucket(bot.elsewhere));
}

TEST_CASE("a changed hash moves the queue of a lane in its order", "[R4]") {
    CoreClient client;
    const auto first = client.send(1, {});
    client.answer(*first[0], shows(2, 1, 5s, "a"));
    client.pass(1ms);
    const auto calls = client.send(5, {});
    client.order.clear();
    client.answer(*calls[0], shows(3, 2, 5s, "b"));
    CHECK(client.scheduler.registry().hash_of(client.bucket({})) == "b");
    CHECK(client.lane({}).queued + client.order.size() == 4);
    client.pass(20s);
    CHECK(client.order == std::vector{3, 4, 5}); // and the last, when one of them is answered
    client.answer(*calls[1], shows(3, 1, 5s, "b"));
    client.pass(20s);
    CHECK(client.order == std::vector{3, 4, 5, 6});
}

TEST_CASE("an answer from before the change does not turn a lane back", "[R4]") {
    CoreClient client;
    client.answer(client.send({}), shows(5, 4, 5s, "a"));
    Call& old = client.send({});
    client.pass(10ms);
    client.answer(client.send({}), shows(5, 3, 5s, "b"));
    client.answer(old, shows(5, 3, 5s, "a"));
    CHECK(client.scheduler.registry().hash_of(client.bucket({})) == "b");
}

TEST_CASE("the hash of a 429 does not change what successes have taught", "[R5]") {
    CoreClient client;
    client.answer(client.send({}), shows(50, 40, 5s, "a"));
    Call& refused = client.send({});
    client.answer(refused, spent(5s, "tighter"));
    CHECK(client.scheduler.registry().hash_of(client.bucket({})) == "a");
    CHECK(client.bucket({}).window.told() == 40);
    client.retry(refused);
    CHECK(client.time_until_sent(refused).value_or(0s) >= 5s); // but its own lane waits
}

TEST_CASE("a 429 that names the bucket of another route spends that one", "[R5]") {
    Bot bot;
    bot.meet(bot.other, spent(60s, "a", 50)); // "b" by its successes
    CHECK(bot.wait(bot.beside) >= 60s);
    CHECK(bot.scheduler.registry().hash_of(bot.bucket(bot.other)) == "b");
}

TEST_CASE("a route refused before any success queues with the bucket that refused it") {
    Bot bot;
    const Target unseen{.route = 9};
    Call& probe = bot.send(unseen);
    bot.answer(probe, spent(60s, "a", 50));
    bot.retry(probe);
    CHECK(&bot.bucket(unseen) == &bot.bucket(bot.shared));
    CHECK_FALSE(bot.bucket({.route = 9, .channel = 2}).key.hash_known); // nothing is learned by it
    Call& later = bot.send(bot.shared);
    bot.pass(61s);
    CHECK(bot.order.back() == later.number); // in order of arrival, so the probe was before it
    CHECK(probe.sent());
    bot.answer(probe, shows(5, 4, 5s, "its own"));
    CHECK(bot.scheduler.registry().hash_of(bot.bucket(unseen)) == "its own");
}

TEST_CASE("an answer to a request made without a place is believed like any other") {
    CoreClient client;
    core::Lane& lane = client.lane({});
    core::Answer answer = shows(5, 0, 5s);
    client.scheduler.answer_unplaced(lane, answer, client.now);
    CHECK_FALSE(client.send({}).sent());
    CHECK(client.bucket({}).window.limit() == 5);
}

TEST_CASE("without headers a route that has shown a limit elsewhere opens little by little",
          "[R3]") {
    CoreClient client;
    client.answer(client.send({.channel = 1}), shows(5, 4, 5s));
    const auto calls = client.send(40, {.channel = 2});
    client.order.clear();
    client.answer(*calls[0], silent());
    CHECK(client.order.size() == 2);
    client.answer(*calls[1], shows(5, 3, 5s));
    CHECK(client.order.size() == 4); // five in all
}

TEST_CASE("without headers a route opens to the width that is set", "[R3]") {
    core::Settings settings;
    settings.global_limit = 0;
    settings.headerless_width = 3;
    CoreClient client(settings);
    const auto calls = client.send(10, {});
    CHECK(client.order.size() == 1);
    client.answer(*calls[0], silent());
    CHECK(client.order.size() == 4);
    client.answer(*calls[1], silent());
    CHECK(client.order.size() == 5);
}
