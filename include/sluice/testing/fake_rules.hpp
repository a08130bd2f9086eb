// SPDX-License-Identifier: MIT
//
// The configuration of a fake Discord: the rule of each route and the options of the whole server.
//
// Invariant: every default is what Discord documents or what was observed most often. A test that
// needs another server sets it in the rules. Randomness is always seeded.
//
//     discord.rule("POST /channels/{channel.id}/messages",
//                  {.limit = Limit{Algorithm::gcra, 5, 5s}, .hash = "80c17d2f203122d9"});
//
// JSON input is read by fake_rules_json.hpp.
#ifndef SLUICE_TESTING_FAKE_RULES_HPP
#define SLUICE_TESTING_FAKE_RULES_HPP

#include <sluice/route.hpp>
#include <sluice/testing/fake_error_answer.hpp>
#include <sluice/testing/fake_fault.hpp>
#include <sluice/testing/fake_indexing.hpp>
#include <sluice/testing/fake_lie.hpp>
#include <sluice/testing/fake_limit.hpp>
#include <sluice/testing/fake_outage.hpp>
#include <sluice/testing/fake_proxy.hpp>
#include <sluice/testing/fake_refusal.hpp>
#include <sluice/testing/fake_second_limit.hpp>
#include <sluice/testing/fake_tokens.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::testing {

/// One of the limits of a route that limits messages by their age.
struct AgeClass {
    /// The class of messages younger than this. An id counts whole milliseconds, so "up to 14 days"
    /// is below 14 days and 1 ms.
    Duration below = std::chrono::seconds{10};
    std::optional<Limit> limit = Limit{};
    std::string hash{}; ///< empty: its own, derived from template and position in the list
};

/// One route template. Two rules with the same hash are one limit and should set the same numbers.
struct Rule {
    /// nullopt: the route has no limit of its own and shows no rate limit headers.
    std::optional<Limit> limit = Limit{};
    /// X-RateLimit-Bucket. Empty: its own hash, 32 hexadecimal digits, derived from the template.
    std::string hash{};
    /// True: the route shows the hash, but does not share the counter of other routes with that
    /// hash. Observed 2020-03 to 2026-01 on message routes, discord-api-docs#1442 and #8073.
    bool counts_apart = false;
    /// False: one counter over all major parameters, and over all routes of the hash with this
    /// setting. Suspected of `PATCH /channels/{channel.id}` (nirn-proxy, 2024);
    /// discord-api-docs#971, #6753.
    bool per_major = true;
    /// False: all tokens and addresses draw on one counter, like an application's lobby routes.
    bool per_individual = true;
    /// False: the limit is enforced but not shown. Observed 2022-07, discord-api-docs#5161.
    bool headers = true;
    /// Time of every answer from the arrival, when the limit is checked, until it leaves the
    /// server. The answer's values are then this old, as observed 2023-09 in discord-api-docs#6407.
    Duration think_time{};
    /// Status of an accepted request.
    int status = 200;
    std::string body = "{}"; ///< not sent with 204
    /// If set, the body is instead Discord's for an error of this code and `status`.
    std::optional<int> code{};
    /// The ages of `DELETE /channels/{channel.id}/messages/{message.id}`, youngest first; `limit`
    /// and `hash` are for messages older than all of them. Observed 2026-05,
    /// discord-api-docs#8330: below 10 s, up to 14 days, older.
    std::vector<AgeClass> ages{};
    std::vector<SecondLimit> second{};
    /// The channel of a webhook or an interaction, by the webhook's id or by the interaction's
    /// token as it appears in the path.
    std::map<std::string, std::uint64_t, std::less<>> channels{};
    std::vector<Fault> faults{};
    std::optional<Lie> lie{};
    /// The first error that applies to a request is its answer.
    std::vector<ErrorAnswer> errors{};
    std::optional<Indexing> indexing{};
};

/// Format of times. Discord docs, change log: v8 (2020-09) introduced seconds with decimals.
enum class NumberFormat : std::uint8_t {
    decimals,     ///< v8 and later: seconds with three decimals, Retry-After in whole seconds
    integers,     ///< whole seconds everywhere
    milliseconds, ///< v6: resets in whole seconds, Retry-After and retry_after in milliseconds
};

/// When a request stops being in flight.
enum class InFlight : std::uint8_t {
    until_thought,   ///< when its rule's think_time is over
    until_delivered, ///< when `FakeDiscord::delivered` is called for it
};

/// Discord docs, "Rate Limits": after 10,000 answers 401, 403 or 429 in 10 minutes, except those of
/// scope shared, Cloudflare bans the address for a while.
struct InvalidLimit {
    std::int64_t threshold = 10'000;
    Duration period = std::chrono::minutes{10};
    /// Staff 2021-02, discord-api-docs#2646: 1 to 24 hours.
    Duration ban = std::chrono::hours{1};
    /// A user reports bans after floods of 429s of scope shared, 2024-10, discord-api-docs#7243.
    bool count_shared = false;
    RefusalKind answer = RefusalKind::cloudflare_html; ///< one of Cloudflare's
    bool tells_wait = true;                            ///< Retry-After, except on the block page
    /// The wait stated every time, on the block page too, whatever the remaining time. A bot that
    /// trusts it comes back too soon, repeatedly. nullopt: the remaining time.
    std::optional<Duration> tells{};
};

struct FakeOptions {
    /// Discord docs, "Rate Limits": 50 requests per second per token, or per address without one.
    /// Its algorithm is not documented. A window from the first arrival fits the measurements of
    /// 2022-07 in discord-api-docs#5144, and so does a sliding log.
    std::optional<Limit> global = Limit{Algorithm::fixed, 50, std::chrono::seconds{1}};
    /// Discord docs, "Rate Limits" (2022-02): interaction endpoints are not bound to the global
    /// limit. False: they are bound if a token is sent, as observed 2021-11 in
    /// discord-api-docs#4142.
    bool exempt_interactions = true;
    /// Limit of an address, for requests without an Authorization header, whatever tokens are used
    /// from there. nullopt: as `global`.
    std::optional<Limit> address_global{};
    /// True: interaction routes that are exempt from the token's limit draw on their address's
    /// limit. Not documented; observed 2022-12, discord-api-docs#5800: global 429s on callbacks.
    bool interactions_per_address = false;
    /// The rule of routes without a rule of their own.
    Rule fallback{};
    NumberFormat numbers = NumberFormat::decimals;
    /// The server's wall clock, since 1970, at server time zero; shown in Date and Reset.
    Duration epoch = std::chrono::seconds{1'700'000'000};
    /// API nodes whose clocks are spread evenly over `node_skew`, around the true time. A request
    /// reaches a random node, which only affects Date and Reset.
    std::uint32_t nodes = 1;
    Duration node_skew{};
    std::uint64_t seed = 1; ///< for the choice of nodes
    InFlight in_flight = InFlight::until_thought;
    /// Number of newest arrivals that are kept. 0 switches the log off; counting continues.
    std::size_t log_capacity = 100'000;
    std::optional<InvalidLimit> invalid = InvalidLimit{};
    /// Valid Authorization headers; any other is answered with 401. Empty: all are valid.
    std::set<std::string, std::less<>> tokens{};
    /// True: a User-Agent other than `DiscordBot ($url, $version)` gets Cloudflare's 403, code
    /// 40333. Discord docs, "Reference", "User Agent".
    bool check_user_agent = false;
    /// How far the clock behind Date and Reset is ahead of the clock used for the ages of messages.
    Duration clock_offset{};
    std::vector<Outage> outages{};
    /// Lifetime of interaction tokens. nullopt: unlimited.
    std::optional<TokenLife> interaction_tokens{};
    std::optional<Proxy> proxy{}; ///< the proxy between the clients and Discord
};

namespace detail {

/// Throws std::invalid_argument.
inline void check(const InvalidLimit& invalid) {
    (void)checked({.limit = invalid.threshold, .period = invalid.period});
    if (!from_cloudflare(invalid.answer))
        throw std::invalid_argument("sluice::testing::InvalidLimit: only Cloudflare bans");
    if (invalid.tells && *invalid.tells < Duration::zero())
        throw std::invalid_argument("sluice::testing::InvalidLimit: tells is negative");
}

/// Returns any route of the template `text`. Throws std::invalid_argument if `text` is not a
/// template.
[[nodiscard]] inline Route route_of_template(std::string_view text) {
    const auto space = std::min(text.find(' '), text.size());
    std::string target;
    bool in_brace = false;
    for (const char c : text.substr(space)) {
        // A digit is parsed as an argument wherever an argument is allowed.
        if (c == '{') target += '1';
        if (c == '{' || c == '}')
            in_brace = c == '{';
        else if (!in_brace && c != ' ')
            target += c;
    }
    const auto route = Route::parse(text.substr(0, space), target);
    if (!route) throw std::invalid_argument("not a route template: " + std::string{text});
    return *route;
}

} // namespace detail
} // namespace sluice::testing

#endif
