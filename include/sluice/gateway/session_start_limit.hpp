// SPDX-License-Identifier: MIT
//
// How many sessions a bot may start, as reported by GET /gateway/bot.
//
//     auto limit = SessionStartLimit::parse(response.body());        // text or nlohmann::json
//     IdentifyQueue identifies{executor, limit};
//
// No value is guessed, because identifying too often resets the bot's token: a missing or invalid
// field is an error that names the field.
//
// Source: Discord docs, "Gateway", Session Start Limit Object: `total`, `remaining`, `reset_after`
// in milliseconds and `max_concurrency`, all integers.
#ifndef SLUICE_GATEWAY_SESSION_START_LIMIT_HPP
#define SLUICE_GATEWAY_SESSION_START_LIMIT_HPP

#include <nlohmann/json_fwd.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace sluice::gateway {

/// Thrown by SessionStartLimit::parse. what() reads "session_start_limit.remaining: is missing".
class InvalidSessionStartLimit : public std::runtime_error {
public:
    InvalidSessionStartLimit(std::string_view field, std::string_view problem)
        : std::runtime_error(std::string(field) + ": " + std::string(problem)), field_(field) {}

    /// Returns the field, such as "session_start_limit.remaining"; "json" if the text is not JSON.
    [[nodiscard]] const std::string& field() const noexcept { return field_; }

private:
    std::string field_;
};

/// What is wrong with a limit. The texts have static storage duration.
struct SessionStartProblem {
    std::string_view field;
    std::string_view problem;
};

struct SessionStartLimit {
    std::int64_t total = 0;                   ///< identifies in a day
    std::int64_t remaining = 0;               ///< identifies still left of these
    std::chrono::milliseconds reset_after{0}; ///< until `total` are left again
    std::int64_t max_concurrency = 1;         ///< identifies in five seconds

    /// Returns the first invalid field, or nullopt.
    [[nodiscard]] std::optional<SessionStartProblem> problem() const noexcept;

    /// Parses the answer to GET /gateway/bot or the session_start_limit in it, as nlohmann::json or
    /// as text; for text include nlohmann/json.hpp.
    /// *Errors*: throws InvalidSessionStartLimit.
    template <class Source>
    [[nodiscard]] static SessionStartLimit parse(const Source& source) {
        SessionStartProblem problem;
        if (const auto parsed = try_parse(source, &problem)) return *parsed;
        throw InvalidSessionStartLimit(problem.field, problem.problem);
    }
    /// Parses without exceptions: returns nullopt on an error, which is stored in `problem`.
    template <class Source>
    [[nodiscard]] static std::optional<SessionStartLimit>
    try_parse(const Source& source, SessionStartProblem* problem = nullptr);

    friend bool operator==(const SessionStartLimit&, const SessionStartLimit&) = default;
};

namespace detail {

template <class T>
concept JsonValue = requires(const T& json) {
    { json.is_object() } -> std::convertible_to<bool>;
};

/// Names a type whose definition is needed only where the template is used.
template <class T, class>
struct LaterType {
    using type = T;
};

/// More than Discord will ever allow, and small enough to calculate with.
inline constexpr std::int64_t most_sessions = 1'000'000'000;
/// A hundred days in milliseconds; `reset_after` is at most one day.
inline constexpr std::int64_t longest_reset_after = 8'640'000'000;

/// Reads the fields of one object. Keeps the first problem.
template <JsonValue Json>
class SessionStartReader {
public:
    explicit SessionStartReader(const Json& object) : object_(object) {}

    std::int64_t number(const char* name, std::string_view field) {
        const auto found = object_.find(name);
        if (found == object_.end()) return fail(field, "is missing");
        if (!found->is_number_integer()) return fail(field, "is not an integer");
        // An unsigned number beyond the range of signed would be converted to another value.
        if (found->is_number_unsigned() &&
            found->template get<std::uint64_t>() > std::uint64_t(INT64_MAX)) {
            return fail(field, "is too large");
        }
        return found->template get<std::int64_t>();
    }
    std::int64_t fail(std::string_view field, std::string_view problem) {
        if (!problem_) problem_ = SessionStartProblem{field, problem};
        return 0;
    }
    [[nodiscard]] const std::optional<SessionStartProblem>& problem() const { return problem_; }

private:
    const Json& object_;
    std::optional<SessionStartProblem> problem_;
};

template <JsonValue Json>
std::optional<SessionStartProblem> read(const Json& json, SessionStartLimit& limit) {
    if (!json.is_object()) return SessionStartProblem{"json", "is not an object"};
    const Json* object = &json;
    if (const auto inner = json.find("session_start_limit"); inner != json.end()) {
        object = &*inner;
    } else if (json.contains("shards") || json.contains("url")) {
        return SessionStartProblem{"session_start_limit", "is missing"};
    }
    if (!object->is_object()) {
        return SessionStartProblem{"session_start_limit", "is not an object"};
    }
    SessionStartReader<Json> reader(*object);
    limit.total = reader.number("total", "session_start_limit.total");
    limit.remaining = reader.number("remaining", "session_start_limit.remaining");
    limit.reset_after =
        std::chrono::milliseconds(reader.number("reset_after", "session_start_limit.reset_after"));
    limit.max_concurrency = reader.number("max_concurrency", "session_start_limit.max_concurrency");
    return reader.problem() ? reader.problem() : limit.problem();
}

template <class Text>
requires(!JsonValue<Text> && std::convertible_to<const Text&, std::string_view>)
    std::optional<SessionStartProblem> read(const Text& text, SessionStartLimit& limit) {
    using Json = typename LaterType<nlohmann::json, Text>::type;
    const std::string_view view = text;
    const Json json = Json::parse(view.begin(), view.end(), nullptr, false);
    if (json.is_discarded()) return SessionStartProblem{"json", "is malformed"};
    return read(json, limit);
}

} // namespace detail

inline std::optional<SessionStartProblem> SessionStartLimit::problem() const noexcept {
    if (total < 1) return SessionStartProblem{"session_start_limit.total", "is less than 1"};
    if (total > detail::most_sessions) {
        return SessionStartProblem{"session_start_limit.total", "is too large"};
    }
    if (remaining < 0) return SessionStartProblem{"session_start_limit.remaining", "is negative"};
    if (remaining > total) {
        return SessionStartProblem{"session_start_limit.remaining", "is more than total"};
    }
    if (reset_after.count() < 0) {
        return SessionStartProblem{"session_start_limit.reset_after", "is negative"};
    }
    if (reset_after.count() > detail::longest_reset_after) {
        return SessionStartProblem{"session_start_limit.reset_after", "is too large"};
    }
    if (max_concurrency < 1) {
        return SessionStartProblem{"session_start_limit.max_concurrency", "is less than 1"};
    }
    if (max_concurrency > detail::most_sessions) {
        return SessionStartProblem{"session_start_limit.max_concurrency", "is too large"};
    }
    return std::nullopt;
}

template <class Source>
std::optional<SessionStartLimit> SessionStartLimit::try_parse(const Source& source,
                                                              SessionStartProblem* problem) {
    SessionStartLimit limit;
    const std::optional<SessionStartProblem> found = detail::read(source, limit);
    if (!found) return limit;
    if (problem != nullptr) *problem = *found;
    return std::nullopt;
}

} // namespace sluice::gateway

#endif
