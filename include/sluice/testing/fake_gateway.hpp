// SPDX-License-Identifier: MIT
//
// Discord's gateway as far as its limits go, without I/O: an event and the time of its arrival in,
// what becomes of it out.
//
//     FakeGateway gateway{{.max_concurrency = 16}};
//     const auto connection = gateway.open(now);
//     auto reply = gateway.receive(connection, {.opcode = Opcode::identify, .shard = 3}, now);
//     if (reply.outcome == GatewayOutcome::ready) ...
//
// The one invariant: a decision depends on nothing but what arrived and when. Where Discord does
// not say what it does (the shape of the 120 per minute, when the day of identifies begins) an
// option chooses, and the defaults are the strictest.
// Sources: Discord docs, "Gateway" and "Opcodes and Status Codes"; what else is named at its place.
#ifndef SLUICE_TESTING_FAKE_GATEWAY_HPP
#define SLUICE_TESTING_FAKE_GATEWAY_HPP

#include <sluice/gateway/opcode.hpp>
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
    std::int64_t total = 1000;     ///< identifies a day
    std::int64_t remaining = 1000; ///< of the first day
    Duration reset_after = std::chrono::hours(24);
    bool day_by_clock = true; ///< else the next day begins with its first identify
    std::uint64_t max_concurrency = 1;
    Duration identify_interval = std::chrono::seconds(5);
    Duration heartbeat_interval = std::chrono::milliseconds(41'250);
    Limit events{Algorithm::sliding_log, 120, std::chrono::minutes(1)};
    Limit presences{Algorithm::sliding_log, 5, std::chrono::seconds(20)};
    Limit member_lists{Algorithm::sliding_log, 1, std::chrono::seconds(30)};
    std::size_t longest_payload = 4096; ///< bytes
};

/// What a client sends, as far as it matters here.
struct GatewayEvent {
    gateway::Opcode opcode = gateway::Opcode::heartbeat;
    std::size_t bytes = 0;
    std::uint64_t shard = 0;  ///< of identify
    std::string session = {}; ///< of resume
    std::uint64_t guild = 0;  ///< of request_guild_members
    std::string nonce = {};   ///< likewise
    bool whole_list = true;   ///< likewise: an empty query without a limit
    bool wrong_token = false; ///< of identify and resume
};

enum class GatewayOutcome : std::uint8_t {
    accepted,        ///< no answer
    heartbeat_ack,   ///< opcode 11
    ready,           ///< a new session
    resumed,         ///< the old one goes on
    invalid_session, ///< opcode 9; an identify is spent all the same
    rate_limited,    ///< RATE_LIMITED is dispatched, the event is dropped
    dropped,         ///< silently
    closed,          ///< the connection is closed with close_code
};

struct GatewayReply {
    GatewayOutcome outcome = GatewayOutcome::accepted;
    int close_code = 0;       ///< of closed
    Duration retry_after{};   ///< of rate_limited
    std::string session = {}; ///< of ready and resumed
};

/// Everything that a client should never cause.
struct GatewayComplaints {
    std::uint64_t invalid_sessions = 0; ///< identifies that came too early for their key
    std::uint64_t daily_overruns = 0;   ///< the token was reset
    std::uint64_t closes_4008 = 0;
    std::uint64_t presences_dropped = 0;
    std::uint64_t rate_limited = 0;

    friend bool operator==(const GatewayComplaints&, const GatewayComplaints&) = default;
};

/// One bot's token at Discord. Times are on one line of the caller's choice and do not run
/// backwards. Not thread-safe.
class FakeGateway {
public:
    using ConnectionId = std::uint64_t;

    explicit FakeGateway(FakeGatewayOptions options = {}, Duration now = Duration(0))
        : options_(std::move(options)),
          remaining_(options_.remaining),
          reset_at_(now + options_.reset_after) {
        if (options_.max_concurrency == 0 || options_.identify_interval <= Duration(0))
            throw std::invalid_argument(
                "sluice::testing::FakeGatewayOptions: max_concurrency and identify_interval must "
                "be positive");
    }

    /// What GET /gateway/bot answers.
    [[nodiscard]] nlohmann::json bot_info(Duration now);

    /// Discord moves the bot to another class of size. How it counts identifies that are under way
    /// at that moment is not known: for one interval it refuses what is too early by the old keys
    /// and by the new ones.
    void set_max_concurrency(std::uint64_t value, Duration now) {
        old_concurrency_ = std::exchange(options_.max_concurrency, value);
        changed_at_ = now;
    }

    /// A new connection: nothing has been sent over it.
    ConnectionId open() {
        connections_.try_emplace(++last_connection_, options_);
        return last_connection_;
    }
    /// Of the client's own accord, or lost. Sessions live on and can be resumed.
    void close(ConnectionId connection) { connections_.erase(connection); }
    [[nodiscard]] bool is_open(ConnectionId connection) const {
        return connections_.contains(connection);
    }

    GatewayReply receive(ConnectionId connection, const GatewayEvent& event, Duration now);

    /// Somebody else with the same token has asked for that guild's member list.
    void spend_member_list(std::uint64_t guild, Duration now) { (void)list_wait(guild, now); }

    [[nodiscard]] const GatewayComplaints& complaints() const noexcept { return complaints_; }
    [[nodiscard]] std::uint64_t identifies() const noexcept { return identifies_; }
    [[nodiscard]] std::uint64_t events() const noexcept { return events_; }
    [[nodiscard]] bool token_is_valid() const noexcept { return token_is_valid_; }
    [[nodiscard]] const FakeGatewayOptions& options() const noexcept { return options_; }

    /// Opcode 10, the first thing that a server says.
    [[nodiscard]] nlohmann::json hello() const;
    /// What goes over the wire, or null where nothing does.
    [[nodiscard]] static nlohmann::json payload_of(const GatewayReply& reply,
                                                   const GatewayEvent& to);
    /// A payload as a client writes it. Nothing for what is not one.
    [[nodiscard]] static std::optional<GatewayEvent> parse(std::string_view payload);

private:
    struct Connection {
        explicit Connection(const FakeGatewayOptions& options)
            : events(options.events), presences(options.presences) {}
        Counter events;
        Counter presences;
        std::string session = {};
    };

    GatewayReply identify(Connection& connection, const GatewayEvent& event, Duration now);
    GatewayReply resume(Connection& connection, const GatewayEvent& event) const;
    GatewayReply request_members(const GatewayEvent& event, Duration now);
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
    std::map<std::string, std::uint64_t> sessions_;         // their shards
    std::deque<std::pair<Duration, std::uint64_t>> recent_; // identifies of the last interval
    std::uint64_t old_concurrency_ = 1;
    std::optional<Duration> changed_at_;     // when max_concurrency was another
    std::map<std::uint64_t, Counter> lists_; // by guild
    GatewayComplaints complaints_;
    ConnectionId last_connection_ = 0;
    std::uint64_t identifies_ = 0;
    std::uint64_t events_ = 0;
};

inline void FakeGateway::begin_day(Duration now) {
    if (!day_runs_ || now < reset_at_) return;
    remaining_ = options_.total;
    if (!options_.day_by_clock) {
        day_runs_ = false; // until the next identify
        return;
    }
    while (reset_at_ <= now)
        reset_at_ += std::chrono::hours(24);
}

inline nlohmann::json FakeGateway::bot_info(Duration now) {
    begin_day(now);
    const Duration left = day_runs_ ? reset_at_ - now : Duration(std::chrono::hours(24));
    return {{"url", "wss://gateway.discord.gg"},
            {"shards", options_.max_concurrency},
            {"session_start_limit",
             {{"total", options_.total},
              {"remaining", std::max<std::int64_t>(0, remaining_)},
              {"reset_after", std::chrono::ceil<std::chrono::milliseconds>(left).count()},
              {"max_concurrency", options_.max_concurrency}}}};
}

inline GatewayReply FakeGateway::close_with(ConnectionId connection, int code) {
    connections_.erase(connection);
    if (code == 4008) ++complaints_.closes_4008;
    return {.outcome = GatewayOutcome::closed, .close_code = code};
}

inline GatewayReply FakeGateway::receive(ConnectionId id, const GatewayEvent& event, Duration now) {
    const auto at = connections_.find(id);
    if (at == connections_.end()) return {.outcome = GatewayOutcome::dropped};
    Connection& connection = at->second;
    ++events_;
    if (event.bytes > options_.longest_payload) return close_with(id, 4002);
    // Heartbeats, identify and resume count like all else (staff, discord-api-docs#315, 2017-07).
    if (connection.events.wait(now) > Duration(0)) return close_with(id, 4008);
    connection.events.spend(now);

    using gateway::Opcode;
    const bool begins = event.opcode == Opcode::identify || event.opcode == Opcode::resume;
    if (event.opcode == Opcode::heartbeat) return {.outcome = GatewayOutcome::heartbeat_ack};
    if (begins && (event.wrong_token || !token_is_valid_)) return close_with(id, 4004);
    if (begins && !connection.session.empty()) return close_with(id, 4005);
    if (!begins && connection.session.empty()) return close_with(id, 4003);
    switch (event.opcode) {
    case Opcode::identify:
        return identify(connection, event, now);
    case Opcode::resume:
        return resume(connection, event);
    case Opcode::presence_update:
        if (connection.presences.wait(now) == Duration(0)) {
            connection.presences.spend(now);
            return {};
        }
        // Excess is dropped without a word (discord-jda/JDA#323, 2017-04).
        ++complaints_.presences_dropped;
        return {.outcome = GatewayOutcome::dropped};
    case Opcode::request_guild_members:
        return request_members(event, now);
    case Opcode::voice_state_update:
    case Opcode::request_soundboard_sounds:
    case Opcode::request_channel_info:
        return {};
    default:
        return close_with(id, 4001);
    }
}

/// A refused identify keeps its key closed as well: that is the strictest Discord can be.
inline bool FakeGateway::comes_too_early(std::uint64_t shard, Duration now) {
    while (!recent_.empty() && recent_.front().first + options_.identify_interval <= now)
        recent_.pop_front();
    const std::uint64_t keys = options_.max_concurrency;
    const bool changing = changed_at_ && now < *changed_at_ + options_.identify_interval;
    const std::uint64_t old_keys = changing ? old_concurrency_ : keys;
    const bool crowded = std::any_of(recent_.begin(), recent_.end(), [&](const auto& other) {
        return other.second % keys == shard % keys && other.second % old_keys == shard % old_keys;
    });
    recent_.emplace_back(now, shard);
    return crowded;
}

inline GatewayReply FakeGateway::identify(Connection& connection, const GatewayEvent& event,
                                          Duration now) {
    begin_day(now);
    if (!day_runs_) reset_at_ = now + std::chrono::hours(24);
    day_runs_ = true;
    ++identifies_;
    if (--remaining_ < 0) {
        ++complaints_.daily_overruns;
        end_all_sessions();
        return {.outcome = GatewayOutcome::closed, .close_code = 4004};
    }
    if (comes_too_early(event.shard, now)) {
        ++complaints_.invalid_sessions; // and spent (discord-api-docs#1328, 2020-01)
        return {.outcome = GatewayOutcome::invalid_session};
    }
    connection.session = "session-" + std::to_string(identifies_);
    sessions_[connection.session] = event.shard;
    return {.outcome = GatewayOutcome::ready, .session = connection.session};
}

inline GatewayReply FakeGateway::resume(Connection& connection, const GatewayEvent& event) const {
    if (!sessions_.contains(event.session)) return {.outcome = GatewayOutcome::invalid_session};
    connection.session = event.session;
    return {.outcome = GatewayOutcome::resumed, .session = event.session};
}

inline Duration FakeGateway::list_wait(std::uint64_t guild, Duration now) {
    Counter& counter = lists_.try_emplace(guild, options_.member_lists).first->second;
    const Duration wait = counter.wait(now);
    if (wait == Duration(0)) counter.spend(now);
    return wait;
}

inline GatewayReply FakeGateway::request_members(const GatewayEvent& event, Duration now) {
    if (!event.whole_list) return {};
    const Duration wait = list_wait(event.guild, now);
    if (wait == Duration(0)) return {};
    ++complaints_.rate_limited;
    return {.outcome = GatewayOutcome::rate_limited, .retry_after = wait};
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

inline nlohmann::json FakeGateway::payload_of(const GatewayReply& reply, const GatewayEvent& to) {
    switch (reply.outcome) {
    case GatewayOutcome::heartbeat_ack:
        return {{"op", 11}};
    case GatewayOutcome::ready:
        return {{"op", 0},
                {"t", "READY"},
                {"d", {{"session_id", reply.session}, {"shard", {to.shard, to.shard + 1}}}}};
    case GatewayOutcome::resumed:
        return {{"op", 0}, {"t", "RESUMED"}, {"d", nlohmann::json::object()}};
    case GatewayOutcome::invalid_session:
        return {{"op", 9}, {"d", false}};
    case GatewayOutcome::rate_limited: {
        nlohmann::json meta{{"guild_id", std::to_string(to.guild)}};
        if (!to.nonce.empty()) meta["nonce"] = to.nonce;
        const double seconds = std::chrono::duration<double>(reply.retry_after).count();
        return {{"op", 0},
                {"t", "RATE_LIMITED"},
                {"d", {{"opcode", 8}, {"retry_after", seconds}, {"meta", std::move(meta)}}}};
    }
    case GatewayOutcome::accepted:
    case GatewayOutcome::dropped:
    case GatewayOutcome::closed:
        break;
    }
    return nullptr;
}

inline std::optional<GatewayEvent> FakeGateway::parse(std::string_view payload) {
    const auto json = nlohmann::json::parse(payload, nullptr, false);
    if (!json.is_object() || !json.contains("op") || !json["op"].is_number_unsigned()) {
        return std::nullopt;
    }
    GatewayEvent event{.opcode = static_cast<gateway::Opcode>(json["op"].get<std::uint8_t>()),
                       .bytes = payload.size()};
    const nlohmann::json none = nlohmann::json::object();
    const nlohmann::json& body = json.contains("d") && json["d"].is_object() ? json["d"] : none;
    const auto text = [&](const char* name) {
        const auto at = body.find(name);
        return at != body.end() && at->is_string() ? at->get<std::string>() : std::string();
    };
    if (const auto shard = body.find("shard"); shard != body.end() && shard->is_array() &&
                                               !shard->empty() &&
                                               (*shard)[0].is_number_unsigned()) {
        event.shard = (*shard)[0].get<std::uint64_t>();
    }
    event.session = text("session_id");
    event.nonce = text("nonce");
    const std::string guild = text("guild_id");
    if (!guild.empty() && guild.find_first_not_of("0123456789") == std::string::npos &&
        guild.size() < 20) {
        event.guild = std::stoull(guild);
    }
    event.whole_list =
        text("query").empty() && body.value("limit", 0) == 0 && !body.contains("user_ids");
    return event;
}

} // namespace sluice::testing

#endif
