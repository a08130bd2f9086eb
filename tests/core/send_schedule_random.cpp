// SPDX-License-Identifier: MIT
#include <sluice/core/send_schedule.hpp>

#include "support/catch.hpp"
#include "support/send_connection.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

namespace {

using namespace sluice::tests::scheduling;

/// Two connections of one bot to which everything happens that can happen, in any order.
class Chaos {
public:
    explicit Chaos(std::uint64_t seed) : random_(seed) {
        for (int i = 0; i < 2; ++i) {
            connections_.push_back(std::make_unique<Connection>(SendSettings(), lists_));
            connections_.back()->send = false;
        }
    }

    void step() {
        Connection& one = *connections_[draw(2)];
        switch (draw(12)) {
        case 0:
        case 1:
        case 2:
            one.wait(any_request());
            break;
        case 3:
            hold_on_to(one, any_request());
            break;
        case 4:
        case 5:
            settle(one);
            break;
        case 6:
            withdraw(one);
            break;
        case 7:
            one.schedule.refuse(any_refusal(), now_);
            break;
        case 8:
            if (draw(20) == 0) one.schedule.reset(now_);
            break;
        case 9:
            one.schedule.set_heartbeat_interval(10s + Duration(draw(50'000)) * 1'000'000);
            break;
        default:
            pass(Duration(draw(3'000)) * 1'000'000);
        }
        collect();
        check();
    }

    /// Lets everything end: whoever waits is granted within minutes. Returns how many were left.
    std::size_t wind_up() {
        for (int i = 0; i < 100'000 && waiting() != 0; ++i) {
            for (auto& one : connections_) {
                while (!places_[one.get()].empty())
                    settle(*one);
            }
            Time next = never;
            for (auto& one : connections_)
                next = std::min(next, one->schedule.next_wake());
            if (waiting() == 0) break;
            REQUIRE(next != never);
            REQUIRE(next > now_);
            pass(next - now_);
            collect();
        }
        return waiting();
    }

private:
    std::uint64_t draw(std::uint64_t below) { return random_() % below; }
    SendRequest any_request() {
        switch (draw(8)) {
        case 0:
            return beat;
        case 1:
            return draw(4) == 0 ? identify : resume;
        case 2:
            return presence;
        case 3:
            return list(1 + draw(3), draw(2) == 0 ? Nonce("a") : Nonce());
        case 4:
            return query(1 + draw(3));
        case 5:
            return sounds;
        default:
            return voice;
        }
    }
    SendRefusal any_refusal() {
        if (draw(3) == 0) return {SendKind::plain, 31, Duration(draw(5)) * 1'000'000'000};
        return refusal(draw(4), Duration(draw(20)) * 1'000'000'000,
                       draw(2) == 0 ? Nonce("a") : Nonce());
    }

    void hold_on_to(Connection& one, const SendRequest& request) {
        SendPlace place;
        if (one.schedule.try_admit(request, now_, place)) places_[&one].push_back(place);
    }
    void settle(Connection& one) {
        auto& places = places_[&one];
        if (places.empty()) return;
        std::swap(places[draw(places.size())], places.back());
        SendPlace place = places.back();
        places.pop_back();
        draw(4) == 0 ? one.schedule.cancel(place, now_) : one.schedule.sent(place, now_);
        collect();
    }
    void withdraw(Connection& one) {
        for (SendWaiter& waiter : one.waiters) {
            if (waiter.state != SendState::queued || draw(4) != 0) continue;
            one.schedule.withdraw(waiter, now_);
            return;
        }
    }
    void pass(Duration time) {
        now_ += time;
        for (auto& one : connections_)
            one->pass(time);
    }
    /// What has been granted joins the permissions that are out.
    void collect() {
        for (auto& one : connections_) {
            one->collect();
            for (SendWaiter* waiter : one->order) {
                if (waiter->state == SendState::granted) {
                    places_[one.get()].push_back(waiter->place);
                }
            }
            one->order.clear();
        }
    }
    [[nodiscard]] std::size_t waiting() const {
        std::size_t all = 0;
        for (const auto& one : connections_)
            all += one->schedule.queued();
        return all;
    }
    void check() {
        for (auto& one : connections_) {
            std::size_t queued = 0;
            one->schedule.each_waiter([&](const SendWaiter& waiter) {
                REQUIRE(waiter.state == SendState::queued);
                ++queued;
            });
            REQUIRE(one->schedule.queued() == queued);
            REQUIRE(one->schedule.next_wake() > now_);
            const auto out = static_cast<std::int64_t>(places_[one.get()].size());
            REQUIRE(one->schedule.held() >= out);
        }
    }

    std::mt19937_64 random_;
    std::shared_ptr<MemberListLimit> lists_ = std::make_shared<MemberListLimit>();
    std::vector<std::unique_ptr<Connection>> connections_;
    std::map<Connection*, std::vector<SendPlace>> places_;
    Time now_ = start;
};

TEST_CASE("whatever happens in whatever order, the books are right and whoever waits gets a turn") {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        CAPTURE(seed);
        Chaos chaos(seed);
        for (int i = 0; i < 1500; ++i)
            chaos.step();
        REQUIRE(chaos.wind_up() == 0);
    }
}

} // namespace
