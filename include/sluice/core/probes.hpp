// SPDX-License-Identifier: MIT
//
// Requests on routes whose bucket is unknown. Each may turn out to count in a known bucket of the
// same major parameter (PUT and DELETE of reactions do: discord-api-docs#981, 2019-07), so until it
// is answered it takes a place in all of them. That costs one slot for one round trip, and avoids
// the 429 when two routes are found to share a hash.
#ifndef SLUICE_CORE_PROBES_HPP
#define SLUICE_CORE_PROBES_HPP

#include <sluice/core/bucket.hpp>
#include <sluice/core/intrusive_list.hpp>
#include <sluice/core/major.hpp>
#include <sluice/core/time.hpp>

#include <cstdint>
#include <map>

namespace sluice::core {

class Probes {
public:
    using Watchers = IntrusiveList<Bucket, GroupHook>;

    /// A probe counts against other routes at most this long: a slow upload must not hold up routes
    /// that most likely have nothing to do with it. A connection, an upload and an answer that are
    /// all slow (simulated: 1.4 s) still fit in.
    static constexpr Duration suspected_for = std::chrono::seconds(2);

    void add(const Major& major, Time now) {
        Group& group = groups_[major];
        ++group.flying;
        group.until = now + suspected_for;
    }

    /// Call when the probe was answered, lost or cancelled. Every bucket moved to `freed` may have
    /// room now.
    void remove(const Major& major, Watchers& freed) noexcept {
        const auto at = groups_.find(major);
        if (at == groups_.end()) return;
        Group& group = at->second;
        freed.splice(group.watchers);
        if (--group.flying == 0) groups_.erase(at);
    }

    [[nodiscard]] bool empty() const noexcept { return groups_.empty(); }

    [[nodiscard]] std::int64_t count(const Major& major, Time now) const noexcept {
        if (groups_.empty()) return 0;
        const auto at = groups_.find(major);
        if (at == groups_.end() || now >= at->second.until) return 0;
        return at->second.flying;
    }

    /// Call when only these probes hold up this known bucket; it is then in `freed` once one ends.
    /// Returns until when they count at most.
    Time watch(Bucket& bucket) noexcept {
        Group& group = groups_.find(bucket.key.major)->second;
        if (!bucket.watches()) group.watchers.push_back(bucket);
        return group.until;
    }

private:
    struct Group {
        Watchers watchers;
        Time until{};
        std::int64_t flying = 0;
    };

    std::map<Major, Group> groups_; // few: only those in flight
};

} // namespace sluice::core

#endif
