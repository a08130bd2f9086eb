// SPDX-License-Identifier: MIT
//
// A whole bot at a fake gateway, in virtual time: its shards identify through one IdentifyQueue and
// send through a SendLimiter each, are cut off now and then, and resume or identify again. Events
// of one connection arrive in the order in which they were written, as TCP does it, each 10 to
// 300 ms after its write or behind the one before.
#ifndef SLUICE_TESTS_SUPPORT_GATEWAY_CONNECTION_HPP
#define SLUICE_TESTS_SUPPORT_GATEWAY_CONNECTION_HPP

#include <sluice/gateway/identify_queue.hpp>
#include <sluice/gateway/send_limiter.hpp>
#include <sluice/gateway/session_start_limit.hpp>
#include <sluice/testing/fake_gateway.hpp>
#include <sluice/testing/manual_clock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <random>
#include <string>
#include <utility>

namespace sluice::tests::sending {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using gateway::MemberListLimit;
using gateway::Opcode;
using gateway::SendPermit;
using Clock = testing::ManualClock;
using Limiter = gateway::BasicSendLimiter<Clock>;
using Duration = std::chrono::nanoseconds;

using Shape = testing::Algorithm; // of the server's windows

/// What one connection has to send.
struct Load {
    Duration interval{41'250'000'000}; // of heartbeats
    int burst = 10;
    Duration gap{0};   // between bursts
    Duration write{0}; // a write takes up to that long
    Duration presence_gap{0};
    std::uint64_t guilds = 0; // whose member lists are asked for again and again
    Duration stall{0};        // now and then nothing arrives for so long
    Duration margin = 1s;     // of the limiter
    Duration lifetime{0};     // of a connection, at most; 0: until the end
};

inline Duration up_to(std::mt19937_64& random, std::chrono::milliseconds most) {
    return std::chrono::milliseconds(random() % static_cast<std::uint64_t>(most.count() + 1));
}

inline Load random_load(std::mt19937_64& random) {
    Load load;
    load.interval = 10s + up_to(random, 50s);
    load.burst = 1 + static_cast<int>(random() % 150);
    load.gap = up_to(random, 20s);
    load.write = random() % 2 == 0 ? 0s : up_to(random, 20ms);
    load.presence_gap = up_to(random, 8s);
    load.guilds = random() % 8;
    return load;
}

struct Connection {
    Connection(std::uint64_t which, const Load& what, asio::io_context& io, const Clock& clock,
               std::shared_ptr<MemberListLimit> lists)
        : shard(which),
          load(what),
          sends(io, {.member_lists = std::move(lists), .margin = what.margin}, clock) {
        sends.set_heartbeat_interval(what.interval);
        sends.hold();
    }

    std::uint64_t shard;
    testing::FakeGateway::ConnectionId id = 0; // 0: not connected
    std::string session = {};                  // to be resumed
    std::uint64_t sequence = 0;
    Load load;
    Limiter sends;
    Clock::time_point written{};      // the socket is free from here
    Clock::time_point last_arrival{}; // of what has been written
    Clock::time_point stalled{};      // nothing arrives before
    std::int64_t ordinary = 0;        // events that are not heartbeats
    std::uint64_t late_heartbeats = 0;
    std::uint64_t repeated = 0;
    std::uint64_t beginnings = 0; // identified or resumed
};

class SimulatedBot {
public:
    SimulatedBot(std::mt19937_64& random, Shape shape, std::uint64_t max_concurrency = 16)
        : server({.max_concurrency = max_concurrency,
                  .events = {shape, 120, 60s},
                  .presences = {shape, 5, 20s}}),
          random_(random),
          identifies_(io_, gateway::SessionStartLimit::parse(server.bot_info(now())), {}, clock) {}

    Connection& connect(const Load& load) {
        return connections_.emplace_back(connections_.size(), load, io_, clock, lists_);
    }

    void run(Duration time) {
        end_ = clock.now() + time;
        for (Connection& connection : connections_) {
            spawn(live(connection));
            spawn(beat(connection));
            spawn(beat_on_demand(connection));
            spawn(burst(connection));
            spawn(presence(connection));
            if (connection.load.guilds != 0) spawn(members(connection));
            if (connection.load.stall > 0s) spawn(stall(connection));
        }
        clock.run_for(io_, time);
        identifies_.close();
        for (Connection& connection : connections_)
            connection.sends.close();
        clock.run(io_);
    }

    [[nodiscard]] Duration now() const { return clock.now().time_since_epoch(); }
    [[nodiscard]] std::uint64_t late_heartbeats() const {
        return sum(&Connection::late_heartbeats);
    }
    [[nodiscard]] std::uint64_t repeated() const { return sum(&Connection::repeated); }
    [[nodiscard]] std::uint64_t beginnings() const { return sum(&Connection::beginnings); }
    [[nodiscard]] std::uint64_t crowded_heartbeats() const {
        std::uint64_t crowded = 0;
        for (const Connection& connection : connections_) {
            crowded += connection.sends.stats().counters.crowded;
        }
        return crowded;
    }

private:
    using Task = asio::awaitable<void>;

    /// Ends quietly when the limiter is closed.
    void spawn(Task task) {
        co_spawn(io_, std::move(task), [](std::exception_ptr) {});
    }

    [[nodiscard]] std::uint64_t sum(std::uint64_t Connection::*member) const {
        std::uint64_t all = 0;
        for (const Connection& connection : connections_)
            all += connection.*member;
        return all;
    }
    [[nodiscard]] bool over() const { return clock.now() >= end_; }

    /// Connects, stays for a while, is cut off, and connects again.
    Task live(Connection& connection) {
        while (!over()) {
            co_await clock.sleep(10ms + up_to(random_, 2s));
            connection.id = server.open(now());
            connection.written = connection.last_arrival = clock.now();
            connection.sends.reset();
            const bool begun = co_await begin(connection);
            if (begun) {
                ++connection.beginnings;
                connection.sends.release();
            }
            if (connection.load.lifetime == 0s) co_return;
            co_await clock.sleep(up_to(random_, milliseconds(connection.load.lifetime)));
            connection.sends.hold();
            server.close(std::exchange(connection.id, 0));
            if (random_() % 3 == 0) connection.session.clear(); // too old to be resumed
        }
    }
    asio::awaitable<bool> begin(Connection& connection) {
        if (!connection.session.empty()) {
            SendPermit permit = co_await connection.sends.acquire(Opcode::resume);
            const auto reply = co_await exchange(connection, std::move(permit));
            if (reply.outcome == testing::GatewayOutcome::resumed) co_return true;
        }
        gateway::IdentifyPermit turn = co_await identifies_.acquire(connection.shard);
        SendPermit permit = co_await connection.sends.acquire(Opcode::identify);
        turn.sent();
        const auto reply = co_await exchange(connection, std::move(permit));
        turn.answered();
        co_return reply.outcome == testing::GatewayOutcome::ready;
    }
    /// Not written out in a coroutine: g++ 12 destroys such a temporary of a co_await expression
    /// twice.
    static testing::GatewayEvent event_of(const Connection& connection, Opcode opcode,
                                          std::uint64_t guild = 0) {
        return {.opcode = opcode,
                .shard = connection.shard,
                .session = connection.session,
                .sequence = connection.sequence,
                .guild = guild,
                .nonce = nonce_of(guild)};
    }
    /// Writes the first event of a connection and waits for its answer.
    asio::awaitable<testing::GatewayReply> exchange(Connection& connection, SendPermit permit) {
        const testing::GatewayEvent event = event_of(connection, permit.opcode());
        permit.sent();
        co_await clock.sleep(way_of(connection));
        const auto reply = server.receive(connection.id, event, now());
        co_await clock.sleep(10ms + up_to(random_, 290ms));
        connection.session = reply.session;
        connection.sequence = reply.sequence;
        co_return reply;
    }
    /// From now to the arrival of what is written after all that was written before.
    Duration way_of(Connection& connection) {
        const auto way = 10ms + up_to(random_, 290ms);
        connection.last_arrival =
            std::max({connection.last_arrival, connection.stalled, connection.written + way});
        return connection.last_arrival - clock.now();
    }

    /// Writes go one after the other; the event reaches the server some time after its own.
    Task write(Connection& connection, SendPermit permit, Opcode opcode, std::uint64_t guild) {
        const auto start = std::max(clock.now(), connection.written);
        connection.written = start + up_to(random_, milliseconds(connection.load.write));
        spawn(arrive(connection, opcode, guild, way_of(connection)));
        if (connection.written > clock.now()) {
            co_await clock.sleep(connection.written - clock.now());
        }
        permit.sent();
    }
    static std::chrono::milliseconds milliseconds(Duration time) {
        return std::chrono::duration_cast<std::chrono::milliseconds>(time);
    }

    Task arrive(Connection& connection, Opcode opcode, std::uint64_t guild, Duration way) {
        const auto id = connection.id;
        co_await clock.sleep(way);
        const testing::GatewayEvent event = event_of(connection, opcode, guild);
        const auto reply = server.receive(id, event, now());
        if (reply.outcome != testing::GatewayOutcome::rate_limited) co_return;
        co_await clock.sleep(10ms + up_to(random_, 290ms));
        const auto told = connection.sends.on_rate_limited(reply.payload(event));
        if (!told || !told->matched) co_return;
        ++connection.repeated;
        co_await ask(connection, told->guild);
    }

    Task beat(Connection& connection) {
        co_await clock.sleep(up_to(random_, milliseconds(connection.load.interval)));
        while (!over()) {
            co_await send_beat(connection);
            co_await clock.sleep(connection.load.interval);
        }
    }
    /// Discord asks for one of its own accord: at most once in each interval.
    Task beat_on_demand(Connection& connection) {
        while (!over()) {
            co_await clock.sleep(connection.load.interval + up_to(random_, 20s));
            co_await send_beat(connection);
        }
    }
    Task send_beat(Connection& connection) {
        const auto due = clock.now();
        SendPermit permit = co_await connection.sends.acquire(Opcode::heartbeat);
        if (clock.now() != due) ++connection.late_heartbeats;
        co_await write(connection, std::move(permit), Opcode::heartbeat, 0);
    }

    Task burst(Connection& connection) {
        constexpr std::array opcodes = {Opcode::voice_state_update,
                                        Opcode::request_soundboard_sounds};
        while (!over()) {
            for (int i = 0; i < connection.load.burst && !over(); ++i) {
                const Opcode opcode = opcodes[random_() % opcodes.size()];
                SendPermit permit = co_await connection.sends.acquire(opcode);
                ++connection.ordinary;
                co_await write(connection, std::move(permit), opcode, 0);
            }
            co_await clock.sleep(connection.load.gap + 1ms);
        }
    }

    /// Does not wait for one before it asks for the next, so that some are superseded.
    Task presence(Connection& connection) {
        while (!over()) {
            spawn(show(connection));
            co_await clock.sleep(up_to(random_, milliseconds(connection.load.presence_gap)) +
                                 100ms);
        }
    }
    Task show(Connection& connection) {
        SendPermit permit = co_await connection.sends.acquire(Opcode::presence_update);
        ++connection.ordinary;
        co_await write(connection, std::move(permit), Opcode::presence_update, 0);
    }

    Task members(Connection& connection) {
        while (!over()) {
            spawn(ask(connection, 1 + random_() % connection.load.guilds));
            co_await clock.sleep(5s + up_to(random_, 20s));
        }
    }
    static std::string nonce_of(std::uint64_t guild) { return "guild " + std::to_string(guild); }
    Task ask(Connection& connection, std::uint64_t guild) {
        const gateway::Nonce nonce = nonce_of(guild);
        SendPermit permit = co_await connection.sends.acquire(Opcode::request_guild_members,
                                                              {.guild = guild, .nonce = nonce});
        ++connection.ordinary;
        co_await write(connection, std::move(permit), Opcode::request_guild_members, guild);
    }

    Task stall(Connection& connection) {
        while (!over()) {
            co_await clock.sleep(30s + up_to(random_, 100s));
            connection.stalled = clock.now() + connection.load.stall;
        }
    }

public:
    testing::FakeGateway server;
    Clock clock;

private:
    std::mt19937_64& random_;
    asio::io_context io_;
    gateway::BasicIdentifyQueue<Clock> identifies_;
    std::shared_ptr<MemberListLimit> lists_ = std::make_shared<MemberListLimit>();
    std::deque<Connection> connections_;
    Clock::time_point end_{};
};

} // namespace sluice::tests::sending

#endif
