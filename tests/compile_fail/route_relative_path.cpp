// expect: sluice::route: the path starts with '/'
// SPDX-License-Identifier: MIT
#include <sluice/route.hpp>

auto refused = sluice::route<"GET channels/{channel.id}">(1);
