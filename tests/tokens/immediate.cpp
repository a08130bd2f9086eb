// SPDX-License-Identifier: MIT
//
// Completion before the initiating function returns, for handlers that say where that may be.
#include "support/operations.hpp"

#include <boost/version.hpp>

#if BOOST_VERSION >= 108200

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/bind_immediate_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/system_executor.hpp>

#include <optional>
#include <utility>

namespace {

namespace asio = boost::asio;
using namespace sluice::tests;

/// Runs whatever it is given in the call that gives it.
const asio::system_executor here;

template <class Token>
auto at_once(Token&& token) {
    return asio::bind_immediate_executor(here, std::forward<Token>(token));
}

} // namespace

#define SLUICE_TESTS_WAITS                                                                         \
    sluice::tests::Acquire, sluice::tests::Identify, sluice::tests::Send, sluice::tests::Reacquire

TEMPLATE_TEST_CASE("what need not wait completes at once on an immediate executor", "",
                   SLUICE_TESTS_WAITS) {
    OperationsWorld world;
    Completion completion;
    TestType::begin(world, at_once(completion.handler<TestType>()));
    completion.check_success();
    world.check_idle();
    CHECK(world.io.poll() == 0);
}

TEMPLATE_TEST_CASE("without an immediate executor completion is posted", "", SLUICE_TESTS_WAITS) {
    using Handler = asio::any_completion_handler<typename TestType::Signature>;
    OperationsWorld world;
    Completion completion;
    TestType::begin(world, completion.handler<TestType>());
    TestType::begin(world, asio::bind_executor(world.io, completion.handler<TestType>()));
    TestType::begin(world, Handler(completion.handler<TestType>())); // may have one, and has none
    CHECK(completion.calls == 0);
    world.clock.run(world.io);
}

TEST_CASE("a hidden handler has the immediate executor of what it hides") {
    OperationsWorld world;
    Completion completion;
    Acquire::begin(world, asio::any_completion_handler<Acquire::Signature>(
                              at_once(completion.handler<Acquire>())));
    completion.check_success();
    world.check_idle();
}

TEST_CASE("what completes at once goes on the handler's own executor") {
    OperationsWorld world;
    asio::io_context other;
    Completion completion;
    Acquire::begin(world, at_once(asio::bind_executor(other, completion.handler<Acquire>())));
    CHECK(completion.calls == 0);
    other.run();
    completion.check_success();
    world.check_idle();
}

TEST_CASE("what has to wait is posted in spite of an immediate executor") {
    OperationsWorld world;
    world.spend();
    Completion completion;
    Acquire::begin(world, at_once(completion.handler<Acquire>()));
    world.clock.advance(std::chrono::hours(2));
    (void)world.limiter.timeout_for(operations_route(2)); // grants it
    CHECK(completion.calls == 0);
    world.clock.run(world.io);
    completion.check_success();
}

TEST_CASE("a request that overtakes nobody waits behind others in spite of an immediate executor") {
    OperationsWorld world;
    Completion first;
    Completion second;
    Acquire::begin(world, first.handler<Acquire>());
    Acquire::begin(world, at_once([&](error_code code, sluice::Ticket ticket) {
                       CHECK(first.calls == 1);
                       second.take<Acquire>(code, std::move(ticket));
                   }));
    world.clock.run(world.io);
    second.check_success();
}

TEST_CASE("a refusal that is known at once is told at once on an immediate executor") {
    OperationsWorld world;
    world.limiter.close();
    Completion completion;
    Acquire::begin(world, at_once(completion.handler<Acquire>()));
    CHECK(completion.calls == 1);
    CHECK(completion.code == sluice::errc::closed);
}

TEST_CASE("a wait with an immediate executor can be cancelled") {
    OperationsWorld world;
    world.spend();
    asio::cancellation_signal signal;
    Completion completion;
    Acquire::begin(
        world, at_once(asio::bind_cancellation_slot(signal.slot(), completion.handler<Acquire>())));
    signal.emit(asio::cancellation_type::total);
    CHECK(completion.calls == 0); // not inside of emit()
    world.clock.run(world.io);
    CHECK(completion.code == asio::error::operation_aborted);
    world.check_idle();
}

TEST_CASE("a coroutine goes on at once where it awaits on an immediate executor") {
    OperationsWorld world;
    int calls = 0;
    auto twice = [&]() -> asio::awaitable<void> {
        for (int i = 0; i < 2; ++i) {
            auto ticket =
                co_await world.limiter.async_acquire(world.route, at_once(asio::deferred));
            ticket.cancel();
            ++calls;
        }
    };
    asio::co_spawn(world.io, twice(), asio::detached);
    world.io.run_one();
    CHECK(calls == 2);
}

#endif
