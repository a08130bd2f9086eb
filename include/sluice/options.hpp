// SPDX-License-Identifier: MIT
//
// What can be set, each field with its default and its reason. All durations are std::chrono's.
// Whatever is over ten years, such as nanoseconds::max(), means for ever. What is negative counts
// as 0.
//
//     sluice::BucketManager limiter{executor, {.global = {.limit = 50, .period = 1s}, .max_wait =
//     60s}};
#ifndef SLUICE_OPTIONS_HPP
#define SLUICE_OPTIONS_HPP

#include <sluice/address.hpp>
#include <sluice/events.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

namespace sluice {

/// The limit on all requests of one token. Discord docs, "Rate Limits": 50 per second; larger bots
/// are granted more, a figure that no API tells.
struct GlobalLimit {
    std::int64_t limit = 50;                                   ///< 0: none
    std::chrono::nanoseconds period = std::chrono::seconds(1); ///< 0: no limit
};

/// Of one limiter, thus of one bot token.
struct Options {
    GlobalLimit global = {};

    /// How long an acquire may wait if the call does not say; default: for ever. A wait known to be
    /// longer fails at once with errc::wait_too_long.
    std::optional<std::chrono::nanoseconds> max_wait = std::nullopt;

    /// Requests in flight at once on a route whose answers name no limits.
    std::int64_t headerless_width = 50;

    /// The most that a wait is shortened because the way to Discord takes time. 0 makes every wait
    /// end only when the reset is surely over, whatever the network does.
    std::chrono::nanoseconds max_credit = std::chrono::milliseconds(200);

    /// Added to every wait that a 429 tells.
    std::chrono::nanoseconds retry_margin{0};

    /// How long a single request pauses after a try that may be repeated and told no wait: 502 and
    /// 503, for GET, PUT and DELETE any 5xx that can pass. Doubles with each such try up to the
    /// other, and is spread over its upper half. 0: not at all.
    std::chrono::nanoseconds first_backoff = std::chrono::milliseconds(500);
    std::chrono::nanoseconds max_backoff = std::chrono::seconds(16);

    /// Bounds how long a slow answer holds its slot of the global limit; 0: it does not. Off by
    /// default, because it voids the guarantee that the limit is never exceeded.
    std::optional<std::chrono::nanoseconds> longest_global_hold = std::nullopt;

    /// Buckets idle this long, ten seconds longer at most, are forgotten, a few with each call,
    /// once nothing can be lost. After ten seconds they already keep a third of their memory.
    std::chrono::nanoseconds idle_time = std::chrono::minutes(5);

    /// More idle buckets than this are forgotten earlier: interactions bring one each.
    std::size_t max_idle_buckets = 100'000;

    /// Requests that may wait at once; more fail with errc::queue_full. Retries always may.
    std::optional<std::size_t> max_queued = std::nullopt;

    /// The address that this limiter sends from, when it shares it with others; see address.hpp.
    std::shared_ptr<Address> address = nullptr;

    /// Told what happens; see events.hpp.
    Observer observer = nullptr;

    /// Deletes of messages younger than 10 s, up to 14 days and older are limited apart (observed
    /// 2020-01 to 2026-05, discord-api-docs#1295, #8330). Off: one class until answers tell more.
    bool split_deletes_by_age = true;

    /// Adding and removing reactions draws on one bucket (staff, discord-api-docs#981, 2019-07).
    /// Off: not before answers show it.
    bool join_reactions = true;

    /// Routes of one hash whose answers contradict a common counter get buckets of their own.
    bool split_lying_hashes = true;

    /// Hashes whose answers show that all channels, guilds or webhooks share one counter, against
    /// what Discord documents (discord-api-docs#971, 2019-06), get one bucket for all of them.
    bool join_common_counters = true;

    /// Space for this many buckets is made at the start. Growing a table of a million takes tens of
    /// milliseconds during which every caller waits.
    std::size_t expected_buckets = 0;
};

/// Of one acquire.
struct AcquireOptions {
    /// Also of each later wait of its ticket, from where that begins. Default: the limiter's.
    std::optional<std::chrono::nanoseconds> max_wait = std::nullopt;

    /// Only while at least this many requests remain in the bucket when it is this one's turn,
    /// itself included; else it ends with errc::wait_too_long. Leaves the rest to requests that
    /// matter more.
    std::int64_t min_remaining = 1;

    /// Fails with errc::queue_full when more than this many wait for the bucket already.
    std::optional<std::uint64_t> max_ahead = std::nullopt;
};

} // namespace sluice

#endif
