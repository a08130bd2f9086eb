// SPDX-License-Identifier: MIT
//
// Refusals: the documented examples, the body of a 429 in all its states of health, and who gave
// the answer. Headers by themselves are in response.cpp.
#include <sluice/response.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using sluice::Response;
using sluice::Scope;
using Nanoseconds = std::chrono::nanoseconds;
using Instant = std::chrono::sys_time<Nanoseconds>;

// Observed 2023-09, discord-api-docs#6407: the Via of an answer that reached Discord.
constexpr std::string_view via = "1.1 google";

} // namespace

TEST_CASE("the documented 429 of a bucket takes its wait from the body") {
    // Discord docs, "Rate Limits", example exceeded user rate limit response.
    const auto answer = Response::parse(
        429,
        {{"Content-Type", "application/json"},
         {"Retry-After", "65"},
         {"X-RateLimit-Limit", "10"},
         {"X-RateLimit-Remaining", "0"},
         {"X-RateLimit-Reset", "1470173023.123"},
         {"X-RateLimit-Reset-After", "64.57"},
         {"X-RateLimit-Bucket", "abcd1234"},
         {"X-RateLimit-Scope", "user"}},
        R"({"message": "You are being rate limited.", "retry_after": 64.57, "global": false})");
    CHECK(answer.retry_after == Nanoseconds{64'570ms});
    CHECK(answer.retry_after_in_body);
    CHECK(answer.reset_after == Nanoseconds{64'570ms});
    CHECK(answer.reset_after_unit == Nanoseconds{10ms});
    CHECK(answer.reset == Instant{1'470'173'023'123ms});
    CHECK(answer.scope == Scope::user);
    CHECK_FALSE(answer.global);
    CHECK(answer.from_discord);
}

TEST_CASE("the documented 429 of a shared resource keeps the remaining of its bucket") {
    // Discord docs, "Rate Limits", example exceeded resource rate limit response.
    const auto answer = Response::parse(
        429,
        {{"Retry-After", "1337"},
         {"X-RateLimit-Limit", "10"},
         {"X-RateLimit-Remaining", "9"},
         {"X-RateLimit-Reset", "1470173023.123"},
         {"X-RateLimit-Reset-After", "64.57"},
         {"X-RateLimit-Bucket", "abcd1234"},
         {"X-RateLimit-Scope", "shared"}},
        R"({"message": "The resource is being rate limited.", "retry_after": 1336.57, "global": false})");
    CHECK(answer.retry_after == Nanoseconds{1'336'570ms});
    CHECK(answer.remaining == 9);
    CHECK(answer.scope == Scope::shared);
    CHECK(answer.from_discord);
}

TEST_CASE("the documented global 429 is global and comes from Discord") {
    // Discord docs, "Rate Limits", example exceeded global rate limit response.
    const auto answer = Response::parse(
        429,
        {{"Retry-After", "65"}, {"X-RateLimit-Global", "true"}, {"X-RateLimit-Scope", "global"}},
        R"({"message": "You are being rate limited.", "retry_after": 64.57, "global": true})");
    CHECK(answer.global);
    CHECK(answer.scope == Scope::global);
    CHECK_FALSE(answer.limit);
    CHECK(answer.retry_after == Nanoseconds{64'570ms});
    CHECK(answer.from_discord);
}

TEST_CASE("the wait is the later of header and body unless the header is the body rounded up") {
    const auto wait = [](std::string_view header, std::string_view body) {
        return Response::parse(429, {{"Retry-After", header}, {"Via", via}}, body).retry_after;
    };
    // Observed 2023-04, discord-api-docs#6109.
    CHECK(wait("1", R"({"retry_after": 1163.097})") == Nanoseconds{1'163'097ms});
    CHECK(wait("65", R"({"retry_after": 64.57})") == Nanoseconds{64'570ms});
    CHECK(wait("65", R"({"retry_after": 63.57})") == Nanoseconds{65s});
    CHECK(wait("65", R"({"retry_after": 65})") == Nanoseconds{65s});
    CHECK(wait("64.8", R"({"retry_after": 64.57})") == Nanoseconds{64'800ms});
    CHECK(wait("65", "") == Nanoseconds{65s});
    CHECK(wait("65", "error code: 1015") == Nanoseconds{65s});
    CHECK(wait("", R"({"retry_after": 0.3})") == Nanoseconds{300ms});
    CHECK(wait("soon", R"({"retry_after": 0.3})") == Nanoseconds{300ms});
    CHECK(wait("0", "") == Nanoseconds{0});
    CHECK(wait("0", R"({"retry_after": 0})") == Nanoseconds{0});
    CHECK_FALSE(wait("", ""));
}

TEST_CASE("retry_after of the body is a JSON number of at most 366 days") {
    const auto wait = [](std::string_view number) {
        const std::string body = R"({"retry_after": )" + std::string(number) + "}";
        const auto answer = Response::parse(429, {{"Via", via}}, body);
        CHECK(answer.retry_after_in_body == answer.retry_after.has_value());
        return answer.retry_after;
    };
    CHECK(wait("1") == Nanoseconds{1s});
    CHECK(wait("0.5") == Nanoseconds{500ms});
    CHECK(wait("0.0000000001") == Nanoseconds{1});
    CHECK(wait("1.5e1") == Nanoseconds{15s});
    CHECK(wait("25E-1") == Nanoseconds{2'500ms});
    CHECK(wait("-0.0") == Nanoseconds{0});
    CHECK(wait("31622400") == Nanoseconds{std::chrono::days{366}});
    const auto wrong =
        GENERATE(as<std::string>{}, "31622401", "31622400.5", "1e8", "1e400",
                 "1e-400000000000000000000e", "-1", "-0.5", "-1e400", "NaN", "Infinity", "\"5\"",
                 "null", "true", "[5]", "{\"retry_after\": 5}", "5,", "5;", "05", "+5", "0x5",
                 "18446744073709551616", "9223372036854775807", "-9223372036854775808");
    CAPTURE(wrong);
    CHECK_FALSE(wait(wrong));
}

TEST_CASE("only the top level of the body counts") {
    const auto answer = Response::parse(
        429, {{"Via", via}},
        R"({"a": {"retry_after": 9, "global": true}, "b": [{"retry_after": 8}, 7], "retry_after": 2})");
    CHECK(answer.retry_after == Nanoseconds{2s});
    CHECK_FALSE(answer.global);
    CHECK_FALSE(Response::parse(429, {{"Via", via}}, R"([{"retry_after": 9}])").retry_after);
    CHECK_FALSE(Response::parse(429, {{"Via", via}}, R"({"global": "true"})").global);
    CHECK_FALSE(Response::parse(429, {{"Via", via}}, R"({"global": 1})").global);
}

TEST_CASE("other fields of the body do not count") {
    // Observed 2023-04, discord-api-docs#6109: code 20028 with a 429.
    const auto answer = Response::parse(429, {{"Via", via}},
                                        R"({"retry_after": 2, "code": 20028, "global": false,
                                            "Global": true, "retry_after_ms": 2000})");
    CHECK(answer.retry_after == Nanoseconds{2s});
    CHECK_FALSE(answer.global);
}

TEST_CASE("a body that names two waits means the longer") {
    const auto wait = [](std::string_view body) {
        return Response::parse(429, {{"Via", via}}, body).retry_after;
    };
    CHECK(wait(R"({"retry_after": 2, "retry_after": 5})") == Nanoseconds{5s});
    CHECK(wait(R"({"retry_after": 5, "retry_after": 2})") == Nanoseconds{5s});
    CHECK(wait(R"({"retry_after": 5, "retry_after": null})") == Nanoseconds{5s});
}

TEST_CASE("a body that is not whole JSON says nothing") {
    const std::string deep(100'000, '[');
    const std::string shallower(30'000, '[');
    const std::string nested = R"({"retry_after":)";
    std::string objects;
    for (int i = 0; i < 4'000; ++i)
        objects += nested;
    const std::vector<std::string> bodies{
        "<!DOCTYPE html><html><head><title>Access denied | discord.com used Cloudflare to restrict "
        "access</title></head><body>Error 1015</body></html>",
        "error code: 1015",
        R"({"global": true, "retry_after": 5)",
        R"({"global": true, "retry_after": 5, )",
        R"({"global": true, "retry_after": 5}})",
        R"({"global": true, "retry_after": 5} trailing)",
        R"({"global": true, "retry_after": 1e400})",
        R"({"global": true, 'retry_after': 5})",
        "{\"global\": true, \"retry_after\": 5}\0"s,
        "{\"global\": true, \"retry_after\": 5}\0{}"s,
        "{\"global\": true, \"retry_after\": 5, \"message\": \"\0\"}"s,
        "{\"global\": true, \"retry_after\": 5, \"message\": \"\xff\"}",
        "{\"global\": true, \"retry_after\": 5, \"message\": \"\xc3\"}",
        "\0"s,
        "\xff\xfe",
        "null",
        "5",
        "\"retry_after\"",
        deep,
        shallower,
        shallower + std::string(30'000, ']'),
        objects,
        objects + "5" + std::string(4'000, '}'),
        std::string(10'000, '9'),
        std::string(10'000, 'x'),
        R"({"retry_after": 5, "message": ")" + std::string(64 * 1024, 'x') + R"("})"};
    for (const std::string& body : bodies) {
        CAPTURE(body.substr(0, 80), body.size());
        const auto answer = Response::parse(429, {{"Retry-After", "7"}, {"Via", via}}, body);
        CHECK(answer.retry_after == Nanoseconds{7s});
        CHECK_FALSE(answer.retry_after_in_body);
        CHECK_FALSE(answer.global);
        CHECK_FALSE(answer.from_discord);
    }
}

TEST_CASE("of an error that is no 429 neither the wait nor the flag of the body counts") {
    const auto status =
        GENERATE(200, 400, 401, 403, 404, 500, 503, 0, -429, std::numeric_limits<int>::max());
    const auto answer =
        Response::parse(status, {{"Retry-After", "3"}}, R"({"retry_after": 9, "global": true})");
    CHECK(answer.status == status);
    CHECK(answer.retry_after == Nanoseconds{3s});
    CHECK_FALSE(answer.retry_after_in_body);
    CHECK_FALSE(answer.global);
}

TEST_CASE("a 429 that neither headers nor body prove to be Discord's is one of Cloudflare") {
    constexpr std::string_view limited = R"({"message": "You are being rate limited.",
        "retry_after": 5.0, "global": false})";
    // Observed 2022-01, shardlab/discordrb#120.
    constexpr std::string_view blocked =
        R"({"code": 0, "message": "You are being blocked from accessing our API temporarily"})";
    CHECK_FALSE(Response::parse(429, {}).from_discord);
    CHECK_FALSE(Response::parse(429, {{"Retry-After", "3600"}}, "error code: 1015").from_discord);
    CHECK_FALSE(Response::parse(429, {}, blocked).from_discord);
    CHECK_FALSE(Response::parse(429, {{"Via", via}}, blocked).from_discord);
    CHECK(Response::parse(429, {{"Via", via}}, limited).from_discord);
    CHECK(Response::parse(429, {{"via", via}}).from_discord);
    CHECK(Response::parse(429, {{"X-RateLimit-Scope", "route"}}, blocked).from_discord);
    CHECK(Response::parse(429, {{"X-RateLimit-Remaining", "none"}}).from_discord);
}

TEST_CASE("a refusal that neither Via nor a rate limit header accompanies is one of Cloudflare") {
    CHECK(Response::parse(200, {}).from_discord);
    CHECK(Response::parse(304, {}).from_discord);
    for (const int status : {400, 403, 500, 502, 520, 1015}) {
        CAPTURE(status);
        CHECK_FALSE(Response::parse(status, {{"Server", "cloudflare"}}).from_discord);
        CHECK(Response::parse(status, {{"Via", via}}).from_discord);
        CHECK(Response::parse(status, {{"X-RateLimit-Limit", "5"}}).from_discord);
    }
}
