// SPDX-License-Identifier: MIT
//
// The major parameter of one call: two calls of one route with different ones have separate limits.
// Discord docs, "Rate Limits": top-level resources are channel_id, guild_id, webhook_id, and
// webhook_id with webhook_token. Interaction tokens behave as webhook tokens do. Nothing else.
//
// A snowflake is stored as it is, anything that is not a number as a 128-bit digest: webhook and
// interaction tokens are secrets and are never stored.
#ifndef SLUICE_CORE_MAJOR_HPP
#define SLUICE_CORE_MAJOR_HPP

#include <cstddef>
#include <cstdint>

namespace sluice::core {

enum class MajorKind : std::uint8_t { none, channel, guild, webhook, webhook_token, interaction };

struct Major {
    MajorKind kind = MajorKind::none;
    std::uint64_t high = 0; ///< upper half of a digest, 0 for a snowflake
    std::uint64_t low = 0;  ///< the snowflake, or the lower half of a digest

    /// A webhook route whose token belongs to an interaction has one counter, whether its author
    /// took it for a webhook or for an interaction, so these two kinds compare equal.
    [[nodiscard]] constexpr MajorKind family() const noexcept {
        return kind == MajorKind::interaction ? MajorKind::webhook_token : kind;
    }

    friend constexpr bool operator==(const Major& a, const Major& b) noexcept {
        return a.low == b.low && a.high == b.high && (a.kind == b.kind || a.family() == b.family());
    }

    /// Any order that agrees with ==.
    friend constexpr bool operator<(const Major& a, const Major& b) noexcept {
        if (a.low != b.low) return a.low < b.low;
        if (a.high != b.high) return a.high < b.high;
        return a.family() < b.family();
    }

    [[nodiscard]] constexpr std::size_t hash() const noexcept {
        // One multiply mixes well enough: snowflakes differ in their upper (time) and lower bits.
        std::uint64_t mixed = low ^ (high * 0x9e3779b97f4a7c15ULL);
        mixed ^= static_cast<std::uint64_t>(family()) << 56U;
        mixed *= 0xff51afd7ed558ccdULL;
        return mixed ^ (mixed >> 32U);
    }
};

} // namespace sluice::core

#endif
