// SPDX-License-Identifier: MIT
//
// The body of a 202, 401, 403, 404 or 429: the one place that includes nlohmann/json.hpp.
// Discord docs, "Rate Limits": a 429 has a JSON object with `retry_after`, a float number of
// seconds, and `global`, a boolean. Docs, "Opcodes and Status Codes": errors have a `code`.
// Cloudflare answers with HTML or plain text; where the client accepts JSON only, with an object
// that has `cloudflare_error` and, as Discord's, `retry_after` (Cloudflare changelog, 2026-03-11).
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
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::detail {

struct RateLimitBody {
    std::optional<std::chrono::nanoseconds> retry_after = std::nullopt;
    std::optional<std::int32_t> code = std::nullopt;
    bool global = false;
    bool has_global = false; ///< `global` is there, true or false
    bool blocked = false;    ///< it is the message of a block of this address
    bool cloudflare = false; ///< it says that Cloudflare wrote it

    /// Whether only Discord writes such an answer of another status than 429.
    [[nodiscard]] constexpr bool is_error_of_discord() const noexcept {
        // Discord docs, "Opcodes and Status Codes": "Cloudflare is blocking your request".
        constexpr std::int32_t blocked_by_cloudflare = 40333;
        return code && code != blocked_by_cloudflare && !blocked && !cloudflare;
    }

    /// Whether only Discord writes such a 429. A block's JSON has code 0 and none of the rest
    /// (observed 2022-01, shardlab/discordrb#120).
    [[nodiscard]] constexpr bool is_refusal_of_discord() const noexcept {
        if (cloudflare) return false;
        return retry_after || has_global || (code != 0 && is_error_of_discord());
    }
};

/// The bodies that tell something which the headers do not. Discord docs, "Get Guild Messages
/// Search" (2026-03): a 202 has `retry_after`. Errors other than these condemn nothing.
[[nodiscard]] constexpr bool reads_body(int status) noexcept {
    return status == 429 || status == 404 || status == 403 || status == 401 || status == 202;
}

/// The receiver of the parser's events; the names of its members are the parser's.
class RateLimitBodyReader {
public:
    [[nodiscard]] const RateLimitBody& result() const noexcept { return result_; }

    bool null() { return true; }
    bool boolean(bool value) {
        if (field_ == Field::global) {
            result_.has_global = true;
            result_.global = result_.global || value;
        }
        if (field_ == Field::cloudflare && value) result_.cloudflare = true;
        return true;
    }
    bool number_integer(std::int64_t) { return true; } // the parser's name for negative ones
    bool number_unsigned(std::uint64_t value) {
        constexpr auto most = static_cast<std::uint64_t>(longest_wait.count());
        if (value <= most) take_wait(std::chrono::seconds{value});
        take_code(value);
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
    bool string(std::string& value) {
        // Observed 2022-01, shardlab/discordrb#120, and 2023-01, discord-api-docs#5810.
        if (field_ == Field::message && value.starts_with("You are being blocked")) {
            result_.blocked = true;
        }
        return true;
    }
    bool binary(nlohmann::json::binary_t&) { return true; }

    bool key(std::string& name) {
        field_ = depth_ == 1 ? field_of(name) : Field::other;
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
    enum class Field : std::uint8_t { other, retry_after, global, code, message, cloudflare };

    [[nodiscard]] static Field field_of(std::string_view name) {
        if (name == "retry_after") return Field::retry_after;
        if (name == "global") return Field::global;
        if (name == "code") return Field::code;
        if (name == "message") return Field::message;
        if (name == "cloudflare_error") return Field::cloudflare;
        return Field::other;
    }

    /// Of several values the longest wait is the safe one.
    void take_wait(std::chrono::nanoseconds wait) {
        if (field_ != Field::retry_after) return;
        result_.retry_after = std::max(result_.retry_after.value_or(wait), wait);
    }

    /// Of two codes that differ neither is believed.
    void take_code(std::uint64_t value) {
        if (field_ != Field::code || value > std::numeric_limits<std::int32_t>::max()) return;
        const auto code = static_cast<std::int32_t>(value);
        codes_differ_ = codes_differ_ || result_.code.value_or(code) != code;
        result_.code = code;
        if (codes_differ_) result_.code.reset();
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
    bool codes_differ_ = false;
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
