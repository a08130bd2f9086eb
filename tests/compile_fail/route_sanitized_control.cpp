// compiles with -fsanitize=undefined
// SPDX-License-Identifier: MIT
//
// Templates are read at compile time, also where a sanitizer leaves the compiler in doubt whether a
// text is null.
#include <sluice/route.hpp>

auto follow_up = sluice::route<"POST /webhooks/{application.id}/{interaction.token}">(1, "abc");
auto edit = sluice::route<"PATCH /webhooks/{a}/{interaction.token}/messages/@original">(1, "abc");
auto callback = sluice::route<"POST /interactions/{interaction.id}/{token}/callback">(1, "abc");
auto webhook = sluice::route<"POST /webhooks/{webhook.id}/{webhook.token}">(1, "abc");
auto literal = sluice::route<"GET /users/@me/guilds">();
