// SPDX-License-Identifier: MIT
//
// Every asynchronous operation of the library, to be tried with one completion token after another.
#ifndef SLUICE_TESTS_SUPPORT_OPERATIONS_HPP
#define SLUICE_TESTS_SUPPORT_OPERATIONS_HPP

#include <sluice/gateway/identify_queue.hpp>
#include <sluice/gateway/send_limiter.hpp>
#include <sluice/sluice.hpp>
#include <sluice/testing/manual_clock.hpp>

#include "support/catch.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/system/error_code.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace sluice::tests {

using boost::system::error_code;

using Limiter = BasicBucketManager<testing::ManualClock>;
using Identifies = gateway::BasicIdentifyQueue<testing::ManualClock>;
using Sends = gateway::BasicSendLimiter<testing::ManualClock>;

inline constexpr auto operations_route = route<"POST /channels/{id}/messages">;

/// One of each limiter, in virtual time, with nothing in the way.
struct OperationsWorld {
    std::unique_ptr<boost::asio::io_context> io_owner = std::make_unique<boost::asio::io_context>();
    boost::asio::io_context& io = *io_owner;
    testing::ManualClock clock;
    Limiter limiter{io, {}, clock};
    Route route = operations_route(1);
    Identifies identifies{
        io,
        {.total = 1000, .remaining = 1000, .reset_after = hour, .max_concurrency = 1},
        {},
        clock};
    Sends sends{io, {}, clock};
    Ticket ticket = settled();

    /// The route's bucket has nothing left for an hour.
    void spend() {
        std::optional<Ticket> first = limiter.try_acquire(route);
        REQUIRE(first);
        first->update({.status = 200, .limit = 1, .remaining = 0, .reset_after = hour});
    }
    /// The ticket whose answer all others of its route wait for.
    std::optional<Ticket> spend_unknown() { return limiter.try_acquire(operations_route(1)); }

    /// Nothing holds a place of theirs.
    void check_idle() {
        ticket.cancel(); // reacquired, perhaps
        CHECK(limiter.stats().in_flight == 0);
        CHECK(limiter.stats().queued == 0);
        CHECK(identifies.stats().permits_out == 0);
        CHECK(identifies.stats().queued == 0);
        CHECK(sends.stats().queued == 0);
    }

private:
    static constexpr std::chrono::hours hour{1};

    Ticket settled() {
        std::optional<Ticket> first = limiter.try_acquire(route);
        REQUIRE(first);
        first->cancel();
        return std::move(*first);
    }
};

/// Each has Signature, begin(world, token...), and settle(arguments of the handler...), which gives
/// back what was granted and tells the error. Those that wait for a limiter have besides
///     spend(world)       nothing may go before timeout(world) has passed, and then one may
///     timeout(world)     asks the limiter, which looks at the time
///     limiter(world)
struct Acquire {
    using Signature = void(error_code, Ticket);
    template <class... Token>
    static auto begin(OperationsWorld& world, Token&&... token) {
        return world.limiter.async_acquire(world.route, std::forward<Token>(token)...);
    }
    static void settle(Ticket& ticket) { ticket.cancel(); }
    static void spend(OperationsWorld& world) { world.spend(); }
    static auto timeout(OperationsWorld& world) { return world.limiter.timeout_for(world.route); }
    static Limiter& limiter(OperationsWorld& world) { return world.limiter; }
};
struct Identify {
    using Signature = void(error_code, gateway::IdentifyPermit);
    template <class... Token>
    static auto begin(OperationsWorld& world, Token&&... token) {
        return world.identifies.async_acquire(1, std::forward<Token>(token)...);
    }
    static void settle(gateway::IdentifyPermit& permit) { permit.cancel(); }
    static void spend(OperationsWorld& world) { world.identifies.try_acquire(1).value().sent(); }
    static auto timeout(OperationsWorld& world) { return world.identifies.timeout_for(1); }
    static Identifies& limiter(OperationsWorld& world) { return world.identifies; }
};
struct Send {
    using Signature = void(error_code, gateway::SendPermit);
    static constexpr auto opcode = gateway::Opcode::voice_state_update;
    template <class... Token>
    static auto begin(OperationsWorld& world, Token&&... token) {
        return world.sends.async_acquire(opcode, std::forward<Token>(token)...);
    }
    static void settle(gateway::SendPermit& permit) { permit.cancel(); }
    /// One slot comes back at a time.
    static void spend(OperationsWorld& world) {
        while (world.sends.try_acquire(opcode))
            world.clock.advance(std::chrono::milliseconds(1));
    }
    static auto timeout(OperationsWorld& world) { return world.sends.timeout_for(opcode); }
    static Sends& limiter(OperationsWorld& world) { return world.sends; }
};
struct Reacquire {
    using Signature = void(error_code);
    template <class... Token>
    static auto begin(OperationsWorld& world, Token&&... token) {
        return world.ticket.async_reacquire(std::forward<Token>(token)...);
    }
};
struct Sleep {
    using Signature = void(error_code);
    template <class... Token>
    static auto begin(OperationsWorld& world, Token&&... token) {
        return world.clock.async_sleep(std::chrono::seconds(1), std::forward<Token>(token)...);
    }
};

/// Whether it gives a ticket or permit beside the error.
template <class Operation>
inline constexpr bool gives_permission =
    !std::is_same_v<typename Operation::Signature, void(error_code)>;

/// What a handler of any operation was given.
struct Completion {
    int calls = 0;
    error_code code;

    template <class Operation, class... Result>
    void take(error_code ended, Result... result) {
        ++calls;
        code = ended;
        if constexpr (sizeof...(result) != 0) Operation::settle(result...);
    }
    template <class Operation, class... Result>
    void take_tuple(std::tuple<error_code, Result...>& ended) {
        std::apply([this](error_code with,
                          Result&... result) { take<Operation>(with, std::move(result)...); },
                   ended);
    }
    void check_success(int times = 1) const {
        CHECK(calls == times);
        CHECK(code == error_code());
    }
    /// A plain function for it.
    template <class Operation>
    auto handler() {
        return [this](error_code ended, auto... result) {
            this->take<Operation>(ended, std::move(result)...);
        };
    }
};

/// One operation of each limiter.
#define SLUICE_TESTS_LIMITERS sluice::tests::Acquire, sluice::tests::Identify, sluice::tests::Send

#define SLUICE_TESTS_OPERATIONS                                                                    \
    sluice::tests::Acquire, sluice::tests::Identify, sluice::tests::Send,                          \
        sluice::tests::Reacquire, sluice::tests::Sleep

} // namespace sluice::tests

#endif
