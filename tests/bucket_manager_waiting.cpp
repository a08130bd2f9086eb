// SPDX-License-Identifier: MIT
//
// How waiting behaves towards Asio: completion tokens, associated executors and allocators, and
// cancellation of every type at every stage. Each property is checked for all operations that hand
// out tickets.
#include <sluice/bucket_manager.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <future>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace {

using namespace sluice::tests;
using namespace boost::asio::experimental::awaitable_operators;
using asio::cancellation_type;
using sluice::errc;
using sluice::Error;
using sluice::Response;
using sluice::Ticket;

const error_code aborted = asio::error::operation_aborted;
constexpr auto all_types = {cancellation_type::terminal, cancellation_type::partial,
                            cancellation_type::total};

/// A bot whose one bucket, of one request in 5 s, is spent, with a ticket that may be reacquired.
struct SpentBot : VirtualBot {
    SpentBot() : bucket(limiter.bucket(route)), retried(*limiter.try_acquire(route)) {
        retried.update(answer(1, 0, 5s));
    }

    sluice::Route route = create_message(1);
    sluice::Bucket bucket;
    Ticket retried;
};

/// Calls `check(begin)` for each operation; begin(bot, token) initiates it.
template <class Check>
void each_operation(Check check) {
    {
        INFO("BucketManager::async_acquire");
        check([]<class Token>(SpentBot& bot, Token&& token) {
            return bot.limiter.async_acquire(bot.route, std::forward<Token>(token));
        });
    }
    {
        INFO("Bucket::async_acquire");
        check([]<class Token>(SpentBot& bot, Token&& token) {
            return bot.bucket.async_acquire(std::forward<Token>(token));
        });
    }
    {
        INFO("Ticket::async_reacquire");
        check([]<class Token>(SpentBot& bot, Token&& token) {
            return bot.retried.async_reacquire(std::forward<Token>(token));
        });
    }
}

/// Memory handed out and not yet taken back, over all copies.
struct Memory {
    std::size_t bytes = 0;
    std::size_t allocations = 0;
};

template <class T>
struct CountingAllocator {
    using value_type = T;

    explicit CountingAllocator(Memory& counted) : memory(&counted) {}
    template <class U>
    CountingAllocator(const CountingAllocator<U>& other) : memory(other.memory) {}
    T* allocate(std::size_t count) {
        memory->bytes += count * sizeof(T);
        ++memory->allocations;
        return std::allocator<T>().allocate(count);
    }
    void deallocate(T* at, std::size_t count) {
        memory->bytes -= count * sizeof(T);
        std::allocator<T>().deallocate(at, count);
    }
    template <class U>
    bool operator==(const CountingAllocator<U>& other) const {
        return memory == other.memory;
    }

    Memory* memory;
};

/// A slot that is cancelled as soon as a handler is installed: what another thread could do between
/// that moment and the one at which the operation is queued.
struct HastySlot {
    bool is_connected() const { return true; }
    void clear() { installed->reset(); }
    template <class Canceller, class... Arguments>
    Canceller& emplace(Arguments&&... arguments) {
        auto canceller = std::make_shared<Canceller>(std::forward<Arguments>(arguments)...);
        *installed = canceller;
        (*canceller)(cancellation_type::terminal);
        return *canceller;
    }
    template <class Canceller>
    void assign(Canceller canceller) {
        emplace<Canceller>(std::move(canceller));
    }

    std::shared_ptr<void>* installed;
};

auto no_ticket_expected(int& calls, error_code& ended) {
    return [&](error_code code, auto&&...) {
        ++calls;
        ended = code;
    };
}

/// The places of the bucket are all there: nothing was left behind.
void check_nothing_is_held(SpentBot& bot) {
    bot.pass(20s);
    CHECK(bot.limiter.stats().queued == 0);
    CHECK(bot.limiter.stats().in_flight == 0);
    CHECK(bot.limiter.try_acquire(bot.route).has_value());
}

} // namespace

TEST_CASE("a handler is called once, and never inside the initiating function") {
    const bool at_once = GENERATE(false, true);
    CAPTURE(at_once);
    each_operation([&](auto begin) {
        SpentBot bot;
        if (at_once) bot.pass(6s);
        int calls = 0;
        begin(bot, [&, move_only = std::make_unique<int>(1)](error_code code, auto&&...) {
            CHECK(!code);
            calls += *move_only;
        });
        CHECK(calls == 0);
        bot.turn();
        CHECK(calls == (at_once ? 1 : 0));
        bot.pass(30s);
        CHECK(calls == 1);
    });
}

TEST_CASE("a refusal, too, is never told inside the initiating function") {
    each_operation([](auto begin) {
        SpentBot bot;
        bot.limiter.close();
        int calls = 0;
        error_code ended;
        begin(bot, no_ticket_expected(calls, ended));
        CHECK(calls == 0);
        bot.turn();
        CHECK(calls == 1);
        CHECK(ended == errc::closed);
    });
}

TEST_CASE("a handler runs on its own executor and nowhere else") {
    each_operation([](auto begin) {
        SpentBot bot;
        asio::io_context other;
        const auto strand = asio::make_strand(other);
        int calls = 0;
        begin(bot, asio::bind_executor(strand, [&](error_code code, auto&&...) {
                  CHECK(!code);
                  CHECK(strand.running_in_this_thread());
                  ++calls;
              }));
        other.poll();
        CHECK_FALSE(other.stopped()); // the wait is work of that executor
        bot.pass(6s);
        CHECK(calls == 0);
        other.run();
        CHECK(calls == 1);
    });
}

TEST_CASE(
    "the memory of a wait comes from the handler's allocator and is free before it is called") {
    each_operation([](auto begin) {
        SpentBot bot;
        Memory memory;
        int calls = 0;
        const auto handler = [&](error_code, auto&&...) {
            CHECK(memory.bytes == 0);
            ++calls;
        };
        begin(bot,
              asio::bind_executor(bot.io.get_executor(),
                                  asio::bind_allocator(CountingAllocator<char>(memory), handler)));
        CHECK(memory.bytes > 0);
        bot.pass(6s);
        CHECK(calls == 1);
        CHECK(memory.allocations >= 2); // the waiter and what was posted
    });
}

TEST_CASE("a future gets the ticket, or throws the error") {
    each_operation([](auto begin) {
        SpentBot bot;
        // The executor of a promise is Asio's system executor: its thread fulfils the future.
        auto future = begin(bot, asio::use_future);
        CHECK(future.wait_for(0s) == std::future_status::timeout);
        bot.pass(6s);
        REQUIRE(future.wait_for(60s) == std::future_status::ready);
        CHECK_NOTHROW(future.get());
        auto refused = begin(bot, asio::use_future);
        bot.limiter.close();
        REQUIRE(refused.wait_for(60s) == std::future_status::ready);
        CHECK_THROWS_AS(refused.get(), boost::system::system_error);
    });
}

TEST_CASE("coroutines wait with use_awaitable, deferred, as_tuple and redirect_error") {
    each_operation([](auto begin) {
        SpentBot bot;
        int waited = 0;
        auto wait = [&]() -> asio::awaitable<void> {
            (void)co_await begin(bot, asio::as_tuple(asio::use_awaitable));
            ++waited;
            (void)co_await begin(bot, asio::as_tuple(asio::deferred));
            ++waited;
            error_code code = errc::closed;
            auto redirected = asio::redirect_error(asio::use_awaitable, code);
            if constexpr (std::is_same_v<decltype(begin(bot, asio::use_awaitable)),
                                         asio::awaitable<void>>) {
                co_await begin(bot, redirected);
                co_await begin(bot, asio::use_awaitable);
            } else {
                (void)co_await begin(bot, redirected);
                (void)co_await begin(bot, asio::use_awaitable);
            }
            CHECK(!code);
            waited += 2;
        };
        asio::co_spawn(bot.io, wait(), asio::detached);
        bot.pass(60s);
        CHECK(waited == 4);
    });
}

TEST_CASE("a deferred operation takes its place in the queue when it is begun") {
    SpentBot bot;
    Ending first;
    Ending second;
    auto later = bot.limiter.async_acquire(bot.route, asio::deferred);
    bot.limiter.async_acquire(bot.route, into(first));
    std::move(later)(into(second));
    bot.pass(6s);
    CHECK(first.granted());
    CHECK(second.times == 0);
}

TEST_CASE("a wait that is cancelled while queued ends at once and leaves no place behind") {
    for (const auto type : all_types) {
        each_operation([&](auto begin) {
            SpentBot bot;
            asio::cancellation_signal signal;
            int calls = 0;
            error_code ended;
            begin(bot,
                  asio::bind_cancellation_slot(signal.slot(), no_ticket_expected(calls, ended)));
            Ending behind;
            bot.limiter.async_acquire(bot.route, into(behind));
            signal.emit(cancellation_type::none);
            bot.turn();
            CHECK(calls == 0);
            signal.emit(type);
            CHECK(calls == 0);
            bot.turn();
            CHECK(calls == 1);
            CHECK(ended == aborted);
            CHECK(bot.limiter.stats().queued == 1);
            bot.pass(5100ms); // the one behind gets the only place of the next window
            CHECK(behind.granted());
            behind.ticket.cancel();
            signal.emit(type); // the operation is over: this must reach nobody
            check_nothing_is_held(bot);
        });
    }
}

TEST_CASE("a wait that is cancelled between its grant and its completion gives the place back") {
    for (const auto type : all_types) {
        each_operation([&](auto begin) {
            SpentBot bot;
            asio::cancellation_signal signal;
            int calls = 0;
            error_code ended;
            begin(bot,
                  asio::bind_cancellation_slot(signal.slot(), no_ticket_expected(calls, ended)));
            Ending behind;
            bot.limiter.async_acquire(bot.route, into(behind));
            bot.clock.advance(6s);
            bot.look();
            REQUIRE(bot.limiter.stats().in_flight == 1);
            signal.emit(type);
            bot.turn();
            CHECK(calls == 1);
            CHECK(ended == aborted);
            CHECK(behind.granted()); // in the same window, without any time passing
            behind.ticket.cancel();
            check_nothing_is_held(bot);
        });
    }
}

TEST_CASE("a wait that is cancelled while it is being begun never joins the queue") {
    each_operation([](auto begin) {
        SpentBot bot;
        std::shared_ptr<void> installed;
        int calls = 0;
        error_code ended;
        begin(bot, asio::bind_cancellation_slot(HastySlot{&installed},
                                                no_ticket_expected(calls, ended)));
        CHECK(bot.limiter.stats().queued == 0);
        CHECK(calls == 0);
        bot.turn();
        CHECK(calls == 1);
        CHECK(ended == aborted);
        CHECK(installed == nullptr);
        check_nothing_is_held(bot);
    });
}

TEST_CASE("a coroutine that is cancelled before it starts takes no place") {
    SpentBot bot;
    asio::cancellation_signal signal;
    std::exception_ptr thrown;
    const auto handler = [&](std::exception_ptr e, Ticket) { thrown = e; };
    // Bound, because Boost 1.83 and newer would else cancel it in the thread that emits the signal.
    asio::co_spawn(
        bot.io, bot.limiter.acquire(bot.route),
        asio::bind_cancellation_slot(signal.slot(), asio::bind_executor(bot.io, handler)));
    signal.emit(cancellation_type::terminal);
    bot.turn();
    REQUIRE(thrown != nullptr);
    CHECK_THROWS_AS(std::rethrow_exception(thrown), boost::system::system_error);
    CHECK(bot.limiter.stats().queued == 0);
    check_nothing_is_held(bot);
}

TEST_CASE("a coroutine that asks for it is cancelled by total and partial cancellation too") {
    for (const auto type : all_types) {
        SpentBot bot;
        asio::cancellation_signal signal;
        error_code ended;
        auto wait = [&]() -> asio::awaitable<void> {
            co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
            try {
                const Ticket ticket = co_await bot.limiter.acquire(bot.route);
            } catch (const Error& error) {
                ended = error.code();
            }
        };
        asio::co_spawn(bot.io, wait(), asio::bind_cancellation_slot(signal.slot(), asio::detached));
        bot.turn();
        signal.emit(type);
        bot.turn();
        CHECK(ended == aborted);
        check_nothing_is_held(bot);
    }
}

TEST_CASE("a signal may be destroyed while the wait that it could have cancelled goes on") {
    each_operation([](auto begin) {
        SpentBot bot;
        auto signal = std::make_unique<asio::cancellation_signal>();
        int calls = 0;
        error_code ended;
        begin(bot, asio::bind_cancellation_slot(signal->slot(), no_ticket_expected(calls, ended)));
        signal.reset();
        bot.pass(6s);
        CHECK(calls == 1);
        CHECK(!ended);
    });
}

TEST_CASE("a ticket that || drops after its delivery is lost for one period and no longer") {
    SpentBot bot;
    bot.pass(6s);
    auto at_once = []() -> asio::awaitable<void> { co_return; };
    auto both_ready = [&]() -> asio::awaitable<void> {
        const auto result = co_await (at_once() || bot.limiter.acquire(bot.route));
        CHECK(result.index() == 0);
    };
    asio::co_spawn(bot.io, both_ready(), asio::detached);
    bot.turn();
    CHECK(bot.limiter.stats().counters.lost == 1);
    CHECK(bot.limiter.stats().in_flight == 0);
    CHECK_FALSE(bot.limiter.try_acquire(bot.route).has_value());
    bot.pass(5100ms);
    CHECK(bot.limiter.try_acquire(bot.route).has_value());
}

TEST_CASE("acquire || sleep, many coroutines and rounds: no place is lost, nobody is forgotten") {
    VirtualBot bot;
    bot.limiter.set_global({.limit = 0});
    const sluice::Route route = create_message(1);
    int finished = 0;
    int granted = 0;
    auto impatient = [&](int i) -> asio::awaitable<void> {
        for (int round = 0; round < 40; ++round) {
            const Duration patience = 1ms * ((i * 37 + round * 101) % 1400);
            auto result = co_await (bot.limiter.acquire(route) || bot.clock.sleep(patience));
            auto* ticket = std::get_if<0>(&result);
            if (ticket == nullptr) continue;
            ++granted;
            co_await bot.clock.sleep(20ms);
            // Two at a time, as a route without headers and that width would be.
            ticket->update({.status = 200});
        }
        ++finished;
    };
    for (int i = 0; i < 200; ++i)
        asio::co_spawn(bot.io, impatient(i), asio::detached);
    bot.clock.run(bot.io);
    CHECK(finished == 200);
    CHECK(granted > 1000);
    CHECK(bot.limiter.stats().queued == 0);
    CHECK(bot.limiter.stats().in_flight == 0);
    bot.pass(10s);
    CHECK(bot.limiter.find(route)->in_flight == 0);
}
