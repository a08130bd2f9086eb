// SPDX-License-Identifier: MIT
//
// detail/short_lock.hpp: for how long a thread leaves a taken mutex to others. That it locks in the
// end is tested with the limiter, by bucket_manager_end.cpp.
#include <sluice/detail/short_lock.hpp>

#include "support/catch.hpp"

#include <chrono>

namespace {

using namespace std::chrono_literals;
using sluice::detail::Patience;

/// Each wait lasts as long as it was told to; between two of them time may pass.
struct Waits {
    std::chrono::microseconds next() {
        const auto turn = patience.next(now);
        now += turn;
        patience.waited(now);
        return turn;
    }

    Patience patience;
    Patience::Clock::time_point now{1h};
};

} // namespace

TEST_CASE("who has to wait again and again leaves the mutex alone for ever longer, up to a limit") {
    Waits waits;
    auto last = waits.next();
    CHECK(last == Patience::shortest);
    while (last < Patience::longest) {
        waits.now += last; // as long as the other's turn
        const auto turn = waits.next();
        REQUIRE(turn == 2 * last);
        last = turn;
    }
    CHECK(waits.next() == Patience::longest);
}

TEST_CASE("who has not had to wait for a while looks again soon") {
    Waits waits;
    for (int i = 0; i < 6; ++i)
        waits.next();
    waits.now += 1ms;
    CHECK(waits.next() == Patience::shortest);
    waits.now += 4us;
    CHECK(waits.next() == Patience::shortest);
}
