// SPDX-License-Identifier: MIT
//
// The time of the core: integer nanoseconds on a steady line whose origin means nothing. The core
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

/// Later than every time that a decision can name.
inline constexpr Time never = Time::max();

/// As std::min and std::max, but by value: those make a compiler choose between two addresses, and
/// both numbers go to memory for it.
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

/// The longest time that can be set. No bot runs that long, and on any clock several of it can be
/// added to the present before `never`.
inline constexpr Duration longest_setting = std::chrono::years(10);

/// A time as a user sets it, who may write Duration::max() for "for ever", brought between 0 and
/// `longest_setting`, so that nothing which is reckoned with it overflows.
[[nodiscard]] constexpr Duration in_range(Duration setting) noexcept {
    return greater(Duration(0), lesser(setting, longest_setting));
}

/// `from` plus so many times `each`, or `never`: some waits are longer than time lasts.
[[nodiscard]] constexpr Time later(Time from, std::int64_t times, Duration each) noexcept {
    if (each > Duration(0) && times > (never - from) / each) return never;
    return from + times * each;
}

} // namespace sluice::core

#endif
