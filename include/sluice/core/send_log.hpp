// SPDX-License-Identifier: MIT
//
// A sliding log of the events that one connection sends: it counts the slots in use and records
// when each becomes free.
//
// A slot is taken when the permission to send is issued, and is released `hold` after the event was
// sent. Let the network delay to Discord be between f and d, and let `hold` be a period plus a
// margin of at least d - f. An event sent at s arrives by s + d. The next event in its slot is sent
// at s + hold or later and arrives at s + hold + f or later, a whole period after the first. So no
// period at the server ever holds more events than there are slots. This satisfies every algorithm:
// fixed windows from any origin, a sliding log, and GCRA (its backlog over w is at most ceil(w /
// period) periods less w, which never exceeds one).
#ifndef SLUICE_CORE_SEND_LOG_HPP
#define SLUICE_CORE_SEND_LOG_HPP

#include <sluice/core/time.hpp>

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <deque>

namespace sluice::core {

class SendLog {
public:
    explicit SendLog(Duration hold) noexcept : hold_(hold) {}

    /// Takes a slot: a permission is issued, its event is not sent yet.
    void take() noexcept { ++out_; }

    /// The event was sent at `now`.
    void settle(Time now) {
        assert(out_ > 0);
        --out_;
        // Keeps the list ascending: a slot that is released later than necessary is merely late.
        const Time at = now + hold_;
        releases_.push_back(releases_.empty() ? at : std::max(at, releases_.back()));
    }

    /// The event will not be sent: releases its slot.
    void cancel() noexcept {
        assert(out_ > 0);
        --out_;
    }

    /// Returns the slots in use. Call expire() first.
    [[nodiscard]] std::int64_t held() const noexcept {
        return out_ + static_cast<std::int64_t>(releases_.size());
    }

    void expire(Time now) noexcept {
        while (!releases_.empty() && releases_.front() <= now)
            releases_.pop_front();
    }

    /// Returns when the next slot is released by time alone, or `never`.
    [[nodiscard]] Time next_change() const noexcept {
        return releases_.empty() ? never : releases_.front();
    }

    /// Removes the events that were sent. Slots of unused permissions stay taken, because it is
    /// unknown on which connection they will be used.
    void clear() noexcept { releases_.clear(); }

private:
    Duration hold_;
    std::int64_t out_ = 0;
    std::deque<Time> releases_; // of sent events, ascending
};

} // namespace sluice::core

#endif
