// SPDX-License-Identifier: MIT
//
// A bot with many shards in virtual time, and what of Discord matters to its identifies: keys, five
// seconds, and a day that begins by the clock or with its first identify (which of the two is not
// documented). The network takes 10 to 300 ms each way, anew for each message.
#ifndef SLUICE_TESTS_SUPPORT_IDENTIFY_WORLD_HPP
#define SLUICE_TESTS_SUPPORT_IDENTIFY_WORLD_HPP

#include <sluice/gateway/identify_queue.hpp>
#include <sluice/testing/manual_clock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <random>
#include <utility>

namespace sluice::tests::identifying {

using Clock = testing::ManualClock;
using Moment = Clock::time_point;
using Span = Clock::duration;
using Random = std::mt19937_64;

inline Span between(Random& random, std::chrono::milliseconds low, std::chrono::milliseconds high) {
    return Span(
        std::uniform_int_distribution<Span::rep>(Span(low).count(), Span(high).count())(random));
}

class IdentifyServer {
public:
    IdentifyServer(gateway::SessionStartLimit limit, bool day_by_clock, Moment now)
        : limit_(limit), by_clock_(day_by_clock), reset_at_(now + limit.reset_after) {}

    /// An identify arrives whose permit was given when `max_concurrency` was in force. Where that
    /// has changed on the way, only what is too early by the old keys and by the new ones is
    /// refused: a permit that is out cannot be recalled.
    bool identify(std::uint64_t shard, std::int64_t max_concurrency, Moment now) {
        new_day(now);
        if (!day_runs_) reset_at_ = now + std::chrono::hours(24);
        day_runs_ = true;
        if (--limit_.remaining < 0) ++overruns;
        while (!recent_.empty() && recent_.front().first + std::chrono::seconds(5) <= now)
            recent_.pop_front();
        const auto then = static_cast<std::uint64_t>(max_concurrency);
        const auto today = static_cast<std::uint64_t>(limit_.max_concurrency);
        const bool crowded = std::any_of(recent_.begin(), recent_.end(), [&](const auto& other) {
            return other.second % then == shard % then && other.second % today == shard % today;
        });
        recent_.emplace_back(now, shard);
        ++identifies;
        if (crowded) ++invalid_sessions;
        return !crowded;
    }

    /// What GET /gateway/bot answers.
    gateway::SessionStartLimit limit(Moment now) {
        new_day(now);
        gateway::SessionStartLimit told = limit_;
        told.remaining = std::max<std::int64_t>(0, told.remaining);
        told.reset_after = std::chrono::ceil<std::chrono::milliseconds>(
            day_runs_ ? reset_at_ - now : Span(std::chrono::hours(24)));
        return told;
    }
    void set_max_concurrency(std::int64_t value) { limit_.max_concurrency = value; }

    std::uint64_t identifies = 0;
    std::uint64_t invalid_sessions = 0;
    std::uint64_t overruns = 0;

private:
    void new_day(Moment now) {
        if (!day_runs_ || now < reset_at_) return;
        limit_.remaining = limit_.total;
        if (!by_clock_) {
            day_runs_ = false;
            return;
        }
        while (reset_at_ <= now)
            reset_at_ += std::chrono::hours(24);
    }

    gateway::SessionStartLimit limit_;
    bool by_clock_;
    bool day_runs_ = true;
    Moment reset_at_;
    std::deque<std::pair<Moment, std::uint64_t>> recent_; // arrivals of the last five seconds
};

/// How a bot behaves.
struct Habits {
    bool tells_answers = false; // calls answered()
    bool drops_permits = false; // never calls anything
    int failures = 0;           // of 100 identifies: the connection is lost around it
    Span write{0};              // at most, until a write is seen to have finished
};

class IdentifyBot {
public:
    IdentifyBot(Random& random, const gateway::SessionStartLimit& limit, Habits habits)
        : server(limit, random() % 2 == 0, clock.now()),
          random_(random),
          habits_(habits),
          max_concurrency_(limit.max_concurrency),
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
        max_concurrency_ = max_concurrency;
        ++changes_;
        server.set_max_concurrency(max_concurrency);
        queue_.update(server.limit(clock.now()));
    }
    void pass(Span time) { clock.run_for(io, time); }
    void finish() { clock.run(io); }

    [[nodiscard]] std::uint64_t ready() const { return ready_; }
    [[nodiscard]] Moment last_ready() const { return last_ready_; }
    [[nodiscard]] std::size_t waiting() const { return queue_.stats().queued; }

    boost::asio::io_context io;
    Clock clock;
    IdentifyServer server;

private:
    Span delay() {
        return between(random_, std::chrono::milliseconds(10), std::chrono::milliseconds(300));
    }
    Span part_of(Span most) { return Span(most * static_cast<Span::rep>(random_() % 1000) / 1000); }
    bool fails() { return static_cast<int>(random_() % 100) < habits_.failures; }

    boost::asio::awaitable<void> bring_up(std::uint64_t shard) {
        for (bool up = false; !up;) {
            gateway::IdentifyPermit permit = co_await queue_.acquire(shard);
            if (fails()) { // lost before anything was written
                permit.cancel();
                co_await clock.sleep(delay());
                continue;
            }
            const std::int64_t keys = max_concurrency_;
            if (habits_.drops_permits) permit = gateway::IdentifyPermit();
            if (habits_.write > Span(0)) co_await clock.sleep(part_of(habits_.write));
            permit.sent();
            co_await clock.sleep(delay());
            up = server.identify(shard, keys, clock.now());
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
        const gateway::SessionStartLimit told = server.limit(clock.now());
        const int changes = changes_;
        co_await clock.sleep(delay());
        if (changes == changes_) queue_.update(told);
    }

    Random& random_;
    Habits habits_;
    std::int64_t max_concurrency_;
    int changes_ = 0; // of max_concurrency
    std::uint64_t ready_ = 0;
    Moment last_ready_;
    gateway::BasicIdentifyQueue<Clock> queue_;
};

} // namespace sluice::tests::identifying

#endif
