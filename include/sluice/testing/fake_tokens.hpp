// SPDX-License-Identifier: MIT
//
// Tokens that stand in paths and die: those of interactions after 15 minutes, those of webhooks
// when they are reset; and threads that a webhook posts to and that are gone.
//
//     FakeDiscord discord{{.interaction_tokens = TokenLife{.needs_callback = true}}};
//     discord.expire_token("aW50ZXJhY3Rpb246MTp4", 10s);   // an earlier end than its own
//
// The one invariant: a token says nothing of another. Its age counts from the first request with it
// that came past the edge; tests do not build tokens that have an id to decode.
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

/// How the tokens of interactions live.
struct TokenLife {
    Duration life = std::chrono::minutes{15}; ///< 401 with code 50027 from then on
    /// On: 404 with code 10015 for follow-ups until a callback of the interaction has run.
    bool needs_callback = false;
};

namespace detail {

/// An error that Discord answers before it looks at any limit of the route.
struct Denial {
    int status = 0; ///< 0: none
    int code = 0;
};

/// The value of a parameter of the query as it stands there; empty when there is none.
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

    /// To be asked once for each request that comes past the edge.
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

    /// A request to an interaction's path has run.
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

    std::map<std::string, Duration, std::less<>> ends_; ///< of tokens that were given one
    /// By token. One that is dead stays dead, so nothing is ever forgotten.
    boost::unordered_flat_map<std::uint64_t, Life> lives_;
    std::set<std::string, std::less<>> removed_threads_; ///< by id
};

} // namespace detail
} // namespace sluice::testing

#endif
