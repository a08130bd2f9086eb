// SPDX-License-Identifier: MIT
//
// A core::Scheduler against a server of a test's own, in virtual time: every request is under way
// for a while, is decided when it arrives, and goes back to the queue when it is refused.
#ifndef SLUICE_TESTS_SUPPORT_CORE_COURSE_HPP
#define SLUICE_TESTS_SUPPORT_CORE_COURSE_HPP

#include <sluice/core/scheduler.hpp>
#include <sluice/testing/fake_limit.hpp>

#include "support/catch.hpp"
#include "support/core_client.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <random>
#include <string_view>
#include <vector>

namespace sluice::tests {

struct Tally {
    int refused = 0;
    int refused_first = 0;       ///< of those, how many had left with the first wave
    bool in_order = true;        ///< they passed in the order in which they came
    Duration last_passed{0};     ///< when, at the server
    Duration longest_silence{0}; ///< during which none passed
};

class CoreCourse {
public:
    using Call = CoreClient::Call;
    /// The server's answer to a request that arrives then.
    using Decide = std::function<core::Answer(const Call&, Duration now)>;

    explicit CoreCourse(Decide decide, Duration jitter = Duration(0))
        : decide_(std::move(decide)), jitter_(jitter) {}

    void send(const Target& target) {
        waiting_.push_back(&client.send(target));
        leave();
    }
    void pass(Duration time) {
        const Time until = client.now + time;
        while (next() <= until)
            step(next());
        client.pass(until - client.now);
        leave();
    }
    /// Until all have passed.
    Tally run() {
        while (!waiting_.empty() || !flying_.empty()) {
            REQUIRE(next() != core::never);
            step(next());
        }
        CHECK(client.at_rest());
        return tally_;
    }

    CoreClient client;

private:
    static constexpr Duration way = 30ms; ///< there, and back
    struct Flight {
        Call* call;
        Time sent;
        Time arrives;
        Time back;
        bool decided = false;
        core::Answer answer{};
    };

    [[nodiscard]] Duration delay() {
        const auto spread = static_cast<std::uint64_t>(jitter_.count()) + 1;
        return way + Duration(static_cast<std::int64_t>(random_() % spread));
    }
    [[nodiscard]] Time next() const {
        Time wake = client.scheduler.next_wake();
        for (const Flight& flight : flying_)
            wake = std::min(wake, flight.decided ? flight.back : flight.arrives);
        return wake;
    }
    void step(Time at) {
        if (at > client.now) {
            client.pass(at - client.now);
        } else {
            client.advance();
        }
        leave();
        for (Flight& flight : flying_)
            if (!flight.decided && flight.arrives <= at) arrive(flight);
        const auto lands = [at](const Flight& flight) { return flight.back <= at; };
        for (auto flight = flying_.begin(); flight != flying_.end();) {
            flight = std::find_if(flying_.begin(), flying_.end(), lands);
            if (flight == flying_.end()) return;
            const Flight landed = *flight;
            flying_.erase(flight);
            land(landed);
            flight = flying_.begin();
        }
    }
    void leave() {
        for (auto at = waiting_.begin(); at != waiting_.end();) {
            if (!(*at)->sent()) {
                ++at;
                continue;
            }
            const Time arrives = client.now + delay();
            flying_.push_back({*at, client.now, arrives, arrives + delay()});
            at = waiting_.erase(at);
        }
    }
    void arrive(Flight& flight) {
        flight.decided = true;
        const Duration now = flight.arrives - start_;
        flight.answer = decide_(*flight.call, now);
        if (flight.answer.status == 429) {
            ++tally_.refused;
            if (flight.sent <= start_ + 2 * way + 2 * jitter_) ++tally_.refused_first;
            return;
        }
        if (flight.call->number < last_) tally_.in_order = false;
        last_ = flight.call->number;
        tally_.longest_silence = std::max(tally_.longest_silence, now - tally_.last_passed);
        tally_.last_passed = now;
    }
    void land(const Flight& flight) {
        client.answer(*flight.call, flight.answer);
        if (flight.answer.status == 429) {
            client.retry(*flight.call);
            const auto behind = [&](const Call* other) {
                return other->number > flight.call->number;
            };
            waiting_.insert(std::find_if(waiting_.begin(), waiting_.end(), behind), flight.call);
        }
        leave();
    }

    Decide decide_;
    Duration jitter_;
    const Time start_ = client.now;
    std::vector<Call*> waiting_; ///< by number
    std::deque<Flight> flying_;
    std::mt19937_64 random_{1};
    int last_ = 0;
    Tally tally_;
};

/// One limit that answers under its own name.
class NamedCounter {
public:
    NamedCounter(std::string_view hash, const testing::Limit& limit)
        : hash_(hash), limit_(limit.limit) {
        counter_.emplace_back(limit); // g++ 12 warns of a plain one's std::variant
    }

    [[nodiscard]] Duration wait(Duration now) const { return counter_[0].wait(now); }
    void spend(Duration now) { counter_[0].spend(now); }
    [[nodiscard]] core::Answer describe(Duration now, int status = 200) const {
        const testing::Standing standing = counter_[0].standing(now);
        core::Answer answer = shows(limit_, standing.remaining, standing.reset_after, hash_);
        answer.status = status;
        return answer;
    }
    [[nodiscard]] core::Answer refuse(Duration now) const {
        core::Answer answer = describe(now, 429);
        answer.seen.remaining = 0;
        answer.retry_after = wait(now);
        return answer;
    }
    /// Refuses, or spends one.
    [[nodiscard]] core::Answer decide(Duration now, int status = 200) {
        if (wait(now) > Duration(0)) return refuse(now);
        spend(now);
        return describe(now, status);
    }

private:
    std::string_view hash_;
    std::int64_t limit_;
    std::vector<testing::Counter> counter_;
};

} // namespace sluice::tests

#endif
