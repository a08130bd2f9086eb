// SPDX-License-Identifier: MIT
//
// Reads a route template at compile time: "POST /channels/{channel.id}/messages". Each mistake has
// its own fault, because the static_assert that reports it is all that the user sees.
//
// A brace takes a whole segment: no Discord route has an argument inside a segment, and such an
// identity could not be recognised in a raw target.
#ifndef SLUICE_DETAIL_ROUTE_TEMPLATE_HPP
#define SLUICE_DETAIL_ROUTE_TEMPLATE_HPP

#include <sluice/detail/ascii.hpp>
#include <sluice/detail/route_segment.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace sluice::detail {

/// A string literal as a template argument.
template <std::size_t Size>
struct FixedString {
    char chars[Size]{}; // an array, because a template argument needs a structural type

    // Implicit, so that a literal can be used as the template argument.
    consteval FixedString(const char (&text)[Size]) { std::copy_n(text, Size, chars); }

    [[nodiscard]] constexpr std::string_view view() const noexcept { return {chars, Size - 1}; }
};

enum class TemplateFault {
    none,
    method,
    path,
    query,
    prefix,
    empty_segment,
    unbalanced_brace,
    nested_brace,
    empty_brace,
    partial_brace,
    literal
};

/// True for characters that are never percent-encoded: RFC 3986 unreserved characters, and the '@'
/// of "@me".
[[nodiscard]] constexpr bool stays_plain(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           contains("-._~@", c);
}

/// True for segments that URL code removes while resolving a path: the request would reach another
/// route.
[[nodiscard]] constexpr bool is_dot_segment(std::string_view text) noexcept {
    return text == "." || text == "..";
}

[[nodiscard]] constexpr TemplateFault fault_of_braces(std::string_view segment) noexcept {
    bool open = false;
    for (const char c : segment) {
        if (c != '{' && c != '}') continue;
        if (c == '{' && open) return TemplateFault::nested_brace;
        if (c == '}' && !open) return TemplateFault::unbalanced_brace;
        open = !open;
    }
    return open ? TemplateFault::unbalanced_brace : TemplateFault::none;
}

[[nodiscard]] constexpr TemplateFault fault_of_segment(std::string_view segment) noexcept {
    if (segment.empty()) return TemplateFault::empty_segment;
    if (const auto fault = fault_of_braces(segment); fault != TemplateFault::none) return fault;
    if (!contains(segment, '{')) {
        const bool plain = std::all_of(segment.begin(), segment.end(), stays_plain);
        return plain && !is_dot_segment(segment) ? TemplateFault::none : TemplateFault::literal;
    }
    if (segment == "{}") return TemplateFault::empty_brace;
    const bool whole = segment.front() == '{' && index_of(segment, '}') == segment.size() - 1;
    return whole ? TemplateFault::none : TemplateFault::partial_brace;
}

/// Removes and returns the text before `separator`, or all of it if there is none.
[[nodiscard]] constexpr std::string_view take_until(std::string_view& rest, char separator) {
    const std::size_t end = std::min(index_of(rest, separator), rest.size());
    const std::string_view taken = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return taken;
}

/// True if the path starts with the prefix of the API, which precedes the routes in Discord's docs.
/// After it, the words of a major parameter would not be at the expected position.
[[nodiscard]] constexpr bool has_api_prefix(std::string_view path) noexcept {
    constexpr std::string_view digits = "0123456789";
    return path.starts_with("/api/") ||
           (path.starts_with("/v") && path.size() > 2 && contains(digits, path[2]));
}

[[nodiscard]] constexpr TemplateFault fault_of_template(std::string_view text) noexcept {
    const std::size_t space = index_of(text, ' ');
    if (space == std::string_view::npos) return TemplateFault::method;
    if (method_index(text.substr(0, space)) == 0) return TemplateFault::method;
    std::string_view path = text.substr(space + 1);
    if (path.starts_with(' ')) return TemplateFault::method;
    if (!path.starts_with('/')) return TemplateFault::path;
    if (contains(path, '?') || contains(path, '#')) return TemplateFault::query;
    if (has_api_prefix(path)) return TemplateFault::prefix;
    if (path.ends_with('/')) return TemplateFault::empty_segment;
    path.remove_prefix(1);
    while (!path.empty()) {
        const TemplateFault fault = fault_of_segment(take_until(path, '/'));
        if (fault != TemplateFault::none) return fault;
    }
    return TemplateFault::none;
}

/// Returns the segments of a template without faults. Their texts point into the template argument,
/// which has static storage.
template <FixedString Text>
[[nodiscard]] consteval auto split_template() {
    constexpr std::string_view text = Text.view();
    constexpr auto depth = // one slash per segment
        static_cast<std::size_t>(std::count(text.begin(), text.end(), '/'));
    std::array<Segment, depth> segments{};
    std::string_view path = text;
    static_cast<void>(take_until(path, '/'));
    for (Segment& segment : segments) {
        segment.text = take_until(path, '/');
        segment.argument = segment.text.starts_with('{');
    }
    return segments;
}

} // namespace sluice::detail

#endif
