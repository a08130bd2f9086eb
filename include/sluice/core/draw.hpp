// SPDX-License-Identifier: MIT
//
// A lane draws on its own bucket, which the headers of its successes name. Some lanes draw on
// others as well: a tighter limit whose 429s have a hash of their own (discord-api-docs#5646,
// #7394, #8161), or a bucket that some of the answers name instead (#8330, 2026-05: a 404 to
// `DELETE message` shows the bucket of young messages, whatever the age). A request leaves when all
// of these buckets have room, and counts in all of them until its answer.
//
// Invariant: while a lane has requests in flight, draws are only added to it, so that a place can
// say by number in which of them it counts. A bucket that lanes draw on is not evicted. It has a
// hash, so it never is the one that merges into another.
#ifndef SLUICE_CORE_DRAW_HPP
#define SLUICE_CORE_DRAW_HPP

#include <sluice/core/intrusive_list.hpp>
#include <sluice/core/time.hpp>

#include <chrono>
#include <cstdint>
#include <memory>

namespace sluice::core {

struct Bucket;
struct Lane;

/// One bit for each draw of a lane.
using DrawMask = std::uint8_t;

struct Draw : LeavingListHook {
    static constexpr int most = 7; ///< of one lane; of a further one only the wait is observed
    /// A draw that no answer has shown for this long may be gone.
    static constexpr Duration kept_for = std::chrono::hours(1);

    Draw(Lane& of, Bucket& on, bool only_refuses) noexcept
        : lane(&of), bucket(&on), hidden(only_refuses) {}

    Lane* lane;
    Bucket* bucket;
    std::unique_ptr<Draw> next;
    Time shown = Time::min(); ///< when an answer last named it
    /// Only 429s name it, and each success counts in it. Otherwise only answers that name it count.
    bool hidden;
};

using DrawList = IntrusiveList<Draw, LeavingListHook>;

} // namespace sluice::core

#endif
