// expect: sluice::route: braces are nested
// SPDX-License-Identifier: MIT
#include <sluice/route.hpp>

auto refused = sluice::route<"GET /channels/{channel{id}}">(1);
