// SPDX-License-Identifier: MIT
//
// What is foreseen is compared with what happens then, over random histories of small buckets in
// which requests are lost, counted by the server or not.
#include <sluice/core/scheduler.hpp>
#include <sluice/testing/fake_limit.hpp>

#include "support/apply_answer.hpp"
#include "support/catch.hpp"
#include "support/core_client.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

namespace {

using namespace sluice;
using namespace sluice::tests;
using testing::Algorithm;
using Call = CoreClient::Call;

constexpr Duration round_trip = 20ms;

enum class Fate { answered, lost, lost_before_it_came, cancelled };

class History {
public:
    explicit History(std::uint64_t seed) : random_(seed), limit(choose_limit()), counter_(limit) {}
    ~History() {
        for (Call* call : calls_) {
            if (call->waits() || call->sent()) client.cancel(*call);
            client.release(*call);
        }
    }
    History(const History&) = delete;
    History& operator=(const History&) = delete;

    Call& send() {
        Call& call = client.send({});
        calls_.push_back(&call);
        note_departures();
        return call;
    }
    /// Until nothing is in flight, from some request on.
    void make_up() {
        const std::size_t steps = 1 + below(12);
        for (std::size_t step = 0; step < steps; ++step) {
            for (std::size_t sent = below(4); sent > 0; --sent)
                send();
            const auto most = static_cast<std::size_t>(limit.period.count());
            pass(Duration(static_cast<std::int64_t>(below(one_in(3) ? 2 * most : most / 3))));
        }
        faithful_ = true;
        while (!flying_.empty())
            pass(flying_.front().due - client.now);
    }
    void forget_waiters() {
        for (Call* call : calls_) {
            if (call->waits()) client.cancel(*call);
        }
    }
    [[nodiscard]] std::optional<Time> foreseen() {
        return client.scheduler.predict(client.lane({}), client.now);
    }
    /// When that happens.
    Time departure_of(const Call& call) {
        for (int turns = 0; !call.sent(); ++turns) {
            REQUIRE(turns < 1'000);
            pass(next_event() - client.now);
        }
        return call.place.sent;
    }
    std::size_t below(std::size_t end) { return random_() % end; }
    bool one_in(std::size_t n) { return below(n) == 0; }
    /// Whether the longest window that was seen is as long as they are.
    [[nodiscard]] bool knows_period() {
        const core::Window& window = client.bucket({}).window;
        return window.known() && window.period() >= limit.period;
    }

private:
    struct Flight {
        Call* call;
        Time due;
        Fate fate;
        Duration wait; // what a 429 tells, or 0
        testing::Standing standing;
    };
    // Both are made with it, so it comes first.
    std::mt19937_64 random_;

public:
    testing::Limit limit;
    CoreClient client;

private:
    testing::Limit choose_limit() {
        constexpr std::array algorithms{Algorithm::fixed, Algorithm::gcra, Algorithm::sliding_log};
        constexpr std::array<Duration, 3> periods{1s, 10s, 600s};
        const auto most = static_cast<std::int64_t>(1 + below(3));
        return {algorithms[below(3)], most, periods[below(3)]};
    }
    void note_departures() {
        for (; noted_ < client.order.size(); ++noted_) {
            const auto number = static_cast<std::size_t>(client.order[noted_]);
            depart(*calls_[number - 1]);
        }
    }
    void depart(Call& call) {
        constexpr std::array fates{Fate::answered, Fate::answered, Fate::answered,
                                   Fate::lost,     Fate::lost,     Fate::lost_before_it_came,
                                   Fate::cancelled};
        const Fate fate = faithful_ ? Fate::answered : fates[below(fates.size())];
        const Time heard = client.now + round_trip + (fate == Fate::lost ? 7ms : 0ms);
        Flight flight{&call, heard, fate, Duration(0), {}};
        if (fate == Fate::answered || fate == Fate::lost) {
            const Duration clock = client.now - Time();
            flight.wait = counter_.wait(clock);
            if (flight.wait == Duration(0)) counter_.spend(clock);
            flight.standing = counter_.standing(clock);
        }
        flying_.push_back(flight);
    }
    [[nodiscard]] Time next_event() const {
        Time next = client.scheduler.next_wake();
        for (const Flight& flight : flying_)
            next = std::min(next, flight.due);
        REQUIRE(next != core::never);
        return next;
    }
    void pass(Duration time) {
        const Time end = client.now + time;
        while (!flying_.empty() || client.scheduler.next_wake() != core::never) {
            const Time next = next_event();
            if (next > end) break;
            client.pass(next - client.now);
            note_departures();
            settle_due();
        }
        client.pass(end - client.now);
    }
    void settle_due() {
        for (std::size_t at = 0; at < flying_.size();) {
            if (flying_[at].due > client.now) {
                ++at;
                continue;
            }
            const Flight flight = flying_[at];
            flying_.erase(flying_.begin() + static_cast<std::ptrdiff_t>(at));
            settle(flight);
            note_departures();
            at = 0;
        }
    }
    void settle(const Flight& flight) {
        if (flight.fate == Fate::cancelled) return client.cancel(*flight.call);
        if (flight.fate != Fate::answered) return client.lose(*flight.call);
        const auto in_header = [](Duration time) { return (time + 1ms - 1ns) / 1ms * 1ms; };
        core::Answer answer =
            shows(limit.limit, flight.standing.remaining, in_header(flight.standing.reset_after));
        if (flight.wait > Duration(0)) answer = spent(in_header(flight.wait), "a", limit.limit);
        answer.seen.reset = 1'000'000s + flight.standing.reset;
        apply_answer(client.scheduler, flight.call->place, answer, client.now);
        client.advance();
    }

    testing::Counter counter_;
    std::vector<Call*> calls_; // by their numbers, less one
    std::vector<Flight> flying_;
    std::size_t noted_ = 0;
    bool faithful_ = false; // nothing is lost any more
};

} // namespace

TEST_CASE("what is foreseen for the next request is when it goes, whatever is lost", "[R21]") {
    int waited = 0;
    int with_lost = 0;
    for (std::uint64_t seed = 1; seed <= 6'000; ++seed) {
        History history(seed);
        history.make_up();
        history.forget_waiters();
        const bool lost = history.client.bucket({}).has_lost();
        const auto foreseen = history.foreseen();
        const Time asked = history.client.now;
        CAPTURE(seed, history.limit.limit, lost);
        REQUIRE(foreseen);
        REQUIRE(history.departure_of(history.send()) - asked == *foreseen - asked);
        waited += *foreseen > asked ? 1 : 0;
        with_lost += lost && *foreseen > asked ? 1 : 0;
    }
    CHECK(waited > 2'000);
    CHECK(with_lost > 1'000);
}

TEST_CASE("what is foreseen behind others is not early by a period", "[R21]") {
    int compared = 0;
    for (std::uint64_t seed = 1; seed <= 6'000; ++seed) {
        History history(seed);
        history.make_up();
        if (history.limit.algorithm != Algorithm::fixed || !history.knows_period()) continue;
        for (std::size_t more = history.below(4); more > 0; --more)
            history.send();
        const auto foreseen = history.foreseen();
        const Time asked = history.client.now;
        const auto before = static_cast<std::int64_t>(history.client.scheduler.queued() +
                                                      history.client.scheduler.in_flight());
        CAPTURE(seed, history.limit.limit, before);
        const Time left = history.departure_of(history.send());
        if (!foreseen) continue;
        ++compared;
        REQUIRE(left - asked <= *foreseen - asked + (before + 1) * (round_trip + 2ms));
    }
    CHECK(compared > 500);
}
