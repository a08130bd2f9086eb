// SPDX-License-Identifier: MIT
//
// What the limiter promises whoever calls it: who goes first, who is refused and with what, how it
// closes, and what it tells about itself. Virtual time, callbacks and no network.
#include <sluice/bucket_manager.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace {

using namespace sluice::tests;
using sluice::errc;
using sluice::Options;
using sluice::Refusal;
using sluice::Route;
using sluice::Scope;
using sluice::Ticket;

const error_code aborted = asio::error::operation_aborted;

/// Waiters of one bot, by the order in which they were made.
class Queue {
public:
    explicit Queue(VirtualBot& bot) : bot_(bot) {}
    Ending& add(const Route& route, sluice::AcquireOptions options = {}) {
        Ending& ending = endings_.emplace_back();
        const int number = static_cast<int>(endings_.size());
        bot_.limiter.async_acquire(route, options,
                                   [this, number, &ending](error_code code, Ticket ticket) {
                                       into(ending)(code, std::move(ticket));
                                       order_.push_back(number);
                                   });
        return ending;
    }
    [[nodiscard]] const std::vector<int>& order() const { return order_; }

private:
    VirtualBot& bot_;
    std::deque<Ending> endings_;
    std::vector<int> order_;
};

/// Shows what it is told to, also an earlier time than before.
struct SetClock {
    using duration = std::chrono::nanoseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<SetClock>;
    static time_point now() { return time_point(shown); }
    inline static duration shown{};
};

/// Between what a window tells and what a careful client adds to it.
bool about(std::optional<Duration> wait, Duration told) {
    return wait && *wait >= told && *wait <= told + 10ms;
}

} // namespace

TEST_CASE("try_acquire takes a ticket that can be had now, and otherwise none") {
    VirtualBot bot;
    const Route route = create_message(1);
    auto first = bot.limiter.try_acquire(route);
    REQUIRE(first);
    CHECK(*first);
    CHECK_FALSE(bot.limiter.try_acquire(route)); // the first answer is still to come
    first->update(answer(3, 2, 5s));
    auto second = bot.limiter.try_acquire(route);
    auto third = bot.limiter.try_acquire(route);
    CHECK(third);
    CHECK_FALSE(bot.limiter.try_acquire(route));
}

TEST_CASE("a limiter of one thread needs no lock") {
    asio::io_context io;
    Clock clock;
    sluice::BasicBucketManager<Clock, sluice::NullMutex> limiter(io, {}, clock);
    std::vector<int> order;
    for (int i = 0; i < 3; ++i)
        limiter.async_acquire(create_message(1), [&order, i](error_code code, Ticket ticket) {
            CHECK_FALSE(code);
            order.push_back(i);
            ticket.update(answer(1, 0, 5s));
        });
    clock.run(io);
    CHECK(order == std::vector<int>{0, 1, 2});
}

TEST_CASE("try_acquire overtakes neither those who wait nor those granted who have not run") {
    VirtualBot bot;
    Queue queue(bot);
    const Route route = create_message(1);
    bot.limiter.update(route, answer(2, 0, 5s));
    Ending& waiting = queue.add(route);
    CHECK_FALSE(bot.limiter.try_acquire(route));
    bot.clock.advance(6s);
    // The window has room for two now. The one who waits is granted by this look, but has not run.
    CHECK_FALSE(bot.limiter.try_acquire(route));
    CHECK(waiting.times == 0);
    bot.turn();
    CHECK(waiting.granted());
    CHECK(bot.limiter.try_acquire(route));
}

TEST_CASE("acquire does not suspend when a ticket can be had now, and overtakes nobody") {
    VirtualBot bot;
    const Route route = create_message(1);
    bot.limiter.update(route, answer(2, 0, 5s));
    std::vector<int> order;
    auto take = [&](int number) -> asio::awaitable<void> {
        Ticket ticket = co_await bot.limiter.acquire(route);
        order.push_back(number);
        ticket.cancel();
    };
    asio::co_spawn(bot.io, take(1), asio::detached);
    bot.turn();
    bot.clock.advance(6s);
    bot.look();
    // Spawned when the first has been granted and not run; there is room for both.
    asio::co_spawn(bot.io, take(2), asio::detached);
    bot.turn();
    CHECK(order == std::vector{1, 2});
    const auto before = bot.limiter.stats().counters.granted;
    asio::co_spawn(bot.io, take(3), asio::detached);
    CHECK(bot.clock.run_one(bot.io) == 1); // which starts it, and needs nothing more
    CHECK(order.back() == 3);
    CHECK(bot.limiter.stats().counters.granted == before + 1);
}

TEST_CASE("routes of one bucket are served in order of arrival over all of them") {
    VirtualBot bot;
    Queue queue(bot);
    const Route one = create_message(1);
    const Route other = get_message(1, 5);
    bot.limiter.update(one, answer(2, 1, 5s));
    bot.limiter.update(other, answer(2, 0, 5s)); // the same hash and channel: one counter
    for (const Route& route : {one, other, other, one})
        queue.add(route);
    bot.pass(6s);
    CHECK(queue.order() == std::vector{1, 2});
}

TEST_CASE("those who wait for the global limit are served in order of arrival over all buckets") {
    VirtualBot bot(Options{.global = {.limit = 2, .period = 1s}});
    Queue queue(bot);
    auto first = bot.limiter.try_acquire(create_message(1));
    auto second = bot.limiter.try_acquire(create_message(2));
    for (const int channel : {5, 3, 4, 3})
        queue.add(create_message(channel));
    const Ending& exempt = queue.add(callback(1, "token"));
    bot.turn();
    CHECK(exempt.granted()); // interaction endpoints are not bound to the global limit
    first->update({.status = 200});
    second->update({.status = 200});
    bot.pass(1s);
    CHECK(queue.order() == std::vector{5, 1, 2});
}

TEST_CASE("a wait that is known to be longer than max_wait is refused at once, with the wait") {
    VirtualBot bot(Options{.max_wait = 2s});
    const Route route = create_message(1);
    bot.limiter.update(route, answer(1, 0, 5s));
    Queue queue(bot);
    const Ending& by_default = queue.add(route);
    const Ending& by_call = queue.add(route, {.max_wait = 4s});
    const Ending& patient = queue.add(route, {.max_wait = 6s});
    bot.turn();
    for (const Ending* refused : {&by_default, &by_call}) {
        CHECK(refused->failed(errc::wait_too_long));
        const Refusal refusal = refused->ticket.refusal();
        CHECK(about(refusal.retry_after, 5s));
        CHECK(refusal.scope == Scope::user);
        CHECK(refusal.bucket == sluice::BucketHash::parse("abc"));
    }
    CHECK(patient.times == 0);
    bot.pass(6s);
    CHECK(patient.granted());
}

TEST_CASE("acquire throws what async_acquire hands over") {
    VirtualBot bot;
    bot.limiter.update(create_message(1), answer(1, 0, 5s));
    std::optional<sluice::Error> thrown;
    auto ask = [&]() -> asio::awaitable<void> {
        try {
            (void)co_await bot.limiter.acquire(create_message(1), {.max_wait = 2s});
        } catch (const sluice::Error& error) {
            thrown = error;
        }
    };
    asio::co_spawn(bot.io, ask(), asio::detached);
    bot.turn();
    REQUIRE(thrown);
    CHECK(thrown->code() == errc::wait_too_long);
    CHECK(about(thrown->retry_after(), 5s));
    CHECK(thrown->scope() == Scope::user);
    CHECK(thrown->bucket() == sluice::BucketHash::parse("abc"));
}

TEST_CASE("the requests ahead count towards the predicted wait") {
    VirtualBot bot;
    Queue queue(bot);
    const Route route = create_message(1);
    bot.limiter.update(route, answer(1, 0, 5s));
    queue.add(route);
    queue.add(route);
    const Ending& third = queue.add(route, {.max_wait = 12s});
    bot.turn();
    REQUIRE(third.failed(errc::wait_too_long));
    CHECK(about(third.ticket.refusal().retry_after, 15s));
}

TEST_CASE("a refusal names the global limit when that is what is in the way") {
    VirtualBot bot(Options{.global = {.limit = 1, .period = 1s}});
    Queue queue(bot);
    bot.limiter.try_acquire(create_message(1))->update({.status = 200});
    const Ending& refused = queue.add(create_message(2), {.max_wait = 500ms});
    bot.turn();
    REQUIRE(refused.failed(errc::wait_too_long));
    CHECK(refused.ticket.refusal().scope == Scope::global);
    CHECK(about(refused.ticket.refusal().retry_after, 1s));
    CHECK_FALSE(refused.ticket.refusal().bucket);
}

TEST_CASE("a wait that nobody can know does not refuse, and ends when its time is up") {
    VirtualBot bot;
    Queue queue(bot);
    const Route route = create_message(1);
    auto probe = bot.limiter.try_acquire(route);
    const Ending& first = queue.add(route, {.max_wait = 2s});
    const Ending& second = queue.add(route, {.max_wait = 1s});
    const Ending& patient = queue.add(route);
    bot.pass(999ms);
    CHECK(first.times + second.times == 0);
    bot.pass(1ms);
    REQUIRE(second.failed(errc::wait_too_long));
    CHECK_FALSE(second.ticket.refusal().retry_after); // the answer is still under way
    bot.pass(1s);
    CHECK(first.failed(errc::wait_too_long));
    CHECK(bot.limiter.stats().queued == 1);
    probe->update(answer(5, 4, 5s));
    bot.turn();
    CHECK(patient.granted());
}

TEST_CASE("a waiter leaves at once when its lane is blocked for longer than it may wait") {
    VirtualBot bot;
    Queue queue(bot);
    const Route route = create_message(1);
    auto probe = bot.limiter.try_acquire(route);
    const Ending& hasty = queue.add(route, {.max_wait = 5s});
    const Ending& patient = queue.add(route, {.max_wait = 20s});
    probe->update(shared_429(10s));
    bot.turn();
    REQUIRE(hasty.failed(errc::wait_too_long));
    CHECK(about(hasty.ticket.refusal().retry_after, 10s));
    bot.pass(11s);
    CHECK(patient.granted());
}

TEST_CASE("max_wait 0 takes what is free and refuses every wait") {
    VirtualBot bot;
    Queue queue(bot);
    const Route route = create_message(1);
    Ending& probe = queue.add(route, {.max_wait = 0s});
    const Ending& unknown = queue.add(route, {.max_wait = 0s});
    bot.turn();
    REQUIRE(probe.granted());
    CHECK(unknown.failed(errc::wait_too_long));
    probe.ticket.update(answer(1, 0, 5s));
    const Ending& known = queue.add(route, {.max_wait = 0s});
    bot.turn();
    CHECK(known.failed(errc::wait_too_long));
}

TEST_CASE("a bound beyond the end of time is no bound") {
    VirtualBot bot;
    Queue queue(bot);
    bot.limiter.update(create_message(1), answer(1, 0, 5s));
    const Ending& patient = queue.add(create_message(1), {.max_wait = Duration::max()});
    bot.pass(6s);
    CHECK(patient.granted());
}

TEST_CASE("a route made from bad arguments is refused everywhere and leaves no trace") {
    VirtualBot bot;
    Queue queue(bot);
    for (const Route& route : {Route(), create_message(-1), create_message("")}) {
        const Ending& refused = queue.add(route);
        bot.turn();
        CHECK(refused.failed(errc::invalid_route));
        CHECK_FALSE(bot.limiter.try_acquire(route));
        CHECK_FALSE(bot.limiter.timeout_for(route));
        CHECK_FALSE(bot.limiter.find(route));
        CHECK_FALSE(bot.limiter.update(route, user_429(1s)).retry);
        CHECK_FALSE(bot.limiter.bucket(route).try_acquire());
    }
    CHECK(bot.limiter.stats().lanes == 0);
}

TEST_CASE("closing ends those who wait and all later calls, and leaves tickets usable") {
    VirtualBot bot;
    Queue queue(bot);
    const Route route = create_message(1);
    auto ticket = bot.limiter.try_acquire(route);
    Ending& granted = queue.add(create_message(2));
    const Ending& waiting = queue.add(route);
    bot.limiter.close();
    bot.limiter.close();
    const Ending& later = queue.add(create_message(3));
    CHECK(waiting.times + later.times == 0);
    bot.turn();
    CHECK(granted.granted()); // before the end, though it ran after it
    CHECK(waiting.failed(errc::closed));
    CHECK(later.failed(errc::closed));
    CHECK(queue.order() == std::vector{1, 2, 3});
    CHECK_FALSE(bot.limiter.try_acquire(create_message(4)));
    CHECK(ticket->update(answer(5, 4, 5s)).kind == sluice::AnswerKind::success);
    granted.ticket.cancel();
    CHECK(bot.limiter.stats().in_flight == 0);
    CHECK(bot.limiter.find(route)->remaining == 4);
}

TEST_CASE("destroying the limiter closes it") {
    asio::io_context io;
    Clock clock;
    Ending ending;
    {
        Manager limiter(io, {}, clock);
        limiter.update(create_message(1), answer(1, 0, 5s));
        limiter.async_acquire(create_message(1), into(ending));
    }
    clock.run(io);
    CHECK(ending.failed(errc::closed));
}

TEST_CASE("cancel_all ends those who wait now, tells how many, and nobody later") {
    VirtualBot bot;
    Queue queue(bot);
    bot.limiter.update(create_message(1), answer(1, 0, 5s));
    bot.limiter.update(create_message(2), answer(1, 0, 5s));
    for (int i = 0; i < 6; ++i)
        queue.add(create_message(1 + i % 2));
    const Ending& granted = queue.add(create_message(3));
    CHECK(bot.limiter.cancel_all() == 6);
    CHECK(bot.limiter.cancel_all() == 0);
    bot.turn();
    CHECK(queue.order().size() == 7);
    CHECK(granted.granted());
    const Ending& later = queue.add(create_message(1));
    bot.pass(6s);
    CHECK(later.granted());
}

TEST_CASE("cancel_all loses no place when a window has rolled that nobody has looked at") {
    VirtualBot bot;
    Queue queue(bot);
    const Route one = callback(7, "token");
    const Route other = one.sublimit("other"); // a lane of its own in the same bucket
    bot.limiter.update(one, answer(2, 0, 5s));
    bot.limiter.update(other, answer(2, 0, 5s));
    const Ending& first = queue.add(one);
    const Ending& second = queue.add(other);
    bot.clock.advance(6s);
    bot.limiter.cancel_all();
    bot.turn();
    CHECK(first.times + second.times == 2);
    for (const Ending* ending : {&first, &second})
        CHECK((ending->granted() || ending->failed(aborted)));
    CHECK(bot.limiter.stats().in_flight ==
          std::size_t{first.granted()} + std::size_t{second.granted()});
}

TEST_CASE("find tells what is known of a bucket, and nothing of one that was never used") {
    VirtualBot bot;
    const Route route = create_message(1);
    CHECK_FALSE(bot.limiter.find(route));
    auto ticket = bot.limiter.try_acquire(route);
    auto unknown = bot.limiter.find(route);
    REQUIRE(unknown);
    CHECK_FALSE(unknown->hash);
    CHECK_FALSE(unknown->limit);
    CHECK(unknown->in_flight == 1);
    Ending waiting;
    bot.limiter.async_acquire(route, into(waiting));
    CHECK(bot.limiter.find(route)->queued == 1);
    bot.pass(60ms);
    ticket->update(answer(5, 3, 5s));
    bot.turn();
    const auto known = bot.limiter.find(route);
    CHECK(known->hash == sluice::BucketHash::parse("abc"));
    CHECK(known->limit == 5);
    CHECK(known->remaining == 2); // less the one that has just been granted
    CHECK(about(known->reset_after, 5s));
    CHECK(known->in_flight == 1);
    CHECK(known->queued == 0);
}

TEST_CASE("timeout_for is the wait behind all who are queued, and empty while a probe is out") {
    VirtualBot bot;
    Queue queue(bot);
    const Route route = create_message(1);
    CHECK(bot.limiter.timeout_for(route) == 0ns);
    auto probe = bot.limiter.try_acquire(route);
    CHECK_FALSE(bot.limiter.timeout_for(route));
    probe->update(answer(2, 0, 5s));
    CHECK(about(bot.limiter.timeout_for(route), 5s));
    queue.add(route);
    queue.add(route);
    CHECK(about(bot.limiter.timeout_for(route), 10s));
    bot.limiter.update(create_message(2), global_429(7s));
    CHECK(about(bot.limiter.timeout_for(create_message(3)), 7s));
    CHECK(bot.limiter.timeout_for(callback(1, "token")) == 0ns);
}

TEST_CASE("when the clock runs backwards time stands still") {
    asio::io_context io;
    sluice::BasicBucketManager<SetClock> limiter(io);
    const Route route = create_message(1);
    SetClock::shown = 100s;
    auto ticket = limiter.try_acquire(route);
    REQUIRE(ticket);
    ticket->update(answer(1, 0, 5s));
    CHECK(about(limiter.timeout_for(route), 5s));
    SetClock::shown = 70s;
    CHECK_FALSE(limiter.try_acquire(route));
    CHECK(about(limiter.timeout_for(route), 5s));
    SetClock::shown = 106s;
    CHECK(limiter.try_acquire(route));
}

TEST_CASE("an answer without a ticket teaches the limiter as much as one with") {
    VirtualBot bot;
    const Route route = create_message(1);
    CHECK(bot.limiter.update(route, answer(3, 1, 5s)).kind == sluice::AnswerKind::success);
    auto only = bot.limiter.try_acquire(route);
    CHECK(only);
    CHECK_FALSE(bot.limiter.try_acquire(route));
    const auto verdict = bot.limiter.update(create_message(2), user_429(3s));
    CHECK(verdict.kind == sluice::AnswerKind::user_limit);
    CHECK(verdict.retry);
    CHECK(about(verdict.after, 3s));
}

TEST_CASE("collect forgets buckets that are idle and full, and no others") {
    VirtualBot bot;
    bot.limiter.try_acquire(create_message(1))->update(answer(1, 0, 5s, "spent"));
    auto held = bot.limiter.try_acquire(create_message(2));
    bot.limiter.try_acquire(create_message(3))->cancel();
    CHECK(bot.limiter.stats().buckets == 3);
    CHECK(bot.limiter.collect(0s) == 1);
    CHECK_FALSE(bot.limiter.find(create_message(3)));
    bot.pass(6s);
    CHECK(bot.limiter.collect(60s) == 0);
    CHECK(bot.limiter.collect(1s) == 1);
    CHECK_FALSE(bot.limiter.find(create_message(1)));
    CHECK(bot.limiter.find(create_message(2)));
    CHECK(bot.limiter.stats().counters.evicted == 2);
}

TEST_CASE("stats count what was granted, answered, lost and cancelled, and what is held") {
    VirtualBot bot;
    Queue queue(bot);
    bot.limiter.try_acquire(create_message(1))->update(answer(5, 4, 5s));
    bot.limiter.try_acquire(create_message(2))->cancel();
    { const auto lost = bot.limiter.try_acquire(create_message(3)); }
    auto held = bot.limiter.try_acquire(create_message(4));
    queue.add(create_message(4));
    queue.add(create_message(4), {.max_wait = 1s});
    bot.pass(1s);
    const sluice::Stats stats = bot.limiter.stats();
    CHECK(stats.counters.granted == 4);
    CHECK(stats.counters.answered == 1);
    CHECK(stats.counters.cancelled == 1);
    CHECK(stats.counters.lost == 1);
    CHECK(stats.counters.refused_waits == 1);
    CHECK(stats.queued == 1);
    CHECK(stats.in_flight == 1);
    CHECK(stats.buckets == stats.lanes);
}

TEST_CASE("a raised global limit lets those go who wait for it") {
    VirtualBot bot(Options{.global = {.limit = 1, .period = 1s}});
    Queue queue(bot);
    for (int channel = 1; channel <= 4; ++channel)
        queue.add(create_message(channel));
    bot.turn();
    CHECK(queue.order() == std::vector{1});
    bot.limiter.set_global({.limit = 3, .period = 1s});
    bot.turn();
    CHECK(queue.order() == std::vector{1, 2, 3});
    bot.limiter.set_global({.limit = 0});
    bot.turn();
    CHECK(queue.order() == std::vector{1, 2, 3, 4});
}
