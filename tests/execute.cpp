// SPDX-License-Identifier: MIT
//
// execute(): which endings are repeated and which are not, how long the pauses are, how long all of
// it may take, what is returned or thrown, and that it can be cancelled everywhere.
#include <sluice/execute.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <exception>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

/// Of a client of the user's own: a type that sluice knows nothing of, and that can only be moved.
struct ForeignReply {
    int code = 0;
    std::unique_ptr<std::string> text;
};

template <>
struct sluice::ResponseOf<ForeignReply> {
    static Response get(const ForeignReply& reply) { return {.status = reply.code}; }
};

namespace {

using namespace sluice::tests;
using sluice::errc;
using sluice::Error;
using sluice::execute;
using sluice::ExecuteOptions;
using sluice::Options;
using sluice::Response;
using sluice::Route;
using sluice::Ticket;

inline constexpr auto delete_message =
    sluice::route<"DELETE /channels/{channel.id}/messages/{message.id}">;
inline constexpr auto put_reaction =
    sluice::route<"PUT /channels/{c}/messages/{m}/reactions/{e}/@me">;
inline constexpr auto edit_channel = sluice::route<"PATCH /channels/{channel.id}">;

constexpr int cut = -1; ///< in place of a status: the connection breaks

struct ConnectionCut : std::runtime_error {
    explicit ConnectionCut(std::size_t try_number)
        : runtime_error("cut in try " + std::to_string(try_number)) {}
};

/// Answers 50 ms after each try with the next of the given statuses, the last one for ever.
struct Bot : VirtualBot {
    explicit Bot(const Options& options = {}) : VirtualBot(options) {}

    asio::awaitable<Response> send(Ticket&) {
        tries.push_back(clock.now() - start);
        const std::size_t number = tries.size();
        const int status = answers[std::min(number, answers.size()) - 1];
        co_await clock.sleep(50ms);
        if (status == cut) throw ConnectionCut(number);
        Response response = status == 429 ? user_429(3s) : Response{.status = status};
        co_return response;
    }

    void spawn(Route route, ExecuteOptions options = {}) {
        const auto handler = [this](std::exception_ptr e) {
            ended = clock.now() - start;
            failure = e;
        };
        // Bound, because Boost 1.83 and newer would else cancel it in the thread that emits the
        // signal as long as it has not begun.
        asio::co_spawn(io, run(route, options),
                       asio::bind_cancellation_slot(signals.emplace_back().slot(),
                                                    asio::bind_executor(io, handler)));
    }
    asio::awaitable<void> run(Route route, ExecuteOptions options) {
        co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
        auto each = [this](Ticket& ticket) { return send(ticket); };
        reply = co_await execute(limiter, route, each, options);
    }
    /// Runs all there is.
    Bot& finish(Route route, std::vector<int> statuses, ExecuteOptions options = {}) {
        answers = std::move(statuses);
        spawn(route, options);
        clock.run(io);
        REQUIRE(ended);
        return *this;
    }
    [[nodiscard]] std::string thrown() const {
        if (!failure) return "";
        try {
            std::rethrow_exception(failure);
        } catch (const std::exception& error) {
            return error.what();
        }
    }
    [[nodiscard]] error_code code() const {
        if (!failure) return {};
        try {
            std::rethrow_exception(failure);
        } catch (const boost::system::system_error& error) {
            return error.code();
        } catch (...) {
            return {};
        }
    }

    Clock::time_point start = clock.now();
    std::vector<int> answers{200};
    std::vector<Duration> tries; ///< when each began
    std::optional<Response> reply;
    std::optional<Duration> ended;
    std::exception_ptr failure;
    std::deque<asio::cancellation_signal> signals; ///< one for each spawn
};

const Route get = get_message(1, 2);
const Route post = create_message(1);

} // namespace

TEST_CASE("a request that succeeds is sent once", "[R20]") {
    for (const int status : {200, 204, 400, 401, 403, 404}) {
        Bot bot;
        bot.finish(post, {status});
        CHECK(bot.tries.size() == 1);
        CHECK(bot.reply->status == status);
    }
}

TEST_CASE("502 and 503 are repeated whatever the method", "[R20]") {
    for (const int status : {502, 503}) {
        for (const Route& route : {get, post, edit_channel(1), delete_message(1, 2)}) {
            Bot bot;
            bot.finish(route, {status, status, 200});
            CHECK(bot.tries.size() == 3);
            CHECK(bot.reply->status == 200);
        }
    }
}

TEST_CASE("500, 504 and a lost connection are repeated for GET, PUT and DELETE only", "[R20]") {
    for (const int status : {500, 504, cut}) {
        CAPTURE(status);
        for (const Route& route : {get, put_reaction(1, 2, 3), delete_message(1, 2)})
            CHECK(Bot().finish(route, {status, 200}).tries.size() == 2);
        for (const Route& route : {post, edit_channel(1)})
            CHECK(Bot().finish(route, {status, 200}).tries.size() == 1);
    }
}

TEST_CASE("a request that is marked safe is repeated whatever the method", "[R20]") {
    for (const int status : {500, 504, cut}) {
        Bot bot;
        bot.finish(post, {status, 200}, {.safe = true});
        CHECK(bot.tries.size() == 2);
        CHECK(bot.reply->status == 200);
    }
}

TEST_CASE("other 5xx are not repeated", "[R20]") {
    for (const int status : {501, 505, 519, 526, 527, 531})
        CHECK(Bot().finish(get, {status, 200}).tries.size() == 1);
}

TEST_CASE("pauses double, are spread over their upper half, and are bounded", "[R20]") {
    Bot bot;
    bot.limiter.update(get, answer(50, 49, 600s));
    bot.finish(get, {503}, {.max_tries = 7, .first_backoff = 400ms, .max_backoff = 3s});
    REQUIRE(bot.tries.size() == 7);
    CHECK(bot.reply->status == 503);
    Duration most = 400ms;
    for (std::size_t i = 1; i < bot.tries.size(); ++i) {
        const Duration pause = bot.tries[i] - bot.tries[i - 1] - 50ms;
        CAPTURE(i, pause.count());
        CHECK(pause >= most / 2);
        CHECK(pause <= most);
        most = std::min<Duration>(2 * most, 3s);
    }
}

TEST_CASE("requests that fail together do not come back together", "[R20]") {
    Bot bot;
    bot.limiter.update(get, answer(50, 49, 60s));
    bot.answers = {503};
    for (int i = 0; i < 20; ++i)
        bot.spawn(get, {.max_tries = 2, .first_backoff = 1s});
    bot.clock.run(bot.io);
    REQUIRE(bot.tries.size() == 40);
    const std::set<Duration> second(bot.tries.begin() + 20, bot.tries.end());
    CHECK(second.size() == 20);
    CHECK(*second.rbegin() - *second.begin() > 200ms);
}

TEST_CASE("pauses of any length are neither negative nor endless", "[R20]") {
    using std::chrono::hours;
    CHECK(Bot().finish(get, {503}, {.first_backoff = 0s}).tries.size() == 5);
    CHECK(Bot().finish(get, {503}, {.max_backoff = 0s}).tries.size() == 5);
    CHECK(Bot().finish(get, {503}, {.first_backoff = -1s, .max_backoff = -5s}).tries.size() == 5);
    CHECK(Bot()
              .finish(get, {503},
                      {.max_tries = 90, .first_backoff = hours(1), .max_backoff = hours(2)})
              .tries.size() == 90);
    CHECK(Bot().finish(get, {503}, {.max_tries = 0}).tries.size() == 1);
}

TEST_CASE("a 429 is waited out and repeated without counting as a try", "[R20]") {
    Bot bot;
    bot.finish(post, {429, 429, 429, 429, 429, 429, 429, 200}, {.max_tries = 2});
    CHECK(bot.tries.size() == 8);
    CHECK(bot.reply->status == 200);
    for (std::size_t i = 1; i < bot.tries.size(); ++i)
        CHECK(bot.tries[i] - bot.tries[i - 1] >= 3050ms);
}

TEST_CASE("a repeated request goes before those that were queued behind it", "[R20][R24]") {
    Bot bot;
    bot.answers = {429, 200};
    bot.spawn(post);
    bot.pass(10ms);
    std::optional<Duration> behind;
    bot.limiter.async_acquire(post, [&](error_code, Ticket ticket) {
        behind = bot.clock.now() - bot.start;
        ticket.cancel();
    });
    bot.clock.run(bot.io);
    REQUIRE(bot.tries.size() == 2);
    REQUIRE(behind);
    CHECK(*behind >= bot.tries[1]);
}

TEST_CASE("while a request pauses after a lost connection its place is not held", "[R20]") {
    Bot bot;
    bot.limiter.update(get, answer(1, 0, 1s));
    bot.pass(1s);
    bot.answers = {cut, 200};
    bot.spawn(get, {.first_backoff = 100s, .max_backoff = 100s});
    bot.pass(51ms);
    CHECK(bot.limiter.stats().in_flight == 0);
    CHECK(bot.limiter.stats().counters.lost == 1);
    bot.pass(3s);
    CHECK(bot.limiter.timeout_for(get) == 0s);
    bot.clock.run(bot.io);
    CHECK(bot.reply->status == 200);
}

TEST_CASE("the last transport error is thrown when no try had an answer", "[R20]") {
    Bot bot;
    bot.finish(get, {cut}, {.max_tries = 3});
    CHECK(bot.thrown() == "cut in try 3");
    CHECK(bot.tries.size() == 3);
    CHECK(bot.limiter.stats().counters.lost == 3);
}

TEST_CASE("what the last try ended with counts, not what an earlier one did", "[R20]") {
    Bot reply_last;
    reply_last.finish(get, {cut, 503, 503}, {.max_tries = 3});
    CHECK(reply_last.reply->status == 503);
    Bot cut_last;
    cut_last.finish(get, {503, cut}, {.max_tries = 2});
    CHECK(cut_last.thrown() == "cut in try 2");
}

TEST_CASE("the total time is never exceeded", "[R20][R21]") {
    SECTION("by a try that hangs") {
        Bot bot;
        auto hang = [&](Ticket&) -> asio::awaitable<Response> {
            co_await bot.clock.sleep(1h);
            co_return Response();
        };
        std::exception_ptr failure;
        asio::co_spawn(
            bot.io,
            [&]() -> asio::awaitable<void> {
                (void)co_await execute(bot.limiter, get, hang, {.total = 3s});
            },
            [&](std::exception_ptr e) {
                failure = e;
                bot.ended = bot.clock.now() - bot.start;
            });
        bot.clock.run(bot.io);
        CHECK(bot.ended == Duration(3s));
        bot.failure = failure;
        CHECK(bot.code() == asio::error::timed_out);
    }
    SECTION("by pauses, which are not begun when they would last longer") {
        Bot bot;
        bot.finish(get, {503}, {.total = 2s, .max_tries = 99});
        CHECK(bot.reply->status == 503);
        CHECK(*bot.ended <= 2s);
        CHECK(bot.tries.size() >= 2);
    }
    SECTION("by the wait for a ticket, which fails at once with the wait") {
        Bot bot;
        bot.limiter.update(get, answer(1, 0, 60s));
        bot.finish(get, {200}, {.total = 5s});
        CHECK(bot.code() == errc::wait_too_long);
        CHECK(*bot.ended == 0s);
        CHECK(bot.tries.empty());
    }
    SECTION("by the wait after a 429, whose reply is returned at once") {
        Bot bot;
        bot.finish(get, {429, 200}, {.total = 2s});
        CHECK(bot.reply->status == 429);
        CHECK(*bot.ended == 50ms);
    }
    SECTION("by a wait that nobody could foresee") {
        Bot bot;
        Ticket probe = *bot.limiter.try_acquire(get);
        bot.finish(get, {200}, {.total = 2s});
        CHECK(bot.failure);
        CHECK(*bot.ended == 2s);
        probe.cancel();
    }
}

TEST_CASE("without any time nothing is sent", "[R20]") {
    const Duration total = GENERATE(Duration(0), Duration(-1s), Duration::min());
    Bot bot;
    bot.finish(get, {200}, {.total = total});
    CHECK(bot.code() == asio::error::timed_out);
    CHECK(*bot.ended == 0s);
    CHECK(bot.tries.empty());
    CHECK(bot.limiter.stats().counters.granted == 0);
}

TEST_CASE("a total time beyond the end of time is none", "[R20]") {
    Bot bot;
    bot.finish(get, {503, 200}, {.total = Duration::max()});
    CHECK(bot.reply->status == 200);
}

TEST_CASE("max_wait bounds the first wait for a ticket", "[R21]") {
    Bot bot;
    bot.limiter.update(get, answer(1, 0, 60s));
    bot.finish(get, {200}, {.max_wait = 5s});
    CHECK(bot.code() == errc::wait_too_long);
}

TEST_CASE("a retry whose wait exceeds the limiter's bound returns the reply that asked for it",
          "[R21]") {
    Bot bot({.max_wait = 1s});
    bot.finish(get, {429, 200});
    CHECK(bot.reply->status == 429);
}

TEST_CASE("a 401 is returned, and what is executed later fails before it is sent", "[R19]") {
    Bot bot;
    bot.finish(get, {401});
    CHECK(bot.reply->status == 401);
    bot.finish(get, {200});
    CHECK(bot.code() == errc::unauthorized);
    CHECK(bot.tries.size() == 1);
}

TEST_CASE("execute can be cancelled at every point, and no place is left behind", "[R20][R21]") {
    const auto total = GENERATE(std::optional<Duration>(), std::optional<Duration>(1h));
    const auto kind = GENERATE(asio::cancellation_type::terminal, asio::cancellation_type::total);
    int points = 0;
    for (int handlers = 0; handlers < 100; ++handlers) {
        CAPTURE(handlers);
        Bot bot;
        bot.answers = {503, 429, cut, 200};
        bot.spawn(get, {.total = total});
        for (int i = 0; i < handlers && !bot.ended; ++i)
            bot.clock.run_one(bot.io);
        const bool done = bot.ended.has_value();
        bot.signals.front().emit(kind);
        const Duration at = bot.clock.now() - bot.start;
        bot.turn();
        REQUIRE(bot.ended);
        if (!done) CHECK(*bot.ended == at);
        // The one whose result was on its way already has it.
        CHECK((bot.code() == asio::error::operation_aborted || bot.reply->status == 200));
        CHECK(bot.limiter.stats().in_flight == 0);
        CHECK(bot.limiter.stats().queued == 0);
        bot.clock.run(bot.io);
        Ending next;
        bot.limiter.async_acquire(get, into(next));
        bot.clock.run(bot.io);
        CHECK(next.granted());
        if (done) break;
        points += bot.failure ? 1 : 0;
    }
    CHECK(points > 10);
}

TEST_CASE("a client's own type of reply needs a ResponseOf and nothing else") {
    Bot bot;
    int tries = 0;
    auto foreign = [&](Ticket&) -> asio::awaitable<ForeignReply> {
        co_return ForeignReply{++tries == 1 ? 502 : 200, std::make_unique<std::string>("hello")};
    };
    ForeignReply got;
    asio::co_spawn(
        bot.io,
        [&]() -> asio::awaitable<void> { got = co_await execute(bot.limiter, get, foreign); },
        [](std::exception_ptr e) {
            if (e) std::rethrow_exception(e);
        });
    bot.clock.run(bot.io);
    CHECK(got.code == 200);
    CHECK(*got.text == "hello");
    CHECK(tries == 2);
}

TEST_CASE("a temporary to send with will do when it is trivially destructible") {
    struct Sender {
        asio::awaitable<Response> operator()(Ticket&) { co_return Response{.status = 200}; }
    };
    Bot bot;
    int status = 0;
    asio::co_spawn(
        bot.io,
        [&]() -> asio::awaitable<void> {
            status = (co_await execute(bot.limiter, get, Sender())).status;
        },
        [](std::exception_ptr e) {
            if (e) std::rethrow_exception(e);
        });
    bot.clock.run(bot.io);
    CHECK(status == 200);
}
