// SPDX-License-Identifier: MIT
#include <sluice/core/fifo.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <random>

namespace {

using sluice::core::Fifo;

} // namespace

TEST_CASE("a fifo behaves as a deque does, however often its front is cut off") {
    std::mt19937 random(1);
    Fifo<int> fifo;
    std::deque<int> model;
    for (int step = 0; step < 20'000; ++step) {
        // Grows and shrinks in turns.
        const bool grows = random() % 10 < (step / 1'000 % 2 == 0 ? 7U : 3U);
        if (grows) {
            fifo.push_back(step);
            model.push_back(step);
        } else if (!model.empty()) {
            fifo.pop_front();
            model.pop_front();
        }
        REQUIRE(fifo.size() == model.size());
        REQUIRE(fifo.empty() == model.empty());
        if (model.empty()) continue;
        const std::size_t any = random() % model.size();
        REQUIRE(fifo.front() == model.front());
        REQUIRE(fifo.back() == model.back());
        REQUIRE(fifo[any] == model[any]);
    }
}

TEST_CASE("a fifo of steady length does not grow") {
    Fifo<int> fifo;
    for (int i = 0; i < 100; ++i)
        fifo.push_back(i);
    const int* lowest = &fifo.front();
    const int* highest = lowest;
    for (int i = 0; i < 100'000; ++i) {
        fifo.pop_front();
        fifo.push_back(i);
        if (i < 1'000) { // it may still double once
            lowest = highest = &fifo[0];
            continue;
        }
        lowest = std::min(lowest, &fifo.front());
        highest = std::max(highest, &fifo.back());
    }
    CHECK(highest - lowest < 400);
}
