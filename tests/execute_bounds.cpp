// SPDX-License-Identifier: MIT
//
// execute(): what bounds its waits, its 429s and each of its tries.
#include <sluice/execute.hpp>

#include "support/catch.hpp"
#include "support/execute_bot.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

namespace {

using namespace sluice::tests;
using sluice::errc;
using sluice::Options;
using sluice::Response;
using sluice::Route;
using sluice::Ticket;

const Route get = get_message(1, 2);
const Route post = create_message(1);

/// 429s that tell so many seconds in turn, then a success.
Script refusals(std::vector<Duration> waits) {
    return [waits = std::move(waits)](std::size_t number, Ticket&) {
        return number < waits.size() ? user_429(waits[number], 1) : answer(1, 0, 1s);
    };
}

} // namespace

TEST_CASE("max_wait bounds each wait for a ticket, also after a 429") {
    ExecuteBot bot;
    SECTION("a longer one returns the 429 at once") {
        bot.finish(post, refusals({2s, 3600s}), {.max_wait = 5s});
        CHECK(bot.reply->status == 429);
        CHECK(bot.tries.size() == 2);
        CHECK(*bot.ended < 4s);
    }
    SECTION("shorter ones may be longer together") {
        bot.finish(post, refusals({4s, 4s, 4s}), {.max_wait = 5s});
        CHECK(bot.reply->status == 200);
    }
    SECTION("it stands before the limiter's") {
        ExecuteBot impatient(Options{.max_wait = 1s});
        impatient.finish(post, refusals({4s}), {.max_wait = 5s});
        CHECK(impatient.reply->status == 200);
    }
}

TEST_CASE("what is left of the total time bounds each wait for a ticket") {
    ExecuteBot bot;
    bot.finish(post, refusals({4s, 4s, 4s}), {.total = 10s});
    CHECK(bot.reply->status == 429);
    CHECK(bot.tries.size() == 3);
    CHECK(*bot.ended < 9s); // it does not wait in vain
}

TEST_CASE("so many 429s as max_refusals says end it with the last of them") {
    for (const int most : {0, 1, 3}) {
        CAPTURE(most);
        ExecuteBot bot;
        bot.finish(post, refusals(std::vector<Duration>(9, 1s)), {.max_refusals = most});
        CHECK(bot.reply->status == 429);
        CHECK(bot.tries.size() == static_cast<std::size_t>(std::max(1, most)));
    }
    CHECK(ExecuteBot().finish(post, refusals(std::vector<Duration>(9, 1s))).tries.size() == 10);
}

TEST_CASE("a try that takes longer than its time is cancelled and counts as lost") {
    ExecuteBot bot;
    bot.limiter.update(get, answer(50, 49, 600s));
    bot.round_trip = 1h;
    SECTION("it is repeated where that does no harm") {
        bot.finish(get, statuses({200}), {.max_tries = 3, .try_timeout = 2s});
        CHECK(bot.tries.size() == 3);
        CHECK(bot.code() == asio::error::timed_out);
        CHECK(bot.tries[1] >= 2250ms);
        CHECK(bot.tries[1] <= 2500ms);
        CHECK(bot.limiter.stats().counters.lost == 3);
    }
    SECTION("not of a message") {
        bot.finish(post, statuses({200}), {.try_timeout = 2s});
        CHECK(bot.tries.size() == 1);
        CHECK(bot.code() == asio::error::timed_out);
        CHECK(*bot.ended == 2s);
    }
    CHECK(bot.limiter.stats().in_flight == 0);
}

TEST_CASE("the time of a try begins with its ticket, and one in time is not touched") {
    ExecuteBot bot;
    bot.limiter.update(get, answer(1, 0, 60s));
    bot.finish(get, statuses({503, 200}), {.try_timeout = 60ms});
    CHECK(bot.reply->status == 200);
    CHECK(bot.tries.size() == 2);
    CHECK(bot.tries[0] >= 59s);
}

TEST_CASE("execute with a time for each try can be cancelled at every point") {
    const auto total = GENERATE(std::optional<Duration>(), std::optional<Duration>(1h));
    for (int handlers = 0;; ++handlers) {
        REQUIRE(handlers < 200);
        CAPTURE(handlers);
        ExecuteBot bot;
        bot.script = statuses({503, 429, 200});
        asio::cancellation_signal signal;
        // With an executor: else Boost 1.83 loses what comes before the first step, or throws.
        const auto ended = asio::bind_executor(bot.io, [&](std::exception_ptr e) {
            bot.ended = bot.clock.now() - bot.start;
            bot.failure = e;
        });
        asio::co_spawn(bot.io, bot.run(get, {.total = total, .try_timeout = 1s}),
                       asio::bind_cancellation_slot(signal.slot(), ended));
        for (int i = 0; i < handlers && !bot.ended; ++i)
            bot.clock.run_one(bot.io);
        const bool done = bot.ended.has_value();
        signal.emit(asio::cancellation_type::terminal);
        bot.turn();
        REQUIRE(bot.ended);
        CHECK((bot.code() == asio::error::operation_aborted || bot.reply->status == 200));
        CHECK(bot.limiter.stats().in_flight == 0);
        CHECK(bot.limiter.stats().queued == 0);
        if (done) break;
    }
}
