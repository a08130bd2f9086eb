// SPDX-License-Identifier: MIT
//
// A small gateway client for the examples: one WebSocket connection, JSON in and out. What it is
// asked to send it sends at once; limits are its user's business.
#ifndef SLUICE_EXAMPLES_SUPPORT_GATEWAY_CLIENT_HPP
#define SLUICE_EXAMPLES_SUPPORT_GATEWAY_CLIENT_HPP

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/address_v4.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/system/error_code.hpp>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>

namespace examples {

class GatewayClient {
public:
    explicit GatewayClient(const boost::asio::any_io_executor& executor) : socket_(executor) {}

    /// To this machine. Throws boost::system::system_error.
    boost::asio::awaitable<void> connect(std::uint16_t port) {
        const boost::asio::ip::tcp::endpoint endpoint(boost::asio::ip::address_v4::loopback(),
                                                      port);
        co_await boost::beast::get_lowest_layer(socket_).async_connect(endpoint,
                                                                       boost::asio::use_awaitable);
        co_await socket_.async_handshake("127.0.0.1", "/?v=10&encoding=json",
                                         boost::asio::use_awaitable);
    }

    /// Does not throw: that a connection has ended is said by read().
    boost::asio::awaitable<void> send(std::string payload) {
        boost::system::error_code ignored;
        auto token = boost::asio::redirect_error(boost::asio::use_awaitable, ignored);
        co_await socket_.async_write(boost::asio::buffer(payload), token);
    }

    /// Null when the connection has ended.
    boost::asio::awaitable<nlohmann::json> read() {
        boost::beast::flat_buffer buffer;
        boost::system::error_code ec;
        auto token = boost::asio::redirect_error(boost::asio::use_awaitable, ec);
        co_await socket_.async_read(buffer, token);
        if (ec) co_return nullptr;
        co_return nlohmann::json::parse(boost::beast::buffers_to_string(buffer.data()));
    }

    /// How the connection has ended: 1006 without a close frame (RFC 6455, 7.4.1).
    [[nodiscard]] int close_code() const {
        const int code = socket_.reason().code;
        return code == 0 ? 1006 : code;
    }

private:
    boost::beast::websocket::stream<boost::beast::tcp_stream> socket_;
};

} // namespace examples

#endif
