// SPDX-License-Identifier: MIT
//
// A request as the fake Discord receives it, and helpers that read the individual, the webhook and
// the members of the JSON body from it.
//
// Invariant: nothing is copied and nothing throws. A body that is not JSON has no members.
#ifndef SLUICE_TESTING_FAKE_REQUEST_HPP
#define SLUICE_TESTING_FAKE_REQUEST_HPP

#include <sluice/testing/fake_hash.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

namespace sluice::testing {

struct FakeRequest {
    std::string_view method{};
    std::string_view target{};
    std::string_view token{};   ///< the Authorization header as sent; may be empty
    std::string_view address{}; ///< of the client; its limits apply when there is no token
    std::string_view user_agent{};
    std::string_view body{};
    /// Executions are counted by this, so that a test sees whether a retry was executed twice.
    /// Behind a socket it is the header X-Request-Id. Empty: the member "nonce" of the body.
    std::string_view identity{};
};

namespace detail {

/// Returns the individual whose limits apply to requests without an Authorization header.
[[nodiscard]] inline std::uint64_t address_of(const FakeRequest& request) noexcept {
    return mixed(std::hash<std::string_view>{}(request.address) + 1U);
}

/// Returns the individual whose limits the request draws on. Discord docs, "Rate Limits": that of
/// the token, or of the address when there is none.
[[nodiscard]] inline std::uint64_t individual(const FakeRequest& request) noexcept {
    if (request.token.empty()) return address_of(request);
    return mixed(std::hash<std::string_view>{}(request.token));
}

/// Returns the index after the closing quote of the string whose opening quote is at `from`.
[[nodiscard]] constexpr std::size_t end_of_json_string(std::string_view text,
                                                       std::size_t from) noexcept {
    for (std::size_t at = from + 1; at < text.size(); ++at) {
        if (text[at] == '\\')
            ++at;
        else if (text[at] == '"')
            return at + 1;
    }
    return text.size();
}

[[nodiscard]] constexpr std::size_t next_in_json(std::string_view text, std::size_t from) noexcept {
    return std::min(text.find_first_not_of(" \t\r\n", from), text.size());
}

/// Returns a string without its quotes, or any other text up to the next punctuation.
[[nodiscard]] constexpr std::string_view json_value_at(std::string_view text,
                                                       std::size_t from) noexcept {
    from = next_in_json(text, from);
    if (from == text.size() || text[from] != '"')
        return text.substr(from, text.find_first_of(",]} \t\r\n", from) - from);
    const std::size_t end = end_of_json_string(text, from);
    return text.substr(from + 1, std::max(end, from + 2) - from - 2);
}

/// Returns the member `name` of the outermost object of `body`; escapes are not decoded. The object
/// begins at the first brace, which also finds the payload_json of a multipart body.
[[nodiscard]] constexpr std::optional<std::string_view>
json_member(std::string_view body, std::string_view name) noexcept {
    int depth = 0;
    for (std::size_t at = body.find('{'); at < body.size();) {
        const char c = body[at];
        if (c != '"') {
            depth += c == '{' || c == '[' ? 1 : 0;
            depth -= c == '}' || c == ']' ? 1 : 0;
            if (depth == 0) return std::nullopt;
            ++at;
            continue;
        }
        const std::size_t end = end_of_json_string(body, at);
        const bool named = depth == 1 && json_value_at(body, at) == name;
        at = next_in_json(body, end);
        // A value may equal the name; only a key is followed by a colon.
        if (named && at < body.size() && body[at] == ':') return json_value_at(body, at + 1);
    }
    return std::nullopt;
}

/// The first two segments after "webhooks" or "interactions" in a target.
struct WebhookPath {
    std::string_view id{};
    std::string_view token{}; ///< may be empty
};

/// Returns empty texts if the target is not a webhook's.
[[nodiscard]] constexpr WebhookPath webhook_of(std::string_view target) noexcept {
    target = target.substr(0, target.find_first_of("?#"));
    for (const std::string_view collection : {"/webhooks/", "/interactions/"}) {
        const auto found = target.find(collection);
        if (found == std::string_view::npos) continue;
        const std::string_view rest = target.substr(found + collection.size());
        const auto slash = std::min(rest.find('/'), rest.size());
        const std::string_view token = rest.substr(std::min(slash + 1, rest.size()));
        return {rest.substr(0, slash), token.substr(0, token.find('/'))};
    }
    return {};
}

} // namespace detail
} // namespace sluice::testing

#endif
