// SPDX-License-Identifier: MIT
//
// A bot with many shards in virtual time against a fake gateway, whose day begins by the clock or
// with its first identify (which of the two is not documented). The network takes 10 to 300 ms each
// way, anew for each message.
#ifndef SLUICE_TESTS_SUPPORT_IDENTIFY_WORLD_HPP
#define SLUICE_TESTS_SUPPORT_IDENTIFY_WORLD_HPP

#include <sluice/gateway/identify_queue.hpp>
#include <sluice/gateway/opcode.hpp>
#include <sluice/gateway/session_start_limit.hpp>
#include <sluice/testing/fake_gateway.hpp>
#include <sluice/testing/manual_clock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

namespace sluice::tests::identifying {

using Clock = testing::ManualClock;
using Moment = Clock::time_point;
using Span = Clock::duration;
using Random = std::mt19937_64;

inline Span between(Random& random, std::chrono::milliseconds low, std::chrono::milliseconds high) {
    return Span(
        std::uniform_int_distribution<Span::rep>(Span(low).count(), Span(high).count())(random));
}

/// How a bot behaves.
struct Habits {
    bool tells_answers = false; // calls answered()
    bool drops_permits = false; // never calls anything
    bool keeps_permits = false; // nor that: they are held for ever
    int failures = 0;           // of 100 identifies: the connection is lost around it
    Span write{0};              // at most, until a write is seen to have finished
};

class IdentifyBot {
public:
    IdentifyBot(Random& random, const gateway::SessionStartLimit& limit, Habits habits)
        : server(server_of(limit, random() % 2 == 0), clock.now().time_since_epoch()),
          random_(random),
          habits_(habits),
          queue_(io, limit, {}, clock) {}

    void start(std::uint64_t shards) {
        for (std::uint64_t shard = 0; shard < shards; ++shard)
            reconnect(shard);
    }
    /// The shard has lost its session.
    void reconnect(std::uint64_t shard) { co_spawn(io, bring_up(shard), boost::asio::detached); }
    void ask_for_limit() { co_spawn(io, get_gateway_bot(), boost::asio::detached); }
    /// Discord moves the bot to another class of size, and the bot learns of it at that moment.
    void change(std::int64_t max_concurrency) {
        ++changes_;
        server.set_max_concurrency(static_cast<std::uint64_t>(max_concurrency), now());
        queue_.update(told());
    }
    void pass(Span time) { clock.run_for(io, time); }
    void finish() { clock.run(io); }

    [[nodiscard]] std::uint64_t ready() const { return ready_; }
    [[nodiscard]] Moment last_ready() const { return last_ready_; }
    [[nodiscard]] std::size_t waiting() const { return queue_.stats().queued; }

    boost::asio::io_context io;
    Clock clock;
    testing::FakeGateway server;

private:
    Span delay() {
        return between(random_, std::chrono::milliseconds(10), std::chrono::milliseconds(300));
    }
    Span part_of(Span most) { return Span(most * static_cast<Span::rep>(random_() % 1000) / 1000); }
    bool fails() { return static_cast<int>(random_() % 100) < habits_.failures; }

    static testing::FakeGatewayOptions server_of(const gateway::SessionStartLimit& limit,
                                                 bool day_by_clock) {
        return {.total = limit.total,
                .remaining = limit.remaining,
                .reset_after = limit.reset_after,
                .day_by_clock = day_by_clock,
                .max_concurrency = static_cast<std::uint64_t>(limit.max_concurrency)};
    }
    [[nodiscard]] Span now() const { return clock.now().time_since_epoch(); }
    /// What GET /gateway/bot answers at this moment.
    gateway::SessionStartLimit told() {
        return gateway::SessionStartLimit::parse(server.bot_info(now()));
    }
    /// Over a connection of its own, which is then lost or not needed any more.
    bool identify(std::uint64_t shard) {
        const auto connection = server.open(now());
        const auto reply = server.receive(
            connection, {.opcode = gateway::Opcode::identify, .shard = shard}, now());
        server.close(connection);
        return reply.outcome == testing::GatewayOutcome::ready;
    }

    boost::asio::awaitable<void> bring_up(std::uint64_t shard) {
        for (bool up = false; !up;) {
            gateway::IdentifyPermit permit = co_await queue_.acquire(shard);
            if (fails()) { // lost before anything was written
                permit.cancel();
                co_await clock.sleep(delay());
                continue;
            }
            if (habits_.drops_permits) permit = gateway::IdentifyPermit();
            if (habits_.keeps_permits) kept_.push_back(std::move(permit));
            if (habits_.write > Span(0)) co_await clock.sleep(part_of(habits_.write));
            permit.sent();
            co_await clock.sleep(delay());
            up = identify(shard);
            if (fails()) { // lost with the answer on its way: the identify is spent
                up = false;
                continue;
            }
            co_await clock.sleep(delay());
            if (habits_.tells_answers) permit.answered();
        }
        ++ready_;
        last_ready_ = clock.now();
    }

    boost::asio::awaitable<void> get_gateway_bot() {
        co_await clock.sleep(delay());
        const gateway::SessionStartLimit limit = told();
        const int changes = changes_;
        co_await clock.sleep(delay());
        if (changes == changes_) queue_.update(limit);
    }

    Random& random_;
    Habits habits_;
    int changes_ = 0; // of max_concurrency
    std::uint64_t ready_ = 0;
    Moment last_ready_;
    std::vector<gateway::IdentifyPermit> kept_;
    gateway::BasicIdentifyQueue<Clock> queue_;
};

} // namespace sluice::tests::identifying

#endif
