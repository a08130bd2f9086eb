// SPDX-License-Identifier: MIT
//
// Whoever waits has a request in flight or a wake time strictly ahead, and goes in bounded time
// once answers come: over every sequence of up to six answers from an alphabet of what servers and
// proxies say. Nothing here is random. CMake builds this file twice, with assertions and without:
// an assertion that fails and a lane that hangs are one fault seen from two sides.
#include <sluice/core/scheduler.hpp>

#include "support/apply_answer.hpp"
#include "support/catch.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace sluice::core;
using namespace std::chrono_literals;

constexpr std::size_t longest = 6;
constexpr std::size_t callers = 9; // some still wait after six answers
constexpr Duration round_trip = 100ms;

/// What happens to a request. A field that is absent here was absent, or unreadable ("-1", "0.0",
/// "0, 0"), which Response::parse makes the same of.
struct Letter {
    std::string_view name;
    NonNegative<std::int64_t> limit;
    NonNegative<std::int64_t> remaining;
    NonNegative<Duration> reset_after;
    Duration after = round_trip; ///< it has been under way, or others have, for so long
    Duration behind{0};          ///< its Reset is that much earlier than that of an answer of now
    int status = 200;
    bool newest = false; ///< it overtakes all others that are under way
};

constexpr std::int64_t limit = 2;
constexpr NonNegative<std::int64_t> no_count;
constexpr NonNegative<Duration> no_time;

const std::array alphabet{
    Letter{"early", limit, 1, 1s},
    Letter{"overtaking and spent", limit, 0, 1s, round_trip, 0s, 200, true},
    Letter{"late", limit, 0, 1s, 1500ms},
    Letter{"uncounted", limit, no_count, 1s},
    Letter{"uncounted, window over", limit, no_count, 0s},
    Letter{"uncounted, old window", limit, no_count, 40ms, round_trip, 3s, 200, true},
    Letter{"endless", limit, 0, no_time},
    Letter{"unlimited", no_count, no_count, 20ms, 1500ms},
    Letter{"wordless", no_count, no_count, no_time},
    Letter{"429", limit, 0, 700ms, round_trip, 0s, 429},
};

/// One scheduler for all sequences, each on a channel of its own. Every round trip is said to have
/// been the same, so that the credit is as large as it gets.
class Driver {
public:
    /// Without a hash every channel is a first contact; with one all but the first are known.
    explicit Driver(std::string_view hash) : hash_(hash) {
        constexpr int samples = 64;
        open_channel();
        for (int i = 0; i < samples; ++i) {
            submit(calls_[0]);
            now_ += round_trip;
            settle(calls_[0], {"", no_count, no_count, no_time});
        }
        close_channel();
    }

    /// Empty, or what went wrong.
    std::string run(const std::vector<std::size_t>& letters) {
        open_channel();
        for (Call& call : calls_)
            submit(call);
        std::string wrong;
        for (const std::size_t letter : letters) {
            if (wrong.empty()) wrong = step(alphabet[letter]);
        }
        if (wrong.empty()) wrong = finish();
        close_channel();
        return wrong;
    }

private:
    struct Call : Waiter {
        [[nodiscard]] bool flies() const noexcept { return place.taken(); }
    };

    void open_channel() {
        const LaneKey key{1, {MajorKind::channel, 0, ++channel_}, 0};
        lane_ = &scheduler_.lane(key, {}, now_);
        for (Call& call : calls_)
            call.place = Place();
        flying_.clear();
    }
    void close_channel() {
        for (Call& call : calls_) {
            if (call.state == WaiterState::queued) scheduler_.withdraw(call, now_);
            if (call.flies()) scheduler_.cancel(call.place, now_);
            call.state = WaiterState::idle;
            Scheduler::release(call.place);
        }
        take_granted();
        now_ += 10s;
    }
    void submit(Call& call) {
        if (scheduler_.try_admit(*lane_, now_, call.place)) {
            flying_.push_back(&call);
        } else {
            scheduler_.enqueue(call, *lane_, now_);
        }
        take_granted();
    }
    void take_granted() {
        WaiterList finished = scheduler_.take_finished();
        while (!finished.empty()) {
            auto& call = static_cast<Call&>(finished.front());
            finished.pop_front();
            scheduler_.delivered(*call.place.lane);
            flying_.push_back(&call);
        }
    }
    void settle(Call& call, const Letter& letter) {
        Answer answer;
        answer.status = letter.status;
        answer.hash = hash_;
        answer.seen.limit = letter.limit;
        answer.seen.remaining = letter.remaining;
        answer.seen.reset_after = letter.reset_after;
        if (letter.reset_after) {
            answer.seen.reset = 1'000'000s + (now_ - Time()) + *letter.reset_after - letter.behind;
        }
        if (letter.status == 429) answer.retry_after = letter.reset_after;
        const Time sent = now_ - round_trip;
        if (answer.status == 429 ||
            !sluice::tests::apply_plainly(scheduler_, call.place, answer, sent, now_)) {
            scheduler_.answer(call.place, answer, sent, now_);
        }
    }
    /// False: it would never end.
    bool pass_until(Time end) {
        for (int turns = 0; scheduler_.next_wake() <= end; ++turns) {
            if (turns > 1'000) return false;
            now_ = greater(now_, scheduler_.next_wake());
            scheduler_.advance(now_);
            take_granted();
        }
        now_ = greater(now_, end);
        return true;
    }
    [[nodiscard]] bool looked_after() const noexcept {
        if (scheduler_.queued() == 0 || scheduler_.in_flight() != 0) return true;
        return scheduler_.next_wake() > now_ && scheduler_.next_wake() != never;
    }
    std::string step(const Letter& letter) {
        if (flying_.empty() && !wait_for_a_grant()) return "nobody goes";
        if (!pass_until(now_ + letter.after)) return "woken for ever";
        const auto at = letter.newest ? flying_.end() - 1 : flying_.begin();
        Call& call = **at;
        flying_.erase(at);
        settle(call, letter);
        take_granted();
        if (letter.status == 429) submit(call); // in its old place
        return looked_after() ? "" : "nothing is in flight, and nobody is woken";
    }
    bool wait_for_a_grant() {
        constexpr Duration bound = 80s; // of a backoff after so many 429s in a row
        const Time until = now_ + bound;
        while (flying_.empty()) {
            if (scheduler_.next_wake() > until || !pass_until(scheduler_.next_wake())) return false;
        }
        return true;
    }
    /// From now on the server answers as it should, and every request that waits goes.
    std::string finish() {
        std::int64_t left = 0;
        Time over = now_;
        while (scheduler_.queued() != 0 || !flying_.empty()) {
            if (flying_.empty() && !wait_for_a_grant()) return "nobody goes in the end";
            pass_until(now_ + round_trip);
            if (now_ >= over) {
                left = limit;
                over = now_ + 1s;
            }
            Call& call = *flying_.front();
            flying_.erase(flying_.begin());
            left = greater<std::int64_t>(0, left - 1);
            settle(call, {"", limit, left, over - now_});
            take_granted();
            if (!looked_after()) return "nothing is in flight, and nobody is woken in the end";
        }
        return "";
    }

    Scheduler scheduler_{{.global_limit = 0}};
    std::string_view hash_;
    Time now_{1h};
    Lane* lane_ = nullptr;
    std::uint64_t channel_ = 0;
    std::array<Call, callers> calls_;
    std::vector<Call*> flying_; // in the order in which they left
};

std::string names(const std::vector<std::size_t>& letters) {
    std::string all;
    for (const std::size_t letter : letters)
        all.append(all.empty() ? "" : "; ").append(alphabet[letter].name);
    return all;
}

/// The next sequence of the same length, or the first of the next length.
void count_on(std::vector<std::size_t>& letters) {
    for (std::size_t& letter : letters) {
        if (++letter < alphabet.size()) return;
        letter = 0;
    }
    letters.push_back(0);
}

} // namespace

TEST_CASE("after any six answers whoever waits is looked after, and goes once answers come") {
    const std::string_view hash = GENERATE("", "hash");
    Driver driver(hash);
    std::size_t sequences = 0;
    for (std::vector<std::size_t> letters{0}; letters.size() <= longest; count_on(letters)) {
        ++sequences;
        const std::string wrong = driver.run(letters);
        if (!wrong.empty()) FAIL(wrong << " after: " << names(letters));
    }
    CHECK(sequences == 1'111'110); // 10 + 10^2 + ... + 10^6
}
