// SPDX-License-Identifier: MIT
//
// Which round trips a scheduler may learn from: what a client does before it sends is none of the
// path.
#include <sluice/testing/fake_limit.hpp>

#include "support/apply_answer.hpp"
#include "support/catch.hpp"
#include "support/core_client.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace {

using namespace sluice::tests;
using sluice::testing::Algorithm;

/// One connection that carries one request at a time, and a queue before it.
class QueueingClient {
public:
    explicit QueueingClient(std::uint64_t seed) : random_(seed) {}

    /// So many workers that each send their next request when the one before is answered.
    void work(int workers, Duration time) {
        const Time end = client_.now + time;
        while (workers-- > 0)
            calls_.push_back(&client_.send({}));
        while (client_.now < end) {
            if (carried_ == client_.order.size()) {
                client_.pass(client_.scheduler.next_wake() - client_.now);
                continue;
            }
            carry(*calls_[static_cast<std::size_t>(client_.order[carried_++]) - 1]);
        }
    }
    [[nodiscard]] int refused() const { return refused_; }
    [[nodiscard]] Duration credit() const {
        return client_.scheduler.latency().credit(client_.now);
    }

private:
    Duration way() { return 20ms + Duration(random_() % 20'000'000); }

    void carry(CoreClient::Call& call) {
        client_.pass(way());
        const Duration at = client_.now - Time();
        const Duration wait = counter_.wait(at);
        if (wait == 0ns) counter_.spend(at);
        const auto standing = counter_.standing(at);
        auto answer = shows(200, standing.remaining,
                            std::chrono::ceil<std::chrono::milliseconds>(standing.reset_after));
        answer.seen.reset = 1'000'000s + standing.reset;
        if (wait > 0ns) {
            answer.status = 429;
            answer.retry_after = wait;
            ++refused_;
        }
        client_.pass(way());
        apply_answer(client_.scheduler, call.place, answer, client_.now);
        client_.advance();
        if (wait > 0ns) {
            client_.retry(call);
        } else {
            calls_.push_back(&client_.send({}));
        }
    }

    std::mt19937_64 random_;
    CoreClient client_;
    std::vector<CoreClient::Call*> calls_;
    std::size_t carried_ = 0;
    sluice::testing::Counter counter_{{Algorithm::fixed, 200, 20s}};
    int refused_ = 0;
};

} // namespace

TEST_CASE("two requests that always queue in the client make no later one leave too early") {
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        CAPTURE(seed);
        QueueingClient client(seed);
        client.work(2, 60s);
        REQUIRE(client.refused() == 0);
        REQUIRE(client.credit() <= 40ms); // the least that is possible
    }
}

TEST_CASE("requests that go one at a time earn credit") {
    QueueingClient client(1);
    client.work(1, 60s);
    CHECK(client.credit() > 20ms);
}
