// SPDX-License-Identifier: MIT
//
// What the JSON body tells beside the wait of a 429: the error code, the wait of a 202, and whether
// Discord wrote the answer although a proxy dropped `Via`.
#include <sluice/detail/read_answer.hpp>
#include <sluice/response.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace {

using namespace std::chrono_literals;
using sluice::Response;
using Nanoseconds = std::chrono::nanoseconds;

// Observed 2023-09, discord-api-docs#6407: the Via of an answer that reached Discord.
constexpr std::string_view via = "1.1 google";
// Discord docs, "Opcodes and Status Codes": the code of a refused webhook or interaction token.
constexpr std::string_view bad_token = R"({"message": "Invalid Webhook Token", "code": 50027})";
// Discord docs, "Rate Limits", the body of a 429.
constexpr std::string_view limited =
    R"({"message": "You are being rate limited.", "retry_after": 2.5, "global": false})";
// Observed 2022-01, shardlab/discordrb#120.
constexpr std::string_view blocked =
    R"({"code": 0, "message": "You are being blocked from accessing our API temporarily"})";
// Cloudflare changelog, 2026-03-11: error 1015 for a client that accepts JSON and nothing else.
constexpr std::string_view edge_json =
    R"({"title": "Error 1015: You are being rate limited", "status": 429, "error_code": 1015,
        "cloudflare_error": true, "retryable": true, "retry_after": 30})";

std::optional<std::int64_t> code_of(std::string_view body, int status = 401) {
    return Response::parse(status, {{"Via", via}}, body).code;
}

} // namespace

TEST_CASE("the JSON code of a 202, 401, 403, 404 and 429 is read, and of no other answer") {
    for (const int status : {202, 401, 403, 404, 429})
        CHECK(code_of(bad_token, status) == 50027);
    for (const int status : {200, 201, 204, 304, 400, 405, 423, 500, 502, 0, -401})
        CHECK_FALSE(code_of(bad_token, status));
}

TEST_CASE("a code is a whole number from 0 to 2^31 - 1 at the top level of an object") {
    CHECK(code_of(R"({"message": "401: Unauthorized", "code": 0})") == 0);
    CHECK(code_of(R"({"code": 2147483647})") == std::numeric_limits<std::int32_t>::max());
    CHECK(code_of(R"({"errors": {"code": 1}, "a": [{"code": 2}, 3], "code": 10015})") == 10015);
    CHECK(code_of(R"({"code": 10015, "errors": {"_errors": [{"code": "BASE_TYPE"}]}})") == 10015);
    const auto none = GENERATE(
        as<std::string>{}, R"({"code": -1})", R"({"code": 2147483648})", R"({"code": 4294967297})",
        R"({"code": 18446744073709551617})", R"({"code": 50027.0})", R"({"code": 5e4})",
        R"({"code": "50027"})", R"({"code": null})", R"({"code": true})", R"({"code": [50027]})",
        R"({"code": {"code": 50027}})", R"([{"code": 50027}])", R"({"Code": 50027})",
        R"({"errors": {"code": 50027}})", R"({"code": 50027)", R"({"code": 50027} trailing)",
        "50027", "", "<html>50027</html>");
    CAPTURE(none);
    CHECK_FALSE(code_of(none));
}

TEST_CASE("of two codes that differ neither is believed") {
    CHECK(code_of(R"({"code": 5, "code": 5})") == 5);
    CHECK_FALSE(code_of(R"({"code": 5, "code": 6})"));
    CHECK_FALSE(code_of(R"({"code": 5, "code": 6, "code": 6})"));
}

TEST_CASE("a body of more than 64 KiB is not read") {
    const auto padded = [](std::size_t size) {
        // Not operator+: g++ 14 then warns of an overflow that cannot be (-Warray-bounds).
        return std::string(R"({"code": 50027, "message": ")").append(size, 'x').append(R"("})");
    };
    CHECK(code_of(padded(64'000)) == 50027);
    CHECK_FALSE(code_of(padded(64 * 1024)));
}

TEST_CASE("a 202 that names a wait keeps it") {
    // Discord docs, "Get Guild Messages Search" (2026-03): the index is not yet available.
    const auto wait = [](std::string_view number) {
        return Response::parse(
            202, {{"X-RateLimit-Remaining", "4"}},
            R"({"message": "Index not yet available. Try again later", "code": 110000,
                "documents_indexed": 0, "global": true, "retry_after": )" +
                std::string(number) + "}");
    };
    const auto answer = wait("3");
    CHECK(answer.retry_after == Nanoseconds{3s});
    CHECK(answer.retry_after_in_body);
    CHECK(answer.code == 110'000);
    CHECK(answer.remaining == 4);
    CHECK_FALSE(answer.global);
    CHECK(answer.from_discord);
    CHECK(wait("0").retry_after == Nanoseconds{0});
    CHECK(wait("1.5").retry_after == Nanoseconds{1500ms});
    CHECK_FALSE(wait("-1").retry_after);
    CHECK_FALSE(wait("null").retry_after_in_body);
    const auto other = Response::parse(202, {}, R"({"id": "1"})");
    CHECK(other == Response{.status = 202});
}

TEST_CASE("an error without Via and rate limit headers is Discord's if its body has a code") {
    for (const int status : {401, 403, 404}) {
        CAPTURE(status);
        CHECK(Response::parse(status, {}, bad_token).from_discord);
        CHECK(Response::parse(status, {}, R"({"message": "x", "code": 0})").from_discord);
        CHECK_FALSE(Response::parse(status, {}, R"({"message": "x"})").from_discord);
        CHECK_FALSE(Response::parse(status, {}, "<html>Not Found</html>").from_discord);
        CHECK_FALSE(Response::parse(status, {}, R"({"code": 50027)").from_discord);
        CHECK_FALSE(Response::parse(status, {}).from_discord);
        CHECK(Response::parse(status, {{"Via", via}}).from_discord);
        CHECK(Response::parse(status, {{"Via", via}}, "<html>").from_discord);
    }
}

TEST_CASE("an error by which Cloudflare blocks is not Discord's, although it has a code") {
    CHECK_FALSE(Response::parse(403, {}, blocked).from_discord);
    CHECK_FALSE(Response::parse(403, {}, edge_json).from_discord);
    // Discord docs, "Opcodes and Status Codes": Cloudflare is blocking your request.
    constexpr std::string_view agent = R"({"message": "internal network error", "code": 40333})";
    CHECK_FALSE(Response::parse(403, {}, agent).from_discord);
    CHECK_FALSE(Response::parse(429, {}, agent).from_discord);
    CHECK(Response::parse(403, {}, agent).code == 40333);
}

TEST_CASE("a 429 whose Via a proxy dropped is Discord's by its JSON", "[R17]") {
    const auto answer = Response::parse(429, {{"Retry-After", "3"}}, limited);
    CHECK(answer.from_discord);
    CHECK(answer.retry_after == Nanoseconds{2500ms});
    CHECK_FALSE(answer.global);
    CHECK(Response::parse(429, {}, R"({"retry_after": 1})").from_discord);
    CHECK(Response::parse(429, {}, R"({"global": false})").from_discord);
    CHECK(Response::parse(429, {}, R"({"retry_after": -1, "global": false})").from_discord);
    // Discord docs, "Opcodes and Status Codes"; observed 2023-04 with a 429, discord-api-docs#6109.
    CHECK(Response::parse(429, {}, R"({"message": "x", "code": 20028})").from_discord);
}

TEST_CASE("a global flag without a wait is global, with Via and without") {
    for (const auto name : {"Via", "X-Other"}) {
        const auto answer = Response::parse(429, {{name, via}}, R"({"global": true})");
        CHECK(answer.from_discord);
        CHECK(answer.global);
        CHECK_FALSE(answer.retry_after);
        CHECK_FALSE(answer.retry_after_in_body);
    }
}

TEST_CASE("a 429 whose body Discord would not write stays Cloudflare's", "[R17]") {
    const auto body = GENERATE(
        as<std::string>{}, "<!DOCTYPE html><title>Access denied</title>", "error code: 1015",
        R"({"message": "You are being rate limited.", "retry_after": 2.5, "glob)", R"({})", "[]",
        R"({"message": "x"})", R"({"message": "x", "code": 0})", R"({"global": "true"})",
        R"({"global": null})", R"({"retry_after": "5"})", R"([{"retry_after": 5}])",
        R"({"error": {"retry_after": 5, "global": true}})", std::string(blocked));
    CAPTURE(body);
    CHECK_FALSE(Response::parse(429, {{"Retry-After", "60"}}, body).from_discord);
    CHECK_FALSE(Response::parse(429, {{"Via", via}}, body).from_discord);
    CHECK(Response::parse(429, {{"X-RateLimit-Scope", "user"}}, body).from_discord);
}

TEST_CASE("Cloudflare's own JSON names a wait and stays Cloudflare's", "[R17]") {
    const auto answer = Response::parse(429, {{"Retry-After", "30"}}, edge_json);
    CHECK_FALSE(answer.from_discord);
    CHECK(answer.retry_after == Nanoseconds{30s});
    CHECK(Response::parse(429, {}, R"({"cloudflare_error": false, "global": true})").from_discord);
}

TEST_CASE("the core is told the code, and -1 where a response names none that counts") {
    const auto told = [](std::optional<std::int64_t> code) {
        return sluice::detail::read_answer(Response{.status = 401, .code = code}).code;
    };
    CHECK(told(50027) == 50027);
    CHECK(told(0) == 0);
    CHECK(told(std::nullopt) == -1);
    CHECK(told(-5) == -1);
    CHECK(told(std::int64_t{1} << 31) == -1);
    CHECK(told(std::numeric_limits<std::int64_t>::min()) == -1);
}
