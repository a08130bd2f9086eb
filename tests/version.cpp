// SPDX-License-Identifier: MIT
#include <sluice/version.hpp>

#include "support/catch.hpp"

#include <string>

TEST_CASE("the version as a number and as text are the same") {
    const std::string text = std::to_string(SLUICE_VERSION / 10000) + "." +
                             std::to_string(SLUICE_VERSION / 100 % 100) + "." +
                             std::to_string(SLUICE_VERSION % 100);
    CHECK(text == SLUICE_VERSION_STRING);
}
