// SPDX-License-Identifier: MIT
//
// What a limiter knows that outlives it, so that a bot that starts again does not learn by 429s
// what it knew before. Plain data; all times are relative to the moment at which it was taken.
//
// Left out is what belongs to the process (waiters, tickets, connections, round trips), and whether
// the token was refused, which a new process may do better without.
#ifndef SLUICE_CORE_SNAPSHOT_HPP
#define SLUICE_CORE_SNAPSHOT_HPP

#include <sluice/core/invalid_requests.hpp>
#include <sluice/core/lane.hpp>
#include <sluice/core/major.hpp>
#include <sluice/core/time.hpp>
#include <sluice/core/window.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::core {

struct Snapshot {
    /// The name of a bucket that holds in another process.
    struct BucketName {
        std::string hash;         ///< empty while unknown
        std::uint64_t family = 0; ///< the routes that draw on it, while the hash is unknown
        std::uint32_t apart = 0;  ///< as in BucketKey
    };
    struct SavedBucket {
        BucketName name;
        Major major;
        Window::Saved window;
        std::uint32_t out = 0; ///< places taken, whose fate will stay unknown
    };
    /// Only lanes that cannot be made again from their routes.
    struct SavedLane {
        LaneKey key;
        LaneTraits traits;
        BucketName bucket; ///< has the same major parameter, or is common to all
        Duration blocked_for{0};
        std::uint8_t strikes = 0;
        std::uint16_t narrow = 0;
        bool shared = false; ///< the limit that blocks it is shared with others
    };
    struct SavedRoute {
        std::uint64_t family = 0;
        std::string hash;
    };

    Duration taken{0}; ///< when, on a calendar that continues in the next process
    std::vector<SavedRoute> routes;
    std::vector<std::string> apart;  ///< hashes whose routes have separate counters
    std::vector<std::string> common; ///< hashes whose majors share a counter
    std::vector<SavedBucket> buckets;
    std::vector<SavedLane> lanes;
    std::vector<Major> gone_webhooks;
    Duration globally_blocked_for{0};
    std::vector<Duration> slots; ///< of the global limit: time until each is back, ascending
    Duration address_blocked_for{0};
    std::vector<InvalidRequests::Slice> invalid; ///< of the address, the oldest first
};

} // namespace sluice::core

#endif
