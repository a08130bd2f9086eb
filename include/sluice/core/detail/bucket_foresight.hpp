// SPDX-License-Identifier: MIT
//
// Bucket: predicts when a request could go behind others, and while lost requests hold places. The
// prediction is what Scheduler does then, unless an answer or another request comes in between.
// Included by core/bucket.hpp only.
#ifndef SLUICE_CORE_DETAIL_BUCKET_FORESIGHT_HPP
#define SLUICE_CORE_DETAIL_BUCKET_FORESIGHT_HPP

#include <sluice/core/bucket.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace sluice::core {

inline std::optional<Time> Bucket::predict(Time now, std::int64_t out, std::int64_t held,
                                           std::int64_t ahead, Duration credit) noexcept {
    if (is_silent()) return rare_->silent->predict(now, out, held, ahead, credit);
    const auto at = window.predict(now, out, held, ahead, credit);
    if (!at || !has_log()) return at;
    const bool sure = window.surely_slides();
    const bool holds_lost = held > static_cast<std::int64_t>(in_flight);
    if (!sure && holds_lost) return at; // the trial goes alone
    const Time start = greater(now, window.blocked_until());
    const std::int64_t spent = rare_->log->held(start, credit) + out;
    const std::int64_t before = ahead + spent - window.limit();
    // What is in flight may be cancelled.
    if (sure && before >= 0 && before < out - held) return std::nullopt;
    const Time by_log = before < 0 ? start : rare_->log->foresee(start, before, credit);
    return sure ? by_log : lesser(*at, by_log);
}

inline std::optional<Time> Bucket::predict_losses(Time now, std::int64_t probes, std::int64_t ahead,
                                                  Duration credit) noexcept {
    const auto flying = static_cast<std::int64_t>(in_flight);
    if (flying > rare_->flew_before) {
        // The answer to a request sent after the last loss decides: the lost one may have been
        // counted.
        const std::int64_t held = flying + static_cast<std::int64_t>(rare_->lost.size());
        const auto at = predict(now, held + probes, held, ahead, credit);
        return at && (*at > now || !in_doubt()) ? at : std::nullopt;
    }
    const bool leaves_doubt = window.surely_full(now) > now + window.period();
    return leaves_doubt ? predict_doubt(now, probes, ahead, credit)
                        : predict_returns(now, probes, ahead, credit);
}

/// Predicts where each place that comes back makes room by itself.
inline std::optional<Time> Bucket::predict_returns(Time now, std::int64_t probes,
                                                   std::int64_t ahead, Duration credit) noexcept {
    const auto flying = static_cast<std::int64_t>(in_flight);
    const std::size_t lost = rare_->lost.size();
    Time due = now;
    for (std::size_t back = 0;; ++back) {
        const std::int64_t held = flying + static_cast<std::int64_t>(lost - back);
        const Time next = back < lost ? rare_->lost[back] + window.period() : never;
        const auto first = predict(now, held + probes, held, 0, credit);
        if (first && greater(*first, due) < next) {
            const auto at = predict(now, held + probes, held, ahead, credit);
            if (!at || ahead == 0) return at ? std::optional(greater(*at, due)) : at;
            return greater(*at, behind_first(greater(*first, due), ahead, *first, credit));
        }
        if (back == lost) return std::nullopt;
        due = greater(due, next);
    }
}

/// Predicts where doubt follows a place that came back: nothing goes until all are back, and then
/// one request goes as a trial.
inline std::optional<Time> Bucket::predict_doubt(Time now, std::int64_t probes, std::int64_t ahead,
                                                 Duration credit) noexcept {
    const auto flying = static_cast<std::int64_t>(in_flight);
    const std::int64_t held = flying + static_cast<std::int64_t>(rare_->lost.size());
    const Time settled = in_doubt() ? doubt_ends() : now; // nothing goes before this
    if (has_lost() && settled < next_lost()) {
        const auto first = predict(settled, held + probes, held, 0, credit);
        if (first && *first < next_lost()) {
            const auto at = predict(settled, held + probes, held, ahead, credit);
            // By then as much was counted as can be; nothing is in flight that could tell.
            return at || flying + probes != 0 ? at : next_lost();
        }
    }
    const auto alone = predict(now, flying + probes, flying, 0, credit);
    const auto at = predict(now, flying + probes, flying, ahead, credit);
    if (!alone || !at) return std::nullopt;
    const Time first = has_lost() ? greater(*alone, rare_->lost.back() + window.period()) : *alone;
    if (ahead != 0 && first <= now) return std::nullopt; // depends on the answer to the first
    return greater(*at, behind_first(first, ahead, *alone, credit));
}

/// Returns when a request goes that has so many ahead. The first of those goes at `first`, and
/// would have gone at `alone` without the lost requests. A window that is over by then, or nearly
/// over, begins with it.
inline Time Bucket::behind_first(Time first, std::int64_t ahead, Time alone,
                                 Duration credit) const noexcept {
    if (!window.known() || first == alone) return first;
    // A round trip: the end may be over sooner by this than is known.
    constexpr Duration as_good_as = std::chrono::milliseconds(100);
    const auto deadline = window.deadline();
    if (deadline && *deadline - credit > first + as_good_as && !has_log()) return first;
    if (window.drips()) {
        return later(first, greater<std::int64_t>(0, ahead + 1 - window.limit()),
                     window.interval());
    }
    return later(first, ahead / window.limit(), window.period());
}

} // namespace sluice::core

#endif
