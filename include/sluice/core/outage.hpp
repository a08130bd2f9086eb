// SPDX-License-Identifier: MIT
//
// An outage is the server's, not a route's: several 5xx in a row over several routes. Then one
// request at a time finds out whether it is over, after pauses that grow, and after the first
// success the others follow by slow start; see slow_start.hpp. A single request that fails waits by
// itself and stops no other. One route that fails in every channel stops no other either: when
// lanes were counted, 30 channels of such a route kept a bot silent for hours.
#ifndef SLUICE_CORE_OUTAGE_HPP
#define SLUICE_CORE_OUTAGE_HPP

#include <sluice/core/slow_start.hpp>
#include <sluice/core/time.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace sluice::core {

class Outage {
public:
    /// So many failures in a row, over so many routes, are not by chance.
    static constexpr int least_failures = 5;
    static constexpr std::size_t least_routes = 3;
    /// Within an outage so many are enough.
    static constexpr int relapse = 3;

    /// Notes that a request of this route was answered 5xx. `decided` counts all other answers so
    /// far: if it has grown since the last failure, the failures were not in a row. The pauses
    /// begin with `first` and grow to `longest`.
    void fail(std::uint64_t route, std::uint64_t decided, Time sent, Time now, Duration first,
              Duration longest) noexcept {
        if (decided != decided_) {
            decided_ = decided;
            in_a_row_ = 0;
            routes_known_ = 0;
        }
        if (in_a_row_ < least_failures) ++in_a_row_;
        note(route);
        const bool out = start.idle() ? in_a_row_ >= least_failures && routes_known_ == least_routes
                                      : in_a_row_ >= relapse;
        if (out) (void)start.refuse(sent, now, first, longest);
    }

    SlowStart start;

private:
    void note(std::uint64_t route) noexcept {
        const auto end = routes_.begin() + static_cast<std::ptrdiff_t>(routes_known_);
        if (routes_known_ == least_routes || std::find(routes_.begin(), end, route) != end) return;
        routes_[routes_known_++] = route;
    }

    std::uint64_t decided_ = 0;
    std::array<std::uint64_t, least_routes> routes_{};
    std::size_t routes_known_ = 0;
    int in_a_row_ = 0;
};

} // namespace sluice::core

#endif
