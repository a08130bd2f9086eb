// SPDX-License-Identifier: MIT
#include <sluice/core/send_log.hpp>
#include <sluice/core/send_schedule.hpp>

#include "support/catch.hpp"
#include "support/send_connection.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <random>

namespace {

using namespace sluice::tests::scheduling;

/// Counts like Discord might: in windows opened by the first event, in windows on the clock, over a
/// sliding log, or as a leaky bucket.
struct Servers {
    explicit Servers(Duration on_clock) : phase(on_clock) {}

    void arrive(Time at) {
        if (at >= opened + 60s) {
            opened = at;
            in_opened = 0;
        }
        worst = std::max(worst, ++in_opened);
        const auto now_in = (at + phase).time_since_epoch() / 60s;
        if (now_in != aligned) {
            aligned = now_in;
            in_aligned = 0;
        }
        worst = std::max(worst, ++in_aligned);
        log.push_back(at);
        while (log.front() <= at - 60s)
            log.pop_front();
        worst = std::max(worst, static_cast<int>(log.size()));
        full = std::max(full, at) + 500ms;
        if (full > at + 60s) leaked = true;
    }

    Duration phase;
    Time opened = Time::min();
    int in_opened = 0;
    std::int64_t aligned = 0;
    int in_aligned = 0;
    std::deque<Time> log;
    Time full = Time::min();
    bool leaked = false;
    int worst = 0;
};

struct Load {
    Duration interval;
    Duration burst_gap;
    int burst;
};

/// Ten minutes of bursts and heartbeats over a way whose delay changes; in order, as TCP does it.
int run(Servers& servers, const Load& load, std::mt19937_64& random) {
    Connection connection;
    connection.schedule.set_heartbeat_interval(load.interval);
    Time last_arrival = start;
    int sent = 0;
    const auto send = [&](const SendRequest& request) {
        if (!connection.try_one(request)) return false;
        const auto delay = Duration(10ms) + Duration(random() % 290) * 1'000'000;
        last_arrival = std::max(last_arrival, connection.now + delay);
        servers.arrive(last_arrival);
        ++sent;
        return true;
    };
    Time next_beat = start + Duration(random() % static_cast<std::uint64_t>(load.interval.count()));
    Time next_asked = next_beat;
    Time next_burst = start;
    while (connection.now < start + 10min) {
        if (connection.now >= next_beat) {
            REQUIRE(send(beat));
            next_beat += load.interval;
        }
        if (connection.now >= next_asked) {
            REQUIRE(send(beat));
            next_asked += load.interval + Duration(random() % 1'000'000'000);
        }
        if (connection.now >= next_burst) {
            int left = load.burst;
            while (left > 0 && send(voice))
                --left;
            if (left == 0) next_burst = connection.now + load.burst_gap;
        }
        connection.pass(10ms);
    }
    CHECK(connection.schedule.counters().crowded == 0);
    return sent;
}

TEST_CASE("no window of any shape ever holds more than 120 events, and most of them are used") {
    std::mt19937_64 random(20'260'101);
    for (int round = 0; round < 24; ++round) {
        const Duration gap = round % 2 == 0 ? 0s : Duration(random() % 3'000) * 1'000'000;
        const Load load{10s + Duration(random() % 50'000) * 1'000'000, gap,
                        1 + static_cast<int>(random() % 60)};
        CAPTURE(round, load.interval.count(), load.burst_gap.count(), load.burst);
        Servers servers(Duration(random() % 60'000) * 1'000'000);
        const int sent = run(servers, load, random);
        CHECK(servers.worst <= 120);
        CHECK_FALSE(servers.leaked);
        Connection fresh;
        fresh.schedule.set_heartbeat_interval(load.interval);
        if (load.burst_gap == 0s) CHECK(sent >= (120 - fresh.schedule.reserved()) * 10);
    }
}

} // namespace
