// SPDX-License-Identifier: MIT
//
// A bucket is one counter at Discord as the client keeps it: a window, the places taken in it, and
// the lanes that draw on it. Known buckets are (bucket hash, major parameter), unknown ones
// (route, major parameter).
// Invariant: every place ever taken comes back, by an answer, a loss that has run out, or a cancel.
#ifndef SLUICE_CORE_BUCKET_HPP
#define SLUICE_CORE_BUCKET_HPP

#include <sluice/core/indexed_heap.hpp>
#include <sluice/core/lane.hpp>
#include <sluice/core/major.hpp>
#include <sluice/core/sharing.hpp>
#include <sluice/core/time.hpp>
#include <sluice/core/window.hpp>

#include <boost/intrusive/list.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace sluice::core {

/// An interned bucket hash; 0 is none.
using HashId = std::uint32_t;

struct BucketKey {
    std::uint64_t name = 0; ///< the interned hash, or the route while the hash is unknown
    Major major;
    std::uint64_t apart = 0; ///< the route family, where routes of this hash count apart
    bool hash_known = false;

    friend constexpr bool operator==(const BucketKey&, const BucketKey&) noexcept = default;
    [[nodiscard]] constexpr std::size_t hash() const noexcept {
        return static_cast<std::size_t>((major.hash() + name + apart) * 0x9e3779b97f4a7c15ULL) +
               (hash_known ? 1 : 0);
    }
};

/// Leaves its list by itself when the bucket goes.
using BucketHook =
    boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

struct Bucket {
    BucketKey key;
    Window window;
    LaneList lanes;
    BucketHook use_hook;     ///< the registry's buckets with waiters, or the others by age
    BucketHook watch_hook;   ///< waits for a probe of the same major parameter
    BucketHook unknown_hook; ///< the unknown buckets of its route
    Bucket* merged_into = nullptr;
    Time last_used = Time::min(); ///< when it was last sent to rest
    Time filed = Time::min();     ///< last_used when its place among the others was last looked at
    std::uint32_t in_flight = 0;  ///< places taken and neither answered nor lost
    std::uint32_t places = 0;     ///< places that point here; differs from in_flight after a merge
    std::uint32_t queued = 0;     ///< waiters in all lanes
    bool idle = false;            ///< has neither waiters nor places; see Registry::set_idle()
    bool waits = false;           ///< is among those with waiters; see Registry::set_waiting()
    HeapPosition wake_position = nowhere;
    HeapPosition ready_position = nowhere;

    /// Some list or heap of the scheduler's knows it.
    [[nodiscard]] bool scheduled() const noexcept {
        return wake_position != nowhere || ready_position != nowhere || watch_hook.is_linked();
    }

    /// Places that count now: in flight, and lost ones that may have been counted by the server.
    [[nodiscard]] std::int64_t out(Time now) noexcept {
        expire_lost(now);
        return static_cast<std::int64_t>(in_flight) + (lost_ ? std::ssize(*lost_) : 0);
    }

    void lose(Time now, std::size_t count = 1) {
        if (count == 0) return;
        if (!lost_) lost_ = std::make_unique<std::vector<Time>>();
        lost_->insert(lost_->end(), count, now);
    }

    /// An answer to a request sent after a loss: the server has long decided about the lost one.
    void settle_lost(Time sent) noexcept {
        if (lost_) drop_lost_if([&](Time at) { return at < sent; });
    }

    /// When the next lost place comes back by itself, or `never`.
    [[nodiscard]] Time next_lost() const noexcept {
        if (!lost_) return never;
        return *std::min_element(lost_->begin(), lost_->end()) + window.period();
    }

    /// Takes over everything that counts in `other`, which turns out to be the same counter.
    void absorb_places(Bucket& other) {
        in_flight += other.in_flight;
        other.in_flight = 0;
        if (!other.lost_) return;
        for (const Time at : *other.lost_)
            lose(at);
        other.lost_.reset();
    }

    /// The evidence that its routes share a counter; kept once there are several.
    [[nodiscard]] Sharing& sharing() {
        if (!sharing_) sharing_ = std::make_unique<Sharing>();
        return *sharing_;
    }
    /// Under another limit what was spent shows otherwise.
    void forget_sharing() noexcept { sharing_.reset(); }

    [[nodiscard]] bool has_one_lane() const noexcept {
        return !lanes.empty() && &lanes.front() == &lanes.back();
    }
    [[nodiscard]] bool has_sharing() const noexcept { return sharing_ != nullptr; }
    [[nodiscard]] bool has_lost() const noexcept { return lost_ != nullptr; }

private:
    template <class Predicate>
    void drop_lost_if(Predicate gone) noexcept {
        std::erase_if(*lost_, gone);
        if (lost_->empty()) lost_.reset();
    }
    void expire_lost(Time now) noexcept {
        if (lost_) drop_lost_if([&](Time at) { return at + window.period() <= now; });
    }

    // Both are absent while there is nothing to keep, which is the rule.
    std::unique_ptr<Sharing> sharing_;
    std::unique_ptr<std::vector<Time>> lost_; // when
};

} // namespace sluice::core

#endif
