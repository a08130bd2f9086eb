// SPDX-License-Identifier: MIT
//
// The requests and results of a SendSchedule: events to be sent over one gateway connection, their
// permissions, and the queues in which they wait.
//
// Events that are subject to the same limit of their own share a lane; so do all other events of
// one opcode. The lanes of a connection are served by order of arrival, and a blocked lane does not
// delay the others (no head-of-line blocking).
#ifndef SLUICE_CORE_SEND_REQUEST_HPP
#define SLUICE_CORE_SEND_REQUEST_HPP

#include <sluice/core/indexed_heap.hpp>
#include <sluice/core/intrusive_list.hpp>
#include <sluice/core/member_list_limit.hpp>
#include <sluice/core/time.hpp>

#include <algorithm>
#include <array>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

namespace sluice::core {

/// The `nonce` of a request. Stored inside the object, so that options with a nonce stay trivially
/// destructible.
class Nonce {
public:
    /// Discord docs, "Gateway Events", Request Guild Members: up to 32 bytes; a longer nonce is
    /// ignored and its answers carry none. So a longer text makes an empty nonce here, too.
    static constexpr std::size_t max_size = 32;

    constexpr Nonce() noexcept = default;
    template <class Text>
    requires std::convertible_to<const Text&, std::string_view>
    constexpr Nonce(const Text& text) noexcept { // NOLINT: allows {.nonce = "abc"}
        const std::string_view view = text;
        if (view.size() > max_size) return;
        std::copy(view.begin(), view.end(), text_.begin());
        size_ = static_cast<std::uint8_t>(view.size());
    }

    [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] constexpr std::string_view view() const noexcept { return {text_.data(), size_}; }
    friend constexpr bool operator==(const Nonce& a, const Nonce& b) noexcept {
        return a.view() == b.view();
    }

private:
    std::array<char, max_size> text_{};
    std::uint8_t size_ = 0;
};

enum class SendKind : std::uint8_t {
    plain,     ///< counts against the 120 only
    heartbeat, ///< never waits
    session,   ///< identify and resume: ahead of all others, in slots reserved for them
    presence,  ///< low limit; only the newest is worth sending
    members,   ///< guild members, if a guild is named
};

struct SendRequest {
    SendKind kind = SendKind::plain;
    std::uint8_t opcode = 0;
    MemberRequest members = {}; ///< for SendKind::members
    Nonce nonce = {};
};

/// Identifies the queue that an event belongs to.
struct SendLaneKey {
    std::uint8_t opcode = 0;
    MemberRequest members = {};

    friend constexpr auto operator<=>(const SendLaneKey&, const SendLaneKey&) = default;
    [[nodiscard]] std::size_t hash() const noexcept {
        const std::uint64_t bits =
            (members.guild ^ opcode) * 0x9e3779b97f4a7c15ULL + (members.whole ? 1U : 0U);
        return std::hash<std::uint64_t>()(bits);
    }
};

/// Permission for one event: the slots that it holds.
struct SendPlace {
    SendRequest request;
    bool taken = false;
};

enum class SendState : std::uint8_t { idle, queued, granted, superseded, ended };

/// One queued event. The waiting layer derives its own node from it.
struct SendWaiter : ListHook {
    SendPlace place; ///< the request is read when queued; the rest is set when granted
    std::uint64_t arrival = 0;
    SendState state = SendState::idle;
};

using SendWaiterList = IntrusiveList<SendWaiter>;

/// An empty lane is deleted, unless a RATE_LIMITED blocks it.
struct SendLane {
    SendLaneKey key;
    SendKind kind = SendKind::plain;
    SendWaiterList waiting;           ///< ascending by arrival
    Time blocked_until = Time::min(); ///< set by a RATE_LIMITED for its opcode
    HeapPosition turn = nowhere;      ///< among the lanes that may send as soon as a slot is free
    HeapPosition sleep = nowhere;     ///< among the lanes that are blocked by their own limit
};

/// Ascending: the least gets the next slot.
struct SendTurn {
    bool ordinary = true; ///< identify and resume come first
    std::uint64_t arrival = 0;

    friend constexpr auto operator<=>(const SendTurn&, const SendTurn&) noexcept = default;
};

} // namespace sluice::core

#endif
