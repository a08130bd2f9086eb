// expect: sluice::route: braces take a whole segment
// SPDX-License-Identifier: MIT
#include <sluice/route.hpp>

auto refused = sluice::route<"GET /guilds/widget-{guild.id}">(1);
