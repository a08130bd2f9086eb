// SPDX-License-Identifier: MIT
//
// Character classes of protocol texts. The ones in <cctype> depend on the locale.
#ifndef SLUICE_DETAIL_ASCII_HPP
#define SLUICE_DETAIL_ASCII_HPP

namespace sluice::detail {

[[nodiscard]] constexpr bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

} // namespace sluice::detail

#endif
