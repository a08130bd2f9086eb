// SPDX-License-Identifier: MIT
//
// A connection over TLS to the real API. The certificate is verified against the system's
// authorities, and its name against the host.
#ifndef SLUICE_EXAMPLES_SUPPORT_TLS_CONNECTION_HPP
#define SLUICE_EXAMPLES_SUPPORT_TLS_CONNECTION_HPP

#include "http_client.hpp"

#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <openssl/ssl.h>

#include <chrono>
#include <string>

namespace examples {

/// A context that trusts what the system trusts.
inline asio::ssl::context make_tls_context() {
    asio::ssl::context context(asio::ssl::context::tls_client);
    context.set_default_verify_paths();
    context.set_verify_mode(asio::ssl::verify_peer);
    return context;
}

class TlsConnection final : public Connection {
public:
    TlsConnection(const asio::any_io_executor& executor, asio::ssl::context& context)
        : stream_(executor, context) {}

    asio::awaitable<void> open(const std::string& host, const std::string& port) override {
        // Servers behind Cloudflare choose their certificate by the name that the client asks for.
        if (SSL_set_tlsext_host_name(stream_.native_handle(), host.c_str()) != 1) {
            throw boost::system::system_error(asio::error::invalid_argument, "SNI");
        }
        stream_.set_verify_callback(asio::ssl::host_name_verification(host));
        asio::ip::tcp::resolver resolver(stream_.get_executor());
        const auto endpoints = co_await resolver.async_resolve(host, port, asio::use_awaitable);
        auto& tcp = beast::get_lowest_layer(stream_);
        tcp.expires_after(std::chrono::seconds(10));
        co_await tcp.async_connect(endpoints, asio::use_awaitable);
        tcp.socket().set_option(asio::ip::tcp::no_delay(true));
        co_await stream_.async_handshake(asio::ssl::stream_base::client, asio::use_awaitable);
    }
    asio::awaitable<Reply> exchange(const Request& request) override {
        beast::get_lowest_layer(stream_).expires_after(std::chrono::seconds(30));
        return exchange_on(stream_, request);
    }

private:
    beast::ssl_stream<beast::tcp_stream> stream_;
};

} // namespace examples

#endif
