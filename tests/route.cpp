// SPDX-License-Identifier: MIT
//
// Routes: the identity of a template, the major parameter, and the reading of raw targets. The
// routes that Discord documents are in route_documented.cpp.
#include <sluice/route.hpp>

#include "support/catch.hpp"
#include "support/routes.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <random>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <vector>

using sluice::MajorKind;
using sluice::Route;
using namespace sluice::tests::routes;

static_assert(std::is_trivially_copyable_v<Route>);
static_assert(sizeof(Route) <= 64);
static_assert(noexcept(Route::parse("", "")));

namespace {

constexpr auto create_message = sluice::route<"POST /channels/{channel.id}/messages">;
constexpr auto delete_message =
    sluice::route<"DELETE /channels/{channel.id}/messages/{message.id}">;
constexpr auto add_reaction =
    sluice::route<"PUT /channels/{channel.id}/messages/{message.id}/reactions/{emoji.id}/@me">;
constexpr auto get_guild = sluice::route<"GET /guilds/{guild.id}">;
constexpr auto get_webhook = sluice::route<"GET /webhooks/{webhook.id}">;
constexpr auto execute_webhook = sluice::route<"POST /webhooks/{webhook.id}/{webhook.token}">;
constexpr auto follow_up = sluice::route<"POST /webhooks/{application.id}/{interaction.token}">;
constexpr auto callback =
    sluice::route<"POST /interactions/{interaction.id}/{interaction.token}/callback">;
constexpr auto get_gateway = sluice::route<"GET /gateway/bot">;

enum class ChannelId : std::uint64_t {};
enum OldChannelId { old_channel = 123 };

struct Snowflake {
    std::uint64_t value;
    operator std::uint64_t() const { return value; } // implicit, as in bot libraries
};

struct NamedSnowflake {
    operator std::uint64_t() const { return 999; }
    operator std::string_view() const { return "123"; }
};

} // namespace

TEST_CASE("a parsed target equals the route made from the template") {
    CHECK(create_message(1) == parsed("POST", "/channels/1/messages"));
    CHECK(create_message(1).text() == parsed("POST", "/channels/1/messages").text());
    CHECK(get_gateway() == parsed("GET", "/api/v10/gateway/bot"));
    CHECK(get_guild(77) == parsed("GET", "/guilds/77?with_counts=true"));
    CHECK(get_webhook(8) == parsed("GET", "/webhooks/8"));
    CHECK(execute_webhook(8, webhook_token) == parsed("POST", "/webhooks/8/" + webhook_token));
    CHECK(execute_webhook(8, 9) == parsed("POST", "/webhooks/8/9"));
    CHECK(add_reaction(1, 2, "\xF0\x9F\x91\x8D") ==
          parsed("PUT", "/channels/1/messages/2/reactions/%F0%9F%91%8D/@me"));
    CHECK(add_reaction(1, 2, "\xF0\x9F\x91\x8D") ==
          parsed("PUT", "/channels/1/messages/2/reactions/\xF0\x9F\x91\x8D/%40me"));
}

TEST_CASE("what a template filled into a path says is read back from the path") {
    const Route made = add_reaction(1, 2, "blob:3");
    CHECK(parsed("PUT", add_reaction.path(1, 2, "blob:3")) == made);
    const Route odd = sluice::route<"GET /invites/{invite.code}">("a/b?c#d%e");
    CHECK(parsed("GET", sluice::route<"GET /invites/{invite.code}">.path("a/b?c#d%e")) == odd);
}

TEST_CASE("brace names do not matter to the identity of a route") {
    constexpr auto other = sluice::route<"POST /channels/{thread}/messages">;
    CHECK(other(5) == create_message(5));
    CHECK(std::hash<Route>{}(other(5)) == std::hash<Route>{}(create_message(5)));
}

TEST_CASE("method, literals and number of segments make different routes") {
    const Route route = create_message(1);
    CHECK_FALSE(route == sluice::route<"GET /channels/{channel.id}/messages">(1));
    CHECK_FALSE(route == sluice::route<"POST /channels/{channel.id}/webhooks">(1));
    CHECK_FALSE(route == sluice::route<"POST /guilds/{guild.id}/messages">(1));
    CHECK_FALSE(route == sluice::route<"POST /channels/{channel.id}/messages/{a}">(1, 2));
    CHECK_FALSE(route == create_message(2));
}

TEST_CASE("a route is usable at compile time when its ids are numbers") {
    constexpr Route gateway = get_gateway();
    static_assert(gateway.valid() && gateway.text() == "GET /gateway/bot");
    constexpr Route message = create_message(1);
    static_assert(message == create_message("1") && message.major().low == 1);
    CHECK(gateway.method() == "GET");
}

TEST_CASE("identities and digests are the same in every build") {
    // A changed hash would split the state that several processes share.
    // Computed apart from this code: FNV-1a with MurmurHash3's finaliser, and a version 5 UUID of
    // the token in the namespace 00000000-0000-0000-0000-000000000008.
    CHECK(get_gateway().id() == 0x651c37aa4e40fc58ULL);
    const sluice::Major webhook = execute_webhook(8, webhook_token).major();
    CHECK(webhook.high == 0x6a1908b3209d5c66ULL);
    CHECK(webhook.low == 0x972ab6a5491dcb4dULL);
}

TEST_CASE("integers, enums, strings and snowflake classes name the same resource") {
    const Route route = create_message(123);
    CHECK(create_message(123U) == route);
    CHECK(create_message(std::int8_t{123}) == route);
    CHECK(create_message(123ULL) == route);
    CHECK(create_message(ChannelId{123}) == route);
    CHECK(create_message(old_channel) == route);
    CHECK(create_message("123") == route);
    CHECK(create_message(std::string{"123"}) == route);
    CHECK(create_message(Snowflake{123}) == route);
    CHECK(create_message(NamedSnowflake{}) == route);
}

TEST_CASE("ids up to 64 bits are kept, anything else becomes a digest") {
    const sluice::Major greatest = create_message("18446744073709551615").major();
    CHECK(greatest.low == UINT64_MAX);
    CHECK(greatest.high == 0);
    CHECK(create_message(UINT64_MAX).major() == greatest);
    CHECK(create_message("18446744073709551616").major().high != 0);
    CHECK(create_message("99999999999999999999").major().high != 0);
    CHECK(create_message("0123").major().high != 0);
    CHECK_FALSE(create_message("0123") == create_message(123));
    CHECK(create_message("general").major().high != 0);
    CHECK_FALSE(create_message("general") == create_message("random"));
    CHECK(create_message(0).valid());
}

TEST_CASE("what no path can carry gives an invalid route and an empty path") {
    const auto refused = [](const auto& id) {
        return !create_message(id).valid() && create_message.path(id).empty();
    };
    CHECK(refused(-1));
    CHECK(refused(INT64_MIN));
    CHECK(refused(""));
    CHECK(refused("."));
    CHECK(refused(".."));
    CHECK(refused(std::string{}));
    CHECK(refused(static_cast<const char*>(nullptr)));
    CHECK_FALSE(refused("..."));
    CHECK_FALSE(delete_message(1, "").valid());
    CHECK(create_message("") == Route{});
    CHECK(Route{}.method().empty());
    CHECK(Route{}.text().empty());
    CHECK_FALSE(Route{}.valid());
}

TEST_CASE("a path encodes everything but unreserved characters and the at sign") {
    CHECK(create_message.path(123) == "/channels/123/messages");
    CHECK(create_message.path("007") == "/channels/007/messages");
    CHECK(create_message.path(UINT64_MAX) == "/channels/18446744073709551615/messages");
    CHECK(create_message.path("aZ09-._~@") == "/channels/aZ09-._~@/messages");
    CHECK(create_message.path("a/b?c#d%e f") == "/channels/a%2Fb%3Fc%23d%25e%20f/messages");
    CHECK(create_message.path(std::string{"\r\n\0", 3}) == "/channels/%0D%0A%00/messages");
    CHECK(add_reaction.path(1, 2, "blob:3") == "/channels/1/messages/2/reactions/blob%3A3/@me");
    CHECK(add_reaction.path(1, 2, "\xF0\x9F\x91\x8D") ==
          "/channels/1/messages/2/reactions/%F0%9F%91%8D/@me");
    CHECK(get_gateway.path() == "/gateway/bot");
}

TEST_CASE("only a top-level resource is a major parameter", "[R2]") {
    CHECK(create_message(5).major() == sluice::Major{MajorKind::channel, 0, 5});
    CHECK(get_guild(5).major() == sluice::Major{MajorKind::guild, 0, 5});
    CHECK(get_webhook(5).major() == sluice::Major{MajorKind::webhook, 0, 5});
    CHECK(parsed("GET", "/users/5").major() == sluice::Major{});
    CHECK(parsed("GET", "/applications/5/guilds/6/commands").major() == sluice::Major{});
    CHECK(parsed("GET", "/channels").major() == sluice::Major{});
    CHECK(parsed("GET", "/channels/@me").major() == sluice::Major{});
    CHECK(parsed("GET", "/interactions/5").major() == sluice::Major{});
    CHECK(parsed("GET", "/guilds/5/webhooks/6/abc").major().kind == MajorKind::guild);
}

TEST_CASE("a webhook counts by id and token together", "[R2]") {
    const Route route = execute_webhook(8, webhook_token);
    CHECK(route.major().kind == MajorKind::webhook_token);
    CHECK(execute_webhook("8", webhook_token) == route);
    CHECK_FALSE(execute_webhook(9, webhook_token) == route);
    CHECK_FALSE(execute_webhook(8, "another") == route);
    CHECK_FALSE(execute_webhook("a", "b/c") == execute_webhook("a/b", "c"));
    CHECK_FALSE(execute_webhook(8, "9") == execute_webhook(8, "09"));
    CHECK_FALSE(route.exempt_from_global());
    const Route deep = parsed("DELETE", "/webhooks/8/" + webhook_token + "/messages/1");
    CHECK(deep.major() == route.major());
}

TEST_CASE("an interaction counts by its token alone", "[R2]") {
    const Route answer = callback(1, interaction_token);
    const Route first = follow_up(2, interaction_token);
    CHECK(answer.major().kind == MajorKind::interaction);
    CHECK(answer.major() == first.major());
    CHECK(first == follow_up(3, interaction_token));
    CHECK_FALSE(first == follow_up(2, url_safe_interaction_token));
    const Route raw = parsed("POST", "/webhooks/2/" + interaction_token);
    CHECK(raw == first);
    CHECK(raw.major().kind == MajorKind::interaction);
    CHECK(execute_webhook(2, interaction_token).major().kind == MajorKind::interaction);
    CHECK(answer.exempt_from_global());
    CHECK(raw.exempt_from_global());
    const Route edit = parsed("PATCH", "/webhooks/2/" + interaction_token + "/messages/@original");
    CHECK(edit.major() == first.major());
    CHECK(edit.exempt_from_global());
}

TEST_CASE("a brace named after the interaction exempts a token that does not show it") {
    const Route named = follow_up(2, "opaque");
    CHECK(named.exempt_from_global());
    CHECK(named == execute_webhook(2, "opaque"));
    CHECK(named == parsed("POST", "/webhooks/2/opaque"));
    CHECK(std::hash<Route>{}(named) == std::hash<Route>{}(execute_webhook(2, "opaque")));
    CHECK_FALSE(execute_webhook(2, "opaque").exempt_from_global());
    CHECK(callback(2, "opaque").exempt_from_global());
    CHECK(callback(2, "opaque") == parsed("POST", "/interactions/2/opaque/callback"));
    constexpr auto named_within = sluice::route<"POST /webhooks/{id}/{the_interaction}">;
    CHECK(named_within(2, "opaque").exempt_from_global());
    CHECK(named_within(2, "opaque") == named);
    CHECK_FALSE(sluice::route<"POST /webhooks/{id}/{interactio}">(2, "a").exempt_from_global());
    // Only the token of a webhook path is an interaction's; elsewhere the name says nothing.
    CHECK_FALSE(sluice::route<"GET /channels/{interaction.channel}/pins">(1).exempt_from_global());
}

TEST_CASE("a deleted message is known by its id, and only a deleted one") {
    CHECK(delete_message(1, 22).message_id() == 22);
    CHECK(parsed("DELETE", "/channels/1/messages/22").message_id() == 22);
    CHECK(delete_message(1, "no number").message_id() == 0);
    CHECK(parsed("GET", "/channels/1/messages/22").message_id() == 0);
    CHECK(parsed("DELETE", "/channels/1/messages/22/reactions").message_id() == 0);
    CHECK(parsed("DELETE", "/channels/1/pins/22").message_id() == 0);
    CHECK(delete_message(1, 22) == delete_message(1, 23));
    CHECK(std::hash<Route>{}(delete_message(1, 22)) == std::hash<Route>{}(delete_message(1, 23)));
}

TEST_CASE("segments that look like words are literals unless codes stand there") {
    CHECK(parsed("GET", "/users/@me").text() == "GET /users/@me");
    CHECK(parsed("GET", "/users/%40me").text() == "GET /users/@me");
    CHECK(parsed("GET", "/users/@me/guilds/1/member").text() == "GET /users/@me/guilds/{}/member");
    CHECK(parsed("GET", "/guilds/1/widget.json").text() == "GET /guilds/{}/widget.json");
    CHECK(parsed("GET", "/invites/@me").text() == "GET /invites/@me");
    CHECK(parsed("GET", "/webhooks/1/@me").major().kind == MajorKind::webhook);
    CHECK(parsed("GET", "/invites/invites/target-users").text() == "GET /invites/{}/target-users");
    CHECK(parsed("GET", "/webhooks/1/messages/messages/2").text() ==
          "GET /webhooks/{}/{}/messages/{}");
    CHECK(parsed("PUT", "/channels/1/messages/2/reactions/thumbsup/3").text() ==
          "PUT /channels/{}/messages/{}/reactions/{}/{}");
    CHECK(parsed("GET", "/channels/1/messages%2F2").text() == "GET /channels/{}/{}");
    CHECK(parsed("GET", "/channels/{channel.id}/messages").text() == "GET /channels/{}/messages");
    CHECK(parsed("GET", "/%63hannels/%31/messages").text() == "GET /channels/{}/messages");
}

TEST_CASE("routes that no documentation names yet work by the same rules") {
    CHECK(parsed("POST", "/guilds/1/dragons/2/feed").text() == "POST /guilds/{}/dragons/{}/feed");
    CHECK(parsed("POST", "/guilds/1/dragons/2/feed").major().low == 1);
    CHECK(parsed("GET", "/dragons/AbC").text() == "GET /dragons/{}");
}

TEST_CASE("a target that is no path of the API is refused") {
    std::vector<std::string> targets = words_of(
        "/ // /// * channels/1/messages discord.com/api/channels/1 //discord.com/api/channels/1 "
        "/api /api/ /api/v10 /v10/ /?a=/channels/1 /channels//messages /channels/1/messages// "
        "/channels/1/./messages /channels/1/../messages /channels/1/%2e%2E/messages "
        "/channels/1/%2 /channels/1/% /channels/1/%zz /channels/1/%-1 /channels/1/%00 "
        "/channels/1/%20 /channels/1/%7f https://discord.com https://discord.com?/channels/1 "
        "https:///channels/1 ftp://discord.com/api/channels/1 ://discord.com/api/channels/1");
    targets.insert(targets.end(), {"", "/channels/1/a b", "/channels/1?a=\r\nX: y",
                                   std::string{"/channels/1\0/messages", 21}});
    for (const std::string& target : targets) {
        CAPTURE(target);
        CHECK_FALSE(Route::parse("GET", target).has_value());
    }
}

TEST_CASE("a method that Discord does not offer is refused") {
    for (const auto method : {"", "get", "Post", "HEAD", "OPTIONS", "CONNECT", "GET ", " GET"}) {
        CAPTURE(method);
        CHECK_FALSE(Route::parse(method, "/channels/1").has_value());
    }
}

TEST_CASE("the length and the depth of a target are bounded") {
    const std::string longest = "/invites/" + std::string(2048 - 9, 'a');
    CHECK(Route::parse("GET", longest).has_value());
    CHECK_FALSE(Route::parse("GET", longest + 'a').has_value());
    std::string deepest;
    for (int depth = 0; depth < 32; ++depth)
        deepest += "/1";
    CHECK(Route::parse("GET", deepest).has_value());
    CHECK_FALSE(Route::parse("GET", deepest + "/1").has_value());
}

TEST_CASE("a sublimit tag sets requests of one route apart") {
    const Route route = create_message(1);
    CHECK(route.tag() == 0);
    const Route name = route.sublimit("name");
    CHECK(name.tag() != 0);
    CHECK(name.id() == route.id());
    CHECK(name.major() == route.major());
    CHECK(name.text() == route.text());
    CHECK_FALSE(name == route);
    CHECK(name == create_message(1).sublimit("name"));
    CHECK_FALSE(name == route.sublimit("topic"));
    CHECK(name.sublimit("topic") == route.sublimit("topic"));
    CHECK(name.sublimit("") == route);
    CHECK_FALSE(std::hash<Route>{}(name) == std::hash<Route>{}(route));
    CHECK_FALSE(Route{}.sublimit("name").valid());
}

TEST_CASE("routes that differ hash apart") {
    std::unordered_set<std::size_t> hashes;
    for (std::uint64_t id = 0; id < 20'000; ++id) {
        // Snowflakes of one second: they differ in the bits above 22 and in the lowest.
        hashes.insert(std::hash<Route>{}(create_message((id << 22U) + id % 4)));
        hashes.insert(std::hash<Route>{}(get_guild((id << 22U) + id % 4)));
    }
    CHECK(hashes.size() == 40'000);
}

TEST_CASE("the table of texts is bounded and keeps what it has") {
    using sluice::detail::Segment;
    sluice::detail::RouteTexts texts{2};
    const std::array<Segment, 1> segments{{{"first", false}}};
    const std::string_view kept = texts.intern(1, "GET", segments);
    CHECK(texts.intern(2, "POST", segments) == "POST /first");
    CHECK(texts.intern(3, "PUT", segments).empty());
    CHECK(texts.intern(1, "GET", segments).data() == kept.data());
    CHECK(kept == "GET /first");
}

TEST_CASE("parsing a known template again gives the text it already has") {
    const Route first = parsed("GET", "/guilds/1/dragons");
    const Route second = parsed("GET", "https://discord.com/api/guilds/2/dragons/");
    CHECK(first.text().data() == second.text().data());
}

TEST_CASE("targets may be parsed from several threads at once") {
    const auto all_right = [] {
        bool right = true;
        for (int i = 0; i < 500; ++i) {
            const std::string literal = "/threads-" + std::to_string(i % 50);
            const auto route = Route::parse("GET", literal + "/1");
            right = right && route && route->text() == "GET " + literal + "/{}";
        }
        return right;
    };
    std::vector<std::future<bool>> results(4);
    for (auto& result : results)
        result = std::async(std::launch::async, all_right);
    for (auto& result : results)
        CHECK(result.get());
}

TEST_CASE("no bytes make parsing fail in any way but refusing") {
    std::mt19937 random{20260806};
    const std::string_view likely = "/%{}@?#.:0123456789abcdefvapihttps";
    const std::array<std::string, 3> starts{"", "https://discord.com/api/v10/", "/webhooks/1/"};
    for (int round = 0; round < 50'000; ++round) {
        std::string target = starts[random() % starts.size()];
        for (auto left = random() % 40; left > 0; --left) {
            const auto byte = static_cast<char>(random() % 256);
            target += random() % 4 == 0 ? byte : likely[random() % likely.size()];
        }
        sluice::detail::Target read;
        const bool accepted = read.read(target);
        if (accepted && read.segments().empty()) FAIL(target);
        // Few go all the way: each may add a text to the table that other tests rely on.
        if (round % 50 == 0 && Route::parse("GET", target).has_value() != accepted) FAIL(target);
    }
}

TEST_CASE("a scheme is written in any case") {
    CHECK(parsed("GET", "HTTPS://discord.com/api/v10/gateway/bot") == get_gateway());
    CHECK(parsed("GET", "Http://localhost/gateway/bot") == get_gateway());
    CHECK_FALSE(Route::parse("GET", "httpx://discord.com/gateway/bot"));
    CHECK_FALSE(Route::parse("GET", "httpss://discord.com/gateway/bot"));
    CHECK_FALSE(Route::parse("GET", "htt://discord.com/gateway/bot"));
}
