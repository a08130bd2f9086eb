// SPDX-License-Identifier: MIT
//
// Every operation with functions as completion tokens, and what Asio makes of functions.
#include "support/operations.hpp"

#include <boost/asio/append.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/consign.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/prepend.hpp>
#include <boost/version.hpp>

#if BOOST_VERSION >= 108600
#include <boost/asio/cancel_after.hpp>
#include <boost/asio/cancel_at.hpp>
#endif

#include <chrono>
#include <memory>
#include <optional>
#include <type_traits>

namespace {

namespace asio = boost::asio;
using namespace sluice::tests;
using namespace std::chrono_literals;

} // namespace

TEMPLATE_TEST_CASE("an operation takes a plain function", "", SLUICE_TESTS_OPERATIONS) {
    OperationsWorld world;
    Completion completion;
    if constexpr (std::is_same_v<TestType, Sleep>) { // the clock has no context to complete on
        (void)[&] {
            TestType::begin(world, completion.handler<TestType>());
        }; // but it compiles
        TestType::begin(world, asio::bind_executor(world.io, completion.handler<TestType>()));
    } else {
        TestType::begin(world, completion.handler<TestType>());
    }
    CHECK(completion.calls == 0);
    world.clock.run(world.io);
    completion.check_success();
    world.check_idle();
}

TEST_CASE("a function that reacquires an empty ticket is called with closed") {
    OperationsWorld world;
    sluice::Ticket empty;
    Completion completion;
    empty.async_reacquire(asio::bind_executor(world.io, completion.handler<Reacquire>()));
    (void)[&] {
        empty.async_reacquire(completion.handler<Reacquire>());
    };
    CHECK(completion.calls == 0);
    world.clock.run(world.io);
    CHECK(completion.calls == 1);
    CHECK(completion.code == sluice::errc::closed);
}

TEST_CASE("an operation takes the adapters of a function") {
    OperationsWorld world;
    asio::cancellation_signal signal;
    int calls = 0;
    auto count = [&](auto...) { ++calls; };
    auto begin = [&](auto token) {
        world.limiter.async_acquire(world.route,
                                    asio::bind_cancellation_slot(signal.slot(), std::move(token)));
    };
    begin(asio::prepend(count, 1));
    begin(asio::append(count, 1));
    begin(asio::consign(count, std::make_unique<int>(1)));
    begin(asio::detached);
    world.clock.run(world.io);
    CHECK(calls == 3);
}

#if BOOST_VERSION >= 108600
TEMPLATE_TEST_CASE("an operation takes cancel_after and cancel_at", "", SLUICE_TESTS_OPERATIONS) {
    // The clock's own operation would go on in a thread of the system's: it is only compiled.
    if constexpr (std::is_same_v<TestType, Sleep>) return;
    OperationsWorld world;
    int calls = 0;
    auto count = [&](auto...) { ++calls; };
    TestType::begin(world, asio::cancel_after(1h, asio::bind_executor(world.io, count)));
    TestType::begin(world, asio::cancel_at(std::chrono::steady_clock::now() + 1h,
                                           asio::bind_executor(world.io, count)));
    world.clock.run(world.io);
    CHECK(calls == 2);
    world.check_idle();
}

TEST_CASE("cancel_after ends a wait") {
    OperationsWorld world;
    world.spend();
    Completion completion;
    world.limiter.async_acquire(world.route,
                                asio::cancel_after(1ns, completion.handler<Acquire>()));
    while (completion.calls == 0) // Asio's own timer, which knows no other clock
        world.io.run_one();
    CHECK(completion.code == asio::error::operation_aborted);
    world.check_idle();
}
#endif
