// SPDX-License-Identifier: MIT
//
// The limit on all requests of one individual (Discord docs: 50 per second), kept by held slots.
//
// A slot is taken when a request is sent, and given back one period after its answer came, less the
// credit. If more than `limit` requests had arrived at the server within one period, all their
// slots would have been held at one moment: impossible. So the limit cannot be exceeded, whatever
// the jitter and whatever algorithm the server uses, as long as credit <= forward + backward delay.
// The credit is subtracted when room is asked for, as in window.hpp. Slots that are back are
// counted only when all the others are held.
// No header shows this limit (discord-api-docs#5144, 2022-07), so no answer can correct it.
#ifndef SLUICE_CORE_GLOBAL_LIMIT_HPP
#define SLUICE_CORE_GLOBAL_LIMIT_HPP

#include <sluice/core/fifo.hpp>
#include <sluice/core/time.hpp>

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>

namespace sluice::core {

class GlobalLimit {
public:
    /// Identifies one taken slot; every waiter and every ticket keeps one. The numbers repeat after
    /// 2^31 further slots, 497 days at 50 per second.
    using Slot = std::uint32_t;

    /// `limit` 0 means no limit. `longest_hold` 0 means that a slot is held until its answer comes.
    /// Any other value gives a slot back at the latest that long after it was taken: the limiter
    /// then does not depend on slow answers, and the guarantee above is void.
    void configure(std::int64_t limit, Duration period, Duration longest_hold) noexcept {
        limit_ = period > Duration(0) ? std::max<std::int64_t>(0, limit) : 0;
        period_ = period;
        longest_hold_ = longest_hold;
    }

    [[nodiscard]] Duration period() const noexcept { return period_; }
    [[nodiscard]] std::int64_t limit() const noexcept { return limit_; }
    [[nodiscard]] std::int64_t held() const noexcept { return held_; }

    /// As has_room(), without waiting for a slot to come back. False proves nothing.
    [[nodiscard]] bool surely_has_room() const noexcept { return held_ < limit_ || limit_ == 0; }
    /// True if a slot is free; drops slots that are back. `credit()` is called only if it decides.
    template <class Credit>
    [[nodiscard]] bool has_room(Time now, Credit credit) {
        if (surely_has_room()) return true;
        expire(now, credit());
        return held_ < limit_;
    }

    Slot take(Time now);

    /// Call when the answer came at `now`.
    void give_back(Slot slot, Time now) { settle(slot, now, false); }
    /// Call when the request is lost: it is unknown whether it has arrived yet, so no credit is
    /// due.
    void lose(Slot slot, Time now) { settle(slot, now, true); }

    /// Call when the request was never sent.
    void cancel(Slot slot) noexcept {
        if (settle_hold(slot, Time::min())) --held_;
    }

    /// Visits when each slot held is back, ascending: visit(Duration from now). A slot that waits
    /// for its answer is assumed to get it now.
    template <class Visitor>
    void each_slot(Time now, Visitor visit) const;
    /// Takes over a slot that another limiter of the same token held, which comes back at that
    /// time.
    void restore(Time back) {
        ++held_;
        settled_.push_back({back - period_, true});
    }

    /// Returns the next moment after `now` at which room may appear by itself, or `never`.
    [[nodiscard]] Time next_change(Time now, Duration credit) const noexcept;

    /// Returns when the request behind `ahead` waiting ones gets a slot, if answers come at once.
    /// Drops slots that are back.
    [[nodiscard]] Time predict(Time now, std::int64_t ahead, Duration credit) noexcept;

private:
    struct Hold {
        Time taken;
        bool settled;
    };

    struct Settled {
        Time at;
        bool lost;
    };

    [[nodiscard]] Time end_of(const Hold& hold) const noexcept {
        return longest_hold_ == Duration(0) ? never : hold.taken + longest_hold_;
    }
    [[nodiscard]] Time release_of(const Settled& request, Duration credit) const noexcept {
        return request.at + period_ - (request.lost ? Duration(0) : std::min(credit, period_));
    }
    void expire(Time now, Duration credit) noexcept;
    void settle(Slot slot, Time now, bool lost);
    bool settle_hold(Slot slot, Time now) noexcept;
    /// Returns an odd number, so that none is 0.
    [[nodiscard]] Slot name_of(std::size_t hold) const noexcept {
        return static_cast<Slot>(2 * (first_hold_ + hold) + 1);
    }
    /// Returns an index into holds_, or one beyond its end.
    [[nodiscard]] std::size_t hold_of(Slot slot) const noexcept { return (slot - name_of(0)) / 2; }

    std::int64_t limit_ = 0;
    Duration period_ = std::chrono::seconds(1);
    Duration longest_hold_{0};
    std::int64_t held_ = 0; // an upper bound: some may be back already
    // Answered and lost requests whose slots are not back, in the order in which they come back. A
    // slot behind that of a lost request may come back later than it could.
    Fifo<Settled> settled_;
    Fifo<Hold> holds_;             // of all requests not yet expired; kept only for longest_hold_
    std::uint64_t first_hold_ = 0; // how many were before holds_.front()
};

inline GlobalLimit::Slot GlobalLimit::take(Time now) {
    if (longest_hold_ != Duration(0)) {
        if (holds_.full()) expire(now, Duration(0));
        holds_.push_back({now, false});
    }
    ++held_;
    return longest_hold_ == Duration(0) ? 0 : name_of(holds_.size() - 1);
}

/// Returns false if the slot's time is over: it is back, or about to be.
inline bool GlobalLimit::settle_hold(Slot slot, Time now) noexcept {
    if (slot == 0) return true; // taken while no longest hold was set
    const std::size_t hold = hold_of(slot);
    if (hold >= holds_.size() || end_of(holds_[hold]) <= now) return false;
    holds_[hold].settled = true;
    return true;
}

inline void GlobalLimit::settle(Slot slot, Time now, bool lost) {
    if (!settle_hold(slot, now)) return;
    if (settled_.full()) [[unlikely]]
        expire(now, Duration(0));
    settled_.push_back({now, lost});
}

[[gnu::noinline]] inline void GlobalLimit::expire(Time now, Duration credit) noexcept {
    while (!settled_.empty() && release_of(settled_.front(), credit) <= now) {
        settled_.pop_front();
        --held_;
    }
    while (!holds_.empty() && (holds_.front().settled || end_of(holds_.front()) <= now)) {
        if (!holds_.front().settled) --held_;
        holds_.pop_front();
        ++first_hold_;
    }
    assert(held_ >= 0);
}

template <class Visitor>
void GlobalLimit::each_slot(Time now, Visitor visit) const {
    for (std::size_t i = 0; i < settled_.size(); ++i) {
        const Time back = release_of(settled_[i], Duration(0));
        if (back > now) visit(back - now);
    }
    for (auto known = static_cast<std::int64_t>(settled_.size()); known < held_; ++known)
        visit(period_);
}

inline Time GlobalLimit::next_change(Time now, Duration credit) const noexcept {
    Time next = settled_.empty() ? never : release_of(settled_.front(), credit);
    if (!holds_.empty()) next = std::min(next, end_of(holds_.front()));
    return next > now ? next : never;
}

inline Time GlobalLimit::predict(Time now, std::int64_t ahead, Duration credit) noexcept {
    expire(now, credit);
    if (limit_ == 0 || held_ + ahead < limit_) return now;
    // The slots in use come back in order, and after them those that are taken now. A request
    // behind all of them waits for one of them to come back again, a period later each time.
    std::int64_t behind = held_ + ahead - limit_; // 0: takes the first slot that comes back
    const auto known = static_cast<std::int64_t>(settled_.size());
    const std::int64_t all = std::max(known, limit_);
    const std::int64_t rounds = behind < all ? 0 : (behind - all) / limit_ + 1;
    behind -= rounds * limit_;
    const Time first = behind < known
                           ? release_of(settled_[static_cast<std::size_t>(behind)], credit)
                           : now + period_;
    return later(std::max(now, first), rounds, period_);
}

} // namespace sluice::core

#endif
