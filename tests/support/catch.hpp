// SPDX-License-Identifier: MIT
//
// The one place that knows which Catch2 is installed: 2.13 (Debian 12) has a single header, 3 has
// catch_all.hpp. Tests include this file and use what both offer. Only 2.13 is tried in CI.
#ifndef SLUICE_TESTS_SUPPORT_CATCH_HPP
#define SLUICE_TESTS_SUPPORT_CATCH_HPP

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#endif
