// expect: sluice::route: this template takes another number of arguments
// SPDX-License-Identifier: MIT
#include <sluice/route.hpp>

auto refused = sluice::route<"GET /channels/{channel.id}/messages/{message.id}">(1);
