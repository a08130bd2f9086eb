// SPDX-License-Identifier: MIT
//
// A 429 to be raised on purpose, of any kind that was ever seen, by a fault of a rule or by a
// script:
//
//     discord.script([](const FakeRequest&, Duration) {
//         return std::optional{refused({.kind = RefusalKind::cloudflare_html, .wait = 1h})};
//     });
//
// The one invariant: a kind decides which headers and which form of body there are, the other
// members only what stands in them. What no such answer ever has cannot be asked for here; a script
// can still write any answer by hand.
//
// Sources: Discord docs, "Rate Limits"; observations stand beside each kind.
#ifndef SLUICE_TESTING_FAKE_REFUSAL_HPP
#define SLUICE_TESTING_FAKE_REFUSAL_HPP

#include <sluice/testing/fake_limit.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace sluice::testing {

enum class RefusalKind : std::uint8_t {
    user, ///< the bucket is spent: remaining 0
    /// A limit that no header shows; those of the ordinary bucket are there and have remaining > 0.
    /// Observed 2020-08, discord-api-docs#1900: remaining 4, reset-after 15, 582019 ms to wait.
    sublimit,
    /// A limit of the resource, spent by others too; the headers are of the caller's own bucket and
    /// unrelated to the wait. Discord docs, "Rate Limits".
    shared,
    global, ///< of the token, or of the address without one: no bucket headers
    /// Discord's body and no X-RateLimit header. Observed 2022-07, discord-api-docs#5161.
    headerless,
    /// Cloudflare's rate rule, error 1015: a page. No Via, no X-RateLimit header. Observed 2022-08,
    /// discord-api-docs#5385.
    cloudflare_html,
    cloudflare_text, ///< the same as one line of text, "error code: 1015"
    /// Cloudflare's static block page: JSON without retry_after, and said by staff (2023-01,
    /// discord-api-docs#5810) to have no retry information at all.
    cloudflare_block,
};

/// True when the answer never came near Discord.
[[nodiscard]] constexpr bool from_cloudflare(RefusalKind kind) noexcept {
    return kind >= RefusalKind::cloudflare_html;
}

/// True when the answer describes a bucket in its headers.
[[nodiscard]] constexpr bool describes_bucket(RefusalKind kind) noexcept {
    return kind <= RefusalKind::shared;
}

/// What the headers of a refusal say about a bucket.
struct ShownBucket {
    std::int64_t limit = 5;
    std::int64_t remaining = 0;
    Duration reset_after = std::chrono::seconds{1};
    std::string hash = "80c17d2f203122d936070c88c8d10f33";
};

struct Refusal {
    RefusalKind kind = RefusalKind::user;
    /// What the client is told to wait, in header and body. None: it is told nothing.
    std::optional<Duration> wait = std::chrono::seconds{1};
    /// Retry-After where it differs from the body. Observed 2023-04, discord-api-docs#6109: 1 with
    /// 1163.097 in the body. The block page has a Retry-After only if it is given here.
    std::optional<Duration> header_wait{};
    std::string message{};     ///< empty: that of the kind
    std::optional<int> code{}; ///< of the body, if it is JSON; none is the usual case
    /// The number retry_after as it is to be written, instead of `wait` in the body. Empty: `wait`.
    std::string wait_text{};
    /// None: by a fault, the bucket of the route as it stands; by a script, one that is typical.
    std::optional<ShownBucket> bucket{};
};

namespace detail {

/// As in the sources of each kind.
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
