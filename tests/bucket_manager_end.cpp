// SPDX-License-Identifier: MIT
//
// Ends: execution contexts, limiters and tickets destroyed in every order, at every moment; and
// threads. Leaks show as a counted token that is still held, the rest under a sanitizer.
#include <sluice/bucket_manager.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace {

using namespace sluice::tests;
using namespace boost::asio::experimental::awaitable_operators;
using sluice::Bucket;
using sluice::errc;
using sluice::Response;
using sluice::Ticket;
using Token = std::shared_ptr<int>; // held by everything that must not leak

/// A bot with all kinds of waiters at once. Its coroutines know the limiter by bucket handles only,
/// so that they may go on when it is gone.
struct Scene {
    explicit Scene(const Token& counted) : token(counted) {
        limiter.emplace(asio::make_strand(*io), sluice::Options{.global = {.limit = 4}}, clock);
        for (int channel = 1; channel <= 3; ++channel) {
            for (int i = 0; i < 3; ++i)
                spawn(send(limiter->bucket(create_message(channel)), clock, token, *this, i == 1));
            spawn(give_up(limiter->bucket(create_message(channel)), clock, token, 50ms * channel));
        }
        spawn(send(limiter->bucket(callback(7, "token")), clock, token, *this, false));
        limiter->async_acquire(
            create_message(1),
            asio::bind_cancellation_slot(signal->slot(), [held = token](error_code, Ticket) {}));
        limiter->async_acquire(
            create_message(2), {.max_wait = 70ms},
            asio::bind_executor(asio::make_strand(*io), [held = token](error_code, Ticket) {}));
    }

    void spawn(asio::awaitable<void> coroutine) {
        asio::co_spawn(*io, std::move(coroutine), asio::detached);
    }

    /// Sends, is refused the first time if `refused`, and leaves its last ticket in the scene.
    static asio::awaitable<void> send(Bucket bucket, Clock clock, [[maybe_unused]] Token held,
                                      Scene& scene, bool refused) {
        auto [code, ticket] = co_await bucket.async_acquire(asio::as_tuple(asio::use_awaitable));
        if (code) co_return;
        co_await clock.sleep(30ms);
        if (refused) {
            ticket.update(user_429(100ms, 2));
            const auto [again] =
                co_await ticket.async_reacquire(asio::as_tuple(asio::use_awaitable));
            if (again) co_return;
            co_await clock.sleep(30ms);
        }
        ticket.update(answer(2, 1, 100ms));
        if (scene.keeps_tickets) scene.tickets.push_back(std::move(ticket));
        auto [last_code, last] = co_await bucket.async_acquire(asio::as_tuple(asio::deferred));
        if (!last_code && scene.keeps_tickets) scene.tickets.push_back(std::move(last));
    }

    static asio::awaitable<void> give_up(Bucket bucket, Clock clock, [[maybe_unused]] Token held,
                                         Duration patience) {
        auto waited = co_await (bucket.async_acquire(asio::as_tuple(asio::use_awaitable)) ||
                                clock.sleep(patience));
        if (waited.index() == 0) co_await clock.sleep(10ms);
    }

    bool run_one() { return clock.run_one(*io) != 0; }
    void destroy(char part) {
        if (part == 'i') io.reset();
        if (part == 'm') limiter.reset();
        if (part == 's') signal.reset();
        if (part != 't') return;
        keeps_tickets = false;
        tickets.clear();
    }

    Token token;
    Clock clock;
    std::unique_ptr<asio::io_context> io = std::make_unique<asio::io_context>();
    std::unique_ptr<asio::cancellation_signal> signal =
        std::make_unique<asio::cancellation_signal>();
    std::optional<Manager> limiter;
    std::vector<Ticket> tickets;
    bool keeps_tickets = true;
};

std::vector<std::string> orders(std::string parts) {
    std::vector<std::string> all;
    std::sort(parts.begin(), parts.end());
    do {
        all.push_back(parts);
    } while (std::next_permutation(parts.begin(), parts.end()));
    return all;
}

/// Returns whether the scene had at least that many handlers to run.
bool stop_after(int handlers, const std::string& order, bool goes_on) {
    const auto token = std::make_shared<int>();
    bool ran_all = true;
    {
        Scene scene(token);
        for (int i = 0; i < handlers && ran_all; ++i)
            ran_all = scene.run_one();
        for (const char part : order) {
            scene.destroy(part);
            while (goes_on && scene.io != nullptr && scene.run_one()) {
            }
        }
        if (scene.signal) scene.signal->emit(asio::cancellation_type::terminal);
    }
    INFO("after " << handlers << " handlers, in the order " << order);
    CHECK(token.use_count() == 1);
    return ran_all;
}

/// Counts how often each of its handlers was called.
class Calls {
public:
    explicit Calls(std::size_t count) : calls_(count) {}
    auto handler(std::size_t index) {
        return [this, index](error_code code, Ticket ticket) {
            ++calls_[index];
            (code ? refused : granted).fetch_add(1);
            if (ticket) ticket.update({.status = 200});
        };
    }
    [[nodiscard]] bool each_once() const {
        return std::all_of(calls_.begin(), calls_.end(), [](const auto& n) { return n == 1; });
    }

    std::atomic<int> granted{0};
    std::atomic<int> refused{0};

private:
    std::vector<std::atomic<int>> calls_;
};

/// Somebody else seems to have it at every try.
class ContestedMutex {
public:
    void lock() {
        mutex_.lock();
        ++locks;
    }
    bool try_lock() {
        ++tries;
        return false;
    }
    void unlock() { mutex_.unlock(); }

    inline static int locks = 0;
    inline static int tries = 0;

private:
    std::mutex mutex_;
};

/// Two threads that run one context until all its work is done.
void run_by_two(asio::io_context& io) {
    std::thread other([&] { io.run(); });
    io.run();
    other.join();
}

} // namespace

TEST_CASE("everything may be destroyed in every order, after any number of handlers") {
    for (const std::string& order : orders("imt")) {
        int handlers = 0;
        while (stop_after(handlers, order, false))
            ++handlers;
        CHECK(handlers > 60);
    }
}

TEST_CASE("what is left goes on when the limiter or the tickets are destroyed before the context") {
    for (const std::string order : {"mit", "tmi", "mti", "tim"}) {
        for (int handlers = 0; stop_after(handlers, order, true);)
            ++handlers;
    }
}

TEST_CASE("a cancellation signal may go before or after the wait that it belongs to") {
    for (const std::string& order : orders("ims")) {
        for (int handlers = 0; handlers < 40; ++handlers)
            stop_after(handlers, order, false);
    }
}

TEST_CASE("a limiter in real time dies with its context, before or after it, without having run") {
    for (const std::string& order : orders("imt")) {
        for (const bool on_strand : {false, true}) {
            CAPTURE(order, on_strand);
            const auto token = std::make_shared<int>();
            auto io = std::make_unique<asio::io_context>();
            std::optional<sluice::BucketManager> limiter;
            if (on_strand) {
                limiter.emplace(asio::make_strand(*io));
            } else {
                limiter.emplace(*io);
            }
            auto ticket = limiter->try_acquire(create_message(1));
            limiter->update(create_message(2), answer(1, 0, 3600s)); // which arms the timer
            for (int i = 0; i < 3; ++i) {
                limiter->async_acquire(create_message(1), [token](error_code, Ticket) {});
                limiter->async_acquire(create_message(2), [token](error_code, Ticket) {});
                limiter->async_acquire(callback(1, "t"), [token](error_code, Ticket) {});
            }
            asio::co_spawn(*io, limiter->bucket(create_message(2)).acquire(),
                           [token](std::exception_ptr, Ticket) {});
            io->poll();
            for (const char part : order) {
                if (part == 'i') io.reset();
                if (part == 'm') limiter.reset();
                if (part == 't') ticket.reset();
            }
            CHECK(token.use_count() == 1);
        }
    }
}

TEST_CASE("a context that dies takes its own waiters along, and nobody else's") {
    VirtualBot bot;
    const sluice::Route route = create_message(1);
    bot.limiter.update(route, answer(1, 0, 5s));
    auto other = std::make_unique<asio::io_context>();
    const auto token = std::make_shared<int>();
    Ending ahead;
    Ending behind;
    const auto foreign = [&] {
        bot.limiter.async_acquire(
            route, asio::bind_executor(*other, [token](error_code, Ticket) { CHECK(false); }));
    };
    foreign();
    bot.limiter.async_acquire(route, into(ahead));
    foreign();
    bot.limiter.async_acquire(route, into(behind));
    SECTION("while they are queued") {}
    SECTION("when one of them has been granted and has not run") {
        bot.clock.advance(6s);
        bot.look();
        CHECK(bot.limiter.stats().in_flight == 1);
    }
    other.reset();
    CHECK(token.use_count() == 1);
    bot.turn();
    CHECK(behind.times == 0);
    CHECK(bot.limiter.stats().queued + bot.limiter.stats().in_flight == 2);
    bot.pass(6s);
    REQUIRE(ahead.granted());
    CHECK(behind.times == 0);
    ahead.ticket.update(answer(1, 0, 5s));
    bot.pass(6s);
    CHECK(behind.granted());
}

TEST_CASE("a coroutine that owns its limiter may be thrown away with its context") {
    const auto token = std::make_shared<int>();
    {
        asio::io_context io;
        auto bot = [](Token) -> asio::awaitable<void> {
            sluice::BucketManager limiter(co_await asio::this_coro::executor);
            const Ticket first = co_await limiter.acquire(create_message(1));
            const Ticket never = co_await limiter.acquire(create_message(1));
        };
        asio::co_spawn(io, bot(token), asio::detached);
        io.poll();
        CHECK(token.use_count() > 1);
    }
    CHECK(token.use_count() == 1);
}

TEST_CASE("limiters come and go on one context") {
    asio::io_context io;
    Clock clock;
    int closed = 0;
    for (int i = 0; i < 20; ++i) {
        Manager limiter(io, {}, clock);
        limiter.update(create_message(1), answer(1, 0, 5s));
        limiter.async_acquire(create_message(1), [&](error_code code, Ticket) {
            closed += code == errc::closed ? 1 : 0;
        });
        clock.run_for(io, 1s);
    }
    clock.run(io);
    CHECK(closed == 20);
}

TEST_CASE("a limiter keeps its context running while somebody waits, and only then") {
    asio::io_context io;
    sluice::BucketManager limiter(io);
    { const auto first = limiter.try_acquire(create_message(1)); }
    limiter.update(create_message(2), answer(1, 0, 3600s));
    io.run(); // would not return
    io.restart();
    Ending ending;
    limiter.async_acquire(create_message(2), into(ending));
    io.poll();
    CHECK_FALSE(io.stopped());
    CHECK(limiter.cancel_all() == 1);
    io.run();
    CHECK(ending.failed(asio::error::operation_aborted));
}

TEST_CASE("a limiter is made from a context, an executor or a strand") {
    asio::thread_pool pool(1);
    asio::io_context io;
    const auto strand = asio::make_strand(io);
    CHECK(sluice::BucketManager(io).get_executor() == io.get_executor());
    CHECK(sluice::BucketManager(io.get_executor()).get_executor() == io.get_executor());
    CHECK(sluice::BucketManager(strand).get_executor() == strand);
    CHECK(sluice::BucketManager(pool).get_executor() == pool.get_executor());
    CHECK(sluice::BucketManager(asio::any_io_executor(strand), {.max_wait = 1s}).get_executor() ==
          strand);
    sluice::BucketManager limiter(strand);
    bool on_strand = false;
    limiter.async_acquire(create_message(1),
                          [&](error_code, Ticket) { on_strand = strand.running_in_this_thread(); });
    io.run();
    CHECK(on_strand); // a handler without an executor runs on the limiter's
}

TEST_CASE("two threads, two hundred coroutines: every width is kept and everybody is served") {
    constexpr int width = 3;
    asio::io_context io;
    Manager limiter(io, {.global = {.limit = 0}, .headerless_width = width}, Clock());
    std::array<std::atomic<int>, 4> flying{};
    std::atomic<int> most = 0;
    std::atomic<int> served = 0;
    auto bot = [&](int i) -> asio::awaitable<void> {
        const auto channel = static_cast<std::size_t>(i) % flying.size();
        for (int round = 0; round < 50; ++round) {
            Ticket ticket = co_await limiter.acquire(create_message(channel));
            const int now = ++flying[channel];
            for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
            }
            co_await asio::post(asio::use_awaitable);
            --flying[channel];
            ticket.update({.status = 200});
            ++served;
        }
    };
    for (int i = 0; i < 200; ++i)
        asio::co_spawn(io, bot(i), asio::detached);
    run_by_two(io);
    CHECK(served == 200 * 50);
    CHECK(most <= width);
    CHECK(limiter.stats().queued == 0);
    CHECK(limiter.stats().in_flight == 0);
}

TEST_CASE("two threads, cancellation on strands: no place is lost and nobody is forgotten") {
    asio::io_context io;
    Clock clock;
    Manager limiter(io, {.global = {.limit = 0}, .headerless_width = 2}, clock);
    std::atomic<int> finished = 0;
    std::vector<std::optional<Ticket>> tickets;
    const auto some_turns = [](int turns) -> asio::awaitable<void> {
        for (int i = 0; i < turns; ++i)
            co_await asio::post(asio::use_awaitable);
    };
    auto bot = [&](int i) -> asio::awaitable<void> {
        for (int round = 0; round < 50; ++round) {
            auto result = co_await (limiter.acquire(create_message(i % 2)) ||
                                    some_turns(1 + (i + round) % 7));
            if (auto* ticket = std::get_if<0>(&result)) ticket->update({.status = 200});
        }
        ++finished;
    };
    for (int i = 0; i < 100; ++i)
        asio::co_spawn(asio::make_strand(io), bot(i), asio::detached);
    run_by_two(io);
    CHECK(finished == 100);
    CHECK(limiter.stats().queued == 0);
    CHECK(limiter.stats().in_flight == 0);
    clock.advance(2s); // what was dropped after its delivery comes back after one period
    for (const int channel : {0, 0, 1, 1})
        tickets.push_back(limiter.try_acquire(create_message(channel)));
    for (const auto& ticket : tickets)
        CHECK(ticket.has_value());
}

TEST_CASE("two threads: completions on one strand keep the order of the queue") {
    constexpr int count = 2000;
    asio::io_context io;
    Manager limiter(io, {.global = {.limit = 0}, .headerless_width = 1}, Clock());
    const auto strand = asio::make_strand(io);
    std::vector<int> order;
    for (int i = 0; i < count; ++i) {
        limiter.async_acquire(create_message(1),
                              asio::bind_executor(strand, [&, i](error_code, Ticket ticket) {
                                  order.push_back(i);
                                  // Answered on whatever thread is free, so that grants come from
                                  // both.
                                  asio::post(io, [ticket = std::move(ticket)]() mutable {
                                      ticket.update({.status = 200});
                                  });
                              }));
    }
    run_by_two(io);
    CHECK(order.size() == count);
    CHECK(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE("acquires, answers, looks and the end from several threads at once") {
    constexpr std::size_t each = 2000;
    const bool closes = GENERATE(true, false);
    asio::io_context io;
    auto work = asio::make_work_guard(io);
    Manager limiter(io, {.headerless_width = 2}, Clock());
    Calls calls(3 * each);
    const auto caller = [&](std::size_t first) {
        for (std::size_t i = first; i < first + each; ++i)
            limiter.async_acquire(create_message(i % 5), calls.handler(i));
    };
    std::array<std::thread, 5> threads{
        std::thread([&] { io.run(); }), std::thread([&] { io.run(); }), std::thread(caller, 0),
        std::thread(caller, each), std::thread([&] {
            for (std::size_t i = 0; i < 300; ++i) {
                limiter.update(create_message(i % 5), {.status = 200});
                (void)limiter.timeout_for(create_message(i % 7));
                (void)limiter.find(create_message(i % 7));
                (void)limiter.stats();
                limiter.collect(0s);
                limiter.set_global({.limit = 0});
                if (i % 50 == 0) limiter.cancel_all();
            }
            if (closes) limiter.close();
        })};
    caller(2 * each);
    for (std::size_t i = 2; i < threads.size(); ++i)
        threads[i].join();
    limiter.close();
    work.reset();
    threads[0].join();
    threads[1].join();
    CHECK(calls.each_once());
    CHECK(calls.granted + calls.refused == 3 * each);
    CHECK(limiter.stats().queued == 0);
    CHECK(limiter.stats().in_flight == 0);
}

TEST_CASE("a mutex that others hold for long is waited for after a few tries") {
    asio::io_context io;
    Clock clock;
    sluice::BasicBucketManager<Clock, ContestedMutex> limiter(io, {}, clock);
    ContestedMutex::locks = ContestedMutex::tries = 0;
    auto ticket = limiter.try_acquire(create_message(1));
    REQUIRE(ticket.has_value());
    ticket->update(answer(1, 0, 5s));
    CHECK(limiter.find(create_message(1))->remaining == 0);
    CHECK(ContestedMutex::locks == 3);
    CHECK(ContestedMutex::tries <= 3 * 10);
}
