// SPDX-License-Identifier: MIT
//
// Decides when the events of one gateway connection may be sent. Makes all decisions and never
// waits: every call takes `now`, take_finished() returns the finished waiters, and next_wake() says
// when to call advance() again.
//
// Discord docs, "Gateway", Rate Limiting: 120 events in 60 s per connection, else it is closed with
// 4008. Staff: all sent events count, heartbeats too (discord-api-docs#315, 2017-07); a new
// connection starts with an empty count (ibid., users). "Gateway Events", Activity Object: 5
// presence updates in 20 s; the rest is silently dropped (discord-jda/JDA#323, 2017-04).
//
// Invariant: heartbeats in use + others in use <= 120 at every moment, because other events leave
// the slots free that heartbeats may need. Heartbeats therefore go at once and still fit.
#ifndef SLUICE_CORE_SEND_SCHEDULE_HPP
#define SLUICE_CORE_SEND_SCHEDULE_HPP

#include <sluice/core/indexed_heap.hpp>
#include <sluice/core/member_list_limit.hpp>
#include <sluice/core/send_log.hpp>
#include <sluice/core/send_request.hpp>
#include <sluice/core/time.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>

namespace sluice::core {

struct SendSettings {
    std::int64_t limit = 120;
    Duration period = std::chrono::seconds(60);
    /// Upper bound on the difference in network delay to Discord between two events.
    Duration margin = std::chrono::seconds(1);
    Duration heartbeat_interval = std::chrono::milliseconds(41'250);
    std::int64_t presence_limit = 5;
    Duration presence_period = std::chrono::seconds(20);
};

/// A RATE_LIMITED dispatch: an event was refused and has to be sent again.
struct SendRefusal {
    SendKind kind = SendKind::plain;
    std::uint8_t opcode = 0;
    Duration retry_after{0};
    std::uint64_t guild = 0; ///< 0: none was named
    Nonce nonce = {};
};

struct SendCounters {
    std::uint64_t granted = 0;    ///< permissions issued, including heartbeats
    std::uint64_t heartbeats = 0; ///< heartbeats among them
    std::uint64_t superseded = 0; ///< presence updates that a newer one replaced while they waited
    std::uint64_t refused = 0;    ///< RATE_LIMITED dispatches
    std::uint64_t crowded = 0;    ///< heartbeats sent although no slot was free
};

class SendSchedule {
public:
    SendSchedule(const SendSettings& settings, std::shared_ptr<MemberListLimit> lists)
        : settings_(settings),
          lists_(std::move(lists)),
          others_(settings.period + settings.margin),
          beats_(settings.period + settings.margin),
          presence_(settings.presence_period + settings.margin) {
        set_heartbeat_interval(settings.heartbeat_interval);
    }
    SendSchedule(const SendSchedule&) = delete;
    SendSchedule& operator=(const SendSchedule&) = delete;

    /// Sets the interval from hello. Ignored unless it is positive. Call advance() afterwards.
    void set_heartbeat_interval(Duration interval) noexcept;

    /// True if try_admit() would succeed. Calls advance(), and so may finish waiters.
    [[nodiscard]] bool admits(const SendRequest& request, Time now);
    /// Takes a permission if one is available at once and no waiter is overtaken; false otherwise.
    /// Always succeeds for heartbeats. Calls advance().
    [[nodiscard]] bool try_admit(const SendRequest& request, Time now, SendPlace& place);

    /// Returns when such an event that arrives now could be sent, if those ahead of it are sent at
    /// once; never: that is unknown (it depends on an outstanding permission or the end of hold()),
    /// or the wait never ends. Cost: one step for each waiter.
    [[nodiscard]] Time forecast(const SendRequest& request, Time now) const;

    /// True if enqueuing such a request would supersede a waiting one.
    [[nodiscard]] bool replaces(const SendRequest& request) const {
        if (request.kind != SendKind::presence) return false;
        const auto lane = lanes_.find(key_of(request));
        return lane != lanes_.end() && !lane->second.waiting.empty();
    }

    /// Queues the waiter, whose request is filled in. It finishes now or later, unless withdrawn.
    void enqueue(SendWaiter& waiter, Time now);
    void withdraw(SendWaiter& waiter, Time now);
    /// The completion of a granted waiter runs: later requests can no longer overtake it, so they
    /// may be admitted at once.
    void delivered() noexcept { --granted_; }

    /// The event has been written to the socket (sent), or will not be (cancel).
    void sent(SendPlace& place, Time now) { settle(place, true, now); }
    void cancel(SendPlace& place, Time now) { settle(place, false, now); }

    /// Blocks the refused kind of events until its time. Returns true if the refused event was
    /// permitted here; its next request then goes ahead of all that came later.
    bool refuse(const SendRefusal& refusal, Time now);

    /// Call when a new connection is open, over which nothing has been sent. Waiters stay and go
    /// over the new connection. Unused permissions may be used on it and keep their slots.
    void reset(Time now);

    /// While held, only heartbeats, identify and resume go.
    void hold(bool held, Time now) {
        held_back_ = held;
        advance(now);
    }

    void advance(Time now);
    /// Returns when advance() should be called; strictly after the time of the last call, or
    /// `never`.
    [[nodiscard]] Time next_wake() const noexcept;

    /// Ends all waiters that are not finished.
    std::size_t end_all();
    [[nodiscard]] SendWaiterList take_finished() noexcept { return std::move(finished_); }

    template <class Visit>
    void each_waiter(Visit visit) {
        for (auto& [key, lane] : lanes_) {
            for (SendWaiter& waiter : lane.waiting)
                visit(waiter);
        }
    }

    [[nodiscard]] const SendCounters& counters() const noexcept { return counters_; }
    [[nodiscard]] std::size_t queued() const noexcept { return queued_; }
    /// Slots in use, and slots reserved for heartbeats and a new session.
    [[nodiscard]] std::int64_t held() const noexcept { return others_.held() + beats_.held(); }
    [[nodiscard]] std::int64_t reserved() const noexcept { return heartbeat_room_ + session_room; }
    /// Returns how many ordinary events could go at once.
    [[nodiscard]] std::int64_t room() const noexcept {
        return std::max<std::int64_t>(0, bound(SendKind::plain) - others_.held());
    }

private:
    struct KeyHash {
        std::size_t operator()(const SendLaneKey& key) const noexcept { return key.hash(); }
    };
    /// A request that Discord may still refuse, or a refused one that has not been made again.
    struct Known {
        SendRequest request;
        std::uint64_t arrival;
    };

    /// Slots for one identify or resume, even in a minute that is otherwise full: after Invalid
    /// Session.
    static constexpr std::int64_t session_room = 1;
    /// A connection has at most this many events between two refusals.
    static constexpr std::size_t most_known = 128;

    SendSchedule(const SendSchedule& other, std::deque<SendWaiter>& waiters, Time now);
    void send_all(Time now);

    [[nodiscard]] static SendLaneKey key_of(const SendRequest& request) noexcept {
        return {request.opcode, request.members};
    }
    [[nodiscard]] std::int64_t bound(SendKind kind) const noexcept {
        const std::int64_t kept = std::max(heartbeat_room_, beats_.held());
        return settings_.limit - kept - (kind == SendKind::session ? 0 : session_room);
    }
    [[nodiscard]] bool has_room(SendKind kind) const noexcept {
        return others_.held() < bound(kind) && (!held_back_ || kind == SendKind::session);
    }
    void expire(Time now) noexcept;
    [[nodiscard]] Time own_opens(SendKind kind, const MemberRequest& members, Time now) const;
    [[nodiscard]] Time opens(const SendLane& lane, Time now) const;
    [[nodiscard]] bool take_own(const SendRequest& request, Time now);
    void grant(const SendRequest& request, std::uint64_t arrival, SendPlace& place);
    void settle(SendPlace& place, bool was_sent, Time now);
    [[nodiscard]] std::uint64_t arrival_of(const SendRequest& request);
    void finish(SendWaiter& waiter, SendState state);
    void insert(SendLane& lane, SendWaiter& waiter);
    void reconsider(SendLane& lane, Time now);
    void reconsider(const SendLaneKey& key, Time now);
    [[nodiscard]] std::optional<Known> take_refused(const SendRefusal& refusal);
    static void remember(std::deque<Known>& known, const Known& one) {
        known.push_back(one);
        if (known.size() > most_known) known.pop_front();
    }

    SendSettings settings_;
    std::shared_ptr<MemberListLimit> lists_;
    SendLog others_; // all except heartbeats
    SendLog beats_;
    SendLog presence_; // the presence updates among `others_`
    std::int64_t heartbeat_room_ = 0;
    bool held_back_ = false;
    std::uint64_t arrivals_ = 0;
    std::size_t queued_ = 0;
    std::size_t granted_ = 0; // granted waiters whose completion has not run yet
    std::unordered_map<SendLaneKey, SendLane, KeyHash> lanes_;
    IndexedHeap<SendLane, SendTurn, &SendLane::turn> turns_;
    IndexedHeap<SendLane, Time, &SendLane::sleep> sleeping_;
    std::deque<Known> recent_;  // permitted requests, oldest first
    std::deque<Known> refused_; // refused by Discord; their next request keeps their arrival
    SendWaiterList finished_;
    SendCounters counters_;
};

/// Sets the slots reserved for the heartbeats of any period: one for every interval, and as many
/// again for heartbeats that Discord requests with opcode 1. How many it requests is not
/// documented. discordeno counts with one for each regular one (9b5939af), other clients keep 3 to
/// 10 in all. If more come, the excess is taken from the slots of other events.
inline void SendSchedule::set_heartbeat_interval(Duration interval) noexcept {
    if (interval <= Duration(0)) return;
    const std::int64_t most = std::max<std::int64_t>(0, settings_.limit - session_room - 1);
    const std::int64_t beats = (settings_.period + settings_.margin) / interval + 1;
    heartbeat_room_ = beats < most ? std::min(most, 2 * beats) : most;
}

inline void SendSchedule::expire(Time now) noexcept {
    others_.expire(now);
    beats_.expire(now);
    presence_.expire(now);
}

/// Returns when the own limit of this kind of event admits one.
inline Time SendSchedule::own_opens(SendKind kind, const MemberRequest& members, Time now) const {
    if (kind == SendKind::members) return lists_->opens(members, this, now);
    const bool spent = kind == SendKind::presence && presence_.held() >= settings_.presence_limit;
    return spent ? presence_.next_change() : now;
}

/// Returns when the lane's own limits admit one.
inline Time SendSchedule::opens(const SendLane& lane, Time now) const {
    return std::max(own_opens(lane.kind, lane.key.members, now), lane.blocked_until);
}

/// Takes from the own limit of this kind of event; false if it does not admit one.
inline bool SendSchedule::take_own(const SendRequest& request, Time now) {
    if (request.kind == SendKind::members) return lists_->take(request.members, this, now);
    if (request.kind == SendKind::presence) {
        if (presence_.held() >= settings_.presence_limit) return false;
        presence_.take();
    }
    return true;
}

inline void SendSchedule::grant(const SendRequest& request, std::uint64_t arrival,
                                SendPlace& place) {
    place.request = request;
    place.taken = true;
    ++counters_.granted;
    if (request.kind != SendKind::heartbeat) {
        others_.take();
        if (request.kind == SendKind::members) remember(recent_, {request, arrival});
        return;
    }
    ++counters_.heartbeats;
    if (held() >= settings_.limit) ++counters_.crowded;
    beats_.take();
}

inline bool SendSchedule::admits(const SendRequest& request, Time now) {
    advance(now);
    if (request.kind == SendKind::heartbeat) return true;
    // Ordinary events wait behind identify and resume, which wait only for each other.
    const bool ordinary = request.kind != SendKind::session;
    if (ordinary && granted_ != 0) return false;
    if (!turns_.empty() && (ordinary || !turns_.top_key().ordinary)) return false;
    const auto lane = lanes_.find(key_of(request));
    if (lane != lanes_.end() &&
        (!lane->second.waiting.empty() || lane->second.blocked_until > now)) {
        return false;
    }
    return has_room(request.kind) && own_opens(request.kind, request.members, now) <= now;
}

inline bool SendSchedule::try_admit(const SendRequest& request, Time now, SendPlace& place) {
    if (!admits(request, now)) return false;
    if (request.kind != SendKind::heartbeat && !take_own(request, now)) return false;
    grant(request, arrival_of(request), place);
    return true;
}

inline void SendSchedule::enqueue(SendWaiter& waiter, Time now) {
    const SendRequest& request = waiter.place.request;
    if (request.kind == SendKind::heartbeat) {
        grant(SendRequest(request), 0, waiter.place);
        return finish(waiter, SendState::granted);
    }
    const SendLaneKey key = key_of(request);
    SendLane& lane = lanes_[key];
    lane.key = key;
    lane.kind = request.kind;
    if (request.kind == SendKind::presence && !lane.waiting.empty()) {
        // The newest takes the older one's position, so that a stream of updates still sends one.
        SendWaiter& older = lane.waiting.front();
        waiter.arrival = older.arrival;
        lane.waiting.clear();
        --queued_;
        ++counters_.superseded;
        finish(older, SendState::superseded);
    } else {
        waiter.arrival = arrival_of(request);
    }
    insert(lane, waiter);
    reconsider(lane, now);
    advance(now);
}

/// Inserts the waiter by arrival: nearly always at the end; a refused request goes ahead of those
/// that came after it.
inline void SendSchedule::insert(SendLane& lane, SendWaiter& waiter) {
    auto behind = lane.waiting.end();
    while (behind != lane.waiting.begin() && std::prev(behind)->arrival > waiter.arrival)
        --behind;
    lane.waiting.insert(behind, waiter);
    waiter.state = SendState::queued;
    ++queued_;
}

inline void SendSchedule::withdraw(SendWaiter& waiter, Time now) {
    const auto found = lanes_.find(key_of(waiter.place.request));
    SendWaiterList::erase(waiter);
    --queued_;
    waiter.state = SendState::ended;
    reconsider(found->second, now);
    advance(now);
}

/// Moves the waiter from its lane to the finished ones.
inline void SendSchedule::finish(SendWaiter& waiter, SendState state) {
    waiter.state = state;
    if (state == SendState::granted) ++granted_;
    finished_.push_back(waiter);
}

/// Puts the lane where it belongs now: among those that may go or those that sleep; or deletes it.
inline void SendSchedule::reconsider(SendLane& lane, Time now) {
    turns_.erase(lane);
    if (lane.waiting.empty()) {
        sleeping_.erase(lane);
        if (lane.blocked_until > now) return;
        const SendLaneKey key = lane.key; // copied, because the lane owns its key
        lanes_.erase(key);
        return;
    }
    const Time at = opens(lane, now);
    if (at > now) return sleeping_.set(lane, at);
    sleeping_.erase(lane);
    turns_.set(lane, {lane.kind != SendKind::session, lane.waiting.front().arrival});
}

inline void SendSchedule::reconsider(const SendLaneKey& key, Time now) {
    const auto found = lanes_.find(key);
    if (found != lanes_.end()) reconsider(found->second, now);
}

inline void SendSchedule::advance(Time now) {
    expire(now);
    while (!sleeping_.empty() && sleeping_.top_key() <= now)
        reconsider(sleeping_.top(), now);
    while (!turns_.empty() && has_room(turns_.top().kind)) {
        SendLane& lane = turns_.top();
        SendWaiter& waiter = lane.waiting.front();
        if (take_own(waiter.place.request, now)) {
            lane.waiting.pop_front();
            --queued_;
            const SendRequest request = waiter.place.request;
            grant(request, waiter.arrival, waiter.place);
            finish(waiter, SendState::granted);
        }
        reconsider(lane, now);
    }
}

inline Time SendSchedule::next_wake() const noexcept {
    Time next = sleeping_.empty() ? never : sleeping_.top_key();
    if (turns_.empty()) return next;
    if (beats_.held() > heartbeat_room_) next = std::min(next, beats_.next_change());
    return std::min(next, others_.next_change());
}

inline void SendSchedule::settle(SendPlace& place, bool was_sent, Time now) {
    if (!std::exchange(place.taken, false)) return;
    const SendRequest& request = place.request;
    const auto end = [&](SendLog& log) { was_sent ? log.settle(now) : log.cancel(); };
    end(request.kind == SendKind::heartbeat ? beats_ : others_);
    if (request.kind == SendKind::presence) end(presence_);
    if (request.kind == SendKind::members) {
        was_sent ? lists_->sent(request.members, now) : lists_->cancel(request.members, now);
    }
    expire(now);
    reconsider(key_of(request), now);
    advance(now);
}

/// Returns the arrival number of the refused request if this one repeats it, else a new one.
inline std::uint64_t SendSchedule::arrival_of(const SendRequest& request) {
    if (request.kind == SendKind::members) {
        const auto same = [&](const Known& known) {
            return known.request.members == request.members && known.request.nonce == request.nonce;
        };
        const auto found = std::find_if(refused_.begin(), refused_.end(), same);
        if (found != refused_.end()) {
            const std::uint64_t arrival = found->arrival;
            refused_.erase(found);
            return arrival;
        }
    }
    return ++arrivals_;
}

/// Removes and returns the newest permitted request that matches: the one before it was granted,
/// which is why this one was too early. Discord repeats the nonce of the request; without a nonce
/// the guild is compared.
inline std::optional<SendSchedule::Known> SendSchedule::take_refused(const SendRefusal& refusal) {
    if (refusal.guild == 0 && refusal.nonce.empty()) return std::nullopt;
    const auto found = std::find_if(recent_.rbegin(), recent_.rend(), [&](const Known& known) {
        return known.request.opcode == refusal.opcode &&
               (refusal.guild == 0 || known.request.members.guild == refusal.guild) &&
               (refusal.nonce.empty() || known.request.nonce == refusal.nonce);
    });
    if (found == recent_.rend()) return std::nullopt;
    const Known known = *found;
    recent_.erase(std::next(found).base());
    return known;
}

inline bool SendSchedule::refuse(const SendRefusal& refusal, Time now) {
    ++counters_.refused;
    // Counted from now, which is after Discord's check: no margin is needed.
    const Time until = refusal.retry_after < never - now ? now + refusal.retry_after : never;
    const std::optional<Known> known = take_refused(refusal);
    SendLaneKey key{refusal.opcode, {}};
    if (known || (refusal.kind == SendKind::members && refusal.guild != 0)) {
        key.members = known ? known->request.members : MemberRequest{refusal.guild, true};
        lists_->block(key.members, until, now);
        if (known) remember(refused_, *known);
    } else {
        SendLane& lane = lanes_[key];
        lane.key = key;
        lane.blocked_until = std::max(lane.blocked_until, until);
    }
    reconsider(key, now);
    advance(now);
    return known.has_value();
}

inline void SendSchedule::reset(Time now) {
    others_.clear();
    beats_.clear();
    presence_.clear();
    recent_.clear();
    for (auto at = lanes_.begin(); at != lanes_.end();) {
        SendLane& lane = (at++)->second; // may be deleted
        lane.blocked_until = Time::min();
        reconsider(lane, now);
    }
    advance(now);
}

inline std::size_t SendSchedule::end_all() {
    std::size_t ended = 0;
    for (auto& [key, lane] : lanes_) {
        turns_.erase(lane);
        sleeping_.erase(lane);
        while (!lane.waiting.empty()) {
            SendWaiter& waiter = lane.waiting.front();
            lane.waiting.pop_front();
            finish(waiter, SendState::ended);
            ++ended;
        }
    }
    queued_ = 0;
    std::erase_if(lanes_,
                  [](const auto& entry) { return entry.second.blocked_until == Time::min(); });
    return ended;
}

} // namespace sluice::core

#include <sluice/core/detail/send_forecast.hpp>

#endif
