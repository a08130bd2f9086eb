// SPDX-License-Identifier: MIT
//
// Limiters that outlive their execution context: whoever still asks them for something is told that
// they are closed, whatever it completes with and on.
#include <sluice/bucket_manager.hpp>
#include <sluice/gateway/identify_queue.hpp>
#include <sluice/gateway/send_limiter.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <boost/asio/bind_executor.hpp>

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <utility>

namespace {

using namespace sluice::tests;
using sluice::errc;
using sluice::Ticket;

const sluice::Route route = create_message(1);

/// A plain handler for whatever comes with the code, and the code. Nothing says where it runs.
struct Answer {
    std::promise<error_code> promise;
    std::future<error_code> future = promise.get_future();

    auto handler() {
        return [this](error_code code, auto&&...) { promise.set_value(code); };
    }
    error_code code() {
        REQUIRE(future.wait_for(60s) == std::future_status::ready);
        return future.get();
    }
};

} // namespace

TEST_CASE("after its context has ended a limiter tells plain handlers that it is closed") {
    std::optional<asio::io_context> io(std::in_place);
    sluice::BucketManager limiter(*io);
    const sluice::Bucket bucket = limiter.bucket(route);
    Ticket open = limiter.try_acquire(route).value();
    Ticket settled = limiter.try_acquire(create_message(2)).value();
    settled.update(sluice::Response{.status = 503});
    io.reset();
    Answer acquired;
    Answer by_bucket;
    Answer again;
    Answer paused;
    limiter.async_acquire(route, acquired.handler());
    bucket.async_acquire(by_bucket.handler());
    open.async_reacquire(again.handler());
    settled.async_reacquire(paused.handler());
    for (Answer* each : {&acquired, &by_bucket, &again, &paused})
        CHECK(each->code() == errc::closed);
    CHECK(limiter.stats().in_flight == 0);
    CHECK(limiter.stats().counters.lost == 1);
}

TEST_CASE("after its context has ended a handler's own executor is where it is told") {
    asio::io_context other;
    std::optional<asio::io_context> io(std::in_place);
    sluice::BucketManager limiter(*io);
    io.reset();
    Answer acquired;
    limiter.async_acquire(route, asio::bind_executor(other, acquired.handler()));
    CHECK(acquired.future.wait_for(0s) == std::future_status::timeout);
    other.run();
    CHECK(acquired.code() == errc::closed);
}

TEST_CASE("tickets of a limiter that is gone as well as its context can still reacquire") {
    std::optional<asio::io_context> io(std::in_place);
    auto limiter = std::make_unique<sluice::BucketManager>(*io);
    Ticket ticket = limiter->try_acquire(route).value();
    SECTION("the context first") {
        io.reset();
        limiter.reset();
    }
    SECTION("the limiter first") {
        limiter.reset();
        io.reset();
    }
    Answer again;
    ticket.async_reacquire(again.handler());
    CHECK(again.code() == errc::closed);
}

TEST_CASE("after their context has ended the gateway's limiters do so too") {
    std::optional<asio::io_context> io(std::in_place);
    sluice::gateway::IdentifyQueue identifies(*io, {.total = 1000, .remaining = 1000});
    sluice::gateway::SendLimiter sends(*io);
    io.reset();
    Answer identify;
    Answer send;
    identifies.async_acquire(0, identify.handler());
    sends.async_acquire(sluice::gateway::Opcode::request_guild_members, send.handler());
    CHECK(identify.code() == errc::closed);
    CHECK(send.code() == errc::closed);
}
