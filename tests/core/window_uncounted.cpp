// SPDX-License-Identifier: MIT
//
// Successes that name an end and no readable count. Each has spent one of the window that it was
// decided in; if that is over, nothing of the next.
#include <sluice/core/window.hpp>
#include <sluice/detail/read_answer.hpp>
#include <sluice/response.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace sluice::core;
using namespace std::chrono_literals;

constexpr Time start = Time(1h);
constexpr Duration round_trip = 100ms;

/// To a request sent at `sent`; the end that it names lies `reset_after` behind its way back.
Observation uncounted(Duration sent, const std::string& reset_after, const std::string& remaining) {
    const std::vector<std::pair<std::string, std::string>> headers{
        {"X-RateLimit-Limit", "5"},
        {"X-RateLimit-Remaining", remaining},
        {"X-RateLimit-Reset-After", reset_after},
    };
    Observation seen =
        sluice::detail::read_observation(sluice::Response::parse(200, headers, std::string()));
    seen.sent = start + sent;
    seen.received = seen.sent + round_trip;
    return seen;
}

Observation counted(Duration sent, std::int64_t remaining, Duration reset_after) {
    Observation seen;
    seen.sent = start + sent;
    seen.received = seen.sent + round_trip;
    seen.limit = 5;
    seen.remaining = remaining;
    seen.reset_after = reset_after;
    return seen;
}

/// Spent, and over at start + 1001 ms.
Window over() {
    Window window;
    window.accept(counted(-100ms, 0, 1s), round_trip);
    CHECK(window.available(start + 1001ms, 0, round_trip) == 5);
    return window;
}

} // namespace

TEST_CASE("a success without a readable count leaves a window that is over full", "[R22]") {
    const std::string remaining = GENERATE("", "-1", "0.0", "0, 0", "none");
    CAPTURE(remaining);
    Window window = over();
    SECTION("its own is over when it comes, less the way there") {
        window.accept(uncounted(950ms, "0.000", remaining), round_trip);
    }
    SECTION("it is of an older one") {
        window.accept(uncounted(0ms, "0.050", remaining), round_trip);
    }
    CHECK(window.told() == 5);
    CHECK_FALSE(window.deadline());
    CHECK(window.available(start + 1200ms, 0, round_trip) == 5);
}

TEST_CASE("a success without a readable count spends one of its window, until that is over") {
    Window window = over();
    window.accept(uncounted(1010ms, "1.000", "-1"), round_trip);
    CHECK(window.told() == 4);
    CHECK(window.deadline() == start + 2111ms);
    window.accept(uncounted(900ms, "0.000", "-1"), round_trip); // of the one before
    CHECK(window.told() == 4);
    CHECK(window.available(start + 2111ms, 0, Duration(0)) == 5);
}

TEST_CASE("a success that names neither count nor end takes one of the next window, not all") {
    Window window;
    window.accept(counted(-100ms, 0, 1s), round_trip);
    Observation silent = counted(1s, 0, 1s);
    silent.remaining = std::nullopt;
    silent.reset_after = std::nullopt;
    window.accept(silent, round_trip);
    CHECK(window.told() == 4);
}
