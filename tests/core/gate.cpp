// SPDX-License-Identifier: MIT
//
// What every request of an outgoing address has to pass: blocks, spacing and the stop.
#include <sluice/core/gate.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <optional>
#include <thread>

namespace {

using namespace std::chrono_literals;
using sluice::core::Duration;
using sluice::core::Gate;
using sluice::core::Time;

constexpr Time start = Time(1h);

void add_invalid(Gate& gate, int count, Time now = start) {
    for (int i = 0; i < count; ++i)
        gate.add_invalid(now);
}

} // namespace

TEST_CASE("a gate that nothing has happened to is open and says so cheaply") {
    Gate gate({5, 9, 10min}, false);
    CHECK(gate.untroubled());
    CHECK(gate.opens(start) == start);
    CHECK(!gate.stopped(start));
    add_invalid(gate, 4);
    CHECK(gate.untroubled());
    CHECK(gate.invalid(start) == 4);
}

TEST_CASE("a block keeps everything back until its time, and a shorter one does not end it",
          "[R17]") {
    Gate gate({5, 9, 10min}, false);
    gate.block_until(start, start + 60s);
    gate.block_until(start, start + 5s);
    CHECK(gate.opens(start) == start + 60s);
    CHECK(gate.opens(start + 60s - 1ns) == start + 60s);
    CHECK(gate.opens(start + 60s) == start + 60s);
}

TEST_CASE("once slowed, requests pass one spacing apart", "[R18]") {
    Gate gate({5, 9, 10min}, false);
    add_invalid(gate, 5);
    CHECK(gate.slowed(start));
    CHECK(gate.opens(start) == start); // the first need not wait
    gate.pass(start);
    CHECK(gate.opens(start) == start + 152'500ms); // (10 min + 10 s) / (9 - 5)
    gate.pass(start + 154s);
    add_invalid(gate, 2, start + 154s);
    CHECK(gate.opens(start + 155s) == start + 459s); // (10 min + 10 s) / (9 - 7)
    CHECK(gate.opens(start + 1h) == start + 1h);
}

TEST_CASE("a stop tells until when it lasts", "[R18]") {
    Gate gate({5, 9, 10min}, false);
    add_invalid(gate, 9);
    CHECK(gate.stopped(start));
    CHECK(gate.stopped_until(start) > start + 10min - 1ns);
    CHECK(!gate.stopped(gate.stopped_until(start)));
}

TEST_CASE("a gate that stops before it slows stops all the same") {
    Gate gate({100, 3, 10min}, false);
    add_invalid(gate, 3);
    CHECK(gate.stopped(start));
}

TEST_CASE("refusals that tell no time block longer each time, and never not at all", "[R11]") {
    Gate gate({5, 9, 10min}, false);
    Time now = start;
    Duration last{0};
    for (int i = 0; i < 7; ++i) {
        const Duration wait = gate.refuse(now, now + 50ms, std::nullopt);
        CHECK(wait > last);
        last = wait;
        now += 50ms + wait;
    }
    CHECK(gate.refuse(now, now, std::nullopt) == last); // bounded
    gate.accepted(now + 2s, now + 2s);
    CHECK(gate.refuse(now + 3s, now + 4s, std::nullopt) == 60s);
}

TEST_CASE("refusals of requests that were under way together count as one", "[R11]") {
    Gate gate({5, 9, 10min}, false);
    for (int i = 0; i < 50; ++i)
        CHECK(gate.refuse(start, start + 50ms + i * 1ms, std::nullopt) == 60s);
    CHECK(gate.refuse(start + 100s, start + 101s, std::nullopt) == 120s);
}

TEST_CASE("an answer that was under way before the block does not end the backoff", "[R11]") {
    Gate gate({5, 9, 10min}, false);
    CHECK(gate.refuse(start, start + 50ms, std::nullopt) == 60s);
    gate.accepted(start, start);
    CHECK(gate.refuse(start + 61s, start + 62s, std::nullopt) == 120s);
}

TEST_CASE("several limiters may count and ask at once") {
    Gate gate({5'000, 9'000, 10min}, false);
    const auto count = [&] {
        for (int i = 0; i < 3'000; ++i) {
            gate.add_invalid(start);
            gate.pass(gate.opens(start));
        }
    };
    std::thread other(count);
    count();
    other.join();
    CHECK(gate.invalid(start) == 6'000);
    CHECK(gate.slowed(start));
    CHECK(!gate.stopped(start));
}

TEST_CASE("behind a block one goes first, and with each success one more may be under way") {
    Gate gate({5, 9, 10min}, false);
    gate.refuse(start, start + 50ms, 60s);
    Time now = start + 61s;
    const auto pass_all = [&] {
        int passed = 0;
        for (; gate.opens(now) == now; ++passed)
            gate.pass(now);
        return passed;
    };
    for (const int wide : {1, 2, 4, 8}) {
        CHECK(pass_all() == wide);
        CHECK(gate.closed_until(now) == now); // it hangs on the answers
        const Time sent = now;
        now += 60ms;
        for (int i = 0; i < wide; ++i) {
            gate.land(sent);
            gate.accepted(sent, now);
        }
    }
}

TEST_CASE("the end of a stop lets one go first as well", "[R18]") {
    Gate gate({100, 3, 10min}, false);
    for (int i = 0; i < 3; ++i)
        gate.add_invalid(start);
    const Time over = gate.stopped_until(start);
    CHECK(gate.opens(over) == over);
    gate.pass(over);
    CHECK(gate.opens(over) > over);
}

TEST_CASE("a gate costs as little as before once what was in the way is over") {
    Gate gate({5, 9, 10min}, false);
    gate.refuse(start, start + 50ms, 60s);
    Time now = start + 61s;
    for (int i = 0; i < 100; ++i, now += 60ms) {
        gate.pass(now);
        gate.land(now);
        gate.accepted(now, now + 50ms);
    }
    CHECK(gate.untroubled());
}
