// SPDX-License-Identifier: MIT
//
// From the fields of a response to the numbers that the core counts with.
#ifndef SLUICE_DETAIL_READ_ANSWER_HPP
#define SLUICE_DETAIL_READ_ANSWER_HPP

#include <sluice/core/answer.hpp>
#include <sluice/core/non_negative.hpp>
#include <sluice/core/time.hpp>
#include <sluice/core/window.hpp>
#include <sluice/detail/response_text.hpp>
#include <sluice/response.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

namespace sluice::detail {

/// Whatever Response::parse would not have let through counts as absent: a Response may have been
/// filled in by hand.
template <class Number>
[[nodiscard]] constexpr core::NonNegative<Number> within(const std::optional<Number>& given,
                                                         Number least, Number most) noexcept {
    if (!given || *given < least || *given > most) return std::nullopt;
    return *given;
}

[[nodiscard]] constexpr core::NonNegative<core::Duration>
wait_within(const std::optional<std::chrono::nanoseconds>& given) noexcept {
    return within<core::Duration>(given, core::Duration(0), longest_wait);
}

/// Date has whole seconds and may be later than the moment the limit was computed.
[[gnu::noinline]] inline void read_reset_against_date(const Response& response,
                                                      core::Observation& seen) noexcept {
    constexpr std::chrono::hours latest(24 * 365 * 200); // of the Unix epoch, and nothing overflows
    if (!response.reset || !response.date) return;
    const auto date = response.date->time_since_epoch();
    if (date < date.zero() || date > latest ||
        response.reset->time_since_epoch() < core::Duration(0))
        return;
    seen.reset_after = wait_within(*response.reset - *response.date);
    seen.unit = std::chrono::seconds(1);
}

/// What the answer says of its bucket's counter.
inline core::Observation read_observation(const Response& response) noexcept {
    constexpr std::int64_t greatest_count = std::numeric_limits<std::int32_t>::max();
    core::Observation seen;
    seen.limit = within<std::int64_t>(response.limit, 1, greatest_count);
    seen.remaining = within<std::int64_t>(response.remaining, 0, greatest_count);
    seen.reset_after = wait_within(response.reset_after);
    seen.unit = core::lesser<core::Duration>(
        core::greater<core::Duration>(response.reset_after_unit, core::Duration(0)), longest_wait);
    // In whole seconds, perhaps rounded down, it orders nothing: 3 of 480 requests came too early.
    if (response.reset && response.reset_unit <= core::Window::reset_tolerance) {
        seen.reset = response.reset->time_since_epoch();
    }
    if (!seen.reset_after) read_reset_against_date(response, seen);
    return seen;
}

/// The text of the bucket's hash, in the response.
[[nodiscard]] inline std::string_view hash_in(const Response& response) noexcept {
    return response.bucket ? response.bucket->view() : std::string_view();
}

/// The JSON error code, -1 without one.
[[nodiscard]] constexpr std::int32_t code_in(const Response& response) noexcept {
    constexpr std::int64_t greatest = std::numeric_limits<std::int32_t>::max();
    const std::int64_t code = response.code.value_or(-1);
    return code < 0 || code > greatest ? -1 : static_cast<std::int32_t>(code);
}

/// `seen` is what has been read of it. The result refers to the text of `response.bucket`.
inline core::Answer read_answer(const Response& response, const core::Observation& seen) noexcept {
    return {
        .status = response.status,
        .from_discord = response.from_discord,
        .global = response.global || response.scope == Scope::global,
        .shared = response.scope == Scope::shared,
        .retry_after = wait_within(response.retry_after),
        .hash = hash_in(response),
        .seen = seen,
        .code = code_in(response),
    };
}
inline core::Answer read_answer(const Response& response) noexcept {
    return read_answer(response, read_observation(response));
}

} // namespace sluice::detail

#endif
