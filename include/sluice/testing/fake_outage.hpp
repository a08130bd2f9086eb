// SPDX-License-Identifier: MIT
//
// Outages and overload: times in which the edge answers in place of Discord. Unlike a `Fault`,
// which is one route's, an outage is the server's.
//
//     discord.outage(10s, 70s);                                    // 502 to everything
//     discord.outage({.from = 10s, .until = 70s, .status = 503, .every = 3});   // overload
//
// The one invariant: a request that an outage strikes runs nothing, spends nothing and meets no
// check behind the edge; its answer has no Via, no JSON and no header of a bucket.
//
// Sources: Discord docs, "HTTP": 502, there was no gateway available. Cloudflare docs, "5xx
// errors": 520 to 530 are its own, and say that the origin could not be reached or answered badly.
#ifndef SLUICE_TESTING_FAKE_OUTAGE_HPP
#define SLUICE_TESTING_FAKE_OUTAGE_HPP

#include <sluice/testing/fake_limit.hpp>

#include <cstdint>
#include <stdexcept>
#include <vector>

namespace sluice::testing {

struct Outage {
    Duration from{};                  ///< server time
    Duration until = Duration::max(); ///< from then on no more
    int status = 502;                 ///< 500 to 504, or 520 to 530, which are Cloudflare's
    /// Each n-th request fails, counted from the first one; others pass. 1: all fail.
    std::uint64_t every = 1;
    bool interactions = true; ///< off: interaction routes go on as ever
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

/// The outages of a fake, and how far each has counted.
class Outages {
public:
    void add(const Outage& outage) {
        check(outage);
        entries_.push_back({outage, 0});
    }

    /// The outage that strikes a request, null when none does. To be asked once per request.
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
