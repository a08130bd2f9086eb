// SPDX-License-Identifier: MIT
//
// A route describes what Discord's rate limits see of a request: a method, a path template, and the
// major parameter of this call.
//
//     inline constexpr auto create_message = sluice::route<"POST /channels/{channel.id}/messages">;
//     sluice::Route route = create_message(channel_id);
//     std::string path = create_message.path(channel_id);     // "/channels/123/messages"
//     auto same = sluice::Route::parse("POST", "/api/v10/channels/123/messages?wait=true");
//
// A template is checked at compile time. Brace names are not part of its identity: a route made
// from a template equals the route parsed from a raw target. Tokens in a path are never stored.
// Source: Discord docs, "Rate Limits"; the routes of the docs of 2026-08-06.
#ifndef SLUICE_ROUTE_HPP
#define SLUICE_ROUTE_HPP

#include <sluice/core/major.hpp>
#include <sluice/detail/route_argument.hpp>
#include <sluice/detail/route_individual.hpp>
#include <sluice/detail/route_major.hpp>
#include <sluice/detail/route_segment.hpp>
#include <sluice/detail/route_target.hpp>
#include <sluice/detail/route_template.hpp>
#include <sluice/detail/route_texts.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace sluice {

using Major = core::Major;
using MajorKind = core::MajorKind;

/// The individual whose limits a request counts against. Discord docs, "Rate Limits": the
/// individual that the Authorization header names; without a header, the address that the request
/// comes from.
enum class Authorization : std::uint8_t {
    bot, ///< the header names the bot, or another individual that the limiter belongs to
    none ///< no header: the outgoing address
};

class Route;

namespace detail {
template <FixedString Text>
class RouteTemplate;
constexpr bool speaks_of_bot_token(const Route& asked) noexcept;
[[nodiscard]] constexpr bool is_unusual(const Route& asked) noexcept; // in route_rules.hpp
} // namespace detail

/// One call of one route. A small value type: copy it, compare it, use it as a key. It holds no
/// reference to its arguments. Distinct and shared objects may be read from any thread.
class Route {
public:
    /// Makes an invalid route; acquire() refuses it with errc::invalid_route. A call of a template
    /// with arguments that no path can carry also makes an invalid route: a negative number, an
    /// empty text, "." and "..".
    constexpr Route() = default;

    /// Parses a raw target: an absolute path or an http(s) URL of any host, with or without "/api"
    /// and "/v10", percent-encoded or not; the query is ignored. Returns nullopt if the method is
    /// not one of the five, or the target is not a path of an API: malformed escapes, control
    /// characters, empty or dot segments, more than 2048 bytes or more than 32 segments.
    [[nodiscard]] static std::optional<Route> parse(std::string_view method,
                                                    std::string_view target) noexcept;

    [[nodiscard]] constexpr bool valid() const noexcept { return id_ != 0; }

    /// Returns the method, such as "POST"; empty if the route is invalid.
    [[nodiscard]] constexpr std::string_view method() const noexcept {
        return detail::methods[method_];
    }

    [[nodiscard]] constexpr const Major& major() const noexcept { return major_; }

    /// Returns the identity of the template. Equal in every process and every build; 0 if the route
    /// is invalid.
    [[nodiscard]] constexpr std::uint64_t id() const noexcept { return id_; }

    /// Returns the template's text, such as "POST /channels/{}/messages"; it stays valid until the
    /// program ends. For logs: empty if more than 4096 templates were parsed before this one.
    [[nodiscard]] constexpr std::string_view text() const noexcept { return text_; }

    /// Returns this route tagged as part of a sublimit: a limit that no header shows, shared by the
    /// requests with this tag. Example: "name" for requests that rename a channel. "" removes the
    /// tag.
    [[nodiscard]] constexpr Route sublimit(std::string_view name) const noexcept;

    /// Returns a number that stands for the name given to sublimit(); 0 without a name.
    [[nodiscard]] constexpr std::uint32_t tag() const noexcept { return tag_; }

    /// Returns this route, sent without an Authorization header. For public routes, such as GET
    /// /invites/{}: the request then does not use the bot's quota.
    [[nodiscard]] constexpr Route unauthenticated() const noexcept {
        return with_authorization(Authorization::none);
    }

    /// Returns this route, sent with the bot's Authorization header although its path has a token.
    /// Such a webhook counts against the bot (observed 2022-12, discord-api-docs#5806).
    [[nodiscard]] constexpr Route authenticated() const noexcept {
        return with_authorization(Authorization::bot);
    }

    /// Returns whose limits the request counts against. Default: none if the path has a token of a
    /// webhook or an interaction, and bot otherwise. Part of the route's identity, because the
    /// counters differ.
    [[nodiscard]] constexpr Authorization authorization() const noexcept {
        return has_path_token() != unusual_ ? Authorization::none : Authorization::bot;
    }

    /// True for interaction endpoints, both the callback and the follow-ups: they are not bound to
    /// the global limit (Discord docs, "Rate Limits").
    [[nodiscard]] constexpr bool exempt_from_global() const noexcept {
        return major_.kind == MajorKind::interaction;
    }

    /// Returns the message that `DELETE /channels/{}/messages/{}` deletes; 0 for every other route.
    /// Discord limits that route by the message's age. Not part of the route's identity.
    [[nodiscard]] constexpr std::uint64_t message_id() const noexcept { return message_id_; }

    friend constexpr bool operator==(const Route& a, const Route& b) noexcept {
        return a.id_ == b.id_ && a.tag_ == b.tag_ && a.major_ == b.major_ &&
               a.unusual_ == b.unusual_;
    }

private:
    template <detail::FixedString Text>
    friend class detail::RouteTemplate;
    friend constexpr bool detail::speaks_of_bot_token(const Route& asked) noexcept;
    friend constexpr bool detail::is_unusual(const Route& asked) noexcept;

    constexpr Route(std::uint64_t id, std::string_view text, std::uint8_t method, MajorKind kind,
                    bool of_another, detail::Arguments arguments);

    [[nodiscard]] constexpr bool has_path_token() const noexcept {
        return major_.family() == MajorKind::webhook_token;
    }
    [[nodiscard]] constexpr Route with_authorization(Authorization authorization) const noexcept {
        Route changed = *this;
        changed.unusual_ = (authorization == Authorization::none) != has_path_token();
        return changed;
    }

    std::uint64_t id_ = 0;
    Major major_{};
    std::string_view text_;
    std::uint64_t message_id_ = 0;
    std::uint32_t tag_ = 0;
    std::uint8_t method_ = 0; ///< index into detail::methods
    bool unusual_ = false;    ///< its authorization differs from the default
    bool of_another_ = false; ///< see detail::is_of_another_individual
};

namespace detail {

/// The type of sluice::route<"...">. Calling it does not allocate if the ids are numbers.
template <FixedString Text>
class RouteTemplate {
    static constexpr TemplateFault fault = fault_of_template(Text.view());
    static_assert(fault != TemplateFault::method,
                  "sluice::route: the template starts with GET, POST, PUT, PATCH or DELETE and one "
                  "space");
    static_assert(fault != TemplateFault::path, "sluice::route: the path starts with '/'");
    static_assert(fault != TemplateFault::query,
                  "sluice::route: a template has no query string and no fragment");
    static_assert(fault != TemplateFault::prefix,
                  "sluice::route: a template starts behind /api and the version");
    static_assert(fault != TemplateFault::empty_segment,
                  "sluice::route: the path has an empty segment");
    static_assert(fault != TemplateFault::unbalanced_brace,
                  "sluice::route: the braces are not balanced within their segment");
    static_assert(fault != TemplateFault::nested_brace, "sluice::route: braces are nested");
    static_assert(fault != TemplateFault::empty_brace,
                  "sluice::route: braces are empty, give the argument a name");
    static_assert(fault != TemplateFault::partial_brace,
                  "sluice::route: braces take a whole segment of the path");
    static_assert(fault != TemplateFault::literal,
                  "sluice::route: a literal segment holds letters, digits and -._~@ only, and is "
                  "not \".\" or \"..\"");

public:
    /// Returns the route with these ids, in the order of the braces. An id is an integer, an enum,
    /// a string, or a class that converts to std::uint64_t. Returns an invalid route if no path can
    /// carry an id.
    template <class... Ids>
    [[nodiscard]] constexpr Route operator()(const Ids&... ids) const {
        check_count<sizeof...(Ids)>();
        const std::array<Argument, sizeof...(Ids)> arguments{argument_of(ids)...};
        if (!all_valid(arguments)) return {};
        return Route{id, text, method_number, major, of_another, arguments};
    }

    /// Returns the path to request, percent-encoded; empty if operator() would return an invalid
    /// route.
    template <class... Ids>
    [[nodiscard]] std::string path(const Ids&... ids) const {
        check_count<sizeof...(Ids)>();
        const std::array<Argument, sizeof...(Ids)> arguments{argument_of(ids)...};
        if (!all_valid(arguments)) return {};
        return path_of(segments, arguments);
    }

private:
    template <std::size_t Given>
    static constexpr void check_count() noexcept {
        static_assert(Given == braces,
                      "sluice::route: this template takes another number of arguments");
    }

    static constexpr auto segments = split_template<Text>();
    static constexpr auto braces = static_cast<std::size_t>(std::count_if(
        segments.begin(), segments.end(), [](const Segment& segment) { return segment.argument; }));
    static constexpr std::string_view method = Text.view().substr(0, index_of(Text.view(), ' '));
    static constexpr std::uint8_t method_number = method_index(method);
    static constexpr MajorKind major = major_kind_of_template(segments);
    static constexpr bool of_another = is_of_another_individual(segments);
    static constexpr std::uint64_t id = identity_of(method, segments);
    static constexpr auto normalised = [] {
        std::array<char, normalised_size(method, segments)> chars{};
        auto* end = chars.data();
        write_normalised(method, segments, [&](std::string_view piece) {
            end = std::copy(piece.begin(), piece.end(), end);
        });
        return chars;
    }();
    static constexpr std::string_view text{normalised.data(), normalised.size()};
};

} // namespace detail

/// The template of a route, such as sluice::route<"POST /channels/{channel.id}/messages">.
template <detail::FixedString Text>
inline constexpr detail::RouteTemplate<Text> route{};

namespace detail {

/// Discord limits deletes of young, older and very old messages separately (observed 2026-05,
/// discord-api-docs#8330), so this one route keeps its message.
inline constexpr std::uint64_t delete_message = identity_of("DELETE /channels/{}/messages/{}");

} // namespace detail

constexpr Route::Route(std::uint64_t id, std::string_view text, std::uint8_t method, MajorKind kind,
                       bool of_another, detail::Arguments arguments)
    : id_{id},
      major_{detail::major_of(kind, arguments)},
      text_{text},
      message_id_{id == detail::delete_message ? arguments[1].number : 0},
      method_{method},
      of_another_{of_another} {}

constexpr Route Route::sublimit(std::string_view name) const noexcept {
    Route tagged = *this;
    tagged.tag_ = 0;
    if (name.empty()) return tagged;
    const std::uint64_t hash = detail::TextHash{}.add(name).value();
    tagged.tag_ = static_cast<std::uint32_t>(hash);
    if (tagged.tag_ == 0) tagged.tag_ = 1; // 0 means untagged
    return tagged;
}

inline std::optional<Route> Route::parse(std::string_view method,
                                         std::string_view target) noexcept {
    detail::Target read;
    const std::uint8_t number = detail::method_index(method);
    if (number == 0 || !read.read(target)) return std::nullopt;
    const detail::Segments segments = read.segments();
    std::array<detail::Argument, detail::Target::greatest_depth> arguments{};
    std::size_t count = 0;
    for (const detail::Segment& segment : segments) {
        if (segment.argument) arguments[count++] = detail::argument_of_text(segment.text);
    }
    const std::uint64_t id = detail::identity_of(method, segments);
    return Route{id,
                 detail::interned_text(id, method, segments),
                 number,
                 detail::major_kind(segments),
                 detail::is_of_another_individual(segments),
                 detail::Arguments{arguments}.subview(0, count)};
}

} // namespace sluice

template <>
struct std::hash<sluice::Route> {
    [[nodiscard]] constexpr std::size_t operator()(const sluice::Route& route) const noexcept {
        // Both parts are well mixed already; the tag and the authorization are spread.
        const std::uint64_t tag =
            std::uint64_t{route.tag()} << 1U | static_cast<std::uint64_t>(route.authorization());
        const std::uint64_t tagged = route.id() + tag * 0x9e3779b97f4a7c15ULL;
        return static_cast<std::size_t>(tagged) ^ route.major().hash();
    }
};

#endif
