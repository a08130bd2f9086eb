// SPDX-License-Identifier: MIT
//
// Time never runs backwards for a limiter, whatever its clock does.
#include "support/catch.hpp"
#include "support/operations.hpp"

#include <boost/asio/io_context.hpp>

#include <chrono>

namespace {

using namespace sluice::tests;
using namespace std::chrono_literals;

/// The limiter has seen a time that its clock comes to after one minute only.
template <class Operation>
void step_back(OperationsWorld& world) {
    world.clock.advance(1min);
    REQUIRE(Operation::timeout(world) == 0s);
    world.clock.advance(-1min);
}

} // namespace

TEMPLATE_TEST_CASE("when the clock steps back, nobody waits for longer than before", "",
                   SLUICE_TESTS_LIMITERS) {
    OperationsWorld world;
    TestType::spend(world);
    const auto whole = TestType::timeout(world).value();
    world.clock.advance(whole / 2);
    const auto half = TestType::timeout(world).value();
    CHECK(half == whole - whole / 2);
    world.clock.advance(-whole / 4);
    CHECK(TestType::timeout(world) == half);
    world.clock.advance(whole / 4 + half);
    CHECK(TestType::timeout(world) == 0s);
}

TEMPLATE_TEST_CASE("what is used while the clock is behind counts from the latest time seen", "",
                   SLUICE_TESTS_LIMITERS) {
    OperationsWorld world;
    step_back<TestType>(world);
    TestType::spend(world);
    const auto whole = TestType::timeout(world);
    world.clock.advance(59s);
    CHECK(TestType::timeout(world) == whole);
}

TEMPLATE_TEST_CASE("who waits while the clock is behind is served when it has caught up", "",
                   SLUICE_TESTS_LIMITERS) {
    OperationsWorld world;
    step_back<TestType>(world);
    TestType::spend(world);
    const auto whole = TestType::timeout(world).value();
    Completion completion;
    TestType::begin(world, completion.handler<TestType>());
    world.clock.run_for(world.io, whole + 59s);
    CHECK(completion.calls == 0);
    world.clock.run_for(world.io, 1s);
    completion.check_success();
}

TEST_CASE("the day of an identify queue begins when it is made, though its clock steps back") {
    OperationsWorld world;
    world.clock.advance(-30min);
    const auto left = world.identifies.stats().reset_after.value();
    CHECK(left >= 1h);
    CHECK(left < 1h + 1s); // and the margin
}
