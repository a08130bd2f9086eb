// SPDX-License-Identifier: MIT
#include <sluice/gateway/session_start_limit.hpp>

#include "support/catch.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <string>
#include <string_view>

namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using sluice::gateway::InvalidSessionStartLimit;
using sluice::gateway::SessionStartLimit;
using sluice::gateway::SessionStartProblem;

json bare() {
    return {
        {"total", 1000}, {"remaining", 999}, {"reset_after", 14'400'000}, {"max_concurrency", 16}};
}

json whole() {
    return {{"url", "wss://gateway.discord.gg"}, {"shards", 9}, {"session_start_limit", bare()}};
}

const SessionStartLimit expected{1000, 999, 4h, 16};

/// The field that stands in the way.
template <class Source>
std::string refused(const Source& source) {
    SessionStartProblem problem;
    CHECK_FALSE(SessionStartLimit::try_parse(source, &problem));
    try {
        (void)SessionStartLimit::parse(source);
    } catch (const InvalidSessionStartLimit& error) {
        CHECK(error.field() == problem.field);
        CHECK(std::string_view(error.what()).find(problem.field) == 0);
        return error.field();
    }
    return "none";
}

json with(const char* field, const json& value) {
    json changed = whole();
    changed["session_start_limit"][field] = value;
    return changed;
}

TEST_CASE("the answer to GET /gateway/bot and the bare limit in it are both understood") {
    CHECK(SessionStartLimit::parse(whole()) == expected);
    CHECK(SessionStartLimit::parse(bare()) == expected);
    CHECK(SessionStartLimit::parse(whole().dump()) == expected);
    CHECK(SessionStartLimit::parse(std::string_view(R"({"total": 1, "remaining": 0,
        "reset_after": 0, "max_concurrency": 1, "new": {}})")) == SessionStartLimit{1, 0, 0ms, 1});
}

TEST_CASE("a missing field is an error that names it") {
    for (const char* field : {"total", "remaining", "reset_after", "max_concurrency"}) {
        json changed = bare();
        changed.erase(field);
        CHECK(refused(changed) == "session_start_limit." + std::string(field));
    }
}

TEST_CASE("a field that is not an integer within reason is an error that names it") {
    const std::string prefix = "session_start_limit.";
    for (const char* field : {"total", "remaining", "reset_after", "max_concurrency"}) {
        for (const json& value :
             {json(-1), json(1.5), json(1.0), json("1"), json(nullptr), json(true), json::array(),
              json::object(), json(UINT64_MAX), json(INT64_MAX), json(INT64_MIN)}) {
            CAPTURE(field, value.dump());
            CHECK(refused(with(field, value)) == prefix + field);
        }
    }
    CHECK(refused(with("total", 0)) == prefix + "total");
    CHECK(refused(with("max_concurrency", 0)) == prefix + "max_concurrency");
}

TEST_CASE("more remaining than total is an error, and as many are not") {
    CHECK(refused(with("remaining", 1001)) == "session_start_limit.remaining");
    CHECK(SessionStartLimit::parse(with("remaining", 1000)).remaining == 1000);
}

TEST_CASE("what is no object, or an answer without the limit, says so") {
    CHECK(refused(json::array()) == "json");
    CHECK(refused(json()) == "json");
    CHECK(refused(std::string("<html>")) == "json");
    CHECK(refused(std::string()) == "json");
    CHECK(refused("{\"total\": 1") == "json");
    json without = whole();
    without.erase("session_start_limit");
    CHECK(refused(without) == "session_start_limit");
    without["session_start_limit"] = 5;
    CHECK(refused(without) == "session_start_limit");
}

TEST_CASE("the problem of a limit made by hand is found as well") {
    CHECK_FALSE(expected.problem());
    CHECK(SessionStartLimit{1000, 1000, 0ms, 0}.problem()->field ==
          "session_start_limit.max_concurrency");
}

} // namespace
