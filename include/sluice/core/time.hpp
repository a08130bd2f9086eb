// SPDX-License-Identifier: MIT
//
// The time of the core: integer nanoseconds on a steady line with an arbitrary origin. The core
// never reads a clock; every decision takes `now` as an argument, so that it can be replayed.
#ifndef SLUICE_CORE_TIME_HPP
#define SLUICE_CORE_TIME_HPP

#include <chrono>
#include <cstdint>

namespace sluice::core {

using Duration = std::chrono::nanoseconds;

/// Tag of the steady line. It has no `now()` on purpose.
struct Steady {};

using Time = std::chrono::time_point<Steady, Duration>;

/// Later than any time that a decision can name.
inline constexpr Time never = Time::max();

/// As std::min and std::max, but by value: those make a compiler choose between two addresses,
/// which puts both numbers into memory.
template <class Number>
[[nodiscard]] constexpr Number lesser(Number a, Number b) noexcept {
    if (b < a) a = b;
    return a;
}
template <class Number>
[[nodiscard]] constexpr Number greater(Number a, Number b) noexcept {
    if (a < b) a = b;
    return a;
}

/// The longest time that can be set. No bot runs that long, and several of it can be added to the
/// present of any clock before `never`.
inline constexpr Duration longest_setting = std::chrono::years(10);

/// Returns a time that a user has set, limited to between 0 and `longest_setting`, so that nothing
/// computed from it overflows. Users may write Duration::max() for a wait without end.
[[nodiscard]] constexpr Duration in_range(Duration setting) noexcept {
    return greater(Duration(0), lesser(setting, longest_setting));
}

/// Returns `from` plus so many times `each`, or `never` if that is too late to be represented.
[[nodiscard]] constexpr Time later(Time from, std::int64_t times, Duration each) noexcept {
    if (each > Duration(0) && times > (never - from) / each) return never;
    return from + times * each;
}

} // namespace sluice::core

#endif
