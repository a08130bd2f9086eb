// SPDX-License-Identifier: MIT
//
// A bot whose connections send through SendLimiters to a fake gateway, in virtual time. Events of
// one connection arrive in the order in which they were written, as TCP does it, each 10 to 300 ms
// after its write or behind the one before.
#ifndef SLUICE_TESTS_SUPPORT_GATEWAY_CONNECTION_HPP
#define SLUICE_TESTS_SUPPORT_GATEWAY_CONNECTION_HPP

#include <sluice/gateway/send_limiter.hpp>
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
    Connection(testing::FakeGateway::ConnectionId number, const Load& what, asio::io_context& io,
               const Clock& clock, std::shared_ptr<MemberListLimit> lists)
        : id(number),
          load(what),
          sends(io, {.member_lists = std::move(lists), .margin = what.margin}, clock) {
        sends.set_heartbeat_interval(what.interval);
    }

    testing::FakeGateway::ConnectionId id;
    Load load;
    Limiter sends;
    Clock::time_point written{};      // the socket is free from here
    Clock::time_point last_arrival{}; // of what has been written
    Clock::time_point stalled{};      // nothing arrives before
    std::int64_t ordinary = 0;        // events that are not heartbeats
    std::uint64_t late_heartbeats = 0;
    std::uint64_t repeated = 0;
};

class SimulatedBot {
public:
    SimulatedBot(std::mt19937_64& random, Shape shape)
        : server(
              {.max_concurrency = 16, .events = {shape, 120, 60s}, .presences = {shape, 5, 20s}}),
          random_(random) {}

    Connection& connect(const Load& load) {
        const std::uint64_t shard = connections_.size();
        Connection& made = connections_.emplace_back(server.open(now()), load, io_, clock, lists_);
        made.sends.try_acquire(Opcode::identify).value().sent();
        server.receive(made.id, {.opcode = Opcode::identify, .shard = shard}, now());
        return made;
    }

    void run(Duration time) {
        end_ = clock.now() + time;
        for (Connection& connection : connections_) {
            spawn(beat(connection));
            spawn(beat_on_demand(connection));
            spawn(burst(connection));
            spawn(presence(connection));
            if (connection.load.guilds != 0) spawn(members(connection));
            if (connection.load.stall > 0s) spawn(stall(connection));
        }
        clock.run_for(io_, time);
        for (Connection& connection : connections_)
            connection.sends.close();
        clock.run(io_);
    }

    [[nodiscard]] Duration now() const { return clock.now().time_since_epoch(); }
    [[nodiscard]] std::uint64_t late_heartbeats() const {
        return sum(&Connection::late_heartbeats);
    }
    [[nodiscard]] std::uint64_t repeated() const { return sum(&Connection::repeated); }
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

    /// Writes go one after the other; the event reaches the server some time after its own.
    Task write(Connection& connection, SendPermit permit, Opcode opcode, std::uint64_t guild) {
        const auto start = std::max(clock.now(), connection.written);
        connection.written = start + up_to(random_, milliseconds(connection.load.write));
        const auto way = 10ms + up_to(random_, 290ms);
        connection.last_arrival =
            std::max({connection.last_arrival, connection.stalled, connection.written + way});
        spawn(arrive(connection, opcode, guild, connection.last_arrival - clock.now()));
        if (connection.written > clock.now()) {
            co_await clock.sleep(connection.written - clock.now());
        }
        permit.sent();
    }
    static std::chrono::milliseconds milliseconds(Duration time) {
        return std::chrono::duration_cast<std::chrono::milliseconds>(time);
    }

    Task arrive(Connection& connection, Opcode opcode, std::uint64_t guild, Duration way) {
        co_await clock.sleep(way);
        const testing::GatewayEvent event{
            .opcode = opcode, .guild = guild, .nonce = nonce_of(guild)};
        const auto reply = server.receive(connection.id, event, now());
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
    std::shared_ptr<MemberListLimit> lists_ = std::make_shared<MemberListLimit>();
    std::deque<Connection> connections_;
    Clock::time_point end_{};
};

} // namespace sluice::tests::sending

#endif
