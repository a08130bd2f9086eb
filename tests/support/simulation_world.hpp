// SPDX-License-Identifier: MIT
//
// What a simulation is told and what it tells: the world (limits, routes, delays, connections,
// losses, lies), the requests, and the outcome with the least makespan that any client could reach.
//
// The optimum knows the server's algorithm and its clock: each request arrives at the first instant
// at which it is accepted, with the same arrivals, the same global limit and mean delays.
#ifndef SLUICE_TESTS_SUPPORT_SIMULATION_WORLD_HPP
#define SLUICE_TESTS_SUPPORT_SIMULATION_WORLD_HPP

#include <sluice/core/scheduler.hpp>
#include <sluice/core/time.hpp>
#include <sluice/testing/fake_limit.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <queue>
#include <utility>
#include <vector>

namespace sluice::tests {

using core::Duration;
using core::Time;
using namespace std::chrono_literals;

struct Range {
    Duration low{0};
    Duration high{0};
    [[nodiscard]] Duration mean() const { return (low + high) / 2; }
};

enum class Headers {
    exact,
    whole_seconds,
    missing_in_30_percent,
    counted_after_report,
    limit_zero
};

/// At this time the counters of one hash go on under another limit.
struct Change {
    Duration at{0};
    std::size_t hash = 0;
    testing::Limit limit;
    bool renamed = false; ///< and their hash has another text from here on
};

/// What somebody else does with the same token, if the limit lets them.
struct Foreign {
    std::size_t hash = 0;
    std::size_t channel = 0;
    Duration at{0};
};

struct World {
    std::vector<testing::Limit> limits{{}}; ///< one per bucket hash
    std::vector<std::size_t> routes{0};     ///< each route's bucket hash, an index into limits
    std::size_t channels = 1;
    bool common = false; ///< one counter over all channels
    bool joins = true;   ///< the client looks for that
    std::vector<Foreign> others{};
    std::vector<Change> changes{};
    Range forward{30ms, 30ms};
    Range backward{30ms, 30ms};
    Range connect{};                 ///< what opening a connection costs
    Range connection_life{60s, 60s}; ///< how long an idle connection stays open
    Range upload{};
    bool marks_sent = false; ///< the client says when a request goes out on an open connection
    Duration skew{0};        ///< API nodes' clocks differ by up to this
    double loss = 0;         ///< share of answers that never come
    double cancelled = 0;    ///< share of requests given up: while queued, or before they are sent
    double impatient = 0;    ///< share of requests whose wait has a bound
    Headers headers = Headers::exact;
    std::optional<Duration> dormant_after{}; ///< the client's, if not as usual
    std::vector<Duration> stops{};           ///< when the client stops with all that is under way
    Range downtime{1200ms, 10s};             ///< longer than any request is under way
    bool saves = true;                       ///< it starts again from a snapshot
    bool plain = true; ///< answers that are as nearly all are, are applied as such
    std::size_t serves_at_once = core::Settings().serves_at_once; ///< the client's
    bool rings_late = false; ///< it is woken for the rest after what else happens at that moment
    std::int64_t global_limit = 0;        ///< of the server; 0: none
    std::int64_t client_global_limit = 0; ///< what the client takes it for; 0: the same
    testing::Algorithm global_algorithm = testing::Algorithm::fixed;
    std::uint64_t seed = 1;
};

struct Request {
    std::size_t route = 0;
    std::size_t channel = 0;
    Duration at{0};
};

/// A queue of this many requests that is there from the start.
inline std::vector<Request> burst(std::size_t requests) {
    return std::vector<Request>(requests);
}

struct Outcome {
    std::size_t requests = 0;
    std::size_t refused = 0;   ///< all 429s
    std::size_t avoidable = 0; ///< those of a limit whose headers an earlier answer had shown
    std::size_t global_refused = 0;
    std::size_t forgiven = 0;  ///< 429s that a lost first answer explains, one each
    std::size_t displaced = 0; ///< 429s of requests that one of an unseen route overtook
    std::size_t abandoned = 0; ///< cancelled, or refused to wait on as their bound had passed
    std::size_t decided = 0;   ///< requests that reached the server
    std::size_t slept = 0;     ///< moments at which some bucket of the client's was dormant
    std::size_t joined = 0;    ///< hashes taken for common to all channels
    std::size_t plain = 0;     ///< answers applied by Scheduler::answer_plain()
    std::uint64_t digest = 0;  ///< of which request was sent when
    std::uint64_t order = 0;   ///< of which was sent before which
    Duration makespan{0};
    Duration optimum{0};
    [[nodiscard]] double ratio() const {
        return static_cast<double>(makespan.count()) / static_cast<double>(optimum.count());
    }
};

/// When the last answer comes, at the best. Ignores changes of the limits.
inline Duration optimum_of(const World& world, const std::vector<Request>& requests) {
    struct Queue {
        testing::Counter counter;
        std::deque<Duration> due; // earliest arrivals at the server, ascending
    };
    std::vector<Queue> queues;
    for (const testing::Limit& limit : world.limits)
        queues.insert(queues.end(), world.channels, Queue{testing::Counter(limit), {}});
    std::vector<Request> sorted = requests;
    std::sort(sorted.begin(), sorted.end(),
              [](const Request& a, const Request& b) { return a.at < b.at; });
    for (const Request& request : sorted) {
        const std::size_t channel = world.common ? 0 : request.channel;
        queues[world.routes[request.route] * world.channels + channel].due.push_back(
            request.at + world.forward.mean() + world.upload.mean());
    }

    std::optional<testing::Counter> global;
    if (world.global_limit > 0) {
        global.emplace(testing::Limit{world.global_algorithm, world.global_limit, 1s});
    }
    using Turn = std::pair<Duration, std::size_t>; // when a queue's first request can be accepted
    std::priority_queue<Turn, std::vector<Turn>, std::greater<>> turns;
    for (std::size_t i = 0; i < queues.size(); ++i) {
        if (!queues[i].due.empty()) turns.emplace(queues[i].due.front(), i);
    }
    Duration last{0};
    while (!turns.empty()) {
        const auto [at, i] = turns.top();
        turns.pop();
        Queue& queue = queues[i];
        const Duration wait =
            std::max(queue.counter.wait(at), global ? global->wait(at) : Duration(0));
        if (wait > 0ns) {
            turns.emplace(at + wait, i);
            continue;
        }
        queue.counter.spend(at);
        if (global) global->spend(at);
        last = std::max(last, at + world.backward.mean());
        queue.due.pop_front();
        if (!queue.due.empty()) turns.emplace(std::max(at, queue.due.front()), i);
    }
    return last;
}

} // namespace sluice::tests

#endif
