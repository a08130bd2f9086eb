// SPDX-License-Identifier: MIT
//
// Whole bots against a fake Discord in virtual time: every answer goes through Response::parse,
// every wait through the manager. The traps that other clients fall into are each a test; random
// worlds look for those that nobody has thought of.
#include <sluice/bucket_manager.hpp>
#include <sluice/testing/fake_discord.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace sluice::tests;
using sluice::Response;
using sluice::Route;
using sluice::Ticket;
using sluice::testing::Algorithm;
using sluice::testing::Arrival;
using sluice::testing::FakeDiscord;
using sluice::testing::FakeOptions;
using sluice::testing::FakeVerdict;
using sluice::testing::Limit;

constexpr std::string_view post_template = "POST /channels/{channel.id}/messages";

struct Delay {
    Duration least{30ms};
    Duration most{30ms};
};

/// One request; its number is in the query of its target, where no limiter looks.
struct Call {
    Route route;
    std::string target;
};

std::string numbered(std::string path, int number) {
    return "/api/v10" + std::move(path) + "?n=" + std::to_string(number);
}
Call message(int channel, int number = 0) {
    return {create_message(channel), numbered(create_message.path(channel), number)};
}
Call interaction(int token, int number = 0) {
    const std::string text = "token" + std::to_string(token);
    return {callback(1, text), numbered(callback.path(1, text), number)};
}

class Bot : public VirtualBot {
public:
    explicit Bot(const FakeOptions& server = {}, Delay each_way = {}, std::uint64_t seed = 1)
        : discord(server), each_way_(each_way), random_(seed) {}

    [[nodiscard]] Duration passed() const { return clock.now() - start_; }

    /// Sends the call, waiting as the limiter says, until its answer is final.
    asio::awaitable<void> request(Call call, Duration at = 0ns) {
        if (at > 0ns) co_await clock.sleep(at);
        Ticket ticket = co_await limiter.acquire(call.route);
        for (;;) {
            ticket.sent();
            const bool knew = shown_.contains(call.route.id());
            co_await clock.sleep(delay());
            const Answer got = receive(call, knew);
            co_await clock.sleep(delay());
            if (lost_.contains(got.number)) {
                co_await clock.sleep(10s); // the bot's own timeout
                break;
            }
            if (got.response.status == 200) shown_.insert(call.route.id());
            if (!ticket.update(got.response).retry) break;
            co_await ticket.reacquire();
        }
        ++finished;
        last = passed();
    }
    void spawn(Call call, Duration at = 0ns) {
        asio::co_spawn(io, request(std::move(call), at), asio::detached);
    }
    /// Somebody else who uses the same token.
    void intrude(std::string_view target, int requests) {
        for (int i = 0; i < requests; ++i)
            (void)discord.receive({.method = "POST", .target = target, .token = "Bot t"}, passed());
    }

    /// The answer to this arrival, counted from 0, will never come.
    void lose_answer(std::uint64_t number) { lost_.insert(number); }

    [[nodiscard]] std::uint64_t refused() const {
        return discord.count(FakeVerdict::user_limit) + discord.count(FakeVerdict::global_limit);
    }
    /// Targets in the order of their arrival, refused ones included.
    [[nodiscard]] std::vector<std::string> arrived() const {
        std::vector<std::string> targets;
        for (const Arrival& arrival : discord.log())
            targets.push_back(arrival.target);
        return targets;
    }

    FakeDiscord discord;
    int finished = 0;
    Duration last{0};
    /// 429s that a client could have known of. It cannot know of requests whose route had not been
    /// shown yet: such a request may be refused, or take the place of another of its counter; nor
    /// of one more in a counter whose first answer was lost.
    std::uint64_t avoidable = 0;

private:
    struct Answer {
        std::uint64_t number;
        Response response;
    };

    Duration delay() {
        return Duration(std::uniform_int_distribution<Duration::rep>(
            each_way_.least.count(), each_way_.most.count())(random_));
    }
    Answer receive(const Call& call, bool knew) {
        const auto answer = discord.receive(
            {.method = call.route.method(), .target = call.target, .token = "Bot t"}, passed());
        const std::uint64_t number = arrivals_++;
        const std::uint64_t counter = discord.log().back().counter;
        const bool first = counters_.insert(counter).second;
        if (answer.status == 429) {
            const bool forgiven = !knew || forgiven_[counter]-- > 0;
            if (!forgiven) ++avoidable;
        } else if (first ? lost_.contains(number) : !knew) {
            ++forgiven_[counter];
        }
        return {number, Response::parse(answer.status, answer.headers, answer.body)};
    }

    Clock::time_point start_ = clock.now();
    Delay each_way_;
    std::mt19937_64 random_;
    std::set<std::uint64_t> lost_;
    std::set<std::uint64_t> shown_; // routes
    std::set<std::uint64_t> counters_;
    std::map<std::uint64_t, int> forgiven_; // 429s, by counter
    std::uint64_t arrivals_ = 0;
};

} // namespace

TEST_CASE(
    "a hundred messages queued at start-up leave in order, through the naming of the bucket") {
    Bot bot;
    bot.discord.rule(post_template, {.limit = Limit{Algorithm::fixed, 5, 5s}, .hash = "abc"});
    std::vector<std::string> expected;
    for (int i = 0; i < 100; ++i) {
        bot.spawn(message(1, i));
        expected.push_back(message(1, i).target);
    }
    bot.turn();
    CHECK_FALSE(bot.limiter.find(create_message(1))->hash);
    CHECK(bot.limiter.find(create_message(1))->queued == 99);
    bot.clock.run(bot.io);
    CHECK(bot.arrived() == expected);
    CHECK(bot.refused() == 0);
    CHECK(bot.limiter.find(create_message(1))->hash == sluice::BucketHash::parse("abc"));
    CHECK(bot.limiter.stats().buckets == 1);
    CHECK(bot.last < 96s); // 20 windows of 5 s, of which the first does not wait
}

TEST_CASE("two routes that turn out to share a bucket share its queue from then on") {
    Bot bot;
    const sluice::testing::Rule rule{.limit = Limit{Algorithm::fixed, 4, 5s}, .hash = "abc"};
    bot.discord.rule(post_template, rule);
    bot.discord.rule("GET /channels/{channel.id}/messages/{message.id}", rule);
    for (int i = 0; i < 10; ++i) {
        bot.spawn(message(1, 2 * i));
        bot.spawn({get_message(1, 7), numbered(get_message.path(1, 7), 2 * i + 1)});
    }
    bot.clock.run(bot.io);
    CHECK(bot.refused() == 0);
    CHECK(bot.finished == 20);
    CHECK(bot.limiter.stats().counters.linked == 1);
    CHECK(bot.limiter.stats().buckets == 1);
    CHECK(bot.limiter.stats().lanes == 2);
    CHECK(bot.last < 21s);
}

TEST_CASE("a route that no answer has named yet is not starved by one that spends its bucket") {
    const auto algorithm = static_cast<Algorithm>(GENERATE(0, 1, 2, 3));
    const std::int64_t limit = GENERATE(1, 2, 5);
    CAPTURE(static_cast<int>(algorithm), limit);
    Bot bot;
    const sluice::testing::Rule rule{.limit = Limit{algorithm, limit, 1500ms}, .hash = "abc"};
    bot.discord.rule(post_template, rule);
    bot.discord.rule("GET /channels/{channel.id}/messages/{message.id}", rule);
    for (int i = 0; i < 40; ++i)
        bot.spawn(message(1, i));
    bot.spawn({get_message(1, 7), numbered(get_message.path(1, 7), 99)}, 700ms);
    bot.clock.run(bot.io);
    CHECK(bot.finished == 41);
    CHECK(bot.refused() <= 2);
}

TEST_CASE("twenty cold channels do not queue behind each other") {
    Bot bot;
    bot.discord.rule(post_template, {.limit = Limit{Algorithm::fixed, 5, 5s}});
    for (int channel = 1; channel <= 20; ++channel) {
        for (int i = 0; i < 2; ++i)
            bot.spawn(message(channel, i));
    }
    bot.clock.run(bot.io);
    for (std::size_t i = 0; i < 20; ++i)
        CHECK(bot.discord.log()[i].at == 30ms);
    CHECK(bot.refused() == 0);
    CHECK(bot.last == 120ms); // a probe each, and then the other
}

TEST_CASE("after a 429 of its bucket a request goes first, and other channels do not wait") {
    Bot bot;
    bot.discord.rule(post_template, {.limit = Limit{Algorithm::fixed, 3, 5s}});
    bot.intrude(message(1).target, 3);
    for (int i = 1; i <= 5; ++i)
        bot.spawn(message(1, i));
    bot.spawn(message(2, 9));
    bot.clock.run(bot.io);
    const auto arrived = bot.arrived();
    std::vector<std::string> channel_1;
    std::copy_if(arrived.begin() + 3, arrived.end(), std::back_inserter(channel_1),
                 [](const std::string& target) { return target.find("/1/") != target.npos; });
    const std::vector<std::string> expected{message(1, 1).target, message(1, 1).target,
                                            message(1, 2).target, message(1, 3).target,
                                            message(1, 4).target, message(1, 5).target};
    CHECK(channel_1 == expected);
    CHECK(bot.discord.count(FakeVerdict::user_limit) == 1); // nobody could have known of three
    const auto other = std::find(arrived.begin(), arrived.end(), message(2, 9).target);
    CHECK(bot.discord.log()[static_cast<std::size_t>(other - arrived.begin())].at == 30ms);
}

TEST_CASE("after a global 429 all routes stop, but for those that the global limit does not bind") {
    Bot bot({.global = Limit{Algorithm::fixed, 50, 10s}});
    bot.discord.rule(post_template, {.limit = std::nullopt});
    bot.intrude(message(9).target, 50);
    for (int i = 1; i <= 5; ++i) {
        bot.spawn(message(i), i * 200ms);
        bot.spawn(interaction(i), i * 200ms);
    }
    bot.clock.run(bot.io);
    CHECK(bot.finished == 10);
    CHECK(bot.discord.count(FakeVerdict::global_limit) == 1);
    int exempt = 0;
    for (std::size_t i = 50; i < bot.discord.log().size(); ++i) {
        const Arrival& arrival = bot.discord.log()[i];
        exempt += arrival.at < 2s && arrival.route.exempt_from_global() ? 1 : 0;
        if (arrival.route.exempt_from_global() || arrival.at < 240ms) continue;
        CHECK(arrival.at >= 10s);
    }
    CHECK(exempt == 5);
}

TEST_CASE("a request cancelled at any moment leaves no place behind and delays nobody for long") {
    const auto run = [](int handlers) {
        Bot bot;
        bot.discord.rule(post_template, {.limit = Limit{Algorithm::fixed, 1, 2s}});
        asio::cancellation_signal signal;
        bot.spawn(message(1, 0));
        // With an executor: else Boost 1.83 throws when the first step has not been taken.
        asio::co_spawn(bot.io, bot.request(message(1, 1)),
                       asio::bind_cancellation_slot(signal.slot(),
                                                    asio::bind_executor(bot.io, asio::detached)));
        bot.spawn(message(1, 2));
        bot.spawn(message(1, 3));
        bool ran_all = true;
        for (int i = 0; i < handlers && ran_all; ++i)
            ran_all = bot.clock.run_one(bot.io) != 0;
        signal.emit(asio::cancellation_type::terminal);
        bot.clock.run(bot.io);
        INFO("after " << handlers << " handlers");
        CHECK(bot.finished >= 3);
        CHECK(bot.refused() == 0);
        CHECK(bot.last < 6300ms); // what four requests need
        CHECK(bot.limiter.stats().queued == 0);
        CHECK(bot.limiter.stats().in_flight == 0);
        bot.pass(2100ms);
        CHECK(bot.limiter.find(create_message(1))->in_flight == 0);
        return ran_all;
    };
    int handlers = 0;
    while (run(handlers))
        ++handlers;
    CHECK(handlers > 15);
}

TEST_CASE("a lost answer never hangs a lane, whichever it is") {
    for (std::uint64_t lost = 0; lost < 12; ++lost) {
        CAPTURE(lost);
        Bot bot;
        bot.discord.rule(post_template, {.limit = Limit{Algorithm::fixed, 3, 2s}});
        bot.lose_answer(lost);
        for (int i = 0; i < 12; ++i)
            bot.spawn(message(1, i));
        bot.clock.run(bot.io);
        CHECK(bot.finished == 12);
        CHECK(bot.avoidable == 0);
        CHECK(bot.last < 6200ms + 12s); // the bot's own timeout, and one window at most
        CHECK(bot.limiter.stats().in_flight == 0);
    }
}

namespace {

/// Limits, routes and requests drawn at random; returns how many requests there are.
int draw_world(Bot& bot, bool one_hash, std::mt19937_64& random) {
    const auto draw = [&](auto low, auto high) {
        return static_cast<int>(std::uniform_int_distribution<std::int64_t>(low, high)(random));
    };
    const auto rule = [&](const std::string& hash) {
        return sluice::testing::Rule{
            .limit = Limit{static_cast<Algorithm>(draw(0, 3)), draw(1, 8), 500ms * draw(2, 12)},
            .hash = hash};
    };
    const auto first = rule("one");
    bot.discord.rule(post_template, first);
    bot.discord.rule("GET /channels/{channel.id}/messages/{message.id}",
                     one_hash ? first : rule("two"));
    const int channels = draw(1, 6);
    const int requests = draw(20, 90);
    const Duration spread = 1ms * draw(0, 10'000);
    for (int i = 0; i < requests; ++i) {
        const int channel = draw(1, channels);
        const Duration at = spread * draw(0, 100) / 100;
        switch (draw(0, 4)) {
        case 0:
            bot.spawn(interaction(channel, i), at);
            break;
        case 1:
            bot.spawn({get_message(channel, i), numbered(get_message.path(channel, i), i)}, at);
            break;
        default:
            bot.spawn(message(channel, i), at);
            break;
        }
    }
    return requests;
}

} // namespace

TEST_CASE("random worlds: no avoidable 429, and every request is answered", "[simulation]") {
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        CAPTURE(seed);
        std::mt19937_64 random(seed);
        const Duration least = 1ms * std::uniform_int_distribution<>(2, 150)(random);
        const Duration jitter = least * std::uniform_int_distribution<>(0, 150)(random) / 100;
        Bot bot({.seed = seed}, {least, least + jitter}, seed);
        const bool one_hash = seed % 3 == 0;
        const int requests = draw_world(bot, one_hash, random);
        bot.clock.run(bot.io);
        REQUIRE(bot.finished == requests);
        REQUIRE(bot.avoidable == 0);
        REQUIRE((one_hash || bot.refused() == 0));
        REQUIRE(bot.discord.count(FakeVerdict::global_limit) == 0);
        REQUIRE(bot.limiter.stats().queued == 0);
        REQUIRE(bot.limiter.stats().in_flight == 0);
    }
}

TEST_CASE("random worlds with lost answers: no avoidable 429, and nothing hangs", "[simulation]") {
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        CAPTURE(seed);
        std::mt19937_64 random(seed);
        Bot bot({.seed = seed}, {20ms, 45ms}, seed);
        for (std::uint64_t i = 0; i < 200; ++i) {
            if (random() % 20 == 0) bot.lose_answer(i);
        }
        const int requests = draw_world(bot, seed % 3 == 0, random);
        bot.clock.run(bot.io);
        REQUIRE(bot.finished == requests);
        REQUIRE(bot.avoidable == 0);
        REQUIRE(bot.discord.count(FakeVerdict::global_limit) == 0);
        REQUIRE(bot.limiter.stats().in_flight == 0);
    }
}
