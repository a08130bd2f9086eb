// SPDX-License-Identifier: MIT
//
// What can be set for an IdentifyQueue and for one acquire, each field with its default and its
// reason. A negative duration counts as 0, one over ten years means for ever.
//
//     IdentifyQueue identifies{executor, limit, {.reserve = 50}};
//     co_await identifies.acquire(shard_id, {.use_reserve = true});
#ifndef SLUICE_GATEWAY_IDENTIFY_OPTIONS_HPP
#define SLUICE_GATEWAY_IDENTIFY_OPTIONS_HPP

#include <sluice/core/identify_schedule.hpp>
#include <sluice/core/time.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <type_traits>

namespace sluice::gateway {

struct IdentifyQueueOptions {
    /// By how much the way to Discord may take longer for one identify than for the next of its
    /// key. 0.5 s covers delays between nothing and half a second, which a lost packet that is
    /// repeated once still keeps on most ways (Linux repeats after 0.2 s and a round trip). It is
    /// waited only where IdentifyPermit::answered() does not come first.
    std::chrono::nanoseconds margin = std::chrono::milliseconds(500);

    /// A permit of which nothing is heard for so long counts as sent, or it would close its key for
    /// ever. Default: twice the margin. Longer for those who acquire before they connect: what is
    /// sent later than that and `interval` after the grant may meet the next of its key.
    std::optional<std::chrono::nanoseconds> permit_timeout = std::nullopt;

    /// Identifies of the day kept back for calls that say use_reserve: a bot that crashes in a
    /// circle then stops before it has spent what its owner needs to bring it up again.
    std::int64_t reserve = 0;

    /// Discord docs, "Gateway", Sharding: each key once in 5 s.
    std::chrono::nanoseconds interval = std::chrono::seconds(5);

    /// Discord docs, "Gateway", Identifying: the limit is for 24 h. Counts when the day that
    /// `reset_after` ends is over and no newer limit has been told.
    std::chrono::nanoseconds day = std::chrono::hours(24);
};
static_assert(std::is_trivially_destructible_v<IdentifyQueueOptions>);

/// Of one acquire.
struct IdentifyOptions {
    /// May take the identifies that are kept back.
    bool use_reserve = false;

    /// Longer it does not wait: fails with errc::sessions_exhausted if the day's identifies are
    /// what is missing, with errc::wait_too_long if its turn is; at once where that is known.
    std::optional<std::chrono::nanoseconds> max_wait = std::nullopt;
};
static_assert(std::is_trivially_destructible_v<IdentifyOptions>);

namespace detail {

[[nodiscard]] inline core::IdentifySettings settings_of(const IdentifyQueueOptions& options) {
    core::IdentifySettings settings;
    settings.interval = core::in_range(options.interval);
    settings.margin = core::in_range(options.margin);
    settings.day = core::in_range(options.day);
    const core::Duration timeout = options.permit_timeout.value_or(2 * settings.margin);
    settings.permit_timeout = std::max(core::Duration(1), core::in_range(timeout));
    settings.reserve = std::max<std::int64_t>(0, options.reserve);
    return settings;
}

} // namespace detail
} // namespace sluice::gateway

#endif
