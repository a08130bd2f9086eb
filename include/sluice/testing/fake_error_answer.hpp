// SPDX-License-Identifier: MIT
//
// Error answers of a route that works for other requests: deleted messages, tokens of the wrong
// kind. The headers of an error may describe another limit than those of successes; the error then
// uses that limit.
//
//     .ages = {{.below = 10s, .limit = Limit{Algorithm::gcra, 5, 5s}}},
//     .errors = {{.status = 404, .code = 10008, .share = 0.3, .age = 0}}  // the young bucket's
//
// Invariant: the limit that is described is the one that is checked and used. An error uses nothing
// of the limit that successes of the same route draw on, unless it describes no other.
//
// Observed 2026-05, discord-api-docs#8330: 404s of `DELETE message` carry the hash and numbers of
// the bucket for young messages, whatever the age of the message.
#ifndef SLUICE_TESTING_FAKE_ERROR_ANSWER_HPP
#define SLUICE_TESTING_FAKE_ERROR_ANSWER_HPP

#include <sluice/testing/fake_hash.hpp>
#include <sluice/testing/fake_limit.hpp>
#include <sluice/testing/fake_request.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>

namespace sluice::testing {

/// The kind of a request's Authorization header.
enum class TokenKind : std::uint8_t {
    any,
    bot,    ///< "Bot ..."
    bearer, ///< "Bearer ..."
    none,   ///< no Authorization header
};

/// The error for requests that match all of `every`, `share`, `ids` and `token`.
struct ErrorAnswer {
    int status = 404;
    int code = 0;            ///< of the body
    std::string message{};   ///< empty: the usual one of the code
    std::uint64_t every = 1; ///< every n-th of the route's requests without a fault: n, 2n, ...
    double share = 1;        ///< of all paths; a path matches always or never
    std::set<std::string, std::less<>> ids{}; ///< a segment of the path is one of these; empty: any
    /// Observed 2021-10, discord-api-docs#3945: `GET /oauth2/@me` answers 401 to a good bot token,
    /// which staff called intended.
    TokenKind token = TokenKind::any;
    /// The limit that describes the error: the one of this element of `Rule::ages`, ...
    std::optional<std::size_t> age{};
    /// ... or a separate one under `hash`, or the limit of the rule that has this hash. If none of
    /// the three is set: the limit that describes successes.
    std::optional<Limit> limit{};
    std::string hash{};
    /// False: the error is answered before any limit of the route, uses no quota and shows no
    /// bucket.
    bool counted = true;
};

namespace detail {

/// Returns the usual text of an error: Discord docs, "Opcodes and Status Codes", "JSON".
[[nodiscard]] inline std::string usual_message(int status, int code) {
    switch (code) {
    case 10003:
        return "Unknown Channel";
    case 10008:
        return "Unknown Message";
    case 10015:
        return "Unknown Webhook";
    case 50025:
        return "Invalid OAuth2 access token";
    case 50027:
        return "Invalid Webhook Token";
    default:
        break;
    }
    const char* const text = status == 401   ? ": Unauthorized"
                             : status == 403 ? ": Forbidden"
                             : status == 404 ? ": Not Found"
                                             : ": Error";
    return std::to_string(status) + text;
}

[[nodiscard]] inline std::string error_body(int status, int code, std::string_view message = {}) {
    std::string body = R"({"message": ")";
    body.append(message.empty() ? usual_message(status, code) : std::string{message});
    return body.append(R"(", "code": )").append(std::to_string(code)).append("}");
}

[[nodiscard]] constexpr std::string_view path_of(std::string_view target) noexcept {
    return target.substr(0, target.find_first_of("?#"));
}

/// Returns a number from 0 up to 1 (exclusive) that is equal for equal paths in every run and
/// build.
[[nodiscard]] constexpr double drawn_by_path(std::string_view target) noexcept {
    std::uint64_t hash = 0xcbf29ce484222325ULL; // FNV-1a
    for (const char c : path_of(target))
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    return static_cast<double>(mixed(hash) >> 11U) * 0x1p-53;
}

[[nodiscard]] inline bool has_segment(std::string_view target,
                                      const std::set<std::string, std::less<>>& names) {
    std::string_view rest = path_of(target);
    while (!rest.empty()) {
        const auto slash = std::min(rest.find('/'), rest.size());
        if (names.find(rest.substr(0, slash)) != names.end()) return true;
        rest.remove_prefix(std::min(slash + 1, rest.size()));
    }
    return false;
}

[[nodiscard]] constexpr bool is_of_kind(std::string_view token, TokenKind kind) noexcept {
    if (kind == TokenKind::bot) return token.starts_with("Bot ");
    if (kind == TokenKind::bearer) return token.starts_with("Bearer ");
    return kind == TokenKind::any || token.empty();
}

/// True if the error applies to the request. `arrival` counts the requests of the route from 1.
[[nodiscard]] inline bool concerns(const ErrorAnswer& error, const FakeRequest& request,
                                   std::uint64_t arrival) {
    if (arrival % error.every != 0 || !is_of_kind(request.token, error.token)) return false;
    if (error.share < 1 && drawn_by_path(request.target) >= error.share) return false;
    return error.ids.empty() || has_segment(request.target, error.ids);
}

/// Throws std::invalid_argument.
inline void check(const ErrorAnswer& error) {
    const auto fail = [](const char* what) {
        throw std::invalid_argument(std::string{"sluice::testing::ErrorAnswer: "} + what);
    };
    if (error.status < 400 || error.status > 599) fail("status is not 400 to 599");
    if (error.every == 0) fail("every is 0");
    if (!(error.share >= 0 && error.share <= 1)) fail("share is not 0 to 1");
    if (error.age && (error.limit || !error.hash.empty())) fail("age and another limit");
    if (error.limit && error.hash.empty()) fail("a limit without a hash");
    if (error.limit) (void)checked(*error.limit);
}

} // namespace detail
} // namespace sluice::testing

#endif
