// SPDX-License-Identifier: MIT
//
// Finds the major parameter of a route and reduces its ids to 128 bits.
//
// Discord docs, "Rate Limits": top-level resources are channel_id, guild_id, webhook_id, and
// webhook_id with webhook_token. They are searched only at the start of the path, where they are
// top-level: the guild of /applications/{}/guilds/{}/commands is not a major parameter.
//
// Invariant: two spellings of one resource have one Major. An interaction's token is digested
// alone, since a callback has the interaction's id before it and a follow-up the application's.
#ifndef SLUICE_DETAIL_ROUTE_MAJOR_HPP
#define SLUICE_DETAIL_ROUTE_MAJOR_HPP

#include <sluice/core/major.hpp>
#include <sluice/detail/route_argument.hpp>
#include <sluice/detail/route_segment.hpp>

#include <boost/uuid/name_generator_sha1.hpp>
#include <boost/uuid/uuid.hpp>

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace sluice::detail {

[[nodiscard]] constexpr core::MajorKind major_kind(Segments segments) noexcept {
    using core::MajorKind;
    if (segments.size() < 2 || segments[0].argument || !segments[1].argument) {
        return MajorKind::none;
    }
    const std::string_view collection = segments[0].text;
    const bool has_token = segments.size() > 2 && segments[2].argument;
    if (collection == "channels") return MajorKind::channel;
    if (collection == "guilds") return MajorKind::guild;
    if (collection == "webhooks") return has_token ? MajorKind::webhook_token : MajorKind::webhook;
    if (collection == "interactions" && has_token) return MajorKind::interaction;
    return MajorKind::none;
}

/// Returns the kind of major parameter of a template. Its author may state with {interaction.token}
/// that the token belongs to an interaction, which a raw webhook path does not show.
[[nodiscard]] constexpr core::MajorKind major_kind_of_template(Segments segments) noexcept {
    const core::MajorKind kind = major_kind(segments);
    if (kind != core::MajorKind::webhook_token) return kind;
    // A loop instead of string_view::find(), which compares its text with null: g++ 12 with
    // -fsanitize=undefined cannot evaluate that for a template's text at compile time.
    const auto named = [](const Segment& segment) {
        std::string_view rest = segment.text;
        while (!rest.empty() && !rest.starts_with("interaction"))
            rest.remove_prefix(1);
        return !rest.empty();
    };
    return named(segments[1]) || named(segments[2]) ? core::MajorKind::interaction : kind;
}

/// An id in 128 bits.
struct WideId {
    std::uint64_t high = 0; ///< never 0 in a digest: it holds the version bits of a UUID
    std::uint64_t low = 0;
};

/// RFC 4122 section 4.3: a UUID made of a name (here a token) within a namespace (here an id).
[[nodiscard]] inline WideId digest_within(const WideId& space, std::string_view name) {
    boost::uuids::uuid scope{};
    unsigned shift = 128;
    for (auto& octet : scope) {
        shift -= 8;
        octet = static_cast<std::uint8_t>((shift >= 64 ? space.high : space.low) >> (shift % 64));
    }
    const auto digest = boost::uuids::name_generator_sha1{scope}(name.data(), name.size());
    WideId id;
    for (const std::uint8_t octet : digest) {
        id.high = id.high << 8U | id.low >> 56U;
        id.low = id.low << 8U | octet;
    }
    return id;
}

[[nodiscard]] constexpr WideId wide_id(const Argument& id) {
    if (id.form == ArgumentForm::number) return {0, id.number};
    return digest_within({}, id.text);
}

/// True for the token of an interaction. Observed, not documented (nirn-proxy, 2024-06): such a
/// token is the base64 of "interaction:<id>:<random>". Its first 12 bytes are exactly these 16
/// characters, in base64 and base64url, so no decoding is needed.
[[nodiscard]] constexpr bool is_interaction_token(const Argument& token) noexcept {
    return token.form == ArgumentForm::text && token.text.starts_with("aW50ZXJhY3Rpb246");
}

[[nodiscard]] inline core::Major major_of_token(core::MajorKind kind, const Argument& id,
                                                const Argument& token) {
    const bool interaction = is_interaction_token(token);
    // Observed 2021-03, discord-api-docs#2701: the application id before a follow-up's token is the
    // same for the whole bot, and Discord counts per interaction.
    const WideId space = interaction ? WideId{} : wide_id(id);
    const WideId digest =
        with_text(token, [&](std::string_view text) { return digest_within(space, text); });
    return {interaction ? core::MajorKind::interaction : kind, digest.high, digest.low};
}

/// Returns the major parameter. `arguments` are valid, and as many as `kind` needs.
[[nodiscard]] constexpr core::Major major_of(core::MajorKind kind, Arguments arguments) {
    switch (kind) {
    case core::MajorKind::none:
        break;
    case core::MajorKind::channel:
    case core::MajorKind::guild:
    case core::MajorKind::webhook: {
        const WideId id = wide_id(arguments[0]);
        return {kind, id.high, id.low};
    }
    case core::MajorKind::webhook_token:
    case core::MajorKind::interaction:
        return major_of_token(kind, arguments[0], arguments[1]);
    }
    return {};
}

} // namespace sluice::detail

#endif
