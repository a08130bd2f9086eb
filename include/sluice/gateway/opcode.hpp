// SPDX-License-Identifier: MIT
//
// The opcodes of Discord's gateway, with the numbers that go over the wire.
//
//     co_await sends.acquire(sluice::gateway::Opcode::presence_update);
//
// Numbers not listed here may be cast to the type: such an event counts against the 120 per minute
// like any other, and no other limit is known for it.
//
// Source: Discord docs, "Opcodes and Status Codes".
#ifndef SLUICE_GATEWAY_OPCODE_HPP
#define SLUICE_GATEWAY_OPCODE_HPP

#include <cstdint>

namespace sluice::gateway {

enum class Opcode : std::uint8_t {
    dispatch = 0,                   ///< received
    heartbeat = 1,                  ///< sent; received: Discord requests one at once
    identify = 2,                   ///< sent
    presence_update = 3,            ///< sent
    voice_state_update = 4,         ///< sent
    resume = 6,                     ///< sent
    reconnect = 7,                  ///< received
    request_guild_members = 8,      ///< sent
    invalid_session = 9,            ///< received
    hello = 10,                     ///< received
    heartbeat_ack = 11,             ///< received
    request_soundboard_sounds = 31, ///< sent
    request_channel_info = 43,      ///< sent
};

} // namespace sluice::gateway

#endif
