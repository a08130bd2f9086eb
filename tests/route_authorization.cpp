// SPDX-License-Identifier: MIT
//
// Who a request is sent for: the bot, or nobody but the address it comes from; and whose token a
// 401 speaks of. Over all documented routes: route_documented.cpp.
#include <sluice/detail/route_rules.hpp>
#include <sluice/route.hpp>

#include "support/catch.hpp"
#include "support/routes.hpp"

#include <functional>
#include <string_view>
#include <type_traits>
#include <unordered_set>

using sluice::Authorization;
using sluice::Route;
using sluice::detail::speaks_of_bot_token;
using namespace sluice::tests::routes;

// Method, authorization and what a 401 speaks of share the bytes behind the tag.
static_assert(sizeof(Route) == 64);
static_assert(std::is_trivially_copyable_v<Route>);

namespace {

constexpr auto get_invite = sluice::route<"GET /invites/{invite.code}">;
constexpr auto create_message = sluice::route<"POST /channels/{channel.id}/messages">;
constexpr auto execute_webhook = sluice::route<"POST /webhooks/{webhook.id}/{webhook.token}">;
constexpr auto follow_up = sluice::route<"POST /webhooks/{application.id}/{interaction.token}">;
constexpr auto member_of_user = sluice::route<"GET /users/@me/guilds/{guild.id}/member">;
constexpr auto oauth2_me = sluice::route<"GET /oauth2/@me">;

bool speaks(std::string_view method, std::string_view target) {
    return speaks_of_bot_token(parsed(method, target));
}

} // namespace

TEST_CASE("a path with a token is sent without Authorization unless the author says otherwise") {
    CHECK(create_message(1).authorization() == Authorization::bot);
    CHECK(get_invite("abc").authorization() == Authorization::bot);
    CHECK(sluice::route<"GET /webhooks/{webhook.id}">(1).authorization() == Authorization::bot);
    CHECK(execute_webhook(1, webhook_token).authorization() == Authorization::none);
    CHECK(follow_up(1, "opaque").authorization() == Authorization::none);
    CHECK(parsed("POST", "/webhooks/1/" + interaction_token).authorization() ==
          Authorization::none);
    CHECK(parsed("POST", "/interactions/1/x/callback").authorization() == Authorization::none);
    CHECK(execute_webhook(1, webhook_token).authenticated().authorization() == Authorization::bot);
    CHECK(get_invite("abc").unauthenticated().authorization() == Authorization::none);
    CHECK(Route{}.authorization() == Authorization::bot);
    CHECK_FALSE(Route{}.unauthenticated().valid());
}

TEST_CASE("the authorization of a request sets it apart, because its counters are others") {
    const Route with = get_invite("abc");
    const Route without = with.unauthenticated();
    CHECK_FALSE(with == without);
    CHECK_FALSE(std::hash<Route>{}(with) == std::hash<Route>{}(without));
    CHECK(without == parsed("GET", "/invites/abc").unauthenticated());
    CHECK(std::hash<Route>{}(without) ==
          std::hash<Route>{}(parsed("GET", "/invites/abc").unauthenticated()));
    CHECK(with.id() == without.id());
    CHECK(with.text() == without.text());
    CHECK(with.major() == without.major());
    const Route hook = execute_webhook(1, webhook_token);
    CHECK_FALSE(hook == hook.authenticated());
    CHECK(std::unordered_set<Route>{with, without, hook, hook.authenticated()}.size() == 4);
}

TEST_CASE("saying the default, or the same twice, changes nothing") {
    const Route hook = execute_webhook(1, webhook_token);
    CHECK(hook.unauthenticated() == hook);
    CHECK(hook.authenticated().unauthenticated() == hook);
    CHECK(create_message(1).authenticated() == create_message(1));
    CHECK(create_message(1).unauthenticated().unauthenticated().authenticated() ==
          create_message(1));
}

TEST_CASE("authorization and sublimit are said in any order") {
    const Route first = create_message(1).unauthenticated().sublimit("name");
    CHECK(first == create_message(1).sublimit("name").unauthenticated());
    CHECK(first.authorization() == Authorization::none);
    CHECK(first.sublimit("") == create_message(1).unauthenticated());
}

TEST_CASE("the authorization of a route is known at compile time") {
    constexpr Route message = create_message(1);
    static_assert(message.authorization() == Authorization::bot);
    static_assert(message.unauthenticated().authorization() == Authorization::none);
    static_assert(message.unauthenticated().authenticated() == message);
    static_assert(speaks_of_bot_token(message));
    static_assert(!speaks_of_bot_token(message.unauthenticated()));
    static_assert(!speaks_of_bot_token(oauth2_me()));
    static_assert(!speaks_of_bot_token(member_of_user(1)));
    CHECK(message.valid());
}

TEST_CASE("an interaction that is sent with the bot's Authorization stays exempt from the global "
          "limit") {
    // Discord docs, "Rate Limits": by endpoint, whatever it is sent with.
    CHECK(follow_up(1, interaction_token).authenticated().exempt_from_global());
    CHECK_FALSE(create_message(1).unauthenticated().exempt_from_global());
}

TEST_CASE("a 401 speaks of the bot token only where nothing else authorises the request") {
    CHECK(speaks("GET", "/users/@me"));
    CHECK(speaks("GET", "/users/@me/guilds"));
    CHECK(speaks("DELETE", "/users/@me/guilds/1"));
    CHECK(speaks("GET", "/gateway/bot"));
    CHECK(speaks("GET", "/webhooks/1"));
    CHECK(speaks("POST", "/lobbies"));
    CHECK(speaks("PUT", "/lobbies/1/messages/2/moderation-metadata"));
    CHECK(speaks("GET", "/applications/1/guilds/2/commands/3/permissions"));
    CHECK_FALSE(speaks("GET", "https://discord.com/api/v10/oauth2/@me"));
    CHECK_FALSE(speaks("POST", "/webhooks/1/" + webhook_token));
    CHECK_FALSE(speaks("PATCH", "/webhooks/1/" + interaction_token + "/messages/@original"));
    CHECK_FALSE(speaks_of_bot_token(execute_webhook(1, webhook_token).authenticated()));
    CHECK_FALSE(speaks_of_bot_token(get_invite("abc").unauthenticated()));
}

TEST_CASE("a route that joins a family of other individuals tomorrow is known today") {
    CHECK_FALSE(speaks("GET", "/oauth2/dragons/1/feed"));
    CHECK_FALSE(speaks("POST", "/partner-sdk/dragons"));
    CHECK_FALSE(speaks("PATCH", "/users/@me/applications/1/dragons"));
    CHECK_FALSE(speaks("PUT", "/users/@me/connections/dragons/1"));
    CHECK_FALSE(speaks("PATCH", "/users/@me/guilds/1/member/dragons"));
    CHECK_FALSE(speaks("DELETE", "/lobbies/1/channel-linking"));
    CHECK_FALSE(speaks("PATCH", "/lobbies/1/members/@me"));
}

TEST_CASE("a path that only resembles such a family is the bot's") {
    CHECK(speaks("GET", "/oauth3/@me"));
    CHECK(speaks("GET", "/partner-sdk2"));
    CHECK(speaks("GET", "/users/1/connections"));
    CHECK(speaks("GET", "/users/@me/connection"));
    CHECK(speaks("GET", "/users/@me/guilds/member"));
    CHECK(speaks("GET", "/users/@me/guilds/1/members"));
    CHECK(speaks("GET", "/guilds/1/members/@me"));
    CHECK(speaks("PUT", "/lobbies/1/members/2"));
    CHECK(speaks("POST", "/channels/1/oauth2"));
    CHECK(speaks("PUT", "/channels/1/permissions/2"));
}
