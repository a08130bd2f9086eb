// SPDX-License-Identifier: MIT
//
// Do two routes that show one bucket hash really share a counter? Until 2026-01 message routes did
// not (discord-api-docs#1442, #8073); treating them as one is safe but wastes half of what is
// allowed.
//
// If they share, everything that was surely decided before a request and is surely still counted
// shows in that request's `remaining`. An answer that shows more contradicts sharing, provided that
// it does so under every window algorithm: a fixed window gives nothing back before its end, GCRA
// one slot per interval, a sliding log one period after each request. Invariant: true sharing is
// never contradicted, whatever the delays and the order of answers.
#ifndef SLUICE_CORE_SHARING_HPP
#define SLUICE_CORE_SHARING_HPP

#include <sluice/core/time.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <tuple>

namespace sluice::core {

/// One accepted answer.
struct SharingSample {
    Time sent{};
    Time received{};
    Duration reset_after{};
    Duration unit{};
    std::int64_t used = 0; ///< limit - remaining
};

class Sharing {
public:
    /// `interval` is the least time between two slots that is possible, `period` the longest
    /// Reset-After seen. True: this answer cannot come from the counter that the answers before it
    /// were counted on.
    [[nodiscard]] bool contradicts(const SharingSample& now, Duration interval,
                                   Duration period) const noexcept;

    void add(const SharingSample& sample) noexcept {
        recent_[next_ % recent_.size()] = {sample.sent, sample.received};
        ++next_;
    }

private:
    struct Spent {
        Time sent{};
        Time received{};
    };

    std::array<Spent, 16> recent_{}; // a ring of accepted requests
    std::size_t next_ = 0;
};

inline bool Sharing::contradicts(const SharingSample& now, Duration interval,
                                 Duration period) const noexcept {
    // No fixed window that ends when this answer says can have begun later than this.
    const Time latest_start = now.received + now.reset_after + now.unit - period;
    const auto slot = std::max<std::int64_t>(1, interval.count());
    std::array<Time, std::tuple_size_v<decltype(recent_)>> spent{};
    std::size_t count = 0;
    for (std::size_t i = 0; i < std::min(next_, recent_.size()); ++i) {
        const Spent& known = recent_[i];
        if (known.received <= now.sent && known.sent > latest_start) spent[count++] = known.sent;
    }
    std::sort(spent.begin(), spent.begin() + static_cast<std::ptrdiff_t>(count),
              [](Time a, Time b) { return a > b; });
    for (std::size_t i = 0; i < count; ++i) {
        const auto elapsed = (now.received - spent[i]).count();
        const std::int64_t given_back = elapsed / slot + 1;
        const auto must_show = static_cast<std::int64_t>(i) + 2 - given_back; // and itself
        if (now.used < must_show) return true;
    }
    return false;
}

} // namespace sluice::core

#endif
