// SPDX-License-Identifier: MIT
//
// The keys of the fake Discord: of counters, and the bucket hashes that it shows.
//
// Invariant: keys are equal within one run of a program, and well mixed, so that a key can be built
// by adding parts. Hashes that are shown to clients are equal in every run and every build.
#ifndef SLUICE_TESTING_FAKE_HASH_HPP
#define SLUICE_TESTING_FAKE_HASH_HPP

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace sluice::testing::detail {

/// The splitmix64 finaliser: a bijection in which every bit affects all others.
[[nodiscard]] constexpr std::uint64_t mixed(std::uint64_t value) noexcept {
    value += 0x9e3779b97f4a7c15ULL;
    value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9ULL;
    value = (value ^ (value >> 27U)) * 0x94d049bb133111ebULL;
    return value ^ (value >> 31U);
}

[[nodiscard]] inline std::uint64_t mixed(std::string_view text) noexcept {
    return mixed(std::uint64_t{std::hash<std::string_view>{}(text)});
}

/// Returns a hash in Discord's form: 32 lower-case hexadecimal digits in every trace seen to
/// 2026-05.
[[nodiscard]] inline std::string hash_of_template(std::uint64_t id) {
    std::string text;
    for (const std::uint64_t half : {mixed(id), mixed(~id)})
        for (unsigned shift = 64; shift != 0; shift -= 4)
            text += "0123456789abcdef"[(half >> (shift - 4)) & 0xFU];
    return text;
}

} // namespace sluice::testing::detail

#endif
