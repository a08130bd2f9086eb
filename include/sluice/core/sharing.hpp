// SPDX-License-Identifier: MIT
//
// Do two routes that show one bucket hash really share a counter? Until 2026-01 message routes did
// not (discord-api-docs#1442, #8073). Treating such routes as one is safe, but wastes half of the
// quota.
//
// Of several requests accepted within one Reset-After, the one decided last shows all of them as
// used, whichever it was and whatever the algorithm. A fixed window gives nothing back before its
// end. GCRA is as many intervals away from full as the first request was, and one more for each
// that followed. A sliding log holds each request for a period. If no answer shows that many, the
// routes do not share. Invariant: true sharing is never contradicted, whatever the delays and the
// order of answers.
#ifndef SLUICE_CORE_SHARING_HPP
#define SLUICE_CORE_SHARING_HPP

#include <sluice/core/time.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace sluice::core {

/// One answer to an accepted request.
struct SharingSample {
    Time sent{};
    Time received{};
    Duration reset_after{};
    Duration unit{};
    std::int64_t used = 0; ///< limit - remaining
};

class Sharing {
public:
    /// True if this answer cannot come from the counter that the answers before it were counted on.
    [[nodiscard]] bool contradicts(const SharingSample& now) const noexcept;

    void add(const SharingSample& sample) noexcept {
        if (size_ < recent_.size()) {
            ++size_;
        } else if (sample.sent < recent_.back().sent) {
            return;
        }
        std::size_t at = size_ - 1;
        for (; at > 0 && recent_[at - 1].sent < sample.sent; --at)
            recent_[at] = recent_[at - 1];
        recent_[at] = sample;
    }

    /// True if all remembered answers had been received by then.
    [[nodiscard]] bool all_received_by(Time time) const noexcept {
        return std::all_of(recent_.begin(), recent_.begin() + static_cast<std::ptrdiff_t>(size_),
                           [time](const SharingSample& one) { return one.received <= time; });
    }

private:
    /// API nodes' clocks differ, and so does the time left until one and the same Reset. Missing a
    /// contradiction for a while costs less than seeing a false one.
    static constexpr Duration clock_doubt = std::chrono::milliseconds(100);

    // The latest first, so that each set of a given size spans as little time as possible.
    std::array<SharingSample, 16> recent_{};
    std::size_t size_ = 0;
};

inline bool Sharing::contradicts(const SharingSample& now) const noexcept {
    // Nothing used: this server counts after it reports, so all its other answers show one too few.
    // They cannot do so without such an answer at the start of their window.
    if (now.used <= 0) return false;
    SharingSample extremes = now; // of sent, received, reset_after; used: upper bound for the last
    Time latest_sent = now.sent;
    std::int64_t size = 1;
    for (std::size_t i = 0; i < size_; ++i) {
        const SharingSample& other = recent_[i];
        const Time sent = std::min(other.sent, extremes.sent);
        const Time received = std::max(other.received, extremes.received);
        const Duration held =
            std::min(other.reset_after - other.unit, extremes.reset_after - extremes.unit);
        if (other.used <= 0 || received - sent >= held - clock_doubt) continue;
        latest_sent = std::max(latest_sent, other.sent);
        // Received before the latest was sent, so it was not decided last.
        const bool may_be_last = other.received > latest_sent;
        extremes = {sent, received, held, Duration(0),
                    may_be_last ? std::max(other.used, extremes.used) : extremes.used};
        if (extremes.used < ++size) return true;
    }
    return false;
}

} // namespace sluice::core

#endif
