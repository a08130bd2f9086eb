// SPDX-License-Identifier: MIT
//
// A `FakeDiscord` behind a socket: HTTP/1.1 with keep-alive on the loopback interface, with network
// delays in both directions. Connections are served independently, so answers to requests on
// several connections arrive in any order.
//
// Invariant: the fake receives a request after its forward delay; its answer is sent after the
// rule's think_time and the backward delay. The server adds no other delay than the latency of the
// kernel's timers. Server time is the steady time since the server was made.
//
//     FakeDiscordThread server;                     // or FakeDiscordServer
//     server{io.get_executor()} connect_to("127.0.0.1", server->port());
//     server->with([](FakeDiscord& discord) {
//         CHECK(discord.count(FakeVerdict::user_limit) == 0);
//     });
//
// Any thread may call any member. The server may be destroyed before or after its io_context ends,
// but not while another thread destroys that io_context.
#ifndef SLUICE_TESTING_FAKE_DISCORD_SERVER_HPP
#define SLUICE_TESTING_FAKE_DISCORD_SERVER_HPP

#include <sluice/testing/fake_discord.hpp>
#include <sluice/testing/loopback_server.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/system/error_code.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace sluice::testing {

struct FakeServerOptions {
    std::uint16_t port = 0; ///< 0: any free one
    Delay forward{};        ///< from the client to the check of the limits
    Delay backward{};       ///< from the end of the think_time to the client
    Delay connect{};        ///< added once per connection, before its first request is read
    Duration idle = std::chrono::seconds{60}; ///< then an unused connection is closed
    std::uint64_t seed = 1;                   ///< for the delays
};

namespace detail {

/// The fake, and the settings from the options.
class FakeServerState : public LoopbackState {
public:
    FakeServerState(FakeDiscord&& fake, const FakeServerOptions& chosen)
        : LoopbackState(chosen.port, chosen.seed), options(chosen), discord(std::move(fake)) {
        discord.count_in_flight(InFlight::until_delivered);
    }

    const FakeServerOptions options;
    std::mutex discord_mutex;
    FakeDiscord discord; ///< under `discord_mutex`
};

/// One accepted socket. It lives in the frame of its coroutine, and is only used on the strand.
class FakeConnection final : public LoopbackConnection {
public:
    using Tcp = boost::asio::ip::tcp;
    using Request = boost::beast::http::request<boost::beast::http::string_body>;
    using Response = boost::beast::http::response<boost::beast::http::string_body>;

    FakeConnection(std::shared_ptr<FakeServerState> state, Tcp::socket socket)
        : state_(std::move(state)), stream_(std::move(socket)), timer_(stream_.get_executor()) {
        boost::system::error_code ignored;
        const auto peer = stream_.socket().remote_endpoint(ignored);
        if (!ignored) address_ = peer.address().to_string();
        state_->enter(*this);
    }
    ~FakeConnection() override { state_->leave(*this); }

    [[nodiscard]] boost::asio::awaitable<void> serve();

    void close() override {
        closed_ = true;
        timer_.cancel();
        stream_.close();
    }

private:
    /// Counts a request as in flight until its answer is written or given up.
    class Flight {
    public:
        explicit Flight(FakeServerState& state) : state_(state) {}
        ~Flight() {
            const std::lock_guard lock{state_.discord_mutex};
            state_.discord.delivered();
        }
        Flight(const Flight&) = delete;
        Flight& operator=(const Flight&) = delete;

    private:
        FakeServerState& state_;
    };

    [[nodiscard]] boost::asio::awaitable<void> pause(Duration span);
    [[nodiscard]] boost::asio::awaitable<bool> read();
    [[nodiscard]] boost::asio::awaitable<bool> answer();
    [[nodiscard]] boost::asio::awaitable<void> outlast();
    [[nodiscard]] FakeResponse receive();
    [[nodiscard]] Response written(FakeResponse&& decided) const;

    std::shared_ptr<FakeServerState> state_;
    boost::beast::tcp_stream stream_;
    boost::asio::steady_timer timer_;
    boost::beast::flat_buffer buffer_;
    Request request_;
    std::string address_;
    bool closed_ = false;
};

// g++ 12 destroys a temporary twice if a loop has a co_await in its condition; hence the local
// variable.
inline boost::asio::awaitable<void> FakeConnection::serve() {
    co_await pause(state_->draw(state_->options.connect));
    while (!closed_) {
        const bool arrived = co_await read();
        if (!arrived) break;
        co_await pause(state_->draw(state_->options.forward));
        if (closed_) break;
        const bool keep = co_await answer();
        if (!keep) break;
    }
}

inline boost::asio::awaitable<void> FakeConnection::pause(Duration span) {
    if (span <= Duration::zero()) co_return;
    boost::system::error_code ignored;
    timer_.expires_after(span);
    co_await timer_.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
}

inline boost::asio::awaitable<bool> FakeConnection::read() {
    namespace http = boost::beast::http;
    // More than the largest upload that Discord accepts. A larger body is a mistake of the test,
    // and must not exhaust memory.
    constexpr std::uint64_t most = 1U << 30U;
    http::request_parser<http::string_body> parser;
    parser.body_limit(most);
    boost::system::error_code ec;
    stream_.expires_after(state_->options.idle);
    co_await http::async_read(stream_, buffer_, parser,
                              boost::asio::redirect_error(boost::asio::use_awaitable, ec));
    stream_.expires_never();
    if (ec) co_return false;
    request_ = parser.release();
    co_return true;
}

inline FakeResponse FakeConnection::receive() {
    namespace http = boost::beast::http;
    const FakeRequest request{.method = request_.method_string(),
                              .target = request_.target(),
                              .token = request_[http::field::authorization],
                              .address = address_,
                              .user_agent = request_[http::field::user_agent],
                              .body = request_.body(),
                              .identity = request_["X-Request-Id"]};
    const std::lock_guard lock{state_->discord_mutex};
    return state_->discord.receive(request, state_->now());
}

inline FakeConnection::Response FakeConnection::written(FakeResponse&& decided) const {
    Response response;
    response.version(11);
    response.result(static_cast<unsigned>(decided.status));
    for (const auto& [name, value] : decided.headers)
        response.insert(name, value);
    // RFC 9110, section 15.3.5: an answer without content has no body, even if a script sets one.
    if (decided.status != 204) response.body() = std::move(decided.body);
    response.keep_alive(request_.keep_alive());
    response.prepare_payload();
    return response;
}

inline boost::asio::awaitable<bool> FakeConnection::answer() {
    FakeResponse decided = receive();
    const Flight flight{*state_};
    const bool cut = decided.cut;
    const bool silent = decided.silent;
    const Duration delay = decided.think_time + state_->draw(state_->options.backward);
    Response response = written(std::move(decided));
    co_await pause(delay);
    if (silent) co_await outlast();
    if (closed_ || cut || silent) co_return false;
    boost::system::error_code ec;
    stream_.expires_after(state_->options.idle);
    co_await boost::beast::http::async_write(
        stream_, response, boost::asio::redirect_error(boost::asio::use_awaitable, ec));
    co_return !ec && response.keep_alive();
}

/// Sends no answer until the client closes the connection or has been idle for too long.
inline boost::asio::awaitable<void> FakeConnection::outlast() {
    boost::system::error_code ec;
    std::array<char, 512> ignored{};
    stream_.expires_after(state_->options.idle);
    while (!closed_ && !ec)
        co_await stream_.async_read_some(
            boost::asio::buffer(ignored),
            boost::asio::redirect_error(boost::asio::use_awaitable, ec));
}

inline boost::asio::awaitable<void> serve_connection(std::shared_ptr<FakeServerState> state,
                                                     boost::asio::ip::tcp::socket socket) {
    FakeConnection connection{std::move(state), std::move(socket)};
    co_await connection.serve();
}

} // namespace detail

class FakeDiscordServer {
public:
    /// Listens when the constructor returns. Throws boost::system::system_error if the port is in
    /// use.
    explicit FakeDiscordServer(boost::asio::any_io_executor executor,
                               FakeDiscord discord = FakeDiscord{},
                               const FakeServerOptions& options = {});
    ~FakeDiscordServer() { stop(); }

    FakeDiscordServer(const FakeDiscordServer&) = delete;
    FakeDiscordServer& operator=(const FakeDiscordServer&) = delete;

    [[nodiscard]] std::uint16_t port() const noexcept { return state_->port(); }
    /// Returns "http://127.0.0.1:" and the port.
    [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port()); }
    [[nodiscard]] Duration now() const { return state_->now(); }

    /// Calls `use` with the fake while no request is being processed. Returns what it returns. Must
    /// not be called from a script or a change: the fake is already locked there.
    template <class Use>
    decltype(auto) with(Use&& use) {
        const std::lock_guard lock{state_->discord_mutex};
        return std::forward<Use>(use)(state_->discord);
    }

    /// Closes the port and all connections, including unanswered requests, as soon as the
    /// io_context runs it. After that the server keeps no `run()` from returning. May be called
    /// more than once.
    void stop() {
        state_->post([state = state_] { state->close_all(); });
    }

private:
    std::shared_ptr<detail::FakeServerState> state_;
};

inline FakeDiscordServer::FakeDiscordServer(boost::asio::any_io_executor executor,
                                            FakeDiscord discord, const FakeServerOptions& options)
    : state_(std::make_shared<detail::FakeServerState>(std::move(discord), options)) {
    detail::listen(state_, std::move(executor), [state = state_](auto socket) {
        return detail::serve_connection(state, std::move(socket));
    });
}

using FakeDiscordThread = ServerThread<FakeDiscordServer, FakeDiscord, FakeServerOptions>;

} // namespace sluice::testing

#endif
