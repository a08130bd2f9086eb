// expect: sluice::route: the template starts with GET
// SPDX-License-Identifier: MIT
#include <sluice/route.hpp>

auto refused = sluice::route<"FETCH /channels/{channel.id}">(1);
