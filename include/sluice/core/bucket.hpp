// SPDX-License-Identifier: MIT
//
// A bucket is the client's account of one counter at Discord: a window, the places taken in it, and
// the lanes that draw on it. The key of a known bucket is (bucket hash, major parameter), that of
// an unknown one (route, major parameter).
// Invariant: every place taken comes back, by an answer, by a cancel, or by the end of a loss.
#ifndef SLUICE_CORE_BUCKET_HPP
#define SLUICE_CORE_BUCKET_HPP

#include <sluice/core/draw.hpp>
#include <sluice/core/fifo.hpp>
#include <sluice/core/indexed_heap.hpp>
#include <sluice/core/individual.hpp>
#include <sluice/core/intrusive_list.hpp>
#include <sluice/core/lane.hpp>
#include <sluice/core/major.hpp>
#include <sluice/core/sharing.hpp>
#include <sluice/core/silent_window.hpp>
#include <sluice/core/sliding_log.hpp>
#include <sluice/core/time.hpp>
#include <sluice/core/window.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <utility>

namespace sluice::core {

/// An interned bucket hash; 0: none.
using HashId = std::uint32_t;

struct BucketKey {
    std::uint64_t name = 0; ///< the interned hash, or the route while the hash is unknown
    Major major;
    /// A digest of the family of routes, if routes of this hash have separate counters. Two
    /// families with the same digest would share a bucket, which is safe.
    std::uint32_t apart = 0;
    bool hash_known = false;

    friend constexpr bool operator==(const BucketKey&, const BucketKey&) noexcept = default;
    [[nodiscard]] constexpr std::size_t hash() const noexcept {
        return static_cast<std::size_t>((major.hash() + name + apart) * 0x9e3779b97f4a7c15ULL) +
               (hash_known ? 1 : 0);
    }
};

/// Links a bucket into one of the registry's lists.
struct UseHook : LeavingListHook {};
/// Links an unknown bucket to the others of its route, and a known one to those that wait for a
/// probe of the same major parameter.
struct GroupHook : LeavingListHook {};

/// What the registry needs to find a bucket and to know its age.
struct BucketEntry : UseHook {
    [[no_unique_address]] BucketKey key;
    bool dormant = false;         ///< a DormantBucket rather than a Bucket
    Time last_used = Time::min(); ///< when its last use ended
};

/// A bucket that has not been used for a while and whose window is over. Its lanes can be made
/// again from their routes.
struct DormantBucket : BucketEntry {
    Window::Remains window;
};

struct Bucket : BucketEntry, GroupHook {
    Window window;
    LaneList lanes;
    Bucket* merged_into = nullptr;
    /// While it has waiters: when something was last granted, answered, lost or cancelled here, or
    /// when the first waiter came.
    Time quiet_since = Time::min();
    Time filed = Time::min();    ///< its key in the list of the registry; last_used may be later
    std::uint32_t in_flight = 0; ///< places taken and neither answered nor lost
    std::uint32_t places = 0;    ///< places that point here; differs from in_flight after a merge
    std::uint32_t queued = 0;    ///< waiters in all lanes
    bool idle = false;           ///< has neither waiters nor places; see Registry::set_idle()
    bool waits = false;          ///< is among those with waiters; see Registry::set_waiting()
    Individual ready_for{};      ///< which individual's slot it waits for; see ready_queue.hpp
    HeapPosition wake_position = nowhere;
    HeapPosition ready_position = nowhere;

    /// True if a list or a heap of the scheduler contains it.
    [[nodiscard]] bool scheduled() const noexcept {
        return wake_position != nowhere || ready_position != nowhere || watches();
    }
    [[nodiscard]] bool watches() const noexcept { return key.hash_known && GroupHook::is_linked(); }
    void stop_watching() noexcept {
        if (watches()) GroupHook::unlink();
    }

    /// Returns the places that count now: in flight, and lost ones that the server may have
    /// counted. Drops losses that have run out.
    [[nodiscard]] std::int64_t out(Time now) noexcept {
        const auto flying = static_cast<std::int64_t>(in_flight);
        return rare_ ? flying + count_lost(now) : flying;
    }

    /// As Window::available(), plus what a sliding log has given back already. Once the log is
    /// proven it decides alone: how far a success without headers moves the end is unknown.
    [[nodiscard]] std::int64_t available(Time now, std::int64_t out, Duration credit) noexcept {
        if (is_silent()) [[unlikely]]
            return rare_->silent->available(now, out, credit);
        const std::int64_t room = window.available(now, out, credit);
        if (!has_log()) [[likely]]
            return room;
        const std::int64_t by_log = room_by_log(now, out, credit);
        return window.surely_slides() ? by_log : greater(room, by_log);
    }
    /// As Window::indifferent().
    [[nodiscard]] bool indifferent(Time now, Duration most) const noexcept {
        return !has_log() && !is_silent() && window.indifferent(now, most);
    }
    /// As Window::next_change().
    [[nodiscard]] Time next_change(Time now, std::int64_t out, Duration credit) noexcept {
        if (is_silent()) return rare_->silent->next_change(now, out, credit);
        const Time next = window.next_change(now, out, credit);
        if (!has_log() || (out > 0 && !window.surely_slides())) return next;
        return lesser(next, greater(rare_->log->next(now, credit), window.blocked_until()));
    }
    /// As Window::predict(). Lost places are taken not to come back.
    [[nodiscard]] std::optional<Time> predict(Time now, std::int64_t out, std::int64_t held,
                                              std::int64_t ahead, Duration credit) noexcept;
    /// As predict(), while places are lost or in doubt. Call out() before. Besides the lost ones,
    /// the requests in flight and `probes` take a place each.
    [[nodiscard]] std::optional<Time> predict_losses(Time now, std::int64_t probes,
                                                     std::int64_t ahead, Duration credit) noexcept;

    [[nodiscard]] Time blocked_until() const noexcept {
        return is_silent() ? rare_->silent->blocked_until() : window.blocked_until();
    }

    /// As Window::accept().
    bool accept(const Observation& seen, Duration credit) noexcept {
        if (is_silent()) [[unlikely]]
            drop_silent();
        return keeps_log() ? accept_and_log(seen, credit) : accept_plain(seen, credit);
    }
    /// As accept(), for a bucket that is plain().
    bool accept_plain(const Observation& seen, Duration credit) noexcept {
        if (seen.received <= window.soon_begun() || !window.repeats_period(seen)) [[likely]]
            return window.accept(seen, credit);
        return accept_and_log(seen, credit);
    }
    /// As Window::accept_silent().
    void accept_silent(Time received, std::int64_t width, Duration credit) noexcept {
        window.accept_silent(received, width, credit);
        if (keeps_log()) write_down(received);
    }

    /// As Window::refuse().
    bool refuse(const Observation& seen, Duration wait, Duration credit) noexcept {
        if (!is_silent()) return window.refuse(seen, wait, credit);
        rare_->silent->refuse(seen, wait);
        return true;
    }
    /// Applies a 429 that names this bucket, though the successes of its route name another.
    bool refuse_hidden(const Observation& seen, Duration wait, Duration credit) {
        if (!window.known() && !is_silent()) rare().silent = std::make_unique<SilentWindow>();
        return refuse(seen, wait, credit);
    }
    /// Applies a success that counts here but names another bucket.
    void accept_hidden(const Observation& seen, Duration credit) noexcept {
        if (is_silent()) return rare_->silent->succeed(seen.sent, seen.received, credit);
        if (window.known()) accept_silent(seen.received, 1, credit);
    }
    /// Notes that a request that may count here is lost.
    void lose_drawn(Time now, Duration credit) {
        if (is_silent()) return rare_->silent->lose(now, credit);
        lose(now);
    }
    /// True if only its 429s have shown it so far.
    [[nodiscard]] bool is_silent() const noexcept { return rare_ && rare_->silent; }
    /// True if one request has gone first, to find out whether a window is over.
    [[nodiscard]] bool asks() const noexcept { return is_silent() && rare_->silent->asks(); }
    [[nodiscard]] std::optional<std::int64_t> hidden_limit() const noexcept {
        if (is_silent()) return rare_->silent->limit();
        return window.known() ? std::optional(window.limit()) : std::nullopt;
    }

    /// True if lanes of other buckets draw on it as well.
    [[nodiscard]] bool is_drawn() const noexcept { return rare_ && !rare_->drawers.empty(); }
    /// Only while is_drawn().
    [[nodiscard]] DrawList& drawers() const noexcept { return rare_->drawers; }
    void add_drawer(Draw& draw) { rare().drawers.push_back(draw); }

    /// Notes lost requests. `now` must not be earlier than at the last loss.
    void lose(Time now, std::size_t count = 1) {
        if (count == 0) return;
        for (; count > 0; --count)
            rare().lost.push_back(now);
        rare_->last_lost = now;
        rare_->flew_before = in_flight;
    }
    /// Notes that a request sent then is no longer in flight.
    void landed(Time sent) noexcept {
        if (rare_ && rare_->flew_before > 0 && sent <= rare_->last_lost) --rare_->flew_before;
    }

    /// Applies an answer to a request sent after a loss: by then the server has decided about the
    /// lost one.
    void settle_lost(Time sent, Time received) noexcept {
        if (rare_ && (has_lost() || in_doubt())) drop_lost_before(sent, received);
    }
    /// True if lost places have come back after the longest Reset-After seen, and no answer has
    /// come since. While a leaky bucket has not been filled, that time is shorter than its period,
    /// and the lost requests may have filled it. So one request at a time goes until an answer
    /// tells, or until all must be back. Call out() before.
    [[nodiscard]] bool in_doubt() const noexcept { return rare_ && rare_->doubted != Time::min(); }
    [[nodiscard]] Time doubt_ends() const noexcept {
        return in_doubt() ? window.surely_full(rare_->doubted) : never;
    }
    /// While in doubt: true if that one request may go. Requests in flight at the loss cannot tell.
    [[nodiscard]] bool may_ask() const noexcept {
        return in_flight <= rare_->flew_before && !has_lost();
    }

    /// Returns when the next lost place comes back by itself, or `never`.
    [[nodiscard]] Time next_lost() const noexcept {
        return has_lost() ? rare_->lost.front() + window.period() : never;
    }

    /// Takes over all that counts in `other`, which turns out to be the same counter.
    void absorb_places(Bucket& other) {
        in_flight += other.in_flight;
        other.in_flight = 0;
        if (other.in_doubt()) {
            rare().doubted = std::max(rare().doubted, other.rare_->doubted);
            rare_->last_lost = std::max(rare_->last_lost, other.rare_->last_lost);
            rare_->flew_before += other.rare_->flew_before;
        }
        if (!other.has_lost()) return;
        Fifo<Time> mine = std::exchange(rare().lost, {});
        Fifo<Time> theirs = std::exchange(other.rare_->lost, {});
        while (!mine.empty() || !theirs.empty()) {
            const bool ours = theirs.empty() || (!mine.empty() && mine.front() < theirs.front());
            Fifo<Time>& first = ours ? mine : theirs;
            lose(first.front());
            first.pop_front();
        }
    }

    [[nodiscard]] bool has_several_lanes() const noexcept { return lanes.has_several(); }
    /// True if all of its lanes are of this family of routes.
    [[nodiscard]] bool is_of(std::uint64_t family) const noexcept {
        return std::all_of(lanes.begin(), lanes.end(),
                           [family](const Lane& lane) { return lane.traits.family == family; });
    }
    /// Returns the evidence on whether its routes share a counter, and makes it if absent. Use it
    /// once there are several routes.
    [[nodiscard]] Sharing& sharing() { return has_sharing() ? *rare_->sharing : make_sharing(); }
    [[nodiscard]] bool has_sharing() const noexcept { return rare_ && rare_->sharing; }
    /// Drops that evidence: under another limit, what was spent shows differently.
    void forget_sharing() noexcept {
        if (!has_sharing()) return;
        rare_->sharing.reset();
        drop_empty_rare();
    }

    /// True if more than the window decides whether there is room.
    [[nodiscard]] bool unsettled() const noexcept {
        return rare_ && (!rare_->lost.empty() || in_doubt() || has_log() || is_silent());
    }
    [[nodiscard]] bool has_lost() const noexcept { return rare_ && !rare_->lost.empty(); }
    /// True if there is nothing to know of it besides its window.
    [[nodiscard]] bool plain() const noexcept { return !rare_; }
    /// True if all is back that a sliding log has recorded or a silent window has counted.
    [[nodiscard]] bool all_back(Time now) noexcept {
        if (is_silent() && !rare_->silent->all_back(now)) return false;
        return !keeps_log() || rare_->log->held(now, Duration(0)) == 0;
    }
    /// True if its window is all that counts once everything is back.
    [[nodiscard]] bool may_sleep() const noexcept {
        return !rare_ || (rare_->lost.empty() && !rare_->sharing && !in_doubt() && !rare_->silent &&
                          rare_->drawers.empty());
    }
    /// Restores what the bucket needs besides its window after it was dormant.
    void wake_up() {
        if (!window.may_slide()) return;
        rare().log = std::make_unique<SlidingLog>(window.limit());
        rare_->log->learn_period(window.period());
    }

private:
    [[nodiscard]] std::optional<Time> predict_returns(Time now, std::int64_t probes,
                                                      std::int64_t ahead, Duration credit) noexcept;
    [[nodiscard]] std::optional<Time> predict_doubt(Time now, std::int64_t probes,
                                                    std::int64_t ahead, Duration credit) noexcept;
    [[nodiscard]] Time behind_first(Time first, std::int64_t ahead, Time alone,
                                    Duration credit) const noexcept;

    /// State that few buckets need; absent while there is none.
    struct Rare {
        std::unique_ptr<Sharing> sharing;
        std::unique_ptr<SlidingLog> log;      ///< while the window slides
        std::unique_ptr<SilentWindow> silent; ///< while only headers of 429s have shown it
        DrawList drawers;
        Fifo<Time> lost;            ///< when each was lost, ascending
        Time doubted = Time::min(); ///< the last loss that ended by time alone; see in_doubt()
        Time last_lost = Time::min();
        std::uint32_t flew_before = 0; ///< of those in flight: how many were so at the last loss
    };

    Rare& rare() {
        if (!rare_) rare_ = std::make_unique<Rare>();
        return *rare_;
    }
    [[gnu::noinline]] Sharing& make_sharing() {
        rare().sharing = std::make_unique<Sharing>();
        return *rare_->sharing;
    }
    void drop_empty_rare() noexcept {
        if (may_sleep() && !rare_->log) rare_.reset();
    }
    [[gnu::noinline]] void drop_lost_before(Time time, Time received) noexcept {
        if (rare_->doubted < time) rare_->doubted = Time::min();
        for (; has_lost() && rare_->lost.front() < time; rare_->lost.pop_front())
            note_counted(received); // it may have been counted
        drop_empty_rare();
    }

    [[nodiscard]] bool keeps_log() const noexcept { return rare_ && rare_->log; }
    [[nodiscard]] bool has_log() const noexcept { return keeps_log() && window.slides(); }
    [[gnu::noinline]] void drop_silent() noexcept {
        rare_->silent.reset();
        drop_empty_rare();
    }
    void drop_log() noexcept {
        if (!keeps_log()) return;
        rare_->log.reset();
        drop_empty_rare();
    }
    /// Counts a request whose answer is not shown to the window.
    void note_counted(Time received) noexcept {
        window.note_late();
        if (keeps_log()) write_down(received);
    }
    /// Adds to the log. The log is an improvement only, so it is dropped if memory runs out.
    void write_down(Time received) noexcept {
        try {
            rare_->log->add(received);
        } catch (const std::bad_alloc&) {
            drop_log();
        }
    }
    /// Seeds the log: arrival times of already spent requests are unknown, so it assumes the latest
    /// possible. Only late() of them can have come after soon_begun().
    [[gnu::noinline]] void start_log(const Observation& seen) noexcept {
        try {
            rare().log = std::make_unique<SlidingLog>(window.limit());
            const std::int64_t spent = greater<std::int64_t>(1, window.limit() - window.told());
            const std::int64_t late = std::clamp<std::int64_t>(window.late(), 1, spent);
            rare_->log->add(lesser(seen.received, window.soon_begun()), spent - late);
            rare_->log->add(seen.received, late);
        } catch (const std::bad_alloc&) {
            drop_log();
        }
    }
    [[gnu::noinline]] bool accept_and_log(const Observation& seen, Duration credit) noexcept {
        if (!window.may_slide()) drop_log(); // a refusal has shown that the log misses something
        const bool decided_last = keeps_log() && seen.sent >= rare_->log->latest();
        if (keeps_log()) window.note_late();
        window.look_for_sliding(seen, decided_last);
        const bool believed = window.accept(seen, credit);
        window.rule_out_drips();
        if (!window.may_slide()) {
            drop_log();
        } else if (keeps_log()) {
            write_down(seen.received);
            if (decided_last) complete_log(seen);
        } else {
            start_log(seen);
        }
        if (keeps_log()) rare_->log->learn_period(window.period() + seen.unit);
        return believed;
    }
    /// Adds what is spent beyond all that is known here: other clients spent it.
    void complete_log(const Observation& seen) noexcept {
        if (!keeps_log() || !seen.remaining) return;
        const std::int64_t spent = window.limit() - *seen.remaining;
        std::int64_t known = rare_->log->held(seen.sent, Duration(0)) + in_flight +
                             static_cast<std::int64_t>(rare_->lost.size());
        for (; known < spent && keeps_log(); ++known)
            write_down(seen.received);
    }
    [[nodiscard]] std::int64_t room_by_log(Time now, std::int64_t out, Duration credit) noexcept {
        if (now < window.blocked_until()) return 0;
        const std::int64_t room = window.limit() - rare_->log->held(now, credit) - out;
        return window.surely_slides() ? room : lesser(room, 1 - out);
    }
    [[nodiscard]] std::int64_t count_lost(Time now) noexcept {
        const Time over = now - window.period() + Duration(1);
        for (; !rare_->lost.empty() && rare_->lost.front() < over; rare_->lost.pop_front())
            rare_->doubted = rare_->lost.front();
        if (now >= doubt_ends()) rare_->doubted = Time::min();
        const auto count = static_cast<std::int64_t>(rare_->lost.size());
        drop_empty_rare();
        return count;
    }

    std::unique_ptr<Rare> rare_;
};

} // namespace sluice::core

#include <sluice/core/detail/bucket_foresight.hpp>

#endif
