// SPDX-License-Identifier: MIT
//
// Settings of an IdentifyQueue and of one acquire, each field with its default and its reason. A
// negative duration counts as 0; a duration over ten years means unlimited.
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
    /// Upper bound on the difference in network delay to Discord between one identify and the next
    /// of its key. 0.5 s covers delays between zero and half a second, which most networks keep
    /// even when one lost packet is retransmitted (Linux retransmits after 0.2 s plus a round
    /// trip). The margin is only waited if IdentifyPermit::answered() does not come first.
    std::chrono::nanoseconds margin = std::chrono::milliseconds(500);

    /// A permit that is not settled within this time counts as sent; otherwise its key would stay
    /// closed. Default: twice the margin. Set it longer if permits are acquired before connecting:
    /// an identify that is sent later than this time plus `interval` after the grant may collide
    /// with the next one of its key.
    std::optional<std::chrono::nanoseconds> permit_timeout = std::nullopt;

    /// Identifies of the day reserved for calls with use_reserve. A bot in a crash loop then stops
    /// before it has used the identifies that its owner needs to restart it.
    std::int64_t reserve = 0;

    /// Discord docs, "Gateway", Sharding: one identify per key in 5 s.
    std::chrono::nanoseconds interval = std::chrono::seconds(5);

    /// Discord docs, "Gateway", Identifying: the limit is for 24 h. Used when the day that ends
    /// with `reset_after` is over and update() has brought no newer limit.
    std::chrono::nanoseconds day = std::chrono::hours(24);
};
static_assert(std::is_trivially_destructible_v<IdentifyQueueOptions>);

/// Options of one acquire.
struct IdentifyOptions {
    /// May use the identifies that are reserved.
    bool use_reserve = false;

    /// Maximum wait. A longer wait fails with errc::sessions_exhausted if the day's identifies are
    /// used up, and with errc::wait_too_long if its turn in its key comes too late; at once if that
    /// is already known.
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
