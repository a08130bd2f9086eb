// SPDX-License-Identifier: MIT
//
// What a request waits for.
#ifndef SLUICE_CORE_OBSTACLE_HPP
#define SLUICE_CORE_OBSTACLE_HPP

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice::core {

enum class Obstacle : std::uint8_t {
    bucket,  ///< its own bucket, or a limit of its lane that no header shows
    shared,  ///< a limit shared with others
    global,  ///< the limit on all requests of the token, or of the address without one
    address, ///< Cloudflare's block, or too many invalid requests
    server   ///< an outage: several 5xx in a row over several routes
};

[[nodiscard]] constexpr std::string_view to_string(Obstacle obstacle) noexcept {
    constexpr std::string_view names[] = {"bucket", "shared limit", "global limit", "address",
                                          "server"};
    return names[static_cast<std::size_t>(obstacle)];
}

} // namespace sluice::core

#endif
