// SPDX-License-Identifier: MIT
//
// What the tests of routes have in common: tokens as Discord makes them, and a parse that has to
// succeed.
#ifndef SLUICE_TESTS_SUPPORT_ROUTES_HPP
#define SLUICE_TESTS_SUPPORT_ROUTES_HPP

#include <sluice/route.hpp>

#include "support/catch.hpp"

#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::tests::routes {

// base64 of "interaction:846462639134605312:<random>", and one whose tail differs between base64
// and base64url.
inline const std::string interaction_token =
    "aW50ZXJhY3Rpb246ODQ2NDYyNjM5MTM0NjA1MzEyOmZWVjVXYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3OD"
    "lBQkNERUZHSElKS0xNTk9QUVJTVFVWV1hZWmFiY2RlZmdoaWprbG1u";
inline const std::string url_safe_interaction_token =
    "aW50ZXJhY3Rpb246MTIzNDU2Nzg5MDEyMzQ1Njc4OTr7__5-fn4_Pz8";
inline const std::string webhook_token =
    "3d89bb7572e0fb30d8128367b3b1b44fecd1726de135cbe28a41f8b2f777c372"
    "ba2939e72279b94526ff5d1bd4358d";

inline std::vector<std::string> words_of(const std::string& text) {
    std::istringstream words{text};
    return {std::istream_iterator<std::string>{words}, {}};
}

inline Route parsed(std::string_view method, std::string_view target) {
    const auto route = Route::parse(method, target);
    INFO(method << ' ' << target);
    REQUIRE(route.has_value());
    return *route;
}

} // namespace sluice::tests::routes

#endif
