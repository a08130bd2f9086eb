// expect: sluice::route: a literal segment holds
// SPDX-License-Identifier: MIT
#include <sluice/route.hpp>

auto refused = sluice::route<"GET /users/../gateway">();
