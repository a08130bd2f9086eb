// SPDX-License-Identifier: MIT
//
// From the fields of a response to the numbers that the core counts with.
#ifndef SLUICE_DETAIL_READ_ANSWER_HPP
#define SLUICE_DETAIL_READ_ANSWER_HPP

#include <sluice/core/answer.hpp>
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
template <class T>
constexpr void keep_within(std::optional<T>& value, T least, T most) noexcept {
    if (value && !(*value >= least && *value <= most)) value.reset();
}

/// The result refers to the text of `response.bucket`. Every number is written once: to copy whole
/// what has just been written in parts makes the processor wait.
inline core::Answer read_answer(const Response& response) noexcept {
    constexpr std::int64_t greatest_count = std::numeric_limits<std::int32_t>::max();
    constexpr std::chrono::nanoseconds none{0};
    constexpr std::chrono::nanoseconds longest = longest_wait;
    core::Answer answer{
        .status = response.status,
        .from_discord = response.from_discord,
        .global = response.global || response.scope == Scope::global,
        .shared = response.scope == Scope::shared,
        .retry_after = response.retry_after,
        .hash = response.bucket ? response.bucket->view() : std::string_view(),
        .seen = {.limit = response.limit,
                 .remaining = response.remaining,
                 .reset = std::nullopt,
                 .reset_after = response.reset_after,
                 .unit = std::clamp<std::chrono::nanoseconds>(response.reset_after_unit, none,
                                                              longest)},
    };
    core::Observation& seen = answer.seen;
    // In whole seconds, perhaps rounded down, it orders nothing: 3 of 480 requests came too early.
    if (response.reset && response.reset_unit <= core::Window::reset_tolerance) {
        seen.reset = response.reset->time_since_epoch();
    }
    keep_within(answer.retry_after, none, longest);
    keep_within(seen.limit, std::int64_t{1}, greatest_count);
    keep_within(seen.remaining, std::int64_t{0}, greatest_count);
    keep_within(seen.reset_after, none, longest);
    if (!seen.reset_after && response.reset && response.date) {
        // Date has whole seconds and may be later than the moment the limit was computed.
        seen.reset_after = *response.reset - *response.date;
        seen.unit = std::chrono::seconds(1);
        keep_within(seen.reset_after, none, longest);
    }
    return answer;
}

} // namespace sluice::detail

#endif
