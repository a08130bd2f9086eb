// SPDX-License-Identifier: MIT
//
// A pool of limiters: who gets which, when one is forgotten and when it is not, what they have in
// common.
#include <sluice/managers.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace sluice::tests;
using sluice::errc;
using Pool = sluice::BasicManagers<Clock>;

const sluice::Route message = create_message(1);
constexpr auto get_me = sluice::route<"GET /users/@me">;

struct Users {
    explicit Users(const sluice::ManagersOptions& options = {}) : pool(io, options, clock) {}

    /// One request of this user, answered at once; false: it would have had to wait.
    bool request(const std::string& user, const sluice::Response& reply = {.status = 200}) {
        auto ticket = pool.get(user)->try_acquire(message);
        if (ticket) ticket->update(reply);
        return ticket.has_value();
    }
    /// Whether the pool still has what this user's manager has learned.
    bool remembers(const std::string& user) { return pool.get(user)->find(message).has_value(); }

    asio::io_context io;
    Clock clock;
    Pool pool;
};

} // namespace

TEST_CASE("an individual gets the same manager again, and another gets another") {
    Users users;
    const auto first = users.pool.get("Bearer abc");
    CHECK(users.pool.get(std::string("Bearer abc")) == first);
    CHECK(users.pool.get("Bearer abd") != first);
    CHECK(users.pool.get("") != first);
    CHECK(users.pool.get("") == users.pool.get(""));
    CHECK(users.pool.size() == 3);
}

TEST_CASE("a manager of the pool is waited for in one expression") {
    Users users;
    int granted = 0;
    const auto work = [&]() -> asio::awaitable<void> {
        sluice::Ticket ticket = co_await users.pool.get("7")->acquire(message);
        ticket.update({.status = 200});
        ++granted;
    };
    co_spawn(users.io, work(), asio::detached);
    users.clock.run(users.io);
    CHECK(granted == 1);
}

TEST_CASE("each individual has windows, a global limit and a refused token of its own") {
    Users users({.manager = {.global = {.limit = 1, .period = 1s}}});
    CHECK(users.request("a", answer(1, 0, 60s)));
    CHECK(!users.request("a"));
    CHECK(users.request("b"));
    users.pool.get("a")->update(get_me(), {.status = 401});
    users.clock.run_for(users.io, 61s);
    CHECK(!users.request("a"));
    CHECK(users.request("b"));
}

TEST_CASE("managers of one pool send from one address", "[R18]") {
    Users users;
    users.pool.get("a")->update(message, {.status = 403});
    CHECK(users.pool.get("b")->stats().invalid_requests == 1);
    users.pool.get("a")->update(message,
                                {.status = 429, .retry_after = 60s, .from_discord = false});
    CHECK(!users.request("c"));

    const auto address = std::make_shared<sluice::Address>();
    Users others({.manager = {.address = address}});
    CHECK(others.pool.address() == address);
    CHECK(others.request("c"));
}

TEST_CASE("of too many managers the one asked for least recently is forgotten") {
    Users users({.max_managers = 3});
    const sluice::Response open = answer(5, 4, 60s);
    for (const auto* user : {"a", "b", "c"})
        users.request(user, open);
    (void)users.pool.get("a");
    users.request("d", open);
    CHECK(users.pool.size() == 3);
    CHECK(users.remembers("a"));
    CHECK(users.remembers("c"));
    CHECK(users.remembers("d"));
    CHECK(!users.remembers("b"));
}

TEST_CASE("of too many managers one that has nothing to lose is forgotten first") {
    Users users({.max_managers = 3});
    users.request("window", answer(5, 4, 60s));
    users.pool.get("refused")->update(get_me(), {.status = 401});
    users.request("over", answer(5, 4, 1s));
    users.clock.run_for(users.io, 30s);
    users.request("new", answer(5, 4, 60s));
    CHECK(users.pool.size() == 3);
    CHECK(users.remembers("window"));
    CHECK(users.remembers("new"));
    CHECK(!users.request("refused"));
    CHECK(users.pool.size() == 3);
    CHECK(!users.remembers("over"));
}

TEST_CASE("what is held, queued or in flight is never forgotten, and the pool grows for it") {
    Users users({.max_managers = 2, .idle_time = 1s});
    const auto held = users.pool.get("held");
    std::optional<sluice::Ticket> in_flight = users.pool.get("in flight")->try_acquire(message);
    REQUIRE(in_flight);
    CHECK(users.request("queued", answer(1, 0, 600s)));
    Ending ending;
    users.pool.get("queued")->async_acquire(message, into(ending));
    users.clock.run_for(users.io, 60s);
    for (int i = 0; i < 100; ++i)
        users.request(std::to_string(i));
    CHECK(users.pool.size() == 4); // these three and the last
    CHECK(users.pool.get("held") == held);
    CHECK(users.pool.get("in flight")->stats().in_flight == 1);
    CHECK(users.pool.get("queued")->stats().queued == 1);
    users.clock.run_for(users.io, 600s);
    CHECK(ending.granted());
}

TEST_CASE("the pool shrinks to its bound again when less is in use") {
    Users users({.max_managers = 10});
    std::vector<std::shared_ptr<Manager>> held;
    for (int i = 0; i < 100; ++i)
        held.push_back(users.pool.get(std::to_string(i)));
    CHECK(users.pool.size() == 100);
    held.clear();
    for (int i = 0; i < 100; ++i)
        (void)users.pool.get("7");
    CHECK(users.pool.size() == 10);
}

TEST_CASE("a manager that was not asked for is forgotten after the idle time, if its windows are "
          "over") {
    Users users({.idle_time = 60s});
    users.request("short", answer(5, 4, 1s));
    users.request("long", answer(5, 4, 600s));
    users.clock.run_for(users.io, 59s);
    (void)users.pool.get("x");
    CHECK(users.pool.size() == 3);
    users.clock.run_for(users.io, 2s);
    (void)users.pool.get("x");
    CHECK(users.pool.size() == 2);
    CHECK(users.remembers("long"));
    users.clock.run_for(users.io, 700s);
    (void)users.pool.get("x");
    CHECK(users.pool.size() == 1);
}

TEST_CASE("100,000 individuals leave no more managers than the bound") {
    Users users;
    std::size_t most = 0;
    for (int i = 0; i < 100'000; ++i) {
        users.request("Bearer " + std::to_string(i), answer(5, 4, 600s));
        most = std::max(most, users.pool.size());
    }
    CHECK(most == 1'000);
}

TEST_CASE("closing the pool ends waiters, and what it gives afterwards is closed") {
    Users users;
    const auto known = users.pool.get("a");
    CHECK(users.request("a", answer(1, 0, 60s)));
    Ending before;
    Ending after;
    Ending unknown;
    known->async_acquire(message, into(before));
    users.pool.close();
    users.pool.get("a")->async_acquire(message, into(after));
    users.pool.get("b")->async_acquire(message, into(unknown));
    users.clock.run(users.io);
    CHECK(before.failed(errc::closed));
    CHECK(after.failed(errc::closed));
    CHECK(unknown.failed(errc::closed));
    CHECK(users.pool.size() == 1);
}

TEST_CASE("each manager is visited once, the one asked for last first") {
    Users users;
    const auto a = users.pool.get("a");
    const auto b = users.pool.get("b");
    std::vector<Manager*> seen;
    users.pool.each([&](Manager& manager) {
        seen.push_back(&manager);
        (void)users.pool.size(); // the pool is not locked
    });
    CHECK(seen == std::vector<Manager*>{b.get(), a.get()});
}

TEST_CASE("an observer may ask the pool, also while managers are being forgotten") {
    asio::io_context io;
    Clock clock;
    std::size_t told = 0;
    std::optional<Pool> pool;
    pool.emplace(io,
                 sluice::ManagersOptions{.manager = {.observer =
                                                         [&](const sluice::Event&) {
                                                             ++told;
                                                             (void)pool->size();
                                                         }},
                                         .max_managers = 1},
                 clock);
    for (int i = 0; i < 10; ++i) {
        auto ticket = pool->get(std::to_string(i))->try_acquire(message);
        REQUIRE(ticket);
        ticket->update(answer(5, 4, 1s));
        clock.run_for(io, 60s);
    }
    CHECK(told > 10);
}

TEST_CASE("a manager that is held outlives the pool, and the pool its context") {
    Clock clock;
    auto io = std::make_unique<asio::io_context>();
    std::optional<Pool> pool(std::in_place, *io, sluice::ManagersOptions{}, clock);
    const auto held = pool->get("a");
    pool.reset();
    CHECK(held->try_acquire(message).has_value());
    pool.emplace(*io, sluice::ManagersOptions{}, clock);
    (void)pool->get("a");
    io.reset();
    CHECK(!pool->get("a")->try_acquire(message));
    CHECK(!pool->get("b")->try_acquire(message));
}

TEST_CASE("threads may ask for managers at once") {
    asio::io_context io;
    sluice::Managers pool(io, {.max_managers = 8});
    const auto ask = [&] {
        bool right = true;
        for (int i = 0; i < 500; ++i) {
            const auto manager = pool.get(std::to_string(i % 20));
            auto ticket = manager->try_acquire(create_message(static_cast<std::uint64_t>(i)));
            if (ticket) ticket->cancel();
            right = right && manager != nullptr;
        }
        return right;
    };
    std::vector<std::future<bool>> results(4);
    for (auto& result : results)
        result = std::async(std::launch::async, ask);
    for (auto& result : results)
        CHECK(result.get());
    CHECK(pool.size() <= 12);
}
