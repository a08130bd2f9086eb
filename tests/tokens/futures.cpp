// SPDX-License-Identifier: MIT
//
// Every operation as a future, a promise and one of a group.
#include "support/operations.hpp"

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/experimental/promise.hpp>
#include <boost/asio/experimental/use_promise.hpp>
#include <boost/asio/use_future.hpp>

#include <chrono>
#include <future>
#include <type_traits>

namespace {

namespace asio = boost::asio;
using namespace sluice::tests;
using namespace std::chrono_literals;

} // namespace

TEMPLATE_TEST_CASE("an operation takes use_future", "", SLUICE_TESTS_OPERATIONS) {
    OperationsWorld world;
    auto future = TestType::begin(world, asio::bind_executor(world.io, asio::use_future));
    world.clock.run(world.io);
    REQUIRE(future.wait_for(0s) == std::future_status::ready);
    if constexpr (gives_permission<TestType>) {
        future.get().cancel();
    } else {
        future.get();
    }
    world.check_idle();
}

TEMPLATE_TEST_CASE("an operation takes use_promise", "", SLUICE_TESTS_OPERATIONS) {
    OperationsWorld world;
    Completion completion;
    auto promise =
        TestType::begin(world, asio::bind_executor(world.io, asio::experimental::use_promise));
    // Awaited afterwards: one that waits gets a moved-from result on Boost 1.81.
    world.clock.run(world.io);
    promise(asio::bind_executor(world.io, completion.handler<TestType>()));
    world.clock.run(world.io);
    completion.check_success();
    world.check_idle();
}

TEMPLATE_TEST_CASE("an operation may be one of a group", "", SLUICE_TESTS_OPERATIONS) {
    // The clock's own operation would end in a thread of the system's: it is only compiled.
    if constexpr (std::is_same_v<TestType, Sleep>) return;
    OperationsWorld world;
    int ended = 0;
    asio::experimental::make_parallel_group(TestType::begin(world, asio::deferred),
                                            TestType::begin(world, asio::deferred))
        .async_wait(asio::experimental::wait_for_one(),
                    asio::bind_executor(world.io, [&](auto...) { ++ended; }));
    world.clock.run(world.io);
    CHECK(ended == 1);
}
