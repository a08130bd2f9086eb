// SPDX-License-Identifier: MIT
//
// A simulation of the limits of Discord's gateway, without I/O: it takes an event and its time of
// arrival, and returns the outcome.
//
//     FakeGateway gateway{{.max_concurrency = 16}};
//     const auto connection = gateway.open(now);
//     auto reply = gateway.receive(connection, {.opcode = Opcode::identify, .shard = 3}, now);
//     if (reply.outcome == GatewayOutcome::ready) ...
//
// Invariant: a decision depends only on which events arrived and when. Where Discord does not
// document its behaviour (the algorithm of the 120 per minute, when the day of identifies begins),
// an option chooses, and the defaults are the strictest. Sources: Discord docs, "Gateway" and
// "Opcodes and Status Codes"; other sources are named where they apply.
#ifndef SLUICE_TESTING_FAKE_GATEWAY_HPP
#define SLUICE_TESTING_FAKE_GATEWAY_HPP

#include <sluice/gateway/opcode.hpp>
#include <sluice/testing/fake_gateway_event.hpp>
#include <sluice/testing/fake_limit.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace sluice::testing {

struct FakeGatewayOptions {
    std::int64_t total = 1000;                     ///< identifies a day
    std::int64_t remaining = 1000;                 ///< left in the first day
    Duration reset_after = std::chrono::hours(24); ///< the end of the first day
    Duration day = std::chrono::hours(24);         ///< length of each following day
    bool day_by_clock = true; ///< false: the next day begins with its first identify
    std::uint64_t max_concurrency = 1;
    std::uint64_t shards = 1; ///< recommended by GET /gateway/bot
    Duration identify_interval = std::chrono::seconds(5);
    Duration invalid_session_after = std::chrono::seconds(2); ///< delay of opcode 9
    Duration heartbeat_interval = std::chrono::milliseconds(41'250);
    Duration heartbeat_grace = std::chrono::milliseconds(41'250); ///< then 4009; length inferred
    Limit events{Algorithm::sliding_log, 120, std::chrono::minutes(1)};
    Limit presences{Algorithm::sliding_log, 5, std::chrono::seconds(20)};
    Limit member_lists{Algorithm::sliding_log, 1, std::chrono::seconds(30)};
    std::size_t longest_payload = 4096; ///< bytes
    std::string token = {};             ///< the only accepted token; empty: any
    std::string url = "wss://gateway.discord.gg";

    /// Returns these options with every duration divided by `factor`, which must be positive: an
    /// hour's work can be watched in a minute.
    [[nodiscard]] FakeGatewayOptions faster(double factor) const;
};

/// Counts of violations that a client should never cause.
struct GatewayComplaints {
    std::uint64_t invalid_sessions = 0; ///< identifies too early for their key
    std::uint64_t daily_overruns = 0;   ///< the token was reset
    std::uint64_t closes_4008 = 0;
    std::uint64_t presences_dropped = 0;
    std::uint64_t rate_limited = 0;

    friend bool operator==(const GatewayComplaints&, const GatewayComplaints&) = default;
};

/// One bot at Discord. The caller chooses the time line; times must not decrease. Not thread-safe.
class FakeGateway {
public:
    using ConnectionId = std::uint64_t;

    explicit FakeGateway(FakeGatewayOptions options = {}, Duration now = Duration(0));

    /// Returns the answer of GET /gateway/bot.
    [[nodiscard]] nlohmann::json bot_info(Duration now);
    [[nodiscard]] bool accepts(std::string_view token) const {
        return token_is_valid_ && (options_.token.empty() || token == options_.token);
    }

    /// Discord assigns the bot a new max_concurrency. How it counts identifies in flight at that
    /// moment is unknown: for one interval the fake refuses identifies that are too early by the
    /// former keys or by the new ones. Throws std::invalid_argument for 0.
    void set_max_concurrency(std::uint64_t value, Duration now);
    /// The bot gets a new token. The day's identifies stay used.
    void set_token(std::string token) {
        options_.token = std::move(token);
        token_is_valid_ = true;
    }
    void set_url(std::string url) { options_.url = std::move(url); }

    /// Opens a new connection, over which nothing has been sent.
    ConnectionId open(Duration now) {
        connections_.try_emplace(++last_connection_, options_, now);
        return last_connection_;
    }
    /// Closes the connection: by the client with its code, or lost. The session can be resumed
    /// unless the code ends it (Discord docs, "Gateway", Disconnecting: 1000 and 1001).
    void close(ConnectionId connection, int code = 1006);
    [[nodiscard]] bool is_open(ConnectionId connection) const {
        return connections_.contains(connection);
    }

    GatewayReply receive(ConnectionId connection, const GatewayEvent& event, Duration now);

    /// Returns when the connection is closed unless a heartbeat comes; nullopt if it is not open.
    [[nodiscard]] std::optional<Duration> heartbeat_deadline(ConnectionId connection) const;
    /// Closes the connection with 4009 if its heartbeat deadline has passed.
    GatewayReply expire(ConnectionId connection, Duration now);

    /// Another client with the same token has requested that guild's member list.
    void spend_member_list(std::uint64_t guild, Duration now) { (void)list_wait(guild, now); }

    [[nodiscard]] const GatewayComplaints& complaints() const noexcept { return complaints_; }
    [[nodiscard]] std::uint64_t identifies() const noexcept { return identifies_; }
    [[nodiscard]] std::uint64_t events() const noexcept { return events_; }
    [[nodiscard]] std::size_t sessions() const noexcept { return sessions_.size(); }
    [[nodiscard]] bool token_is_valid() const noexcept { return token_is_valid_; }
    [[nodiscard]] const FakeGatewayOptions& options() const noexcept { return options_; }

    /// Returns opcode 10, the first payload of a server.
    [[nodiscard]] nlohmann::json hello() const;

private:
    struct Connection {
        Connection(const FakeGatewayOptions& options, Duration now)
            : events(options.events), presences(options.presences), heard(now) {}
        Counter events;
        Counter presences;
        Duration heard; // the last heartbeat
        std::string session = {};
    };

    [[nodiscard]] int refusal_of(Connection& connection, const GatewayEvent& event, Duration now);
    GatewayReply identify(Connection& connection, const GatewayEvent& event, Duration now);
    GatewayReply resume(ConnectionId id, Connection& connection, const GatewayEvent& event);
    GatewayReply show_presence(Connection& connection, Duration now);
    GatewayReply request_members(Connection& connection, const GatewayEvent& event, Duration now);
    [[nodiscard]] GatewayReply close_with(ConnectionId connection, int code);
    [[nodiscard]] Duration list_wait(std::uint64_t guild, Duration now);
    [[nodiscard]] bool comes_too_early(std::uint64_t shard, Duration now);
    void begin_day(Duration now);
    void end_all_sessions();

    FakeGatewayOptions options_;
    std::int64_t remaining_;
    bool day_runs_ = true;
    Duration reset_at_;
    bool token_is_valid_ = true;
    std::map<ConnectionId, Connection> connections_;
    std::map<std::string, std::uint64_t> sessions_;         // their sequence numbers
    std::deque<std::pair<Duration, std::uint64_t>> recent_; // identifies of the last interval
    std::deque<std::pair<Duration, std::uint64_t>> former_; // max_concurrency before that time
    std::map<std::uint64_t, Counter> lists_;                // by guild
    GatewayComplaints complaints_;
    ConnectionId last_connection_ = 0;
    std::uint64_t identifies_ = 0;
    std::uint64_t events_ = 0;
};

inline FakeGatewayOptions FakeGatewayOptions::faster(double factor) const {
    if (!(factor > 0)) throw std::invalid_argument("FakeGatewayOptions::faster: not positive");
    FakeGatewayOptions scaled = *this;
    for (Duration* span :
         {&scaled.reset_after, &scaled.day, &scaled.identify_interval,
          &scaled.invalid_session_after, &scaled.heartbeat_interval, &scaled.heartbeat_grace,
          &scaled.events.period, &scaled.presences.period, &scaled.member_lists.period}) {
        *span = std::chrono::duration_cast<Duration>(*span / factor);
    }
    return scaled;
}

inline FakeGateway::FakeGateway(FakeGatewayOptions options, Duration now)
    : options_(std::move(options)),
      remaining_(options_.remaining),
      reset_at_(now + options_.reset_after) {
    if (options_.max_concurrency == 0 || options_.identify_interval <= Duration(0) ||
        options_.heartbeat_interval <= Duration(0) || options_.day <= Duration(0)) {
        throw std::invalid_argument(
            "FakeGatewayOptions: max_concurrency, identify_interval, heartbeat_interval and day "
            "must be positive");
    }
}

inline void FakeGateway::set_max_concurrency(std::uint64_t value, Duration now) {
    if (value == 0) throw std::invalid_argument("FakeGateway: max_concurrency must be positive");
    former_.emplace_back(now, std::exchange(options_.max_concurrency, value));
}

inline void FakeGateway::close(ConnectionId connection, int code) {
    const auto at = connections_.find(connection);
    if (at == connections_.end()) return;
    if (code == 1000 || code == 1001) sessions_.erase(at->second.session);
    connections_.erase(at);
}

inline void FakeGateway::begin_day(Duration now) {
    if (!day_runs_ || now < reset_at_) return;
    remaining_ = options_.total;
    if (!options_.day_by_clock) {
        day_runs_ = false; // until the next identify
        return;
    }
    while (reset_at_ <= now)
        reset_at_ += options_.day;
}

inline nlohmann::json FakeGateway::bot_info(Duration now) {
    begin_day(now);
    const Duration left = day_runs_ ? reset_at_ - now : options_.day;
    return {{"url", options_.url},
            {"shards", options_.shards},
            {"session_start_limit",
             {{"total", options_.total},
              {"remaining", std::max<std::int64_t>(0, remaining_)},
              {"reset_after", std::chrono::ceil<std::chrono::milliseconds>(left).count()},
              {"max_concurrency", options_.max_concurrency}}}};
}

inline GatewayReply FakeGateway::close_with(ConnectionId connection, int code) {
    const auto at = connections_.find(connection);
    // Discord docs, "Opcodes and Status Codes": 4007 and 4009 ask for a new session.
    if (code == 4007 || code == 4009) sessions_.erase(at->second.session);
    connections_.erase(at);
    if (code == 4008) ++complaints_.closes_4008;
    return {.outcome = GatewayOutcome::closed, .close_code = code};
}

inline std::optional<Duration> FakeGateway::heartbeat_deadline(ConnectionId connection) const {
    const auto at = connections_.find(connection);
    if (at == connections_.end()) return std::nullopt;
    return at->second.heard + options_.heartbeat_interval + options_.heartbeat_grace;
}

inline GatewayReply FakeGateway::expire(ConnectionId connection, Duration now) {
    const std::optional<Duration> deadline = heartbeat_deadline(connection);
    if (!deadline || now < *deadline) return {};
    return close_with(connection, 4009);
}

/// Returns the code that the connection is closed with, or 0.
inline int FakeGateway::refusal_of(Connection& connection, const GatewayEvent& event,
                                   Duration now) {
    if (!event.decodable || event.bytes > options_.longest_payload) return 4002;
    // Heartbeats, identify and resume count like all other events (staff, discord-api-docs#315,
    // 2017-07).
    if (connection.events.wait(now) > Duration(0)) return 4008;
    connection.events.spend(now);

    using gateway::Opcode;
    if (event.opcode == Opcode::heartbeat) return 0;
    const bool begins = event.opcode == Opcode::identify || event.opcode == Opcode::resume;
    if (begins && !accepts(event.token)) return 4004;
    if (begins != connection.session.empty()) return begins ? 4005 : 4003;
    if (event.opcode == Opcode::identify && event.shards != 0 && event.shard >= event.shards) {
        return 4010;
    }
    return 0;
}

inline GatewayReply FakeGateway::receive(ConnectionId id, const GatewayEvent& event, Duration now) {
    const auto at = connections_.find(id);
    if (at == connections_.end()) return {.outcome = GatewayOutcome::dropped};
    Connection& connection = at->second;
    ++events_;
    if (const int code = refusal_of(connection, event, now)) return close_with(id, code);
    using gateway::Opcode;
    switch (event.opcode) {
    case Opcode::heartbeat:
        connection.heard = now;
        return {.outcome = GatewayOutcome::heartbeat_ack};
    case Opcode::identify:
        return identify(connection, event, now);
    case Opcode::resume:
        return resume(id, connection, event);
    case Opcode::presence_update:
        return show_presence(connection, now);
    case Opcode::request_guild_members:
        return request_members(connection, event, now);
    case Opcode::voice_state_update:
    case Opcode::request_soundboard_sounds:
    case Opcode::request_channel_info:
        return {};
    default:
        return close_with(id, 4001);
    }
}

/// A refused identify also closes its key: the strictest possible behaviour of Discord.
inline bool FakeGateway::comes_too_early(std::uint64_t shard, Duration now) {
    const auto forget = [&](auto& past) {
        while (!past.empty() && past.front().first + options_.identify_interval <= now)
            past.pop_front();
    };
    forget(recent_);
    forget(former_);
    const auto share_a_key = [&](std::uint64_t other) {
        const auto share = [&](std::uint64_t keys) { return other % keys == shard % keys; };
        return share(options_.max_concurrency) &&
               std::all_of(former_.begin(), former_.end(),
                           [&](const auto& former) { return share(former.second); });
    };
    const bool crowded = std::any_of(recent_.begin(), recent_.end(),
                                     [&](const auto& other) { return share_a_key(other.second); });
    recent_.emplace_back(now, shard);
    return crowded;
}

inline GatewayReply FakeGateway::identify(Connection& connection, const GatewayEvent& event,
                                          Duration now) {
    begin_day(now);
    if (!day_runs_) reset_at_ = now + options_.day;
    day_runs_ = true;
    ++identifies_;
    if (--remaining_ < 0) {
        ++complaints_.daily_overruns;
        end_all_sessions();
        return {.outcome = GatewayOutcome::closed, .close_code = 4004};
    }
    if (comes_too_early(event.shard, now)) {
        ++complaints_.invalid_sessions; // and spent (discord-api-docs#1328, 2020-01)
        return {.outcome = GatewayOutcome::invalid_session,
                .delay = options_.invalid_session_after};
    }
    connection.session = "session-" + std::to_string(identifies_);
    sessions_[connection.session] = 1;
    return {.outcome = GatewayOutcome::ready,
            .session = connection.session,
            .url = options_.url,
            .sequence = 1};
}

inline GatewayReply FakeGateway::resume(ConnectionId id, Connection& connection,
                                        const GatewayEvent& event) {
    const auto session = sessions_.find(event.session);
    if (session == sessions_.end()) return {.outcome = GatewayOutcome::invalid_session};
    connection.session = event.session;
    if (event.sequence > session->second) return close_with(id, 4007);
    return {.outcome = GatewayOutcome::resumed,
            .session = event.session,
            .sequence = ++session->second};
}

inline GatewayReply FakeGateway::show_presence(Connection& connection, Duration now) {
    if (connection.presences.wait(now) == Duration(0)) {
        connection.presences.spend(now);
        return {};
    }
    // Excess events are silently dropped (discord-jda/JDA#323, 2017-04).
    ++complaints_.presences_dropped;
    return {.outcome = GatewayOutcome::dropped};
}

inline Duration FakeGateway::list_wait(std::uint64_t guild, Duration now) {
    Counter& counter = lists_.try_emplace(guild, options_.member_lists).first->second;
    const Duration wait = counter.wait(now);
    if (wait == Duration(0)) counter.spend(now);
    return wait;
}

inline GatewayReply FakeGateway::request_members(Connection& connection, const GatewayEvent& event,
                                                 Duration now) {
    if (!event.whole_list) return {};
    const Duration wait = list_wait(event.guild, now);
    if (wait == Duration(0)) return {};
    ++complaints_.rate_limited;
    return {.outcome = GatewayOutcome::rate_limited,
            .retry_after = wait,
            .sequence = ++sessions_[connection.session]};
}

/// Discord docs, "Gateway", Sharding: the token is reset, and every session ends with it.
inline void FakeGateway::end_all_sessions() {
    token_is_valid_ = false;
    sessions_.clear();
    connections_.clear();
}

inline nlohmann::json FakeGateway::hello() const {
    const auto interval =
        std::chrono::duration_cast<std::chrono::milliseconds>(options_.heartbeat_interval);
    return {{"op", 10}, {"d", {{"heartbeat_interval", interval.count()}}}};
}

} // namespace sluice::testing

#endif
