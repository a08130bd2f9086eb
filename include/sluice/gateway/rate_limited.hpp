// SPDX-License-Identifier: MIT
//
// The RATE_LIMITED dispatch: Discord has refused an event and does not queue it, so it has to be
// sent again. The connection stays open.
//
//     if (event == "RATE_LIMITED") {
//         if (auto refused = sends.on_rate_limited(payload["d"])) repeat(refused->nonce.view());
//     }
//
// Invariant: whatever a server sends, `parse` does not throw, and each field holds either a usable
// value or nothing.
//
// Source: Discord docs, "Gateway Events", Rate Limited (since 2025-10): `opcode`; `retry_after` in
// seconds, a float; and for opcode 8 `meta` with `guild_id` and, if the request had one, `nonce`.
#ifndef SLUICE_GATEWAY_RATE_LIMITED_HPP
#define SLUICE_GATEWAY_RATE_LIMITED_HPP

#include <sluice/core/send_request.hpp>
#include <sluice/gateway/opcode.hpp>

#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>

namespace sluice::gateway {

using core::Nonce;

struct RateLimited {
    Opcode opcode = Opcode::dispatch;        ///< of the refused event
    std::chrono::nanoseconds retry_after{0}; ///< rounded up, at most a day
    std::uint64_t guild = 0;                 ///< 0: none was named
    Nonce nonce = {};                        ///< empty: none was named
    /// The limiter had permitted such a request. When it is acquired again, with the same guild and
    /// nonce, it goes ahead of all requests that came after it.
    bool matched = false;

    /// `json` is the dispatch's `d`, or the whole payload around it, with the interface of
    /// nlohmann::json. Returns nullopt if `opcode` or `retry_after` is missing or invalid.
    template <class Json>
    [[nodiscard]] static std::optional<RateLimited> parse(const Json& json);
};

namespace detail {

template <class Json>
[[nodiscard]] const Json* member(const Json* json, const char* name) {
    if (json == nullptr || !json->is_object()) return nullptr;
    const auto found = json->find(name);
    return found == json->end() ? nullptr : &*found;
}

template <class Json>
[[nodiscard]] std::optional<std::string_view> text_of(const Json* json) {
    if (json == nullptr || !json->is_string()) return std::nullopt;
    return std::string_view(json->template get_ref<const typename Json::string_t&>());
}

/// Returns an id from digits in a string, as Discord sends it, or from a number; 0 for anything
/// else.
template <class Json>
[[nodiscard]] std::uint64_t id_of(const Json* json) {
    if (json != nullptr && json->is_number_integer()) return json->template get<std::uint64_t>();
    const std::string_view text = text_of(json).value_or("");
    std::uint64_t id = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), id);
    return code == std::errc() && end == text.data() + text.size() ? id : 0;
}

/// Longer than any limit of the gateway, and short enough to be added to any time without overflow.
inline constexpr double longest_retry_after = 86'400;

template <class Json>
[[nodiscard]] std::optional<std::chrono::nanoseconds> retry_after_of(const Json* json) {
    if (json == nullptr || !json->is_number()) return std::nullopt;
    const auto seconds = json->template get<double>();
    if (!(seconds >= 0)) return std::nullopt; // also rejects NaN
    const double most = seconds < longest_retry_after ? seconds : longest_retry_after;
    return std::chrono::nanoseconds(static_cast<std::int64_t>(std::ceil(most * 1e9)));
}

} // namespace detail

template <class Json>
std::optional<RateLimited> RateLimited::parse(const Json& json) {
    const Json* root = &json;
    if (const Json* inner = detail::member(root, "d")) root = inner;
    const Json* opcode = detail::member(root, "opcode");
    const auto retry_after = detail::retry_after_of(detail::member(root, "retry_after"));
    if (opcode == nullptr || !opcode->is_number_integer() || !retry_after) return std::nullopt;
    const auto number = opcode->template get<std::int64_t>();
    if (number < 0 || number > 255) return std::nullopt;
    RateLimited parsed;
    parsed.opcode = static_cast<Opcode>(number);
    parsed.retry_after = *retry_after;
    const Json* meta = detail::member(root, "meta");
    parsed.guild = detail::id_of(detail::member(meta, "guild_id"));
    if (const auto nonce = detail::text_of(detail::member(meta, "nonce"))) parsed.nonce = *nonce;
    return parsed;
}

} // namespace sluice::gateway

#endif
