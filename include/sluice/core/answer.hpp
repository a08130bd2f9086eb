// SPDX-License-Identifier: MIT
//
// What one HTTP answer means for the limits, decided before anything is changed.
// Sources: Discord docs, "Rate Limits" (scopes, global, invalid requests); observed: sublimits show
// the ordinary bucket's headers with remaining > 0 or a wait far beyond Reset-After
// (discord-api-docs#1900, 2020), Cloudflare's own 429s have neither Via nor X-RateLimit headers
// (discord-api-docs#6407 for Via, 2023-09).
#ifndef SLUICE_CORE_ANSWER_HPP
#define SLUICE_CORE_ANSWER_HPP

#include <sluice/core/draw.hpp>
#include <sluice/core/non_negative.hpp>
#include <sluice/core/time.hpp>
#include <sluice/core/window.hpp>

#include <cstdint>
#include <string_view>

namespace sluice::core {

enum class AnswerKind : std::uint8_t {
    success = 1,  ///< not a 429 and below 500: the request was decided and counted
    server_error, ///< 5xx: it is unknown whether the request was counted
    user_limit,   ///< 429: the bucket is spent; blocks the bucket
    sublimit,     ///< 429 of a limit that no header shows; blocks the lane
    shared_limit, ///< 429 of a limit shared with other users; blocks the lane
    global_limit, ///< 429 of the whole token; blocks all but exempt routes
    cloudflare,   ///< 429 from in front of Discord; blocks everything
    headerless,   ///< 429 from Discord that names no bucket; blocks the lane, slow start after it
};

/// The numbers of one answer. Absent fields were absent or unusable.
struct Answer {
    int status = 0;
    bool from_discord = true;
    bool global = false;
    bool shared = false;
    NonNegative<Duration> retry_after;
    std::string_view hash;  ///< empty: none
    Observation seen;       ///< sent and received are filled in when it is applied
    std::int32_t code = -1; ///< Discord's JSON error code, -1: none
    bool old_token = false; ///< filled in as `seen.sent`: the bot's token has been replaced since
    DrawMask draws = 0;     ///< filled in, too: in which of its lane's draws the request counted

    [[nodiscard]] bool has_numbers() const noexcept {
        return seen.limit || seen.remaining || seen.reset_after;
    }
};

/// True if the answer shows that no limit on all requests was in the way.
[[nodiscard]] constexpr bool passed_global(const Answer& answer, AnswerKind kind) noexcept {
    return answer.from_discord && kind != AnswerKind::server_error &&
           kind != AnswerKind::global_limit && kind != AnswerKind::cloudflare;
}

/// True if the answer stands in place of the result of a search whose index is being made: repeat
/// the request after the told wait, of which 0 is "a short delay" (Discord docs, "Search Guild
/// Messages", 2026-03-19: 202, code 110000).
[[nodiscard]] constexpr bool is_unready(const Answer& answer) noexcept {
    return answer.status == 202 && answer.retry_after;
}

/// A wait longer than Reset-After plus this belongs to another limit than the headers describe.
/// Retry-After is rounded up to whole seconds, so a smaller excess proves nothing.
inline constexpr Duration sublimit_excess = std::chrono::seconds(1);

inline AnswerKind classify(const Answer& answer) noexcept {
    if (answer.status >= 500) return AnswerKind::server_error;
    if (answer.status != 429) return AnswerKind::success;
    if (!answer.from_discord) return AnswerKind::cloudflare;
    if (answer.global) return AnswerKind::global_limit;
    if (answer.shared) return AnswerKind::shared_limit;
    if (!answer.has_numbers() && answer.hash.empty()) return AnswerKind::headerless;
    const Duration wait = answer.retry_after.value_or(Duration(0));
    const bool beyond =
        answer.seen.reset_after && wait > *answer.seen.reset_after + sublimit_excess;
    if (answer.seen.remaining.value_or(0) > 0 || beyond) return AnswerKind::sublimit;
    return AnswerKind::user_limit;
}

} // namespace sluice::core

#endif
