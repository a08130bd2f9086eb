// SPDX-License-Identifier: MIT
//
// A `FakeGateway` behind a socket: a WebSocket server on the loopback interface that also answers
// GET /gateway/bot on the same port, with network delays in both directions.
//
//     FakeGatewayThread server{FakeGateway({.max_concurrency = 16})}; // or FakeGatewayServer
//     server->url()                                                   // "ws://127.0.0.1:" + port
//     server->with([](FakeGateway& gateway) {
//         CHECK(gateway.complaints() == GatewayComplaints());
//     });
//
// Invariant: events of one connection are received in the order in which the client wrote them,
// each after its own delay or together with the previous one, as TCP delivers them. Server time is
// the steady time since the server was made. For a faster clock, use a gateway with shorter
// durations, see FakeGatewayOptions::faster().
//
// Any thread may call any member. The server may be destroyed before or after its io_context ends,
// but not while another thread destroys that io_context.
#ifndef SLUICE_TESTING_FAKE_GATEWAY_SERVER_HPP
#define SLUICE_TESTING_FAKE_GATEWAY_SERVER_HPP

#include <sluice/testing/fake_gateway.hpp>
#include <sluice/testing/loopback_server.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
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

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace sluice::testing {

struct FakeGatewayServerOptions {
    std::uint16_t port = 0; ///< 0: any free one
    Delay forward{};        ///< from the client to the check of the limits
    Delay backward{};       ///< from the decision to the client
    Delay connect{};        ///< added once per connection, before it is read
    std::uint64_t seed = 1; ///< for the delays
};

namespace detail {

class FakeGatewayConnection;

class FakeGatewayState : public LoopbackState {
public:
    FakeGatewayState(FakeGateway&& fake, const FakeGatewayServerOptions& chosen)
        : LoopbackState(chosen.port, chosen.seed), options(chosen), gateway(std::move(fake)) {}

    /// On the strand. Closes all connections, like a restart of Discord. Sessions are kept.
    void disconnect_all(int code);

    const FakeGatewayServerOptions options;
    std::mutex gateway_mutex;
    FakeGateway gateway; ///< under `gateway_mutex`
};

/// The items in flight in one direction. No item overtakes an earlier one, except that an item
/// pushed with a pause of its own lets later ones pass.
template <class Item>
class DelayLine {
public:
    using Clock = std::chrono::steady_clock;

    explicit DelayLine(const boost::asio::any_io_executor& executor) : timer_(executor) {}

    void push(Item item, Duration delay, Duration pause = Duration(0)) {
        last_ = std::max(last_, Clock::now() + delay);
        items_.emplace(last_ + pause, std::move(item));
        timer_.cancel();
    }
    /// Returns the next item when it has arrived; nullopt when the line is closed.
    [[nodiscard]] boost::asio::awaitable<std::optional<Item>> pop() {
        while (!closed_ && (items_.empty() || items_.begin()->first > Clock::now())) {
            boost::system::error_code pushed;
            timer_.expires_at(items_.empty() ? Clock::time_point::max() : items_.begin()->first);
            co_await timer_.async_wait(
                boost::asio::redirect_error(boost::asio::use_awaitable, pushed));
        }
        if (closed_) co_return std::nullopt;
        auto taken = items_.extract(items_.begin());
        co_return std::move(taken.mapped());
    }
    void close() {
        closed_ = true;
        timer_.cancel();
    }

private:
    boost::asio::steady_timer timer_;
    std::multimap<Clock::time_point, Item> items_; // equal times in the order of insertion
    Clock::time_point last_{};
    bool closed_ = false;
};

/// One accepted socket, which starts with HTTP. Its coroutines share it, and it is only used on the
/// strand.
class FakeGatewayConnection final : public LoopbackConnection,
                                    public std::enable_shared_from_this<FakeGatewayConnection> {
public:
    using Task = boost::asio::awaitable<void>;

    FakeGatewayConnection(std::shared_ptr<FakeGatewayState> state,
                          boost::asio::ip::tcp::socket socket)
        : state_(std::move(state)),
          socket_(std::move(socket)),
          inbox_(socket_.get_executor()),
          outbox_(socket_.get_executor()),
          heartbeats_(socket_.get_executor()) {
        state_->enter(*this);
    }
    ~FakeGatewayConnection() override { state_->leave(*this); }

    [[nodiscard]] Task serve();

    void close() override {
        closed_ = true;
        inbox_.close();
        outbox_.close();
        heartbeats_.cancel();
        boost::beast::get_lowest_layer(socket_).close();
    }
    /// Closes with a close frame, or without one if the code stands for a missing frame.
    void disconnect(int code);

private:
    using Request = boost::beast::http::request<boost::beast::http::string_body>;
    using Response = boost::beast::http::response<boost::beast::http::string_body>;

    /// A text, or the end of the connection with its code.
    struct Frame {
        std::string text = {};
        int close_code = 0;
    };

    template <class Use>
    decltype(auto) with(Use use) {
        const std::lock_guard lock(state_->gateway_mutex);
        return use(state_->gateway);
    }
    [[nodiscard]] Task pause(Duration span);
    [[nodiscard]] boost::asio::awaitable<bool> accept();
    [[nodiscard]] Response answer(const Request& request);
    [[nodiscard]] Task read();
    [[nodiscard]] static Task receive(std::shared_ptr<FakeGatewayConnection> self);
    [[nodiscard]] static Task write(std::shared_ptr<FakeGatewayConnection> self);
    [[nodiscard]] static Task watch(std::shared_ptr<FakeGatewayConnection> self);
    void decide(const std::string& text);
    void send(Frame frame, Duration after = Duration(0)) {
        outbox_.push(std::move(frame), state_->draw(state_->options.backward), after);
    }

    std::shared_ptr<FakeGatewayState> state_;
    boost::beast::websocket::stream<boost::beast::tcp_stream> socket_;
    boost::beast::flat_buffer buffer_;
    FakeGateway::ConnectionId id_ = 0; // set once it is a gateway connection
    DelayLine<Frame> inbox_;
    DelayLine<Frame> outbox_;
    boost::asio::steady_timer heartbeats_;
    bool closed_ = false;
};

inline void FakeGatewayState::disconnect_all(int code) {
    for (auto* connection : connections()) // this server has only such connections
        static_cast<FakeGatewayConnection*>(connection)->disconnect(code);
}

inline void FakeGatewayConnection::disconnect(int code) {
    with([&](FakeGateway& gateway) { gateway.close(id_); });
    if (code == boost::beast::websocket::close_code::abnormal) {
        close();
    } else {
        send({.close_code = code});
    }
}

inline FakeGatewayConnection::Task FakeGatewayConnection::pause(Duration span) {
    if (span <= Duration(0)) co_return;
    boost::system::error_code ignored;
    boost::asio::steady_timer timer(socket_.get_executor(), span);
    co_await timer.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
}

inline FakeGatewayConnection::Task FakeGatewayConnection::serve() {
    co_await pause(state_->draw(state_->options.connect));
    const bool is_gateway = co_await accept();
    if (!is_gateway || closed_) co_return;
    with([&](FakeGateway& gateway) {
        id_ = gateway.open(state_->now());
        send({.text = gateway.hello().dump()});
    });
    for (auto* part : {&receive, &write, &watch}) {
        boost::asio::co_spawn(socket_.get_executor(), part(shared_from_this()),
                              boost::asio::detached);
    }
    co_await read();
}

/// Serves HTTP until a client requests a WebSocket; then returns true.
inline boost::asio::awaitable<bool> FakeGatewayConnection::accept() {
    namespace websocket = boost::beast::websocket;
    auto& stream = boost::beast::get_lowest_layer(socket_);
    boost::system::error_code ec;
    auto token = boost::asio::redirect_error(boost::asio::use_awaitable, ec);
    while (!closed_ && !ec) {
        Request request;
        co_await boost::beast::http::async_read(stream, buffer_, request, token);
        if (ec) break;
        if (websocket::is_upgrade(request)) {
            socket_.set_option(websocket::stream_base::timeout{
                std::chrono::seconds(10), websocket::stream_base::none(), false});
            co_await socket_.async_accept(request, token);
            co_return !ec;
        }
        co_await pause(state_->draw(state_->options.forward));
        Response response = answer(request);
        co_await pause(state_->draw(state_->options.backward));
        co_await boost::beast::http::async_write(stream, response, token);
        if (!response.keep_alive()) break;
    }
    co_return false;
}

inline FakeGatewayConnection::Response FakeGatewayConnection::answer(const Request& request) {
    namespace http = boost::beast::http;
    const std::string target = request.target().substr(0, request.target().find('?'));
    std::string token = request[http::field::authorization];
    if (token.starts_with("Bot ")) token.erase(0, 4);
    nlohmann::json body{{"message", "401: Unauthorized"}, {"code", 0}};
    Response response(http::status::unauthorized, 11);
    if (request.method() != http::verb::get || !target.ends_with("/gateway/bot")) {
        response.result(http::status::not_found);
        body["message"] = "404: Not Found";
    } else {
        with([&](FakeGateway& gateway) {
            if (!gateway.accepts(token)) return;
            response.result(http::status::ok);
            body = gateway.bot_info(state_->now());
        });
    }
    response.set(http::field::content_type, "application/json");
    response.body() = body.dump();
    response.keep_alive(request.keep_alive());
    response.prepare_payload();
    return response;
}

inline FakeGatewayConnection::Task FakeGatewayConnection::read() {
    boost::system::error_code ec;
    auto token = boost::asio::redirect_error(boost::asio::use_awaitable, ec);
    while (!closed_) {
        buffer_.clear();
        co_await socket_.async_read(buffer_, token);
        if (ec) break;
        // A binary message cannot be JSON: it becomes an empty text, which is refused in the same
        // way.
        std::string text =
            socket_.got_text() ? boost::beast::buffers_to_string(buffer_.data()) : std::string();
        inbox_.push({.text = std::move(text)}, state_->draw(state_->options.forward));
    }
    const bool told = ec == boost::beast::websocket::error::closed;
    inbox_.push({.close_code = told ? int(socket_.reason().code) : 1006},
                state_->draw(state_->options.forward));
}

inline FakeGatewayConnection::Task
FakeGatewayConnection::receive(std::shared_ptr<FakeGatewayConnection> self) {
    for (;;) {
        const std::optional<Frame> frame = co_await self->inbox_.pop();
        if (!frame) break;
        if (frame->close_code != 0) {
            self->with([&](FakeGateway& gateway) { gateway.close(self->id_, frame->close_code); });
            self->close();
            break;
        }
        self->decide(frame->text);
    }
    self->with([&](FakeGateway& gateway) { gateway.close(self->id_); });
}

inline void FakeGatewayConnection::decide(const std::string& text) {
    const GatewayEvent event = GatewayEvent::parse(text);
    GatewayReply reply;
    bool reset = false;
    with([&](FakeGateway& gateway) {
        const bool was_valid = gateway.token_is_valid();
        reply = gateway.receive(id_, event, state_->now());
        reset = was_valid && !gateway.token_is_valid();
    });
    if (reset) return state_->disconnect_all(reply.close_code);
    if (reply.outcome == GatewayOutcome::closed) return send({.close_code = reply.close_code});
    const nlohmann::json payload = reply.payload(event);
    if (!payload.is_null()) send({.text = payload.dump()}, reply.delay);
}

inline FakeGatewayConnection::Task
FakeGatewayConnection::write(std::shared_ptr<FakeGatewayConnection> self) {
    boost::system::error_code ec;
    auto token = boost::asio::redirect_error(boost::asio::use_awaitable, ec);
    while (!ec) {
        const std::optional<Frame> frame = co_await self->outbox_.pop();
        if (!frame) co_return;
        if (frame->close_code != 0) {
            const boost::beast::websocket::close_reason reason(
                static_cast<boost::beast::websocket::close_code>(frame->close_code));
            co_await self->socket_.async_close(reason, token);
            break;
        }
        self->socket_.text(true);
        co_await self->socket_.async_write(boost::asio::buffer(frame->text), token);
    }
    self->close();
}

inline FakeGatewayConnection::Task
FakeGatewayConnection::watch(std::shared_ptr<FakeGatewayConnection> self) {
    FakeGatewayState& state = *self->state_;
    while (!self->closed_) {
        const std::optional<Duration> deadline =
            self->with([&](FakeGateway& gateway) { return gateway.heartbeat_deadline(self->id_); });
        if (!deadline) break;
        boost::system::error_code ignored;
        self->heartbeats_.expires_after(*deadline - state.now());
        co_await self->heartbeats_.async_wait(
            boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
        if (self->closed_) break;
        const GatewayReply reply = self->with(
            [&](FakeGateway& gateway) { return gateway.expire(self->id_, state.now()); });
        if (reply.outcome == GatewayOutcome::closed) self->send({.close_code = reply.close_code});
    }
}

inline boost::asio::awaitable<void> serve_gateway(std::shared_ptr<FakeGatewayState> state,
                                                  boost::asio::ip::tcp::socket socket) {
    const auto connection =
        std::make_shared<FakeGatewayConnection>(std::move(state), std::move(socket));
    co_await connection->serve();
}

} // namespace detail

class FakeGatewayServer {
public:
    /// Listens when the constructor returns. Throws boost::system::system_error if the port is in
    /// use.
    explicit FakeGatewayServer(boost::asio::any_io_executor executor,
                               FakeGateway gateway = FakeGateway(),
                               const FakeGatewayServerOptions& options = {})
        : state_(std::make_shared<detail::FakeGatewayState>(std::move(gateway), options)) {
        detail::listen(state_, std::move(executor), [state = state_](auto socket) {
            return detail::serve_gateway(state, std::move(socket));
        });
        const std::lock_guard lock(state_->gateway_mutex);
        state_->gateway.set_url(url());
    }
    ~FakeGatewayServer() { stop(); }
    FakeGatewayServer(const FakeGatewayServer&) = delete;
    FakeGatewayServer& operator=(const FakeGatewayServer&) = delete;

    [[nodiscard]] std::uint16_t port() const noexcept { return state_->port(); }
    /// Returns "ws://127.0.0.1:" and the port; GET /gateway/bot returns it, too.
    [[nodiscard]] std::string url() const { return "ws://127.0.0.1:" + std::to_string(port()); }
    [[nodiscard]] Duration now() const { return state_->now(); }

    /// Calls `use` with the fake while no event is being processed. Returns what it returns.
    template <class Use>
    decltype(auto) with(Use&& use) {
        const std::lock_guard lock(state_->gateway_mutex);
        return std::forward<Use>(use)(state_->gateway);
    }

    /// Closes all connections and keeps the sessions: causes a reconnect storm. 1006 closes without
    /// a close frame, like a network failure.
    void disconnect_all(int code = 1006) {
        state_->post([state = state_, code] { state->disconnect_all(code); });
    }

    /// Closes the port and all connections as soon as the io_context runs it. After that the server
    /// keeps no `run()` from returning. May be called more than once.
    void stop() {
        state_->post([state = state_] { state->close_all(); });
    }

private:
    std::shared_ptr<detail::FakeGatewayState> state_;
};

using FakeGatewayThread = ServerThread<FakeGatewayServer, FakeGateway, FakeGatewayServerOptions>;

} // namespace sluice::testing

#endif
