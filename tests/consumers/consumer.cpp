// SPDX-License-Identifier: MIT
//
// The least that can be done with sluice: if this compiles, links and runs, the target works.
#include <sluice/route.hpp>

int main() {
    constexpr auto create_message = sluice::route<"POST /channels/{channel.id}/messages">;
    return create_message(1) == sluice::Route::parse("POST", "/channels/1/messages") ? 0 : 1;
}
