// SPDX-License-Identifier: MIT
//
// A bot's gateway connection in virtual time: one io_context, one ManualClock, one SendLimiter.
// Nothing runs and no time passes unless a test says so.
#ifndef SLUICE_TESTS_SUPPORT_SEND_BOT_HPP
#define SLUICE_TESTS_SUPPORT_SEND_BOT_HPP

#include <sluice/gateway/send_limiter.hpp>
#include <sluice/testing/manual_clock.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/system/error_code.hpp>

#include <chrono>
#include <deque>
#include <utility>

namespace sluice::tests::sending {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using boost::system::error_code;
using gateway::MemberListLimit;
using gateway::Opcode;
using gateway::SendLimiterOptions;
using gateway::SendOptions;
using gateway::SendPermit;
using Clock = testing::ManualClock;
using Limiter = gateway::BasicSendLimiter<Clock>;

/// What an asynchronous acquire ended with.
struct Ending {
    int times = 0;
    error_code code;
    SendPermit permit;
};

inline auto into(Ending& ending) {
    return [&ending](error_code code, SendPermit permit) {
        ++ending.times;
        ending.code = code;
        ending.permit = std::move(permit);
    };
}

struct Bot {
    explicit Bot(const SendLimiterOptions& options = {}) : sends(io, options, clock) {}

    void turn() { clock.run_for(io, 0s); }
    void pass(Clock::duration time) { clock.run_for(io, time); }
    /// Sends until only what is kept for heartbeats is left.
    int spend() {
        int sent = 0;
        while (sends.try_acquire(Opcode::voice_state_update))
            ++sent;
        return sent;
    }
    Ending& wait(Opcode opcode, const SendOptions& options = {}) {
        Ending& ending = endings.emplace_back();
        sends.async_acquire(opcode, options, into(ending));
        return ending;
    }

    asio::io_context io;
    Clock clock;
    std::deque<Ending> endings;
    Limiter sends;
};

} // namespace sluice::tests::sending

#endif
