// SPDX-License-Identifier: MIT
//
// A bot in virtual time that runs execute() against a script: what each try answers, after how
// long, and when each of them began.
#ifndef SLUICE_TESTS_SUPPORT_EXECUTE_BOT_HPP
#define SLUICE_TESTS_SUPPORT_EXECUTE_BOT_HPP

#include <sluice/execute.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

namespace sluice::tests {

/// What a try ends with: a response, or an exception in its place. The ticket may be touched.
using Script = std::function<Response(std::size_t number, Ticket& ticket)>;

struct ExecuteBot : VirtualBot {
    explicit ExecuteBot(const Options& options = {}) : VirtualBot(options) {}

    asio::awaitable<Response> send(Ticket& ticket) {
        const std::size_t number = tries.size();
        tries.push_back(clock.now() - start);
        co_await clock.sleep(round_trip);
        co_return script(number, ticket);
    }
    asio::awaitable<void> run(Route route, ExecuteOptions options) {
        auto each = [this](Ticket& ticket) { return send(ticket); };
        reply = co_await execute(limiter, route, each, options);
    }
    void spawn(Route route, ExecuteOptions options = {}) {
        asio::co_spawn(io, run(route, options), [this](std::exception_ptr e) {
            ended = clock.now() - start;
            failure = e;
        });
    }
    /// Runs all there is.
    ExecuteBot& finish(Route route, Script answers, ExecuteOptions options = {}) {
        script = std::move(answers);
        spawn(route, options);
        clock.run(io);
        REQUIRE(ended);
        return *this;
    }
    /// The pause between the end of a try and the next.
    [[nodiscard]] Duration pause_before(std::size_t number) const {
        return tries.at(number) - tries.at(number - 1) - round_trip;
    }
    [[nodiscard]] error_code code() const {
        if (!failure) return {};
        try {
            std::rethrow_exception(failure);
        } catch (const boost::system::system_error& error) {
            return error.code();
        }
    }

    Clock::time_point start = clock.now();
    Duration round_trip = 50ms;
    Script script;
    std::vector<Duration> tries; ///< when each began
    std::optional<Response> reply;
    std::optional<Duration> ended;
    std::exception_ptr failure;
};

/// The given statuses, the last one for ever.
inline Script statuses(std::vector<int> codes) {
    return [codes = std::move(codes)](std::size_t number, Ticket&) {
        return Response{.status = codes[std::min(number, codes.size() - 1)]};
    };
}

} // namespace sluice::tests

#endif
