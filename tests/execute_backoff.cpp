// SPDX-License-Identifier: MIT
//
// execute(): how long it pauses after a try that failed, by whose settings, and where.
#include <sluice/execute.hpp>

#include "support/catch.hpp"
#include "support/execute_bot.hpp"

#include <chrono>
#include <cstddef>

namespace {

using namespace sluice::tests;
using sluice::errc;
using sluice::Options;
using sluice::Response;
using sluice::Route;
using sluice::Ticket;

const Route get = get_message(1, 2);
const Route post = create_message(1);

} // namespace

TEST_CASE("a 503 on an unknown route is repeated after its pause, not a second later") {
    ExecuteBot bot;
    bot.finish(get, statuses({503, 200}), {.first_backoff = 50ms});
    REQUIRE(bot.tries.size() == 2);
    CHECK(bot.pause_before(1) >= 25ms);
    CHECK(bot.pause_before(1) <= 50ms);
}

TEST_CASE("pauses are the limiter's unless the call says otherwise") {
    ExecuteBot bot(Options{.first_backoff = 3s, .max_backoff = 5s});
    SECTION("the limiter's") {
        bot.finish(get, statuses({503, 503, 200}));
        CHECK(bot.pause_before(1) >= 1500ms);
        CHECK(bot.pause_before(1) <= 3s);
        CHECK(bot.pause_before(2) >= 2500ms);
        CHECK(bot.pause_before(2) <= 5s);
    }
    SECTION("the call's") {
        bot.finish(get, statuses({503, 503, 200}), {.first_backoff = 100ms, .max_backoff = 100ms});
        CHECK(bot.pause_before(1) <= 100ms);
        CHECK(bot.pause_before(2) <= 100ms);
    }
}

TEST_CASE("a failed request that is safe pauses whatever its method") {
    ExecuteBot bot;
    bot.limiter.update(post, answer(50, 49, 600s));
    bot.finish(post, statuses({500, 520, 504, 200}), {.safe = true});
    REQUIRE(bot.tries.size() == 4);
    CHECK(bot.pause_before(1) >= 250ms);
    CHECK(bot.pause_before(2) >= 500ms);
    CHECK(bot.pause_before(3) >= 1s);
}

TEST_CASE("5xx of Cloudflare's edge are repeated for requests that may run twice") {
    for (const int status : {520, 521, 522, 523, 524, 525, 529, 530}) {
        CHECK(ExecuteBot().finish(get, statuses({status, 200})).tries.size() == 2);
        CHECK(ExecuteBot().finish(post, statuses({status, 200})).tries.size() == 1);
    }
}

TEST_CASE("a request that pauses is queued, and closing the limiter ends it") {
    ExecuteBot bot(Options{.first_backoff = 60s, .max_backoff = 60s});
    bot.script = statuses({503});
    bot.spawn(get);
    bot.pass(1s);
    CHECK(bot.limiter.stats().queued == 1);
    bot.limiter.close();
    bot.turn();
    CHECK(bot.code() == errc::closed);
}

TEST_CASE("a pause longer than the limiter's bound returns the reply, or throws what failed") {
    ExecuteBot bot(Options{.max_wait = 1s, .first_backoff = 60s, .max_backoff = 60s});
    SECTION("a reply") {
        bot.finish(get, statuses({503}));
        CHECK(bot.reply->status == 503);
    }
    SECTION("no reply") {
        bot.finish(get, [](std::size_t, Ticket&) -> Response {
            throw boost::system::system_error(asio::error::connection_reset);
        });
        CHECK(bot.code() == asio::error::connection_reset);
    }
    CHECK(bot.tries.size() == 1);
}
