// SPDX-License-Identifier: MIT
//
// For bots whose HTTP client is Boost.Beast:
//
//     http::response<http::string_body> response;
//     co_await http::async_read(stream, buffer, response, asio::use_awaitable);
//     ticket.update(sluice::response_from(response));
//
// The body is read where its value converts to std::string_view (string_body, basic_string_body of
// char). Any other body counts as empty: the wait of a 429 is then what the header says, rounded up
// to whole seconds, and of two answers without rate limit headers the one with `Via` is Discord's.
#ifndef SLUICE_ADAPTERS_BEAST_HPP
#define SLUICE_ADAPTERS_BEAST_HPP

#include <sluice/response.hpp>

#include <boost/beast/http/message.hpp>

#include <string_view>
#include <type_traits>

namespace sluice {

/// \tparam Fields anything that iterates as boost::beast::http::fields does
template <class Body, class Fields>
[[nodiscard]] Response
response_from(const boost::beast::http::response<Body, Fields>& response) noexcept {
    std::string_view body;
    if constexpr (std::is_convertible_v<const typename Body::value_type&, std::string_view>) {
        body = response.body();
    }
    return Response::parse(static_cast<int>(response.result_int()), response.base(), body);
}

/// For execute().
template <class Body, class Fields>
struct ResponseOf<boost::beast::http::response<Body, Fields>> {
    [[nodiscard]] static Response
    get(const boost::beast::http::response<Body, Fields>& response) noexcept {
        return response_from(response);
    }
};

} // namespace sluice

#endif
