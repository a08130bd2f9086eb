// SPDX-License-Identifier: MIT
//
// What a bot may do after a gateway connection was closed. A bot that reconnects after a permanent
// refusal uses up its daily identifies, and then loses its token.
//
//     switch (sluice::gateway::after_close(code)) {
//     case AfterClose::resume: ...        // new connection, resume: costs no identify
//     case AfterClose::resume_later: ...  // resume after a pause of a minute
//     case AfterClose::identify: ...      // new connection, new session: ask the IdentifyQueue
//     case AfterClose::stop: ...          // a person must look at it
//     }
//
// Unknown codes map to `resume`: a resume costs nothing, and if the session is gone Discord answers
// with Invalid Session.
//
// Sources: Discord docs, "Opcodes and Status Codes"; "Gateway", on resuming.
#ifndef SLUICE_GATEWAY_CLOSE_CODE_HPP
#define SLUICE_GATEWAY_CLOSE_CODE_HPP

#include <cstdint>

namespace sluice::gateway {

enum class AfterClose : std::uint8_t {
    resume,       ///< reconnect and resume; identify only if that is refused
    resume_later, ///< reconnect and resume, but not at once
    identify,     ///< reconnect, but the session is gone
    stop,         ///< do not reconnect: the same close would follow
};

/// | code | meaning | what to do |
/// |---|---|---|
/// | 4000 | unknown error | resume |
/// | 4001 | unknown opcode sent | resume |
/// | 4002 | undecodable payload sent, or one over 4096 bytes | resume |
/// | 4003 | not authenticated: sent before identifying, or the session was invalidated | resume |
/// | 4004 | authentication failed: the token is wrong | **stop** |
/// | 4005 | already authenticated: identified twice | resume |
/// | 4007 | invalid sequence number in a resume | identify |
/// | 4008 | rate limited: more than 120 events in a minute | resume later |
/// | 4009 | session timed out | identify |
/// | 4010 | invalid shard | **stop** |
/// | 4011 | sharding required: too many guilds for one shard | **stop** |
/// | 4012 | invalid version of the API | **stop** |
/// | 4013 | invalid intents | **stop** |
/// | 4014 | disallowed intents | **stop** |
/// | others: 1000, 1001, 1006 (no close frame), 4006, not yet invented | | resume |
///
/// Discord docs allow a reconnect after 4008 and do not say when. "Repeated abuse" revokes access,
/// hence the pause (inferred). A client that itself closes with 1000 or 1001 ends its session: to
/// resume later, close with another code.
[[nodiscard]] constexpr AfterClose after_close(int code) noexcept {
    switch (code) {
    case 4007:
    case 4009:
        return AfterClose::identify;
    case 4008:
        return AfterClose::resume_later;
    case 4004:
    case 4010:
    case 4011:
    case 4012:
    case 4013:
    case 4014:
        return AfterClose::stop;
    default:
        return AfterClose::resume;
    }
}

/// The voice gateway has close codes of its own; 4006 and above have other meanings there.
///
/// | code | meaning | what to do |
/// |---|---|---|
/// | 4004 | authentication failed | **stop** |
/// | 4006 | session no longer valid | identify |
/// | 4008 | rate limited: too many events in a short time | resume later |
/// | 4009 | session timed out | identify |
/// | 4011 | server not found | **stop** |
/// | 4012 | unknown protocol | **stop** |
/// | 4014 | disconnected: kicked, or the main session was dropped | **stop** |
/// | 4015 | voice server crashed | resume |
/// | 4016 | unknown encryption mode | **stop** |
/// | 4017 | the channel requires end-to-end encryption (DAVE) | **stop** |
/// | 4021 | disconnected for a rate limit | **stop** |
/// | 4022 | call ended: channel deleted, server changed | **stop** |
/// | others: 4001, 4002, 4003, 4005, 4020, not yet invented | | resume |
///
/// 4014, 4021 and 4022 are documented as final. For 4004, 4011, 4012, 4016 and 4017 it is inferred,
/// since the same request would get the same answer. 4017 is sent since 2026-03-02
/// (discord-api-docs#8167, 2026-02); clients that retry it join and leave without end
/// (Stieneee/mumble-discord-bridge#103, 2026-03). 4008 is not documented here, but was seen by bots
/// that send audio in bursts (bwmarrin/discordgo#830, 2020-11; Stieneee/mumble-discord-bridge#20,
/// 2021-04). Continuing at once would trigger it again (inferred).
///
/// After 4014 and 4022 the main gateway may announce a new voice server. That starts a new voice
/// connection and is not a reconnect of this one.
[[nodiscard]] constexpr AfterClose after_voice_close(int code) noexcept {
    switch (code) {
    case 4006:
    case 4009:
        return AfterClose::identify;
    case 4008:
        return AfterClose::resume_later;
    case 4004:
    case 4011:
    case 4012:
    case 4014:
    case 4016:
    case 4017:
    case 4021:
    case 4022:
        return AfterClose::stop;
    default:
        return AfterClose::resume;
    }
}

[[nodiscard]] constexpr bool may_reconnect(AfterClose what) noexcept {
    return what != AfterClose::stop;
}

/// True if a resume makes sense; a resume uses no identify.
[[nodiscard]] constexpr bool may_resume(AfterClose what) noexcept {
    return what == AfterClose::resume || what == AfterClose::resume_later;
}

} // namespace sluice::gateway

#endif
