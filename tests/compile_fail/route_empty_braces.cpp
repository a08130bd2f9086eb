// expect: sluice::route: braces are empty
// SPDX-License-Identifier: MIT
#include <sluice/route.hpp>

auto refused = sluice::route<"GET /channels/{}">(1);
