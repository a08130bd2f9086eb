// SPDX-License-Identifier: MIT
//
// Thirty-two shards of a large bot come up against a fake gateway with max_concurrency 16, lose
// their connections all at once, and resume, which takes no identify.
//
//     02_shards            five times as fast as Discord
//     02_shards --real     5 s between the identifies of one key, as there
#include <sluice/gateway/close_code.hpp>
#include <sluice/gateway/identify_queue.hpp>
#include <sluice/gateway/send_limiter.hpp>
#include <sluice/testing/fake_gateway_server.hpp>

#include "support/gateway_client.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using examples::GatewayClient;
using nlohmann::json;
using sluice::gateway::Opcode;
using Clock = std::chrono::steady_clock;
using Task = asio::awaitable<void>;

struct Shard {
    Shard(asio::io_context& io, std::uint64_t number) : id(number), sends(io) {}

    [[nodiscard]] std::string identify(std::uint64_t of) const {
        return json{{"op", 2}, {"d", {{"token", "t"}, {"shard", {id, of}}}}}.dump();
    }
    [[nodiscard]] std::string resume() const {
        return json{{"op", 6}, {"d", {{"token", "t"}, {"session_id", session}, {"seq", sequence}}}}
            .dump();
    }
    [[nodiscard]] std::string heartbeat() const { return json{{"op", 1}, {"d", sequence}}.dump(); }

    std::uint64_t id;
    char phase = '.'; // as the legend says
    std::string session = {};
    std::int64_t sequence = 0;
    sluice::gateway::SendLimiter sends;
    std::chrono::milliseconds heartbeat_interval{0};
};

class Bot {
public:
    Bot(asio::io_context& io, std::uint16_t port, const json& bot_info, double speed)
        : io_(io),
          port_(port),
          identifies_(io, sluice::gateway::SessionStartLimit::parse(bot_info), faster(speed)) {
        for (std::uint64_t id = 0; id < bot_info["shards"]; ++id)
            shards_.emplace_back(io, id);
    }

    void start() {
        for (Shard& shard : shards_)
            asio::co_spawn(io_, live(shard), rethrow);
    }
    [[nodiscard]] bool is_ready() const { return phases() == std::string(shards_.size(), '#'); }
    [[nodiscard]] std::string phases() const {
        std::string all;
        for (const Shard& shard : shards_)
            all += shard.phase;
        return all;
    }

private:
    static void rethrow(const std::exception_ptr& problem) {
        if (problem) std::rethrow_exception(problem);
    }
    static sluice::gateway::IdentifyQueueOptions faster(double speed) {
        sluice::gateway::IdentifyQueueOptions options;
        options.interval = std::chrono::nanoseconds(static_cast<std::int64_t>(5e9 / speed));
        options.margin = std::chrono::nanoseconds(static_cast<std::int64_t>(5e8 / speed));
        return options;
    }

    /// Connects again whenever the connection has ended, unless that would end the same way.
    Task live(Shard& shard) {
        for (;;) {
            const auto client = std::make_shared<GatewayClient>(io_.get_executor());
            co_await client->connect(port_);
            co_await follow(shard, client);
            shard.phase = '.';
            const auto next = sluice::gateway::after_close(client->close_code());
            if (!may_reconnect(next)) co_return;
            if (!may_resume(next)) shard.session.clear();
        }
    }

    /// One connection from its hello to its end.
    Task follow(Shard& shard, std::shared_ptr<GatewayClient> client) {
        shard.sends.reset(); // nothing has been sent over this connection
        for (;;) {
            const json event = co_await client->read();
            if (event.is_null()) co_return;
            const int opcode = event["op"];
            if (opcode == 10) {
                shard.heartbeat_interval =
                    std::chrono::milliseconds(event["d"]["heartbeat_interval"]);
                shard.sends.set_heartbeat_interval(shard.heartbeat_interval);
                asio::co_spawn(io_, beat(shard, client), rethrow);
                co_await begin(shard, *client);
            } else if (opcode == 9) { // the session is gone
                shard.session.clear();
                co_await begin(shard, *client);
            } else if (opcode == 0) {
                shard.sequence = event["s"];
                if (event["t"] == "READY") shard.session = event["d"]["session_id"];
                shard.phase = '#';
            }
        }
    }

    /// Resumes, which needs no turn, or waits for the shard's turn and identifies.
    Task begin(Shard& shard, GatewayClient& client) {
        if (!shard.session.empty()) {
            shard.phase = 'r';
            co_await shard.sends.acquire(Opcode::resume);
            co_await client.send(shard.resume());
            co_return;
        }
        shard.phase = 'w';
        sluice::gateway::IdentifyPermit permit = co_await identifies_.acquire(shard.id);
        shard.phase = 'i';
        co_await shard.sends.acquire(Opcode::identify);
        co_await client.send(shard.identify(shards_.size()));
        permit.sent(); // the five seconds of its key run from here
    }

    /// Until the connection has ended.
    Task beat(Shard& shard, std::weak_ptr<GatewayClient> weak) {
        asio::steady_timer timer(io_);
        for (;;) {
            timer.expires_after(shard.heartbeat_interval);
            co_await timer.async_wait(asio::use_awaitable);
            const auto client = weak.lock();
            if (client == nullptr) co_return;
            co_await shard.sends.acquire(Opcode::heartbeat); // never waits
            co_await client->send(shard.heartbeat());
        }
    }

    asio::io_context& io_;
    std::uint16_t port_;
    sluice::gateway::IdentifyQueue identifies_;
    std::deque<Shard> shards_;
};

/// Shows how far the shards are until all are ready. Returns how long that took.
double run_until_ready(asio::io_context& io, const Bot& bot) {
    const auto begun = Clock::now();
    std::string shown;
    for (;;) {
        io.run_for(50ms);
        const double seconds = std::chrono::duration<double>(Clock::now() - begun).count();
        const std::string phases = bot.phases();
        if (phases != shown) std::printf("%6.2f s  %s\n", seconds, phases.c_str());
        std::fflush(stdout);
        shown = phases;
        if (bot.is_ready() || seconds > 20) return seconds;
    }
}

} // namespace

int main(int argc, char** argv) {
    const bool real = argc > 1 && std::string_view(argv[1]) == "--real";
    const double speed = real ? 1 : 5;
    sluice::testing::FakeGatewayThread server(
        sluice::testing::FakeGateway(
            sluice::testing::FakeGatewayOptions{.max_concurrency = 16, .shards = 32}.faster(speed)),
        {.forward = {20ms, 40ms}, .backward = {20ms, 40ms}});

    asio::io_context io;
    const json bot_info =
        server->with([now = server->now()](auto& gateway) { return gateway.bot_info(now); });
    Bot bot(io, server->port(), bot_info, speed);
    std::printf(
        "shard by shard: . offline, w waits for its turn, i identifies, r resumes, # ready\n");
    bot.start();
    const double start = run_until_ready(io, bot);

    std::printf("all connections are lost\n");
    server->disconnect_all();
    while (bot.is_ready())
        io.run_one();
    const double storm = run_until_ready(io, bot);

    const auto [identifies, complaints] = server->with(
        [](const auto& gateway) { return std::pair(gateway.identifies(), gateway.complaints()); });
    const bool good = bot.is_ready() && complaints == sluice::testing::GatewayComplaints();
    std::printf("32 shards up in %.2f s, back in %.2f s, %llu identifies, %s\n", start, storm,
                static_cast<unsigned long long>(identifies),
                good ? "nothing refused" : "SOMETHING WAS REFUSED");
    return good ? 0 : 1;
}
