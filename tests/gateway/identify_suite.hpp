// SPDX-License-Identifier: MIT
//
// What every identify queue must do, whatever it keeps its state in. A `World` brings the queue:
//
//     struct World {
//         World(const SessionStartLimit&, const IdentifyQueueOptions&);
//         boost::asio::io_context io;
//         testing::ManualClock clock;
//         <queue> queue;          // destroyed before io, unless a test resets it: std::optional
//         void pass(duration);    // runs what is ready and due in that time
//     };
//
// and runs each of IdentifySuite<World>::all() as a section.
#ifndef SLUICE_TESTS_GATEWAY_IDENTIFY_SUITE_HPP
#define SLUICE_TESTS_GATEWAY_IDENTIFY_SUITE_HPP

#include <sluice/error.hpp>
#include <sluice/gateway/identify_options.hpp>
#include <sluice/gateway/identify_permit.hpp>
#include <sluice/gateway/session_start_limit.hpp>

#include "support/catch.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>
#include <boost/system/error_code.hpp>

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

namespace sluice::tests::identifying {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using boost::system::error_code;
using gateway::IdentifyOptions;
using gateway::IdentifyPermit;
using gateway::IdentifyQueueOptions;
using gateway::SessionStartLimit;
using Shards = std::vector<std::uint64_t>;

inline SessionStartLimit limit_of(std::int64_t max_concurrency, std::int64_t remaining = 1000,
                                  std::chrono::milliseconds reset_after = 20h) {
    return {1000, remaining, reset_after, max_concurrency};
}

/// What an acquire ended with.
struct Ending {
    int times = 0;
    error_code code;
    IdentifyPermit permit;
};

inline auto into(Ending& ending) {
    return [&ending](error_code code, IdentifyPermit permit) {
        ++ending.times;
        ending.code = code;
        ending.permit = std::move(permit);
    };
}

template <class World>
class IdentifySuite {
public:
    struct Case {
        const char* name;
        void (*run)();
    };
    static std::vector<Case> all() {
        return {
            {"the same key is serial", same_key},
            {"the five seconds run from sent(), and a permit that is out closes its key", sent},
            {"a permit that is only held counts as sent after twice the margin", held},
            {"how long a permit may be held can be told", held_for_as_long_as_told},
            {"different keys are parallel", parallel},
            {"shards of one key go in the order in which they came", order_of_arrival},
            {"batches ascend", batches},
            {"a cancelled permit lets the next go at once and costs nothing", cancelled_permit},
            {"an identify that was sent stays spent", spent},
            {"remaining 0 stops everybody until reset_after, and the fresh day lets them go", day},
            {"an update while shards wait lets them go", update},
            {"an update with another max_concurrency moves the waiters", update_keys},
            {"max_concurrency 0 is an error that changes nothing", update_zero},
            {"cancellation works while queued, while the day is spent and after the grant", cancel},
            {"the reserve is for explicit calls", reserve},
            {"max_wait tells a spent day from a long queue", max_wait},
            {"cancel_all and close end the waiters, and permits may still be settled", ends},
            {"a queue destroyed with waiters ends them", destroyed},
        };
    }

private:
    /// A world in which shards note when they get their permit.
    struct Bot {
        explicit Bot(const SessionStartLimit& limit, const IdentifyQueueOptions& options = {})
            : world(limit, options) {}

        /// The permit is dropped, thus sent, at once.
        void start(std::uint64_t shard, const IdentifyOptions& options = {}) {
            world.queue->async_acquire(shard, options,
                                       [this, shard](error_code code, IdentifyPermit permit) {
                                           if (!code) started.push_back(shard);
                                           permit.sent();
                                       });
        }
        Ending& wait(std::uint64_t shard, const IdentifyOptions& options = {}) {
            Ending& ending = endings.emplace_back();
            world.queue->async_acquire(shard, options, into(ending));
            return ending;
        }
        Shards after(std::chrono::nanoseconds time) {
            started.clear();
            world.pass(time);
            return started;
        }

        std::deque<Ending> endings;
        Shards started;
        World world;
    };

    static void same_key() {
        Bot bot(limit_of(1));
        for (const std::uint64_t shard : {0u, 1u, 2u})
            bot.start(shard);
        CHECK(bot.started.empty()); // never inside the initiating function
        CHECK(bot.after(0s) == Shards{0});
        CHECK(bot.after(5s).empty());
        CHECK(bot.after(500ms) == Shards{1});
        CHECK(bot.after(5499ms).empty());
        CHECK(bot.after(1ms) == Shards{2});
    }

    static void sent() {
        Bot bot(limit_of(1));
        Ending& first = bot.wait(0);
        bot.start(1);
        CHECK(bot.after(900ms).empty());
        REQUIRE(first.permit);
        first.permit.sent();
        CHECK(bot.after(5s).empty());
        CHECK(bot.after(500ms) == Shards{1});
    }

    static void held() {
        Bot bot(limit_of(1));
        Ending& first = bot.wait(0);
        bot.start(1);
        bot.start(2);
        CHECK(bot.after(6499ms).empty());
        CHECK(bot.after(1ms) == Shards{1}); // a second for the permit, then its five and the margin
        CHECK(bot.world.queue->remaining() == 998);
        CHECK(bot.after(5500ms) == Shards{2});
        REQUIRE(first.permit);
        first.permit = IdentifyPermit(); // long counted
        CHECK(bot.world.queue->remaining() == 997);
    }

    static void held_for_as_long_as_told() {
        Bot bot(limit_of(1), {.permit_timeout = 1min});
        Ending& first = bot.wait(0);
        bot.start(1);
        CHECK(bot.after(59s).empty());
        REQUIRE(first.permit);
        first.permit.cancel();
        CHECK(bot.after(0s) == Shards{1});
    }

    static void parallel() {
        Bot bot(limit_of(16));
        Shards expected;
        for (std::uint64_t shard = 0; shard < 16; ++shard) {
            bot.start(shard);
            expected.push_back(shard);
        }
        CHECK(bot.after(0s) == expected);
    }

    static void order_of_arrival() {
        Bot bot(limit_of(2));
        for (const std::uint64_t shard : {4u, 0u, 2u, 0u})
            bot.start(shard);
        CHECK(bot.after(20s) == Shards{4, 0, 2, 0});
    }

    static void batches() {
        Bot bot(limit_of(4, 0, 1h));
        for (const std::uint64_t shard : {8u, 5u, 2u, 7u, 4u, 1u})
            bot.start(shard);
        CHECK(bot.after(1h).empty());
        CHECK(bot.after(1ms) == Shards{2, 5, 7, 8});
        CHECK(bot.after(5500ms) == Shards{1, 4});
    }

    static void cancelled_permit() {
        Bot bot(limit_of(1));
        Ending& first = bot.wait(0);
        bot.start(1);
        bot.world.pass(1s);
        REQUIRE(first.permit);
        first.permit.cancel();
        CHECK_FALSE(first.permit);
        CHECK(bot.after(0s) == Shards{1});
        CHECK(bot.world.queue->remaining() == 999);
    }

    static void spent() {
        Bot bot(limit_of(1));
        Ending& first = bot.wait(0);
        bot.world.pass(0s);
        first.permit.sent();
        first.permit.cancel();
        first.permit.answered();
        CHECK(bot.world.queue->remaining() == 999);
    }

    static void day() {
        Bot bot(limit_of(2, 1, 1h));
        bot.start(0);
        bot.start(1);
        bot.start(2);
        CHECK(bot.after(0s) == Shards{0});
        CHECK(bot.after(1h).empty());
        CHECK(bot.world.queue->remaining() == 0);
        CHECK(bot.after(1ms) == Shards{1, 2});
        CHECK(bot.world.queue->remaining() == 998);
    }

    static void update() {
        Bot bot(limit_of(1, 0));
        bot.start(0);
        bot.start(1);
        CHECK(bot.after(1min).empty());
        bot.world.queue->update(limit_of(1, 1));
        CHECK(bot.after(10s) == Shards{0});
        bot.world.queue->update(limit_of(1, 5));
        CHECK(bot.after(0s) == Shards{1});
    }

    static void update_keys() {
        Bot bot(limit_of(1));
        for (std::uint64_t shard = 0; shard < 9; ++shard)
            bot.start(shard);
        CHECK(bot.after(0s) == Shards{0});
        bot.world.queue->update(limit_of(4));
        CHECK(bot.after(5499ms).empty());
        CHECK(bot.after(1ms) == Shards{1, 2, 3, 4});
        bot.world.queue->update(limit_of(1));
        CHECK(bot.after(5500ms) == Shards{5});
        CHECK(bot.after(5500ms) == Shards{6});
    }

    static void update_zero() {
        Bot bot(limit_of(1));
        bot.start(0);
        bot.start(1);
        CHECK_THROWS_AS(bot.world.queue->update(limit_of(0)), gateway::InvalidSessionStartLimit);
        CHECK(bot.after(6s) == Shards{0, 1});
        CHECK_THROWS_AS(World(limit_of(0), {}), gateway::InvalidSessionStartLimit);
    }

    static void cancel() {
        for (const auto type : {asio::cancellation_type::terminal, asio::cancellation_type::partial,
                                asio::cancellation_type::total}) {
            cancel_at(type, limit_of(1), 1s, 5500ms);        // queued for its key
            cancel_at(type, limit_of(1, 1, 1h), 1min, 1h);   // the day is spent
            cancel_at(type, limit_of(1), std::nullopt, 11s); // granted, not yet run
        }
    }

    /// A shard between two others is cancelled after `when`, or between grant and completion; the
    /// one behind it goes no later than without it.
    static void cancel_at(asio::cancellation_type type, const SessionStartLimit& limit,
                          std::optional<std::chrono::nanoseconds> when,
                          std::chrono::nanoseconds rest) {
        Bot bot(limit);
        asio::cancellation_signal signal;
        Ending ending;
        bot.start(0);
        bot.world.pass(0s);
        bot.world.queue->async_acquire(1,
                                       asio::bind_cancellation_slot(signal.slot(), into(ending)));
        bot.start(2);
        if (when) {
            bot.world.pass(*when);
        } else {
            bot.world.clock.advance(5500ms);
            REQUIRE(bot.world.queue->stats().queued == 1); // looks at the time, and grants
        }
        signal.emit(type);
        bot.started.clear();
        bot.world.pass(0s);
        CHECK(ending.times == 1);
        CHECK(ending.code == asio::error::operation_aborted);
        CHECK_FALSE(ending.permit);
        bot.world.pass(rest);
        CHECK(bot.started == Shards{2});
        signal.emit(type); // of nothing
    }

    static void reserve() {
        IdentifyQueueOptions options;
        options.reserve = 1;
        Bot bot(limit_of(4, 2), options);
        bot.start(0);
        bot.start(1);
        CHECK(bot.after(1min) == Shards{0});
        bot.start(2, {.use_reserve = true});
        bot.start(3, {.use_reserve = true});
        CHECK(bot.after(1min) == Shards{2});
    }

    static void max_wait() {
        Bot bot(limit_of(1, 2, 1h));
        bot.start(0);
        bot.world.pass(0s);
        const Ending& late = bot.wait(1, {.max_wait = 5s});
        bot.start(2, {.max_wait = 6s});
        CHECK(bot.after(0s).empty());
        CHECK(late.code == errc::wait_too_long);
        CHECK(bot.after(6s) == Shards{2});
        const Ending& exhausted = bot.wait(3, {.max_wait = 1min});
        bot.world.pass(0s);
        CHECK(exhausted.code == errc::sessions_exhausted);
        bot.start(4, {.max_wait = 1h});
        CHECK(bot.after(1h) == Shards{4});
    }

    static void ends() {
        Bot bot(limit_of(1));
        Ending& holder = bot.wait(0);
        const Ending& first = bot.wait(1);
        bot.world.pass(0s);
        CHECK(bot.world.queue->cancel_all() == 1);
        const Ending& second = bot.wait(2);
        bot.world.queue->close();
        const Ending& third = bot.wait(3);
        bot.world.pass(0s);
        CHECK(first.code == asio::error::operation_aborted);
        CHECK(second.code == errc::closed);
        CHECK(third.code == errc::closed);
        CHECK(holder.permit);
        holder.permit.cancel();
        CHECK(bot.world.queue->remaining() == 1000);
    }

    static void destroyed() {
        Bot bot(limit_of(1));
        Ending& holder = bot.wait(0);
        const Ending& waiter = bot.wait(1);
        bot.world.pass(0s);
        bot.world.queue.reset();
        bot.world.pass(1min);
        CHECK(waiter.times == 1);
        CHECK(waiter.code == errc::closed);
        REQUIRE(holder.permit);
        holder.permit.sent();
    }
};

} // namespace sluice::tests::identifying

#endif
