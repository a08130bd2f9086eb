// SPDX-License-Identifier: MIT
//
// Gives an answer to a scheduler in the way in which the layer above does.
#ifndef SLUICE_TESTS_SUPPORT_APPLY_ANSWER_HPP
#define SLUICE_TESTS_SUPPORT_APPLY_ANSWER_HPP

#include <sluice/core/answer.hpp>
#include <sluice/core/lane.hpp>
#include <sluice/core/scheduler.hpp>
#include <sluice/core/time.hpp>

namespace sluice::tests {

/// True if the answer was a plain one.
inline bool apply_plainly(core::Scheduler& scheduler, core::Place& place, core::Answer& answer,
                          core::Time sent, core::Time now) {
    constexpr int least_invalid = 401;
    constexpr int accepted = 202;
    answer.seen.sent = place.sent;
    answer.seen.received = now;
    return answer.status < least_invalid && answer.status != accepted &&
           scheduler.answer_plain(place, answer.hash, answer.seen, sent);
}

inline core::AnswerKind apply_answer(core::Scheduler& scheduler, core::Place& place,
                                     core::Answer& answer, core::Time now) {
    if (apply_plainly(scheduler, place, answer, core::never, now)) return core::AnswerKind::success;
    return scheduler.answer(place, answer, core::never, now);
}

} // namespace sluice::tests

#endif
