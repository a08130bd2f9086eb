// SPDX-License-Identifier: MIT
//
// The fake gateway behind a socket. In real time, because sockets know no other: spans are some
// tens of milliseconds, only their lower bounds are checked, and what hangs ends after 10 s.
#include <sluice/gateway/identify_queue.hpp>
#include <sluice/gateway/rate_limited.hpp>
#include <sluice/gateway/send_limiter.hpp>
#include <sluice/testing/fake_gateway_server.hpp>

#include "support/catch.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address_v4.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/system/error_code.hpp>
#include <nlohmann/json.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace sluice::testing;
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace websocket = boost::beast::websocket;
using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;
using Task = asio::awaitable<void>;

constexpr auto bound = 10s;

// Payloads are made outside coroutines: g++ 12 takes no braced list inside a co_await expression.
const std::string heartbeat = R"({"op": 1, "d": null})";
const std::string presence = R"({"op": 3, "d": {"status": "idle"}})";
const std::string voice_state = R"({"op": 4, "d": {"guild_id": "1"}})";
const std::string whole_list = R"({"op": 8, "d": {"guild_id": "77", "query": "", "limit": 0}})";

std::string identify(std::uint64_t shard = 0, std::uint64_t of = 1) {
    return Json{{"op", 2}, {"d", {{"token", "t"}, {"shard", {shard, of}}}}}.dump();
}
std::string resume(const Json& ready) {
    const auto& session = ready["d"]["session_id"];
    return Json{{"op", 6}, {"d", {{"token", "t"}, {"session_id", session}, {"seq", ready["s"]}}}}
        .dump();
}

std::vector<std::string> unreadable() {
    return {"{", "[]", "", R"({"op": 1, "d": ")" + std::string(5000, 'x') + "\"}"};
}

/// A client's end of a gateway connection.
class Client {
public:
    Client(const asio::any_io_executor& executor, std::uint16_t port)
        : socket_(executor), port_(port) {}

    /// Up to and with hello, which it returns.
    asio::awaitable<Json> connect() {
        auto& stream = beast::get_lowest_layer(socket_);
        stream.expires_after(bound);
        const asio::ip::tcp::endpoint endpoint(asio::ip::address_v4::loopback(), port_);
        co_await stream.async_connect(endpoint, asio::use_awaitable);
        co_await socket_.async_handshake("127.0.0.1", "/?v=10&encoding=json", asio::use_awaitable);
        co_return co_await read();
    }
    /// Up to and with READY, which it returns.
    asio::awaitable<Json> begin() {
        co_await connect();
        co_await send(identify());
        co_return co_await read();
    }
    Task send(std::string text) {
        co_await socket_.async_write(asio::buffer(text), asio::use_awaitable);
    }
    /// Null when the connection has ended.
    asio::awaitable<Json> read() {
        beast::flat_buffer buffer;
        boost::system::error_code ec;
        auto token = asio::redirect_error(asio::use_awaitable, ec);
        co_await socket_.async_read(buffer, token);
        if (ec) co_return Json();
        co_return Json::parse(beast::buffers_to_string(buffer.data()));
    }
    /// Reads to the end. 1006 when it came without a frame, 0 when it did not come in time.
    asio::awaitable<int> close_code() {
        boost::system::error_code ec;
        auto token = asio::redirect_error(asio::use_awaitable, ec);
        while (!ec) {
            beast::flat_buffer buffer;
            co_await socket_.async_read(buffer, token);
        }
        if (ec == beast::error::timeout) co_return 0;
        co_return ec == websocket::error::closed ? int(socket_.reason().code) : 1006;
    }
    Task close(int code) {
        const websocket::close_reason reason(static_cast<websocket::close_code>(code));
        co_await socket_.async_close(reason, asio::use_awaitable);
    }

private:
    websocket::stream<beast::tcp_stream> socket_;
    std::uint16_t port_;
};

/// A client's io_context and a fake gateway that runs in a thread of its own.
struct World {
    explicit World(FakeGatewayOptions options = {}, FakeGatewayServerOptions server_options = {})
        : server(FakeGateway(std::move(options)), server_options) {}

    Client client() { return {io.get_executor(), server->port()}; }
    /// Runs a coroutine to its end and throws what it throws.
    void run(Task task) {
        bool done = false;
        asio::co_spawn(io, std::move(task), [&done](std::exception_ptr problem) {
            done = true;
            if (problem) std::rethrow_exception(problem);
        });
        io.restart();
        io.run_for(bound);
        REQUIRE(done);
    }
    GatewayComplaints complaints() {
        return server->with([](const FakeGateway& gateway) { return gateway.complaints(); });
    }
    std::size_t sessions() {
        return server->with([](const FakeGateway& gateway) { return gateway.sessions(); });
    }

    asio::io_context io;
    FakeGatewayThread server;
};

http::response<http::string_body> get(World& world, const std::string& target,
                                      const std::string& token) {
    beast::tcp_stream stream(world.io);
    stream.connect({asio::ip::address_v4::loopback(), world.server->port()});
    http::request<http::string_body> request(http::verb::get, target, 11);
    request.set(http::field::authorization, token);
    http::write(stream, request);
    beast::flat_buffer buffer;
    http::response<http::string_body> response;
    http::read(stream, buffer, response);
    return response;
}

} // namespace

TEST_CASE("over a socket a gateway says hello, acknowledges heartbeats and is ready", "[F15]") {
    World world;
    world.run([](World& w) -> Task {
        Client client = w.client();
        const Json hello = co_await client.connect();
        CHECK(hello["op"] == 10);
        CHECK(hello["d"]["heartbeat_interval"] == 41'250);
        co_await client.send(heartbeat);
        const Json acknowledged = co_await client.read();
        CHECK(acknowledged["op"] == 11);
        co_await client.send(identify(0, 1));
        const Json ready = co_await client.read();
        CHECK(ready["t"] == "READY");
        CHECK(ready["s"] == 1);
        CHECK(ready["d"]["shard"].dump() == "[0,1]");
        CHECK(ready["d"]["resume_gateway_url"] == w.server->url());
    }(world));
    CHECK(world.sessions() == 1);
}

TEST_CASE("GET /gateway/bot on the same port counts identifies down", "[F15]") {
    World world({.total = 7, .remaining = 7, .max_concurrency = 2, .shards = 3, .token = "t"});
    world.run([](World& w) -> Task {
        Client client = w.client();
        co_await client.begin();
    }(world));
    const auto response = get(world, "/api/v10/gateway/bot?x=1", "Bot t");
    REQUIRE(response.result_int() == 200);
    const Json body = Json::parse(response.body());
    CHECK(body["url"] == world.server->url());
    CHECK(body["shards"] == 3);
    const auto limit = sluice::gateway::SessionStartLimit::parse(body);
    CHECK(limit.total == 7);
    CHECK(limit.remaining == 6);
    CHECK(limit.max_concurrency == 2);
    CHECK(get(world, "/api/v10/gateway/bot", "Bot wrong").result_int() == 401);
    CHECK(get(world, "/api/v10/gateway", "Bot t").result_int() == 404);
}

TEST_CASE("over a socket an identify that comes too early is opcode 9, a little later", "[F15]") {
    World world({.invalid_session_after = 60ms});
    world.run([](World& w) -> Task {
        Client first = w.client();
        Client second = w.client();
        co_await first.connect();
        co_await second.connect();
        co_await first.send(identify());
        co_await first.read();
        const auto asked = Clock::now();
        co_await second.send(identify());
        co_await second.send(heartbeat);
        Json reply = co_await second.read();
        CHECK(reply["op"] == 11); // was not held up
        reply = co_await second.read();
        CHECK(reply["op"] == 9);
        CHECK(Clock::now() - asked >= 60ms);
    }(world));
    CHECK(world.complaints().invalid_sessions == 1);
}

TEST_CASE("over a socket one event too many closes with 4008", "[F15]") {
    World world({.events = {Algorithm::sliding_log, 3, 60s}});
    world.run([](World& w) -> Task {
        Client client = w.client();
        co_await client.connect();
        for (int i = 0; i < 4; ++i)
            co_await client.send(heartbeat);
        const int code = co_await client.close_code();
        CHECK(code == 4008);
    }(world));
    CHECK(world.complaints().closes_4008 == 1);
}

TEST_CASE("what is no JSON, no text, or too long closes with 4002", "[F15]") {
    World world;
    world.run([](World& w) -> Task {
        for (const std::string& text : unreadable()) {
            Client client = w.client();
            co_await client.connect();
            co_await client.send(text);
            const int code = co_await client.close_code();
            CHECK(code == 4002);
        }
    }(world));
}

TEST_CASE("RATE_LIMITED over a socket is read by the send limiter's parser", "[F15]") {
    World world;
    world.run([](World& w) -> Task {
        Client client = w.client();
        co_await client.begin();
        for (int i = 0; i < 2; ++i)
            co_await client.send(whole_list);
        const Json told = co_await client.read();
        CHECK(told["t"] == "RATE_LIMITED");
        CHECK(told["s"] == 2);
        const auto refused = sluice::gateway::RateLimited::parse(told);
        REQUIRE(refused);
        CHECK(refused->guild == 77);
        CHECK(refused->retry_after > 20s);
    }(world));
}

TEST_CASE("over a socket a presence too many is dropped, and nobody is told", "[F15]") {
    World world;
    world.run([](World& w) -> Task {
        Client client = w.client();
        co_await client.begin();
        for (int i = 0; i < 6; ++i)
            co_await client.send(presence);
        co_await client.send(heartbeat);
        const Json next = co_await client.read();
        CHECK(next["op"] == 11);
    }(world));
    CHECK(world.complaints().presences_dropped == 1);
}

TEST_CASE("a day overrun closes every connection with 4004 and ends the token", "[F15]") {
    World world({.remaining = 1, .max_concurrency = 2});
    world.run([](World& w) -> Task {
        Client innocent = w.client();
        Client guilty = w.client();
        co_await innocent.connect();
        co_await guilty.connect();
        co_await innocent.send(identify());
        co_await innocent.read();
        co_await guilty.send(identify(1, 2));
        int code = co_await guilty.close_code();
        CHECK(code == 4004);
        code = co_await innocent.close_code();
        CHECK(code == 4004);
    }(world));
    CHECK(world.complaints().daily_overruns == 1);
    CHECK(world.sessions() == 0);
    CHECK(get(world, "/api/v10/gateway/bot", "Bot t").result_int() == 401);
}

TEST_CASE("a session outlives its connection and is resumed without an identify", "[F15]") {
    World world;
    world.run([](World& w) -> Task {
        Client first = w.client();
        const Json ready = co_await first.begin();
        w.server->disconnect_all();
        const int code = co_await first.close_code();
        CHECK(code == 1006);
        Client second = w.client();
        co_await second.connect();
        co_await second.send(resume(ready));
        const Json resumed = co_await second.read();
        CHECK(resumed["t"] == "RESUMED");
        CHECK(resumed["s"] == 2);
        co_await second.close(1000);
    }(world));
    const auto end = Clock::now() + bound;
    while (world.sessions() != 0 && Clock::now() < end)
        std::this_thread::sleep_for(1ms);
    CHECK(world.sessions() == 0); // 1000 ends it
    CHECK(world.server->with([](const FakeGateway& g) { return g.identifies(); }) == 1);
}

TEST_CASE("over a socket a connection whose heartbeats stop is closed with 4009", "[F15]") {
    World world({.heartbeat_interval = 20ms, .heartbeat_grace = 20ms});
    world.run([](World& w) -> Task {
        Client client = w.client();
        const auto begun = Clock::now();
        co_await client.connect();
        const int code = co_await client.close_code();
        CHECK(code == 4009);
        CHECK(Clock::now() - begun >= 40ms);
    }(world));
}

TEST_CASE("events of one connection keep their order, whatever their delays", "[F15]") {
    World world({}, {.forward = {0ms, 20ms}, .backward = {0ms, 20ms}, .connect = {5ms, 5ms}});
    world.run([](World& w) -> Task {
        Client client = w.client();
        co_await client.connect();
        co_await client.send(identify());
        // Before READY this would close with 4003 if it overtook.
        for (int i = 0; i < 5; ++i)
            co_await client.send(voice_state);
        co_await client.send(heartbeat);
        Json reply = co_await client.read();
        CHECK(reply["t"] == "READY");
        reply = co_await client.read();
        CHECK(reply["op"] == 11);
    }(world));
}

TEST_CASE("a gateway server may go before its io_context and after it") {
    for (const bool server_first : {true, false}) {
        CAPTURE(server_first);
        auto io = std::make_unique<asio::io_context>();
        auto server = std::make_unique<FakeGatewayServer>(io->get_executor());
        Client client(io->get_executor(), server->port());
        bool greeted = false;
        asio::co_spawn(
            *io,
            [](Client& c, bool& done) -> Task {
                co_await c.connect();
                done = true;
            }(client, greeted),
            asio::detached);
        while (!greeted)
            REQUIRE(io->run_one_for(bound) == 1);
        if (server_first) {
            server.reset();
            io->run_for(bound); // ends: the server keeps nothing alive
            CHECK(io->stopped());
        }
    }
}

namespace {

/// One shard of a bot as it should be written, until it is ready.
Task bring_up(World& world, sluice::gateway::IdentifyQueue& identifies, Client& client,
              std::uint64_t shard, std::uint64_t of, int& ready) {
    sluice::gateway::SendLimiter sends(world.io);
    co_await client.connect();
    sluice::gateway::IdentifyPermit permit = co_await identifies.acquire(shard);
    co_await sends.acquire(sluice::gateway::Opcode::identify);
    co_await client.send(identify(shard, of));
    permit.sent();
    const Json reply = co_await client.read();
    permit.answered();
    if (reply.value("t", "") == "READY") ++ready;
}

} // namespace

TEST_CASE("thirty-two shards come up over sockets, two batches, without a complaint") {
    const FakeGatewayOptions options = FakeGatewayOptions{.max_concurrency = 16}.faster(50);
    World world(options, {.forward = {1ms, 5ms}, .backward = {1ms, 5ms}});
    const auto limit = sluice::gateway::SessionStartLimit::parse(
        get(world, "/api/v10/gateway/bot", "Bot t").body());
    sluice::gateway::IdentifyQueue identifies(world.io, limit, {.margin = 50ms, .interval = 100ms});
    std::deque<Client> clients;
    int ready = 0;
    const auto begun = Clock::now();
    for (std::uint64_t shard = 0; shard < 32; ++shard) {
        asio::co_spawn(
            world.io,
            bring_up(world, identifies, clients.emplace_back(world.client()), shard, 32, ready),
            asio::detached);
    }
    while (ready < 32 && Clock::now() - begun < bound)
        world.io.run_one_for(100ms);
    CHECK(ready == 32);
    CHECK(Clock::now() - begun >= 100ms);
    CHECK(world.complaints() == GatewayComplaints());
}
