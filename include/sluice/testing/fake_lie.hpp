// SPDX-License-Identifier: MIT
//
// False information about its limit in a route's answers. Each kind was observed at Discord.
//
// Invariant: a lie changes what the headers and the body state, never what is enforced.
//
//     .limit = Limit{Algorithm::fixed, 5, 5s}, .lie = Lie{.limit = 1000}
//
// A limit that only its 429 shows, with its own hash, is not a lie but a `SecondLimit`.
#ifndef SLUICE_TESTING_FAKE_LIE_HPP
#define SLUICE_TESTING_FAKE_LIE_HPP

#include <sluice/testing/fake_limit.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sluice::testing {

struct Lie {
    /// X-RateLimit-Limit. Use of the true limit counts down from this number. Observed 2022-11 to
    /// 2026-02, discord-api-docs#5646: 50000, #7394: 2000, #8161: 1000, with 5 or 30 enforced.
    std::optional<std::int64_t> limit{};
    /// X-RateLimit-Remaining, whatever is used. Observed 2021-09, discord-api-docs#3803: 0 at the
    /// very first call; 2025-02, #7394: always 1999.
    std::optional<std::int64_t> remaining{};
    /// X-RateLimit-Reset-After, and Reset accordingly. Observed in #5646: 102737.719.
    std::optional<Duration> reset_after{};
    /// X-RateLimit-Reset, relative to the Date of the same answer. Observed 2023-09,
    /// discord-api-docs#6407: 2.3 s before it, with a Reset-After of 0.199.
    std::optional<Duration> reset_from_date{};
    /// Added only to X-RateLimit-Reset. Observed 2022-11, discord-api-docs#5621: half a second.
    Duration reset_offset{};
    /// Retry-After. Observed 2023-04, discord-api-docs#6109: 1, with 1163.097 in the body.
    std::optional<Duration> retry_after{};
    std::optional<Duration> retry_after_in_body{};
    /// The text of the number retry_after in the body; overrides all other settings. "1e-9" or
    /// "0.000" make a wait that is always too short, "-1" or "null" an invalid one.
    std::string retry_after_text{};
    /// Headers to replace or to add; an empty value removes a header.
    std::vector<std::pair<std::string, std::string>> headers{};
};

namespace detail {

/// The state of a bucket that the headers show.
struct Description {
    std::int64_t limit = 0;
    Standing standing{};
};

/// Returns what the lie states instead of `truth`. `date` is the Date of the answer.
[[nodiscard]] inline Description told(const Lie& lie, Description truth, Duration date) {
    const Duration now = truth.standing.reset - truth.standing.reset_after;
    if (lie.limit) {
        truth.standing.remaining += *lie.limit - truth.limit;
        truth.standing.remaining = std::max<std::int64_t>(0, truth.standing.remaining);
        truth.limit = *lie.limit;
    }
    if (lie.remaining) truth.standing.remaining = *lie.remaining;
    if (lie.reset_after) {
        truth.standing.reset_after = *lie.reset_after;
        truth.standing.reset = now + *lie.reset_after;
    }
    if (lie.reset_from_date) truth.standing.reset = date + *lie.reset_from_date;
    truth.standing.reset += lie.reset_offset;
    return truth;
}

} // namespace detail
} // namespace sluice::testing

#endif
