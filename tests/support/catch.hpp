// SPDX-License-Identifier: MIT
//
// The one place that knows which Catch2 is installed: 2.13 (Debian 12) has a single header, 3 has
// catch_all.hpp. Tests include this file and use what both offer. CI tries 2.13 only.
#ifndef SLUICE_TESTS_SUPPORT_CATCH_HPP
#define SLUICE_TESTS_SUPPORT_CATCH_HPP

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

// Catch2's macros count with __COUNTER__, of which clang 22 says that it is of C2y.
#if defined(__clang__)
#if __has_warning("-Wc2y-extensions")
#pragma clang diagnostic ignored "-Wc2y-extensions"
#endif
#endif

#endif
