// SPDX-License-Identifier: MIT
//
// Responses of Boost.Beast, with bodies that are text and bodies that are not.
#include <sluice/adapters/beast.hpp>

#include "support/catch.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/ostream.hpp>
#include <boost/beast/http/dynamic_body.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/field.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/system/error_code.hpp>
#include <boost/utility/string_view.hpp>

#include <chrono>
#include <string_view>
#include <utility>
#include <vector>

namespace {

namespace http = boost::beast::http;
using namespace std::chrono_literals;
using Nanoseconds = std::chrono::nanoseconds;

template <class Body>
http::response<Body> limited() {
    http::response<Body> response{http::status::too_many_requests, 11};
    response.set(http::field::via, "1.1 google");
    response.set(http::field::retry_after, "65");
    response.set("x-ratelimit-limit", "10");
    response.set("X-RateLimit-Bucket", "abcd1234");
    return response;
}

constexpr std::string_view limited_body =
    R"({"message": "You are being rate limited.", "retry_after": 64.57, "global": true})";

} // namespace

TEST_CASE("a response of Beast with a string body is read whole") {
    auto response = limited<http::string_body>();
    response.body() = limited_body;
    const auto answer = sluice::response_from(response);
    CHECK(answer.status == 429);
    CHECK(answer.limit == 10);
    CHECK(answer.bucket == sluice::BucketHash::parse("abcd1234"));
    CHECK(answer.retry_after == Nanoseconds{64'570ms});
    CHECK(answer.retry_after_in_body);
    CHECK(answer.global);
    CHECK(answer.from_discord);
}

TEST_CASE("a response of Beast with a body that is no text is read by its headers") {
    auto response = limited<http::dynamic_body>();
    boost::beast::ostream(response.body()) << limited_body;
    const auto answer = sluice::response_from(response);
    CHECK(answer.retry_after == Nanoseconds{65s});
    CHECK_FALSE(answer.retry_after_in_body);
    CHECK_FALSE(answer.global);
    CHECK(answer == sluice::response_from(limited<http::empty_body>()));
}

TEST_CASE("an answer parsed from the wire keeps both copies of a header") {
    constexpr std::string_view wire = "HTTP/1.1 200 OK\r\n"
                                      "X-RateLimit-Limit:   5  \r\n"
                                      "X-RateLimit-Remaining: 4\r\n"
                                      "x-ratelimit-remaining: 3\r\n"
                                      "Content-Length: 0\r\n\r\n";
    http::response_parser<http::string_body> parser;
    boost::system::error_code ec;
    parser.put(boost::asio::buffer(wire), ec);
    REQUIRE_FALSE(ec);
    const auto answer = sluice::response_from(parser.get());
    CHECK(answer.limit == 5);
    CHECK_FALSE(answer.remaining);
}

TEST_CASE("Beast fields and pairs of Boost's older string views are header ranges by themselves") {
    const auto response = limited<http::empty_body>();
    CHECK(sluice::Response::parse(429, response) == sluice::response_from(response));
    const std::vector<std::pair<boost::string_view, boost::string_view>> pairs{
        {"X-RateLimit-Limit", "10"}};
    CHECK(sluice::Response::parse(200, pairs).limit == 10);
}

TEST_CASE("a status that Beast does not know is passed on as it is") {
    http::response<http::empty_body> response;
    response.result(520U);
    CHECK(sluice::response_from(response).status == 520);
    CHECK_FALSE(sluice::response_from(response).from_discord);
}
