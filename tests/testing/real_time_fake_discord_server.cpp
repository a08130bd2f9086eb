// SPDX-License-Identifier: MIT
//
// The fake Discord behind a socket. In real time, because sockets know no other: delays are some
// tens of milliseconds, only their lower bounds are checked, and a test that hangs ends after 10 s.
#include <sluice/testing/fake_discord_server.hpp>

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
#include <boost/beast/core/error.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/system/error_code.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace sluice::testing;
namespace asio = boost::asio;
namespace http = boost::beast::http;
using Clock = std::chrono::steady_clock;
using Request = http::request<http::string_body>;
using Response = http::response<http::string_body>;

constexpr auto bound = 10s;

Request get(const std::string& target) {
    Request request{http::verb::get, target, 11};
    request.set(http::field::authorization, "Bot a");
    return request;
}

/// A connection of a client, opened when it is first used.
class Client {
public:
    Client(asio::io_context& io, std::uint16_t port) : stream_(io.get_executor()), port_(port) {}

    /// Status 0 when the connection ended without an answer.
    asio::awaitable<Response> exchange(Request request) {
        Response response;
        boost::system::error_code ec;
        stream_.expires_after(bound);
        auto redirected = asio::redirect_error(asio::use_awaitable, ec);
        if (!stream_.socket().is_open()) co_await stream_.async_connect(endpoint(), redirected);
        if (!ec) co_await http::async_write(stream_, request, redirected);
        if (!ec) co_await http::async_read(stream_, buffer_, response, redirected);
        if (ec) response.result(0);
        co_return response;
    }

    /// Whether the server closes the connection within the bound.
    asio::awaitable<bool> closed_by_server() {
        char byte = 0;
        boost::system::error_code ec;
        auto redirected = asio::redirect_error(asio::use_awaitable, ec);
        stream_.expires_after(bound);
        if (!stream_.socket().is_open()) co_await stream_.async_connect(endpoint(), redirected);
        co_await stream_.async_read_some(asio::buffer(&byte, 1), redirected);
        co_return ec&& ec != boost::beast::error::timeout;
    }

    void close() { stream_.close(); }

private:
    asio::ip::tcp::endpoint endpoint() const { return {asio::ip::address_v4::loopback(), port_}; }

    boost::beast::tcp_stream stream_;
    boost::beast::flat_buffer buffer_;
    std::uint16_t port_;
};

asio::awaitable<void> exchange_into(Client& client, Request request, std::vector<Response>& into) {
    into.push_back(co_await client.exchange(std::move(request)));
}

void spawn(asio::io_context& io, asio::awaitable<void> work) {
    asio::co_spawn(io, std::move(work), asio::detached);
}

/// Runs until `count` answers are there.
void run_until(asio::io_context& io, const std::vector<Response>& answers, std::size_t count) {
    const auto end = Clock::now() + bound;
    io.restart();
    while (answers.size() < count && Clock::now() < end)
        io.run_one_for(100ms);
    REQUIRE(answers.size() == count);
}

Response run_one(asio::io_context& io, Client& client, const Request& request) {
    std::vector<Response> answers;
    spawn(io, exchange_into(client, request, answers));
    run_until(io, answers, 1);
    return answers.front();
}

std::string header(const Response& response, const char* name) {
    return std::string{response[name]};
}

} // namespace

TEST_CASE("requests on one connection are answered with the headers of the fake") {
    asio::io_context io;
    FakeDiscordServer server{io.get_executor()};
    Client client{io, server.port()};
    for (int remaining = 4; remaining >= 0; --remaining) {
        const auto answer = run_one(io, client, get("/api/v10/channels/1/messages"));
        CHECK(answer.result_int() == 200);
        CHECK(answer.body() == "{}");
        CHECK(header(answer, "X-RateLimit-Limit") == "5");
        CHECK(header(answer, "X-RateLimit-Remaining") == std::to_string(remaining));
        CHECK(header(answer, "Via") == "1.1 google");
    }
    const auto refused = run_one(io, client, get("/channels/1/messages"));
    CHECK(refused.result_int() == 429);
    CHECK(header(refused, "X-RateLimit-Scope") == "user");
    CHECK(refused.body().find("You are being rate limited.") != std::string::npos);
}

TEST_CASE("all that the fake is to know of a request reaches it") {
    asio::io_context io;
    FakeDiscord discord;
    std::string seen;
    discord.script([&](const FakeRequest& request, Duration) {
        for (const auto part : {request.method, request.target, request.token, request.address,
                                request.user_agent, request.body})
            seen.append(part).append("|");
        return std::optional<FakeResponse>{};
    });
    FakeDiscordServer server{io.get_executor(), discord};
    Client client{io, server.port()};
    Request request{http::verb::post, "/channels/1/messages?wait=true", 11};
    request.set(http::field::authorization, "Bot a");
    request.set(http::field::user_agent, "DiscordBot (x, 1)");
    request.body() = "{\"content\": 1}";
    request.prepare_payload();
    CHECK(run_one(io, client, request).result_int() == 200);
    CHECK(seen == "POST|/channels/1/messages?wait=true|Bot a|127.0.0.1|DiscordBot (x, 1)|"
                  "{\"content\": 1}|");
}

TEST_CASE("an answer without content can be sent") {
    asio::io_context io;
    FakeDiscordServer server{io.get_executor(), FakeDiscord{{.fallback = {.status = 204}}}};
    Client client{io, server.port()};
    CHECK(run_one(io, client, get("/channels/1")).result_int() == 204);
    CHECK(run_one(io, client, get("/channels/1")).result_int() == 204);
}

TEST_CASE("delays are put before the check and after it") {
    asio::io_context io;
    FakeDiscord discord{{.fallback = {.think_time = 10ms}}};
    FakeDiscordServer server{
        io.get_executor(), discord, {.forward = {20ms, 25ms}, .backward = {30ms, 35ms}}};
    Client client{io, server.port()};
    const auto sent = server.now();
    (void)run_one(io, client, get("/channels/1"));
    const auto received = server.now();
    const auto checked = server.with([](FakeDiscord& fake) { return fake.log().back().at; });
    CHECK(checked - sent >= 20ms);
    CHECK(received - checked >= 40ms);
}

TEST_CASE("the delay of a connection is paid once") {
    asio::io_context io;
    FakeDiscordServer server{io.get_executor(), FakeDiscord{}, {.connect = {40ms, 40ms}}};
    Client client{io, server.port()};
    const auto begin = Clock::now();
    (void)run_one(io, client, get("/channels/1"));
    CHECK(Clock::now() - begin >= 40ms);
    // The quickest of several: a busy machine may hold up any one of them.
    auto quickest = Clock::duration::max();
    for (int i = 0; i < 4; ++i) {
        const auto again = Clock::now();
        (void)run_one(io, client, get("/channels/1"));
        quickest = std::min(quickest, Clock::now() - again);
    }
    CHECK(quickest < 40ms);
}

TEST_CASE("answers to requests of two connections overtake each other") {
    asio::io_context io;
    FakeDiscord discord;
    discord.rule("GET /channels/{channel.id}", {.think_time = 60ms});
    FakeDiscordServer server{io.get_executor(), discord};
    Client slow{io, server.port()};
    Client fast{io, server.port()};
    std::vector<Response> answers;
    spawn(io, exchange_into(slow, get("/channels/1"), answers));
    const auto in_flight = [&] {
        return server.with([](FakeDiscord& fake) { return fake.log().size(); });
    };
    while (in_flight() == 0)
        io.run_one_for(bound);
    spawn(io, exchange_into(fast, get("/guilds/1"), answers));
    run_until(io, answers, 2);
    const auto log = server.with([](FakeDiscord& fake) { return fake.log(); });
    CHECK(log[0].target == "/channels/1");
    CHECK(log[1].in_flight == 2);
    CHECK(header(answers[1], "X-RateLimit-Bucket") ==
          detail::hash_of_template(detail::route_of_template("GET /channels/{}").id()));
    (void)run_one(io, fast, get("/guilds/1"));
    CHECK(server.with([](FakeDiscord& fake) { return fake.log().back().in_flight; }) == 1);
}

TEST_CASE("a connection can be cut instead of answered, before anything is spent") {
    asio::io_context io;
    FakeDiscord discord;
    discord.script([](const FakeRequest& request, Duration) -> std::optional<FakeResponse> {
        if (request.target != "/channels/1") return std::nullopt;
        return FakeResponse{.cut = true};
    });
    FakeDiscordServer server{io.get_executor(), discord};
    Client cut{io, server.port()};
    Client other{io, server.port()};
    CHECK(run_one(io, cut, get("/channels/1")).result_int() == 0);
    const auto answer = run_one(io, other, get("/channels/1?x=1"));
    CHECK(header(answer, "X-RateLimit-Remaining") == "4");
}

TEST_CASE("a connection can be cut after the request ran, and a retry runs twice", "[F12]") {
    asio::io_context io;
    FakeDiscord discord;
    discord.rule("GET /channels/{channel.id}",
                 {.faults = {{.kind = FaultKind::cut, .executes = true, .times = 1}}});
    FakeDiscordServer server{io.get_executor(), discord};
    Client cut{io, server.port()};
    Client again{io, server.port()};
    auto request = get("/channels/1");
    request.set("X-Request-Id", "one");
    const auto executions = [&] {
        return server.with([](FakeDiscord& fake) { return fake.executions("one"); });
    };
    CHECK(run_one(io, cut, request).result_int() == 0);
    CHECK(executions() == 1);
    CHECK(run_one(io, again, request).result_int() == 200);
    CHECK(executions() == 2);
}

TEST_CASE("a lost answer leaves the connection open until the client gives it up", "[F12]") {
    asio::io_context io;
    FakeDiscord discord;
    discord.rule("GET /channels/{channel.id}", {.faults = {{.kind = FaultKind::silence}}});
    const bool client_gives_up = GENERATE(true, false);
    FakeDiscordServer server{
        io.get_executor(), discord, {.idle = client_gives_up ? Duration{60s} : Duration{50ms}}};
    Client lost{io, server.port()};
    Client other{io, server.port()};
    std::vector<Response> answers;
    const auto begin = Clock::now();
    spawn(io, exchange_into(lost, get("/channels/1"), answers));
    while (server.with([](FakeDiscord& fake) { return fake.log().empty(); }))
        io.run_one_for(bound);
    if (client_gives_up) {
        CHECK(run_one(io, other, get("/guilds/1")).result_int() == 200);
        CHECK(server.with([](FakeDiscord& fake) { return fake.log().back().in_flight; }) == 2);
        CHECK(answers.empty());
        lost.close();
    }
    run_until(io, answers, 1);
    CHECK(answers.front().result_int() == 0);
    if (!client_gives_up) CHECK(Clock::now() - begin >= 50ms);
    // Whoever gave up, the request is in flight no longer once the server has noticed.
    const auto in_flight = [&] {
        (void)run_one(io, other, get("/guilds/1"));
        return server.with([](FakeDiscord& fake) { return fake.log().back().in_flight; });
    };
    while (in_flight() > 1 && Clock::now() < begin + bound)
        io.run_one_for(1ms);
    CHECK(in_flight() == 1);
}

TEST_CASE("stopping ends run() at once, also with an answer that never comes", "[F12]") {
    asio::io_context io;
    FakeDiscord discord;
    discord.rule("GET /channels/{channel.id}", {.faults = {{.kind = FaultKind::silence}}});
    FakeDiscordServer server{io.get_executor(), discord};
    Client lost{io, server.port()};
    std::vector<Response> answers;
    spawn(io, exchange_into(lost, get("/channels/1"), answers));
    while (server.with([](FakeDiscord& fake) { return fake.log().empty(); }))
        io.run_one_for(bound);
    server.stop();
    io.run_for(bound);
    CHECK(io.stopped());
    REQUIRE(answers.size() == 1);
    CHECK(answers.front().result_int() == 0);
}

TEST_CASE("a page of Cloudflare reaches the client as it is", "[F5]") {
    asio::io_context io;
    FakeDiscord discord;
    discord.ban("127.0.0.1", 1h);
    FakeDiscordServer server{io.get_executor(), discord};
    Client client{io, server.port()};
    const auto answer = run_one(io, client, get("/channels/1"));
    CHECK(answer.result_int() == 429);
    CHECK(header(answer, "Via").empty());
    CHECK(header(answer, "Content-Type") == "text/html; charset=UTF-8");
    CHECK(answer.body().find("1015") != std::string::npos);
}

TEST_CASE("a connection that the client wants closed is closed after the answer") {
    asio::io_context io;
    FakeDiscordServer server{io.get_executor()};
    Client client{io, server.port()};
    auto request = get("/channels/1");
    request.keep_alive(false);
    const auto answer = run_one(io, client, request);
    CHECK(answer.result_int() == 200);
    CHECK_FALSE(answer.keep_alive());
    bool closed = false;
    asio::co_spawn(io, client.closed_by_server(),
                   [&](const std::exception_ptr&, bool result) { closed = result; });
    server.stop();
    io.run_for(bound);
    CHECK(closed);
}

TEST_CASE("an idle connection is closed after the time given") {
    asio::io_context io;
    FakeDiscordServer server{io.get_executor(), FakeDiscord{}, {.idle = 30ms}};
    Client client{io, server.port()};
    const bool used_before = GENERATE(true, false);
    if (used_before) (void)run_one(io, client, get("/channels/1"));
    const auto begin = Clock::now();
    std::optional<bool> closed;
    io.restart();
    asio::co_spawn(io, client.closed_by_server(),
                   [&](const std::exception_ptr&, bool result) { closed = result; });
    while (!closed && Clock::now() < begin + bound)
        io.run_one_for(100ms);
    REQUIRE(closed);
    CHECK(*closed);
}

TEST_CASE("stopping ends run() at once, with idle connections and answers still owed") {
    asio::io_context io;
    FakeDiscord discord;
    discord.rule("GET /guilds/{guild.id}", {.think_time = 60s});
    FakeDiscordServer server{io.get_executor(), discord};
    Client idle{io, server.port()};
    Client waiting{io, server.port()};
    (void)run_one(io, idle, get("/channels/1"));
    std::vector<Response> answers;
    spawn(io, exchange_into(waiting, get("/guilds/1"), answers));
    while (server.with([](FakeDiscord& fake) { return fake.log().size(); }) < 2)
        io.run_one_for(bound);
    server.stop();
    server.stop();
    io.run_for(bound);
    CHECK(io.stopped());
    REQUIRE(answers.size() == 1);
    CHECK(answers.front().result_int() == 0);
    Client late{io, server.port()};
    CHECK(run_one(io, late, get("/channels/1")).result_int() == 0);
}

TEST_CASE("a server that is stopped before it ran does not keep run() alive") {
    asio::io_context io;
    { FakeDiscordServer server{io.get_executor()}; }
    io.run_for(bound);
    CHECK(io.stopped());
}

TEST_CASE("a server may outlive its io_context, and connections may be open when that ends") {
    auto io = std::make_unique<asio::io_context>();
    FakeDiscord discord;
    discord.rule("GET /guilds/{guild.id}", {.think_time = 60s});
    FakeDiscordServer server{io->get_executor(), discord};
    {
        Client idle{*io, server.port()};
        Client waiting{*io, server.port()};
        (void)run_one(*io, idle, get("/channels/1"));
        std::vector<Response> answers;
        spawn(*io, exchange_into(waiting, get("/guilds/1"), answers));
        while (server.with([](FakeDiscord& fake) { return fake.log().size(); }) < 2)
            io->run_one_for(bound);
        waiting.close();
        while (answers.empty())
            io->run_one_for(bound);
    }
    io.reset();
    server.stop();
    CHECK(server.with([](FakeDiscord& fake) { return fake.count(FakeVerdict::accepted); }) == 2);
}

TEST_CASE("a port that is taken is reported when the server is made") {
    asio::io_context io;
    FakeDiscordServer first{io.get_executor()};
    CHECK(first.url() == "http://127.0.0.1:" + std::to_string(first.port()));
    CHECK_THROWS_AS((FakeDiscordServer{io.get_executor(), FakeDiscord{}, {.port = first.port()}}),
                    boost::system::system_error);
}

TEST_CASE("a server with its own thread answers while the test looks at it") {
    asio::io_context io;
    FakeDiscordThread server{
        FakeDiscord{{.global = std::nullopt, .fallback = {.limit = std::nullopt}}}};
    std::vector<Client> clients;
    std::vector<Response> answers;
    clients.reserve(8);
    for (int i = 0; i < 8; ++i) {
        clients.emplace_back(io, server->port());
        spawn(io, exchange_into(clients.back(), get("/channels/1"), answers));
    }
    while (server->with([](FakeDiscord& fake) { return fake.count(FakeVerdict::accepted); }) < 8)
        io.run_one_for(10ms);
    run_until(io, answers, 8);
}
