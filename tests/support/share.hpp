// SPDX-License-Identifier: MIT
//
// How many of its random runs a simulation leaves out where each takes long.
#ifndef SLUICE_TESTS_SUPPORT_SHARE_HPP
#define SLUICE_TESTS_SUPPORT_SHARE_HPP

namespace sluice::tests {

#ifdef SLUICE_SANITIZED
inline constexpr int share = 10; ///< sanitizers take ten times as long
#else
inline constexpr int share = 1;
#endif

} // namespace sluice::tests

#endif
