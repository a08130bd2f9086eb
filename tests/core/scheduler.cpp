// SPDX-License-Identifier: MIT
//
// Queues: who goes first, who waits until when, who is told to go. What answers change is tested in
// scheduler_answers.cpp.
#include <sluice/core/scheduler.hpp>

#include "support/catch.hpp"
#include "support/core_client.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <random>
#include <vector>

namespace {

using namespace sluice;
using namespace sluice::tests;
using Call = CoreClient::Call;

/// The client learns that the buckets of these targets are spent for five seconds.
void spend(CoreClient& client, const std::vector<Target>& targets) {
    std::vector<Call*> probes;
    for (const Target& target : targets)
        probes.push_back(&client.send(target));
    for (Call* probe : probes) {
        client.answer(*probe, shows(5, 0, 5s));
        client.release(*probe);
    }
    client.order.clear();
}

core::Settings with_global(std::int64_t limit) {
    core::Settings settings;
    settings.global_limit = limit;
    return settings;
}

} // namespace

TEST_CASE("requests of a lane leave in the order in which they arrived", "[R24]") {
    CoreClient client;
    const auto calls = client.send(5, {});
    CHECK(client.order == std::vector{1});
    client.answer(*calls[0], shows(5, 4, 5s));
    CHECK(client.order == std::vector{1, 2, 3, 4, 5});
}

TEST_CASE("refused requests go before newer ones, in their old order", "[R24]") {
    CoreClient client;
    const auto calls = client.send(4, {});
    client.answer(*calls[0], shows(5, 4, 5s)); // lets 2, 3 and 4 go
    client.send(2, {});                        // 5 goes, 6 has to wait
    client.order.clear();
    client.answer(*calls[2], spent(2s)); // the later one is refused first
    client.retry(*calls[2]);
    client.answer(*calls[1], spent(2s));
    client.retry(*calls[1]);
    CHECK(client.order.empty());
    client.pass(10s); // 4 and 5 are still under way
    CHECK(client.order == std::vector{2, 3, 6});
}

TEST_CASE("refused requests wait in their old order, in whatever order they come back", "[R24]") {
    std::mt19937_64 random(7);
    for (int round = 0; round < 200; ++round) {
        CAPTURE(round);
        CoreClient client;
        Call& probe = client.send({});
        client.answer(probe, shows(40, 39, 100s));
        std::vector<Call*> calls = client.send(39, {});
        client.send({}); // has to wait, behind whoever comes back
        REQUIRE(client.scheduler.queued() == 1);
        client.order.clear();
        if (round % 4 == 1) std::reverse(calls.begin(), calls.end());
        if (round % 4 >= 2) std::shuffle(calls.begin(), calls.end(), random);
        for (Call* call : calls) {
            client.answer(*call, spent(20s, "a", 40));
            client.retry(*call);
            Call* leaver = calls[random() % calls.size()];
            if (random() % 4 == 0 && leaver->waits()) client.cancel(*leaver);
        }
        std::vector<int> expected;
        for (const Call* call : calls) {
            if (call->waits()) expected.push_back(call->number);
        }
        std::sort(expected.begin(), expected.end());
        expected.push_back(41);
        client.pass(200s);
        REQUIRE(client.order == expected);
    }
}

TEST_CASE(
    "of many buckets that are due at once some are served at a time, and nobody overtakes them",
    "[R24]") {
    core::Settings settings = with_global(1'000);
    settings.serves_at_once = 10;
    CoreClient client(settings);
    std::vector<Target> targets;
    for (std::uint64_t channel = 1; channel <= 45; ++channel)
        targets.push_back({.channel = channel});
    spend(client, targets);
    std::vector<int> expected;
    for (const Target& target : targets)
        expected.push_back(client.send(target).number);
    client.pass(4s);
    client.now += 2s; // all are due
    std::size_t most = 0;
    Call* newcomer = nullptr;
    while (client.scheduler.next_wake() <= client.now) {
        const std::size_t before = client.order.size();
        client.advance();
        most = std::max(most, client.order.size() - before);
        if (newcomer != nullptr) continue;
        CHECK(client.order.empty()); // who waits for the longest may not have been seen yet
        newcomer = &client.send({.channel = 100});
        CHECK_FALSE(newcomer->sent());
        expected.push_back(newcomer->number);
    }
    CHECK(most > 0);
    CHECK(most <= 10);
    CHECK(client.order == expected);
}

TEST_CASE("the lanes of one bucket are served by arrival, not lane by lane", "[R24]") {
    CoreClient client;
    spend(client, {{.route = 1}, {.route = 2}});
    for (const std::uint64_t route : {2ULL, 1ULL, 1ULL, 2ULL, 1ULL})
        client.send({.route = route});
    client.pass(6s);
    CHECK(client.order == std::vector{3, 4, 5, 6, 7});
}

TEST_CASE("buckets that wait for the global limit only are served by arrival", "[R24]") {
    CoreClient client(with_global(1));
    std::vector<Call*> calls;
    for (const std::uint64_t channel : {1ULL, 3ULL, 2ULL, 4ULL, 2ULL})
        calls.push_back(&client.send({.channel = channel}));
    for (Call* call : calls) {
        REQUIRE(call->sent());
        client.answer(*call, shows(5, 4, 5s));
        client.pass(1s);
    }
    CHECK(client.order == std::vector{1, 2, 3, 4, 5});
}

TEST_CASE("room for several lets no bucket go ahead of its turn", "[R24]") {
    CoreClient client(with_global(3));
    std::vector<Call*> first;
    for (const std::uint64_t channel : {1ULL, 2ULL, 3ULL})
        first.push_back(&client.send({.channel = channel}));
    for (Call* call : first)
        client.answer(*call, shows(9, 8, 60s)); // their slots are held for another second
    for (const std::uint64_t channel : {1ULL, 2ULL, 1ULL, 1ULL, 2ULL})
        client.send({.channel = channel});
    REQUIRE(client.order == std::vector{1, 2, 3});
    client.pass(1s);
    CHECK(client.order == std::vector{1, 2, 3, 4, 5, 6});
}

TEST_CASE("a route that is exempt takes no slot of the global limit and waits for none", "[R16]") {
    CoreClient client(with_global(1));
    client.send({.channel = 1});
    client.send({.channel = 2});
    CHECK(client.send({.channel = 3, .exempt = true}).sent());
    CHECK(client.send({.channel = 4, .exempt = true}).sent());
    CHECK(client.scheduler.global().held() == 1);
    CHECK(client.scheduler.queued() == 1);
}

TEST_CASE("nobody overtakes a granted waiter that has not run yet", "[R24]") {
    CoreClient client;
    spend(client, {{}});
    core::Lane& lane = client.lane({});
    core::Waiter waiter;
    client.scheduler.enqueue(waiter, lane, client.now);
    client.scheduler.advance(client.now += 6s);
    REQUIRE(waiter.state == core::WaiterState::granted);
    core::Place place;
    CHECK_FALSE(client.scheduler.try_admit(lane, client.now, place));
    client.scheduler.delivered(lane);
    CHECK(client.scheduler.try_admit(lane, client.now, place));
    const core::WaiterList finished = client.scheduler.take_finished();
    CHECK(&finished.front() == &waiter);
    CHECK_FALSE(finished.has_several());
}

TEST_CASE("whoever has a bound and cannot know its wait leaves when the bound has passed",
          "[R21]") {
    CoreClient client;
    client.send({});
    Call& patient = client.send({}, client.now + 2s);
    client.pass(2s - 1ns);
    CHECK(patient.waits());
    client.pass(1ns);
    CHECK(patient.refused());
    CHECK(patient.why == core::Refused::wait_too_long);
}

TEST_CASE("a refusal that lasts longer than a bound ends that wait at once", "[R21]") {
    CoreClient client;
    const auto calls = client.send(2, {});
    client.answer(*calls[0], shows(5, 4, 5s));
    Call& first = *calls[1];
    client.send(3, {});
    Call& impatient = client.send({}, client.now + 4s);
    Call& patient = client.send({}, client.now + 60s);
    core::Answer shared = bare_429(30s);
    shared.shared = true;
    client.answer(first, shared);
    CHECK(impatient.refused());
    CHECK(patient.waits());
}

TEST_CASE("behind thousands who can wait that long, a bound ends the wait when it has passed",
          "[R21]") {
    const int patient = GENERATE(900, 1'100);
    CAPTURE(patient);
    CoreClient client;
    Call& probe = client.send({});
    for (int i = 0; i < patient; ++i)
        client.send({}, client.now + 24h);
    Call& impatient = client.send({}, client.now + 4s);
    core::Answer shared = bare_429(30s);
    shared.shared = true;
    client.answer(probe, shared);
    CHECK(impatient.refused() == (patient < 1'000));
    client.pass(4s - 1ns);
    CHECK(impatient.waits() == (patient > 1'000));
    client.pass(1ns);
    CHECK(impatient.refused());
    CHECK(client.scheduler.queued() == static_cast<std::size_t>(patient));
}

TEST_CASE("behind thousands who are exempt, a bound ends the wait when it has passed", "[R21]") {
    const std::size_t exempt = GENERATE(900UL, 1'100UL);
    CAPTURE(exempt);
    CoreClient client;
    Call& probe = client.send({});
    Call& ordinary = client.send({}, client.now + 4s);
    client.send({.channel = 3, .exempt = true});
    std::vector<Call*> others;
    for (std::size_t i = 0; i < exempt; ++i)
        others.push_back(&client.send({.channel = 3, .exempt = true}, client.now + 3s));
    core::Answer global = bare_429(30s);
    global.global = true;
    client.answer(probe, global);
    CHECK(ordinary.refused() == (exempt < 1'000));
    client.pass(3s - 1ns);
    CHECK(std::all_of(others.begin(), others.end(), [](Call* call) { return call->waits(); }));
    client.pass(1ns);
    CHECK(std::all_of(others.begin(), others.end(), [](Call* call) { return call->refused(); }));
    client.pass(1s);
    CHECK(ordinary.refused());
}

TEST_CASE("a block of the whole token ends no wait of an exempt route, whose bounds stay",
          "[R16][R21]") {
    CoreClient client;
    const Target exempt{.channel = 3, .exempt = true};
    Call& ordinary_probe = client.send({});
    Call& ordinary = client.send({}, client.now + 2s);
    Call& exempt_probe = client.send(exempt);
    Call& impatient = client.send(exempt, client.now + 2s);
    Call& patient = client.send(exempt, client.now + 3s);
    core::Answer global = bare_429(30s);
    global.global = true;
    client.answer(ordinary_probe, global);
    CHECK(ordinary.refused());
    CHECK(impatient.waits());
    SECTION("until their bounds have passed") {
        client.pass(2s);
        CHECK(impatient.refused());
        CHECK(patient.waits());
        client.pass(1s);
    }
    SECTION("and until a block of their own is too long for them") {
        core::Answer shared = bare_429(30s);
        shared.shared = true;
        client.answer(exempt_probe, shared);
        CHECK(impatient.refused());
    }
    CHECK(patient.refused());
}

TEST_CASE("an answer that makes a wait longer than its bound ends it at once", "[R21]") {
    CoreClient client;
    const auto calls = client.send(1, {});
    Call& impatient = client.send({}, client.now + 4s);
    client.answer(*calls[0], shows(5, 0, 5s));
    CHECK(impatient.refused());
}

TEST_CASE("a wait that is given up leaves no place behind, nor a gap", "[R21]") {
    CoreClient client;
    spend(client, {{}});
    const auto calls = client.send(3, {});
    client.cancel(*calls[0]);
    client.cancel(*calls[1]);
    CHECK(client.scheduler.queued() == 1);
    client.pass(6s);
    CHECK(client.order == std::vector{4});
    for (Call* call : calls) {
        if (call->sent()) client.answer(*call, shows(5, 4, 5s));
        client.release(*call);
    }
    CHECK(client.at_rest());
}

TEST_CASE("a bucket whose last waiter gives up is at rest at once", "[R23]") {
    CoreClient client;
    spend(client, {{}});
    Call& call = client.send({});
    CHECK_FALSE(client.at_rest());
    client.cancel(call);
    client.release(call);
    CHECK(client.at_rest());
}

TEST_CASE("a bucket whose last waiter is refused at its turn is at rest at once", "[R23]") {
    for (const bool exempt : {false, true}) {
        CoreClient client;
        const Target target{.exempt = exempt};
        Call& probe = client.send(target);
        client.answer(probe, shows(5, 1, 5s));
        client.release(probe);
        CHECK(client.at_rest());
        Call& call = client.send(target, core::never, 3);
        CHECK(call.refused());
        client.release(call);
        CHECK(client.at_rest());
        client.scheduler.collect(client.now += 1h, 1min);
        CHECK(client.scheduler.registry().lane_count() == 0);
    }
}

TEST_CASE("a granted request that is never sent makes room for the next at once", "[R21]") {
    CoreClient client;
    const auto calls = client.send(6, {});
    client.answer(*calls[0], shows(5, 1, 5s));
    CHECK(client.order == std::vector{1, 2});
    client.cancel(*calls[1]);
    CHECK(client.order == std::vector{1, 2, 3});
}

TEST_CASE("the wait of a newcomer is foreseen, as far as it can be known", "[R21]") {
    CoreClient client;
    Call& probe = client.send({});
    const auto predicted = [&] { return client.scheduler.predict(client.lane({}), client.now); };
    CHECK(predicted() == std::nullopt); // hangs on the answer
    client.answer(probe, shows(5, 0, 5s));
    const Time reset = client.now + 5001ms;
    CHECK(predicted() == reset);
    client.send(5, {});
    CHECK(predicted() == reset + 5s);
    client.pass(6s);
    CHECK(client.order.size() == 6);
}

TEST_CASE("what hangs on an answer under way is not foreseen, and refuses nobody", "[R21]") {
    CoreClient client;
    const auto foreseen = [&](core::Foresight how = core::Foresight::certain) {
        return client.scheduler.predict(client.lane({}), client.now, UINT64_MAX, how);
    };
    SECTION("a route whose bucket nobody knows yet may draw on the same") {
        client.answer(client.send({}), shows(5, 1, 5s));
        Call& probe = client.send({.route = 2});
        CHECK(foreseen() == std::nullopt);
        CHECK(foreseen(core::Foresight::likely) == std::nullopt);
        Call& call = client.send({}, client.now + 1s);
        CHECK(call.waits());
        client.answer(probe, shows(5, 4, 5s, "other"));
        CHECK(call.sent());
    }
    SECTION("the answer that comes first may have counted the other request already") {
        client.answer(client.send({}), shows(5, 4, 5s));
        const auto calls = client.send(2, {});
        client.answer(*calls[1], shows(5, 2, 5s));
        client.send({});
        CHECK(foreseen() == std::nullopt);
        CHECK(foreseen(core::Foresight::likely) == client.now + 5001ms);
        Call& call = client.send({}, client.now + 1s);
        CHECK(call.waits());
        client.answer(*calls[0], shows(5, 3, 5s));
        CHECK(call.sent());
    }
    SECTION("what no answer under way can bring is known at once") {
        client.answer(client.send({}), shows(5, 2, 5s));
        client.send(2, {});
        const Time reset = client.now + 5001ms;
        CHECK(foreseen() == std::nullopt);
        Call& hopeful = client.send({}, client.now + 1s);
        client.send({});
        CHECK(foreseen() == reset); // two wait before it, and no more than two can be had
        CHECK(hopeful.waits());
    }
}

TEST_CASE("what is foreseen for a queue is when it goes", "[R21]") {
    CoreClient client;
    spend(client, {{}});
    const std::optional<Time> foreseen = client.scheduler.predict(client.lane({}), client.now);
    Call& call = client.send({});
    const Time then = client.now;
    REQUIRE(foreseen);
    CHECK(client.time_until_sent(call) == *foreseen - then);
}

TEST_CASE("a raised global limit lets the next ones go at once", "[R15]") {
    CoreClient client(with_global(1));
    for (const std::uint64_t channel : {1ULL, 2ULL, 3ULL, 4ULL})
        client.send({.channel = channel});
    CHECK(client.order.size() == 1);
    client.scheduler.set_global(3, 1s, client.now);
    const core::WaiterList granted = client.scheduler.take_finished();
    CHECK(std::distance(granted.begin(), granted.end()) == 2);
}

TEST_CASE("telling all to go refuses every waiter, in order of arrival within each lane") {
    CoreClient client;
    spend(client, {{.channel = 1}, {.channel = 2}});
    std::vector<Call*> calls;
    for (const std::uint64_t channel : {1ULL, 2ULL, 1ULL})
        calls.push_back(&client.send({.channel = channel}));
    CHECK(client.scheduler.refuse_all(client.now) == 3);
    core::WaiterList refused = client.scheduler.take_finished();
    CHECK(std::distance(refused.begin(), refused.end()) == 3);
    int last_in_first_lane = 0;
    while (!refused.empty()) {
        const auto& call = static_cast<Call&>(refused.front());
        refused.pop_front();
        CHECK(call.why == core::Refused::ended);
        if (call.target.channel != 1) continue;
        CHECK(call.number > last_in_first_lane);
        last_in_first_lane = call.number;
    }
    for (Call* call : calls)
        client.release(*call);
    CHECK(client.at_rest());
}

TEST_CASE("a lane with waiters always has a request in flight or a wake time ahead") {
    CoreClient client;
    Call& probe = client.send({});
    client.send(3, {});
    const Time silence = client.now + core::Scheduler::longest_silence;
    CHECK(client.scheduler.next_wake() == silence); // else the probe's answer
    client.lose(probe);
    CHECK(client.scheduler.in_flight() + (client.scheduler.next_wake() != core::never) > 0);
    client.pass(2s);
    CHECK(client.scheduler.in_flight() == 1);
}

TEST_CASE("a million interaction tokens cost the memory of those still in use", "[R23]") {
    core::Settings settings;
    settings.global_limit = 0;
    settings.idle.evict_after = 1min;
    CoreClient client(settings);
    std::size_t most = 0;
    std::size_t admitted = 0;
    for (std::uint64_t token = 1; token <= 1'000'000; ++token) {
        client.now += 10ms; // 100 interactions per second
        const core::LaneKey key{1, {core::MajorKind::interaction, token, ~token}, 0};
        core::Place place;
        core::Lane& lane = client.scheduler.lane(key, {.exempt = true}, client.now);
        admitted += client.scheduler.try_admit(lane, client.now, place) ? 1 : 0;
        core::Answer answer = shows(5, 4, 1s);
        client.scheduler.answer(place, answer, core::never, client.now);
        core::Scheduler::release(place);
        most = std::max(most, client.scheduler.registry().bucket_count());
    }
    CHECK(admitted == 1'000'000);
    CHECK(most < 6'500); // a minute's worth, swept two at a time
    CHECK(client.scheduler.registry().lane_count() < 6'500);
    client.scheduler.collect(client.now += 1h, 1min);
    CHECK(client.scheduler.registry().bucket_count() == 0);
    CHECK(client.scheduler.registry().lane_count() == 0);
}
