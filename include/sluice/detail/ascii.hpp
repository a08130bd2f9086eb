// SPDX-License-Identifier: MIT
//
// Character classes of protocol texts. The ones in <cctype> depend on the locale.
#ifndef SLUICE_DETAIL_ASCII_HPP
#define SLUICE_DETAIL_ASCII_HPP

#include <cstddef>
#include <string_view>

namespace sluice::detail {

[[nodiscard]] constexpr bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

/// string_view::find compares pointers with null, which g++ 12 does not take for constant under
/// -fsanitize=undefined.
[[nodiscard]] constexpr std::size_t index_of(std::string_view text, char wanted) noexcept {
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == wanted) return i;
    }
    return std::string_view::npos;
}

[[nodiscard]] constexpr bool contains(std::string_view text, char wanted) noexcept {
    return index_of(text, wanted) != std::string_view::npos;
}

} // namespace sluice::detail

#endif
