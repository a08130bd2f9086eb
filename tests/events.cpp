// SPDX-License-Identifier: MIT
//
// What an observer is told, when, and what it may do: everything the limiter's author could want in
// a log, never under a lock, and never in anybody's way.
#include <sluice/bucket_manager.hpp>
#include <sluice/events.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace sluice::tests;
using sluice::Address;
using sluice::AddressOptions;
using sluice::AnswerKind;
using sluice::Event;
using sluice::EventKind;
using sluice::Obstacle;
using sluice::Options;
using sluice::Response;
using sluice::Route;
using sluice::Ticket;

const Route route = create_message(1);

Options observed_by(sluice::Observer observer, const AddressOptions& address = {}) {
    return {.address = std::make_shared<Address>(address), .observer = std::move(observer)};
}

struct Bot : VirtualBot {
    explicit Bot(const AddressOptions& address = {})
        : VirtualBot(observed_by([this](const Event& event) { seen.push_back(event); }, address)) {}

    [[nodiscard]] std::vector<Event> of(EventKind kind) const {
        std::vector<Event> found;
        std::copy_if(seen.begin(), seen.end(), std::back_inserter(found),
                     [&](const Event& event) { return event.kind == kind; });
        return found;
    }

    std::vector<Event> seen;
};

} // namespace

TEST_CASE("every kind of event has a name of its own") {
    std::set<std::string_view> names;
    for (int kind = 1; kind <= static_cast<int>(EventKind::evicted); ++kind)
        names.insert(sluice::to_string(static_cast<EventKind>(kind)));
    CHECK(names.size() == 9);
    CHECK(names.count("") == 0);
}

TEST_CASE("an observer is told who waits and how long it took") {
    Bot bot;
    bot.limiter.update(route, answer(1, 0, 5s));
    Ending ending;
    bot.limiter.async_acquire(route.sublimit("name"), into(ending));
    REQUIRE(bot.of(EventKind::waiting).size() == 1);
    CHECK(bot.of(EventKind::granted).empty());
    bot.pass(6s);
    REQUIRE(bot.of(EventKind::granted).size() == 1);
    const Event granted = bot.of(EventKind::granted).front();
    CHECK(granted.wait >= 5s);
    CHECK(granted.wait <= 5s + 1ms);
    CHECK(granted.route == route.id());
    CHECK(granted.major == route.major());
    CHECK(granted.tag == route.sublimit("name").tag());
    CHECK(bot.limiter.stats().counters.longest_wait == granted.wait);
}

TEST_CASE("an observer is told of every answer, and of every 429 by its kind and wait") {
    const std::initializer_list<std::pair<Response, AnswerKind>> refusals{
        {user_429(2s), AnswerKind::user_limit},
        {answer(5, 4, 1s), AnswerKind::sublimit},
        {shared_429(2s), AnswerKind::shared_limit},
        {global_429(2s), AnswerKind::global_limit},
        {{.from_discord = false}, AnswerKind::cloudflare},
        {Response(), AnswerKind::headerless}};
    for (auto [response, kind] : refusals) {
        CAPTURE(static_cast<int>(kind));
        response.status = 429;
        response.retry_after = 2s;
        Bot bot;
        bot.limiter.update(route, response);
        REQUIRE(bot.seen.size() == 2);
        CHECK(bot.seen[0].kind == EventKind::answered);
        CHECK(bot.seen[0].status == 429);
        CHECK(bot.seen[1].kind == EventKind::refused);
        CHECK(bot.seen[1].answer == kind);
        CHECK(bot.seen[1].wait == 2s);
        CHECK(bot.seen[1].route == route.id());
        CHECK(bot.limiter.stats().counters.by_kind[static_cast<std::size_t>(kind)] == 1);
    }
}

TEST_CASE("a success and a 5xx are answers and no refusals") {
    Bot bot;
    bot.limiter.update(route, answer(5, 4, 1s));
    bot.limiter.update(route, {.status = 503});
    REQUIRE(bot.seen.size() == 2);
    CHECK(bot.seen[0].answer == AnswerKind::success);
    CHECK(bot.seen[1].answer == AnswerKind::server_error);
    CHECK(bot.seen[1].status == 503);
}

TEST_CASE("an observer is told once that requests are slowed, and once that they are stopped",
          "[R18]") {
    Bot bot({.slow_at = 3, .stop_at = 6});
    for (int i = 0; i < 8; ++i)
        bot.limiter.update(route, {.status = 403});
    CHECK(bot.of(EventKind::slowed).size() == 1);
    CHECK(bot.of(EventKind::stopped).size() == 1);
    bot.pass(11min);
    bot.limiter.update(route, answer(5, 4, 1s));
    for (int i = 0; i < 3; ++i)
        bot.limiter.update(route, {.status = 403});
    CHECK(bot.of(EventKind::slowed).size() == 2);
}

TEST_CASE("an observer is told that a lane has moved and that buckets were forgotten") {
    Bot bot;
    bot.limiter.update(route, answer(5, 4, 1s, "first"));
    bot.pass(1s);
    Ticket ticket = *bot.limiter.try_acquire(route);
    ticket.update(answer(5, 4, 1s, "second"));
    REQUIRE(bot.of(EventKind::lane_moved).size() == 1);
    CHECK(bot.of(EventKind::lane_moved).front().route == route.id());
    ticket = Ticket();
    bot.pass(1h);
    const std::size_t evicted = bot.limiter.collect(1min);
    CHECK(evicted == 2);
    std::uint64_t told = 0;
    for (const Event& event : bot.of(EventKind::evicted))
        told += event.count;
    CHECK(told == evicted);
    CHECK(bot.limiter.stats().counters.evicted == evicted);
}

TEST_CASE("an observer may call the limiter, and hears of that too") {
    std::unique_ptr<VirtualBot> bot;
    int depth = 0;
    int deepest = 0;
    std::size_t queued = 0;
    bot = std::make_unique<VirtualBot>(observed_by([&](const Event& event) {
        deepest = std::max(deepest, ++depth);
        if (event.kind == EventKind::refused) {
            (void)bot->limiter.stats();
            (void)bot->limiter.find(route);
            (void)bot->limiter.timeout_for(route);
            (void)bot->limiter.try_acquire(route);
            bot->limiter.update(create_message(2), answer(5, 4, 1s));
            queued = bot->limiter.stats().queued;
            bot->limiter.cancel_all();
        }
        --depth;
    }));
    bot->limiter.update(route, answer(1, 0, 5s));
    Ending ending;
    bot->limiter.async_acquire(route, into(ending));
    bot->limiter.update(route, user_429(5s));
    CHECK(queued == 1);
    CHECK(deepest == 2);
    bot->turn();
    CHECK(ending.failed(asio::error::operation_aborted));
}

TEST_CASE("what an observer throws is swallowed and counted") {
    VirtualBot bot(observed_by([](const Event&) { throw std::runtime_error("full disk"); }));
    bot.limiter.update(route, answer(1, 0, 5s));
    Ending ending;
    bot.limiter.async_acquire(route, into(ending));
    bot.pass(6s);
    CHECK(ending.granted());
    CHECK(bot.limiter.stats().observer_failures == 3); // answered, waiting, granted
}

TEST_CASE("an observer may end the limiter that it observes") {
    std::unique_ptr<VirtualBot> bot;
    std::unique_ptr<Manager> doomed;
    bot = std::make_unique<VirtualBot>();
    doomed = std::make_unique<Manager>(bot->io, observed_by([&](const Event& event) {
                                           if (event.kind == EventKind::refused) doomed.reset();
                                       }),
                                       bot->clock);
    Ending ending;
    Ticket out = *doomed->try_acquire(route);
    doomed->async_acquire(route, into(ending));
    out.update(user_429(5s));
    CHECK(!doomed);
    bot->turn();
    CHECK(ending.failed(sluice::errc::closed));
}

TEST_CASE("stats tell what is held now") {
    Bot bot;
    bot.limiter.update(route, answer(2, 1, 5s));
    Ticket out = *bot.limiter.try_acquire(route);
    Ending ending;
    bot.limiter.async_acquire(route, into(ending));
    bot.limiter.async_acquire(route.sublimit("name"), into(ending));
    const sluice::Stats stats = bot.limiter.stats();
    CHECK(stats.queued == 2);
    CHECK(stats.in_flight == 1);
    CHECK(stats.buckets == 1);
    CHECK(stats.lanes == 2);
    CHECK(stats.counters.granted == 1);
    CHECK(stats.counters.answered == 1);
    bot.limiter.cancel_all();
    bot.turn();
    CHECK(bot.limiter.stats().queued == 0);
    out.cancel();
}

TEST_CASE("who has to wait is told how long, for what, and for which limit") {
    std::vector<Event> events;
    VirtualBot bot({.observer = [&](const Event& event) {
        if (event.kind == EventKind::waiting) events.push_back(event);
    }});
    const Route asked = create_message(1);
    bot.limiter.try_acquire(asked)->update(answer(5, 0, 8s, "abc"));
    Ending first;
    bot.limiter.async_acquire(asked, into(first));
    REQUIRE(events.size() == 1);
    CHECK(events[0].wait >= 8s);
    CHECK(events[0].wait <= 8s + 10ms);
    CHECK(events[0].obstacle == Obstacle::bucket);
    CHECK(to_string(events[0].obstacle) == "bucket");
    CHECK(events[0].limit == 5);
    CHECK(events[0].bucket == "abc");
    CHECK(events[0].text == "POST /channels/{}/messages");
    CHECK(events[0].route == asked.id());
    bot.limiter.update(create_message(2), global_429(20s));
    Ending second;
    bot.limiter.async_acquire(create_message(3), into(second));
    REQUIRE(events.size() == 2);
    CHECK(events[1].wait == 20s);
    CHECK(events[1].obstacle == Obstacle::global);
    bot.limiter.cancel_all();
    bot.turn();
}
