// SPDX-License-Identifier: MIT
//
// Expiry of tokens in paths: interaction tokens after 15 minutes, webhook tokens when they are
// reset. Also deleted threads that a webhook posts to.
//
//     FakeDiscord discord{{.interaction_tokens = TokenLife{.needs_callback = true}}};
//     discord.expire_token("aW50ZXJhY3Rpb246MTp4", 10s);   // an earlier end than its own
//
// Invariant: tokens are independent of each other. The age of a token counts from its first request
// that passed the edge; tests do not build tokens with an id to decode.
//
// Sources: Discord docs, "Receiving and Responding": tokens are valid for 15 minutes. Observed
// 2024-05, discord-api-docs#6851: 404 before the callback ran, then 401 for every call after those
// 15 minutes, each counted as invalid. Codes: Discord docs, "Opcodes and Status Codes".
#ifndef SLUICE_TESTING_FAKE_TOKENS_HPP
#define SLUICE_TESTING_FAKE_TOKENS_HPP

#include <sluice/testing/fake_hash.hpp>
#include <sluice/testing/fake_limit.hpp>
#include <sluice/testing/fake_request.hpp>

#include <boost/unordered/unordered_flat_map.hpp>

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

namespace sluice::testing {

/// Lifetime of interaction tokens.
struct TokenLife {
    Duration life = std::chrono::minutes{15}; ///< then 401 with code 50027
    /// True: 404 with code 10015 for follow-ups until a callback of the interaction has run.
    bool needs_callback = false;
};

namespace detail {

/// An error that Discord answers before it checks any limit of the route.
struct Denial {
    int status = 0; ///< 0: none
    int code = 0;
};

/// Returns the undecoded value of a query parameter; empty if there is none.
[[nodiscard]] constexpr std::string_view query_value(std::string_view target,
                                                     std::string_view name) noexcept {
    std::string_view rest = target.substr(std::min(target.find('?'), target.size()));
    while (!rest.empty()) {
        rest.remove_prefix(1); // '?' or '&'
        const std::string_view pair = rest.substr(0, rest.find('&'));
        if (pair.starts_with(name) && pair.substr(name.size()).starts_with('='))
            return pair.substr(name.size() + 1);
        rest.remove_prefix(pair.size());
    }
    return {};
}

/// Throws std::invalid_argument.
inline void check(const TokenLife& tokens) {
    if (tokens.life <= Duration::zero())
        throw std::invalid_argument("sluice::testing::TokenLife: life must be positive");
}

class PathTokens {
public:
    void expire(std::string_view token, Duration when) {
        ends_.insert_or_assign(std::string{token}, when);
    }

    void remove_thread(std::string_view id) { removed_threads_.emplace(id); }

    /// Returns the error for a request, if any. Starts the token's life: call it once for each
    /// request that passes the edge.
    [[nodiscard]] Denial look(const FakeRequest& request, bool interaction,
                              const std::optional<TokenLife>& tokens, Duration now) {
        if (!interaction || !tokens)
            if (ends_.empty() && removed_threads_.empty()) return {};
        const WebhookPath path = webhook_of(request.target);
        if (path.token.empty()) return {};
        const auto end = ends_.find(path.token);
        if (end != ends_.end() && end->second <= now) return expired;
        if (interaction && tokens) {
            const Denial denial = look(mixed(path.token), is_callback(request), *tokens, now);
            if (denial.status != 0) return denial;
        }
        const std::string_view thread = query_value(request.target, "thread_id");
        if (!thread.empty() && removed_threads_.count(thread) != 0) return {404, 10003};
        return {};
    }

    /// A request to an interaction's path was executed.
    void ran(const FakeRequest& request, Duration now) {
        if (!is_callback(request)) return;
        const std::uint64_t key = mixed(webhook_of(request.target).token);
        lives_.try_emplace(key, Life{now, false}).first->second.called_back = true;
    }

private:
    struct Life {
        Duration begin;
        bool called_back;
    };

    static constexpr Denial expired{401, 50027};

    [[nodiscard]] static bool is_callback(const FakeRequest& request) noexcept {
        return request.target.find("/interactions/") != std::string_view::npos;
    }

    [[nodiscard]] Denial look(std::uint64_t key, bool callback, const TokenLife& tokens,
                              Duration now) {
        const Life& life = lives_.try_emplace(key, Life{now, false}).first->second;
        if (now - life.begin >= tokens.life) return expired;
        if (tokens.needs_callback && !callback && !life.called_back) return {404, 10015};
        return {};
    }

    std::map<std::string, Duration, std::less<>> ends_; ///< of tokens with a set end
    /// By token. An expired token stays expired, so entries are never removed.
    boost::unordered_flat_map<std::uint64_t, Life> lives_;
    std::set<std::string, std::less<>> removed_threads_; ///< by id
};

} // namespace detail
} // namespace sluice::testing

#endif
