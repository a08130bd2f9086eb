// SPDX-License-Identifier: MIT
//
// A core::Scheduler driven by hand, for tests of one rule at a time: requests are made by number,
// answered in one line, and time passes only when a test says so. It does what the layer above
// does and no more: it takes finished waiters and wakes the scheduler at the times it asks for.
#ifndef SLUICE_TESTS_SUPPORT_CORE_CLIENT_HPP
#define SLUICE_TESTS_SUPPORT_CORE_CLIENT_HPP

#include <sluice/core/scheduler.hpp>

#include "support/apply_answer.hpp"
#include "support/catch.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::tests {

using namespace std::chrono_literals;
using core::Duration;
using core::Time;

/// Where a request goes. Routes and channels are numbers from 1.
struct Target {
    std::uint64_t route = 1;
    std::uint64_t channel = 1;
    bool exempt = false;
    std::uint32_t tag = 0;
    /// What else its route brings along; exempt as above.
    core::LaneTraits traits = {};
};

/// A success that shows a bucket.
inline core::Answer shows(std::int64_t limit, std::int64_t remaining, Duration reset_after,
                          std::string_view hash = "a") {
    core::Answer answer;
    answer.status = 200;
    answer.hash = hash;
    answer.seen.limit = limit;
    answer.seen.remaining = remaining;
    answer.seen.reset_after = reset_after;
    return answer;
}

/// A success without any header.
inline core::Answer silent(int status = 200) {
    core::Answer answer;
    answer.status = status;
    return answer;
}

/// A 429 of the bucket's own limit.
inline core::Answer spent(Duration wait, std::string_view hash = "a", std::int64_t limit = 5) {
    core::Answer answer = shows(limit, 0, wait, hash);
    answer.status = 429;
    answer.retry_after = wait;
    return answer;
}

/// A 429 that shows no bucket.
inline core::Answer bare_429(std::optional<Duration> wait = std::nullopt) {
    core::Answer answer = silent(429);
    answer.retry_after = wait;
    return answer;
}

class CoreClient {
public:
    struct Call : core::Waiter {
        int number = 0;
        Target target;
        Time bound = core::never;
        [[nodiscard]] bool sent() const { return place.taken(); }
        [[nodiscard]] bool waits() const { return state == core::WaiterState::queued; }
        [[nodiscard]] bool refused() const { return state == core::WaiterState::refused; }
    };

    /// Without a global limit unless the settings name one.
    explicit CoreClient(core::Settings settings = {.global_limit = 0},
                        std::shared_ptr<core::Gate> gate = nullptr)
        : scheduler(settings, std::move(gate)) {}

    /// A request arrives, and goes at once if it may.
    Call& send(const Target& target, Time bound = core::never, std::uint32_t min_remaining = 1) {
        Call& call = calls_.emplace_back();
        call.number = static_cast<int>(calls_.size());
        call.target = target;
        call.bound = bound;
        call.min_remaining = min_remaining;
        submit(call);
        return call;
    }
    std::vector<Call*> send(std::size_t count, const Target& target) {
        std::vector<Call*> sent_now;
        for (std::size_t i = 0; i < count; ++i)
            sent_now.push_back(&send(target));
        return sent_now;
    }

    [[nodiscard]] Call& call(int number) { return calls_[static_cast<std::size_t>(number - 1)]; }
    /// A refused request waits again, in its old place.
    void retry(Call& call) { submit(call); }

    core::AnswerKind answer(Call& call, core::Answer answer) {
        answer.seen.reset = 1'000'000s + (now - Time()) + answer.seen.reset_after.value_or(0s);
        if (!answer.seen.reset_after) answer.seen.reset.reset();
        const core::AnswerKind kind = apply_answer(scheduler, call.place, answer, now);
        finish();
        return kind;
    }
    void lose(Call& call) {
        scheduler.lose(call.place, now);
        finish();
    }
    /// Never sent, or no longer wanted while it waits.
    void cancel(Call& call) {
        if (call.waits()) {
            scheduler.withdraw(call, now);
        } else {
            scheduler.cancel(call.place, now);
        }
        finish();
    }
    /// Lets go of the lane, as the owner of a ticket does in the end.
    void release(Call& call) { core::Scheduler::release(call.place); }

    /// Wakes the scheduler whenever it asks for it on the way.
    void pass(Duration time) {
        const Time end = now + time;
        while (scheduler.next_wake() <= end) {
            REQUIRE(scheduler.next_wake() > now);
            now = scheduler.next_wake();
            for (int turns = 0; scheduler.next_wake() <= now; ++turns) {
                REQUIRE(turns < 1'000); // of many that are due at once, some each time
                advance();
            }
        }
        now = end;
    }
    /// What the alarm does.
    void advance() {
        scheduler.advance(now);
        finish();
    }
    /// How long until the request goes by itself, or nothing within an hour.
    std::optional<Duration> time_until_sent(const Call& call) {
        const Time begin = now;
        while (!call.sent()) {
            if (scheduler.next_wake() > begin + 1h) return std::nullopt;
            pass(scheduler.next_wake() - now);
        }
        return now - begin;
    }

    [[nodiscard]] core::Lane& lane(const Target& target) {
        const core::LaneKey key{
            target.route, {core::MajorKind::channel, 0, target.channel}, target.tag};
        core::LaneTraits traits = target.traits;
        traits.exempt = target.exempt;
        return scheduler.lane(key, traits, now);
    }
    [[nodiscard]] core::Bucket& bucket(const Target& target) { return *lane(target).bucket; }

    /// Every place is back and nobody waits.
    [[nodiscard]] bool at_rest() const {
        bool rests = scheduler.in_flight() == 0 && scheduler.queued() == 0;
        scheduler.registry().each_lane([&](const core::Lane& lane) {
            rests = rests && lane.queued == 0 && lane.granted == 0 && lane.in_flight == 0 &&
                    lane.bucket->places == 0 && lane.bucket->in_flight == 0;
        });
        return rests && scheduler.registry().idle_count() == scheduler.registry().bucket_count();
    }

    core::Scheduler scheduler;
    Time now{1h};
    std::vector<int> order; ///< numbers of the calls that left, in that order

private:
    void submit(Call& call) {
        core::Lane& its_lane = lane(call.target);
        const bool pauses = call.place.not_before() > now;
        if (!pauses && scheduler.try_admit(its_lane, now, call.place, call.min_remaining)) {
            order.push_back(call.number);
        } else {
            scheduler.enqueue(call, its_lane, now, call.bound);
        }
        finish();
    }

    void finish() {
        core::WaiterList finished = scheduler.take_finished();
        while (!finished.empty()) {
            auto& call = static_cast<Call&>(finished.front());
            finished.pop_front();
            if (call.refused()) continue;
            scheduler.delivered(*call.place.lane);
            order.push_back(call.number);
        }
    }

    std::deque<Call> calls_; // waiters do not move
};

} // namespace sluice::tests

#endif
