// SPDX-License-Identifier: MIT
//
// Rules and options of a fake Discord from JSON. The schema is that of the C++ structs: every
// member of Rule, FakeOptions and their members has its own name, and omitted members keep their
// defaults. Durations are seconds, with fractions; enumerators are strings; null is "none";
// `channels`, `Lie::headers` and `Proxy::adds` are objects; `channels` has ids as strings or
// integers.
//
//     {"options": {"global": {"limit": 50, "period": 1}},
//      "rules": {"POST /channels/{channel.id}/messages": {
//          "source": "any object may say where its figures come from",
//          "limit": {"algorithm": "gcra", "limit": 5, "period": 5},
//          "second": [{"field": "name", "limit": {"limit": 2, "period": 600}}],
//          "faults": [{"kind": "cut", "executes": true, "skip": 2, "times": 1}]}}}
//
//     FakeDiscord discord = make_fake_discord(nlohmann::json::parse(file));
//
// Invariant: nothing is ignored. Unknown names and invalid values throw std::invalid_argument,
// whose text begins with the place: `rules["POST /x"].limit.period: ...`.
#ifndef SLUICE_TESTING_FAKE_RULES_JSON_HPP
#define SLUICE_TESTING_FAKE_RULES_JSON_HPP

#include <sluice/testing/detail/fake_json.hpp>
#include <sluice/testing/fake_discord.hpp>
#include <sluice/testing/fake_error_answer.hpp>
#include <sluice/testing/fake_fault.hpp>
#include <sluice/testing/fake_indexing.hpp>
#include <sluice/testing/fake_lie.hpp>
#include <sluice/testing/fake_limit.hpp>
#include <sluice/testing/fake_outage.hpp>
#include <sluice/testing/fake_plan.hpp>
#include <sluice/testing/fake_proxy.hpp>
#include <sluice/testing/fake_refusal.hpp>
#include <sluice/testing/fake_rules.hpp>
#include <sluice/testing/fake_second_limit.hpp>
#include <sluice/testing/fake_tokens.hpp>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace sluice::testing {
namespace detail {

inline void JsonValue::read(Limit& into) const {
    JsonMembers{*this}("algorithm", into.algorithm)("limit", into.limit)("period", into.period)
        .finish();
    checked_by([&] { (void)checked(into); });
}

inline void JsonValue::read(AgeClass& into) const {
    JsonMembers{*this}("below", into.below)("limit", into.limit)("hash", into.hash).finish();
}

inline void JsonValue::read(SecondLimit& into) const {
    JsonMembers members{*this};
    members("limit", into.limit)("name", into.name)("field", into.field)("per", into.per);
    members("per_individual", into.per_individual)("shared", into.shared)("hash", into.hash);
    members("message", into.message)("code", into.code)("overstated", into.overstated);
    members("others_every", into.others_every)("shown_every", into.shown_every).finish();
    checked_by([&] { check(into); });
}

inline void JsonValue::read(ShownBucket& into) const {
    JsonMembers members{*this};
    members("limit", into.limit)("remaining", into.remaining)("reset_after", into.reset_after);
    members("hash", into.hash).finish();
}

inline void JsonValue::read(Refusal& into) const {
    JsonMembers members{*this};
    members("kind", into.kind)("wait", into.wait)("header_wait", into.header_wait);
    members("wait_text", into.wait_text);
    members("message", into.message)("code", into.code)("bucket", into.bucket).finish();
}

inline void JsonValue::read(Fault& into) const {
    JsonMembers members{*this};
    members("kind", into.kind)("status", into.status)("refusal", into.refusal);
    members("executes", into.executes)("skip", into.skip)("every", into.every);
    members("times", into.times)("from", into.from)("until", into.until).finish();
    checked_by([&] { check(into); });
}

inline void JsonValue::read(ErrorAnswer& into) const {
    JsonMembers members{*this};
    members("status", into.status)("code", into.code)("message", into.message);
    members("every", into.every)("share", into.share)("ids", into.ids)("age", into.age);
    members("token", into.token);
    members("limit", into.limit)("hash", into.hash)("counted", into.counted).finish();
    checked_by([&] { check(into); });
}

inline void JsonValue::read(Lie& into) const {
    JsonMembers members{*this};
    members("limit", into.limit)("remaining", into.remaining)("reset_after", into.reset_after);
    members("retry_after", into.retry_after)("retry_after_in_body", into.retry_after_in_body);
    members("retry_after_text", into.retry_after_text);
    members.with("reset_from_date", [&](const JsonValue& value) {
        value.read_signed(into.reset_from_date.emplace());
    });
    members.with("reset_offset",
                 [&](const JsonValue& value) { value.read_signed(into.reset_offset); });
    members.with("headers", [&](const JsonValue& value) { value.read_headers(into.headers); });
    members.finish();
}

inline void JsonValue::read_headers(std::vector<std::pair<std::string, std::string>>& into) const {
    into.clear();
    each_member([&](const std::string& name, const JsonValue& value) {
        value.read(into.emplace_back(name, "").second);
    });
}

inline void JsonValue::read(Indexing& into) const {
    JsonMembers members{*this};
    members("first", into.first)("until", into.until)("retry_after", into.retry_after);
    members("documents_indexed", into.documents_indexed).finish();
}

inline void JsonValue::read(InvalidLimit& into) const {
    JsonMembers members{*this};
    members("threshold", into.threshold)("period", into.period)("ban", into.ban);
    members("count_shared", into.count_shared)("answer", into.answer);
    members("tells_wait", into.tells_wait)("tells", into.tells).finish();
    checked_by([&] { check(into); });
}

inline void JsonValue::read(Outage& into) const {
    JsonMembers members{*this};
    members("from", into.from)("until", into.until)("status", into.status)("every", into.every);
    members("interactions", into.interactions)("think_time", into.think_time).finish();
    checked_by([&] { check(into); });
}

inline void JsonValue::read(TokenLife& into) const {
    JsonMembers{*this}("life", into.life)("needs_callback", into.needs_callback).finish();
    checked_by([&] { check(into); });
}

inline void JsonValue::read(Proxy& into) const {
    JsonMembers members{*this};
    members("drops", into.drops)("bare_global", into.bare_global);
    members.with("adds", [&](const JsonValue& value) { value.read_headers(into.adds); });
    members.finish();
}

inline void JsonValue::read(Rule& into) const {
    JsonMembers members{*this};
    members("limit", into.limit)("hash", into.hash)("counts_apart", into.counts_apart);
    members("per_major", into.per_major)("per_individual", into.per_individual);
    members("headers", into.headers)("think_time", into.think_time)("status", into.status);
    members("body", into.body)("code", into.code)("ages", into.ages)("second", into.second);
    members("faults", into.faults)("lie", into.lie)("errors", into.errors);
    members("indexing", into.indexing);
    members.with("channels", [&](const JsonValue& channels) {
        channels.each_member([&](const std::string& name, const JsonValue& value) {
            value.read_id(into.channels[name]);
        });
    });
    members.finish();
    checked_by([&] { (void)Plan{into, 0}; });
}

inline void JsonValue::read(FakeOptions& into) const {
    JsonMembers members{*this};
    members("global", into.global)("exempt_interactions", into.exempt_interactions);
    members("address_global", into.address_global);
    members("interactions_per_address", into.interactions_per_address);
    members("fallback", into.fallback)("numbers", into.numbers)("epoch", into.epoch);
    members("nodes", into.nodes)("node_skew", into.node_skew)("seed", into.seed);
    members("in_flight", into.in_flight)("log_capacity", into.log_capacity);
    members("invalid", into.invalid)("tokens", into.tokens);
    members("check_user_agent", into.check_user_agent)("outages", into.outages);
    members("interaction_tokens", into.interaction_tokens)("proxy", into.proxy);
    members.with("clock_offset",
                 [&](const JsonValue& value) { value.read_signed(into.clock_offset); });
    members.finish();
}

inline void load_rules(FakeDiscord& discord, const JsonValue& rules) {
    std::map<std::uint64_t, std::string> names;
    rules.each_member([&](const std::string& name, const JsonValue& value) {
        if (name == "source") return;
        std::optional<Route> route;
        value.checked_by([&] { route = route_of_template(name); });
        const auto [same, first] = names.emplace(route->id(), name);
        if (!first) value.fail("the same route as \"" + same->second + "\"");
        Rule rule;
        value.read(rule);
        discord.rule(*route, std::move(rule));
    });
}

} // namespace detail

/// Parses one rule. Throws std::invalid_argument, like all functions that follow.
[[nodiscard]] inline Rule parse_rule(const nlohmann::json& json) {
    Rule rule;
    detail::JsonValue{json, ""}.read(rule);
    return rule;
}

[[nodiscard]] inline FakeOptions parse_options(const nlohmann::json& json) {
    FakeOptions options;
    detail::JsonValue{json, ""}.read(options);
    return options;
}

/// Sets the rules of an object of templates; rules of other routes are kept.
inline void load_rules(FakeDiscord& discord, const nlohmann::json& rules) {
    detail::load_rules(discord, detail::JsonValue{rules, "rules"});
}

/// Returns a fake as the document describes it: members `options` and `rules`, both optional.
[[nodiscard]] inline FakeDiscord make_fake_discord(const nlohmann::json& document) {
    FakeOptions options;
    const detail::JsonValue value{document, ""};
    detail::JsonMembers members{value};
    members("options", options);
    std::optional<FakeDiscord> discord{std::move(options)};
    members.with("rules",
                 [&](const detail::JsonValue& rules) { detail::load_rules(*discord, rules); });
    members.finish();
    return *std::move(discord);
}

} // namespace sluice::testing

#endif
