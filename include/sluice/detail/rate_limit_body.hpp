// SPDX-License-Identifier: MIT
//
// The body of a 429: the one place that includes nlohmann/json.hpp.
// Discord docs, "Rate Limits": a JSON object with `retry_after`, a float number of seconds, and
// `global`, a boolean. Cloudflare answers with HTML, plain text, or JSON that has neither.
//
// The invariant: nothing is believed before the whole text has proved to be JSON, so a cut-off body
// says nothing. The text is read as a stream of events: no tree is built, and depth costs a bit.
#ifndef SLUICE_DETAIL_RATE_LIMIT_BODY_HPP
#define SLUICE_DETAIL_RATE_LIMIT_BODY_HPP

#include <sluice/detail/response_text.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::detail {

struct RateLimitBody {
    std::optional<std::chrono::nanoseconds> retry_after = std::nullopt;
    bool global = false;
};

/// The receiver of the parser's events; the names of its members are the parser's.
class RateLimitBodyReader {
public:
    [[nodiscard]] const RateLimitBody& result() const noexcept { return result_; }

    bool null() { return true; }
    bool boolean(bool value) {
        if (field_ == Field::global && value) result_.global = true;
        return true;
    }
    bool number_integer(std::int64_t) { return true; } // the parser's name for negative ones
    bool number_unsigned(std::uint64_t value) {
        constexpr auto most = static_cast<std::uint64_t>(longest_wait.count());
        if (value <= most) take_wait(std::chrono::seconds{value});
        return true;
    }
    bool number_float(double value, const std::string& text) {
        // The text is exact, but may hold an exponent, or the decimal point of some locale.
        if (const auto exact = parse_seconds(text, longest_wait)) {
            take_wait(exact->value);
        } else if (value >= 0 && value <= static_cast<double>(longest_wait.count())) {
            take_wait(std::chrono::nanoseconds{static_cast<std::int64_t>(std::ceil(value * 1e9))});
        }
        return true;
    }
    bool string(std::string&) { return true; }
    bool binary(nlohmann::json::binary_t&) { return true; }

    bool key(std::string& name) {
        field_ = Field::other;
        if (depth_ == 1 && name == "retry_after") field_ = Field::retry_after;
        if (depth_ == 1 && name == "global") field_ = Field::global;
        return true;
    }

    bool start_object(std::size_t) { return enter(); }
    bool start_array(std::size_t) { return enter(); }
    bool end_object() { return leave(); }
    bool end_array() { return leave(); }

    bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) {
        return false;
    }

private:
    enum class Field : std::uint8_t { other, retry_after, global };

    /// Of several values the longest wait is the safe one.
    void take_wait(std::chrono::nanoseconds wait) {
        if (field_ != Field::retry_after) return;
        result_.retry_after = std::max(result_.retry_after.value_or(wait), wait);
    }

    bool enter() {
        ++depth_;
        field_ = Field::other; // the elements of an array are no field of ours
        return true;
    }
    bool leave() {
        --depth_;
        return true;
    }

    RateLimitBody result_;
    std::size_t depth_ = 0;
    Field field_ = Field::other; ///< what the next value belongs to
};

/// Empty when `body` is not JSON, or too long to be an answer of Discord.
/// A template so that only units that read responses compile the parser, which is a tenth of what
/// including us costs.
template <class = void>
[[nodiscard]] RateLimitBody parse_rate_limit_body(std::string_view body) noexcept {
    constexpr std::size_t longest_body = 64 * 1024;
    // The parser takes a NUL for the end of its input and would not see what follows.
    if (body.empty() || body.size() > longest_body || body.find('\0') != std::string_view::npos) {
        return {};
    }
    try {
        RateLimitBodyReader reader;
        if (nlohmann::json::sax_parse(body.begin(), body.end(), &reader)) return reader.result();
    } catch (...) {
        // Out of memory: the header has to do.
    }
    return {};
}

} // namespace sluice::detail

#endif
