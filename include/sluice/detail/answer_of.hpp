// SPDX-License-Identifier: MIT
//
// From the fields of a response to the numbers that the core counts with.
#ifndef SLUICE_DETAIL_ANSWER_OF_HPP
#define SLUICE_DETAIL_ANSWER_OF_HPP

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

/// Whatever Response::parse would not have let through is absent: a Response may have been filled
/// in by hand. `least` is 0 or more.
template <class T>
[[nodiscard]] constexpr std::optional<T> within(const std::optional<T>& value, T least,
                                                T most) noexcept {
    return value && *value >= least && *value <= most ? value : std::nullopt;
}

/// The result refers to the text of `response.bucket`.
inline core::Answer answer_of(const Response& response) noexcept {
    constexpr std::int64_t greatest_count = std::numeric_limits<std::int32_t>::max();
    constexpr std::chrono::nanoseconds none{0};
    constexpr std::chrono::nanoseconds longest = longest_wait;
    core::Answer answer{
        .status = response.status,
        .from_discord = response.from_discord,
        .global = response.global || response.scope == Scope::global,
        .shared = response.scope == Scope::shared,
        .retry_after = within(response.retry_after, none, longest),
        .hash = response.bucket ? response.bucket->view() : std::string_view(),
        .seen = {.limit = within(response.limit, std::int64_t{1}, greatest_count),
                 .remaining = within(response.remaining, std::int64_t{0}, greatest_count),
                 .reset = response.reset ? std::optional(response.reset->time_since_epoch())
                                         : std::nullopt,
                 .reset_after = within(response.reset_after, none, longest),
                 .unit = std::clamp<std::chrono::nanoseconds>(response.reset_after_unit, none,
                                                              longest)}};
    if (!answer.seen.reset_after && response.reset && response.date) {
        // Date has whole seconds and may be later than the moment the limit was computed.
        const auto after = *response.reset - *response.date;
        answer.seen.reset_after = within<std::chrono::nanoseconds>(after, none, longest);
        answer.seen.unit = std::chrono::seconds(1);
    }
    return answer;
}

} // namespace sluice::detail

#endif
