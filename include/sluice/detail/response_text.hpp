// SPDX-License-Identifier: MIT
//
// The grammars of the header values that Discord sends: counts, decimal seconds and the date of
// RFC 9110. Each function takes the text as it arrived and returns a value or nothing.
//
// Invariant: every result is bounded so that nanoseconds can hold an instant plus any wait.
// Arithmetic is on integers: "64.57" is exactly 64'570'000'000 ns in every locale.
#ifndef SLUICE_DETAIL_RESPONSE_TEXT_HPP
#define SLUICE_DETAIL_RESPONSE_TEXT_HPP

#include <sluice/detail/ascii.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <system_error>
#include <type_traits>

namespace sluice::detail {

/// Far above any wait of Discord: the longest observed window is 48 h (2020-04,
/// discord-api-docs#1480).
inline constexpr std::chrono::seconds longest_wait = std::chrono::days{366};

/// In the year 2255. Nanoseconds since 1970 end in 2262, which leaves room to add any wait.
inline constexpr std::chrono::seconds latest_instant{9'000'000'000};

/// Longer texts are not treated as numbers.
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

/// True if the first sizeof(Word) characters of both are equal, ignoring the case of ASCII letters.
template <class Word>
[[nodiscard]] bool same_word(const char* text, const char* lower) noexcept {
    constexpr Word each = static_cast<Word>(~Word{0}) / 0xff; // times a byte: repeats it
    Word given = 0;
    Word wanted = 0;
    std::memcpy(&given, text, sizeof given);
    std::memcpy(&wanted, lower, sizeof wanted);
    // In each byte, bit 0x40 distinguishes a letter from a hyphen, and bit 0x20 is the letter's
    // case.
    const auto letter_case = static_cast<Word>((wanted & each * 0x40) >> 1);
    return ((given ^ wanted) & ~letter_case) == 0;
}

/// True if the first `Size` characters are equal, ignoring case; `lower` consists of lower-case
/// letters and hyphens. Compares whole words, the last of which may overlap the one before:
/// Response::parse spends its time here, and assembling a word from parts costs more than it saves.
template <std::size_t Size>
[[nodiscard]] bool same_letters_at(const char* text, const char* lower) noexcept {
    using Small = std::conditional_t<(Size >= 2), std::uint16_t, std::uint8_t>;
    using Middle = std::conditional_t<(Size >= 4), std::uint32_t, Small>;
    using Word = std::conditional_t<(Size >= 8), std::uint64_t, Middle>;
    constexpr std::size_t last = Size - sizeof(Word);
    for (std::size_t at = 0; at < last; at += sizeof(Word)) {
        if (!same_word<Word>(text + at, lower + at)) return false;
    }
    return same_word<Word>(text + last, lower + last);
}

template <std::size_t N>
[[nodiscard]] bool same_letters(std::string_view text, const char (&lower)[N]) noexcept {
    return text.size() == N - 1 && same_letters_at<N - 1>(text.data(), lower);
}

template <std::size_t N>
[[nodiscard]] bool starts_with_letters(std::string_view text, const char (&lower)[N]) noexcept {
    return text.size() >= N - 1 && same_letters_at<N - 1>(text.data(), lower);
}

/// Parses `1*DIGIT`, at most 2^31 - 1: products of two counts fit 64 bits.
[[nodiscard]] inline std::optional<std::int64_t> parse_count(std::string_view text) noexcept {
    text = trim(text);
    if (text.size() > longest_number) return std::nullopt;
    // An unsigned type, because from_chars accepts a minus sign for a signed one.
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

/// Parses the digits after the point. A fraction of a nanosecond is rounded up, because a wait may
/// be too long by that much and never too short.
[[nodiscard]] constexpr std::optional<Decimal> parse_fraction(std::string_view digits) noexcept {
    if (digits.empty()) return std::nullopt;
    std::int64_t fraction = 0;
    std::int64_t unit = 1'000'000'000;
    bool finer = false;
    for (const char c : digits) {
        if (!is_digit(c)) return std::nullopt;
        if (unit > 1) {
            unit /= 10;
            fraction += unit * (c - '0');
        } else {
            finer = finer || c != '0';
        }
    }
    return Decimal{std::chrono::nanoseconds{fraction + (finer ? 1 : 0)},
                   std::chrono::nanoseconds{unit}};
}

/// Parses `1*DIGIT [ "." 1*DIGIT ]` seconds, at most `most`.
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

/// Returns the three letters from `at` on as one number. The text must be long enough.
[[nodiscard]] constexpr std::uint32_t letters_at(std::string_view text, std::size_t at) noexcept {
    std::uint32_t letters = 0;
    for (std::size_t i = at; i < at + 3; ++i)
        letters = letters << 8U | static_cast<unsigned char>(text[i]);
    return letters;
}

/// A table of three-letter names, concatenated in one text.
template <std::size_t Count>
struct Names {
    constexpr explicit Names(std::string_view text) noexcept {
        for (std::size_t i = 0; i < Count; ++i)
            letters[i] = letters_at(text, 3 * i);
    }
    /// Returns the index of the name; Count: not found.
    [[nodiscard]] constexpr unsigned find(std::uint32_t name) const noexcept {
        unsigned at = 0;
        while (at < Count && letters[at] != name)
            ++at;
        return at;
    }

    std::array<std::uint32_t, Count> letters{};
};
inline constexpr Names<12> month_names("JanFebMarAprMayJunJulAugSepOctNovDec");
inline constexpr Names<7> day_names("MonTueWedThuFriSatSun");

/// Returns two digits from `at` on; above 99 if they are not digits. The text must be long enough.
[[nodiscard]] constexpr unsigned two_digits(std::string_view text, std::size_t at) noexcept {
    constexpr unsigned none = 1'000;
    const char tens = text[at];
    const char ones = text[at + 1];
    if (!is_digit(tens) || !is_digit(ones)) return none;
    return static_cast<unsigned>(tens - '0') * 10 + static_cast<unsigned>(ones - '0');
}

/// Parses "06 Nov 1994" from `at` on.
[[nodiscard]] constexpr std::optional<std::chrono::sys_days>
parse_calendar_day(std::string_view text, std::size_t at) noexcept {
    const unsigned day = two_digits(text, at);
    const unsigned month = month_names.find(letters_at(text, at + 3)) + 1;
    const unsigned century = two_digits(text, at + 7);
    const unsigned year = two_digits(text, at + 9);
    if (day > 31 || century > 99 || year > 99) return std::nullopt;
    const std::chrono::year_month_day date{
        std::chrono::year{static_cast<int>(century * 100 + year)}, std::chrono::month{month},
        std::chrono::day{day}};
    if (!date.ok()) return std::nullopt;
    return std::chrono::sys_days{date};
}

/// Parses "08:49:37" from `at` on, where 60 is a leap second.
[[nodiscard]] constexpr std::optional<std::chrono::seconds>
parse_time_of_day(std::string_view text, std::size_t at) noexcept {
    const unsigned hour = two_digits(text, at);
    const unsigned minute = two_digits(text, at + 3);
    const unsigned second = two_digits(text, at + 6);
    if (hour > 23 || minute > 59 || second > 60) return std::nullopt;
    return std::chrono::hours{hour} + std::chrono::minutes{minute} + std::chrono::seconds{second};
}

/// Parses the only form that servers may still send (RFC 9110, 5.6.7): "Sun, 06 Nov 1994 08:49:37
/// GMT". The name of the day must be valid, but is not compared with the date.
[[nodiscard]] constexpr std::optional<std::chrono::sys_seconds>
parse_date(std::string_view text) noexcept {
    constexpr std::string_view shape = "ddd, dd mmm yyyy hh:mm:ss GMT";
    text = trim(text);
    if (text.size() != shape.size()) return std::nullopt;
    const auto fits = [text, shape](auto... at) { return (... && (text[at] == shape[at])); };
    if (!fits(3U, 4U, 7U, 11U, 16U, 19U, 22U, 25U, 26U, 27U, 28U)) return std::nullopt;
    const auto day = parse_calendar_day(text, 5);
    const auto time = parse_time_of_day(text, 17);
    if (day_names.find(letters_at(text, 0)) == 7 || !day || !time) return std::nullopt;
    const std::chrono::sys_seconds date = *day + *time;
    const auto since_epoch = date.time_since_epoch();
    if (since_epoch.count() < 0 || since_epoch > latest_instant) return std::nullopt;
    return date;
}

} // namespace sluice::detail

#endif
