// SPDX-License-Identifier: MIT
//
// Waiters that are granted together and complete on one executor, where a few posted functions run
// all of them: nobody may notice. Each keeps its order, its turn when others block or throw, its
// cancellation and its place.
#include <sluice/bucket_manager.hpp>
#include <sluice/error.hpp>

#include "support/catch.hpp"
#include "support/posted_context.hpp"
#include "support/virtual_bot.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <future>
#include <memory>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace sluice::tests;
using sluice::Ticket;

const sluice::Route route = create_message(1);

/// A bot whose one bucket gives nothing until open() gives places to all that wait.
struct ClosedBot : VirtualBot {
    ClosedBot() : VirtualBot({.global = {.limit = 0}}) {
        limiter.update(route, answer(1000, 0, 5s));
    }
    void open() {
        clock.advance(6s);
        look();
    }
    /// So many wait from now on. Each keeps its ticket, notes its number, counted from `first`, and
    /// calls `then` with it.
    template <class Then = decltype([](std::size_t) {})>
    void acquire(std::size_t first, std::size_t count, Then then = {}) {
        for (std::size_t i = first; i < first + count; ++i) {
            limiter.async_acquire(route, [this, i, then](error_code, Ticket ticket) {
                order.push_back(i);
                tickets.push_back(std::move(ticket));
                then(i);
            });
        }
    }
    [[nodiscard]] bool ran_in_order(std::size_t count) const {
        return order.size() == count && std::is_sorted(order.begin(), order.end());
    }
    [[nodiscard]] std::size_t in_flight() const { return limiter.stats().in_flight; }

    std::vector<Ticket> tickets;
    std::vector<std::size_t> order;
};

/// Runs everything, whatever handlers throw; returns how many did.
std::size_t run_all(asio::io_context& io) {
    std::size_t thrown = 0;
    for (;;) {
        try {
            io.run();
            return thrown;
        } catch (const std::runtime_error&) {
            ++thrown;
        }
    }
}

/// How many in a row are granted together: just enough to share a function, one function's full
/// turn and one more, and several turns.
auto counts() {
    return GENERATE(std::size_t{3}, std::size_t{4}, std::size_t{32}, std::size_t{33},
                    std::size_t{100});
}

} // namespace

TEST_CASE("waiters granted together complete once each, in the order in which they came") {
    ClosedBot bot;
    const std::size_t count = counts();
    bot.acquire(0, count, [&](std::size_t i) { CHECK(bot.tickets.at(i)); });
    bot.open();
    CHECK(bot.order.empty());
    CHECK(bot.in_flight() == count);
    bot.io.run(); // nothing is left that could keep it running
    CHECK(bot.ran_in_order(count));
}

TEST_CASE("who is granted later runs later, also when the first have run in part") {
    ClosedBot bot;
    constexpr std::size_t each = 100;
    bot.acquire(0, each);
    bot.open();
    const int steps = GENERATE(0, 1, 2, 3);
    for (int i = 0; i < steps; ++i)
        bot.io.poll_one();
    CHECK(bot.order.size() < each);
    bot.acquire(each, each);
    bot.io.run();
    CHECK(bot.ran_in_order(2 * each));
}

TEST_CASE("what is granted together returns to its executor now and then") {
    ClosedBot bot;
    std::size_t ran = 0;
    for (int i = 0; i < 200; ++i)
        bot.limiter.async_acquire(route, [&](error_code, Ticket) { ++ran; });
    bot.open();
    for (std::size_t before = 0; before < 200; before = ran) {
        REQUIRE(bot.io.poll_one() == 1);
        CHECK(ran - before <= 32);
    }
}

TEST_CASE("waiters of several executors granted together run on their own, each in order") {
    ClosedBot bot;
    const auto strand = asio::make_strand(bot.io);
    const asio::any_io_executor plain = bot.io.get_executor();
    std::vector<int> on_plain;
    std::vector<int> on_strand;
    const int run = GENERATE(1, 5, 40); // of one executor in a row
    for (int i = 0; i < 200; ++i) {
        const bool stranded = (i / run) % 2 == 0;
        bot.limiter.async_acquire(
            route, asio::bind_executor(stranded ? asio::any_io_executor(strand) : plain,
                                       [&, i, stranded](error_code, Ticket ticket) {
                                           CHECK(strand.running_in_this_thread() == stranded);
                                           (stranded ? on_strand : on_plain).push_back(i);
                                           bot.tickets.push_back(std::move(ticket));
                                       }));
    }
    bot.open();
    bot.io.run();
    CHECK(on_plain.size() + on_strand.size() == 200);
    CHECK(std::is_sorted(on_plain.begin(), on_plain.end()));
    CHECK(std::is_sorted(on_strand.begin(), on_strand.end()));
}

TEST_CASE("a handler that blocks keeps none of the others waiting while another thread runs") {
    ClosedBot bot;
    const std::size_t count = counts();
    const std::size_t which = GENERATE(0U, 1U, 2U) * (count - 1) / 2;
    std::atomic<std::size_t> ran = 0;
    std::promise<void> all_others;
    bool waited_in_vain = false;
    for (std::size_t i = 0; i < count; ++i) {
        bot.limiter.async_acquire(route, [&, i](error_code, Ticket) {
            if (i == which) {
                // Real time, and far more than it takes: only a failure waits for the end of it.
                const auto others = all_others.get_future();
                waited_in_vain = others.wait_for(20s) != std::future_status::ready;
            } else if (++ran == count - 1) {
                all_others.set_value();
            }
        });
    }
    bot.open();
    std::thread other([&] { bot.io.run(); });
    bot.io.run();
    other.join();
    CHECK_FALSE(waited_in_vain);
    CHECK(ran == count - 1);
}

TEST_CASE("a handler that runs the context itself is not in the way of the others either") {
    ClosedBot bot;
    const std::size_t count = counts();
    bot.acquire(0, count, [&](std::size_t i) {
        if (i != 0) return;
        bot.io.poll();
        CHECK(bot.order.size() == count);
    });
    bot.open();
    bot.io.run();
    CHECK(bot.ran_in_order(count));
}

TEST_CASE("handlers that throw out of run() lose none of the rest and change no order") {
    ClosedBot bot;
    const std::size_t count = counts();
    const std::size_t every = GENERATE(1U, 2U, 7U, 31U);
    bot.acquire(0, count, [&](std::size_t i) {
        if (i % every == 0) throw std::runtime_error("on purpose");
    });
    bot.open();
    CHECK(run_all(bot.io) == (count + every - 1) / every);
    CHECK(bot.ran_in_order(count));
}

TEST_CASE("after a handler has thrown, the rest still runs before who was granted later") {
    ClosedBot bot;
    constexpr std::size_t each = 40;
    const std::size_t thrower = GENERATE(0U, 31U, 32U, 38U);
    for (std::size_t first = 0; first < 3 * each; first += each) {
        bot.acquire(first, each, [&](std::size_t i) {
            if (i == thrower) throw std::runtime_error("on purpose");
        });
        bot.open();
    }
    CHECK(run_all(bot.io) == 1);
    CHECK(bot.ran_in_order(3 * each));
}

TEST_CASE("a context that dies between two functions gives back the places of all that are left") {
    ClosedBot bot;
    const std::size_t count = counts();
    const bool throws = GENERATE(false, true);
    auto other = std::make_unique<asio::io_context>();
    const asio::any_io_executor executor = other->get_executor();
    const auto token = std::make_shared<int>();
    for (std::size_t i = 0; i < count; ++i) {
        bot.limiter.async_acquire(
            route, asio::bind_executor(executor, [&, token](error_code, Ticket ticket) {
                bot.tickets.push_back(std::move(ticket));
                if (throws) throw std::runtime_error("on purpose");
            }));
    }
    bot.open();
    CHECK(bot.in_flight() == count);
    const int steps = GENERATE(0, 1, 2, 3);
    for (int i = 0; i < steps; ++i) {
        try {
            other->poll_one();
        } catch (const std::runtime_error&) {
        }
    }
    other.reset();
    CHECK(token.use_count() == 1);
    CHECK(bot.in_flight() == bot.tickets.size());
    bot.tickets.clear();
    CHECK(bot.limiter.stats().queued == 0);
}

TEST_CASE("a waiter is cancelled by one that was granted with it and runs before it") {
    ClosedBot bot;
    const std::size_t count = counts();
    std::vector<asio::cancellation_signal> signals(count);
    std::set<std::size_t> ended;
    for (std::size_t i = 0; i < count; ++i) {
        bot.limiter.async_acquire(
            route,
            asio::bind_cancellation_slot(signals[i].slot(), [&, i](error_code code, Ticket ticket) {
                CHECK(ended.insert(i).second);
                CHECK(code ==
                      (i % 2 == 0 ? error_code() : error_code(asio::error::operation_aborted)));
                if (ticket) bot.tickets.push_back(std::move(ticket));
                if (i % 2 == 0 && i + 1 < count)
                    signals[i + 1].emit(asio::cancellation_type::total);
            }));
    }
    bot.open();
    CHECK(bot.in_flight() == count);
    bot.io.run();
    CHECK(ended.size() == count);
    CHECK(bot.in_flight() == (count + 1) / 2);
    CHECK(bot.tickets.size() == (count + 1) / 2);
}

TEST_CASE("a context does not go while another thread posts to it") {
    ClosedBot bot;
    PostedContext context;
    bot.limiter.async_acquire(
        route, context.bind([](error_code, Ticket) { FAIL_CHECK("nobody runs this context"); }));
    CHECK(context.outlives_posting([&] { bot.open(); }));
    CHECK(bot.in_flight() == 0);
}

TEST_CASE("a context ends while another thread acquires and looks, which then is told so") {
    constexpr int rounds = 20;
    int closed = 0;
    for (int round = 0; round < rounds; ++round) {
        auto home = std::make_unique<asio::io_context>();
        // Not a strand: Asio lets no copy of one outlive its context, and a bot here may hold one.
        Manager limiter(*home, {.global = {.limit = 0}, .headerless_width = 1}, Clock());
        std::atomic<int> served = 0;
        const auto bot = [&]() -> asio::awaitable<void> {
            try {
                for (;;) {
                    Ticket ticket = co_await limiter.acquire(route);
                    (void)limiter.get_executor();
                    co_await asio::post(asio::use_awaitable);
                    ticket.update({.status = 200});
                    ++served;
                }
            } catch (const sluice::Error& error) {
                if (error.code() == sluice::errc::closed) ++closed;
            }
        };
        std::thread other([&] {
            asio::io_context io;
            for (int i = 0; i < 2; ++i) // they wait for each other
                asio::co_spawn(io, bot(), asio::detached);
            io.run();
        });
        while (served < 100)
            std::this_thread::yield();
        home.reset();
        other.join();
        CHECK(limiter.stats().in_flight == 0);
    }
    CHECK(closed == 2 * rounds);
}

TEST_CASE("thousands of buckets that are due at once leave at that moment, in order of arrival") {
    constexpr std::size_t buckets = 5'000;
    VirtualBot bot({.global = {.limit = 0}});
    std::vector<Ticket> probes;
    for (std::size_t i = 0; i < buckets; ++i)
        probes.push_back(*bot.limiter.try_acquire(create_message(i)));
    std::vector<std::size_t> order;
    std::set<Clock::time_point> when;
    std::size_t before_others = 0;
    for (std::size_t i = 0; i < buckets; ++i) {
        bot.limiter.async_acquire(create_message(i), [&, i](error_code, Ticket ticket) {
            if (order.empty()) asio::post(bot.io, [&] { before_others = order.size(); });
            order.push_back(i);
            when.insert(bot.clock.now());
            ticket.cancel();
        });
    }
    for (Ticket& probe : probes)
        probe.update(answer(1, 0, 5s));
    bot.pass(10s);
    CHECK(order.size() == buckets);
    CHECK(std::is_sorted(order.begin(), order.end()));
    CHECK(when.size() == 1);
    CHECK(before_others > 0);
    CHECK(before_others < buckets / 2);
    CHECK(bot.limiter.stats().queued == 0);
}
