// expect: sluice::route: the braces are not balanced
// SPDX-License-Identifier: MIT
#include <sluice/route.hpp>

auto refused = sluice::route<"GET /channels/{channel.id/messages">(1);
