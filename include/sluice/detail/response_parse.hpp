// SPDX-License-Identifier: MIT
//
// Response::parse. ResponseReader sees every header once, in any order, and then returns the
// answer. It keeps no text, so a range may create its elements during iteration.
//
// Invariant: no allocation, and for an unrelated header no work except a check of the length and
// the first letters of its name. Only a body that is read costs more.
#ifndef SLUICE_DETAIL_RESPONSE_PARSE_HPP
#define SLUICE_DETAIL_RESPONSE_PARSE_HPP

#include <sluice/detail/rate_limit_body.hpp>
#include <sluice/detail/response_text.hpp>
#include <sluice/response.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

namespace sluice::detail {

/// A header with one value. Equal copies count as that value; differing copies leave none, because
/// it is unknown which of them Discord meant.
template <class T>
class Once {
public:
    void see(const std::optional<T>& value) noexcept {
        if (std::exchange(seen_, true)) {
            if (value_ != value) value_.reset();
        } else if (value) { // by parts, as it was written: a word read over two writes stalls
            value_.emplace(*value);
        }
    }

    [[nodiscard]] const std::optional<T>& value() const noexcept { return value_; }

private:
    std::optional<T> value_ = std::nullopt;
    bool seen_ = false;
};

class ResponseReader {
public:
    /// Not a constant expression: g++ 12 clears all memory of those first.
    ResponseReader() noexcept {}

    /// Inlined into parse(), which compilers would not do: saves 187 of 2,252 instructions.
    [[gnu::always_inline]] void see(std::string_view name, std::string_view value) noexcept;
    /// Returns the answer as far as its headers describe it.
    [[nodiscard]] Response finish(int status) const noexcept;
    /// Completes the answer with the content of its body.
    template <class = void>
    [[gnu::noinline]] void take_body(Response& answer, std::string_view body) const noexcept;

private:
    /// \param name the part after "X-RateLimit-"
    void see_rate_limit(std::string_view name, std::string_view value) noexcept;

    Once<std::int64_t> limit_;
    Once<std::int64_t> remaining_;
    Once<Decimal> reset_;
    Once<Decimal> reset_after_;
    Once<Decimal> retry_after_;
    Once<BucketHash> bucket_;
    Once<bool> global_;
    Once<Scope> scope_;
    Once<std::chrono::sys_seconds> date_;
    bool has_rate_limit_ = false;
    bool has_via_ = false;
};

[[nodiscard]] inline std::optional<Scope> parse_scope(std::string_view text) noexcept {
    text = trim(text);
    if (same_letters(text, "user")) return Scope::user;
    if (same_letters(text, "global")) return Scope::global;
    if (same_letters(text, "shared")) return Scope::shared;
    return std::nullopt;
}

inline void ResponseReader::see(std::string_view name, std::string_view value) noexcept {
    constexpr char prefix[] = "x-ratelimit-";
    constexpr std::size_t prefix_size = std::size(prefix) - 1;
    switch (name.size()) {
    case 3:
        has_via_ = has_via_ || same_letters(name, "via");
        return;
    case 4:
        if (same_letters(name, "date")) date_.see(parse_date(value));
        return;
    case 11:
        if (same_letters(name, "retry-after")) retry_after_.see(parse_seconds(value, longest_wait));
        return;
    default:
        if (name.size() > prefix_size && starts_with_letters(name, prefix)) {
            has_rate_limit_ = true;
            see_rate_limit(name.substr(prefix_size), value);
        }
    }
}

inline void ResponseReader::see_rate_limit(std::string_view name, std::string_view value) noexcept {
    switch (name.size()) {
    case 5:
        if (same_letters(name, "limit")) {
            const auto count = parse_count(value);
            limit_.see(count == 0 ? std::nullopt : count);
        } else if (same_letters(name, "reset")) {
            reset_.see(parse_seconds(value, latest_instant));
        } else if (same_letters(name, "scope")) {
            scope_.see(parse_scope(value));
        }
        return;
    case 6:
        if (same_letters(name, "bucket")) {
            bucket_.see(BucketHash::parse(trim(value)));
        } else if (same_letters(name, "global")) {
            global_.see(same_letters(trim(value), "true"));
        }
        return;
    case 9:
        if (same_letters(name, "remaining")) remaining_.see(parse_count(value));
        return;
    case 11:
        if (same_letters(name, "reset-after")) {
            reset_after_.see(parse_seconds(value, longest_wait));
        }
        return;
    default:
        return;
    }
}

/// Discord rounds the header up to whole seconds, so the body's value is more precise if the header
/// was made from it. If they contradict each other (observed 2023-04, discord-api-docs#6109: header
/// 1, body 1163.097) the later time was the true one.
[[nodiscard]] inline std::optional<std::chrono::nanoseconds>
join_waits(const std::optional<std::chrono::nanoseconds>& header,
           const std::optional<std::chrono::nanoseconds>& body) noexcept {
    if (!header) return body;
    if (!body || std::chrono::ceil<std::chrono::seconds>(*body) != *header) {
        return std::max(*header, body.value_or(*header));
    }
    return body;
}

inline Response ResponseReader::finish(int status) const noexcept {
    Response answer{.status = status,
                    .limit = limit_.value(),
                    .remaining = remaining_.value(),
                    .bucket = bucket_.value(),
                    .scope = scope_.value(),
                    .date = date_.value()};
    if (const auto& reset = reset_.value()) {
        answer.reset = std::chrono::sys_time<std::chrono::nanoseconds>{reset->value};
        answer.reset_unit = reset->unit;
    }
    if (const auto& reset_after = reset_after_.value()) {
        answer.reset_after = reset_after->value;
        answer.reset_after_unit = reset_after->unit;
    }
    if (const auto& retry_after = retry_after_.value()) answer.retry_after = retry_after->value;
    answer.global = global_.value().value_or(false) || answer.scope == Scope::global;
    answer.from_discord = has_rate_limit_ || has_via_ || status < 400;
    return answer;
}

/// From a 202, which is not a refusal, the wait is read; from an error other than a 429 only its
/// code.
///
/// Observed 2023-09, discord-api-docs#6407: an answer that reached Discord has `Via: 1.1 google`.
/// Observed 2022-08 and 2023-01, discord-api-docs#5385 and #5810: Cloudflare's own 429 has neither
/// `Via` nor rate limit headers, and its body is HTML, text, or JSON without `retry_after`. A proxy
/// may drop `Via`, so a body that only Discord writes is accepted as proof, too.
template <class>
void ResponseReader::take_body(Response& answer, std::string_view body) const noexcept {
    const RateLimitBody told = parse_rate_limit_body(body);
    answer.code = told.code;
    if (answer.status == 429 || answer.status == 202) {
        answer.retry_after = join_waits(answer.retry_after, told.retry_after);
        answer.retry_after_in_body = told.retry_after.has_value();
    }
    if (answer.status != 429) {
        answer.from_discord = answer.from_discord || told.is_error_of_discord();
        return;
    }
    answer.global = answer.global || told.global;
    if (!has_rate_limit_ && !body.empty()) answer.from_discord = told.is_refusal_of_discord();
}

/// Also accepts texts that do not convert to std::string_view, such as boost::string_view.
template <class Text>
[[nodiscard]] constexpr std::string_view text_of(const Text& text) {
    if constexpr (std::is_pointer_v<Text>) {
        return text == nullptr ? std::string_view{} : std::string_view{text};
    } else if constexpr (std::is_convertible_v<const Text&, std::string_view>) {
        return text;
    } else {
        return {text.data(), static_cast<std::size_t>(text.size())};
    }
}

/// Name and value are passed on within one expression: they may be temporaries.
template <class Element>
[[gnu::always_inline]] inline void see_element(ResponseReader& reader, const Element& element) {
    if constexpr (requires { element.name_string(), element.value(); }) {
        reader.see(text_of(element.name_string()), text_of(element.value()));
    } else {
        const auto& [name, value] = element;
        reader.see(text_of(name), text_of(value));
    }
}

} // namespace sluice::detail

template <class Headers>
sluice::Response sluice::Response::parse(int status, Headers&& headers,
                                         std::string_view body) noexcept {
    detail::ResponseReader reader;
    for (const auto& element : headers)
        detail::see_element(reader, element);
    Response answer = reader.finish(status);
    if (detail::reads_body(status)) reader.take_body(answer, body);
    return answer;
}

#endif
