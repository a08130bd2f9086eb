// SPDX-License-Identifier: MIT
//
// Settings of a SendLimiter and of one acquire, each field with its default and its reason. A
// negative duration counts as 0; a duration over ten years means unlimited.
//
//     SendLimiter sends{executor, {.member_lists = lists}};
//     co_await sends.acquire(Opcode::request_guild_members, {.guild = id, .nonce = "a"});
#ifndef SLUICE_GATEWAY_SEND_OPTIONS_HPP
#define SLUICE_GATEWAY_SEND_OPTIONS_HPP

#include <sluice/core/member_list_limit.hpp>
#include <sluice/core/send_request.hpp>
#include <sluice/core/send_schedule.hpp>
#include <sluice/core/time.hpp>
#include <sluice/gateway/opcode.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>

namespace sluice::gateway {

using core::MemberListLimit;
using core::Nonce;

/// Discord docs, "Gateway", Sending Events: a payload over 4096 bytes closes the connection with
/// 4002.
inline constexpr std::size_t max_payload_bytes = 4096;

/// Options of one limiter, and so of one connection at a time.
struct SendLimiterOptions {
    /// Shared by all connections of a bot. Default: a private one.
    std::shared_ptr<MemberListLimit> member_lists = nullptr;

    /// Upper bound on the difference in network delay to Discord between two events; added to every
    /// period. One second covers the loss of a packet that is retransmitted once (RFC 6298, 2.1: a
    /// first timeout of one second) and costs 1.6 % of a rate that bots seldom use. A network that
    /// stalls for longer may deliver two minutes' events within one.
    std::chrono::nanoseconds margin = std::chrono::seconds(1);

    /// Used until hello states it, see set_heartbeat_interval(). The value that gateways were
    /// observed to send (discord-api-docs#274, 2017-06).
    std::chrono::nanoseconds heartbeat_interval = std::chrono::milliseconds(41'250);

    /// Discord docs, "Gateway", Rate Limiting: 120 events in 60 s.
    std::int64_t limit = 120;
    std::chrono::nanoseconds period = std::chrono::seconds(60);

    /// Discord docs, "Gateway Events", Activity Object: five presence updates in 20 s.
    std::int64_t presence_limit = 5;
    std::chrono::nanoseconds presence_period = std::chrono::seconds(20);

    /// Maximum number of waiting events; more fail with errc::queue_full. Heartbeats always go.
    std::optional<std::size_t> max_queued = std::nullopt;
};

/// Options of one event.
struct SendOptions {
    /// For request_guild_members: the guild whose members are requested. Without it only the limit
    /// of 120 applies.
    std::uint64_t guild = 0;

    /// For request_guild_members, at most 32 bytes: identifies the request in a RATE_LIMITED.
    Nonce nonce = {};

    /// Size of the payload as it is sent, in bytes. Over 4096 fails with errc::payload_too_large.
    std::size_t bytes = 0;

    /// For request_guild_members: true if the whole list is requested (`query` empty, `limit` 0),
    /// which is allowed once in 30 s. Set it to false for a prefix or user ids, which have no limit
    /// of their own.
    bool whole_list = true;
};
static_assert(std::is_trivially_destructible_v<SendOptions>);

namespace detail {

[[nodiscard]] constexpr core::SendKind kind_of(Opcode opcode) noexcept {
    switch (opcode) {
    case Opcode::heartbeat:
        return core::SendKind::heartbeat;
    case Opcode::identify:
    case Opcode::resume:
        return core::SendKind::session;
    case Opcode::presence_update:
        return core::SendKind::presence;
    case Opcode::request_guild_members:
        return core::SendKind::members;
    default:
        return core::SendKind::plain;
    }
}

[[nodiscard]] inline core::SendRequest request_of(Opcode opcode, const SendOptions& options) {
    core::SendRequest request;
    request.kind = kind_of(opcode);
    request.opcode = static_cast<std::uint8_t>(opcode);
    if (request.kind != core::SendKind::members) return request;
    if (options.guild == 0) {
        request.kind = core::SendKind::plain;
        return request;
    }
    request.members = {options.guild, options.whole_list};
    request.nonce = options.nonce;
    return request;
}

[[nodiscard]] inline core::SendSettings settings_of(const SendLimiterOptions& options) {
    core::SendSettings settings;
    settings.limit = std::max<std::int64_t>(2, options.limit); // one of them is identify's
    settings.period = core::in_range(options.period);
    settings.margin = core::in_range(options.margin);
    if (options.heartbeat_interval > core::Duration(0)) {
        settings.heartbeat_interval = core::in_range(options.heartbeat_interval);
    }
    settings.presence_limit = std::max<std::int64_t>(1, options.presence_limit);
    settings.presence_period = core::in_range(options.presence_period);
    return settings;
}

} // namespace detail
} // namespace sluice::gateway

#endif
