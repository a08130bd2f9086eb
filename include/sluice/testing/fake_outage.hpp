// SPDX-License-Identifier: MIT
//
// Outages and overload: periods in which the edge answers instead of Discord. A `Fault` affects one
// route; an outage affects the whole server.
//
//     discord.outage(10s, 70s);                                    // 502 to everything
//     discord.outage({.from = 10s, .until = 70s, .status = 503, .every = 3});   // overload
//
// Invariant: a request hit by an outage is not executed, uses no quota and meets no check behind
// the edge. Its answer has no Via, no JSON and no bucket headers.
//
// Sources: Discord docs, "HTTP": 502, there was no gateway available. Cloudflare docs, "5xx
// errors": 520 to 530 are Cloudflare's own and mean that the origin could not be reached or
// answered incorrectly.
#ifndef SLUICE_TESTING_FAKE_OUTAGE_HPP
#define SLUICE_TESTING_FAKE_OUTAGE_HPP

#include <sluice/testing/fake_limit.hpp>

#include <cstdint>
#include <stdexcept>
#include <vector>

namespace sluice::testing {

struct Outage {
    Duration from{};                  ///< server time
    Duration until = Duration::max(); ///< no more failures from then on
    int status = 502;                 ///< 500 to 504, or 520 to 530, which are Cloudflare's
    /// Every n-th request fails, counted from the first one; others pass. 1: all fail.
    std::uint64_t every = 1;
    bool interactions = true; ///< false: interaction routes are not affected
    Duration think_time{};    ///< from the arrival until the answer leaves; a 504 takes long
};

namespace detail {

/// Throws std::invalid_argument.
inline void check(const Outage& outage) {
    const bool own = outage.status >= 500 && outage.status <= 504;
    if (!own && (outage.status < 520 || outage.status > 530))
        throw std::invalid_argument("sluice::testing::Outage: status is not 500-504 or 520-530");
    if (outage.every == 0) throw std::invalid_argument("sluice::testing::Outage: every is 0");
}

/// The outages of a fake, and the count of each.
class Outages {
public:
    void add(const Outage& outage) {
        check(outage);
        entries_.push_back({outage, 0});
    }

    /// Returns the outage that hits a request, or null. Counts the request: call it once per
    /// request.
    [[nodiscard]] const Outage* strike(bool interaction, Duration now) {
        std::erase_if(entries_, [&](const Entry& entry) { return entry.outage.until <= now; });
        for (Entry& entry : entries_) {
            const Outage& outage = entry.outage;
            if (now < outage.from || (interaction && !outage.interactions)) continue;
            if (entry.seen++ % outage.every == 0) return &outage;
        }
        return nullptr;
    }

private:
    struct Entry {
        Outage outage;
        std::uint64_t seen;
    };

    std::vector<Entry> entries_;
};

} // namespace detail
} // namespace sluice::testing

#endif
