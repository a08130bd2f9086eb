// SPDX-License-Identifier: MIT
//
// The checks before all limits of the fake Discord: bans of addresses, Cloudflare's block of
// unknown clients, invalid tokens, and removed webhooks or webhooks whose token expired.
//
// Invariant: a request that is stopped here uses no quota and is not executed.
//
// Sources: Discord docs, "Rate Limits", "Invalid Request Limit", and "Reference", "User Agent".
#ifndef SLUICE_TESTING_FAKE_GATE_HPP
#define SLUICE_TESTING_FAKE_GATE_HPP

#include <sluice/testing/fake_error_answer.hpp>
#include <sluice/testing/fake_headers.hpp>
#include <sluice/testing/fake_limit.hpp>
#include <sluice/testing/fake_request.hpp>
#include <sluice/testing/fake_rules.hpp>
#include <sluice/testing/fake_tokens.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace sluice::testing::detail {

/// Counts invalid requests and records bans, both by address.
class InvalidRequests {
public:
    struct Ban {
        Duration until{};
        std::optional<Duration> tells{}; ///< nullopt: the remaining time
    };

    void ban(std::string_view address, Duration until, std::optional<Duration> tells) {
        bans_.insert_or_assign(std::string{address}, Ban{until, tells});
    }

    /// Returns the ban of `address`, or null.
    [[nodiscard]] const Ban* banned(std::string_view address, Duration now) const {
        if (bans_.empty()) return nullptr;
        const auto found = bans_.find(address);
        return found != bans_.end() && found->second.until > now ? &found->second : nullptr;
    }

    void count(const InvalidLimit& invalid, std::string_view address, Duration now) {
        const Limit limit{Algorithm::sliding_log, invalid.threshold, invalid.period};
        auto found = counters_.find(address);
        if (found == counters_.end())
            found = counters_.emplace(std::string{address}, Counter{limit}).first;
        Counter& counter = found->second;
        counter.adapt(limit);
        if (counter.wait(now) == Duration::zero()) counter.spend(now);
        if (counter.wait(now) == Duration::zero()) return;
        ban(address, now + invalid.ban, std::nullopt);
        counters_.erase(found);
    }

    [[nodiscard]] std::int64_t counted(const InvalidLimit& invalid, std::string_view address,
                                       Duration now) const {
        const auto found = counters_.find(address);
        if (found == counters_.end()) return 0;
        return invalid.threshold - found->second.standing(now).remaining;
    }

private:
    std::map<std::string, Counter, std::less<>> counters_;
    std::map<std::string, Ban, std::less<>> bans_;
};

/// True for `DiscordBot ($url, $version)`, whatever follows it.
[[nodiscard]] constexpr bool is_bot_user_agent(std::string_view text) noexcept {
    constexpr std::string_view begin = "DiscordBot (";
    if (!text.starts_with(begin)) return false;
    const auto comma = text.find(", ", begin.size());
    const auto end = text.find(')', begin.size());
    return comma != std::string_view::npos && end != std::string_view::npos &&
           comma > begin.size() && comma + 2 < end;
}

/// True if the answer counts towards a ban: 401, 403 and 429, except answers of Cloudflare itself
/// and, unless configured, 429s of scope shared.
[[nodiscard]] inline bool is_invalid(const FakeResponse& response, const InvalidLimit& invalid) {
    if (response.status != 401 && response.status != 403 && response.status != 429) return false;
    return std::none_of(response.headers.begin(), response.headers.end(), [&](const auto& header) {
        if (header.first == "Server") return header.second == "cloudflare";
        const bool shared = header.first == "X-RateLimit-Scope" && header.second == "shared";
        return shared && !invalid.count_shared;
    });
}

class Gate {
public:
    [[nodiscard]] InvalidRequests& invalid() noexcept { return invalid_; }
    [[nodiscard]] const InvalidRequests& invalid() const noexcept { return invalid_; }
    [[nodiscard]] PathTokens& tokens() noexcept { return tokens_; }
    void revoke_token(std::string_view token) { revoked_tokens_.emplace(token); }
    void expire_bearer(std::string_view token, Duration when) {
        bearer_ends_.insert_or_assign(std::string{token}, when);
    }
    void remove_webhook(std::string_view id) { removed_webhooks_.emplace(id); }

    /// True if the request stops at the edge; then writes Cloudflare's answer.
    [[nodiscard]] bool stop_at_edge(const FakeRequest& request, const FakeOptions& options,
                                    Duration now, HeaderWriter& writer,
                                    FakeResponse& response) const {
        const Duration wall = options.epoch + options.clock_offset + now;
        if (const auto* ban = invalid_.banned(request.address, now)) {
            write_ban(options.invalid.value_or(InvalidLimit{}), *ban, now, wall, writer, response);
            return true;
        }
        if (options.check_user_agent && !is_bot_user_agent(request.user_agent)) {
            response.status = 403;
            response.body = R"({"message": "internal network error", "code": 40333})";
            writer.edge(response, wall, "application/json");
            return true;
        }
        return false;
    }

    /// True if the request stops here; then writes Discord's answer, without the headers that are
    /// common to all of them.
    [[nodiscard]] bool stop(const FakeRequest& request, bool interaction,
                            const FakeOptions& options, Duration now, FakeResponse& response) {
        const Denial denial = deny(request, interaction, options, now);
        if (denial.status == 0) return false;
        response.status = denial.status;
        response.body = error_body(denial.status, denial.code);
        return true;
    }

private:
    [[nodiscard]] Denial deny(const FakeRequest& request, bool interaction,
                              const FakeOptions& options, Duration now) {
        if (!good_token(request.token, options)) return {401, 0};
        const auto end = bearer_ends_.find(request.token);
        if (end != bearer_ends_.end() && end->second <= now) return {401, 50025};
        if (removed_webhook(request)) return {404, 10015};
        return tokens_.look(request, interaction, options.interaction_tokens, now);
    }

    static void write_ban(const InvalidLimit& limit, const InvalidRequests::Ban& ban, Duration now,
                          Duration wall, HeaderWriter& writer, FakeResponse& response) {
        const auto told = ban.tells ? ban.tells : limit.tells;
        Refusal refusal{.kind = limit.answer, .wait = std::nullopt};
        if (told)
            refusal.header_wait = told;
        else if (limit.tells_wait)
            refusal.wait = ban.until - now;
        writer.cloudflare(response, refusal, wall);
    }

    [[nodiscard]] bool good_token(std::string_view token, const FakeOptions& options) const {
        if (token.empty()) return true;
        if (!revoked_tokens_.empty() && revoked_tokens_.find(token) != revoked_tokens_.end())
            return false;
        return options.tokens.empty() || options.tokens.find(token) != options.tokens.end();
    }

    [[nodiscard]] bool removed_webhook(const FakeRequest& request) const {
        if (removed_webhooks_.empty()) return false;
        const std::string_view id = webhook_of(request.target).id;
        return !id.empty() && removed_webhooks_.find(id) != removed_webhooks_.end();
    }

    InvalidRequests invalid_;
    PathTokens tokens_;
    std::set<std::string, std::less<>> revoked_tokens_;
    std::map<std::string, Duration, std::less<>> bearer_ends_;
    std::set<std::string, std::less<>> removed_webhooks_; ///< by id
};

} // namespace sluice::testing::detail

#endif
