// SPDX-License-Identifier: MIT
//
// A lane is the only queue there is: the requests that share route, major parameter and sublimit
// tag, first come, first served. It has one bucket of its own at a time, and may draw on others as
// well; see draw.hpp. Renaming, linking and moving a bucket only turn a lane's pointer, so no
// queued request ever loses its turn.
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

/// Whose slot a place holds, of the limit on all requests.
enum class SlotOf : std::uint8_t { nobody, token, address };

/// Permission for one request, and what is held for it until its answer.
struct Place {
    Lane* lane = nullptr;      ///< the queue it was taken from; kept after settling, for a retry
    Bucket* bucket = nullptr;  ///< the bucket that issued it; null: nothing is held
    Time sent{};               ///< while it is taken
    std::uint64_t arrival = 0; ///< order of arrival; 0: has not arrived yet
    GlobalLimit::Slot slot = 0;
    std::uint8_t token = 0;    ///< which of the bot's tokens it is for, counted round
    std::uint8_t failures = 0; ///< tries in a row after which it had to pause by itself
    SlotOf slot_of = SlotOf::nobody;
    bool warm = false;     ///< issued while a connection was known to be open
    bool open = false;     ///< or likely so: who says that one is, is believed
    bool alone = false;    ///< issued while nothing else was in flight
    bool probe = false;    ///< issued before the bucket had any answer
    bool in_crowd = false; ///< issued to find out about a limit shared with other lanes
    DrawMask draws = 0;    ///< in which of the lane's draws it counts

    [[nodiscard]] bool taken() const noexcept { return bucket != nullptr; }
    /// Once it has been settled: until then this request pauses, and nobody else does. It shares a
    /// field with `sent`, which nobody asks for any more: each word of a ticket is moved often.
    [[nodiscard]] Time not_before() const noexcept { return sent; }
    void pause_until(Time at) noexcept {
        assert(!taken());
        sent = at;
    }
};

enum class WaiterState : std::uint8_t { idle, queued, granted, refused };

/// Why a waiter was refused.
enum class Refused : std::uint8_t {
    ended,            ///< all waiters were told to go
    wait_too_long,    ///< its bound has passed, or will have before its turn
    too_few_left,     ///< fewer requests remained at its turn than it asks for
    unauthorized,     ///< the token was answered with 401
    unknown_webhook,  ///< the webhook was answered with 404
    too_many_invalid, ///< one more invalid request would risk a ban
    invalid_token     ///< the token in the path was answered with 401
};

/// One queued request. The layer that waits derives its own node from it.
struct Waiter : ListHook {
    Place place;
    std::uint32_t min_remaining =
        0; ///< refused at its turn when fewer requests remain, itself included
    HeapPosition bound_position = nowhere; ///< its bound is the key, if it has one
    HeapPosition delay_position = nowhere; ///< while it pauses: Place::not_before() is the key
    WaiterState state = WaiterState::idle;
    Refused why = Refused::ended; ///< beside WaiterState::refused
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

/// What a route brings along beside its identity.
struct LaneTraits {
    /// Routes known to share a bucket before any answer; 0: the route's own.
    std::uint64_t family = 0;
    bool exempt = false;     ///< from the global limit
    bool idempotent = false; ///< GET, PUT, DELETE: may be repeated when nobody knows its fate
    bool tokenless = false;  ///< sent without the bot's token
    bool path_token = false; ///< authorised by a token in its path: a webhook's, an interaction's
    bool webhook = false;    ///< a 404 may mean that the webhook itself is gone
    bool merges = false;     ///< merges accounts: a 423 passes
    /// A 401 may say something of the bot's token: not on routes that are for other tokens.
    bool bots = true;
    std::string_view text = {}; ///< of its route, for people; must live as long as the program

    [[nodiscard]] Individual individual() const noexcept {
        if (exempt) return Individual::interaction;
        return tokenless ? Individual::address : Individual::token;
    }
};

struct Lane : ListHook {
    static constexpr std::uint8_t most_strikes = 8; ///< more change nothing

    std::uint64_t route = 0;  ///< identity of the template
    Major own_major;          ///< its bucket's too, unless one bucket is common to all
    Bucket* bucket = nullptr; ///< what it draws on
    Family* family = nullptr; ///< what is known of all lanes of its family; null: too many routes
    WaiterList waiting;       // ascending by arrival
    Waiter* last_retry = nullptr; ///< of those waiting the one queued last that was no newcomer
    std::unique_ptr<Draw> draws;  ///< what it draws on beside its bucket: nearly always nothing
    Time blocked_until = Time::min();
    Time hash_sent = Time::min(); ///< when the request was sent whose answer named the bucket
    std::uint32_t tag = 0;        ///< sublimit; 0: none
    std::uint32_t queued = 0;     ///< size of `waiting`
    std::uint32_t bounded = 0;    ///< how many of them have a bound
    /// Waiters granted that have not run yet: nobody may overtake them. They run without a lock,
    /// which is why it is atomic; it only grows under the lock of whoever owns the lane.
    std::atomic<std::uint32_t> granted = 0;
    std::uint32_t in_flight = 0; ///< requests sent from here and not yet answered
    /// Places, settled ones too, that point here. Their owners let go without a lock, which is why
    /// it is atomic; it only grows under the lock of whoever owns the lane.
    std::atomic<std::uint32_t> holders = 0;
    Time struck = Time::min(); ///< when it was last refused
    [[no_unique_address]] LaneTraits traits;
    std::uint8_t strikes = 0;    ///< how many times in a row it was refused
    bool shared = false;         ///< what told blocked_until was a limit shared with others
    bool crowded = false;        ///< that limit may count other lanes of its family as well
    bool in_line = false;        ///< its key waits in the crowd of its family
    std::uint16_t narrow = 0;    ///< 0: not at all; else one more than went before it was refused
    std::uint16_t passed = 0;    ///< while narrow: successes since
    std::uint32_t earlier = 0;   ///< of in_flight: while narrow, those sent before it was refused
    std::uint32_t left_hash = 0; ///< of the bucket that it moved away from last
    Time left_at = Time::min();  ///< when that was

    [[nodiscard]] const Major& major() const noexcept { return own_major; }

    /// Whether what a refusal has shown has yet to pass.
    [[nodiscard]] bool was_refused() const noexcept { return strikes != 0 || narrow != 0; }
    /// A request was refused. Whether that is news: those that were under way together are refused
    /// together.
    bool strike(Time sent, Time now) noexcept {
        if (sent <= struck) return false;
        struck = now;
        if (narrow != 0) earlier = in_flight;
        if (strikes < most_strikes) ++strikes;
        return true;
    }
    /// What refused is a limit that no header shows: that tells when the next may go, not how many.
    /// So as many as went the last time, then one at a time, doubling with each success.
    void narrow_down() noexcept {
        narrow = static_cast<std::uint16_t>(lesser<int>(passed + 1, UINT16_MAX));
        passed = 0;
        earlier = in_flight;
    }
    /// A request is no longer in flight.
    void land(Time sent) noexcept {
        if (earlier != 0 && sent <= struck) --earlier;
    }
    void succeed(Time sent) noexcept {
        constexpr int wide = 64; // so many at once, long after, and there is no limit any more
        constexpr Duration long_after = std::chrono::hours(1);
        if (sent >= struck) strikes = 0;
        if (narrow == 0) return;
        std::uint16_t& run = sent > struck ? passed : narrow;
        if (run < UINT16_MAX) ++run;
        if (passed >= narrow + wide && sent > struck + long_after) narrow = passed = 0;
    }
    /// Whether one more has to wait for the answers to those that are under way.
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

/// Whose answers a lane waits for before one more may go.
enum class AwaitedAnswers : std::uint8_t {
    none,
    own,     ///< its own, after a limit that no header shows; see Lane::narrow_down()
    of_crowd ///< those of lanes that wait for the same limit; see crowd.hpp
};

/// What stops a lane, beside its bucket, the limits on all requests and the address.
struct LaneStatus {
    Time opens = Time::min(); ///< the wait that a 429 told; no answer shortens it
    AwaitedAnswers awaits = AwaitedAnswers::none;

    [[nodiscard]] bool may_go(Time now) const noexcept {
        return opens <= now && awaits == AwaitedAnswers::none;
    }
};

} // namespace sluice::core

#endif
