// SPDX-License-Identifier: MIT
//
// Against whose limits a request counts. Discord docs, "Rate Limits": limits belong to the user or
// bot that the `Authorization` header names, without one to the address; "interaction endpoints are
// not bound to the bot's global rate limit".
#ifndef SLUICE_CORE_INDIVIDUAL_HPP
#define SLUICE_CORE_INDIVIDUAL_HPP

#include <array>
#include <cstdint>

namespace sluice::core {

enum class Individual : std::uint8_t {
    interaction, ///< callbacks and follow-ups: against no limit, until a global 429 shows one
    token,       ///< the bot's
    address      ///< requests without `Authorization`: webhooks with a token in their path
};
inline constexpr std::array individuals{Individual::interaction, Individual::token,
                                        Individual::address};

} // namespace sluice::core

#endif
