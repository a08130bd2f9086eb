// SPDX-License-Identifier: MIT
//
// The parts of one HTTP answer that the limiter needs: Discord's rate limit headers, and for some
// statuses the JSON body.
//
//     auto answer = sluice::Response::parse(status, headers, body);
//     ticket.update(answer);
//
// Invariant: whatever a server sends, `parse` does not throw, and each field holds either a usable
// value or nothing. Signs, exponents, words, overlong texts, values out of range and disagreeing
// copies of one header are all treated as absent.
//
// Sources: Discord docs, "Rate Limits" (header names, `retry_after` and `global` of the body) and
// "Opcodes and Status Codes" (`code` of the body);
// RFC 9110 for letter case, optional whitespace, Date and Via.
#ifndef SLUICE_RESPONSE_HPP
#define SLUICE_RESPONSE_HPP

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <utility>

namespace sluice {

/// The limit that a 429 refers to. Discord docs, "Rate Limits": `user` is the bucket of this bot,
/// `global` the bot as a whole, `shared` a resource whose quota others use as well.
enum class Scope : std::uint8_t { user, global, shared };

[[nodiscard]] constexpr std::string_view to_string(Scope scope) noexcept {
    switch (scope) {
    case Scope::user:
        return "user";
    case Scope::global:
        return "global";
    case Scope::shared:
        return "shared";
    }
    return "unknown";
}

/// The text of `X-RateLimit-Bucket`. Opaque: compare and print it, but do not interpret it. The
/// text is stored inside the object, so that a Response in a co_await expression stays trivially
/// destructible.
class BucketHash {
public:
    /// Observed 2022-11 to 2026-05, discord-api-docs#5646, #6407, #8330: 32 hexadecimal digits.
    /// Twice that leaves room for longer hashes, but not for arbitrary texts.
    static constexpr std::size_t max_size = 64;

    /// Makes the empty hash, which no answer carries.
    constexpr BucketHash() noexcept = default;

    /// Returns nullopt if `text` is empty, longer than `max_size`, or holds anything but visible
    /// ASCII: the hash appears in logs and in the keys of shared stores.
    [[nodiscard]] static constexpr std::optional<BucketHash> parse(std::string_view text) noexcept {
        if (text.empty() || text.size() > max_size) return std::nullopt;
        BucketHash hash;
        std::copy(text.begin(), text.end(), hash.text_.begin());
        hash.size_ = static_cast<std::uint8_t>(text.size());
        if (!hash.is_visible()) return std::nullopt;
        return hash;
    }

    [[nodiscard]] constexpr std::string_view view() const noexcept { return {text_.data(), size_}; }

    friend constexpr bool operator==(const BucketHash& a, const BucketHash& b) noexcept {
        return a.view() == b.view();
    }

private:
    /// True if all characters are visible ASCII.
    [[nodiscard]] constexpr bool is_visible() const noexcept {
        return std::all_of(text_.begin(), text_.begin() + size_,
                           [](char c) { return c >= '!' && c <= '~'; });
    }

    std::array<char, max_size> text_{};
    std::uint8_t size_ = 0;
};

/// Header pairs, as written in a braced list.
using HeaderList = std::initializer_list<std::pair<std::string_view, std::string_view>>;

/// A trivially copyable value; tests may fill it by designated initialisers.
struct Response {
    int status = 0;
    std::optional<std::int64_t> limit = std::nullopt;     ///< at least 1
    std::optional<std::int64_t> remaining = std::nullopt; ///< at least 0

    /// When the whole quota is available again, on the server's clock. Compare it with other
    /// answers, never with a local clock.
    std::optional<std::chrono::sys_time<std::chrono::nanoseconds>> reset = std::nullopt;
    std::optional<std::chrono::nanoseconds> reset_after = std::nullopt;
    std::optional<BucketHash> bucket = std::nullopt;

    /// From header or body, whichever is later. If the header is only the body's value rounded up
    /// to whole seconds, the body's value.
    std::optional<std::chrono::nanoseconds> retry_after = std::nullopt;

    bool global = false; ///< set by header, scope or body
    std::optional<Scope> scope = std::nullopt;

    /// False if Cloudflare in front of Discord gave this answer, or if there is no evidence that it
    /// came from Discord. A 429 of that kind concerns the outgoing address, not a bucket.
    bool from_discord = true;

    /// One unit of the last written digit: 1 ms for "0.500", 1 s for "5".
    std::chrono::nanoseconds reset_unit = std::chrono::milliseconds{1};
    std::chrono::nanoseconds reset_after_unit = std::chrono::milliseconds{1};

    std::optional<std::chrono::sys_seconds> date = std::nullopt; ///< when the answer was sent
    bool retry_after_in_body = false;                            ///< the body named retry_after

    /// Discord's JSON error code, such as 50027 for a refused webhook or interaction token. Set for
    /// a 202, 401, 403, 404 or 429 whose body names a code from 0 to 2^31 - 1.
    std::optional<std::int64_t> code = std::nullopt;

    /// \param headers a range of (name, value) pairs, or of elements with `name_string()` and
    ///        `value()` such as Beast's fields. Letter case of names does not matter.
    /// \param body read only if `status` is 202, 401, 403, 404 or 429. Pass it: without it a
    ///        wait is only known to the second, and it is harder to recognise a block by
    ///        Cloudflare and the token or webhook that an error refers to.
    template <class Headers = HeaderList>
    [[nodiscard]] static Response parse(int status, Headers&& headers,
                                        std::string_view body = {}) noexcept;

    friend bool operator==(const Response&, const Response&) = default;
};

/// How execute() reads a client's reply: specialise it with `static Response get(const Reply&)`.
/// adapters/beast.hpp does so for Beast.
template <class Reply>
struct ResponseOf;

template <>
struct ResponseOf<Response> {
    [[nodiscard]] static Response get(const Response& reply) noexcept { return reply; }
};

} // namespace sluice

template <>
struct std::hash<sluice::BucketHash> {
    [[nodiscard]] std::size_t operator()(const sluice::BucketHash& bucket) const noexcept {
        return std::hash<std::string_view>{}(bucket.view());
    }
};

// Response::parse is defined there; it needs the types above to be complete.
#include <sluice/detail/response_parse.hpp>

#endif
