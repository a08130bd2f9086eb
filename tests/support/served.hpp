// SPDX-License-Identifier: MIT
//
// Requests in virtual time against a server that is one function: whoever leaves is answered a
// round trip later, and whoever is refused waits again, until all have succeeded or time is up.
#ifndef SLUICE_TESTS_SUPPORT_SERVED_HPP
#define SLUICE_TESTS_SUPPORT_SERVED_HPP

#include "support/core_client.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <vector>

namespace sluice::tests {

struct Served {
    int succeeded = 0;
    int refused = 0;
    Duration span{0}; ///< until the last answer
};

class ServedClient {
public:
    /// Decides on a request that arrives so long after the start.
    using Server = std::function<core::Answer(const CoreClient::Call&, Duration)>;
    static constexpr Duration way{30ms}; ///< there, and back

    explicit ServedClient(Server server, core::Settings settings = {})
        : client(settings), server_(std::move(server)) {}

    void send(std::size_t count, const Target& target) {
        for (std::size_t i = 0; i < count; ++i)
            waiting_.push_back(&client.send(target));
    }
    /// Asks again for each request that has succeeded, as callers in a loop do.
    bool closed_loop = false;

    Served run(Duration most = 1h) {
        const Time start = client.now;
        Served result;
        while (!waiting_.empty() || !flying_.empty()) {
            collect(start);
            const Time back = flying_.empty() ? core::never : flying_.front().back;
            const Time wake = std::min(client.scheduler.next_wake(), back);
            if (wake >= start + most) break;
            client.pass(wake - client.now);
            collect(start);
            while (!flying_.empty() && flying_.front().back <= client.now)
                land(result, start);
        }
        return result;
    }

    CoreClient client;

private:
    struct Flight {
        CoreClient::Call* call;
        core::Answer answer;
        Time back;
    };

    /// Whoever has left meanwhile is on its way.
    void collect(Time start) {
        for (auto at = waiting_.begin(); at != waiting_.end();) {
            CoreClient::Call& call = **at;
            if (call.waits()) {
                ++at;
                continue;
            }
            if (call.sent()) {
                const Duration looked = call.place.sent + way - start;
                flying_.push_back({&call, server_(call, looked), call.place.sent + 2 * way});
            }
            at = waiting_.erase(at);
        }
    }
    void land(Served& result, Time start) {
        const Flight landed = flying_.front();
        flying_.pop_front();
        client.answer(*landed.call, landed.answer);
        result.span = client.now - start;
        const bool again = landed.answer.status == 429;
        ++(again ? result.refused : result.succeeded);
        if (again) client.retry(*landed.call);
        if (!again) client.release(*landed.call);
        if (again) waiting_.push_back(landed.call);
        if (!again && closed_loop) waiting_.push_back(&client.send(landed.call->target));
    }

    Server server_;
    std::deque<CoreClient::Call*> waiting_;
    std::deque<Flight> flying_; // all ways take the same time, so the first to go is the first back
};

} // namespace sluice::tests

#endif
