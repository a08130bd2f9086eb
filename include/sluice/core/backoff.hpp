// SPDX-License-Identifier: MIT
//
// How long a single request pauses before it is tried again, if no answer told how long: after a
// 5xx, after a lost connection, and while a result is not ready. Also after which status it may be
// tried again at all.
#ifndef SLUICE_CORE_BACKOFF_HPP
#define SLUICE_CORE_BACKOFF_HPP

#include <sluice/core/lane.hpp>
#include <sluice/core/time.hpp>

#include <chrono>
#include <cstdint>

namespace sluice::core {

/// True if such a request did not run and was not counted. Discord docs, "HTTP response codes":
/// 502, no gateway was available, "wait a bit and retry". RFC 9110, 15.6.4: 503, the server cannot
/// take it on now.
[[nodiscard]] constexpr bool did_not_run(int status) noexcept {
    return status == 502 || status == 503;
}
/// True if it is unknown whether such a request has run. 520 to 525, 529 and 530 are Cloudflare's,
/// for a connection to Discord that broke (Cloudflare docs, "5xx errors"; JDA repeats 520 to 524
/// and 529).
[[nodiscard]] constexpr bool may_have_run(int status) noexcept {
    return status == 500 || status == 504 || (status >= 520 && status <= 525) || status == 529 ||
           status == 530;
}

struct Backoff {
    Duration first = std::chrono::milliseconds(500);
    Duration most = std::chrono::seconds(16);
};

/// Returns the pause after so many failures in a row. It doubles with each, and is spread over its
/// upper half, so that requests that failed together do not come back together. The mixing is
/// SplitMix64's (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
[[nodiscard]] constexpr Duration pause_after(const Backoff& backoff, int failures,
                                             std::uint64_t arrival, Time moment) noexcept {
    const Duration most = in_range(backoff.most);
    Duration whole = lesser(in_range(backoff.first), most);
    for (int i = 1; i < failures && whole < most; ++i)
        whole = whole > most / 2 ? most : whole * 2;
    std::uint64_t mixed = static_cast<std::uint64_t>(moment.time_since_epoch().count()) +
                          arrival * 0x9e3779b97f4a7c15ULL;
    mixed = (mixed ^ (mixed >> 30U)) * 0xbf58476d1ce4e5b9ULL;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94d049bb133111ebULL;
    mixed ^= mixed >> 31U;
    const std::int64_t half = whole.count() / 2;
    const auto spread = static_cast<std::uint64_t>(greater<std::int64_t>(1, half));
    return Duration(whole.count() - half + static_cast<std::int64_t>(mixed % spread));
}

/// Notes one more failed try of this request, of a kind that may pass, and sets its pause.
inline void pause(Place& place, const Backoff& backoff, Time now) noexcept {
    if (place.failures < UINT8_MAX) ++place.failures;
    place.pause_until(now + pause_after(backoff, place.failures, place.arrival, now));
}

} // namespace sluice::core

#endif
