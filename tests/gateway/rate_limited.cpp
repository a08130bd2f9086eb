// SPDX-License-Identifier: MIT
#include <sluice/gateway/rate_limited.hpp>

#include "support/catch.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cmath>
#include <limits>
#include <string>

namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using sluice::gateway::Opcode;
using sluice::gateway::RateLimited;

const json whole = json::parse(R"({"op": 0, "t": "RATE_LIMITED", "s": 12, "d": {
    "opcode": 8, "retry_after": 12.345, "meta": {"guild_id": "81384788765712384", "nonce": "abc"}}})");

TEST_CASE("opcode, wait, guild and nonce are read from the dispatch or the payload around it") {
    for (const json& payload : {whole, whole["d"]}) {
        const auto parsed = RateLimited::parse(payload);
        REQUIRE(parsed);
        CHECK(parsed->opcode == Opcode::request_guild_members);
        CHECK(parsed->retry_after == 12'345ms);
        CHECK(parsed->guild == 81384788765712384U);
        CHECK(parsed->nonce.view() == "abc");
        CHECK_FALSE(parsed->matched);
    }
}

TEST_CASE("guild and nonce may be missing or make no sense") {
    for (const char* meta : {"null", "{}", "[]", "7", R"({"guild_id": "x1", "nonce": 5})",
                             R"({"guild_id": "", "nonce": null})", R"({"guild_id": {}})",
                             R"({"guild_id": "99999999999999999999999"})", R"({"guild_id": "12 "})",
                             R"({"guild_id": 1.5})"}) {
        CAPTURE(meta);
        json payload = whole["d"];
        payload["meta"] = json::parse(meta);
        const auto parsed = RateLimited::parse(payload);
        REQUIRE(parsed);
        CHECK(parsed->guild == 0);
        CHECK(parsed->nonce.empty());
    }
    json payload = whole["d"];
    payload.erase("meta");
    CHECK(RateLimited::parse(payload));
}

TEST_CASE("without a sensible opcode or wait there is nothing to go by, and nothing is thrown") {
    for (const char* text :
         {"null", "[]", "8", "\"x\"", "{}", R"({"d": null})", R"({"d": []})", R"({"opcode": 8})",
          R"({"retry_after": 1})", R"({"opcode": "8", "retry_after": 1})",
          R"({"opcode": 8.0, "retry_after": 1})", R"({"opcode": -8, "retry_after": 1})",
          R"({"opcode": 256, "retry_after": 1})",
          R"({"opcode": 18446744073709551615, "retry_after": 1})",
          R"({"opcode": 8, "retry_after": "1"})", R"({"opcode": 8, "retry_after": -0.5})",
          R"({"opcode": 8, "retry_after": null})", R"({"opcode": 8, "retry_after": [1]})"}) {
        CAPTURE(text);
        CHECK_FALSE(RateLimited::parse(json::parse(text)));
    }
    CHECK_FALSE(RateLimited::parse(json{{"opcode", 8}, {"retry_after", std::nan("")}}));
}

TEST_CASE("the wait is rounded up and never longer than a day") {
    const auto wait = [](double seconds) {
        return RateLimited::parse(json{{"opcode", 8}, {"retry_after", seconds}})->retry_after;
    };
    CHECK(wait(0) == 0s);
    CHECK(wait(1e-10) == 1ns);
    CHECK(wait(29.5) == 29'500ms);
    CHECK(wait(1e300) == 24h);
    CHECK(wait(std::numeric_limits<double>::infinity()) == 24h);
    CHECK(RateLimited::parse(json{{"opcode", 8}, {"retry_after", 3}})->retry_after == 3s);
}

TEST_CASE("an opcode that nobody knows yet is kept as its number") {
    const auto parsed = RateLimited::parse(json{{"opcode", 77}, {"retry_after", 1}});
    REQUIRE(parsed);
    CHECK(static_cast<int>(parsed->opcode) == 77);
}

} // namespace
