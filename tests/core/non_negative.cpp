// SPDX-License-Identifier: MIT
#include <sluice/core/non_negative.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <optional>

namespace {

using namespace std::chrono_literals;
using Count = sluice::core::NonNegative<std::int64_t>;
using Wait = sluice::core::NonNegative<std::chrono::nanoseconds>;

} // namespace

TEST_CASE("a number that is not negative is there, 0 as well") {
    CHECK(Count(0).has_value());
    CHECK(*Count(7) == 7);
    CHECK(*Wait(5s) == 5s);
    CHECK(Count(7).value_or(9) == 7);
}

TEST_CASE("a negative number is absent, as one that was never given") {
    CHECK_FALSE(Count());
    CHECK_FALSE(Count(std::nullopt));
    CHECK_FALSE(Count(-1));
    CHECK_FALSE(Count(std::optional<std::int64_t>(-5)));
    CHECK_FALSE(Wait(-1ns));
    CHECK(Wait(-2s).value_or(3s) == 3s);
    Count forgotten = 7;
    forgotten.reset();
    CHECK_FALSE(forgotten);
}

TEST_CASE("absent numbers equal each other, and no number") {
    CHECK(Count(-1) == Count(-2));
    CHECK(Count(std::optional<std::int64_t>(4)) == 4);
    CHECK_FALSE(Count() == 0);
    CHECK_FALSE(Count(3) == Count(4));
}
