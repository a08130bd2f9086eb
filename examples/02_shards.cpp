// SPDX-License-Identifier: MIT
//
// Thirty-two shards of a large bot (max_concurrency 16) come up against a fake gateway, all lose
// their connections at once, and resume, which takes no identify. Time runs five times as fast
// unless --real is given.
#include <sluice/gateway/close_code.hpp>
#include <sluice/gateway/identify_queue.hpp>
#include <sluice/gateway/send_limiter.hpp>
#include <sluice/testing/fake_gateway_server.hpp>

#include "support/gateway_client.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using examples::GatewayClient;
using sluice::gateway::Opcode;
using sluice::testing::FakeGateway;
using sluice::testing::FakeGatewayThread;
using Clock = std::chrono::steady_clock;
using Task = asio::awaitable<void>;

enum class Phase : char { offline = '.', waiting = 'w', identifying = 'i', ready = '#' };

struct Shard {
    Shard(asio::io_context& io, std::uint64_t which) : id(which), sends(io) { sends.hold(); }

    std::uint64_t id;
    Phase phase = Phase::offline;
    std::string session = {};
    std::int64_t sequence = 0;
    sluice::gateway::SendLimiter sends;
};

class Bot {
public:
    Bot(asio::io_context& io, std::uint16_t port, const nlohmann::json& bot_info, double speed)
        : io_(io),
          port_(port),
          identifies_(io, sluice::gateway::SessionStartLimit::parse(bot_info), options_for(speed)) {
        for (std::uint64_t id = 0; id < bot_info["shards"]; ++id)
            shards_.emplace_back(io, id);
    }

    void start() {
        for (Shard& shard : shards_)
            asio::co_spawn(io_, live(shard), rethrow);
        asio::co_spawn(io_, show(), rethrow);
    }
    [[nodiscard]] bool is_ready() const {
        for (const Shard& shard : shards_)
            if (shard.phase != Phase::ready) return false;
        return true;
    }

private:
    static void rethrow(const std::exception_ptr& problem) {
        if (problem) std::rethrow_exception(problem);
    }
    /// Of the limits of a day that passes `speed` times as fast.
    static sluice::gateway::IdentifyQueueOptions options_for(double speed) {
        sluice::gateway::IdentifyQueueOptions options;
        options.interval = std::chrono::nanoseconds(std::int64_t(5e9 / speed));
        return options;
    }

    Task live(Shard& shard) {
        for (;;) {
            GatewayClient client(io_.get_executor());
            const nlohmann::json hello = co_await client.connect(port_);
            shard.sends.reset();
            shard.sends.set_heartbeat_interval(
                std::chrono::milliseconds(hello["d"]["heartbeat_interval"]));
            co_await begin(shard, client);
            while (client.close_code() == 0)
                co_await follow(shard, client);
            shard.phase = Phase::offline;
            shard.sends.hold();
            const auto next = sluice::gateway::after_close(client.close_code());
            if (next == sluice::gateway::AfterClose::stop) co_return;
            if (!may_resume(next)) shard.session.clear();
        }
    }

    /// Sends resume, or waits for its turn and sends identify.
    Task begin(Shard& shard, GatewayClient& client) {
        shard.phase = Phase::waiting;
        if (!shard.session.empty()) {
            co_await shard.sends.acquire(Opcode::resume);
            co_await client.send({{"op", 6},
                                  {"d", {{"token", "t"},
                                         {"session_id", shard.session},
                                         {"seq", shard.sequence}}}});
            co_return;
        }
        auto permit = co_await identifies_.acquire(shard.id);
        shard.phase = Phase::identifying;
        co_await shard.sends.acquire(Opcode::identify);
        co_await client.send(
            {{"op", 2}, {"d", {{"token", "t"}, {"shard", {shard.id, shards_.size()}}}}});
        permit.sent(); // the five seconds of its key run from here
    }

    Task follow(Shard& shard, GatewayClient& client) {
        const nlohmann::json event = co_await client.read();
        if (event.is_null()) co_return; // closed
        if (event["op"] == 9) {         // the session is gone
            shard.session.clear();
            co_await begin(shard, client);
        }
        if (event["op"] != 0) co_return;
        shard.sequence = event["s"];
        if (event["t"] == "READY") shard.session = event["d"]["session_id"];
        shard.phase = Phase::ready;
        shard.sends.release();
    }

    Task show() {
        const auto begun = Clock::now();
        asio::steady_timer timer(io_);
        for (std::string last;;) {
            std::string line;
            for (const Shard& shard : shards_)
                line += static_cast<char>(shard.phase);
            const double seconds = std::chrono::duration<double>(Clock::now() - begun).count();
            if (line != last) std::printf("%6.2f s  %s\n", seconds, line.c_str());
            std::fflush(stdout);
            last = line;
            timer.expires_after(50ms);
            co_await timer.async_wait(asio::use_awaitable);
        }
    }

    asio::io_context& io_;
    std::uint16_t port_;
    sluice::gateway::IdentifyQueue identifies_;
    std::deque<Shard> shards_;
};

bool run_until_ready(asio::io_context& io, const Bot& bot) {
    const auto end = Clock::now() + 30s;
    while (!bot.is_ready() && Clock::now() < end)
        io.run_one_for(100ms);
    return bot.is_ready();
}

} // namespace
