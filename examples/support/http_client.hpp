// SPDX-License-Identifier: MIT
//
// A small HTTP client for the examples: keep-alive connections to one host, reused youngest first.
// It tells the ticket when a request goes out and on which kind of connection, which is all that
// the limiter needs from a client beside the answers.
#ifndef SLUICE_EXAMPLES_SUPPORT_HTTP_CLIENT_HPP
#define SLUICE_EXAMPLES_SUPPORT_HTTP_CLIENT_HPP

#include <sluice/ticket.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace examples {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

using Request = http::request<http::string_body>;
using Reply = http::response<http::string_body>;

/// One connection, whatever lies between it and the socket.
class Connection {
public:
    Connection() = default;
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    virtual ~Connection() = default;

    virtual asio::awaitable<void> open(const std::string& host, const std::string& port) = 0;
    virtual asio::awaitable<Reply> exchange(const Request& request) = 0;

    std::chrono::steady_clock::time_point idle_since{};
};

/// What both kinds of streams have in common.
template <class Stream>
asio::awaitable<Reply> exchange_on(Stream& stream, const Request& request) {
    beast::flat_buffer buffer;
    Reply reply;
    co_await http::async_write(stream, request, asio::use_awaitable);
    co_await http::async_read(stream, buffer, reply, asio::use_awaitable);
    co_return reply;
}

class PlainConnection final : public Connection {
public:
    explicit PlainConnection(const asio::any_io_executor& executor) : stream_(executor) {}

    asio::awaitable<void> open(const std::string& host, const std::string& port) override {
        asio::ip::tcp::resolver resolver(stream_.get_executor());
        const auto endpoints = co_await resolver.async_resolve(host, port, asio::use_awaitable);
        stream_.expires_after(std::chrono::seconds(10));
        co_await stream_.async_connect(endpoints, asio::use_awaitable);
        stream_.socket().set_option(asio::ip::tcp::no_delay(true));
    }
    asio::awaitable<Reply> exchange(const Request& request) override {
        stream_.expires_after(std::chrono::seconds(30));
        return exchange_on(stream_, request);
    }

private:
    beast::tcp_stream stream_;
};

/// Used by one thread at a time.
class HttpClient {
public:
    using MakeConnection = std::function<std::unique_ptr<Connection>()>;

    HttpClient(MakeConnection make, std::string host, std::string port)
        : make_(std::move(make)), host_(std::move(host)), port_(std::move(port)) {}

    /// Sends the request the ticket stands for. Throws boost::system::system_error when the
    /// connection fails; nobody knows then whether the request was executed, which is what the
    /// ticket's destructor reports. Where there was no connection it was not, and holds up nobody.
    asio::awaitable<Reply> send(Request request, sluice::Ticket& ticket) {
        std::unique_ptr<Connection> connection = idle_connection();
        const bool reused = connection != nullptr;
        if (!reused) {
            connection = make_();
            try {
                co_await connection->open(host_, port_);
            } catch (...) {
                ticket.cancel();
                throw;
            }
        }
        request.set(http::field::host, host_);
        request.prepare_payload();
        ticket.sent(reused ? sluice::Connection::reused : sluice::Connection::fresh);
        Reply reply = co_await connection->exchange(request);
        if (reply.keep_alive()) {
            connection->idle_since = std::chrono::steady_clock::now();
            idle_.push_back(std::move(connection));
        }
        co_return reply;
    }

private:
    std::unique_ptr<Connection> idle_connection() {
        // Servers close idle connections; a request on one that is just being closed is lost.
        constexpr std::chrono::seconds surely_open(20);
        while (!idle_.empty()) {
            std::unique_ptr<Connection> youngest = std::move(idle_.back());
            idle_.pop_back();
            if (youngest->idle_since + surely_open > std::chrono::steady_clock::now()) {
                return youngest;
            }
        }
        return nullptr;
    }

    MakeConnection make_;
    std::string host_;
    std::string port_;
    std::vector<std::unique_ptr<Connection>> idle_;
};

} // namespace examples

#endif
