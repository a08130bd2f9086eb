// SPDX-License-Identifier: MIT
//
// How many identifies of the day are left. The most expensive limit of all: Discord docs,
// "Gateway", Sharding: spending it ends all sessions and resets the bot's token.
//
// What Discord told is exact until `reset_after` has passed: so many are left. What follows is not
// documented, neither whether the next day begins at that moment or with its first identify, so
// from there on each identify comes back a day after it was sent. In whatever window of a day
// Discord counts, there are then no more than `total`. A new session_start_limit replaces all that.
#ifndef SLUICE_CORE_IDENTIFY_DAY_HPP
#define SLUICE_CORE_IDENTIFY_DAY_HPP

#include <sluice/core/time.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>

namespace sluice::core {

/// `remaining` and `total` are of identifies; the caller subtracts permits that are still out.
class IdentifyDay {
public:
    /// `margin`: by how much one message may take longer than another. `unseen`: for how long what
    /// Discord tells may have been under way; it may not know of identifies sent since.
    IdentifyDay(Duration day, Duration margin, Duration unseen)
        : day_(day), margin_(margin), unseen_(unseen) {}

    void tell(std::int64_t total, std::int64_t remaining, Duration reset_after, Time now) {
        const auto since = std::lower_bound(sent_.begin(), sent_.end(), now - unseen_);
        total_ = total;
        told_ = std::min(total, remaining) - (sent_.end() - since);
        // Discord counts in whole milliseconds. Its answer was under way, so that in truth its day
        // ends earlier than this, by that delay.
        reset_at_ = now + reset_after + std::chrono::milliseconds(1);
        // A whole day with nothing spent may not have begun: then it ends a day after its first
        // identify, not at `reset_at_`, so what is sent from now on counts beyond that.
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

    /// What counts as sent at that moment was not. Stays counted if a limit was told since, for
    /// nobody knows whether that has it in.
    void take_back(Time sent) {
        const auto found = std::lower_bound(sent_.begin(), sent_.end(), sent);
        if (found == sent_.end() || *found != sent || sent <= told_at_) return;
        sent_.erase(found);
        if (is_told_) ++told_;
    }

    /// Forgets what no longer counts. Called before left() and changes().
    void advance(Time now) {
        if (is_told_ && now >= reset_at_) {
            is_told_ = false;
            // What was sent shortly before the new day may have arrived in it; and it may have
            // begun before `reset_at_`, by as much as the answer that told it was under way.
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

    /// When left() rises next, if nothing is told before.
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
    std::int64_t told_ = 0; // less what was sent since; below 0 after a told limit has shrunk
    Time reset_at_;
    Time told_at_ = Time::min();
    Time over_by_; // what was sent before does not count in the day that begins at reset_at_
    bool is_told_ = false;  // what Discord told still holds
    std::deque<Time> sent_; // of the last day, ascending
};

} // namespace sluice::core

#endif
