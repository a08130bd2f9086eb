// SPDX-License-Identifier: MIT
//
// Every route that Discord documents (routes.tsv) or that only its specification and the prose of
// its docs name (routes_spec_only.tsv), filled with realistic ids and parsed in many spellings.
#include <sluice/detail/route_rules.hpp>
#include <sluice/route.hpp>

#include "support/catch.hpp"
#include "support/routes.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

using sluice::Route;
using namespace sluice::tests::routes;

namespace {

/// What a bot may put in one pair of braces. `round` goes through the spellings.
std::string value_for(std::string_view name, std::string_view path, std::size_t round) {
    using Choices = std::array<std::string_view, 4>;
    static constexpr Choices ids{"12345678901234567", "123456789012345678", "1234567890123456789",
                                 "18446744073709551615"};
    static constexpr Choices emoji{"\xF0\x9F\x91\x8D", "%F0%9F%91%8D", "blob:123456789012345678",
                                   "blob%3a123456789012345678"};
    static constexpr Choices codes{"hgM48av5Q69A", "0vcdhlbw", "discord-developers", "12345"};
    static const Choices webhook_tokens{webhook_token, "abcdefgh", "2d-_ABC", "777"};
    if (name == "interaction.token") {
        return round % 2 == 0 ? interaction_token : url_safe_interaction_token;
    }
    if (name == "webhook.token") return std::string{webhook_tokens[round]};
    if (name.ends_with(".code")) return std::string{codes[round]};
    if (name == "instance_id") return "i-1276580072400224306-gc-912952092627435520";
    const bool reaction = name == "emoji.id" && path.find("reactions") != path.npos;
    return std::string{reaction ? emoji[round] : ids[round]};
}

/// Replaces every {name} in `path` by what `fill` gives for it.
std::string filled(std::string_view path,
                   const std::function<std::string(std::string_view)>& fill) {
    std::string out;
    while (!path.empty()) {
        const auto open = std::min(path.find('{'), path.size());
        out += path.substr(0, open);
        path.remove_prefix(open);
        if (path.empty()) break;
        const auto close = path.find('}');
        out += fill(path.substr(1, close - 1));
        path.remove_prefix(close + 1);
    }
    return out;
}

/// Indexed by MajorKind; the words are those of routes.tsv.
constexpr std::array<std::string_view, 6> kinds{"-",       "channel",       "guild",
                                                "webhook", "webhook+token", "interaction token"};

std::string described(const std::optional<Route>& route) {
    if (!route) return "refused";
    return std::string{route->text()} + " | " +
           std::string{kinds[static_cast<std::size_t>(route->major().kind)]};
}

struct Row {
    std::string method;
    std::string path;
    std::string major;
};

std::vector<Row> documented_routes() {
    std::vector<Row> rows;
    for (const auto* name : {"/routes.tsv", "/routes_spec_only.tsv"}) {
        std::ifstream file{std::string{SLUICE_TEST_DIR} + name};
        for (std::string line; std::getline(file, line);) {
            if (line.empty() || line.front() == '#') continue;
            std::istringstream fields{line};
            Row row;
            fields >> row.method >> row.path >> std::ws;
            std::getline(fields, row.major);
            rows.push_back(row);
        }
    }
    return rows;
}

Route filled_route(const Row& row) {
    return parsed(row.method,
                  filled(row.path, [&](auto name) { return value_for(name, row.path, 1); }));
}

} // namespace

TEST_CASE("every documented route is recognised in every spelling of its target", "[R1]") {
    const std::vector<Row> rows = documented_routes();
    REQUIRE(rows.size() == 229 + 22);
    std::vector<std::string> prefixes =
        words_of("/api /api/v10 /v9 /api/v6 https://discord.com/api/v10 https://discordapp.com/api "
                 "https://ptb.discord.com/api/v9 https://canary.discord.com/api "
                 "http://localhost:8080/api/v10 http://[::1]:3000");
    prefixes.emplace_back();
    const std::array<std::string, 5> suffixes{"", "/", "?wait=true&q=/a//b?", "#frag", "/?a=1#x"};
    for (const Row& row : rows) {
        const std::string text = filled(row.path, [](auto) { return "{}"; });
        const std::string expected = row.method + ' ' + text + " | " + row.major;
        for (std::size_t round = 0; round < 4; ++round) {
            const std::string path =
                filled(row.path, [&](auto name) { return value_for(name, row.path, round); });
            for (std::size_t i = 0; i < prefixes.size() * suffixes.size(); ++i) {
                const std::string target =
                    prefixes[i / suffixes.size()] + path + suffixes[i % suffixes.size()];
                CAPTURE(target);
                CHECK(described(Route::parse(row.method, target)) == expected);
            }
        }
    }
}

TEST_CASE("documented routes have identities of their own") {
    std::unordered_set<std::uint64_t> ids;
    std::unordered_set<std::string_view> texts;
    for (const Row& row : documented_routes()) {
        const Route route = parsed(row.method, filled(row.path, [](auto) { return "1"; }));
        CHECK(route.method() == row.method);
        ids.insert(route.id());
        texts.insert(route.text());
    }
    CHECK(ids.size() == texts.size());
}

TEST_CASE("the routes with rules of their own are these of the documented ones, and no others",
          "[R6]") {
    for (const Row& row : documented_routes()) {
        CAPTURE(row.method, row.path);
        const Route route = parsed(row.method, filled(row.path, [](auto) { return "7"; }));
        const bool writes = row.method != "GET";
        const bool of_reactions = row.path.find("/reactions") != row.path.npos;
        CHECK(sluice::detail::writes_reaction(route) == (writes && of_reactions));
        const bool deletes_message =
            row.method == "DELETE" && row.path == "/channels/{channel.id}/messages/{message.id}";
        CHECK((route.message_id() != 0) == deletes_message);
    }
}

TEST_CASE("a webhook is named by the routes that end with its token, and by no others", "[R19]") {
    std::size_t naming = 0;
    for (const Row& row : documented_routes()) {
        CAPTURE(row.method, row.path);
        const auto route = Route::parse(
            row.method, filled(row.path, [&](auto name) { return value_for(name, row.path, 1); }));
        REQUIRE(route.has_value());
        const bool of_webhook = row.path.starts_with("/webhooks/{webhook.id}/{webhook.token}");
        const bool expected = of_webhook && row.path.find("/messages") == std::string::npos;
        CHECK(sluice::detail::names_webhook(*route) == expected);
        naming += expected ? 1 : 0;
    }
    CHECK(naming == 6);
}

TEST_CASE("a documented route is sent without Authorization exactly when its path has a token") {
    for (const Row& row : documented_routes()) {
        CAPTURE(row.method, row.path);
        const bool has_token = row.path.find("token}") != std::string::npos;
        const auto expected = has_token ? sluice::Authorization::none : sluice::Authorization::bot;
        CHECK(filled_route(row).authorization() == expected);
    }
}

TEST_CASE("a 401 on these documented routes says nothing of the bot token, on all others it does") {
    // Discord docs of 2026-08-06 and specification of 2026-07-18; GET /oauth2/@me answers 401 to a
    // valid bot token (staff, discord-api-docs#3945, 2021-10).
    const std::unordered_set<std::string> others{
        "GET /oauth2/@me",
        "GET /oauth2/applications/@me",
        "GET /oauth2/keys",
        "GET /oauth2/userinfo",
        "POST /oauth2/token",
        "POST /oauth2/token/revoke",
        "POST /partner-sdk/provisional-accounts/unmerge",
        "POST /partner-sdk/provisional-accounts/unmerge/bot",
        "POST /partner-sdk/token",
        "POST /partner-sdk/token/bot",
        "PUT /partner-sdk/dms/{}/{}/messages/{}/moderation-metadata",
        "GET /users/@me/connections",
        "GET /users/@me/guilds/{}/member",
        "GET /users/@me/applications/{}/entitlements",
        "GET /users/@me/applications/{}/role-connection",
        "PUT /users/@me/applications/{}/role-connection",
        "DELETE /users/@me/applications/{}/role-connection",
        "PUT /applications/{}/guilds/{}/commands/permissions",
        "PUT /applications/{}/guilds/{}/commands/{}/permissions",
        "PUT /lobbies",
        "GET /lobbies/{}/messages",
        "POST /lobbies/{}/messages",
        "PATCH /lobbies/{}/channel-linking",
        "DELETE /lobbies/{}/members/@me",
        "POST /lobbies/{}/members/@me/invites",
    };
    std::size_t found = 0;
    for (const Row& row : documented_routes()) {
        CAPTURE(row.method, row.path);
        const Route route = filled_route(row);
        const bool of_others = others.contains(std::string{route.text()});
        const bool has_token = row.path.find("token}") != std::string::npos;
        CHECK(sluice::detail::speaks_of_bot_token(route) == !(of_others || has_token));
        CHECK_FALSE(sluice::detail::speaks_of_bot_token(route.unauthenticated()));
        CHECK(sluice::detail::speaks_of_bot_token(route.sublimit("name")) ==
              sluice::detail::speaks_of_bot_token(route));
        found += of_others ? 1 : 0;
    }
    CHECK(found == others.size());
}
