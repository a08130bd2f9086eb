// expect: sluice::route: an argument is an integer
// SPDX-License-Identifier: MIT
#include <sluice/route.hpp>

auto refused = sluice::route<"GET /channels/{channel.id}">(nullptr);
