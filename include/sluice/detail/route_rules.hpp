// SPDX-License-Identifier: MIT
//
// Rules about some routes that apply before any of their answers has arrived. Each rule can be
// switched off in the options; the limiter then learns the same from answers, at the cost of a 429.
#ifndef SLUICE_DETAIL_ROUTE_RULES_HPP
#define SLUICE_DETAIL_ROUTE_RULES_HPP

#include <sluice/route.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>

namespace sluice::detail {

/// Discord docs, "Snowflakes": the upper 42 bits are milliseconds since the first second of 2015.
[[nodiscard]] constexpr std::chrono::nanoseconds created_at(std::uint64_t snowflake) noexcept {
    constexpr std::chrono::milliseconds discord_epoch(1'420'070'400'000);
    return discord_epoch + std::chrono::milliseconds(static_cast<std::int64_t>(snowflake >> 22U));
}

/// Returns the age class of the message that a request deletes. Observed, not documented
/// (discord-api-docs#1295, 2020-01, to #8330, 2026-05): messages under 10 s, up to 14 days, and
/// older have separate limits.
[[nodiscard]] constexpr std::uint64_t age_class(std::uint64_t message,
                                                std::chrono::nanoseconds wall_time) noexcept {
    const auto age = wall_time - created_at(message);
    if (age < std::chrono::seconds(10)) return 0;
    return age <= std::chrono::days(14) ? 1 : 2;
}

/// Separates the age classes of one route in its identity; odd, so that no two are equal.
inline constexpr std::uint64_t age_class_stride = 0x9e3779b97f4a7c15ULL;

/// Separates a route's requests with unusual authorisation in its identity.
inline constexpr std::uint64_t unusual_authorization = 0x6f74686572206f6eULL;

/// True if the request is sent with another authorisation than is usual for its path: without the
/// bot's token, or with it although the path contains a token.
[[nodiscard]] constexpr bool is_unusual(const Route& asked) noexcept {
    return asked.unusual_;
}

/// The family of all routes that write reactions. Staff, discord-api-docs#981 (2019-07): one bucket
/// for adding, removing and clearing, whatever the emoji.
inline constexpr std::uint64_t reactions = 0x7265616374696f6eULL;

[[nodiscard]] constexpr bool writes_reaction(const Route& asked) noexcept {
    constexpr std::array<std::uint64_t, 5> writes{
        identity_of("PUT /channels/{}/messages/{}/reactions/{}/@me"),
        identity_of("DELETE /channels/{}/messages/{}/reactions/{}/@me"),
        identity_of("DELETE /channels/{}/messages/{}/reactions/{}/{}"),
        identity_of("DELETE /channels/{}/messages/{}/reactions/{}"),
        identity_of("DELETE /channels/{}/messages/{}/reactions"),
    };
    return std::find(writes.begin(), writes.end(), asked.id()) != writes.end();
}

/// True if a 404 means that the webhook no longer exists, not only one of its messages. Discord
/// docs, "Rate Limits": a webhook that answered 404 must not be used again. False for interactions:
/// their follow-ups answer 404 until the callback has run (observed 2026-06,
/// Rapptz/discord.py#10461), and then work.
[[nodiscard]] constexpr bool names_webhook(const Route& asked) noexcept {
    constexpr std::array<std::uint64_t, 6> names{
        identity_of("GET /webhooks/{}/{}"),        identity_of("PATCH /webhooks/{}/{}"),
        identity_of("DELETE /webhooks/{}/{}"),     identity_of("POST /webhooks/{}/{}"),
        identity_of("POST /webhooks/{}/{}/slack"), identity_of("POST /webhooks/{}/{}/github"),
    };
    if (asked.major().kind == MajorKind::interaction) return false;
    return std::find(names.begin(), names.end(), asked.id()) != names.end();
}

/// True if a 401 means that the bot token is refused: no more requests may be sent with it then.
/// False for requests without the token, for paths with a token of their own (JSON code 50027), and
/// for routes that other individuals are authorised for.
[[nodiscard]] constexpr bool speaks_of_bot_token(const Route& asked) noexcept {
    // Docs, "Application Commands": a bot token gets an error. Docs, "Lobby": bearer only; POST
    // /lobbies and .../messages/{}/moderation-metadata accept the bot's token.
    constexpr std::array<std::uint64_t, 5> bearer_only{
        identity_of("PUT /applications/{}/guilds/{}/commands/permissions"),
        identity_of("PUT /applications/{}/guilds/{}/commands/{}/permissions"),
        identity_of("PUT /lobbies"),
        identity_of("GET /lobbies/{}/messages"),
        identity_of("POST /lobbies/{}/messages"),
    };
    if (asked.authorization() == Authorization::none || asked.of_another_) return false;
    if (asked.major().family() == MajorKind::webhook_token) return false;
    return std::find(bearer_only.begin(), bearer_only.end(), asked.id()) == bearer_only.end();
}

/// True if a 423 is worth another try. Discord docs, "Merging Provisional Accounts" (2026-04-09):
/// an account that is being merged is locked for a while, "wait and retry".
[[nodiscard]] constexpr bool merges_accounts(const Route& asked) noexcept {
    constexpr std::array<std::uint64_t, 5> merges{
        identity_of("POST /partner-sdk/token"),
        identity_of("POST /partner-sdk/token/bot"),
        identity_of("POST /partner-sdk/provisional-accounts/unmerge"),
        identity_of("POST /partner-sdk/provisional-accounts/unmerge/bot"),
        identity_of("POST /oauth2/token"),
    };
    return std::find(merges.begin(), merges.end(), asked.id()) != merges.end();
}

} // namespace sluice::detail

#endif
