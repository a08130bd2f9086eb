// SPDX-License-Identifier: MIT
//
// From the fields of a response to the numbers that the core counts with.
#ifndef SLUICE_DETAIL_ANSWER_OF_HPP
#define SLUICE_DETAIL_ANSWER_OF_HPP

#include <sluice/core/answer.hpp>
#include <sluice/response.hpp>

#include <chrono>
#include <string_view>

namespace sluice::detail {

/// The result refers to the text of `response.bucket`.
inline core::Answer answer_of(const Response& response) noexcept {
    core::Answer answer;
    answer.status = response.status;
    answer.from_discord = response.from_discord;
    answer.global = response.global || response.scope == Scope::global;
    answer.shared = response.scope == Scope::shared;
    answer.retry_after = response.retry_after;
    if (response.bucket) answer.hash = response.bucket->view();
    core::Observation& seen = answer.seen;
    seen.limit = response.limit;
    seen.remaining = response.remaining;
    seen.reset_after = response.reset_after;
    seen.unit = response.reset_after_unit;
    if (response.reset) seen.reset = response.reset->time_since_epoch();
    if (!seen.reset_after && response.reset && response.date) {
        // Date has whole seconds and may be later than the moment the limit was computed.
        const auto after = *response.reset - *response.date;
        if (after >= after.zero()) seen.reset_after = after;
        seen.unit = std::chrono::seconds(1);
    }
    return answer;
}

} // namespace sluice::detail

#endif
