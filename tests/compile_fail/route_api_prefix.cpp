// expect: sluice::route: a template starts behind /api and the version
// SPDX-License-Identifier: MIT
#include <sluice/route.hpp>

auto refused = sluice::route<"POST /api/v10/channels/{channel.id}/messages">(1);
