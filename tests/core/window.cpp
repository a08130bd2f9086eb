// SPDX-License-Identifier: MIT
#include <sluice/core/window.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <random>

namespace {

using namespace sluice::core;
using namespace std::chrono_literals;

constexpr Time start = Time(1h);
constexpr Duration none{0};

/// An answer to a request sent at `sent` that took 60 ms; Reset is on a server clock of its own.
Observation seen(Duration sent, std::int64_t limit, std::int64_t remaining, Duration reset_after,
                 std::optional<Duration> reset = std::nullopt) {
    Observation answer;
    answer.sent = start + sent;
    answer.received = start + sent + 60ms;
    answer.limit = limit;
    answer.remaining = remaining;
    answer.reset_after = reset_after;
    answer.reset = reset ? reset : std::optional<Duration>(1'000'000s + sent + 30ms + reset_after);
    return answer;
}

} // namespace

TEST_CASE("an unknown window lets one probe fly", "[R3]") {
    Window window;
    CHECK(window.available(start, 0, none) == 1);
    CHECK(window.available(start, 1, none) == 0);
    CHECK(window.next_change(start, 1, none) == never); // the probe's answer is what it waits for
}

TEST_CASE("requests in flight count as spent", "[R7]") {
    Window window;
    window.accept(seen(0ms, 5, 4, 5s), none);
    CHECK(window.available(start + 60ms, 0, none) == 4);
    CHECK(window.available(start + 60ms, 3, none) == 1);
}

TEST_CASE("a spent window opens at its reset and not a nanosecond earlier") {
    Window window;
    window.accept(seen(0ms, 5, 0, 5s), none);
    const Time due = start + 60ms + 5s + 1ms;
    CHECK(window.next_change(start + 60ms, 0, none) == due);
    CHECK(window.available(due - 1ns, 0, none) == 0);
    CHECK(window.available(due, 0, none) == 5);
}

TEST_CASE("credit lets a request leave earlier by the way to Discord and back") {
    Window window;
    window.accept(seen(0ms, 5, 0, 5s), none);
    const Time due = start + 5s + 1ms;
    CHECK(window.next_change(start + 60ms, 0, 60ms) == due);
    CHECK(window.available(due - 1ns, 0, 60ms) == 0);
    CHECK(window.available(due, 0, 60ms) == 5);
}

TEST_CASE("whole seconds wait one unit more") {
    Window window;
    Observation answer = seen(0ms, 5, 0, 5s);
    answer.unit = 1s;
    window.accept(answer, none);
    CHECK(window.next_change(start + 60ms, 0, none) == start + 60ms + 6s);
}

TEST_CASE("an answer older than the known one changes nothing", "[R7]") {
    Window window;
    window.accept(seen(0ms, 5, 0, 100ms, 1'000'000s), none);
    CHECK(window.available(start + 2s, 0, none) == 5); // rolled
    window.accept(seen(2s, 5, 4, 5s, 1'000'005s), none);
    Observation late = seen(10ms, 5, 1, 100ms, 1'000'000s); // of the first window, answered now
    late.received = start + 3s;
    window.accept(late, none);
    CHECK(window.available(start + 3s, 0, none) == 4);
}

TEST_CASE("an answer to a request of an older limit does not bring that limit back") {
    Window window;
    window.accept(seen(100ms, 3, 2, 5s), none);
    Observation late = seen(0ms, 10, 9, 5s);
    late.received = start + 200ms;
    window.accept(late, none);
    CHECK(window.limit() == 3);
    CHECK(window.available(start + 200ms, 0, none) == 2);
}

TEST_CASE("a changed limit starts afresh") {
    Window window;
    window.accept(seen(0ms, 5, 0, 5s), none);
    window.accept(seen(100ms, 20, 19, 5s), none);
    CHECK(window.limit() == 20);
    CHECK(window.available(start + 160ms, 0, none) == 19);
}

TEST_CASE("Reset-After growing within one window proves that it drips", "[R9]") {
    Window window;
    window.accept(seen(0ms, 5, 4, 1s), none);
    CHECK_FALSE(window.drips());
    window.accept(seen(100ms, 5, 3, 1900ms), none);
    CHECK(window.drips());
    window.accept(seen(200ms, 5, 0, 4600ms), none);
    // Full at 200 + 60 + 4600 + 1 ms; the first slot is back four intervals before that.
    const Time due = window.next_change(start + 260ms, 0, none);
    CHECK(due < start + 1500ms);
    CHECK(window.available(due - 1ns, 0, none) == 0);
    CHECK(window.available(due, 0, none) == 1);
}

TEST_CASE("a fixed window whose answers come late never seems to drip") {
    Window window;
    for (int i = 0; i < 5; ++i) {
        window.accept(seen(i * 100ms, 5, 4 - i, 5s - i * 100ms, 1'000'005s), none);
        CHECK_FALSE(window.drips());
    }
}

TEST_CASE("a server that reports before it counts is believed one less") {
    Window window;
    window.accept(seen(0ms, 5, 5, 5s), none);
    CHECK(window.available(start + 60ms, 0, none) == 4);
    window.accept(seen(100ms, 5, 4, 4900ms, 1'000'005s), none);
    CHECK(window.available(start + 160ms, 0, none) == 3);
}

TEST_CASE("a success without numbers takes one place and is given back within a period") {
    Window window;
    window.accept(seen(0ms, 5, 4, 5s), none);
    window.accept_silent(start + 100ms, 50, none);
    CHECK(window.available(start + 100ms, 0, none) == 3);
    CHECK(window.available(start + 6s, 0, none) == 5);
}

TEST_CASE("a refusal spends the window until what it told has passed") {
    Window window;
    window.accept(seen(0ms, 5, 3, 5s), none);
    CHECK(window.refuse(seen(100ms, 5, 0, 4900ms), 4900ms, none));
    CHECK(window.available(start + 4s, 0, none) == 0);
    CHECK(window.available(start + 160ms + 4901ms, 0, none) == 5);
}

TEST_CASE("a refusal of a window that is over delays nobody else") {
    Window window;
    window.accept(seen(0ms, 5, 4, 100ms), none);
    window.accept(seen(2s, 5, 4, 60s), none);
    Observation late = seen(20ms, 5, 0, 50ms);
    late.received = start + 2100ms;
    CHECK_FALSE(window.refuse(late, 50ms, none));
    CHECK(window.available(start + 2100ms, 0, none) == 4);
}

TEST_CASE("a route without headers opens to its width, and narrows after a refusal") {
    Window window;
    window.accept_silent(start, 50, none);
    CHECK(window.available(start, 0, none) == 50);
    window.narrow();
    CHECK(window.available(start, 0, none) == 1);
    window.accept_silent(start, 50, none);
    CHECK(window.available(start, 0, none) == 2);
    window.accept_silent(start, 50, none);
    CHECK(window.available(start, 0, none) == 4);
}

TEST_CASE("the wait behind others is foreseen") {
    Window window;
    window.accept(seen(0ms, 5, 3, 5s), none);
    const Time now = start + 60ms;
    CHECK(window.predict(now, 0, 0, 0, none) == now);
    CHECK(window.predict(now, 0, 0, 3, none) == now + 5001ms);
    CHECK(window.predict(now, 0, 0, 8, none) == now + 10001ms);
    CHECK(window.predict(now, 0, 0, 13, none) == now + 15001ms);
    CHECK(window.predict(now, 2, 2, 1, none) == now + 5001ms);
    CHECK(window.predict(now, 2, 0, 1, none) == std::nullopt);
    CHECK(window.predict(now, 2, 0, 3, none) == now + 5001ms);
    CHECK(window.predict(now, 2, 0, 7, none) == now + 5001ms); // if both were counted already
    CHECK(window.predict(now, 2, 2, 7, none) == now + 10001ms);
}

TEST_CASE("a success without a count keeps its place until a later request tells", "[R22]") {
    Window window;
    window.accept(seen(0ms, 5, 4, 5s), none);
    Time now = start + 6s; // all are back
    REQUIRE(window.available(now, 3, none) == 2);
    window.accept_silent(now + 60ms, 50, none);
    CHECK(window.available(now + 60ms, 2, none) == 2);
    SECTION("not by an answer that may not count it, as one that opens the window") {
        window.accept(seen(6010ms, 5, 4, 5s), none);
        CHECK(window.available(now + 70ms, 1, none) == 2);
        window.accept(seen(6020ms, 5, 3, 4990ms), none);
        CHECK(window.available(now + 80ms, 0, none) == 2);
        window.accept(seen(6060ms, 5, 1, 4950ms), none);
        CHECK(window.available(now + 120ms, 0, none) == 1);
    }
    SECTION("by one that had counted it") {
        window.accept(seen(6060ms, 5, 3, 4950ms), none);
        CHECK(window.available(now + 120ms, 0, none) == 3);
    }
    SECTION("or until all are back") {
        CHECK(window.available(now + 6s, 0, none) == 5);
    }
}

TEST_CASE("an answer without Reset-After takes a place for one period at the most", "[R22]") {
    Window window;
    window.accept(seen(0ms, 5, 4, 5s), none);
    Observation partial = seen(100ms, 5, 3, 0s);
    partial.reset_after = std::nullopt;
    partial.reset = std::nullopt;
    window.accept(partial, none);
    CHECK(window.available(start + 160ms, 0, none) == 3);
    CHECK(window.available(start + 5061ms, 0, none) == 5);
    partial.sent = start + 6s; // the first of its window: one period is all that is known
    partial.received = start + 6060ms;
    window.accept(partial, none);
    CHECK(window.next_change(start + 6060ms, 3, none) == start + 6060ms + 5s);
}

TEST_CASE("an answer without Remaining takes one place", "[R22]") {
    Window window;
    window.accept(seen(0ms, 5, 4, 5s), none);
    Observation partial = seen(100ms, 5, 0, 4900ms, 1'000'005s);
    partial.remaining = std::nullopt;
    window.accept(partial, none);
    CHECK(window.available(start + 160ms, 0, none) == 3);
}

TEST_CASE("a limit of 0 is no limit, and what remains tells the least that it can be", "[R22]") {
    Window window;
    window.accept(seen(0ms, 0, 4, 5s), none);
    CHECK(window.limit() == 5);
    CHECK(window.available(start + 60ms, 0, none) == 4);
    window.accept(seen(100ms, 0, 3, 4900ms, 1'000'005s), none);
    CHECK(window.limit() == 5);
    CHECK(window.available(start + 160ms, 0, none) == 3);
}

TEST_CASE("numbers that say nothing leave the probe alone", "[R22]") {
    Window window;
    Observation empty;
    empty.limit = 0;
    window.accept(empty, none);
    CHECK_FALSE(window.known());
    CHECK(window.available(start, 0, none) == 1);
}

TEST_CASE("of the answers of a fixed window the least end counts", "[R10]") {
    Window window;
    constexpr Duration reset = 1'000'005s;
    for (int i = 0; i < 6; ++i)
        window.accept(seen(i * 10ms, 9, 8 - i, 5s - i * 10ms, reset), none);
    Observation slow = seen(60ms, 9, 2, 4940ms, reset);
    slow.received = start + 300ms; // its end would be 180 ms later
    window.accept(slow, none);
    CHECK(window.deadline() == start + 60ms + 5s + 1ms);
}

TEST_CASE("while nodes' clocks may differ the end is not sharper than they are", "[R10]") {
    Window window;
    window.accept(seen(0ms, 5, 4, 5s, 1'000'005s), none);
    Observation slow = seen(10ms, 5, 3, 4990ms, 1'000'005s + 9ms);
    slow.received = start + 300ms;
    window.accept(slow, none);
    CHECK(window.deadline() >= start + 60ms + 5s + 9ms);
    CHECK(window.deadline() <= start + 60ms + 5s + 30ms);
}

TEST_CASE("the end of a sliding log rises with each request", "[R10]") {
    Window window;
    window.accept(seen(0ms, 5, 4, 5s), none);
    window.accept(seen(1s, 5, 3, 5s), none);
    CHECK(window.deadline() >= start + 1060ms + 5s);
    CHECK(window.available(start + 5500ms, 0, none) == 3);
    CHECK_FALSE(window.drips());
}

TEST_CASE("an end that moves before the old one has passed keeps what was spent", "[R10]") {
    Window window;
    window.accept(seen(0ms, 5, 1, 5s, 1'000'005s), none);
    window.accept(seen(100ms, 5, 3, 5s, 1'000'005s + 100ms), none); // of another node, perhaps
    CHECK(window.told() == 1);
    CHECK(window.deadline() >= start + 5161ms);
}

TEST_CASE("of one window an answer counts, however far behind its node's clock is", "[R10]") {
    const Duration apart = GENERATE(values<Duration>({24ms, 60ms, 1s, 1h}));
    CAPTURE(apart);
    Window window;
    for (int i = 0; i < 5; ++i) {
        const Duration clock = i % 2 == 0 ? apart : -apart;
        window.accept(seen(i * 1ms, 5, 4 - i, 10s - i * 1ms, 1'000'010s + clock), none);
        CHECK(window.told() == 4 - i);
    }
    CHECK(window.deadline() >= start + 10s);
}

TEST_CASE("an answer of an earlier window takes nothing of this one, however late", "[R10]") {
    Window window;
    Observation current = seen(120ms, 5, 4, 90ms, 1'000'000s + 200ms);
    current.received = start + 200ms;
    window.accept(current, none);
    Observation earlier = seen(0ms, 5, 0, 50ms, 1'000'000s + 100ms);
    earlier.received = start + 300ms; // so it might have been decided at any time until then
    window.accept(earlier, none);
    CHECK(window.told() == 4);
}

TEST_CASE("clocks that stray do not place the end of a sliding log", "[R10]") {
    Window window;
    window.accept(seen(0ms, 5, 4, 5s, 1'000'005s + 30ms + 100ms), none);
    window.accept(seen(200ms, 5, 3, 5s, 1'000'005s + 230ms - 100ms), none);
    CHECK(window.deadline() >= start + 230ms + 5s); // the request was decided on its way
    CHECK(window.deadline() <= start + 261ms + 5s);
}

TEST_CASE("an answer to a request sent after the roll counts, however far behind its clock is") {
    Window window;
    window.accept(seen(0ms, 5, 0, 1s, 1'000'001s), none);
    REQUIRE(window.available(start + 1061ms, 0, none) == 5);
    window.accept(seen(1061ms, 5, 2, 0ms, 999'990s), none);
    CHECK(window.available(start + 1121ms, 0, none) == 2);
}

TEST_CASE("a roll that was early is taken back") {
    Window window;
    window.accept(seen(0ms, 5, 3, 1s, 1'000'001s), none);
    // Credit made it roll, and then comes an answer of that window whose own end is still ahead.
    REQUIRE(window.available(start + 1002ms, 1, 60ms) == 4);
    Observation late = seen(50ms, 5, 0, 950ms, 1'000'001s);
    late.received = start + 1003ms;
    window.accept(late, 60ms);
    CHECK(window.available(start + 1003ms, 0, 60ms) == 0);
    CHECK(window.available(start + 3s, 0, 60ms) == 5);
}

TEST_CASE("while it drips, a request whose answer says nothing takes a slot all the same") {
    Window window;
    window.accept(seen(0ms, 5, 4, 1s), none);
    window.accept(seen(100ms, 5, 3, 1900ms), none);
    REQUIRE(window.drips());
    const auto before = window.deadline();
    window.accept_silent(start + 200ms, 50, none);
    REQUIRE(before);
    CHECK(window.deadline() > *before + 900ms);
}

TEST_CASE("while it drips the end never falls, whatever order the answers come in") {
    Window window;
    for (int i = 0; i < 5; ++i)
        window.accept(seen(i * 100ms, 5, 4 - i, 1s + i * 900ms), none);
    REQUIRE(window.drips());
    const auto end = window.deadline();
    Observation late = seen(10ms, 5, 3, 1990ms);
    late.received = start + 500ms;
    window.accept(late, none);
    CHECK(window.deadline() == end);
}

namespace {

/// Anything a server may say, and some that none would.
class Babble {
public:
    explicit Babble(std::uint64_t seed) : random_(seed) {}

    std::int64_t pick(std::int64_t low, std::int64_t high) {
        return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
    }
    Observation answer(Time now) {
        constexpr std::int64_t year = 31'622'400'000'000'000; // 366 days
        Observation answer;
        answer.sent = now - Duration(pick(0, 2'000'000'000));
        answer.received = now;
        if (pick(0, 9) != 0) answer.limit = pick(0, 3) == 0 ? pick(-1, 60) : 5;
        if (pick(0, 9) != 0) answer.remaining = pick(0, 20) == 0 ? pick(-5, 100'000) : pick(0, 7);
        if (pick(0, 9) != 0) answer.reset = Duration(pick(0, 4'500'000'000'000'000'000));
        if (pick(0, 9) != 0)
            answer.reset_after =
                Duration(pick(0, 20) == 0 ? pick(0, year) : pick(0, 10'000'000'000));
        if (pick(0, 4) == 0) answer.unit = 1s;
        return answer;
    }
    /// One thing happens to the window.
    void happen(Window& window, Time now, Duration credit) {
        const std::int64_t kind = pick(0, 9);
        if (kind == 0) {
            window.refuse(answer(now), Duration(pick(0, 5'000'000'000)), credit);
        } else if (kind == 1) {
            window.accept_silent(now, 50, credit);
        } else {
            window.accept(answer(now), credit);
        }
    }

private:
    std::mt19937_64 random_;
};

} // namespace

TEST_CASE("whatever a server says, less than the limit is told only until a deadline", "[R22]") {
    Babble babble(11);
    for (int history = 0; history < 2'000; ++history) {
        Window window;
        Time now = start;
        for (int step = 0; step < 40; ++step) {
            CAPTURE(history, step);
            now += Duration(babble.pick(0, 3'000'000'000));
            babble.happen(window, now, Duration(babble.pick(0, 200'000'000)));
            if (!window.known()) continue;
            REQUIRE(window.told() >= 0);
            REQUIRE(window.told() <= window.limit());
            REQUIRE((window.told() >= window.limit() || window.deadline().has_value()));
        }
    }
}

TEST_CASE("the wake time is when admission changes its mind, to the nanosecond", "[R22]") {
    Babble babble(13);
    int woken = 0;
    for (int history = 0; history < 2'000; ++history) {
        Window window;
        Time now = start;
        const Duration credit = Duration(babble.pick(0, 100'000'000));
        for (int step = 0; step < 10; ++step) {
            now += Duration(babble.pick(0, 1'000'000'000));
            babble.happen(window, now, credit);
        }
        const std::int64_t out = babble.pick(0, 3);
        CAPTURE(history, out);
        if (window.available(now, out, credit) > 0) continue;
        for (int wakes = 0; wakes < 4 && window.available(now, out, credit) <= 0; ++wakes) {
            const Time next = window.next_change(now, out, credit);
            if (next == never) break; // all that is missing is in flight
            REQUIRE(next > now);
            Window sooner = window;
            REQUIRE(sooner.available(next - 1ns, out, credit) <= 0);
            now = next;
            ++woken;
        }
        const bool open = window.available(now, out, credit) > 0;
        REQUIRE((open || out >= window.limit() || out >= window.told()));
    }
    CHECK(woken > 500);
}

TEST_CASE("what is foreseen is when it happens", "[R21]") {
    Babble babble(17);
    for (int history = 0; history < 2'000; ++history) {
        Window window;
        Time now = start;
        for (int step = 0; step < 10; ++step) {
            now += Duration(babble.pick(0, 1'000'000'000));
            babble.happen(window, now, none);
        }
        const auto foreseen = window.predict(now, 0, 0, 0, none);
        CAPTURE(history);
        REQUIRE(foreseen);
        Window before = window; // looking at it may roll it
        REQUIRE(window.available(*foreseen, 0, none) > 0);
        if (*foreseen > now) REQUIRE(before.available(*foreseen - 1ns, 0, none) <= 0);
    }
}

TEST_CASE("whatever a server says, a spent window has a moment at which it is looked at again") {
    std::mt19937_64 random(7);
    const auto pick = [&](auto low, auto high) {
        return std::uniform_int_distribution<std::int64_t>(low, high)(random);
    };
    for (int history = 0; history < 2'000; ++history) {
        Window window;
        Time now = start;
        for (int step = 0; step < 40; ++step) {
            now += Duration(pick(0, 3'000'000'000));
            Observation answer;
            answer.sent = now - Duration(pick(0, 2'000'000'000));
            answer.received = now;
            if (pick(0, 9) != 0) answer.limit = pick(0, 3) == 0 ? pick(0, 60) : 5;
            if (pick(0, 9) != 0) answer.remaining = pick(0, 7);
            if (pick(0, 9) != 0) answer.reset = Duration(pick(0, 9'000'000'000'000'000'000 / 2));
            if (pick(0, 9) != 0) {
                answer.reset_after = Duration(pick(0, 20) == 0 ? pick(0, 31'000'000'000'000'000)
                                                               : pick(0, 10'000'000'000));
            }
            const Duration credit = Duration(pick(0, 200'000'000));
            const auto kind = pick(0, 9);
            if (kind == 0) {
                window.refuse(answer, Duration(pick(0, 5'000'000'000)), credit);
            } else if (kind == 1) {
                window.accept_silent(now, 50, credit);
            } else {
                window.accept(answer, credit);
            }
            CAPTURE(history, step);
            if (window.available(now, 0, credit) > 0) continue;
            const Time next = window.next_change(now, 0, credit);
            REQUIRE(next > now);
            REQUIRE(next != never);
        }
    }
}
