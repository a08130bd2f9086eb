// SPDX-License-Identifier: MIT
//
// The grammars of the header values that Discord sends: counts, decimal seconds and the date of
// RFC 9110. Each function takes the text as it arrived and returns a value or nothing.
//
// The invariant: every result is bounded so that nanoseconds hold an instant plus any wait.
// Arithmetic is on integers: "64.57" is exactly 64'570'000'000 ns in every locale.
#ifndef SLUICE_DETAIL_RESPONSE_TEXT_HPP
#define SLUICE_DETAIL_RESPONSE_TEXT_HPP

#include <sluice/detail/ascii.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <system_error>

namespace sluice::detail {

/// No wait of Discord comes near: the longest window seen is 48 h (observed 2020-04,
/// discord-api-docs#1480).
inline constexpr std::chrono::seconds longest_wait = std::chrono::days{366};

/// In the year 2255. Nanoseconds since 1970 end in 2262, which leaves room to add any wait.
inline constexpr std::chrono::seconds latest_instant{9'000'000'000};

/// Longer texts are not numbers that anybody meant to send.
inline constexpr std::size_t longest_number = 64;

/// RFC 9110, 5.5: optional whitespace around a value is spaces and tabs, and not part of it.
[[nodiscard]] constexpr std::string_view trim(std::string_view text) noexcept {
    const auto blank = [](char c) { return c == ' ' || c == '\t'; };
    while (!text.empty() && blank(text.front()))
        text.remove_prefix(1);
    while (!text.empty() && blank(text.back()))
        text.remove_suffix(1);
    return text;
}

/// Equal but for the case of ASCII letters, at the first `Size` characters of both; `lower`
/// consists of small letters and hyphens. The size is a template argument, and the loop goes by
/// words, because this is where Response::parse spends its time: by characters it takes half as
/// long again.
template <std::size_t Size>
[[nodiscard]] bool same_letters_at(const char* text, const char* lower) noexcept {
    constexpr std::size_t step = std::min(Size, sizeof(std::uint64_t));
    std::uint64_t given = 0;
    std::uint64_t wanted = 0;
    std::memcpy(&given, text, step);
    std::memcpy(&wanted, lower, step);
    // In each byte bit 0x40 tells a letter from a hyphen, and bit 0x20 is its case.
    const std::uint64_t letter_case = (wanted & 0x4040404040404040U) >> 1U;
    if (((given ^ wanted) & ~letter_case) != 0) return false;
    if constexpr (Size > step) return same_letters_at<Size - step>(text + step, lower + step);
    return true;
}

template <std::size_t N>
[[nodiscard]] bool same_letters(std::string_view text, const char (&lower)[N]) noexcept {
    return text.size() == N - 1 && same_letters_at<N - 1>(text.data(), lower);
}

template <std::size_t N>
[[nodiscard]] bool starts_with_letters(std::string_view text, const char (&lower)[N]) noexcept {
    return text.size() >= N - 1 && same_letters_at<N - 1>(text.data(), lower);
}

/// `1*DIGIT`, at most 2^31 - 1: products of two counts stay within 64 bits.
[[nodiscard]] inline std::optional<std::int64_t> parse_count(std::string_view text) noexcept {
    text = trim(text);
    if (text.size() > longest_number) return std::nullopt;
    // Into an unsigned number, because from_chars takes a minus sign for a signed one.
    std::uint32_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{} || stop != end) return std::nullopt;
    if (value > std::uint32_t{std::numeric_limits<std::int32_t>::max()}) return std::nullopt;
    return value;
}

struct Decimal {
    std::chrono::nanoseconds value{};
    std::chrono::nanoseconds unit{}; ///< one unit of the last digit as written

    friend constexpr bool operator==(const Decimal&, const Decimal&) = default;
};

/// The digits behind the point. What is finer than a nanosecond counts as a whole one, because a
/// wait may be too long by that much and never too short.
[[nodiscard]] constexpr std::optional<Decimal> parse_fraction(std::string_view digits) noexcept {
    if (digits.empty() || !std::all_of(digits.begin(), digits.end(), is_digit)) return std::nullopt;
    std::int64_t fraction = 0;
    std::int64_t unit = 1'000'000'000;
    while (unit > 1 && !digits.empty()) {
        unit /= 10;
        fraction += unit * (digits.front() - '0');
        digits.remove_prefix(1);
    }
    if (digits.find_first_not_of('0') != std::string_view::npos) ++fraction;
    return Decimal{std::chrono::nanoseconds{fraction}, std::chrono::nanoseconds{unit}};
}

/// `1*DIGIT [ "." 1*DIGIT ]` seconds, at most `most`.
[[nodiscard]] inline std::optional<Decimal> parse_seconds(std::string_view text,
                                                          std::chrono::seconds most) noexcept {
    text = trim(text);
    if (text.size() > longest_number) return std::nullopt;
    std::uint64_t whole = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, whole);
    if (error != std::errc{} || whole > static_cast<std::uint64_t>(most.count())) {
        return std::nullopt;
    }
    Decimal result{std::chrono::seconds{whole}, std::chrono::seconds{1}};
    if (stop != end) {
        if (*stop != '.') return std::nullopt;
        const auto fraction = parse_fraction({stop + 1, static_cast<std::size_t>(end - stop - 1)});
        if (!fraction) return std::nullopt;
        result = {result.value + fraction->value, fraction->unit};
    }
    if (result.value > most) return std::nullopt;
    return result;
}

/// The place of the first three letters of `text` among the names that `names` strings together.
[[nodiscard]] constexpr std::optional<unsigned> parse_name(std::string_view text,
                                                           std::string_view names) noexcept {
    for (std::size_t i = 0; i < names.size(); i += 3) {
        if (text[0] == names[i] && text[1] == names[i + 1] && text[2] == names[i + 2]) {
            return static_cast<unsigned>(i / 3);
        }
    }
    return std::nullopt;
}

/// `width` digits at `offset`. Only for texts that are long enough.
[[nodiscard]] constexpr std::optional<unsigned>
parse_digits(std::string_view text, std::size_t offset, std::size_t width) noexcept {
    unsigned value = 0;
    for (const char c : text.substr(offset, width)) {
        if (!is_digit(c)) return std::nullopt;
        value = value * 10 + static_cast<unsigned>(c - '0');
    }
    return value;
}

/// "06 Nov 1994"
[[nodiscard]] constexpr std::optional<std::chrono::sys_days>
parse_calendar_day(std::string_view text) noexcept {
    const auto day = parse_digits(text, 0, 2);
    const auto month = parse_name(text.substr(3), "JanFebMarAprMayJunJulAugSepOctNovDec");
    const auto year = parse_digits(text, 7, 4);
    if (!day || !month || !year) return std::nullopt;
    const std::chrono::year_month_day date{std::chrono::year{static_cast<int>(*year)},
                                           std::chrono::month{*month + 1}, std::chrono::day{*day}};
    if (!date.ok()) return std::nullopt;
    return std::chrono::sys_days{date};
}

/// "08:49:37", where 60 is a leap second.
[[nodiscard]] constexpr std::optional<std::chrono::seconds>
parse_time_of_day(std::string_view text) noexcept {
    const auto hour = parse_digits(text, 0, 2);
    const auto minute = parse_digits(text, 3, 2);
    const auto second = parse_digits(text, 6, 2);
    if (!hour || !minute || !second) return std::nullopt;
    if (*hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
    return std::chrono::hours{*hour} + std::chrono::minutes{*minute} +
           std::chrono::seconds{*second};
}

/// RFC 9110, 5.6.7, the one form that servers may still send: "Sun, 06 Nov 1994 08:49:37 GMT".
/// The name of the day has to be one, it is not compared with the date.
[[nodiscard]] constexpr std::optional<std::chrono::sys_seconds>
parse_date(std::string_view text) noexcept {
    constexpr std::string_view shape = "ddd, dd mmm yyyy hh:mm:ss GMT";
    text = trim(text);
    if (text.size() != shape.size()) return std::nullopt;
    for (std::size_t i = 0; i < shape.size(); ++i) {
        const bool placeholder = shape[i] >= 'a' && shape[i] <= 'z';
        if (!placeholder && text[i] != shape[i]) return std::nullopt;
    }
    const auto day = parse_calendar_day(text.substr(5));
    const auto time = parse_time_of_day(text.substr(17));
    if (!parse_name(text, "MonTueWedThuFriSatSun") || !day || !time) return std::nullopt;
    const std::chrono::sys_seconds date = *day + *time;
    const auto since_epoch = date.time_since_epoch();
    if (since_epoch.count() < 0 || since_epoch > latest_instant) return std::nullopt;
    return date;
}

} // namespace sluice::detail

#endif
