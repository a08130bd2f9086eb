// SPDX-License-Identifier: MIT
//
// One argument of a route, of any accepted type: an integer, an enum, a text, or a class of a bot
// library that converts to a 64-bit snowflake.
//
// A text that is a canonical decimal number becomes a number, so 123 and "123" are one id. A value
// that no path can carry (negative, empty, dot segments) becomes an invalid argument, never an
// exception: acquire() then refuses the route with an error code.
#ifndef SLUICE_DETAIL_ROUTE_ARGUMENT_HPP
#define SLUICE_DETAIL_ROUTE_ARGUMENT_HPP

#include <sluice/detail/array_view.hpp>
#include <sluice/detail/route_segment.hpp>
#include <sluice/detail/route_template.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace sluice::detail {

enum class ArgumentForm : std::uint8_t { invalid, number, text };

struct Argument {
    ArgumentForm form = ArgumentForm::invalid;
    std::uint64_t number = 0;
    std::string_view text; ///< not owned; lives as long as what the caller passed
};

using Arguments = ArrayView<Argument>;

/// Returns the value of a decimal number without leading zeros that fits 64 bits, else nullopt.
[[nodiscard]] constexpr std::optional<std::uint64_t>
canonical_number(std::string_view text) noexcept {
    constexpr std::uint64_t greatest = ~std::uint64_t{0};
    if (text.empty() || (text.front() == '0' && text.size() > 1)) return std::nullopt;
    std::uint64_t value = 0;
    for (const char c : text) {
        if (c < '0' || c > '9') return std::nullopt;
        const auto digit = static_cast<std::uint64_t>(c - '0');
        if (value > (greatest - digit) / 10) return std::nullopt;
        value = value * 10 + digit;
    }
    return value;
}

[[nodiscard]] constexpr Argument argument_of_text(std::string_view text) noexcept {
    if (text.empty() || is_dot_segment(text)) return {};
    if (const auto number = canonical_number(text)) return {ArgumentForm::number, *number, {}};
    return {ArgumentForm::text, 0, text};
}

template <std::integral Integer>
[[nodiscard]] constexpr Argument argument_of_integer(Integer value) noexcept {
    if constexpr (std::is_signed_v<Integer>) {
        if (value < 0) return {};
    }
    return {ArgumentForm::number, static_cast<std::uint64_t>(value), {}};
}

template <class T>
inline constexpr bool is_character =
    std::is_same_v<T, char> || std::is_same_v<T, wchar_t> || std::is_same_v<T, char8_t> ||
    std::is_same_v<T, char16_t> || std::is_same_v<T, char32_t>;

/// bool and characters are integer types in the language, but mistakes in a path.
template <class T>
concept IntegerId = std::integral<T> && !std::is_same_v<T, bool> && !is_character<T> &&
                    sizeof(T) <= sizeof(std::uint64_t);

template <class T>
concept EnumId = std::is_enum_v<T>;

template <class T>
concept TextId = std::is_convertible_v<const T&, std::string_view> && !std::is_null_pointer_v<T>;

/// Only classes: a double would silently lose digits of a snowflake.
template <class T>
concept SnowflakeId = std::is_class_v<T> && std::is_convertible_v<const T&, std::uint64_t>;

template <class T>
concept RouteId = IntegerId<T> || EnumId<T> || TextId<T> || SnowflakeId<T>;

template <class T>
[[nodiscard]] constexpr Argument argument_of(const T& id) {
    static_assert(RouteId<T>, "sluice::route: an argument is an integer, an enum, a string or a "
                              "class that converts to std::uint64_t; not bool, not a character");
    if constexpr (IntegerId<T>) {
        return argument_of_integer(id);
    } else if constexpr (EnumId<T>) {
        return argument_of_integer(static_cast<std::underlying_type_t<T>>(id));
    } else if constexpr (TextId<T>) {
        if constexpr (std::is_pointer_v<T>) {
            if (id == nullptr) return {};
        }
        return argument_of_text(id);
    } else if constexpr (SnowflakeId<T>) {
        return argument_of_integer(static_cast<std::uint64_t>(id));
    } else {
        return {};
    }
}

[[nodiscard]] constexpr bool all_valid(Arguments arguments) noexcept {
    for (const Argument& argument : arguments) {
        if (argument.form == ArgumentForm::invalid) return false;
    }
    return true;
}

/// Calls `use` with the argument as text. A number's text is valid only during the call.
template <class Use>
auto with_text(const Argument& argument, Use&& use) {
    if (argument.form == ArgumentForm::text) return use(argument.text);
    std::array<char, 20> digits{}; // 2^64 - 1 has 20
    const auto written =
        std::to_chars(digits.data(), digits.data() + digits.size(), argument.number);
    return use(std::string_view{digits.data(), written.ptr});
}

/// Appends one segment of a path. Encodes every character that could end it or change its meaning.
inline void append_encoded(std::string& path, std::string_view text) {
    constexpr std::string_view hex = "0123456789ABCDEF";
    for (const char c : text) {
        if (stays_plain(c)) {
            path += c;
            continue;
        }
        const auto byte = static_cast<unsigned char>(c);
        path += '%';
        path += hex[byte >> 4U];
        path += hex[byte & 15U];
    }
}

/// Returns the path with its braces replaced by valid `arguments`, one for each brace.
[[nodiscard]] inline std::string path_of(Segments segments, Arguments arguments) {
    std::string path;
    auto next = arguments.begin();
    for (const Segment& segment : segments) {
        path += '/';
        if (segment.argument) {
            with_text(*next++, [&](std::string_view text) { append_encoded(path, text); });
        } else {
            path += segment.text;
        }
    }
    return path;
}

} // namespace sluice::detail

#endif
