// expect: sluice::route: a template has no query string
// SPDX-License-Identifier: MIT
#include <sluice/route.hpp>

auto refused = sluice::route<"GET /channels/{channel.id}?limit={limit}">(1);
