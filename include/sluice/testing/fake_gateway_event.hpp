// SPDX-License-Identifier: MIT
//
// The traffic of a gateway connection as far as limits are concerned: a client's events, and the
// replies of a FakeGateway, each as data and as JSON.
//
//     auto event = GatewayEvent::parse(R"({"op": 2, "d": {"shard": [3, 16], "token": "t"}})");
//     auto reply = gateway.receive(connection, *event, now);
//     if (auto json = reply.payload(*event); !json.is_null()) send(json.dump());
//
// Sources: Discord docs, "Gateway Events"; "Opcodes and Status Codes".
#ifndef SLUICE_TESTING_FAKE_GATEWAY_EVENT_HPP
#define SLUICE_TESTING_FAKE_GATEWAY_EVENT_HPP

#include <sluice/core/time.hpp>
#include <sluice/gateway/opcode.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace sluice::testing {

using Duration = core::Duration;

/// An event that a client sends.
struct GatewayEvent {
    gateway::Opcode opcode = gateway::Opcode::heartbeat;
    std::size_t bytes = 0;
    std::uint64_t shard = 0;    ///< of identify
    std::uint64_t shards = 0;   ///< of identify: the number of shards; 0: not stated
    std::string token = {};     ///< of identify and resume
    std::string session = {};   ///< of resume
    std::uint64_t sequence = 0; ///< of resume: the last one that the client received
    std::uint64_t guild = 0;    ///< of request_guild_members
    std::string nonce = {};     ///< of request_guild_members
    bool whole_list = true;     ///< of request_guild_members: empty query, no limit
    bool decodable = true;      ///< false: the connection is closed with 4002

    /// Parses a payload from a client. If it cannot be parsed, `decodable` is false. An opcode out
    /// of range becomes 255, which is unknown.
    [[nodiscard]] static GatewayEvent parse(std::string_view payload);
};

enum class GatewayOutcome : std::uint8_t {
    accepted,        ///< no reply
    heartbeat_ack,   ///< opcode 11
    ready,           ///< a new session
    resumed,         ///< the old session continues
    invalid_session, ///< opcode 9; the identify is used all the same
    rate_limited,    ///< RATE_LIMITED is dispatched, the event is dropped
    dropped,         ///< silently
    closed,          ///< the connection is closed with close_code
};

struct GatewayReply {
    GatewayOutcome outcome = GatewayOutcome::accepted;
    int close_code = 0;         ///< of closed
    Duration retry_after{};     ///< of rate_limited
    std::string session = {};   ///< of ready and resumed
    std::string url = {};       ///< of ready: where to resume
    std::uint64_t sequence = 0; ///< of what is dispatched: ready, resumed, rate_limited
    Duration delay{};           ///< the server's processing time

    /// Returns the JSON sent to the client, or null if nothing is sent.
    [[nodiscard]] nlohmann::json payload(const GatewayEvent& to) const;
};

namespace detail {

/// Reads the fields of an event's `d` that exist and have the right type.
class GatewayBody {
public:
    explicit GatewayBody(const nlohmann::json& body) : body_(body) {}

    [[nodiscard]] std::string text(const char* name) const {
        const auto at = body_.find(name);
        return at != body_.end() && at->is_string() ? at->get<std::string>() : std::string();
    }
    [[nodiscard]] std::uint64_t number(const char* name) const {
        const auto at = body_.find(name);
        return at != body_.end() ? number_in(*at) : 0;
    }
    /// `[shard_id, num_shards]`.
    [[nodiscard]] std::uint64_t shard(std::size_t index) const {
        const auto at = body_.find("shard");
        const bool there = at != body_.end() && at->is_array() && index < at->size();
        return there ? number_in((*at)[index]) : 0;
    }
    /// A snowflake is a string in JSON; a number is accepted as well.
    [[nodiscard]] std::uint64_t snowflake(const char* name) const {
        const std::string digits = text(name);
        if (digits.empty()) return number(name);
        std::uint64_t value = 0;
        const char* end = digits.data() + digits.size();
        const auto [stopped, error] = std::from_chars(digits.data(), end, value);
        return error == std::errc() && stopped == end ? value : 0;
    }
    [[nodiscard]] bool has(const char* name) const { return body_.contains(name); }

private:
    static std::uint64_t number_in(const nlohmann::json& value) {
        return value.is_number_unsigned() ? value.get<std::uint64_t>() : 0;
    }

    const nlohmann::json& body_;
};

inline nlohmann::json dispatch(const char* name, std::uint64_t sequence, nlohmann::json body) {
    return {{"op", 0}, {"t", name}, {"s", sequence}, {"d", std::move(body)}};
}

} // namespace detail

inline GatewayEvent GatewayEvent::parse(std::string_view payload) {
    const auto json = nlohmann::json::parse(payload, nullptr, false);
    if (!json.is_object() || !json.contains("op") || !json["op"].is_number_unsigned()) {
        return {.bytes = payload.size(), .decodable = false};
    }
    constexpr std::uint64_t unknown = 255;
    const auto opcode = std::min(json["op"].get<std::uint64_t>(), unknown);
    const nlohmann::json none = nlohmann::json::object();
    const detail::GatewayBody body(json.contains("d") && json["d"].is_object() ? json["d"] : none);
    return {.opcode = static_cast<gateway::Opcode>(opcode),
            .bytes = payload.size(),
            .shard = body.shard(0),
            .shards = body.shard(1),
            .token = body.text("token"),
            .session = body.text("session_id"),
            .sequence = body.number("seq"),
            .guild = body.snowflake("guild_id"),
            .nonce = body.text("nonce"),
            .whole_list =
                body.text("query").empty() && body.number("limit") == 0 && !body.has("user_ids")};
}

inline nlohmann::json GatewayReply::payload(const GatewayEvent& to) const {
    switch (outcome) {
    case GatewayOutcome::heartbeat_ack:
        return {{"op", 11}};
    case GatewayOutcome::ready: {
        nlohmann::json body{{"v", 10}, {"session_id", session}, {"resume_gateway_url", url}};
        if (to.shards != 0) body["shard"] = {to.shard, to.shards};
        return detail::dispatch("READY", sequence, std::move(body));
    }
    case GatewayOutcome::resumed:
        return detail::dispatch("RESUMED", sequence, nlohmann::json::object());
    case GatewayOutcome::invalid_session:
        return {{"op", 9}, {"d", false}};
    case GatewayOutcome::rate_limited: {
        nlohmann::json meta{{"guild_id", std::to_string(to.guild)}};
        if (!to.nonce.empty()) meta["nonce"] = to.nonce;
        const double seconds = std::chrono::duration<double>(retry_after).count();
        return detail::dispatch(
            "RATE_LIMITED", sequence,
            {{"opcode", 8}, {"retry_after", seconds}, {"meta", std::move(meta)}});
    }
    case GatewayOutcome::accepted:
    case GatewayOutcome::dropped:
    case GatewayOutcome::closed:
        break;
    }
    return nullptr;
}

} // namespace sluice::testing

#endif
