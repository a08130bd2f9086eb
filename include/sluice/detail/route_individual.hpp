// SPDX-License-Identifier: MIT
//
// Routes that a bot token does not authorise: those of a user's bearer token and of an
// application's secret. A 401 there says nothing about the bot token, and may be the answer to a
// valid one: GET /oauth2/@me answers 401 to it (staff, discord-api-docs#3945, 2021-10: intended).
//
// The routes are listed by family, as a path and everything below it, so that a route added to a
// family later is recognised, too. Routes that share their path with routes of the bot are
// distinguished by method in route_rules.hpp.
#ifndef SLUICE_DETAIL_ROUTE_INDIVIDUAL_HPP
#define SLUICE_DETAIL_ROUTE_INDIVIDUAL_HPP

#include <sluice/detail/route_segment.hpp>

#include <array>
#include <cstddef>
#include <string_view>

namespace sluice::detail {

/// True if `segments` start with those of `path`, in which "{}" is any argument.
[[nodiscard]] constexpr bool lies_below(Segments segments, std::string_view path) noexcept {
    for (const Segment& segment : segments) {
        if (path.empty()) return true;
        path.remove_prefix(1); // the slash
        std::size_t size = 0;
        while (size < path.size() && path[size] != '/')
            ++size;
        const std::string_view wanted = path.substr(0, size);
        if (segment.argument ? wanted != "{}" : wanted != segment.text) return false;
        path.remove_prefix(size);
    }
    return path.empty();
}

[[nodiscard]] constexpr bool is_of_another_individual(Segments segments) noexcept {
    constexpr std::array<std::string_view, 7> families{
        "/oauth2",      // discord-api-docs#3945
        "/partner-sdk", // Discord's specification of 2026-07-18: client secret, or a bearer
        // Docs and specification: scopes `connections`, `role_connections.write`,
        // `applications.entitlements` and `guilds.members.read` of a user.
        "/users/@me/connections",
        "/users/@me/applications",
        "/users/@me/guilds/{}/member",
        // Docs, "Lobby": "uses Bearer token for authorization".
        "/lobbies/{}/members/@me",
        "/lobbies/{}/channel-linking",
    };
    for (const std::string_view family : families) {
        if (lies_below(segments, family)) return true;
    }
    return false;
}

} // namespace sluice::detail

#endif
