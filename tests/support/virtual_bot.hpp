// SPDX-License-Identifier: MIT
//
// A bot in virtual time for the tests of everything that waits: one io_context, one ManualClock and
// one limiter, and answers written in one line. Nothing runs and no time passes unless a test says
// so, which is what lets a test stand between a grant and its completion.
#ifndef SLUICE_TESTS_SUPPORT_VIRTUAL_BOT_HPP
#define SLUICE_TESTS_SUPPORT_VIRTUAL_BOT_HPP

#include <sluice/sluice.hpp>
#include <sluice/testing/manual_clock.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/system/error_code.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

namespace sluice::tests {

using namespace std::chrono_literals;
namespace asio = boost::asio;
using boost::system::error_code;
using Clock = testing::ManualClock;
using Manager = BasicBucketManager<Clock>;
using Duration = std::chrono::nanoseconds;

inline constexpr auto create_message = route<"POST /channels/{channel.id}/messages">;
inline constexpr auto get_message = route<"GET /channels/{channel.id}/messages/{message.id}">;
inline constexpr auto callback = route<"POST /interactions/{interaction.id}/{token}/callback">;

/// An accepted request: this many of a window's limit are left, all are back after `reset_after`.
inline Response answer(std::int64_t limit, std::int64_t remaining, Duration reset_after,
                       std::string_view hash = "abc") {
    return {.status = 200,
            .limit = limit,
            .remaining = remaining,
            .reset_after = reset_after,
            .bucket = BucketHash::parse(hash)};
}

/// A 429 of the route's own limit.
inline Response user_429(Duration retry_after, std::int64_t limit = 5,
                         std::string_view hash = "abc") {
    Response response = answer(limit, 0, retry_after, hash);
    response.status = 429;
    response.retry_after = retry_after;
    response.scope = Scope::user;
    return response;
}

/// A 429 of a limit that is shared with others: it concerns one lane.
inline Response shared_429(Duration retry_after) {
    return {.status = 429, .retry_after = retry_after, .scope = Scope::shared};
}

inline Response global_429(Duration retry_after) {
    return {.status = 429, .retry_after = retry_after, .global = true, .scope = Scope::global};
}

struct VirtualBot {
    explicit VirtualBot(const Options& options = {}) : limiter(io, options, clock) {}

    /// Runs what is ready, and nothing that a passing of time would make ready.
    void turn() { clock.run_for(io, 0s); }
    void pass(Duration time) { clock.run_for(io, time); }

    /// Makes the limiter look at the time, as any call does, without running a handler: what is due
    /// is granted and posted.
    void look() { (void)limiter.timeout_for(create_message(999)); }

    asio::io_context io;
    Clock clock;
    Manager limiter;
};

/// What an asynchronous acquire ended with.
struct Ending {
    int times = 0;
    error_code code;
    Ticket ticket;

    [[nodiscard]] bool granted() const { return times == 1 && !code && ticket; }
    [[nodiscard]] bool failed(error_code expected) const {
        return times == 1 && code == expected && !ticket;
    }
};

/// A completion handler that fills in an ending.
inline auto into(Ending& ending) {
    return [&ending](error_code code, Ticket ticket) {
        ++ending.times;
        ending.code = code;
        ending.ticket = std::move(ticket);
    };
}

} // namespace sluice::tests

#endif
