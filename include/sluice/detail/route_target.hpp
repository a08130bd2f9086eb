// SPDX-License-Identifier: MIT
//
// Finds the route template in a raw request target, for proxies and for clients that build their
// own URLs: "https://discord.com/api/v10/channels/123/messages?wait=true".
//
// Routes are recognised by rules, not by a table, so that routes added by Discord later work, too:
//   1. A literal is a lower-case word: a letter or '@', then letters, digits, '-', '_', '.'.
//      Every other segment is an argument: snowflakes, emoji, most codes.
//   2. A lower-case word is an argument, too, after a collection whose members are named by
//      codes, or at the position of a token; unless it starts with '@', as no code or token does.
// Derived from the routes in Discord's docs of 2026-08-06; tests/routes.tsv holds them all.
#ifndef SLUICE_DETAIL_ROUTE_TARGET_HPP
#define SLUICE_DETAIL_ROUTE_TARGET_HPP

#include <sluice/detail/ascii.hpp>
#include <sluice/detail/route_segment.hpp>
#include <sluice/detail/route_template.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace sluice::detail {

[[nodiscard]] constexpr bool is_lower(char c) noexcept {
    return c >= 'a' && c <= 'z';
}

[[nodiscard]] constexpr bool reads_as_literal(std::string_view text) noexcept {
    if (!is_lower(text.front()) && text.front() != '@') return false;
    return std::all_of(text.begin() + 1, text.end(), [](char c) {
        return is_lower(c) || is_digit(c) || c == '-' || c == '_' || c == '.';
    });
}

/// True if the members of a collection are named by codes: codes of invites, templates and
/// instances may be lower-case words, and so may the name that stands for an emoji.
[[nodiscard]] constexpr bool has_coded_members(std::string_view collection) noexcept {
    return collection == "reactions" || collection == "invites" || collection == "templates" ||
           collection == "activity-instances";
}

/// True if `text`, after the segments `before`, is an argument.
[[nodiscard]] constexpr bool is_argument(Segments before, std::string_view text) noexcept {
    if (!reads_as_literal(text)) return true;
    if (text.starts_with('@') || before.empty()) return false;
    if (!before.back().argument) return has_coded_members(before.back().text);
    const std::string_view first = before.front().text;
    return before.size() == 2 && (first == "webhooks" || first == "interactions");
}

/// True for bytes that no request line may hold. They are refused in encoded form, too: no id
/// contains them, and a proxy that logs or forwards a decoded path must not receive them.
[[nodiscard]] constexpr bool is_forbidden(char c) noexcept {
    return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f;
}

/// RFC 3986, section 3.1: the letter case of a scheme does not matter.
[[nodiscard]] constexpr bool is_http(std::string_view scheme) noexcept {
    constexpr std::string_view longest = "https";
    if (scheme.size() < longest.size() - 1 || scheme.size() > longest.size()) return false;
    return std::equal(scheme.begin(), scheme.end(), longest.begin(),
                      [](char c, char lower) { return c == lower || c == lower - 'a' + 'A'; });
}

/// Returns the path of an absolute URL or an absolute path, without query, fragment and last slash.
[[nodiscard]] constexpr std::optional<std::string_view>
path_of_target(std::string_view target) noexcept {
    if (!target.starts_with('/')) {
        const std::size_t scheme = target.find("://");
        if (scheme == std::string_view::npos) return std::nullopt;
        if (!is_http(target.substr(0, scheme))) return std::nullopt;
        target.remove_prefix(scheme + 3);
        const std::size_t host = target.find_first_of("/?#");
        if (host == 0 || host == std::string_view::npos) return std::nullopt;
        target.remove_prefix(host);
    }
    target = target.substr(0, target.find_first_of("?#"));
    if (target.ends_with('/')) target.remove_suffix(1);
    if (target.empty() || target.ends_with('/')) return std::nullopt;
    return target;
}

[[nodiscard]] constexpr std::optional<unsigned> hex_digit(char c) noexcept {
    if (is_digit(c)) return static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
    if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
    return std::nullopt;
}

/// Removes one character, or one percent-encoded byte, from the front and returns it.
[[nodiscard]] constexpr std::optional<char> take_decoded(std::string_view& text) noexcept {
    char taken = text.front();
    text.remove_prefix(1);
    if (taken != '%') return taken;
    if (text.size() < 2) return std::nullopt;
    const auto high = hex_digit(text[0]);
    const auto low = hex_digit(text[1]);
    if (!high || !low) return std::nullopt;
    text.remove_prefix(2);
    return static_cast<char>(*high << 4U | *low);
}

/// True for texts such as "v10".
[[nodiscard]] constexpr bool is_version(std::string_view text) noexcept {
    return text.size() > 1 && text.front() == 'v' &&
           std::all_of(text.begin() + 1, text.end(), is_digit);
}

/// A request target, decoded and split into segments. Owns its bytes, and so is not copied.
class Target {
public:
    /// Leaves ample room for a token, the longest kind of argument.
    static constexpr std::size_t greatest_length = 2048;
    /// The deepest documented route has 7 segments, and 2 may precede it.
    static constexpr std::size_t greatest_depth = 32;

    Target() = default;
    Target(const Target&) = delete;
    Target& operator=(const Target&) = delete;

    /// Reads `target`. Returns false if it is not the path of a route. Call once.
    [[nodiscard]] constexpr bool read(std::string_view target) noexcept {
        if (target.size() > greatest_length) return false;
        if (std::any_of(target.begin(), target.end(), is_forbidden)) return false;
        auto path = path_of_target(target);
        if (!path) return false;
        path->remove_prefix(1);
        while (!path->empty()) {
            if (depth_ == greatest_depth || !append(take_until(*path, '/'))) return false;
        }
        return drop_prefix();
    }

    [[nodiscard]] constexpr Segments segments() const noexcept {
        return Segments{segments_}.subview(first_, depth_ - first_);
    }

private:
    [[nodiscard]] constexpr bool append(std::string_view encoded) noexcept {
        const std::size_t begin = used_;
        while (!encoded.empty()) {
            const auto c = take_decoded(encoded);
            if (!c || is_forbidden(*c)) return false;
            bytes_[used_++] = *c;
        }
        const std::string_view text{bytes_.data() + begin, used_ - begin};
        if (text.empty() || is_dot_segment(text)) return false;
        segments_[depth_++].text = text;
        return true;
    }

    /// Skips "/api" and "/v10", then separates arguments from literals.
    [[nodiscard]] constexpr bool drop_prefix() noexcept {
        if (segments_[first_].text == "api") ++first_;
        if (first_ < depth_ && is_version(segments_[first_].text)) ++first_;
        for (std::size_t i = first_; i < depth_; ++i) {
            const Segments before = Segments{segments_}.subview(first_, i - first_);
            segments_[i].argument = is_argument(before, segments_[i].text);
        }
        return first_ < depth_;
    }

    std::array<char, greatest_length> bytes_{};
    std::array<Segment, greatest_depth> segments_{}; ///< texts point into bytes_
    std::size_t used_ = 0;
    std::size_t first_ = 0; ///< where the route begins
    std::size_t depth_ = 0;
};

} // namespace sluice::detail

#endif
