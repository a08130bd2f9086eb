// SPDX-License-Identifier: MIT
//
// Tickets: what each call does in each state, what an answer means for its request, and how a
// refused request gets its turn again.
#include <sluice/ticket.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace sluice::tests;
using sluice::AnswerKind;
using sluice::errc;
using sluice::Options;
using sluice::Response;
using sluice::Route;
using sluice::Ticket;
using sluice::Verdict;

const error_code aborted = asio::error::operation_aborted;
const Route route = create_message(1);

static_assert(!std::is_copy_constructible_v<Ticket>);
static_assert(std::is_nothrow_move_constructible_v<Ticket>);
static_assert(std::is_nothrow_move_assignable_v<Ticket>);

/// What a reacquire ended with.
struct Again {
    int times = 0;
    error_code code;

    auto handler() {
        return [this](error_code ended) {
            ++times;
            code = ended;
        };
    }
    [[nodiscard]] bool granted() const { return times == 1 && !code; }
    [[nodiscard]] bool failed(error_code expected) const { return times == 1 && code == expected; }
};

Ticket take(VirtualBot& bot) {
    auto ticket = bot.limiter.try_acquire(route);
    REQUIRE(ticket);
    return std::move(*ticket);
}

/// All tickets of a window of this limit in 5 s, in a bucket that is known.
std::deque<Ticket> take_all(VirtualBot& bot, std::int64_t limit) {
    bot.limiter.update(route, answer(limit, 0, 5s));
    bot.pass(5100ms);
    std::deque<Ticket> tickets;
    while (auto ticket = bot.limiter.try_acquire(route))
        tickets.push_back(std::move(*ticket));
    return tickets;
}

/// An allocator that has no memory.
template <class T = void>
struct Exhausted {
    using value_type = T;

    Exhausted() = default;
    template <class U>
    Exhausted(const Exhausted<U>&) noexcept {}

    [[nodiscard]] T* allocate(std::size_t) { throw std::bad_alloc(); }
    void deallocate(T*, std::size_t) noexcept {}
    friend bool operator==(const Exhausted&, const Exhausted&) noexcept { return true; }
};

void accepts_every_call(VirtualBot& bot, Ticket& ticket) {
    CHECK_FALSE(ticket);
    const auto held = bot.limiter.stats().in_flight;
    ticket.sent();
    ticket.cancel();
    CHECK(ticket.update(answer(5, 4, 5s)).kind == AnswerKind::success);
    CHECK_FALSE(ticket.update(answer(5, 3, 5s)).retry);
    CHECK(ticket.refusal() == sluice::Refusal());
    CHECK_FALSE(ticket);
    CHECK(bot.limiter.stats().in_flight == held);
}

Response status(int code) {
    return {.status = code};
}

} // namespace

TEST_CASE("an empty ticket accepts every call, and reacquire tells that it has no limiter") {
    VirtualBot bot;
    Ticket ticket;
    accepts_every_call(bot, ticket);
    Again again;
    ticket.async_reacquire(asio::bind_executor(bot.io, again.handler()));
    CHECK(again.times == 0);
    bot.turn();
    CHECK(again.failed(errc::closed));
    error_code thrown;
    auto wait = [&]() -> asio::awaitable<void> {
        try {
            co_await ticket.reacquire();
        } catch (const sluice::Error& error) {
            thrown = error.code();
        }
    };
    asio::co_spawn(bot.io, wait(), asio::detached);
    bot.turn();
    CHECK(thrown == errc::closed);
}

TEST_CASE("a ticket that was moved from is empty, and the other has its place") {
    VirtualBot bot;
    Ticket from = take(bot);
    Ticket to = std::move(from);
    accepts_every_call(bot, from); // NOLINT: what a moved-from ticket does is the point
    CHECK(to);
    CHECK(bot.limiter.stats().in_flight == 1);
    from = std::move(to);
    CHECK(from);
    from = Ticket();
    CHECK(bot.limiter.stats().counters.lost == 1);
    CHECK(bot.limiter.stats().in_flight == 0);
}

TEST_CASE("a settled or cancelled ticket accepts every call") {
    VirtualBot bot;
    Ticket settled = take(bot);
    settled.update(answer(5, 4, 5s));
    accepts_every_call(bot, settled);
    Ticket cancelled = take(bot);
    cancelled.cancel();
    accepts_every_call(bot, cancelled);
}

TEST_CASE("a second update, and one after cancel, count as an answer without a ticket") {
    VirtualBot bot;
    Ticket ticket = take(bot);
    SECTION("second update") {
        ticket.update(answer(5, 4, 5s));
    }
    SECTION("after cancel") {
        ticket.cancel();
    }
    const auto answered = bot.limiter.stats().counters.answered;
    const Verdict verdict = ticket.update(user_429(5s));
    CHECK(verdict.kind == AnswerKind::user_limit);
    CHECK(verdict.retry);
    CHECK(verdict.after >= 5s);
    CHECK(bot.limiter.stats().counters.answered == answered + 1);
    CHECK_FALSE(bot.limiter.try_acquire(route));
}

TEST_CASE("cancel gives the place back at once, and the slot of the global limit with it") {
    VirtualBot bot(Options{.global = {.limit = 1, .period = 1s}});
    Ticket ticket = take(bot);
    CHECK_FALSE(bot.limiter.try_acquire(create_message(2)));
    Ending waiting;
    bot.limiter.async_acquire(route, into(waiting));
    ticket.cancel();
    bot.turn();
    CHECK(waiting.granted());
}

TEST_CASE("a dropped ticket keeps its place as long as it may count at Discord, and no longer") {
    VirtualBot bot;
    auto tickets = take_all(bot, 2);
    REQUIRE(tickets.size() == 2);
    bot.pass(1s);
    tickets.pop_back();
    CHECK(bot.limiter.stats().in_flight == 1);
    CHECK_FALSE(bot.limiter.try_acquire(route));
    bot.pass(4900ms);
    CHECK(bot.limiter.find(route)->in_flight == 2);
    bot.pass(5200ms); // what one answer named as the period may have been less than half of it
    CHECK(bot.limiter.find(route)->in_flight == 1);
    CHECK(bot.limiter.try_acquire(route));
}

TEST_CASE("a dropped ticket's place comes back with the answer to a later request") {
    VirtualBot bot;
    auto tickets = take_all(bot, 3);
    REQUIRE(tickets.size() == 3);
    tickets.pop_front();
    bot.pass(10ms);
    tickets.front().cancel();
    Ticket later = take(bot);
    bot.pass(10ms);
    CHECK(bot.limiter.find(route)->in_flight == 3);
    later.update(answer(3, 1, 4s));
    CHECK(bot.limiter.find(route)->in_flight == 1);
}

TEST_CASE("sent marks where the round trip begins") {
    VirtualBot bot;
    Ticket ticket = take(bot);
    bot.pass(700ms); // for a place in the client's own queue, say
    ticket.sent(sluice::Connection::reused);
    bot.pass(60ms);
    ticket.update(answer(5, 4, 5s));
    CHECK(bot.limiter.find(route)->latency == 60ms);
}

TEST_CASE("whether a request may be repeated depends on the status, and on the method after some") {
    VirtualBot bot;
    const auto retry = [&](const Route& of, int code) {
        return bot.limiter.update(of, status(code)).retry;
    };
    const Route post = create_message(1);
    const Route get = get_message(1, 2);
    const Route put = sluice::route<"PUT /channels/{channel.id}/pins/{message.id}">(1, 2);
    const Route erase = sluice::route<"DELETE /channels/{channel.id}/pins/{message.id}">(1, 2);
    const Route patch = sluice::route<"PATCH /channels/{channel.id}">(1);
    for (const Route& of : {post, get, put, erase, patch}) {
        CAPTURE(of.text());
        const bool idempotent = of != post && of != patch;
        for (const int code : {429, 502, 503})
            CHECK(retry(of, code));
        for (const int code : {500, 504})
            CHECK(retry(of, code) == idempotent);
        for (const int code : {0, 200, 204, 304, 400, 401, 403, 404, 501, 505})
            CHECK_FALSE(retry(of, code));
    }
}

TEST_CASE("a verdict tells the kind of answer and what reacquire will wait") {
    VirtualBot bot;
    Ticket ticket = take(bot);
    Verdict verdict = ticket.update(user_429(3s));
    CHECK(verdict.kind == AnswerKind::user_limit);
    CHECK(verdict.retry);
    Again again;
    ticket.async_reacquire(again.handler());
    bot.pass(verdict.after - 1ns);
    CHECK(again.times == 0);
    bot.pass(1ns);
    CHECK(again.granted());
    CHECK(ticket);

    verdict = ticket.update(shared_429(2s));
    CHECK(verdict.kind == AnswerKind::shared_limit);
    CHECK(verdict.after >= 2s);
    verdict = ticket.update(global_429(4s));
    CHECK(verdict.kind == AnswerKind::global_limit);
    CHECK(verdict.after >= 4s);
    Response cloudflare = status(429);
    cloudflare.from_discord = false;
    cloudflare.retry_after = 9s;
    verdict = ticket.update(cloudflare);
    CHECK(verdict.kind == AnswerKind::cloudflare);
    CHECK(verdict.after >= 9s);
    CHECK(ticket.update(status(503)).kind == AnswerKind::server_error);
    CHECK(ticket.update(answer(5, 4, 5s)).after == 0ns);
}

TEST_CASE("several refused requests keep their order, whichever was answered first") {
    VirtualBot bot;
    auto tickets = take_all(bot, 3);
    REQUIRE(tickets.size() == 3);
    Ending later;
    bot.limiter.async_acquire(route, into(later));
    std::vector<std::size_t> order;
    for (const std::size_t i : {2U, 0U, 1U}) {
        CHECK(tickets[i].update(user_429(2s, 3)).retry);
        tickets[i].async_reacquire([&, i](error_code code) {
            CHECK(!code);
            order.push_back(i);
            tickets[i].update(answer(3, 0, 2s));
        });
        bot.turn();
    }
    bot.pass(2100ms);
    CHECK(order == std::vector<std::size_t>{0, 1, 2});
    CHECK(later.times == 0); // the window is spent: it was behind all three
    bot.pass(5s);
    CHECK(later.granted());
}

TEST_CASE("a ticket that is granted twice loses the first place, and forgets none") {
    const bool in_coroutine = GENERATE(false, true);
    VirtualBot bot;
    Ticket ticket = take(bot);
    ticket.update(answer(5, 4, 5s));
    Again again;
    for (int i = 0; i < 2; ++i) {
        if (in_coroutine) {
            asio::co_spawn(bot.io, ticket.reacquire(), asio::detached);
        } else {
            ticket.async_reacquire(again.handler());
        }
    }
    bot.pass(10ms);
    CHECK(ticket);
    CHECK(bot.limiter.stats().in_flight == 1);
    CHECK(bot.limiter.stats().counters.lost == 1);
    ticket.update(answer(5, 2, 5s));
    CHECK(bot.limiter.stats().in_flight == 0);
}

TEST_CASE("reacquire of an unsettled ticket counts the first try as lost") {
    VirtualBot bot;
    Ticket ticket = take(bot);
    Again again;
    ticket.async_reacquire(again.handler());
    CHECK(bot.limiter.stats().counters.lost == 1);
    bot.pass(1100ms); // one period of a bucket that nobody knows
    CHECK(again.granted());
    CHECK(ticket);
    CHECK(bot.limiter.stats().in_flight == 1);
    ticket.update(answer(5, 4, 5s));
    CHECK(bot.limiter.find(route)->in_flight == 0);
}

TEST_CASE(
    "after an error a ticket holds nothing and may reacquire, still ahead of later requests") {
    VirtualBot bot(Options{.max_wait = 10s});
    Ticket ticket = take(bot);
    Ending later;
    Again first;
    Again second;
    bot.limiter.async_acquire(route, {.max_wait = 60s}, into(later));
    SECTION("cancelled") {
        ticket.update(user_429(5s, 1));
        asio::cancellation_signal signal;
        ticket.async_reacquire(asio::bind_cancellation_slot(signal.slot(), first.handler()));
        signal.emit(asio::cancellation_type::total);
        bot.turn();
        CHECK(first.failed(aborted));
    }
    SECTION("the wait is too long for the limiter's own bound") {
        ticket.update(user_429(20s, 1));
        ticket.async_reacquire(first.handler());
        bot.turn();
        CHECK(first.failed(errc::wait_too_long));
        CHECK(ticket.refusal().retry_after >= 20s);
        bot.pass(15s);
    }
    CHECK_FALSE(ticket);
    CHECK(bot.limiter.stats().in_flight == 0);
    ticket.async_reacquire(second.handler());
    bot.pass(5100ms);
    CHECK(second.granted());
    CHECK(later.times == 0);
    CHECK(ticket.refusal() == sluice::Refusal());
    ticket.update(answer(1, 0, 5s));
    bot.pass(5100ms);
    CHECK(later.granted());
}

TEST_CASE("after closing, reacquire fails with closed, each time") {
    VirtualBot bot;
    Ticket ticket = take(bot);
    ticket.update(user_429(5s));
    Again waiting;
    ticket.async_reacquire(waiting.handler());
    bot.limiter.close();
    bot.turn();
    CHECK(waiting.failed(errc::closed));
    Again again;
    ticket.async_reacquire(again.handler());
    bot.turn();
    CHECK(again.failed(errc::closed));
}

TEST_CASE("a coroutine tries again until its request is accepted") {
    VirtualBot bot;
    std::vector<Duration> tries;
    auto send = [&]() -> asio::awaitable<void> {
        const auto start = bot.clock.now();
        Ticket ticket = co_await bot.limiter.acquire(route);
        for (;;) {
            tries.push_back(bot.clock.now() - start);
            const bool refused = tries.size() < 3;
            const Verdict verdict = ticket.update(refused ? user_429(1s) : answer(5, 4, 5s));
            if (!verdict.retry) co_return;
            co_await ticket.reacquire();
        }
    };
    asio::co_spawn(bot.io, send(), asio::detached);
    bot.clock.run(bot.io);
    REQUIRE(tries.size() == 3);
    CHECK(tries[1] >= 1s);
    CHECK(tries[2] >= 2s);
    CHECK(tries[2] <= 2100ms);
}

TEST_CASE("tickets outlive the limiter and its context") {
    auto bot = std::make_unique<VirtualBot>();
    Ticket settled = take(*bot);
    settled.update(answer(5, 4, 5s));
    Ticket open = take(*bot);
    Ticket dropped = take(*bot);
    Ticket cancelled = take(*bot);
    bot.reset();
    CHECK(open);
    open.sent();
    CHECK(open.update(user_429(5s)).retry);
    CHECK(open.update(answer(5, 4, 5s)).kind == AnswerKind::success);
    CHECK(settled.update(answer(5, 4, 5s)).kind == AnswerKind::success);
    cancelled.cancel();
    asio::io_context other;
    Again again;
    open.async_reacquire(asio::bind_executor(other, again.handler()));
    other.run();
    CHECK(again.failed(errc::closed));
}

TEST_CASE("a ticket emptied while it reacquires gets its turn all the same") {
    VirtualBot bot;
    Ticket ticket = take(bot);
    ticket.update(user_429(1s));
    Again again;
    ticket.async_reacquire(again.handler());
    ticket = Ticket();
    bot.pass(2s);
    CHECK(again.granted());
    CHECK(ticket);
    ticket.update(answer(5, 4, 5s));
    CHECK(bot.limiter.stats().in_flight == 0);
}

TEST_CASE("a reacquire that fails as it begins, or is cancelled then, keeps no lane") {
    asio::cancellation_signal signal;
    Options options;
    options.observer = [&](const sluice::core::Event& event) {
        if (event.kind == sluice::core::EventKind::granted)
            signal.emit(asio::cancellation_type::terminal);
    };
    VirtualBot bot(options);
    Ticket ticket = take(bot);
    Again again;
    const auto wait = [&]() -> asio::awaitable<void> { co_await ticket.reacquire(); };
    SECTION("there is no memory for it") {
        CHECK_THROWS_AS(
            ticket.async_reacquire(asio::bind_allocator(Exhausted<>(), again.handler())),
            std::bad_alloc);
        CHECK(again.times == 0);
    }
    SECTION("an observer ends it when its loss lets another one go") {
        bot.limiter.update(create_message(2), answer(5, 0, 5s, "other"));
        bool granted = false;
        bot.limiter.async_acquire(create_message(2),
                                  [&](error_code code, Ticket) { granted = !code; });
        bot.clock.advance(6s); // nobody has looked at it since
        asio::co_spawn(bot.io, wait(), asio::bind_cancellation_slot(signal.slot(), asio::detached));
        bot.io.poll();
        CHECK(granted);
    }
    bot.pass(1h);
    ticket = Ticket();
    bot.pass(24h);
    bot.limiter.collect(0s);
    CHECK(bot.limiter.stats().in_flight == 0);
    CHECK(bot.limiter.stats().lanes == 0);
}
