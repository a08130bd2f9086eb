// SPDX-License-Identifier: MIT
//
// One gateway connection's SendSchedule for the tests of the core: time stands still unless a test
// says otherwise, and what has been granted is sent at once unless it says not to.
#ifndef SLUICE_TESTS_SUPPORT_SEND_CONNECTION_HPP
#define SLUICE_TESTS_SUPPORT_SEND_CONNECTION_HPP

#include <sluice/core/send_schedule.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

namespace sluice::tests::scheduling {

using namespace sluice::core;
using namespace std::chrono_literals;

inline constexpr Time start = Time(1h);

inline constexpr SendRequest voice{SendKind::plain, 4};
inline constexpr SendRequest sounds{SendKind::plain, 31};
inline constexpr SendRequest beat{SendKind::heartbeat, 1};
inline constexpr SendRequest identify{SendKind::session, 2};
inline constexpr SendRequest resume{SendKind::session, 6};
inline constexpr SendRequest presence{SendKind::presence, 3};
inline SendRequest list(std::uint64_t guild, Nonce nonce = {}) {
    return {SendKind::members, 8, {guild, true}, nonce};
}
inline SendRequest query(std::uint64_t guild, Nonce nonce = {}) {
    return {SendKind::members, 8, {guild, false}, nonce};
}
inline SendRefusal refusal(std::uint64_t guild, Duration after, Nonce nonce = {}) {
    return {SendKind::members, 8, after, guild, nonce};
}

/// One connection; time stands still unless a test says otherwise.
struct Connection {
    explicit Connection(const SendSettings& settings = {},
                        std::shared_ptr<MemberListLimit> lists = nullptr)
        : schedule(settings, lists ? std::move(lists) : std::make_shared<MemberListLimit>()) {}
    ~Connection() {
        schedule.end_all();
        collect();
    }

    SendWaiter& wait(const SendRequest& request) {
        SendWaiter& waiter = waiters.emplace_back();
        waiter.place.request = request;
        schedule.enqueue(waiter, now);
        collect();
        return waiter;
    }
    bool try_one(const SendRequest& request) {
        SendPlace place;
        if (!schedule.try_admit(request, now, place)) return false;
        schedule.sent(place, now);
        return true;
    }
    int send_all(const SendRequest& request, int most = 1000) {
        int sent = 0;
        while (sent < most && try_one(request))
            ++sent;
        return sent;
    }
    void pass(Duration time) {
        now += time;
        schedule.advance(now);
        collect();
    }
    /// Everything granted is sent at once.
    void collect() {
        SendWaiterList finished = schedule.take_finished();
        while (!finished.empty()) {
            SendWaiter& waiter = finished.front();
            finished.pop_front();
            order.push_back(&waiter);
            if (waiter.state != SendState::granted) continue;
            schedule.delivered();
            if (send) schedule.sent(waiter.place, now);
        }
        if (send && !schedule.take_finished().empty()) FAIL("sending granted something");
    }

    SendSchedule schedule;
    Time now = start;
    bool send = true;
    std::deque<SendWaiter> waiters;
    std::vector<SendWaiter*> order; // as they were finished
};

} // namespace sluice::tests::scheduling

#endif
