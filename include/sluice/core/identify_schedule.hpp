// SPDX-License-Identifier: MIT
//
// Decides which shard may identify, and when. Pure arithmetic: no clock, no timer, no lock.
//
// Discord docs, "Gateway", Sharding: the key of a shard is shard_id mod max_concurrency, and each
// key may identify once in 5 s. Another identify within that time is answered with Invalid Session,
// and still uses one of the day (discord-api-docs#1328, 2020-01). The limit applies to when an
// identify *arrives*:
//
//     sent at s, arrived by s + d; the next is sent at x and arrives at x + d' at the earliest
//
// so x = s + 5 s + margin is safe while delays differ by no more than the margin. An answer to the
// identify, READY or Invalid Session, received at r, proves that it arrived by r: then r + 5 s is
// safe whatever the delays. The earlier of the two is used. Between grant and sent() the time of
// sending is unknown, so the key stays closed: one permit of a key is outstanding at a time. A
// permit that is not settled within `permit_timeout` counts as sent at that moment; otherwise its
// key would stay closed. A later call for that permit corrects this.
//
// Order: within a key, first come, first served. Among keys that are open at one moment, the lower
// batch (shard_id / max_concurrency) goes first, which decides which shards go when few identifies
// are left. A key never waits for another. A shard that arrives late does not overtake others of
// its key: otherwise a low shard that fails repeatedly would keep all higher ones from starting.
// low one that fails again and again would keep all those above it from starting.
#ifndef SLUICE_CORE_IDENTIFY_SCHEDULE_HPP
#define SLUICE_CORE_IDENTIFY_SCHEDULE_HPP

#include <sluice/core/identify_day.hpp>
#include <sluice/core/intrusive_list.hpp>
#include <sluice/core/time.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

namespace sluice::core {

struct IdentifySettings {
    Duration interval = std::chrono::seconds(5);
    Duration margin = std::chrono::milliseconds(500);
    Duration day = std::chrono::hours(24);
    std::int64_t reserve = 0;                          // reserved for requests with use_reserve
    Duration permit_timeout = std::chrono::seconds(1); // above 0
};

/// A session_start_limit. `max_concurrency` is at least 1.
struct IdentifyLimit {
    std::int64_t total = 0;
    std::int64_t remaining = 0;
    Duration reset_after{0};
    std::uint64_t max_concurrency = 1;
};

/// The state of a permit: it holds its key until it is sent, and may then be answered.
struct IdentifyPlace {
    std::uint64_t shard = 0;
    std::uint64_t turn = 0; // set when granted: its number
    bool taken = false;     // granted, and neither sent nor cancelled
};

enum class IdentifyState : std::uint8_t { idle, queued, granted, refused };

enum class IdentifyRefused : std::uint8_t { ended, wait_too_long, sessions_exhausted };

/// One waiting shard.
struct IdentifyWaiter : ListHook {
    IdentifyPlace place;
    std::uint64_t arrival = 0;
    Time bound = never; // the wait ends at this time
    IdentifyState state = IdentifyState::idle;
    IdentifyRefused why = IdentifyRefused::ended; // valid only if refused
    bool use_reserve = false;
};

using IdentifyWaiterList = IntrusiveList<IdentifyWaiter>;

struct IdentifyCounters {
    std::uint64_t granted = 0;
    std::uint64_t sent = 0;
    std::uint64_t cancelled = 0; // permits cancelled before sending
    std::uint64_t answered = 0;
    std::uint64_t withdrawn = 0; // waiters that left without a permit
    std::uint64_t expired = 0;   // permits that counted as sent after their timeout
};

/// Not thread-safe. `now` must never decrease. Finished waiters, granted or refused, are collected
/// in the order in which they finished until take_finished().
class IdentifySchedule {
public:
    IdentifySchedule(const IdentifySettings& settings, const IdentifyLimit& limit, Time now)
        : settings_(settings),
          day_(settings.day, settings.margin, settings.interval + settings.margin),
          max_concurrency_(limit.max_concurrency) {
        day_.tell(limit.total, limit.remaining, limit.reset_after, now);
    }
    IdentifySchedule(const IdentifySchedule&) = delete;
    IdentifySchedule& operator=(const IdentifySchedule&) = delete;

    /// Applies a new session_start_limit. Waiters keep their order; outstanding permits stay valid.
    void update(const IdentifyLimit& limit, Time now);

    /// Takes a permit if one is available at once; false otherwise. Never overtakes a waiter.
    [[nodiscard]] bool try_admit(std::uint64_t shard, bool use_reserve, Time now,
                                 IdentifyPlace& place);
    /// Returns a lower bound on when a shard that arrives now gets a permit; never: an update() has
    /// to come first. Calls advance(), and so may finish waiters.
    [[nodiscard]] Time earliest(std::uint64_t shard, bool use_reserve, Time now);
    /// Returns when a shard that arrives now gets its permit, if those ahead of it use theirs at
    /// once; never: an update() has to come first, or the wait never ends. Cost: one step for each
    /// waiter.
    [[nodiscard]] Time forecast(std::uint64_t shard, bool use_reserve, Time now) const;
    /// Returns why the waiter cannot be served before its `bound`, else nullopt. Calls advance(),
    /// and so may finish waiters.
    [[nodiscard]] std::optional<IdentifyRefused> hopeless(const IdentifyWaiter& waiter, Time now);
    void enqueue(IdentifyWaiter& waiter, Time now);
    /// Removes a queued waiter without a result.
    void withdraw(IdentifyWaiter& waiter, Time now);

    /// The write of the identify has finished.
    void sent(IdentifyPlace& place, Time now);
    /// Discord has answered the identify. It counts as sent by now, if sent() was not called.
    void answered(IdentifyPlace& place, Time now);
    /// The identify will not be sent: its permit, its key and its identify become available again.
    void cancel(IdentifyPlace& place, Time now);
    /// No more calls for this permit will follow: it counts as sent now, or at its deadline if
    /// earlier.
    void dropped(IdentifyPlace& place, Time now);

    /// Grants waiters that may go now, and refuses waiters whose bound has passed.
    void advance(Time now);
    /// Returns when advance() should be called next; strictly after the last `now`.
    [[nodiscard]] Time next_wake() const;

    [[nodiscard]] IdentifyWaiterList take_finished() { return std::move(finished_); }
    [[nodiscard]] bool has_finished() const noexcept { return !finished_.empty(); }
    /// Refuses all waiters. Returns how many.
    std::size_t end_all();

    template <class Visitor>
    void each_waiter(Visitor visit) {
        for (auto& [id, key] : keys_) {
            for (IdentifyWaiterList* list : {&key.waiting, &key.reserve_waiting}) {
                for (IdentifyWaiter& waiter : *list)
                    visit(waiter);
            }
        }
    }

    /// Returns the identifies of the day that may still be permitted, including the reserve.
    [[nodiscard]] std::int64_t remaining() const noexcept {
        return std::max<std::int64_t>(0, left());
    }
    [[nodiscard]] std::int64_t total() const noexcept { return day_.total(); }
    /// Returns when more identifies become available, if no update() comes first; never: all are
    /// available.
    [[nodiscard]] Time reset_at() const { return day_.changes(); }
    [[nodiscard]] std::uint64_t max_concurrency() const noexcept { return max_concurrency_; }
    [[nodiscard]] std::size_t queued() const noexcept { return queued_ + reserve_queued_; }
    [[nodiscard]] std::size_t permits_out() const noexcept { return out_.size(); }
    [[nodiscard]] const IdentifyCounters& counters() const noexcept { return counters_; }

private:
    struct Key {
        IdentifyWaiterList waiting;         // in order of arrival
        IdentifyWaiterList reserve_waiting; // in order of arrival; those that may use the reserve
        Time ready;                         // lower bound on when the next may go
        std::uint64_t decided_by = 0;   // the permit that determined `ready`; 0: several, or none
        std::size_t queued = 0;         // in both lists
        std::size_t reserve_queued = 0; // those in the second list
        std::size_t out = 0;            // outstanding permits; more than one only after an update

        [[nodiscard]] bool empty() const { return queued == 0; }
        void push_back(IdentifyWaiter& waiter) {
            (waiter.use_reserve ? reserve_waiting : waiting).push_back(waiter);
            if (waiter.use_reserve) ++reserve_queued;
            ++queued;
        }
    };
    using KeyMap = std::map<std::uint64_t, Key>;
    /// An outstanding permit.
    struct Out {
        std::uint64_t shard;
        Time deadline; // counts as sent at this time
    };

    IdentifySchedule(const IdentifySchedule& other, std::deque<IdentifyWaiter>& waiters);
    void send_all(Time now);

    [[nodiscard]] std::int64_t left() const noexcept {
        return day_.left() - static_cast<std::int64_t>(out_.size());
    }
    [[nodiscard]] bool day_allows(bool use_reserve) const noexcept {
        return left() > (use_reserve ? 0 : settings_.reserve);
    }
    [[nodiscard]] Duration spacing() const { return settings_.interval + settings_.margin; }
    [[nodiscard]] KeyMap::value_type& key_of(std::uint64_t shard) {
        const auto [at, is_new] = keys_.try_emplace(shard % max_concurrency_);
        if (is_new) at->second.ready = all_ready_;
        return *at;
    }
    /// Call before every change of a key, and track() after it: `due_` depends on the key's state.
    void untrack(const KeyMap::value_type& key) { due_.erase({key.second.ready, key.first}); }
    void track(const KeyMap::value_type& key) {
        if (key.second.out == 0 && !key.second.empty()) due_.emplace(key.second.ready, key.first);
    }
    [[nodiscard]] IdentifyWaiter* first_of(Key& key) const;
    [[nodiscard]] Time turn_of(std::uint64_t shard, Time now);
    void take(std::uint64_t shard, Time now, IdentifyPlace& place);
    void unlink(IdentifyWaiter& waiter);
    void finish(IdentifyWaiter& waiter, IdentifyState state);
    void grant(IdentifyWaiter& waiter, Time now);
    void refuse(IdentifyWaiter& waiter, IdentifyRefused why);
    void refuse_late(Time now);
    void expire(Time now);
    [[nodiscard]] bool is_out(const IdentifyPlace& place) const {
        return out_.find(place.turn) != out_.end();
    }
    void spend(std::uint64_t shard, std::uint64_t turn, Time at);
    void sent_late(const IdentifyPlace& place, Time now);
    void cancel_late(const IdentifyPlace& place, Time now);
    Key& free_key(std::uint64_t shard, std::uint64_t turn, Time ready);
    void map_keys_anew(std::uint64_t max_concurrency);

    IdentifySettings settings_;
    IdentifyDay day_;
    std::uint64_t max_concurrency_;
    KeyMap keys_;
    std::set<std::pair<Time, std::uint64_t>> due_; // keys with waiters and no outstanding permit
    std::set<std::pair<Time, IdentifyWaiter*>> bounded_; // waiters with a bound
    std::map<std::uint64_t, Out> out_;        // outstanding permits by number, and so by deadline
    std::vector<IdentifyWaiter*> candidates_; // kept to reuse its memory
    IdentifyWaiterList finished_;
    IdentifyCounters counters_;
    Time all_ready_ = Time::min(); // no key is ready before this
    std::uint64_t turns_ = 0;
    std::uint64_t arrivals_ = 0;
    std::size_t queued_ = 0;
    std::size_t reserve_queued_ = 0;
};

/// Returns the waiter that goes next if the day's quota allows it, else nullptr.
inline IdentifyWaiter* IdentifySchedule::first_of(Key& key) const {
    IdentifyWaiter* first = nullptr;
    if (!key.waiting.empty() && day_allows(false)) first = &key.waiting.front();
    if (!key.reserve_waiting.empty() && day_allows(true)) {
        IdentifyWaiter& other = key.reserve_waiting.front();
        if (first == nullptr || other.arrival < first->arrival) first = &other;
    }
    return first;
}

inline void IdentifySchedule::take(std::uint64_t shard, Time now, IdentifyPlace& place) {
    auto& key = key_of(shard);
    untrack(key);
    ++key.second.out;
    place = {shard, ++turns_, true};
    out_.emplace_hint(out_.end(), place.turn, Out{shard, now + settings_.permit_timeout});
    ++counters_.granted;
}

inline void IdentifySchedule::unlink(IdentifyWaiter& waiter) {
    auto& key = key_of(waiter.place.shard);
    untrack(key);
    IdentifyWaiterList::erase(waiter);
    --key.second.queued;
    if (waiter.use_reserve) --key.second.reserve_queued;
    track(key);
    --(waiter.use_reserve ? reserve_queued_ : queued_);
    if (waiter.bound != never) bounded_.erase({waiter.bound, &waiter});
}

inline void IdentifySchedule::finish(IdentifyWaiter& waiter, IdentifyState state) {
    unlink(waiter);
    waiter.state = state;
    finished_.push_back(waiter);
}

inline void IdentifySchedule::grant(IdentifyWaiter& waiter, Time now) {
    finish(waiter, IdentifyState::granted);
    take(waiter.place.shard, now, waiter.place);
}

inline void IdentifySchedule::refuse(IdentifyWaiter& waiter, IdentifyRefused why) {
    finish(waiter, IdentifyState::refused);
    waiter.why = why;
    ++counters_.withdrawn;
}

inline bool IdentifySchedule::try_admit(std::uint64_t shard, bool use_reserve, Time now,
                                        IdentifyPlace& place) {
    advance(now);
    // advance() has just granted any waiter of this key that may go; `key.out` is then above 0.
    const Key& key = key_of(shard).second;
    if (key.out != 0 || key.ready > now || !day_allows(use_reserve)) return false;
    take(shard, now, place);
    return true;
}

/// Returns a lower bound on when the shard's turn comes, behind all waiters of its key except those
/// held back by the reserve.
inline Time IdentifySchedule::turn_of(std::uint64_t shard, Time now) {
    const Key& key = key_of(shard).second;
    // An outstanding permit may be sent now at the earliest, or be cancelled; which is unknown.
    const Time ready = key.out == 0 ? std::max(now, key.ready) : now;
    const std::size_t kept_back = day_allows(false) ? 0 : key.queued - key.reserve_queued;
    const auto ahead = static_cast<std::int64_t>(key.queued - kept_back);
    // Each waiter ahead takes at least the interval: an answer may make the margin unnecessary.
    return later(ready, ahead, settings_.interval);
}

inline Time IdentifySchedule::earliest(std::uint64_t shard, bool use_reserve, Time now) {
    advance(now);
    const Time turn = turn_of(shard, now);
    return day_allows(use_reserve) ? turn : std::max(turn, day_.changes());
}

inline std::optional<IdentifyRefused> IdentifySchedule::hopeless(const IdentifyWaiter& waiter,
                                                                 Time now) {
    if (waiter.bound == never) return std::nullopt;
    advance(now);
    if (!day_allows(waiter.use_reserve) && day_.changes() > waiter.bound) {
        return IdentifyRefused::sessions_exhausted;
    }
    if (turn_of(waiter.place.shard, now) > waiter.bound) return IdentifyRefused::wait_too_long;
    return std::nullopt;
}

inline void IdentifySchedule::enqueue(IdentifyWaiter& waiter, Time now) {
    auto& key = key_of(waiter.place.shard);
    untrack(key);
    waiter.arrival = ++arrivals_;
    waiter.state = IdentifyState::queued;
    key.second.push_back(waiter);
    track(key);
    ++(waiter.use_reserve ? reserve_queued_ : queued_);
    if (waiter.bound != never) bounded_.emplace(waiter.bound, &waiter);
    advance(now);
}

inline void IdentifySchedule::withdraw(IdentifyWaiter& waiter, Time now) {
    unlink(waiter);
    waiter.state = IdentifyState::idle;
    ++counters_.withdrawn;
    advance(now);
}

inline void IdentifySchedule::advance(Time now) {
    expire(now);
    day_.advance(now);
    if (!due_.empty() && due_.begin()->first <= now &&
        (day_allows(false) || (reserve_queued_ != 0 && day_allows(true)))) {
        candidates_.clear();
        for (auto at = due_.begin(); at != due_.end() && at->first <= now; ++at) {
            IdentifyWaiter* first = first_of(keys_.find(at->second)->second);
            if (first != nullptr) candidates_.push_back(first);
        }
        const auto turn = [this](const IdentifyWaiter* waiter) {
            return std::tuple(waiter->place.shard / max_concurrency_, waiter->arrival);
        };
        std::sort(candidates_.begin(), candidates_.end(),
                  [&](const auto* a, const auto* b) { return turn(a) < turn(b); });
        for (IdentifyWaiter* candidate : candidates_) {
            // Each grant lowers the day's quota, so this key's next waiter may no longer be the
            // candidate.
            IdentifyWaiter* first = first_of(key_of(candidate->place.shard).second);
            if (first != nullptr) grant(*first, now);
        }
    }
    refuse_late(now);
}

inline void IdentifySchedule::refuse_late(Time now) {
    while (!bounded_.empty() && bounded_.begin()->first <= now) {
        IdentifyWaiter& waiter = *bounded_.begin()->second;
        refuse(waiter, day_allows(waiter.use_reserve) ? IdentifyRefused::wait_too_long
                                                      : IdentifyRefused::sessions_exhausted);
    }
}

inline Time IdentifySchedule::next_wake() const {
    Time wake = bounded_.empty() ? never : bounded_.begin()->first;
    // Blocked by an outstanding permit: in its key, or because it may use the day's last identify.
    if (queued() != 0 && !out_.empty()) wake = std::min(wake, out_.begin()->second.deadline);
    if (due_.empty()) return wake;
    const Time opens = day_.changes();
    if (reserve_queued_ == 0 || !day_allows(true)) {
        const Time ready = due_.begin()->first;
        return std::min(wake, day_allows(false) ? ready : std::max(ready, opens));
    }
    for (const auto& [ready, id] : due_) {
        if (ready >= wake) break;
        const bool allowed = day_allows(!keys_.find(id)->second.reserve_waiting.empty());
        wake = std::min(wake, allowed ? ready : std::max(ready, opens));
    }
    return wake;
}

inline void IdentifySchedule::update(const IdentifyLimit& limit, Time now) {
    advance(now);
    day_.tell(limit.total, limit.remaining, limit.reset_after, now);
    if (limit.max_concurrency != max_concurrency_) map_keys_anew(limit.max_concurrency);
    advance(now);
}

/// How Discord counts identifies that came shortly before the change is not documented: all keys
/// wait until the last of those identifies can no longer collide.
inline void IdentifySchedule::map_keys_anew(std::uint64_t max_concurrency) {
    std::vector<IdentifyWaiter*> waiters;
    each_waiter([&](IdentifyWaiter& waiter) { waiters.push_back(&waiter); });
    std::sort(waiters.begin(), waiters.end(),
              [](const auto* a, const auto* b) { return a->arrival < b->arrival; });
    for (auto& [id, key] : keys_) {
        all_ready_ = std::max(all_ready_, key.ready);
        key.waiting.clear();
        key.reserve_waiting.clear();
    }
    keys_.clear();
    due_.clear();
    max_concurrency_ = max_concurrency;
    for (const auto& [turn, out] : out_)
        ++key_of(out.shard).second.out;
    for (IdentifyWaiter* waiter : waiters) {
        auto& key = key_of(waiter->place.shard);
        key.second.push_back(*waiter);
        track(key);
    }
}

inline std::size_t IdentifySchedule::end_all() {
    std::vector<IdentifyWaiter*> waiters;
    each_waiter([&](IdentifyWaiter& waiter) { waiters.push_back(&waiter); });
    std::sort(waiters.begin(), waiters.end(),
              [](const auto* a, const auto* b) { return a->arrival < b->arrival; });
    for (IdentifyWaiter* waiter : waiters)
        refuse(*waiter, IdentifyRefused::ended);
    return waiters.size();
}

} // namespace sluice::core

#include <sluice/core/detail/identify_forecast.hpp>
#include <sluice/core/detail/identify_permits.hpp>

#endif
