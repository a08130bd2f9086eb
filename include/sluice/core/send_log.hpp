// SPDX-License-Identifier: MIT
//
// A sliding log over what one connection sends: who holds a slot, and when each slot comes back.
//
// A slot is taken when the permission to send is given, and given back `hold` after the event was
// sent. Let the way to Discord take between f and d, and let `hold` be a period plus a margin of at
// least d - f. An event sent at s arrives by s + d. Whoever gets its slot sends at s + hold or
// later and arrives at s + hold + f or later, thus a whole period after it. So no period at the
// server ever holds more events than there are slots, and then every algorithm is content: fixed
// windows from any origin, a sliding log, GCRA (its backlog over w is at most ceil(w / period)
// periods less w, which never exceeds one).
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

    /// A permission is given; the event is not sent yet.
    void take() noexcept { ++out_; }

    /// It was sent at `now`.
    void settle(Time now) {
        assert(out_ > 0);
        --out_;
        // Ascending by construction: a slot given back later than it might be is merely late.
        const Time at = now + hold_;
        releases_.push_back(releases_.empty() ? at : std::max(at, releases_.back()));
    }

    /// It will not be sent.
    void cancel() noexcept {
        assert(out_ > 0);
        --out_;
    }

    /// Slots in use. Call expire() first.
    [[nodiscard]] std::int64_t held() const noexcept {
        return out_ + static_cast<std::int64_t>(releases_.size());
    }

    void expire(Time now) noexcept {
        while (!releases_.empty() && releases_.front() <= now)
            releases_.pop_front();
    }

    /// When the next slot comes back by itself, or `never`.
    [[nodiscard]] Time next_change() const noexcept {
        return releases_.empty() ? never : releases_.front();
    }

    /// Forgets what was sent. Permissions not yet used stay: nobody knows where they will be used.
    void clear() noexcept { releases_.clear(); }

private:
    Duration hold_;
    std::int64_t out_ = 0;
    std::deque<Time> releases_; // of events that were sent, ascending
};

} // namespace sluice::core

#endif
