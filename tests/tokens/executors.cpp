// SPDX-License-Identifier: MIT
//
// Every operation with handlers whose executor answers no query, or cannot be posted to, and with
// those whose type is hidden.
#include "support/operations.hpp"

#include <boost/asio/any_completion_executor.hpp>
#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/system_executor.hpp>
#include <boost/version.hpp>

#if __has_include(<boost/asio/inline_executor.hpp>)
#include <boost/asio/inline_executor.hpp>
#define SLUICE_TESTS_INLINE_EXECUTOR
#endif

#include <future>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace {

namespace asio = boost::asio;
using namespace sluice::tests;

/// All that Asio asks of an executor.
struct MinimalExecutor {
    int* executed;

    template <class Function>
    void execute(Function&& function) const {
        ++*executed;
        std::forward<Function>(function)();
    }
    bool operator==(const MinimalExecutor&) const noexcept = default;
};
static_assert(!sluice::detail::ContextExecutor<MinimalExecutor>);
static_assert(!sluice::detail::ContextExecutor<asio::any_completion_executor>);
static_assert(sluice::detail::ContextExecutor<asio::any_io_executor>);
static_assert(sluice::detail::ContextExecutor<asio::io_context::executor_type>);
static_assert(sluice::detail::ContextExecutor<asio::system_executor>);

template <class Operation, class Executor>
void complete_on(OperationsWorld& world, const Executor& executor) {
    Completion completion;
    Operation::begin(world, asio::bind_executor(executor, completion.handler<Operation>()));
    CHECK(completion.calls == 0);
    world.clock.run(world.io);
    completion.check_success();
    world.check_idle();
}

} // namespace

TEMPLATE_TEST_CASE("a handler may complete on an executor that can only execute", "",
                   SLUICE_TESTS_OPERATIONS) {
    OperationsWorld world;
    int executed = 0;
    complete_on<TestType>(world, MinimalExecutor{&executed});
    CHECK(executed > 0);
}

TEMPLATE_TEST_CASE("a handler may complete on an any_completion_executor", "",
                   SLUICE_TESTS_OPERATIONS) {
    OperationsWorld world;
    complete_on<TestType>(world, asio::any_completion_executor(world.io.get_executor()));
}

TEMPLATE_TEST_CASE("an operation takes an any_completion_handler", "", SLUICE_TESTS_OPERATIONS) {
    using Handler = asio::any_completion_handler<typename TestType::Signature>;
    OperationsWorld world;
    asio::io_context other;
    Completion completion;
    auto handler = completion.handler<TestType>();
    if constexpr (!std::is_same_v<TestType, Sleep>) { // the clock has no context to complete on
        TestType::begin(world, Handler(handler));
        CHECK(completion.calls == 0);
        world.clock.run(world.io);
        completion.check_success();
        completion = {};
    }
    TestType::begin(world, Handler(asio::bind_executor(other, handler)));
    world.clock.run(world.io);
    CHECK(completion.calls == 0);
    other.run();
    completion.check_success();
    world.check_idle();
}

#ifdef SLUICE_TESTS_INLINE_EXECUTOR
TEMPLATE_TEST_CASE("a handler may complete on an inline_executor", "", SLUICE_TESTS_OPERATIONS) {
    OperationsWorld world;
    complete_on<TestType>(world, asio::inline_executor());
}
#endif

TEST_CASE("an empty ticket completes on whatever executor its handler has") {
    sluice::Ticket empty;
    const auto code = std::make_shared<std::promise<error_code>>();
    auto ended = code->get_future();
    // Asio's system executor hands it over, on a thread of its own, which may outlive the test.
    empty.async_reacquire(asio::any_completion_handler<void(error_code)>(
        [code](error_code with) { code->set_value(with); }));
    CHECK(ended.get() == sluice::errc::closed);
}

TEST_CASE("the limiter's context goes on while a handler waits that has no context itself") {
    OperationsWorld world;
    std::optional<sluice::Ticket> first = world.spend_unknown();
    Completion completion;
    int executed = 0;
    world.limiter.async_acquire(world.route, asio::bind_executor(MinimalExecutor{&executed},
                                                                 completion.handler<Acquire>()));
    world.io.poll();
    CHECK_FALSE(world.io.stopped());
    first->update({.status = 200});
    world.io.run();
    completion.check_success();
}

TEST_CASE("a handler without a context of its own is destroyed with the limiter's") {
    int executed = 0;
    Completion completion;
    std::weak_ptr<int> seen;
    {
        OperationsWorld world;
        const std::optional<sluice::Ticket> first = world.spend_unknown();
        auto token = std::make_shared<int>(1);
        seen = token;
        world.limiter.async_acquire(
            world.route,
            asio::bind_executor(
                MinimalExecutor{&executed},
                [&, token = std::move(token)](error_code, sluice::Ticket) { ++completion.calls; }));
        world.io_owner.reset();
        CHECK(seen.expired());
    }
    CHECK(completion.calls == 0);
    CHECK(executed == 0);
}
