// SPDX-License-Identifier: MIT
//
// Rules from JSON: the same fake as from C++, and no mistake in a document passed over. The sample
// file mimics the routes of Discord that are known to be special.
#include <sluice/testing/fake_rules_json.hpp>

#include "support/catch.hpp"
#include "support/fake_requests.hpp"

#include <chrono>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace {

using namespace std::chrono_literals;
using namespace sluice::testing;
using nlohmann::json;

FakeDiscord from_sample() {
    std::ifstream file{SLUICE_TEST_DIR "/testing/special_routes.json"};
    REQUIRE(file.good());
    return make_fake_discord(json::parse(file));
}

/// What `make_fake_discord` has against the document.
std::string complaint(std::string_view document) {
    try {
        (void)make_fake_discord(json::parse(document));
    } catch (const std::invalid_argument& fault) {
        return fault.what();
    }
    return "none";
}

/// The same for one rule of "POST /x".
std::string complaint_of_rule(std::string_view rule) {
    return complaint(R"({"rules": {"POST /x": )" + std::string{rule} + "}}");
}

constexpr auto full_rule = R"({
    "source": "nowhere",
    "limit": {"algorithm": "sliding_log", "limit": 7, "period": 2.5}, "hash": "h",
    "counts_apart": true, "per_major": false, "per_individual": false, "headers": false,
    "think_time": 0.125, "status": 201, "body": "[]", "code": 8,
    "ages": [{"below": 10, "limit": null, "hash": "y"}],
    "second": [{"limit": {"algorithm": "aligned", "limit": 2, "period": 600}, "name": "n",
                "field": "f", "per": "channel", "per_individual": true, "shared": true,
                "hash": "s", "message": "m", "code": 20028, "overstated": 74, "others_every": 3,
                "shown_every": 4}],
    "channels": {"501": "18446744073709551615", "token": 2},
    "faults": [{"kind": "refusal", "status": 503, "executes": false, "skip": 1, "every": 2,
                "times": 3, "from": 4, "until": 5,
                "refusal": {"kind": "sublimit", "wait": null, "wait_text": "w", "header_wait": 1, "message": "r",
                            "code": 7, "bucket": {"limit": 4, "remaining": 3, "reset_after": 2,
                                                  "hash": "b"}}}],
    "lie": {"limit": 50000, "remaining": 9, "reset_after": 102737.719, "reset_from_date": -2.3,
            "reset_offset": -0.5, "retry_after": 1, "retry_after_in_body": 1163.097,
            "retry_after_text": "1e-9",
            "headers": {"Via": ""}},
    "errors": [{"status": 403, "code": 50001, "message": "e", "every": 2, "share": 0.5,
                "ids": ["1"], "limit": {"limit": 6}, "hash": "o", "counted": false},
               {"age": 0, "token": "bearer"}],
    "indexing": {"first": 3, "until": 4, "retry_after": 5, "documents_indexed": 6}})";

constexpr auto full_options = R"({
    "global": null, "exempt_interactions": false, "address_global": {"limit": 3},
    "interactions_per_address": true, "fallback": {"status": 204},
    "numbers": "integers", "epoch": 1694028249, "nodes": 3, "node_skew": 0.5,
    "seed": 18446744073709551615, "in_flight": "until_delivered", "log_capacity": 5,
    "invalid": {"threshold": 10, "period": 60, "ban": 30, "count_shared": true,
                "answer": "cloudflare_block", "tells_wait": false, "tells": 60},
    "tokens": ["Bot a"], "check_user_agent": true, "clock_offset": -40,
    "outages": [{"from": 1, "until": 2, "status": 520, "every": 3, "interactions": false,
                 "think_time": 4}],
    "interaction_tokens": {"life": 60, "needs_callback": true},
    "proxy": {"drops": ["Date"], "adds": {"Via": "1.1 nirn"}, "bare_global": true}})";

FakeRequest request(std::string_view method, std::string_view target, std::string_view body = {}) {
    return {.method = method, .target = target, .token = "Bot a", .body = body};
}

} // namespace

TEST_CASE("every member of a rule can be read from JSON") {
    const Rule rule = parse_rule(json::parse(full_rule));
    CHECK(rule.limit == Limit{Algorithm::sliding_log, 7, 2500ms});
    CHECK(rule.hash == "h");
    CHECK(rule.counts_apart);
    CHECK_FALSE(rule.per_major);
    CHECK_FALSE(rule.per_individual);
    CHECK_FALSE(rule.headers);
    CHECK(rule.think_time == 125ms);
    CHECK(rule.status == 201);
    CHECK(rule.body == "[]");
    CHECK(rule.code == 8);
    REQUIRE(rule.ages.size() == 1);
    CHECK(rule.ages[0].below == 10s);
    CHECK_FALSE(rule.ages[0].limit);
    CHECK(rule.ages[0].hash == "y");
    CHECK(rule.channels.at("501") == 18'446'744'073'709'551'615U);
    CHECK(rule.channels.at("token") == 2);
    REQUIRE(rule.second.size() == 1);
    const SecondLimit& second = rule.second[0];
    CHECK(second.limit == Limit{Algorithm::aligned, 2, 600s});
    CHECK(second.name + second.field + second.hash + second.message == "nfsm");
    CHECK(second.per == CountedPer::channel);
    CHECK(second.per_individual);
    CHECK(second.shared);
    CHECK(second.code == 20028);
    CHECK(second.overstated == 74s);
    CHECK(second.others_every == 3s);
    CHECK(second.shown_every == 4);
}

TEST_CASE("faults, refusals and lies can be read from JSON") {
    const Rule rule = parse_rule(json::parse(full_rule));
    REQUIRE(rule.faults.size() == 1);
    const Fault& fault = rule.faults[0];
    CHECK(fault.kind == FaultKind::refusal);
    CHECK(fault.status == 503);
    CHECK(fault.skip == 1);
    CHECK(fault.every == 2);
    CHECK(fault.times == 3);
    CHECK(fault.from == 4s);
    CHECK(fault.until == 5s);
    CHECK(fault.refusal.kind == RefusalKind::sublimit);
    CHECK_FALSE(fault.refusal.wait);
    CHECK(fault.refusal.header_wait == 1s);
    CHECK(fault.refusal.wait_text + fault.refusal.message == "wr");
    CHECK(fault.refusal.code == 7);
    REQUIRE(fault.refusal.bucket);
    CHECK(fault.refusal.bucket->limit == 4);
    CHECK(fault.refusal.bucket->remaining == 3);
    CHECK(fault.refusal.bucket->reset_after == 2s);
    CHECK(fault.refusal.bucket->hash == "b");
    REQUIRE(rule.lie);
    CHECK(rule.lie->limit == 50'000);
    CHECK(rule.lie->remaining == 9);
    CHECK(rule.lie->reset_after == 102'737'719ms);
    CHECK(rule.lie->reset_from_date == -2300ms);
    CHECK(rule.lie->reset_offset == -500ms);
    CHECK(rule.lie->retry_after == 1s);
    CHECK(rule.lie->retry_after_in_body == 1'163'097ms);
    CHECK(rule.lie->retry_after_text == "1e-9");
    REQUIRE(rule.lie->headers.size() == 1);
    CHECK(rule.lie->headers[0].first == "Via");
}

TEST_CASE("error answers can be read from JSON") {
    const Rule rule = parse_rule(json::parse(full_rule));
    REQUIRE(rule.errors.size() == 2);
    const ErrorAnswer& error = rule.errors[0];
    CHECK(error.status == 403);
    CHECK(error.code == 50001);
    CHECK(error.message + error.hash == "eo");
    CHECK(error.every == 2);
    CHECK(error.share == 0.5);
    CHECK(error.ids.count("1") == 1);
    CHECK(error.limit == Limit{Algorithm::fixed, 6, 5s});
    CHECK_FALSE(error.counted);
    CHECK(rule.errors[1].age == 0U);
    CHECK(rule.errors[1].token == TokenKind::bearer);
    REQUIRE(rule.indexing);
    CHECK(rule.indexing->first == 3);
    CHECK(rule.indexing->until == 4s);
    CHECK(rule.indexing->retry_after == 5);
    CHECK(rule.indexing->documents_indexed == 6);
}

TEST_CASE("every member of the options can be read from JSON") {
    const FakeOptions options = parse_options(json::parse(full_options));
    CHECK_FALSE(options.global);
    CHECK_FALSE(options.exempt_interactions);
    CHECK(options.address_global == Limit{Algorithm::fixed, 3, 5s});
    CHECK(options.interactions_per_address);
    CHECK(options.fallback.status == 204);
    CHECK(options.numbers == NumberFormat::integers);
    CHECK(options.epoch == 1'694'028'249s);
    CHECK(options.nodes == 3);
    CHECK(options.node_skew == 500ms);
    CHECK(options.seed == 18'446'744'073'709'551'615U);
    CHECK(options.in_flight == InFlight::until_delivered);
    CHECK(options.log_capacity == 5);
    REQUIRE(options.invalid);
    CHECK(options.invalid->threshold == 10);
    CHECK(options.invalid->period == 60s);
    CHECK(options.invalid->ban == 30s);
    CHECK(options.invalid->count_shared);
    CHECK(options.invalid->answer == RefusalKind::cloudflare_block);
    CHECK_FALSE(options.invalid->tells_wait);
    CHECK(options.invalid->tells == 60s);
    CHECK(options.tokens.count("Bot a") == 1);
    CHECK(options.check_user_agent);
    CHECK(options.clock_offset == -40s);
    REQUIRE(options.outages.size() == 1);
    CHECK(options.outages[0].from == 1s);
    CHECK(options.outages[0].until == 2s);
    CHECK(options.outages[0].status == 520);
    CHECK(options.outages[0].every == 3);
    CHECK_FALSE(options.outages[0].interactions);
    CHECK(options.outages[0].think_time == 4s);
    REQUIRE(options.interaction_tokens);
    CHECK(options.interaction_tokens->life == 60s);
    CHECK(options.interaction_tokens->needs_callback);
    REQUIRE(options.proxy);
    CHECK(options.proxy->drops.count("Date") == 1);
    CHECK(options.proxy->drops.count("Via") == 0);
    REQUIRE(options.proxy->adds.size() == 1);
    CHECK(options.proxy->adds[0].second == "1.1 nirn");
    CHECK(options.proxy->bare_global);
}

TEST_CASE("what a document leaves out is as it is in C++") {
    const Rule rule = parse_rule(json::object());
    CHECK(rule.limit == Rule{}.limit);
    CHECK(rule.headers);
    CHECK(rule.status == 200);
    const auto discord = make_fake_discord(json::object());
    CHECK(discord.options().global == FakeOptions{}.global);
    CHECK(discord.options().epoch == FakeOptions{}.epoch);
}

TEST_CASE("an unknown name is refused, with the place where it stands") {
    CHECK(complaint(R"({"rule": {}})") == R"(document: unknown name "rule")");
    CHECK(complaint(R"({"options": {"globe": 1}})") == R"(options: unknown name "globe")");
    CHECK(complaint_of_rule(R"({"limits": {}})") == R"(rules["POST /x"]: unknown name "limits")");
    CHECK(complaint_of_rule(R"({"limit": {"periods": 1}})") ==
          R"(rules["POST /x"].limit: unknown name "periods")");
    CHECK(complaint_of_rule(R"({"faults": [{}, {"kinds": 1}]})") ==
          R"(rules["POST /x"].faults[1]: unknown name "kinds")");
}

TEST_CASE("a value of the wrong kind is refused, with the place where it stands") {
    CHECK(complaint("[]") == "document: expected an object, got []");
    CHECK(complaint_of_rule(R"({"hash": 5})") ==
          R"(rules["POST /x"].hash: expected a string, got 5)");
    CHECK(complaint_of_rule(R"({"headers": "no"})") ==
          R"(rules["POST /x"].headers: expected true or false, got "no")");
    CHECK(complaint_of_rule(R"({"limit": {"period": "1"}})") ==
          R"(rules["POST /x"].limit.period: expected seconds, got "1")");
    CHECK(complaint_of_rule(R"({"second": {}})") ==
          R"(rules["POST /x"].second: expected a list, got {})");
    CHECK(complaint_of_rule(R"({"limit": {"algorithm": "drip"}})") ==
          R"(rules["POST /x"].limit.algorithm: )"
          R"(expected fixed, aligned, gcra, sliding_log; got "drip")");
    CHECK(complaint_of_rule(R"({"channels": {"1": "x"}})") ==
          R"(rules["POST /x"].channels["1"]: expected an id, got "x")");
    CHECK(complaint_of_rule("null") == R"(rules["POST /x"]: expected an object, got null)");
}

TEST_CASE("a value that makes no sense is refused, with the place where it stands") {
    const auto starts = [](const std::string& text, std::string_view begin) {
        CAPTURE(text, begin);
        CHECK(text.starts_with(begin));
    };
    starts(complaint_of_rule(R"({"limit": {"limit": 0}})"), R"(rules["POST /x"].limit: )");
    starts(complaint_of_rule(R"({"limit": {"limit": 5.5}})"), R"(rules["POST /x"].limit.limit: )");
    starts(complaint_of_rule(R"({"limit": {"period": 1e300}})"),
           R"(rules["POST /x"].limit.period: more seconds than)");
    starts(complaint_of_rule(R"({"think_time": -1})"), R"(rules["POST /x"].think_time: )");
    starts(complaint_of_rule(R"({"status": 99})"), R"(rules["POST /x"]: )");
    starts(complaint_of_rule(R"({"status": 5000000000})"), R"(rules["POST /x"].status: )");
    starts(complaint_of_rule(R"({"faults": [{"every": 0}]})"), R"(rules["POST /x"].faults[0]: )");
    starts(complaint_of_rule(R"({"faults": [{"skip": -1}]})"),
           R"(rules["POST /x"].faults[0].skip: )");
    starts(complaint_of_rule(R"({"second": [{"limit": {"limit": -1}}]})"),
           R"(rules["POST /x"].second[0].limit: )");
    starts(complaint_of_rule(R"({"ages": [{"below": 9}, {"below": 9}]})"), R"(rules["POST /x"]: )");
    starts(complaint(R"({"options": {"outages": [{"status": 404}]}})"), "options.outages[0]: ");
    starts(complaint(R"({"options": {"invalid": {"answer": "user"}}})"), "options.invalid: ");
}

TEST_CASE("a route that is none, or is named twice, is refused") {
    CHECK(complaint(R"({"rules": {"FETCH /x": {}}})") ==
          R"(rules["FETCH /x"]: not a route template: FETCH /x)");
    CHECK(complaint(R"({"rules": {"GET /users/{a}": {}, "GET /users/{b}": {}}})") ==
          R"(rules["GET /users/{b}"]: the same route as "GET /users/{a}")");
}

TEST_CASE("rules can be loaded into a fake that has others") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message, {.hash = "stays"});
    load_rules(discord, json::parse(R"({"PATCH /channels/{}/messages/{}": {"hash": "new"}})"));
    CHECK(header(discord.receive(post(), 0s), "X-RateLimit-Bucket") == "stays");
    CHECK(header(discord.receive(patch(), 0s), "X-RateLimit-Bucket") == "new");
}

TEST_CASE("the sample file limits names, webhooks and reactions as Discord does", "[F8]") {
    auto discord = from_sample();
    const auto name = request("PATCH", "/channels/1", R"({"name": "x"})");
    CHECK(accepted_of(discord, name, 5, 0s) == 2);
    CHECK(line(discord.receive(name, 1s)).substr(0, 5) == "429 4");
    int executed = 0;
    for (int i = 0; i < 40; ++i) {
        const bool one = i % 2 == 0;
        const auto answer = discord.receive(
            request("POST", one ? "/webhooks/501/a" : "/webhooks/502/b"), 10s + i * 1s);
        executed += answer.status == 200 ? 1 : 0;
    }
    CHECK(executed == 30);
    const auto reaction =
        discord.receive(request("PUT", "/channels/1/messages/2/reactions/x/@me"), 60s);
    CHECK(header(reaction, "X-RateLimit-Reset-After") == "1.000");
    const auto clear = request("DELETE", "/channels/1/messages/2/reactions");
    CHECK(discord.receive(clear, 60s + 249ms).status == 429);
    CHECK(discord.receive(clear, 60s + 250ms).status == 200);
}

TEST_CASE("the sample file has deletes by age and another bucket at a 429", "[F7]") {
    auto discord = from_sample();
    const auto old = discord.receive(request("DELETE", "/channels/1/messages/9"), 0s);
    CHECK(header(old, "X-RateLimit-Limit") == "30");
    const auto young =
        discord.receive(request("DELETE", "/channels/1/messages/1174000000000000000"), 0s);
    CHECK(header(young, "X-RateLimit-Limit") == "3");
    const auto gone = discord.receive(request("DELETE", "/channels/1/messages/404"), 0s);
    CHECK(gone.status == 404);
    CHECK(header(gone, "X-RateLimit-Limit") == "5");
    const auto get = request("GET", "/channels/1/messages?limit=100");
    CHECK(header(discord.receive(get, 1s), "X-RateLimit-Limit") == "1000");
    CHECK(accepted_of(discord, get, 9, 1s) == 4);
    CHECK(header(discord.receive(get, 1s), "X-RateLimit-Limit") == "5");
}

TEST_CASE("the sample file has a route that refuses the tokens of bots") {
    auto discord = from_sample();
    FakeRequest me = request("GET", "/oauth2/@me");
    CHECK(discord.receive(me, 0s).status == 401);
    me.token = "Bearer a";
    CHECK(discord.receive(me, 0s).status == 200);
}

TEST_CASE("the sample file has shared limits without headers, and one that is overstated", "[F9]") {
    auto discord = from_sample();
    const auto create = request("POST", "/guilds/1/emojis");
    CHECK(accepted_of(discord, create, 40, 0s) == 40);
    discord.others_spend(request("DELETE", "/guilds/1/emojis/2"), 5, 0s);
    CHECK(accepted_of(discord, request("PATCH", "/guilds/1/emojis/2"), 10, 1s) == 5);
    const auto refused_emoji = discord.receive(create, 1s);
    CHECK(line(refused_emoji) == "429 - - - 3599");
    CHECK(header(refused_emoji, "X-RateLimit-Scope") == "shared");
    const auto thread = request("POST", "/channels/1/threads");
    CHECK(accepted_of(discord, thread, 11, 10s) == 10);
    CHECK(line(discord.receive(thread, 10s)) == "429 - - - 219");
    CHECK(discord.receive(thread, 155s).status == 200);
}
