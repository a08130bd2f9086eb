// SPDX-License-Identifier: MIT
//
// execute(): requests that never left, because there was no connection. They are no lost ones.
#include <sluice/execute.hpp>

#include "support/catch.hpp"
#include "support/execute_bot.hpp"

#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace {

using namespace sluice::tests;
using sluice::Response;
using sluice::Route;
using sluice::Ticket;

const Route get = get_message(1, 2);
const Route post = create_message(1);

/// Throws that in so many tries, then succeeds.
Script failures(std::size_t times, error_code code) {
    return [=](std::size_t number, Ticket&) {
        if (number < times) throw boost::system::system_error(code);
        return Response{.status = 200};
    };
}

} // namespace

TEST_CASE("a request whose connection could not be opened is repeated, and nothing is lost") {
    for (const error_code code :
         {error_code(asio::error::connection_refused), error_code(asio::error::host_unreachable),
          error_code(asio::error::network_unreachable), error_code(asio::error::host_not_found),
          error_code(asio::error::host_not_found_try_again),
          error_code(asio::error::service_not_found)}) {
        for (const Route& route : {get, post}) {
            CAPTURE(code.message(), route.text());
            ExecuteBot bot;
            bot.finish(route, failures(2, code));
            CHECK(bot.tries.size() == 3);
            CHECK(bot.reply->status == 200);
            CHECK(bot.limiter.stats().counters.lost == 0);
            CHECK(bot.limiter.stats().counters.cancelled == 2);
        }
    }
}

TEST_CASE("a connection that breaks later is a lost request") {
    for (const error_code code :
         {error_code(asio::error::connection_reset), error_code(asio::error::eof),
          error_code(asio::error::broken_pipe), error_code(asio::error::timed_out)}) {
        ExecuteBot bot;
        bot.finish(post, failures(2, code));
        CHECK(bot.tries.size() == 1);
        CHECK(bot.code() == code);
        CHECK(bot.limiter.stats().counters.lost == 1);
    }
}

TEST_CASE("a send that cancels its ticket says that the request never left") {
    ExecuteBot bot;
    bot.finish(post, [](std::size_t number, Ticket& ticket) {
        if (number > 0) return Response{.status = 200};
        ticket.cancel();
        throw std::runtime_error("no connection");
    });
    CHECK(bot.tries.size() == 2);
    CHECK(bot.reply->status == 200);
    CHECK(bot.limiter.stats().counters.lost == 0);
}

TEST_CASE("refused connections hold up nobody else of an unknown route") {
    // Measured before, with an upstream that refuses: one request of the lane each second.
    ExecuteBot bot;
    bot.round_trip = 1ms;
    bot.script = failures(SIZE_MAX, asio::error::connection_refused);
    for (int i = 0; i < 100; ++i)
        bot.spawn(get, {.max_tries = 1});
    bot.clock.run(bot.io);
    REQUIRE(bot.tries.size() == 100);
    CHECK(bot.tries.back() <= 100ms);
}
