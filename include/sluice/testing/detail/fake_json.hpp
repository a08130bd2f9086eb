// SPDX-License-Identifier: MIT
//
// The values of a JSON document of rules, each with the place where it stands, and the forms that
// single values have: durations, ids, enumerators, lists. `fake_rules_json.hpp` is for tests.
//
// The one invariant: nothing is passed over. A value that makes no sense throws
// std::invalid_argument, whose text begins with the place.
#ifndef SLUICE_TESTING_DETAIL_FAKE_JSON_HPP
#define SLUICE_TESTING_DETAIL_FAKE_JSON_HPP

#include <sluice/testing/fake_error_answer.hpp>
#include <sluice/testing/fake_fault.hpp>
#include <sluice/testing/fake_indexing.hpp>
#include <sluice/testing/fake_lie.hpp>
#include <sluice/testing/fake_limit.hpp>
#include <sluice/testing/fake_outage.hpp>
#include <sluice/testing/fake_proxy.hpp>
#include <sluice/testing/fake_refusal.hpp>
#include <sluice/testing/fake_rules.hpp>
#include <sluice/testing/fake_second_limit.hpp>
#include <sluice/testing/fake_tokens.hpp>

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
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace sluice::testing::detail {

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
    void read(double& into) const { into = get<double>(json_.is_number(), "a number"); }
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
    void read(TokenKind& into) const;
    void read(InFlight& into) const;
    void read(Limit& into) const;
    void read(AgeClass& into) const;
    void read(SecondLimit& into) const;
    void read(ShownBucket& into) const;
    void read(Refusal& into) const;
    void read(Fault& into) const;
    void read(Lie& into) const;
    void read(ErrorAnswer& into) const;
    void read(Indexing& into) const;
    void read(InvalidLimit& into) const;
    void read(Outage& into) const;
    void read(TokenLife& into) const;
    void read(Proxy& into) const;
    void read_headers(std::vector<std::pair<std::string, std::string>>& into) const;
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

inline void JsonValue::read(TokenKind& into) const {
    read_name(into, {{"any", TokenKind::any},
                     {"bot", TokenKind::bot},
                     {"bearer", TokenKind::bearer},
                     {"none", TokenKind::none}});
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

} // namespace sluice::testing::detail

#endif
