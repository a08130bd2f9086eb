// compiles
// SPDX-License-Identifier: MIT
//
// What its neighbours get wrong, right: if this file fails, their failures prove nothing.
#include <sluice/route.hpp>

auto route = sluice::route<"GET /channels/{channel.id}/messages/{message.id}">(1, "2");
auto path = sluice::route<"GET /channels/{channel.id}/messages/{message.id}">.path(1, "2");
auto literal = sluice::route<"GET /users/@me/guilds">();
