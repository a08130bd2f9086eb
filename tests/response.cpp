// SPDX-License-Identifier: MIT
//
// The headers of an answer: what each may hold, what counts as absent, and which containers they
// may come in. The answers to refusals, with their bodies, are in response_429.cpp.
#include <sluice/detail/read_answer.hpp>
#include <sluice/response.hpp>

#include "support/catch.hpp"

#include <array>
#include <chrono>
#include <list>
#include <map>
#include <ranges>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using sluice::BucketHash;
using sluice::Response;
using sluice::Scope;
using Nanoseconds = std::chrono::nanoseconds;
using Instant = std::chrono::sys_time<Nanoseconds>;

static_assert(std::is_trivially_copyable_v<Response>);
static_assert(std::is_trivially_destructible_v<Response>);
static_assert(std::is_trivially_copyable_v<BucketHash>);
static_assert(std::is_aggregate_v<Response>);
static_assert(noexcept(Response::parse(200, {})));

// Observed 2023-09, discord-api-docs#6407: the Via of an answer that reached Discord.
constexpr std::string_view via = "1.1 google";

/// The answer to one header with one value.
Response parse_one(std::string_view name, std::string_view value) {
    return Response::parse(200, {{name, value}});
}

/// What no numeric header may take for a number.
std::vector<std::string> hostile_numbers() {
    return {"",
            " ",
            "+1",
            "-1",
            "-0",
            "nan",
            "inf",
            "-inf",
            "1e309",
            "1e3",
            "1E3",
            "0x10",
            "1,5",
            "1.5.5",
            "5.",
            ".5",
            ".",
            "5,5",
            "5, 5",
            "1 5",
            "5s",
            "5\n",
            "\v5",
            "5\0"s,
            "\0005"s,
            "5\0009"s,
            "\u0665",
            "\uff15",
            "\u00a05",
            "\xff",
            "true",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "99999999999999999999",
            "18446744073709551617",
            "9223372036854775808",
            "1"s + std::string(400, '0'),
            std::string(10'000, '9'),
            std::string(10'000, '0'),
            std::string(10'000, ' '),
            "0." + std::string(10'000, '3')};
}

} // namespace

TEST_CASE("the headers of a healthy answer are read into their fields") {
    // Discord docs, "Rate Limits", header format examples, with the date added.
    const auto answer = Response::parse(200, {{"X-RateLimit-Limit", "5"},
                                              {"X-RateLimit-Remaining", "0"},
                                              {"X-RateLimit-Reset", "1470173023"},
                                              {"X-RateLimit-Reset-After", "1"},
                                              {"X-RateLimit-Bucket", "abcd1234"},
                                              {"Date", "Tue, 02 Aug 2016 21:23:42 GMT"},
                                              {"Via", via}});
    CHECK(answer.status == 200);
    CHECK(answer.limit == 5);
    CHECK(answer.remaining == 0);
    CHECK(answer.reset == Instant{1'470'173'023s});
    CHECK(answer.reset_after == Nanoseconds{1s});
    REQUIRE(answer.bucket);
    CHECK(answer.bucket->view() == "abcd1234");
    CHECK(answer.date == std::chrono::sys_seconds{1'470'173'022s});
    CHECK_FALSE(answer.retry_after);
    CHECK_FALSE(answer.retry_after_in_body);
    CHECK_FALSE(answer.global);
    CHECK_FALSE(answer.scope);
    CHECK(answer.from_discord);
}

TEST_CASE("an answer without rate limit headers teaches nothing") {
    CHECK(Response::parse(204, {}) == Response{.status = 204});
    CHECK(Response::parse(200, {{"Content-Type", "application/json"}, {"X-RateLimit", "5"}}) ==
          Response{.status = 200});
}

TEST_CASE("letter case of header names does not matter") {
    const auto name =
        GENERATE(as<std::string>{}, "X-RateLimit-Reset-After", "x-ratelimit-reset-after",
                 "X-RATELIMIT-RESET-AFTER", "x-rAtElImIt-ReSeT-aFtEr");
    CHECK(parse_one(name, "0.250").reset_after == Nanoseconds{250ms});
}

TEST_CASE("a name that only resembles a rate limit header is not one") {
    const auto name =
        GENERATE(as<std::string>{}, "X-RateLimit-Limits", "X-RateLimit-Limi", "X-RateLimit_Limit",
                 "X-RateLimit-Nimit", "X\rRateLimit-Limit", "Y-RateLimit-Limit", "RateLimit-Limit",
                 "X-RateLimit-", "", " X-RateLimit-Limit");
    CHECK_FALSE(parse_one(name, "5").limit);
}

TEST_CASE("whitespace around a value is not part of it") {
    CHECK(parse_one("X-RateLimit-Limit", " 5 ").limit == 5);
    CHECK(parse_one("X-RateLimit-Remaining", "\t5 \t").remaining == 5);
    CHECK(parse_one("X-RateLimit-Reset-After", " 0.5\t").reset_after == Nanoseconds{500ms});
    CHECK(parse_one("X-RateLimit-Bucket", " abcd ").bucket == BucketHash::parse("abcd"));
    CHECK(parse_one("X-RateLimit-Scope", " shared ").scope == Scope::shared);
    CHECK(parse_one("X-RateLimit-Global", " true ").global);
    CHECK(parse_one("Date", " Thu, 01 Jan 1970 00:00:05 GMT ").date ==
          std::chrono::sys_seconds{5s});
}

TEST_CASE("a numeric header with a hostile value is treated as absent") {
    for (const std::string& value : hostile_numbers()) {
        CAPTURE(value.substr(0, 80), value.size());
        CHECK_FALSE(parse_one("X-RateLimit-Limit", value).limit);
        CHECK_FALSE(parse_one("X-RateLimit-Remaining", value).remaining);
        CHECK_FALSE(parse_one("X-RateLimit-Reset", value).reset);
        CHECK_FALSE(parse_one("X-RateLimit-Reset-After", value).reset_after);
        CHECK_FALSE(parse_one("Retry-After", value).retry_after);
    }
}

TEST_CASE("a count is a whole number of at most 31 bits") {
    CHECK_FALSE(parse_one("X-RateLimit-Limit", "0").limit);
    CHECK_FALSE(parse_one("X-RateLimit-Limit", "5.0").limit);
    CHECK_FALSE(parse_one("X-RateLimit-Limit", "2147483648").limit);
    CHECK_FALSE(parse_one("X-RateLimit-Limit", "4294967297").limit);
    CHECK_FALSE(parse_one("X-RateLimit-Remaining", "4.0").remaining);
    CHECK_FALSE(parse_one("X-RateLimit-Remaining", "2147483648").remaining);
    CHECK(parse_one("X-RateLimit-Limit", "2147483647").limit == 2'147'483'647);
    // Observed 2022-11, discord-api-docs#5646.
    CHECK(parse_one("X-RateLimit-Limit", "50000").limit == 50'000);
    CHECK(parse_one("X-RateLimit-Remaining", "0").remaining == 0);
    CHECK(parse_one("X-RateLimit-Remaining", "007").remaining == 7);
}

TEST_CASE("a duration is exact to the nanosecond and never rounded down") {
    const auto wait = [](std::string_view text) {
        return parse_one("X-RateLimit-Reset-After", text).reset_after;
    };
    CHECK(wait("0") == Nanoseconds{0});
    CHECK(wait("0.001") == Nanoseconds{1ms});
    CHECK(wait("64.57") == Nanoseconds{64'570'000'000});
    CHECK(wait("0.123456789") == Nanoseconds{123'456'789});
    CHECK(wait("0.1234567890") == Nanoseconds{123'456'789});
    CHECK(wait("0.1234567891") == Nanoseconds{123'456'790});
    CHECK(wait("0.999999999000000000000001") == Nanoseconds{1s});
    // Observed 2022-11, discord-api-docs#5646.
    CHECK(wait("102737.719") == Nanoseconds{102'737'719ms});
}

TEST_CASE("a duration over 366 days is treated as absent") {
    for (const auto* name : {"X-RateLimit-Reset-After", "Retry-After"}) {
        const auto wait = [name](std::string_view text) {
            const auto answer = parse_one(name, text);
            return answer.reset_after ? answer.reset_after : answer.retry_after;
        };
        CHECK(wait("31622400") == Nanoseconds{std::chrono::days{366}});
        CHECK(wait("31622400.000") == Nanoseconds{std::chrono::days{366}});
        CHECK_FALSE(wait("31622400.0000000001"));
        CHECK_FALSE(wait("31622401"));
        CHECK_FALSE(wait("9223372037"));
    }
}

TEST_CASE("a reset is a moment of the server to which any wait can be added") {
    // Observed 2023-09, discord-api-docs#6407.
    CHECK(parse_one("X-RateLimit-Reset", "1694028246.950").reset == Instant{1'694'028'246'950ms});
    CHECK(parse_one("X-RateLimit-Reset", "0").reset == Instant{});
    CHECK(parse_one("X-RateLimit-Reset", "9000000000").reset == Instant{9'000'000'000s});
    CHECK_FALSE(parse_one("X-RateLimit-Reset", "9000000000.001").reset);
    CHECK_FALSE(parse_one("X-RateLimit-Reset", "9223372036.854775807").reset);
    CHECK_FALSE(parse_one("X-RateLimit-Reset", "253402300800").reset);
}

TEST_CASE("the unit is one of the last digit as written") {
    const auto written = GENERATE(table<std::string, Nanoseconds>({{"5", 1s},
                                                                   {"5.0", 100ms},
                                                                   {"0.50", 10ms},
                                                                   {"0.500", 1ms},
                                                                   {"0.500000", 1us},
                                                                   {"0.500000000", 1ns},
                                                                   {"0.5000000000000000", 1ns}}));
    const auto& [text, unit] = written;
    CAPTURE(text);
    const auto reset_after = parse_one("X-RateLimit-Reset-After", text);
    CHECK(reset_after.reset_after_unit == unit);
    CHECK(reset_after.reset_unit == Nanoseconds{1ms});
    const auto reset = parse_one("X-RateLimit-Reset", text);
    CHECK(reset.reset_unit == unit);
    CHECK(reset.reset_after_unit == Nanoseconds{1ms});
}

TEST_CASE("a reset that may be rounded by more than nodes' clocks differ orders no answers",
          "[R10]") {
    const auto reset_of = [](std::string_view text) {
        return sluice::detail::read_answer(parse_one("X-RateLimit-Reset", text)).seen.reset;
    };
    CHECK(reset_of("1694028246.950") == 1'694'028'246'950ms);
    CHECK(reset_of("1694028246.95") == 1'694'028'246'950ms);
    CHECK_FALSE(reset_of("1694028246.9"));
    CHECK_FALSE(reset_of("1694028246"));
}

TEST_CASE("the scope is one of three words") {
    CHECK(parse_one("X-RateLimit-Scope", "user").scope == Scope::user);
    CHECK(parse_one("X-RateLimit-Scope", "global").scope == Scope::global);
    CHECK(parse_one("X-RateLimit-Scope", "shared").scope == Scope::shared);
    const auto word =
        GENERATE(as<std::string>{}, "", "route", "users", "user,shared", "1", "us\0er"s);
    CHECK_FALSE(parse_one("X-RateLimit-Scope", word).scope);
    CHECK(sluice::to_string(Scope::user) == "user");
    CHECK(sluice::to_string(Scope::global) == "global");
    CHECK(sluice::to_string(Scope::shared) == "shared");
}

TEST_CASE("an answer is global by its header, its scope or its body") {
    CHECK(parse_one("X-RateLimit-Global", "true").global);
    CHECK(parse_one("X-RateLimit-Scope", "global").global);
    CHECK(Response::parse(429, {{"Via", via}}, R"({"retry_after": 1, "global": true})").global);
    CHECK_FALSE(parse_one("X-RateLimit-Scope", "shared").global);
    const auto word = GENERATE(as<std::string>{}, "", "false", "1", "truee", "yes");
    CHECK_FALSE(parse_one("X-RateLimit-Global", word).global);
}

TEST_CASE("a bucket hash is an opaque text of 1 to 64 visible characters") {
    const std::string longest(64, 'f');
    CHECK(parse_one("X-RateLimit-Bucket", longest).bucket->view() == longest);
    CHECK_FALSE(parse_one("X-RateLimit-Bucket", longest + 'f').bucket);
    CHECK_FALSE(parse_one("X-RateLimit-Bucket", std::string(10'000, 'f')).bucket);
    CHECK_FALSE(parse_one("X-RateLimit-Bucket", "").bucket);
    CHECK_FALSE(parse_one("X-RateLimit-Bucket", "ab cd").bucket);
    CHECK_FALSE(parse_one("X-RateLimit-Bucket", "ab\0cd"s).bucket);
    CHECK_FALSE(parse_one("X-RateLimit-Bucket", "ab\r\ncd").bucket);
    CHECK_FALSE(parse_one("X-RateLimit-Bucket", "\xc3\xa4").bucket);
}

TEST_CASE("each character of a bucket hash has to be visible, wherever it stands") {
    const std::size_t size =
        GENERATE(std::size_t{1}, std::size_t{13}, std::size_t{32}, std::size_t{64});
    for (std::size_t at = 0; at < size; ++at) {
        for (int value = 0; value < 256; ++value) {
            std::string text(size, '~');
            text[at] = static_cast<char>(value);
            const bool visible = value >= '!' && value <= '~';
            CAPTURE(at, value);
            REQUIRE(BucketHash::parse(text).has_value() == visible);
        }
    }
}

TEST_CASE("bucket hashes are equal and hash alike exactly when their texts are equal") {
    const std::unordered_set<BucketHash> hashes{*BucketHash::parse("a"), *BucketHash::parse("ab"),
                                                *BucketHash::parse("ab")};
    CHECK(hashes.size() == 2);
    CHECK(hashes.contains(*BucketHash::parse("ab")));
    CHECK_FALSE(hashes.contains(*BucketHash::parse("AB")));
    CHECK(BucketHash::parse("a") != BucketHash::parse("b"));
    CHECK(BucketHash{}.view().empty());
}

TEST_CASE("a header that comes twice is believed only if both copies agree") {
    const auto twice = [](std::string_view name, std::string_view first, std::string_view second) {
        return Response::parse(200, {{name, first}, {"Via", via}, {name, second}});
    };
    CHECK(twice("X-RateLimit-Limit", "5", "5").limit == 5);
    CHECK_FALSE(twice("X-RateLimit-Limit", "5", "6").limit);
    CHECK_FALSE(twice("X-RateLimit-Limit", "5", "many").limit);
    CHECK_FALSE(twice("X-RateLimit-Limit", "many", "5").limit);
    CHECK_FALSE(twice("X-RateLimit-Remaining", "0", "4").remaining);
    CHECK_FALSE(twice("X-RateLimit-Reset", "1.5", "1.6").reset);
    CHECK_FALSE(twice("X-RateLimit-Reset-After", "1", "2").reset_after);
    CHECK(twice("X-RateLimit-Reset-After", "1.000", "1.000").reset_after == Nanoseconds{1s});
    CHECK_FALSE(twice("Retry-After", "1", "2").retry_after);
    CHECK_FALSE(twice("X-RateLimit-Bucket", "a", "b").bucket);
    CHECK(twice("X-RateLimit-Bucket", "a", "a").bucket == BucketHash::parse("a"));
    CHECK_FALSE(twice("X-RateLimit-Scope", "user", "shared").scope);
    CHECK_FALSE(twice("X-RateLimit-Global", "true", "false").global);
    CHECK_FALSE(
        twice("Date", "Thu, 01 Jan 1970 00:00:05 GMT", "Thu, 01 Jan 1970 00:00:06 GMT").date);

    SECTION("and a third copy does not revive it") {
        const auto answer = Response::parse(
            200,
            {{"X-RateLimit-Limit", "5"}, {"x-ratelimit-limit", "6"}, {"X-RATELIMIT-LIMIT", "6"}});
        CHECK_FALSE(answer.limit);
    }
}

TEST_CASE("a date is read in the form of RFC 9110 and in no other") {
    const auto date = [](std::string_view text) { return parse_one("Date", text).date; };
    CHECK(date("Sun, 06 Nov 1994 08:49:37 GMT") == std::chrono::sys_seconds{784'111'777s});
    CHECK(date("Thu, 29 Feb 2024 23:59:60 GMT") == std::chrono::sys_seconds{1'709'251'200s});
    const auto wrong =
        GENERATE(as<std::string>{}, "", "Sunday, 06-Nov-94 08:49:37 GMT",
                 "Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:37 UTC",
                 "Sun, 06 Nov 1994 08:49:37", "Sun, 31 Feb 1994 08:49:37 GMT",
                 "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT",
                 "Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT",
                 "Sun, 06 Nox 1994 08:49:37 GMT", "Sux, 06 Nov 1994 08:49:37 GMT",
                 "Sun, -6 Nov 1994 08:49:37 GMT", "Sun, 0: Nov 1994 08:49:37 GMT",
                 "Sun, 06 Nov 1994 08:4::37 GMT", "Sun, 06 Nov +994 08:49:37 GMT",
                 "Sun, 06 Nov 1969 08:49:37 GMT", "Sun, 06 Nov 9999 08:49:37 GMT",
                 "Sun, 06 Nov 0000 08:49:37 GMT", "784111777", "Sun, 06 Nov 1994 08:49:37 GMTx");
    CAPTURE(wrong);
    CHECK_FALSE(date(wrong));
}

TEST_CASE("headers may be any range of pairs of texts") {
    const Response expected{.status = 200, .limit = 5, .remaining = 4};
    SECTION("map of strings") {
        const std::map<std::string, std::string> headers{{"x-ratelimit-limit", "5"},
                                                         {"x-ratelimit-remaining", "4"}};
        CHECK(Response::parse(200, headers) == expected);
    }
    SECTION("multimap of views") {
        const std::multimap<std::string_view, std::string_view> headers{
            {"x-ratelimit-limit", "5"}, {"x-ratelimit-remaining", "4"}};
        CHECK(Response::parse(200, headers) == expected);
    }
    SECTION("vector of pairs of pointers, some of them null") {
        const std::vector<std::pair<const char*, const char*>> headers{
            {"x-ratelimit-limit", "5"},
            {"x-ratelimit-remaining", "4"},
            {"x-ratelimit-reset", nullptr},
            {nullptr, "5"}};
        CHECK(Response::parse(200, headers) == expected);
    }
    SECTION("list of tuples") {
        const std::list<std::tuple<std::string, std::string_view>> headers{
            {"x-ratelimit-limit", "5"}, {"x-ratelimit-remaining", "4"}};
        CHECK(Response::parse(200, headers) == expected);
    }
    SECTION("array of arrays") {
        const std::array<std::array<std::string, 2>, 2> headers{
            {{"x-ratelimit-limit", "5"}, {"x-ratelimit-remaining", "4"}}};
        CHECK(Response::parse(200, headers) == expected);
    }
    SECTION("plain array of plain structs") {
        struct Field {
            std::string name;
            std::vector<char> value;
        };
        const Field headers[]{{"x-ratelimit-limit", {'5'}}, {"x-ratelimit-remaining", {'4'}}};
        CHECK(Response::parse(200, headers) == expected);
    }
    SECTION("a view that makes its pairs as it goes") {
        const std::vector<std::string> names{"limit", "remaining"};
        const auto headers =
            names | std::views::transform([](const std::string& name) {
                return std::pair{"x-ratelimit-" + name, std::string(name == "limit" ? "5" : "4")};
            });
        CHECK(Response::parse(200, headers) == expected);
    }
}

TEST_CASE("headers may be elements that return their name and value by value") {
    struct Field {
        std::string number;
        [[nodiscard]] std::string name_string() const { return "X-RateLimit-Limit"; }
        [[nodiscard]] std::string value() const { return number; }
    };
    CHECK(Response::parse(200, std::vector<Field>{{"12"}}).limit == 12);
}

TEST_CASE("a response can be written down with designated initialisers") {
    constexpr Response answer{.status = 200,
                              .limit = 5,
                              .remaining = 4,
                              .reset_after = 1s,
                              .bucket = BucketHash::parse("abcd")};
    static_assert(answer.bucket->view() == "abcd");
    CHECK(answer.reset_after_unit == Nanoseconds{1ms});
    CHECK(answer.from_discord);
}

TEST_CASE("headers may be a view that changes as it is read, of texts with signed sizes") {
    struct Text {
        std::string_view text;
        [[nodiscard]] const char* data() const { return text.data(); }
        [[nodiscard]] int size() const { return static_cast<int>(text.size()); }
    };
    const std::vector<std::pair<Text, Text>> headers{
        {{"X-RateLimit-Limit"}, {"5"}}, {{"X-Other"}, {"6"}}, {{"X-RateLimit-Remaining"}, {"4"}}};
    auto some = headers | std::views::filter([](const auto& header) {
                    return header.first.text != "X-RateLimit-Remaining";
                });
    const auto answer = Response::parse(200, some);
    CHECK(answer.limit == 5);
    CHECK_FALSE(answer.remaining);
    CHECK(Response::parse(200, std::move(some)) == answer);
}
