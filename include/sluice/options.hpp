// SPDX-License-Identifier: MIT
//
// Settings, each field with its default and its reason. All durations are std::chrono types. A
// duration over ten years, such as nanoseconds::max(), means unlimited. A negative value counts as
// 0.
//
//     sluice::BucketManager limiter{
//         executor, {.global = {.limit = 50, .period = 1s}, .max_wait = 60s}};
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

/// The limit on all requests of one token. Discord docs, "Rate Limits": 50 per second. Larger bots
/// are granted more; no API reports their figure.
struct GlobalLimit {
    std::int64_t limit = 50;                                   ///< 0: no limit
    std::chrono::nanoseconds period = std::chrono::seconds(1); ///< 0: no limit
};

/// Options of one limiter, and so of one bot token.
struct Options {
    GlobalLimit global = {};

    /// How long an acquire may wait if the call sets no max_wait. Default: unlimited. A wait known
    /// to be longer fails at once with errc::wait_too_long.
    std::optional<std::chrono::nanoseconds> max_wait = std::nullopt;

    /// Maximum number of requests in flight on a route whose answers carry no rate limit headers.
    std::int64_t headerless_width = 50;

    /// Upper bound on how much a wait is shortened to allow for network latency to Discord. With 0
    /// a wait ends only when the reset has certainly passed, whatever the network does.
    std::chrono::nanoseconds max_credit = std::chrono::milliseconds(200);

    /// Added to every wait that a 429 states.
    std::chrono::nanoseconds retry_margin{0};

    /// Pause of a single request after a failed try that may be repeated and whose answer states no
    /// wait: 502 and 503, and for GET, PUT and DELETE any temporary 5xx. The pause doubles with
    /// each such try up to max_backoff, and is spread over its upper half. 0: no backoff.
    std::chrono::nanoseconds first_backoff = std::chrono::milliseconds(500);
    std::chrono::nanoseconds max_backoff = std::chrono::seconds(16);

    /// Bounds how long a slow answer holds its slot of the global limit. 0: no bound. Off by
    /// default, because it voids the guarantee that the limit is never exceeded.
    std::optional<std::chrono::nanoseconds> longest_global_hold = std::nullopt;

    /// Buckets that are idle this long, or up to ten seconds longer, are evicted, a few with each
    /// call, once no state can be lost. After ten seconds of idleness a bucket already keeps only a
    /// third of its memory.
    std::chrono::nanoseconds idle_time = std::chrono::minutes(5);

    /// Above this number of idle buckets, buckets are evicted earlier. Each interaction brings one
    /// bucket.
    std::size_t max_idle_buckets = 100'000;

    /// Maximum number of waiting requests; more fail with errc::queue_full. Retries are always
    /// queued.
    std::optional<std::size_t> max_queued = std::nullopt;

    /// The address that this limiter sends from, if it is shared with other limiters; see
    /// address.hpp.
    std::shared_ptr<Address> address = nullptr;

    /// Called with each event; see events.hpp.
    Observer observer = nullptr;

    /// Discord limits deletes of messages younger than 10 s, up to 14 days and older separately
    /// (observed 2020-01 to 2026-05, discord-api-docs#1295, #8330). False: one class until answers
    /// show more.
    bool split_deletes_by_age = true;

    /// Adding and removing reactions draw on one bucket (staff, discord-api-docs#981, 2019-07).
    /// False: not before answers show it.
    bool join_reactions = true;

    /// Routes with one hash whose answers contradict a common counter get separate buckets.
    bool split_lying_hashes = true;

    /// A hash whose answers show that all channels, guilds or webhooks share one counter, contrary
    /// to what Discord documents (discord-api-docs#971, 2019-06), gets one bucket for all of them.
    bool join_common_counters = true;

    /// Memory for this many buckets is reserved at the start. Growing a table of a million buckets
    /// takes tens of milliseconds, during which every caller waits.
    std::size_t expected_buckets = 0;
};

/// Options of one acquire.
struct AcquireOptions {
    /// Also applies to each later wait of its ticket, measured from the start of that wait.
    /// Default: the limiter's max_wait.
    std::optional<std::chrono::nanoseconds> max_wait = std::nullopt;

    /// The request goes only if at least this many requests, itself included, remain in the bucket
    /// when it reaches the head of the queue. Otherwise it ends with errc::wait_too_long. Leaves
    /// the rest of the quota to more important requests.
    std::int64_t min_remaining = 1;

    /// Fails with errc::queue_full if more requests than this already wait for the bucket.
    std::optional<std::uint64_t> max_ahead = std::nullopt;
};

} // namespace sluice

#endif
