// SPDX-License-Identifier: MIT
//
// Discord docs, "Gateway Events", Request Guild Members: the whole list of a guild's members
// (`query` empty, `limit` 0) may be requested once per guild and bot in 30 s, since 2025-10-01
// (discord-api-docs#7760, whose first text said "per session"; the stricter reading is kept). This
// limit therefore outlives connections and is shared by all connections of a bot. Unlike most of
// the core it has a lock of its own.
//
//     auto lists = std::make_shared<sluice::gateway::MemberListLimit>();
//     SendLimiter first{executor, {.member_lists = lists}};
//     SendLimiter second{executor, {.member_lists = lists}};
//
// Requests by prefix or user ids are not covered, except that a refusal by Discord blocks them.
#ifndef SLUICE_CORE_MEMBER_LIST_LIMIT_HPP
#define SLUICE_CORE_MEMBER_LIST_LIMIT_HPP

#include <sluice/core/time.hpp>

#include <algorithm>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace sluice::core {

/// The kind of request and its guild.
struct MemberRequest {
    std::uint64_t guild = 0;
    bool whole = true; ///< true: the whole list; false: a prefix or user ids

    friend constexpr auto operator<=>(const MemberRequest&, const MemberRequest&) = default;
};

class MemberListLimit {
public:
    /// The margin is an upper bound on the difference in network delay between two requests.
    /// Negative durations count as 0; durations over ten years mean unlimited.
    explicit MemberListLimit(Duration period = std::chrono::seconds(30),
                             Duration margin = std::chrono::seconds(1)) noexcept
        : hold_(in_range(period) + in_range(margin)) {}
    MemberListLimit(const MemberListLimit&) = delete;
    MemberListLimit& operator=(const MemberListLimit&) = delete;

    /// Returns when to ask again whether such a request may go; `now` if it may. Returns `never`
    /// while `connection` itself holds an unused permission: its end makes the connection ask
    /// again.
    [[nodiscard]] Time opens(const MemberRequest& request, const void* connection, Time now) const {
        const std::lock_guard lock(mutex_);
        return opens_unlocked(request, connection, now);
    }

    /// Takes the permission if it is available; false otherwise.
    [[nodiscard]] bool take(const MemberRequest& request, const void* connection, Time now) {
        const std::lock_guard lock(mutex_);
        if (opens_unlocked(request, connection, now) > now) return false;
        if (request.whole) guilds_[request].holder = connection;
        return true;
    }

    /// The permission was used at `now` (sent), or will not be used (cancel).
    void sent(const MemberRequest& request, Time now) { end(request, now + hold_, now); }
    void cancel(const MemberRequest& request, Time now) { end(request, now, now); }

    /// Discord has refused such a request and states when another may come. Replaces the time that
    /// was calculated from the refused request.
    void block(const MemberRequest& request, Time until, Time now) {
        const std::lock_guard lock(mutex_);
        guilds_[request].until = until;
        if (guilds_.size() >= sweep_at_) sweep(now);
    }

    /// Returns a copy for a forecast. In it, `connection` holds each outstanding permission.
    [[nodiscard]] std::shared_ptr<MemberListLimit> copy_for(const void* connection) const {
        auto copy = std::make_shared<MemberListLimit>(hold_, Duration(0));
        const std::lock_guard lock(mutex_);
        copy->guilds_ = guilds_;
        for (auto& [request, guild] : copy->guilds_) {
            if (guild.holder != nullptr) guild.holder = connection;
        }
        return copy;
    }

    /// Returns the number of entries with state.
    [[nodiscard]] std::size_t size() const {
        const std::lock_guard lock(mutex_);
        return guilds_.size();
    }

private:
    struct Guild {
        Time until = Time::min();
        const void* holder = nullptr; // the connection with the outstanding permission; null: none
    };
    struct Hash {
        std::size_t operator()(const MemberRequest& request) const noexcept {
            return std::hash<std::uint64_t>()(request.guild * 2 + (request.whole ? 1 : 0));
        }
    };

    /// Poll interval while another connection holds an unused permission. Usually that connection
    /// uses it at once, and then the time is known.
    static constexpr Duration look_again = std::chrono::seconds(1);
    static constexpr std::size_t least_sweep = 64;

    [[nodiscard]] Time opens_unlocked(const MemberRequest& request, const void* connection,
                                      Time now) const {
        const auto found = guilds_.find(request);
        if (found == guilds_.end()) return now;
        const Guild& guild = found->second;
        if (guild.holder == nullptr) return std::max(now, guild.until);
        return guild.holder == connection ? never : std::max(now + look_again, guild.until);
    }

    void end(const MemberRequest& request, Time until, Time now) {
        if (!request.whole) return;
        const std::lock_guard lock(mutex_);
        Guild& guild = guilds_[request];
        guild.holder = nullptr;
        guild.until = std::max(guild.until, until);
        if (guilds_.size() >= sweep_at_) sweep(now);
    }

    /// Removes entries that no longer block: a bot has thousands of guilds and requests most of
    /// them once.
    void sweep(Time now) {
        std::erase_if(guilds_, [now](const auto& entry) {
            return entry.second.holder == nullptr && entry.second.until <= now;
        });
        sweep_at_ = std::max(least_sweep, 2 * guilds_.size());
    }

    const Duration hold_;
    mutable std::mutex mutex_;
    std::unordered_map<MemberRequest, Guild, Hash> guilds_;
    std::size_t sweep_at_ = least_sweep;
};

} // namespace sluice::core

#endif
