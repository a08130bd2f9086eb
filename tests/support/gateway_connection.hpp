// SPDX-License-Identifier: MIT
//
// A bot whose connections send through SendLimiters, in virtual time, and a gateway that counts as
// strictly as Discord may. Events of one connection arrive in the order in which they were written,
// as TCP does it, each 10 to 300 ms after its write or behind the one before.
#ifndef SLUICE_TESTS_SUPPORT_GATEWAY_CONNECTION_HPP
#define SLUICE_TESTS_SUPPORT_GATEWAY_CONNECTION_HPP

#include <sluice/gateway/send_limiter.hpp>
#include <sluice/testing/manual_clock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <optional>
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

enum class Shape { fixed, sliding };

struct Counts {
    std::uint64_t events = 0;
    std::uint64_t closes_4008 = 0;
    std::uint64_t presences_dropped = 0;
    std::uint64_t rate_limited = 0;
};

/// So many events in a period, counted in windows that the first event opens or over a log.
class Counter {
public:
    Counter(Shape shape, std::size_t limit, Duration period)
        : shape_(shape), limit_(limit), period_(period) {}

    /// Whether one more is within the limit; it counts in any case.
    bool add(Clock::time_point now) {
        if (shape_ == Shape::sliding) {
            while (!log_.empty() && log_.front() <= now - period_)
                log_.pop_front();
        } else if (!log_.empty() && log_.front() <= now - period_) {
            log_.clear();
        }
        log_.push_back(now);
        return log_.size() <= limit_;
    }

private:
    Shape shape_;
    std::size_t limit_;
    Duration period_;
    std::deque<Clock::time_point> log_;
};

/// All connections of one bot.
class StrictGateway {
public:
    explicit StrictGateway(Shape shape) : shape_(shape) {}

    /// What has arrived. How long to wait if a member list is refused.
    std::optional<Duration> receive(int connection, Opcode opcode, std::uint64_t guild,
                                    Clock::time_point now) {
        ++counts_.events;
        if (!counter(sends_, connection, 120, 60s).add(now)) ++counts_.closes_4008;
        if (opcode == Opcode::presence_update &&
            !counter(presences_, connection, 5, 20s).add(now)) {
            ++counts_.presences_dropped;
        }
        if (opcode != Opcode::request_guild_members) return std::nullopt;
        const auto listed = lists_.find(guild);
        if (listed != lists_.end() && now < listed->second + 30s) {
            ++counts_.rate_limited;
            return listed->second + 30s - now;
        }
        lists_[guild] = now;
        return std::nullopt;
    }
    /// Another process of the bot has asked for that list.
    void spend(std::uint64_t guild, Clock::time_point now) { lists_[guild] = now; }
    [[nodiscard]] const Counts& counts() const { return counts_; }

private:
    Counter& counter(std::map<int, Counter>& counters, int connection, std::size_t limit,
                     Duration period) {
        return counters.try_emplace(connection, shape_, limit, period).first->second;
    }

    Shape shape_;
    std::map<int, Counter> sends_;
    std::map<int, Counter> presences_;
    std::map<std::uint64_t, Clock::time_point> lists_;
    Counts counts_;
};

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
    Connection(int number, const Load& what, asio::io_context& io, const Clock& clock,
               std::shared_ptr<MemberListLimit> lists)
        : id(number),
          load(what),
          sends(io, {.member_lists = std::move(lists), .margin = what.margin}, clock) {
        sends.set_heartbeat_interval(what.interval);
    }

    int id;
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
    SimulatedBot(std::mt19937_64& random, Shape shape) : server(shape), random_(random) {}

    Connection& connect(const Load& load) {
        const int id = static_cast<int>(connections_.size());
        return connections_.emplace_back(id, load, io_, clock, lists_);
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
        const auto refused = server.receive(connection.id, opcode, guild, clock.now());
        if (!refused) co_return;
        co_await clock.sleep(10ms + up_to(random_, 290ms));
        const double seconds = std::chrono::duration<double>(*refused).count();
        nlohmann::json meta{{"guild_id", std::to_string(guild)}, {"nonce", nonce_of(guild)}};
        const nlohmann::json dispatch{{"opcode", 8}, {"retry_after", seconds}, {"meta", meta}};
        const auto told = connection.sends.on_rate_limited(dispatch);
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
    StrictGateway server;
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
