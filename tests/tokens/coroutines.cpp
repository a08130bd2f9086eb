// SPDX-License-Identifier: MIT
//
// Every operation awaited in each of Asio's coroutines, and without a token.
#include "support/operations.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/version.hpp>

#if BOOST_VERSION >= 108300
#include <boost/asio/experimental/coro.hpp>
#include <boost/asio/experimental/use_coro.hpp>
#endif
#if __has_include(<boost/asio/experimental/co_composed.hpp>)
#include <boost/asio/experimental/co_composed.hpp>
#define SLUICE_TESTS_CO_COMPOSED
#endif

#include <chrono>
#include <exception>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace {

namespace asio = boost::asio;
using namespace sluice::tests;
using namespace std::chrono_literals;

void rethrow(std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
}

/// Runs the coroutine, and then what it has left.
void run(OperationsWorld& world, asio::awaitable<void> coroutine) {
    asio::co_spawn(world.io, std::move(coroutine), rethrow);
    world.clock.run(world.io);
}

template <class Operation>
asio::awaitable<void> await_with_each_token(OperationsWorld& world, Completion& completion) {
    auto deferred = co_await Operation::begin(world, asio::as_tuple(asio::deferred));
    completion.take_tuple<Operation>(deferred);
    auto awaited = co_await Operation::begin(world, asio::as_tuple(asio::use_awaitable));
    completion.take_tuple<Operation>(awaited);
    if constexpr (!gives_permission<Operation>) {
        error_code code = asio::error::fault;
        co_await Operation::begin(world, asio::redirect_error(asio::use_awaitable, code));
        CHECK(code == error_code());
        co_await Operation::begin(world, asio::deferred);
    }
}

template <class Operation>
asio::awaitable<void> await_without_token(OperationsWorld& world, int& ended) {
    if constexpr (gives_permission<Operation>) {
        auto permission = co_await Operation::begin(world);
        permission.cancel();
    } else {
        co_await Operation::begin(world);
    }
    ++ended;
}

#if BOOST_VERSION >= 108300
/// A function, because Asio looks into the arguments of a coro.
template <class Operation>
asio::experimental::coro<void> await_in_coro(asio::any_io_executor, OperationsWorld& world,
                                             int& ended) {
    if constexpr (gives_permission<Operation>) {
        auto permission = co_await Operation::begin(world, asio::experimental::use_coro);
        permission.cancel();
    } else {
        co_await Operation::begin(world, asio::experimental::use_coro);
    }
    ++ended;
}
#endif

} // namespace

TEMPLATE_TEST_CASE("an operation takes deferred and use_awaitable", "", SLUICE_TESTS_OPERATIONS) {
    OperationsWorld world;
    Completion completion;
    run(world, await_with_each_token<TestType>(world, completion));
    completion.check_success(2);
    world.check_idle();
}

TEMPLATE_TEST_CASE("an operation without a token completes with Asio's default", "",
                   SLUICE_TESTS_OPERATIONS) {
    if constexpr (!std::is_void_v<sluice::detail::DefaultToken<asio::any_io_executor>>) {
        OperationsWorld world;
        int ended = 0;
        run(world, await_without_token<TestType>(world, ended));
        CHECK(ended == 1);
        world.check_idle();
    }
}

TEST_CASE("a limiter's default token is that of its executor") {
    using asio::use_awaitable_t;
    OperationsWorld world;
    use_awaitable_t<>::as_default_on_t<Limiter> limiter{world.io, {}, world.clock};
    auto sends = use_awaitable_t<>::as_default_on(Sends(world.io, {}, world.clock));
    auto identifies = use_awaitable_t<>::as_default_on(std::move(world.identifies));
    CHECK(limiter.get_executor() == world.io.get_executor());
    int ended = 0;
    auto each = [&]() -> asio::awaitable<void> {
        asio::awaitable<sluice::Ticket> waiting = limiter.async_acquire(world.route);
        sluice::Ticket ticket = co_await std::move(waiting);
        ticket.cancel();
        ticket = co_await limiter.async_acquire(world.route, {.max_wait = 1s});
        ticket.cancel();
        auto send = co_await sends.async_acquire(sluice::gateway::Opcode::presence_update);
        send.cancel();
        auto identify = co_await identifies.async_acquire(1);
        identify.cancel();
        ++ended;
    };
    run(world, each());
    CHECK(ended == 1);
    CHECK(limiter.stats().in_flight == 0);
}

#if BOOST_VERSION >= 108300 // before, a coro could not await an error code and a value
TEMPLATE_TEST_CASE("an operation takes use_coro", "", SLUICE_TESTS_OPERATIONS) {
    OperationsWorld world;
    int ended = 0;
    auto coroutine = await_in_coro<TestType>(world.io.get_executor(), world, ended);
    // The clock's own operation would go on in a thread of the system's: it is only compiled.
    if constexpr (std::is_same_v<TestType, Sleep>) return;
    coroutine.async_resume(asio::bind_executor(world.io, rethrow));
    world.clock.run(world.io);
    CHECK(ended == 1);
    world.check_idle();
}
#endif

#ifdef SLUICE_TESTS_CO_COMPOSED
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete" // Boost's own operators
#endif

namespace {

auto acquire_twice(Limiter& limiter, sluice::Route route, auto&& token) {
    return asio::async_initiate<decltype(token), void(error_code)>(
        asio::experimental::co_composed<void(error_code)>(
            [](auto, std::reference_wrapper<Limiter> its, sluice::Route where) -> void {
                for (int i = 0; i < 2; ++i) {
                    auto [code, ticket] =
                        co_await its.get().async_acquire(where, asio::as_tuple(asio::deferred));
                    ticket.cancel();
                    if (code) co_return code;
                }
                co_return error_code();
            },
            limiter),
        token, std::ref(limiter), route);
}

} // namespace

TEST_CASE("a limiter may be what a composed operation goes on") {
    OperationsWorld world;
    Completion completion;
    acquire_twice(world.limiter, world.route, completion.handler<Sleep>());
    world.clock.run(world.io);
    completion.check_success();
    world.check_idle();
}
#endif
