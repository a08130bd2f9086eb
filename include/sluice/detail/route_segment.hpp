// SPDX-License-Identifier: MIT
//
// A path split into segments, and what depends only on them: the normalised text of a route
// template and its identity. Templates (at compile time) and raw request targets (at run time) both
// use this code, so create_message(1) and the parsed "/channels/1/messages" are one route: no
// identity is computed elsewhere.
#ifndef SLUICE_DETAIL_ROUTE_SEGMENT_HPP
#define SLUICE_DETAIL_ROUTE_SEGMENT_HPP

#include <sluice/detail/array_view.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice::detail {

struct Segment {
    std::string_view text; ///< the literal, or an argument's brace name or decoded value
    bool argument = false;
};

using Segments = ArrayView<Segment>;

/// Index 0 stands for "no such method".
inline constexpr std::array<std::string_view, 6> methods{"",    "GET",   "POST",
                                                         "PUT", "PATCH", "DELETE"};

[[nodiscard]] constexpr std::uint8_t method_index(std::string_view method) noexcept {
    for (std::uint8_t index = 1; index < methods.size(); ++index) {
        if (methods[index] == method) return index;
    }
    return 0;
}

/// FNV-1a, with its weak upper bits improved by the finaliser of MurmurHash3. Stable across
/// processes and builds, so that an identity may be stored and shared.
class TextHash {
public:
    constexpr TextHash& add(std::string_view text) noexcept {
        for (const char c : text) {
            state_ ^= static_cast<unsigned char>(c);
            state_ *= 0x100000001b3ULL;
        }
        return *this;
    }

    /// Returns the hash; never 0, which callers use for "none".
    [[nodiscard]] constexpr std::uint64_t value() const noexcept {
        std::uint64_t mixed = state_;
        mixed = (mixed ^ (mixed >> 33U)) * 0xff51afd7ed558ccdULL;
        mixed = (mixed ^ (mixed >> 33U)) * 0xc4ceb9fe1a85ec53ULL;
        mixed ^= mixed >> 33U;
        return mixed == 0 ? 1 : mixed;
    }

private:
    std::uint64_t state_ = 0xcbf29ce484222325ULL;
};

/// Passes the normalised text, such as "POST /channels/{}/messages", to `sink` piece by piece.
template <class Sink>
constexpr void write_normalised(std::string_view method, Segments segments, Sink&& sink) {
    sink(method);
    sink(std::string_view{" "});
    for (const Segment& segment : segments) {
        sink(std::string_view{"/"});
        sink(segment.argument ? std::string_view{"{}"} : segment.text);
    }
}

[[nodiscard]] constexpr std::size_t normalised_size(std::string_view method, Segments segments) {
    std::size_t size = 0;
    write_normalised(method, segments, [&](std::string_view piece) { size += piece.size(); });
    return size;
}

[[nodiscard]] constexpr std::uint64_t identity_of(std::string_view method, Segments segments) {
    TextHash hash;
    write_normalised(method, segments, [&](std::string_view piece) { hash.add(piece); });
    return hash.value();
}

/// Returns the identity of a normalised text.
[[nodiscard]] constexpr std::uint64_t identity_of(std::string_view normalised) noexcept {
    return TextHash{}.add(normalised).value();
}

} // namespace sluice::detail

#endif
