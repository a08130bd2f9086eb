// SPDX-License-Identifier: MIT
//
// Requests that leave together while a window ends: some are decided in it, some in the next one,
// and their answers come mixed. Those of the older window must not make room in the newer one.
#include <sluice/core/window.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cstdint>

namespace {

using namespace sluice::core;
using namespace std::chrono_literals;

constexpr Duration none{0};

/// Times in ms. Discord's clock reads the same.
struct Seen {
    int sent;
    int received;
    std::int64_t remaining;
    int reset_after;
    int reset;
};

void accept(Window& window, const Seen& seen) {
    const auto ms = [](int count) { return std::chrono::milliseconds(count); };
    Observation answer;
    answer.sent = Time(1h) + ms(seen.sent);
    answer.received = Time(1h) + ms(seen.received);
    answer.limit = 36;
    answer.remaining = seen.remaining;
    answer.reset_after = ms(seen.reset_after);
    answer.reset = Duration(1h) + ms(seen.reset);
    window.accept(answer, none);
}

/// One whose last window is over, after answers that named its end so often.
Window rolled(int answers) {
    Window window;
    for (int i = 0; i < answers; ++i)
        accept(window, {0, 60, 35 - i, 500, 530});
    CHECK(window.available(Time(1h) + 3s, 0, none) == 36);
    return window;
}

} // namespace

TEST_CASE("an end that lies before all that the window's own answers allow does not narrow it") {
    Window window = rolled(1);
    accept(window, {6039, 6791, 35, 500, 7009});
    accept(window, {6791, 7130, 24, 466, 7525}); // of the next window
    accept(window, {6791, 7186, 33, 1, 7009});   // of the one before, sent since the last roll
    CHECK(window.told() == 24);
    accept(window, {6791, 7270, 35, 500, 7525}); // the first of the next one, late
    CHECK(window.told() == 24);
}

TEST_CASE("where clocks agree a Reset of the window before is never taken for one of this") {
    Window window = rolled(6);
    accept(window, {12'403, 12'879, 35, 500, 13'130});
    accept(window, {12'879, 13'191, 28, 460, 13'630});
    accept(window, {12'879, 13'257, 33, 488, 13'630});
    accept(window, {12'879, 13'367, 31, 4, 13'130}); // its end may be the same but for Reset
    CHECK(window.told() == 28);
    accept(window, {12'879, 13'414, 35, 500, 13'630});
    CHECK(window.told() == 28);
}
