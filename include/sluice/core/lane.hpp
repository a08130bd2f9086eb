// SPDX-License-Identifier: MIT
//
// A lane is the only kind of queue: the requests that share route, major parameter and sublimit
// tag, first come, first served. It has one bucket of its own at a time, and may draw on others as
// well; see draw.hpp. Renaming, linking and moving a bucket change only the lane's pointer, so no
// queued request loses its position.
#ifndef SLUICE_CORE_LANE_HPP
#define SLUICE_CORE_LANE_HPP

#include <sluice/core/draw.hpp>
#include <sluice/core/global_limit.hpp>
#include <sluice/core/indexed_heap.hpp>
#include <sluice/core/individual.hpp>
#include <sluice/core/intrusive_list.hpp>
#include <sluice/core/major.hpp>
#include <sluice/core/time.hpp>

#include <atomic>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace sluice::core {

struct Bucket;
struct Family;
struct Lane;

/// Which limit on all requests the place holds a slot of: the token's, the address's, or none.
enum class SlotOf : std::uint8_t { nobody, token, address };

/// The reservation of one request, and what is held for it until its answer.
struct Place {
    Lane* lane = nullptr;      ///< the queue it was taken from; kept after settling, for a retry
    Bucket* bucket = nullptr;  ///< the bucket that issued it; null: nothing is held
    Time sent{};               ///< when the request was issued, while the place is taken
    std::uint64_t arrival = 0; ///< order of arrival; 0: not queued or issued so far
    GlobalLimit::Slot slot = 0;
    std::uint8_t token = 0;    ///< which of the bot's tokens it is for, modulo 256
    std::uint8_t failures = 0; ///< failed tries in a row, each followed by a pause of its own
    SlotOf slot_of = SlotOf::nobody;
    bool warm = false; ///< issued while a connection was known to be open
    /// Issued while a connection was likely to be open. Counts only if the user reports when it was
    /// sent.
    bool open = false;
    bool alone = false;    ///< issued while nothing else was in flight
    bool probe = false;    ///< issued before the bucket had any answer
    bool in_crowd = false; ///< issued to find out about a limit shared with other lanes
    DrawMask draws = 0;    ///< in which of the lane's draws it counts

    [[nodiscard]] bool taken() const noexcept { return bucket != nullptr; }
    /// The end of this request's own pause, once the place has been settled; other requests do not
    /// wait for it. Shares a field with `sent`, which has no use by then: each word of a ticket is
    /// moved often.
    [[nodiscard]] Time not_before() const noexcept { return sent; }
    void pause_until(Time at) noexcept {
        assert(!taken());
        sent = at;
    }
};

enum class WaiterState : std::uint8_t { idle, queued, granted, refused };

/// Why a waiter was refused.
enum class Refused : std::uint8_t {
    ended,            ///< all waiters were refused
    wait_too_long,    ///< its bound has passed, or will pass before it can go
    too_few_left,     ///< fewer requests remained than it asks for when it could go
    unauthorized,     ///< the token was answered with 401
    unknown_webhook,  ///< the webhook was answered with 404
    too_many_invalid, ///< one more invalid request would risk a ban
    invalid_token     ///< the token in the path was answered with 401
};

/// One queued request. The layer that does the waiting derives its own node from it.
struct Waiter : ListHook {
    Place place;
    std::uint32_t min_remaining =
        0; ///< refused at its turn when fewer requests remain, itself included
    HeapPosition bound_position = nowhere; ///< the key is its bound, if it has one
    HeapPosition delay_position = nowhere; ///< the key is Place::not_before(), while it pauses
    WaiterState state = WaiterState::idle;
    Refused why = Refused::ended; ///< with WaiterState::refused
};

using WaiterList = IntrusiveList<Waiter>;

struct LaneKey {
    std::uint64_t route = 0; ///< identity of the template
    Major major;
    std::uint32_t tag = 0; ///< sublimit; 0: none

    friend constexpr bool operator==(const LaneKey&, const LaneKey&) noexcept = default;
    [[nodiscard]] constexpr std::size_t hash() const noexcept {
        return static_cast<std::size_t>((major.hash() ^ route) * 0x9e3779b97f4a7c15ULL) + tag;
    }
};

/// What a route adds to its identity.
struct LaneTraits {
    /// Routes known to share a bucket before any answer; 0: only this route.
    std::uint64_t family = 0;
    bool exempt = false;     ///< from the global limit
    bool idempotent = false; ///< GET, PUT, DELETE: may be repeated when its fate is unknown
    bool tokenless = false;  ///< sent without the bot's token
    bool path_token = false; ///< authorised by a token in its path, of a webhook or an interaction
    bool webhook = false;    ///< a 404 may mean that the webhook itself is gone
    bool merges = false;     ///< merges accounts: a 423 is temporary
    /// A 401 may concern the bot's token. False on routes that are for other tokens.
    bool bots = true;
    std::string_view text = {}; ///< of its route, for display; must live as long as the program

    [[nodiscard]] Individual individual() const noexcept {
        if (exempt) return Individual::interaction;
        return tokenless ? Individual::address : Individual::token;
    }
};

struct Lane : ListHook {
    static constexpr std::uint8_t most_strikes = 8; ///< more have no further effect

    std::uint64_t route = 0;  ///< identity of the template
    Major own_major;          ///< also its bucket's, unless one bucket is common to all majors
    Bucket* bucket = nullptr; ///< what it draws on
    Family* family = nullptr; ///< what is known of all lanes of its family; null: too many routes
    WaiterList waiting;       // ascending by arrival
    Waiter* last_retry = nullptr; ///< the retry queued last among those waiting
    std::unique_ptr<Draw> draws;  ///< the further buckets it draws on: nearly always none
    Time blocked_until = Time::min();
    Time hash_sent = Time::min(); ///< send time of the request whose answer named the bucket
    std::uint32_t tag = 0;        ///< sublimit; 0: none
    std::uint32_t queued = 0;     ///< size of `waiting`
    std::uint32_t bounded = 0;    ///< how many of those queued have a bound
    /// Waiters granted that have not run yet: no request may overtake them. They run without a
    /// lock, so this is atomic; it only grows under the lock of the lane's owner.
    std::atomic<std::uint32_t> granted = 0;
    std::uint32_t in_flight = 0; ///< requests sent from here and not yet answered
    /// Places that point here, settled ones included. Their owners let go without a lock, so this
    /// is atomic; it only grows under the lock of the lane's owner.
    std::atomic<std::uint32_t> holders = 0;
    Time struck = Time::min(); ///< when it was last refused
    [[no_unique_address]] LaneTraits traits;
    std::uint8_t strikes = 0;    ///< how many times in a row it was refused
    bool shared = false;         ///< blocked_until comes from a limit shared with others
    bool crowded = false;        ///< that limit may count other lanes of its family as well
    bool in_line = false;        ///< its key waits in the crowd of its family
    std::uint16_t narrow = 0;    ///< 0: not narrowed; else 1 + how many went before the refusal
    std::uint16_t passed = 0;    ///< while narrow: successes since
    std::uint32_t earlier = 0;   ///< of in_flight: while narrowed, those sent before the refusal
    std::uint32_t left_hash = 0; ///< hash of the bucket that it moved away from last
    Time left_at = Time::min();  ///< when it moved away

    [[nodiscard]] const Major& major() const noexcept { return own_major; }

    /// True until enough successes have followed a refusal.
    [[nodiscard]] bool was_refused() const noexcept { return strikes != 0 || narrow != 0; }
    /// Notes a refused request. Returns true if it is news: requests that were in flight together
    /// are refused together.
    bool strike(Time sent, Time now) noexcept {
        if (sent <= struck) return false;
        struck = now;
        if (narrow != 0) earlier = in_flight;
        if (strikes < most_strikes) ++strikes;
        return true;
    }
    /// Begins a slow start after a limit that no header shows: a refusal tells when the next
    /// request may go, not how many may. As many go as went the last time; then one at a time, and
    /// one more with each success.
    void narrow_down() noexcept {
        narrow = static_cast<std::uint16_t>(lesser<int>(passed + 1, UINT16_MAX));
        passed = 0;
        earlier = in_flight;
    }
    /// Notes that a request is no longer in flight.
    void land(Time sent) noexcept {
        if (earlier != 0 && sent <= struck) --earlier;
    }
    /// Notes that a request sent then has succeeded: ends a row of strikes, widens a narrowed lane.
    void succeed(Time sent) noexcept {
        // So many successes at once, long after the refusal, show that the limit is gone.
        constexpr int wide = 64;
        constexpr Duration long_after = std::chrono::hours(1);
        if (sent >= struck) strikes = 0;
        if (narrow == 0) return;
        std::uint16_t& run = sent > struck ? passed : narrow;
        if (run < UINT16_MAX) ++run;
        if (passed >= narrow + wide && sent > struck + long_after) narrow = passed = 0;
    }
    /// True if one more request has to wait for the answers to those in flight.
    [[nodiscard]] bool holds_back() const noexcept {
        if (narrow == 0) [[likely]]
            return false;
        const int left = narrow - 1 - passed;
        return static_cast<int>(in_flight - earlier) >= (left > 0 ? left : 1 - left);
    }

    [[nodiscard]] bool in_use() const noexcept {
        return queued != 0 || granted.load(std::memory_order_acquire) != 0 ||
               holders.load(std::memory_order_acquire) != 0;
    }
};

using LaneList = IntrusiveList<Lane>;

/// Which answers a lane waits for before one more request may go.
enum class AwaitedAnswers : std::uint8_t {
    none,
    own,     ///< its own, after a limit that no header shows; see Lane::narrow_down()
    of_crowd ///< of lanes that wait for the same limit; see crowd.hpp
};

/// What stops a lane, apart from its bucket, the limits on all requests and the address.
struct LaneStatus {
    Time opens = Time::min(); ///< end of the wait that a 429 told; no answer shortens it
    AwaitedAnswers awaits = AwaitedAnswers::none;

    [[nodiscard]] bool may_go(Time now) const noexcept {
        return opens <= now && awaits == AwaitedAnswers::none;
    }
};

} // namespace sluice::core

#endif
