// SPDX-License-Identifier: MIT
//
// Rules and options of a fake Discord from JSON. The schema is that of the C++ structs: every
// member of Rule, FakeOptions and what they hold has its own name, and what is left out keeps its
// default. Durations are seconds, with fractions; enumerators are strings; null is "none";
// `channels` and `Lie::headers` are objects; `channels` has ids as strings or integers.
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
// The one invariant: nothing is passed over. An unknown name and a value that makes no sense throw
// std::invalid_argument, whose text begins with the place: `rules["POST /x"].limit.period: ...`.
#ifndef SLUICE_TESTING_FAKE_RULES_JSON_HPP
#define SLUICE_TESTING_FAKE_RULES_JSON_HPP

#include <sluice/testing/fake_discord.hpp>
#include <sluice/testing/fake_fault.hpp>
#include <sluice/testing/fake_lie.hpp>
#include <sluice/testing/fake_limit.hpp>
#include <sluice/testing/fake_plan.hpp>
#include <sluice/testing/fake_refusal.hpp>
#include <sluice/testing/fake_rules.hpp>
#include <sluice/testing/fake_second_limit.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace sluice::testing {
namespace detail {

/// A value and the place where it stands in the document.
class JsonValue {
public:
    JsonValue(const nlohmann::json& json, std::string path) : json_(json), path_(std::move(path)) {}

    [[noreturn]] void fail(const std::string& what) const {
        throw std::invalid_argument((path_.empty() ? "document" : path_) + ": " + what);
    }

    [[nodiscard]] JsonValue at(std::string_view name) const {
        return {json_.at(std::string{name}),
                path_.empty() ? std::string{name} : path_ + "." + std::string{name}};
    }

    /// Calls `visit` with each name and value of an object.
    template <class Visit>
    void each_member(Visit visit) const {
        if (!json_.is_object()) fail("expected an object, got " + json_.dump());
        for (const auto& [name, json] : json_.items())
            visit(name, JsonValue{json, path_ + "[\"" + name + "\"]"});
    }

    [[nodiscard]] bool has(std::string_view name) const {
        return json_.contains(std::string{name});
    }

    void read(bool& into) const { into = get<bool>(json_.is_boolean(), "true or false"); }
    void read(std::string& into) const { into = get<std::string>(json_.is_string(), "a string"); }
    template <std::integral T>
    void read(T& into) const;
    void read(Duration& into) const;
    void read_signed(Duration& into) const;
    void read_id(std::uint64_t& into) const;
    template <class T>
    void read(std::optional<T>& into) const;
    template <class T>
    void read(std::vector<T>& into) const;
    void read(std::set<std::string, std::less<>>& into) const;

    template <class Enum>
    void read_name(Enum& into,
                   std::initializer_list<std::pair<std::string_view, Enum>> names) const;

    void read(Algorithm& into) const;
    void read(CountedPer& into) const;
    void read(RefusalKind& into) const;
    void read(FaultKind& into) const;
    void read(NumberFormat& into) const;
    void read(InFlight& into) const;
    void read(Limit& into) const;
    void read(AgeClass& into) const;
    void read(SecondLimit& into) const;
    void read(ShownBucket& into) const;
    void read(Refusal& into) const;
    void read(Fault& into) const;
    void read(Lie& into) const;
    void read(InvalidLimit& into) const;
    void read(Rule& into) const;
    void read(FakeOptions& into) const;

    /// Runs a check that throws std::invalid_argument, and says where.
    template <class Check>
    void checked_by(Check run) const {
        try {
            run();
        } catch (const std::invalid_argument& fault) {
            fail(fault.what());
        }
    }

private:
    template <class T>
    [[nodiscard]] T get(bool fits, const char* expected) const {
        if (!fits) fail(std::string{"expected "} + expected + ", got " + json_.dump());
        return json_.get<T>();
    }

    const nlohmann::json& json_;
    std::string path_;
};

/// The members of an object, each to be named once; `finish` refuses all others.
class JsonMembers {
public:
    explicit JsonMembers(const JsonValue& value) : value_(value) {
        std::string ignored;
        (*this)("source", ignored);
    }

    template <class T>
    JsonMembers& operator()(const char* name, T& into) {
        return with(name, [&](const JsonValue& value) { value.read(into); });
    }

    template <class Read>
    JsonMembers& with(const char* name, Read read) {
        names_.push_back(name);
        if (value_.has(name)) read(value_.at(name));
        return *this;
    }

    void finish() const {
        value_.each_member([&](const std::string& name, const JsonValue&) {
            if (std::find(names_.begin(), names_.end(), name) == names_.end())
                value_.fail("unknown name \"" + name + "\"");
        });
    }

private:
    const JsonValue& value_;
    std::vector<std::string_view> names_;
};

template <std::integral T>
void JsonValue::read(T& into) const {
    const bool integer = json_.is_number_integer();
    if (integer && json_.is_number_unsigned() && std::in_range<T>(json_.get<std::uint64_t>()))
        into = json_.get<T>();
    else if (integer && !json_.is_number_unsigned() && std::in_range<T>(json_.get<std::int64_t>()))
        into = json_.get<T>();
    else
        fail("expected an integer from " + std::to_string(std::numeric_limits<T>::min()) + " to " +
             std::to_string(std::numeric_limits<T>::max()) + ", got " + json_.dump());
}

inline void JsonValue::read_signed(Duration& into) const {
    constexpr double most = 9e9; // in seconds; a little more would not fit in nanoseconds
    const auto seconds = get<double>(json_.is_number(), "seconds");
    if (!(std::abs(seconds) <= most)) fail("more seconds than can be counted: " + json_.dump());
    // An integer has no rounding to lose: an epoch in nanoseconds is more than a double can hold.
    into = json_.is_number_integer() ? Duration{std::chrono::seconds{json_.get<std::int64_t>()}}
                                     : Duration{std::llround(seconds * 1e9)};
}

inline void JsonValue::read(Duration& into) const {
    read_signed(into);
    if (into < Duration::zero()) fail("expected seconds, not negative, got " + json_.dump());
}

inline void JsonValue::read_id(std::uint64_t& into) const {
    if (!json_.is_string()) return read(into);
    const auto text = json_.get<std::string>();
    const auto end = text.data() + text.size();
    const auto [stop, ec] = std::from_chars(text.data(), end, into);
    if (ec != std::errc{} || stop != end) fail("expected an id, got " + json_.dump());
}

template <class T>
void JsonValue::read(std::optional<T>& into) const {
    into.reset();
    if (!json_.is_null()) read(into.emplace());
}

template <class T>
void JsonValue::read(std::vector<T>& into) const {
    if (!json_.is_array()) fail("expected a list, got " + json_.dump());
    into.clear();
    for (const auto& element : json_)
        JsonValue{element, path_ + "[" + std::to_string(into.size()) + "]"}.read(
            into.emplace_back());
}

inline void JsonValue::read(std::set<std::string, std::less<>>& into) const {
    std::vector<std::string> texts;
    read(texts);
    into = {texts.begin(), texts.end()};
}

template <class Enum>
void JsonValue::read_name(Enum& into,
                          std::initializer_list<std::pair<std::string_view, Enum>> names) const {
    std::string expected;
    for (const auto& [name, value] : names) {
        if (json_ == name) {
            into = value;
            return;
        }
        expected.append(expected.empty() ? "expected " : ", ").append(name);
    }
    fail(expected + "; got " + json_.dump());
}

inline void JsonValue::read(Algorithm& into) const {
    read_name(into, {{"fixed", Algorithm::fixed},
                     {"aligned", Algorithm::aligned},
                     {"gcra", Algorithm::gcra},
                     {"sliding_log", Algorithm::sliding_log}});
}

inline void JsonValue::read(CountedPer& into) const {
    read_name(into, {{"major", CountedPer::major},
                     {"channel", CountedPer::channel},
                     {"nothing", CountedPer::nothing}});
}

inline void JsonValue::read(RefusalKind& into) const {
    read_name(into, {{"user", RefusalKind::user},
                     {"sublimit", RefusalKind::sublimit},
                     {"shared", RefusalKind::shared},
                     {"global", RefusalKind::global},
                     {"headerless", RefusalKind::headerless},
                     {"cloudflare_html", RefusalKind::cloudflare_html},
                     {"cloudflare_text", RefusalKind::cloudflare_text},
                     {"cloudflare_block", RefusalKind::cloudflare_block}});
}

inline void JsonValue::read(FaultKind& into) const {
    read_name(into, {{"server_error", FaultKind::server_error},
                     {"refusal", FaultKind::refusal},
                     {"cut", FaultKind::cut},
                     {"silence", FaultKind::silence}});
}

inline void JsonValue::read(NumberFormat& into) const {
    read_name(into, {{"decimals", NumberFormat::decimals},
                     {"integers", NumberFormat::integers},
                     {"milliseconds", NumberFormat::milliseconds}});
}

inline void JsonValue::read(InFlight& into) const {
    read_name(into, {{"until_thought", InFlight::until_thought},
                     {"until_delivered", InFlight::until_delivered}});
}

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
    members("others_every", into.others_every).finish();
}

inline void JsonValue::read(ShownBucket& into) const {
    JsonMembers members{*this};
    members("limit", into.limit)("remaining", into.remaining)("reset_after", into.reset_after);
    members("hash", into.hash).finish();
}

inline void JsonValue::read(Refusal& into) const {
    JsonMembers members{*this};
    members("kind", into.kind)("wait", into.wait)("header_wait", into.header_wait);
    members("message", into.message)("code", into.code)("bucket", into.bucket).finish();
}

inline void JsonValue::read(Fault& into) const {
    JsonMembers members{*this};
    members("kind", into.kind)("status", into.status)("refusal", into.refusal);
    members("executes", into.executes)("skip", into.skip)("every", into.every);
    members("times", into.times)("from", into.from)("until", into.until).finish();
    checked_by([&] { check(into); });
}

inline void JsonValue::read(Lie& into) const {
    JsonMembers members{*this};
    members("limit", into.limit)("remaining", into.remaining)("reset_after", into.reset_after);
    members("retry_after", into.retry_after)("retry_after_in_body", into.retry_after_in_body);
    members.with("reset_from_date", [&](const JsonValue& value) {
        value.read_signed(into.reset_from_date.emplace());
    });
    members.with("reset_offset",
                 [&](const JsonValue& value) { value.read_signed(into.reset_offset); });
    members.with("headers", [&](const JsonValue& headers) {
        headers.each_member([&](const std::string& name, const JsonValue& value) {
            value.read(into.headers.emplace_back(name, "").second);
        });
    });
    members.finish();
}

inline void JsonValue::read(InvalidLimit& into) const {
    JsonMembers members{*this};
    members("threshold", into.threshold)("period", into.period)("ban", into.ban);
    members("count_shared", into.count_shared)("answer", into.answer);
    members("tells_wait", into.tells_wait).finish();
    checked_by([&] { check(into); });
}

inline void JsonValue::read(Rule& into) const {
    JsonMembers members{*this};
    members("limit", into.limit)("hash", into.hash)("counts_apart", into.counts_apart);
    members("per_major", into.per_major)("per_individual", into.per_individual);
    members("headers", into.headers)("think_time", into.think_time)("status", into.status);
    members("body", into.body)("ages", into.ages)("second", into.second);
    members("faults", into.faults)("lie", into.lie);
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
    members("fallback", into.fallback)("numbers", into.numbers)("epoch", into.epoch);
    members("nodes", into.nodes)("node_skew", into.node_skew)("seed", into.seed);
    members("in_flight", into.in_flight)("log_capacity", into.log_capacity);
    members("invalid", into.invalid)("tokens", into.tokens);
    members("check_user_agent", into.check_user_agent);
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

/// A rule alone. Throws std::invalid_argument, as do all that follow.
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

/// Sets the rules of an object of templates; those of other routes stay.
inline void load_rules(FakeDiscord& discord, const nlohmann::json& rules) {
    detail::load_rules(discord, detail::JsonValue{rules, "rules"});
}

/// A fake as the document describes it: members `options` and `rules`, both optional.
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
