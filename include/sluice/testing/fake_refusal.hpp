// SPDX-License-Identifier: MIT
//
// A 429 raised on purpose, of any observed kind, by a fault of a rule or by a script:
//
//     discord.script([](const FakeRequest&, Duration) {
//         return std::optional{refused({.kind = RefusalKind::cloudflare_html, .wait = 1h})};
//     });
//
// Invariant: the kind decides which headers exist and the form of the body; the other members only
// set their content. Content that no such answer ever has cannot be configured here; a script can
// still write any answer by hand.
//
// Sources: Discord docs, "Rate Limits"; observations are noted at each kind.
#ifndef SLUICE_TESTING_FAKE_REFUSAL_HPP
#define SLUICE_TESTING_FAKE_REFUSAL_HPP

#include <sluice/testing/fake_limit.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace sluice::testing {

enum class RefusalKind : std::uint8_t {
    user, ///< the bucket is empty: remaining 0
    /// A limit that no header shows; the headers of the ordinary bucket have remaining > 0.
    /// Observed 2020-08, discord-api-docs#1900: remaining 4, reset-after 15, 582019 ms to wait.
    sublimit,
    /// A limit of the resource, also used by others. The headers are of the caller's own bucket and
    /// unrelated to the wait. Discord docs, "Rate Limits".
    shared,
    global, ///< of the token, or of the address without one: no bucket headers
    /// Discord's body and no X-RateLimit header. Observed 2022-07, discord-api-docs#5161.
    headerless,
    /// Cloudflare's rate rule, error 1015: a page. No Via, no X-RateLimit header. Observed 2022-08,
    /// discord-api-docs#5385.
    cloudflare_html,
    cloudflare_text, ///< the same block as one line of text, "error code: 1015"
    /// Cloudflare's static block page: JSON without retry_after. According to staff (2023-01,
    /// discord-api-docs#5810) it has no retry information at all.
    cloudflare_block,
};

/// True if the answer comes from Cloudflare and never reached Discord.
[[nodiscard]] constexpr bool from_cloudflare(RefusalKind kind) noexcept {
    return kind >= RefusalKind::cloudflare_html;
}

/// True if the answer's headers describe a bucket.
[[nodiscard]] constexpr bool describes_bucket(RefusalKind kind) noexcept {
    return kind <= RefusalKind::shared;
}

/// What the headers of a refusal state about a bucket.
struct ShownBucket {
    std::int64_t limit = 5;
    std::int64_t remaining = 0;
    Duration reset_after = std::chrono::seconds{1};
    std::string hash = "80c17d2f203122d936070c88c8d10f33";
};

struct Refusal {
    RefusalKind kind = RefusalKind::user;
    /// The wait that the client is told, in header and body. nullopt: none.
    std::optional<Duration> wait = std::chrono::seconds{1};
    /// Retry-After if it differs from the body. Observed 2023-04, discord-api-docs#6109: 1 with
    /// 1163.097 in the body. The block page has a Retry-After only if this is set.
    std::optional<Duration> header_wait{};
    std::string message{};     ///< empty: the usual one of the kind
    std::optional<int> code{}; ///< of the body, if it is JSON; usually none
    /// The text of the number retry_after in the body, instead of `wait`. Empty: `wait`.
    std::string wait_text{};
    /// nullopt: for a fault, the current bucket of the route; for a script, a typical bucket.
    std::optional<ShownBucket> bucket{};
};

namespace detail {

/// Returns the bucket that the sources of each kind show.
[[nodiscard]] inline ShownBucket typical_bucket(const Refusal& refusal) {
    using namespace std::chrono_literals;
    if (refusal.kind == RefusalKind::sublimit) return {.remaining = 4, .reset_after = 15s};
    if (refusal.kind == RefusalKind::shared)
        return {.limit = 10, .remaining = 9, .reset_after = 64'570ms};
    return {.reset_after = refusal.wait.value_or(1s)};
}

} // namespace detail
} // namespace sluice::testing

#endif
