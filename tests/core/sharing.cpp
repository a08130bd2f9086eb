// SPDX-License-Identifier: MIT
//
// Do routes of one hash share a counter? True sharing must never be taken for a lie, whatever the
// delays and the order of the answers; counters that are apart must be found out soon. Both are
// shown twice: for the evidence alone, with far more requests under way than a limiter would allow,
// and for whole limiters against counters of every kind.
#include <sluice/core/scheduler.hpp>
#include <sluice/core/sharing.hpp>
#include <sluice/testing/fake_limit.hpp>

#include "support/catch.hpp"
#include "support/simulation_random.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <queue>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using sluice::core::Answer;
using sluice::core::Duration;
using sluice::core::EventKind;
using sluice::core::LaneKey;
using sluice::core::MajorKind;
using sluice::core::Observation;
using sluice::core::Place;
using sluice::core::Scheduler;
using sluice::core::Settings;
using sluice::core::Sharing;
using sluice::core::SharingSample;
using sluice::core::Time;
using sluice::core::Waiter;
using sluice::core::WaiterState;
using sluice::testing::Algorithm;
using sluice::testing::Counter;
using sluice::testing::Limit;
using sluice::testing::Standing;
using sluice::tests::Dice;

constexpr Time start = Time(1h);
constexpr std::array every_algorithm{Algorithm::fixed, Algorithm::aligned, Algorithm::gcra,
                                     Algorithm::sliding_log};

/// As headers show it: rounded up to the millisecond.
Duration shown(Duration value) {
    return (value + 1ms - 1ns) / 1ms * 1ms;
}

Observation observed(const Counter& counter, const Limit& limit, Duration at) {
    const Standing standing = counter.standing(at);
    Observation seen;
    seen.limit = limit.limit;
    seen.remaining = standing.remaining;
    seen.reset_after = shown(standing.reset_after);
    seen.reset = shown(standing.reset);
    return seen;
}

Limit draw_limit(Dice& dice, Algorithm algorithm) {
    constexpr std::array<Duration, 6> periods{250ms, 1s, 2s, 5s, 10s, 60s};
    return {algorithm, static_cast<std::int64_t>(1 + dice.below(20)), dice.of(periods)};
}

/// Requests at random moments on one counter, answered with delays that reorder them at will; each
/// answer is judged when it comes. Some fleets' clocks are 20 ms off either way. Returns how many
/// were taken for a lie.
int contradictions_of_one_counter(std::uint64_t seed, Algorithm algorithm) {
    Dice dice(seed);
    const Limit limit = draw_limit(dice, algorithm);
    Counter counter(limit);
    const bool skewed = dice.one_in(3);
    const Duration slowest = dice.one_in(3) ? limit.period * 2 : limit.period / 4;
    std::vector<Observation> answers;
    Duration at{0};
    for (int i = 0; i < 120; ++i) {
        at += dice.one_in(10) ? dice.between(0ns, 2 * limit.period)
                              : dice.between(0ns, limit.period / limit.limit);
        if (counter.wait(at) > 0ns) continue;
        counter.spend(at);
        answers.push_back(observed(counter, limit, at));
        answers.back().sent = start + at - dice.between(0ns, slowest);
        answers.back().received = start + at + dice.between(0ns, slowest);
        if (skewed) {
            answers.back().reset_after = *answers.back().reset_after + dice.between(-20ms, 20ms);
        }
    }
    std::sort(answers.begin(), answers.end(),
              [](const auto& a, const auto& b) { return a.received < b.received; });
    Sharing sharing;
    int contradictions = 0;
    for (const Observation& seen : answers) {
        const SharingSample sample{seen.sent, seen.received, *seen.reset_after, seen.unit,
                                   *seen.limit - *seen.remaining};
        if (sharing.contradicts(sample)) ++contradictions;
        sharing.add(sample);
    }
    return contradictions;
}

/// Two routes of one hash in one channel, a burst of requests on each, and one limiter.
class TwoRoutes {
public:
    struct Outcome {
        std::uint64_t splits = 0;
        int answers_until_split = 0;
        std::size_t events = 0; ///< of the kind `split`
        int refused = 0;
        Duration makespan{0};
    };

    TwoRoutes(std::uint64_t seed, const Limit& limit, bool apart, Duration jitter, int requests)
        : dice_(seed),
          limit_(limit),
          apart_(apart),
          jitter_(jitter),
          counters_{Counter(limit), Counter(limit)},
          scheduler_(settings()),
          waiters_(static_cast<std::size_t>(requests)) {}

    Outcome run() {
        for (std::size_t i = 0; i < waiters_.size(); ++i)
            push(start + dice_.between(0ns, limit_.period / 2), Step::queue, i);
        while (!events_.empty()) {
            const Event event = events_.top();
            events_.pop();
            now_ = event.at;
            step(event);
            settle();
        }
        outcome_.splits = scheduler_.counters().split;
        REQUIRE(scheduler_.in_flight() == 0);
        REQUIRE(scheduler_.queued() == 0);
        return outcome_;
    }

private:
    enum class Step : std::uint8_t { queue, arrive, answer, wake };
    struct Event {
        Time at;
        std::uint64_t order;
        Step step;
        std::size_t subject;
        bool operator<(const Event& other) const {
            return at != other.at ? at > other.at : order > other.order;
        }
    };
    struct Node : Waiter {
        Answer answer;
    };

    static Settings settings() {
        Settings settings;
        settings.global_limit = 0;
        settings.record_events = true;
        return settings;
    }
    static std::size_t route_of(std::size_t i) { return i % 2; }
    Counter& counter_of(std::size_t i) { return counters_[apart_ ? route_of(i) : 0]; }
    void push(Time at, Step step, std::size_t subject) {
        events_.push({at, ++order_, step, subject});
    }
    Duration delay() { return 20ms + dice_.between(0ns, jitter_); }

    void step(const Event& event) {
        switch (event.step) {
        case Step::queue:
            return enqueue(event.subject);
        case Step::arrive:
            return decide(event.subject);
        case Step::answer:
            return settle_answer(event.subject);
        case Step::wake:
            return scheduler_.advance(now_);
        }
    }

    void enqueue(std::size_t i) {
        const LaneKey key{1 + route_of(i), {MajorKind::channel, 0, 1}, 0};
        scheduler_.enqueue(waiters_[i], scheduler_.lane(key, {}, now_), now_);
    }

    void decide(std::size_t i) {
        Counter& counter = counter_of(i);
        const Duration at = now_ - start;
        const Duration wait = counter.wait(at);
        if (wait == 0ns) counter.spend(at);
        Answer& answer = waiters_[i].answer = Answer();
        answer.status = wait == 0ns ? 200 : 429;
        if (wait > 0ns) answer.retry_after = shown(wait);
        answer.hash = "abc";
        answer.seen = observed(counter, limit_, at);
        push(now_ + delay(), Step::answer, i);
    }

    void settle_answer(std::size_t i) {
        Node& node = waiters_[i];
        const bool refused = node.answer.status == 429;
        scheduler_.answer(node.place, node.answer, sluice::core::never, now_);
        if (scheduler_.counters().split == 0) ++outcome_.answers_until_split;
        if (refused) {
            ++outcome_.refused;
            return enqueue(i);
        }
        outcome_.makespan = now_ - start;
        Scheduler::release(node.place);
    }

    void settle() {
        auto finished = scheduler_.take_finished();
        while (!finished.empty()) {
            Node& node = static_cast<Node&>(finished.front());
            finished.pop_front();
            REQUIRE(node.state == WaiterState::granted);
            scheduler_.delivered(*node.place.lane);
            push(now_ + delay(), Step::arrive, static_cast<std::size_t>(index_of(node)));
        }
        for (const auto& event : scheduler_.take_events())
            outcome_.events += event.kind == EventKind::split ? 1 : 0;
        const Time wake = scheduler_.next_wake();
        if (wake != sluice::core::never) push(wake, Step::wake, 0);
    }
    std::ptrdiff_t index_of(const Node& node) const { return &node - waiters_.data(); }

    Dice dice_;
    Limit limit_;
    bool apart_;
    Duration jitter_;
    std::array<Counter, 2> counters_;
    Scheduler scheduler_;
    std::vector<Node> waiters_;
    std::priority_queue<Event> events_;
    Outcome outcome_;
    Time now_ = start;
    std::uint64_t order_ = 0;
};

} // namespace

TEST_CASE("no answer of a counter that is shared contradicts sharing, in whatever order they come",
          "[R8]") {
    for (const Algorithm algorithm : every_algorithm) {
        for (std::uint64_t seed = 1; seed <= 5'000; ++seed) {
            CAPTURE(static_cast<int>(algorithm), seed);
            REQUIRE(contradictions_of_one_counter(seed, algorithm) == 0);
        }
    }
}

TEST_CASE("routes that share a counter are never split", "[R8]") {
    constexpr std::array<Duration, 4> jitters{0ms, 50ms, 300ms, 3s};
    for (std::uint64_t seed = 1; seed <= 2'000; ++seed) {
        CAPTURE(seed);
        Dice dice(seed + 1'000'000);
        const Limit limit = draw_limit(dice, dice.of(every_algorithm));
        const auto outcome = TwoRoutes(seed, limit, false, dice.of(jitters), 40).run();
        REQUIRE(outcome.splits == 0);
        REQUIRE(outcome.events == 0);
    }
}

TEST_CASE("routes of one hash whose counters are apart are split soon, once, and it is told",
          "[R8]") {
    const auto algorithm = GENERATE(Algorithm::fixed, Algorithm::gcra, Algorithm::sliding_log);
    CAPTURE(static_cast<int>(algorithm));
    constexpr std::array<Duration, 3> jitters{0ms, 20ms, 100ms};
    int late = 0;
    int refused = 0;
    for (std::uint64_t seed = 1; seed <= 500; ++seed) {
        CAPTURE(seed);
        Dice dice(seed + 2'000'000);
        const auto most = static_cast<std::int64_t>(3 + dice.below(8));
        const Limit limit{algorithm, most, dice.one_in(2) ? 5s : 10s};
        const auto outcome = TwoRoutes(seed, limit, true, dice.of(jitters), 80).run();
        REQUIRE(outcome.splits == 1);
        REQUIRE(outcome.events == 1);
        if (outcome.answers_until_split > 2 * limit.limit) ++late;
        refused += outcome.refused;
    }
    CHECK(refused <= 4); // of 40,000 requests
    CHECK(late <= (algorithm == Algorithm::fixed ? 25 : 125));
}

TEST_CASE("after a split both counters are used to the full", "[R8]") {
    const Limit limit{Algorithm::fixed, 5, 5s};
    const auto shared = TwoRoutes(1, limit, false, 0ns, 80).run();
    const auto apart = TwoRoutes(1, limit, true, 0ns, 80).run();
    CHECK(shared.refused == 0);
    CHECK(apart.refused == 0);
    CHECK(shared.makespan > 75s);
    CHECK(apart.makespan < 45s);
}
