// SPDX-License-Identifier: MIT
//
// What one individual may send at all, whatever the bucket: so many requests in each period, and
// nothing while a 429 of the global limit blocks it. Discord docs, "Rate Limits": a limit belongs
// to the user or bot that the authentication names, or to the address without one.
#ifndef SLUICE_CORE_ALLOWANCE_HPP
#define SLUICE_CORE_ALLOWANCE_HPP

#include <sluice/core/global_limit.hpp>
#include <sluice/core/slow_start.hpp>
#include <sluice/core/time.hpp>

namespace sluice::core {

struct Allowance {
    GlobalLimit limit;
    SlowStart start; ///< after a 429 of the global limit

    /// As GlobalLimit::surely_has_room().
    [[nodiscard]] bool surely_admits() const noexcept {
        return start.idle() && limit.surely_has_room();
    }
    template <class Credit>
    [[nodiscard]] bool admits(Time now, Credit credit) {
        return start.opens(now) <= now && limit.has_room(now, credit);
    }
    /// Returns the next moment after `now` at which admits() may become true by itself, or `never`.
    [[nodiscard]] Time next_change(Time now, Duration credit) const noexcept {
        const Time opens = start.opens(now);
        return opens > now ? opens : limit.next_change(now, credit);
    }
    /// Returns when the request behind `ahead` waiting ones may go, if answers come at once.
    [[nodiscard]] Time predict(Time now, std::int64_t ahead, Duration credit) noexcept {
        return greater(start.opens(now), limit.predict(now, ahead, credit));
    }
};

} // namespace sluice::core

#endif
