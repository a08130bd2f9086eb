// SPDX-License-Identifier: MIT
//
// An optional number for quantities that cannot be negative: a negative value means absent.
// std::optional keeps a flag beside each number, and every answer has five to write, copy and test.
#ifndef SLUICE_CORE_NON_NEGATIVE_HPP
#define SLUICE_CORE_NON_NEGATIVE_HPP

#include <concepts>
#include <optional>

namespace sluice::core {

/// Used like std::optional<Number>. A negative value that is passed in counts as absent.
template <class Number>
class NonNegative {
public:
    constexpr NonNegative() noexcept = default;
    constexpr NonNegative(std::nullopt_t) noexcept {}
    template <class Given>
    requires std::convertible_to<Given, Number>
    constexpr NonNegative(const Given& number) noexcept : number_(number) {}
    constexpr NonNegative(const std::optional<Number>& number) noexcept
        : number_(number.value_or(none)) {}

    [[nodiscard]] constexpr bool has_value() const noexcept { return number_ >= zero; }
    [[nodiscard]] constexpr explicit operator bool() const noexcept { return has_value(); }
    [[nodiscard]] constexpr const Number& operator*() const noexcept { return number_; }
    [[nodiscard]] constexpr Number value_or(Number other) const noexcept {
        return has_value() ? number_ : other;
    }
    constexpr void reset() noexcept { number_ = none; }

    /// Absent numbers are equal to each other and to no other number.
    friend constexpr bool operator==(NonNegative a, NonNegative b) noexcept {
        return a.number_ == b.number_ || (!a && !b);
    }

private:
    static constexpr Number none{-1};
    static constexpr Number zero{0};

    Number number_ = none;
};

} // namespace sluice::core

#endif
