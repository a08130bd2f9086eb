// SPDX-License-Identifier: MIT
//
// The main function of every test executable, compiled once. Session is what Catch2 2.13 and 3
// have in common; the ready-made main of each comes from a library of another name.
#define CATCH_CONFIG_RUNNER
#include "support/catch.hpp"

int main(int argc, char* argv[]) {
    return Catch::Session().run(argc, argv);
}
