// SPDX-License-Identifier: MIT
//
// Three individuals (Discord docs, "Rate Limits": a limit belongs to whoever the authentication
// names, else to the address), and how each begins again after it was stopped.
#include <sluice/core/scheduler.hpp>
#include <sluice/testing/fake_limit.hpp>

#include "support/catch.hpp"
#include "support/core_client.hpp"
#include "support/served.hpp"

#include <chrono>
#include <cstddef>
#include <memory>
#include <vector>

namespace {

using namespace sluice;
using namespace sluice::tests;
using testing::Algorithm;
using Call = CoreClient::Call;

core::LaneTraits without_token() {
    core::LaneTraits traits;
    traits.tokenless = traits.path_token = traits.webhook = true;
    return traits;
}

Target interaction(std::uint64_t number) {
    Target target{.route = 7, .channel = number, .exempt = true};
    target.traits = without_token();
    return target;
}
Target webhook(std::uint64_t number) {
    return {.route = 8, .channel = number, .traits = without_token()};
}

core::Answer global_429(std::optional<Duration> wait) {
    core::Answer answer = bare_429(wait);
    answer.global = true;
    return answer;
}

core::Answer cloudflare_429(std::optional<Duration> wait) {
    core::Answer answer = bare_429(wait);
    answer.from_discord = false;
    return answer;
}

} // namespace

TEST_CASE("a global 429 of an interaction stops interactions until its time, and nobody else",
          "[R14]") {
    CoreClient client{core::Settings()};
    Call& first = client.send(interaction(1));
    client.answer(first, global_429(2500ms));
    CHECK(client.scheduler.predict(client.lane(interaction(1)), client.now) == client.now + 2500ms);
    Call& other = client.send(interaction(2));
    CHECK(other.waits());
    CHECK(client.send({}).sent());
    CHECK(client.send(webhook(3)).sent());
    client.retry(first);
    CHECK(client.time_until_sent(first) == 2500ms);
}

TEST_CASE("a global 429 without a token stops requests without a token, not the bot", "[R14]") {
    CoreClient client{core::Settings()};
    client.answer(client.send(webhook(1)), global_429(5s));
    CHECK(client.send(webhook(2)).waits());
    CHECK(client.send({}).sent());
    CHECK(client.send(interaction(3)).sent());
}

TEST_CASE("a global 429 of the bot stops the bot alone", "[R14]") {
    CoreClient client{core::Settings()};
    client.answer(client.send({}), global_429(5s));
    CHECK(client.send({.route = 2}).waits());
    CHECK(client.send(webhook(2)).sent());
    CHECK(client.send(interaction(3)).sent());
}

TEST_CASE("fifty requests of the bot leave fifty to those without a token", "[R15]") {
    CoreClient client{core::Settings()};
    for (std::uint64_t i = 1; i <= 60; ++i) {
        CHECK(client.send({.route = 1, .channel = i}).sent() == (i <= 50));
        CHECK(client.send(webhook(i)).sent() == (i <= 50));
    }
    CHECK(client.send(interaction(1)).sent());
}

TEST_CASE("limiters of one address share what is allowed without a token", "[R15]") {
    const auto gate = std::make_shared<core::Gate>(core::InvalidRequestLimits(), false);
    core::Scheduler one(core::Settings(), gate);
    core::Scheduler two(core::Settings(), gate);
    const Time now(1h);
    const auto take = [&](core::Scheduler& from, std::uint64_t number, core::Place& place) {
        const core::LaneKey key{8, {core::MajorKind::webhook_token, 1, number}, 0};
        return from.try_admit(from.lane(key, without_token(), now), now, place);
    };
    std::vector<core::Place> places(60);
    for (std::size_t i = 0; i < places.size(); ++i)
        CHECK(take(i % 2 == 0 ? one : two, i, places[i]) == (i < 50));
    for (std::size_t i = 0; i < 50; ++i) {
        (i % 2 == 0 ? one : two).cancel(places[i], now);
        core::Scheduler::release(places[i]);
    }
    core::Place again;
    CHECK(take(two, 100, again));
    two.cancel(again, now);
    core::Scheduler::release(again);
}

TEST_CASE("who waits for what another limiter of its address holds looks again by itself") {
    const auto gate =
        std::make_shared<core::Gate>(core::InvalidRequestLimits(), false,
                                     core::Gate::TokenlessLimit{1, std::chrono::seconds(1)});
    core::Scheduler one(core::Settings(), gate);
    core::Scheduler two(core::Settings(), gate);
    const Time now(1h);
    const auto lane_of = [&](core::Scheduler& of) -> core::Lane& {
        return of.lane({8, {core::MajorKind::webhook_token, 1, 1}, 0}, without_token(), now);
    };
    core::Place held;
    REQUIRE(one.try_admit(lane_of(one), now, held));
    core::Waiter waiter;
    two.enqueue(waiter, lane_of(two), now);
    CHECK(two.next_wake() > now);
    CHECK(two.next_wake() < now + 1s);
    two.withdraw(waiter, now);
    core::Scheduler::release(waiter.place);
    one.cancel(held, now);
    core::Scheduler::release(held);
}

TEST_CASE("one interaction behind a global block meets one 429, not one for each round trip") {
    ServedClient bot(
        [](const Call&, Duration now) { return now < 3s ? global_429(3s - now) : silent(); });
    bot.send(1, interaction(1));
    const Served served = bot.run();
    CHECK(served.succeeded == 1);
    CHECK(served.refused == 1); // 50 before
    CHECK(served.span <= 3s + 100ms);
}

TEST_CASE("follow-ups beyond what the address may send keep to that once they are told") {
    const Algorithm algorithm = GENERATE(Algorithm::fixed, Algorithm::gcra, Algorithm::sliding_log);
    std::vector<testing::Counter> counters; // g++ 12 warns of a plain one's std::variant
    counters.emplace_back(testing::Limit{algorithm, 50, 1s});
    testing::Counter& counter = counters[0];
    ServedClient bot([&](const Call&, Duration now) {
        const Duration wait = counter.wait(now);
        if (wait > 0s) return global_429(wait);
        counter.spend(now);
        return silent();
    });
    for (std::uint64_t i = 1; i <= 300; ++i)
        bot.send(1, interaction(i));
    const Served served = bot.run();
    CAPTURE(static_cast<int>(algorithm), served.span.count());
    CHECK(served.succeeded == 300);
    // All of the first burst that is too many; 5,204 before.
    CHECK(served.refused <= (algorithm == Algorithm::gcra ? 250 + 25 : 250 + 5));
    CHECK(served.span <= 5500ms); // optimum 5.06 s
}

TEST_CASE("behind a block that is told too short only a few find that out") {
    ServedClient bot(
        [](const Call&, Duration now) { return now < 10min ? cloudflare_429(60s) : silent(); });
    for (std::uint64_t i = 1; i <= 500; ++i)
        bot.send(1, interaction(i));
    const Served served = bot.run();
    CHECK(served.succeeded == 500);
    CHECK(served.refused <= 500 + 5); // those that were under way, and one for each end; 4,501
    CHECK(served.span <= 16min);
}

TEST_CASE("after a block of the token its requests begin one by one") {
    CoreClient client{core::Settings()};
    client.answer(client.send({}), shows(50, 49, 1s));
    client.answer(client.send({}), global_429(5s));
    const auto calls = client.send(10, {});
    const auto left = [&] {
        return std::count_if(calls.begin(), calls.end(),
                             [](const Call* call) { return call->sent(); });
    };
    client.pass(5s);
    CHECK(left() == 1);
    client.pass(50ms);
    client.answer(*calls[0], shows(50, 48, 1s));
    CHECK(left() == 2);
    client.answer(*calls[1], shows(50, 47, 1s));
    CHECK(left() == 3);
}

TEST_CASE("while the address is slowed, interactions leave every fourth turn to others", "[R18]") {
    const auto gate = std::make_shared<core::Gate>(
        core::InvalidRequestLimits{.slow_at = 5, .stop_at = 605, .period = 10min}, false);
    // One request a second is what is left.
    CoreClient client{core::Settings(), gate};
    for (int i = 0; i < 5; ++i)
        gate->add_invalid(client.now);
    std::vector<Call*> callers;
    for (std::uint64_t i = 1; i <= 5; ++i)
        callers.push_back(&client.send(interaction(i)));
    const auto ordinary = client.send(100, {});
    int of_others = 0;
    int of_interactions = 0;
    for (int turn = 0; turn < 300; ++turn) {
        client.pass(1100ms);
        for (Call*& caller : callers) {
            if (!caller->sent()) continue;
            ++of_interactions;
            client.answer(*caller, silent());
            caller = &client.send(caller->target);
        }
        for (Call* call : ordinary) {
            if (!call->sent()) continue;
            ++of_others;
            client.answer(*call, shows(50, 49, 1s));
        }
    }
    CHECK(of_others >= 70); // 1 before
    CHECK(of_interactions >= 2 * of_others);
}

TEST_CASE("the wait for a slot that nobody has shown to be free yet is not foreseen") {
    CoreClient client{core::Settings()};
    client.answer(client.send({}), shows(50, 49, 1s));
    client.answer(client.send({}), global_429(5s));
    CHECK(client.scheduler.obstacle(client.lane({}), client.now) == core::Obstacle::global);
    client.pass(5s);
    Call& first = client.send({});
    REQUIRE(first.sent());
    CHECK_FALSE(client.scheduler.predict(client.lane({}), client.now));
    client.answer(first, shows(50, 48, 1s));
    CHECK(client.scheduler.predict(client.lane({}), client.now) == client.now);
}

TEST_CASE("a told wait that never suffices is backed off from like one of nothing", "[R11]") {
    const bool sublimit = GENERATE(false, true);
    ServedClient bot([&](const Call&, Duration) {
        core::Answer answer = shows(5, sublimit ? 4 : 0, 1ns);
        answer.status = 429;
        answer.retry_after = 1ns;
        return answer;
    });
    bot.client.answer(bot.client.send({}), shows(5, 4, 1s));
    bot.send(1, {});
    CHECK(bot.run(10min).refused <= 18); // 5,000 before
}

TEST_CASE("lanes under one shared limit go out one by one when its end comes") {
    constexpr Duration end = 20s;
    int at_once = 0;
    ServedClient bot([&](const Call& call, Duration now) {
        core::Answer answer = now < end ? bare_429(end - now) : silent();
        answer.shared = now < end;
        if (now >= end && now < end + 100ms) ++at_once;
        (void)call;
        return answer;
    });
    for (std::uint64_t i = 1; i <= 40; ++i)
        bot.send(1, {.route = 3, .channel = i});
    const Served served = bot.run();
    CHECK(served.succeeded == 40);
    CHECK(served.refused == 40);
    CHECK(at_once <= 3); // 40 before
    CHECK(served.span <= end + 1s);
}

TEST_CASE("the first of many that wait for a shared limit finds out for all of them") {
    int refused_later = 0;
    ServedClient bot([&](const Call&, Duration now) {
        const Duration told = now < 10s ? 10s - now : 30s - now; // and again
        core::Answer answer = now < 30s ? bare_429(told) : silent();
        answer.shared = now < 30s;
        if (now >= 10s && now < 30s) ++refused_later;
        return answer;
    });
    for (std::uint64_t i = 1; i <= 40; ++i)
        bot.send(1, {.route = 3, .channel = i});
    const Served served = bot.run();
    CHECK(served.succeeded == 40);
    CHECK(refused_later <= 3); // 40 before
    CHECK(served.span <= 32s);
}

TEST_CASE("an outage over many routes is found out about by one request at a time") {
    ServedClient bot([](const Call&, Duration now) { return now < 60s ? silent(502) : silent(); });
    bot.client.scheduler.set_global(0, 1s, bot.client.now);
    int failures = 0;
    int successes = 0;
    CoreClient& client = bot.client;
    const Time start = client.now;
    std::vector<Call*> calls;
    for (std::uint64_t i = 1; i <= 50; ++i)
        calls.push_back(&client.send({.route = i, .channel = i}));
    while (client.now < start + 70s) {
        client.pass(60ms);
        for (Call*& call : calls) {
            if (!call->sent()) continue;
            const bool out = client.now < start + 60s;
            ++(out ? failures : successes);
            client.answer(*call, silent(out ? 502 : 200));
            const Target target = call->target;
            if (out) client.release(*call);
            if (out) call = &client.send(target);
        }
        std::erase_if(calls, [](const Call* call) { return !call->sent() && !call->waits(); });
    }
    CHECK(failures <= 50 + 12); // what was under way, and one for each pause up to 16 s
    CHECK(successes == 50);
}

TEST_CASE("a route that fails in every channel stops no other route") {
    CoreClient client;
    for (std::uint64_t i = 1; i <= 60; ++i)
        client.answer(client.send({.route = 1 + i % 2, .channel = i}), silent(503));
    CHECK(client.send({.route = 9}).sent());
}

TEST_CASE("an outage stops no interaction, and a route that fails alone stops nobody") {
    CoreClient client;
    for (std::uint64_t i = 0; i < 8; ++i) {
        client.answer(client.send({.route = 1 + i % 2}), silent(502));
        client.pass(2s);
    }
    CHECK(client.send({.route = 9}).sent()); // two routes are no outage
    client.answer(client.send({.route = 3}), silent(500));
    CHECK(client.send({.route = 10}).waits());
    CHECK(client.scheduler.obstacle(client.lane({.route = 10}), client.now) ==
          core::Obstacle::server);
    CHECK(client.send(interaction(1)).sent());
}
