// SPDX-License-Identifier: MIT
//
// A `FakeDiscord` behind a socket: HTTP/1.1 with keep-alive on the loopback interface, with network
// delays in both directions. Every connection is served on its own, so answers to requests that
// were sent over several connections come back in any order.
//
// The one invariant: a request is received by the fake after its forward delay and answered after
// the rule's think_time and the backward delay, with nothing of the server's own added but what the
// kernel's timers cost. Server time is the steady time since the server was made.
//
//     FakeDiscordThread server;                     // or FakeDiscordServer
//     server{io.get_executor()} connect_to("127.0.0.1", server->port());
//     server->with([](FakeDiscord& discord) { CHECK(discord.count(FakeVerdict::user_limit) == 0);
//     });
//
// Any thread may call any member. The server may be destroyed before or after its io_context ends,
// but not while another thread destroys that io_context.
#ifndef SLUICE_TESTING_FAKE_DISCORD_SERVER_HPP
#define SLUICE_TESTING_FAKE_DISCORD_SERVER_HPP

#include <sluice/testing/fake_discord.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address_v4.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
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
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>

namespace sluice::testing {

/// Drawn anew each time, evenly from [least, most].
struct Delay {
    Duration least{};
    Duration most{};
};

struct FakeServerOptions {
    std::uint16_t port = 0; ///< 0: any free one
    Delay forward{};        ///< from the client to the check
    Delay backward{};       ///< from the end of the think_time to the client
    Delay connect{};        ///< on top, once per connection, before its first request is read
    Duration idle = std::chrono::seconds{60}; ///< a connection without a request is closed then
    std::uint64_t seed = 1;                   ///< of the delays
};

namespace detail {

class FakeConnection;
class FakeListener;

/// What server, listener and connections share; the last of them to go destroys it. It must hold
/// nothing that belongs to the io_context, because it may outlive it.
class FakeServerState {
public:
    FakeServerState(FakeDiscord&& fake, const FakeServerOptions& chosen)
        : options(chosen), discord(std::move(fake)), random_(chosen.seed) {
        discord.count_in_flight(InFlight::until_delivered);
    }

    [[nodiscard]] Duration now() const {
        return std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - start_);
    }

    [[nodiscard]] Duration draw(const Delay& delay) {
        if (delay.most <= delay.least) return delay.least;
        std::uniform_int_distribution<Duration::rep> spread{delay.least.count(),
                                                            delay.most.count()};
        return Duration{spread(random_)};
    }

    void close_all();

    const FakeServerOptions options;
    std::mutex discord_mutex;
    FakeDiscord discord; ///< under `discord_mutex`
    std::mutex listener_mutex;
    FakeListener* listener = nullptr;      ///< under `listener_mutex`; null when it is gone
    std::set<FakeConnection*> connections; ///< on the strand
    bool stopped = false;                  ///< on the strand

private:
    const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
    std::mt19937_64 random_; ///< on the strand
};

/// The acceptor. It lives in the frame of the accepting coroutine, and so goes with the io_context.
class FakeListener {
public:
    using Tcp = boost::asio::ip::tcp;

    FakeListener(std::shared_ptr<FakeServerState> state, boost::asio::any_io_executor executor)
        : state_(std::move(state)),
          acceptor_(boost::asio::make_strand(std::move(executor)),
                    {boost::asio::ip::address_v4::loopback(), state_->options.port}) {
        const std::lock_guard lock{state_->listener_mutex};
        state_->listener = this;
    }

    ~FakeListener() {
        const std::lock_guard lock{state_->listener_mutex};
        state_->listener = nullptr;
    }

    FakeListener(const FakeListener&) = delete;
    FakeListener& operator=(const FakeListener&) = delete;

    [[nodiscard]] const std::shared_ptr<FakeServerState>& state() const noexcept { return state_; }
    [[nodiscard]] Tcp::acceptor& acceptor() noexcept { return acceptor_; }

private:
    std::shared_ptr<FakeServerState> state_;
    Tcp::acceptor acceptor_;
};

/// One accepted socket. It lives in the frame of its coroutine, always on the strand.
class FakeConnection {
public:
    using Tcp = boost::asio::ip::tcp;
    using Request = boost::beast::http::request<boost::beast::http::string_body>;
    using Response = boost::beast::http::response<boost::beast::http::string_body>;

    FakeConnection(std::shared_ptr<FakeServerState> state, Tcp::socket socket)
        : state_(std::move(state)), stream_(std::move(socket)), timer_(stream_.get_executor()) {
        boost::system::error_code ignored;
        // Without it an answer may wait 40 ms for the acknowledgement of the one before.
        stream_.socket().set_option(Tcp::no_delay{true}, ignored);
        const auto peer = stream_.socket().remote_endpoint(ignored);
        if (!ignored) address_ = peer.address().to_string();
        state_->connections.insert(this);
        // Accepted, but not yet begun when `stop` looked.
        if (state_->stopped) close();
    }

    ~FakeConnection() { state_->connections.erase(this); }

    FakeConnection(const FakeConnection&) = delete;
    FakeConnection& operator=(const FakeConnection&) = delete;

    [[nodiscard]] boost::asio::awaitable<void> serve();

    void close() {
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

inline void FakeServerState::close_all() {
    stopped = true;
    for (auto* connection : connections)
        connection->close();
    const std::lock_guard lock{listener_mutex};
    if (listener != nullptr) listener->acceptor().close();
}

// g++ 12 destroys a temporary twice when a loop has a co_await in a condition: hence the local.
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
    // More than the largest upload that Discord takes; a test's mistake, not its memory, ends
    // there.
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
    // RFC 9110, section 15.3.5: an answer without content has no body, whatever a script says.
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

/// Says nothing until the client gives the connection up, or has been idle for too long.
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

inline boost::asio::awaitable<void> accept_connections(std::unique_ptr<FakeListener> listener) {
    auto& acceptor = listener->acceptor();
    boost::asio::steady_timer timer{acceptor.get_executor()};
    while (acceptor.is_open()) {
        boost::system::error_code ec;
        auto socket = co_await acceptor.async_accept(
            boost::asio::redirect_error(boost::asio::use_awaitable, ec));
        if (!ec) {
            boost::asio::co_spawn(acceptor.get_executor(),
                                  serve_connection(listener->state(), std::move(socket)),
                                  boost::asio::detached);
        } else if (acceptor.is_open()) {
            // Out of file descriptors, say: others must get a turn to give some back.
            timer.expires_after(std::chrono::milliseconds{1});
            co_await timer.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ec));
        }
    }
}

} // namespace detail

class FakeDiscordServer {
public:
    /// Listens when this returns. Throws boost::system::system_error when the port is taken.
    explicit FakeDiscordServer(boost::asio::any_io_executor executor,
                               FakeDiscord discord = FakeDiscord{},
                               const FakeServerOptions& options = {});
    ~FakeDiscordServer() { stop(); }

    FakeDiscordServer(const FakeDiscordServer&) = delete;
    FakeDiscordServer& operator=(const FakeDiscordServer&) = delete;

    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    /// "http://127.0.0.1:" and the port.
    [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
    [[nodiscard]] Duration now() const { return state_->now(); }

    /// Calls `use` with the fake while no request is being decided, and returns what it returns.
    /// Not to be called from a script or a change: these run when the fake is already held.
    template <class Use>
    decltype(auto) with(Use&& use) {
        const std::lock_guard lock{state_->discord_mutex};
        return std::forward<Use>(use)(state_->discord);
    }

    /// Closes the port and all connections, unanswered requests included, as soon as the io_context
    /// gets to it. It then keeps no `run()` alive. More than once does no harm.
    void stop();

private:
    std::shared_ptr<detail::FakeServerState> state_;
    std::uint16_t port_ = 0;
};

inline FakeDiscordServer::FakeDiscordServer(boost::asio::any_io_executor executor,
                                            FakeDiscord discord, const FakeServerOptions& options)
    : state_(std::make_shared<detail::FakeServerState>(std::move(discord), options)) {
    auto listener = std::make_unique<detail::FakeListener>(state_, std::move(executor));
    auto& acceptor = listener->acceptor();
    port_ = acceptor.local_endpoint().port();
    boost::asio::co_spawn(acceptor.get_executor(), detail::accept_connections(std::move(listener)),
                          boost::asio::detached);
}

inline void FakeDiscordServer::stop() {
    // While the listener is there, so is the io_context: its end waits for this lock.
    const std::lock_guard lock{state_->listener_mutex};
    if (state_->listener == nullptr) return;
    boost::asio::post(state_->listener->acceptor().get_executor(),
                      [state = state_] { state->close_all(); });
}

/// A server that brings its own io_context and the thread that runs it.
class FakeDiscordThread {
public:
    explicit FakeDiscordThread(FakeDiscord discord = FakeDiscord{},
                               const FakeServerOptions& options = {})
        : server_(io_.get_executor(), std::move(discord), options),
          thread_([this] { io_.run(); }) {}

    ~FakeDiscordThread() {
        server_.stop();
        thread_.join();
    }

    FakeDiscordThread(const FakeDiscordThread&) = delete;
    FakeDiscordThread& operator=(const FakeDiscordThread&) = delete;

    [[nodiscard]] FakeDiscordServer& operator*() noexcept { return server_; }
    [[nodiscard]] FakeDiscordServer* operator->() noexcept { return &server_; }

private:
    boost::asio::io_context io_{1};
    FakeDiscordServer server_;
    std::thread thread_;
};

} // namespace sluice::testing

#endif
