// SPDX-License-Identifier: MIT
//
// The time of the core: integer nanoseconds on a steady line whose origin means nothing. The core
// never reads a clock; every decision takes `now` as an argument, so that it can be replayed.
#ifndef SLUICE_CORE_TIME_HPP
#define SLUICE_CORE_TIME_HPP

#include <chrono>

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

} // namespace sluice::core

#endif
