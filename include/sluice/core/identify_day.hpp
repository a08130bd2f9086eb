// SPDX-License-Identifier: MIT
//
// How many identifies of the day are left. This is the most expensive limit of all. Discord docs,
// "Gateway", Sharding: using it up ends all sessions and resets the bot's token.
//
// The number that Discord reported is exact until `reset_after` has passed. What follows is not
// documented: the next day may begin at that moment or with its first identify. From then on,
// therefore, each identify becomes available again a day after it was sent. Whatever 24-hour window
// Discord counts, it then holds at most `total` identifies. A new session_start_limit replaces this
// state.
#ifndef SLUICE_CORE_IDENTIFY_DAY_HPP
#define SLUICE_CORE_IDENTIFY_DAY_HPP

#include <sluice/core/time.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>

namespace sluice::core {

/// `remaining` and `total` count identifies; the caller subtracts outstanding permits.
class IdentifyDay {
public:
    /// `margin`: upper bound on the difference in network delay between two messages. `unseen`:
    /// upper bound on the age of Discord's answer; identifies sent within that time may be missing
    /// from it.
    IdentifyDay(Duration day, Duration margin, Duration unseen)
        : day_(day), margin_(margin), unseen_(unseen) {}

    void tell(std::int64_t total, std::int64_t remaining, Duration reset_after, Time now) {
        const auto since = std::lower_bound(sent_.begin(), sent_.end(), now - unseen_);
        total_ = total;
        told_ = std::min(total, remaining) - (sent_.end() - since);
        // Discord counts in whole milliseconds. Its day ends earlier than this by the network delay
        // of its answer.
        reset_at_ = now + reset_after + std::chrono::milliseconds(1);
        // A whole day with no identify used may not have begun. It then ends a day after its first
        // identify, not at `reset_at_`, so identifies sent from now on count beyond `reset_at_`.
        const bool whole = remaining >= total && reset_after >= day_ - unseen_;
        over_by_ = (whole ? now : reset_at_) - unseen_;
        told_at_ = now;
        is_told_ = true;
        advance(now);
    }

    void sent(Time now) {
        advance(now);
        sent_.push_back(now);
        if (is_told_) --told_;
    }

    /// Removes an identify that counts as sent at that moment but was not sent. Does nothing if a
    /// limit was reported since, because it is unknown whether that limit includes the identify.
    void take_back(Time sent) {
        const auto found = std::lower_bound(sent_.begin(), sent_.end(), sent);
        if (found == sent_.end() || *found != sent || sent <= told_at_) return;
        sent_.erase(found);
        if (is_told_) ++told_;
    }

    /// Removes identifies that no longer count. Call before left() and changes().
    void advance(Time now) {
        if (is_told_ && now >= reset_at_) {
            is_told_ = false;
            // Identifies sent shortly before the new day may have arrived in it. The day may also
            // have begun before `reset_at_`, by the network delay of the answer that reported it.
            while (!sent_.empty() && sent_.front() < over_by_)
                sent_.pop_front();
        }
        while (!sent_.empty() && comes_back(sent_.front()) <= now)
            sent_.pop_front();
    }

    [[nodiscard]] std::int64_t left() const noexcept {
        return is_told_ ? told_ : total_ - static_cast<std::int64_t>(sent_.size());
    }
    [[nodiscard]] std::int64_t total() const noexcept { return total_; }

    /// Returns when left() next rises, if no new limit is reported before; never: no rise is due.
    [[nodiscard]] Time changes() const {
        if (is_told_) return reset_at_;
        return sent_.empty() ? never : comes_back(sent_.front());
    }

private:
    [[nodiscard]] Time comes_back(Time sent) const { return sent + day_ + margin_; }

    Duration day_;
    Duration margin_;
    Duration unseen_;
    std::int64_t total_ = 0;
    std::int64_t told_ = 0; // reported, less identifies sent since; below 0 if the limit shrank
    Time reset_at_;
    Time told_at_ = Time::min();
    Time over_by_; // identifies sent before do not count in the day that begins at reset_at_
    bool is_told_ = false;  // the reported limit still applies
    std::deque<Time> sent_; // sent within the last day, ascending
};

} // namespace sluice::core

#endif
